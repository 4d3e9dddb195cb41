"""One sample decoded from a shard while it streams by: the members of a tar archive with the same stem.

A shard is a WebDataset archive: members are named KEY.EXT, and those that follow each other with one KEY are
one sample. atdata keeps a sample as msgpack; JSON and text are decoded as well, other members are read.
The archive is never unpacked and members are small; what is too large for a sample is skipped.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from io import RawIOBase
from typing import Final, NamedTuple

from msgspec import MsgspecError, msgpack

from reconciler.errors import InvalidInput

MEMBER_LIMIT: Final = 64 << 20


class Sampled(NamedTuple):
    """What a whole shard was: its hash and size, and the first sample's key and members."""

    sha256: str
    size: int
    key: str
    members: tuple[str, ...]
    fields: tuple[str, ...]


class _Tap(RawIOBase):
    """Pieces as a file, their hash and number taken as they pass."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")
        self.digest = sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end."""
        parts: list[memoryview] = []
        have = 0
        while size < 0 or have < size:
            if not self._rest:
                self._rest = memoryview(self._next())
                if not self._rest:
                    break
            end = len(self._rest) if size < 0 else size - have
            parts.append(self._rest[:end])
            have += len(parts[-1])
            self._rest = self._rest[end:]
        return b"".join(parts)

    def drain(self) -> None:
        """Let the rest pass."""
        self._rest = memoryview(b"")
        while self._next():
            pass

    def _next(self) -> bytes:
        for piece in self._pieces:
            if piece:
                self.digest.update(piece)
                self.size += len(piece)
                return piece
        return b""


def sampled(pieces: Iterable[bytes], *, where: str) -> Sampled:
    """Read a shard to its end, and decode its first sample.

    Raises:
        InvalidInput: E_SHARD_SAMPLE, there is none, or it cannot be decoded.
    """
    tap = _Tap(pieces)
    key, members = "", dict[str, bytes]()
    try:
        with tarfile.open(fileobj=tap, mode="r|") as archive:
            for member in archive:
                stem, dot, extension = member.name.rpartition("/")[2].partition(".")
                if not member.isfile() or not dot or member.size > MEMBER_LIMIT:
                    continue
                if members and stem != key:
                    break
                key = stem
                content = archive.extractfile(member)
                members[extension] = b"" if content is None else content.read()
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise _unusable(where, "it is no whole tar archive") from error
    tap.drain()
    if not members:
        raise _unusable(where, "no member of it is part of a sample")
    fields = tuple(field for name, content in members.items() for field in _decoded(name, content, where))
    return Sampled(tap.digest.hexdigest(), tap.size, key, tuple(members), fields)


def _decoded(extension: str, content: bytes, where: str) -> Iterator[str]:
    """The fields that a member holds."""
    kind = extension.rpartition(".")[2].lower()
    try:
        if kind in {"msgpack", "mp"}:
            found = msgpack.decode(content)
        elif kind == "json":
            found = json.loads(content)
        elif kind in {"txt", "text", "cls"}:
            content.decode("utf-8")
            return
        else:
            return
    except (MsgspecError, ValueError, RecursionError) as error:
        raise _unusable(where, f"its member .{extension} cannot be decoded") from error
    if isinstance(found, dict):
        yield from (str(field) for field in found)


def _unusable(where: str, why: str) -> InvalidInput:
    return InvalidInput.of(
        "E_SHARD_SAMPLE", f"no sample can be decoded: {why}", path=where, fix="publish whole shards"
    )
