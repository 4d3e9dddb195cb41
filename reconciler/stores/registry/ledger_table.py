"""The ledger as a table of the registry's own database: one row per record, in the change's transaction.

Decides where the documents of `reconciler.ledger` stand and which record comes next. Intent and outcome
are written together with the rows they describe, so no run is ever left open here: a killed writer leaves
nothing. The row is the audit trail; nothing ever updates or deletes one.

Beside the documents a row says when it was written, by the database's clock: `time` in an intent is that
of a commit, and says nothing about how long something was live. And whether it begins or ends a
protection, so that a write by hand reads those records alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from reconciler.canonical import sha256_digest
from reconciler.ledger import (
    Record,
    RecordBytes,
    Run,
    intent_bytes,
    outcome_bytes,
    protected_by,
    read_record,
)
from reconciler.model import Address, Outcome, Step, StepResult
from reconciler.stores.port import other_packet
from reconciler.stores.registry import statements as sql
from reconciler.stores.registry.session import Session

PAGE: Final = 64


class Appended(NamedTuple):
    """A record that the open transaction adds."""

    seq: int
    intent: bytes
    results: tuple[StepResult, ...]


class Head(NamedTuple):
    """The end of the chain: the last record's number, and the digest that the next one follows."""

    seq: int
    link: str | None


def head(session: Session) -> Head:
    """The end of the chain; number 0 if there is no record."""
    found = session.rows(sql.LAST_RECORD)
    return Head(found[0][0], sha256_digest(_blob(found[0][1]))) if found else Head(0, None)


def append(session: Session, *, identity: str, run: Run, steps: Sequence[Step]) -> Appended:
    """Add the record of steps that this transaction does, with each of them applied."""
    end = head(session)
    seq = end.seq + 1
    results = tuple(StepResult(step=step.id, outcome=Outcome.APPLIED, receipt=str(seq)) for step in steps)
    intent = intent_bytes(seq=seq, previous=end.link, identity=identity, run=run, steps=steps)
    outcome = outcome_bytes(seq=seq, intent_sha=sha256_digest(intent), results=results, heads={})
    session.run(sql.APPEND, (seq, intent, outcome, session.now(), bool(run.protection)))
    return Appended(seq, intent, results)


def page(session: Session, *, after: int, previous: str | None, store: str, where: str) -> Iterator[Record]:
    """Some records that follow one, oldest first, their chain checked.

    Raises:
        Corrupt: E_LEDGER_CHAIN.
    """
    rows = session.rows(sql.RECORDS, (after, PAGE))
    for place, (_, intent, outcome, closed_at) in enumerate(rows, start=after + 1):
        record = read_record(
            seq=place,
            store=store,
            previous=previous,
            intent=_blob(intent),
            outcome=_blob(outcome),
            where=where,
        )
        previous = record.outcome_sha
        yield replace(record, closed_at=closed_at)


def protected(session: Session, *, where: str) -> frozenset[Address]:
    """What the ledger protects, from the records that say something about it.

    Raises:
        Corrupt: E_LEDGER_CHAIN, one of them cannot be read.
    """
    return protected_by(((seq, _blob(intent)) for seq, intent in session.rows(sql.PROTECTING)), where=where)


def documents(session: Session, seq: int) -> RecordBytes | None:
    """The two documents of a record, as they stand in its row."""
    found = session.rows(sql.RECORD, (seq,))
    return RecordBytes(_blob(found[0][0]), _blob(found[0][1])) if found else None


def packet(session: Session, seq: int) -> bytes | None:
    """The packet that is kept for a release."""
    found = session.rows(sql.PACKET, (seq,))
    return _blob(found[0][0]) if found else None


def keep_packet(session: Session, seq: int, data: bytes, *, where: str) -> None:
    """Keep a packet in its row; the same bytes again are fine.

    Raises:
        Corrupt: E_EVIDENCE_KEPT, another one is kept.
    """
    kept = packet(session, seq)
    if kept is None:
        session.run(sql.KEEP_PACKET, (seq, data))
    elif kept != data:
        raise other_packet(seq, where)


def _blob(value: bytes | memoryview | str) -> bytes:
    """The bytes of a column; SQLite keeps what another program put there, text too."""
    return value.encode("utf-8") if isinstance(value, str) else bytes(value)
