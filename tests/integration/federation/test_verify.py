"""`federation verify` proves that an account serves exactly what git says, and that the data is there."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.command_line import Ran
from tests.integration.federation.archives import archive, write_shards
from tests.integration.federation.conftest import ENTRIES, LABELS, World
from tests.servers import pds_proxy
from tests.servers.files import FileServer, serving

VERIFY = ("federation", "verify", "--store", "public")


@pytest.fixture
def files(world: World) -> Iterator[FileServer]:
    root = world.repository.root / "var/data"
    root.mkdir(parents=True)
    with serving(root) as server:
        yield server


def publish(world: World, files: FileServer, count: int = 2) -> list[str]:
    """A promotion of some shards with their hashes, applied."""
    hashes = write_shards(files.root, count)
    urls = [f"{files.url}/{number}.tar" for number in range(count)]
    known = dict(zip(urls, hashes, strict=True))
    cid = world.index.insert("d1", urls, metadata={"checksums": known})
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")
    world.ok("apply", "--yes")
    return hashes


def failed(document: dict[str, Any]) -> list[str]:
    return [f"{one['name']} {one['detail']}" for one in document["checks"] if one["status"] != "passed"]


def test_what_was_applied_is_verified_to_its_shards(world: World, files: FileServer) -> None:
    hashes = publish(world, files)
    document = world.ok(*VERIFY, "--deep", "--output", "json").document

    assert document["summary"] == {"passed": 6, "failed": 0, "unknown": 0, "warning": 0}
    shards = [one for one in document["checks"] if one["name"] == "shard"]
    assert [one["subject"] for one in shards] == ["d1 1/2", "d1 2/2"]
    assert shards[0]["detail"] == "10240 bytes, its hash holds, sample 000-000 decoded"
    stored = world.records(ENTRIES)[0]["storage"]["shards"]
    assert [one["checksum"] for one in stored] == [{"algorithm": "sha256", "digest": d} for d in hashes]


def test_without_deep_no_shard_is_fetched(world: World, files: FileServer) -> None:
    publish(world, files)
    text = world.ok(*VERIFY).out
    assert (text, files.asked) == ("public: 4 of 4 checks passed; serves exactly what git says\n", [])


def test_the_head_of_the_repository_is_proved_by_the_accounts_own_key(
    world: World, files: FileServer
) -> None:
    publish(world, files)
    (found,) = [
        one for one in world.ok(*VERIFY, "--output", "json").document["checks"] if one["name"] == "signature"
    ]
    assert (found["subject"], found["status"]) == (world.account.did, "passed")
    assert found["detail"] == "the head of the repository is signed with the account's key"


def identity(world: World, fault: pds_proxy.Said) -> Ran:
    """`federation verify` where the directory answers something else for the account."""
    with pds_proxy.before(world.server.plc, pds_proxy.Plan(f"/{world.account.did}", fault, times=9)) as proxy:
        world.repository.edit("desired/stores.yaml", world.server.plc, proxy.url)
        world.repository.commit("Another directory")
        return world.run(*VERIFY, "--output", "json")


def test_a_head_that_another_key_signed_fails(world: World, files: FileServer) -> None:
    publish(world, files)
    did = world.account.did
    place = f"{world.server.plc}/{world.server.account().did}"
    with urllib.request.urlopen(place) as answer:  # noqa: S310 - our own directory
        other = json.load(answer)
    ran = identity(world, pds_proxy.Said(200, json.dumps({**other, "id": did}).encode()))
    assert (ran.code, failed(ran.document)) == (
        8,
        ["signature the head of the repository is not signed with the account's key"],
    )


def test_a_head_whose_key_cannot_be_looked_up_is_not_proved(world: World, files: FileServer) -> None:
    publish(world, files)
    ran = identity(world, pds_proxy.Said(404))
    assert (ran.code, failed(ran.document)) == (
        0,
        ["signature not proved: the account's identity cannot be read: E_ACCOUNT"],
    )


def test_an_account_that_is_behind_git_fails(world: World, files: FileServer) -> None:
    publish(world, files)
    world.repository.edit("desired/promotions/d1.yaml", "versions:", "license: MIT\nversions:")
    world.repository.commit("A licence")
    ran = world.run(*VERIFY, "--output", "json")
    assert (ran.code, failed(ran.document)) == (8, ["record it is not what git says"])


def test_a_record_that_is_missing_or_withdrawn_in_git_fails(world: World, files: FileServer) -> None:
    publish(world, files)
    world.ok("federation", "withdraw", "d1@1.0.0", "--store", "public")
    ran = world.run(*VERIFY, "--output", "json")
    assert (ran.code, failed(ran.document)) == (8, ["record it is missing"] * 2)


def test_a_newer_label_of_somebody_else_stands_before_ours_and_fails(world: World, files: FileServer) -> None:
    publish(world, files)
    (label,) = world.server.records(world.account, LABELS).values()
    world.server.write(
        world.account,
        {
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": LABELS,
            "rkey": "3zzzzzzzzzzzz",
            "value": {**label["value"], "createdAt": "2030-01-01T00:00:00.000Z"},
        },
    )
    ran = world.run(*VERIFY, "--output", "json")
    assert (ran.code, failed(ran.document)) == (
        8,
        ["label readers get the newer label 3zzzzzzzzzzzz of somebody else"],
    )


def test_a_newer_version_of_somebody_else_is_a_warning(world: World, files: FileServer) -> None:
    publish(world, files)
    (label,) = world.server.records(world.account, LABELS).values()
    theirs = {**label["value"], "version": "0.1.0", "createdAt": "2030-01-01T00:00:00.000Z"}
    create = "com.atproto.repo.applyWrites#create"
    write = {"$type": create, "collection": LABELS, "rkey": "3jzfcijpj2z2a", "value": theirs}
    world.server.write(world.account, write)
    document = world.ok(*VERIFY, "--output", "json").document
    assert (document["summary"]["warning"], failed(document)) == (
        1,
        ["label readers who ask for no version get the label 3jzfcijpj2z2a of somebody else"],
    )


def test_labels_that_the_reference_does_not_see_are_a_warning(world: World, files: FileServer) -> None:
    publish(world, files)
    (label,) = world.server.records(world.account, LABELS).values()
    writes = [
        {
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": LABELS,
            "rkey": f"zzzzzzzzzz{number:03d}".replace("0", "a").replace("1", "b"),
            "value": {**label["value"], "name": f"other-{number}"},
        }
        for number in range(100)
    ]
    world.server.write(world.account, *writes)
    ran = world.ok(*VERIFY, "--output", "json")
    (warning,) = failed(ran.document)
    assert "newest 100 labels and does not find 1 of ours" in warning


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (archive({"000.msgpack": b"\x81\xa5image\x01"}), "E_SHARD_HASH"),
        (b"not a tar archive", "E_SHARD_FORMAT"),
        (None, "E_SHARD_MISSING"),
    ],
)
def test_a_shard_that_is_not_what_was_published_fails(
    world: World, files: FileServer, content: bytes | None, code: str
) -> None:
    publish(world, files, 1)
    if content is None:
        (files.root / "0.tar").unlink()
    else:
        (files.root / "0.tar").write_bytes(content)
    ran = world.run(*VERIFY, "--deep", "--output", "json")
    assert (ran.code, [one.split(":")[0] for one in failed(ran.document)]) == (8, [f"shard {code}"])


def test_a_shard_that_breaks_off_or_leads_elsewhere_is_unknown(world: World, files: FileServer) -> None:
    publish(world, files, 1)
    files.breaks_off = True
    broken = world.run(*VERIFY, "--deep", "--output", "json")
    files.breaks_off, files.redirect = False, f"{files.url}/0.tar"
    elsewhere = world.run(*VERIFY, "--deep", "--output", "json")
    assert [(ran.code, failed(ran.document)[0][:19]) for ran in (broken, elsewhere)] == [
        (10, "shard E_SHARD_READ:"),
        (10, "shard E_SHARD_READ:"),
    ]


def test_a_sample_without_a_required_field_fails(world: World, files: FileServer) -> None:
    write_shards(files.root, 1)
    (files.root / "0.tar").write_bytes(archive({"000.msgpack": b"\x81\xa5label\x01"}))
    cid = world.index.insert("d1", [f"{files.url}/0.tar"])
    world.promote("d1", f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {cid}}}\n")
    world.ok("apply", "--yes")
    ran = world.run(*VERIFY, "--deep", "--output", "json")
    assert (ran.code, failed(ran.document)) == (8, ["shard sample 000 has no field image"])
