"""The same archive in a bucket over a socket: backup, verify, restore, drill, and what goes wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from reconciler.archives.bucket import BucketArchive
from reconciler.errors import Conflict, Corrupt, InvalidInput, Unavailable
from reconciler.model import Digest
from tests.integration.backup.conftest import Vault, files
from tests.servers.s3 import BUCKET, SECRET, Misbehaviour, access, bucket_client, misbehaving, running

DOCUMENT = """apiVersion: reconciler/v1
kind: Recovery
store: serving
backup:
  location: s3://%s/backups
  endpoint: {env: TEST_ENDPOINT}
  allowPrivate: true
  credentials: {accessKeyId: {env: TEST_KEY}, secretAccessKey: {env: TEST_SECRET}}
schedule: hourly
rto: 15m
rpo: 1h
"""
EMPTY = Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running() as server:
        yield server


@pytest.fixture
def bucket(vault: Vault, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """The vault with its archive in a bucket that is emptied afterwards."""
    for name, value in (("ENDPOINT", endpoint), ("KEY", "test"), ("SECRET", SECRET)):
        monkeypatch.setenv(f"TEST_{name}", value)
    (vault.root / "desired/recovery/serving.yaml").write_text(DOCUMENT % BUCKET)
    yield vault
    client = bucket_client(endpoint)
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])


def run(vault: Vault, *words: str, code: int = 0) -> str:
    """Run a command on the declared archive; what it printed, and never the secret."""
    ran = vault.run(*words, "--store", "serving", "--worktree")
    assert (ran.code, SECRET in ran.out + ran.err) == (code, False), ran.err
    return ran.out + ran.err


def test_a_store_goes_to_a_bucket_and_comes_back(bucket: Vault) -> None:
    run(bucket, "backup", "create", "--verify")
    assert "copied 0 objects, 0 bytes" in run(bucket, "backup", "create")
    run(bucket, "backup", "restore", "--into", "root=file:var/back")
    assert files(bucket.root / "var/back") == files(bucket.store)
    run(bucket, "recovery", "drill")
    assert "in s3://manifests/backups, hourly" in run(bucket, "recovery", "plan")


def test_an_object_that_is_gone_from_the_bucket_is_named(bucket: Vault, endpoint: str) -> None:
    run(bucket, "backup", "create")
    client = bucket_client(endpoint)
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix="backups/objects/")["Contents"]
    largest = max(listed, key=lambda one: one["Size"])["Key"]
    client.delete_object(Bucket=BUCKET, Key=largest)
    assert largest.rpartition("/")[2] in run(bucket, "backup", "verify", code=8)
    assert "copied 1 objects" in run(bucket, "backup", "create")
    run(bucket, "backup", "verify")


def test_a_large_object_goes_in_parts_and_one_of_other_bytes_not_at_all(endpoint: str) -> None:
    archive = BucketArchive(f"s3://{BUCKET}/large", access(endpoint), pause=lambda _seconds: None)
    data = bytes(range(256)) * (20 << 12)
    digest = Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
    with archive.writing():
        archive.put(digest, lambda: iter((data[: 9 << 20], data[9 << 20 :])))
        archive.put(EMPTY, lambda: iter(()))
        for wrong in (data[: 17 << 20], b"x"):
            with pytest.raises(Corrupt) as caught:
                archive.put(Digest("sha256:" + "0" * 64), lambda wrong=wrong: iter((wrong,)))  # type: ignore[misc]
            assert caught.value.code == "E_BACKUP_SOURCE"
    assert archive.sizes() == {digest: len(data), EMPTY: 0}
    found = archive.chunks(digest)
    assert found is not None
    assert b"".join(found) == data
    assert archive.chunks(Digest("sha256:" + "0" * 64)) is None


def test_two_backups_never_share_a_number(endpoint: str) -> None:
    archive = BucketArchive(f"s3://{BUCKET}/numbers", access(endpoint), pause=lambda _seconds: None)
    with archive.writing():
        archive.create("backups/serving/1.json", b"mine")
        archive.create("backups/serving/1.json", b"mine")
        with pytest.raises(Conflict) as caught:
            archive.create("backups/serving/1.json", b"theirs")
    assert (caught.value.code, archive.read("backups/serving/1.json", 10)) == ("E_CONFLICT", b"mine")


def test_a_prefix_with_other_things_and_a_bucket_that_is_not_there_are_no_archives(endpoint: str) -> None:
    bucket_client(endpoint).put_object(Bucket=BUCKET, Key="others/thing", Body=b"x")
    archive = BucketArchive(f"s3://{BUCKET}/others", access(endpoint), pause=lambda _seconds: None)
    with pytest.raises(InvalidInput) as refused, archive.writing():
        pass
    assert refused.value.code == "E_ARCHIVE"
    with pytest.raises(Unavailable) as missing:
        archive.names("backups/serving")
    assert missing.value.code == "E_ARCHIVE_MISSING"
    nowhere = BucketArchive("s3://no-such-bucket/x", access(endpoint), pause=lambda _seconds: None)
    with pytest.raises(Unavailable) as absent:
        nowhere.names("backups/serving")
    assert absent.value.code == "E_STORE_MISSING"


def test_a_bucket_that_overwrites_is_refused() -> None:
    with misbehaving(Misbehaviour(overwrites=True)) as server:
        archive = BucketArchive(f"s3://{BUCKET}/x", access(server), pause=lambda _seconds: None)
        with pytest.raises(Unavailable) as caught, archive.writing():
            pass
    assert caught.value.code == "E_STORE_NO_CAS"
