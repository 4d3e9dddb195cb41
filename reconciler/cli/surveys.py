"""What rules must know of the stores beside the plan: read once, only where the plan asks for it.

A plan observes what is declared and what is ours. Rules about lines, budgets and rollbacks also need what
others put there, and what the store before this one holds. A plan without steps needs none of it and
costs nothing here.

- one reading of the heads: the touched lines, what the changed names need, how many things are live;
- one deep reading of what a rollback returns to;
- the store that `promotesFrom` names, opened to read: only what is promoted, and since when it stands
  there by the clock of that store (when its ledger's outcome was put, never the time of a commit);
- the ledger, where a release returns that an apply of ours took away.

The intent of a plan does not hold what is read here: it binds what would change, not everything that was
looked at, so that a plan stays good while others work beside it. Whoever applies surveys again and judges by
that. Between this reading and the commit another writer can still make a judgement about a whole line
untrue; what it cannot do is make the commit break what readers see, because the store compares every
`before` and checks every name under its lock.

Decides nothing about a plan and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from reconciler.ledger import Record
from reconciler.model import NOTHING, Address, Depth, Observed, Selection, Slots, merged
from reconciler.policy.actions import visible
from reconciler.policy.facts import StoreFacts, Upstream
from reconciler.policy.lines import lines_touched
from reconciler.shape import Shape
from reconciler.stores.port import Store

Ledgers = Callable[[Store], Iterable[Record]]
"""Gives the ledger of a store."""


def ledger_of(store: Store) -> Iterable[Record]:
    """A store's own ledger."""
    return store.history()


def surveyed(
    facts: StoreFacts,
    store: Store,
    above: Callable[[str], Store],
    records: Ledgers | None = ledger_of,
) -> StoreFacts:
    """The facts of one store with everything that its rules may ask for.

    Args:
        facts: with the plan, the difference and the inventory.
        store: the open store.
        above: opens the store of a name, to read; asked only where something is promoted.
        records: gives a store's ledger; None where snapshots stand in for the stores.

    Raises:
        Unavailable: one of the stores cannot be read.
    """
    if not facts.plan.steps:
        return facts
    facts = _with_heads(facts, store.snapshot(Selection(depth=Depth.HEADS)))
    appearing = frozenset(address for address, _ in facts.appearing)
    gone = frozenset(address for address in appearing if facts.inventory.recorded.get(address) == NOTHING)
    source = str(facts.plan.config.settings.get("promotesFrom", ""))
    unsound = _unsound(facts, store)
    if not (unsound or gone or source):
        return facts
    return replace(
        facts,
        unsound=unsound,
        formerly=_formerly(records(store), gone) if gone and records else {},
        upstream=_upstream(facts, appearing, above(source), records) if source and appearing else None,
    )


def _with_heads(facts: StoreFacts, sights: Iterable[Observed]) -> StoreFacts:
    """One pass over what readers see: the lines that matter, and how much there is of everything."""
    shape = facts.plan.shape
    lines = lines_touched(shape, facts.touched)
    needed = {a for at, state in facts.touched.items() for a, _ in shape.needs(at, state.after)}
    survey: dict[Address, Slots] = {}
    counts: dict[str, int] = {}
    editions: dict[str, int] = {}
    leaving = any(
        shape.release(address, before) and not shape.release(address, after)
        for address, (before, after) in facts.touched.items()
    )
    for sight in sights:
        address, slots = sight.address, sight.slots
        if address in needed or shape.line(address, slots) in lines:
            survey[address] = slots
        if visible(shape, address, slots) and not shape.derived(address):
            counts[address.kind] = counts.get(address.kind, 0) + 1
        release = shape.release(address, slots) if leaving else None
        if release is not None and release.edition:
            editions[release.edition] = editions.get(release.edition, 0) + 1
    return replace(facts, survey=survey, live_counts=counts, editions=editions)


def _unsound(facts: StoreFacts, store: Store) -> frozenset[Address]:
    """What a rollback would return to and whose bytes are not what they were."""
    targets = set()
    for line in facts.lines.values():
        step = line.steps_back()
        # What this plan makes discoverable first is verified as it is promoted.
        if step is not None and step.end is not None and step.end in line.before:
            targets.add(line.after[step.end].target)
    if not targets:
        return frozenset()
    seen = store.snapshot(Selection(addresses=frozenset(targets), depth=Depth.DEEP))
    sound = {sight.address for sight in seen if not sight.problems}
    return frozenset(targets - sound)


def _formerly(records: Iterable[Record], addresses: frozenset[Address]) -> Mapping[Address, Slots]:
    """The slots that each address last had, by the ledger."""
    found: dict[Address, Slots] = {}
    for record in records:
        found.update({address: slots for address, slots in record.run.adopted if address in addresses})
        for change in record.applied_changes():
            if change.address in addresses and change.after is not None:
                found[change.address] = merged(found.get(change.address, NOTHING), (change,))
    return found


def _upstream(
    facts: StoreFacts,
    addresses: frozenset[Address],
    store: Store,
    records: Ledgers | None,
) -> Mapping[Address, Upstream]:
    """What the store before this one holds of some addresses, under the addresses of this one."""
    names = {address._replace(store=store.config.name): address for address in addresses}
    seen = {
        sight.address: sight.slots
        for sight in store.snapshot(Selection(addresses=frozenset(names), depth=Depth.MANIFESTS))
        if not sight.problems
    }
    since = _since(facts.plan.shape, records(store), frozenset(seen)) if records else {}
    return {
        names[address]: Upstream(slots=slots, since=since.get(address), asked=records is not None)
        for address, slots in seen.items()
    }


def _since(shape: Shape, records: Iterable[Record], addresses: frozenset[Address]) -> Mapping[Address, int]:
    """Since when each release stands as it is, by the times at which the ledger's records were closed."""
    state: dict[Address, Slots] = {}
    since: dict[Address, int] = {}
    for record in records:
        written: dict[Address, Slots] = {
            address: {**state.get(address, NOTHING), **slots}
            for address, slots in record.run.adopted
            if address in addresses
        }
        for change in record.applied_changes():
            address = change.address
            if address in addresses:
                slots = written.get(address, state.get(address, NOTHING))
                written[address] = merged(slots, (change,))
        for address, slots in written.items():
            before = shape.release(address, state.get(address, NOTHING))
            after = shape.release(address, slots)
            state[address] = slots
            if after is None:
                since.pop(address, None)
            elif (before is None or before.digest != after.digest) and record.closed_at is not None:
                since[address] = record.closed_at
    return since
