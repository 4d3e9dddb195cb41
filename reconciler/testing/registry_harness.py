"""The contract suite's hands on a registry in a SQLite file: manifests, damage, a held lock, EIO anywhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Self

from reconciler import failpoints
from reconciler.canonical import sha256_digest
from reconciler.errors import Unavailable
from reconciler.model import Place, StoreConfig
from reconciler.stores.port import Surroundings
from reconciler.stores.registry.store import RegistryStore, open_database, open_store
from reconciler.testing.harness import Build
from reconciler.testing.registry_terms import content_of
from reconciler.testing.serving_harness import FailpointFault

_NUMBERS = count(1)
ROWS = {
    "manifests": "SELECT hash, size FROM manifests",
    "dataset_manifests": "SELECT namespace || '/' || name || '@' || hash, created_at FROM dataset_manifests",
    "dataset_tags": (
        "SELECT namespace || '/' || name || '@' || version, hash, yanked, created_at, updated_at "
        "FROM dataset_tags"
    ),
}
"""What a registry holds besides its ledger; when a manifest was registered is the clock's business."""


class RegistryHarness:
    """One registry under a directory of its own."""

    places = tuple(sorted(failpoints.NAMES))

    def __init__(self, base: Path) -> None:
        self._all = base
        self._base = base / str(next(_NUMBERS))
        self._base.mkdir(parents=True)
        self._files: dict[str, bytes] = {}
        self._opened: list[RegistryStore] = []

    @property
    def location(self) -> str:
        """The database as a document names it."""
        return "sqlite:registry.db"

    @property
    def objects_location(self) -> str:
        """Where manifests' bytes are, as a document names it."""
        return "file:manifests"

    @property
    def reached(self) -> Mapping[str, object]:
        """Settings that say how the objects are reached."""
        return {}

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment's variables."""
        return {}

    @property
    def database(self) -> Path:
        """The file of the database."""
        return self._base / "registry.db"

    @property
    def objects(self) -> Path:
        """The directory of the manifests' bytes."""
        return self._base / "manifests"

    def fresh(self) -> Self:
        """Another registry, empty."""
        return self.following(type(self)(self._all))

    def replacement(self) -> Self:
        """Another one, empty."""
        return self.fresh()

    def following(self, other: Self) -> Self:
        """Let go of all connections so far (a handle connects again when it is used)."""
        self.close()
        other._opened = self._opened
        return other

    def close(self) -> None:
        """Close every handle that was opened."""
        for store in self._opened:
            store.close()
        self._opened.clear()

    def open(self, *, create: bool = True, lock_timeout: float = 10.0) -> RegistryStore:
        """A new handle."""
        settings: dict[str, object] = {
            "database": self.location,
            "objects": self.objects_location,
            "create": create,
        }
        settings |= self.reached
        config = StoreConfig(name="m", kind="registry", settings=settings, place=Place("stores.yaml", 1, 1))
        surroundings = Surroundings(
            root=self._base, lock_timeout=lock_timeout, blobs=self._blobs, variables=self.variables
        )
        self._opened.append(open_store(config, surroundings))
        return self._opened[-1]

    def _blobs(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for path in paths:
            if path not in self._files:
                raise Unavailable.of("E_SOURCE_MISSING", "the commit has no such file", path=path)
            yield path, self._files[path]

    def build(self, dataset: str) -> Build:
        """A file of the commit that holds the thing's manifest."""
        source = f"desired/{dataset}.json"
        self._files[source] = content_of(dataset)
        return Build(source, sha256_digest(self._files[source]))

    def fingerprint(self) -> Mapping[str, bytes]:
        """Every row but the ledger's, and every object."""
        found = {f"objects/{key}": content for key, content in self.kept().items()}
        for table, query in ROWS.items():
            for key, *values in self.rows(query):
                found[f"{table}/{key}"] = repr(values).encode()
        return found

    def kept(self) -> Mapping[str, bytes]:
        """Every object by its key."""
        if not self.objects.exists():
            return {}
        return {path.name: path.read_bytes() for path in self.objects.iterdir() if path.is_file()}

    def overwrite(self, key: str, content: bytes) -> None:
        """Put other bytes under a key, as no registry would."""
        path = self.objects / key
        path.chmod(0o644)
        path.write_bytes(content)

    def rows(self, query: str) -> Iterable[Sequence[object]]:
        """What the database answers to a query; nothing before it was made."""
        if not self.database.exists():
            return ()
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    def damage(self, dataset: str) -> None:
        """Flip the last byte of an object."""
        data = bytearray(content_of(dataset))
        data[-1] ^= 1
        self.overwrite(sha256_digest(content_of(dataset)).removeprefix("sha256:"), bytes(data))

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """A directory stands where the database was."""
        aside = self._base / "aside"
        self.database.rename(aside)
        self.database.mkdir()
        try:
            yield
        finally:
            self.database.rmdir()
            aside.rename(self.database)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Another writer's transaction is open."""
        surroundings = Surroundings(root=self._base)
        with closing(open_database(self.open().config, surroundings)) as database:
            database.migrate()
            with database.writing():
                yield

    @contextmanager
    def failing(self, place: str) -> Iterator[FailpointFault]:
        """EIO at one failpoint."""
        failpoints.arm(f"{place}=EIO")
        try:
            yield FailpointFault(place)
        finally:
            failpoints.arm("")
