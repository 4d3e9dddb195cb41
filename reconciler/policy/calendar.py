"""When a freeze is closed and when it opens again; pure, in whatever time zone it was written.

A span is closed from `starts` until `ends`. A weekly window is closed on its days from `opens` to
`closes`, by the clock on the wall there: one that goes past midnight ends on the next day, and a change of
the clocks makes it an hour shorter or longer. Where the change makes the wall time of its beginning or its
end come twice, or not at all, the window is as long as it can be, because closed wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.governance import Freeze

_MOST_WINDOWS = 1_000


def closed_until(freeze: Freeze, now: int) -> int | None:
    """The Unix second in which a freeze that is closed now opens; None if it is open now."""
    if not freeze.days:
        return freeze.ends if freeze.starts <= now < freeze.ends else None
    zone = ZoneInfo(freeze.timezone)
    today = datetime.fromtimestamp(now, zone).date()
    ends = []
    for date in (today - timedelta(days=1), today):
        if date.weekday() in freeze.days:
            last = date if freeze.opens < freeze.closes else date + timedelta(days=1)
            midnight = datetime(date.year, date.month, date.day, tzinfo=zone)
            end_of = datetime(last.year, last.month, last.day, tzinfo=zone)
            closes = max(_moments(end_of + timedelta(minutes=freeze.closes)))
            if min(_moments(midnight + timedelta(minutes=freeze.opens))) <= now < closes:
                ends.append(closes)
    return max(ends, default=None)


def _moments(wall: datetime) -> tuple[int, int]:
    """The two Unix seconds that a wall time can mean; equal but where the clocks change."""
    return int(wall.replace(fold=0).timestamp()), int(wall.replace(fold=1).timestamp())


def reopens(freezes: Iterable[Freeze], now: int) -> int | None:
    """When none of these freezes is closed any more, if one of them is now.

    Windows that follow each other without a gap count as one. Where they never leave a gap, the end of
    the last one that was looked at is given.
    """
    windows = list(freezes)
    moment, closed = now, None
    for _ in range(_MOST_WINDOWS):
        ends = [end for freeze in windows if (end := closed_until(freeze, moment)) is not None]
        if not ends:
            break
        moment = closed = max(ends)
    return closed


def spoken(moment: int, timezone: str) -> str:
    """A moment as people there write it: ``2026-03-29 03:00 Europe/Berlin``."""
    local = datetime.fromtimestamp(moment, ZoneInfo(timezone))
    return f"{local:%Y-%m-%d %H:%M} {timezone}"
