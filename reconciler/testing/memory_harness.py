"""The contract suite's hands on a memory store: another writer, damage, a held lock, a failing write."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from reconciler.canonical import sha256_digest
from reconciler.errors import Unavailable
from reconciler.model import Place, StoreConfig
from reconciler.stores.memory import MemoryStore, memory_state, open_store
from reconciler.stores.memory_contents import MemoryState
from reconciler.stores.port import Surroundings
from reconciler.testing.harness import Build

_NUMBERS = count(1)


class Killed(BaseException):
    """Stands for a killed process: nothing may catch it."""


@dataclass(slots=True)
class MemoryFault:
    """A fault of the n-th write."""

    write: int
    error: BaseException
    seen: int = 0

    @property
    def fired(self) -> bool:
        """Whether the write was reached."""
        return self.seen >= self.write

    def __call__(self, _name: str) -> None:
        """Told of a write just before it."""
        self.seen += 1
        if self.seen == self.write:
            raise self.error


class MemoryHarness:
    """One memory store of its own."""

    places = ("1st write", "2nd write", "3rd write", "4th write", "5th write", "6th write", "7th write")

    def __init__(self, store: str = "m") -> None:
        self._store = store
        self._name = f"harness-{next(_NUMBERS)}"

    @property
    def state(self) -> MemoryState:
        """What the store holds."""
        return memory_state(self._name)

    def fresh(self) -> MemoryHarness:
        """Another memory store."""
        return MemoryHarness(self._store)

    def replacement(self) -> MemoryHarness:
        """Another one, empty."""
        return self.fresh()

    def open(self, *, create: bool = True, lock_timeout: float = 10.0) -> MemoryStore:
        """A new handle."""
        settings = {"name": self._name, "create": create}
        place = Place("stores.yaml", 1, 1)
        config = StoreConfig(name=self._store, kind="memory", settings=settings, place=place)
        return open_store(config, Surroundings(root=Path(), lock_timeout=lock_timeout))

    def build(self, dataset: str) -> Build:
        """Make a build known under its id."""
        build = Build(f"builds/{dataset}", sha256_digest(dataset.encode()))
        self.state.sources[build.source] = build.digest
        return build

    def fingerprint(self) -> Mapping[str, bytes]:
        """The store's dump."""
        return self.state.dump()

    def damage(self, dataset: str) -> None:
        """Mark a dataset's bytes as broken."""
        self.state.damaged.add(dataset)

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """Every reading fails."""

        def refuse() -> None:
            raise Unavailable.of("E_IO", "the store could not be read")

        state = self.state
        before, state.before_read = state.before_read, refuse
        try:
            yield
        finally:
            state.before_read = before

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock."""
        with self.state.lock:
            yield

    @contextmanager
    def failing(self, place: str) -> Iterator[MemoryFault]:
        """One write fails with EIO."""
        write = self.places.index(place) + 1
        with self.broken(write, OSError(errno.EIO, "input/output error")) as fault:
            yield fault

    @contextmanager
    def killed(self, write: int) -> Iterator[MemoryFault]:
        """The process dies just before the n-th write."""
        with self.broken(write, Killed()) as fault:
            yield fault

    @contextmanager
    def broken(self, write: int, error: BaseException) -> Iterator[MemoryFault]:
        """The n-th write raises what is given."""
        state = self.state
        fault = MemoryFault(write, error)
        before, state.before_write = state.before_write, fault
        try:
            yield fault
        finally:
            state.before_write = before
