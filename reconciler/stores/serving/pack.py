"""Packs: one file that carries a dataset, byte-reproducible, and readable by the reference's verify-pack.

Decides the members and their order: `manifest.json`, `gene_summary.sqlite` and `manifest.lock` as the
reference writes them, then `pack.json` (path, size and sha256 of every other file), then those files in
path order. Equal content gives equal bytes, whatever the machine, the clock or the modes on disk. A pack
of the reference, which ends after the lock, is read too (the serving store's contract 3.8).

Reading is one pass that hands out only what the index names, and checks every size and hash: against the
lock, against the manifest's checksums, against the index, and against the digest that the caller expects.
Without an expected digest a pack proves nothing but that it agrees with itself; the report says so.

Never extracts by name, never trusts a member the index does not list, never holds a file in memory
except the small documents it must read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from typing import Any, BinaryIO, NamedTuple

from reconciler.canonical import canonical, parse_strict, sha256_digest, sha256_hex
from reconciler.errors import Corrupt, InvalidInput, LimitExceeded, Unavailable
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving import contents
from reconciler.stores.serving.files import open_file
from reconciler.stores.serving.lock_files import Published, encode_lock
from reconciler.stores.serving.manifest import Manifest, parse_manifest
from reconciler.stores.serving.pack_trust import FOLLOWED, unbound_files
from reconciler.stores.serving.tar_stream import (
    END,
    Header,
    Member,
    header_bytes,
    members,
    name_problem,
    padding,
    refuse,
)

PACK_SCHEMA = "reconciler/pack/v1"
INDEX = "pack.json"
MEMBER_LIMIT = 1024
"""A dataset may have 512 shards (contract 2.7), so this is above the 256 of evidence archives."""

_DOCUMENT_LIMIT = 5_000_000
_CHUNK = 1 << 18
_HEAD = {
    "manifest.json": contents.MANIFEST,
    "gene_summary.sqlite": contents.ARTIFACT,
    "manifest.lock": contents.LOCK,
}
Write = Callable[[str, Iterator[bytes]], None]
"""Receives each file of the dataset: its path below the dataset's directory, and its content in pieces."""


