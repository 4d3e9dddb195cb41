"""Opening a serving store's root: one descriptor, no links, and only what really is a store.

Decides whether a directory may be used as a store at all. A root that is missing is not an error before
the first commit where `create` allows to make it. A build root (what the reference's ingest writes) has
the same tree and is refused; so is a file system on which the lock, put-if-absent, rename or the sync of a
directory do not work, because every promise here stands on them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import InvalidInput, Unavailable
from reconciler.model import StoreConfig
from reconciler.stores.serving.contents import LOCK, MANIFEST, PUBLISH_LOCK
from reconciler.stores.serving.durable import (
    LEDGER,
    OWN,
    STAGING,
    TMP,
    directory,
    make_above,
    make_directory,
    store_faults,
    sync_above,
    unavailable,
    unique_name,
)
from reconciler.stores.serving.heads import CATALOG_FILE
from reconciler.stores.serving.walk import dataset_directories

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_INGEST_MARK = "_ingest_inputs"
SERVER_CACHE = ".dataset-index"
"""What the cache of a reference server has and a store has not (contract 1.2)."""


def root_path(config: StoreConfig) -> str:
    """The root as declared, without its scheme.

    Raises:
        InvalidInput: E_STORE_ROOT.
    """
    root = config.settings.get("root")
    path = root.removeprefix("file:") if isinstance(root, str) else ""
    if not path or "\0" in path or "://" in path:
        raise InvalidInput.of(
            "E_STORE_ROOT",
            "the root of a serving store is a directory",
            path=str(config.place),
            got=_without_secrets(str(root)),
            fix="write root: file:PATH",
        )
    return path


def _without_secrets(root: str) -> str:
    """What may be shown of a root that is an address: it can hold a password or a signature."""
    scheme, mark, _ = root.partition("://")
    return f"{scheme}{mark}…" if mark else root


def may_create(config: StoreConfig) -> bool:
    """Whether a missing root may be made."""
    return config.settings.get("create") in {True, "true"}


def open_root(base: Path, path: str, where: str) -> int | None:
    """A descriptor of the root, or None if it does not exist.

    Raises:
        Unavailable: E_STORE_LINK, a component is a link; E_IO.
    """
    start, parts = _parts(base, path)
    try:
        handle = os.open(start, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts:
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=handle)
            finally:
                os.close(handle)
            handle = inner
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unavailable(error, where) from error
    return handle


def create_root(base: Path, path: str, where: str) -> int:
    """Make the root and its missing parents, durably.

    Raises:
        Unavailable: E_STORE_LINK or E_IO.
    """
    start, parts = _parts(base, path)
    with store_faults(where):
        handle = os.open(start, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if parts:
                make_above(handle, "/".join(parts))
        finally:
            os.close(handle)
    made = open_root(base, path, where)
    if made is None:
        raise missing(where)
    return made


def _parts(base: Path, path: str) -> tuple[Path, tuple[str, ...]]:
    pure = Path(path)
    return (Path("/"), pure.parts[1:]) if pure.is_absolute() else (base, pure.parts)


def missing(where: str) -> Unavailable:
    """The error for a root that is not there and may not be made."""
    return Unavailable.of(
        "E_STORE_MISSING",
        "the store does not exist",
        path=where,
        fix="check its root, or set create: true for a new store",
    )


def refuse_build_root(root: int, where: str) -> None:
    """Refuse a directory that ingest or a server wrote: it has datasets and nothing that a store makes.

    Raises:
        InvalidInput: E_STORE_IS_BUILD_ROOT, E_STORE_IS_CACHE.
    """
    if _stands(root, CATALOG_FILE) or _stands(root, OWN):
        return
    if _stands(root, SERVER_CACHE):
        raise InvalidInput.of(
            "E_STORE_IS_CACHE",
            "this is the cache of a server, which is disposable and no store",
            path=where,
            fix="name the store's own root",
        )
    if _stands(root, _INGEST_MARK) or _only_built(root, where):
        raise InvalidInput.of(
            "E_STORE_IS_BUILD_ROOT",
            "this is a build root, not a serving store",
            path=where,
            fix="name the store's own root, and give the build root as a source",
        )


def _only_built(root: int, where: str) -> bool:
    built = False
    for seen in dataset_directories(root, where):
        if _any(seen.handle, (LOCK, PUBLISH_LOCK, f"{MANIFEST}.tmp")):
            return False
        built = built or (_stands(seen.handle, MANIFEST) and _stands(seen.handle, "inputs"))
    return built


def _any(handle: int, names: tuple[str, ...]) -> bool:
    return any(_stands(handle, name) for name in names)


def _stands(handle: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def prepare_own(root: int, where: str) -> None:
    """Make the store's own directories where they are missing.

    Until a first record stands, everything up to the root's own name is synced again, because whoever made
    it may have been killed before the sync, and a ledger is no more durable than the directories above it.

    Raises:
        Unavailable: E_STORE_LINK or E_IO.
    """
    with store_faults(f"{where}/{OWN}"):
        begun = _begun(root)
        if not begun:
            _sync_name_of(root)
        for path in (LEDGER, STAGING, TMP):
            if not begun or not _stands(root, path):
                make_directory(root, path)


def _begun(root: int) -> bool:
    try:
        with directory(root, LEDGER) as ledger:
            return bool(os.listdir(ledger))
    except FileNotFoundError:
        return False


def _sync_name_of(root: int) -> None:
    with contextlib.suppress(PermissionError):  # who may not open the parent did not make the root
        parent = os.open("..", _DIRECTORY, dir_fd=root)
        try:
            sync_above(parent)
        finally:
            os.close(parent)


def probe(root: int, where: str) -> None:
    """Try what every promise stands on: locks, links, renames, directory syncs, case.

    The caller holds the lock, because its holder sweeps what it finds where this tries.

    Raises:
        Unavailable: E_STORE_FS, naming what does not hold.
    """
    with directory(root, TMP) as tmp:
        name = unique_name()
        names = [f"{name}-a", f"{name}-b", f"{name}-A"]
        try:
            missed = next(_missed(tmp, *names), None)
        except OSError as error:
            missed = os.strerror(error.errno or 0)
        finally:
            for left in names:
                with contextlib.suppress(OSError):
                    os.unlink(left, dir_fd=tmp)
    if missed:
        raise Unavailable.of(
            "E_STORE_FS",
            f"this file system cannot hold a store: {missed}",
            path=where,
            fix="use a local, case-sensitive file system",
        )


def _missed(tmp: int, first: str, second: str, upper: str) -> Iterator[str]:
    one = os.open(first, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=tmp)
    two = os.open(first, os.O_RDWR | os.O_CLOEXEC, dir_fd=tmp)
    try:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield "a lock is given twice"
    finally:
        os.close(one)
        os.close(two)
    os.link(first, second, src_dir_fd=tmp, dst_dir_fd=tmp)
    with contextlib.suppress(FileExistsError):
        os.link(first, second, src_dir_fd=tmp, dst_dir_fd=tmp)
        yield "a link replaces a file"
    if _stands(tmp, upper):
        yield "names that differ in case are one"
    os.unlink(second, dir_fd=tmp)
    os.rename(first, second, src_dir_fd=tmp, dst_dir_fd=tmp)
    if _stands(tmp, first) or not _stands(tmp, second):
        yield "a rename leaves the old name"
    os.fsync(tmp)
