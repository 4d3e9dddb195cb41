"""Judging a packet of the reference's own release tooling: which of its claims hold, and which do not.

Such a packet is a list of files with hashes, a second list that is called signing, and reports that say
"ok". It has no key, no signature and no root (contract 6.2, 8.7): it can never be proved here. What can be
said precisely is which listed file is missing or has other bytes, so that nobody has to take the "ok" of
its own report for an answer.

Paths in it are relative to a repository; those below the directory that holds its evidence root are
looked up in the packet, all others lie outside of it and cannot be proved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from reconciler.canonical import parse_strict
from reconciler.errors import Corrupt, InvalidInput, Problem
from reconciler.evidence.packet import CHECKSUMS, MANIFEST, PACKET
from reconciler.evidence.verification import REPORTS, Check, Contents, Proof

_SIGN, _VERIFY = REPORTS
_LIMIT: Final = 5_000_000
_FIX: Final = "collect and sign the release with 'reconciler evidence collect' and 'sign'"


class _Leaf(NamedTuple):
    """One file that a document names by path and hash."""

    path: str
    sha256: str


def judged(contents: Contents) -> Proof | None:
    """What a packet of the reference proves; None if it is not one."""
    packet = _document(contents, PACKET)
    if packet is None or "schema" in packet or not isinstance(packet.get("items"), list):
        return None
    base = str(packet.get("evidence_root", "")).rpartition("/")[0]
    lists = {name: _document(contents, name) for name in (PACKET, CHECKSUMS, MANIFEST)}
    compared = [_compared(contents, name, list(_leaves(lists[name])), base) for name in lists if lists[name]]
    wrong = sum(len(check.problems) for check in compared)
    checks = (
        _refused(
            "index",
            "E_EVIDENCE_PACKET",
            "nothing has a hash of its index, so it has no root",
            contents,
            PACKET,
        ),
        *compared,
        _refused("signature", "E_NOT_SIGNED", _signing(contents), contents, _SIGN),
        *_claimed(contents, wrong),
    )
    return Proof(index=None, record=None, checks=checks)


def _document(contents: Contents, path: str) -> Mapping[str, Any] | None:
    data = contents.documents.get(path)
    if data is None:
        return None
    try:
        document = parse_strict(data, where=f"{contents.where}/{path}", limit=_LIMIT)
    except InvalidInput:
        return None
    return document if isinstance(document, dict) else None


def _leaves(document: Any) -> Iterator[_Leaf]:  # noqa: ANN401 - JSON
    """Every object in a document that gives a path and a sha256, in order of appearance."""
    if isinstance(document, dict):
        path, sha256 = document.get("path"), document.get("sha256")
        if isinstance(path, str) and isinstance(sha256, str):
            yield _Leaf(path, sha256)
        for value in document.values():
            yield from _leaves(value)
    elif isinstance(document, list):
        for value in document:
            yield from _leaves(value)


def _compared(contents: Contents, document: str, leaves: list[_Leaf], base: str) -> Check:
    """Hold the files that a document names against those that are there."""
    problems = []
    for leaf in dict.fromkeys(leaves):
        inside = bool(base) and leaf.path.startswith(f"{base}/")
        seen = contents.files.get(leaf.path.removeprefix(f"{base}/")) if inside else None
        if seen is not None and seen.sha256 == leaf.sha256:
            continue
        if not inside:
            message = f"{document} lists a file that lies outside the packet"
        elif seen is None:
            message = f"{document} lists a file that is missing"
        else:
            message = f"{document} states another sha256 than the file has"
        problems.append(
            Problem(
                code="E_EVIDENCE_MEMBER",
                message=message,
                path=f"{contents.where}/{leaf.path}",
                got=None if seen is None else seen.sha256,
            )
        )
    count = len(dict.fromkeys(leaves))
    name = document.rpartition("/")[2].removesuffix(".json")
    return Check(
        name, f"{count - len(problems)} of {count} listed files are there as stated", tuple(problems)
    )


def _signing(contents: Contents) -> str:
    report = _document(contents, _SIGN)
    mechanism = report.get("mechanism") if report else None
    if isinstance(mechanism, str):
        return f"what it calls signing is a list of hashes ({mechanism[:60]!a}): no key has signed anything"
    return "it is not signed"


def _claimed(contents: Contents, wrong: int) -> Iterator[Check]:
    """Its own report says that it verifies; say so where it does not."""
    report = _document(contents, _VERIFY)
    if report and report.get("status") == "ok" and wrong:
        message = f"its own report says 'ok', and {wrong} listed files are not as stated"
        yield _refused("report", "E_EVIDENCE_DERIVED", message, contents, _VERIFY)


def _refused(name: str, code: str, message: str, contents: Contents, path: str) -> Check:
    error = Corrupt.of(code, message, path=f"{contents.where}/{path}", fix=_FIX)
    return Check(name, problems=error.problems)
