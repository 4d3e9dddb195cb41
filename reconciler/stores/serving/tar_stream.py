"""The one form of tar that packs use, written and read strictly, one member at a time.

Decides what a header may say: GNU tar, a plain file, mode 0644, no owner, no time, a printable ASCII
name of at most 100 bytes without dot segments, a size, and two zero blocks at the end. The reference
leaves the owner fields blank; both spellings of zero are read, one is written (the serving store's
contract 3.8). Other tools fill their last record of 10,240 bytes with zeros; exactly that much is read
over, and never written. Everything else is refused with the code of its row in our list of bad archives.

Never extracts, never follows a name, never seeks, never holds more than one block of content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from reconciler.errors import Corrupt, Unavailable

BLOCK = 512
NAME_LIMIT = 100
_CHUNK = 1 << 18
_DEPTH = 8
_OCTAL_SIZE = 8**11
_RECORD = 20 * BLOCK
_MAGIC = b"ustar  \0"
_CHECKSUM = slice(148, 156)
_PLAIN = (b"0", b"\0")
_LONG_NAME = (b"L", b"x")
_TYPES = {
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "device",
    b"4": "device",
    b"5": "directory",
    b"6": "pipe",
    b"S": "sparse file",
    b"K": "long link name",
    b"g": "global header",
}
_NUMBER = re.compile(rb" *([0-7]*)[ \0]*", re.ASCII)
_FIX = "make the pack again with `reconciler dataset pack`"


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of one member says."""

    name: str
    size: int


def name_problem(name: str) -> str | None:
    """Why a member may not have this name, or None."""
    parts = name.split("/")
    if not name.isascii() or not name.isprintable() or "\\" in name:
        return "a member name is printable ASCII without a backslash"
    if any(part in {"", ".", ".."} for part in parts):
        return "a member name is a relative path without dot segments"
    if len(name) > NAME_LIMIT or len(parts) > _DEPTH:
        return f"a member name has at most {NAME_LIMIT} bytes and {_DEPTH} parts"
    return None


