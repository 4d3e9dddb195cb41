from __future__ import annotations

import json

import pytest

from tests.integration.cli_registry.conftest import D1, H1, H2, MANIFESTS, ONE, STORE, TWO
from tests.integration.command_line import Ran
from tests.integration.gitops.conftest import Repository

JSON = ("--output", "json")


def registry(repository: Repository, *words: str) -> Ran:
    return repository.run("registry", *words, *STORE)


def codes(ran: Ran) -> list[str]:
    return [line.split()[0].rstrip(":") for line in ran.err.splitlines()]


def names(repository: Repository, reference: str) -> str | None:
    ran = registry(repository, "resolve", reference, *JSON)
    return str(ran.document["hash"]) if ran.code == 0 else None


def test_a_manifest_is_kept_byte_for_byte_and_registering_it_again_changes_nothing(
    repository: Repository,
) -> None:
    first = registry(repository, "manifest", "register", f"{MANIFESTS}/one.json", *JSON).document
    again = registry(repository, "manifest", "register", f"{MANIFESTS}/one.json", *JSON).document

    assert (first["hash"], first["status"], again["status"]) == (H1, "done", "unchanged")
    assert registry(repository, "manifest", "get", H1).out.encode() == ONE
    registry(repository, "manifest", "get", f"sha256:{H1.upper()}", "--out", "copy.json")
    assert (repository.root / "copy.json").read_bytes() == ONE
    assert (repository.root / "var/manifests" / H1).read_bytes() == ONE


def test_a_promised_hash_that_is_not_that_of_the_file_is_refused(repository: Repository) -> None:
    ran = registry(repository, "manifest", "register", f"{MANIFESTS}/one.json", "--hash", H2)

    assert (ran.code, codes(ran)) == (3, ["E_MANIFEST_HASH"])
    assert registry(repository, "manifest", "list").out == "none\n"


@pytest.mark.parametrize(
    ("content", "code"), [('{"a": 1, "a": 2}', "E_JSON_DUP"), ("[]", "E_JSON_ROOT"), ("x", "E_JSON_SYNTAX")]
)
def test_a_file_that_is_no_manifest_is_refused(repository: Repository, content: str, code: str) -> None:
    (repository.root / "odd.json").write_text(content)

    ran = registry(repository, "manifest", "register", "odd.json")

    assert (ran.code, codes(ran)) == (3, [code])


def test_latest_is_the_highest_version_and_dev_the_last_link(filled: Repository) -> None:
    assert names(filled, "ethereum/mainnet") == H2
    assert names(filled, "pkg:amp/ethereum/mainnet@latest") == H2
    assert names(filled, "ethereum/mainnet@1.9.0") == H1
    assert names(filled, f"ethereum/mainnet@{H1}") == H1
    assert names(filled, "ethereum/mainnet@dev") == H2
    assert names(filled, "ethereum/mainnet@2.0.0") is None
    document = registry(filled, "resolve", "ethereum/mainnet", *JSON).document
    assert (document["schema"], document["version"], document["yanked"]) == (
        "reconciler/registry-resolve/v1",
        "1.10.0",
        False,
    )


def test_versions_are_listed_by_precedence(filled: Repository) -> None:
    tags = registry(filled, "tag", "list", "ethereum/mainnet", *JSON).document["tags"]

    assert [(tag["version"], tag["hash"]) for tag in tags] == [
        ("1.10.0", H2),
        ("1.9.0", H1),
        ("latest", H2),
        ("dev", H2),
    ]
    everything = registry(filled, "tag", "list", *JSON).document["tags"]
    assert [tag["version"] for tag in everything] == ["1.10.0", "1.9.0"]


def test_a_version_never_moves_by_hand(filled: Repository) -> None:
    ran = registry(filled, "tag", "set", "ethereum/mainnet@1.9.0", H2)

    assert (ran.code, codes(ran)) == (4, ["E_TAG_IMMUTABLE"])
    assert names(filled, "ethereum/mainnet@1.9.0") == H1


