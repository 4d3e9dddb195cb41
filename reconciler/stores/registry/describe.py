"""What is inside of a manifest: its tables, its columns, its bytes, and the document itself.

Manifests are opaque to the registry; only what every known kind has is counted, and a manifest that is no
JSON object has its size alone. Bytes come from the planned commit where a plan would register them, else from
the registry's objects. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from reconciler.canonical import parse_strict, sha256_digest
from reconciler.contents import Content, Look
from reconciler.errors import InvalidInput, Problem, ReconcilerError

Bytes = Callable[[Look], bytes]
"""Gives the bytes of one manifest; raises one of our errors where it cannot."""

_READ: Final = 1_000_000


def describe(looks: Sequence[Look], content: Bytes) -> Iterator[tuple[Look, Content]]:
    """One content for each look, in the order asked."""
    for look in looks:
        try:
            data = content(look)
        except ReconcilerError as error:
            yield look, Content(address=look.address, facts={}, problems=error.problems)
            continue
        yield look, _content(look, data)


def _content(look: Look, data: bytes) -> Content:
    if sha256_digest(data) != look.address.key:
        problem = Problem(
            code="E_MANIFEST_HASH",
            message="the bytes are not those that the manifest's digest names",
            path=look.source,
            got=sha256_digest(data),
            fix="declare the digest of the file",
        )
        return Content(address=look.address, facts={}, problems=(problem,))
    document = _document(data)
    return Content(address=look.address, facts={**_counts(document), "bytes": len(data)}, document=document)


def _document(data: bytes) -> object:
    try:
        return parse_strict(data, limit=_READ)
    except InvalidInput:  # whatever was registered is a manifest; what is no JSON has no fields to show
        return None


def _counts(document: object) -> dict[str, int]:
    tables = document.get("tables") if isinstance(document, Mapping) else None
    if not isinstance(tables, Mapping):
        return {}
    return {"tables": len(tables), "columns": sum(_columns(table) for table in tables.values())}


def _columns(table: object) -> int:
    inner = table
    for name in ("schema", "arrow", "fields"):
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    return len(inner) if isinstance(inner, list) else 0
