"""The metadata of an entry: the bytes that its record carries.

The lexicon wants msgpack, at most 100,000 bytes. Readers get bytes as base64 without padding, and atdata's
client decodes that with padding only; so the length must be a multiple of three. msgpack knows several forms
for the size of a map and of a text: the header of the outer map, or that of its first key, is written in a
longer form where that fills the gap. Every reader of msgpack reads the same map.

Members are sorted, so equal metadata are equal bytes. Floats are refused although msgpack could hold them:
the data model has none, and a reader that shows metadata as JSON of a record would lose them. An index of
atdata keeps the hashes of shards under `checksums`; they stand beside each shard in a record, and the key
with local paths in it is not made public.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import DecodeError, MsgspecError
from msgspec.msgpack import Encoder, decode

from reconciler.errors import InvalidInput, Problem
from reconciler.stores.atproto.lexicon import value_problems

CHECKSUMS: Final = "checksums"
_GROUP: Final = 3

_encoder = Encoder(order="sorted")


def decoded_metadata(data: bytes, *, where: str) -> dict[str, Any]:
    """The map that an index or a record holds as msgpack.

    Raises:
        InvalidInput: E_METADATA, the bytes are not a map with text keys.
    """
    try:
        found = decode(data)
    except (DecodeError, MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInput.of("E_METADATA", "the metadata is not msgpack", path=where) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InvalidInput.of("E_METADATA", "the metadata is not a map with text keys", path=where)
    return found


def metadata_problems(metadata: Mapping[str, Any], *, where: str) -> tuple[Problem, ...]:
    """What keeps metadata from being published: a float, an integer beyond 2^53, bytes."""
    return value_problems(metadata, where=where, name="metadata")


def encoded_metadata(metadata: Mapping[str, Any]) -> bytes:
    """The bytes of metadata without problems; their number is a multiple of three."""
    data = _encoder.encode(dict(metadata))
    head, name, rest = _parted(data)
    for wider_head in _heads(head):
        for wider_name in _names(name):
            length = len(wider_head) + len(wider_name) + len(rest)
            if length % _GROUP == 0:
                return wider_head + wider_name + rest
    raise AssertionError  # the forms differ by 0, 1 and 2 bytes in some combination


def _parted(data: bytes) -> tuple[bytes, bytes, bytes]:
    """The header of the map, the header of its first key, and the rest."""
    first = 1 if data[0] < 0xDE else 3 if data[0] == 0xDE else 5
    second = first + (1 if data[first] < 0xD9 else 2 if data[first] == 0xD9 else 3)
    return data[:first], data[first:second], data[second:]


def _heads(head: bytes) -> tuple[bytes, ...]:
    """The forms of a map's header, the shortest first."""
    count = head[0] & 0x0F if len(head) == 1 else int.from_bytes(head[1:], "big")
    wide = b"\xdf" + count.to_bytes(4, "big")
    if len(head) == 1:
        return (head, b"\xde" + count.to_bytes(2, "big"), wide)
    return (head, wide) if len(head) == 3 else (head,)


def _names(name: bytes) -> tuple[bytes, ...]:
    """The forms of a text's header, the shortest first."""
    size = name[0] & 0x1F if len(name) == 1 else int.from_bytes(name[1:], "big")
    narrow = b"\xd9" + size.to_bytes(1, "big") if size < 0x100 else b""
    forms = (narrow, b"\xda" + size.to_bytes(2, "big"), b"\xdb" + size.to_bytes(4, "big"))
    return (name, *(form for form in forms if len(form) > len(name)))
