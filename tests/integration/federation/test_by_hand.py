"""`federation promote`, `withdraw` and `list` against a real PDS."""

from __future__ import annotations

import json
from typing import Any

import msgspec.msgpack
import pytest

from reconciler.stores.atproto.dagcbor import from_json
from tests.integration.federation.archives import write_shards
from tests.integration.federation.conftest import ENTRIES, LABELS, SCHEMAS, World, stores
from tests.integration.federation.index import sample_schema
from tests.servers.pds import PASSWORD

PUBLIC = ("--store", "public")
URL = "https://data.example.org/1.tar"


def promote(world: World, *words: str) -> dict[str, Any]:
    return world.ok("federation", "promote", *words, *PUBLIC, "--output", "json").document


def metadata(record: dict[str, Any]) -> object:
    found = from_json(record["metadata"])
    assert isinstance(found, bytes)
    return msgspec.msgpack.decode(found)


def test_an_entry_is_promoted_by_its_name_with_its_metadata(world: World) -> None:
    world.index.insert("d1", [URL], metadata={"split": "train", "rows": 3}, version="2.1.0")
    done = promote(world, "d1", "--description", "Measurements", "--tag", "a", "b", "--license", "MIT")

    (entry,) = world.records(ENTRIES)
    (label,) = world.records(LABELS)
    ((key, _),) = world.server.records(world.account, ENTRIES).items()
    assert (done["status"], done["name"], done["version"]) == ("done", "d1", "2.1.0")
    assert done["uri"] == label["datasetUri"] == f"at://{world.account.did}/{ENTRIES}/{key}"
    assert (entry["description"], entry["tags"], entry["license"]) == ("Measurements", ["a", "b"], "MIT")
    assert metadata(entry) == {"split": "train", "rows": 3}
    assert (label["name"], label["version"], label["description"]) == ("d1", "2.1.0", "Measurements")


def test_promoting_the_same_thing_twice_leaves_one_of_each(world: World) -> None:
    world.index.insert("d1", [URL])
    promote(world, "d1")
    before = world.head()
    again = promote(world, "d1")
    assert (again["status"], again["changes"], world.head(), world.counts()) == (
        "unchanged",
        [],
        before,
        (1, 1, 1),
    )


def test_every_write_by_hand_leaves_its_packet_beside_the_ledger_at_once(world: World) -> None:
    world.index.insert("d1", [URL], version="1.0.0")
    place = world.repository.root / "var/public/.reconciler/evidence"
    promote(world, "d1")
    assert [path.name for path in place.iterdir()] == [f"{1:020d}.packet.json"]
    world.ok("federation", "withdraw", "d1@1.0.0", *PUBLIC, "--reason", "wrong units")
    first, second = (json.loads(path.read_bytes()) for path in sorted(place.iterdir()))
    assert (second["seq"], second["previous"]) == (2, first["root"])


@pytest.mark.parametrize("reference", ["d1@2.0.0", "@local/d1@2.0.0", "local/d1@2.0.0"])
def test_an_entry_is_promoted_by_reference(world: World, reference: str) -> None:
    world.index.insert("d1", [URL], version="1.0.0")
    world.index.insert("d1", ["https://data.example.org/2.tar"], version="2.0.0")
    done = promote(world, reference)
    assert (done["version"], world.records(ENTRIES)[0]["storage"]["shards"][0]["url"]) == (
        "2.0.0",
        "https://data.example.org/2.tar",
    )


def test_name_version_and_metadata_can_be_overridden(world: World) -> None:
    world.index.insert("d1", [URL], metadata={"split": "test", "rows": 3}, version="1.0.0")
    promote(world, "d1", "--name", "public-d1", "--version", "3.0.0", "--metadata", "split=train")
    (label,) = world.records(LABELS)
    assert (label["name"], label["version"]) == ("public-d1", "3.0.0")
    assert metadata(world.records(ENTRIES)[0]) == {"rows": 3, "split": "train"}


def test_metadata_by_hand_keep_their_types(world: World) -> None:
    world.index.insert("d1", [URL], metadata={"rows": 3})
    said = ("rows:=1200", "sorted:=true", 'bins:=[1, {"a": null}]', "rate=0.5", "url=a:=b")
    promote(world, "d1", "--metadata", *said)
    assert metadata(world.records(ENTRIES)[0]) == {
        "rows": 1200,
        "sorted": True,
        "bins": [1, {"a": None}],
        "rate": "0.5",
        "url": "a:=b",
    }


