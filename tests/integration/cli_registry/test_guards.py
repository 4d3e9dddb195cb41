"""The guards that judge releases judge versions of a registry too: exit code, code, not one row written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tests.integration.cli_registry.conftest import MANIFESTS, dataset
from tests.integration.documents import ROOT
from tests.integration.gitops.conftest import Repository

YAML = "desired/datasets/mainnet.yaml"
TAG = "registry/tag/ethereum/mainnet@{}"
EXCEPTION = "apiVersion: reconciler/v1\nkind: Exception\nowner: genomics\nreason: r\nexpires: 2099-01-01\n"


def versions(*minors: int, rest: str = "") -> str:
    """A body that declares versions 1.MINOR.0, each with a manifest of its own."""
    lines = "".join(f"  1.{minor}.0: {{manifest: manifests/{minor}.json}}\n" for minor in minors)
    return f"versions:\n{lines}{rest}"


def gone(minors: Sequence[int]) -> str:
    return "removed:\n" + "".join(f"  - {{version: 1.{minor}.0, reason: wrong}}\n" for minor in minors)


def declare(repository: Repository, body: str) -> None:
    (repository.root / YAML).write_text(dataset(body))
    repository.commit("Change the dataset")


def released(repository: Repository, number: int) -> None:
    """Versions 1.0.0 to 1.NUMBER-1.0, applied."""
    for minor in range(number):
        (repository.root / MANIFESTS / f"{minor}.json").write_text(f'{{"n": {minor}}}')
    declare(repository, versions(*range(number)))
    repository.ok("apply", "--yes")


def exempt(repository: Repository, name: str, **members: object) -> None:
    text = EXCEPTION + "".join(f"{key}: {json.dumps(value)}\n" for key, value in members.items())
    file = repository.root / f"desired/exceptions/{name}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    repository.commit(f"Allow {name}")


def tags(repository: Repository) -> Mapping[str, str]:
    listed = repository.ok(
        "registry", "tag", "list", "ethereum/mainnet", "--store", "registry", "--output", "json"
    )
    return {tag["version"]: tag["hash"] for tag in listed.document["tags"]}


def refused(repository: Repository, code: int, *errors: str) -> str:
    """Plan and apply refuse with these codes, and every tag stays; what apply said."""
    before = tags(repository)
    plan = repository.run("plan", "--output", "json")
    found = [f["code"] for f in plan.document["findings"] if f["severity"] == "deny"]
    ran = repository.run("apply", "--yes")
    assert (plan.code, sorted(found), ran.code) == (code, sorted(errors), code), ran.err
    assert tags(repository) == before
    return ran.err


def test_a_dataset_steps_back_by_no_more_versions_than_the_policy_allows(repository: Repository) -> None:
    policy = json.loads((ROOT / "ops/datasets/rollback-policy.json").read_text())
    file = repository.root / "ops/datasets/rollback-policy.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({**policy, "max_rollback_depth": 2}))
    released(repository, 5)
    declare(repository, versions(0, 1, rest=gone([2, 3, 4])))
    said = refused(repository, 4, "E_ROLLBACK_DEPTH")
    assert "from ethereum/mainnet@1.4.0 to ethereum/mainnet@1.1.0, by 3 releases where at most 2" in said
    declare(repository, versions(0, 1, 2, rest=gone([3, 4])))
    repository.ok("apply", "--yes")
    assert sorted(tags(repository)) == ["1.0.0", "1.1.0", "1.2.0", "latest"]


def test_versions_have_a_budget_and_an_exact_number_is_approved(repository: Repository) -> None:
    released(repository, 8)
    declare(repository, versions(7, rest=gone(range(7))))
    said = refused(repository, 9, "E_DELETE_BUDGET", "E_DELETE_BUDGET")
    assert "the plan would take away 7 of 8, 5 are within the budget" in said
    exempt(repository, "links", type="approved-deletes", subject="registry/link", count=7)
    exempt(repository, "tags", type="approved-deletes", subject="registry/tag", count=6)
    refused(repository, 9, "E_DELETE_BUDGET")
    exempt(repository, "tags", type="approved-deletes", subject="registry/tag", count=7)
    repository.ok("apply", "--yes")
    assert sorted(tags(repository)) == ["1.7.0", "latest"]


def test_a_dataset_keeps_its_last_version(repository: Repository) -> None:
    released(repository, 1)
    declare(repository, "versions: {}\n" + gone([0]))
    assert "it is the last discoverable release of ethereum/mainnet" in refused(
        repository, 4, "E_EMPTY_DESIRED", "E_LAST_RELEASE"
    )


def test_what_the_registry_does_not_hold_is_not_yanked(repository: Repository) -> None:
    released(repository, 1)
    declare(repository, versions(0, rest="yanked: [{version: 9.9.9, reason: wrong}]\n"))
    refused(repository, 4, "E_ORDER", "E_TAG_MISSING")


def test_a_held_version_stays_and_the_rest_is_applied(repository: Repository) -> None:
    released(repository, 3)
    exempt(repository, "hold", type="hold", subject=TAG.format("1.0.0"))
    declare(repository, versions(2, rest=gone([0, 1])))
    plan = repository.ok("plan", "--output", "json").document
    assert plan["held"] == [TAG.format("1.0.0")]
    repository.ok("apply", "--yes")
    assert sorted(tags(repository)) == ["1.0.0", "1.2.0", "latest"]
    summary = repository.ok("drift", "--output", "json").document["summary"]
    assert (summary["hold"], summary["drift"], summary["pending"]) == (1, 0, 0)


def test_a_dataset_whose_document_disappears_keeps_everything(repository: Repository) -> None:
    released(repository, 2)
    (repository.root / YAML).unlink()
    repository.commit("Lose the dataset")
    refused(repository, 4, "E_LAST_RELEASE", "E_TOMBSTONE", "E_TOMBSTONE")
