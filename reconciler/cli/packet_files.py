"""Packets on disk: a directory such as `ops/release`, or one tar file that holds the same members.

Reading never follows a link, never extracts, never holds a large member, and stops at the limits of a
packet; whatever else stands in the four places of a packet is reported, not overlooked. Writing puts the
index last, so that a half-written packet never passes for a whole one, and replaces nothing but what an
earlier packet had put there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from reconciler.cli.files import Standing, read_file, replace_file, standing
from reconciler.errors import Corrupt, InvalidInput, LimitExceeded, Unavailable
from reconciler.evidence.packet import (
    ENVELOPES,
    MEMBER_LIMIT,
    PACKET,
    TOPS,
    is_member,
    limits_of,
)
from reconciler.evidence.verification import KEPT, Contents, Seen
from reconciler.stores.serving.tar_stream import END, Header, header_bytes, members, padding

_CHUNK = 1 << 20
_DEPTH = 8
_FIX = "get the packet again from where it was signed"
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def read_contents(path: Path) -> Contents:
    """What stands in a packet, a directory or a bundle.

    Raises:
        InvalidInput: E_FILE, there is no packet.
        Corrupt: E_TAR…, E_EVIDENCE_MEMBER, it holds what no packet holds.
        LimitExceeded: E_EVIDENCE_LIMIT.
        Unavailable: E_IO or E_PACK_IO.
    """
    found = standing(path)
    if found is Standing.DIRECTORY:
        read = _Reader(str(path))
        for name in _names(path, str(path)):
            read.member(name, _pieces(path / name, f"{path}/{name}"))
        return read.contents()
    if found is Standing.FILE:
        return _bundle(path)
    raise InvalidInput.of(
        "E_FILE", "there is no packet here", path=str(path), fix="name a directory or a bundle"
    )


class _Reader:
    """Adds up members: size and digest of each, and the bytes of those that decide."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._files: dict[str, Seen] = {}
        self._documents: dict[str, bytes] = {}

    def member(self, name: str, pieces: Iterable[bytes]) -> None:
        """Add one member.

        Raises:
            LimitExceeded: E_EVIDENCE_LIMIT.
        """
        digest, size, held = hashlib.sha256(), 0, []
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            if size > MEMBER_LIMIT:
                break
            if name in KEPT:
                held.append(piece)
        self._files[name] = Seen(size, digest.hexdigest())
        passed = limits_of([(path, seen.size) for path, seen in self._files.items()])
        if passed:
            raise LimitExceeded.of("E_EVIDENCE_LIMIT", passed, path=self._where, got=name)
        if name in KEPT:
            self._documents[name] = b"".join(held)

    def contents(self) -> Contents:
        """What was added."""
        return Contents(self._where, self._files, self._documents)


def _bundle(path: Path) -> Contents:
    read = _Reader(str(path))
    try:
        with path.open("rb") as file:
            for member in members(file, str(path)):
                read.member(member.name, member.chunks())
    except Corrupt as error:
        raise Corrupt(replace(problem, fix=_FIX) for problem in error.problems) from error
    except OSError as error:
        raise Unavailable.of("E_IO", f"cannot be read: {error.strerror}", path=str(path)) from error
    return read.contents()


def _names(root: Path, where: str) -> Iterator[str]:
    """The files in the places of a packet, in path order; nothing but plain files may stand there."""
    for top in TOPS:
        yield from _below(root, top, where)


def _below(root: Path, relative: str, where: str) -> Iterator[str]:
    path = root / relative
    try:
        mode = path.lstat().st_mode
        names = sorted(os.listdir(path)) if stat.S_ISDIR(mode) else []  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(error, f"{where}/{relative}") from error
    if stat.S_ISREG(mode):
        yield relative
    elif not stat.S_ISDIR(mode) or relative.count("/") >= _DEPTH:
        raise Corrupt.of(
            "E_EVIDENCE_MEMBER",
            f"a packet holds plain files only, at most {_DEPTH} directories deep",
            path=f"{where}/{relative}",
            fix=_FIX,
        )
    for name in names:
        yield from _below(root, f"{relative}/{name}", where)


def _pieces(path: Path, where: str) -> Iterator[bytes]:
    try:
        with os.fdopen(os.open(path, _OPEN), "rb", buffering=0) as file:
            while piece := file.read(_CHUNK):
                yield piece
    except OSError as error:
        raise _unreadable(error, where) from error


def _unreadable(error: OSError, where: str) -> Unavailable:
    return Unavailable.of("E_IO", f"cannot be read: {error.strerror}", path=where)


def write_packet(into: Path, packet: Mapping[str, bytes]) -> None:
    """Put the members of a packet into a directory, in place of those of an earlier packet.

    The signatures of an earlier packet go, unless it is the same packet.

    Raises:
        InvalidInput: E_OUT_EXISTS, something stands there that no packet put there.
        LimitExceeded: E_EVIDENCE_LIMIT.
        Unavailable: E_IO.
    """
    passed = limits_of([(path, len(data)) for path, data in packet.items()])
    if passed:
        raise LimitExceeded.of("E_EVIDENCE_LIMIT", passed, path=str(into))
    there = set(_names(into, str(into)))
    foreign = sorted(name for name in there if not is_member(name))
    if foreign:
        raise InvalidInput.of(
            "E_OUT_EXISTS",
            "a file stands where the packet goes, and no packet puts one there",
            path=str(into / foreign[0]),
            fix="move it away, or collect into another directory",
        )
    same = PACKET in there and read_file(into / PACKET, limit=MEMBER_LIMIT) == packet[PACKET]
    old = there - packet.keys() - (ENVELOPES if same else set())
    try:
        if not same:
            (into / PACKET).unlink(missing_ok=True)
        for name in sorted(old):
            (into / name).unlink()
        for name in sorted(packet, key=lambda path: (path == PACKET, path)):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            replace_file(into / name, packet[name])
    except OSError as error:
        raise Unavailable.of("E_IO", f"cannot be written: {error.strerror}", path=str(into)) from error


def bundle_bytes(path: Path) -> Iterator[bytes]:
    """The bytes of a bundle: the members of a packet as a tar that comes out equal every time.

    Raises:
        Corrupt, InvalidInput, LimitExceeded, Unavailable: as `read_contents`.
    """
    for name in sorted(read_contents(path).files):
        data = b"".join(_pieces(path / name, f"{path}/{name}"))
        yield header_bytes(Header(name, len(data)))
        yield data
        yield padding(len(data))
    yield END
