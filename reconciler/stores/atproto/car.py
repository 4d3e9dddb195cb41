"""Reading a repository: the CAR file that a PDS gives, its blocks, and the tree of record keys in them.

A repository is a commit block that names the root of a Merkle search tree; the tree's nodes name records by
`collection/key`. Only the part of the tree that can hold the wanted collections is walked. Every block of
the commit and the tree is compared with its CID before it is believed; a record's block is not opened here.

Blocks that a tree names and that nobody has are told as `MissingBlock`: the repository may have moved while
it was read, or what was kept of an earlier reading is too old. Whoever reads decides what to do then.

Specification: https://atproto.com/specs/repository and https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from reconciler.stores.atproto.dagcbor import Data, Link, Malformed, decode, is_named_by

_VERSION: Final = 3
_CID_SIZE: Final = 36
_LONGEST_KEY: Final = 1024
_DEEPEST: Final = 128

Blocks = dict[bytes, bytes]


class MissingBlock(Exception):
    """A block that is named is not at hand."""


class Car(NamedTuple):
    """A CAR file: the CID of its root, and its blocks by their CIDs."""

    root: bytes
    blocks: Blocks


class Commit(NamedTuple):
    """The head of a repository."""

    did: str
    rev: str
    tree: bytes


class Found(NamedTuple):
    """A record that the tree names: `collection/key`, and the CID of its block."""

    path: str
    cid: bytes


def read_car(data: bytes) -> Car:
    """The blocks of a CAR file, not yet compared with their CIDs.

    Raises:
        Malformed: it is not one, or breaks off.
    """
    size, at = _varint(data, 0)
    header = decode(data[at : at + size])
    at += size
    roots = header.get("roots") if isinstance(header, dict) else None
    if not isinstance(header, dict) or header.get("version") != 1 or not isinstance(roots, list):
        raise Malformed("the CAR file has no header of version 1")
    if len(roots) != 1 or not isinstance(roots[0], Link):
        raise Malformed("the CAR file has not one root")
    blocks: Blocks = {}
    while at < len(data):
        size, at = _varint(data, at)
        end = at + size
        if end > len(data) or size < _CID_SIZE or data[at] != 1 or data[at + 2 : at + 4] != b"\x12\x20":
            raise Malformed("the CAR file breaks off, or has a block that is not named by a sha256")
        blocks[data[at : at + _CID_SIZE]] = data[at + _CID_SIZE : end]
        at = end
    return Car(roots[0].raw, blocks)


def write_car(root: bytes, blocks: Mapping[bytes, bytes]) -> bytes:
    """The bytes of a CAR file."""
    header = b"\xa2eroots\x81\xd8\x2a\x58\x25\x00" + root + b"gversion\x01"
    parts = [_as_varint(len(header)), header]
    for cid, block in blocks.items():
        parts += [_as_varint(len(cid) + len(block)), cid, block]
    return b"".join(parts)


def read_commit(blocks: Mapping[bytes, bytes], cid: bytes) -> Commit:
    """The commit with this CID.

    Raises:
        MissingBlock: it is not at hand.
        Malformed: it is not a commit.
    """
    found = _block(blocks, cid)
    tree = found.get("data")
    did, rev = found.get("did"), found.get("rev")
    if found.get("version") != _VERSION or not isinstance(tree, Link):
        raise Malformed("the head of the repository is not a commit")
    if not isinstance(did, str) or not isinstance(rev, str):
        raise Malformed("the head of the repository is not a commit")
    return Commit(did, rev, tree.raw)


class Tree:
    """The tree of one commit, and the CIDs of its nodes that were walked."""

    def __init__(self, blocks: Mapping[bytes, bytes], commit: Commit) -> None:
        self._blocks = blocks
        self._commit = commit
        self.nodes: set[bytes] = set()

    def records(self, prefix: str) -> Iterator[Found]:
        """The records whose path starts with this, in the order of their paths.

        Raises:
            MissingBlock: a node is not at hand.
            Malformed: a node is not one, or keys are not in order.
        """
        low = prefix.encode("ascii")
        last = b""
        for key, cid in self._walk(self._commit.tree, b"", None, low, _DEEPEST):
            if key <= last:
                raise Malformed("the keys of the repository are not in order")
            last = key
            if key.startswith(low):
                yield Found(key.decode("ascii"), cid)

    def _walk(
        self, node: bytes, after: bytes, before: bytes | None, low: bytes, depth: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """Walk below a node whose keys lie between two others; a part without wanted keys is left out."""
        if (before is not None and before <= low) or after[: len(low)] > low:
            return
        if not depth:
            raise Malformed("the tree of the repository is too deep")
        self.nodes.add(node)
        found = _block(self._blocks, node)
        entries = list(_entries(found))
        bounds = [*(entry.key for entry in entries[1:]), before][: len(entries)]
        left = found.get("l")
        if isinstance(left, Link):
            first = entries[0].key if entries else before
            yield from self._walk(left.raw, after, first, low, depth - 1)
        for entry, bound in zip(entries, bounds, strict=True):
            yield entry.key, entry.cid
            if entry.below is not None:
                yield from self._walk(entry.below, entry.key, bound, low, depth - 1)


class _Entry(NamedTuple):
    key: bytes
    cid: bytes
    below: bytes | None


def _entries(node: Mapping[str, Data]) -> Iterator[_Entry]:
    listed = node.get("e")
    if not isinstance(listed, list):
        raise Malformed("a node of the tree has no entries")
    key = b""
    for entry in listed:
        if not isinstance(entry, dict):
            raise Malformed("an entry of the tree is not one")
        shared, rest, cid, below = entry.get("p"), entry.get("k"), entry.get("v"), entry.get("t")
        if not isinstance(shared, int) or not isinstance(rest, bytes) or not isinstance(cid, Link):
            raise Malformed("an entry of the tree is not one")
        if not 0 <= shared <= len(key) or shared + len(rest) > _LONGEST_KEY or not rest.isascii():
            raise Malformed("an entry of the tree has a key that is not one")
        key = key[:shared] + rest
        yield _Entry(key, cid.raw, below.raw if isinstance(below, Link) else None)


def _block(blocks: Mapping[bytes, bytes], cid: bytes) -> dict[str, Data]:
    data = blocks.get(cid)
    if data is None:
        raise MissingBlock
    if not is_named_by(cid, data):
        raise Malformed("a block of the repository is not what its CID says")
    found = decode(data)
    if not isinstance(found, dict):
        raise Malformed("a block of the repository is not a map")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        if at >= len(data) or shift > 35:
            raise Malformed("the CAR file breaks off")
        byte = data[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
        shift += 7


def _as_varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)
