"""gc on a serving store: what stays, what goes to the trash, what stops it, what a kill leaves.

No test can make a file that changed a week ago: the kernel keeps that time. So some tests move the
store's clock instead, where it is read.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler import failpoints
from reconciler.cli import main
from reconciler.gc import Holdings
from reconciler.stores.serving import collect, durable
from reconciler.stores.serving.heads import Heads
from tests.integration.cli_byhand.conftest import BUILD_OF, H110, H111, M110, M111, MANIFEST_OF, Desk

STORE = ("--store", "serving")
PLAN = ("gc", "plan", *STORE)
APPLY = ("gc", "apply", *STORE)
WEEK = 604_800
NO_PINS: Mapping[str, object] = {"dataset_ids": [], "artifact_hashes": []}
KEY = "release=110&species=mus_musculus&assembly=GRCm39"


def write(desk: Desk, path: str, document: object) -> None:
    (desk.root / path).write_text(json.dumps(document))
    desk.commit()


def retain(desk: Desk, lines: int, versions: int, *, reviewed: bool) -> None:
    freeze = desk.root / "ops/datasets/freeze-policy.json"
    document = json.loads(freeze.read_text())
    document["retention"] = {
        "minimum_release_lines": lines,
        "preserve_latest_fixture_versions": versions,
        "require_deletion_review": reviewed,
    }
    write(desk, "ops/datasets/freeze-policy.json", document)


def wait(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    clock = durable.store_time
    monkeypatch.setattr(collect, "store_time", lambda root, where: clock(root, where) + seconds)


def kept(desk: Desk) -> dict[str, list[str]]:
    found = desk.ok(*PLAN, "--output", "json").document["kept"]
    return {one["address"].removeprefix("serving/dataset/"): one["reasons"] for one in found}


def candidates(desk: Desk) -> list[str]:
    found = desk.ok(*PLAN, "--output", "json").document["candidates"]
    return [one["address"].removeprefix("serving/dataset/") for one in found]


def digest(desk: Desk) -> str:
    return str(desk.ok(*PLAN, "--output", "json").document["digest"])


def standing(desk: Desk, dataset: str, below: str = "") -> bool:
    return desk.directory(dataset, f"var/serving{below}").is_dir()


@pytest.fixture
def store(desk: Desk) -> Desk:
    """Four datasets; human 110 is listed and mouse 111 is latest too; nothing is declared, nothing pinned."""
    desk.repository()
    for name in ("human.yaml", "mouse.yaml"):
        (desk.root / "desired/catalogs" / name).unlink()
    (desk.root / "ops/inventory/pins.yaml").write_text("schema_version: 1\ndataset_ids: []\n")
    write(desk, "ops/inventory/gc-pins.json", NO_PINS)
    rules = json.loads((desk.root / "ops/datasets/promotion-rules.json").read_text())
    write(desk, "ops/datasets/promotion-rules.json", {**rules, "rules": rules["rules"][-1:]})
    retain(desk, 0, 0, reviewed=False)
    for dataset, build in BUILD_OF.items():
        desk.ok("dataset", "publish", dataset, "--source-root", f"examples/builds/{build}", *STORE)
    for dataset in (H110, M111):
        desk.ok("catalog", "promote", dataset, *STORE)
    desk.ok("catalog", "latest-alias-update", M111, *STORE)
    return desk


@pytest.fixture
def aged(store: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The same, eight days later."""
    wait(monkeypatch, WEEK + 86_400)
    return store


def test_what_was_just_published_is_young(store: Desk) -> None:
    assert candidates(store) == []
    assert kept(store)[M110] == ["changed less than 7 days ago"]


def test_old_times_of_copied_files_do_not_make_a_dataset_old(store: Desk) -> None:
    directory = store.directory(M110, "var/serving")
    for path in (directory, *directory.rglob("*")):
        os.utime(path, (1, 1))
    assert candidates(store) == []


def test_the_catalog_and_the_alias_keep_what_they_name(aged: Desk) -> None:
    assert candidates(aged) == [M110, H111]
    assert kept(aged) == {
        H110: ["listed in the catalog"],
        M111: ["listed in the catalog", "alias latest"],
    }


def test_a_plan_writes_nothing(aged: Desk) -> None:
    aged.unchanged(*PLAN)
    aged.unchanged(*APPLY, "--dry-run")


@pytest.mark.parametrize("text", [M110, KEY])
def test_a_pin_keeps_in_either_form(aged: Desk, text: str) -> None:
    write(aged, "ops/inventory/gc-pins.json", {**NO_PINS, "dataset_ids": [text]})
    assert kept(aged)[M110] == ["pinned"]


