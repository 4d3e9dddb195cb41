"""A registry whose manifests are in a bucket, from declaration to ledger, with the real command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_registry.conftest import H1, H2, ONE, STORE, TWO, dataset
from tests.integration.gitops.conftest import Repository
from tests.servers.s3 import BUCKET, SECRET, Plan, bucket_client, faulty, running

YAML = "desired/datasets/mainnet.yaml"
JSON = ("--output", "json")
BOTH = (
    "versions:\n"
    "  1.9.0: {manifest: manifests/one.json}\n"
    "  1.10.0: {manifest: manifests/two.json}\n"
    "latest: 1.10.0\n"
)
STORES = """apiVersion: reconciler/v1
kind: Stores
stores:
  registry:
    kind: registry
    database: "sqlite:var/registry.db"
    objects: s3://%s/%s
    endpoint: {env: BUCKET_ENDPOINT}
    region: us-east-1
    credentials: {accessKeyId: {env: BUCKET_ID}, secretAccessKey: {env: BUCKET_KEY}}
    allowPrivate: true
    create: true
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A whole S3 server of these tests."""
    with running() as address:
        yield address


@pytest.fixture
def declared(repository: Repository, tmp_path: Path) -> Repository:
    """The registry's manifests are in a bucket, and two versions are wanted."""
    (repository.root / "desired/stores.yaml").write_text(STORES % (BUCKET, tmp_path.name))
    (repository.root / YAML).write_text(dataset(BOTH))
    repository.commit("Keep manifests in a bucket")
    return repository


def variables(endpoint: str) -> dict[str, str]:
    return {"BUCKET_ENDPOINT": endpoint, "BUCKET_ID": "canary-of-an-id", "BUCKET_KEY": SECRET}


def test_an_apply_puts_manifests_into_the_bucket_and_no_credential_anywhere(
    declared: Repository, endpoint: str, tmp_path: Path
) -> None:
    given = variables(endpoint)
    planned = declared.ok("plan", "--out", "plan.json", *JSON, **given)
    applied = declared.ok("apply", "plan.json", *JSON, **given)

    client = bucket_client(endpoint)
    stored = {
        digest: client.get_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{digest}")["Body"].read()
        for digest in (H1, H2)
    }
    assert stored == {H1: ONE, H2: TWO}
    assert declared.ok("registry", "manifest", "get", H2, *STORE, **given).out.encode() == TWO
    assert declared.ok("plan", **given).out.startswith("nothing to do")
    database = (declared.root / "var/registry.db").read_bytes().decode("latin-1")
    for text in (planned.out, applied.out, (declared.root / "plan.json").read_text(), database):
        assert "canary" not in text


def test_a_bucket_that_takes_nothing_changes_no_row_and_the_next_apply_does_it_all(
    declared: Repository, endpoint: str
) -> None:
    with faulty(endpoint, Plan("PUT", 403, times=100)) as proxy:
        ran = declared.run("apply", "--yes", **variables(proxy.endpoint))
    assert (ran.code, ran.err.split()[0]) == (10, "E_STORE_AUTH")
    assert "canary" not in ran.out + ran.err

    given = variables(endpoint)
    declared.ok("apply", "--yes", **given)
    kept = declared.ok("drift", "--deep", *JSON, **given).document["summary"]
    assert kept["in_sync"] == 7


def test_a_manifest_whose_object_is_gone_is_corrupt_and_not_absent(
    declared: Repository, endpoint: str, tmp_path: Path
) -> None:
    given = variables(endpoint)
    declared.ok("apply", "--yes", **given)
    bucket_client(endpoint).delete_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{H1}")

    ran = declared.run("registry", "manifest", "get", H1, *STORE, **given)

    assert (ran.code, ran.err.split()[0]) == (8, "E_MANIFEST_OBJECT")


@pytest.mark.parametrize("missing", ["BUCKET_ID", "BUCKET_KEY", "BUCKET_ENDPOINT"])
def test_a_variable_that_is_not_set_is_named(declared: Repository, endpoint: str, missing: str) -> None:
    given = variables(endpoint)
    del given[missing]

    ran = declared.run("plan", **given)

    assert (ran.code, ran.err.split()[0]) == (3, "E_ENV")
    assert missing in ran.err
    assert "canary" not in ran.err


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("{env: BUCKET_ENDPOINT}", "https://me:secret@host", "E_SECRET_IN_CONFIG"),
        ("{env: BUCKET_ENDPOINT}", "https://host/path", "E_URL_SYNTAX"),
        ("{env: BUCKET_ENDPOINT}", "ftp://host", "E_URL_SYNTAX"),
        ("{env: BUCKET_KEY}", "secret", "E_TYPE"),
        ("us-east-1", "Mars", "E_PATTERN"),
        (f"s3://{BUCKET}/", f"s3://{BUCKET}/../", "E_URL_SYNTAX"),
    ],
)
def test_a_wrong_way_to_a_bucket_is_refused_before_anything_is_asked(
    declared: Repository, old: str, new: str, code: str
) -> None:
    declared.edit("desired/stores.yaml", old, new)
    declared.commit("A mistake")

    ran = declared.run("validate")

    assert (ran.code, ran.err.split()[0]) == (3, code)
