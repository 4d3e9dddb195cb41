"""A repository that declares one registry and nothing in it yet, and two manifest files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.integration.gitops.conftest import Repository

STORES = """apiVersion: reconciler/v1
kind: Stores
stores:
  registry: {kind: registry, database: "sqlite:var/registry.db", objects: file:var/manifests, create: true}
"""
ONE = b'{"kind": "evm-rpc", "n": 1}\n'
TWO = b'{"kind":"evm-rpc","n":2}'
H1, H2 = (hashlib.sha256(content).hexdigest() for content in (ONE, TWO))
D1, D2 = f"sha256:{H1}", f"sha256:{H2}"
MANIFESTS = "desired/datasets/manifests"
STORE = ("--store", "registry")


def dataset(body: str) -> str:
    """A Dataset document with this body."""
    head = "apiVersion: reconciler/v1\nkind: Dataset\nstore: registry\nnamespace: ethereum\nname: mainnet\n"
    return head + body


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    root = tmp_path / "repository"
    (root / MANIFESTS).mkdir(parents=True)
    (root / MANIFESTS / "one.json").write_bytes(ONE)
    (root / MANIFESTS / "two.json").write_bytes(TWO)
    (root / "desired/stores.yaml").write_text(STORES)
    (root / ".gitignore").write_text("/var/\n/plan.json\n")
    repo = Repository(root)
    repo.git("init", "-q", "-b", "main")
    repo.commit("Declare the registry")
    return repo


@pytest.fixture
def filled(repository: Repository) -> Repository:
    """Two manifests, linked and tagged by hand: 1.9.0 and 1.10.0; dev is the second."""
    for name, version, digest in (("one", "1.9.0", H1), ("two", "1.10.0", H2)):
        repository.ok("registry", "manifest", "register", f"{MANIFESTS}/{name}.json", *STORE)
        repository.ok("registry", "link", "ethereum/mainnet", digest, *STORE)
        repository.ok("registry", "tag", "set", f"ethereum/mainnet@{version}", digest, *STORE)
    return repository
