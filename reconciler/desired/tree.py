"""A tree of files as of one moment, and which rows of it may be part of the desired state.

A `Tree` is what the loader reads from: a commit (`reconciler.desired.git`) or the files on disk
(`reconciler.desired.worktree`). Both hand their raw rows to `checked`, so both refuse the same things:
anything that is not a plain file (links, submodules, executables), names that a reviewer cannot see or
that some file system takes for another name, and trees beyond the limits. The rules hold for everything
below the desired path; the rest of the repository is somebody else's.

Nothing here opens a file, and no name is ever changed to make it acceptable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from reconciler.errors import InvalidInput, LimitExceeded, Problem, forbidden_character

FILE: Final = "100644"
EXECUTABLE: Final = "100755"
DIRECTORY: Final = "040000"
LINK: Final = "120000"
SUBMODULE: Final = "160000"

LFS_HEAD: Final = b"version https://git-lfs.github.com/spec/"

_WORDS = {
    EXECUTABLE: "an executable file is",
    LINK: "a symbolic link is",
    SUBMODULE: "a submodule or nested repository is",
}
_SHORT_NAME = re.compile(r"\.?git(?:~[0-9]+)?[ .]*", re.ASCII)
_NAME_BYTES = 255
_PATH_BYTES = 4096


class TreeRow(NamedTuple):
    """One row as git or the file system gives it, not yet judged."""

    mode: str
    path: bytes
    oid: str
    size: int


class TreeEntry(NamedTuple):
    """A file or directory of the tree; `oid` is empty for files on disk."""

    path: str
    mode: str
    oid: str
    size: int


class Listing(NamedTuple):
    """What may be read, sorted by path, and what is refused."""

    entries: tuple[TreeEntry, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """How large the desired state may be."""

    files: int = 200_000
    size: int = 1024**3


class Tree(Protocol):
    """The files of one commit, or of the work tree."""

    @property
    def commit(self) -> str:
        """The full object id, or a marker for files that are not committed."""

    @property
    def commit_time(self) -> int:
        """Unix seconds; what enters live files."""

    @property
    def author(self) -> str:
        """Who wrote the commit, as it says."""

    def files(self, prefix: str, limits: TreeLimits) -> Listing:
        """Every file below a directory; empty if there is no such directory.

        The problems are E_TREE_MODE and E_TREE_PATH.

        Raises:
            InvalidInput: E_GIT_MISSING_OBJECT.
            LimitExceeded: E_TREE_LIMIT.
            Unavailable: E_IO, a directory on disk cannot be read.
        """

    def find(self, paths: Sequence[str]) -> Listing:
        """The files and directories among these paths; an absent one is left out.

        The problems are E_TREE_MODE: one of the paths is a link or a submodule.

        Raises:
            InvalidInput: E_GIT_MISSING_OBJECT.
            Unavailable: E_IO.
        """

    def read(self, entries: Sequence[TreeEntry], limit: int) -> Iterator[tuple[TreeEntry, bytes]]:
        """The bytes of files, in the order asked for, cut off after `limit` + 1 bytes.

        Raises:
            InvalidInput: E_GIT_MISSING_OBJECT.
            Unavailable: E_IO, a file on disk cannot be read.
        """


def mode_problem(mode: str, path: str, *, executable: bool = False) -> Problem | None:
    """What is wrong with the mode of something that should be a plain file or a directory, or None."""
    if mode in {FILE, DIRECTORY} or (executable and mode == EXECUTABLE):
        return None
    word = _WORDS.get(mode, "something that is not a plain file is")
    return Problem(
        code="E_TREE_MODE",
        message=f"{word} not allowed here",
        path=path,
        got=f"mode {mode}",
        fix="commit a plain file with mode 100644",
    )


def name_problem(path: bytes) -> Problem | None:
    """What is wrong with a path of the desired state, or None."""
    shown = path.decode("utf-8", "backslashreplace")
    message = _name_message(path)
    if message is None:
        return None
    return Problem(
        code="E_TREE_PATH",
        message=message,
        path=shown,
        fix="rename the file: printable names, / between parts",
    )


def _name_message(path: bytes) -> str | None:
    if len(path) > _PATH_BYTES:
        return f"a path has at most {_PATH_BYTES} bytes"
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return "a path is UTF-8"
    if "\t" in text or "\n" in text or forbidden_character(text):
        return "a path has no control, bidirectional or invisible characters"
    if "\\" in text or ":" in text:
        return "a path has no backslash and no colon"
    return next(filter(None, map(_part_message, text.split("/"))), None)


def _part_message(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return "a path has no empty part and no dot segments"
    if part != "git" and _SHORT_NAME.fullmatch(_folded(part)):
        return "a part that some file system takes for .git is not allowed"
    if part.endswith((" ", ".")):
        return "a part of a path does not end in a space or a dot"
    if len(part.encode()) > _NAME_BYTES:
        return f"a part of a path has at most {_NAME_BYTES} bytes"
    return None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def found(rows: Iterable[TreeRow]) -> Listing:
    """Rows that were asked for by name: files, executable or not, and directories are fine."""
    entries: list[TreeEntry] = []
    problems: list[Problem] = []
    for row in rows:
        path = row.path.decode("utf-8", "backslashreplace")
        problem = mode_problem(row.mode, path, executable=True)
        if problem:
            problems.append(problem)
        else:
            entries.append(TreeEntry(path, row.mode, row.oid, row.size))
    return Listing(tuple(sorted(entries)), tuple(problems))


def checked(rows: Iterable[TreeRow], limits: TreeLimits) -> Listing:
    """The rows as entries, and every reason why others cannot be part of the desired state.

    Raises:
        LimitExceeded: E_TREE_LIMIT.
    """
    entries: list[TreeEntry] = []
    problems: list[Problem] = []
    size = 0
    for count, row in enumerate(rows, 1):
        size += row.size
        if count > limits.files or size > limits.size:
            raise LimitExceeded.of(
                "E_TREE_LIMIT",
                f"the desired state has more than {limits.files} files or {limits.size} bytes",
                path=row.path.decode("utf-8", "backslashreplace"),
                fix="split it, or keep what is not desired state elsewhere",
            )
        problem = name_problem(row.path)
        path = row.path.decode("utf-8", "backslashreplace")
        problem = problem or mode_problem(row.mode, path)
        if problem:
            problems.append(problem)
        else:
            entries.append(TreeEntry(path, row.mode, row.oid, row.size))
    entries.sort()
    problems += _collisions(entries)
    return Listing(tuple(entries), tuple(problems))


def _collisions(entries: Sequence[TreeEntry]) -> Iterator[Problem]:
    """Paths, or directories of paths, that a file system without case would take for one."""
    seen: dict[str, str] = {}
    for entry in entries:
        parts = entry.path.split("/")
        for end in range(len(parts), 0, -1):
            path = "/".join(parts[:end])
            first = seen.setdefault(_folded(path), path)
            if first != path:
                yield Problem(
                    code="E_TREE_PATH",
                    message=f"the path differs from {first!a} only in letter case or form",
                    path=path,
                    fix="rename one of them",
                )
            elif end < len(parts):
                break


def directory_path(text: str, option: str) -> str:
    """A directory of the repository as the caller wrote it, without a slash at its end.

    Raises:
        InvalidInput: E_DESIRED_PATH.
    """
    path = text.rstrip("/")
    if _name_message(path.encode("utf-8", "surrogateescape")) is not None:
        raise InvalidInput.of(
            "E_DESIRED_PATH",
            "the desired state is a directory below the repository's root",
            path=option,
            got=text,
            fix="name it relative to the root, without dot segments",
        )
    return path
