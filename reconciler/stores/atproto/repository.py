"""What an account's repository holds, as one consistent reading, and what of it moved since the last one.

A reading is everything below one commit: the repository is fetched whole, its blocks are compared with
their CIDs, and the records of our collections become `Stored` values. Later readings ask for the blocks
since the revision that is known, so that an account that did not move costs one small request; what was
kept is believed only because every block is named by its own hash.

A tree that names a block which nobody has means that the repository moved while it was read, or that what
was kept is too old: then everything is fetched again, a few times, before it is called corrupt. A record
whose bytes are not what its CID says is a record with a problem; the others can still be read.

Reading needs no credentials and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from reconciler.errors import Corrupt, Problem, Unavailable
from reconciler.model import Slots, Value
from reconciler.stores.atproto.car import (
    Blocks,
    Car,
    Commit,
    MissingBlock,
    Tree,
    read_car,
    read_commit,
    write_car,
)
from reconciler.stores.atproto.dagcbor import Malformed, Record, cid_text, decode, encode, is_named_by
from reconciler.stores.atproto.keys import COLLECTIONS, ENTRY, KIND_OF, LABEL, SCHEMA, content_digest
from reconciler.stores.atproto.order import CONTENT, ENTRIES, NAME, NAMED_ENTRY, OF_SCHEMA, VERSION
from reconciler.stores.atproto.xrpc import Refused, Xrpc

REPOSITORY_LIMIT: Final = 1 << 30
CREATED: Final = "createdAt"

_PREFIX: Final = "science.alt.dataset."
_TRIES: Final = 5
_COMMIT = "com.atproto.sync.getLatestCommit"
_REPO = "com.atproto.sync.getRepo"
_RECORD = "com.atproto.sync.getRecord"
_ONE_BY_ONE: Final = 16
"""More records than this are looked at by fetching everything."""


class Head(NamedTuple):
    """The newest commit of a repository: its CID, and its revision, which rises."""

    cid: str
    rev: str


class Key(NamedTuple):
    """A record of one of our collections: its kind and record key."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it stands in the repository.

    Attributes:
        cid: its identity.
        record: what it says; empty if it cannot be read.
        slots: what is compared.
        problems: why it cannot be trusted.
    """

    cid: str
    record: Record
    slots: Slots
    problems: tuple[Problem, ...] = ()

    @property
    def created(self) -> str | None:
        """When it says that it was created."""
        created = self.record.get(CREATED)
        return created if isinstance(created, str) else None


@dataclass(frozen=True, slots=True)
class Reading:
    """One consistent reading: the head, and the records of our collections below it."""

    head: Head
    records: Mapping[Key, Stored]


EMPTY: Final = Reading(Head("", ""), {})


@dataclass(frozen=True, slots=True)
class _Known:
    """A reading with the blocks that it stands on."""

    did: str
    root: bytes
    blocks: Blocks
    cids: Mapping[Key, bytes]
    reading: Reading

    @property
    def sound(self) -> bool:
        """Whether every record in it is what its CID says."""
        return not any(record.problems for record in self.reading.records.values())


class Repository:
    """One account's repository on its server."""

    def __init__(self, xrpc: Xrpc, did: str) -> None:
        self.did = did
        self._xrpc = xrpc
        self._known: _Known | None = None
        self._expected: dict[str, Stored] = {}

    def head(self) -> Head:
        """The newest commit, from one small request.

        Raises:
            Unavailable: the server cannot be asked, or does not have the account.
        """
        try:
            found = self._xrpc.query(_COMMIT, did=self.did)
        except Refused as refused:
            raise self._refused(refused) from refused
        cid, rev = found.get("cid"), found.get("rev")
        if not isinstance(cid, str) or not isinstance(rev, str):
            raise self._xrpc.unusable("names no commit")
        return Head(cid, rev)

    def read(self) -> Reading:
        """Everything of our collections, as of the newest commit.

        Raises:
            Unavailable: the server cannot be asked, or does not have the account.
            Corrupt: E_REPOSITORY, what it gives is not a repository.
        """
        problem = ""
        for turn in range(_TRIES):
            known = self._known if self._known is not None and self._known.sound and not turn else None
            try:
                car = self._fetched(known)
                if known is not None and car.root == known.root:
                    return known.reading
                self._known = self._understood(car, known)
            except MissingBlock:
                problem = "a block that it names is not in it"
                continue
            except Malformed as error:
                problem = str(error)
                continue
            return self._known.reading
        raise Corrupt.of(
            "E_REPOSITORY",
            f"what the server gives is not a whole repository: {problem}",
            path=self.did,
            fix="ask who runs the server",
        )

    def read_anew(self) -> Reading:
        """As `read`, but nothing that was read before is believed: every byte is fetched.

        Raises:
            Unavailable, Corrupt: as `read`.
        """
        self._known = None
        return self.read()

    def broken(self, keys: Iterable[Key]) -> set[Key]:
        """Of some records, those whose bytes the server does not have any more as they were read.

        Raises:
            Unavailable: the server cannot be asked.
        """
        known = self._known
        wanted = sorted(keys)
        if len(wanted) > _ONE_BY_ONE:
            reading = self.read_anew()
            return {key for key in wanted if key not in reading.records or reading.records[key].problems}
        return {key for key in wanted if known is None or not self._stands(key, known.cids.get(key, b""))}

    def _stands(self, key: Key, cid: bytes) -> bool:
        collection = COLLECTIONS[key.kind]
        try:
            data = self._xrpc.download(
                _RECORD, limit=REPOSITORY_LIMIT, did=self.did, collection=collection, rkey=key.key
            )
            return is_named_by(cid, read_car(data).blocks.get(cid, b""))
        except (Refused, Malformed):
            return False

    def expect(self, reading: Reading, keys: Iterable[Key]) -> None:
        """Remember what was just written, so that it is not decoded again when it is read back."""
        self._expected |= {
            reading.records[key].cid: reading.records[key] for key in keys if key in reading.records
        }

    def kept(self) -> bytes:
        """The reading as a CAR file, to begin with another time; empty if nothing was read."""
        known = self._known
        return b"" if known is None else write_car(known.root, known.blocks)

    def commit(self) -> bytes:
        """The block of the commit that was read last; empty if nothing was read."""
        known = self._known
        return b"" if known is None else known.blocks[known.root]

    def begin_with(self, kept: bytes) -> None:
        """Take up what another process kept; what is no reading of this account is not used."""
        try:
            known = self._understood(read_car(kept), None)
        except (MissingBlock, Malformed):
            return
        self._known = known if known.sound else None

    def _fetched(self, known: _Known | None) -> Car:
        since = {} if known is None else {"since": known.reading.head.rev}
        try:
            data = self._xrpc.download(_REPO, limit=REPOSITORY_LIMIT, did=self.did, **since)
        except Refused as refused:
            raise self._refused(refused) from refused
        return read_car(data)

    def _understood(self, car: Car, known: _Known | None) -> _Known:
        found = _understood(car, known, self._expected)
        if found.did != self.did:
            raise Malformed("it is the repository of another account")
        return found

    def _refused(self, refused: Refused) -> Unavailable:
        if refused.error != "RepoNotFound":
            return refused.unavailable(self._xrpc.where)
        return Unavailable.of(
            "E_STORE_MISSING",
            "the server does not have this account",
            path=self._xrpc.where,
            got=self.did,
            fix="check the identity and the server of the store",
        )


