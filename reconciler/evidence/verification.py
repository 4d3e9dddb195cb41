"""Verifying a packet: what is signed against what is there, member by member.

Decides, check by check, what a packet proves to somebody who has nothing but it and the keys that count:

    index       `packet.json` is canonical, and its root is over everything that it lists
    members     exactly the listed members are there, each with its size and sha256
    ledger      intent and outcome are one closed record, the one that the index names
    derived     every member is what this record gives, byte for byte
    signature   enough owners have signed that this index is the packet of this release
    release     it is the release that was asked for, and follows the packet that it must follow
    approvals   who has approved the intent, by keys that count

A check that cannot be made because an earlier one failed is *not proved*, which is never the same as
passed. Only `proof.whole` says that everything holds. Removing anything can only lose a proof, never
gain one (in-toto's rule of monotonic policies).

Large members are never held: what was read is known by size and digest, and only the small documents that
decide are kept. Nothing is extracted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from reconciler.errors import Corrupt, Problem, ReconcilerError
from reconciler.evidence import packet as layout
from reconciler.evidence.approval import intent_approvers
from reconciler.evidence.envelope import read_envelope
from reconciler.evidence.packet import (
    CHECKSUMS,
    ENVELOPES,
    INTENT,
    MANIFEST,
    OUTCOME,
    PACKET,
    STATEMENT_MEMBERS,
    Index,
)
from reconciler.evidence.statement import RELEASE, about, read_statement
from reconciler.evidence.trust import Trust
from reconciler.ledger import Record, RecordBytes
from reconciler.shape import Shape

REPORTS: Final = ("signing/release-sign.json", "signing/release-verify.json")
"""What the reference's tooling puts where we put signatures."""

KEPT: Final = frozenset(
    {PACKET, *ENVELOPES, INTENT, OUTCOME, *STATEMENT_MEMBERS, CHECKSUMS, MANIFEST, *REPORTS}
)
"""The members whose bytes are looked into; all others are known by size and digest."""