def test_two_entries_of_one_type_share_the_schema_and_two_versions_need_not_collide(world: World) -> None:
    world.index.insert("d1", [URL], version="1.0.0")
    world.index.insert("d2", ["https://data.example.org/2.tar"], version="1.0.0")
    world.index.insert("d1", ["https://data.example.org/3.tar"], version="2.0.0")
    for reference in ("d1@1.0.0", "d2", "d1@2.0.0"):
        promote(world, reference)
    assert world.counts() == (1, 3, 3)


def test_a_schema_that_atdata_published_is_used(world: World) -> None:
    world.index.insert("d1", [URL])
    promote(world, "d1")
    (published,) = world.server.records(world.account, SCHEMAS).values()
    other = world.server.account()
    del published["value"]["description"]
    world.server.write(
        other,
        {
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": SCHEMAS,
            "rkey": "3jzfcijpj2z2a",
            "value": published["value"],
        },
    )
    world.repository.edit("desired/stores.yaml", world.account.handle, other.handle)
    world.repository.edit("desired/stores.yaml", "var/public", "var/other")
    world.repository.commit("Promote to another account")
    promote(world, "d1")
    assert list(world.server.records(other, SCHEMAS)) == ["3jzfcijpj2z2a"]


def test_the_same_type_and_version_with_other_content_is_refused(world: World) -> None:
    world.index.insert("d1", [URL])
    promote(world, "d1")
    world.index.publish_schema(sample_schema(kind="str"))
    world.index.insert("d2", ["https://data.example.org/2.tar"])
    ran = world.run("federation", "promote", "d2", *PUBLIC)
    assert (ran.code, ran.error, world.counts()) == (3, "E_SCHEMA_CONFLICT", (1, 1, 1))


def test_a_schema_file_and_urls_are_promoted_without_an_index(world: World) -> None:
    (world.repository.root / "sample.json").write_text(json.dumps(sample_schema()))
    url = "https://data.example.org/{0..1}.tar"
    done = promote(world, "--name", "d9", "--schema", "sample.json", "--url", url)
    (entry,) = world.records(ENTRIES)
    assert (done["version"], [shard["url"] for shard in entry["storage"]["shards"]]) == (
        "1.0.0",
        ["https://data.example.org/0.tar", "https://data.example.org/1.tar"],
    )


def test_a_version_that_nobody_named_never_replaces_another(world: World) -> None:
    world.index.insert("d1", [URL])
    promote(world, "d1")
    world.index.insert("d1", ["https://data.example.org/2.tar"])
    ran = world.run("federation", "promote", "d1", *PUBLIC)
    assert (ran.code, ran.error) == (4, "E_PROMOTED_EXISTS")
    promote(world, "d1", "--version", "1.1.0")
    assert world.counts() == (1, 2, 2)


def test_shards_without_an_index_are_promoted_twice_as_once_and_never_replaced_unasked(world: World) -> None:
    (world.repository.root / "sample.json").write_text(json.dumps(sample_schema()))
    words = ("--name", "d9", "--schema", "sample.json", "--url")
    promote(world, *words, URL)
    assert promote(world, *words, URL)["status"] == "unchanged"
    assert promote(world, *words, URL, "--description", "Measurements")["status"] == "done"
    other = "https://data.example.org/2.tar"
    ran = world.run("federation", "promote", *words, other, *PUBLIC)
    assert (ran.code, ran.error, world.counts()) == (4, "E_PROMOTED_EXISTS", (1, 1, 1))
    promote(world, *words, other, "--version", "1.0.0")
    (entry,) = world.records(ENTRIES)
    assert [shard["url"] for shard in entry["storage"]["shards"]] == [other]


def test_a_dry_run_says_what_it_found_and_writes_nothing(world: World) -> None:
    cid = world.index.insert("d1", [URL])
    before = world.head()
    found = promote(world, "d1", "--dry-run")
    assert (found["status"], world.head(), world.counts()) == ("dry-run", before, (0, 0, 0))
    assert found["notes"] == [
        f"entry d1, {cid}",
        "schema Sample@1.0.0 is published with it",
        "1 shard left where the data is",
        f"shard {URL}",
        f"login as {world.account.did}",
        "the writes cost 9 points of the 5000 of an hour and the 35000 of a day",
    ]
    assert not (world.repository.root / "var/public").exists()


def test_people_are_told_what_was_found_before_anything_is_written(world: World) -> None:
    cid = world.index.insert("d1", ["https://data.example.org/{00..21}.tar"])
    before = world.head()
    ran = world.repository.run(
        "federation",
        "promote",
        "d1",
        *PUBLIC,
        PDS_PASSWORD=PASSWORD,
        RECONCILER_FAILPOINTS="pds.write.before=kill",
    )
    told = [line.removeprefix("note: ") for line in ran.err.splitlines()]
    assert (ran.code, world.head(), ran.out) == (-9, before, "")
    assert told[:4] == [
        f"entry d1, {cid}",
        "schema Sample@1.0.0 is published with it",
        "22 shards left where the data is",
        "shard https://data.example.org/00.tar",
    ]
    assert told[22:] == [
        "shard https://data.example.org/19.tar",
        "and 2 more shards",
        f"login as {world.account.did}",
        "the writes cost 9 points of the 5000 of an hour and the 35000 of a day",
    ]
    again = world.ok("federation", "promote", "d1", *PUBLIC)
    assert (again.out.startswith("nothing to do"), world.counts()) == (True, (1, 1, 1))


