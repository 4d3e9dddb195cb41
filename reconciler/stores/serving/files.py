"""Reading files below a directory descriptor without ever following a link.

Every path is walked component by component from a descriptor that the caller holds, with O_NOFOLLOW at
each step, so that nobody who can write into a store can lead a reader out of it. A link is an error
(E_STORE_LINK), whatever it points at. Only a missing file (ENOENT) is "absent" and gives None; any other
failure is an `Unavailable` error that names the path, because what cannot be read may well be there.

Writes nothing, creates nothing, and never reads a large file whole: `sha256_file` streams.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from reconciler.errors import InvalidInput, LimitExceeded, Unavailable
from reconciler.stores.serving.documents import DOCUMENT_LIMIT

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a fifo must not block the reader


class FileHash(NamedTuple):
    """The bare sha256 and the size of a file, of one reading."""

    sha256: str
    size: int


def is_plain_path(relpath: str) -> bool:
    """Whether a path from a document stays below the directory it is relative to."""
    return (
        bool(relpath)
        and "\\" not in relpath
        and "\0" not in relpath
        and not any(part in {"", ".", ".."} for part in relpath.split("/"))
    )


def open_dir(dirfd: int, relpath: str, where: str = "") -> int | None:
    """A descriptor of a directory below `dirfd`, or None if it is absent; the caller closes it.

    Args:
        dirfd: the directory that the path is relative to.
        relpath: path with "/" separators; no dot segments.
        where: how errors name `dirfd`.

    Raises:
        InvalidInput: E_PATH, the path could leave the directory.
        Unavailable: E_STORE_LINK, E_STORE_FILE or E_IO.
    """
    if not is_plain_path(relpath):
        raise InvalidInput.of("E_PATH", "a path leaves its directory", path=where, got=relpath)
    handle = dirfd
    for name in relpath.split("/"):
        try:
            below = os.open(name, _DIRECTORY, dir_fd=handle)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(error, handle, name, _join(where, relpath)) from error
        finally:
            if handle != dirfd:
                os.close(handle)
        handle = below
    return handle


def open_file(dirfd: int, relpath: str, where: str = "") -> int | None:
    """A read-only descriptor of a regular file below `dirfd`, or None if it is absent; the caller closes it.

    Raises:
        InvalidInput: E_PATH.
        Unavailable: E_STORE_LINK, E_STORE_FILE or E_IO.
    """
    if not is_plain_path(relpath):
        raise InvalidInput.of("E_PATH", "a path leaves its directory", path=where, got=relpath)
    directory, _, name = relpath.rpartition("/")
    parent = open_dir(dirfd, directory, where) if directory else dirfd
    if parent is None:
        return None
    try:
        return _open_at(parent, name, _join(where, relpath))
    finally:
        if parent != dirfd:
            os.close(parent)


def _open_at(parent: int, name: str, path: str) -> int | None:
    try:
        handle = os.open(name, _FILE, dir_fd=parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(error, parent, name, path) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unavailable.of("E_STORE_FILE", "this is not a regular file", path=path)
    return handle


@contextmanager
def opened(dirfd: int, relpath: str, where: str = "") -> Iterator[int | None]:
    """`open_file` as a context that closes the descriptor."""
    handle = open_file(dirfd, relpath, where)
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def read_file(dirfd: int, relpath: str, limit: int = DOCUMENT_LIMIT, where: str = "") -> bytes | None:
    """The bytes of a file below `dirfd`, or None if it is absent.

    Raises:
        LimitExceeded: E_FILE_SIZE, the file is larger than `limit`.
        InvalidInput: E_PATH.
        Unavailable: E_STORE_LINK, E_STORE_FILE or E_IO.
    """
    with opened(dirfd, relpath, where) as handle:
        if handle is None:
            return None
        try:
            data = read_handle(handle, limit + 1)
        except OSError as error:
            raise io_error(error, _join(where, relpath)) from error
    if len(data) > limit:
        raise LimitExceeded.of(
            "E_FILE_SIZE", f"the file is larger than {limit} bytes", path=_join(where, relpath)
        )
    return data


def read_handle(handle: int, limit: int) -> bytes:
    """At most `limit` bytes of an open file, from where its descriptor stands."""
    first = os.read(handle, min(limit, os.fstat(handle).st_size + 1))
    parts, have = [first], len(first)
    while have < limit:
        part = os.read(handle, min(limit - have, 1 << 20))
        if not part:
            break
        parts.append(part)
        have += len(part)
    return first if len(parts) == 1 else b"".join(parts)


def file_stat(dirfd: int, relpath: str, where: str = "") -> os.stat_result | None:
    """What the file system says of a regular file below `dirfd`, or None if it is absent.

    Raises:
        InvalidInput: E_PATH.
        Unavailable: E_STORE_LINK, E_STORE_FILE or E_IO.
    """
    with opened(dirfd, relpath, where) as handle:
        return None if handle is None else os.fstat(handle)


def sha256_file(dirfd: int, relpath: str, where: str = "") -> FileHash | None:
    """The sha256 and size of a file below `dirfd`, read once in constant memory; None if it is absent.

    Raises:
        InvalidInput: E_PATH.
        Unavailable: E_STORE_LINK, E_STORE_FILE or E_IO.
    """
    with opened(dirfd, relpath, where) as handle:
        return None if handle is None else sha256_handle(handle, _join(where, relpath))


def sha256_handle(handle: int, path: str) -> FileHash:
    """The sha256 and size of an open regular file, from its beginning.

    Raises:
        Unavailable: E_IO.
    """
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        with os.fdopen(os.dup(handle), "rb", buffering=0) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return FileHash(digest, stream.tell())
    except OSError as error:
        raise io_error(error, path) from error


class DatasetFiles:
    """The files of one dataset directory; every file is hashed once, however many documents name it.

    Attributes:
        dirfd: the directory's descriptor, the caller's to close.
        where: how errors name the directory.
    """

    __slots__ = ("_hashes", "dirfd", "where")

    def __init__(self, dirfd: int, where: str) -> None:
        self.dirfd = dirfd
        self.where = where
        self._hashes: dict[str, FileHash | None] = {}

    def path(self, relpath: str) -> str:
        """How errors name a file."""
        return _join(self.where, relpath)

    def read(self, relpath: str, limit: int = DOCUMENT_LIMIT) -> bytes | None:
        """As `read_file`."""
        return read_file(self.dirfd, relpath, limit, self.where)

    def hash(self, relpath: str) -> FileHash | None:
        """As `sha256_file`, remembered."""
        if relpath not in self._hashes:
            self._hashes[relpath] = sha256_file(self.dirfd, relpath, self.where)
        return self._hashes[relpath]


def io_error(error: OSError, path: str) -> Unavailable:
    """The error of a read that failed."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return Unavailable.of(
        "E_IO", f"this cannot be read: {reason.lower()}", path=path, fix="make it readable and run again"
    )


def _unreadable(error: OSError, parent: int, name: str, path: str) -> Unavailable:
    """Tell a link from a file in a directory's place, and both from a failing disk."""
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except OSError as again:
            return io_error(again, path)
        if stat.S_ISLNK(mode):
            return Unavailable.of(
                "E_STORE_LINK",
                "a symbolic link stands where a file or directory must be",
                path=path,
                fix="replace the link by what it points at",
            )
        return Unavailable.of("E_STORE_FILE", "a file stands where a directory must be", path=path)
    if error.errno in {errno.ENXIO, errno.EISDIR, errno.EWOULDBLOCK}:
        return Unavailable.of("E_STORE_FILE", "this is not a regular file", path=path)
    return io_error(error, path)


def _join(where: str, relpath: str) -> str:
    return f"{where}/{relpath}" if where else relpath
