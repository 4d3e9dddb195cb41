"""What writes to an ATProto account cost, and what an account may spend: values only.

A server counts points for each account: 3 to create a record, 2 to update and 1 to delete one. Public servers
allow 5,000 in an hour and 35,000 in a day; a store may name other numbers. Batching saves requests and time,
never points.

Source: https://docs.bsky.app/docs/advanced-guides/rate-limits
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from reconciler.model import Change, StoreConfig

KIND: Final = "atproto"
CONTENT: Final = "content"
"""The slot that stands for a whole record; the others follow from it."""

COSTS: Final = {"create": 3, "update": 2, "delete": 1}


class Allowance(NamedTuple):
    """The points that an account may spend."""

    hour: int = 5_000
    day: int = 35_000


def points_of(changes: Iterable[Change]) -> int:
    """What the writes for some changes cost."""
    return sum(COSTS[change.actions[0]] for change in changes if change.slot == CONTENT)


def allowance_of(config: StoreConfig) -> Allowance:
    """What an account may spend, as its store is configured."""
    usual, settings = Allowance(), config.settings
    return Allowance(
        hour=int(settings.get("pointsPerHour", usual.hour)), day=int(settings.get("pointsPerDay", usual.day))
    )
