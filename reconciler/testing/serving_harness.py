"""The contract suite's hands on a serving store in a directory: builds, damage, a held lock, EIO anywhere."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from reconciler import failpoints
from reconciler.model import DatasetId, Place, StoreConfig
from reconciler.stores.port import Surroundings
from reconciler.stores.serving.contents import ARTIFACT, dataset_path
from reconciler.stores.serving.store import ServingStore, open_store
from reconciler.testing.harness import Build
from reconciler.testing.samples import minimal_dataset

_NUMBERS = count(1)
_OWN = ".reconciler"


class FailpointFault:
    """A fault at one failpoint."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def fired(self) -> bool:
        """Whether the failpoint was reached."""
        return self._name in failpoints.hits()


class ServingHarness:
    """One serving store under a directory of its own, with a place for builds beside it."""

    places = tuple(sorted(failpoints.NAMES))

    def __init__(self, base: Path) -> None:
        self._all = base
        self._base = base / str(next(_NUMBERS))
        self._base.mkdir(parents=True)
        self._digests: dict[str, Build] = {}

    @property
    def root(self) -> Path:
        """The store's directory."""
        return self._base / "store"

    def fresh(self) -> ServingHarness:
        """Another store, empty."""
        return ServingHarness(self._all)

    def replacement(self) -> ServingHarness:
        """Another one, empty."""
        return self.fresh()

    def open(self, *, create: bool = True, lock_timeout: float = 10.0) -> ServingStore:
        """A new handle."""
        settings = {"root": "file:store", "environment": "ci", "create": create}
        config = StoreConfig(name="m", kind="serving", settings=settings, place=Place("stores.yaml", 1, 1))
        return open_store(config, Surroundings(root=self._base, lock_timeout=lock_timeout))

    def build(self, dataset: str) -> Build:
        """Build the smallest dataset; a second call gives the first one's build."""
        if dataset not in self._digests:
            source = f"builds/{len(self._digests)}"
            digest = minimal_dataset(self._base / source, DatasetId.parse(dataset))
            self._digests[dataset] = Build(source, digest)
        return self._digests[dataset]

    def fingerprint(self) -> Mapping[str, bytes]:
        """Every file of the store but the ledger and what else is our own, without times."""
        files = sorted(path for path in self.root.rglob("*") if path.is_file()) if self.root.exists() else []
        names = {path.relative_to(self.root).as_posix(): path for path in files}
        kept = f"{_OWN}/aliases.json"
        return {
            name: path.read_bytes()
            for name, path in names.items()
            if not name.startswith(f"{_OWN}/") or name == kept
        }

    def damage(self, dataset: str) -> None:
        """Flip the last byte of a published artifact."""
        artifact = self.root / dataset_path(DatasetId.parse(dataset)) / ARTIFACT
        data = bytearray(artifact.read_bytes())
        data[-1] ^= 1
        artifact.write_bytes(bytes(data))

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """A directory stands where the catalog was."""
        catalog, aside = self.root / "catalog.json", self._base / "aside"
        catalog.rename(aside)
        catalog.mkdir()
        try:
            yield
        finally:
            catalog.rmdir()
            aside.rename(catalog)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock file, as another process would."""
        own = self.root / _OWN
        own.mkdir(parents=True, exist_ok=True)
        handle = os.open(own / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def failing(self, place: str) -> Iterator[FailpointFault]:
        """EIO at one failpoint."""
        failpoints.arm(f"{place}=EIO")
        try:
            yield FailpointFault(place)
        finally:
            failpoints.arm("")
