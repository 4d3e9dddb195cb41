"""In-toto statements: what is claimed, about which bytes, under which predicate.

Writes and reads Statement v1 (in-toto/attestation, `spec/v1/statement.md`). A statement is about its
subjects by digest alone. Predicates are SLSA provenance v1 for what was published, a SLSA verification
summary v1 for what policy said, and four of our own: a release, a plan, an approval, a report.

A reader names the predicate that it expects, and gets the predicate's members only if statement type,
predicate type and the digest of the subject are the expected ones. So an approval can never pass for a
release, nor a statement about one packet for a statement about another.

Never verifies a signature: only the payload of an envelope that was believed comes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from reconciler.canonical import canonical, parse_strict
from reconciler.errors import Corrupt, InvalidInput
from reconciler.model import Digest, digest_problem

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
VERDICT: Final = "https://slsa.dev/verification_summary/v1"
RELEASE: Final = "urn:reconciler:release:v1"
PLAN: Final = "urn:reconciler:plan:v1"
APPROVAL: Final = "urn:reconciler:approval:v1"
REPORT: Final = "urn:reconciler:report:v1"

STATEMENT_LIMIT: Final = 64 << 20
_MEMBERS: Final = frozenset({"_type", "predicate", "predicateType", "subject"})


class Subject(NamedTuple):
    """Some bytes that a statement is about: a name for people, and the digest that counts."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Statement:
    """A claim about some bytes."""

    predicate_type: str
    subjects: tuple[Subject, ...]
    predicate: Mapping[str, Any]


def statement_bytes(statement: Statement) -> bytes:
    """The canonical bytes of a statement."""
    return canonical(
        {
            "_type": STATEMENT,
            "predicateType": statement.predicate_type,
            "subject": [
                {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
                for name, digest in statement.subjects
            ],
            "predicate": dict(statement.predicate),
        }
    )


def read_statement(payload: bytes, *, predicate_type: str, where: str) -> Statement:
    """Decode a statement of one predicate type.

    Raises:
        Corrupt: E_STATEMENT.
    """
    try:
        document = parse_strict(payload, where=where, limit=STATEMENT_LIMIT)
    except InvalidInput as error:
        raise _refused(f"it cannot be read: {error.problems[0].message}", where) from error
    if not isinstance(document, dict) or document.keys() != _MEMBERS:
        raise _refused("it has _type, subject, predicateType and predicate", where)
    if document["_type"] != STATEMENT:
        raise _refused(f"its _type is not {STATEMENT}", where, document["_type"])
    if document["predicateType"] != predicate_type:
        raise _refused(f"its predicateType is not {predicate_type}", where, document["predicateType"])
    if not isinstance(document["predicate"], dict):
        raise _refused("its predicate is an object", where)
    return Statement(predicate_type, _subjects(document["subject"], where), document["predicate"])


def about(statement: Statement, digest: str, *, where: str) -> Statement:
    """The statement, if its one subject is the bytes of this digest.

    Raises:
        Corrupt: E_STATEMENT.
    """
    if [subject.digest for subject in statement.subjects] != [digest]:
        raise _refused("it is about other bytes", where, ", ".join(s.digest for s in statement.subjects))
    return statement


def _subjects(items: Any, where: str) -> tuple[Subject, ...]:  # noqa: ANN401 - JSON
    if not isinstance(items, list) or not items:
        raise _refused("it has at least one subject", where)
    return tuple(_subject(item, where) for item in items)


def _subject(item: Any, where: str) -> Subject:  # noqa: ANN401 - JSON
    if not isinstance(item, dict) or item.keys() != {"name", "digest"} or not isinstance(item["name"], str):
        raise _refused("a subject has a name and a digest", where)
    digests = item["digest"]
    if (
        not isinstance(digests, dict)
        or digests.keys() != {"sha256"}
        or not isinstance(digests["sha256"], str)
    ):
        raise _refused("a subject's digest is one sha256", where)
    digest = f"sha256:{digests['sha256']}"
    if digest_problem(digest):
        raise _refused("a subject's sha256 is 64 lower-case hex digits", where, digests["sha256"])
    return Subject(item["name"], Digest(digest))


def _refused(message: str, where: str, got: object = None) -> Corrupt:
    return Corrupt.of(
        "E_STATEMENT",
        f"what was signed is not the statement that is needed: {message}",
        path=where,
        got=None if got is None else str(got),
        fix="sign the right thing",
    )
