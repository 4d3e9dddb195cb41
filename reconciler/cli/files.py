"""Files that a person names on the command line: read with a limit, replaced as a whole.

Nothing here touches a store: stores have their own durable writes.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from reconciler.errors import InvalidInput, Unavailable


def read_file(path: Path, *, limit: int) -> bytes:
    """The bytes of a file that the user named.

    Raises:
        InvalidInput: E_FILE, it is missing, not a file, or larger than `limit` bytes.
        Unavailable: E_IO, it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InvalidInput.of("E_FILE", "there is no such file", path=str(path)) from error
    except OSError as error:
        raise Unavailable.of("E_IO", f"cannot be read: {error.strerror}", path=str(path)) from error
    if len(data) > limit:
        raise InvalidInput.of("E_FILE", f"the file is larger than {limit} bytes", path=str(path))
    return data


class Standing(Enum):
    """What a path leads to."""

    MISSING = "missing"
    FILE = "file"
    DIRECTORY = "directory"
    OTHER = "other"


def standing(path: Path) -> Standing:
    """What stands where the user named a path; links are followed.

    Raises:
        Unavailable: E_IO, that cannot be found out.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return Standing.MISSING
    except OSError as error:
        raise Unavailable.of("E_IO", f"cannot be read: {error.strerror}", path=str(path)) from error
    if stat.S_ISREG(mode):
        return Standing.FILE
    return Standing.DIRECTORY if stat.S_ISDIR(mode) else Standing.OTHER


def replace_file(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        Unavailable: E_IO, it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Unavailable.of("E_IO", f"cannot be written: {error.strerror}", path=str(path)) from error


def new_files(root: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Write files that must not be there yet; each appears whole, and none goes through a link.

    A file that is there with these very bytes is left: a run that was stopped halfway can be repeated.

    Args:
        root: the directory that the paths start from.
        files: bytes by relative path.

    Returns:
        the paths that were written.

    Raises:
        InvalidInput: E_FILE_EXISTS, one of them is there with other bytes; E_TREE_MODE, a link is on the way.
        Unavailable: E_IO, one cannot be read or written; those before it stay.
    """
    missing = [path for path, data in files.items() if not _there(root, path, data)]
    for path in missing:
        place = root / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable.of("E_IO", f"cannot be made: {error.strerror}", path=path) from error
        replace_file(place, files[path])
    return tuple(missing)


def _there(root: Path, path: str, data: bytes) -> bool:
    """Whether a file is there with these bytes; anything else that has its name is refused."""
    place = root
    for part in Path(path).parts:
        place /= part
        if place.is_symlink():
            raise InvalidInput.of(
                "E_TREE_MODE", "a symbolic link is not allowed here", path=path, fix="name another directory"
            )
    there = standing(place)
    if there is Standing.MISSING:
        return False
    if there is Standing.FILE and read_file(place, limit=max(len(data), place.stat().st_size)) == data:
        return True
    raise InvalidInput.of(
        "E_FILE_EXISTS",
        "the file is there already; nothing is ever overwritten",
        path=path,
        fix="move it away, or choose another place",
    )
