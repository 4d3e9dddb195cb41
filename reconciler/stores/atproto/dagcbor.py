"""DAG-CBOR and CIDs: the one byte form of a record, and its name.

A record is text, integers, truth values, nulls, byte strings, links, lists and maps with text keys. Encoded
canonically (shortest heads, keys shorter first and then by bytes, no floats, no indefinite lengths) it has
one byte form, and the CID of those bytes is the record's identity; the server computes the same one. So
whether a record is as wished is decided here, without a request.

Reading is strict: what is not canonical is `Malformed`, because two readers could disagree on it. A byte
string and a link are different types (`bytes`, `Link`), also where the bytes look like a CID.

    >>> cid_of(encode({"a": 1}))
    'bafyreihltcnuuyqp2jm24aqydpnlj7b6w3ogwrplomrjtg5rifv44mmjey'

Specification: https://ipld.io/specs/codecs/dag-cbor/spec/ and https://atproto.com/specs/data-model
"""

from __future__ import annotations

from base64 import b32decode, b32encode, b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple, cast

from reconciler.errors import InvalidInput

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 64

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = range(8)
_LINK_TAG: Final = b"\xd8\x2a"
_LINK_NUMBER: Final = 42
_SIMPLES: Final[Mapping[int, bool | None]] = {0xF4: False, 0xF5: True, 0xF6: None}
_PREFIX: Final = b"\x01\x71\x12\x20"
"""CIDv1, dag-cbor, sha2-256, 32 bytes."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link to other content by the bytes of its CID."""

    raw: bytes

    @property
    def cid(self) -> str:
        """The CID as text."""
        return cid_text(self.raw)


Data = None | bool | int | str | bytes | Link | list["Data"] | dict[str, "Data"]
"""A value of the ATProto data model."""

Record = dict[str, Data]

_Add = Callable[[bytes], None]


class Malformed(ValueError):
    """Bytes that are not canonical DAG-CBOR."""


def cid_of(data: bytes) -> str:
    """The CID of a block of DAG-CBOR."""
    return cid_text(_PREFIX + sha256(data).digest())


def cid_text(cid: bytes) -> str:
    """A CID as text: base32, lower case, no padding."""
    return "b" + b32encode(cid).decode("ascii").rstrip("=").lower()


def cid_bytes(text: str) -> bytes:
    """The bytes of a CID.

    Raises:
        Malformed: the text is not a CID in base32.
    """
    body = text[1:].upper()
    try:
        if not text.startswith("b") or text != text.lower():
            raise Malformed(f"not a CID in base32: {text[:80]!a}")
        found = b32decode(body + "=" * (-len(body) % 8))
    except (BadBase64, ValueError) as error:
        raise Malformed(f"not a CID in base32: {text[:80]!a}") from error
    if not found or cid_text(found) != text:
        raise Malformed(f"not a CID in base32: {text[:80]!a}")
    return found


def is_named_by(cid: bytes, data: bytes) -> bool:
    """Whether a CID of the sha2-256 kind names these bytes."""
    return len(cid) == 36 and cid[2:4] == b"\x12\x20" and cid[4:] == sha256(data).digest()


# Writing


def encode(value: Data) -> bytes:
    """The canonical bytes of a value.

    Raises:
        InvalidInput: E_RECORD_TYPE, it holds what the data model has not; E_RECORD_LIMIT, it is too deep.
    """
    parts: list[bytes] = []
    _write(value, parts.append, MAX_DEPTH)
    return b"".join(parts)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    if number < 0x100:
        return bytes((major << 5 | 24, number))
    if number < 0x10000:
        return bytes((major << 5 | 25,)) + number.to_bytes(2, "big")
    if number < 0x100000000:
        return bytes((major << 5 | 26,)) + number.to_bytes(4, "big")
    return bytes((major << 5 | 27,)) + number.to_bytes(8, "big")


def _refused(message: str, got: object) -> InvalidInput:
    return InvalidInput.of("E_RECORD_TYPE", message, got=str(got), fix="correct the document")


def _text(value: str) -> bytes:
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _refused("a text of a record has characters that UTF-8 has not", ascii(value)) from error
    return _head(_TEXT, len(data)) + data


def _write(value: Data, add: _Add, depth: int) -> None:
    if isinstance(value, str):
        add(_text(value))
    elif value is None:
        add(b"\xf6")
    elif isinstance(value, bool):
        add(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise _refused("an integer of a record is below 2^53", value)
        add(_head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value))
    elif isinstance(value, bytes):
        add(_head(_BYTES, len(value)) + value)
    elif isinstance(value, Link):
        add(_LINK_TAG + _head(_BYTES, len(value.raw) + 1) + b"\0" + value.raw)
    elif isinstance(value, list | dict):
        _write_inner(value, add, depth)
    elif isinstance(value, float):
        raise _refused("a record holds no floats; ATProto has none", value)
    else:
        raise _refused("a record cannot hold a value of this type", type(value).__name__)


