"""Promotions planned from a snapshot: the same plan where the snapshot knows the source, a note where not."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from reconciler.canonical import canonical, sha256_digest
from tests.integration.federation.archives import write_shards
from tests.integration.federation.conftest import World
from tests.integration.federation.index import Index
from tests.servers import pds_proxy

Document = dict[str, Any]
SCHEMA = json.dumps(
    {
        "name": "Row",
        "version": "1.0.0",
        "fields": [
            {"name": "x", "fieldType": {"$type": "local#primitive", "primitive": "int"}, "optional": False}
        ],
    }
)


def indexed(cid: str, more: str = "", version: str = "1.0.0") -> str:
    """A promotion from the index."""
    return f"versions:\n  {version}:\n    from: {{index: index, entry: d1, cid: {cid}}}\n{more}"


PLAIN = """versions:
  1.0.0:
    from: {schema: schemas/row.json, urls: ["https://data.example.org/plain.tar"]}
"""


@pytest.fixture
def taken(world: World) -> World:
    """An account with promotions from an index and from git, its snapshot, and the index out of reach."""
    entry = world.index.insert("d1", ["https://data.example.org/{0..2}.tar"], metadata={"split": "train"})
    world.write("desired/promotions/schemas/row.json", SCHEMA)
    world.promote("d1", indexed(entry, "license: MIT\n"))
    world.promote("plain", PLAIN)
    world.ok("apply", "--yes")
    world.ok("snapshot", "--out", "live.json")
    (world.repository.root / "var").rename(world.repository.root / "elsewhere")
    return world


def planned(world: World) -> Document:
    """The plan from the snapshot, made without credentials."""
    return world.repository.ok("plan", "--live", "live.json", "--output", "json").document


def compared(world: World) -> tuple[Document, Document]:
    """The plan from the snapshot, and the one where everything is in reach."""
    found = planned(world)
    (world.repository.root / "elsewhere").rename(world.repository.root / "var")
    return found, world.repository.ok("plan", "--output", "json").document


def changes(plan: Document) -> list[Document]:
    """What a plan changes, without where that is written."""
    return [{k: v for k, v in one.items() if k not in {"path", "line"}} for one in plan["resource_changes"]]


def test_nothing_to_do_is_nothing_to_do_and_nobody_is_asked(taken: World) -> None:
    with pds_proxy.before(taken.server.url) as proxy:
        taken.repository.edit("desired/stores.yaml", taken.server.url, proxy.url)
        taken.repository.commit("Another way to the server")
        taken.repository.ok("snapshot", "--out", "live.json")
        asked = len(proxy.seen)
        plan = planned(taken)
        assert (plan["resource_changes"], plan["notes"], plan["summary"]["noop"]) == ([], [], 6)
        assert len(proxy.seen) == asked > 0


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("d1", "license: MIT", "license: CC0-1.0\ndescription: Measurements"),
        ("d1", "license: MIT", "license: MIT\ntags: [a, b]"),
        ("plain", "plain.tar", "other.tar"),
        ("plain", "versions:", PLAIN.replace("1.0.0", "1.1.0").rstrip("\n")),
    ],
)
def test_edit_has_the_plan_that_it_has_where_everything_is_in_reach(
    taken: World, name: str, before: str, after: str
) -> None:
    taken.repository.edit(f"desired/promotions/{name}.yaml", before, after)
    taken.repository.commit("Edit")
    seen, known = compared(taken)
    assert changes(seen) == changes(known)
    assert (seen["notes"], known["notes"]) == ([], [])
    assert seen["contents"] == known["contents"] != []


def test_withdrawal_has_the_same_plan(taken: World) -> None:
    path = taken.repository.root / "desired/promotions/d1.yaml"
    head = path.read_text().partition("versions:")[0]
    path.write_text(f"{head}versions: {{}}\nremoved:\n  - {{version: 1.0.0, reason: superseded}}\n")
    taken.repository.commit("Withdraw it")
    seen, known = compared(taken)
    assert changes(seen) == changes(known) != []


def test_version_whose_source_is_out_of_reach_is_named_and_left_as_it_is(taken: World) -> None:
    other = Index(taken.repository.root / "elsewhere/index.db")
    entry = other.insert("d1", ["https://data.example.org/new.tar"])
    taken.repository.edit("desired/promotions/plain.yaml", "plain.tar", "other.tar")
    taken.promote("d1", indexed(entry))
    plan = planned(taken)
    assert [(one["verb"], one["address"].split("/")[1]) for one in changes(plan)] == [("update", "entry")]
    assert plan["notes"] == [
        "d1@1.0.0 (desired/promotions/d1.yaml:6) is not planned: its source is not in the snapshot"
    ]
    text = taken.repository.ok("plan", "--live", "live.json").out
    assert f"note: {plan['notes'][0]}" in text
    assert (
        "not planned: its source"
        in taken.repository.ok("plan", "--live", "live.json", "--output", "markdown").out
    )


def test_new_version_whose_source_is_out_of_reach_is_named(taken: World) -> None:
    other = Index(taken.repository.root / "elsewhere/index.db")
    entry = other.insert("d2", ["https://data.example.org/d2.tar"])
    taken.promote("d2", indexed(entry).replace("entry: d1", "entry: d2"))
    plan = planned(taken)
    assert (changes(plan), len(plan["notes"])) == ([], 1)


def edited(world: World, **members: object) -> None:
    """The snapshot with other members for the account, sealed again as anybody can."""
    path = world.repository.root / "live.json"
    body = {name: value for name, value in json.loads(path.read_bytes()).items() if name != "digest"}
    for store in body["stores"]:
        store.update(members)
    path.write_bytes(canonical({"digest": sha256_digest(canonical(body)), **body}))


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"reading": ""}, "E_LIVE_PROMOTIONS"),
        ({"reading": "%"}, "E_SNAPSHOT_SHAPE"),
        ({"reading": b64encode(b"no repository").decode()}, "E_SNAPSHOT_SHAPE"),
        ({"observed": []}, "E_SNAPSHOT_SHAPE"),
    ],
)
def test_snapshot_that_does_not_hold_the_account_is_refused(
    taken: World, members: dict[str, object], code: str
) -> None:
    edited(taken, **members)
    ran = taken.repository.run("plan", "--live", "live.json")
    assert (ran.code, ran.error) == (3, code)


def test_copied_data_is_planned_where_it_stands_and_named_where_it_would_be_copied(world: World) -> None:
    source = world.repository.root / "var/source"
    write_shards(source, 1)
    text = (world.repository.root / "desired/stores.yaml").read_text()
    world.write("desired/stores.yaml", f"{text}  copies: {{kind: bucket, root: file:var/copies}}\n")
    entry = world.index.insert("d1", [str(source / "0.tar")])
    world.promote("d1", indexed(entry, "data: {copy: copies}\n"))
    applied = world.ok("apply", "--yes", "--output", "json").document
    assert applied["notes"][0] == (
        "d1@1.0.0: 1 shard, 10240 bytes, copied to copies before its records are written"
    )
    assert applied["notes"][1].endswith(": 1 shard copied, 0 there already")
    world.ok("snapshot", "--out", "live.json")
    (world.repository.root / "var").rename(world.repository.root / "elsewhere")
    world.promote("d1", indexed(entry, "data: {copy: copies}\nlicense: MIT\n"))
    world.write("desired/promotions/schemas/row.json", SCHEMA)
    world.promote("d2", f"{PLAIN}data: {{copy: copies}}\n")
    plan = planned(world)
    assert [(one["verb"], one["address"].split("/")[1]) for one in changes(plan)] == [("update", "entry")]
    assert [note.partition(" ")[0] for note in plan["notes"]] == ["d2@1.0.0"]
