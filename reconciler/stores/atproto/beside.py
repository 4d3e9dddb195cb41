"""What stands beside the ledger of an account: packets, the mark of a restore, and a ledger that comes back.

A file beside the ledger is put whole or not at all, and durably. In a directory its writer holds the lock;
in a bucket every write is conditional or harmless when it is done twice. The names are those of every
store's own directory (`reconciler.stores.serving.durable`): `ledger/…`, `evidence/…`, `restore.json`.

Decides nothing about what the files say.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Protocol

from reconciler.failpoints import failpoint
from reconciler.stores.serving.durable import (
    OWN,
    TMP,
    Moments,
    directory,
    make_directory,
    put_if_absent,
    remove_file,
    replace_file,
    store_faults,
)
from reconciler.stores.serving.files import read_file

BESIDE_LIMIT: Final = 512 << 20
"""The most bytes of one file: a record of the ledger."""


class Beside(Protocol):
    """The right to write beside a ledger."""

    def create(self, name: str, data: bytes, moments: Moments) -> bool:
        """Put a file if there is none; False if there is one."""

    def replace(self, name: str, data: bytes, moments: Moments) -> None:
        """Give a file new bytes at once, or make it."""

    def remove(self, name: str, moments: Moments) -> None:
        """Remove a file; that it is gone already is fine."""


class DirectoryBeside:
    """Files beside a ledger in a directory, whose lock the caller holds."""

    def __init__(self, root: int, where: str, still_ours: Callable[[], None]) -> None:
        self._root, self._where, self._still_ours = root, where, still_ours

    def create(self, name: str, data: bytes, moments: Moments) -> bool:
        """Put a file if there is none; False if there is one."""
        path = f"{OWN}/{name}"
        with store_faults(f"{self._where}/{path}"):
            make_directory(self._root, path.rpartition("/")[0])
            try:
                put_if_absent(self._root, path, data, moments, still_valid=self._still_ours)
            except FileExistsError:
                return False
        return True

    def replace(self, name: str, data: bytes, moments: Moments) -> None:
        """Give a file new bytes at once, or make it."""
        path = f"{OWN}/{name}"
        with store_faults(f"{self._where}/{path}"):
            make_directory(self._root, TMP)
            replace_file(self._root, path, data, moments, still_valid=self._still_ours)

    def remove(self, name: str, moments: Moments) -> None:
        """Remove a file; that it is gone already is fine."""
        path = f"{OWN}/{name}"
        with store_faults(f"{self._where}/{path}"):
            remove_file(self._root, path, moments, still_valid=self._still_ours)


def read_beside(root: int, name: str, where: str) -> bytes | None:
    """The bytes of a file beside a ledger in a directory; None if there is none."""
    path = f"{OWN}/{name}"
    with store_faults(f"{where}/{path}"):
        return read_file(root, path, BESIDE_LIMIT, where)


def names_beside(root: int, folder: str, where: str) -> list[str]:
    """The names of the files in a folder beside a ledger in a directory, sorted."""
    with store_faults(where):
        try:
            with directory(root, f"{OWN}/{folder}") as handle:
                return sorted(os.listdir(handle))
        except FileNotFoundError:
            return []


class BucketFiles(Protocol):
    """What a bucket's ledger offers for the files beside it; each asks until there is an answer."""

    def create_file(self, key: str, data: bytes) -> bool:
        """Put an object if there is none; False if there is one with other bytes."""

    def replace_file(self, key: str, data: bytes) -> None:
        """Put an object, whatever stands there."""

    def remove_file(self, key: str) -> None:
        """Remove an object."""


class BucketBeside:
    """Files beside a ledger in a bucket."""

    def __init__(self, files: BucketFiles) -> None:
        self._files = files

    def create(self, name: str, data: bytes, moments: Moments) -> bool:
        """Put a file if there is none; False if there is one with other bytes."""
        failpoint(moments.before)
        done = self._files.create_file(f"{OWN}/{name}", data)
        failpoint(moments.after)
        return done

    def replace(self, name: str, data: bytes, moments: Moments) -> None:
        """Give a file new bytes at once, or make it."""
        failpoint(moments.before)
        self._files.replace_file(f"{OWN}/{name}", data)
        failpoint(moments.after)

    def remove(self, name: str, moments: Moments) -> None:
        """Remove a file; that it is gone already is fine."""
        failpoint(moments.before)
        self._files.remove_file(f"{OWN}/{name}")
        failpoint(moments.after)
