"""`import --reference`: a registry takes over what the database of a reference registry says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.cli_registry.conftest import ONE, TWO
from tests.integration.gitops.conftest import Repository
from tests.servers.postgres import PostgresServer, running

TABLES = """
CREATE TABLE manifest_files (hash TEXT PRIMARY KEY, path TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), kind TEXT NOT NULL DEFAULT 'unknown');
CREATE TABLE dataset_manifests (namespace TEXT, name TEXT,
    hash TEXT REFERENCES manifest_files ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), PRIMARY KEY (namespace, name, hash));
CREATE TABLE tags (namespace TEXT, name TEXT, version TEXT, hash TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace, name, version),
    FOREIGN KEY (namespace, name, hash) REFERENCES dataset_manifests ON DELETE CASCADE);
"""
H1, H2 = (hashlib.sha256(content).hexdigest() for content in (ONE, TWO))
LINKS = [
    ("ethereum", "mainnet", H1),
    ("ethereum", "mainnet", H2),
    ("ethereum", "sepolia", H1),
    ("a²", "b", H1),
]
TAGS = [
    ("ethereum", "mainnet", "1.9.0", H1),
    ("ethereum", "mainnet", "1.10.0", H2),
    ("ethereum", "mainnet", "1.10.0+build", H2),
    ("ethereum", "mainnet", "latest", H1),  # moved back by one of its races: not believed
    ("ethereum", "mainnet", "dev", H2),
    ("a²", "b", "1.0.0", H1),
]
TAKEN = f"""# What store registry held when 'reconciler import' looked.
apiVersion: reconciler/v1
kind: Dataset
store: registry
namespace: ethereum
name: mainnet
versions:
  "1.10.0": {{manifest: "manifests/{H2}.json"}}
  "1.9.0": {{manifest: "manifests/{H1}.json"}}
dev: {{manifest: "manifests/{H2}.json"}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running() as server:
        yield server


@pytest.fixture
def reference(server: PostgresServer, tmp_path: Path) -> tuple[str, Path]:
    """A reference registry: the location of its database, and the directory of its manifests."""
    location, objects = server.create_schema(), tmp_path / "objects"
    objects.mkdir()
    with psycopg.connect(location, autocommit=True) as connection:
        connection.execute(TABLES.encode())
        for manifest, content in ((H1, ONE), (H2, TWO)):
            connection.execute(
                "INSERT INTO manifest_files (hash, path) VALUES (%s, %s)", (manifest, manifest)
            )
            (objects / manifest).write_bytes(content)
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO dataset_manifests VALUES (%s, %s, %s)", LINKS)
        cursor.executemany("INSERT INTO tags VALUES (%s, %s, %s, %s)", TAGS)
    return f"{location}%20-cdefault_transaction_read_only%3Don", objects


def taken(reference: tuple[str, Path], *more: str) -> tuple[str, ...]:
    return ("import", "--store", "registry", "--reference", "OLD", "--objects", f"file:{reference[1]}", *more)


def test_tags_links_and_manifests_come_over_and_resolve_as_they_should(
    repository: Repository, reference: tuple[str, Path]
) -> None:
    ran = repository.ok(*taken(reference, "--into", "desired/old"), OLD=reference[0])

    assert ran.out.splitlines()[4:] == [
        "left: registry/link/a\\xb2/b@" + H1 + ": the namespace holds a character that it may not: '\\xb2'",
        "left: registry/tag/a\\xb2/b@1.0.0: the namespace holds a character that it may not: '\\xb2'",
        "left: registry/tag/ethereum/mainnet@1.10.0+build: it differs from 1.10.0 only in build metadata",
        "wrote 4 files for 4 addresses; the plan with them has 1 step, adopted: 0",
    ]
    assert (repository.root / "desired/old/registry/ethereum/mainnet.yaml").read_text() == TAKEN
    assert (repository.root / f"desired/old/registry/ethereum/manifests/{H1}.json").read_bytes() == ONE
    repository.commit("Take the old registry over")
    repository.ok("apply", "--yes")
    store = ("--store", "registry", "--output", "json")
    for text, manifest in (("@1.9.0", H1), ("@1.10.0", H2), ("@latest", H2), ("@dev", H2)):
        resolved = repository.ok("registry", "resolve", f"ethereum/mainnet{text}", *store).document
        assert resolved["hash"] == manifest
    again = repository.ok(*taken(reference), OLD=reference[0])
    assert "nothing to import" in again.out


def test_a_manifest_that_is_not_what_its_hash_says_stops_the_import(
    repository: Repository, reference: tuple[str, Path]
) -> None:
    (reference[1] / H2).write_bytes(ONE)

    ran = repository.run(*taken(reference, "--into", "desired/old"), OLD=reference[0])

    assert (ran.code, ran.error) == (8, "E_MANIFEST_HASH")
    assert not (repository.root / "desired/old").exists()


def test_a_manifest_without_bytes_stops_the_import(
    repository: Repository, reference: tuple[str, Path]
) -> None:
    (reference[1] / H2).unlink()

    ran = repository.run(*taken(reference, "--into", "desired/old"), OLD=reference[0])

    assert (ran.code, ran.error) == (8, "E_MANIFEST_MISSING")


def test_the_location_comes_from_a_variable_and_is_never_shown(
    repository: Repository, reference: tuple[str, Path]
) -> None:
    missing = repository.run(*taken(reference))
    assert (missing.code, missing.error) == (3, "E_ENV")

    elsewhere = "postgresql://user:canary-of-a-password@127.0.0.1:1/none"
    refused = repository.run(*taken(reference), OLD=elsewhere)
    assert refused.code == 10
    assert "canary-of-a-password" not in refused.out + refused.err
