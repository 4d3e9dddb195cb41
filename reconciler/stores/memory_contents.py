"""What a memory store holds, and which steps it accepts: values and rules, no lock and no ledger.

`Contents` is everything that a reader can see and is replaced as a whole. `MemoryState` adds what a test
may plan: builds, damage and faults. `after_step` is the store's whole meaning: it gives the contents
after a step, or says why the step is not acceptable (the serving store's contract 3.3 to 3.5 and 11).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from reconciler.canonical import canonical, sha256_digest
from reconciler.errors import Conflict, Corrupt, Denied, InvalidInput, Problem, Unavailable
from reconciler.model import Address, Change, DatasetId, Slots, Step, Value


class Entry(NamedTuple):
    """How the catalog lists a dataset."""

    value: str = "listed"
    diffs: tuple[str, ...] = ()


class Alias(NamedTuple):
    """Which dataset an alias names, and the digest of the catalog it was written against."""

    dataset: str
    catalog: str


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a reader can see, replaced as a whole: a reading is always consistent."""

    published: Mapping[str, str] = field(default_factory=dict)
    catalog: Mapping[str, Entry] | None = None
    aliases: Mapping[str, Alias] = field(default_factory=dict)

    def catalog_digest(self) -> str:
        """The digest of the canonical catalog; empty while there is none."""
        if self.catalog is None:
            return ""
        return sha256_digest(
            canonical({key: [entry.value, *entry.diffs] for key, entry in self.catalog.items()})
        )

    def heads(self) -> dict[str, str]:
        """The digests of the mutable heads that exist."""
        heads = {"catalog": self.catalog_digest()} if self.catalog is not None else {}
        if self.aliases:
            heads["aliases"] = sha256_digest(
                canonical({key: list(alias) for key, alias in self.aliases.items()})
            )
        return heads

    def slots(self, kind: str, key: str) -> Slots:
        """The slots of one address."""
        slots: dict[str, Value] = {}
        if kind == "dataset":
            entry = (self.catalog or {}).get(key)
            if key in self.published:
                slots["artifact"] = self.published[key]
            if entry is not None:
                slots["entry"] = entry.value
                if entry.diffs:
                    slots["diffs"] = entry.diffs
        elif kind == "alias" and key in self.aliases:
            alias = self.aliases[key]
            slots["dataset"] = alias.dataset
            slots["binding"] = "catalog" if alias.catalog == self.catalog_digest() else alias.catalog
        return slots

    def keys(self) -> Iterator[tuple[str, str]]:
        """Every (kind, key) that has slots, in address order."""
        yield from (("alias", key) for key in sorted(self.aliases))
        yield from (("dataset", key) for key in sorted({*self.published, *(self.catalog or {})}))

    def with_catalog(self, catalog: Mapping[str, Entry]) -> Contents:
        """The contents after a catalog write of ours, which binds every alias to it."""
        written = replace(self, catalog=catalog)
        digest = written.catalog_digest()
        aliases = {key: alias._replace(catalog=digest) for key, alias in self.aliases.items()}
        return replace(written, aliases=aliases)


def _ignore(_write: str) -> None:
    """No fault is planned."""


