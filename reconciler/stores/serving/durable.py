"""Writing so that a reader, a crash and a second writer each see the old bytes or the new ones.

Every file is written under a unique name in the store's own `tmp` directory, with fixed permissions,
synced, then moved or linked into place, and the directory that received it is synced too. A link never
overwrites, a rename replaces. New directories are synced into their parents. Nothing here follows a
symbolic link: every path is opened component by component from one descriptor of the store's root.

Decides nothing about content, and never reads a clock: whoever needs the time asks the store for the
age of a file. Each place at which a fault campaign may strike has a name (`reconciler.failpoints`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from reconciler.errors import ReconcilerError, Unavailable
from reconciler.failpoints import failpoint

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
CHUNK = 1 << 20

OWN = ".reconciler"
TMP = f"{OWN}/tmp"  # noqa: S108 - inside the store
STAGING = f"{OWN}/staging"
LEDGER = f"{OWN}/ledger"
QUARANTINE = f"{OWN}/quarantine"
TRASH = f"{OWN}/trash"
PACKETS = f"{OWN}/evidence"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC


class Moments(NamedTuple):
    """The failpoints of one durable write, in the order in which they are passed."""

    torn: str
    fsync: str
    compare: str
    before: str
    after: str
    dirsync: str


CATALOG_MOMENTS = Moments(
    "fs.catalog.tmp.mid",
    "fs.catalog.fsync",
    "fs.catalog.cas",
    "fs.catalog.rename.before",
    "fs.catalog.rename.after",
    "fs.catalog.dirsync",
)
DIGEST_MOMENTS = Moments(
    "fs.digest.tmp.mid",
    "fs.digest.fsync",
    "fs.digest.cas",
    "fs.digest.rename.before",
    "fs.digest.rename.after",
    "fs.digest.dirsync",
)
ALIAS_MOMENTS = Moments(
    "fs.alias.tmp.mid",
    "fs.alias.fsync",
    "fs.alias.cas",
    "fs.alias.rename.before",
    "fs.alias.rename.after",
    "fs.alias.dirsync",
)
INTENT_MOMENTS = Moments(
    "fs.journal.mid",
    "fs.journal.fsync",
    "fs.journal.cas",
    "fs.journal.before",
    "fs.journal.after",
    "fs.journal.dirsync",
)
OUTCOME_MOMENTS = Moments(
    "fs.close.mid",
    "fs.close.fsync",
    "fs.close.cas",
    "fs.close.before",
    "fs.close.after",
    "fs.close.dirsync",
)
PACKET_MOMENTS = Moments(
    "fs.packet.mid",
    "fs.packet.fsync",
    "fs.packet.cas",
    "fs.packet.before",
    "fs.packet.after",
    "fs.packet.dirsync",
)


def unavailable(error: OSError, where: str) -> ReconcilerError:
    """The error that an operating-system fault in a store becomes; a fault is never "absent"."""
    if isinstance(error, NotADirectoryError) or error.errno == errno.ELOOP:
        return Unavailable.of(
            "E_STORE_LINK",
            "a component of this path is a symbolic link or not of the kind it must be",
            path=where,
            fix="a store holds plain files and directories only; remove the link",
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return Unavailable.of(
        "E_IO", f"the file system answered: {reason}", path=where, fix="repair it and retry"
    )


@contextmanager
def store_faults(where: str) -> Iterator[None]:
    """Turn every `OSError` of a block into an error of ours.

    Raises:
        Unavailable: E_IO or E_STORE_LINK.
    """
    try:
        yield
    except OSError as error:
        raise unavailable(error, where) from error


def store_time(root: int, where: str) -> int:
    """The store's own clock, in Unix seconds: the time of a file that is made now and has no name.

    Raises:
        Unavailable: E_STORE_FS or E_IO.
    """
    with store_faults(where):
        try:
            handle = os.open(".", _UNNAMED, 0o600, dir_fd=root)
        except IsADirectoryError as error:
            raise Unavailable.of(
                "E_STORE_FS",
                "this file system cannot say its time: it makes no files without a name",
                path=where,
                fix="collect on a local file system",
            ) from error
        try:
            return int(os.fstat(handle).st_mtime)
        finally:
            os.close(handle)


@contextmanager
def directory(root: int, path: str) -> Iterator[int]:
    """An open descriptor of a directory below the root, no component of which is a link.

    Raises:
        FileNotFoundError: a component does not exist.
        OSError: anything else.
    """
    handle = open_directory(root, path)
    try:
        yield handle
    finally:
        os.close(handle)


def open_directory(root: int, path: str) -> int:
    """As `directory`, but the caller closes the descriptor."""
    handle = os.open(".", _DIRECTORY, dir_fd=root)
    for part in path.split("/") if path else ():
        try:
            inner = os.open(part, _DIRECTORY, dir_fd=handle)
        finally:
            os.close(handle)
        handle = inner
    return handle


def make_directory(root: int, path: str) -> None:
    """Create a directory and its parents where they are missing, each of them synced into its parent.

    What stands already is synced as well: who made it may have been killed before the sync.
    """
    _make(root, path, os.fsync)


def make_unsynced(root: int, path: str) -> None:
    """As `make_directory` in a tree that the caller syncs as a whole later on."""
    _make(root, path, lambda _handle: None)


def make_above(handle: int, path: str) -> None:
    """As `make_directory` for a store's root, whose upper parents may be on a read-only file system."""
    _make(handle, path, sync_above)


