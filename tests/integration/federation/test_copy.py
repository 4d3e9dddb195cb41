"""Data that is copied: to a directory, to a bucket, to the account; once, whole, and under its hash."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import InvalidInput
from reconciler.model import Place, StoreConfig
from reconciler.stores.bucket.targets import open_target
from reconciler.stores.port import Surroundings
from tests.integration.command_line import Ran
from tests.integration.federation.archives import archive, write_shards
from tests.integration.federation.conftest import ENTRIES, World, stores
from tests.servers import s3
from tests.servers.files import serving

BUCKET = "manifests"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.running() as url:
        yield url


def declare(world: World, more: str) -> None:
    world.write("desired/stores.yaml", stores(world.server, world.account, more))


def wish(world: World, urls: list[str], target: str, name: str = "d1") -> None:
    cid = world.index.insert(name, urls)
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: {name}, cid: {cid}}}\n"
    world.promote(name, body + f"data: {{copy: {target}}}\n")


def copied(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def run_s3(world: World, *words: str) -> Ran:
    return world.repository.run(
        *words, PDS_PASSWORD=world.account.password, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY=s3.SECRET
    )


def test_local_shards_are_copied_to_a_directory_that_a_web_server_shows(world: World) -> None:
    source = world.repository.root / "var/source"
    hashes = write_shards(source, 2)
    with serving(world.repository.root / "var/copies") as web:
        declare(world, f"  copies: {{kind: bucket, root: file:var/copies, url: {web.url}}}\n")
        wish(world, [str(source / "{0..1}.tar")], "copies")
        world.ok("plan")
        assert not web.root.exists()
        world.ok("apply", "--yes")

        (entry,) = world.records(ENTRIES)
        assert entry["storage"]["shards"] == [
            {"url": f"{web.url}/{digest}.tar", "checksum": {"algorithm": "sha256", "digest": digest}}
            for digest in hashes
        ]
        assert entry["size"] == {"bytes": 20480, "shards": 2}
        assert str(source) not in str(entry)
        assert sorted(copied(web.root)) == sorted(f"{digest}.tar" for digest in hashes)
        world.ok("federation", "verify", "--store", "public", "--deep")


def test_nothing_is_copied_without_a_login(world: World) -> None:
    source = world.repository.root / "var/source"
    write_shards(source, 1)
    declare(world, "  copies: {kind: bucket, root: file:var/copies}\n")
    wish(world, [str(source / "0.tar")], "copies")
    missing = world.repository.run("apply", "--yes")
    wrong = world.repository.run("apply", "--yes", PDS_PASSWORD="another")  # noqa: S106
    assert [(one.code, one.error) for one in (missing, wrong)] == [(3, "E_ENV"), (10, "E_AUTH")]
    assert (world.counts(), (world.repository.root / "var/copies").exists()) == ((0, 0, 0), False)


def test_an_unchanged_promotion_reads_its_source_no_more(world: World) -> None:
    source = world.repository.root / "var/source"
    write_shards(source, 1)
    declare(world, "  copies: {kind: bucket, root: file:var/copies}\n")
    wish(world, [str(source / "0.tar")], "copies")
    world.ok("apply", "--yes")
    before = world.head()
    (source / "0.tar").unlink()

    world.repository.edit("desired/promotions/d1.yaml", "versions:", "license: MIT\nversions:")
    world.repository.commit("A licence")
    world.ok("apply", "--yes")
    (entry,) = world.records(ENTRIES)
    assert (entry["license"], world.head() != before) == ("MIT", True)
    world.ok("apply", "--yes")


def test_shards_are_copied_to_a_bucket_and_read_by_another_client(world: World, endpoint: str) -> None:
    source = world.repository.root / "var/source"
    (digest,) = write_shards(source, 1)
    bucket = f"{{kind: bucket, root: s3://{BUCKET}/sets, endpoint: {endpoint}, allowPrivate: true}}"
    declare(world, f"  copies: {bucket}\n")
    wish(world, [str(source / "0.tar")], "copies")
    ran = run_s3(world, "apply", "--yes")
    assert (ran.code, ran.err.count("canary")) == (0, 0), ran.err

    (entry,) = world.records(ENTRIES)
    assert entry["storage"] == {
        "$type": "science.alt.dataset.storageS3",
        "bucket": BUCKET,
        "region": "us-east-1",
        "endpoint": endpoint,
        "shards": [{"key": f"sets/{digest}.tar", "checksum": {"algorithm": "sha256", "digest": digest}}],
    }
    found = s3.bucket_client(endpoint).get_object(Bucket=BUCKET, Key=f"sets/{digest}.tar")
    assert found["Body"].read() == (source / "0.tar").read_bytes()
    assert run_s3(world, "federation", "verify", "--store", "public", "--deep").code == 0


def test_a_server_that_only_a_record_names_is_not_asked(world: World, endpoint: str) -> None:
    source = world.repository.root / "var/source"
    write_shards(source, 1)
    bucket = f"{{kind: bucket, root: s3://{BUCKET}/kept, endpoint: {endpoint}, allowPrivate: true}}"
    declare(world, f"  copies: {bucket}\n")
    wish(world, [str(source / "0.tar")], "copies")
    assert run_s3(world, "apply", "--yes").code == 0
    elsewhere = bucket.replace(endpoint, "http://127.0.0.1:1")
    declare(world, f"  copies: {elsewhere}\n")
    ran = run_s3(world, "federation", "verify", "--store", "public", "--deep", "--output", "json")
    (found,) = [one for one in ran.document["checks"] if one["status"] != "passed"]
    assert (ran.code, found["status"], found["subject"]) == (10, "unknown", "d1")
    assert found["detail"] == (
        f"it names {endpoint}, and no store of kind bucket declares that server for {BUCKET}"
    )


def test_shards_become_blobs_of_the_account(world: World) -> None:
    source = world.repository.root / "var/source"
    (digest,) = write_shards(source, 1)
    wish(world, [str(source / "0.tar")], "public")
    world.ok("apply", "--yes")

    (entry,) = world.records(ENTRIES)
    (blob,) = entry["storage"]["blobs"]
    raw = b"\x01\x55\x12\x20" + bytes.fromhex(digest)
    assert blob["blob"] == {
        "$type": "blob",
        "ref": {"$link": "b" + base64.b32encode(raw).decode().lower().rstrip("=")},
        "mimeType": "application/x-tar",
        "size": 10240,
    }
    before = world.head()
    world.ok("apply", "--yes")
    world.ok("federation", "verify", "--store", "public", "--deep")
    assert world.head() == before


def test_a_copy_that_is_there_is_not_made_again_and_half_a_copy_is(world: World) -> None:
    source = world.repository.root / "var/source"
    (digest,) = write_shards(source, 1)
    copies = world.repository.root / "var/copies"
    copies.mkdir(parents=True)
    (copies / f"{digest}.tar").write_bytes(b"half")
    declare(world, "  copies: {kind: bucket, root: file:var/copies}\n")
    wish(world, [str(source / "0.tar")], "copies")
    assert "copied" in world.ok("apply", "--yes").err
    assert copied(copies) == {f"{digest}.tar": (source / "0.tar").read_bytes()}

    wish(world, [str(source / "0.tar"), str(source / "0.tar")], "copies", "d2")
    assert "there already" in world.ok("apply", "--yes").err


def test_a_source_that_changes_between_plan_and_copy_publishes_nothing(world: World) -> None:
    source = world.repository.root / "var/source"
    write_shards(source, 1)
    declare(world, "  copies: {kind: bucket, root: file:var/copies}\n")
    content = (source / "0.tar").read_bytes()
    cid = world.index.insert("d1", [str(source / "0.tar")], metadata={"checksums": {"0.tar": "ab" * 32}})
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n"
    world.promote("d1", body + "data: {copy: copies}\n")
    ran = world.run("apply", "--yes")
    assert (ran.code, ran.error, world.counts()) == (8, "E_SHARD_HASH", (0, 0, 0))
    assert (source / "0.tar").read_bytes() == content
    assert not (world.repository.root / "var/copies").exists()


@pytest.mark.parametrize(
    ("content", "code", "error"),
    [
        (b"root:x:0:0:root:/root:/bin/bash\n" * 40, 3, "E_SHARD_FORMAT"),
        (None, 3, "E_SHARD_MISSING"),
        (archive({"000.bin": b"x" * 52_500_000}), 9, "E_SHARD_SIZE"),
    ],
    ids=["no archive", "missing", "too large"],
)
def test_what_is_no_shard_is_not_copied(world: World, content: bytes | None, code: int, error: str) -> None:
    path = world.repository.root / "var/secret"
    if content is not None:
        path.write_bytes(content)
    wish(world, [str(path)], "public")
    ran = world.run("plan")
    assert (ran.code, ran.error) == (code, error)


def test_a_link_or_a_pipe_is_no_shard(world: World) -> None:
    source = world.repository.root / "var/source"
    write_shards(source, 1)
    (source / "link.tar").symlink_to(source / "0.tar")
    wish(world, [str(source / "link.tar")], "public")
    assert world.run("plan").code == 10


def test_a_directory_that_nobody_shows_serves_no_public_account(tmp_path: Path) -> None:
    place = Place("desired/stores.yaml", 5, 3)
    settings = {"root": "file:var/copies"}
    config = StoreConfig(name="copies", kind="bucket", settings=settings, place=place)
    with pytest.raises(InvalidInput) as refused:
        open_target(config, Surroundings(root=tmp_path), private=False)
    assert (refused.value.code, refused.value.problems[0].line) == ("E_URL_PRIVATE", 5)
