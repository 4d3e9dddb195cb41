"""--store NAME: the store, the gates and the declared digests of a commit."""

from __future__ import annotations

import json

import pytest

from tests.integration.cli_byhand.conftest import H110, H111, M110, MANIFEST_OF, Desk

STORE = ("--store", "serving")


@pytest.fixture
def repository(desk: Desk) -> Desk:
    """This project's desired state and examples, committed; nothing is published."""
    desk.repository()
    return desk


def publish(dataset: str, build: str) -> tuple[str, ...]:
    return ("dataset", "publish", dataset, "--source-root", f"examples/builds/{build}")


def test_the_store_is_made_where_stores_yaml_allows_it(repository: Desk) -> None:
    repository.ok(*publish(M110, "mouse-110"), *STORE)
    repository.ok("catalog", "promote", M110, *STORE)
    assert repository.ok("catalog", "resolve", M110, *STORE).out == f"{M110}\n"
    assert (repository.root / "var/serving/catalog.json").is_file()


def test_an_undeclared_store_is_refused(repository: Desk) -> None:
    ran = repository.refused("dataset", "list", "--store", "other", code=3, error="E_STORE_UNKNOWN")
    assert "one of serving" in ran.err


def test_a_dry_run_does_not_make_the_store(repository: Desk) -> None:
    repository.unchanged(*publish(M110, "mouse-110"), *STORE, "--dry-run")
    assert not (repository.root / "var").exists()


def test_the_commits_gates_hold_and_the_worktrees_do_not(repository: Desk) -> None:
    gates = repository.root / "ops/datasets/publish-gates.json"
    text = gates.read_text()
    document = json.loads(text)
    document["publish_gates"]["min_gene_count"] = 1000
    gates.write_text(json.dumps(document))
    repository.ok(*publish(M110, "mouse-110"), *STORE, "--dry-run")
    repository.commit()
    repository.refused(*publish(M110, "mouse-110"), *STORE, "--dry-run", code=4, error="E_GATE")
    ran = repository.run(*publish(M110, "mouse-110"), *STORE)
    assert (ran.code, ran.error) == (4, "E_GATE")
    repository.ok(*publish(M110, "mouse-110"), "--store-root", "store")


def test_a_source_is_named_from_where_the_command_runs(
    repository: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.root / "examples/builds")
    repository.ok("dataset", "publish", M110, "--source-root", "mouse-110", *STORE)
    absolute = repository.root / "examples/builds/human-110"
    repository.ok("dataset", "publish", H110, "--source-root", str(absolute), *STORE)
    assert repository.ok("dataset", "verify", "--deep", M110, *STORE).out.endswith("\n27 passed\n")


def test_what_was_done_by_hand_creates_no_ownership(repository: Desk) -> None:
    repository.ok(*publish(M110, "mouse-110"), *STORE)
    repository.ok("catalog", "promote", M110, *STORE)
    document = repository.ok("plan", "--output", "json").document
    assert document["summary"]["adopted"] == 1


def test_history_shows_the_hand_and_the_reason(repository: Desk) -> None:
    repository.ok(*publish(M110, "mouse-110"), *STORE, "--reason", "as last year")
    record = repository.ok("history", "--output", "json").document["stores"][0]["records"][0]
    assert (record["by"], record["reason"], record["command"]) == (
        "hand",
        "as last year",
        f"reconciler dataset publish {M110} --store serving --source-root examples/builds/mouse-110",
    )


def test_a_pack_is_held_to_what_git_declares(repository: Desk) -> None:
    repository.ok("dataset", "pack", M110, "--root", "examples/builds/mouse-110", "--out", "m110.tar")
    verify = ("dataset", "verify-pack", "--pack", "m110.tar", "--desired")
    assert "; matches the expected digest\n" in repository.unchanged(*verify).out
    catalog = repository.root / "desired/catalogs/mouse.yaml"
    catalog.write_text(catalog.read_text().replace(MANIFEST_OF[M110], "sha256:" + "0" * 64))
    repository.unchanged(*verify)
    repository.refused(*verify, "--worktree", code=8, error="E_PACK_EXPECT")
    unpack = ("dataset", "unpack", "--pack", "m110.tar", "--out", "unpacked", "--desired", "--worktree")
    repository.refused(*unpack, code=8, error="E_PACK_EXPECT")


def test_a_pack_of_what_git_does_not_declare_is_refused(repository: Desk) -> None:
    repository.ok("dataset", "pack", H111, "--root", "examples/builds/human-111", "--out", "h111.tar")
    (repository.root / "desired/catalogs/human.yaml").unlink()
    verify = ("dataset", "verify-pack", "--pack", "h111.tar", "--desired", "--worktree")
    repository.refused(*verify, code=4, error="E_NOT_DECLARED")


def test_a_declared_pack_is_unpacked_into_a_declared_store(repository: Desk) -> None:
    repository.ok("dataset", "pack", H110, "--root", "examples/builds/human-110", "--out", "h110.tar")
    ran = repository.ok("dataset", "unpack", "--pack", "h110.tar", *STORE, "--desired", "--output", "json")
    assert (ran.document["state"], ran.document["status"]) == ("new", "done")
    repository.ok("catalog", "promote", H110, *STORE)


HEAD = "apiVersion: reconciler/v1\nkind: "
WINDOW = "{name: year end, reason: nobody is there, starts: '2024-01-01T00:00', ends: '2025-01-01T00:00'}"
HOLD = "type: hold\nsubject: serving/alias/latest\nowner: Ada\nreason: we look\nexpires: 2099-01-01\n"
YANKED = f"store: serving\nyanked:\n  - {{id: {M110}, reason: wrong contigs, at: 2024-03-01}}\n"


def write(repository: Desk, path: str, text: str) -> None:
    file = repository.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEAD + text)
    repository.commit()


def test_a_closed_window_is_closed_for_hands_too(repository: Desk) -> None:
    repository.ok(*publish(M110, "mouse-110"), *STORE)
    write(repository, "desired/policy.yaml", f"Policy\nfreezes: [{WINDOW}]\n")
    ran = repository.refused("catalog", "promote", M110, *STORE, code=4, error="E_FREEZE")
    assert "it reopens at 2025-01-01 00:00" in ran.err


def test_what_is_held_is_held_from_hands_too(repository: Desk) -> None:
    for dataset, build in ((H110, "human-110"), (H111, "human-111")):
        repository.ok(*publish(dataset, build), *STORE)
        repository.ok("catalog", "promote", dataset, *STORE)
    repository.ok("catalog", "latest-alias-update", H111, *STORE)
    write(repository, "desired/exceptions/hold.yaml", f"Exception\n{HOLD}")
    ran = repository.refused("catalog", "latest-alias-update", H110, *STORE, code=4, error="E_HELD")
    assert "it is held by Ada until 2099-01-01T00:00:00Z: we look" in ran.err


def test_what_was_yanked_or_is_not_pinned_is_not_promoted_by_hand(repository: Desk) -> None:
    repository.ok(*publish(M110, "mouse-110"), *STORE)
    pins = repository.root / "ops/inventory/pins.yaml"
    text = pins.read_text()
    pins.write_text("schema_version: 1\ndataset_ids: []\n")
    repository.commit()
    repository.refused("catalog", "promote", M110, *STORE, code=4, error="E_PROMOTION_PINS")
    pins.write_text(text)
    (repository.root / "desired/catalogs/mouse.yaml").unlink()
    write(repository, "desired/catalogs/mouse.yaml", f"Catalog\n{YANKED}")
    repository.refused("catalog", "promote", M110, *STORE, code=4, error="E_YANKED")