def sync_above(handle: int) -> None:
    """Sync a directory above a store; one that cannot be synced cannot have been changed either."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EROFS}:
            raise


def _make(root: int, path: str, sync: Callable[[int], None]) -> None:
    handle = os.open(".", _DIRECTORY, dir_fd=root)
    try:
        for part in path.split("/"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, DIRECTORY_MODE, dir_fd=handle)
            sync(handle)
            inner = os.open(part, _DIRECTORY, dir_fd=handle)
            os.close(handle)
            handle = inner
            if stat.S_IMODE(os.fstat(handle).st_mode) & DIRECTORY_MODE != DIRECTORY_MODE:
                os.fchmod(handle, DIRECTORY_MODE)
    finally:
        os.close(handle)


def unique_name() -> str:
    """A name that no other writer uses."""
    return secrets.token_hex(12)


def write_synced(parent: int, name: str, data: bytes, *, torn: str, fsync: str) -> None:
    """Create a file that must not exist and make its bytes durable; a fault leaves nothing behind."""
    handle = os.open(name, _CREATE, FILE_MODE, dir_fd=parent)
    try:
        os.fchmod(handle, FILE_MODE)
        half = len(data) // 2
        _write_all(handle, data[:half])
        failpoint(torn)
        _write_all(handle, data[half:])
        failpoint(fsync)
        os.fsync(handle)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=parent)
        raise
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def replace_file(
    root: int, path: str, data: bytes, moments: Moments, *, still_valid: Callable[[], None]
) -> None:
    """Give a file new bytes at once.

    Args:
        root: descriptor of the store's root.
        path: the file, relative to the root.
        data: its new bytes.
        moments: the failpoints on the way.
        still_valid: called right before the rename; raises if the bytes were computed from a state that
            no longer is.
    """
    parent_path, _, name = path.rpartition("/")
    temporary = unique_name()
    with directory(root, TMP) as tmp, directory(root, parent_path) as parent:
        write_synced(tmp, temporary, data, torn=moments.torn, fsync=moments.fsync)
        try:
            failpoint(moments.compare)
            still_valid()
            failpoint(moments.before)
            os.rename(temporary, name, src_dir_fd=tmp, dst_dir_fd=parent)
        except (OSError, ReconcilerError):
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=tmp)
            raise
        failpoint(moments.after)
        failpoint(moments.dirsync)
        os.fsync(parent)
        os.fsync(tmp)


def remove_file(root: int, path: str, moments: Moments, *, still_valid: Callable[[], None]) -> None:
    """Remove a file durably; that it is gone already is fine."""
    parent_path, _, name = path.rpartition("/")
    with directory(root, parent_path) as parent:
        failpoint(moments.compare)
        still_valid()
        failpoint(moments.before)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        failpoint(moments.after)
        failpoint(moments.dirsync)
        os.fsync(parent)


def put_if_absent(
    root: int, path: str, data: bytes, moments: Moments, *, still_valid: Callable[[], None]
) -> None:
    """Create a file with these bytes, all at once and only if there is none.

    Args:
        root: descriptor of the store's root.
        path: the file, relative to the root.
        data: its bytes.
        moments: the failpoints on the way.
        still_valid: called right before the link; raises if we may not write any more.

    Raises:
        FileExistsError: there is one.
        OSError: anything else; the file may be there or not.
    """
    parent_path, _, name = path.rpartition("/")
    temporary = unique_name()
    with directory(root, TMP) as tmp, directory(root, parent_path) as parent:
        write_synced(tmp, temporary, data, torn=moments.torn, fsync=moments.fsync)
        try:
            failpoint(moments.compare)
            still_valid()
            failpoint(moments.before)
            os.link(temporary, name, src_dir_fd=tmp, dst_dir_fd=parent, follow_symlinks=False)
            failpoint(moments.after)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=tmp)
        failpoint(moments.dirsync)
        os.fsync(parent)


def create_synced(parent: int, name: str, pieces: Iterator[bytes]) -> None:
    """Stream bytes into a file that must not exist and make it durable."""
    handle = os.open(name, _CREATE, FILE_MODE, dir_fd=parent)
    try:
        os.fchmod(handle, FILE_MODE)
        for piece in pieces:
            failpoint("fs.stage.file.mid")
            _write_all(handle, piece)
        failpoint("fs.stage.fsync")
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(parent: int, name: str) -> None:
    """Make the bytes of a file durable that another process may have written."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(handle: int) -> None:
    """Make everything below a directory durable, innermost first."""
    for name in sorted(os.listdir(handle)):
        mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            with directory(handle, name) as inner:
                sync_tree(inner)
        elif stat.S_ISREG(mode):
            sync_file(handle, name)
    os.fsync(handle)


