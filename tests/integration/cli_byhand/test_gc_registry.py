"""gc on a registry: the same engine, roots and refusals as on a serving store."""

from __future__ import annotations

import json
import sqlite3

import pytest

from reconciler.canonical import sha256_hex
from tests.integration.cli_byhand.conftest import Desk

STORE = ("--store", "registry")
ONE, TWO = b'{"kind":"manifest","number":1}', b'{"kind":"manifest","number":2}'
STORES = """\
apiVersion: reconciler/v1
kind: Stores
stores:
  serving: {kind: serving, root: file:var/serving, create: true}
  registry: {kind: registry, database: sqlite:var/registry.db, objects: file:var/manifests, create: true}
"""


@pytest.fixture
def registry(desk: Desk) -> Desk:
    """Two manifests, registered more than a week ago; the first is linked."""
    desk.repository()
    (desk.root / "desired/stores.yaml").write_text(STORES)
    (desk.root / "var").mkdir()
    desk.commit()
    for name, data in (("one", ONE), ("two", TWO)):
        (desk.root / f"var/{name}.json").write_bytes(data)
        desk.ok("registry", "manifest", "register", f"var/{name}.json", *STORE)
    desk.ok("registry", "link", "eth/main", sha256_hex(ONE), *STORE)
    with sqlite3.connect(desk.root / "var/registry.db") as database:
        database.execute("UPDATE manifests SET registered_at = registered_at - 604800")
    database.close()
    return desk


def test_an_old_orphan_goes_and_what_is_linked_stays(registry: Desk) -> None:
    plan = registry.unchanged("gc", "plan", *STORE, "--output", "json").document
    assert [one["address"] for one in plan["candidates"]] == [f"registry/manifest/sha256:{sha256_hex(TWO)}"]
    assert plan["summary"] == {"candidates": 1, "bytes": len(TWO), "kept": 1, "expired": 0}
    done = registry.ok("gc", "apply", *STORE, "--expect", plan["digest"], "--output", "json").document
    assert [step["outcome"] for step in done["steps"]] == ["applied"]
    assert done["expired"] == [f"sha256:{sha256_hex(TWO)}"]
    assert [path.name for path in (registry.root / "var/manifests").iterdir() if path.is_file()] == [
        sha256_hex(ONE)
    ]


def test_a_pinned_manifest_stays(registry: Desk) -> None:
    pins = {"dataset_ids": [], "artifact_hashes": [sha256_hex(TWO)]}
    (registry.root / "ops/inventory/gc-pins.json").write_text(json.dumps(pins))
    registry.commit()
    assert registry.ok("gc", "apply", *STORE, "--yes").out == "nothing to remove\n"
    assert (registry.root / "var/manifests" / sha256_hex(TWO)).is_file()


def test_a_manifest_that_a_commit_declares_stays(registry: Desk) -> None:
    folder = registry.root / "desired/datasets"
    folder.mkdir(exist_ok=True)
    (folder / "two.json").write_bytes(TWO)
    (folder / "eth.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Dataset\nstore: registry\nnamespace: eth\nname: main\n"
        "versions:\n  1.0.0: {manifest: two.json}\n"
    )
    registry.commit()
    assert registry.ok("gc", "apply", *STORE, "--yes").out == "nothing to remove\n"


def test_missing_pins_stop_it(registry: Desk) -> None:
    (registry.root / "ops/inventory/gc-pins.json").unlink()
    registry.commit()
    registry.refused("gc", "apply", *STORE, "--yes", code=9, error="E_GC_ROOTS")


def test_a_store_that_does_not_exist_yet_holds_nothing(desk: Desk) -> None:
    desk.repository()
    (desk.root / "desired/stores.yaml").write_text(STORES)
    desk.commit()
    for store in ("serving", "registry"):
        desk.unchanged("gc", "apply", "--store", store, "--yes")
