"""The canonical model's two hashes: what queries mean, and where rows come from (contract 2.9, 3.6 step 4).

Decides whether `canonical_summary.json` and `canonical_features.json` agree with the manifest. The reference
compares texts only; with the documents at hand the hashes are recomputed. A document with a fraction in it
cannot be: two JSON writers spell fractions differently, so an unequal hash proves nothing and is reported as
not recomputable.

Reads two documents, writes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from reconciler.canonical import canonical, parse_strict, sha256_hex
from reconciler.errors import Problem
from reconciler.stores.serving.documents import convert
from reconciler.stores.serving.verification import (
    Check,
    Setting,
    Subject,
    guarded,
    judged,
    missing,
    unconfirmed,
)

SUMMARY = "derived/canonical_summary.json"
FEATURES = "derived/canonical_features.json"
LIMIT = 512_000_000


class _Hashes(Struct, frozen=True):
    query_semantic_sha256: str
    lineage_sensitive_sha256: str


class _Summary(Struct, frozen=True):
    hashes: _Hashes


def check_summary(subject: Subject) -> Check:
    """The hashes that the summary states against those of the manifest, as texts.

    Raises:
        InvalidInput, LimitExceeded: the summary cannot be parsed.
        Unavailable: a file cannot be read.
    """
    name, files = "canonical summary", subject.files
    if subject.manifest.canonical_model_schema_version == 0:
        return judged(name, (), "the dataset has no canonical model")
    data, features = files.read(SUMMARY, LIMIT), files.hash(FEATURES)
    absent = [path for path, found in ((SUMMARY, data), (FEATURES, features)) if found is None]
    if absent and subject.setting is Setting.STORE:
        return unconfirmed(name, "the canonical model was not published")
    if data is None or absent:
        return judged(name, [missing(files.path(path)) for path in absent])
    path = files.path(SUMMARY)
    stated = convert(parse_strict(data, where=path, limit=LIMIT), _Summary, where=path).hashes
    problems = [
        _other(path, member, found)
        for member, found, wanted in (
            (
                "query_semantic_sha256",
                stated.query_semantic_sha256,
                subject.manifest.canonical_query_semantic_sha256,
            ),
            (
                "lineage_sensitive_sha256",
                stated.lineage_sensitive_sha256,
                subject.manifest.canonical_lineage_sha256,
            ),
        )
        if found != wanted
    ]
    return judged(name, problems)


def _other(path: str, member: str, got: str) -> Problem:
    return Problem(
        code="E_CANONICAL_HASH",
        message=f"{member} is not the one that the manifest states",
        path=path,
        got=got,
        fix="rebuild the dataset",
    )


def recomputed_checks(subject: Subject) -> list[Check]:
    """Both hashes recomputed from the documents that they cover; none where there is no canonical model.

    Raises:
        Unavailable: a file cannot be read.
    """
    manifest = subject.manifest
    if manifest.canonical_model_schema_version == 0:
        return []
    query = _Part(
        "query semantics", SUMMARY, "query_semantic_payload", manifest.canonical_query_semantic_sha256
    )
    lineage = _Part("lineage", FEATURES, "genes", manifest.canonical_lineage_sha256)
    return [
        guarded(query.name, lambda: _recomputed(subject, query)),
        guarded(lineage.name, lambda: _recomputed(subject, lineage)),
    ]


class _Part(NamedTuple):
    """A member of a document, and the hash that the manifest states of it."""

    name: str
    relpath: str
    member: str
    stated: str


def _recomputed(subject: Subject, part: _Part) -> Check:
    data, path = subject.files.read(part.relpath, LIMIT), subject.files.path(part.relpath)
    if data is None:
        return unconfirmed(part.name, f"{part.relpath} was not published")
    document = parse_strict(data, where=path, limit=LIMIT)
    if not isinstance(document, dict) or part.member not in document:
        return unconfirmed(part.name, f"{part.relpath} has no member {part.member}")
    found = sha256_hex(canonical(document[part.member]))
    if found == part.stated:
        return judged(part.name, ())
    if _has_fraction(document[part.member]):
        return unconfirmed(part.name, f"{part.member} holds fractions, which writers spell differently")
    return judged(part.name, [_other(path, f"the hash of {part.member}", found)])


def _has_fraction(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_fraction, value.values()))
    if isinstance(value, list):
        return any(map(_has_fraction, value))
    return isinstance(value, float)
