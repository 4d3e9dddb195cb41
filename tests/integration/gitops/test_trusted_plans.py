"""What is applied is what was reviewed: the probes that catch other tools out write nothing here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.gitops.conftest import Repository

CATALOG = "desired/catalogs/human.yaml"


@pytest.fixture
def proposed(applied: Repository) -> Repository:
    """A change that moves latest back, reviewed as plan.json."""
    applied.edit(CATALOG, "latest: 111", "latest: 110")
    applied.commit("Move latest back")
    waive(applied)
    applied.ok("plan", "--out", "plan.json")
    return applied


def waive(repository: Repository) -> None:
    """Allow that latest steps back."""
    folder = repository.root / "desired/exceptions"
    folder.mkdir(exist_ok=True)
    (folder / "back.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Exception\ntype: waiver\nrule: latest-monotonic\n"
        "subject: serving/alias\nowner: genomics\nreason: 111 is wrong\nexpires: 2099-01-01\n"
    )
    repository.commit("Allow it")


def test_a_wrong_intent_writes_nothing_and_says_what_would_happen(proposed: Repository) -> None:
    before = proposed.store()
    ran = proposed.run("apply", "--expect", "sha256:" + "0" * 64)
    assert (ran.code, ran.error, proposed.store()) == (5, "E_PLAN_STALE", before)
    assert "serving/alias/latest: 'move alias latest' would happen now (move alias)" in ran.err


def test_with_the_reviewed_plan_each_difference_is_named(proposed: Repository) -> None:
    intent = json.loads((proposed.root / "plan.json").read_bytes())["intent"]
    proposed.edit(CATALOG, "latest: 110", "latest: 111")
    proposed.commit("Merge something else")
    before = proposed.store()
    ran = proposed.run("apply", "--expect", intent, "--reviewed", "plan.json", "--output", "json")
    errors = json.loads(ran.err.splitlines()[-1])["errors"]
    assert (ran.code, proposed.store()) == (5, before)
    assert [(e["path"], e["message"]) for e in errors] == [
        ("serving/alias/latest", "'move alias latest' was reviewed but would not happen any more")
    ]


def test_the_reviewed_plan_is_applied_at_the_merged_commit(proposed: Repository) -> None:
    (proposed.root / "README").write_text("merged\n")
    proposed.commit("Merge")
    proposed.ok("apply", "--reviewed", "plan.json")
    assert proposed.ok("plan", "--output", "json").document["steps"] == []


def test_the_reviewed_plan_is_the_one_that_is_expected(proposed: Repository) -> None:
    ran = proposed.run("apply", "--expect", "sha256:" + "0" * 64, "--reviewed", "plan.json")
    assert (ran.code, ran.error) == (3, "E_USAGE")


def without(member: str) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        document = json.loads(data)
        del document[member]
        return json.dumps(document).encode()

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.replace(b"110/homo", b"111/homo", 1),
        lambda data: data.replace(b'"chosen":"no', b'"chosen":"xx', 1),
        lambda data: data[:-1] + b" }",
        lambda data: data.replace(b'"expires":1', b'"expires":9', 1),
        without("guards"),
        without("findings"),
    ],
)
def test_an_edited_plan_is_an_integrity_failure(proposed: Repository, edit: Callable[[bytes], bytes]) -> None:
    file = proposed.root / "plan.json"
    data = file.read_bytes()
    assert edit(data) != data
    file.write_bytes(edit(data))
    before = proposed.store()
    ran = proposed.run("apply", "plan.json")
    assert (ran.code, ran.error, proposed.store()) == (8, "E_PLAN_MISMATCH", before)


def test_a_plan_is_applied_once(proposed: Repository) -> None:
    proposed.ok("apply", "plan.json")
    ran = proposed.run("apply", "plan.json")
    assert (ran.code, ran.error) == (5, "E_PLAN_USED")


def test_a_removed_document_removes_nothing(applied: Repository) -> None:
    applied.git("rm", "-q", CATALOG)
    applied.commit("Drop the document")
    before = applied.store()
    ran = applied.run("apply", "--yes")
    assert (ran.code, applied.store()) == (4, before)
    assert ran.err.count("E_TOMBSTONE") == 2


def test_a_removed_line_removes_nothing(applied: Repository) -> None:
    text = (applied.root / CATALOG).read_text()
    start, end = text.index("  - id: 110/"), text.index("  - id: 111/")
    (applied.root / CATALOG).write_text(text[:start] + text[end:])
    applied.commit("Drop a line")
    before = applied.store()
    ran = applied.run("apply", "--yes")
    assert (ran.code, ran.error, applied.store()) == (4, "E_TOMBSTONE", before)


def unreadable_catalog(root: Path) -> None:
    (root / "catalog.json").write_bytes(b"{")


def missing_catalog(root: Path) -> None:
    (root / "catalog.json").unlink()


def missing_store(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    root.write_bytes(b"")


def empty_catalog(root: Path) -> None:
    (root / "catalog.json").write_bytes(b"")


@pytest.mark.parametrize("damage", [unreadable_catalog, missing_catalog, missing_store, empty_catalog])
def test_a_failed_read_is_never_an_empty_store(applied: Repository, damage: Callable[[Path], None]) -> None:
    damage(applied.root / "var/serving")
    for command in (("plan",), ("apply", "--yes"), ("drift",)):
        ran = applied.run(*command)
        assert ran.code in {8, 10}, (command, ran.code, ran.err)
    assert not [line for line in applied.run("plan").out.splitlines() if line.startswith("  +")]


def test_a_plan_says_what_judged_it_and_what_is_left_of_the_budgets(proposed: Repository) -> None:
    head = proposed.git("rev-parse", "HEAD")
    guards = proposed.ok("plan", "--output", "json").document["guards"]
    assert guards["base"] == {"commit": head, "branch": "", "chosen": "no protected branch is configured"}
    assert (guards["policy"], [e["rule"] for e in guards["exceptions"]]) == (
        "built-in defaults",
        ["latest-monotonic"],
    )
    used = [room for room in guards["budgets"] if room["used"]]
    assert used == [{"action": "retarget", "scope": "serving/alias", "used": 1, "allowed": 5}]
    lines = proposed.ok("plan").out.splitlines()
    assert f"policy: built-in defaults; base: {head[:12]} (no protected branch is configured)" in lines
    assert "budgets: retarget serving/alias 1 of 5" in lines
