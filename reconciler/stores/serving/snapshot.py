"""What a serving store holds, as one stream sorted by address.

Joins two sorted streams, the catalog and the directories on disk, so that 100,000 datasets need neither
two full lists nor two passes. Everything the catalog lists is shown, and everything that is published
without being listed. What is broken about one dataset becomes a problem of that dataset; what cannot be
read at all is an error. The depth decides how much content is read again: heads (none), manifests (hash
chain of the small files), deep (every artifact and input re-hashed). Writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from reconciler.errors import Problem
from reconciler.model import Address, DatasetId, Depth, Observed, Selection, Value, dataset_id_problem
from reconciler.stores.serving.catalog import Entry
from reconciler.stores.serving.contents import MANIFEST, dataset_path
from reconciler.stores.serving.heads import Heads, alias_slots, entry_slots
from reconciler.stores.serving.observe import intact_artifact, observe_artifact, observe_content
from reconciler.stores.serving.order import ALIAS, ARTIFACT, DATASET
from reconciler.stores.serving.walk import Places, Standing, dataset_directories

_NO_MORE: tuple[str, Entry | None] = ("", None)


class Reader(NamedTuple):
    """What a snapshot is taken of."""

    root: int
    where: str
    store: str
    heads: Heads


def snapshot(reader: Reader, selection: Selection) -> Iterator[Observed]:
    """Everything selected, sorted by address.

    Raises:
        Unavailable: something cannot be read.
    """
    if selection.addresses is None:
        yield from _aliases(reader, lambda _address: True)
        yield from _everything(reader, selection.depth)
        return
    yield from _aliases(reader, selection.addresses.__contains__)
    ours = (a for a in selection.addresses if a.store == reader.store and a.kind == DATASET)
    yield from _some(reader, sorted(ours), selection.depth)


def _aliases(reader: Reader, wanted: Callable[[Address], bool]) -> Iterator[Observed]:
    aliases = reader.heads.aliases()
    for key in sorted(aliases):
        address = Address(reader.store, ALIAS, key)
        if wanted(address):
            yield Observed(address, alias_slots(aliases[key], reader.heads.catalog_hash))


def _some(reader: Reader, addresses: Sequence[Address], depth: Depth) -> Iterator[Observed]:
    listed = ((str(entry.id), entry) for entry in reader.heads.catalog.entries)
    key, entry = next(listed, _NO_MORE)
    with closing(Places(reader.root, reader.where)) as places:
        for address in addresses:
            while entry is not None and key < address.key:
                key, entry = next(listed, _NO_MORE)
            found = entry if key == address.key else None
            if found is None and dataset_id_problem(address.key) is not None:
                continue
            dataset = found.id if found else DatasetId(*address.key.split("/"))
            handle = None if depth is Depth.HEADS else places.open(dataset)
            try:
                seen = _observed(reader, address, found, handle, depth)
            finally:
                if handle is not None:
                    os.close(handle)
            if seen is not None:
                yield seen


def _everything(reader: Reader, depth: Depth) -> Iterator[Observed]:
    if depth is Depth.HEADS:
        for only in reader.heads.catalog.entries:
            yield Observed(Address(reader.store, DATASET, str(only.id)), entry_slots(only))
        return
    entries = iter(reader.heads.catalog.entries)
    entry = next(entries, None)
    for standing in dataset_directories(reader.root, reader.where):
        if standing.problem is not None:
            yield _illegal(reader, standing)
            continue
        while entry is not None and entry.id < standing.dataset:
            yield _listed_only(reader, entry)
            entry = next(entries, None)
        listed = entry if entry is not None and entry.id == standing.dataset else None
        address = Address(reader.store, DATASET, str(standing.dataset))
        seen = _observed(reader, address, listed, standing.handle, depth)
        if listed is not None:
            entry = next(entries, None)
        if seen is not None:
            yield seen
    while entry is not None:
        yield _listed_only(reader, entry)
        entry = next(entries, None)


def _illegal(reader: Reader, standing: Standing) -> Observed:
    problems = () if standing.problem is None else (standing.problem,)
    return Observed(Address(reader.store, DATASET, standing.key), {}, problems)


def _observed(
    reader: Reader, address: Address, entry: Entry | None, handle: int | None, depth: Depth
) -> Observed | None:
    slots: dict[str, Value] = entry_slots(entry) if entry else {}
    if depth is Depth.HEADS:
        return Observed(address, slots) if entry else None
    if handle is None:
        return _listed_only(reader, entry) if entry else None
    digest = intact_artifact(handle) if depth is Depth.MANIFESTS else None
    problems: tuple[Problem, ...] = ()
    if digest is None:
        dataset = DatasetId(*address.key.split("/"))
        observe = observe_content if depth is Depth.DEEP else observe_artifact
        digest, problems = observe(handle, f"{reader.where}/{dataset_path(dataset)}")
        if digest is None and entry is not None and not problems:
            problems = (_missing(reader, dataset),)
    if digest is not None:
        slots[ARTIFACT] = digest
    return Observed(address, slots, problems) if slots or problems else None


def _listed_only(reader: Reader, entry: Entry) -> Observed:
    address = Address(reader.store, DATASET, str(entry.id))
    return Observed(address, entry_slots(entry), (_missing(reader, entry.id),))


def _missing(reader: Reader, dataset: DatasetId) -> Problem:
    return Problem(
        code="E_ARTIFACT_MISSING",
        message="the catalog lists this dataset, and it is not there",
        path=f"{reader.where}/{dataset_path(dataset)}/{MANIFEST}",
        fix="restore it, publish it again from its source, or roll it back",
    )
