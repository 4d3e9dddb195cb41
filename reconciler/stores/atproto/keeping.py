"""What of an account a backup holds: its records, the blobs that they refer to, and its ledger.

A record is kept as the bytes that its CID names, so its object in the archive has the very sha256 of that
CID, and the same is true of a blob: neither has to be read to know whether the archive has it. An account
that did not move costs one small request. Records come back with the keys and bytes that they had, and so
with their CIDs; that is possible in the same account only, because they name each other by its DID.

Records of our three collections are kept whoever wrote them; other collections are not ours to keep. The
ledger and its packets are kept as they stand. Disposable are the lock, what is half written, and the copy of
the repository that stands beside the ledger.

Paths: `account.json`; `blobs/MEDIA/TYPE/CID`; `records/KIND/KEY`, a long key in pieces that begin with `+`;
`ledger/NAME`. Schemas are content, entries come back after the ledger, and labels last of all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from reconciler.backup.document import Part, Phase
from reconciler.canonical import canonical, sha256_digest
from reconciler.errors import Corrupt, OutcomeUnknown, Problem
from reconciler.ledger import Record, file_name
from reconciler.model import Digest
from reconciler.stores.atproto.dagcbor import Data, Link, cid_bytes, encode
from reconciler.stores.atproto.journal import Journal
from reconciler.stores.atproto.keys import COLLECTIONS, ENTRY, KEY, LABEL, SCHEMA
from reconciler.stores.atproto.order import NAMED_ENTRY, OF_SCHEMA
from reconciler.stores.atproto.repository import Key, Reading, Stored
from reconciler.stores.atproto.xrpc import Refused, Xrpc
from reconciler.stores.keeping import Answers, Hold, Judged, Offered, OfferedGroup

ACCOUNT: Final = "account.json"
ACCOUNT_SCHEMA: Final = "reconciler/account/v1"
LEDGER: Final = "ledger"
PACKETS: Final = "evidence"
PHASES: Final[Mapping[str, Phase]] = {SCHEMA: Phase.CONTENT, ENTRY: Phase.CATALOG, LABEL: Phase.ALIAS}

_RECORD = re.compile(r"records/(schema|entry|label)/([^/+][^/]*(?:/\+[^/]+)*)", re.ASCII)
_BLOB = re.compile(r"blobs/([\w.+*-]{1,100}/[\w.+*-]{1,100})/(b[a-z2-7]{20,120})", re.ASCII)
_MEDIA_TYPE = re.compile(r"(?!\.{1,2}/)[\w.+*-]{1,100}/(?!\.{1,2}\Z)[\w.+*-]{1,100}", re.ASCII)
_DOCUMENT = re.compile(r"ledger/([0-9]{20}\.(?:intent|outcome|packet)\.json)", re.ASCII)
_RAW: Final = b"\x01\x55\x12\x20"
"""CIDv1, raw bytes, sha2-256, 32 bytes: the CID of a blob."""

_PIECE: Final = 200
_RECORDS_IN_GROUP: Final = 500
_BLOB_METHOD: Final = "com.atproto.sync.getBlob"
_GONE: Final = frozenset({"BlobNotFound", "InvalidRequest"})


class Blob(NamedTuple):
    """A blob as records name it: its CID, media type and size."""

    cid: bytes
    media_type: str
    size: int

    @property
    def digest(self) -> Digest:
        """The sha256 of its bytes, which its CID holds."""
        return Digest(f"sha256:{self.cid[4:].hex()}")

    @property
    def path(self) -> str:
        """Its path in a backup."""
        return f"blobs/{self.media_type}/{Link(self.cid).cid}"


class AccountReading:
    """One reading of an account (see `reconciler.stores.keeping.Reading`)."""

    def __init__(
        self, did: str, read: Callable[[], Reading], xrpc: Xrpc, journal: Journal, hold: Hold
    ) -> None:
        self._did, self._xrpc, self._journal = did, xrpc, journal
        self._head = journal.head()
        self._reading = read()
        known = list(journal.records())
        self._open = bool(known) and known[-1].results is None
        if self._open and hold is Hold.LOCKED:
            raise OutcomeUnknown.of(
                "E_UNFINISHED",
                f"run {len(known)} was stopped before its end",
                path=did,
                fix="run 'reconciler apply', which finishes it first",
            )
        self._closed: list[Record] = known[:-1] if self._open else known

    @property
    def records(self) -> int:
        """How many closed records the ledger holds."""
        return len(self._closed)

    @property
    def ledger(self) -> str | None:
        """The digest of the last outcome."""
        return self._closed[-1].outcome_sha if self._closed else None

    @property
    def heads(self) -> Mapping[str, str]:
        """The sha256 in the CID of the repository's commit."""
        return {"repository": record_digest(self._reading.head.cid)}

    def settled(self) -> bool:
        """Whether no run of ours was under way: the records are those of one commit anyway."""
        return not self._open and self._journal.head() == self._head

    def groups(self) -> Iterator[OfferedGroup]:
        """The account, blobs, records by kind and the beginning of their keys, and the ledger."""
        said = canonical({"schema": ACCOUNT_SCHEMA, "did": self._did})
        yield OfferedGroup("account", (_inline(ACCOUNT, Phase.CONTENT, said),), partial(_judged, ()))
        blobs, odd = blobs_of(self._reading)
        for head, some in groupby(sorted(blobs, key=lambda one: one.digest), lambda one: one.digest[7:9]):
            yield OfferedGroup(f"blobs/{head}", tuple(map(self._blob, some)), partial(_judged, ()))
        if odd:
            yield OfferedGroup("blobs", (), partial(_judged, odd))
        ordered = sorted(self._reading.records.items())
        for (kind, head), listed in groupby(ordered, lambda one: (one[0].kind, one[0].key[:2])):
            records = list(listed)
            parts = tuple(_record(key, stored) for key, stored in records if not stored.problems)
            problems = tuple(problem for _, stored in records for problem in stored.problems)
            yield OfferedGroup(f"records/{kind}/{head}", parts, partial(_judged, problems))
        kept = set(self._journal.names(PACKETS))
        for start in range(0, len(self._closed), _RECORDS_IN_GROUP):
            some_records = self._closed[start : start + _RECORDS_IN_GROUP]
            documents = tuple(part for one in some_records for part in self._documents(one.seq, kept))
            yield OfferedGroup(f"ledger/{start + 1:020d}", documents, partial(_judged, ()))

    def _blob(self, blob: Blob) -> Offered:
        chunks = partial(_downloaded, self._xrpc, self._did, blob)
        return Offered(blob.path, Phase.CONTENT, blob.size, "", blob.digest, chunks)

    def _documents(self, seq: int, packets: set[str]) -> Iterator[Offered]:
        for folder, part in ((LEDGER, "intent"), (LEDGER, "outcome"), (PACKETS, "packet")):
            name = file_name(seq, part)
            if folder == LEDGER or name in packets:
                data = self._journal.read(f"{folder}/{name}")
                if data is None:
                    raise Corrupt.of(
                        "E_LEDGER_CHAIN", f"{name} of the ledger has gone", path=self._did, got=name
                    )
                yield _inline(f"{LEDGER}/{name}", Phase.LEDGER, data)