def test_a_pinned_artifact_hash_keeps(aged: Desk) -> None:
    manifest = json.loads((aged.directory(M110, "var/serving") / "derived/manifest.json").read_bytes())
    write(aged, "ops/inventory/gc-pins.json", {**NO_PINS, "artifact_hashes": [manifest["artifact_hash"]]})
    assert kept(aged)[M110] == ["pinned"]


def test_the_inventory_pins_too(aged: Desk) -> None:
    pins = f'schema_version: 1\ndataset_ids: ["{M110}"]\n'
    (aged.root / "ops/inventory/pins.yaml").write_text(pins)
    aged.commit()
    assert kept(aged)[M110] == ["pinned"]


def test_what_git_declares_stays(aged: Desk) -> None:
    (aged.root / "desired/catalogs/mouse.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Catalog\nstore: serving\ndatasets:\n"
        f'  - {{id: {M110}, manifest: "{MANIFEST_OF[M110]}"}}\n'
    )
    aged.commit()
    assert kept(aged)[M110] == ["declared in git"]


def test_the_freeze_policy_retains_releases(aged: Desk) -> None:
    retain(aged, 1, 0, reviewed=False)
    assert candidates(aged) == [M110]
    retain(aged, 0, 2, reviewed=False)
    assert candidates(aged) == []


def exempt(desk: Desk, text: str) -> None:
    """Commit an exception with these members."""
    folder = desk.root / "desired/exceptions"
    folder.mkdir(exist_ok=True)
    head = "apiVersion: reconciler/v1\nkind: Exception\nowner: Ada\nreason: we look\nexpires: 2099-01-01\n"
    (folder / "one.yaml").write_text(head + text)
    desk.commit()


def policy(desk: Desk, text: str) -> None:
    (desk.root / "desired/policy.yaml").write_text(f"apiVersion: reconciler/v1\nkind: Policy\n{text}")
    desk.commit()


def test_what_an_exception_holds_stays(aged: Desk) -> None:
    exempt(aged, f"type: hold\nsubject: serving/dataset/{M110}\n")
    assert kept(aged)[M110] == ["hold by Ada: we look"]
    exempt(aged, "type: suspension\nsubject: serving\n")
    assert candidates(aged) == []


def test_what_the_policy_protects_stays(aged: Desk) -> None:
    policy(aged, f"protected: ['serving/dataset/{H111}']\n")
    assert kept(aged)[H111] == [f"protected by the policy (serving/dataset/{H111})"]


def test_what_the_ledger_protects_stays_whatever_became_of_the_catalog_and_of_git(aged: Desk) -> None:
    line = f"  - {{id: {M110}, manifest: '{MANIFEST_OF[M110]}', protected: true}}\n"
    document = aged.root / "desired/catalogs/mouse.yaml"
    document.write_text(f"apiVersion: reconciler/v1\nkind: Catalog\nstore: serving\ndatasets:\n{line}")
    (aged.root / "ops/inventory/pins.yaml").write_text(f'schema_version: 1\ndataset_ids: ["{M110}"]\n')
    aged.commit()
    aged.ok("apply", "--yes")
    document.unlink()
    write(aged, "ops/inventory/gc-pins.json", NO_PINS)
    (aged.root / "ops/inventory/pins.yaml").write_text("schema_version: 1\ndataset_ids: []\n")
    aged.commit()
    reasons = kept(aged)[M110]
    assert reasons[:2] == ["listed in the catalog", "protected by the ledger"]


def test_nothing_is_collected_while_a_window_is_closed(aged: Desk) -> None:
    window = "{name: year end, reason: nobody is there, starts: '2024-01-01T00:00', ends: '2025-01-01T00:00'}"
    policy(aged, f"freezes: [{window}]\n")
    aged.refused(*APPLY, "--yes", code=4, error="E_FREEZE")


def test_nothing_is_collected_for_an_older_commit_than_the_last_applied(aged: Desk) -> None:
    (aged.root / "desired/catalogs/mouse.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Catalog\nstore: serving\ndatasets:\n"
        f"  - {{id: {M110}, manifest: '{MANIFEST_OF[M110]}'}}\n"
    )
    aged.commit()
    aged.ok("apply", "--yes")
    ran = aged.refused(*APPLY, "--yes", "--ref", "HEAD~1", code=4, error="E_COMMIT_ORDER")
    assert "which was applied last" in ran.err
    aged.ok(*APPLY, "--yes")
    assert [standing(aged, one) for one in (M110, H111)] == [True, False]


def test_a_plan_that_was_reviewed_under_another_policy_is_refused(aged: Desk) -> None:
    aged.ok(*PLAN, "--out", "gc.json")
    policy(aged, "severities: {source-reachable: deny}\n")
    ran = aged.refused("gc", "apply", "gc.json", *STORE, code=5, error="E_PLAN_STALE")
    assert "another policy judges now" in ran.err


