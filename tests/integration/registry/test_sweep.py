"""Collecting what killed writers left: bytes without a row, tombstones that are done, temporary files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import Conflict
from reconciler.gc import GRACE
from reconciler.ledger import inventory
from reconciler.reference import ManifestHash
from reconciler.stores.registry.backend_sqlite import open_sqlite
from reconciler.stores.registry.collect import collect, holdings
from reconciler.stores.registry.objects import LocalObjects
from reconciler.stores.registry.perform import PUT_LIMIT
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.session import Database, Row, Session
from tests.integration.registry.processes import ended, resume, start, stopped
from tests.integration.registry.test_collect import NO_ROOTS, age, collected, planned
from tests.integration.registry.world import ETH, RUN, World, content, hash_of, linked
from tests.servers import s3

WEEK = 604_800


def objects_of(registry: Registry) -> Path:
    return Path(registry.settings.objects.where.removeprefix("file:"))


def put_long_ago(registry: Registry, number: int) -> None:
    """Bytes that were put a week ago, and whose row never followed."""
    registry.settings.objects.put(hash_of(number), content(number))
    path = objects_of(registry) / hash_of(number)
    long_ago = path.stat().st_mtime - WEEK - 1
    os.utime(path, (long_ago, long_ago))


def candidates(registry: Registry) -> list[str]:
    return [str(one.address) for one in planned(registry).candidates]


def test_only_old_bytes_without_a_row_are_candidates(registry: Registry) -> None:
    linked(registry, 1)
    age(registry)
    put_long_ago(registry, 2)
    registry.settings.objects.put(hash_of(3), content(3))
    assert candidates(registry) == [f"registry/object/sha256:{hash_of(2)}"]
    (stray,) = (one for one in holdings(registry).contents if one.address.key == f"sha256:{hash_of(2)}")
    assert stray.size == len(content(2))


def test_old_bytes_without_a_row_go_and_the_ledger_says_so(registry: Registry) -> None:
    linked(registry, 1)
    put_long_ago(registry, 2)
    plan = planned(registry)
    done = collect(registry, plan.again(NO_ROOTS), replace(RUN, by="git"))
    assert [result.step for result in done.results] == [f"collect object sha256:{hash_of(2)}"]
    assert done.expired == (f"sha256:{hash_of(2)}",)
    assert [found.hash for found in registry.settings.objects.list()] == [hash_of(1)]
    *_, record = registry.history()
    assert [(str(c.address), c.slot, c.after) for c in record.applied_changes()] == [
        (f"registry/object/sha256:{hash_of(2)}", "stored", None)
    ]
    assert not inventory(registry.history()).owns(record.steps[0].changes[0].address)
    assert candidates(registry) == []


def test_bytes_that_a_pin_or_a_wish_names_stay(registry: Registry) -> None:
    linked(registry, 1)
    put_long_ago(registry, 2)
    named = frozenset({f"sha256:{hash_of(2)}"})
    assert planned(registry, replace(NO_ROOTS, pinned=named)).candidates == ()
    assert planned(registry, replace(NO_ROOTS, declared=named)).candidates == ()


def test_bytes_that_were_registered_since_the_plan_stay(registry: Registry) -> None:
    linked(registry, 1)
    put_long_ago(registry, 2)
    plan = planned(registry)
    registry.register_manifest(content(2), run=RUN)
    assert collected(registry, plan) == []
    assert registry.get_manifest(hash_of(2)) == content(2)


@pytest.mark.parametrize("deleted", [False, True], ids=["buried", "buried and deleted"])
def test_a_registration_that_found_the_bytes_puts_them_again(world: World, deleted: bool) -> None:  # noqa: FBT001
    """It put nothing, because the bytes were there; they go before it has the lock."""
    with world.open() as registry:
        linked(registry, 1)
        put_long_ago(registry, 2)

    def register() -> None:
        with world.open() as registry:
            registry.register_manifest(content(2), run=RUN)

    child = start(register, armed="reg.begin=stop")
    stopped(child)
    with world.open() as registry:
        registry.bury_objects([hash_of(2)], before=registry.settings.objects.now() - GRACE, run=RUN)
        assert registry.delete_buried(hash_of(2)) if deleted else registry.list_tombstones()
        resume(child)
        assert ended(child) == 0
        assert registry.get_manifest(hash_of(2)) == content(2)
        assert registry.list_tombstones() == ()
        assert candidates(registry) == []


@pytest.mark.parametrize("moment", [1, 2], ids=["before it looks", "after it found the row"])
def test_a_manifest_that_is_collected_while_it_is_registered_again_is_registered(
    world: World, moment: int
) -> None:
    with world.open() as registry:
        registry.register_manifest(content(1), run=RUN)
        age(registry)

    def register() -> None:
        with world.open() as registry:
            registry.register_manifest(content(1), run=RUN)

    child = start(register, armed=f"reg.begin@{moment}=stop")
    stopped(child)
    with world.open() as registry:
        assert collected(registry, planned(registry)) == [f"collect sha256:{hash_of(1)}"]
        resume(child)
        assert ended(child) == 0
        assert registry.get_manifest(hash_of(1)) == content(1)


def test_a_killed_collection_is_finished_by_the_next_one(world: World) -> None:
    with world.open() as registry:
        linked(registry, 1)
        put_long_ago(registry, 2)

    def run() -> None:
        with world.open() as registry:
            collect(registry, planned(registry).again(NO_ROOTS), RUN)

    assert ended(start(run, armed="reg.object.delete=kill")) == -9
    with world.open() as registry:
        plan = planned(registry)
        assert (plan.candidates, plan.expired) == ((), (f"sha256:{hash_of(2)}",))
        assert collect(registry, plan.again(NO_ROOTS), RUN).expired == (f"sha256:{hash_of(2)}",)
        assert not registry.settings.objects.exists(hash_of(2))


def tombstones(registry: Registry) -> list[Row]:
    with registry.settings.database.reading() as session:
        return session.rows("SELECT hash FROM manifest_tombstones")


def test_a_tombstone_goes_a_grace_period_after_its_object(registry: Registry) -> None:
    registry.register_manifest(content(1), run=RUN)
    age(registry)
    collected(registry, planned(registry))
    assert tombstones(registry) == [(hash_of(1),)]
    assert planned(registry).empty
    with registry.settings.database.writing() as session:
        session.run("UPDATE manifest_tombstones SET deleted_at = deleted_at - ?", (WEEK + 1,))
    plan = planned(registry)
    assert plan.expired == (f"tombstone sha256:{hash_of(1)}",)
    assert collect(registry, plan.again(NO_ROOTS), RUN).expired == plan.expired
    assert tombstones(registry) == []
    assert planned(registry).empty


def test_a_temporary_file_of_a_killed_put_goes_when_it_is_old(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register() -> None:
        registry.register_manifest(content(2), run=RUN)

    linked(registry, 1)
    assert ended(start(register, armed="reg.object.fsync=kill")) == -9
    (left,) = (objects_of(registry) / ".reconciler/tmp").iterdir()
    assert planned(registry).expired == ()
    clock = registry.settings.objects.now()
    monkeypatch.setattr(
        "reconciler.stores.registry.objects.store_time", lambda _root, _where: clock + WEEK + 60
    )
    plan = planned(registry)
    assert plan.expired == (f"temporary file {left.name}",)
    assert collect(registry, plan.again(NO_ROOTS), RUN).expired == plan.expired
    assert not left.exists()


class Earlier:
    """A database whose readings lie in the past, as if a day went by before the next transaction."""

    def __init__(self, database: Database, seconds: int) -> None:
        self._database = database
        self._seconds = seconds
        self.where = database.where
        self.version, self.migrate = database.version, database.migrate
        self.revision, self.close = database.revision, database.close

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._database.reading() as session:
            now = session.now
            session.now = lambda: now() - self._seconds  # type: ignore[method-assign]
            yield session

    def writing(self) -> AbstractContextManager[Session]:
        return self._database.writing()


def test_a_registration_that_waited_longer_than_tombstones_may_be_gone_is_refused(world: World) -> None:
    with world.open() as registry:
        linked(registry, 1)
        settings = registry.settings
    late = Registry(replace(settings, database=Earlier(world.database(20.0), PUT_LIMIT + 10)))
    world.opened.append(late)
    with pytest.raises(Conflict) as caught:
        late.register_manifest(content(2), run=RUN)
    assert caught.value.code == "E_CONFLICT"
    assert not late.has_manifest(hash_of(2))


def test_the_clock_of_a_directory_that_is_not_there_is_zero(tmp_path: Path) -> None:
    objects = LocalObjects(str(tmp_path / "manifests"))
    assert (objects.now(), objects.litter(0)) == (0, ())
    assert not (tmp_path / "manifests").exists()


def test_bytes_without_a_row_in_a_bucket_age_by_the_buckets_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3.running() as endpoint:
        objects = s3.opened(endpoint, tmp_path.name)
        world = World(
            "sqlite",
            str(tmp_path / "registry.db"),
            lambda wait: open_sqlite(str(tmp_path / "registry.db"), timeout=wait),
            lambda: objects,
        )
        with world.open() as registry:
            linked(registry, 1)
            objects.put(hash_of(2), content(2))
            assert candidates(registry) == []
            clock: Callable[[], int] = objects.now
            monkeypatch.setattr(objects, "now", lambda: clock() + WEEK + 60)
            plan = planned(registry)
            assert [str(one.address) for one in plan.candidates] == [f"registry/object/sha256:{hash_of(2)}"]
            assert collected(registry, plan) == [f"collect object sha256:{hash_of(2)}"]
            assert [found.hash for found in objects.list()] == [ManifestHash(hash_of(1))]
            assert registry.list_links(ETH) == (hash_of(1),)


def test_a_store_without_objects_holds_no_strays(registry: Registry) -> None:
    registry.migrate()
    assert planned(registry).empty
    shutil.rmtree(objects_of(registry), ignore_errors=True)
    assert planned(registry).empty
