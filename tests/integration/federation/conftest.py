"""A repository that declares an account on a real PDS and a local index, and nothing promoted yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.command_line import Ran
from tests.integration.federation.index import Index
from tests.integration.gitops.conftest import Repository
from tests.servers.pds import PASSWORD, Account, PdsServer

SCHEMAS = "science.alt.dataset.schema"
ENTRIES = "science.alt.dataset.entry"
LABELS = "science.alt.dataset.label"


@dataclass(frozen=True, slots=True)
class World:
    """A repository, its index and the account that it promotes to."""

    repository: Repository
    index: Index
    server: PdsServer
    account: Account

    def write(self, path: str, text: str) -> None:
        """A file of the repository, committed."""
        file = self.repository.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self.repository.commit(f"Edit {path}")

    def promote(self, name: str, body: str) -> None:
        """A Promotion document, committed."""
        head = f"apiVersion: reconciler/v1\nkind: Promotion\nstore: public\nname: {name}\n"
        self.write(f"desired/promotions/{name}.yaml", head + body)

    def run(self, *words: str) -> Ran:
        """One command with the account's password in its environment."""
        return self.repository.run(*words, PDS_PASSWORD=PASSWORD)

    def ok(self, *words: str) -> Ran:
        """One command that must end with 0."""
        return self.repository.ok(*words, PDS_PASSWORD=PASSWORD)

    def records(self, collection: str) -> list[dict[str, Any]]:
        """What the records of a collection say, without when they were created."""
        found = self.server.records(self.account, collection).values()
        values = [{k: v for k, v in one["value"].items() if k != "createdAt"} for one in found]
        return sorted(values, key=lambda one: (one["name"], one.get("version", "")))

    def counts(self) -> tuple[int, int, int]:
        """How many schemas, entries and labels the account has."""
        schemas, entries, labels = (
            len(self.server.records(self.account, kind)) for kind in (SCHEMAS, ENTRIES, LABELS)
        )
        return schemas, entries, labels

    def head(self) -> str:
        """The newest commit of the account's repository."""
        return str(self.server.call(f"com.atproto.sync.getLatestCommit?did={self.account.did}")["cid"])


def stores(server: PdsServer, account: Account, more: str = "") -> str:
    """A Stores document with the account `public` and the index `index`."""
    return (
        "apiVersion: reconciler/v1\nkind: Stores\nstores:\n"
        "  index: {kind: atdata-index, path: var/index.db}\n"
        "  public:\n    kind: atproto\n"
        f"    service: {server.url}\n    identity: {account.handle}\n    plc: {server.plc}\n"
        "    credentials: {env: PDS_PASSWORD}\n    ledger: file:var/public\n    allowPrivate: true\n"
        f"{more}"
    )


WAIVER = """apiVersion: reconciler/v1
kind: Exception
type: waiver
rule: federation-licence
subject: public
owner: Ada
reason: these datasets are nobody's
expires: 2099-01-01
"""


@pytest.fixture
def world(tmp_path: Path, pds: PdsServer) -> World:
    root = tmp_path / "repository"
    (root / "desired").mkdir(parents=True)
    account = pds.account()
    (root / "desired/stores.yaml").write_text(stores(pds, account))
    (root / "desired/licence.yaml").write_text(WAIVER)
    (root / ".gitignore").write_text("/var/\n")
    repository = Repository(root)
    repository.git("init", "-q", "-b", "main")
    repository.commit("Declare the account")
    return World(repository, Index.create(root / "var/index.db"), pds, account)