def sync_directories(handle: int) -> None:
    """Make the names below a directory durable, innermost first; the files in it are synced already."""
    for name in sorted(os.listdir(handle)):
        if stat.S_ISDIR(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
            with directory(handle, name) as inner:
                sync_directories(inner)
    failpoint("fs.stage.dirsync")
    os.fsync(handle)


def remove_tree(parent: int, name: str) -> None:
    """Remove a file or a directory with everything below it; links are removed, never followed."""
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if not stat.S_ISDIR(mode):
        os.unlink(name, dir_fd=parent)
        return
    with directory(parent, name) as inner:
        for below in os.listdir(inner):
            remove_tree(inner, below)
    os.rmdir(name, dir_fd=parent)


def sync_directory(root: int, path: str) -> None:
    """Make the names of a directory durable, if it stands."""
    with contextlib.suppress(FileNotFoundError), directory(root, path) as handle:
        os.fsync(handle)


def move_aside(root: int, path: str, aside: str) -> None:
    """Rename something out of the way, durably; `aside` must not exist (both relative to the root).

    Raises:
        FileNotFoundError: there is nothing to move.
        OSError: anything else.
    """
    from_path, _, from_name = path.rpartition("/")
    to_path, _, to_name = aside.rpartition("/")
    with directory(root, from_path) as source:
        os.stat(from_name, dir_fd=source, follow_symlinks=False)
        make_directory(root, to_path)
        with directory(root, to_path) as place:
            os.rename(from_name, to_name, src_dir_fd=source, dst_dir_fd=place)
            os.fsync(place)
        os.fsync(source)
