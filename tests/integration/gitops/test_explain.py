"""`explain` says why an address changes or not, and what would change the answer."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.integration.gitops.changes import HUMAN, check_golden, lose_human_110, step_forward
from tests.integration.gitops.conftest import Repository

ALIAS = "serving/alias/latest"
H110, H111 = (f"serving/dataset/{release}/homo_sapiens/GRCh38" for release in (110, 111))
M110 = "serving/dataset/110/mus_musculus/GRCm39"


def answer(repository: Repository, address: str, *words: str) -> dict[str, Any]:
    return repository.ok("explain", address, *words, "--output", "json").document


def test_change_is_explained_by_its_line_the_live_value_the_record_and_its_steps(
    published: Repository,
) -> None:
    step_forward(published)
    check_golden("explain_alias.txt", published.ok("explain", ALIAS).out)
    moved = answer(published, ALIAS)
    assert (moved["declared"]["path"], moved["declared"]["line"]) == (HUMAN, 13)
    assert moved["needs"] == [{"address": H111, "slot": "entry", "state": "comes first: promote"}]
    new = answer(published, H111)
    assert (new["verbs"], new["unlocks"]) == (["publish", "promote"], [ALIAS])
    assert new["contents"]["beside"] == "110/homo_sapiens/GRCh38"
    assert [step["id"] for step in new["steps"]] == ["publish 111/homo_sapiens/GRCh38", "promote"]
    gone = answer(published, M110)
    assert (gone["verbs"], gone["why"]) == (
        ["roll back"],
        ["desired/catalogs/mouse.yaml:12 says that it was removed: superseded"],
    )


def test_denied_change_names_the_rule_and_what_would_change_the_answer(applied: Repository) -> None:
    lose_human_110(applied)
    check_golden("explain_denied.md", applied.ok("explain", H110, "--output", "markdown").out)
    found = answer(applied, H110)
    assert found["why"] == ["it is ours by the record, and no line declares it any more"]
    assert [finding["rule"] for finding in found["findings"]] == ["removal-needs-tombstone"]
    assert found["record"]["seq"] == 2


def test_address_that_stays_is_explained_too(applied: Repository) -> None:
    found = answer(applied, ALIAS)
    assert (found["verbs"], found["changes"], found["steps"]) == ([], [], [])
    assert found["why"] == [f"it is live as {HUMAN}:13 declares it"]
    assert found["needs"] == [{"address": H111, "slot": "entry", "state": "live"}]


def test_address_that_nobody_knows_is_not_there(applied: Repository) -> None:
    found = answer(applied, "serving/dataset/9/homo_sapiens/GRCh38")
    assert found["why"] == ["no line declares it, and the store does not hold it"]
    assert (found["declared"], found["live"], found["recorded"], found["record"]) == (None,) * 4


def test_address_that_is_not_ours_is_never_touched(published: Repository) -> None:
    text = (published.root / "desired/catalogs/mouse.yaml").read_text()
    start, end = text.index("  - id: 110/mus"), text.index("  - id: 111/mus")
    (published.root / "desired/catalogs/mouse.yaml").write_text(text[:start] + text[end:])
    published.commit("Leave mouse 110 to others")
    found = answer(published, M110)
    assert found["why"] == [
        "no line declares it and the record does not claim it: it is not ours, and never touched"
    ]
    assert found["otherwise"] == ["a line that declares it would make it ours"]


def test_address_that_is_adopted_says_so(applied: Repository) -> None:
    for place in ("ledger", "evidence"):  # as if another tool had put there what is declared
        shutil.rmtree(applied.root / "var/serving/.reconciler" / place)
    found = answer(applied, H110)
    assert found["why"] == [
        f"it is live as {HUMAN}:7 declares it",
        "the record does not say yet that it is ours: applying adopts it, which only adds a record",
    ]


def test_plan_from_a_snapshot_is_explained_without_the_store(published: Repository) -> None:
    step_forward(published)
    published.ok("snapshot", "--out", "live.json")
    there = answer(published, ALIAS)
    (published.root / "var").rename(published.root / "elsewhere")
    found = answer(published, ALIAS, "--live", "live.json")
    assert found == {**there, "record": None}


@pytest.mark.parametrize(
    ("address", "code"),
    [("latest", "E_ADDRESS"), ("other/alias/latest", "E_STORE_UNKNOWN"), ("serving/alias/", "E_ADDRESS")],
)
def test_address_that_is_none_is_refused(repository: Repository, address: str, code: str) -> None:
    ran = repository.run("explain", address)
    assert (ran.code, ran.error) == (3, code)


@pytest.mark.parametrize(
    "address", ["serving/pwned/x", "serving/dataset/x", "serving/alias/../..", "serving/x/\u202e"]
)
def test_address_of_nothing_that_can_be_is_answered_without_a_fault(
    repository: Repository, address: str
) -> None:
    ran = repository.ok("explain", address)
    assert "no line declares it, and the store does not hold it" in ran.out
    assert "\u202e" not in ran.out
