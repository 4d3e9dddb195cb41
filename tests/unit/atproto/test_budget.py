"""What a server says of an account's budget: counted by its own words, and never more than a hint."""

from __future__ import annotations

import pytest

from reconciler.stores.atproto.budget import DAY, HOUR, Budget, Left, cost_of
from reconciler.stores.atproto.repository import Key
from reconciler.stores.atproto.writes import Write

NOW = 1_700_000_000


def said(remaining: object, reset: object, policy: str = "5000;w=3600") -> dict[str, str]:
    """The headers of an answer."""
    return {
        "ratelimit-remaining": str(remaining),
        "ratelimit-reset": str(reset),
        "ratelimit-policy": policy,
    }


def heard(*answers: dict[str, str]) -> Budget:
    """What is known after some answers to requests of ten points each."""
    budget = Budget()
    for headers in answers:
        budget.spent(10, headers)
    return budget


def test_nothing_is_kept_back_where_the_server_says_nothing() -> None:
    assert heard({}).wait(10_000, NOW) == 0


@pytest.mark.parametrize(("points", "wait"), [(100, 0), (101, 61)])
def test_request_is_kept_back_until_the_count_begins_anew(points: int, wait: float) -> None:
    assert heard(said(100, NOW + 60)).wait(points, NOW) == wait


def test_our_own_spending_counts_until_the_server_says_again() -> None:
    budget = heard(said(100, NOW + 60), {}, {})
    assert (budget.wait(80, NOW), budget.wait(81, NOW)) == (0, 61)


def test_day_and_hour_are_counted_apart_and_the_longer_wait_counts() -> None:
    budget = heard(said(100, NOW + 60), said(90, NOW + 7_000, "35000;w=86400"))
    assert budget.left(NOW) == {HOUR: Left(90, NOW + 60), DAY: Left(90, NOW + 7_000)}
    assert budget.wait(91, NOW) == 7_001


def test_shorter_times_count_requests() -> None:
    assert heard(said(1, NOW + 60, "3000;w=300")).wait(600, NOW) == 0
    assert heard(said(0, NOW + 60, "3000;w=300")).wait(1, NOW) == 61


def test_count_that_has_begun_anew_keeps_nothing_back() -> None:
    budget = heard(said(0, NOW - 1))
    assert (budget.wait(1, NOW), budget.left(NOW)) == (0, {})


def test_count_that_was_waited_for_is_forgotten_and_others_are_not() -> None:
    budget = heard(said(0, NOW + 60), said(500, NOW + 7_000, "35000;w=86400"))
    budget.begun(NOW + 61)
    assert budget.left(NOW) == {DAY: Left(500, NOW + 7_000)}


@pytest.mark.parametrize(
    "headers",
    [
        said(0, NOW + 3_700),
        said(-1, NOW + 60),
        said(0, "soon"),
        said("0x0", NOW + 60),
        said(0, NOW + 60, "5000"),
        said(0, NOW + 60, "5000;w=36000000000"),
        said(0, NOW + 60, "w=3600"),
    ],
)
def test_word_that_makes_no_sense_keeps_nothing_back(headers: dict[str, str]) -> None:
    assert heard(headers).wait(1, NOW) == 0


def test_next_run_begins_with_what_this_one_heard() -> None:
    kept = heard(said(100, NOW + 60), said(9, NOW + 30, "3000;w=300")).kept()
    assert kept == (
        b'{"counts":[{"remaining":90,"reset":1700000060,"seconds":3600}],"schema":"reconciler/rate-budget/v1"}\n'
    )
    assert Budget(kept).wait(91, NOW) == 61
    assert heard({}).kept() == b""


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema":"reconciler/rate-budget/v2","counts":[]}',
        b'{"schema":"reconciler/rate-budget/v1","counts":[{"seconds":3600}]}',
        b'{"schema":"reconciler/rate-budget/v1","counts":[{"seconds":3600,"remaining":0,"reset":"x"}]}',
        b'{"schema":"reconciler/rate-budget/v1","counts":[{"seconds":3600,"remaining":-1,"reset":1700000060}]}',
    ],
)
def test_hint_that_is_broken_is_no_hint(kept: bytes) -> None:
    assert Budget(kept).wait(10_000, NOW) == 0


def test_operations_cost_what_the_server_counts() -> None:
    writes = [Write(Key("entry", action), action) for action in ("create", "update", "delete")]
    assert cost_of(writes) == 6