class PackedFile(NamedTuple):
    """One file in a pack: its path below the dataset's directory, its size and its bare sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSummary:
    """What was written: the pack's own digest and size, and whose content it carries."""

    dataset: DatasetId
    digest: Digest
    size: int
    manifest: Digest
    files: tuple[PackedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What a pack that passed every check carries.

    `expected` says whether the caller named the manifest's digest; if not, the pack is self-consistent
    only. `by_reference` says that it has no index: the reference wrote it, with two files. `unbound` are
    the files that stand on the index alone, because nothing that the manifest names vouches for them.
    """

    dataset: DatasetId
    manifest: Digest
    files: tuple[PackedFile, ...]
    expected: bool
    by_reference: bool
    unbound: tuple[str, ...] = ()

    @property
    def trust(self) -> str:
        """One phrase for people: what the check proves."""
        if not self.expected:
            return "self-consistent only"
        if self.unbound:
            return f"matches the expected digest; self-consistent only: {', '.join(self.unbound)}"
        return "matches the expected digest"


def write_pack(dirfd: int, pack: BinaryIO, *, dataset: DatasetId, where: str) -> PackSummary:
    """Write the pack of one dataset, streaming.

    Args:
        dirfd: an open descriptor of the dataset's directory, in a build root or a store.
        pack: where the bytes go; on any error it holds a part of a pack and must be thrown away.
        dataset: the dataset that the manifest must name.
        where: how errors name the directory.

    Raises:
        InvalidInput: E_PACK_FILE, a file is missing or its name cannot stand in a pack; E_IDENTITY.
        Corrupt: E_PACK_HASH, the main artifact is not the one that the manifest names.
        LimitExceeded: E_PACK_LIMIT, the dataset has too many files.
        Unavailable: E_PACK_CHANGED, a file changed while it was read; E_PACK_IO, a read or write failed.
    """
    try:
        return _Packer(dirfd, pack, where).write(dataset)
    except OSError as error:
        raise Unavailable.of(
            "E_PACK_IO",
            "the dataset cannot be read, or its pack cannot be written",
            path=where,
            got=error.strerror,
            fix="check rights and free space, and pack again",
        ) from error


def verify_pack(pack: BinaryIO, *, expect: Digest | None = None, where: str = "pack") -> PackReport:
    """Read a whole pack and check all of it, writing nothing.

    Args:
        pack: the pack, from where it stands to its end.
        expect: the digest of the manifest that the pack must carry, as in `manifest:`.
        where: how errors name the pack.

    Raises:
        Corrupt: E_TAR codes for the archive, E_PACK codes for its content.
    """
    return unpack_into(pack, _discard, expect=expect, where=where)


def read_head(pack: BinaryIO, *, where: str) -> tuple[bytes, int]:
    """The manifest of a pack and the size of its database; what follows is neither read nor checked.

    Raises:
        Corrupt: it is no pack.
        LimitExceeded: E_TAR_LIMIT.
        Unavailable: it cannot be read.
    """
    return _Unpacker(pack, _discard, where).head()


def unpack_into(
    pack: BinaryIO,
    write: Write,
    *,
    expect: Digest | None = None,
    dataset: DatasetId | None = None,
    where: str = "pack",
) -> PackReport:
    """Hand every file of a pack to `write`, in pack order, and check all of it.

    What was written must be thrown away if this raises: hashes are known only after the bytes. The
    manifest's digest and dataset are checked before the first write. The lock and the index are read
    here and not handed out.

    Args:
        pack: the pack, from where it stands to its end.
        write: receives each path below the dataset's directory, and the content.
        expect: the digest of the manifest that the pack must carry.
        dataset: the dataset that the pack must carry.
        where: how errors name the pack.

    Raises:
        Corrupt: E_TAR codes for the archive, E_PACK codes for its content.
        InvalidInput: E_IDENTITY, the pack carries another dataset than `dataset`.
    """
    return _Unpacker(pack, write, where).read(expect, dataset)


class _Packer:
    """Writes one pack and counts what went out."""

    def __init__(self, dirfd: int, pack: BinaryIO, where: str) -> None:
        self._dirfd = dirfd
        self._pack = pack
        self._where = where
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, dataset: DatasetId) -> PackSummary:
        others = [path for path in self._paths() if path not in {contents.MANIFEST, contents.ARTIFACT}]
        with self._open(contents.MANIFEST) as handle:
            manifest = handle.read(_DOCUMENT_LIMIT + 1)
        document = parse_manifest(manifest, f"{self._where}/{contents.MANIFEST}")
        if document.id != dataset:
            raise InvalidInput.of(
                "E_IDENTITY",
                f"the manifest is not that of {dataset}",
                path=f"{self._where}/{contents.MANIFEST}",
                got=str(document.id),
                fix="pack the dataset under the id that its manifest names",
            )
        files = [PackedFile(contents.MANIFEST, len(manifest), sha256_hex(manifest))]
        self._document("manifest.json", manifest)
        artifact = self._copy("gene_summary.sqlite", contents.ARTIFACT)
        if artifact.sha256 != document.checksums.sqlite_sha256:
            raise Corrupt.of(
                "E_PACK_HASH",
                "the main artifact is not the one that the manifest names",
                path=f"{self._where}/{contents.ARTIFACT}",
                got=artifact.sha256,
                fix="run `reconciler dataset verify` and build the dataset again",
            )
        files.append(artifact)
        self._document("manifest.lock", encode_lock(Published(files[0].sha256, artifact.sha256)))
        listed = [self._hashed(path) for path in others]
        self._document(INDEX, _index(dataset, listed))
        for item in listed:
            if self._copy(item.path, item.path) != item:
                raise self._changed(item.path)
        self._out(END)
        return PackSummary(
            dataset=dataset,
            digest=Digest(f"sha256:{self._hash.hexdigest()}"),
            size=self._size,
            manifest=Digest(sha256_digest(manifest)),
            files=(*files, *listed),
        )

    def _paths(self) -> tuple[str, ...]:
        paths = contents.content_files(self._dirfd, self._where)
        if len(paths) + 2 > MEMBER_LIMIT:
            raise LimitExceeded.of(
                "E_PACK_LIMIT",
                f"a pack has at most {MEMBER_LIMIT} members",
                path=self._where,
                got=str(len(paths) + 2),
                fix="use fewer shards",
            )
        for path in paths:
            problem = name_problem(path)
            if problem:
                raise InvalidInput.of(
                    "E_PACK_FILE", problem, path=self._where, got=path, fix="rename or remove the file"
                )
        return paths

    @contextmanager
    def _open(self, path: str) -> Iterator[FileIO]:
        handle = open_file(self._dirfd, path, self._where)
        if handle is None:
            raise InvalidInput.of(
                "E_PACK_FILE",
                "the dataset lacks this file",
                path=f"{self._where}/{path}",
                fix="pack a complete build root or a published dataset",
            )
        with FileIO(handle) as stream:
            yield stream

    def _hashed(self, path: str) -> PackedFile:
        with self._open(path) as handle:
            size = os.fstat(handle.fileno()).st_size
            return PackedFile(path, size, hashlib.file_digest(handle, "sha256").hexdigest())

    def _copy(self, name: str, path: str) -> PackedFile:
        sha256 = hashlib.sha256()
        with self._open(path) as handle:
            size = left = os.fstat(handle.fileno()).st_size
            self._out(header_bytes(Header(name, size)))
            while piece := handle.read(min(left, _CHUNK)):
                sha256.update(piece)
                self._out(piece)
                left -= len(piece)
            if left or handle.read(1):
                raise self._changed(path)
        self._out(padding(size))
        return PackedFile(path, size, sha256.hexdigest())

    def _document(self, name: str, data: bytes) -> None:
        self._out(header_bytes(Header(name, len(data))) + data + padding(len(data)))

    def _out(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)
        self._pack.write(data)

    def _changed(self, path: str) -> Unavailable:
        return Unavailable.of(
            "E_PACK_CHANGED",
            "the file changed while it was packed",
            path=f"{self._where}/{path}",
            fix="pack again when nothing writes there",
        )


@dataclass(slots=True)
class _Unpacker:
    """Reads one pack: the three members of the reference, the index, then exactly what it lists."""

    pack: BinaryIO
    write: Write
    where: str
    files: list[PackedFile] = field(default_factory=list)
    left: int = MEMBER_LIMIT
    followed: dict[str, bytes] = field(default_factory=dict)

    def head(self) -> tuple[bytes, int]:
        stream = members(self.pack, self.where)
        manifest = self._text(self._next(stream, "manifest.json"))
        return manifest, self._next(stream, "gene_summary.sqlite").size

    def read(self, expect: Digest | None, dataset: DatasetId | None) -> PackReport:
        stream = members(self.pack, self.where)
        manifest = self._text(self._next(stream, "manifest.json"))
        digest = Digest(sha256_digest(manifest))
        if expect is not None and digest != expect:
            refuse("E_PACK_EXPECT", "the pack carries another manifest than expected", self.where, digest)
        document = _corrupt_manifest(manifest, f"{self.where}:manifest.json")
        if dataset is not None and document.id != dataset:
            raise InvalidInput.of(
                "E_IDENTITY",
                f"the pack is not one of {dataset}",
                path=self.where,
                got=str(document.id),
                fix="give the pack of this dataset",
            )
        self._hand_out(contents.MANIFEST, iter([manifest]))
        artifact = self._artifact(stream, document)
        lock = self._text(self._next(stream, "manifest.lock"))
        if lock != encode_lock(Published(sha256_hex(manifest), artifact.sha256)):
            refuse("E_PACK_LOCK", "manifest.lock does not match the two files before it", self.where)
        by_reference = self._listed(stream, document)
        return PackReport(
            dataset=document.id,
            manifest=digest,
            files=tuple(self.files),
            expected=expect is not None,
            by_reference=by_reference,
            unbound=unbound_files(
                document, digest, {item.path: item.sha256 for item in self.files}, self.followed, self.where
            ),
        )

    def _artifact(self, stream: Iterator[Member], document: Manifest) -> PackedFile:
        member = self._next(stream, "gene_summary.sqlite")
        artifact = self._hand_out(contents.ARTIFACT, member.chunks())
        if artifact.sha256 != document.checksums.sqlite_sha256:
            refuse(
                "E_PACK_HASH",
                "gene_summary.sqlite is not the file that the manifest names",
                self.where,
                artifact.sha256,
            )
        return artifact

    def _listed(self, stream: Iterator[Member], document: Manifest) -> bool:
        """Hand out what the index lists; says whether there was no index."""
        member = self._take(stream)
        if member is None:
            return True
        if member.name != INDEX:
            refuse("E_PACK_UNLISTED", "no index lists this member", self.where, member.name)
        listed = _parse_index(self._text(member), document.id, f"{self.where}:{INDEX}")
        for item in listed:
            member = self._next(stream, item.path)
            if member.size != item.size:
                refuse("E_PACK_HASH", "a member is not as large as the index says", self.where, item.path)
            if self._hand_out(item.path, member.chunks()) != item:
                refuse("E_PACK_HASH", "a member is not the file that the index lists", self.where, item.path)
        extra = self._take(stream)
        if extra is not None:
            refuse("E_PACK_UNLISTED", "the index does not list this member", self.where, extra.name)
        return False

    def _take(self, stream: Iterator[Member]) -> Member | None:
        member = next(stream, None)
        if member is not None:
            self.left -= 1
            if self.left < 0:
                raise LimitExceeded.of(
                    "E_TAR_LIMIT", f"a pack has at most {MEMBER_LIMIT} members", path=self.where
                )
        return member

    def _next(self, stream: Iterator[Member], name: str) -> Member:
        member = self._take(stream)
        if member is None:
            refuse("E_PACK_MEMBER", "a member is missing", self.where, name)
        if member.name != name:
            refuse("E_PACK_MEMBER", f"{name} must stand here", self.where, member.name)
        return member

    def _text(self, member: Member) -> bytes:
        """The whole of a small document."""
        if member.size > _DOCUMENT_LIMIT:
            refuse("E_PACK_MEMBER", f"{member.name} is larger than 5 MB", self.where, str(member.size))
        return b"".join(member.chunks())

    def _hand_out(self, path: str, pieces: Iterator[bytes]) -> PackedFile:
        sha256 = hashlib.sha256()
        size = 0
        kept: list[bytes] = []

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in pieces:
                sha256.update(piece)
                size += len(piece)
                if path in FOLLOWED and size <= _DOCUMENT_LIMIT:
                    kept.append(piece)
                yield piece

        content = counted()
        self.write(path, content)
        _discard(path, content)
        item = PackedFile(path, size, sha256.hexdigest())
        self.files.append(item)
        if kept:
            self.followed[path] = b"".join(kept)
        return item


def _corrupt_manifest(data: bytes, where: str) -> Manifest:
    """The manifest in a pack: what is wrong with it is the pack's fault, not the caller's."""
    try:
        return parse_manifest(data, where)
    except InvalidInput as refused:
        raise Corrupt(refused.problems) from refused


def _index(dataset: DatasetId, files: list[PackedFile]) -> bytes:
    return canonical(
        {"schema": PACK_SCHEMA, "dataset": str(dataset), "files": [item._asdict() for item in files]}
    )


def _parse_index(data: bytes, dataset: DatasetId, where: str) -> list[PackedFile]:
    """Read `pack.json`: exactly the bytes that we would write for what it says."""
    try:
        document: Any = parse_strict(data, where=where, limit=_DOCUMENT_LIMIT)
        files = [
            PackedFile(str(item["path"]), int(item["size"]), str(item["sha256"]))
            for item in document["files"]
        ]
    except (InvalidInput, KeyError, TypeError, ValueError) as wrong:
        raise Corrupt.of("E_PACK_INDEX", "pack.json is not an index of a pack", path=where) from wrong
    paths = [item.path for item in files]
    if _index(dataset, files) != data or paths != sorted(set(paths)):
        refuse("E_PACK_INDEX", "pack.json is not in its one form, or of another dataset", where)
    strange = [path for path in paths if not _listable(path)]
    if strange:
        refuse("E_PACK_INDEX", "pack.json lists what is no file of a dataset", where, strange[0])
    return files


def _listable(path: str) -> bool:
    reserved = contents.MADE_BY_STORE | {contents.MANIFEST, contents.ARTIFACT}
    return (
        name_problem(path) is None
        and path.startswith(("inputs/", "derived/"))
        and path not in reserved
        and not path.rpartition("/")[2].startswith(".")
    )


def _discard(_path: str, content: Iterator[bytes]) -> None:
    for _ in content:
        pass
