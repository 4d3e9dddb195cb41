"""What the addresses of a serving store mean for planning; pure.

Decides how changes are cut into the units that the store writes at once, in which order they are safe,
and what each is called:

    publish R/P/A      one dataset directory, made visible by one rename
    promote            every addition to the catalog and every repair in it: one write
    set|move|bind …    one alias file
    drop …             one alias file
    roll back          every removal from the catalog: one write, last

Referenced things come before what refers to them on the way up (artifact, catalog, alias) and the exact
reverse on the way down (alias, catalog). Artifacts are never removed: only garbage collection does that.

Slots: `dataset/R/P/A` has artifact, entry and diffs; `alias/latest` and `alias/SPECIES/ASSEMBLY` have
dataset and binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from reconciler.model import Address, Change, Slots, Step, Value, dataset_id_problem
from reconciler.shape import Pointer, Release

DATASET: Final = "dataset"
ALIAS: Final = "alias"
LATEST: Final = "latest"

ARTIFACT: Final = "artifact"
ENTRY: Final = "entry"
DIFFS: Final = "diffs"
NAMED: Final = "dataset"
BINDING: Final = "binding"

LISTED: Final = "listed"
LISTED_AT: Final = "listed at "
BOUND: Final = "catalog"

_NAMING: Final = frozenset({ARTIFACT, ENTRY, NAMED})
"""Slots whose change gives the verb of an address; they come first in a step."""

CATALOG_UNIT: Final = "catalog"
PROMOTE_ID: Final = "promote"
ROLL_BACK_ID: Final = "roll back"


class ServingShape:
    """The shape of a serving store (see `reconciler.shape.Shape`)."""

    permanent: frozenset[tuple[str, str]] = frozenset({(DATASET, ARTIFACT)})
    retained: frozenset[tuple[str, str]] = frozenset()
    users: Mapping[str, tuple[str, str, str]] = MappingProxyType({})
    always: tuple[tuple[str, str], ...] = ((ALIAS, LATEST),)

    def omittable(self, address: Address) -> bool:
        """Aliases: git lets go of them by not naming them."""
        return address.kind == ALIAS

    def derived(self, address: Address) -> bool:  # noqa: ARG002 - the protocol's signature
        """Nothing: every slot of this store is written by somebody."""
        return False

    def follower(self, store: str, line: str) -> Address | None:  # noqa: ARG002 - as above
        """Nothing: names move when git says so."""
        return None

    def arrange(self, store: str, changes: Sequence[Change], sources: Mapping[Address, str]) -> list[Step]:
        """Publishes, one catalog write up, aliases, one catalog write down; ties by address."""
        publishes: list[Change] = []
        up: list[Change] = []
        down: list[Change] = []
        aliases: dict[Address, list[Change]] = {}
        removed = {c.address for c in changes if c.slot == ENTRY and c.after is None}
        for change in sorted(changes, key=lambda c: (c.address, c.slot not in _NAMING, c.slot)):
            if change.address.kind == ALIAS:
                aliases.setdefault(change.address, []).append(change)
            elif change.slot == ARTIFACT:
                publishes.append(change)
            elif change.address in removed:
                down.append(change)
            else:
                up.append(change)
        steps = [_publish(store, change, sources) for change in publishes if change.after is not None]
        steps += _catalog(store, PROMOTE_ID, up, steps)
        dropped = {a for a, of_alias in aliases.items() if _drops(of_alias)}
        lead = _last(steps, PROMOTE_ID) or tuple(step.id for step in steps)
        steps += [_alias(store, aliases[a], lead) for a in sorted(aliases) if a not in dropped]
        steps += [_alias(store, aliases[a], lead) for a in sorted(dropped)]
        return steps + _catalog(store, ROLL_BACK_ID, down, steps)

    def verb(self, kind: str, slot: str, before: Value | None, after: Value | None) -> str:
        """The name of a change; total over every kind and slot."""
        if kind == ALIAS:
            return _alias_verb(slot, before, after)
        if slot == ARTIFACT:
            return "publish" if after is not None else "delete artifact"
        if slot == DIFFS:
            return "set diffs"
        if after is None:
            return "roll back"
        return "promote" if before is None else "relist"

    def line(self, address: Address, slots: Slots) -> str | None:
        """Species and assembly: of a dataset, or of the one that an alias names."""
        key = address.key if address.kind == DATASET else slots.get(NAMED)
        return key.partition("/")[2] if isinstance(key, str) else None

    def release(self, address: Address, slots: Slots) -> Release | None:
        """A dataset that the catalog lists; releases compare as numbers."""
        if address.kind != DATASET or ENTRY not in slots:
            return None
        release = address.key.partition("/")[0]
        digest = str(slots.get(ARTIFACT, ""))
        return Release((int(release), release), stable=True, digest=digest, edition=release, target=address)

    def pointer(self, address: Address, slots: Slots) -> Pointer | None:
        """What an alias names."""
        named = slots.get(NAMED) if address.kind == ALIAS else None
        if not isinstance(named, str):
            return None
        return Pointer(Address(address.store, DATASET, named), follows=True)

    def legal(self, address: Address, slots: Slots) -> bool:
        """A dataset id or an alias, with slots of the kinds that these have."""
        if any(isinstance(value, tuple) != (slot == DIFFS) for slot, value in slots.items()):
            return False
        if address.kind == ALIAS:
            named = slots.get(NAMED)
            return slots.keys() <= {NAMED, BINDING} and (named is None or _is_id(named))
        return address.kind == DATASET and slots.keys() <= {ARTIFACT, ENTRY, DIFFS} and _is_id(address.key)

    def needs(self, address: Address, slots: Slots) -> tuple[tuple[Address, str], ...]:
        """An alias needs its dataset's entry, an entry its artifact, diffs their entry."""
        if address.kind == ALIAS:
            pointer = self.pointer(address, slots)
            return ((pointer.target, ENTRY),) if pointer else ()
        entry = ((address, ARTIFACT),) if ENTRY in slots else ()
        return (*entry, (address, ENTRY)) if DIFFS in slots else entry