def test_the_same_tag_again_changes_nothing(filled: Repository) -> None:
    again = registry(filled, "tag", "set", "ethereum/mainnet", "1.9.0", D1, *JSON)

    assert (again.document["status"], again.document["changes"]) == ("unchanged", [])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("set", "ethereum/mainnet@1.9.0", H1, "--expect", "none"), 6),
        (("set", "ethereum/mainnet@dev", H1, "--expect", H1), 6),
        (("set", "ethereum/mainnet@dev", H1, "--expect", H2), 0),
        (("set", "ethereum/mainnet@1.11.0", H1, "--expect", "none"), 0),
        (("delete", "ethereum/mainnet@1.9.0", "--expect", H2), 6),
        (("delete", "ethereum/mainnet@1.9.0", "--expect", H1), 0),
    ],
)
def test_a_tag_changes_only_from_what_was_expected(
    filled: Repository, words: tuple[str, ...], code: int
) -> None:
    before = registry(filled, "tag", "list", "ethereum/mainnet").out

    assert registry(filled, "tag", *words).code == code

    assert (registry(filled, "tag", "list", "ethereum/mainnet").out == before) is (code == 6)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("tag", "set", "ethereum/mainnet@latest", H1), 4, "E_LATEST_DERIVED"),
        (("tag", "delete", "ethereum/mainnet@latest"), 4, "E_LATEST_DERIVED"),
        (("tag", "set", "ethereum/mainnet@1.0", H1), 3, "E_SEMVER"),
        (("tag", "set", "other/name@1.0.0", H1), 3, "E_NOT_LINKED"),
        (("tag", "yank", "ethereum/mainnet@3.0.0"), 3, "E_TAG_MISSING"),
        (("link", "ethereum/mainnet", "a" * 64), 3, "E_MANIFEST_UNKNOWN"),
        (("link", "Ethereum/mainnet", H1), 3, "E_ID_CHARS"),
        (("link", "ethereum/mainnet"), 3, "E_USAGE"),
        (("unlink", "ethereum/mainnet", H1), 4, "E_LINK_TAGGED"),
        (("manifest", "delete", H1), 4, "E_MANIFEST_LINKED"),
        (("manifest", "get", "b" * 64), 3, "E_MANIFEST_UNKNOWN"),
        (("manifest", "datasets", "b" * 64), 3, "E_MANIFEST_UNKNOWN"),
        (("resolve", "ethereum/mainnet@x"), 3, "E_REVISION"),
        (("resolve", "ethereum/unknown"), 3, "E_REFERENCE_UNKNOWN"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_changes(
    filled: Repository, words: tuple[str, ...], code: int, error: str
) -> None:
    records = len(filled.ok("history", *JSON).document["stores"][0]["records"])

    ran = registry(filled, *words)

    assert (ran.code, codes(ran)[0]) == (code, error)
    assert len(filled.ok("history", *JSON).document["stores"][0]["records"]) == records


def test_a_yanked_version_is_found_by_its_text_and_is_never_latest(filled: Repository) -> None:
    registry(filled, "tag", "yank", "ethereum/mainnet@1.10.0", "--reason", "wrong block times")

    found = registry(filled, "resolve", "ethereum/mainnet@1.10.0", *JSON).document
    assert (found["hash"], found["yanked"]) == (H2, True)
    assert names(filled, "ethereum/mainnet@latest") == H1
    registry(filled, "tag", "unyank", "ethereum/mainnet@1.10.0")
    assert names(filled, "ethereum/mainnet@latest") == H2


def test_deleting_the_highest_version_lowers_latest(filled: Repository) -> None:
    registry(filled, "tag", "delete", "ethereum/mainnet@1.10.0")

    assert names(filled, "ethereum/mainnet@latest") == H1


def test_links_and_their_datasets_are_listed(filled: Repository) -> None:
    registry(filled, "link", "other", H1, "--keep-dev")

    assert registry(filled, "links", "ethereum/mainnet", *JSON).document["links"] == sorted([H1, H2])
    assert registry(filled, "is-linked", "_/other", H1, *JSON).document["linked"] is True
    assert registry(filled, "is-linked", "_/other", H2).out == "not linked\n"
    assert names(filled, "other@dev") is None
    document = registry(filled, "manifest", "datasets", H1, *JSON).document
    assert (document["datasets"], document["links"]) == (
        [{"namespace": "ethereum", "name": "mainnet", "version": "1.9.0"}],
        ["_/other", "ethereum/mainnet"],
    )


def test_unlinking_a_dataset_leaves_orphans_that_can_be_deleted(filled: Repository) -> None:
    unlinked = registry(filled, "unlink", "ethereum/mainnet", *JSON).document

    assert sorted(unlinked["unlinked"]) == sorted([H1, H2])
    orphans = registry(filled, "manifest", "orphans", *JSON).document["manifests"]
    assert [entry["hash"] for entry in orphans] == sorted([H1, H2])
    assert registry(filled, "manifest", "delete", H1).code == 0
    assert registry(filled, "manifest", "delete", H1, *JSON).document["status"] == "unchanged"
    assert not (filled.root / "var/manifests" / H1).exists()


def test_one_manifest_is_unlinked_together_with_its_tags(filled: Repository) -> None:
    registry(filled, "unlink", "ethereum/mainnet", H2, "--remove-tags")

    assert registry(filled, "links", "ethereum/mainnet").out == f"{H1}\n"
    assert names(filled, "ethereum/mainnet@latest") == H1


def test_a_dry_run_shows_the_changes_and_writes_nothing(filled: Repository) -> None:
    database = (filled.root / "var/registry.db").read_bytes()

    ran = registry(filled, "unlink", "ethereum/mainnet", H2, "--remove-tags", "--dry-run", *JSON)

    assert ran.document["status"] == "dry-run"
    assert [change["verb"] for change in ran.document["changes"]] == ["untag", "untag", "unlink"]
    assert (filled.root / "var/registry.db").read_bytes() == database


def test_a_dry_run_does_not_make_the_registry(repository: Repository) -> None:
    ran = registry(repository, "manifest", "register", f"{MANIFESTS}/two.json", "--dry-run", *JSON)

    assert (ran.code, ran.document["hash"], ran.document["status"]) == (0, H2, "dry-run")
    assert not (repository.root / "var").exists()


def test_every_write_by_hand_stands_in_the_ledger_with_its_command_and_reason(
    repository: Repository,
) -> None:
    register = ("registry", "manifest", "register", f"{MANIFESTS}/one.json")
    repository.ok(*register, *STORE, "--reason", "first manifest", SOURCE_DATE_EPOCH="1760000000")

    (record,) = repository.ok("history", *JSON).document["stores"][0]["records"]
    assert (record["by"], record["time"], record["reason"], record["command"]) == (
        "hand",
        1760000000,
        "first manifest",
        f"reconciler registry manifest register {MANIFESTS}/one.json --store registry",
    )


def test_migrate_makes_the_tables_once(repository: Repository) -> None:
    first = registry(repository, "migrate", *JSON).document
    again = registry(repository, "migrate", *JSON).document

    assert (first["status"], first["before"], first["after"]) == ("done", None, "0004")
    assert (again["status"], again["before"]) == ("unchanged", "0004")


def test_an_operation_on_a_registry_refuses_another_kind_of_store(repository: Repository) -> None:
    repository.edit(
        "desired/stores.yaml", "stores:\n", "stores:\n  serving: {kind: serving, root: file:var/s}\n"
    )
    repository.commit("Add a serving store")

    ran = repository.run("registry", "manifest", "list", "--store", "serving", *JSON)

    assert (ran.code, json.loads(ran.err)["errors"][0]["code"]) == (3, "E_STORE_KIND")


def test_a_damaged_manifest_is_never_handed_out(filled: Repository) -> None:
    kept = filled.root / "var/manifests" / H2
    kept.chmod(0o644)
    kept.write_bytes(TWO + b" ")

    ran = registry(filled, "manifest", "get", H2)

    assert (ran.code, ran.out, codes(ran)) == (8, "", ["E_MANIFEST_HASH"])


def test_a_hand_obeys_the_policy_of_the_repository(filled: Repository) -> None:
    exceptions = filled.root / "desired/exceptions"
    exceptions.mkdir()
    (exceptions / "hold.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Exception\ntype: hold\nsubject: registry/tag/ethereum/mainnet@dev\n"
        "owner: Ada\nreason: we look\nexpires: 2099-01-01\n"
    )
    (filled.root / "desired/policy.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Policy\nprotected: ['registry/tag/ethereum/mainnet@1.9.0']\n"
    )
    filled.commit("Hold dev and protect a version")
    held = filled.run("registry", "tag", "set", "ethereum/mainnet@dev", H1, *STORE)
    assert (held.code, held.error) == (4, "E_HELD")
    for words in (("tag", "yank"), ("tag", "delete")):
        protected = filled.run("registry", *words, "ethereum/mainnet@1.9.0", *STORE)
        assert (protected.code, protected.error) == (4, "E_PROTECTED")
    filled.ok("registry", "tag", "yank", "ethereum/mainnet@1.10.0", *STORE)