@pytest.mark.parametrize(
    ("urls", "metadata", "code"),
    [
        ([], None, "E_DATA_URLS"),
        (["/data/1.tar"], None, "E_URL_PRIVATE"),
        (["https://me:secret@data.example.org/1.tar"], None, "E_URL_CREDENTIALS"),
        (["https://data.example.org/1.tar?X-Amz-Signature=secret"], None, "E_URL_CREDENTIALS"),
        ([URL], {"score": 0.5}, "E_RECORD_TYPE"),
        ([URL], {"rows": 2**53}, "E_RECORD_LIMIT"),
        ([URL], {"note": "x" * 100_001}, "E_RECORD_LIMIT"),
        ([f"https://data.example.org/{'x' * 2000}.tar"], None, "E_RECORD_LIMIT"),
    ],
)
def test_what_must_not_be_published_is_refused_before_anything_is_written(
    world: World, urls: list[str], metadata: dict[str, object] | None, code: str
) -> None:
    world.index.insert("d1", urls, metadata=metadata)
    before = world.head()
    ran = world.run("federation", "promote", "d1", *PUBLIC)
    assert (ran.code, ran.error, "secret" in ran.err) == (3, code, False)
    assert (world.head(), world.counts()) == (before, (0, 0, 0))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nowhere",), "E_ENTRY_UNKNOWN"),
        (("d1@9.9.9",), "E_ENTRY_UNKNOWN"),
        (("other",), "E_SCHEMA_UNKNOWN"),
        (("odd",), "E_SCHEMA_REF"),
        ((), "E_USAGE"),
        (("d1", "--schema", "sample.json"), "E_USAGE"),
        (("--schema", "sample.json", "--url", URL), "E_USAGE"),
        (("d1", "--registry", "a/b@1.0.0"), "E_USAGE"),
        (("d1", "--name", "a/b"), "E_PROMOTED_NAME"),
        (("d1", "--name", "n" * 201), "E_RECORD_LIMIT"),
        (("d1", "--version", "v" * 51), "E_PROMOTED_VERSION"),
        (("d1", "--license", "l" * 201), "E_RECORD_LIMIT"),
        (("d1", "--tag", *("t" * 31)), "E_RECORD_LIMIT"),
        (("d1", "--description", "d" * 5001), "E_RECORD_LIMIT"),
        (("d1", "--index", "public"), "E_STORE_KIND"),
        (("d1", "--copy-to", "index"), "E_STORE_KIND"),
        (("d1", "--metadata", "split"), "E_USAGE"),
        (("d1", "--metadata", ":=1"), "E_USAGE"),
        (("d1", "--metadata", "rows:=1,2"), "E_JSON_SYNTAX"),
        (("d1", "--metadata", 'a:={"b":1,"b":2}'), "E_JSON_DUP"),
        (("d1", "--metadata", "rate:=0.5"), "E_RECORD_TYPE"),
        (("d1", "--metadata", f"rows:={2**53}"), "E_RECORD_LIMIT"),
    ],
)
def test_what_cannot_be_promoted_is_refused_with_its_class(
    world: World, words: tuple[str, ...], code: str
) -> None:
    world.index.insert("d1", [URL])
    world.index.insert("other", [URL], schema="atdata://local/schema/Other@1.0.0")
    world.index.insert("odd", [URL], schema="Sample")
    ran = world.run("federation", "promote", *words, *PUBLIC)
    assert (ran.code, ran.error, world.counts()) == (3, code, (0, 0, 0))


def test_without_a_login_nothing_is_written(world: World) -> None:
    world.index.insert("d1", [URL])
    missing = world.repository.run("federation", "promote", "d1", *PUBLIC)
    wrong = world.repository.run("federation", "promote", "d1", *PUBLIC, PDS_PASSWORD="canary-of-another")  # noqa: S106
    assert [(missing.code, missing.error), (wrong.code, wrong.error)] == [(3, "E_ENV"), (10, "E_AUTH")]
    assert ("canary" in missing.err + wrong.err, world.counts()) == (False, (0, 0, 0))