SHAPE: Final = ServingShape()


def _is_id(text: Value) -> bool:
    return isinstance(text, str) and dataset_id_problem(text) is None


def alias_words(key: str) -> str:
    """The unit and the name of an alias in step ids: ``alias latest``."""
    return f"{ALIAS} {key}"


def _alias_verb(slot: str, before: Value | None, after: Value | None) -> str:
    if after is None:
        return "drop alias"
    if slot == BINDING:
        return "bind alias"
    return "set alias" if before is None else "move alias"


def _drops(changes: Iterable[Change]) -> bool:
    return any(change.slot == NAMED and change.after is None for change in changes)


def _last(steps: Iterable[Step], wanted: str) -> tuple[str, ...]:
    return tuple(step.id for step in steps if step.id == wanted)


def _publish(store: str, change: Change, sources: Mapping[Address, str]) -> Step:
    address = change.address
    return Step(
        id=f"publish {address.key}",
        store=store,
        unit=f"{DATASET} {address.key}",
        changes=(change,),
        sources={address: sources[address]} if address in sources else {},
    )


def _catalog(store: str, name: str, changes: Sequence[Change], before: Sequence[Step]) -> list[Step]:
    if not changes:
        return []
    return [
        Step(
            id=name,
            store=store,
            unit=CATALOG_UNIT,
            changes=tuple(changes),
            after=tuple(step.id for step in before),
        )
    ]


def _alias(store: str, changes: Sequence[Change], lead: tuple[str, ...]) -> Step:
    first = next((c for c in changes if c.slot == NAMED), changes[0])
    verb = _alias_verb(first.slot, first.before, first.after)
    return Step(
        id=f"{verb} {first.address.key}",
        store=store,
        unit=alias_words(first.address.key),
        changes=tuple(changes),
        after=lead,
    )
