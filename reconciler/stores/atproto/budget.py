"""What a server lets an account still spend, as it says itself: so that a run waits before it is refused.

A server counts the points of an account's writes by the hour and by the day, and with every answer says how
many are left of the count that is nearest to its end (`RateLimit-Remaining`, `-Reset`, `-Policy`). A request
that is refused costs its points all the same, so a run that only waits to be refused spends the day's points
on nothing. What was said is kept here by the length of its time; between two answers our own spending is
taken off, and what stands beside the ledger tells the next run. It is a hint and never more: without it, or
where it is wrong, the server's refusal decides.

Times shorter than an hour count requests and not points. Nothing here waits, and nothing reads a clock.

Specification: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (as of its third draft)
and https://docs.bsky.app/docs/advanced-guides/rate-limits
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import orjson

from reconciler.canonical import canonical
from reconciler.points import COSTS
from reconciler.stores.atproto.writes import Write

HOUR: Final = 3_600
DAY: Final = 86_400

_SCHEMA: Final = "reconciler/rate-budget/v1"
_MARGIN: Final = 1
"""A server names the second in which a count begins anew, rounded down."""

_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_WINDOW = re.compile(r"[0-9]{1,12} *; *w=([0-9]{1,7})(?![0-9])", re.ASCII)


class Left(NamedTuple):
    """What is left of one count, and the Unix second in which it begins anew."""

    points: int
    reset: int


class Budget:
    """What is known of an account's counts, by the seconds that each is for."""

    def __init__(self, kept: bytes = b"") -> None:
        self._left: dict[int, Left] = _read(kept)

    def spent(self, points: int, headers: Mapping[str, str]) -> None:
        """Note what a request cost, done or refused, and what the server said with its answer."""
        self._left = {
            window: Left(max(0, left.points - (points if window >= HOUR else 1)), left.reset)
            for window, left in self._left.items()
        }
        policy = _WINDOW.match(headers.get("ratelimit-policy", ""))
        remaining, reset = headers.get("ratelimit-remaining", ""), headers.get("ratelimit-reset", "")
        if policy and _NUMBER.fullmatch(remaining) and _NUMBER.fullmatch(reset):
            self._left[int(policy.group(1))] = Left(int(remaining), int(reset))

    def wait(self, points: int, now: float) -> float:
        """For how many seconds a request of so many points is better kept back; 0 if it may be sent."""
        return max(
            (
                left.reset + _MARGIN - now
                for window, left in self._left.items()
                if left.points < (points if window >= HOUR else 1)
                and now <= left.reset <= now + window + _MARGIN
            ),
            default=0.0,
        )

    def left(self, now: float) -> dict[int, Left]:
        """The counts of points that have not begun anew, by their seconds."""
        return {
            window: left
            for window, left in sorted(self._left.items())
            if window >= HOUR and left.reset >= now
        }

    def begun(self, now: float) -> None:
        """Forget the counts that begin anew before some second; the next answer says how they stand."""
        until = now + _MARGIN
        self._left = {window: left for window, left in self._left.items() if left.reset > until}

    def kept(self) -> bytes:
        """What is known, to begin with another time."""
        counts = [
            {"seconds": window, "remaining": left.points, "reset": left.reset}
            for window, left in sorted(self._left.items())
            if window >= HOUR
        ]
        return canonical({"schema": _SCHEMA, "counts": counts}) + b"\n" if counts else b""


def cost_of(writes: Iterable[Write]) -> int:
    """The points that some operations cost."""
    return sum(COSTS[write.action] for write in writes)


def _read(kept: bytes) -> dict[int, Left]:
    """What was kept; nothing where it is not ours or broken."""
    try:
        document = orjson.loads(kept)
        if document["schema"] != _SCHEMA:
            return {}
        found = {one["seconds"]: Left(one["remaining"], one["reset"]) for one in document["counts"]}
    except (ValueError, LookupError, TypeError):
        return {}
    numbers = [number for window, left in found.items() for number in (window, *left)]
    return found if all(type(number) is int and number >= 0 for number in numbers) else {}
