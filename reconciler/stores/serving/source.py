"""Where the bytes of a dataset come from: a build root on disk, or a pack.

Decides what a source must be before anything is staged: reachable, a build root and not a store, holding
the dataset, with exactly the manifest that was declared. What is staged is then checked again as a whole
(`reconciler.stores.serving.publish`), so that bytes that change under us are caught.

A build root is the directory that holds `release=…`; a pack is one file. Both are relative to the
directory that sources start from, and no component below it may be a link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.canonical import sha256_digest
from reconciler.errors import InvalidInput, Unavailable
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving.contents import ARTIFACT, LOCK, MANIFEST, content_files, dataset_path
from reconciler.stores.serving.durable import CHUNK, OWN, directory, open_directory, store_faults
from reconciler.stores.serving.files import file_stat, read_file

Receive = Callable[[str, Iterator[bytes]], None]
"""Takes one file: its path below the dataset's directory, and its content in pieces."""

_MANIFEST_LIMIT = 5_000_000
_STORE_FILES = ("catalog.json", OWN)


def deliver(base: Path, location: str, dataset: DatasetId, wanted: Digest, receive: Receive) -> None:
    """Hand every file of a dataset to `receive`, after checking that the source is the declared one.

    Args:
        base: the directory that relative sources start from.
        location: the source as written.
        dataset: the dataset to deliver.
        wanted: the digest that its manifest must have.
        receive: takes the files; what it did must be thrown away if this raises.

    Raises:
        Unavailable: E_SOURCE_MISSING, E_SOURCE_LINK, E_IO.
        InvalidInput: E_SOURCE_MANIFEST, E_SOURCE_IS_STORE, E_SOURCE_FILE, E_IDENTITY.
        Corrupt: a pack that does not hold.
    """
    with _opened(base, location) as handle:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            with _dataset(handle, location, dataset) as source:
                _check_manifest(source, location, wanted)
                _from_build_root(source, f"{location}/{dataset_path(dataset)}", receive)
        else:
            _from_pack(handle, location, dataset, wanted, receive)


def check(base: Path, location: str, dataset: DatasetId, wanted: Digest) -> None:
    """What can be checked of a source without staging it: it is there and has the declared manifest.

    Raises:
        Unavailable, InvalidInput, Corrupt: as `deliver`.
    """
    with _opened(base, location) as handle:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            with _dataset(handle, location, dataset) as source:
                _check_manifest(source, location, wanted)


def head(base: Path, location: str, dataset: DatasetId) -> tuple[bytes, int]:
    """The manifest of a dataset in a source, and the size of its database; nothing else is read.

    Raises:
        Unavailable, InvalidInput, Corrupt: as `deliver`.
    """
    with _opened(base, location) as handle:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            with _dataset(handle, location, dataset) as found:
                return manifest_and_size(found, location)
        from reconciler.stores.serving.pack import read_head  # noqa: PLC0415 - only packs need it

        with open(os.dup(handle), "rb") as stream:
            return read_head(stream, where=location)


def manifest_and_size(dataset: int, where: str) -> tuple[bytes, int]:
    """The manifest's bytes and the database's size, in the directory of a dataset.

    Raises:
        Unavailable: E_SOURCE_MISSING, or one cannot be read.
    """
    data, size = read_file(dataset, MANIFEST, _MANIFEST_LIMIT), file_stat(dataset, ARTIFACT, where)
    if data is None or size is None:
        raise _missing(f"{where}/{MANIFEST if data is None else ARTIFACT}", "the dataset is not whole")
    return data, size.st_size


@contextmanager
def _opened(base: Path, location: str) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    path = Path(location)
    start, parts = (Path("/"), path.parts[1:]) if path.is_absolute() else (base, path.parts)
    try:
        handle = os.open(start, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts:
            try:
                inner = os.open(part, flags, dir_fd=handle)
            finally:
                os.close(handle)
            handle = inner
    except FileNotFoundError as error:
        raise _missing(location, "the source is not there") from error
    except OSError as error:
        raise _unreadable(error, location) from error
    try:
        if not _is_kind(os.fstat(handle).st_mode):
            raise _missing(location, "the source is neither a build root nor a pack")
        yield handle
    finally:
        os.close(handle)


def _is_kind(mode: int) -> bool:
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)


@contextmanager
def _dataset(root: int, location: str, dataset: DatasetId) -> Iterator[int]:
    for name in _STORE_FILES:
        if _stands(root, name, location):
            raise _is_store(location)
    try:
        handle = open_directory(root, dataset_path(dataset))
    except FileNotFoundError as error:
        raise _missing(location, f"the source does not hold {dataset}") from error
    except OSError as error:
        raise _unreadable(error, location) from error
    try:
        if _stands(handle, LOCK, location):
            raise _is_store(location)
        yield handle
    finally:
        os.close(handle)


def _stands(handle: int, name: str, location: str) -> bool:
    try:
        os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(error, location) from error
    return True


def _check_manifest(source: int, location: str, wanted: Digest) -> None:
    data = read_file(source, MANIFEST, _MANIFEST_LIMIT)
    if data is None:
        raise _missing(f"{location}/{MANIFEST}", "the source has no manifest")
    digest = sha256_digest(data)
    if digest != wanted:
        raise InvalidInput.of(
            "E_SOURCE_MANIFEST",
            "the source's manifest is not the declared one",
            path=location,
            got=digest,
            fix=f"rebuild the source, or declare this digest instead of {wanted}",
        )


def _from_build_root(source: int, where: str, receive: Receive) -> None:
    for path in content_files(source, where):
        receive(path, _pieces(source, path, f"{where}/{path}"))


def _pieces(source: int, path: str, where: str) -> Iterator[bytes]:
    """A file's bytes; only faults of the source are told as such, never those of whoever takes them."""
    parent, _, name = path.rpartition("/")
    with store_faults(where), directory(source, parent) as folder:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with open(handle, "rb", buffering=0) as stream:
        while True:
            with store_faults(where):
                piece = stream.read(CHUNK)
            if not piece:
                return
            yield piece


def _from_pack(handle: int, location: str, dataset: DatasetId, wanted: Digest, receive: Receive) -> None:
    from reconciler.stores.serving.pack import unpack_into  # noqa: PLC0415 - only packs need it

    with open(os.dup(handle), "rb") as stream:
        unpack_into(stream, receive, expect=wanted, dataset=dataset, where=location)


def _is_store(location: str) -> InvalidInput:
    return InvalidInput.of(
        "E_SOURCE_IS_STORE",
        "the source is a serving store, not a build root",
        path=location,
        fix="name the build root or a pack of the dataset",
    )


def _missing(location: str, message: str) -> Unavailable:
    return Unavailable.of(
        "E_SOURCE_MISSING", message, path=location, fix="build it, fetch it, or name another source"
    )


def _unreadable(error: OSError, location: str) -> Unavailable:
    if isinstance(error, NotADirectoryError) or error.errno == errno.ELOOP:
        return Unavailable.of(
            "E_SOURCE_LINK",
            "a component of the source is a symbolic link",
            path=location,
            fix="name the place itself",
        )
    return Unavailable.of(
        "E_IO",
        f"the source cannot be read: {os.strerror(error.errno or 0)}",
        path=location,
        fix="repair it and retry",
    )
