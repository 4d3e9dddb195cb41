"""status: how far each dataset is, and a command that closes each gap."""

from __future__ import annotations

import shlex
import shutil
from typing import Any

from tests.integration.cli_byhand.conftest import H110, H111, M110, M111, STORE, Desk


def gaps(document: dict[str, Any]) -> dict[str, list[str]]:
    return {
        row["dataset"]: list(dict.fromkeys(gap["command"] for gap in row["gaps"]))
        for row in document["datasets"]
    }


def answers(document: dict[str, Any], dataset: str) -> list[str]:
    row = next(row for row in document["datasets"] if row["dataset"] == dataset)
    return [row[name] for name in ("declared", "built", "published", "hash_true", "in_catalog")]


def test_without_a_repository_declared_and_built_are_unknown(desk: Desk) -> None:
    desk.publish(H110)
    assert desk.unchanged("status", *STORE).out == (
        "serving (store)   1 record, no catalog, no unfinished run\n"
        "  110/homo_sapiens/GRCh38\n"
        "      declared unknown, built unknown, published yes, hash-true yes, in catalog no, aliased no\n"
        "      in catalog: reconciler catalog promote 110/homo_sapiens/GRCh38 --store-root store\n"
        "1 dataset, 1 with gaps   (depth: manifests)\n"
    )


def test_the_commands_close_the_gaps_one_after_the_other(desk: Desk) -> None:
    source = desk.build(H110)
    words = ("status", H110, *STORE, "--source-root", source, "--output", "json")
    steps = []
    for _ in range(4):
        document = desk.unchanged(*words).document
        commands = gaps(document)[H110]
        steps.append((answers(document, H110), len(commands)))
        if commands:
            desk.ok(*shlex.split(commands[0])[1:])
    assert steps == [
        (["unknown", "unknown", "no", "unknown", "no"], 1),
        (["unknown", "yes", "yes", "yes", "no"], 1),
        (["unknown", "yes", "yes", "yes", "yes"], 1),
        (["unknown", "yes", "yes", "yes", "yes"], 0),
    ]
    assert desk.ok("catalog", "resolve", *STORE).out == f"{H110}\n"


def test_a_pack_and_another_build_are_compared_with_what_is_published(desk: Desk) -> None:
    desk.publish(H110)
    desk.ok("dataset", "pack", H110, "--root", "builds/human-110", "--out", "h110.tar")
    desk.ok("dataset", "pack", H111, "--root", desk.build(H111), "--out", "h111.tar")
    built = {}
    for source in ("builds/human-110", "h110.tar", "builds/human-111", "h111.tar", "nowhere"):
        ran = desk.unchanged("status", H110, *STORE, "--source-root", source, "--output", "json")
        built[source] = ran.document["datasets"][0]["built"]
    assert built == {
        "builds/human-110": "yes",
        "h110.tar": "yes",
        "builds/human-111": "no",
        "h111.tar": "no",
        "nowhere": "no",
    }


def test_a_repository_says_what_is_declared_and_built(desk: Desk) -> None:
    desk.repository()
    document = desk.unchanged("status", "--output", "json").document
    assert {dataset: answers(document, dataset) for dataset in (H110, M110)} == {
        H110: ["yes", "yes", "no", "unknown", "no"],
        M110: ["yes", "unknown", "no", "unknown", "no"],
    }
    assert document["stores"] == [
        {
            "store": "serving",
            "root": "var/serving",
            "records": 0,
            "unfinished_run": False,
            "catalog": None,
            "unproved_backup": None,
        }
    ]
    publish = f"reconciler dataset publish {M110} --source-root DIR --store serving"
    apply = "reconciler apply --store serving"
    assert gaps(document) == {H110: [apply], H111: [apply], M110: [publish, apply], M111: [apply]}


def test_the_commands_of_a_repository_close_every_gap(desk: Desk) -> None:
    desk.repository()
    publish = gaps(desk.ok("status", "--output", "json").document)[M110][0]
    desk.ok(*shlex.split(publish.replace("DIR", "examples/builds/mouse-110"))[1:])
    apply = gaps(desk.ok("status", "--output", "json").document)[M110][0]
    desk.ok(*shlex.split(apply)[1:], "--yes")
    document = desk.unchanged("status", "--output", "json").document
    assert gaps(document) == {H110: [], H111: [], M110: [], M111: []}
    row = next(row for row in document["datasets"] if row["dataset"] == H111)
    assert (row["aliases"], row["place"]) == (["latest"], "desired/catalogs/human.yaml:10")


def test_what_was_done_by_hand_shows_as_a_gap_of_the_declared_dataset(desk: Desk) -> None:
    desk.repository()
    store = ("--store", "serving")
    desk.ok("dataset", "publish", M110, "--source-root", "examples/builds/mouse-110", *store)
    desk.ok("apply", "--yes")
    desk.ok("catalog", "rollback", H111, *store, "--move-alias-to", H110)
    document = desk.unchanged("status", H111, "--output", "json").document
    assert [gap["what"] for gap in document["datasets"][0]["gaps"]] == ["in catalog", "aliased"]


def test_a_listed_dataset_that_is_gone_is_restored_by_the_command_that_status_gives(desk: Desk) -> None:
    desk.promote(H110)
    catalog = (desk.root / "store/catalog.json").read_bytes()
    shutil.rmtree(desk.directory(H110))
    ran = desk.run("status", *STORE, "--source-root", "builds/human-110", "--output", "json")
    row = ran.document["datasets"][0]
    assert (ran.code, row["published"], row["hash_true"], row["in_catalog"]) == (8, "no", "unknown", "yes")
    desk.ok(*shlex.split(row["gaps"][0]["command"])[1:])
    assert (desk.root / "store/catalog.json").read_bytes() == catalog
    assert desk.ok("status", *STORE, "--output", "json").document["datasets"][0]["hash_true"] == "yes"


def test_a_broken_dataset_is_not_hash_true_and_the_exit_code_is_8(desk: Desk) -> None:
    desk.promote(H110)
    manifest = desk.directory(H110) / "derived/manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    before = desk.tree()
    ran = desk.run("status", *STORE, "--output", "json")
    row = ran.document["datasets"][0]
    assert (ran.code, row["hash_true"]) == (8, "no")
    assert row["gaps"][0]["command"] == f"reconciler dataset verify {H110} --deep --root store"
    assert '"code": "E_MANIFEST_HASH"' in ran.err
    assert desk.tree() == before
