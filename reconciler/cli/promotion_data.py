"""The data of promotions: what stays where it is must be public, what is copied is measured and then copied.

A record states the hash of every shard, so a shard that is copied is read once before anything is planned,
unless its hash is pinned or the live entry was made from the very same pinned source: then the storage that
it names is believed. The copies themselves are made when the plan is carried out, before the records that
name them, and only for entries that change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from reconciler.canonical import canonical, sha256_digest
from reconciler.errors import InvalidInput, Problem
from reconciler.model import Address, Desired, Promotion, Shard, StoreConfig
from reconciler.render.text import plural
from reconciler.stores.atproto.dagcbor import Record
from reconciler.stores.atproto.keys import COLLECTIONS, ENTRY, record_key
from reconciler.stores.atproto.repository import Key, Reading
from reconciler.stores.atproto.resolution import Source
from reconciler.stores.atproto.shards import public_problem
from reconciler.stores.atproto.store import AtprotoStore
from reconciler.stores.bucket.reading import Measured, ShardReader
from reconciler.stores.bucket.targets import BlobTarget, Copy, Target, open_target
from reconciler.stores.port import Surroundings


@dataclass(slots=True)
class PromotionData:
    """The data of the promotions of one command.

    `copies` are those that its entries will need, and `notes` says so to whoever reads the plan.
    """

    desired: Desired
    locate: Callable[[StoreConfig], StoreConfig]
    surroundings: Surroundings
    stack: ExitStack
    copies: dict[Address, tuple[Copy, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _targets: dict[str, Target] = field(default_factory=dict)
    _readers: dict[bool, ShardReader] = field(default_factory=dict)
    _of: dict[Address, tuple[Target, ShardReader, AtprotoStore]] = field(default_factory=dict)

    def placed(self, promotion: Promotion, source: Source, store: AtprotoStore, reading: Reading) -> Source:
        """The source with its data where readers will find it.

        Args:
            promotion: what is wanted.
            source: where it comes from.
            store: the account that it goes to.
            reading: what the account holds.

        Raises:
            InvalidInput: the data may not be made public, or cannot be copied.
            Corrupt: E_SHARD_HASH.
            Unavailable: it cannot be read.
        """
        private = store.config.settings.get("allowPrivate") is True
        if not promotion.copy_to:
            problems = unfit_for_the_public(source.shards, allow_private=private)
            if problems:
                raise InvalidInput(problems)
            return source
        target = self._target(promotion.copy_to, store, private=private)
        address = Address(store.config.name, ENTRY, entry_key(promotion))
        pinned = {**source.provenance, "copiedFrom": copy_pin(promotion.copy_to, source.shards)}
        live = served_from(reading, address.key, pinned)
        if live is not None:
            return live_source(source, live, pinned)
        reader = self.reader(private=private)
        measured = tuple(self._measured(shard, target, reader) for shard in source.shards)
        self._of[address] = (target, reader, store)
        self.copies[address] = tuple(
            Copy(shard, one) for shard, one in zip(source.shards, measured, strict=True)
        )
        size = sum(one.size for one in measured)
        self.notes.append(
            f"{promotion.name}@{promotion.version}: {plural(len(measured), 'shard')}, {size} bytes, "
            f"copied to {promotion.copy_to} before its records are written"
        )
        storage = target.storage(measured, where="")
        return replace(source, storage=storage, provenance=pinned, size=size)

    def copy(self, addresses: Iterable[Address]) -> tuple[str, ...]:
        """Make the copies that the entries among some addresses need; what is there already is kept.

        Returns:
            What was copied for each entry, and what was there.

        Nothing is copied before every account that is concerned takes our login.

        Raises:
            Corrupt: E_SHARD_HASH, a shard is not any more what was planned.
            InvalidInput: E_ENV, there are no credentials.
            Unavailable: E_AUTH; or a shard cannot be read, or its copy not be written.
        """
        told: list[str] = []
        wanted = sorted(set(addresses).intersection(self.copies))
        for address in wanted:
            self._of[address][2].log_in()
        for address in wanted:
            target, reader, _ = self._of[address]
            copies, added = self.copies[address], 0
            for number, copy in enumerate(copies, 1):
                made = target.receive(copy, reader)
                added += made
                said = "copied" if made else "there already"
                self.surroundings.progress(f"{address}: shard {number} of {len(copies)} {said}")
            told.append(f"{address}: {plural(added, 'shard')} copied, {len(copies) - added} there already")
        return tuple(told)

    def reader(self, *, private: bool) -> ShardReader:
        """Reads shards; one for private and one for public networks."""
        if private not in self._readers:
            buckets = tuple(one for one in self.desired.stores.values() if one.kind == "bucket")
            self._readers[private] = ShardReader(
                root=self.surroundings.root,
                variables=self.surroundings.variables,
                private=private,
                buckets=buckets,
                stack=self.stack,
            )
        return self._readers[private]

    def _target(self, name: str, store: AtprotoStore, *, private: bool) -> Target:
        if name == store.config.name:
            return BlobTarget(store)
        found = self._targets.get(name)
        if found is None:
            config = self.desired.stores.get(name)
            if config is None or config.kind != "bucket":
                code = "E_STORE_UNKNOWN" if config is None else "E_STORE_KIND"
                message = "data is copied to a declared store of kind bucket, or to the account itself"
                raise InvalidInput(Problem(code=code, message=message, got=name))
            found = open_target(self.locate(config), self.surroundings, private=private)
            self._targets[name] = found
        return found

    def _measured(self, shard: Shard, target: Target, reader: ShardReader) -> Measured:
        self.surroundings.progress(f"reading {shard.url.rpartition('/')[2].partition('?')[0]}")
        return reader.measured(shard, limit=target.limit)


def entry_key(promotion: Promotion) -> str:
    """The key of the entry that a promotion means."""
    return record_key(COLLECTIONS[ENTRY], promotion.name, promotion.version)


def unfit_for_the_public(shards: Iterable[Shard], *, allow_private: bool) -> list[Problem]:
    """What keeps data that stays where it is from being named in a public record."""
    found = (public_problem(one.url, allow_private=allow_private, where="") for one in shards)
    return [problem for problem in found if problem is not None]


def copy_pin(target: str, shards: Iterable[Shard]) -> str:
    """What a copy was made from, in a form that tells nobody where that is."""
    return sha256_digest(canonical([target, *([one.url, one.sha256] for one in shards)]))


def served_from(reading: Reading, key: str, pinned: dict[str, str]) -> Record | None:
    """The live entry, if it was made from the very same source."""
    stored = reading.records.get(Key(ENTRY, key))
    about = None if stored is None or stored.problems else stored.record.get("contentMetadata")
    same = isinstance(about, dict) and about.get("source") == pinned
    return (
        stored.record
        if same and stored is not None and isinstance(stored.record.get("storage"), dict)
        else None
    )


def live_source(source: Source, live: Record, pinned: dict[str, str]) -> Source:
    """The source with the storage that the live entry names."""
    storage, size = live["storage"], live.get("size")
    total = size.get("bytes") if isinstance(size, dict) else 0
    assert isinstance(storage, dict)  # noqa: S101 - `served_from` looked
    return replace(source, storage=storage, provenance=pinned, size=total if isinstance(total, int) else 0)
