"""Ledger records: exact bytes, a chain that shows every touch, and the inventory that follows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from reconciler.canonical import canonical
from reconciler.errors import Corrupt, Problem
from reconciler.ledger import (
    Run,
    file_name,
    intent_bytes,
    inventory,
    outcome_bytes,
    read_heads,
    read_record,
)
from reconciler.model import NOTHING, Change, Outcome, Step, StepResult
from tests.unit.core.values import DIGEST, GIT, HAND, LATEST, OTHER, dataset, landed, record, step

HUMAN, MOUSE = dataset(), dataset(species="mus_musculus", assembly="GRCm39")
PROMOTE = step("promote", Change(HUMAN, "entry", None, "listed"))


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def intent(run: Run = GIT, steps: tuple[Step, ...] = (PROMOTE,), **over: Any) -> bytes:  # noqa: ANN401 - JSON
    values = {"seq": 1, "previous": None, "identity": "m memory name=unit", **over}
    return intent_bytes(run=run, steps=steps, **values)


def test_file_names_sort_as_their_numbers() -> None:
    assert file_name(42, "intent") == "00000000000000000042.intent.json"


def test_intent_is_canonical_json_of_everything_that_was_meant() -> None:
    run = replace(
        GIT,
        adopted=((MOUSE, {"entry": "listed"}),),
        pull_request="https://git.example.org/data/pull/7",
        approvers=("ada",),
        approvals=("{}",),
        findings=(("tombstone", "warn", 2),),
    )
    based = replace(PROMOTE, base=DIGEST, after=("publish",), sources={HUMAN: "builds/x"})
    assert json.loads(intent(run, (based,))) == {
        "schema": "reconciler/ledger-intent/v1",
        "seq": 1,
        "previous": None,
        "store": "m memory name=unit",
        "by": "git",
        "time": 1_700_000_000,
        "tool": "test",
        "commit": "c" * 40,
        **dict.fromkeys(("author", "reason", "owner", "ticket", "intent", "plan", "policy", "command"), ""),
        "pull_request": "https://git.example.org/data/pull/7",
        "approvers": ["ada"],
        "approvals": ["{}"],
        "findings": [["tombstone", "warn", 2]],
        "adopted": [["m/dataset/110/mus_musculus/GRCm39", {"entry": "listed"}]],
        "steps": [
            {
                "id": "promote",
                "unit": "catalog",
                "after": ["publish"],
                "base": DIGEST,
                "sources": {"m/dataset/110/homo_sapiens/GRCh38": "builds/x"},
                "changes": [["m/dataset/110/homo_sapiens/GRCh38", "entry", None, "listed"]],
            }
        ],
    }


def test_an_intent_from_before_approvals_were_recorded_is_still_read() -> None:
    document = json.loads(intent())
    for name in ("pull_request", "approvers", "approvals", "findings"):
        del document[name]
    old = canonical(document)
    back = read_record(seq=1, store="m", previous=None, intent=old, outcome=None, where="")
    assert back.run == GIT


def test_outcome_names_its_intent_and_says_what_became_of_each_step() -> None:
    failed = StepResult(step="b", outcome=Outcome.FAILED, problems=(Problem(code="E_IO", message="no"),))
    data = outcome_bytes(seq=3, intent_sha=DIGEST, results=(*landed("a"), failed), heads={"catalog": OTHER})
    assert json.loads(data) == {
        "schema": "reconciler/ledger-outcome/v1",
        "seq": 3,
        "intent": DIGEST,
        "heads": {"catalog": OTHER},
        "results": [
            {"step": "a", "outcome": "applied", "receipt": DIGEST, "problems": []},
            {"step": "b", "outcome": "failed", "receipt": "", "problems": ["E_IO: no"]},
        ],
    }


def test_record_comes_back_as_it_was_written() -> None:
    changes = (
        Change(HUMAN, "diffs", ("a", "b"), None),
        Change(HUMAN, "entry", None, "listed"),
        Change(LATEST, "dataset", "1/a/b", "2/a/b"),
    )
    written = Step(
        id="promote",
        store="m",
        unit="catalog",
        changes=changes,
        after=("publish",),
        sources={HUMAN: "builds/x"},
        base=DIGEST,
    )
    run = Run(
        by="git",
        time=5,
        tool="t",
        commit="c",
        author="a",
        reason="r",
        owner="o",
        ticket="k",
        intent="i",
        plan="p",
        policy="y",
        command="reconciler apply",
        pull_request="#7",
        approvers=("ada", "bob"),
        approvals=("{}", "{}"),
        findings=(("tombstone", "warn", 2),),
        adopted=((MOUSE, {"artifact": DIGEST, "diffs": ("x",)}),),
    )
    first = intent(run, (written,), seq=7, previous=OTHER)
    last = outcome_bytes(seq=7, intent_sha=sha(first), results=landed("promote"), heads={"catalog": DIGEST})
    back = read_record(seq=7, store="m", previous=OTHER, intent=first, outcome=last, where="")
    assert (back.seq, back.run, back.steps, back.results) == (7, run, (written,), landed("promote"))
    assert (dict(back.heads), back.intent_sha, back.outcome_sha) == (
        {"catalog": DIGEST},
        sha(first),
        sha(last),
    )


def test_unfinished_record_has_no_results() -> None:
    back = read_record(seq=1, store="m", previous=None, intent=intent(), outcome=None, where="")
    assert (back.results, back.outcome_sha, dict(back.heads)) == (None, None, {})
    assert list(back.applied_changes()) == []


@pytest.mark.parametrize(("seq", "previous"), [(2, None), (1, DIGEST)])
def test_gap_fork_and_repeat_break_the_chain(seq: int, previous: str | None) -> None:
    with pytest.raises(Corrupt) as refused:
        read_record(seq=seq, store="m", previous=previous, intent=intent(), outcome=None, where="ledger")
    assert (refused.value.code, refused.value.problems[0].path) == ("E_LEDGER_CHAIN", "ledger")


def test_outcome_of_another_intent_breaks_the_chain() -> None:
    other = outcome_bytes(seq=1, intent_sha=DIGEST, results=(), heads={})
    with pytest.raises(Corrupt) as refused:
        read_record(seq=1, store="m", previous=None, intent=intent(), outcome=other, where="")
    assert refused.value.code == "E_LEDGER_CHAIN"


def test_heads_of_a_closed_record_are_read_without_its_intent() -> None:
    last = outcome_bytes(seq=7, intent_sha=OTHER, results=landed("promote"), heads={"catalog": DIGEST})
    assert dict(read_heads(seq=7, intent_sha=OTHER, outcome=last, where="")) == {"catalog": DIGEST}


@pytest.mark.parametrize(("seq", "intent_sha"), [(2, OTHER), (1, DIGEST)])
def test_heads_of_another_record_break_the_chain(seq: int, intent_sha: str) -> None:
    last = outcome_bytes(seq=1, intent_sha=OTHER, results=(), heads={})
    with pytest.raises(Corrupt) as refused:
        read_heads(seq=seq, intent_sha=intent_sha, outcome=last, where="ledger")
    assert (refused.value.code, refused.value.problems[0].path) == ("E_LEDGER_CHAIN", "ledger")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("schema", "reconciler/ledger-intent/v2"),
        ("steps", {}),
        ("steps", [1]),
        ("steps", [{"id": "x"}]),
        ("time", "now"),
        ("by", None),
        ("commit", ["x"]),
        ("adopted", [["m/dataset", {}]]),
        ("adopted", [["m/dataset/x", {"entry": 1}]]),
        ("adopted", [["m/dataset/x", {"entry": [1]}]]),
        ("adopted", 7),
    ],
)
def test_intent_with_a_member_of_the_wrong_kind_is_corrupt(member: str, value: object) -> None:
    document = json.loads(intent()) | {member: value}
    with pytest.raises(Corrupt):
        read_record(
            seq=1, store="m", previous=None, intent=json.dumps(document).encode(), outcome=None, where=""
        )


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("heads", []),
        ("heads", {"catalog": 1}),
        ("results", [{}]),
        ("results", 1),
        ("results", [{"step": "a", "outcome": "perhaps", "receipt": ""}]),
        ("results", [{"step": "a", "outcome": "applied", "receipt": None}]),
        ("results", [{"step": 1, "outcome": "applied", "receipt": ""}]),
    ],
)
def test_outcome_with_a_member_of_the_wrong_kind_is_corrupt(member: str, value: object) -> None:
    first = intent()
    good = outcome_bytes(seq=1, intent_sha=sha(first), results=landed("promote"), heads={})
    outcome = json.dumps(json.loads(good) | {member: value}).encode()
    with pytest.raises(Corrupt):
        read_record(seq=1, store="m", previous=None, intent=first, outcome=outcome, where="")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b'"text"'])
def test_bytes_that_are_no_record_are_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        read_record(seq=1, store="m", previous=None, intent=data, outcome=None, where="")


def test_inventory_folds_adoptions_and_applied_changes_in_order() -> None:
    adopts = record(replace(GIT, adopted=((HUMAN, {"artifact": DIGEST, "entry": "listed"}),)), (), ())
    more = record(GIT, (step("a", Change(HUMAN, "diffs", None, ("d",))),), landed("a"))
    away = record(GIT, (step("a", Change(HUMAN, "entry", "listed", None)),), landed("a"))
    assert dict(inventory([adopts]).recorded) == {HUMAN: {"artifact": DIGEST, "entry": "listed"}}
    assert dict(inventory([adopts, more, away]).recorded) == {HUMAN: {"artifact": DIGEST, "diffs": ("d",)}}


def test_last_commit_is_that_of_the_last_apply_from_git_that_landed() -> None:
    first, second = replace(GIT, commit="a" * 40), replace(GIT, commit="b" * 40)
    applied = record(first, (PROMOTE,), landed("promote"))
    failed = record(second, (PROMOTE,), (StepResult(step="promote", outcome=Outcome.FAILED),))
    adopts = record(replace(second, adopted=((HUMAN, {"entry": "listed"}),)), (), ())
    hand = record(HAND, (PROMOTE,), landed("promote"))
    assert inventory([hand]).commit == ""
    assert inventory([applied, hand, failed]).commit == "a" * 40
    assert inventory([applied, adopts, hand]).commit == "b" * 40


def test_address_that_an_apply_emptied_stays_known_but_is_not_owned() -> None:
    steps = (step("a", Change(LATEST, "dataset", "1/a/b", None)),)
    ours = inventory([record(GIT, steps, landed("a"))])
    assert (dict(ours.recorded), ours.owns(LATEST)) == ({LATEST: NOTHING}, False)


def test_by_hand_never_owns() -> None:
    ours = inventory([record(HAND, (PROMOTE,), landed("promote"))])
    assert (dict(ours.recorded), ours.owns(HUMAN)) == ({}, False)


def test_by_hand_never_takes_ownership_away() -> None:
    gone = (step("roll back", Change(HUMAN, "entry", "listed", None)),)
    ours = inventory([record(GIT, (PROMOTE,), landed("promote")), record(HAND, gone, landed("roll back"))])
    assert dict(ours.recorded) == {HUMAN: {"entry": "listed"}}


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.APPLIED])
def test_step_that_did_not_land_owns_nothing(outcome: Outcome) -> None:
    ours = inventory([record(GIT, (PROMOTE,), (StepResult(step="promote", outcome=outcome),))])
    assert dict(ours.recorded) == {}


def test_unfinished_run_owns_nothing() -> None:
    assert dict(inventory([record(GIT, (PROMOTE,), None)]).recorded) == {}
