"""Drift: each verdict from its three states, and the warning about the reference server's latest."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.drift import DriftReport, observe_drift, unreadable
from reconciler.errors import Problem
from reconciler.model import NOTHING, Address, Declaration, Depth, Observed, Slots
from reconciler.stores.memory import SHAPE
from tests.unit.core.values import DIGEST, LATEST, LISTED, OTHER, PUBLISHED, dataset, owned, seen, wish

HUMAN, MOUSE = dataset(), dataset(species="mus_musculus", assembly="GRCm39")
WITH_DIFFS: Slots = {**LISTED, "diffs": ("derived/diff.json",)}
AT_110: Slots = {"dataset": "110/homo_sapiens/GRCh38", "binding": "catalog"}
AT_111: Slots = {"dataset": "111/homo_sapiens/GRCh38", "binding": "catalog"}


def observed(
    wishes: Sequence[Declaration],
    sights: Sequence[Observed],
    recorded: dict[Address, Slots] | None = None,
    *,
    everything_ours: bool = False,
) -> DriftReport:
    report = DriftReport("c" * 40, Depth.MANIFESTS)
    observe_drift(report, wishes, sights, owned(recorded or {}), shape=SHAPE, everything_ours=everything_ours)
    return report


ABSENT = None
DATASET_VERDICTS = {
    "declared, live and recorded agree": (LISTED, LISTED, LISTED, ("in_sync", "")),
    "declared and live agree, never recorded": (LISTED, LISTED, ABSENT, ("in_sync", "")),
    "declared and live agree, the record is older": (WITH_DIFFS, WITH_DIFFS, LISTED, ("in_sync", "")),
    "git took a slot back, still as recorded": (LISTED, WITH_DIFFS, WITH_DIFFS, ("pending", "")),
    "git took a slot back, and it is gone": (LISTED, LISTED, WITH_DIFFS, ("in_sync", "")),
    "a slot of others beside ours": (LISTED, WITH_DIFFS, LISTED, ("in_sync", "")),
    "an empty list and none there": ({**LISTED, "diffs": ()}, LISTED, LISTED, ("in_sync", "")),
    "declared, not there yet": (LISTED, ABSENT, ABSENT, ("pending", "")),
    "declared, only published yet": (LISTED, PUBLISHED, PUBLISHED, ("pending", "")),
    "git moved, the store is as recorded": (WITH_DIFFS, LISTED, LISTED, ("pending", "")),
    "declared anew after an apply removed it": (LISTED, PUBLISHED, PUBLISHED, ("pending", "")),
    "was there, is gone": (LISTED, ABSENT, LISTED, ("drift", "missing")),
    "was listed, is not": (LISTED, PUBLISHED, LISTED, ("drift", "missing")),
    "was listed with other bytes": (LISTED, {**LISTED, "artifact": OTHER}, LISTED, ("drift", "moved")),
    "relisted elsewhere": (LISTED, {**LISTED, "entry": "listed at x y"}, LISTED, ("drift", "moved")),
    "git and the store both moved": (
        WITH_DIFFS,
        {**LISTED, "entry": "listed at x y"},
        LISTED,
        ("drift", "moved"),
    ),
    "removed in git, still as recorded": (NOTHING, LISTED, LISTED, ("pending", "")),
    "removed in git, moved since the record": (
        NOTHING,
        {**LISTED, "entry": "listed at x y"},
        LISTED,
        ("drift", "moved"),
    ),
    "removed in git and gone": (NOTHING, PUBLISHED, PUBLISHED, ("in_sync", "")),
    "removed by an apply, came back": (NOTHING, LISTED, PUBLISHED, ("drift", "extra")),
    "removed in git, there, never ours": (NOTHING, LISTED, ABSENT, ("pending", "")),
}


@pytest.mark.parametrize("case", DATASET_VERDICTS)
def test_verdict_of_a_declared_dataset(case: str) -> None:
    wanted, live, recorded, expected = DATASET_VERDICTS[case]
    report = observed(
        [wish(HUMAN, wanted)],
        [] if live is None else [seen(HUMAN, live)],
        {} if recorded is None else {HUMAN: recorded},
    )
    verdict, what = expected
    assert report.summary == {**dict.fromkeys(report.summary, 0), verdict: 1}
    assert [(item.verdict, item.what) for item in report.items] == (
        [] if verdict == "in_sync" else [expected]
    )
    assert all(item.place == "catalog.yaml:7" and item.what == what for item in report.items)


UNDECLARED_VERDICTS = {
    "of others": (LISTED, ABSENT, False, ("unmanaged", "")),
    "of others in an authoritative store": (LISTED, ABSENT, True, ("drift", "extra")),
    "ours, no longer declared": (LISTED, LISTED, False, ("pending", "")),
    "ours, no longer declared, and moved": (
        {**LISTED, "artifact": OTHER},
        LISTED,
        False,
        ("drift", "moved"),
    ),
    "removed by an apply, came back": (LISTED, PUBLISHED, False, ("drift", "extra")),
}


@pytest.mark.parametrize("case", UNDECLARED_VERDICTS)
def test_verdict_of_an_undeclared_dataset(case: str) -> None:
    live, recorded, claimed, expected = UNDECLARED_VERDICTS[case]
    report = observed(
        [],
        [seen(HUMAN, live)],
        {} if recorded is None else {HUMAN: recorded},
        everything_ours=claimed,
    )
    assert [(item.verdict, item.what) for item in report.items] == [expected]


ALIAS_VERDICTS = {
    "as declared": (AT_110, AT_110, AT_110, ("in_sync", "")),
    "git moved it": (AT_111, AT_110, AT_110, ("pending", "")),
    "somebody moved it": (AT_110, AT_111, AT_110, ("drift", "moved")),
    "somebody dropped it": (AT_110, ABSENT, AT_110, ("drift", "missing")),
    "its binding is stale": (AT_110, {**AT_110, "binding": DIGEST}, AT_110, ("drift", "moved")),
    "an apply dropped it, git wants it again": (AT_110, ABSENT, NOTHING, ("pending", "")),
    "an apply dropped it, somebody set another, git wants it": (AT_110, AT_111, NOTHING, ("drift", "moved")),
    "an apply dropped it, it came back": (NOTHING, AT_110, NOTHING, ("drift", "extra")),
}


@pytest.mark.parametrize("case", ALIAS_VERDICTS)
def test_verdict_of_a_declared_alias(case: str) -> None:
    wanted, live, recorded, expected = ALIAS_VERDICTS[case]
    report = observed(
        [wish(LATEST, wanted)], [] if live is None else [seen(LATEST, live)], {LATEST: recorded}
    )
    assert [(i.verdict, i.what) for i in report.items] == ([] if expected[0] == "in_sync" else [expected])


def test_omitted_alias_is_unmanaged_even_where_it_was_ours() -> None:
    report = observed([], [seen(LATEST, AT_110)], {LATEST: AT_110})
    assert [item.verdict for item in report.items] == ["unmanaged"]


def test_dataset_that_is_only_published_and_nobody_declared_is_no_drift() -> None:
    assert observed([], [seen(HUMAN, PUBLISHED)]).items == []


def test_broken_content_is_corrupt_whatever_else_is_true() -> None:
    problem = Problem(code="E_ARTIFACT", message="broken")
    report = observed([wish(HUMAN, LISTED)], [Observed(HUMAN, LISTED, (problem,))], {HUMAN: LISTED})
    assert [(item.verdict, item.problems) for item in report.items] == [("corrupt", (problem,))]
    assert report.summary["in_sync"] == 0


def test_store_that_cannot_be_read_makes_every_wish_unknown() -> None:
    problem = Problem(code="E_IO", message="no answer")
    report = DriftReport("c" * 40, Depth.MANIFESTS)
    unreadable(report, [wish(HUMAN, LISTED), wish(MOUSE, LISTED)], (problem,))
    assert report.summary["unknown"] == 2
    assert [(str(i.address), i.verdict, dict(i.live), i.problems) for i in report.items] == [
        (str(HUMAN), "unknown", {}, (problem,)),
        (str(MOUSE), "unknown", {}, (problem,)),
    ]


def test_latest_that_the_reference_server_sees_differently_is_a_warning() -> None:
    sights = [seen(LATEST, {**AT_110, "dataset": "100/a/b"})]
    sights += [seen(Address("m", "dataset", f"{release}/a/b"), LISTED) for release in ("100", "99")]
    (warning,) = observed([], sights).warnings
    assert warning == (
        "m/alias/latest is 100/a/b, but the reference server takes the greatest release text as latest: "
        "99/a/b"
    )


def test_latest_that_the_reference_server_sees_alike_is_no_warning() -> None:
    sights = [seen(LATEST, AT_110), seen(HUMAN, LISTED), seen(dataset(111, "other", "b"), LISTED)]
    assert observed([], sights).warnings == []


def test_report_has_the_stable_keys() -> None:
    report = observed([wish(HUMAN, WITH_DIFFS)], [seen(HUMAN, LISTED)], {HUMAN: LISTED})
    assert report.to_json() == {
        "schema": "reconciler/drift/v1",
        "commit": "c" * 40,
        "depth": "manifests",
        "summary": {
            "in_sync": 0,
            "pending": 1,
            "drift": 0,
            "hold": 0,
            "corrupt": 0,
            "unmanaged": 0,
            "unknown": 0,
        },
        "items": [
            {
                "address": "m/dataset/110/homo_sapiens/GRCh38",
                "verdict": "pending",
                "what": "",
                "wanted": WITH_DIFFS,
                "live": LISTED,
                "recorded": LISTED,
                "problems": [],
                "place": "catalog.yaml:7",
                "hold": None,
            }
        ],
        "warnings": [],
    }
