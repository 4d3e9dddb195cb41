"""The ledger of an account in a bucket: the same documents, each put only where none stands.

A bucket has no lock. Two runs that begin at once meet at the number of their intent, which only one can put;
the other waits until that run is closed, and then plans against what it left. A run that is not closed
after the time that a writer waits for another is taken for dead and finished: every write of an account
names the commit that it follows, so doing it again does nothing twice. A run that was taken over stops at
its next write, because its outcome stands.

The bucket must honour `If-None-Match: *`, which is tried before the first record (E_STORE_NO_CAS). A put
whose answer is lost is looked up: a document's bytes say whose it is.

It is reached with the variables that every S3 client knows (`AWS_ACCESS_KEY_ID`, …); the account's own
`credentials` are not for it.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final, TypeVar

from reconciler.canonical import sha256_digest
from reconciler.errors import Conflict, Corrupt, InvalidInput, OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.ledger import Record, Run, file_name, intent_bytes, outcome_bytes, read_heads, read_record
from reconciler.model import Step, StepResult, StoreConfig
from reconciler.stores.atproto.beside import BucketBeside
from reconciler.stores.atproto.journal import Held, Kept, NumberTaken
from reconciler.stores.port import Surroundings
from reconciler.stores.registry.objects_s3 import client_of
from reconciler.stores.registry.s3_access import access_of
from reconciler.stores.registry.s3_faults import S3Fault, Verdict, judged
from reconciler.stores.serving.durable import LEDGER, OWN
from reconciler.stores.serving.ledger_files import End, are_a_chain

T = TypeVar("T")

TRIES: Final = 6
_LOCATION = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/=-]*))?", re.ASCII)
_PROBE: Final = f"{OWN}/probe"
_PROBE_BYTES: Final = b"reconciler asks whether this store honours If-None-Match\n"
_FIRST_PAUSE: Final = 0.1
_POLL: Final = 0.2


class BucketJournal:
    """A ledger in a bucket."""

    serialises_writers = False

    def __init__(
        self, config: StoreConfig, surroundings: Surroundings, pause: Callable[[float], None]
    ) -> None:
        location = str(config.settings["ledger"])
        found = _LOCATION.fullmatch(location)
        if found is None:
            raise InvalidInput.of(
                "E_STORE_LOCATION", "this is not the location of a bucket", fix="write s3://BUCKET/PREFIX"
            )
        reached = {name: config.settings[name] for name in ("allowPrivate",) if name in config.settings}
        access = access_of(replace(config, settings=reached), surroundings.variables)
        self._client = client_of(found.group(1), (found.group(2) or "").strip("/"), access)
        self._config = config
        self._where = location
        self._timeout = surroundings.lock_timeout
        self._pause = pause
        self._conditional = False

    def head(self) -> str:
        """The name of the newest document, or nothing."""
        names = self._names()
        return names[-1] if names else ""

    def records(self) -> Iterator[Record]:
        """All records, oldest first, each link checked.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        names = self._names()
        previous: str | None = None
        for seq in range(1, (len(names) + 1) // 2 + 1):
            outcome = self._bytes(seq, "outcome") if 2 * seq <= len(names) else None
            record = self._record(seq, previous, outcome)
            previous = record.outcome_sha
            yield record

    def open_record(self) -> Record | None:
        """The run that is not closed: a killed process left it, or it is under way."""
        return self.end().open_record

    def litter(self) -> bool:
        """Nothing: a document is put whole or not at all."""
        return False

    def end(self) -> End:
        """The end of the chain.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        names = self._names()
        closed, is_open = divmod(len(names), 2)
        if not names:
            return End()
        outcome = self._present(closed, "outcome") if closed else None
        link = None if outcome is None else sha256_digest(outcome)
        if is_open:
            return End(closed + 2, None, {}, self._record(closed + 1, link, None))
        intent = sha256_digest(self._present(closed, "intent"))
        heads = read_heads(seq=closed, intent_sha=intent, outcome=outcome or b"", where=self._where)
        return End(closed + 1, link, heads)

    @contextmanager
    def held(self, command: str) -> Iterator[Held]:  # noqa: ARG002 - the protocol's signature
        """Wait until no run is under way, or until one that is must be dead.

        Raises:
            Unavailable: E_STORE_NO_CAS, or the bucket cannot be used.
        """
        self._require_conditions()
        until = time.monotonic() + self._timeout
        end = self.end()
        while end.open_record is not None and time.monotonic() < until:
            self._pause(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            end = self.end()
        seq = end.next_seq if end.open_record is None else end.open_record.seq
        yield Held(self, end, lambda: self._check_number(seq))

    def put_intent(
        self,
        seq: int,
        previous: str | None,
        run: Run,
        steps: Sequence[Step],
        *,
        still_valid: Callable[[], None],
    ) -> Record:
        """Write the intent of a run; its number is the fence.

        Raises:
            NumberTaken: another run took this number first.
            OutcomeUnknown: it may have been written.
        """
        identity = self._config.identity
        data = intent_bytes(seq=seq, previous=previous, identity=identity, run=run, steps=steps)
        still_valid()
        self._put(file_name(seq, "intent"), data, shared=False)
        return read_record(
            seq=seq,
            store=self._config.name,
            previous=previous,
            intent=data,
            outcome=None,
            where=self._where,
        )

    def has_intent(self, seq: int, previous: str | None, run: Run, steps: Sequence[Step]) -> bool:
        """Whether this very intent stands in the ledger."""
        identity = self._config.identity
        data = intent_bytes(seq=seq, previous=previous, identity=identity, run=run, steps=steps)
        return self._bytes(seq, "intent") == data

    def put_outcome(
        self,
        record: Record,
        results: Sequence[StepResult],
        heads: Mapping[str, str],
        *,
        still_valid: Callable[[], None],
    ) -> None:
        """Close a record.

        Raises:
            Conflict: somebody who took this run for dead closed it otherwise.
            OutcomeUnknown: it may be closed or not.
        """
        still_valid()
        data = outcome_bytes(seq=record.seq, intent_sha=record.intent_sha, results=results, heads=heads)
        self._put(file_name(record.seq, "outcome"), data, shared=True)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file that stands beside the ledger, or of a document of it."""
        return self._asked(lambda: self._content(f"{OWN}/{name}"))

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder beside the ledger, sorted."""
        return sorted(self._asked(lambda: self._listed(f"{OWN}/{folder}/")))

    @contextmanager
    def beside(self, command: str) -> Iterator[BucketBeside]:  # noqa: ARG002 - the protocol's signature
        """Nothing is held: every write is conditional, or harmless when it is done twice.

        Raises:
            Unavailable: E_STORE_NO_CAS, or the bucket cannot be used.
        """
        self._require_conditions()
        yield BucketBeside(self)

    def create_file(self, key: str, data: bytes) -> bool:
        """Put an object if there is none; False if there is one with other bytes.

        Raises:
            Unavailable: whether it was put is not known, or it was not; doing it again is harmless.
        """
        return self._asked(lambda: self._created(key, data) or self._content(key) == data)

    def replace_file(self, key: str, data: bytes) -> None:
        """Put an object, whatever stands there.

        Raises:
            Unavailable: as `create_file`.
        """
        import obstore  # noqa: PLC0415 - an extra

        def put() -> None:
            with judged():
                obstore.put(self._client, key, data, use_multipart=False)

        self._asked(put)

    def remove_file(self, key: str) -> None:
        """Remove an object; that it is gone already is fine.

        Raises:
            Unavailable: as `create_file`.
        """
        import obstore  # noqa: PLC0415 - an extra

        def remove() -> None:
            with judged(), suppress(FileNotFoundError):
                obstore.delete(self._client, key)

        self._asked(remove)

    def kept(self, what: Kept) -> bytes:
        """What was kept; empty if there is nothing, or it cannot be read."""
        with suppress(ReconcilerError):
            return self.read(what) or b""
        return b""

    def keep(self, what: Kept, data: bytes) -> None:
        """Keep something; a run does without what cannot be put."""
        if data:
            with suppress(ReconcilerError):
                self.replace_file(f"{OWN}/{what}", data)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _check_number(self, seq: int) -> None:
        """The fence: a run whose outcome stands, or that another followed, writes nothing more."""
        if self.head() >= file_name(seq, "outcome"):
            raise Conflict.of(
                "E_FENCED",
                "another run took over this store while we were paused",
                path=self._where,
                fix="plan again",
            )

    # Documents

    def _names(self) -> list[str]:
        names: list[str] = []
        for attempt in range(TRIES):
            if attempt:
                self._pause(_FIRST_PAUSE)
            names = sorted(self._asked(lambda: self._listed(f"{LEDGER}/")))
            if are_a_chain(names):
                return names
        raise Corrupt.of(
            "E_LEDGER_CHAIN",
            "the ledger is broken: a document is missing, or does not belong there",
            path=self._where,
            fix="restore the ledger from a backup; the chain is never repaired silently",
        )

    def _record(self, seq: int, previous: str | None, outcome: bytes | None) -> Record:
        return read_record(
            seq=seq,
            store=self._config.name,
            previous=previous,
            intent=self._present(seq, "intent"),
            outcome=outcome,
            where=self._where,
        )

    def _present(self, seq: int, part: str) -> bytes:
        found = self._bytes(seq, part)
        if found is None:
            raise Corrupt.of("E_LEDGER_CHAIN", f"record {seq} of the ledger has gone", path=self._where)
        return found

    def _bytes(self, seq: int, part: str) -> bytes | None:
        return self._asked(lambda: self._content(f"{LEDGER}/{file_name(seq, part)}"))

    def _put(self, name: str, data: bytes, *, shared: bool) -> None:
        """Create a document, until it is certain whose bytes stand there.

        Args:
            name: its file name.
            data: its bytes.
            shared: whether the same bytes are right whoever put them. Two runs of one plan have equal
                intents: one that was there before any answer of ours was lost is the other's.
        """
        key = f"{LEDGER}/{name}"
        fault: S3Fault | None = None
        doubt = shared
        for turn in range(TRIES):
            if turn:
                self._pause(_FIRST_PAUSE * 2**turn * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            try:
                if self._created(key, data):
                    return
            except S3Fault as found:
                fault = found
                if found.verdict is Verdict.REFUSED:
                    raise found.error(self._where) from found
                if found.verdict is Verdict.AGAIN:
                    continue
                doubt = True
            stands = self._looked_up(key)
            if stands == data and doubt:
                return
            if stands is not None:
                raise NumberTaken.of(
                    "E_CONFLICT", f"another run put {name} first", path=self._where, fix="plan again"
                )
        raise OutcomeUnknown.of(
            "E_OUTCOME_UNKNOWN",
            f"whether {name} was recorded is not known; no step was started after it",
            path=self._where,
            got=None if fault is None else str(fault),
            fix="apply again when the bucket answers",
        )

    def _looked_up(self, key: str) -> bytes | None:
        try:
            return self._asked(lambda: self._content(key))
        except Unavailable as error:
            raise OutcomeUnknown.of(
                "E_OUTCOME_UNKNOWN",
                "whether a record was written is not known, and the bucket cannot be read",
                path=self._where,
                got=error.code,
                fix="apply again when the bucket answers",
            ) from error

    # One request each; a failure is an S3Fault

    def _asked(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer; reading changes nothing.

        Raises:
            Unavailable: no answer after all tries, or a refusal.
        """
        fault = S3Fault(Verdict.UNKNOWN, 0)
        for turn in range(TRIES):
            if turn:
                self._pause(_FIRST_PAUSE * 2**turn * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            try:
                return ask()
            except S3Fault as found:
                fault = found
                if found.verdict is Verdict.REFUSED:
                    break
        raise fault.error(self._where) from fault

    def _created(self, key: str, data: bytes) -> bool:
        import obstore  # noqa: PLC0415 - an extra
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        with judged():
            try:
                obstore.put(self._client, key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def _content(self, key: str) -> bytes | None:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            try:
                return bytes(obstore.get(self._client, key).bytes())
            except FileNotFoundError:
                return None

    def _listed(self, prefix: str) -> list[str]:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            return [
                str(meta["path"]).rpartition("/")[2]
                for page in obstore.list(self._client, prefix)
                for meta in page
            ]

    def _require_conditions(self) -> None:
        if self._conditional:
            return
        self._asked(lambda: self._created(_PROBE, _PROBE_BYTES))
        if self._asked(lambda: self._created(_PROBE, _PROBE_BYTES)):
            raise Unavailable.of(
                "E_STORE_NO_CAS",
                "the object store overwrites although it was asked to create only",
                path=self._where,
                fix="use a store that honours If-None-Match, or a newer release of this one",
            )
        self._conditional = True
