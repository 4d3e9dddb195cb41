"""Where the ledger of an account is kept, and who may write: a directory with a lock, or a bucket.

The records have the format and the files of every other ledger (`reconciler.ledger`); only the account they
describe is elsewhere. In a directory, a lock makes the writers of one machine wait for each other. The
fence is the same everywhere: an intent is put only where none of its number stands, and every commit to the
account names the commit that it follows.

Beside the ledger in a directory stands what was last read of the repository, so that an account that did not
move costs one small request. It is a copy: every block in it is compared with its CID before it is used, and
without it everything is fetched. What the server last said of the account's budget stands there too.

Nothing is made before the first commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from reconciler.errors import Conflict, InvalidInput, ReconcilerError
from reconciler.ledger import Record, Run
from reconciler.model import Step, StepResult, StoreConfig
from reconciler.stores.atproto.beside import Beside, DirectoryBeside, names_beside, read_beside
from reconciler.stores.port import Surroundings
from reconciler.stores.serving.durable import (
    FILE_MODE,
    LEDGER,
    OWN,
    TMP,
    directory,
    remove_tree,
    store_faults,
    unique_name,
)
from reconciler.stores.serving.files import read_file
from reconciler.stores.serving.ledger_files import End, LedgerFiles
from reconciler.stores.serving.location import create_root, open_root, prepare_own, probe
from reconciler.stores.serving.lock import exclusive

_KEPT_LIMIT: Final = 1 << 30
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Kept(StrEnum):
    """What is kept beside a ledger, by its file: copies and hints, which a run can do without."""

    READING = "repository.car"
    BUDGET = "budget.json"


class Ledger(Protocol):
    """What a run asks of a ledger."""

    def put_intent(
        self,
        seq: int,
        previous: str | None,
        run: Run,
        steps: Sequence[Step],
        *,
        still_valid: Callable[[], None],
    ) -> Record:
        """Write the intent of a run; its number is the fence."""

    def has_intent(self, seq: int, previous: str | None, run: Run, steps: Sequence[Step]) -> bool:
        """Whether this very intent stands in the ledger."""

    def put_outcome(
        self,
        record: Record,
        results: Sequence[StepResult],
        heads: Mapping[str, str],
        *,
        still_valid: Callable[[], None],
    ) -> None:
        """Close a record."""


class NumberTaken(Conflict):
    """Another run took the number of ours first, and nothing was written: without a lock, begin again."""


@dataclass(frozen=True, slots=True)
class Held:
    """The right to write, for one run or for the end of an open one.

    Attributes:
        ledger: where it is recorded.
        end: the end of the chain as it was when the right was got.
        still_ours: checks that nobody took over meanwhile.
    """

    ledger: Ledger
    end: End
    still_ours: Callable[[], None]


class Journal(Protocol):
    """The ledger of one account, wherever it is."""

    @property
    def serialises_writers(self) -> bool:
        """Whether a second writer waits for the first."""

    def head(self) -> str:
        """The name of the newest document, or nothing; moves with every record."""

    def records(self) -> Iterator[Record]:
        """All records, oldest first, each link checked."""

    def open_record(self) -> Record | None:
        """The run that a killed process left unfinished."""

    def litter(self) -> bool:
        """Whether a killed process left something half written, which the next holder removes."""

    def held(self, command: str) -> AbstractContextManager[Held]:
        """Hold the right to write."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file beside the ledger, or of a document of it; None if there is none."""

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder beside the ledger, sorted."""

    def beside(self, command: str) -> AbstractContextManager[Beside]:
        """Hold the right to write beside the ledger, which itself is not looked at."""

    def kept(self, what: Kept) -> bytes:
        """What was kept; empty if there is nothing."""

    def keep(self, what: Kept, data: bytes) -> None:
        """Keep something for the next process, where that is possible."""

    def close(self) -> None:
        """Let go of everything that is held."""


def open_journal(config: StoreConfig, surroundings: Surroundings, pause: Callable[[float], None]) -> Journal:
    """The ledger that a configuration names; it need not exist yet.

    Args:
        config: the account.
        surroundings: what it may know of the world.
        pause: waits some seconds between two tries.

    Raises:
        InvalidInput: E_URL_SCHEME, E_STORE_LOCATION, E_ENV.
        Unavailable: E_STORE_DRIVER, the client of buckets is not installed.
    """
    location = str(config.settings["ledger"])
    scheme, _, path = location.partition(":")
    if scheme == "file" and path:
        return DirectoryJournal(config, surroundings, path)
    if scheme == "s3":
        from reconciler.stores.atproto.journal_s3 import BucketJournal  # noqa: PLC0415 - an extra

        return BucketJournal(config, surroundings, pause)
    raise InvalidInput.of(
        "E_URL_SCHEME",
        "the ledger of an account is kept in file:PATH or s3://BUCKET/PREFIX",
        path=config.place.path,
        line=config.place.line,
        fix="correct it",
    )


def _sweep(root: int) -> None:
    """Remove what killed processes left half written; the caller holds the lock.

    Who keeps a reading holds none, and goes without if this takes its file away.
    """
    with directory(root, TMP) as tmp:
        for name in os.listdir(tmp):
            with suppress(FileNotFoundError):
                remove_tree(tmp, name)


class DirectoryJournal:
    """A ledger in a directory, with a lock beside it."""

    serialises_writers = True

    def __init__(self, config: StoreConfig, surroundings: Surroundings, path: str) -> None:
        self._config = config
        self._surroundings = surroundings
        self._path = path
        self._root: int | None = None

    def head(self) -> str:
        """The name of the newest document, or nothing."""
        root = self._open()
        return "" if root is None else self._ledger(root).head()

    def records(self) -> Iterator[Record]:
        """All records, oldest first, each link checked.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        root = self._open()
        if root is not None:
            yield from self._ledger(root).records()

    def open_record(self) -> Record | None:
        """The run that a killed process left unfinished."""
        root = self._open()
        return None if root is None else self._ledger(root).end().open_record

    def litter(self) -> bool:
        """Whether something half written is left; cheap, and takes no lock."""
        root = self._open()
        if root is None:
            return False
        with store_faults(self._path):
            try:
                with directory(root, TMP) as tmp:
                    return bool(os.listdir(tmp))
            except FileNotFoundError:
                return False

    @contextmanager
    def held(self, command: str) -> Iterator[Held]:
        """Hold the lock.

        Raises:
            Conflict: E_LOCKED.
            Unavailable: E_STORE_FS, E_STORE_LINK, E_IO.
        """
        with self._locked(command) as (root, still_ours):
            ledger = self._ledger(root)
            if not ledger.head():
                probe(root, self._path)
            ledger.settle()
            yield Held(ledger, ledger.end(), still_ours)

    @contextmanager
    def beside(self, command: str) -> Iterator[DirectoryBeside]:
        """Hold the lock, and look at no record.

        Raises:
            Conflict: E_LOCKED.
            Unavailable: E_STORE_FS, E_STORE_LINK, E_IO.
        """
        with self._locked(command) as (root, still_ours):
            yield DirectoryBeside(root, self._path, still_ours)

    @contextmanager
    def _locked(self, command: str) -> Iterator[tuple[int, Callable[[], None]]]:
        root = self._open()
        if root is None:
            root = self._root = create_root(self._surroundings.root, self._path, self._path)
        prepare_own(root, self._path)
        where = f"{self._path}/{OWN}/lock"
        timeout = self._surroundings.lock_timeout
        with (
            store_faults(self._path),
            exclusive(root, where=where, timeout=timeout, command=command) as inode,
        ):
            _sweep(root)
            yield root, lambda: self._check_lock(root, inode)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file that stands beside the ledger, or of a document of it."""
        root = self._open()
        return None if root is None else read_beside(root, name, self._path)

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder beside the ledger, sorted."""
        root = self._open()
        return [] if root is None else names_beside(root, folder, self._path)

    def kept(self, what: Kept) -> bytes:
        """What was kept; empty if there is nothing."""
        root = self._open()
        if root is None:
            return b""
        with suppress(ReconcilerError):
            return read_file(root, f"{OWN}/{what}", _KEPT_LIMIT) or b""
        return b""

    def keep(self, what: Kept, data: bytes) -> None:
        """Keep something; who may not write here goes without."""
        root = self._open()
        if root is None or not data:
            return
        name = unique_name()
        with suppress(OSError), directory(root, OWN) as own, directory(root, TMP) as tmp:
            try:
                with os.fdopen(os.open(name, _CREATE, FILE_MODE, dir_fd=tmp), "wb") as file:
                    file.write(data)
                os.rename(name, what, src_dir_fd=tmp, dst_dir_fd=own)
            except OSError:
                with suppress(OSError):
                    os.unlink(name, dir_fd=tmp)

    def close(self) -> None:
        """Close the directory's descriptor."""
        if self._root is not None:
            os.close(self._root)
            self._root = None

    def _open(self) -> int | None:
        if self._root is None:
            self._root = open_root(self._surroundings.root, self._path, self._path)
        return self._root

    def _ledger(self, root: int) -> LedgerFiles:
        return LedgerFiles(root, store=self._config.name, identity=self._config.identity, where=self._path)

    def _check_lock(self, root: int, inode: int) -> None:
        with directory(root, OWN) as own:
            try:
                same = os.stat("lock", dir_fd=own, follow_symlinks=False).st_ino == inode
            except FileNotFoundError:
                same = False
        if not same:
            raise Conflict.of(
                "E_FENCED",
                "another run took over this store while we were paused",
                path=f"{self._path}/{LEDGER}",
                fix="plan again; never remove the lock of a store",
            )
