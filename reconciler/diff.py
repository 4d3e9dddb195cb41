"""Compare a wish with an observation: two streams sorted by address, joined once.

Decides, for one store, which slots must change, what already is as declared but not yet ours
(adoption), and which of our things stand in the store without being declared any more (removal). A
slot that a declaration does not name, and that no apply of ours left, is not compared. Content that
cannot be trusted is passed on as corrupt and never compared.

Never reads anything: the caller gives declarations, observations and the inventory. Only what differs is
kept, so that the cost in memory follows the change and not the catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from operator import attrgetter

from reconciler.governance import Holder
from reconciler.ledger import Inventory
from reconciler.model import NOTHING, Address, Change, Declaration, Observed, Slots, Value
from reconciler.shape import Shape


@dataclass(slots=True)
class Difference:
    """What separates one store from the wish.

    Attributes:
        changes: slot changes, by address.
        sources: where the bytes of an address come from, for those that change.
        adopted: addresses (with the slots as they are) that the record will make ours.
        removals: addresses of ours that are no longer declared, with no tombstone.
        corrupt: observations of declared or owned addresses whose content is broken.
        declarations: the declarations of the addresses that change.
        observed: the observations of the addresses that change, and of those that are always observed.
        unchanged: how many declarations are as they should be.
        newly_ours: how many unchanged declarations were not in the inventory.
        held: addresses that would change if nothing held them.
        protection: addresses whose protection the record will begin, or end.
    """

    changes: list[Change] = field(default_factory=list)
    sources: dict[Address, str] = field(default_factory=dict)
    adopted: list[tuple[Address, Slots]] = field(default_factory=list)
    removals: list[Address] = field(default_factory=list)
    corrupt: list[Observed] = field(default_factory=list)
    declarations: dict[Address, Declaration] = field(default_factory=dict)
    observed: dict[Address, Slots] = field(default_factory=dict)
    unchanged: int = 0
    newly_ours: int = 0
    held: list[Address] = field(default_factory=list)
    protection: list[tuple[Address, bool]] = field(default_factory=list)


def joined(
    declarations: Iterable[Declaration], observations: Iterable[Observed]
) -> Iterator[tuple[Address, Declaration | None, Observed | None]]:
    """Pair two streams that are sorted by address; a side without the address is None."""
    wishes, sights = iter(declarations), iter(observations)
    wish, sight = next(wishes, None), next(sights, None)
    while wish is not None and sight is not None:
        if wish.address == sight.address:
            yield wish.address, wish, sight
            wish, sight = next(wishes, None), next(sights, None)
        elif wish.address < sight.address:
            yield wish.address, wish, None
            wish = next(wishes, None)
        else:
            yield sight.address, None, sight
            sight = next(sights, None)
    while wish is not None:
        yield wish.address, wish, None
        wish = next(wishes, None)
    while sight is not None:
        yield sight.address, None, sight
        sight = next(sights, None)


def compared(
    store: str, declarations: Iterable[Declaration], inventory: Inventory, shape: Shape
) -> AbstractSet[Address]:
    """The addresses of a store that a difference is about: declared, ours, or always observed."""
    ours = inventory.recorded
    declared = map(attrgetter("address"), declarations)
    always = (Address(store, kind, key) for kind, key in shape.always)
    others = [address for address in (*declared, *always) if address not in ours]
    # Nearly all that is declared is ours: another set of very many addresses is seldom needed.
    return frozenset(ours).union(others) if others else ours.keys()


def difference(
    declarations: Iterable[Declaration],
    observations: Iterable[Observed],
    inventory: Inventory,
    *,
    shape: Shape,
    everything_ours: bool,
    recoverable: frozenset[str] = frozenset({"E_ARTIFACT_MISSING", "E_HALF_PUBLISHED"}),
    holder: Holder | None = None,
) -> Difference:
    """Compare the declarations of one store with what was observed in it.

    Args:
        declarations: the wish, sorted by address.
        observations: what was seen, sorted by address.
        inventory: what is ours.
        shape: the store kind's meaning of slots.
        everything_ours: whether the store is declared authoritative.
        recoverable: codes of problems that a publish with a source repairs.
        holder: says which addresses stay as they are live; None where nothing is held.
    """
    result = Difference()
    always = frozenset(shape.always)
    used: list[Observed] = []
    for address, wish, sight in joined(declarations, observations):
        shield = None if wish is None else wish.protected
        if shield is not None and shield != (address in inventory.protected):
            result.protection.append((address, shield))
        if always and sight is not None and (address.kind, address.key) in always:
            result.observed[address] = sight.slots
        if wish is None:
            ours = everything_ours or inventory.owns(address)
            if sight is None or not ours:
                continue
            if holder is not None and holder(address):
                _held(result, address, _removal(address, sight.slots, shape))
            elif address.kind in shape.users and sight.slots.get(shape.users[address.kind][0]):
                used.append(sight)
            elif not shape.omittable(address):
                _undeclared(result, sight, shape)
        elif sight is not None and sight.problems and not _proceeds(wish, sight, recoverable):
            result.corrupt.append(sight)
        elif holder is not None and holder(address):
            aside = Difference()
            _declared(aside, wish, sight.slots if sight else NOTHING, inventory.recorded, shape)
            _held(result, address, aside.changes)
        else:
            _declared(result, wish, sight.slots if sight else NOTHING, inventory.recorded, shape)
    _no_longer_used(result, used, shape)
    return result


def _held(result: Difference, address: Address, changes: list[Change]) -> None:
    """Leave an address alone: it neither changes nor becomes ours while it is held."""
    if changes:
        result.held.append(address)
    else:
        result.unchanged += 1


def managed(wish: Declaration, recorded: Slots, shape: Shape) -> Mapping[str, Value | None]:
    """The slots that a wish decides, with None where a slot must be absent.

    That is so for an empty list, and for a slot that an apply of ours left and that the wish does not
    name any more: what git set, git can take back. A slot that was never ours is not decided.
    """
    decided: dict[str, Value | None] = {slot: value or None for slot, value in wish.slots.items()}
    for slot in recorded:
        if slot not in decided and (wish.address.kind, slot) not in shape.permanent | shape.retained:
            decided[slot] = None
    return decided


def _proceeds(wish: Declaration, sight: Observed, recoverable: frozenset[str]) -> bool:
    """Whether broken content may be planned over: to take it out of sight, or to complete it."""
    if not wish.slots:
        return True
    return wish.source is not None and all(problem.code in recoverable for problem in sight.problems)


def _undeclared(result: Difference, sight: Observed, shape: Shape) -> None:
    changes = _removal(sight.address, sight.slots, shape)
    if changes:
        result.changes += changes
        result.removals.append(sight.address)
        result.observed[sight.address] = sight.slots


def _stands(wanted: Slots, live: Slots) -> bool:
    """Whether exactly the slots that are wanted are there; an empty value is the wish for an absent slot."""
    return live == wanted or live == {slot: value for slot, value in wanted.items() if value}


def _no_longer_used(result: Difference, used: Iterable[Observed], shape: Shape) -> None:
    """Let go of undeclared things whose last user leaves them with these very changes."""
    leaving = {(change.address, change.slot) for change in result.changes if change.before is not None}
    for sight in used:
        listing, kind, naming = shape.users[sight.address.kind]
        store = sight.address.store
        if all((Address(store, kind, key), naming) in leaving for key in sight.slots[listing]):
            result.changes += _removal(sight.address, sight.slots, shape)
            result.observed[sight.address] = sight.slots


def _removal(address: Address, slots: Slots, shape: Shape) -> list[Change]:
    return [
        Change(address, slot, slots[slot], None)
        for slot in sorted(slots)
        if (address.kind, slot) not in shape.permanent
    ]


def _declared(
    result: Difference,
    wish: Declaration,
    live: Slots,
    recorded: Mapping[Address, Slots],
    shape: Shape,
) -> None:
    address, ours = wish.address, recorded.get(wish.address, NOTHING)
    if live == ours and _stands(wish.slots, live):  # nearly every address of nearly every plan
        result.unchanged += 1
        return
    wanted = managed(wish, ours, shape)
    if wish.slots:
        changes = [
            Change(address, slot, live.get(slot), value)
            for slot, value in wanted.items()
            if live.get(slot) != value
        ]
    else:
        changes = _removal(address, live, shape)
    if changes:
        result.changes += changes
        result.declarations[address] = wish
        result.observed[address] = live
        if wish.source is not None:
            result.sources[address] = wish.source
        moved = {change.slot for change in changes}
        kept = {slot: value for slot, value in wanted.items() if value is not None and slot not in moved}
        if any(ours.get(slot) != value for slot, value in kept.items()):
            result.adopted.append((address, kept))
        return
    result.unchanged += 1
    kept = {slot: value for slot, value in wanted.items() if value is not None}
    if wish.slots and ours != kept:
        result.adopted.append((address, kept))
        result.newly_ours += not ours
