"""Collecting manifests on both engines: what stays, and every order of a collection and a registration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import pytest

from reconciler.gc import GcPlan, Holdings, Roots, judge
from reconciler.reference import ManifestHash
from reconciler.stores.registry.collect import collect, holdings
from reconciler.stores.registry.lookup import Settings
from reconciler.stores.registry.objects import Objects, StoredObject
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import DevMove
from tests.integration.registry.world import ETH, RUN, World, content, hash_of, linked

NO_ROOTS = Roots(frozenset(), frozenset())
WEEK = 604_800


def age(registry: Registry, *, seconds: int = WEEK) -> None:
    """Make every manifest older than it is, by the database's own clock."""
    with registry.settings.database.writing() as session:
        session.run("UPDATE manifests SET registered_at = registered_at - ?", (seconds,))


def planned(registry: Registry, roots: Roots = NO_ROOTS) -> GcPlan:
    found = holdings(registry)
    return GcPlan("registry", "registry", "c0", "sha256:policy", judge(found, roots), found.expired)


def keys(plan: GcPlan) -> list[str]:
    return [one.address.key for one in plan.candidates]


def collected(registry: Registry, plan: GcPlan) -> list[str]:
    return [result.step for result in collect(registry, plan.again(NO_ROOTS), RUN).results]


def test_only_old_orphans_are_candidates(registry: Registry) -> None:
    linked(registry, 1)
    registry.register_manifest(content(2), run=RUN)
    assert keys(planned(registry)) == []
    age(registry)
    registry.register_manifest(content(3), run=RUN)
    assert keys(planned(registry)) == [f"sha256:{hash_of(2)}"]


def test_a_manifest_that_is_linked_but_untagged_stays(registry: Registry) -> None:
    linked(registry, 1)
    age(registry)
    (verdict,) = judge(holdings(registry), NO_ROOTS)
    assert verdict.reasons == ("linked by 1 dataset",)


def test_registering_again_makes_a_manifest_young(registry: Registry) -> None:
    registry.register_manifest(content(1), run=RUN)
    age(registry)
    registry.register_manifest(content(1), run=RUN)
    assert keys(planned(registry)) == []


def test_a_pin_and_a_wish_keep_a_manifest(registry: Registry) -> None:
    registry.register_manifest(content(1), run=RUN)
    age(registry)
    digest = frozenset({f"sha256:{hash_of(1)}"})
    assert keys(planned(registry, Roots(digest, frozenset()))) == []
    assert keys(planned(registry, Roots(frozenset(), digest))) == []


def test_row_and_object_go_and_the_ledger_says_so(registry: Registry) -> None:
    registry.register_manifest(content(1), run=RUN)
    age(registry)
    assert collected(registry, planned(registry)) == [f"collect sha256:{hash_of(1)}"]
    assert not registry.has_manifest(hash_of(1))
    assert not registry.settings.objects.exists(hash_of(1))
    assert registry.list_tombstones() == ()
    (_, record) = registry.history()
    assert [(c.address.key, c.after) for c in record.applied_changes()] == [(f"sha256:{hash_of(1)}", None)]


def test_a_second_collection_writes_nothing(registry: Registry) -> None:
    registry.register_manifest(content(1), run=RUN)
    age(registry)
    plan = planned(registry)
    collected(registry, plan)
    revision = registry.revision()
    assert collected(registry, plan) == []
    assert registry.revision() == revision


def test_an_interrupted_deletion_is_finished_by_the_next_collection(registry: Registry) -> None:
    registry.register_manifest(content(1), run=RUN)
    age(registry)
    registry.collect_manifests([hash_of(1)], grace=WEEK, run=RUN)
    assert registry.settings.objects.exists(hash_of(1))
    plan = planned(registry)
    assert plan.expired == (f"sha256:{hash_of(1)}",)
    assert collect(registry, plan.again(NO_ROOTS), RUN).expired == (f"sha256:{hash_of(1)}",)
    assert not registry.settings.objects.exists(hash_of(1))


def test_nothing_is_collected_where_nothing_is(world: World) -> None:
    assert holdings(world.open()) == Holdings(0, ())