def record_digest(cid: str) -> Digest:
    """The sha256 that a CID holds."""
    return Digest(f"sha256:{cid_bytes(cid)[4:].hex()}")


def record_path(key: Key) -> str:
    """The path of a record in a backup."""
    pieces = [key.key[start : start + _PIECE] for start in range(0, len(key.key), _PIECE)]
    return f"records/{key.kind}/{'/+'.join(pieces)}"


def key_at(path: str) -> Key | None:
    """The record that a path of a backup stands for; None of any other path."""
    found = _RECORD.fullmatch(path)
    if found is None:
        return None
    key = Key(found.group(1), found.group(2).replace("/+", ""))
    return key if KEY.fullmatch(key.key) and record_path(key) == path else None


def blob_at(part: Part) -> Blob | None:
    """The blob that a part of a backup stands for; None of any other."""
    found = _BLOB.fullmatch(part.path)
    if found is None:
        return None
    blob = Blob(_RAW + bytes.fromhex(part.digest[7:]), found.group(1), part.size)
    return blob if blob.path == part.path else None


def document_at(path: str) -> str | None:
    """Where beside the ledger a part of a backup comes back; None of any other."""
    found = _DOCUMENT.fullmatch(path)
    if found is None:
        return None
    name = found.group(1)
    return f"{PACKETS if name.endswith('.packet.json') else LEDGER}/{name}"


