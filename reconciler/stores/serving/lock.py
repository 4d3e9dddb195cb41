"""The one lock of a store: `flock` on `.reconciler/lock`, released by the system when its holder dies.

The file is never unlinked, because two processes could then hold "the" lock at once. Its holder writes
who it is into it and empties it when it lets go; since when it is held is the file's own time, so no
clock of ours is asked. Waiting polls with jitter up to a limit.

The lock is politeness. Safety comes from comparing bytes before each write and from the ledger's fence.
"""

from __future__ import annotations

import fcntl
import os
import random
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from reconciler.canonical import canonical
from reconciler.errors import Conflict, Unavailable
from reconciler.failpoints import failpoint
from reconciler.stores.serving.durable import FILE_MODE, OWN, directory

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.2
_HOLDER_LIMIT = 4096


@contextmanager
def exclusive(root: int, *, where: str, timeout: float, command: str) -> Iterator[int]:
    """Hold the store's lock; gives the lock file's inode number.

    Args:
        root: descriptor of the store's root; its `.reconciler` directory exists.
        where: the lock's place, for errors.
        timeout: seconds to wait for another holder.
        command: what we do with it, for those who wait.

    Raises:
        Conflict: E_LOCKED, naming the holder.
        Unavailable: E_STORE_LINK, the lock file is not a plain file.
    """
    failpoint("fs.lock")
    with directory(root, OWN) as own:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        handle = os.open("lock", flags, FILE_MODE, dir_fd=own)
        try:
            seen = os.fstat(handle)
            if seen.st_nlink != 1 or not stat.S_ISREG(seen.st_mode):
                raise Unavailable.of(
                    "E_STORE_LINK",
                    "the lock is not a plain file with one name",
                    path=where,
                    fix="stop every writer, then remove it",
                )
            _wait(handle, where, timeout)
            if stat.S_IMODE(seen.st_mode) != FILE_MODE:
                os.fchmod(handle, FILE_MODE)  # whatever the umask of its first holder was
            try:
                os.ftruncate(handle, 0)
                os.pwrite(handle, canonical({"command": command, "pid": os.getpid()}), 0)
                yield seen.st_ino
            finally:
                with suppress(OSError):
                    os.ftruncate(handle, 0)
        finally:
            os.close(handle)


def _wait(handle: int, where: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _held(handle, where, timeout) from None
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        else:
            return


def _held(handle: int, where: str, timeout: float) -> Conflict:
    holder = os.pread(handle, _HOLDER_LIMIT, 0).decode("ascii", "replace")
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(os.fstat(handle).st_mtime))
    return Conflict.of(
        "E_LOCKED",
        f"another writer holds the store since {since}; waited {timeout:g} s",
        path=where,
        got=holder,
        fix="wait for it, or stop that process; the lock goes with it",
    )
