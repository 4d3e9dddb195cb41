"""What others wrote, what a person promoted before, and runs that are killed or race."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.integration.command_line import CLEAN
from tests.integration.federation.conftest import ENTRIES, LABELS, SCHEMAS, World
from tests.servers.pds import PASSWORD

URL = "https://data.example.org/1.tar"


def declare(world: World, name: str = "d1", more: str = "") -> None:
    cid = world.index.insert(name, [f"https://data.example.org/{name}.tar"], metadata={"split": "train"})
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: {name}, cid: {cid}}}\n{more}"
    world.promote(name, body)


def created(collection: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"$type": "com.atproto.repo.applyWrites#create", "collection": collection, "value": value}


def as_the_reference_promotes(world: World) -> None:
    """Schema, entry and label as `promote_entry` of atdata 0.7.0b1 leaves them."""
    time = "2020-01-02T03:04:05.678901+00:00"
    did = world.account.did
    schema = {
        "$type": SCHEMAS,
        "name": "Sample",
        "version": "1.0.0",
        "schemaType": "jsonSchema",
        "schema": {
            "$type": f"{SCHEMAS}#jsonSchemaFormat",
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {
                "image": {"$ref": "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"},
                "label": {"type": "integer"},
                "remarks": {"type": "string"},
            },
            "required": ["image", "label"],
            "arrayFormatVersions": {"ndarrayBytes": "1.0.0"},
        },
        "createdAt": time,
        "atdataSchemaVersion": 1,
        "description": "Another docstring.",
    }
    world.server.write(world.account, {**created(SCHEMAS, schema), "rkey": "3jzfcijpj2z2a"})
    entry = {
        "$type": ENTRIES,
        "name": "d1",
        "schemaRef": f"at://{did}/{SCHEMAS}/3jzfcijpj2z2a",
        "storage": {
            "$type": "science.alt.dataset.storageHttp",
            "shards": [{"url": URL, "checksum": {"algorithm": "none", "digest": ""}}],
        },
        "metadata": {"split": "train", "custom": {"k": 1}},
        "createdAt": time,
    }
    label = {
        "$type": LABELS,
        "name": "d1",
        "datasetUri": f"at://{did}/{ENTRIES}/3jzfcijpj2z2b",
        "version": "1.0.0",
        "createdAt": time,
    }
    world.server.write(
        world.account, {**created(ENTRIES, entry), "rkey": "3jzfcijpj2z2b"}, created(LABELS, label)
    )


def test_what_the_reference_promoted_is_left_alone_and_its_schema_is_used(world: World) -> None:
    as_the_reference_promotes(world)
    before = world.server.records(world.account, ENTRIES)["3jzfcijpj2z2b"]
    declare(world)
    world.ok("apply", "--yes")

    assert world.counts() == (1, 2, 2)
    assert world.server.records(world.account, ENTRIES)["3jzfcijpj2z2b"] == before
    drift = world.ok("drift", "--output", "json", "--detailed-exitcode").document["summary"]
    assert (drift["in_sync"], drift["drift"], drift["unmanaged"]) == (2, 0, 3)
    world.ok("federation", "verify", "--store", "public")  # ours is newer, so readers get it

    path = "desired/promotions/d1.yaml"
    (world.repository.root / path).write_text(
        "apiVersion: reconciler/v1\nkind: Promotion\nstore: public\nname: d1\n"
        "removed: [{version: 1.0.0, reason: wrong}]\n"
    )
    declare(world, "d2")
    world.ok("apply", "--yes")
    assert (world.counts(), "3jzfcijpj2z2a" in world.server.records(world.account, SCHEMAS)) == (
        (1, 2, 2),
        True,
    )


def test_older_forms_of_storage_and_metadata_are_read_and_left_alone(world: World) -> None:
    as_the_reference_promotes(world)
    current = world.server.records(world.account, ENTRIES)["3jzfcijpj2z2b"]["value"]
    external = {
        "$type": "science.alt.dataset.storageExternal",
        "urls": [URL, "https://data.example.org/2.tar"],
    }
    packed = {"$bytes": "gaVzcGxpdKV0cmFpbg"}  # msgpack of {"split": "train"}
    forms = {
        "3jzfcijpj2z2c": {**current, "name": "external", "storage": external, "metadata": packed},
        "3jzfcijpj2z2d": {**current, "name": "broken", "storage": {"$type": "example.org.other"}},
    }
    for key, entry in forms.items():
        about = {"name": entry["name"], "datasetUri": f"at://{world.account.did}/{ENTRIES}/{key}"}
        label = {**about, "$type": LABELS, "version": "0.1.0", "createdAt": entry["createdAt"]}
        world.server.write(world.account, {**created(ENTRIES, entry), "rkey": key}, created(LABELS, label))
    dangling = {"$type": LABELS, "name": "dangling", "datasetUri": f"at://{world.account.did}/{ENTRIES}/none"}
    world.server.write(world.account, created(LABELS, {**dangling, "createdAt": current["createdAt"]}))
    before = world.server.records(world.account, ENTRIES)
    declare(world, "d2")
    world.ok("apply", "--yes")

    listed = world.ok("federation", "list", "--store", "public", "--output", "json").document["labels"]
    assert [(row["name"], row["storage"], row["shards"], row["managed"]) for row in listed] == [
        ("broken", "other", 0, False),
        ("d1", "storageHttp", 1, False),
        ("d2", "storageHttp", 1, True),
        ("dangling", "", 0, False),
        ("external", "storageExternal", 2, False),
    ]
    said = world.ok("federation", "list", "--store", "public").out.splitlines()
    assert [line.split()[0] for line in said if "names no entry" in line] == ["dangling"]
    after = world.server.records(world.account, ENTRIES)
    assert {key: after[key] for key in before} == before


def test_a_schema_is_found_also_behind_a_hundred_newer_ones(world: World) -> None:
    as_the_reference_promotes(world)
    (theirs,) = world.server.records(world.account, SCHEMAS).values()
    newer = ({**theirs["value"], "name": f"Other{number}"} for number in range(120))
    world.server.write(world.account, *(created(SCHEMAS, value) for value in newer))
    declare(world, "d2")
    world.ok("apply", "--yes")
    (entry,) = [one for one in world.records(ENTRIES) if one["name"] == "d2"]
    assert (entry["schemaRef"], world.counts()) == (theirs["uri"], (121, 2, 2))


def test_what_was_promoted_by_hand_is_adopted_by_the_document_that_says_the_same(world: World) -> None:
    world.index.insert("d1", ["https://data.example.org/d1.tar"], metadata={"split": "train"})
    world.ok("federation", "promote", "d1", "--store", "public")
    before = world.head()
    declare(world)
    plan = world.ok("plan", "--output", "json", "--detailed-exitcode").document
    assert (plan["resource_changes"], plan["summary"]["adopted"]) == ([], 3)
    world.ok("apply", "--yes")
    rows = world.ok("federation", "list", "--store", "public", "--output", "json").document["labels"]
    assert (world.head(), [row["managed"] for row in rows]) == (before, [True])


def test_edited_metadata_update_the_entry_alone(world: World) -> None:
    declare(world)
    world.ok("apply", "--yes")
    labels = world.server.records(world.account, LABELS)
    world.repository.edit("desired/promotions/d1.yaml", "}\n", "}\n    metadata: {split: test}\n")
    world.repository.commit("Another split")
    world.ok("apply", "--yes")
    assert (world.server.records(world.account, LABELS), world.counts()) == (labels, (1, 1, 1))


@pytest.mark.parametrize("moment", ["pds.write.before", "pds.write.answer", "pds.verify"])
def test_an_apply_that_was_killed_is_finished_by_the_next_one(world: World, moment: str) -> None:
    declare(world)
    killed = world.repository.run(
        "apply", "--yes", PDS_PASSWORD=PASSWORD, RECONCILER_FAILPOINTS=f"{moment}=kill"
    )
    assert killed.code == -9
    world.ok("apply", "--yes")
    assert world.counts() == (1, 1, 1)
    assert world.ok("plan", "--output", "json").document["resource_changes"] == []
    world.ok("federation", "verify", "--store", "public")


def test_four_people_who_promote_the_same_thing_at_once_leave_one_of_each(world: World) -> None:
    world.index.insert("d1", [URL])
    command = [sys.executable, "-m", "reconciler", "federation", "promote", "d1", "--store", "public"]
    running = [
        subprocess.Popen(
            command,
            cwd=world.repository.root,
            env={**CLEAN, "PDS_PASSWORD": PASSWORD},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    ended = [process.communicate()[1].decode() for process in running]
    assert ([process.returncode for process in running], world.counts()) == ([0] * 4, (1, 1, 1)), ended