def header_bytes(header: Header) -> bytes:
    """The 512 bytes that stand before a member's content."""
    if header.size < _OCTAL_SIZE:
        size = b"%011o\0" % header.size
    else:
        size = b"\x80" + header.size.to_bytes(11, "big")
    fields = (
        header.name.encode("ascii").ljust(NAME_LIMIT, b"\0"),
        b"0000644\0",
        b"0000000\0" * 2,
        size,
        b"00000000000\0",
        b" " * 8,
        b"0",
        b"\0" * NAME_LIMIT,
        _MAGIC,
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    """The zero bytes that fill a member's last block."""
    return b"\0" * (-size % BLOCK)


END = b"\0" * (2 * BLOCK)
"""Two zero blocks; nothing may follow them."""


class Member:
    """One member's content, readable once and in order; never reads past its end."""

    def __init__(self, pack: BinaryIO, header: Header, where: str) -> None:
        self.name = header.name
        self.size = header.size
        self._pack = pack
        self._left = header.size
        self._where = where

    def chunks(self) -> Iterator[bytes]:
        """The rest of the content, in pieces of bounded size.

        Raises:
            Corrupt: E_TAR_TRUNCATED.
        """
        while self._left:
            piece = _read(self._pack, min(self._left, _CHUNK), self._where)
            if not piece:
                refuse("E_TAR_TRUNCATED", "the pack ends inside a member", self._where, self.name)
            self._left -= len(piece)
            yield piece

    def finish(self) -> None:
        """Skip what was not read, and the padding, which must be zero."""
        for _ in self.chunks():
            pass
        wanted = padding(self.size)
        found = _read_exactly(self._pack, len(wanted), self._where)
        if len(found) < len(wanted):
            refuse("E_TAR_TRUNCATED", "the pack ends inside a member", self._where, self.name)
        if found != wanted:
            refuse("E_TAR_META", "the padding after a member is not zero", self._where, self.name)


def members(pack: BinaryIO, where: str) -> Iterator[Member]:
    """Every member in order; each is finished before the next one is given.

    Args:
        pack: the pack, read once from where it stands to its end.
        where: how errors name it.

    Raises:
        Corrupt: any E_TAR code.
        Unavailable: E_PACK_IO.
    """
    seen: set[str] = set()
    first = True
    length = len(END)
    while (block := _read_exactly(pack, BLOCK, where)) != END[:BLOCK]:
        if first:
            _check_format(block, where)
            first = False
        header = _header(block, where)
        if header.name in seen:
            refuse("E_TAR_DUP", "a member stands in the pack twice", where, header.name)
        seen.add(header.name)
        member = Member(pack, header, where)
        yield member
        member.finish()
        length += BLOCK + member.size + len(padding(member.size))
    if first:
        refuse("E_TAR_FORMAT", "the pack has no member", where)
    second = _read_exactly(pack, BLOCK, where)
    if len(second) < BLOCK:
        refuse("E_TAR_TRUNCATED", "the pack lacks its second zero block", where)
    rest = _read_exactly(pack, _RECORD, where)
    if second != END[BLOCK:] or rest not in (b"", bytes(-length % _RECORD)):
        refuse("E_TAR_TRAILING", "something follows the end of the pack", where)


def refuse(code: str, message: str, where: str, got: str | None = None) -> NoReturn:
    """Raise Corrupt for a pack."""
    raise Corrupt.of(code, message, path=where, got=got, fix=_FIX)


def _read(stream: BinaryIO, size: int, where: str) -> bytes:
    try:
        return stream.read(size)
    except OSError as error:
        raise Unavailable.of(
            "E_PACK_IO", "the pack cannot be read", path=where, got=error.strerror, fix="read it again"
        ) from error


def _read_exactly(stream: BinaryIO, size: int, where: str) -> bytes:
    """`size` bytes, or fewer at the end of the stream."""
    pieces = []
    while size:
        piece = _read(stream, size, where)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _check_format(block: bytes, where: str) -> None:
    """Tell a file that never was a tar from one that lost bytes."""
    if block[257:262] != b"ustar":
        refuse("E_TAR_FORMAT", "this file is not a tar", where, block[:8].decode("latin-1"))


def _header(block: bytes, where: str) -> Header:
    if len(block) < BLOCK:
        refuse("E_TAR_TRUNCATED", "the pack ends without its two zero blocks", where)
    checksum = sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
    if block[_CHECKSUM] not in (b"%06o\0 " % checksum, b"%07o\0" % checksum):  # GNU tar's form, Rust's form
        refuse("E_TAR_TRUNCATED", "a header's checksum is wrong", where)
    _check_type(block, where)
    name = _name(block[:NAME_LIMIT], where)
    _check_meta(block, name, where)
    return Header(name, _size(block[124:136], name, where))


def _check_type(block: bytes, where: str) -> None:
    kind = block[156:157]
    if kind in _LONG_NAME:
        refuse("E_TAR_PATH", "an extended header gives a member a long name", where, _text(block[:100]))
    if kind not in _PLAIN:
        what = _TYPES.get(kind, "member of an unknown type")
        refuse("E_TAR_TYPE", f"a {what} is not allowed in a pack", where, _text(block[:100]))


def _name(field: bytes, where: str) -> str:
    raw, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        refuse("E_TAR_PATH", "a member name goes on after a NUL", where, _text(field))
    name = raw.decode("latin-1")
    problem = name_problem(name)
    if problem:
        refuse("E_TAR_PATH", problem, where, name)
    return name


def _check_meta(block: bytes, name: str, where: str) -> None:
    if block[257:265] != _MAGIC:
        refuse("E_TAR_META", "a header is not of the GNU form", where, name)
    if _number(block[100:108]) != 0o644:
        refuse("E_TAR_META", "a member's mode is not 0644", where, name)
    numbers = (block[108:116], block[116:124], block[136:148], block[329:337], block[337:345])
    if any(_number(field) != 0 for field in numbers):
        refuse("E_TAR_META", "a member has an owner, a time or a device number", where, name)
    if any((block[157:257] + block[265:329] + block[345:]).strip(b"\0")):
        refuse("E_TAR_META", "a header has a link, an owner name or an extra field", where, name)


def _size(field: bytes, name: str, where: str) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    size = _number(field)
    if size is None:
        refuse("E_TAR_META", "a member's size is not a number", where, name)
    return size


def _number(field: bytes) -> int | None:
    """An octal field; blank is zero."""
    match = _NUMBER.fullmatch(field)
    return int(match[1] or b"0", 8) if match else None


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("latin-1")
