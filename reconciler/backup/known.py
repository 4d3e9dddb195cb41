"""What an earlier backup learnt: under which stamp a part had which digest, so that it is not read again.

A stamp says that bytes are the same only as far as a file system tells: device, inode, size and both times,
and none at all for a file that changed a moment ago (the store's adapter decides). Whoever does not want to
believe that reads everything again. The document carries its own digest; one that is broken or of
another program is nothing known, never an error, because everything can be read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import DecodeError
from msgspec.json import Decoder

from reconciler.canonical import canonical, sha256_hex
from reconciler.model import Digest

SCHEMA: Final = "reconciler/backup-known/v1"
KNOWN_LIMIT: Final = 1 << 30


class Seen(NamedTuple):
    """What was seen of one part."""

    stamp: str
    digest: Digest


Known = Mapping[str, Seen]

_parts = Decoder(dict[str, tuple[str, str]])


def known_bytes(known: Known) -> bytes:
    """The bytes of the document: its schema, the sha256 of the rest, and the rest, a line each."""
    body = canonical({path: list(seen) for path, seen in known.items()})
    return f"{SCHEMA}\n{sha256_hex(body)}\n".encode() + body


def read_known(data: bytes | None) -> Known:
    """What a document says; nothing, if it is not whole."""
    if data is None:
        return {}
    schema, _, rest = data.partition(b"\n")
    digest, _, body = rest.partition(b"\n")
    if schema != SCHEMA.encode() or digest != sha256_hex(body).encode():
        return {}
    try:
        return {path: Seen(stamp, Digest(seen)) for path, (stamp, seen) in _parts.decode(body).items()}
    except (DecodeError, ValueError):
        return {}
