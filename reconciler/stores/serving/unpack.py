"""Unpack a pack into a fresh build root, all of it or nothing.

Decides where files go: `OUT/release=…/species=…/assembly=…/` below a staging directory beside OUT, which
becomes OUT by one rename after every check of the pack passed and every file is on disk. A pack that does
not hold leaves nothing behind.

Never writes into an existing build root, never follows a link, never keeps modes or times of an archive.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reconciler.errors import InvalidInput, Unavailable
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.pack import PackReport, unpack_into

_SUFFIX = ".unpack"


def unpack_build_root(
    pack: BinaryIO,
    out: Path,
    *,
    expect: Digest | None = None,
    dataset: DatasetId | None = None,
    where: str = "pack",
) -> PackReport:
    """Make OUT a build root that holds the pack's dataset.

    Args:
        pack: the pack, from where it stands to its end.
        out: the new build root; it may exist only as an empty directory.
        expect: the digest of the manifest that the pack must carry.
        dataset: the dataset that the pack must carry.
        where: how errors name the pack.

    Raises:
        InvalidInput: E_OUT_EXISTS, OUT is something already; E_IDENTITY.
        Corrupt: the pack does not hold; nothing was written.
        Unavailable: E_OUT_WRITE, the files cannot be written; nothing is left behind.
    """
    _check_free(out)
    try:
        _remove_left_over(out)
        with _staging(out) as staging:
            writer = _StagedFiles(staging)
            report = unpack_into(pack, writer.write, expect=expect, dataset=dataset, where=where)
            writer.place(dataset_path(report.dataset))
            staging.rename(out)
        _sync_directory(out.parent)
    except OSError as error:
        _check_free(out)
        raise Unavailable.of(
            "E_OUT_WRITE",
            f"cannot write the build root: {os.strerror(error.errno or errno.EIO)}",
            path=str(out),
            fix="check the free space and the rights of the directory above",
        ) from error
    return report


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A new directory beside OUT, locked as long as it is in use and gone afterwards."""
    staging = out.parent / f".{out.name}.{secrets.token_hex(8)}{_SUFFIX}"
    staging.mkdir(parents=True)
    handle = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(handle)


def _remove_left_over(out: Path) -> None:
    """Remove what a killed unpack of the same OUT left: staging directories that nobody locks."""
    for old in out.parent.glob(f".{glob.escape(out.name)}.*{_SUFFIX}"):
        handle = os.open(old, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)


class _StagedFiles:
    """Writes files of one dataset below a directory that nobody else knows."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._content = staging / ".content"
        self._content.mkdir()

    def write(self, path: str, content: Iterator[bytes]) -> None:
        place = self._content / path
        place.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(place, flags, 0o644), "wb") as file:
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def place(self, directory: str) -> None:
        """Move the content to its directory and make every directory durable."""
        wanted = self._staging / directory
        wanted.parent.mkdir(parents=True)
        self._content.rename(wanted)
        for parent, _, _ in os.walk(self._staging, topdown=False):
            _sync_directory(Path(parent))


def _check_free(out: Path) -> None:
    try:
        if not out.is_symlink() and not any(out.iterdir()):
            return
    except FileNotFoundError:
        return
    except OSError:
        pass
    raise InvalidInput.of(
        "E_OUT_EXISTS",
        "something is there already",
        path=str(out),
        fix="name a directory that does not exist yet",
    )


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