class Between:
    """The objects of one registry, which let somebody else act after a put and before its row."""

    def __init__(self, objects: Objects, act: Callable[[], None]) -> None:
        self._objects = objects
        self._act = act
        self.where = objects.where

    def put(self, manifest: ManifestHash, data: bytes) -> None:
        self._objects.put(manifest, data)
        act, self._act = self._act, lambda: None  # once: not when the object is put again under the lock
        act()

    def get(self, manifest: ManifestHash) -> bytes | None:
        return self._objects.get(manifest)

    def exists(self, manifest: ManifestHash) -> bool:
        return self._objects.exists(manifest)

    def delete(self, manifest: ManifestHash) -> None:
        self._objects.delete(manifest)

    def list(self) -> Iterator[StoredObject]:
        return self._objects.list()

    def hashes(self) -> frozenset[ManifestHash]:
        return self._objects.hashes()

    def stored_at(self, manifest: ManifestHash) -> int | None:
        return self._objects.stored_at(manifest)

    def now(self) -> int:
        return self._objects.now()

    def litter(self, grace: int) -> tuple[str, ...]:
        return self._objects.litter(grace)

    def remove_litter(self, name: str) -> None:
        self._objects.remove_litter(name)

    def close(self) -> None:
        self._objects.close()


class Collection:
    """The steps of a collection, one at a time: mark; lock, count and delete the row; delete the object."""

    def __init__(self, registry: Registry, check: Callable[[], None]) -> None:
        self._registry = registry
        self._check = check
        self._plan: GcPlan | None = None
        self._steps = iter((self._mark, self._sweep, self._delete))

    def step(self, count: int) -> None:
        for _ in range(count):
            next(self._steps)()
            self._check()

    def _mark(self) -> None:
        self._plan = planned(self._registry)

    def _sweep(self) -> None:
        assert self._plan is not None
        # As marked, however long ago: what protects a manifest is the second look under the lock.
        marked = [ManifestHash(key.removeprefix("sha256:")) for key in keys(self._plan)]
        self._registry.collect_manifests(marked, grace=WEEK, run=RUN)

    def _delete(self) -> None:
        for tombstone in self._registry.list_tombstones():
            self._registry.delete_buried(tombstone.hash)


def orders() -> list[tuple[int, int, int, int]]:
    """How many steps of the collection (of three) come before put, before row, before link, and after."""
    found = []
    for places in combinations(range(6), 3):
        counts = [0, 0, 0, 0]
        registered = 0
        for place in range(6):
            if place in places:
                counts[registered] += 1
            else:
                registered += 1
        found.append((counts[0], counts[1], counts[2], counts[3]))
    return found


@pytest.mark.parametrize("order", orders(), ids=str)
@pytest.mark.parametrize("known", ["old-orphan", "unknown"])
def test_what_was_registered_and_linked_is_there_in_every_order(
    world: World, known: str, order: tuple[int, int, int, int]
) -> None:
    """{put, insert, link} against {mark, lock + count + delete-row, delete-object}: each pair of orders.

    Lock, count and delete-row are one transaction under the writer lock, so nothing comes between them.
    """
    registry, manifest = world.open(), hash_of(1)
    registry.migrate()
    if known == "old-orphan":
        registry.register_manifest(content(1), run=RUN)
        age(registry)

    def consistent() -> None:
        if registry.has_manifest(manifest):
            assert registry.get_manifest(manifest) == content(1)

    collection = Collection(registry, consistent)
    settings = registry.settings
    publisher = Registry(
        Settings(
            name=settings.name,
            identity=settings.identity,
            database=world.database(20.0),
            objects=Between(world.objects(), lambda: collection.step(order[1])),
            latest=settings.latest,
            create=True,
        )
    )
    world.opened.append(publisher)

    collection.step(order[0])
    publisher.register_manifest(content(1), run=RUN)
    consistent()
    collection.step(order[2])
    publisher.link_manifest(ETH, manifest, run=RUN, dev=DevMove.STAYS)
    collection.step(order[3])

    assert registry.get_manifest(manifest) == content(1)
    assert registry.list_links(ETH) == (manifest,)
    assert registry.list_tombstones() == ()
