from __future__ import annotations

from typing import Any

from tests.integration.cli_registry.conftest import D1, D2, H1, H2, MANIFESTS, STORE, TWO, dataset
from tests.integration.command_line import Ran
from tests.integration.gitops.conftest import Repository

YAML = "desired/datasets/mainnet.yaml"
JSON = ("--output", "json")
BOTH = (
    "versions:\n"
    "  1.9.0: {manifest: manifests/one.json}\n"
    "  1.10.0: {manifest: manifests/two.json}\n"
    "dev: {manifest: manifests/two.json}\n"
    "latest: 1.10.0\n"
)


def declare(repository: Repository, body: str) -> None:
    (repository.root / YAML).write_text(dataset(body))
    repository.commit("Change the dataset")


def planned(repository: Repository) -> list[str]:
    """What a plan would do, address by address."""
    return _words(repository.run("plan", *JSON))


def _words(ran: Ran) -> list[str]:
    return [
        f"{change['verb']} {change['address'].removeprefix('registry/')}"
        for change in ran.document["resource_changes"]
    ]


def tags(repository: Repository) -> dict[str, str]:
    document = repository.ok("registry", "tag", "list", "ethereum/mainnet", *STORE, *JSON).document
    return {tag["version"] + (" yanked" if tag["yanked"] else ""): tag["hash"] for tag in document["tags"]}


def denied(repository: Repository) -> list[str]:
    document: dict[str, Any] = repository.run("plan", *JSON).document
    return [finding["code"] for finding in document["findings"] if finding["severity"] == "deny"]


def test_the_first_apply_registers_links_and_tags_and_the_second_plan_is_empty(
    repository: Repository,
) -> None:
    declare(repository, BOTH)
    first, second = sorted([D1, D2])

    assert planned(repository) == [
        f"register manifest/{first}",
        f"register manifest/{second}",
        f"link link/ethereum/mainnet@{first}",
        f"link link/ethereum/mainnet@{second}",
        "tag tag/ethereum/mainnet@1.10.0",
        "tag tag/ethereum/mainnet@1.9.0",
        "tag tag/ethereum/mainnet@dev",
        "tag tag/ethereum/mainnet@latest",
    ]
    repository.ok("apply", "--yes")
    assert tags(repository) == {"1.10.0": H2, "1.9.0": H1, "latest": H2, "dev": H2}
    assert repository.ok("plan", "--detailed-exitcode").out.startswith("nothing to do")
    assert repository.ok("apply", "--yes", *JSON).document["recorded"] == []
    assert repository.ok("drift", *JSON).document["summary"]["in_sync"] == 8


def test_the_bytes_of_the_commit_are_registered_and_not_those_on_disk(repository: Repository) -> None:
    declare(repository, BOTH)
    (repository.root / MANIFESTS / "two.json").write_text('{"edited": true}')

    repository.ok("apply", "--yes")

    assert repository.ok("registry", "manifest", "get", H2, *STORE).out.encode() == TWO
    (repository.root / MANIFESTS / "two.json").unlink()
    assert repository.ok("plan").out.startswith("nothing to do")


