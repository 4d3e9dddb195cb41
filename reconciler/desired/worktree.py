"""The work tree as a tree: the files on disk, refused for the same reasons as those of a commit.

Used by `--worktree`, to try a wish before it is committed. Every directory is opened relative to the one
above it and never through a symbolic link, so that what is read lies inside the repository. Ignore rules
play no part: what stands below the desired path is part of the wish.

Reading changes nothing. The time that a commit would carry is given by the caller.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.tree import (
    DIRECTORY,
    EXECUTABLE,
    FILE,
    LINK,
    Listing,
    TreeEntry,
    TreeLimits,
    TreeRow,
    checked,
    found,
)
from reconciler.errors import InvalidInput, Unavailable

_INTO = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DEEPEST = 64


def open_worktree(root: Path, *, now: int) -> WorkTree:
    """The files on disk below a repository's root.

    Args:
        root: the repository, as `reconciler.desired.git.repository_root` gives it.
        now: unix seconds that stand in for the commit's time.

    Raises:
        InvalidInput: E_GIT_REPO.
        Unavailable: E_GIT_TOOL.
    """
    from reconciler.desired.git import head_commit  # noqa: PLC0415 - GitPython is slow to import

    head = head_commit(root)
    return WorkTree(
        commit=f"worktree+{head}" if head else "worktree", commit_time=now, author="worktree", root=root
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTree:
    """The files on disk; a `reconciler.desired.tree.Tree`."""

    commit: str
    commit_time: int
    author: str
    root: Path

    def files(self, prefix: str, limits: TreeLimits) -> Listing:
        """Every file below a directory; empty if there is no such directory."""
        return checked(self._walk(prefix), limits)

    def find(self, paths: Sequence[str]) -> Listing:
        """The files and directories among these paths; an absent one is left out."""
        rows = (self._row(path) for path in sorted(set(paths)))
        return found(row for row in rows if row is not None)

    def read(self, entries: Sequence[TreeEntry], limit: int) -> Iterator[tuple[TreeEntry, bytes]]:
        """The bytes of files, in the order asked for, cut off after `limit` + 1 bytes."""
        for entry in entries:
            try:
                with self._parent(entry.path) as (above, name):
                    handle = os.open(name, _PLAIN, dir_fd=above)
                with os.fdopen(handle, "rb") as file:
                    # What became a pipe or a device since it was listed must not hold us up.
                    plain = stat.S_ISREG(os.fstat(handle).st_mode)
                    data = file.read(limit + 1) if plain else b""
            except OSError as error:
                raise _unreadable(entry.path, error) from error
            if not plain:
                raise _unreadable(entry.path, OSError(errno.EINVAL, "it is not a plain file any more"))
            yield entry, data

    def _parent(self, path: str) -> _Opened:
        return _Opened(self.root, path)

    def _row(self, path: str) -> TreeRow | None:
        try:
            with self._parent(path) as (above, name):
                seen = os.stat(name, dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            # A part that is a file or a link: git knows no such path either.
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                return None
            raise _unreadable(path, error) from error
        return TreeRow(_mode(seen), os.fsencode(path), "", seen.st_size if stat.S_ISREG(seen.st_mode) else 0)

    def _walk(self, prefix: str) -> Iterator[TreeRow]:
        top = self._row(prefix)
        if top is None or top.mode == FILE:
            return
        if top.mode != DIRECTORY:
            yield top
            return
        try:
            with self._parent(prefix) as (above, name):
                handle = os.open(name, _INTO, dir_fd=above)
        except OSError as error:
            raise _unreadable(prefix, error) from error
        yield from _below(handle, os.fsencode(prefix), 1)


class _Opened:
    """The directory that holds a path's last part, opened part by part without following links."""

    __slots__ = ("_handle", "_path", "_root")

    def __init__(self, root: Path, path: str) -> None:
        self._root = root
        self._path = path
        self._handle = -1

    def __enter__(self) -> tuple[int, str]:
        *parts, name = self._path.split("/")
        self._handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts:
            try:
                below = os.open(part, _INTO, dir_fd=self._handle)
            except OSError:
                os.close(self._handle)
                raise
            os.close(self._handle)
            self._handle = below
        return self._handle, name

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _below(handle: int, prefix: bytes, depth: int) -> Iterator[TreeRow]:
    """The rows below an open directory, which is closed at the end."""
    path = prefix
    try:
        if depth > _DEEPEST:
            raise InvalidInput.of(
                "E_TREE_PATH", f"directories are nested deeper than {_DEEPEST}", path=os.fsdecode(prefix)
            )
        for name in sorted(os.fsencode(name) for name in os.listdir(handle)):
            path = prefix + b"/" + name
            seen = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode) and name != b".git":
                yield from _below(os.open(name, _INTO, dir_fd=handle), path, depth + 1)
            else:
                yield TreeRow(_mode(seen), path, "", seen.st_size if stat.S_ISREG(seen.st_mode) else 0)
    except OSError as error:
        raise _unreadable(os.fsdecode(path), error) from error
    finally:
        os.close(handle)


def _mode(seen: os.stat_result) -> str:
    if stat.S_ISLNK(seen.st_mode):
        return LINK
    if stat.S_ISDIR(seen.st_mode):
        return DIRECTORY
    if stat.S_ISREG(seen.st_mode):
        return EXECUTABLE if seen.st_mode & stat.S_IXUSR else FILE
    return f"{stat.S_IFMT(seen.st_mode):06o}"


def _unreadable(path: str, error: OSError) -> Unavailable:
    return Unavailable.of(
        "E_IO", f"the file cannot be read: {error.strerror}", path=path, fix="see its permissions"
    )
