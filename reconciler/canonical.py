"""Canonical JSON: the one byte form of every document that is hashed, compared or stored.

Members sorted by key, compact separators, UTF-8, no trailing newline: the "stable JSON" of the
serving store (contract section 2.1). Our documents hold no floats, ASCII keys and integers below
2^53, so the same bytes are also RFC 8785; a test holds the two equal.

Reading is strict: duplicate members, NaN, infinities, lone surrogates, integers beyond 2^53, text
after the document and nesting deeper than 64 are errors, because other readers disagree on them.

Nothing here opens a file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import orjson

from reconciler.errors import InvalidInput

MAX_DEPTH = 64
MAX_INTEGER = 2**53
_QUOTE = ord('"')
# Possessive, and an open string runs to the end: hostile text costs one pass, never a second look.
_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def canonical(document: object) -> bytes:
    """The canonical bytes of a JSON value without floats.

    Raises:
        TypeError: the value holds something that is not JSON.
    """
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def struct_order(document: object) -> bytes:
    """Compact JSON with the members in the order they were built.

    The serving store hashes catalogs and writes `manifest.lock` this way (contract 2.1, 2.2, 2.5).
    """
    return orjson.dumps(document)


def sha256_hex(data: bytes) -> str:
    """The bare lower-case sha256, as the serving store's files spell it."""
    return hashlib.sha256(data).hexdigest()


def sha256_digest(data: bytes) -> str:
    """`sha256:<64 lower hex>`, as every document of ours spells it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _refuse(code: str, message: str, where: str, got: str | None = None) -> NoReturn:
    raise InvalidInput.of(code, message, path=where, got=got)


def _members(where: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        _refuse("E_JSON_DUP", "a member is given twice", where, twice)
    return document


def _number(where: str, text: str) -> NoReturn:
    _refuse("E_JSON_NUMBER", "NaN and infinities are not JSON", where, text)


def _real(where: str, text: str) -> float:
    value = float(text)
    if math.isinf(value):
        _number(where, text)
    return value


def _integer(where: str, text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        _refuse("E_JSON_NUMBER", "an integer is beyond 2^53", where, text)
    return int(text)


def parse_strict(data: bytes, *, where: str = "", limit: int = 5_000_000) -> Any:  # noqa: ANN401 - JSON
    """One JSON value, read so that no two readers can disagree on it.

    Args:
        data: the bytes of the document.
        where: the path that errors name.
        limit: the largest accepted size in bytes.

    Raises:
        InvalidInput: E_JSON_SIZE, E_JSON_SYNTAX, E_JSON_DUP, E_JSON_NUMBER, E_JSON_TEXT, E_JSON_DEPTH or
            E_ENCODING.
    """
    if len(data) > limit:
        _refuse("E_JSON_SIZE", f"the document is larger than {limit} bytes", where, str(len(data)))
    _check_depth(data, where)

    try:
        text = data.decode("utf-8")
        document = json.loads(
            text,
            object_pairs_hook=partial(_members, where),
            parse_constant=partial(_number, where),
            parse_float=partial(_real, where),
            parse_int=partial(_integer, where),
        )
    except UnicodeDecodeError as error:
        raise InvalidInput.of(
            "E_ENCODING", "UTF-8 is required", path=where, fix="save the file as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise InvalidInput.of(
            "E_JSON_SYNTAX", f"not JSON: {error.msg}", path=where, line=error.lineno, column=error.colno
        ) from error
    if b"\\u" in data:
        _check_text(document, where)
    return document


def _check_depth(data: bytes, where: str) -> None:
    """Count brackets outside strings, so that a deep document never reaches a recursive parser."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _BRACKET.finditer(data):
        if data[token.start()] == _QUOTE:
            continue
        depth += 1 if token.group() in b"[{" else -1
        if depth > MAX_DEPTH:
            _refuse("E_JSON_DEPTH", f"nesting is deeper than {MAX_DEPTH}", where)


def _check_text(document: object, where: str) -> None:
    try:
        orjson.dumps(document)
    except TypeError as error:
        raise InvalidInput.of("E_JSON_TEXT", "a text holds half of a surrogate pair", path=where) from error