def test_a_publish_under_way_and_half_a_dataset_stay(aged: Desk) -> None:
    (aged.directory(M110, "var/serving") / "derived/.publish.lock").touch()
    (aged.directory(H111, "var/serving") / "derived/manifest.lock").unlink()
    assert kept(aged)[M110] == ["being published"]
    assert kept(aged)[H111] == [
        "cannot be judged: the dataset is published in part: derived/manifest.lock missing"
    ]


@pytest.mark.parametrize(
    "path",
    ["ops/inventory/pins.yaml", "ops/inventory/gc-pins.json", "ops/datasets/freeze-policy.json"],
)
def test_a_missing_file_of_roots_stops_it(aged: Desk, path: str) -> None:
    (aged.root / path).unlink()
    aged.commit()
    aged.refused(*PLAN, code=9, error="E_GC_ROOTS")
    aged.refused(*APPLY, "--yes", code=9, error="E_GC_ROOTS")


@pytest.mark.parametrize("path", ["ops/inventory/pins.yaml", "ops/inventory/gc-pins.json"])
def test_a_file_of_roots_that_cannot_be_read_stops_it(aged: Desk, path: str) -> None:
    (aged.root / path).write_text("{")
    aged.commit()
    aged.refused(*APPLY, "--yes", code=9, error="E_GC_ROOTS")


def test_a_missing_catalog_stops_it(aged: Desk, tmp_path: Path) -> None:
    store = aged.root / "var/serving"
    (store / "catalog.json").rename(tmp_path / "catalog.json")
    aged.refused(*PLAN, code=8, error="E_CATALOG_MISSING")
    (store / ".reconciler/ledger").rename(tmp_path / "ledger")
    aged.refused(*PLAN, code=8, error="E_LEDGER_CHAIN")  # packets stand beside no ledger
    (store / ".reconciler/evidence").rename(tmp_path / "evidence")
    aged.refused(*PLAN, code=9, error="E_GC_ROOTS")


def test_nobody_asked_is_refused(aged: Desk) -> None:
    aged.refused(*APPLY, code=3, error="E_CONFIRM")


def test_the_freeze_policy_wants_a_review(aged: Desk) -> None:
    retain(aged, 0, 0, reviewed=True)
    aged.refused(*APPLY, "--yes", code=4, error="E_GC_REVIEW")
    aged.ok(*APPLY, "--expect", digest(aged))
    assert not standing(aged, M110)


def test_another_plan_than_the_reviewed_one_is_refused(aged: Desk) -> None:
    aged.ok(*PLAN, "--out", "gc.json")
    aged.ok("catalog", "promote", M110, *STORE)
    aged.refused("gc", "apply", "gc.json", *STORE, code=5, error="E_PLAN_STALE")


def test_an_edited_plan_is_refused(aged: Desk) -> None:
    aged.ok(*PLAN, "--out", "gc.json")
    path = aged.root / "gc.json"
    path.write_text(path.read_text().replace(M110, H110))
    aged.refused("gc", "apply", "gc.json", *STORE, code=8, error="E_PLAN_MISMATCH")


def test_what_goes_stands_in_the_trash_and_in_the_ledger(aged: Desk) -> None:
    aged.ok(*PLAN, "--out", "gc.json")
    document = aged.ok("gc", "apply", "gc.json", *STORE, "--reason", "room", "--output", "json").document
    trash = f".reconciler/trash/{8:020d}"
    assert [(step["id"], step["outcome"]) for step in document["steps"]] == [
        (f"collect {M110}", "applied"),
        (f"collect {H111}", "applied"),
    ]
    assert document["steps"][0]["receipt"] == f"{trash}/release=110/species=mus_musculus/assembly=GRCm39"
    assert [standing(aged, one) for one in (H110, H111, M110, M111)] == [True, False, False, True]
    assert standing(aged, M110, f"/{trash}")
    record = aged.ok("history", "--output", "json").document["stores"][0]["records"][-1]
    assert (record["seq"], record["reason"], record["command"]) == (
        8,
        "room",
        "reconciler gc apply --store serving",
    )


def test_a_second_apply_finds_nothing_and_writes_no_record(aged: Desk) -> None:
    aged.ok(*APPLY, "--yes")
    # The clock runs ahead of the trash as well, so that is deleted first.
    aged.ok(*APPLY, "--yes")
    assert aged.ok(*APPLY, "--yes").out == "nothing to remove\n"
    assert len(list((aged.root / "var/serving/.reconciler/ledger").iterdir())) == 16


