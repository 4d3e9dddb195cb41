"""Files that a person names on the command line: read with a limit, replaced as a whole.

Nothing here touches a store: stores have their own durable writes.
"""

from __future__ import annotations

import os
import stat
import tempfile
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
