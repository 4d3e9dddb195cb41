"""Signatures over one file: a saved plan, or the report of a check such as a recovery drill.

The envelope stands beside the file (`plan.json` and `plan.json.dsse.json`) and its statement is about the
file's exact bytes. A saved plan is signed as a plan, with its intent, digest and commit to read; any other
JSON document that names its schema is signed as a report. So a signed report can never pass for a plan.

Never judges a plan: whether it is whole, fresh or unused is for `reconciler.plan`.
"""

from __future__ import annotations

from typing import Any, Final

from reconciler.canonical import parse_strict, sha256_digest
from reconciler.errors import InvalidInput
from reconciler.evidence.envelope import Envelope, read_envelope
from reconciler.evidence.statement import (
    PLAN,
    REPORT,
    Statement,
    Subject,
    about,
    read_statement,
    statement_bytes,
)
from reconciler.evidence.trust import Trust
from reconciler.model import Digest
from reconciler.plan import PLAN_LIMIT, read_saved
from reconciler.plan import SCHEMA as PLAN_SCHEMA

SUFFIX: Final = ".dsse.json"
"""What the name of an envelope adds to that of the file it is about."""


def file_statement(data: bytes, *, name: str, where: str) -> bytes:
    """The statement that is signed for a file.

    Args:
        data: the exact bytes of the file.
        name: its name, for people.
        where: how errors name it.

    Raises:
        InvalidInput: E_SCHEMA_VERSION, it is no JSON document that names its schema.
        Corrupt: E_PLAN_MISMATCH, a plan that was edited after it was sealed.
    """
    predicate = _described(data, where)
    subject = Subject(name, Digest(sha256_digest(data)))
    return statement_bytes(Statement(_kind(predicate["schema"]), (subject,), predicate))


def kind_of(data: bytes, *, where: str) -> str:
    """The predicate type under which a file is signed: `PLAN` or `REPORT`.

    Raises:
        InvalidInput, Corrupt: as `file_statement`.
    """
    return _kind(_described(data, where)["schema"])


def _kind(schema: str) -> str:
    return PLAN if schema == PLAN_SCHEMA else REPORT


def _described(data: bytes, where: str) -> dict[str, Any]:
    document = parse_strict(data, where=where, limit=PLAN_LIMIT)
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str):
        raise InvalidInput.of(
            "E_SCHEMA_VERSION", "only a document that names its schema is signed", path=where
        )
    if schema != PLAN_SCHEMA:
        return {"schema": schema}
    saved = read_saved(data, where=where)
    return {"schema": schema, "intent": saved.intent, "digest": saved.digest, "commit": saved.commit}


def file_signers(
    envelope: bytes, data: bytes, trust: Trust, *, predicate_type: str, at: int, where: str
) -> tuple[str, ...]:
    """The owners who signed these exact bytes as a document of this kind, enough of them.

    Args:
        envelope: the bytes of the envelope.
        data: the bytes of the file.
        trust: whose signatures count.
        predicate_type: `PLAN` or `REPORT`.
        at: the time for which the keys are judged.
        where: how errors name the envelope.

    Raises:
        Corrupt: E_ENVELOPE, E_NOT_SIGNED or E_STATEMENT.
    """
    read: Envelope = read_envelope(envelope, where=where)
    signers = trust.require(read, at=at, where=where)
    statement = read_statement(read.payload, predicate_type=predicate_type, where=where)
    about(statement, sha256_digest(data), where=where)
    return signers