def test_trash_is_deleted_for_good_by_a_later_collection(aged: Desk) -> None:
    aged.ok(*APPLY, "--yes")
    document = aged.ok(*APPLY, "--yes", "--output", "json").document
    assert (document["steps"], document["expired"]) == ([], [f"{8:020d}"])
    assert list((aged.root / "var/serving/.reconciler/trash").iterdir()) == []


def test_young_trash_stays(store: Desk) -> None:
    with pytest.MonkeyPatch.context() as later:
        wait(later, WEEK + 86_400)
        store.ok(*APPLY, "--yes")
    assert store.ok(*APPLY, "--yes").out == "nothing to remove\n"
    assert standing(store, M110, f"/.reconciler/trash/{8:020d}")


def test_what_was_removed_can_be_published_again(aged: Desk) -> None:
    aged.ok(*APPLY, "--yes")
    aged.ok("dataset", "publish", M110, "--source-root", "examples/builds/mouse-110", *STORE)
    aged.ok("catalog", "promote", M110, *STORE)
    assert aged.ok("drift", "--output", "json").document["summary"]["corrupt"] == 0


def test_what_is_promoted_between_the_plan_and_the_lock_stays(
    aged: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = collect.holdings

    def promoted_after(root: int, where: str, store: str, heads: Heads) -> Holdings:
        found = look(root, where, store, heads)
        monkeypatch.setattr(collect, "holdings", look)
        aged.ok("catalog", "promote", M110, *STORE)
        return found

    monkeypatch.setattr(collect, "holdings", promoted_after)
    ran = aged.ok(*APPLY, "--yes")
    assert ran.out.endswith(f"applied     collect {H111}\n  1 of the planned are needed again, and stay\n")
    assert standing(aged, M110)


@pytest.fixture(params=["fs.gc.recheck", "fs.gc.move.before", "fs.gc.move.after", "fs.gc.move.before@2"])
def killed(aged: Desk, request: pytest.FixtureRequest) -> Desk:
    """A collection of two datasets that was killed on its way."""
    child = os.fork()
    if child == 0:
        try:
            failpoints.arm(f"{request.param}=kill")
            main((*APPLY, "--yes"))
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return aged


def test_a_killed_collection_is_finished_by_the_next(killed: Desk) -> None:
    killed.ok(*APPLY, "--yes")
    assert [standing(killed, one) for one in (H110, H111, M110, M111)] == [True, False, False, True]
    ledger = killed.root / "var/serving/.reconciler/ledger"
    assert len(list(ledger.glob("*.intent.json"))) == len(list(ledger.glob("*.outcome.json")))


def test_another_writer_finishes_a_killed_collection_and_removes_nothing_more(killed: Desk) -> None:
    before = [standing(killed, one) for one in (H111, M110)]
    killed.ok("catalog", "rollback", H110, *STORE)
    assert [standing(killed, one) for one in (H111, M110)] == before


def test_what_git_removed_and_gc_collected_is_no_drift(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.repository()
    desk.ok("dataset", "publish", M110, "--source-root", "examples/builds/mouse-110", *STORE)
    desk.ok("apply", "--yes")
    (desk.root / "ops/inventory/pins.yaml").write_text("schema_version: 1\ndataset_ids: []\n")
    write(desk, "ops/inventory/gc-pins.json", NO_PINS)
    retain(desk, 0, 0, reviewed=False)
    (desk.root / "desired/catalogs/mouse.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Catalog\nstore: serving\n"
        f'datasets:\n  - {{id: {M111}, manifest: "{MANIFEST_OF[M111]}"}}\n'
        f"removed:\n  - {{id: {M110}, reason: superseded}}\n"
    )
    desk.commit()
    desk.ok("apply", "--yes")
    wait(monkeypatch, WEEK + 86_400)
    assert candidates(desk) == [M110]
    desk.ok(*APPLY, "--yes")
    desk.ok("plan", "--detailed-exitcode")
    desk.ok("drift", "--detailed-exitcode")


@pytest.mark.parametrize("point", ["fs.gc.move.before", "fs.gc.move.after", "fs.gc.expire", "fs.gc.recheck"])
def test_a_failing_disk_loses_nothing_and_the_next_run_ends_it(
    aged: Desk, point: str, request: pytest.FixtureRequest
) -> None:
    if point == "fs.gc.expire":
        aged.ok(*APPLY, "--yes")
    request.addfinalizer(lambda: failpoints.arm(""))
    failpoints.arm(f"{point}=EIO")
    ran = aged.run(*APPLY, "--yes")
    assert (ran.code, ran.error) == (7 if point == "fs.gc.move.after" else 10, "E_IO")
    failpoints.arm("")
    aged.ok(*APPLY, "--yes")
    assert [standing(aged, one) for one in (H110, H111, M110, M111)] == [True, False, False, True]
