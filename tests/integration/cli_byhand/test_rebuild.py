"""catalog rebuild: a broken head goes into quarantine and comes back from git, ledger and artifacts."""

from __future__ import annotations

import shutil

import pytest

from tests.integration.cli_byhand.conftest import H110, H111, M110, M111, STORE, Desk

REBUILD = ("catalog", "rebuild", *STORE)


@pytest.fixture
def stocked(desk: Desk) -> Desk:
    """Human 110 and 111 are listed, and latest is 111."""
    desk.promote(H110, H111)
    desk.latest(H111)
    return desk


@pytest.mark.parametrize("data", [b"", b'{"datasets":[', b"[]"])
def test_a_broken_catalog_comes_back_byte_for_byte_and_is_kept_in_quarantine(
    stocked: Desk, data: bytes
) -> None:
    live = stocked.root / "store/catalog.json"
    good = live.read_bytes()
    live.write_bytes(data)
    ran = stocked.ok(*REBUILD)
    assert ran.out == "  quarantined   catalog.json\nrebuilt: 2 datasets in the catalog\n"
    assert live.read_bytes() == good
    kept = [path.read_bytes() for path in (stocked.root / "store/.reconciler/quarantine").iterdir()]
    assert kept == [data]
    assert stocked.ok("catalog", "resolve", *STORE).out == f"{H111}\n"


def test_a_catalog_that_is_gone_comes_back(stocked: Desk) -> None:
    live = stocked.root / "store/catalog.json"
    good = live.read_bytes()
    live.unlink()
    assert stocked.ok(*REBUILD, "--output", "json").document == {
        "schema": "reconciler/catalog-rebuild/v1",
        "store": "serving",
        "status": "done",
        "listed": [H110, H111],
        "left_out": [],
        "quarantined": [],
    }
    assert live.read_bytes() == good


def test_a_broken_alias_comes_back_from_the_ledger(stocked: Desk) -> None:
    alias = stocked.root / "store/latest.alias.json"
    alias.write_bytes(b"{")
    ran = stocked.ok(*REBUILD)
    assert ran.out == "  quarantined   latest.alias.json\nrebuilt: 2 datasets in the catalog\n"
    assert stocked.named() == H111
    stocked.ok("catalog", "resolve", *STORE)


def test_a_rebuild_of_what_is_whole_writes_nothing(stocked: Desk) -> None:
    ran = stocked.unchanged(*REBUILD)
    assert ran.out == "nothing to do: nothing is broken, 2 datasets in the catalog\n"


def test_a_second_rebuild_writes_nothing(stocked: Desk) -> None:
    (stocked.root / "store/catalog.json").write_bytes(b"")
    stocked.ok(*REBUILD)
    stocked.unchanged(*REBUILD)


def test_a_dry_run_says_what_is_broken_and_what_would_be_listed(stocked: Desk) -> None:
    (stocked.root / "store/catalog.json").unlink()
    ran = stocked.unchanged(*REBUILD, "--dry-run")
    first, *rest = ran.out.splitlines()
    assert first.startswith("  broken        E_CATALOG_MISSING store/catalog.json: ")
    assert rest == [f"  + list        {H110}", f"  + list        {H111}", "dry run: nothing was written"]


def test_what_does_not_hold_is_left_out_and_said(stocked: Desk) -> None:
    database = stocked.directory(H110) / "derived/gene_summary.sqlite"
    database.write_bytes(database.read_bytes()[:-1] + b"x")
    (stocked.root / "store/catalog.json").write_bytes(b"")
    ran = stocked.run(*REBUILD)
    assert (ran.code, ran.error, stocked.listed()) == (8, "E_ARTIFACT_HASH", [H111])
    assert ran.out.endswith("rebuilt: 1 dataset in the catalog\n")


def test_a_rolled_back_dataset_does_not_come_back(stocked: Desk) -> None:
    stocked.ok("catalog", "rollback", H110, *STORE)
    (stocked.root / "store/catalog.json").write_bytes(b"")
    stocked.ok(*REBUILD)
    assert stocked.listed() == [H111]


def test_git_says_what_to_list_where_no_ledger_does(desk: Desk) -> None:
    desk.repository()
    named = ("--store", "serving")
    desk.ok("dataset", "publish", M110, "--source-root", "examples/builds/mouse-110", *named)
    desk.ok("apply", "--yes")
    store = desk.root / "var/serving"
    good = (store / "catalog.json").read_bytes()
    shutil.rmtree(store / ".reconciler")
    (store / "catalog.json").write_bytes(b"{")
    (store / "latest.alias.json").write_bytes(b"{")
    ran = desk.ok("catalog", "rebuild", *named, "--output", "json")
    assert ran.document["listed"] == [H110, M110, H111, M111]
    assert ran.document["quarantined"] == ["catalog.json", "latest.alias.json"]
    assert (store / "catalog.json").read_bytes() == good
    assert desk.ok("catalog", "resolve", *named).out == f"{H111}\n"
    desk.ok("drift", "--detailed-exitcode")


def test_the_record_says_that_it_was_a_rebuild(stocked: Desk) -> None:
    (stocked.root / "store/catalog.json").unlink()
    stocked.ok(*REBUILD, "--reason", "disk failure")
    ledger = stocked.root / "store/.reconciler/ledger"
    intent = max(ledger.glob("*.intent.json")).read_text()
    assert '"command":"reconciler catalog rebuild --store-root store"' in intent
    assert '"reason":"disk failure"' in intent
