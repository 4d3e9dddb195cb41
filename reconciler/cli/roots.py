"""A build root or a store, opened as a directory that a person named on the command line.

Decides which of the two it is: a store has a catalog or our own `.reconciler`, or its dataset has a
`manifest.lock`; everything else is a build root. Reads through descriptors, follows no link below the
root, and writes nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import InvalidInput, Unavailable
from reconciler.model import DatasetId
from reconciler.stores.serving.contents import IMMUTABLE, LOCK, dataset_path
from reconciler.stores.serving.files import file_stat, open_dir
from reconciler.stores.serving.verification import Setting

_MARKS = ("catalog.json", ".reconciler")


@contextmanager
def opened_root(path: Path, option: str) -> Iterator[int]:
    """A descriptor of a root.

    Raises:
        Unavailable: E_ROOT_MISSING, E_STORE_LINK or E_IO.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Unavailable.of(
            "E_ROOT_MISSING", "there is no such directory", path=option, got=str(path), fix="name the root"
        ) from error
    except OSError as error:
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and path.is_symlink()):
            raise Unavailable.of(
                "E_STORE_LINK", "a symbolic link stands where a directory must be", path=str(path)
            ) from error
        raise Unavailable.of(
            "E_IO", f"cannot be opened: {os.strerror(error.errno or errno.EIO)}", path=str(path)
        ) from error
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def opened_dataset(root: int, dataset: DatasetId, where: str) -> Iterator[int]:
    """A descriptor of a dataset's directory in a root.

    Raises:
        InvalidInput: E_DATASET_MISSING, the root does not hold it.
        Unavailable: E_STORE_LINK, E_STORE_FILE or E_IO.
    """
    handle = open_dir(root, dataset_path(dataset), where)
    if handle is None:
        raise InvalidInput.of(
            "E_DATASET_MISSING",
            f"this root does not hold {dataset}",
            path=f"{where}/{dataset_path(dataset)}",
            fix="name the directory that holds release=…, or another dataset",
        )
    try:
        yield handle
    finally:
        os.close(handle)


def setting_of(root: int, dataset: int) -> Setting:
    """Whether a root, of which one dataset is open, is a store or a build root."""
    marked = any(_stands(root, name) for name in _MARKS)
    if marked or any(file_stat(dataset, name) is not None for name in (LOCK, IMMUTABLE)):
        return Setting.STORE
    return Setting.BUILD_ROOT


def _stands(root: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unavailable.of(
            "E_IO", f"cannot be read: {os.strerror(error.errno or errno.EIO)}", path=name
        ) from error
    return True
