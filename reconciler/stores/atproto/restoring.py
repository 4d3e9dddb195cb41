"""Taking a backup back into the account that it was made of, which lost what it held.

Records name each other by the account's DID, so they are put back into the same account only, wherever its
server is now: another account would get references into one that is gone. The account must hold no record
of our collections, and the place of its ledger no ledger; or an earlier attempt with the very same backup
put what stands there. The mark beside the ledger is written first of all and says which backup this will
be; while it is unfinished the store can be neither read nor written.

Blobs come first, because a server takes no record without them; then schemas, the ledger, entries, and
labels last. Each request creates up to 200 records and names the commit that it follows; whatever its answer
says or whether one came, the repository is read again and compared. At the end it is fetched anew: exactly
the records of the backup stand there, each with the CID that it had.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson

from reconciler.backup.document import Part, Phase
from reconciler.canonical import parse_strict, sha256_digest
from reconciler.errors import Corrupt, InvalidInput, Problem
from reconciler.failpoints import failpoint
from reconciler.model import Digest
from reconciler.stores.atproto.beside import Beside
from reconciler.stores.atproto.budget import Budget, cost_of
from reconciler.stores.atproto.connection import NoAnswer, NotSent
from reconciler.stores.atproto.dagcbor import Data, Link, Malformed, cid_of, decode
from reconciler.stores.atproto.journal import Journal
from reconciler.stores.atproto.keeping import (
    ACCOUNT,
    ACCOUNT_SCHEMA,
    PHASES,
    Blob,
    blob_at,
    blob_bytes,
    document_at,
    key_at,
    record_digest,
)
from reconciler.stores.atproto.keys import COLLECTIONS
from reconciler.stores.atproto.login import Login
from reconciler.stores.atproto.order import MOST_BYTES, MOST_WRITES
from reconciler.stores.atproto.repository import Key, Reading, Repository
from reconciler.stores.atproto.writes import Write
from reconciler.stores.atproto.xrpc import LONGEST_WAIT, Pause, Refused, Xrpc, patiently, rate_budget
from reconciler.stores.keeping import (
    Chunks,
    Restored,
    foreign_part,
    read_restored,
    restored_bytes,
    whole,
)
from reconciler.stores.serving.durable import Moments, unavailable

MARK: Final = "restore.json"
TRIES: Final = 8
_APPLY: Final = "com.atproto.repo.applyWrites"
_FIRST_PAUSE: Final = 0.05
_MARK_MOMENTS: Final = Moments(
    "res.mark.tmp.mid",
    "res.mark.fsync",
    "res.mark.cas",
    "res.mark.before",
    "res.mark.after",
    "res.mark.dirsync",
)
_DOCUMENT_MOMENTS: Final = Moments(
    "res.document.mid",
    "res.document.fsync",
    "res.document.cas",
    "res.document.before",
    "res.document.after",
    "res.document.dirsync",
)


def restored_mark(journal: Journal, where: str) -> Restored | None:
    """What the mark beside a ledger says; None if there is none.

    Raises:
        Corrupt: E_RESTORE_MARK.
    """
    data = journal.read(MARK)
    return None if data is None else read_restored(data, f"{where}: {MARK}")


def remove_mark(beside: Beside) -> None:
    """A drill proved the store."""
    beside.remove(MARK, _MARK_MOMENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The account that a backup comes back into, and the place of its ledger.

    Attributes:
        repository: reads the account; asked for each time, because a scratch place learns whose it is.
        claim: says whose backup this is; refuses one of another account.
        budget: what the server lets the account still spend.
    """

    repository: Callable[[], Repository]
    xrpc: Xrpc
    login: Callable[[], Login]
    journal: Journal
    beside: Beside
    claim: Callable[[str], None]
    upload: Callable[[bytes, str], Data]
    budget: Budget
    pause: Pause
    progress: Callable[[str], None]
    where: str


def begin(place: Place, backup: Digest) -> AccountRestoring:
    """Check that the place is empty, or begun with this backup, and mark it.

    Raises:
        InvalidInput: E_RESTORE_PLACE.
    """
    mark = restored_mark(place.journal, place.where)
    reading = place.repository().read()
    if mark is None:
        if reading.records:
            key = min(reading.records)
            raise _not_empty(place.where, f"{COLLECTIONS[key.kind]}/{key.key}")
        if place.journal.head():
            raise _not_empty(place.where, f"a ledger that ends with {place.journal.head()}")
        place.login().require()
        place.beside.replace(MARK, restored_bytes(Restored(backup, finished=False)), _MARK_MOMENTS)
    elif mark != Restored(backup, finished=False):
        raise _not_empty(place.where, f"it holds {mark.backup}")
    return AccountRestoring(place, backup, reading, begun=mark is not None)


