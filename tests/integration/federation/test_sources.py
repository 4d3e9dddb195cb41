"""Promotions from a registry, from files, in one change with what they come from; and what a run asks for."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from tests.integration.federation.archives import write_shards
from tests.integration.federation.conftest import ENTRIES, World, stores
from tests.integration.federation.index import sample_schema
from tests.servers import pds_proxy

REGISTRY = (
    '  registry: {kind: registry, database: "sqlite:var/registry.db", objects: file:var/manifests, '
    "create: true}\n"
)
MANIFEST = '{"kind": "evm-rpc"}\n'
URL = "https://data.example.org/1.tar"


def declare_tag(world: World) -> None:
    """A registry, a manifest file and the tag ethereum/mainnet@1.0.0."""
    world.write("desired/stores.yaml", stores(world.server, world.account, REGISTRY))
    world.write("desired/datasets/one.json", MANIFEST)
    world.write(
        "desired/datasets/mainnet.yaml",
        "apiVersion: reconciler/v1\nkind: Dataset\nstore: registry\nnamespace: ethereum\nname: mainnet\n"
        "versions:\n  1.0.0: {manifest: one.json}\n",
    )


def from_registry(revision: str, more: str = "") -> str:
    return (
        f"versions:\n  1.0.0:\n    from:\n      registry: {revision}\n      schema: sample.json\n"
        f"      urls: [{URL}]\n{more}"
    )


def provenance(world: World) -> dict[str, str]:
    (entry,) = world.records(ENTRIES)
    source: dict[str, str] = entry["contentMetadata"]["source"]
    return source


def test_a_tag_and_its_promotion_come_in_one_change(world: World) -> None:
    declare_tag(world)
    world.write("desired/promotions/sample.json", json.dumps(sample_schema()))
    world.promote("d1", from_registry("ethereum/mainnet@1.0.0"))
    world.ok("apply", "--yes")

    (tag,) = world.ok(
        "registry", "tag", "list", "ethereum/mainnet", "--store", "registry", "--output", "json"
    ).document["tags"][:1]
    assert provenance(world) == {
        "dataset": "ethereum/mainnet@1.0.0",
        "manifest": f"sha256:{tag['hash']}",
    }
    assert world.ok("plan", "--output", "json").document["resource_changes"] == []


def test_a_revision_that_the_registry_holds_needs_no_document(world: World) -> None:
    declare_tag(world)
    world.ok("apply", "--yes", "--store", "registry")
    (world.repository.root / "desired/datasets/mainnet.yaml").unlink()
    world.write("desired/promotions/sample.json", json.dumps(sample_schema()))
    world.promote("d1", from_registry("ethereum/mainnet@1.0.0"))
    world.ok("apply", "--yes", "--store", "public")
    assert provenance(world)["dataset"] == "ethereum/mainnet@1.0.0"


def test_a_revision_is_known_from_a_snapshot_of_its_registry(world: World) -> None:
    declare_tag(world)
    world.ok("apply", "--yes", "--store", "registry")
    (world.repository.root / "desired/datasets/mainnet.yaml").unlink()
    world.write("desired/promotions/sample.json", json.dumps(sample_schema()))
    world.ok("snapshot", "--out", "live.json")
    hashed = world.ok("registry", "resolve", "ethereum/mainnet@1.0.0", "--store", "registry").out.split()
    digest = next(word.removeprefix("sha256:") for word in hashed if len(word.removeprefix("sha256:")) == 64)
    for name, revision in (("d1", "1.0.0"), ("d2", digest), ("d3", "2.0.0")):
        world.promote(name, from_registry(f"ethereum/mainnet@{revision}"))
    words = ("--store", "public", "--output", "json")
    (world.repository.root / "var").rename(world.repository.root / "elsewhere")
    seen = world.repository.ok("plan", "--live", "live.json", *words).document
    (world.repository.root / "elsewhere").rename(world.repository.root / "var")
    assert [note.partition(" ")[0] for note in seen["notes"]] == ["d3@1.0.0"]
    (world.repository.root / "desired/promotions/d3.yaml").unlink()
    world.repository.commit("Without the revision that nobody has")
    known = world.ok("plan", *words).document
    assert seen["resource_changes"] == known["resource_changes"] != []


@pytest.mark.parametrize("revision", ["ethereum/mainnet@9.9.9", f"ethereum/mainnet@{'ab' * 32}", "a/b@1.0.0"])
def test_a_revision_that_nobody_has_is_refused(world: World, revision: str) -> None:
    declare_tag(world)
    world.ok("apply", "--yes", "--store", "registry")
    world.write("desired/promotions/sample.json", json.dumps(sample_schema()))
    world.promote("d1", from_registry(revision))
    ran = world.run("plan", "--store", "public")
    assert (ran.code, ran.error) == (3, "E_REVISION_UNKNOWN")


def test_a_schema_file_that_has_no_form_in_a_record_is_refused_at_plan(world: World) -> None:
    world.write("desired/promotions/sample.json", '{"name": "Sample"}')
    body = f"versions:\n  1.0.0:\n    from: {{schema: sample.json, urls: [{URL}]}}\n"
    world.promote("d1", body)
    ran = world.run("plan")
    assert (ran.code, ran.err.split(" ")[:2]) == (3, ["E_SCHEMA_FORM", "desired/promotions/sample.json:"])


def test_every_problem_of_every_promotion_is_reported_at_its_place(world: World) -> None:
    for number, cid in enumerate(
        (
            world.index.insert("float", ["https://data.example.org/2.tar"], metadata={"a": 0.5}),
            world.index.insert("path", ["/data/1.tar"]),
            "bafyrei" + "a" * 52,
        )
    ):
        name = ("float", "path", "gone")[number]
        world.promote(name, f"versions:\n  1.0.0:\n    from: {{index: index, entry: {name}, cid: {cid}}}\n")
    ran = world.run("plan")
    found = sorted(line.split(": ")[0] for line in ran.err.splitlines())
    assert (ran.code, found) == (
        3,
        [
            "E_ENTRY_UNKNOWN desired/promotions/gone.yaml:6:3",
            "E_URL_PRIVATE desired/promotions/path.yaml:6:3",
        ],
    )
    (world.repository.root / "desired/promotions/gone.yaml").unlink()
    (world.repository.root / "desired/promotions/path.yaml").unlink()
    world.repository.commit("Leave one")
    ran = world.run("plan")
    assert (ran.code, ran.err.split(": ")[0]) == (3, "E_RECORD_TYPE desired/promotions/float.yaml:6:3")


def test_an_index_that_is_missing_stops_the_run_and_is_never_empty(world: World) -> None:
    cid = world.index.insert("d1", [URL])
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")
    world.ok("apply", "--yes")
    world.index.path.unlink()
    assert [world.run(*words).code for words in (("plan",), ("drift",), ("apply", "--yes"))] == [10, 10, 10]
    assert world.counts() == (1, 1, 1)


def test_an_unchanged_run_asks_three_things_however_many_promotions_there_are(world: World) -> None:
    with pds_proxy.before(world.server.url) as proxy:
        text = stores(world.server, world.account).replace(world.server.url, proxy.url)
        world.write("desired/stores.yaml", text)
        for number in range(40):
            cid = world.index.insert(f"d{number}", [f"https://data.example.org/{number}.tar"])
            body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: d{number}, cid: {cid}}}\n"
            (world.repository.root / "desired/promotions").mkdir(exist_ok=True)
            head = f"apiVersion: reconciler/v1\nkind: Promotion\nstore: public\nname: d{number}\n"
            (world.repository.root / f"desired/promotions/d{number}.yaml").write_text(head + body)
        world.repository.commit("Promote forty")
        world.ok("apply", "--yes")
        for words in (("plan",), ("apply", "--yes"), ("drift",)):
            proxy.seen.clear()
            world.ok(*words)
            assert len(proxy.seen) <= 3, proxy.seen


@pytest.mark.parametrize("moment", ["bucket.copy.mid", "bucket.copy.rename.before"])
def test_a_copy_that_was_killed_is_made_by_the_next_run_and_leaves_no_litter(
    world: World, moment: str
) -> None:
    (digest,) = write_shards(world.repository.root / "var/source", 1)
    world.write(
        "desired/stores.yaml",
        stores(world.server, world.account, "  copies: {kind: bucket, root: file:var/copies}\n"),
    )
    cid = world.index.insert("d1", [str(world.repository.root / "var/source/0.tar")])
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n"
    world.promote("d1", body + "data: {copy: copies}\n")
    killed = world.repository.run(
        "apply", "--yes", PDS_PASSWORD=world.account.password, RECONCILER_FAILPOINTS=f"{moment}=kill"
    )
    assert (killed.code, world.counts()) == (-9, (0, 0, 0))
    world.ok("apply", "--yes")
    copies = [path.name for path in (world.repository.root / "var/copies").iterdir()]
    assert (copies, world.counts()) == ([f"{digest}.tar"], (1, 1, 1))


def test_the_index_is_not_written_to(world: World) -> None:
    cid = world.index.insert("d1", [URL])
    before = world.index.path.read_bytes()
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")
    world.ok("apply", "--yes")
    names = sorted(path.name for path in world.index.path.parent.iterdir())
    assert (world.index.path.read_bytes(), names) == (before, ["index.db", "public"])
    with closing(sqlite3.connect(world.index.path)) as database:
        assert database.execute("SELECT count(*) FROM labels").fetchone() == (1,)


def test_the_other_commands_of_a_repository_with_an_account_work(world: World) -> None:
    cid = world.index.insert("d1", [URL])
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")
    world.ok("apply", "--yes")
    for words in (("validate",), ("history",), ("status",), ("drift", "--deep")):
        assert world.run(*words).code == 0, words


def test_a_hash_of_the_index_is_published_for_the_one_shard_that_it_can_mean(world: World) -> None:
    urls = [f"https://data.example.org/{path}" for path in ("a/0.tar", "b/0.tar", "b/1.tar", "c/2.tar")]
    known = {"0.tar": "aa" * 32, "b/1.tar": "bb" * 32, urls[3]: "cc" * 32, "9.tar": "dd" * 32, "2.tar": 7}
    cid = world.index.insert("d1", urls, metadata={"checksums": known})
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")
    world.ok("apply", "--yes")
    (entry,) = world.records(ENTRIES)
    assert [shard["checksum"]["digest"] for shard in entry["storage"]["shards"]] == [
        "",
        "",
        "bb" * 32,
        "cc" * 32,
    ]
    assert "metadata" not in entry


@pytest.mark.parametrize(
    ("schema", "url", "code"),
    [
        ('{"name": "Sample"}', URL, "E_SCHEMA_FORM"),
        (json.dumps(sample_schema(version="one")), URL, "E_RECORD_FORMAT"),
        (json.dumps(sample_schema()), "var/1.tar", "E_URL_PRIVATE"),
        (json.dumps(sample_schema()), "https://data.example.org/{0..1.tar", "E_URL_PATTERN"),
        (json.dumps(sample_schema()), "ftp://data.example.org/1.tar", "E_URL_SCHEME"),
    ],
)
def test_what_a_document_alone_can_tell_is_refused_by_validate_without_a_server(
    world: World, schema: str, url: str, code: str
) -> None:
    world.repository.edit("desired/stores.yaml", world.server.url, "http://127.0.0.1:9")
    world.write("desired/promotions/sample.json", schema)
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{schema: sample.json, urls: ['{url}']}}\n")
    ran = world.run("validate")
    assert (ran.code, ran.error) == (3, code)


def test_validate_counts_promotions_and_asks_no_server(world: World) -> None:
    world.repository.edit("desired/stores.yaml", world.server.url, "http://127.0.0.1:9")
    world.write("desired/promotions/sample.json", json.dumps(sample_schema()))
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{schema: sample.json, urls: ['{URL}']}}\n")
    assert world.ok("validate").out.startswith("valid: 0 declarations and 1 promotion for 2 stores")
