"""atdata's own client resolves and loads what was promoted here, where a Python is new enough for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.federation.conftest import LABELS, World
from tests.servers import atdata_runner
from tests.servers.files import FileServer, serving
from tests.servers.pds import PASSWORD


@pytest.fixture(scope="module")
def client() -> Path:
    found = atdata_runner.python()
    if found is None:
        pytest.skip("atdata needs Python 3.12 or newer, and there is none here")
    return found


@pytest.fixture
def files(world: World) -> Iterator[FileServer]:
    root = world.repository.root / "var/data"
    root.mkdir(parents=True)
    with serving(root) as server:
        yield server


def read(world: World, client: Path, *names: str, load: bool = False) -> dict[str, Any]:
    return atdata_runner.asked(
        client,
        do="read",
        url=world.server.url,
        handle=world.account.handle,
        did=world.account.did,
        password=PASSWORD,
        index=str(world.repository.root / "var" / "atdata.db"),
        names=list(names),
        load=load,
    )


@pytest.mark.parametrize(
    "metadata", [{"split": "train"}, {"split": "train", "k": 1}, {"a": "b", "c": [1, None]}]
)
def test_the_reference_resolves_the_label_and_reads_the_metadata(
    world: World, client: Path, metadata: dict[str, Any]
) -> None:
    cid = world.index.insert("d1", ["https://data.example.org/{0..1}.tar"], metadata=metadata)
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")
    world.ok("apply", "--yes")

    urls = ["https://data.example.org/0.tar", "https://data.example.org/1.tar"]
    found = read(world, client, "d1", "d1@1.0.0")
    expected = {"name": "d1", "urls": urls, "metadata": metadata}
    assert (found["d1"], found["d1@1.0.0"]) == (expected, expected)


def test_the_reference_reads_the_types_that_a_document_gives(world: World, client: Path) -> None:
    known = {"split": "train", "epochs": 3, "shuffled": True, "note": None, "rows": 7}
    cid = world.index.insert("d1", ["https://data.example.org/1.tar"], metadata=known)
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n    metadata:\n"
    laid = "      {rows: {$integer: 1200}, sorted: {$boolean: false}, rate: 0.5, bins: [{$integer: -1}, 2]}\n"
    world.promote("d1", body + laid)
    world.ok("apply", "--yes")
    expected = {**known, "rows": 1200, "sorted": False, "rate": "0.5", "bins": [-1, "2"]}
    found = read(world, client, "d1")["d1"]["metadata"]
    assert found == expected
    assert [type(found[name]) for name in ("rows", "sorted", "epochs", "shuffled")] == [int, bool, int, bool]


def test_the_reference_gets_the_version_that_it_asks_for(world: World, client: Path) -> None:
    one = world.index.insert("d1", ["https://data.example.org/1.tar"])
    two = world.index.insert("d1", ["https://data.example.org/2.tar"])
    entries = "".join(
        f"  {version}:\n    from: {{index: index, entry: d1, cid: {cid}}}\n"
        for version, cid in (("1.0.0", one), ("2.0.0", two))
    )
    world.promote("d1", f"versions:\n{entries}")
    world.ok("apply", "--yes")
    found = read(world, client, "d1@1.0.0", "d1@2.0.0")
    assert [found[name]["urls"] for name in ("d1@1.0.0", "d1@2.0.0")] == [
        ["https://data.example.org/1.tar"],
        ["https://data.example.org/2.tar"],
    ]


def test_without_a_version_the_reference_gets_the_highest_release_of_a_run_then_the_newest_label(
    world: World, client: Path
) -> None:
    def declare(*versions: str) -> None:
        entries = "".join(
            f"  {version}:\n    from: {{index: index, entry: d1, cid: {cid}}}\n"
            for version in versions
            for cid in [world.index.insert("d1", [f"https://data.example.org/{version}.tar"])]
        )
        world.promote("d1", f"versions:\n{entries}")
        world.ok("apply", "--yes")

    first = ("1.0.0", "2.0.0", "1.10.0", "1.9.0", "3.0.0-rc.1", "first")
    declare(*first)
    assert read(world, client, "d1")["d1"]["urls"] == ["https://data.example.org/2.0.0.tar"]
    declare(*first, "1.10.1")
    assert read(world, client, "d1")["d1"]["urls"] == ["https://data.example.org/1.10.1.tar"]
    labels = [one["value"] for one in world.server.records(world.account, LABELS).values()]
    times = {label["version"]: label["createdAt"][-5:] for label in labels}
    assert times == {
        "first": ".000Z",
        "3.0.0-rc.1": ".001Z",
        "1.0.0": ".002Z",
        "1.9.0": ".003Z",
        "1.10.0": ".004Z",
        "2.0.0": ".005Z",
        "1.10.1": ".006Z",
    }


def test_what_the_reference_wrote_is_promoted_from_its_own_index_and_loaded_by_it(
    world: World, client: Path, files: FileServer
) -> None:
    root = world.repository.root
    url = f"{files.url}/0.tar"
    written = atdata_runner.asked(
        client,
        do="write",
        shard=str(files.root / "0.tar"),
        index=str(root / "var" / "theirs.db"),
        count=3,
        name="d1",
        url=url,
        metadata={"split": "train", "rows": 3},
    )
    world.repository.edit("desired/stores.yaml", "var/index.db", "var/theirs.db")
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {written['cid']}}}\n"
    world.promote("d1", body)
    world.ok("apply", "--yes")
    world.ok("federation", "verify", "--store", "public", "--deep")

    assert read(world, client, "d1", load=True)["d1"] == {
        "name": "d1",
        "urls": [url],
        "metadata": {"split": "train", "rows": 3},
        "type": "Sample",
        "samples": [[number, [float(number), 2.5]] for number in range(3)],
    }


def test_blobs_of_the_account_are_loaded_by_the_reference(
    world: World, client: Path, files: FileServer
) -> None:
    root = world.repository.root
    written = atdata_runner.asked(
        client,
        do="write",
        shard=str(files.root / "0.tar"),
        index=str(root / "var" / "theirs.db"),
        count=2,
        name="d1",
        url=str(files.root / "0.tar"),
        metadata=None,
    )
    world.repository.edit("desired/stores.yaml", "var/index.db", "var/theirs.db")
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {written['cid']}}}\n"
    world.promote("d1", body + "data: {copy: public}\n")
    world.ok("apply", "--yes")
    found = read(world, client, "d1", load=True)["d1"]
    assert found["samples"] == [[number, [float(number), 2.5]] for number in range(2)]