def _not_empty(where: str, got: str) -> InvalidInput:
    return InvalidInput.of(
        "E_RESTORE_PLACE",
        "a backup is restored into an account without records of these collections, and without a ledger",
        path=where,
        got=got,
        fix="take the records and the ledger away first, or name an empty place for the ledger",
    )


class AccountRestoring:
    """An account that takes a backup back (see `reconciler.stores.keeping.Restoring`)."""

    def __init__(self, place: Place, backup: Digest, reading: Reading, *, begun: bool) -> None:
        self._place, self._backup, self._reading, self._begun = place, backup, reading, begun
        self._expected: dict[Key, str] = {}
        self._waiting: list[Write] = []
        self._bytes = 0

    def holds(self, part: Part) -> bool:
        """Whether an earlier attempt put this part."""
        if not self._begun:
            return False
        key, blob, name = key_at(part.path), blob_at(part), document_at(part.path)
        if key is not None:
            return self._holds_record(key, part)
        if blob is not None:
            return _is(blob_bytes(self._place.xrpc, self._place.repository().did, blob), part)
        data = self._place.journal.read(name) if name is not None else None
        if data is None or _is(data, part):
            return data is not None
        raise self._other(part, sha256_digest(data))

    def _holds_record(self, key: Key, part: Part) -> bool:
        found = self._reading.records.get(key)
        if found is None:
            return False
        if found.problems or record_digest(found.cid) != part.digest:
            raise self._other(part, found.cid)
        self._expected[key] = found.cid
        return True

    def _other(self, part: Part, got: str) -> Corrupt:
        return Corrupt.of(
            "E_RESTORE_PLACE",
            "something else stands where a part of the backup comes back",
            path=f"{self._place.where}: {part.path}",
            got=got,
            fix="take it away, and run the restore again",
        )

    def put(self, part: Part, chunks: Chunks) -> None:
        """Put a record, a blob or a document of the ledger; records travel together."""
        data = whole(part, chunks)
        key, blob, name = key_at(part.path), blob_at(part), document_at(part.path)
        if key is not None and part.phase is PHASES[key.kind]:
            self._put_record(key, data)
        elif blob is not None and part.phase is Phase.CONTENT:
            self._put_blob(blob, data)
        elif name is not None and part.phase is Phase.LEDGER:
            self._flush()
            if not self._place.beside.create(name, data, _DOCUMENT_MOMENTS):
                raise self._other(part, name)
        elif part.path == ACCOUNT:
            self._claim(data)
        else:
            raise _foreign(part.path)

    def _claim(self, data: bytes) -> None:
        try:
            said = parse_strict(data, where=ACCOUNT)
            schema, did = said["schema"], said["did"]
        except (InvalidInput, KeyError, TypeError) as error:
            raise _foreign(ACCOUNT) from error
        if schema != ACCOUNT_SCHEMA or not isinstance(did, str):
            raise _foreign(ACCOUNT)
        self._place.claim(did)
        self._reading = self._place.repository().read()

    def _put_blob(self, blob: Blob, data: bytes) -> None:
        try:
            failpoint("res.blob.before")
        except OSError as error:
            raise unavailable(error, self._place.where) from error
        made = self._place.upload(data, blob.media_type)
        ref = made.get("ref") if isinstance(made, dict) else None
        if not isinstance(made, dict) or ref != Link(blob.cid) or made.get("mimeType") != blob.media_type:
            raise Corrupt.of(
                "E_RESTORE_REBUILT",
                f"the server made another blob of the bytes of {blob.path}",
                path=self._place.where,
                got=repr(made)[:80],
                fix="ask who runs the server; the record that names this blob would be refused",
            )

    def _put_record(self, key: Key, data: bytes) -> None:
        try:
            record = decode(data)
        except Malformed as error:
            raise _foreign(f"{COLLECTIONS[key.kind]}/{key.key}") from error
        if not isinstance(record, dict):
            raise _foreign(f"{COLLECTIONS[key.kind]}/{key.key}")
        full = len(self._waiting) >= MOST_WRITES or self._bytes + 2 * len(data) > MOST_BYTES
        if self._waiting and (full or self._waiting[0].key.kind != key.kind):
            self._flush()
        self._waiting.append(Write(key, "create", record, cid_of(data)))
        self._bytes += 2 * len(data)
        self._expected[key] = cid_of(data)

    def rebuild(self, part: Part) -> None:
        """Never called: nothing of an account is kept by its digest alone."""
        raise _foreign(part.path)

    def check(self) -> None:
        """The ledger's chain holds; nothing names the content yet."""
        self._flush()
        for _ in self._place.journal.records():
            pass

    def finish(self) -> None:
        """Fetch the account anew and compare every CID; then say that everything is back.

        Raises:
            Corrupt: E_RESTORE_REBUILT.
        """
        self._flush()
        reading = self._place.repository().read_anew()
        stands = {key: stored.cid for key, stored in reading.records.items() if not stored.problems}
        differing = sorted(
            key for key in {*stands, *self._expected} if stands.get(key) != self._expected.get(key)
        )
        if differing:
            raise Corrupt(
                [
                    Problem(
                        code="E_RESTORE_REBUILT",
                        message=f"the record is not that of the backup ({self._expected.get(key, 'none')})",
                        path=f"{COLLECTIONS[key.kind]}/{key.key}",
                        got=stands.get(key, "absent"),
                        fix="another writer is at work; stop it, and restore into an empty account",
                    )
                    for key in differing[:20]
                ]
            )
        self._place.beside.replace(MARK, restored_bytes(Restored(self._backup, finished=True)), _MARK_MOMENTS)

    # Sending

    def _flush(self) -> None:
        """Send what is waiting, until every record of it stands.

        Raises:
            Corrupt: E_RESTORE_PLACE, another record stands at a key.
            LimitExceeded: E_RATE_BUDGET.
            Unavailable: the server does not take it.
        """
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        problem: Exception | None = None
        for turn in range(TRIES):
            left = self._left(waiting)
            if not left:
                return
            if turn:
                self._place.pause(_FIRST_PAUSE * 2**turn * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            try:
                self._paced(left)
                self._sent(left)
            except Refused as refused:
                problem = refused.unavailable(self._place.where)
                if refused.error != "InvalidSwap" and not refused.doubtful:
                    raise problem from refused
            except (NotSent, NoAnswer) as silent:
                problem = self._place.xrpc.silent(silent)
            except OSError as error:
                problem = unavailable(error, self._place.where)
            self._reading = self._place.repository().read()
        if self._left(waiting):
            raise problem or self._place.xrpc.unusable("does not name what was written")

    def _left(self, writes: list[Write]) -> list[Write]:
        """The writes of records that do not stand yet."""
        left = []
        for write in writes:
            found = self._reading.records.get(write.key)
            if found is None:
                left.append(write)
            elif found.cid != write.cid:
                raise Corrupt.of(
                    "E_RESTORE_PLACE",
                    "another record stands where one of the backup comes back",
                    path=f"{COLLECTIONS[write.key.kind]}/{write.key.key}",
                    got=found.cid,
                    fix="stop the other writer, take the record away, and run the restore again",
                )
        return left

    def _paced(self, writes: list[Write]) -> None:
        """Wait until the account may spend what this costs, as far as the server said when that is."""
        place = self._place
        wait = place.budget.wait(cost_of(writes), time.time())
        if wait > LONGEST_WAIT:
            raise rate_budget(place.where, wait)
        if wait:
            place.progress(f"waits {wait:.0f} s: {cost_of(writes)} points are more than are left")
            until = time.time() + wait
            place.pause(wait)
            place.budget.begun(until)

    def _sent(self, writes: list[Write]) -> None:
        """One request, again and again where the server asks for patience."""
        place = self._place
        body = orjson.dumps(
            {
                "repo": place.repository().did,
                "swapCommit": self._reading.head.cid,
                "writes": [write.to_json() for write in writes],
            }
        )
        failpoint("res.write.before")
        patiently(
            lambda: place.login().authorised(lambda token: place.xrpc.procedure(_APPLY, body, token=token)),
            where=place.where,
            pause=place.pause,
            progress=place.progress,
        )
        place.budget.spent(cost_of(writes), place.xrpc.said)
        failpoint("res.write.answer")


def _is(data: bytes | None, part: Part) -> bool:
    return data is not None and sha256_digest(data) == part.digest


def _foreign(path: str) -> Corrupt:
    return foreign_part(path, "an account")


def another_account(did: str, where: str, got: str) -> InvalidInput:
    """The refusal to restore records into another account than theirs."""
    return InvalidInput.of(
        "E_RESTORE_PLACE",
        f"the backup is of the account {did}; its records name each other by that",
        path=where,
        got=got,
        fix="bring that account back on a server first; to publish in another one, declare and apply it",
    )
