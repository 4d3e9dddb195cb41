"""A version passes the registry before this one first, and stays there for as long as was asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.stores.registry.backend_postgres import open_postgres
from reconciler.stores.registry.backend_sqlite import open_sqlite
from tests.integration.cli_registry.conftest import MANIFESTS, ONE, TWO
from tests.integration.command_line import Ran
from tests.integration.gitops.conftest import Repository
from tests.servers.postgres import PostgresServer, running

STORES = """apiVersion: reconciler/v1
kind: Stores
stores:
  staging: {kind: registry, database: {env: STAGING}, objects: file:var/staging, create: true}
  prod: {kind: registry, database: {env: PROD}, objects: file:var/prod, create: true, promotesFrom: staging}
"""
POLICY = "apiVersion: reconciler/v1\nkind: Policy\nsoak: {prod: 1h}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running() as started:
        yield started


@dataclass(frozen=True, slots=True)
class Pair:
    """A repository with two registries of one engine."""

    repository: Repository
    places: dict[str, str]

    def run(self, *words: str, at: int) -> Ran:
        return self.repository.run(*words, SOURCE_DATE_EPOCH=str(at), **self.places)

    def declare(self, store: str, file: str) -> None:
        """Declare version 1.0.0 of the dataset in one of the stores."""
        head = (
            f"apiVersion: reconciler/v1\nkind: Dataset\nstore: {store}\nnamespace: ethereum\nname: mainnet\n"
        )
        path = self.repository.root / f"desired/datasets/{store}.yaml"
        path.write_text(f'{head}versions:\n  "1.0.0": {{manifest: manifests/{file}.json}}\n')
        self.repository.commit(f"Declare {file} in {store}")

    def closed_at(self, engine: str) -> int:
        """When the first record of the staging registry was written, as its table says."""
        place = self.places["STAGING"]
        database = (
            open_postgres(place, timeout=10)
            if engine == "postgres"
            else open_sqlite(str(self.repository.root / place.removeprefix("sqlite:")), timeout=10)
        )
        with database.reading() as session:
            ((when,),) = session.rows("SELECT closed_at FROM reconciler_ledger")
        database.close()
        return int(when)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(tmp_path: Path, engine: str, request: pytest.FixtureRequest) -> Pair:
    root = tmp_path / "repository"
    (root / MANIFESTS).mkdir(parents=True)
    (root / MANIFESTS / "one.json").write_bytes(ONE)
    (root / MANIFESTS / "two.json").write_bytes(TWO)
    (root / "desired/stores.yaml").write_text(STORES)
    (root / "desired/policy.yaml").write_text(POLICY)
    (root / ".gitignore").write_text("/var/\n")
    repository = Repository(root)
    repository.git("init", "-q", "-b", "main")
    repository.commit("Declare two registries")
    places = {"STAGING": "sqlite:var/staging.db", "PROD": "sqlite:var/prod.db"}
    if engine == "postgres":
        started: PostgresServer = request.getfixturevalue("server")
        places = {name: started.create_schema() for name in places}
    return Pair(repository, places)


NOW = 2_000_000_000


def test_version_waits_for_the_registry_before_and_for_its_soak_time(pair: Pair, engine: str) -> None:
    pair.declare("prod", "one")
    unknown = pair.run("apply", "--yes", at=NOW)
    assert (unknown.code, unknown.error) == (4, "E_ENVIRONMENT_PATH")

    pair.declare("staging", "one")
    assert pair.run("apply", "--yes", "--store", "staging", at=NOW).code == 0
    landed = pair.closed_at(engine)
    early = pair.run("apply", "--yes", at=landed + 3599)
    assert (early.code, early.error) == (4, "E_SOAK")
    assert "it must stand in staging for 3600 seconds" in early.err
    late = pair.run("apply", "--yes", at=landed + 3600)
    assert late.code == 0, late.err


def test_other_bytes_than_the_registry_before_holds_are_refused(pair: Pair) -> None:
    pair.declare("staging", "one")
    assert pair.run("apply", "--yes", "--store", "staging", at=NOW).code == 0
    pair.declare("prod", "two")
    refused = pair.run("apply", "--yes", at=NOW)
    assert (refused.code, refused.error) == (4, "E_ENVIRONMENT_PATH")
    assert "staging holds sha256:" in refused.err