@dataclass(slots=True)
class MemoryState:
    """What one memory store holds; a test edits it as another writer would.

    Attributes:
        contents: what readers see. Assigning it is a write that takes no lock and leaves no record.
        sources: the builds that a publish can read: source → digest of its manifest.
        damaged: dataset keys whose published bytes are broken.
        ledger: intent and outcome bytes of each record, oldest first.
        packets: the packets that are kept, by the number of their release.
        lock: what serialises the writers.
        before_write: told the name of each write just before it ("intent", a step's id, "outcome"); what it
            raises is a fault of that write.
        before_read: called before each reading; what it raises is a fault of that reading.
    """

    contents: Contents = field(default_factory=Contents)
    sources: dict[str, str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    ledger: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    packets: dict[int, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    before_write: Callable[[str], None] = _ignore
    before_read: Callable[[], None] = lambda: None

    def dump(self) -> Mapping[str, bytes]:
        """The bytes of everything but the ledger, by address; equal dumps mean equal stores."""
        contents = self.contents
        dump = {
            f"{kind}/{key}": canonical(dict(contents.slots(kind, key)))
            for kind, key in contents.keys()  # noqa: SIM118
        }
        return {**dump, "catalog": contents.catalog_digest().encode()}


def after_step(state: MemoryState, contents: Contents, step: Step) -> Contents:
    """The contents after a step.

    Args:
        state: what the store holds besides its contents: sources and damage.
        contents: the contents before.
        step: what to change.

    Raises:
        InvalidInput, Denied, Corrupt, Unavailable: the step is not acceptable.
    """
    published, catalog = dict(contents.published), dict(contents.catalog or {})
    aliases = dict(contents.aliases)
    for change in step.changes:
        match change.address.kind, change.slot:
            case "dataset", "artifact":
                published[_dataset(change)] = _publishable(state, step, change)
            case "dataset", "entry":
                _list(catalog, change)
            case "dataset", "diffs":
                _set_diffs(catalog, change)
            case "alias", "dataset":
                _point(aliases, change)
            case "alias", "binding":
                pass  # binding is refreshed below, whatever the change says
            case kind, slot:
                raise InvalidInput.of("E_SLOT", "this store has no such slot", got=f"{kind} {slot}")
    if catalog != (contents.catalog or {}):
        _check_listed(state, published, catalog, step)
        result = replace(contents, published=published, aliases=aliases).with_catalog(catalog)
    else:
        result = replace(contents, published=published, aliases=aliases)
    _check_aliases(result, step)
    return _bound(result, step)


def damage(state: MemoryState, contents: Contents, address: Address) -> tuple[Problem, ...]:
    """What is wrong with the bytes of an observed dataset."""
    if address.key in state.damaged:
        message = "its bytes are not those that were published"
    elif address.key not in contents.published:
        message = "the catalog lists it, but it is not in the store"
    else:
        return ()
    return (Problem(code="E_ARTIFACT", path=str(address), message=message, fix="restore it from a backup"),)


def _dataset(change: Change) -> str:
    return str(DatasetId.parse(change.address.key))


def _publishable(state: MemoryState, step: Step, change: Change) -> str:
    """The digest that a publish leaves behind."""
    path = str(change.address)
    if change.before is not None or not isinstance(change.after, str):
        raise Denied.of("E_IMMUTABLE", "published content is never replaced or removed by a step", path=path)
    source = step.sources.get(change.address, "")
    if source not in state.sources:
        raise Unavailable.of("E_SOURCE_MISSING", "the source cannot be read", path=path, got=source)
    if state.sources[source] != change.after:
        raise InvalidInput.of(
            "E_SOURCE_MANIFEST",
            f"the source's manifest is not {change.after}",
            path=path,
            got=state.sources[source],
            fix="declare the digest of the build that was reviewed",
        )
    return change.after


def _list(catalog: dict[str, Entry], change: Change) -> None:
    key = _dataset(change)
    if change.after is None:
        catalog.pop(key, None)
    elif change.after == "listed":
        catalog[key] = catalog.get(key, Entry())._replace(value="listed")
    else:
        raise InvalidInput.of(
            "E_SLOT", "an entry can only become 'listed'", path=str(change.address), got=str(change.after)
        )


def _set_diffs(catalog: dict[str, Entry], change: Change) -> None:
    key = _dataset(change)
    if key in catalog:
        catalog[key] = catalog[key]._replace(diffs=tuple(change.after or ()))
    elif change.after is not None:
        # Its entry may come later in the same step; `_check_listed` refuses diffs that stay alone.
        catalog[key] = Entry(value="", diffs=tuple(change.after))


def _point(aliases: dict[str, Alias], change: Change) -> None:
    key = change.address.key
    if change.after is None:
        aliases.pop(key, None)
        return
    if key != "latest":
        DatasetId.parse(f"1/{key}")
    aliases[key] = Alias(str(DatasetId.parse(str(change.after))), "")


def _check_listed(
    state: MemoryState, published: Mapping[str, str], catalog: Mapping[str, Entry], step: Step
) -> None:
    """Only what is published and whole may become discoverable (contract 11)."""
    for change in step.changes:
        key = change.address.key
        if change.address.kind != "dataset" or key not in catalog:
            continue
        if not catalog[key].value:
            raise Conflict.of(
                "E_NOT_LISTED",
                "diffs belong to an entry of the catalog, and this dataset has none",
                path=str(change.address),
                fix="plan again",
            )
        if key not in published:
            raise Denied.of(
                "E_NOT_PUBLISHED",
                "the dataset was never published to this store",
                path=str(change.address),
                fix="publish it first",
            )
        if key in state.damaged:
            raise Corrupt.of(
                "E_ARTIFACT", "its bytes are not those that were published", path=str(change.address)
            )


def _check_aliases(contents: Contents, step: Step) -> None:
    """No alias that this step touches, or whose dataset it removes, may be left dangling (contract 3.5)."""
    touched = {c.address.key for c in step.changes if c.address.kind == "alias"}
    removed = {c.address.key for c in step.changes if c.slot == "entry" and c.after is None}
    for key, alias in contents.aliases.items():
        if alias.dataset in (contents.catalog or {}) or not (key in touched or alias.dataset in removed):
            continue
        raise Denied.of(
            "E_ALIAS_TARGET",
            f"alias {key} would name {alias.dataset}, which the catalog does not list",
            path=step.unit,
            fix="point the alias at a listed dataset in the same change",
        )


def _bound(contents: Contents, step: Step) -> Contents:
    """The aliases that a step touches are written against the catalog of this moment."""
    touched = {c.address.key for c in step.changes if c.address.kind == "alias"}
    digest = contents.catalog_digest()
    aliases = {
        key: alias._replace(catalog=digest) if key in touched else alias
        for key, alias in contents.aliases.items()
    }
    return replace(contents, aliases=aliases)
