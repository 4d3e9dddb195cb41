"""dataset publish by hand: what it means before it writes, and that no gate can be skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.canonical import canonical
from tests.integration.cli_byhand.conftest import H110, H111, M110, MANIFEST_OF, STORE, Desk


def publish(dataset: str, source: str, *more: str) -> tuple[str, ...]:
    return ("dataset", "publish", dataset, "--source-root", source, *STORE, *more)


def test_publish_copies_the_whole_dataset(desk: Desk) -> None:
    ran = desk.ok(*publish(H110, desk.build(H110)))
    assert ran.out == (
        "  + publish      110/homo_sapiens/GRCh38   sha256:6f36f030686d…\n"
        "1 of 1 step applied   sha256:6f36f030686d…\n"
        "note: new: the store had nothing of this dataset\n"
    )
    source = desk.directory(H110, "builds/human-110")
    copied = {
        str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*") if path.is_file()
    }
    live = desk.directory(H110)
    assert {name: (live / name).read_bytes() for name in copied} == copied
    assert sorted(path.name for path in live.rglob("*.json") if path.name not in str(copied)) == [
        "immutable.release.json",
        "lifecycle.state.json",
        "lifecycle.transitions.json",
    ]


def test_a_dry_run_says_what_publishing_would_mean(desk: Desk) -> None:
    source = desk.build(H110)
    states = []
    for prepare in ("nothing", "publish", "thin"):
        if prepare == "publish":
            desk.ok(*publish(H110, source))
        if prepare == "thin":
            (desk.directory(H110) / "derived/release_gene_index.json").unlink()
        ran = desk.unchanged(*publish(H110, source, "--dry-run", "--output", "json"))
        states.append((ran.document["state"], ran.document["status"]))
    assert states == [("new", "dry-run"), ("already published", "dry-run"), ("completes", "dry-run")]


def test_publishing_again_writes_nothing(desk: Desk) -> None:
    desk.publish(H110)
    ran = desk.unchanged(*publish(H110, "builds/human-110"))
    assert ran.out == f"nothing to do: {H110} is already published with these bytes\n"


def test_a_missing_file_is_added_and_nothing_else_is_touched(desk: Desk) -> None:
    desk.publish(H110)
    index = desk.directory(H110) / "derived/release_gene_index.json"
    data = index.read_bytes()
    index.unlink()
    kept = {path: path.lstat().st_ino for path in desk.directory(H110).rglob("*") if path.is_file()}
    desk.ok(*publish(H110, "builds/human-110"))
    assert index.read_bytes() == data
    assert {path: path.lstat().st_ino for path in kept} == kept


def test_a_file_with_other_bytes_is_never_replaced(desk: Desk) -> None:
    desk.publish(H110)
    (desk.directory(H110) / "derived/qc.json").write_bytes(b"{}")
    desk.refused(*publish(H110, "builds/human-110"), code=4, error="E_IMMUTABLE")
    desk.refused(*publish(H110, "builds/human-110", "--dry-run"), code=4, error="E_IMMUTABLE")


def test_another_manifest_under_the_same_id_is_refused(desk: Desk) -> None:
    desk.publish(H110)
    manifest = desk.directory(H110, desk.build(H110)) / "derived/manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    desk.refused(*publish(H110, "builds/human-110"), code=4, error="E_IMMUTABLE")


def test_the_manifest_must_be_of_the_dataset_that_its_path_names(desk: Desk) -> None:
    desk.build(H110)
    place = desk.directory(H111, "builds/human-110")
    place.parent.mkdir(parents=True)
    desk.directory(H110, "builds/human-110").rename(place)
    desk.refused(*publish(H111, "builds/human-110"), code=3, error="E_IDENTITY")


def test_a_failed_gate_is_refused_and_there_is_no_way_around_it(desk: Desk) -> None:
    report = desk.directory(H110, desk.build(H110)) / "derived/anomaly_report.json"
    document = json.loads(report.read_bytes())
    document["scientific_ambiguities"] = ["two genes with one name"]
    report.write_bytes(canonical(document))
    desk.refused(*publish(H110, "builds/human-110", "--dry-run"), code=4, error="E_GATE")
    ran = desk.run(*publish(H110, "builds/human-110"))
    assert (ran.code, ran.error) == (4, "E_GATE")
    assert not (desk.root / "store/release=110").exists()
    desk.refused(*publish(H110, "builds/human-110", "--force"), code=3, error="E_USAGE")


def test_bytes_that_are_not_those_of_the_manifest_are_refused(desk: Desk) -> None:
    database = desk.directory(H110, desk.build(H110)) / "derived/gene_summary.sqlite"
    database.write_bytes(database.read_bytes()[:-1] + b"x")
    desk.refused(*publish(H110, "builds/human-110", "--dry-run"), code=3, error="E_ARTIFACT_HASH")
    ran = desk.run(*publish(H110, "builds/human-110"))
    assert (ran.code, ran.error) == (3, "E_ARTIFACT_HASH")
    assert not (desk.root / "store/release=110").exists()


def test_a_store_is_not_a_source(desk: Desk) -> None:
    desk.publish(H110)
    (desk.root / "other").mkdir()
    words = ("dataset", "publish", H110, "--source-root", "store", "--store-root", "other")
    desk.refused(*words, code=3, error="E_SOURCE_IS_STORE")


def test_a_build_root_is_not_a_store(desk: Desk) -> None:
    build = desk.build(H110)
    for words in (
        ("dataset", "publish", H110, "--source-root", build, "--store-root", build),
        ("dataset", "list", "--store-root", build),
        ("catalog", "promote", H110, "--store-root", build),
        ("catalog", "rollback", H110, "--store-root", build),
        ("catalog", "latest-alias-update", H110, "--store-root", build),
        ("catalog", "resolve", "--store-root", build),
        ("status", "--store-root", build),
    ):
        desk.refused(*words, code=3, error="E_STORE_IS_BUILD_ROOT")


def test_publish_makes_a_missing_store_as_the_reference_does(desk: Desk) -> None:
    words = ("dataset", "publish", H110, "--source-root", desk.build(H110), "--store-root", "new/store")
    desk.unchanged(*words, "--dry-run")
    desk.ok(*words)
    assert desk.unchanged(*words).out == f"nothing to do: {H110} is already published with these bytes\n"


def test_a_refused_publish_makes_no_store(desk: Desk) -> None:
    words = ("dataset", "publish", H111, "--source-root", desk.build(H110), "--store-root", "new")
    desk.refused(*words, code=10, error="E_SOURCE_MISSING")


def test_every_other_operation_refuses_a_missing_store(desk: Desk) -> None:
    (desk.root / "catalog.json").write_bytes(b'{"datasets":[]}')
    for words in (
        ("dataset", "list"),
        ("catalog", "promote", H110),
        ("catalog", "rollback", H110),
        ("catalog", "latest-alias-update", H110),
        ("catalog", "publish", "--catalog", "catalog.json"),
        ("catalog", "rebuild"),
        ("catalog", "resolve"),
        ("status",),
    ):
        ran = desk.refused(*words, "--store-root", "new", code=10, error="E_STORE_MISSING")
        assert "mkdir -p new" in ran.err


@pytest.mark.parametrize("source", ["nowhere", "store"])
def test_a_source_that_does_not_hold_the_dataset_is_refused(desk: Desk, source: str) -> None:
    desk.refused(*publish(H110, source), code=10, error="E_SOURCE_MISSING")


def test_a_linked_store_is_refused(desk: Desk) -> None:
    desk.publish(H110)
    (desk.root / "link").symlink_to("store")
    desk.refused("catalog", "promote", H110, "--store-root", "link", code=10, error="E_STORE_LINK")


def test_a_linked_source_file_is_refused(desk: Desk) -> None:
    qc = desk.directory(H110, desk.build(H110)) / "derived/qc.json"
    outside = desk.root / "outside.json"
    qc.rename(outside)
    qc.symlink_to(outside)
    desk.refused(*publish(H110, "builds/human-110"), code=3, error="E_SOURCE_FILE")


def test_what_the_reference_left_half_published_is_completed(desk: Desk) -> None:
    source, live = desk.directory(H110, desk.build(H110)), desk.directory(H110)
    (live / "derived").mkdir(parents=True)
    manifest = (source / "derived/manifest.json").read_bytes()
    (live / "derived/manifest.json").write_bytes(manifest)
    ran = desk.ok(*publish(H110, "builds/human-110", "--output", "json"))
    assert ran.document["state"] == "completes"
    desk.ok("dataset", "verify", "--deep", H110, "--root", "store")


def test_a_killed_run_is_finished_by_the_next_write(desk: Desk) -> None:
    desk.publish(H110)
    ledger = desk.root / "store/.reconciler/ledger"
    desk.ok("catalog", "promote", H110, *STORE)
    (ledger / f"{2:020d}.outcome.json").unlink()
    assert desk.unchanged("status", *STORE, "--output", "json").document["stores"][0]["unfinished_run"]
    ran = desk.ok("catalog", "promote", H110, *STORE)
    assert ran.out == f"nothing to do: {H110} is already in the catalog\n"
    assert "finished a run that was stopped before its end" in ran.err
    assert desk.records() == 2


@pytest.mark.parametrize("dataset", [H110, H111, M110])
def test_the_examples_have_the_digests_that_they_are_declared_with(desk: Desk, dataset: str) -> None:
    source = desk.build(dataset)
    ran = desk.ok(*publish(dataset, source, "--dry-run", "--output", "json"))
    assert ran.document["manifest"] == MANIFEST_OF[dataset]
    assert Path(ran.document["source"]) == Path(source)
