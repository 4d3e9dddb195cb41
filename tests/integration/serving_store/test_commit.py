"""What a commit does, and everything that it refuses with nothing written."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from dataclasses import replace

import pytest

from reconciler import failpoints
from reconciler.canonical import canonical, sha256_hex
from reconciler.errors import Conflict, Corrupt, Denied, InvalidInput, Unavailable
from reconciler.ledger import inventory
from reconciler.model import Address, Change, Depth, Selection, Step, StoreConfig
from reconciler.stores.port import Surroundings
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.store import SHAPE, open_store
from tests.integration.serving_store.world import (
    H110,
    H111,
    HUMAN,
    LATEST,
    M110,
    NOWHERE,
    RUN,
    Wish,
    World,
    dataset,
    outcomes,
    promote,
    publish,
    refused,
    roll_back,
    set_latest,
    step,
    tree,
)


def test_nothing_is_created_before_the_first_commit(world: World) -> None:
    store = world.open()
    assert (list(store.snapshot(Selection())), list(store.history()), store.recover()) == ([], [], None)
    assert store.revision() == ""
    assert store.commit((), RUN) == ()
    assert not world.root.exists()


def test_a_missing_root_that_may_not_be_made_is_an_error(world: World) -> None:
    config = StoreConfig(
        name="serving", kind="serving", settings={"root": "store", "create": False}, place=NOWHERE
    )
    with pytest.raises(Unavailable) as caught:
        open_store(config, Surroundings(root=world.base))
    assert caught.value.code == "E_STORE_MISSING"


def test_first_reconcile_publishes_promotes_and_sets_the_alias(world: World) -> None:
    results = world.reconcile(Wish(listed=(H110, H111), latest=H111))
    assert outcomes(results) == ["applied"] * 4
    assert world.live() == {
        "alias/latest": {"dataset": "111/homo_sapiens/GRCh38", "binding": "catalog"},
        "dataset/110/homo_sapiens/GRCh38": {"entry": "listed", "artifact": world.digests[H110]},
        "dataset/111/homo_sapiens/GRCh38": {"entry": "listed", "artifact": world.digests[H111]},
    }
    catalog = (world.root / "catalog.json").read_bytes()
    alias = json.loads((world.root / "latest.alias.json").read_bytes())
    assert alias == {
        "alias": "latest",
        "catalog_sha256": sha256_hex(catalog),
        "dataset": {"assembly": "GRCh38", "release": "111", "species": "homo_sapiens"},
        "policy": "promotion-gated",
        "schema_version": 1,
        "updated_at": "1714592400",
        "updated_by": "reconciler",
    }
    assert (world.root / "latest.alias.json").read_bytes() == canonical(alias)


def test_publish_copies_every_file_and_adds_what_a_store_makes(listed: World) -> None:
    built = tree(listed.base / "builds" / dataset_path(H110))
    stored = tree(listed.directory(H110))
    made = {
        "derived/manifest.lock",
        "derived/immutable.release.json",
        "derived/lifecycle.state.json",
        "derived/lifecycle.transitions.json",
    }
    assert {path.split(" ")[0] for path in stored} == {path.split(" ")[0] for path in built} | made
    assert all(stored[path] == data for path, data in built.items())
    state = json.loads(stored["derived/lifecycle.state.json 644"])
    assert (state["transition_at"], state["transition_by"]) == ("1714592400", "reconciler")


def test_the_same_wish_again_writes_nothing(listed: World) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(listed.root.rglob("*"))}
    assert listed.reconcile(Wish(listed=(H110, H111), latest=H111)) == ()
    assert {path: path.stat().st_mtime_ns for path in sorted(listed.root.rglob("*"))} == before


def test_reading_writes_nothing_and_touches_no_time(listed: World) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(listed.root.rglob("*"))}
    store = listed.open()
    for depth in Depth:
        list(store.snapshot(Selection(depth=depth)))
    store.revision()
    list(store.history())
    assert {path: path.stat().st_mtime_ns for path in sorted(listed.root.rglob("*"))} == before


def test_many_promotions_are_one_write_of_the_catalog(world: World) -> None:
    failpoints.arm("fs.catalog.rename.before@1000=kill")
    try:
        world.reconcile(Wish(listed=(H110, H111, M110), latest=H110))
        assert failpoints.hits() == {"fs.catalog.rename.before": 1}
    finally:
        failpoints.arm("")


def test_adoption_adds_a_record_and_nothing_else(world: World) -> None:
    shutil.copytree(world.base / "builds", world.root)
    other = World(world.base / "other", world.digests)
    shutil.copytree(world.base / "builds", other.base / "builds")
    other.reconcile(Wish(listed=(H110,), latest=H110))
    shutil.rmtree(world.root)
    shutil.copytree(other.root, world.root, ignore=shutil.ignore_patterns(".reconciler"))
    before = tree(world.root)
    assert world.reconcile(Wish(listed=(H110,), latest=H110)) == ()
    assert tree(world.root, without=(".reconciler",)) == before
    store = world.open()
    assert [record.seq for record in store.history()] == [1]
    assert inventory(store.history()).owns(dataset(H110))


@pytest.mark.parametrize(
    "stale",
    [
        promote(H110),
        set_latest(H110),
        step("x", "catalog", Change(dataset(M110), "entry", "listed", None)),
        step("x", "alias latest", Change(LATEST, "dataset", str(H110), str(H111))),
    ],
)
def test_stale_step_conflicts_and_writes_nothing(listed: World, stale: Step) -> None:
    refused(listed, lambda: listed.commit(stale), Conflict, "E_CONFLICT")


def test_one_stale_step_among_good_ones_stops_all_of_them(listed: World) -> None:
    text = refused(listed, lambda: listed.commit(roll_back(H110), set_latest(H111)), Conflict, "E_CONFLICT")
    assert "its dataset was expected to be absent; got 111/homo_sapiens/GRCh38" in text


def test_a_base_that_moved_conflicts(listed: World) -> None:
    refused(
        listed,
        lambda: listed.commit(replace(roll_back(H110), base="sha256:" + "0" * 64)),
        Conflict,
        "E_CONFLICT",
    )


def test_a_base_that_holds_is_accepted(listed: World) -> None:
    base = "sha256:" + sha256_hex((listed.root / "catalog.json").read_bytes())
    assert outcomes(listed.commit(replace(roll_back(H110), base=base))) == ["applied"]


def test_foreign_entries_and_their_diffs_stay_byte_equal(listed: World) -> None:
    catalog = json.loads((listed.root / "catalog.json").read_bytes())
    foreign = {
        "dataset": {"assembly": "X.1", "release": "9", "species": "danio_rerio"},
        "diff_artifacts": ["elsewhere/diff.json"],
        "manifest_path": "elsewhere/manifest.json",
        "sqlite_path": "elsewhere/genes.sqlite",
    }
    catalog["datasets"].append(foreign)
    (listed.root / "catalog.json").write_bytes(canonical(catalog))
    listed.reconcile(Wish(listed=(H110, H111, M110), latest=H111))
    after = json.loads((listed.root / "catalog.json").read_bytes())
    assert after["datasets"][-1] == foreign
    assert canonical(foreign) in (listed.root / "catalog.json").read_bytes()
    assert listed.live()["dataset/9/danio_rerio/X.1"] == {
        "entry": "listed at elsewhere/manifest.json elsewhere/genes.sqlite",
        "diffs": ("elsewhere/diff.json",),
    }


def test_an_alias_of_somebody_else_is_bound_to_the_new_catalog_and_else_kept(listed: World) -> None:
    alias = json.loads((listed.root / "latest.alias.json").read_bytes())
    alias |= {"updated_by": "atlas-cli", "updated_at": "1", "policy": "theirs"}
    (listed.root / "latest.alias.json").write_bytes(canonical(alias))
    listed.commit(roll_back(H110))
    catalog = (listed.root / "catalog.json").read_bytes()
    assert json.loads((listed.root / "latest.alias.json").read_bytes()) == alias | {
        "catalog_sha256": sha256_hex(catalog)
    }


def test_a_stale_binding_is_seen_and_bound(listed: World) -> None:
    alias = json.loads((listed.root / "latest.alias.json").read_bytes())
    stale = "0" * 64
    (listed.root / "latest.alias.json").write_bytes(canonical(alias | {"catalog_sha256": stale}))
    assert listed.live()["alias/latest"]["binding"] == f"sha256:{stale}"
    steps = listed.steps(Wish(listed=(H110, H111), latest=H111))
    assert [one.id for one in steps] == ["bind alias latest"]
    listed.commit(*steps)
    assert json.loads((listed.root / "latest.alias.json").read_bytes()) == alias


def test_a_catalog_digest_file_is_kept_true_in_its_own_format(listed: World) -> None:
    (listed.root / "catalog.sha256").write_text("0" * 64 + "  catalog.json\n")
    listed.commit(roll_back(H110))
    entry = {
        "dataset": {"release": "111", "species": "homo_sapiens", "assembly": "GRCh38"},
        "manifest_path": f"{dataset_path(H111)}/derived/manifest.json",
        "sqlite_path": f"{dataset_path(H111)}/derived/gene_summary.sqlite",
    }
    text = json.dumps({"model_version": "v1", "datasets": [entry]}, separators=(",", ":"))
    expected = f"{sha256_hex(text.encode())}  catalog.json\n"
    assert (listed.root / "catalog.sha256").read_text() == expected


def test_no_catalog_digest_file_is_ever_created(listed: World) -> None:
    assert not (listed.root / "catalog.sha256").exists()


def test_aliases_of_other_lines_are_kept_beside_the_ledger(world: World) -> None:
    mouse = "mus_musculus/GRCm39"
    world.reconcile(Wish(listed=(H110, M110), latest=H110, lines={mouse: M110, HUMAN: H110}))
    assert world.live()[f"alias/{mouse}"] == {"dataset": str(M110), "binding": "catalog"}
    world.reconcile(Wish(listed=(H110, H111, M110), latest=H110, lines={mouse: M110, HUMAN: H111}))
    assert world.live()[f"alias/{HUMAN}"] == {"dataset": str(H111), "binding": "catalog"}
    assert world.live()[f"alias/{mouse}"] == {"dataset": str(M110), "binding": "catalog"}
    world.reconcile(Wish(listed=(H110, H111, M110), latest=H110, no_latest=(mouse, HUMAN)))
    assert not (world.root / ".reconciler/aliases.json").exists()


def test_an_alias_of_a_line_names_a_dataset_of_that_line_only(listed: World) -> None:
    wrong = step(
        "set",
        "alias x",
        Change(Address("serving", "alias", "mus_musculus/GRCm39"), "dataset", None, str(H110)),
    )
    refused(listed, lambda: listed.commit(wrong), InvalidInput, "E_ALIAS_SCOPE")


def test_diffs_are_shown_relative_and_written_relative_to_the_store(listed: World) -> None:
    listed.commit(
        step("d", "catalog", Change(dataset(H111), "diffs", None, ("derived/diff.json", "x/y.json")))
    )
    catalog = json.loads((listed.root / "catalog.json").read_bytes())
    assert catalog["datasets"][1]["diff_artifacts"] == [f"{dataset_path(H111)}/derived/diff.json", "x/y.json"]
    assert listed.live()[f"dataset/{H111}"]["diffs"] == ("derived/diff.json", "x/y.json")


def test_an_entry_with_other_paths_is_relisted(listed: World) -> None:
    catalog = json.loads((listed.root / "catalog.json").read_bytes())
    whole = (listed.root / "catalog.json").read_bytes()
    catalog["datasets"][0]["manifest_path"] = "a/m.json"
    (listed.root / "catalog.json").write_bytes(canonical(catalog))
    steps = listed.steps(Wish(listed=(H110, H111), latest=H111))
    assert [
        (one.id, SHAPE.verb("dataset", c.slot, c.before, c.after))
        for one in steps
        for c in one.changes
        if c.address.kind == "dataset"
    ] == [("promote", "relist")]
    listed.commit(*steps)
    assert (listed.root / "catalog.json").read_bytes() == whole


def test_an_alias_cannot_be_set_before_promotion(world: World) -> None:
    world.reconcile(Wish(listed=(H110,)))
    text = refused(world, lambda: world.commit(set_latest(H111)), Denied, "E_ALIAS_TARGET")
    assert "promote it first" in text


def test_an_aliased_dataset_cannot_leave_the_catalog(listed: World) -> None:
    text = refused(listed, lambda: listed.commit(roll_back(H111)), Denied, "E_ALIAS_TARGET")
    assert "move or drop the alias first" in text


def test_a_dataset_that_was_never_published_cannot_be_promoted(listed: World) -> None:
    refused(listed, lambda: listed.commit(promote(M110)), Denied, "E_NOT_PUBLISHED")


def test_a_damaged_dataset_cannot_be_promoted(listed: World) -> None:
    listed.commit(roll_back(H110))
    artifact = listed.directory(H110) / "derived/gene_summary.sqlite"
    data = bytearray(artifact.read_bytes())
    data[-1] ^= 1
    artifact.write_bytes(bytes(data))
    with pytest.raises(Corrupt) as caught:
        listed.commit(promote(H110))
    assert "E_ARTIFACT_HASH" in str(caught.value)


def test_deep_finds_what_manifests_cannot(listed: World) -> None:
    artifact = listed.directory(H110) / "derived/gene_summary.sqlite"
    data = bytearray(artifact.read_bytes())
    data[-1] ^= 1
    artifact.write_bytes(bytes(data))
    store = listed.open()
    found = {
        depth: [p.code for seen in store.snapshot(Selection(depth=depth)) for p in seen.problems]
        for depth in Depth
    }
    assert found == {Depth.HEADS: [], Depth.MANIFESTS: [], Depth.DEEP: ["E_ARTIFACT_HASH"]}


def test_a_missing_catalog_that_the_ledger_recorded_is_an_integrity_failure(listed: World) -> None:
    (listed.root / "catalog.json").unlink()
    text = refused(listed, listed.live, Corrupt, "E_CATALOG_MISSING")
    assert "reconciler catalog rebuild" in text
    refused(listed, lambda: listed.commit(promote(M110)), Corrupt, "E_CATALOG_MISSING")


@pytest.mark.parametrize("data", [b"", b"{", b'{"datasets":[],"model_version":"v2"}', b"[]"])
def test_a_broken_catalog_is_an_integrity_failure(listed: World, data: bytes) -> None:
    (listed.root / "catalog.json").write_bytes(data)
    text = refused(listed, listed.live, Corrupt, "E_LIVE_CATALOG")
    assert "reconciler catalog rebuild" in text
    refused(listed, lambda: listed.commit(promote(M110)), Corrupt, "E_LIVE_CATALOG")


def test_an_entry_without_its_dataset_is_a_problem_of_that_dataset(listed: World) -> None:
    shutil.rmtree(listed.directory(H110))
    seen = {one.address.key: [p.code for p in one.problems] for one in listed.open().snapshot(Selection())}
    assert seen == {"latest": [], str(H110): ["E_ARTIFACT_MISSING"], str(H111): []}


def test_a_directory_with_an_illegal_name_is_a_problem_and_hides_nothing(listed: World) -> None:
    (listed.root / "release=x1/species=homo_sapiens/assembly=GRCh38").mkdir(parents=True)
    seen = {one.address.key: [p.code for p in one.problems] for one in listed.open().snapshot(Selection())}
    assert seen[str(H110)] == []
    assert seen["x1/homo_sapiens/GRCh38"] == ["E_ID_CHARS"]


def test_a_published_dataset_that_is_not_listed_is_seen(world: World) -> None:
    world.commit(publish(world))
    assert world.live() == {f"dataset/{H110}": {"artifact": world.digests[H110]}}


def test_a_selection_gives_just_those_addresses_in_order(listed: World) -> None:
    wanted = frozenset({dataset(H111), LATEST, dataset(M110)})
    store = listed.open()
    assert [str(seen.address) for seen in store.snapshot(Selection(addresses=wanted))] == [
        "serving/alias/latest",
        f"serving/dataset/{H111}",
    ]


def test_the_revision_moves_with_every_commit_and_only_then(listed: World) -> None:
    store = listed.open()
    before = store.revision()
    assert store.revision() == before
    listed.commit(roll_back(H110))
    assert store.revision() != before


def test_a_ledger_with_a_gap_is_refused_everywhere(listed: World) -> None:
    listed.commit(roll_back(H110))
    for name in (listed.root / ".reconciler/ledger").glob("*1.*.json"):
        name.unlink()
    refused(listed, lambda: list(listed.open().history()), Corrupt, "E_LEDGER_CHAIN")
    refused(listed, lambda: listed.commit(promote(H110)), Corrupt, "E_LEDGER_CHAIN")


def test_a_changed_outcome_breaks_the_chain(listed: World) -> None:
    listed.commit(roll_back(H110))
    outcome = listed.root / ".reconciler/ledger" / f"{1:020d}.outcome.json"
    outcome.write_bytes(outcome.read_bytes().replace(b"applied", b"applyed", 1))
    refused(listed, lambda: list(listed.open().history()), Corrupt, "E_LEDGER_CHAIN")


def test_steps_of_other_shapes_are_refused(listed: World) -> None:
    mixed = step(
        "x", "catalog", Change(dataset(M110), "entry", None, "listed"), Change(LATEST, "dataset", None, "x")
    )
    refused(listed, lambda: listed.commit(mixed), InvalidInput, "E_STEP")
    unknown = step("x", "catalog", Change(Address("serving", "tag", "x"), "entry", None, "listed"))
    refused(listed, lambda: listed.commit(unknown), InvalidInput, "E_STEP")


def test_an_id_that_could_leave_the_store_is_refused(listed: World) -> None:
    wrong = step("x", "catalog", Change(Address("serving", "dataset", "../../etc"), "entry", None, "listed"))
    refused(listed, lambda: listed.commit(wrong), InvalidInput, "E_ID_PATH")


def test_files_of_the_store_do_not_depend_on_the_umask(world: World) -> None:
    before = os.umask(0o077)
    try:
        world.reconcile(Wish(listed=(H110,), latest=H110))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in world.root.rglob("*") if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in world.root.rglob("*") if path.is_dir()} == {0o755}


def test_a_database_in_wal_mode_is_read_without_a_trace(listed: World) -> None:
    listed.commit(roll_back(H110))
    artifact = listed.directory(H110) / "derived/gene_summary.sqlite"
    with sqlite3.connect(f"file:{artifact}?mode=ro&immutable=1", uri=True) as database:
        assert database.execute("SELECT count(*) FROM gene_summary").fetchone() == (1,)
    database.close()
    listed.commit(promote(H110))
    assert [path.name for path in artifact.parent.glob("*-wal")] == []


def test_a_promotion_into_a_store_that_does_not_exist_does_not_create_it(world: World) -> None:
    refused(world, lambda: world.commit(promote(H110)), Denied, "E_NOT_PUBLISHED")
    refused(world, lambda: world.commit(set_latest(H110)), Denied, "E_ALIAS_TARGET")
    assert not world.root.exists()


def test_what_needs_an_entry_or_an_alias_conflicts_where_there_is_none(listed: World) -> None:
    listed.commit(roll_back(H110))
    diffs = step("d", "catalog", Change(dataset(H110), "diffs", None, ("derived/diff.json",)))
    refused(listed, lambda: listed.commit(diffs), Conflict, "E_CONFLICT")
    line = Address("serving", "alias", HUMAN)
    bind = step("b", f"alias {HUMAN}", Change(line, "binding", None, "catalog"))
    refused(listed, lambda: listed.commit(bind), Conflict, "E_CONFLICT")
