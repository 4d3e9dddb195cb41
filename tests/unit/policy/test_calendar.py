"""When a freeze is closed and when it opens, by the clocks of its time zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.governance import Freeze, Guards
from reconciler.policy.calendar import closed_until, reopens, spoken
from tests.unit.policy.scenes import facts_of, human, listed, live, only, said, whole


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def weekly(days: str, opens: int, closes: int, timezone: str = "UTC") -> Freeze:
    return Freeze(
        name="w",
        reason="r",
        stores=frozenset(),
        timezone=timezone,
        days=frozenset(int(day) for day in days),
        opens=opens,
        closes=closes,
    )


def span(starts: str, ends: str, timezone: str = "UTC", stores: str = "") -> Freeze:
    return Freeze(
        name="release week",
        reason="the portal moves",
        stores=frozenset(filter(None, stores.split())),
        timezone=timezone,
        starts=utc(starts),
        ends=utc(ends),
    )


NIGHT = weekly("4", 22 * 60, 6 * 60)
BERLIN_NIGHT = weekly("5", 22 * 60, 6 * 60, "Europe/Berlin")
BERLIN_EARLY = weekly("6", 2 * 60 + 30, 5 * 60, "Europe/Berlin")
BERLIN_UNTIL_EARLY = weekly("6", 0, 2 * 60 + 30, "Europe/Berlin")


@pytest.mark.parametrize(
    ("freeze", "now", "end"),
    [
        (span("2026-03-02T00:00", "2026-03-09T00:00"), "2026-03-01T23:59:59", None),
        (span("2026-03-02T00:00", "2026-03-09T00:00"), "2026-03-02T00:00", "2026-03-09T00:00"),
        (span("2026-03-02T00:00", "2026-03-09T00:00"), "2026-03-09T00:00", None),
        # Friday 22:00 to Saturday 06:00.
        (NIGHT, "2026-03-06T21:59:59", None),
        (NIGHT, "2026-03-06T22:00", "2026-03-07T06:00"),
        (NIGHT, "2026-03-07T05:59:59", "2026-03-07T06:00"),
        (NIGHT, "2026-03-07T06:00", None),
        (NIGHT, "2026-03-07T22:00", None),
        # Opens and closes at the same minute: a whole day.
        (weekly("0", 0, 0), "2026-03-02T23:59:59", "2026-03-03T00:00"),
        (weekly("0", 0, 24 * 60), "2026-03-02T23:59:59", "2026-03-03T00:00"),
        # The night of 28 to 29 March 2026 is an hour short in Berlin: 22:00 is 21:00 UTC, 06:00 is 04:00 UTC.
        (BERLIN_NIGHT, "2026-03-28T21:00", "2026-03-29T04:00"),
        (BERLIN_NIGHT, "2026-03-29T04:00", None),
        # The night of 24 to 25 October is an hour longer: 22:00 is 20:00 UTC, 06:00 is 05:00 UTC.
        (BERLIN_NIGHT, "2026-10-24T20:00", "2026-10-25T05:00"),
        (BERLIN_NIGHT, "2026-10-25T04:59:59", "2026-10-25T05:00"),
        # 02:30 does not exist on 29 March; the window begins at the earlier of its two readings.
        (BERLIN_EARLY, "2026-03-29T00:29:59", None),
        (BERLIN_EARLY, "2026-03-29T00:30", "2026-03-29T03:00"),
        # 02:30 comes twice on 25 October: it begins with the first, and ends with the second.
        (BERLIN_EARLY, "2026-10-25T00:30", "2026-10-25T04:00"),
        (BERLIN_UNTIL_EARLY, "2026-10-25T01:29:59", "2026-10-25T01:30"),
        (BERLIN_UNTIL_EARLY, "2026-03-29T01:29:59", "2026-03-29T01:30"),
    ],
)
def test_window_is_closed_until(freeze: Freeze, now: str, end: str | None) -> None:
    assert closed_until(freeze, utc(now)) == (None if end is None else utc(end))


def test_windows_without_a_gap_reopen_when_the_last_one_does() -> None:
    freezes = [
        span("2026-03-02T00:00", "2026-03-03T00:00"),
        span("2026-03-03T00:00", "2026-03-04T12:00"),
        span("2026-03-04T12:00:01", "2026-03-05T00:00"),
    ]
    assert reopens(freezes, utc("2026-03-02T08:00")) == utc("2026-03-04T12:00")
    assert reopens(freezes, utc("2026-03-01T08:00")) is None


def test_windows_that_never_leave_a_gap_still_give_an_answer() -> None:
    always = weekly("0123456", 0, 0)
    assert (reopens([always], utc("2026-03-02T08:00")) or 0) > utc("2028-01-01T00:00")


def test_moment_is_spoken_as_people_there_write_it() -> None:
    assert spoken(utc("2026-07-01T10:00"), "Europe/Berlin") == "2026-07-01 12:00 Europe/Berlin"


def test_closed_window_denies_and_says_when_it_reopens() -> None:
    store = facts_of(live([human(110)]), [listed(human(110)), listed(human(111))])
    closed = span("2026-03-02T00:00", "2026-03-09T00:00", "Europe/Berlin", "m")
    guards = Guards(freezes=(span("2026-04-01T00:00", "2026-04-02T00:00"), closed))
    facts = whole(store, guards=guards, now=utc("2026-03-03T00:00"))
    assert said("freeze-window", facts) == [("deny", "m", "E_FREEZE")]
    assert only("freeze-window", facts).message == (
        "the window 'release week' is closed (the portal moves); it reopens at 2026-03-09 01:00 Europe/Berlin"
    )
    assert said("freeze-window", whole(store, guards=guards, now=utc("2026-03-10T00:00"))) == []


def test_freeze_of_another_store_is_not_ours() -> None:
    store = facts_of(live([human(110)]), [listed(human(110)), listed(human(111))])
    other = Guards(freezes=(span("2026-03-02T00:00", "2026-03-09T00:00", stores="elsewhere"),))
    every = Guards(freezes=(span("2026-03-02T00:00", "2026-03-09T00:00"),))
    assert said("freeze-window", whole(store, guards=other, now=utc("2026-03-03T00:00"))) == []
    assert said("freeze-window", whole(store, guards=every, now=utc("2026-03-03T00:00"))) == [
        ("deny", "m", "E_FREEZE")
    ]


def test_plan_that_changes_nothing_is_not_frozen() -> None:
    store = facts_of(live([human(110)]), [listed(human(110))])
    frozen = Guards(freezes=(span("2026-03-02T00:00", "2026-03-09T00:00"),))
    assert said("freeze-window", whole(store, guards=frozen, now=utc("2026-03-03T00:00"))) == []
