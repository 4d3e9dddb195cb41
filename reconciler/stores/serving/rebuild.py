"""Rebuilding a broken catalog or alias from what is wanted, what the ledger says and what is on disk.

Decides which head files are beyond use: a catalog or an alias that cannot be read, and an alias that would
name nothing. They are renamed to `.reconciler/quarantine/<seq>-<name>`, never removed, and written anew:
every wanted dataset whose artifact still holds (contract 11) is listed, the alias is set if it is given.
A catalog that can be read keeps all its entries; what cannot be listed again is reported and left out.

A rebuild is a run like any other: an intent before it, an outcome after it, and killed anywhere it is
finished by the next run. Nothing broken and nothing to add writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from reconciler.errors import Corrupt, Denied, Problem
from reconciler.failpoints import failpoint
from reconciler.model import Address, Change, DatasetId, Slots, Step, StepResult
from reconciler.stores.serving.alias import Alias
from reconciler.stores.serving.catalog import Catalog
from reconciler.stores.serving.durable import QUARANTINE, move_aside
from reconciler.stores.serving.heads import (
    ALIAS_FILE,
    ALIASES_FILE,
    CATALOG_FILE,
    read_catalog,
    read_kept,
    read_latest,
)
from reconciler.stores.serving.order import (
    ALIAS,
    BINDING,
    BOUND,
    CATALOG_UNIT,
    DATASET,
    ENTRY,
    LATEST,
    LISTED,
    NAMED,
    alias_words,
)
from reconciler.stores.serving.preconditions import promotable
from reconciler.stores.serving.session import Session

REBUILD_ID: Final = "rebuild"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild did: the step results, the files it put aside, and what it could not list."""

    results: tuple[StepResult, ...]
    quarantined: tuple[str, ...]
    left_out: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilding:
    """What a rebuild is going to do."""

    steps: tuple[Step, ...]
    broken: tuple[str, ...]
    left_out: tuple[Problem, ...]


def is_rebuild(steps: Iterable[Step]) -> bool:
    """Whether a run is a rebuild, whose recovery must not expect readable heads."""
    return any(step.id.startswith(REBUILD_ID) for step in steps)


def listed_in(state: Mapping[Address, Slots]) -> tuple[DatasetId, ...]:
    """The datasets that a ledger's state lists."""
    keys = [address.key for address, slots in state.items() if address.kind == DATASET and ENTRY in slots]
    return tuple(sorted(DatasetId.parse(key) for key in keys))


def named_in(state: Mapping[Address, Slots]) -> Mapping[str, DatasetId]:
    """What each alias names by a ledger's state, by its key."""
    return {
        address.key: DatasetId.parse(str(slots[NAMED]))
        for address, slots in state.items()
        if address.kind == ALIAS and NAMED in slots
    }


def plan_rebuild(
    session: Session,
    store: str,
    wanted: Sequence[DatasetId],
    aliases: Mapping[str, DatasetId] = MappingProxyType({}),
    recorded: Mapping[str, DatasetId] = MappingProxyType({}),
) -> Rebuilding:
    """Decide what is broken and what to write instead.

    Args:
        session: the held lock.
        store: the store's name.
        wanted: the datasets that the catalog is to list.
        aliases: what each alias is to name, by its key.
        recorded: what the ledger says that each alias names; left out where that cannot be listed.

    Raises:
        Denied: E_ALIAS_TARGET, an alias would name a dataset that cannot be listed.
    """
    catalog = _readable(lambda: read_catalog(session.root, session.where))
    broken = [] if catalog is not None else [CATALOG_FILE]
    live = Catalog() if catalog is None else catalog
    missing = [one for one in sorted(set(wanted)) if live.find(one) is None]
    left_out: list[Problem] = []
    listed: list[DatasetId] = []
    for one in missing:
        problems = _problems(session, one)
        left_out += problems
        if not problems:
            listed.append(one)
    will_list = frozenset(listed) | {entry.id for entry in live.entries}
    standing = _standing(session, will_list, broken)
    named = {**recorded, **aliases}
    for key, dataset in sorted(named.items()):
        if dataset not in will_list:
            problem = _unlisted(key, dataset)
            if key in aliases:
                raise Denied(problem)
            left_out.append(problem)
            del named[key]
    steps = _catalog_steps(store, listed)
    for key, dataset in sorted(named.items()):
        if key not in standing or standing[key].dataset != dataset:
            steps.append(_alias_step(store, key, standing.get(key), dataset))
    return Rebuilding(steps=tuple(steps), broken=tuple(broken), left_out=tuple(left_out))


def _unlisted(key: str, dataset: DatasetId) -> Problem:
    return Problem(
        code="E_ALIAS_TARGET",
        message=f"the alias {key} can only name a dataset that the catalog lists",
        path=ALIAS_FILE,
        got=str(dataset),
        fix="restore that dataset, or name another",
    )


def put_aside(session: Session, steps: Iterable[Step]) -> tuple[str, ...]:
    """Quarantine the heads that cannot be used, as decided again from what is there."""
    catalog = _readable(lambda: read_catalog(session.root, session.where))
    broken = [] if catalog is not None else [CATALOG_FILE]
    will_list = {entry.id for entry in catalog.entries} if catalog is not None else set()
    for step in steps:
        for change in step.changes:
            if change.slot == ENTRY and change.after is not None:
                will_list.add(DatasetId.parse(change.address.key))
    _standing(session, frozenset(will_list), broken)
    for path in broken:
        failpoint("fs.rebuild.aside")
        name = path.rpartition("/")[2]
        move_aside(session.root, path, f"{QUARANTINE}/{session.seq:020d}-{name}")
    return tuple(broken)


def _readable(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Corrupt:
        return None


def _standing(session: Session, will_list: frozenset[DatasetId], broken: list[str]) -> dict[str, Alias]:
    """The aliases that can stay; files that cannot are added to `broken`."""
    standing: dict[str, Alias] = {}
    try:
        latest = read_latest(session.root, session.where)
    except Corrupt:
        latest = None
        broken.append(ALIAS_FILE)
    if latest is not None and latest.dataset not in will_list:
        broken.append(ALIAS_FILE)
    elif latest is not None:
        standing[LATEST] = latest
    kept = _readable(lambda: read_kept(session.root, session.where))
    if kept is None or any(alias.dataset not in will_list for alias in kept.values()):
        broken.append(ALIASES_FILE)
    else:
        standing.update(kept)
    return standing


def _problems(session: Session, dataset: DatasetId) -> tuple[Problem, ...]:
    try:
        return promotable(session, dataset)
    except Denied as error:
        return error.problems


def _catalog_steps(store: str, listed: Sequence[DatasetId]) -> list[Step]:
    if not listed:
        return []
    changes = tuple(Change(Address(store, DATASET, str(one)), ENTRY, None, LISTED) for one in listed)
    return [Step(id=REBUILD_ID, store=store, unit=CATALOG_UNIT, changes=changes)]


def _alias_step(store: str, key: str, live: Alias | None, dataset: DatasetId) -> Step:
    address = Address(store, ALIAS, key)
    changes = [Change(address, NAMED, str(live.dataset) if live else None, str(dataset))]
    if live is None:
        changes.append(Change(address, BINDING, None, BOUND))
    return Step(
        id=f"{REBUILD_ID} {alias_words(key)}",
        store=store,
        unit=alias_words(key),
        changes=tuple(changes),
    )
