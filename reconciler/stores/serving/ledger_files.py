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
from typing import NamedTuple

import orjson

from reconciler.canonical import sha256_digest
from reconciler.errors import Conflict, Corrupt
from reconciler.ledger import Record, Run, file_name, intent_bytes, outcome_bytes, read_record
from reconciler.model import Step, StepResult
from reconciler.stores.serving.durable import (
    INTENT_MOMENTS,
    LEDGER,
    OUTCOME_MOMENTS,
    directory,
    put_if_absent,
    store_faults,
)
from reconciler.stores.serving.files import read_file

_NAME = re.compile(r"([0-9]{20})\.(intent|outcome)\.json", re.ASCII)
_RECORD_LIMIT = 512 << 20
_TRIES = 3
_PAUSE = 0.01


class End(NamedTuple):
    """The end of the chain: the last record, and what the next one follows."""

    last: Record | None

    @property
    def next_seq(self) -> int:
        """The sequence number that the next run takes."""
        return self.last.seq + 1 if self.last else 1

    @property
    def link(self) -> str | None:
        """What the next intent follows: the digest of the last outcome, None at first."""
        return self.last.outcome_sha if self.last else None

    @property
    def open_record(self) -> Record | None:
        """The run that a killed process left unfinished."""
        return self.last if self.last and self.last.results is None else None


def _gap(numbers: Mapping[int, set[str]]) -> str:
    """What is missing among the numbered files; empty if nothing is."""
    for seq, parts in sorted(numbers.items()):
        if "intent" not in parts or ("outcome" not in parts and seq != len(numbers)):
            return f"record {seq} is incomplete"
    if numbers and max(numbers) != len(numbers):
        return "a number is missing"
    return ""


class LedgerFiles:
    """The ledger of one store, by the descriptor of the store's root."""

    def __init__(self, root: int, *, store: str, identity: str, where: str) -> None:
        self._root = root
        self._store = store
        self._identity = identity
        self._where = f"{where}/{LEDGER}"

    def head(self) -> str:
        """The name of the newest file, or nothing; moves with every record."""
        numbers = self._numbers()
        if not numbers:
            return ""
        last = max(numbers)
        return file_name(last, "outcome" if numbers[last] == {"intent", "outcome"} else "intent")

    def end(self) -> End:
        """The last record, with the one before it as its link.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        numbers = self._numbers()
        if not numbers:
            return End(None)
        last = max(numbers)
        previous = self._bytes(last - 1, "outcome") if last > 1 else None
        return End(self._record(last, None if previous is None else sha256_digest(previous), numbers))

    def recorded_heads(self) -> Mapping[str, str]:
        """The heads that the last closed record names.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        last = self.end().last
        if last is None:
            return {}
        if last.results is not None:
            return last.heads
        outcome = self._bytes(last.seq - 1, "outcome") if last.seq > 1 else None
        try:
            return {} if outcome is None else orjson.loads(outcome)["heads"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise self._broken(f"record {last.seq - 1} cannot be read") from error

    def records(self) -> Iterator[Record]:
        """All records, oldest first, each link checked.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        numbers = self._numbers()
        previous: str | None = None
        for seq in sorted(numbers):
            record = self._record(seq, previous, numbers)
            previous = record.outcome_sha
            yield record

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

    def stands(self, seq: int) -> bool:
        """Whether a record of this number exists; a holder whose number was passed may not write."""
        try:
            with directory(self._root, LEDGER) as ledger:
                os.stat(file_name(seq, "intent"), dir_fd=ledger, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _numbers(self) -> dict[int, set[str]]:
        """The parts of each record; read again where a writer at work may explain what is missing."""
        gap = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE)
            numbers = self._listed()
            gap = _gap(numbers)
            if not gap:
                return numbers
        raise self._broken(gap)

    def _listed(self) -> dict[int, set[str]]:
        numbers: dict[int, set[str]] = {}
        with store_faults(self._where):
            try:
                with directory(self._root, LEDGER) as ledger:
                    names = os.listdir(ledger)
            except FileNotFoundError:
                return {}
        for name in names:
            match = _NAME.fullmatch(name)
            if not match:
                raise self._broken(f"a file that does not belong there: {name[:80]!a}")
            numbers.setdefault(int(match.group(1)), set()).add(match.group(2))
        return numbers

    def _record(self, seq: int, previous: str | None, numbers: Mapping[int, set[str]]) -> Record:
        intent = self._bytes(seq, "intent")
        outcome = self._bytes(seq, "outcome") if "outcome" in numbers[seq] else None
        if intent is None:
            raise self._broken(f"record {seq} has gone")
        return read_record(
            seq=seq, store=self._store, previous=previous, intent=intent, outcome=outcome, where=self._where
        )

    def _bytes(self, seq: int, part: str) -> bytes | None:
        return read_file(self._root, f"{LEDGER}/{file_name(seq, part)}", _RECORD_LIMIT)

    def _broken(self, what: str) -> Corrupt:
        return Corrupt.of(
            "E_LEDGER_CHAIN",
            f"the ledger is broken: {what}",
            path=self._where,
            fix="restore the ledger from a backup; the chain is never repaired silently",
        )
