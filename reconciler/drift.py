"""Drift: what the live stores hold beside what git wants and what the last apply left there.

Three states decide each verdict: the wish, the observation and the record (the inventory).

- in_sync: the observation is the wish.
- pending: the store still is as recorded; git moved. The next apply changes it.
- drift: the store moved since the record: *missing*, *moved*, or *extra* (ours, back or left over).
- hold: it differs, and a hold or a suspension says that it stays so for now.
- corrupt: its bytes are not what they must be.
- unmanaged: nobody declared it and the record does not claim it; never touched.
- unknown: the store could not be read, so nothing may be said.

Never reads a store; the caller passes the observations and states their depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.diff import joined, managed
from reconciler.errors import Problem
from reconciler.governance import Exemption, Holder
from reconciler.ledger import Inventory
from reconciler.model import NOTHING, Address, DatasetId, Declaration, Depth, Observed, Slots, Value
from reconciler.shape import Shape

SCHEMA = "reconciler/drift/v1"
_HOLDABLE = frozenset({"pending", "drift"})
VERDICTS = ("in_sync", "pending", "drift", "hold", "corrupt", "unmanaged", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftItem:
    """One address that is not in sync. `what` is missing, moved or extra for drift, else empty."""

    address: Address
    verdict: str
    what: str = ""
    wanted: Slots = field(default_factory=lambda: NOTHING)
    live: Slots = field(default_factory=lambda: NOTHING)
    recorded: Slots | None = None
    problems: tuple[Problem, ...] = ()
    place: str = ""
    hold: Exemption | None = None

    def to_json(self) -> dict[str, Any]:
        """The stable keys of an item."""
        return {
            "address": str(self.address),
            "verdict": self.verdict,
            "what": self.what,
            "wanted": dict(self.wanted) or None,
            "live": dict(self.live) or None,
            "recorded": None if self.recorded is None else dict(self.recorded) or None,
            "problems": [problem.to_json() for problem in self.problems],
            "place": self.place,
            "hold": None
            if self.hold is None
            else {"owner": self.hold.owner, "reason": self.hold.reason, "expires": self.hold.expires},
        }


@dataclass(slots=True)
class DriftReport:
    """The verdicts of one or more stores, the depth they rest on, and warnings."""

    commit: str
    depth: Depth
    summary: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    items: list[DriftItem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    readable: bool = True

    def add(self, item: DriftItem) -> None:
        """Count and keep one item."""
        self.summary[item.verdict] += 1
        self.items.append(item)

    def to_json(self) -> dict[str, Any]:
        """The stable keys of the report."""
        return {
            "schema": SCHEMA,
            "commit": self.commit,
            "depth": self.depth.value,
            "summary": self.summary,
            "items": [item.to_json() for item in self.items],
            "warnings": self.warnings,
        }


def unreadable(
    report: DriftReport, declarations: Iterable[Declaration], problems: tuple[Problem, ...]
) -> None:
    """Add a store that could not be read: nothing is known of any of its addresses."""
    report.readable = False
    for wish in declarations:
        report.add(
            DriftItem(
                address=wish.address,
                verdict="unknown",
                wanted=wish.slots,
                problems=problems,
                place=str(wish.place),
            )
        )


def observe_drift(
    report: DriftReport,
    declarations: Iterable[Declaration],
    observations: Iterable[Observed],
    inventory: Inventory,
    *,
    shape: Shape,
    everything_ours: bool,
    holder: Holder | None = None,
) -> None:
    """Add the verdicts of one store to the report.

    Args:
        report: where verdicts are counted and items kept.
        declarations: the wish, sorted by address.
        observations: everything that was seen in the store, sorted by address.
        inventory: what the last applies from git left there.
        shape: the store kind's meaning of slots.
        everything_ours: whether the store is declared authoritative.
        holder: says which addresses are held; None where nothing is.
    """
    newest: dict[str, DatasetId] = {}
    aliases: dict[str, DatasetId] = {}
    for address, wish, sight in joined(declarations, observations):
        three = _Three(
            address=address,
            wish=wish,
            live=sight.slots if sight else NOTHING,
            recorded=inventory.recorded.get(address),
            claimed=everything_ours,
            shape=shape,
        )
        _note_latest(address, three.live, newest, aliases)
        if sight is not None and sight.problems:
            report.add(three.item("corrupt", "", sight.problems))
            continue
        verdict, what = three.verdict()
        hold = holder(address) if holder and verdict in _HOLDABLE else None
        if hold is not None:
            report.add(replace(three.item("hold", what), hold=hold))
        elif verdict != "in_sync":
            report.add(three.item(verdict, what))
        elif wish is not None:
            report.summary["in_sync"] += 1
    report.warnings += _latest_warnings(newest, aliases)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Three:
    """The three states of one address, and whose it is."""

    address: Address
    wish: Declaration | None
    live: Slots
    recorded: Slots | None
    claimed: bool
    shape: Shape

    def item(self, verdict: str, what: str, problems: tuple[Problem, ...] = ()) -> DriftItem:
        return DriftItem(
            address=self.address,
            verdict=verdict,
            what=what,
            wanted=self.wish.slots if self.wish else NOTHING,
            live=self.live,
            recorded=self.recorded,
            problems=problems,
            place=str(self.wish.place) if self.wish else "",
        )

    def verdict(self) -> tuple[str, str]:
        if self.wish is not None and self.wish.slots:
            return self._declared(managed(self.wish, self.recorded or NOTHING, self.shape))
        derived = self.wish is None and self.shape.derived(self.address)
        if derived or not self._removable(self.live) or self._stays():
            return "in_sync", ""
        if self.wish is None and self.shape.omittable(self.address):
            return "unmanaged", ""
        if self.recorded is not None and self._removable(self.recorded):
            return ("pending", "") if self._holds(self.recorded) else ("drift", "moved")
        if self.recorded is not None or (self.claimed and self.wish is None):
            return "drift", "extra"
        return ("unmanaged", "") if self.wish is None else ("pending", "")

    def _declared(self, wanted: Mapping[str, Value | None]) -> tuple[str, str]:
        if self._holds(wanted):
            return "in_sync", ""
        if self.recorded is None:
            return "pending", ""
        returned = self._removable(self.live) and not self._removable(self.recorded)
        if self._holds(self.recorded) and not returned:
            return "pending", ""
        lacking = any(slot not in self.live for slot in self.recorded)
        return "drift", "missing" if lacking else "moved"

    def _stays(self) -> bool:
        """Whether it is ours, undeclared, and stays because something else uses it."""
        listing = self.shape.users.get(self.address.kind)
        used = listing is not None and bool(self.live.get(listing[0]))
        return used and self.wish is None and bool(self.recorded)

    def _removable(self, slots: Slots) -> bool:
        """Whether there is anything that a removal would take away."""
        return any((self.address.kind, slot) not in self.shape.permanent for slot in slots)

    def _holds(self, slots: Mapping[str, Value | None]) -> bool:
        return all(self.live.get(slot) == value for slot, value in slots.items())


def _note_latest(
    address: Address, live: Slots, newest: dict[str, DatasetId], aliases: dict[str, DatasetId]
) -> None:
    if address.kind == "dataset" and "entry" in live:
        dataset = DatasetId(*address.key.split("/"))
        if dataset.scope not in newest or newest[dataset.scope].release < dataset.release:
            newest[dataset.scope] = dataset
    elif address.kind == "alias" and isinstance(value := live.get("dataset"), str):
        dataset = DatasetId(*value.split("/"))
        aliases[str(address)] = dataset


def _latest_warnings(newest: dict[str, DatasetId], aliases: dict[str, DatasetId]) -> list[str]:
    """Where the reference server, which takes the greatest release as text, will disagree (contract 8.2)."""
    return [
        f"{alias} is {dataset}, but the reference server takes the greatest release text as latest: "
        f"{newest[dataset.scope]}"
        for alias, dataset in sorted(aliases.items())
        if newest.get(dataset.scope, dataset) != dataset
    ]
