"""One promotion's life: planned, applied, edited, given a second version, withdrawn."""

from __future__ import annotations

from typing import Any

import msgspec.msgpack

from reconciler.stores.atproto.dagcbor import from_json
from tests.integration.federation.conftest import ENTRIES, LABELS, SCHEMAS, World
from tests.integration.federation.index import cid

URLS = ["https://data.example.org/{0..2}.tar"]


def body(entry: str, more: str = "", version: str = "1.0.0") -> str:
    return f"versions:\n  {version}:\n    from: {{index: index, entry: d1, cid: {entry}}}\n{more}"


def verbs(document: dict[str, Any]) -> list[str]:
    return sorted({f"{one['verb']} {one['address'].split('/')[1]}" for one in document["resource_changes"]})


def test_a_promotion_is_applied_in_one_commit_and_the_second_plan_is_empty(world: World) -> None:
    entry = world.index.insert("d1", URLS, metadata={"split": "train"})
    world.promote("d1", body(entry, "description: Measurements\ntags: [a]\nlicense: MIT\n"))

    assert verbs(world.ok("plan", "--output", "json").document) == [
        "label label",
        "publish entry entry",
        "publish schema schema",
    ]
    world.ok("apply", "--yes")

    assert world.counts() == (1, 1, 1)
    (published,) = world.records(ENTRIES)
    metadata = from_json(published.pop("metadata"))
    assert isinstance(metadata, bytes)
    assert msgspec.msgpack.decode(metadata) == {"split": "train"}
    did = world.account.did
    (schema_key,) = world.server.records(world.account, SCHEMAS)
    (entry_key,) = world.server.records(world.account, ENTRIES)
    none = {"algorithm": "none", "digest": ""}
    assert published == {
        "$type": ENTRIES,
        "name": "d1",
        "schemaRef": f"at://{did}/{SCHEMAS}/{schema_key}",
        "storage": {
            "$type": "science.alt.dataset.storageHttp",
            "shards": [{"url": f"https://data.example.org/{n}.tar", "checksum": none} for n in range(3)],
        },
        "description": "Measurements",
        "tags": ["a"],
        "license": "MIT",
        "contentMetadata": {"source": {"entryCid": entry}},
    }
    assert world.records(LABELS) == [
        {
            "$type": LABELS,
            "name": "d1",
            "datasetUri": f"at://{did}/{ENTRIES}/{entry_key}",
            "version": "1.0.0",
            "description": "Measurements",
        }
    ]
    again = world.ok("plan", "--output", "json", "--detailed-exitcode").document
    assert (again["resource_changes"], again["summary"]["adopted"]) == ([], 0)


def test_a_second_apply_writes_nothing(world: World) -> None:
    entry = world.index.insert("d1", URLS)
    world.promote("d1", body(entry))
    world.ok("apply", "--yes")
    before = world.head()
    world.ok("apply", "--yes")
    assert (world.head(), world.counts()) == (before, (1, 1, 1))


def test_the_cid_computed_here_is_the_one_that_the_server_computes(world: World) -> None:
    entry = world.index.insert("d1", URLS)
    world.promote("d1", body(entry))
    world.ok("apply", "--yes")
    for kind in (SCHEMAS, ENTRIES, LABELS):
        for one in world.server.records(world.account, kind).values():
            assert cid(one["value"]) == one["cid"]


def test_an_edit_updates_the_records_in_place_and_keeps_when_they_were_created(world: World) -> None:
    entry = world.index.insert("d1", URLS)
    world.promote("d1", body(entry, "license: MIT\n"))
    world.ok("apply", "--yes")
    before = world.server.records(world.account, ENTRIES)
    world.promote("d1", body(entry, "license: CC-BY-4.0\n"))
    assert verbs(world.ok("plan", "--output", "json").document) == ["update entry"]
    world.ok("apply", "--yes")

    after = world.server.records(world.account, ENTRIES)
    ((key, new),) = after.items()
    assert (list(before), new["value"]["license"]) == ([key], "CC-BY-4.0")
    assert new["value"]["createdAt"] == before[key]["value"]["createdAt"]


def test_a_new_version_adds_an_entry_and_a_label_and_shares_the_schema(world: World) -> None:
    one = world.index.insert("d1", URLS)
    two = world.index.insert("d1", ["https://data.example.org/9.tar"])
    world.promote("d1", body(one))
    world.ok("apply", "--yes")
    versions = body(one) + f"  2.0.0:\n    from: {{index: index, entry: d1, cid: {two}}}\n"
    world.promote("d1", versions)
    world.ok("apply", "--yes")

    assert world.counts() == (1, 2, 2)
    assert [label["version"] for label in world.records(LABELS)] == ["1.0.0", "2.0.0"]


def test_withdrawing_takes_label_and_entry_and_keeps_a_schema_that_is_still_in_use(world: World) -> None:
    one = world.index.insert("d1", URLS)
    two = world.index.insert("d1", ["https://data.example.org/9.tar"])
    second = f"  2.0.0:\n    from: {{index: index, entry: d1, cid: {two}}}\n"
    world.promote("d1", body(one) + second)
    world.ok("apply", "--yes")

    world.promote("d1", f"versions:\n{second}removed: [{{version: 1.0.0, reason: wrong data}}]\n")
    world.ok("apply", "--yes")
    assert (world.counts(), world.records(LABELS)[0]["version"]) == ((1, 1, 1), "2.0.0")

    path = "desired/promotions/d1.yaml"
    (world.repository.root / path).unlink()
    removed = (
        f"apiVersion: reconciler/v1\nkind: Removed\nwas: Promotion\ndocument: {path}\nstore: public\n"
        "name: d1\nversions: [1.0.0, 2.0.0]\nreason: moved\n"
    )
    world.write("desired/removed.yaml", removed)
    assert world.run("plan").code == 4  # E_EMPTY_DESIRED: the account would be emptied
    other = world.index.insert("d2", ["https://data.example.org/d2.tar"])
    world.promote("d2", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d2, cid: {other}}}\n")
    world.ok("apply", "--yes")
    assert (world.counts(), world.records(LABELS)[0]["name"]) == ((1, 1, 1), "d2")


