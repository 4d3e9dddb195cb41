"""Budgets: how much of what is live one plan may take away, change or point elsewhere.

A create and an adoption are free. Everything else is counted by what happens to an address as a whole:
it goes (*delete*: nobody finds it any more), it names something else (*retarget*), or the rest (*update*).
Each kind of action has its own budget, absolute and in per cent, for each scope (one kind of thing in one
store) and for all scopes together, because many small scopes add up and one small scope can be lost whole.

Deletes that an `approved-deletes` exception names with their exact number are not counted. Nothing else
raises a budget but the policy itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from reconciler.governance import Budget, ExceptionType, Guards, Headroom
from reconciler.model import Address, Finding, Place, Severity
from reconciler.plan import WHOLE_PLAN
from reconciler.policy.actions import DELETE, RETARGET, UPDATE
from reconciler.policy.facts import Facts, StoreFacts

_ALL_SCOPES: Final = "all scopes"
_VERBS: Final[Mapping[str, str]] = {DELETE: "take away", UPDATE: "change", RETARGET: "move"}
_CODES: Final[Mapping[str, str]] = {
    DELETE: "E_DELETE_BUDGET",
    UPDATE: "E_UPDATE_BUDGET",
    RETARGET: "E_RETARGET_BUDGET",
}
BUDGET_CODES: Final = frozenset({*_CODES.values(), "E_RATE_BUDGET"})
"""The codes of what is only too much, and not wrong."""


def counted(store: StoreFacts, action: str) -> list[Address]:
    """The addresses of one store to which this action happens."""
    return [address for address, happens in store.actions.items() if happens == action]


def allowance(budget: Budget, live: int) -> int:
    """How many things of a scope a plan may act on: the larger of the number and the share."""
    return max(budget.count, live * budget.percent // 100)


def whole_allowance(budget: Budget, live: int) -> int | None:
    """How many things of all scopes together; None where too few are live for a share to mean much."""
    return max(budget.total_count, live * budget.total_percent // 100) if live > budget.above else None


def approved(guards: Guards, addresses: list[Address], now: int) -> frozenset[Address]:
    """The deletes that exceptions in force approve, each by the exact number of its subject."""
    found: set[Address] = set()
    for exemption in guards.in_force(ExceptionType.APPROVED_DELETES, now):
        subject = [address for address in addresses if exemption.covers(str(address))]
        if len(subject) == exemption.count:
            found.update(subject)
    return frozenset(found)


def delete_budget(facts: Facts) -> Iterator[Finding]:
    """A plan takes no more away than its budget, unless somebody approved the exact number."""
    return _over(facts, DELETE)


def update_budget(facts: Facts) -> Iterator[Finding]:
    """A plan changes no more of what is live than its budget."""
    return _over(facts, UPDATE)


def retarget_budget(facts: Facts) -> Iterator[Finding]:
    """A plan points no more names elsewhere than its budget."""
    return _over(facts, RETARGET)


def headroom(facts: Facts) -> tuple[Headroom, ...]:
    """How much of each budget the plan uses, in every scope of the stores that it changes and in all."""
    return tuple(use.room for action in (DELETE, UPDATE, RETARGET) for use in _uses(facts, action))


def rooms_of(address: Address, action: str, rooms: Iterable[Headroom]) -> Iterator[Headroom]:
    """The budgets in which what happens to an address is counted."""
    scopes = {f"{address.store}/{address.kind}", _ALL_SCOPES}
    return (room for room in rooms if room.action == action and room.scope in scopes)


class _Use(NamedTuple):
    """What a plan uses of one budget, of how much, and where the first of it was written."""

    room: Headroom
    live: int
    place: Place | None


def _uses(facts: Facts, action: str) -> Iterator[_Use]:
    budget = facts.guards.budgets.get(action)
    if budget is None:
        return
    acted = {store.name: counted(store, action) for store in facts.stores}
    everything = [address for addresses in acted.values() for address in addresses]
    excused = approved(facts.guards, everything, facts.now) if action == DELETE else frozenset()
    total = 0
    for store in facts.stores:
        rest = [address for address in acted[store.name] if address not in excused]
        scopes = Counter(address.kind for address in rest)
        total += scopes.total()
        for kind in sorted({*scopes, *store.live_counts}):
            live = store.live_counts.get(kind, 0)
            room = Headroom(action, f"{store.name}/{kind}", scopes[kind], allowance(budget, live))
            yield _Use(room, live, _first(store, [address for address in rest if address.kind == kind]))
    live = sum(sum(store.live_counts.values()) for store in facts.stores)
    most = whole_allowance(budget, live)
    if most is not None:
        yield _Use(Headroom(action, _ALL_SCOPES, total, most), live, None)


def _over(facts: Facts, action: str) -> Iterator[Finding]:
    for room, live, place in _uses(facts, action):
        if room.used <= room.allowed:
            continue
        everywhere = room.scope == _ALL_SCOPES
        where = f" in {_ALL_SCOPES}" if everywhere else ""
        sentence = f"the plan would {_VERBS[action]} {room.used} of {live}{where}, {room.allowed}"
        yield _finding(action, WHOLE_PLAN if everywhere else room.scope, sentence, place)


def _finding(action: str, subject: str, sentence: str, place: Place | None) -> Finding:
    return Finding(
        rule=f"{action}-budget",
        severity=Severity.DENY,
        subject=subject,
        message=f"{sentence} are within the budget",
        place=place,
        code=_CODES[action],
        fix="split the change, or have the exact number approved with an approved-deletes exception"
        if action == DELETE
        else "split the change, or raise the budget in the policy first",
    )


def _first(store: StoreFacts, addresses: list[Address]) -> Place | None:
    places = (place for address in sorted(addresses) if (place := store.place(address)) is not None)
    return next(places, None)
