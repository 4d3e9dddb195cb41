"""The ledger beside a file store: one intent and one outcome file per record, put if absent.

Decides where the bytes of `reconciler.ledger` stand and which record comes next. A gap, a fork or a
file that does not belong there is reported as a broken chain and never repaired. Reading the whole
chain is for `history`; a writer only needs its end, so that a commit costs the same however long the
ledger is.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from reconciler.canonical import sha256_digest
from reconciler.errors import Conflict, Corrupt
from reconciler.ledger import (
    Record,
    RecordBytes,
    Run,
    file_name,
    intent_bytes,
    outcome_bytes,
    read_heads,
    read_record,
)
from reconciler.model import Step, StepResult
from reconciler.stores.serving.durable import (
    INTENT_MOMENTS,
    LEDGER,
    OUTCOME_MOMENTS,
    directory,
    put_if_absent,
    store_faults,
)
from reconciler.stores.serving.files import read_file, sha256_file

_NAME = re.compile(r"([0-9]{20})\.(intent|outcome)\.json", re.ASCII)
_NAMES = re.compile(rf"{_NAME.pattern}(?:/{_NAME.pattern})*", re.ASCII)
_PARTS = ("intent", "outcome")
_RECORD_LIMIT = 512 << 20
_TRIES = 3
_PAUSE = 0.01


class End(NamedTuple):
    """The end of the chain, and what the next record follows.

    Attributes:
        next_seq: the sequence number that the next run takes.
        link: what the next intent follows: the digest of the last outcome, None at first.
        heads: the heads that the last closed record names.
        open_record: the run that a killed process left unfinished.
    """

    next_seq: int = 1
    link: str | None = None
    heads: Mapping[str, str] = MappingProxyType({})
    open_record: Record | None = None


def are_a_chain(names: Sequence[str]) -> bool:
    """Whether sorted names are those of a chain: all have the form, and fill the range that they span."""
    if not names:
        return True
    last = file_name((len(names) + 1) // 2, _PARTS[(len(names) + 1) % 2])
    spans = names[0] == file_name(1, "intent") and names[-1] == last
    return spans and _NAMES.fullmatch("/".join(names)) is not None


def _what_is_wrong(names: Sequence[str]) -> str:
    """Why sorted names are not those of a chain."""
    numbers: dict[int, set[str]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if not match:
            return f"a file that does not belong there: {name[:80]!a}"
        numbers.setdefault(int(match.group(1)), set()).add(match.group(2))
    for seq, parts in sorted(numbers.items()):
        if "intent" not in parts or ("outcome" not in parts and seq != len(numbers)):
            return f"record {seq} is incomplete"
    return "a number is missing"


class LedgerFiles:
    """The ledger of one store, by the descriptor of the store's root."""

    def __init__(self, root: int, *, store: str, identity: str, where: str) -> None:
        self._root = root
        self._store = store
        self._identity = identity
        self._where = f"{where}/{LEDGER}"

    def head(self) -> str:
        """The name of the newest file, or nothing; moves with every record."""
        names = self._names()
        return names[-1] if names else ""

    def end(self) -> End:
        """The end of the chain: an open record is decoded, of a closed one only its outcome.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        names = self._names()
        if not names:
            return End()
        closed, is_open = divmod(len(names), 2)
        outcome = self._bytes(closed, "outcome") if closed else None
        link = None if outcome is None else sha256_digest(outcome)
        heads = {} if outcome is None else self._heads(closed, outcome)
        if not is_open:
            return End(closed + 1, link, heads)
        return End(closed + 2, None, heads, self._record(closed + 1, link, None))

    def _heads(self, seq: int, outcome: bytes) -> Mapping[str, str]:
        intent = sha256_file(self._root, f"{LEDGER}/{file_name(seq, 'intent')}")
        if intent is None:
            raise self._broken(f"record {seq} has gone")
        return read_heads(seq=seq, intent_sha=f"sha256:{intent.sha256}", outcome=outcome, where=self._where)

    def recorded_heads(self) -> Mapping[str, str]:
        """The heads that the last closed record names.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        return self.end().heads

    def records(self) -> Iterator[Record]:
        """All records, oldest first, each link checked.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        names = self._names()
        previous: str | None = None
        for seq in range(1, (len(names) + 1) // 2 + 1):
            closed = 2 * seq <= len(names)
            record = self._record(seq, previous, self._bytes(seq, "outcome") if closed else None)
            previous = record.outcome_sha
            yield replace(record, closed_at=self._written_at(seq)) if closed else record

    def settle(self) -> None:
        """Make what stands in the ledger durable; who wrote the last record may have been killed before.

        Otherwise a power loss could keep a step and lose its intent, or keep a record and lose the one
        before it.

        Raises:
            OSError: the store failed.
        """
        with directory(self._root, LEDGER) as ledger:
            os.fsync(ledger)

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
            Conflict: E_CONFLICT, another run took this number first.
            OSError: the store failed.
        """
        data = intent_bytes(seq=seq, previous=previous, identity=self._identity, run=run, steps=steps)
        try:
            path = f"{LEDGER}/{file_name(seq, 'intent')}"
            put_if_absent(self._root, path, data, INTENT_MOMENTS, still_valid=still_valid)
        except FileExistsError as error:
            raise Conflict.of(
                "E_CONFLICT",
                f"another run took number {seq} of the ledger",
                path=self._where,
                fix="plan again",
            ) from error
        return read_record(
            seq=seq, store=self._store, previous=previous, intent=data, outcome=None, where=self._where
        )

    def has_intent(self, seq: int, previous: str | None, run: Run, steps: Sequence[Step]) -> bool:
        """Whether this very intent stands in the ledger; the probe after a fault in writing it."""
        data = intent_bytes(seq=seq, previous=previous, identity=self._identity, run=run, steps=steps)
        return read_file(self._root, f"{LEDGER}/{file_name(seq, 'intent')}", _RECORD_LIMIT) == data

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
            OSError: the store failed; the record may be closed or not.
        """
        data = outcome_bytes(seq=record.seq, intent_sha=record.intent_sha, results=results, heads=heads)
        path = f"{LEDGER}/{file_name(record.seq, 'outcome')}"
        put_if_absent(self._root, path, data, OUTCOME_MOMENTS, still_valid=still_valid)

    def documents(self, seq: int) -> RecordBytes | None:
        """The two documents of a closed record, as they stand; None if there is no such closed record.

        Raises:
            OSError: the store failed.
        """
        intent, outcome = self._bytes(seq, "intent"), self._bytes(seq, "outcome")
        return None if intent is None or outcome is None else RecordBytes(intent, outcome)

    def stands(self, seq: int) -> bool:
        """Whether a record of this number exists; a holder whose number was passed may not write."""
        try:
            with directory(self._root, LEDGER) as ledger:
                os.stat(file_name(seq, "intent"), dir_fd=ledger, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _names(self) -> list[str]:
        """The sorted names; read again where a writer at work may explain what is wrong.

        They are an intent and an outcome for each number from 1 on, the last outcome perhaps not yet.

        Raises:
            Corrupt: E_LEDGER_CHAIN, they are any other.
        """
        names: list[str] = []
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE)
            names = self._listed()
            if are_a_chain(names):
                return names
        raise self._broken(_what_is_wrong(names))

    def _listed(self) -> list[str]:
        with store_faults(self._where):
            try:
                with directory(self._root, LEDGER) as ledger:
                    return sorted(os.listdir(ledger))
            except FileNotFoundError:
                return []

    def _record(self, seq: int, previous: str | None, outcome: bytes | None) -> Record:
        intent = self._bytes(seq, "intent")
        if intent is None:
            raise self._broken(f"record {seq} has gone")
        return read_record(
            seq=seq, store=self._store, previous=previous, intent=intent, outcome=outcome, where=self._where
        )

    def _written_at(self, seq: int) -> int:
        """When an outcome was put, by the clock of the file system."""
        with store_faults(self._where):
            path = f"{LEDGER}/{file_name(seq, 'outcome')}"
            return int(os.stat(path, dir_fd=self._root, follow_symlinks=False).st_mtime)

    def _bytes(self, seq: int, part: str) -> bytes | None:
        return read_file(self._root, f"{LEDGER}/{file_name(seq, part)}", _RECORD_LIMIT)

    def _broken(self, what: str) -> Corrupt:
        return Corrupt.of(
            "E_LEDGER_CHAIN",
            f"the ledger is broken: {what}",
            path=self._where,
            fix="restore the ledger from a backup; the chain is never repaired silently",
        )