def test_a_saved_plan_is_what_is_applied(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("plan", "--out", "plan.json")

    repository.ok("apply", "plan.json")

    assert tags(repository)["latest"] == H2
    assert repository.run("apply", "plan.json").code == 5


def test_a_removed_version_is_untagged_and_its_link_goes_with_it(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    declare(
        repository,
        "versions:\n  1.10.0: {manifest: manifests/two.json}\nremoved: [{version: 1.9.0, reason: wrong}]\n",
    )

    assert planned(repository) == [
        "untag tag/ethereum/mainnet@1.9.0",
        f"unlink link/ethereum/mainnet@{D1}",
    ]
    repository.ok("apply", "--yes")
    assert tags(repository) == {"1.10.0": H2, "latest": H2, "dev": H2}
    orphans = repository.ok("registry", "manifest", "orphans", *STORE, *JSON).document["manifests"]
    assert [entry["hash"] for entry in orphans] == [H1]


def test_a_version_that_disappears_without_a_word_is_denied(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    declare(repository, "versions:\n  1.10.0: {manifest: manifests/two.json}\n")

    assert denied(repository) == ["E_TOMBSTONE"]
    assert repository.run("apply", "--yes").code == 4
    assert tags(repository) == {"1.10.0": H2, "1.9.0": H1, "latest": H2, "dev": H2}


def test_an_emptied_document_is_denied(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    declare(repository, "removed: [{version: 1.9.0, reason: x}, {version: 1.10.0, reason: x}]\n")

    assert denied(repository) == ["E_EMPTY_DESIRED", "E_LAST_RELEASE"]


def test_a_version_that_would_move_is_denied(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    declare(repository, BOTH.replace("1.9.0: {manifest: manifests/one", "1.9.0: {manifest: manifests/two"))

    assert denied(repository) == ["E_TAG_IMMUTABLE"]


def test_a_digest_that_nobody_holds_is_denied(repository: Repository) -> None:
    declare(repository, f'versions:\n  1.0.0: {{manifest: "{D1}"}}\n')

    assert denied(repository) == ["E_MANIFEST_MISSING"]
    repository.ok("registry", "manifest", "register", f"{MANIFESTS}/one.json", *STORE)
    repository.ok("apply", "--yes")
    assert tags(repository) == {"1.0.0": H1, "latest": H1}


def test_an_omitted_dev_or_latest_is_not_moved(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    repository.ok("registry", "tag", "set", "ethereum/mainnet@dev", H1, *STORE)
    declare(repository, BOTH.replace("dev: {manifest: manifests/two.json}\nlatest: 1.10.0\n", ""))

    assert repository.ok("plan").out.startswith("nothing to do")
    assert tags(repository)["dev"] == H1


def test_moving_dev_and_its_roll_back_are_plain_applies(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    declare(repository, BOTH.replace("dev: {manifest: manifests/two", "dev: {manifest: manifests/one"))

    assert planned(repository) == ["retag tag/ethereum/mainnet@dev"]
    repository.ok("apply", "--yes")
    assert tags(repository)["dev"] == H1
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    assert tags(repository)["dev"] == H2


def test_a_yanked_version_keeps_its_manifest_also_where_it_is_no_longer_listed(
    repository: Repository,
) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    declare(
        repository,
        "versions:\n  1.9.0: {manifest: manifests/one.json}\n"
        "yanked: [{version: 1.10.0, reason: too slow}]\nlatest: 1.9.0\n",
    )

    assert planned(repository) == ["yank tag/ethereum/mainnet@1.10.0", "retag tag/ethereum/mainnet@latest"]
    repository.ok("apply", "--yes")
    assert tags(repository) == {"1.10.0 yanked": H2, "1.9.0": H1, "latest": H1, "dev": H2}
    assert repository.ok("plan").out.startswith("nothing to do")
    assert repository.ok("drift", "--detailed-exitcode").code == 0


def test_a_plan_says_where_latest_will_be_where_git_leaves_that_to_the_store(repository: Repository) -> None:
    one, two = "  1.9.0: {manifest: manifests/one.json}\n", "  1.10.0: {manifest: manifests/two.json}\n"
    yanked = "yanked: [{version: 1.9.0, reason: slow}, {version: 1.10.0, reason: slow}]\n"
    latest, name = "registry/tag/ethereum/mainnet@latest", "ethereum/mainnet"

    def notes(body: str) -> list[str]:
        declare(repository, body)
        found: list[str] = repository.run("plan", *JSON).document["notes"]
        return found

    assert notes(f"versions:\n{one}") == [f"{latest} begins at {name}@1.9.0"]
    repository.ok("apply", "--yes")
    assert notes(f"versions:\n{one}{two}") == [f"{latest} follows from {name}@1.9.0 to {name}@1.10.0"]
    said = repository.ok("apply", "--yes", "--output", "markdown").out
    assert said.splitlines()[-3:] == [
        "**1 note**",
        "",
        f"- `{latest}` follows from `{name}@1.9.0` to `{name}@1.10.0`",
    ]
    assert notes(f"versions:\n{one}{two}dev: {{manifest: manifests/one.json}}\n") == []
    assert notes(yanked) == [f"{latest} ends: no release is left that it may name"]


def test_what_was_made_by_hand_is_adopted_when_git_declares_it(filled: Repository) -> None:
    declare(filled, BOTH)

    plan = filled.ok("plan", *JSON).document
    assert (plan["summary"]["adopted"], plan["resource_changes"]) == (8, [])
    filled.ok("apply", "--yes")
    assert len(filled.ok("history", *JSON).document["stores"][0]["records"]) == 7
    declare(filled, BOTH.replace("  1.9.0: {manifest: manifests/one.json}\n", ""))
    assert denied(filled) == ["E_TOMBSTONE"]


def test_what_is_not_declared_and_never_was_is_left_alone(filled: Repository) -> None:
    declare(filled, "versions:\n  2.0.0: {manifest: manifests/two.json}\n")

    filled.ok("apply", "--yes")

    assert tags(filled) == {"2.0.0": H2, "1.10.0": H2, "1.9.0": H1, "latest": H2, "dev": H2}
    summary = filled.ok("drift", *JSON).document["summary"]
    assert (summary["drift"], summary["unmanaged"] > 0) == (0, True)


def test_a_yank_by_hand_shows_as_drift_and_is_undone_by_apply(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    repository.ok("registry", "tag", "yank", "ethereum/mainnet@1.10.0", *STORE)

    assert repository.run("drift", "--detailed-exitcode").code == 2
    repository.ok("apply", "--yes")
    assert tags(repository) == {"1.10.0": H2, "1.9.0": H1, "latest": H2, "dev": H2}


def test_an_assertion_that_an_unmanaged_version_breaks_stops_the_whole_apply(filled: Repository) -> None:
    filled.ok("registry", "tag", "set", "ethereum/mainnet@3.0.0", H1, *STORE)
    declare(filled, "versions:\n  2.0.0: {manifest: manifests/two.json}\nlatest: 2.0.0\n")

    ran = filled.run("apply", "--yes")

    assert (ran.code, ran.err.split()[0]) == (4, "E_LATEST_DERIVED")
    assert "the versions make it ethereum/mainnet@3.0.0" in ran.err
    assert "2.0.0" not in tags(filled)


def test_a_manifest_that_was_lost_stops_the_plan(repository: Repository) -> None:
    declare(repository, BOTH)
    repository.ok("apply", "--yes")
    (repository.root / "var/manifests" / H1).unlink()

    ran = repository.run("plan")

    assert (ran.code, ran.err.split()[0]) == (8, "E_MANIFEST_OBJECT")
    repository.ok("registry", "manifest", "register", f"{MANIFESTS}/one.json", *STORE)
    assert repository.ok("plan").out.startswith("nothing to do")


def test_a_registry_that_may_not_be_made_is_an_error(repository: Repository) -> None:
    repository.edit("desired/stores.yaml", ", create: true", "")
    declare(repository, BOTH)

    ran = repository.run("plan")

    assert (ran.code, ran.err.split()[0]) == (10, "E_STORE_MISSING")


def test_no_password_of_a_location_reaches_a_message(repository: Repository) -> None:
    repository.edit("desired/stores.yaml", '"sqlite:var/registry.db"', "{env: REGISTRY_URL}")
    declare(repository, BOTH)

    ran = repository.run("plan", REGISTRY_URL="mysql://me:hunter2@db/registry")

    assert (ran.code, ran.err.split()[0]) == (3, "E_URL_SCHEME")
    assert "hunter2" not in ran.err + ran.out