def blobs_of(reading: Reading) -> tuple[frozenset[Blob], tuple[Problem, ...]]:
    """Every blob that a record of a reading refers to, and the references that cannot be kept."""
    blobs: dict[bytes, Blob] = {}
    problems: list[Problem] = []
    for key, stored in sorted(reading.records.items()):
        for cid, media_type, size in references_of(stored.record):
            fits = isinstance(media_type, str) and _MEDIA_TYPE.fullmatch(media_type)
            if not fits or not isinstance(size, int) or size < 0 or cid[:4] != _RAW:
                problems.append(
                    Problem(
                        code="E_RECORD_BLOB",
                        message="the record refers to a blob in a way that no server takes",
                        path=f"{COLLECTIONS[key.kind]}/{key.key}",
                        got=f"{Link(cid).cid} {media_type!r}",
                        fix="withdraw the record, or put it again",
                    )
                )
            else:
                blobs.setdefault(cid, Blob(cid, str(media_type), size))
    return frozenset(blobs.values()), tuple(problems)


def references_of(value: Data) -> Iterator[tuple[bytes, Data, Data]]:
    """The references to blobs anywhere inside of a record (https://atproto.com/specs/data-model)."""
    if isinstance(value, list):
        for item in value:
            yield from references_of(item)
    elif isinstance(value, dict):
        ref = value.get("ref")
        if value.get("$type") == "blob" and isinstance(ref, Link):
            yield ref.raw, value.get("mimeType"), value.get("size")
        for item in value.values():
            yield from references_of(item)


def _record(key: Key, stored: Stored) -> Offered:
    data = encode(stored.record)
    chunks = partial(_once, data)
    return Offered(record_path(key), PHASES[key.kind], len(data), "", record_digest(stored.cid), chunks)


def _inline(path: str, phase: Phase, data: bytes) -> Offered:
    return Offered(path, phase, len(data), "", Digest(sha256_digest(data)), partial(_once, data))


def _once(data: bytes) -> Iterator[bytes]:
    yield data


def _judged(problems: tuple[Problem, ...], _digests: Mapping[str, Digest]) -> Judged:
    return Judged(problems)


def blob_bytes(xrpc: Xrpc, did: str, blob: Blob) -> bytes | None:
    """The bytes that the server gives for a blob; None if it has none.

    Raises:
        Unavailable: the server cannot be asked.
        LimitExceeded: E_ANSWER_SIZE, it gives more than the blob has.
    """
    try:
        return xrpc.download(_BLOB_METHOD, limit=blob.size, did=did, cid=Link(blob.cid).cid)
    except Refused as refused:
        if refused.error in _GONE:
            return None
        raise refused.unavailable(xrpc.where) from refused


def _downloaded(xrpc: Xrpc, did: str, blob: Blob) -> Iterator[bytes]:
    data = blob_bytes(xrpc, did, blob)
    if data is None:
        raise Corrupt.of(
            "E_RECORD_BLOB",
            "a record refers to a blob that the server does not give",
            path=did,
            got=Link(blob.cid).cid,
            fix="ask who runs the server; withdraw the record or put the blob again",
        )
    yield data


def asked(did: str, reading: Reading, xrpc: Xrpc) -> Answers:
    """Follow every label to its entry, every entry to its schema, and read every blob that they name."""
    problems = list(_unanswered(reading))
    blobs, odd = blobs_of(reading)
    problems += odd
    for blob in sorted(blobs):
        data = blob_bytes(xrpc, did, blob)
        if data is None or sha256_digest(data) != blob.digest:
            problems.append(
                Problem(
                    code="E_RECORD_BLOB",
                    message="a blob that a record names is not given, or has other bytes",
                    path=did,
                    got=Link(blob.cid).cid,
                    fix="ask who runs the server",
                )
            )
    questions = sum(key.kind != SCHEMA for key in reading.records) + len(blobs)
    return Answers(
        questions,
        "every label followed to its entry, every entry to its schema, every blob read",
        tuple(problems),
    )


_LEADS: Final = {LABEL: (NAMED_ENTRY, ENTRY), ENTRY: (OF_SCHEMA, SCHEMA)}


def _unanswered(reading: Reading) -> Iterable[Problem]:
    """The references inside of the account that lead nowhere; those to other accounts are not followed."""
    for key, stored in sorted(reading.records.items()):
        if key.kind not in _LEADS:
            continue
        slot, kind = _LEADS[key.kind]
        named = stored.slots.get(slot)
        if not isinstance(named, str) or named.startswith("at://"):
            continue
        found = reading.records.get(Key(kind, named))
        if found is None or found.problems:
            yield Problem(
                code="E_REFERENCE_MISSING",
                message=f"the {kind} that it names is not there, or is broken",
                path=f"{COLLECTIONS[key.kind]}/{key.key}",
                got=f"{COLLECTIONS[kind]}/{named}"[:80],
                fix=f"publish the {kind} again",
            )
