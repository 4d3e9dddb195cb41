"""What publishing does with a source, with what stands in its place, and what it refuses."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.canonical import canonical
from reconciler.errors import Conflict, Corrupt, Denied, InvalidInput, Unavailable
from reconciler.model import Change, Selection, Step, StoreConfig
from reconciler.stores.port import Surroundings
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.pack import write_pack
from reconciler.stores.serving.store import open_store
from tests.integration.serving_store.world import (
    H110,
    H111,
    NOWHERE,
    RUN,
    Wish,
    World,
    dataset,
    litter,
    outcomes,
    publish,
    refused,
    step,
    tree,
)


def test_a_source_that_is_missing_refuses_before_the_store_exists(world: World) -> None:
    refused(world, lambda: world.commit(publish(world, source="gone")), Unavailable, "E_SOURCE_MISSING")
    assert not world.root.exists()


def test_a_publish_without_a_source_says_so(world: World) -> None:
    bare = replace(publish(world), sources={})
    refused(world, lambda: world.commit(bare), Unavailable, "E_SOURCE_MISSING")


def test_a_source_with_another_manifest_is_refused(world: World) -> None:
    wrong = replace(publish(world), changes=(Change(dataset(H110), "artifact", None, "sha256:" + "0" * 64),))
    refused(world, lambda: world.commit(wrong), InvalidInput, "E_SOURCE_MANIFEST")


def test_a_store_is_not_a_source(listed: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other", listed.digests)
    other.base.mkdir()
    shutil.copytree(listed.root, other.base / "builds")
    refused(other, lambda: other.commit(publish(other)), InvalidInput, "E_SOURCE_IS_STORE")


def test_a_build_root_is_not_a_store(world: World) -> None:
    shutil.copytree(world.base / "builds", world.root)
    refused(world, world.open, InvalidInput, "E_STORE_IS_BUILD_ROOT")


def test_a_manifest_of_another_dataset_is_refused(world: World) -> None:
    place = world.base / "builds" / dataset_path(H110)
    shutil.rmtree(place)
    shutil.copytree(world.base / "builds" / dataset_path(H111), place)
    wrong = replace(publish(world), changes=(Change(dataset(H110), "artifact", None, world.digests[H111]),))
    with pytest.raises(InvalidInput) as caught:
        world.commit(wrong)
    assert caught.value.code == "E_IDENTITY"
    assert litter(world.root) == []
    assert not world.directory(H110).exists()


def test_a_publish_gate_denies_and_leaves_nothing(world: World) -> None:
    gates = {"publish_gates": {"min_gene_count": 2, "max_missing_parents": 0}, "schema_version": 1}
    config = StoreConfig(
        name="serving", kind="serving", settings={"root": "store", "create": True}, place=NOWHERE
    )
    governance = {"ops/datasets/publish-gates.json": canonical(gates)}
    store = open_store(config, Surroundings(root=world.base, governance=governance))
    with pytest.raises(Denied) as caught:
        store.commit((publish(world),), RUN)
    assert caught.value.code == "E_GATE"
    assert litter(world.root) == []
    assert not world.directory(H110).exists()


def test_published_content_is_never_replaced(listed: World) -> None:
    shutil.rmtree(listed.base / "builds")
    other = listed.building(H110, seed=7)
    change = Change(dataset(H110), "artifact", listed.digests[H110], other.digests[H110])
    wrong = replace(step("p", "dataset", change), sources={dataset(H110): "builds"})
    refused(listed, lambda: listed.commit(wrong), Denied, "E_IMMUTABLE")


def test_published_content_is_never_removed(listed: World) -> None:
    change = Change(dataset(H110), "artifact", listed.digests[H110], None)
    refused(listed, lambda: listed.commit(step("p", "dataset", change)), Denied, "E_ARTIFACT_KEPT")


def again(world: World) -> Step:
    digest = world.digests[H110]
    return replace(
        step("p", f"dataset {H110}", Change(dataset(H110), "artifact", digest, digest)),
        sources={dataset(H110): "builds"},
    )


def test_publishing_the_same_bytes_adds_the_missing_files_one_by_one(listed: World) -> None:
    whole = tree(listed.directory(H110))
    shutil.rmtree(listed.directory(H110) / "inputs")
    (listed.directory(H110) / "derived/qc.json").unlink()
    assert outcomes(listed.commit(again(listed))) == ["applied"]
    assert tree(listed.directory(H110)) == whole


def test_an_existing_file_with_other_bytes_is_immutable(listed: World) -> None:
    (listed.directory(H110) / "derived/qc.json").write_bytes(b"{}")
    (listed.directory(H110) / "derived/qc_report.json").unlink()
    text = refused(listed, lambda: listed.commit(again(listed)), Denied, "E_IMMUTABLE")
    assert "derived/qc.json" in text


def test_lifecycle_files_of_another_publisher_are_kept(listed: World) -> None:
    for name in ("lifecycle.state.json", "lifecycle.transitions.json"):
        path = listed.directory(H110) / "derived" / name
        path.write_bytes(path.read_bytes().replace(b'"reconciler"', b'"atlas-store"'))
    before = tree(listed.directory(H110))
    assert outcomes(listed.commit(again(listed))) == ["applied"]
    assert tree(listed.directory(H110)) == before


def test_a_half_published_dataset_with_other_bytes_is_left_for_a_person(world: World) -> None:
    world.reconcile(Wish(listed=(H111,)))
    derived = world.directory(H110) / "derived"
    derived.mkdir(parents=True)
    (derived / "manifest.json").write_bytes(b"{}")
    store = world.open()
    seen = {str(one.address): one for one in store.snapshot(Selection())}
    assert [p.code for p in seen[str(dataset(H110))].problems] == ["E_HALF_PUBLISHED"]
    assert "artifact" not in seen[str(dataset(H110))].slots
    refused(world, lambda: world.commit(publish(world)), Corrupt, "E_HALF_PUBLISHED")


def test_a_stale_lock_of_the_reference_is_passed_over_and_put_aside(world: World) -> None:
    world.reconcile(Wish(listed=(H111,)))
    lock = world.directory(H110) / "derived/.publish.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (1, 1))
    assert outcomes(world.commit(publish(world))) == ["applied"]
    assert not lock.exists()
    aside = list((world.root / ".reconciler/quarantine").iterdir())
    assert [path.name.rpartition("-")[2] for path in aside] == [".publish.lock"]


def test_a_fresh_lock_of_the_reference_is_waited_for(world: World) -> None:
    world.reconcile(Wish(listed=(H111,)))
    lock = world.directory(H110) / "derived/.publish.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    hurried = replace(world, lock_timeout=0.0)
    refused(hurried, lambda: hurried.commit(publish(world)), Conflict, "E_LOCKED")


def test_a_pack_is_a_source(world: World) -> None:
    place = os.open(world.base / "builds" / dataset_path(H110), os.O_RDONLY)
    with (world.base / "human.tar").open("wb") as pack:
        write_pack(place, pack, dataset=H110, where="builds")
    os.close(place)
    assert outcomes(world.commit(publish(world, source="human.tar"))) == ["applied"]
    by_pack = tree(world.directory(H110))
    shutil.rmtree(world.root)
    world.commit(publish(world))
    assert tree(world.directory(H110)) == by_pack