def read_kept(kept: bytes) -> tuple[str, Reading]:
    """The account and the reading that somebody kept.

    Args:
        kept: what `Repository.kept` gave, of unknown origin.

    Raises:
        Malformed, MissingBlock: it is no reading, or not a whole one.
    """
    known = _understood(read_car(kept), None, {})
    return known.did, known.reading


def _understood(car: Car, known: _Known | None, expected: dict[str, Stored]) -> _Known:
    blocks = car.blocks if known is None else {**known.blocks, **car.blocks}
    commit = read_commit(blocks, car.root)
    tree = Tree(blocks, commit)
    cids: dict[Key, bytes] = {}
    for found in tree.records(_PREFIX):
        collection, _, key = found.path.partition("/")
        if collection in KIND_OF:
            cids[Key(KIND_OF[collection], key)] = found.cid
    records: dict[Key, Stored] = {}
    before = known.cids if known is not None else {}
    for place, cid in cids.items():
        if known is not None and before.get(place) == cid:
            seen = known.reading.records[place]
            slots = {slot: value for slot, value in seen.slots.items() if slot != ENTRIES}
            records[place] = replace(seen, slots=slots) if place.kind == SCHEMA else seen
            continue
        if cid not in blocks:
            raise MissingBlock
        wished = expected.pop(cid_text(cid), None)
        if wished is not None and is_named_by(cid, blocks[cid]):
            records[place] = wished
        else:
            records[place] = stored(commit.did, place, cid, blocks[cid])
    kept = {cid: blocks[cid] for cid in (car.root, *tree.nodes, *cids.values()) if cid in blocks}
    return _Known(commit.did, car.root, kept, cids, Reading(_head(car.root, commit), _with_users(records)))


