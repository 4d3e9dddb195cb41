"""A small world for the store's tests: build roots, a wish, and one honest reconcile."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from reconciler.canonical import sha256_hex
from reconciler.diff import Difference, difference
from reconciler.errors import ReconcilerError
from reconciler.ledger import Run, inventory
from reconciler.model import (
    NOTHING,
    Address,
    Change,
    DatasetId,
    Declaration,
    Digest,
    Place,
    Selection,
    Slots,
    Step,
    StepResult,
    StoreConfig,
)
from reconciler.stores.port import Surroundings
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.store import SHAPE, ServingStore, open_store
from reconciler.testing.samples import minimal_dataset

HUMAN = "homo_sapiens/GRCh38"
H110 = DatasetId("110", "homo_sapiens", "GRCh38")
H111 = DatasetId("111", "homo_sapiens", "GRCh38")
M110 = DatasetId("110", "mus_musculus", "GRCm39")

RUN = Run(by="git", time=1714592400, tool="test", command="apply")
NOWHERE = Place("test.yaml", 1, 1)
LATEST = Address("serving", "alias", "latest")


def dataset(wanted: DatasetId) -> Address:
    return Address("serving", "dataset", str(wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a test wants of the store; a source is always offered."""

    listed: tuple[DatasetId, ...] = ()
    removed: tuple[DatasetId, ...] = ()
    latest: DatasetId | None = None
    no_latest: tuple[str, ...] = ()
    lines: Mapping[str, DatasetId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    """A directory with a store in `store` and build roots in `builds`."""

    base: Path
    digests: Mapping[DatasetId, Digest] = field(default_factory=dict)
    lock_timeout: float = 5.0

    @property
    def root(self) -> Path:
        return self.base / "store"

    def building(self, *wanted: DatasetId, seed: int = 0) -> World:
        made = {one: minimal_dataset(self.base / "builds", one, seed=seed) for one in wanted}
        return replace(self, digests={**self.digests, **made})

    def moved_to(self, base: Path) -> World:
        return replace(self, base=base)

    def directory(self, wanted: DatasetId) -> Path:
        return self.root / dataset_path(wanted)

    def open(self) -> ServingStore:
        return open_store(
            StoreConfig(
                name="serving", kind="serving", settings={"root": "file:store", "create": True}, place=NOWHERE
            ),
            Surroundings(root=self.base, lock_timeout=self.lock_timeout),
        )

    def declarations(self, wish: Wish) -> list[Declaration]:
        made = [
            Declaration(
                dataset(one), {"artifact": self.digests[one], "entry": "listed"}, NOWHERE, source="builds"
            )
            for one in wish.listed
        ]
        made += [Declaration(dataset(one), NOTHING, NOWHERE, reason="superseded") for one in wish.removed]
        named = {"latest": wish.latest} if wish.latest else {}
        made += [
            Declaration(
                Address("serving", "alias", key), {"dataset": str(one), "binding": "catalog"}, NOWHERE
            )
            for key, one in {**wish.lines, **named}.items()
        ]
        made += [Declaration(Address("serving", "alias", key), NOTHING, NOWHERE) for key in wish.no_latest]
        return sorted(made, key=lambda declaration: declaration.address)

    def difference(self, store: ServingStore, wish: Wish) -> Difference:
        return difference(
            self.declarations(wish),
            store.snapshot(Selection()),
            inventory(store.history()),
            shape=SHAPE,
            everything_ours=False,
        )

    def steps(self, wish: Wish) -> list[Step]:
        store = self.open()
        try:
            found = self.difference(store, wish)
        finally:
            store.close()
        return SHAPE.arrange("serving", found.changes, found.sources)

    def reconcile(self, wish: Wish) -> tuple[StepResult, ...]:
        """One command: finish what was left open, compare, commit."""
        store = self.open()
        try:
            store.recover()
            found = self.difference(store, wish)
            steps = SHAPE.arrange("serving", found.changes, found.sources)
            return store.commit(steps, replace(RUN, adopted=tuple(found.adopted)))
        finally:
            store.close()

    def commit(self, *steps: Step, run: Run = RUN) -> tuple[StepResult, ...]:
        store = self.open()
        try:
            return store.commit(steps, run)
        finally:
            store.close()

    def live(self) -> dict[str, Slots]:
        store = self.open()
        try:
            return {str(seen.address).partition("/")[2]: seen.slots for seen in store.snapshot(Selection())}
        finally:
            store.close()


def step(identity: str, unit: str, *changes: Change) -> Step:
    return Step(id=identity, store="serving", unit=unit, changes=changes)


def promote(*wanted: DatasetId) -> Step:
    return step("promote", "catalog", *(Change(dataset(one), "entry", None, "listed") for one in wanted))


def roll_back(*wanted: DatasetId) -> Step:
    return step("roll back", "catalog", *(Change(dataset(one), "entry", "listed", None) for one in wanted))


def set_latest(wanted: DatasetId) -> Step:
    return step(
        "set alias latest",
        "alias latest",
        Change(LATEST, "dataset", None, str(wanted)),
        Change(LATEST, "binding", None, "catalog"),
    )


def tree(root: Path, *, without: Sequence[str] = ()) -> dict[str, bytes]:
    """Every file below a directory, with its permissions; the lock's bytes are its holder's."""
    found: dict[str, bytes] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            relative = str(path.relative_to(root))
            if not relative.startswith(tuple(without)):
                mode = stat.S_IMODE(path.lstat().st_mode)
                found[f"{relative} {mode:o}"] = path.read_bytes()
    return found


def litter(root: Path) -> list[str]:
    """What no finished run may leave behind."""
    own = root / ".reconciler"
    return [str(path) for area in ("tmp", "staging", "trash") for path in (own / area).glob("*")]


def assert_readable(root: Path) -> None:
    """What a reader relies on at every instant: whole files, entries with artifacts, alias among them."""
    listed: list[str] = []
    if (root / "catalog.json").exists():
        catalog = json.loads((root / "catalog.json").read_bytes())
        for entry in catalog["datasets"]:
            listed.append("/".join(entry["dataset"][part] for part in ("release", "species", "assembly")))
            manifest = json.loads((root / entry["manifest_path"]).read_bytes())
            artifact = (root / entry["sqlite_path"]).read_bytes()
            assert sha256_hex(artifact) == manifest["checksums"]["sqlite_sha256"]
    assert listed == sorted(set(listed))
    if (root / "latest.alias.json").exists():
        named = json.loads((root / "latest.alias.json").read_bytes())["dataset"]
        assert "/".join(named[part] for part in ("release", "species", "assembly")) in listed


def outcomes(results: Iterable[StepResult]) -> list[str]:
    return [result.outcome.value for result in results]


def publish(world: World, *, source: str = "builds", identity: str = "publish") -> Step:
    change = Change(dataset(H110), "artifact", None, world.digests[H110])
    return replace(step(identity, f"dataset {H110}", change), sources={dataset(H110): source})


def refused(world: World, work: Callable[[], object], error: type[ReconcilerError], code: str) -> str:
    """Run something that must be refused without a trace; the refusal's text."""
    before = tree(world.base, without=("store/.reconciler/lock",))
    with pytest.raises(error) as caught:
        work()
    assert caught.value.code == code
    assert tree(world.base, without=("store/.reconciler/lock",)) == before
    return str(caught.value)