def test_a_version_that_just_disappears_from_git_is_denied(world: World) -> None:
    one = world.index.insert("d1", URLS)
    two = world.index.insert("d1", ["https://data.example.org/9.tar"])
    world.promote("d1", body(one) + f"  2.0.0:\n    from: {{index: index, entry: d1, cid: {two}}}\n")
    world.ok("apply", "--yes")
    world.promote("d1", body(two, version="2.0.0"))
    ran = world.run("apply", "--yes")
    assert (ran.code, ran.error, world.counts()) == (4, "E_TOMBSTONE", (1, 2, 2))


def test_drift_shows_a_record_that_somebody_edited_and_one_of_somebody_else(world: World) -> None:
    entry = world.index.insert("d1", URLS)
    world.promote("d1", body(entry))
    world.ok("apply", "--yes")
    ((key, found),) = world.server.records(world.account, ENTRIES).items()
    world.server.write(
        world.account,
        {
            "$type": "com.atproto.repo.applyWrites#update",
            "collection": ENTRIES,
            "rkey": key,
            "value": {**found["value"], "license": "none"},
        },
        {
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": LABELS,
            "value": {
                "$type": LABELS,
                "name": "theirs",
                "datasetUri": f"at://{world.account.did}/{ENTRIES}/{key}",
                "createdAt": "2026-01-02T03:04:05.000Z",
            },
        },
    )
    ran = world.run("drift", "--output", "json", "--detailed-exitcode")
    summary = ran.document["summary"]
    assert (ran.code, summary["drift"], summary["unmanaged"]) == (2, 1, 1)

    world.ok("apply", "--yes")
    assert "license" not in world.records(ENTRIES)[0]
    assert world.counts() == (1, 1, 2)


def test_nothing_becomes_public_without_a_licence(world: World) -> None:
    (world.repository.root / "desired/licence.yaml").unlink()
    cid = world.index.insert("d1", ["https://data.example.org/1.tar"])
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")

    denied = world.run("apply", "--yes")
    assert (denied.code, denied.error, world.counts()) == (4, "E_LICENCE", (0, 0, 0))

    world.repository.edit("desired/promotions/d1.yaml", "versions:", "license: CC-BY-4.0\nversions:")
    world.repository.commit("Say the licence")
    world.ok("apply", "--yes")
    assert world.records(ENTRIES)[0]["license"] == "CC-BY-4.0"


def test_nothing_becomes_public_without_the_metadata_that_the_policy_asks_for(world: World) -> None:
    policy = "apiVersion: reconciler/v1\nkind: Policy\nfederation: {metadata: [split]}\n"
    world.write("desired/policy.yaml", policy)
    cid = world.index.insert("d1", ["https://data.example.org/1.tar"])
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")

    denied = world.run("apply", "--yes")
    assert (denied.code, denied.error, world.counts()) == (4, "E_METADATA", (0, 0, 0))
    assert "its metadata lacks split" in denied.err

    text = (world.repository.root / "desired/promotions/d1.yaml").read_text()
    (world.repository.root / "desired/promotions/d1.yaml").write_text(
        f"{text}    metadata: {{split: train}}\n"
    )
    world.repository.commit("Say the split")
    world.ok("apply", "--yes")
    assert world.counts() == (1, 1, 1)


def test_a_rollback_withdraws_what_was_promoted_since_and_brings_back_what_was_said(world: World) -> None:
    one = world.index.insert("d1", URLS)
    two = world.index.insert("d1", ["https://data.example.org/9.tar"])
    world.promote("d1", body(one, "license: MIT\n"))
    world.ok("apply", "--yes")
    (before,) = world.records(ENTRIES)
    second = f"  2.0.0:\n    from: {{index: index, entry: d1, cid: {two}}}\n"
    world.promote("d1", body(one) + second + "license: CC-BY-4.0\n")
    world.promote("D 2", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {two}}}\n")
    world.ok("apply", "--yes")
    assert world.counts() == (1, 3, 3)

    answer = world.ok("rollback", "--to", "public#1", "--out", "p", "--output", "json").document
    assert [verb["verb"] for verb in answer["plan"]["resource_changes"]].count("withdraw") == 4
    assert world.counts() == (1, 3, 3)
    world.repository.git("apply", "p")
    (world.repository.root / "p").unlink()
    gone = world.repository.root / "desired/rollback/public-1"
    assert (gone / "d1.yaml").read_text().splitlines()[2:] == [
        "store: public",
        'name: "d1"',
        "removed:",
        '  - {version: "2.0.0", reason: "rolled back to public#1"}',
    ]
    assert len(list(gone.iterdir())) == 2
    assert not (world.repository.root / "desired/promotions/D 2.yaml").exists()
    world.repository.commit("Roll back")
    world.ok("apply", "--yes")
    assert (world.counts(), world.records(ENTRIES)) == ((1, 1, 1), [before])