def _head(root: bytes, commit: Commit) -> Head:
    return Head(cid_text(root), commit.rev)


def stored(did: str, key: Key, cid: bytes, block: bytes) -> Stored:
    """The record of a block; one that cannot be read has problems."""
    name = cid_text(cid)
    wrong = "its bytes are not what its CID says"
    if is_named_by(cid, block):
        try:
            found = decode(block)
        except Malformed as error:
            wrong = f"it cannot be read: {error}"
        else:
            if isinstance(found, dict):
                return Stored(name, found, slots_of(did, key.kind, found))
            wrong = "it is not a map"
    problem = Problem(
        code="E_RECORD_CORRUPT",
        message=f"the record is broken: {wrong}",
        path=f"{COLLECTIONS[key.kind]}/{key.key}",
        got=name,
        fix="ask who runs the server; withdraw the record or put it again",
    )
    return Stored(name, {}, {}, (problem,))


def content_of(record: Record) -> bytes:
    """What a record says, without when it was created: the bytes that are compared."""
    return encode({name: value for name, value in record.items() if name != CREATED})


def slots_of(did: str, kind: str, record: Record) -> Slots:
    """The slots of a record: its content decides, the others are for people and rules."""
    slots: dict[str, Value] = {CONTENT: content_digest(content_of(record))}
    for slot in (NAME,) if kind == ENTRY else (NAME, VERSION):
        value = record.get(slot)
        if isinstance(value, str) and value:
            slots[slot] = value
    for of, member, slot, referred in _REFERENCES:
        uri = record.get(member)
        if of == kind and isinstance(uri, str) and uri:
            slots[slot] = uri.removeprefix(f"at://{did}/{COLLECTIONS[referred]}/")
    return slots


_REFERENCES: Final = ((ENTRY, "schemaRef", OF_SCHEMA, SCHEMA), (LABEL, "datasetUri", NAMED_ENTRY, ENTRY))
"""Kind of record, the member that refers to another, the slot for it, and the kind of the other."""


def _with_users(records: dict[Key, Stored]) -> dict[Key, Stored]:
    """The records, each schema with the entries that use it."""
    users: dict[str, list[str]] = {}
    for (kind, key), record in records.items():
        named = record.slots.get(OF_SCHEMA)
        if kind == ENTRY and isinstance(named, str):
            users.setdefault(named, []).append(key)
    for key, entries in users.items():
        schema = records.get(Key(SCHEMA, key))
        if schema is not None and schema.slots:
            slots = {**schema.slots, ENTRIES: tuple(sorted(entries))}
            records[Key(SCHEMA, key)] = replace(schema, slots=slots)
    return records