def _write_inner(value: list[Data] | dict[str, Data], add: _Add, depth: int) -> None:
    if not depth:
        raise InvalidInput.of("E_RECORD_LIMIT", f"a record has at most {MAX_DEPTH} levels", fix="flatten it")
    if isinstance(value, dict):
        _write_map(value, add, depth)
        return
    add(_head(_LIST, len(value)))
    for item in value:
        _write(item, add, depth - 1)


def _write_map(value: Mapping[str, Data], add: _Add, depth: int) -> None:
    keys: list[tuple[int, bytes, str]] = []
    for key in value:
        if not isinstance(key, str):
            raise _refused("the keys of a record are texts", key)
        data = _text(key)
        keys.append((len(data), data, key))
    keys.sort()
    add(_head(_MAP, len(keys)))
    for _, data, key in keys:
        add(data)
        _write(value[key], add, depth - 1)


# Reading


class _Item(NamedTuple):
    value: Data
    end: int


def decode(data: bytes) -> Data:
    """The value of one block.

    Raises:
        Malformed: the bytes are not one canonical value.
    """
    try:
        found = _read(data, 0, MAX_DEPTH)
    except (IndexError, UnicodeDecodeError) as error:
        raise Malformed("the block breaks off, or a text is not UTF-8") from error
    if found.end != len(data):
        raise Malformed("bytes follow the value")
    return found.value


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number of a head and where its value starts."""
    short = data[at] & 31
    if short < 24:
        return short, at + 1
    if short > 27:
        raise Malformed("a length is indefinite or reserved")
    size = 1 << (short - 24)
    end = at + 1 + size
    if end > len(data):
        raise Malformed("the block breaks off")
    number = int.from_bytes(data[at + 1 : end], "big")
    if number < 24 or (size > 1 and number < 1 << (4 * size)):
        raise Malformed("a head is not the shortest one")
    return number, end


def _read(data: bytes, at: int, depth: int) -> _Item:
    major = data[at] >> 5
    if major == _SIMPLE:
        if data[at] not in _SIMPLES:
            raise Malformed("a float, or a simple value that the data model has not")
        return _Item(_SIMPLES[data[at]], at + 1)
    number, start = _number(data, at)
    if major == _UNSIGNED:
        return _Item(number, start)
    if major == _NEGATIVE:
        return _Item(-1 - number, start)
    if major in (_BYTES, _TEXT):
        end = start + number
        if end > len(data):
            raise Malformed("the block breaks off")
        raw = data[start:end]
        return _Item(raw if major == _BYTES else raw.decode("utf-8"), end)
    if not depth:
        raise Malformed(f"a value has more than {MAX_DEPTH} levels")
    if major == _LIST:
        return _read_list(data, start, number, depth)
    return _read_map(data, start, number, depth) if major == _MAP else _read_link(data, start, number, depth)


def _read_list(data: bytes, at: int, count: int, depth: int) -> _Item:
    items: list[Data] = []
    for _ in range(count):
        item, at = _read(data, at, depth - 1)
        items.append(item)
    return _Item(items, at)


def _read_map(data: bytes, at: int, count: int, depth: int) -> _Item:
    members: dict[str, Data] = {}
    last = (0, b"")
    for number in range(count):
        if data[at] >> 5 != _TEXT:
            raise Malformed("a key is not a text")
        key, end = _read(data, at, depth - 1)
        place = (end - at, data[at:end])
        if number and place <= last:
            raise Malformed("keys are not in order, or one is given twice")
        last = place
        members[cast("str", key)], at = _read(data, end, depth - 1)
    return _Item(members, at)


def _read_link(data: bytes, at: int, number: int, depth: int) -> _Item:
    if number != _LINK_NUMBER or data[at] >> 5 != _BYTES:
        raise Malformed("a tag other than that of a link")
    raw, end = _read(data, at, depth - 1)
    if not isinstance(raw, bytes) or len(raw) < 2 or raw[0]:
        raise Malformed("a link without a CID")
    return _Item(Link(raw[1:]), end)


# The JSON that requests and answers carry


def to_json(value: Data) -> object:
    """The JSON form: byte strings are `{"$bytes": …}`, links `{"$link": …}`.

    Raises:
        InvalidInput: E_RECORD_TYPE, a map has one of those keys, so that it would be read as another thing.
    """
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode("ascii").rstrip("=")}
    if isinstance(value, Link):
        return {"$link": value.cid}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        if "$bytes" in value or "$link" in value:
            raise _refused("a map of a record has no key $bytes or $link", ", ".join(sorted(value)))
        return {key: to_json(item) for key, item in value.items()}
    return value


def from_json(value: object) -> Data:
    """The value of a JSON form.

    Raises:
        Malformed: it is not one.
    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, dict):
        return _from_object(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    raise Malformed("JSON that the data model has not")


def _from_object(value: Mapping[str, object]) -> Data:
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "$link" and isinstance(inner, str):
            return Link(cid_bytes(inner))
        if key == "$bytes" and isinstance(inner, str):
            try:
                return b64decode(inner.rstrip("=") + "=" * (-len(inner.rstrip("=")) % 4), validate=True)
            except ValueError as error:
                raise Malformed("a byte string that is not base64") from error
    return {key: from_json(item) for key, item in value.items()}
