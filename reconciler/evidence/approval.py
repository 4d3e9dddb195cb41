"""Approvals: owners sign the intent of a plan before it is applied.

An approval is an envelope around a statement whose subject is the intent's digest. The intent covers what
would happen, the values it starts from, the stores and the policy's digest, so an approval holds for
exactly that and nothing else, and stops holding when any of it moves. It expires after seven days and
works once: an approval that stands in a ledger approves nothing any more.

Decides who has approved an intent and whether those are enough. The keys come from the policy of the
protected base, never from the change under review, and owners are counted, not signatures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.errors import Corrupt, Denied, InvalidInput, Problem, ReconcilerError, Stale
from reconciler.evidence.envelope import Envelope, read_envelope
from reconciler.evidence.statement import APPROVAL, Statement, Subject, about, read_statement, statement_bytes
from reconciler.evidence.trust import Trust
from reconciler.model import Digest, parse_digest

LIFETIME: Final = 7 * 24 * 60 * 60
"""Seconds for which an approval may be used."""

APPROVAL_LIMIT: Final = 32
"""The most approvals that are looked at for one apply."""

APPROVAL_SIZE: Final = 16_384
"""The most bytes of one approval: the ledger keeps them all."""

_SKEW: Final = 5 * 60


def approval_statement(intent: str, *, issued: int) -> bytes:
    """The statement that an owner signs.

    Raises:
        InvalidInput: E_HASH_PREFIX and others, the intent is not a digest.
    """
    subject = Subject("intent", parse_digest(intent))
    return statement_bytes(Statement(APPROVAL, (subject,), {"issued": issued, "expires": issued + LIFETIME}))


def intent_approvers(approvals: Iterable[str], intent: str, trust: Trust, *, at: int) -> tuple[str, ...]:
    """The owners who approved an intent, judged by the keys of one time; sorted, each once."""
    found: set[str] = set()
    for number, text in enumerate(approvals, start=1):
        try:
            envelope = read_envelope(text.encode("utf-8"), where=f"approval {number}")
            signers = trust.signers(envelope, at=at)
            if signers:
                _statement(envelope, intent, f"approval {number}")
                found.update(signers)
        except ReconcilerError:
            continue  # An approval that cannot be read approves nothing; the check says who did approve.
    return tuple(sorted(found))


def require_approvals(
    approvals: Sequence[tuple[str, bytes]], intent: str, trust: Trust, *, now: int, used: Iterable[str]
) -> tuple[str, ...]:
    """The owners who approved, at least as many as the policy wants.

    Args:
        approvals: where each comes from, and its bytes.
        intent: what would be applied.
        trust: the keys of the owners, and how many of them must have approved.
        now: the time of the apply.
        used: the approvals that stand in the ledgers already.

    Raises:
        Corrupt: E_ENVELOPE or E_STATEMENT, one is not an approval of this intent.
        Denied: E_APPROVAL, too few owners have approved.
        InvalidInput: E_APPROVAL, too many are given.
        Stale: E_APPROVAL_USED or E_APPROVAL_EXPIRED.
    """
    if len(approvals) > APPROVAL_LIMIT:
        raise InvalidInput.of("E_APPROVAL", f"at most {APPROVAL_LIMIT} approvals are looked at")
    spent = frozenset(used)
    owners: set[str] = set()
    for where, data in approvals:
        if data.decode("utf-8", "replace") in spent:
            raise Stale.of(
                "E_APPROVAL_USED", "this approval was used before", path=where, fix="have it approved again"
            )
        envelope = read_envelope(data, where=where)
        signers = trust.signers(envelope, at=now)
        if signers:
            _check_time(_statement(envelope, intent, where), now, where)
            owners.update(signers)
    if len(owners) < trust.threshold:
        raise Denied(_too_few(len(owners), trust.threshold, intent, sorted(owners)))
    return tuple(sorted(owners))


def _statement(envelope: Envelope, intent: str, where: str) -> Statement:
    statement = read_statement(envelope.payload, predicate_type=APPROVAL, where=where)
    return about(statement, Digest(intent), where=where)


def _check_time(statement: Statement, now: int, where: str) -> None:
    issued, expires = statement.predicate.get("issued"), statement.predicate.get("expires")
    if type(issued) is not int or type(expires) is not int or expires - issued > LIFETIME:
        raise Corrupt.of("E_STATEMENT", "an approval says when it was issued and expires", path=where)
    if not issued - _SKEW <= now < expires:
        raise Stale.of(
            "E_APPROVAL_EXPIRED",
            "this approval is older than seven days, or its clock is ahead of this one",
            path=where,
            fix="have it approved again",
        )


def _too_few(found: int, wanted: int, intent: str, owners: Sequence[str]) -> Problem:
    return Problem(
        code="E_APPROVAL",
        message=f"policy wants the approval of {wanted} owners, and {found} have approved",
        path=intent,
        got=", ".join(owners) or "nobody",
        fix="have owners run 'reconciler approve' on this intent, and give their files with --approval",
    )