def test_withdrawing_takes_label_and_entry_and_twice_is_fine(world: World) -> None:
    world.index.insert("d1", [URL])
    promote(world, "d1")
    done = world.ok("federation", "withdraw", "d1@1.0.0", *PUBLIC, "--reason", "wrong").out
    assert world.counts() == (1, 0, 0)
    again = world.ok("federation", "withdraw", "d1@1.0.0", *PUBLIC, "--output", "json").document
    assert (again["status"], bool(done)) == ("unchanged", True)


def test_a_record_by_hand_is_kept_in_the_ledger_and_creates_no_ownership(world: World) -> None:
    world.index.insert("d1", [URL])
    promote(world, "d1", "--reason", "try it")
    (store,) = world.ok("history", "--output", "json").document["stores"]
    (record,) = store["records"]
    assert (record["by"], record["reason"], record["command"]) == (
        "hand",
        "try it",
        "reconciler federation promote d1 --store public",
    )
    (row,) = world.ok("federation", "list", *PUBLIC, "--output", "json").document["labels"]
    assert row["managed"] is False


def test_the_list_shows_every_label_and_entries_without_one(world: World) -> None:
    world.index.insert("d1", [URL], version="1.0.0")
    world.index.insert("d2", ["s3://bucket/a/2.tar"], version="2.0.0")
    promote(world, "d1")
    promote(world, "d2")
    (key,) = (one.rpartition("/")[2] for one in [world.records(LABELS)[0]["datasetUri"]])
    entry = world.server.records(world.account, ENTRIES)[key]["value"]
    world.server.write(
        world.account,
        {
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": ENTRIES,
            "value": {**entry, "name": "loose"},
        },
    )
    rows = world.ok("federation", "list", *PUBLIC, "--output", "json").document["labels"]
    assert [
        (row["name"], row["version"], row["kind"], row["schema"], row["storage"], row["shards"])
        for row in rows
    ] == [
        ("d1", "1.0.0", "label", "Sample@1.0.0", "storageHttp", 1),
        ("d2", "2.0.0", "label", "Sample@1.0.0", "storageS3", 1),
        ("loose", "", "entry", "Sample@1.0.0", "storageHttp", 1),
    ]
    text = world.ok("federation", "list", "d2", *PUBLIC).out
    assert (text.startswith("d2@2.0.0"), text.count("\n")) == (True, 1)


def test_nothing_becomes_or_stays_public_by_hand_without_a_licence(world: World) -> None:
    (world.repository.root / "desired/licence.yaml").unlink()
    world.repository.commit("No waiver")
    world.index.insert("d1", [URL])
    ran = world.run("federation", "promote", "d1", *PUBLIC)
    assert (ran.code, ran.error, world.counts()) == (4, "E_LICENCE", (0, 0, 0))
    promote(world, "d1", "--license", "MIT")
    ran = world.run("federation", "promote", "d1", "--description", "Without it", *PUBLIC)
    assert (ran.code, ran.error, world.records(ENTRIES)[0]["license"]) == (4, "E_LICENCE", "MIT")


def test_data_is_copied_by_hand_before_the_records(world: World) -> None:
    write_shards(world.repository.root / "var/source", 1)
    world.index.insert("d1", [str(world.repository.root / "var/source/0.tar")])
    found = promote(world, "d1", "--copy-to", "public", "--dry-run")
    assert found["notes"][2] == "1 shard copied to public, 10240 bytes"
    promote(world, "d1", "--copy-to", "public")
    assert world.records(ENTRIES)[0]["storage"]["$type"] == "science.alt.dataset.storageBlobs"
    assert promote(world, "d1", "--copy-to", "public")["status"] == "unchanged"


def test_a_registry_revision_is_promoted_by_hand(world: World) -> None:
    registry = (
        '  registry: {kind: registry, database: "sqlite:var/registry.db", objects: file:var/manifests, '
        "create: true}\n"
    )
    world.write("desired/stores.yaml", stores(world.server, world.account, registry))
    (world.repository.root / "one.json").write_text('{"kind": "evm-rpc"}')
    (world.repository.root / "sample.json").write_text(json.dumps(sample_schema()))
    on = ("--store", "registry")
    done = world.ok("registry", "manifest", "register", "one.json", *on, "--output", "json").document
    world.ok("registry", "link", "ethereum/mainnet", done["hash"], *on)
    world.ok("registry", "tag", "set", "ethereum/mainnet@1.0.0", done["hash"], *on)
    words = ("--name", "mainnet", "--schema", "sample.json", "--url", URL)
    promote(world, *words, "--registry", "ethereum/mainnet@1.0.0")
    assert world.records(ENTRIES)[0]["contentMetadata"]["source"] == {
        "dataset": "ethereum/mainnet@1.0.0",
        "manifest": f"sha256:{done['hash']}",
    }
