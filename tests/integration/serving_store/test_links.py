"""A link planted anywhere in a store, a source or on the way to them leads nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError, Unavailable
from reconciler.model import StoreConfig
from reconciler.stores.port import Surroundings
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.store import open_store
from tests.integration.serving_store.world import H110, H111, NOWHERE, Wish, World

INSIDE = dataset_path(H110)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path).building(H110, H111)
    world.reconcile(Wish(listed=(H110,), latest=H110))
    return world


@pytest.mark.parametrize(
    "place",
    [
        "catalog.json",
        "latest.alias.json",
        "catalog.sha256",
        ".reconciler/lock",
        ".reconciler/aliases.json",
        f"{INSIDE}/derived/manifest.json",
        f"{INSIDE}/derived/manifest.lock",
        f"{INSIDE}/derived/gene_summary.sqlite",
    ],
)
def test_a_linked_file_is_refused_and_what_it_points_at_stays(world: World, place: str) -> None:
    path, outside = world.root / place, world.base / "outside"
    outside.write_bytes(path.read_bytes() if path.exists() else b"0" * 64)
    before = outside.read_bytes()
    path.unlink(missing_ok=True)
    path.symlink_to(outside)
    with pytest.raises(ReconcilerError) as caught:
        world.reconcile(Wish(listed=(H110, H111), latest=H111))
    assert isinstance(caught.value, Unavailable)
    assert caught.value.code == "E_STORE_LINK"
    assert outside.read_bytes() == before
    assert path.is_symlink()


@pytest.mark.parametrize(
    "place",
    [
        ".reconciler",
        ".reconciler/tmp",
        ".reconciler/staging",
        ".reconciler/ledger",
        "release=110",
        "release=110/species=homo_sapiens",
        INSIDE,
        f"{INSIDE}/derived",
    ],
)
def test_a_linked_directory_is_refused_and_what_it_points_at_stays(world: World, place: str) -> None:
    path, outside = world.root / place, world.base / "outside"
    path.rename(outside)
    before = sorted(outside.rglob("*"))
    path.symlink_to(outside, target_is_directory=True)
    with pytest.raises(Unavailable) as caught:
        world.reconcile(Wish(listed=(H110, H111), latest=H111))
    assert caught.value.code == "E_STORE_LINK"
    assert sorted(outside.rglob("*")) == before


def test_a_dangling_link_in_a_temporary_place_creates_nothing_outside(world: World) -> None:
    outside = world.base / "outside"
    (world.root / "catalog.json.tmp").symlink_to(outside)
    (world.root / ".reconciler/tmp/x").symlink_to(outside)
    world.reconcile(Wish(listed=(H110, H111), latest=H111))
    assert not outside.exists()
    assert (world.root / "catalog.json.tmp").is_symlink()
    assert list((world.root / ".reconciler/tmp").iterdir()) == []


@pytest.mark.parametrize("linked", ["store", "above"])
def test_a_root_behind_a_link_is_refused(world: World, linked: str) -> None:
    (world.base / "real").mkdir()
    world.root.rename(world.base / "real/store")
    if linked == "store":
        (world.base / "link").symlink_to(world.base / "real/store")
        root = "link"
    else:
        (world.base / "link").symlink_to(world.base / "real")
        root = "link/store"
    config = StoreConfig(
        name="serving", kind="serving", settings={"root": root, "create": True}, place=NOWHERE
    )
    with pytest.raises(Unavailable) as caught:
        open_store(config, Surroundings(root=world.base))
    assert caught.value.code == "E_STORE_LINK"


@pytest.mark.parametrize(
    "place", ["builds", f"builds/{dataset_path(H111)}", f"builds/{dataset_path(H111)}/derived"]
)
def test_a_source_behind_a_link_is_refused(world: World, place: str) -> None:
    path = world.base / place
    path.rename(world.base / "moved")
    path.symlink_to(world.base / "moved")
    with pytest.raises(ReconcilerError) as caught:
        world.reconcile(Wish(listed=(H110, H111), latest=H110))
    assert caught.value.code in {"E_SOURCE_LINK", "E_SOURCE_FILE", "E_STORE_LINK"}
    assert not world.directory(H111).exists()


@pytest.mark.parametrize("place", ["catalog.json", "latest.alias.json", ".reconciler/aliases.json"])
def test_what_cannot_be_read_is_an_error_and_never_absent(world: World, place: str) -> None:
    (world.root / place).unlink(missing_ok=True)
    (world.root / place).mkdir()
    with pytest.raises(Unavailable):
        world.live()


def test_a_fifo_in_place_of_a_head_does_not_block(world: World) -> None:
    (world.root / "latest.alias.json").unlink()
    os.mkfifo(world.root / "latest.alias.json")
    with pytest.raises(Unavailable):
        world.live()
