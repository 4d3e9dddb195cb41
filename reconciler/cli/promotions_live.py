"""What is promoted to an account, as far as a snapshot can say it.

A promotion follows from the account, which is in the snapshot, and from its source, which may not be: an
index, and data that is copied, are where the snapshot was taken. What git holds is planned (schema files,
URLs, the tags of a declared registry), and so is a version that the account serves from the very same
source, whose records say what the source said. Any other version is left as it is and named in a note:
whoever can reach the source plans it. Nothing here opens a store, an index or a connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from reconciler.cli.promotion_data import (
    copy_pin,
    entry_key,
    live_source,
    served_from,
    unfit_for_the_public,
)
from reconciler.cli.promotion_sources import PromotionSources
from reconciler.cli.promotions import declared, publisher_of
from reconciler.errors import InvalidInput, Problem
from reconciler.ledger import Inventory
from reconciler.model import Address, Declaration, Desired, Promotion, Shard, StoreConfig, Value
from reconciler.reference import Reference
from reconciler.snapshot import Snapshot
from reconciler.stores.atproto.keys import COLLECTIONS, ENTRY, LABEL, SCHEMA, record_key
from reconciler.stores.atproto.metadata import decoded_metadata
from reconciler.stores.atproto.order import ENTRIES, OF_SCHEMA
from reconciler.stores.atproto.published_account import PublishedAccount
from reconciler.stores.atproto.repository import CREATED, Key, Reading
from reconciler.stores.atproto.resolution import Resolution, Source, placed, resolved
from reconciler.stores.port import Store, Surroundings


class Seen(NamedTuple):
    """What a snapshot gives: the desired state with what is promoted, the records, and what it cannot say."""

    desired: Desired
    records: Mapping[str, bytes]
    notes: tuple[str, ...]


def _as_seen(config: StoreConfig) -> StoreConfig:
    return config


class _NotSeen(Exception):
    """A source that is not in the snapshot."""


def promoted(
    desired: Desired, store: Store, ours: Inventory, live: Snapshot, surroundings: Surroundings
) -> Seen:
    """The desired state with what is promoted to one account, as far as the snapshot says it.

    Args:
        desired: as it was loaded.
        store: the account of the snapshot.
        ours: what is ours in it.
        live: the snapshot.
        surroundings: gives the files of the commit.

    Raises:
        InvalidInput: E_LIVE_PROMOTIONS, or everything that is wrong with the promotions.
    """
    if not isinstance(store, PublishedAccount):
        raise InvalidInput.of(
            "E_LIVE_PROMOTIONS",
            "the snapshot does not hold the account's records, from which promotions follow",
            path="--live",
            got=store.config.name,
            fix="take the snapshot again with 'reconciler snapshot --out FILE'",
        )
    problems: list[Problem] = []
    read: list[tuple[Promotion, Source | None]] = []
    unseen: list[Promotion] = []
    wanted = [one for one in desired.promotions if one.store == store.config.name]
    with ExitStack() as stack:
        sources = _Sources(desired, store, live, PromotionSources(desired, _as_seen, surroundings, stack))
        sources.files.read_schemas(wanted, problems)
        for promotion in wanted:
            try:
                read.append((promotion, sources.source(promotion)))
            except InvalidInput as error:
                problems += placed(error.problems, promotion.place)
            except _NotSeen:
                unseen.append(promotion)
    if problems:
        raise InvalidInput(problems)
    found = resolved(read, publisher_of(store.did, store.read()))
    for promotion in unseen:
        _leave(promotion, store.read(), ours, found)
    notes = tuple(
        f"{one.name}@{one.version} ({one.place}) is not planned: its source is not in the snapshot"
        for one in unseen
    )
    return Seen(declared(desired, found), found.records, notes)


class _Sources:
    """The sources that a snapshot and a commit know."""

    def __init__(
        self, desired: Desired, store: PublishedAccount, live: Snapshot, files: PromotionSources
    ) -> None:
        self.files = files
        self._store = store
        self._live = live
        self._desired = desired
        files.resolve = self._revision

    def source(self, promotion: Promotion) -> Source | None:
        """Where a version comes from, its data where readers find it; None for one that is withdrawn.

        Raises:
            InvalidInput: what is wrong with it.
            _NotSeen: the snapshot does not say.
        """
        if promotion.origin is None:
            return None
        key = Key(ENTRY, entry_key(promotion))
        if promotion.origin.index:
            pinned = {"entryCid": promotion.origin.cid}
            return _of_entry(self._store.read(), key, pinned, copied=bool(promotion.copy_to))
        found = self.files.read(promotion.origin)
        return None if found is None else self._placed(promotion, found, key)

    def _placed(self, promotion: Promotion, source: Source, key: Key) -> Source:
        if not promotion.copy_to:
            private = self._store.config.settings.get("allowPrivate") is True
            unfit = unfit_for_the_public(source.shards, allow_private=private)
            if unfit:
                raise InvalidInput(unfit)
            return source
        pinned = {**source.provenance, "copiedFrom": copy_pin(promotion.copy_to, source.shards)}
        entry = served_from(self._store.read(), key.key, pinned)
        if entry is None:
            raise _NotSeen
        return live_source(source, entry, pinned)

    def _revision(self, store: str, reference: Reference) -> Value:
        """The manifest that a revision of a registry meant when the snapshot was taken.

        Raises:
            _NotSeen: the snapshot has no such registry, or no such revision of it.
        """
        try:
            seen = self._live.of_store(self._desired.stores[store])
        except InvalidInput as error:
            raise _NotSeen from error
        linked = f"sha256:{reference.revision}"
        tag = Address(store, "tag", str(reference))
        link = Address(store, "link", f"{reference.dataset}@{linked}")
        for one in seen.observed:
            if one.address == tag and "manifest" in one.slots:
                return one.slots["manifest"]
            if one.address == link:
                return linked
        raise _NotSeen


def _of_entry(reading: Reading, key: Key, pinned: dict[str, str], *, copied: bool) -> Source:
    """What an entry says of the source that it was made from.

    Raises:
        _NotSeen: it was made from another one, or is not there.
    """
    stored = reading.records.get(key)
    about = None if stored is None or stored.problems else stored.record.get("contentMetadata")
    source = about.get("source") if isinstance(about, dict) else None
    known = dict(source) if isinstance(source, dict) else {}
    was_copied = known.pop("copiedFrom", None)
    schema = None if stored is None else reading.records.get(Key(SCHEMA, str(stored.slots.get(OF_SCHEMA))))
    if stored is None or known != pinned or copied != bool(was_copied) or schema is None or schema.problems:
        raise _NotSeen
    storage, metadata, size = (stored.record.get(name) for name in ("storage", "metadata", "size"))
    if not isinstance(storage, dict):
        raise _NotSeen
    counted = size if isinstance(size, dict) else {}
    return Source(
        schema={name: value for name, value in schema.record.items() if name != CREATED},
        shards=tuple(Shard("") for _ in range(_number(counted.get("shards")))),
        storage=storage,
        metadata=decoded_metadata(metadata, where="") if isinstance(metadata, bytes) else {},
        provenance={**pinned, **({"copiedFrom": was_copied} if isinstance(was_copied, str) else {})},
        size=_number(counted.get("bytes")),
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _leave(promotion: Promotion, reading: Reading, ours: Inventory, found: Resolution) -> None:
    """Wish that what is ours of a version, and its schema, stays as it is."""
    for address in _addresses(promotion, reading):
        stored = reading.records.get(Key(address.kind, address.key))
        if stored is not None and address in ours.recorded and address not in found.declarations:
            slots = {slot: value for slot, value in stored.slots.items() if slot != ENTRIES}
            found.declarations[address] = Declaration(address, slots, promotion.place)


def _addresses(promotion: Promotion, reading: Reading) -> Iterator[Address]:
    for kind in (ENTRY, LABEL):
        key = record_key(COLLECTIONS[kind], promotion.name, promotion.version)
        yield Address(promotion.store, kind, key)
    entry = reading.records.get(Key(ENTRY, entry_key(promotion)))
    schema = None if entry is None else entry.slots.get(OF_SCHEMA)
    if isinstance(schema, str) and "/" not in schema:
        yield Address(promotion.store, SCHEMA, schema)