class Seen(NamedTuple):
    """One file of a packet as it was read."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What stands in a packet: every file by path, and the bytes of the few that decide."""

    where: str
    files: Mapping[str, Seen]
    documents: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a packet must be, as far as the caller knows it; None where it does not."""

    store: str | None = None
    seq: int | None = None
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what holds (`said`), or the problems. Neither means not proved."""

    name: str
    said: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def proved(self) -> bool:
        """Whether it holds."""
        return bool(self.said) and not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a packet proves, and what it does not; the shape names what the record's steps did."""

    index: Index | None
    record: Record | None
    checks: tuple[Check, ...]
    shape: Shape | None = None

    @property
    def whole(self) -> bool:
        """Whether every check holds."""
        return all(check.proved for check in self.checks)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong, in the order of the checks."""
        return tuple(problem for check in self.checks for problem in check.problems)


def verify(
    contents: Contents, trust: Trust, *, shape_of: Callable[[str], Shape], expected: Expected
) -> Proof:
    """Hold a packet against its signatures, its ledger record and what was asked for.

    Args:
        contents: what was read.
        trust: whose signatures count.
        shape_of: the shape of a store's kind, by its name.
        expected: which release it must be.
    """
    index: list[Index] = []
    record: list[tuple[Record, str]] = []
    shape: list[Shape] = []

    def the_index() -> str:
        data = contents.documents.get(PACKET)
        if data is None:
            raise _missing(PACKET, contents.where)
        index.append(layout.read_index(data, where=f"{contents.where}/{PACKET}"))
        return f"root {index[0].root}"

    def the_ledger() -> str:
        found = layout.read_record_bytes(_documents(contents), where=f"{contents.where}/{INTENT}")
        _same_record(index[0], *found, contents.where)
        record.append(found)
        return f"record {found[0].seq} of {index[0].store}, outcome {found[0].outcome_sha}"

    def shaped(identity: str) -> Shape:
        shape.append(shape_of(identity.split(" ")[1] if " " in identity else ""))
        return shape[0]

    def the_signature() -> str:
        return _signed(contents, index[0], trust, at=record[0][0].run.time)

    checks = [_checked("index", the_index)]
    follows: tuple[tuple[str, Callable[[], str], list[Any]], ...] = (
        ("members", lambda: _members(contents, index[0]), index),
        ("ledger", the_ledger, index),
        ("derived", lambda: _derived(contents, index[0], shaped(record[0][1])), record),
        ("signature", the_signature, record),
        ("release", lambda: _release(index[0], expected, contents.where), index),
        ("approvals", lambda: _approvals(record[0][0], trust), record),
    )
    checks += [_checked(name, look) if needed else Check(name) for name, look, needed in follows]
    known = (index[0] if index else None, record[0][0] if record else None, shape[0] if shape else None)
    return Proof(index=known[0], record=known[1], checks=tuple(checks), shape=known[2])


_FIX: Final = "get the packet again from where it was signed"


def _missing(path: str, where: str) -> Corrupt:
    return Corrupt.of(
        "E_EVIDENCE_MEMBER", "a member of the packet is missing", path=f"{where}/{path}", fix=_FIX
    )


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, said=look())
    except ReconcilerError as error:
        return Check(name, problems=error.problems)


def _documents(contents: Contents) -> RecordBytes:
    for path in (INTENT, OUTCOME):
        if path not in contents.documents:
            raise _missing(path, contents.where)
    return RecordBytes(contents.documents[INTENT], contents.documents[OUTCOME])


def _members(contents: Contents, index: Index) -> str:
    """Compare the files with the list."""
    listed = {item.path: item for item in index.items}
    problems = []
    for path in sorted({*listed, *contents.files} - {PACKET, *layout.envelopes_of(index)}):
        item, seen = listed.get(path), contents.files.get(path)
        if item is None:
            message, got = "a file stands in the packet that its index does not list", None
        elif seen is None:
            message, got = "a member of the packet is missing", None
        elif seen.size != item.bytes:
            message, got = f"a member has another size than {item.bytes}", str(seen.size)
        elif seen.sha256 != item.sha256:
            message, got = f"a member has other bytes than those of sha256 {item.sha256}", seen.sha256
        else:
            continue
        problems.append(
            Problem(
                code="E_EVIDENCE_MEMBER", message=message, path=f"{contents.where}/{path}", got=got, fix=_FIX
            )
        )
    if problems:
        raise Corrupt(problems)
    return f"{len(listed)} members, {sum(item.bytes for item in index.items)} bytes, and no other file"


def _same_record(index: Index, record: Record, identity: str, where: str) -> None:
    """The record must be the one that the index names."""
    stated = (index.store, index.seq, index.intent, index.outcome)
    found = (identity.partition(" ")[0], record.seq, record.intent_sha, record.outcome_sha)
    if stated != found:
        raise Corrupt(
            Problem(
                code="E_EVIDENCE_PACKET",
                message="the index names another ledger record than the one in the packet",
                path=f"{where}/{PACKET}",
                got=f"{index.store}#{index.seq}",
                fix=_FIX,
            )
        )


def _derived(contents: Contents, index: Index, shape: Shape) -> str:
    """Make the packet again from its record, and compare the index, which pins every byte."""
    again = layout.packet_of(_documents(contents), previous=index.previous, shape=shape, where=contents.where)
    if again.index.digest == index.digest:
        return "every member follows from the ledger record"
    made, listed = ({item.path: item.sha256 for item in items} for items in (again.index.items, index.items))
    odd = [path for path in sorted({*made, *listed}) if made.get(path) != listed.get(path)] or [PACKET]
    raise Corrupt(
        Problem(
            code="E_EVIDENCE_DERIVED",
            message="this member is not what the ledger record gives",
            path=f"{contents.where}/{path}",
            fix="collect the release again with 'reconciler evidence collect', and look who wrote this one",
        )
        for path in odd
    )


def _signed(contents: Contents, index: Index, trust: Trust, *, at: int) -> str:
    """Each envelope of the packet must be there, signed by enough owners, around the right bytes."""
    signers: tuple[str, ...] = ()
    for place, member in layout.envelopes_of(index).items():
        where = f"{contents.where}/{place}"
        data = contents.documents.get(place)
        if data is None:
            raise Corrupt.of(
                "E_NOT_SIGNED",
                "the packet is not signed" if member is None else f"{member} is not signed",
                path=where,
                fix="sign the packet with 'reconciler evidence sign', or get the signed one",
            )
        envelope = read_envelope(data, where=where)
        found = trust.require(envelope, at=at, where=where)
        if member is None:
            signers = found
            statement = read_statement(envelope.payload, predicate_type=RELEASE, where=where)
            about(statement, index.digest, where=where)
        elif envelope.payload != contents.documents.get(member):
            raise Corrupt.of(
                "E_STATEMENT", f"what was signed is not {member} of this packet", path=where, fix=_FIX
            )
    return f"signed by {', '.join(signers)} (threshold {trust.threshold})"


def _release(index: Index, expected: Expected, where: str) -> str:
    problems = []
    for what, wanted, found in (("store", expected.store, index.store), ("number", expected.seq, index.seq)):
        if wanted is not None and wanted != found:
            problems.append(
                Problem(
                    code="E_EVIDENCE_RELEASE",
                    message=f"this is the packet of another release: its {what} is not {wanted}",
                    path=where,
                    got=str(found),
                    fix="give the packet of the release that was asked for",
                )
            )
    if expected.previous is not None and expected.previous != index.previous:
        problems.append(
            Problem(
                code="E_EVIDENCE_CHAIN",
                message=f"this packet does not follow the one with root {expected.previous}",
                path=where,
                got=index.previous or "no packet before",
                fix="find the packet between them, or call a person: releases may have been left out",
            )
        )
    if problems:
        raise Corrupt(problems)
    after = f"after {index.previous}" if index.previous else "the first of its store"
    return f"{layout.release_name(index.store, index.seq)}, {after}"


def _approvals(record: Record, trust: Trust) -> str:
    """Who approved, as far as the trusted keys tell; a packet without approvals proves just that."""
    run = record.run
    if not run.approvals:
        return "none in the record"
    known = intent_approvers(run.approvals, run.intent, trust, at=run.time)
    proved = f"approved by {', '.join(known)}" if known else "none by a key that is trusted here"
    return f"{proved}; the record names {', '.join(run.approvers) or 'nobody'}"
