"""The cases of this repository's own rules pass, and a case that expects something else fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.documents import ROOT
from tests.integration.gitops.changes import MOUSE, step_forward
from tests.integration.gitops.conftest import Repository, applied, published, repository
from tests.integration.test_schemas import check

__all__ = ["applied", "published", "repository"]
CASES = ROOT / "tests/policy"
RULE = "latest-monotonic"


def test_every_case_of_this_repository_passes(repository: Repository) -> None:
    document = repository.ok("policy", "test", str(CASES), "--output", "json").document
    check(document)
    names = sorted(file.parent.name for file in CASES.rglob("case.yaml"))
    assert [(case["name"], case["passed"]) for case in document["cases"]] == [(name, True) for name in names]
    assert not (CASES / "ordinary-release/var").exists()


def test_a_case_that_finds_something_else_fails_and_says_what(repository: Repository, tmp_path: Path) -> None:
    shutil.copytree(CASES / "latest-lowered", tmp_path / "cases/lowered")
    case = tmp_path / "cases/lowered/case.yaml"
    case.write_text(case.read_text().replace("severity: deny", "severity: warn"))
    ran = repository.run("policy", "test", str(tmp_path / "cases"))
    assert ran.code == 4
    assert ran.out.splitlines() == [
        "FAILED lowered",
        "    missing     warn latest-monotonic serving/alias/latest",
        "    unexpected  deny latest-monotonic serving/alias/latest",
        "0 of 1 passed",
    ]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("kind: PolicyCase", "kind: Case", "E_PATTERN"),
        ("now: 2026-06-01T12", "now: 2026-06-31T12", "E_PATTERN"),
        ("live:", "life: []\nlive:", "E_UNKNOWN_FIELD"),
        ("address: serving/alias/latest", "address: serving", "E_PATTERN"),
    ],
)
def test_a_case_that_is_misspelt_is_refused(
    repository: Repository, tmp_path: Path, old: str, new: str, error: str
) -> None:
    shutil.copytree(CASES / "latest-lowered", tmp_path / "cases/lowered")
    case = tmp_path / "cases/lowered/case.yaml"
    case.write_text(case.read_text().replace(old, new))
    ran = repository.run("policy", "test", str(tmp_path / "cases"))
    assert (ran.code, ran.error) == (3, error)
    assert "lowered/case.yaml:" in ran.err


def test_a_directory_without_cases_is_no_test_that_passed(repository: Repository, tmp_path: Path) -> None:
    ran = repository.run("policy", "test", str(tmp_path))
    assert (ran.code, ran.error) == (3, "E_FILE")


def test_a_rule_is_explained_without_a_store(repository: Repository) -> None:
    document = repository.ok("policy", "explain", "tag-immutable", "--output", "json").document
    check(document)
    assert [(rule["rule"], rule["fixed"]) for rule in document["rules"]] == [("tag-immutable", True)]
    assert not (repository.root / "var").exists()


def test_a_finding_is_explained_by_its_rule_and_its_line(applied: Repository) -> None:
    applied.edit("desired/catalogs/human.yaml", "latest: 111", "latest: 110")
    applied.commit("Move latest back")
    for what, counted in (
        ("serving/alias/latest", ["retarget-budget"]),
        (f"{RULE}:serving/alias/latest", []),
    ):
        document = applied.ok("policy", "explain", what, "--output", "json").document
        check(document)
        (finding,) = document["findings"]
        assert (finding["rule"], finding["path"]) == (RULE, "desired/catalogs/human.yaml")
        assert [rule["rule"] for rule in document["rules"]] == [RULE, *counted]
    nothing = applied.ok("policy", "explain", "serving/dataset/110/homo_sapiens/GRCh38").out
    assert nothing.strip().endswith("no rule has anything to say about it")


def test_an_action_that_no_rule_denies_is_explained_by_its_line_and_its_budget(published: Repository) -> None:
    step_forward(published)
    gone, new = (f"serving/dataset/{key}" for key in ("110/mus_musculus/GRCm39", "111/homo_sapiens/GRCh38"))
    document = published.ok("policy", "explain", gone, "--output", "json").document
    check(document)
    assert document["action"] == {
        "verb": "roll back",
        "path": MOUSE,
        "line": 12,
        "counts": "delete",
        "budgets": [{"action": "delete", "scope": "serving/dataset", "used": 1, "allowed": 5}],
    }
    assert [rule["rule"] for rule in document["rules"]] == ["delete-budget"]
    shown = published.ok("policy", "explain", gone).out.splitlines()
    assert shown[:2] == [
        f"{gone}: roll back, as {MOUSE}:12 says",
        "  counted as delete in serving/dataset: 1 of 5; 4 more would be within the budget",
    ]
    assert shown[-1] == "no rule denies it or warns of it"
    free = published.ok("policy", "explain", new).out.splitlines()
    assert free[1:] == ["  counted in no budget: what appears is free", "no rule denies it or warns of it"]


def test_what_is_found_of_a_scope_is_about_everything_in_it(published: Repository) -> None:
    (published.root / "desired/policy.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Policy\nbudgets: {delete: {count: 0, percent: 0}}\n"
    )
    step_forward(published)
    gone = "serving/dataset/110/mus_musculus/GRCm39"
    for command in (("policy", "explain"), ("explain",)):
        found = published.ok(*command, gone, "--output", "json").document["findings"]
        assert [(finding["rule"], finding["subject"]) for finding in found] == [
            ("delete-budget", "serving/dataset")
        ]
    assert "1 of 0; 1 fewer would be" in published.ok("policy", "explain", gone).out


def test_what_is_neither_a_rule_nor_an_address_is_refused(repository: Repository) -> None:
    ran = repository.run("policy", "explain", "tag-imutable")
    assert (ran.code, ran.error) == (3, "E_RULE_UNKNOWN")


def test_a_rule_names_the_data_that_it_judges_by(repository: Repository) -> None:
    (repository.root / "desired/policy.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Policy\nbudgets: {delete: {count: 2}}\nfreezes:\n"
        "  - {name: weekend, reason: nobody is there, days: [sat, sun], opens: '00:00', closes: '24:00'}\n"
        "owners: [{path: desired/catalogs/*, owners: [genomics]}]\n"
    )
    repository.commit("Say what may change")

    def data(rule: str) -> list[str]:
        document = repository.ok("policy", "explain", rule, "--output", "json").document
        return list(document["rules"][0]["data"])

    scope, everything = "the larger of 2 and 10 % of a scope", "10 % of everything"
    budget = f"desired/policy.yaml: {scope}; {everything}, where more than 50 things are live"
    assert data("delete-budget") == [budget]
    assert data("freeze-window") == [
        "desired/policy.yaml:5: 'weekend' of all stores: sat sun 00:00 to 24:00 UTC (nobody is there)"
    ]
    assert data("required-owners") == ["desired/policy.yaml:6: desired/catalogs/* belongs to genomics"]
    assert data("promoted-in-pins") == ["ops/datasets/promotion-rules.json: asks for it"]
    assert data("protected") == ["desired/policy.yaml: says nothing of it"]
    assert data("tag-immutable") == []
    shown = repository.ok("policy", "explain", "delete-budget").out.splitlines()
    assert shown[-1] == f"  judges by  {budget}"
