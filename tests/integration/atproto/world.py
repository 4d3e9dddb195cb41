"""An account of a real PDS, its ledger in a directory, and datasets that are promoted to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from reconciler.apply import ApplyReport, apply_plan
from reconciler.diff import difference
from reconciler.ledger import Run, inventory
from reconciler.model import (
    NOTHING,
    Address,
    Declaration,
    Depth,
    Outcome,
    Place,
    Selection,
    StepResult,
    StoreConfig,
)
from reconciler.plan import Plan, store_plan
from reconciler.stores.atproto.dagcbor import Record, cid_of, encode
from reconciler.stores.atproto.keys import (
    COLLECTIONS,
    ENTRY,
    KINDS,
    LABEL,
    SCHEMA,
    record_key,
    record_source,
    record_uri,
)
from reconciler.stores.atproto.order import SHAPE
from reconciler.stores.atproto.repository import slots_of
from reconciler.stores.atproto.store import AtprotoStore, open_store
from reconciler.stores.port import Surroundings
from tests.servers.pds import Account, PdsServer

TIME = 1_700_000_000
CREATED = "2023-11-14T22:13:20.000Z"
PLACE = Place("desired/promotions/p.yaml", 1, 1)
CONFIGURED = Place("desired/stores.yaml", 7, 3)
VARIABLE = "ACCOUNT_LOGIN"
RUN = Run(by="git", time=TIME, tool="test", commit="c" * 40)
SAMPLE = record_key(COLLECTIONS[SCHEMA], "Sample", "1.0.0")


@dataclass(frozen=True, slots=True)
class Promoted:
    """A version of a dataset that is wished; large ones need a request of their own."""

    name: str
    version: str = "1.0.0"
    description: str = "Sensor measurements"
    large: bool = False

    @property
    def entry(self) -> str:
        """The key of its entry."""
        return record_key(COLLECTIONS[ENTRY], self.name, self.version)

    @property
    def label(self) -> str:
        """The key of its label."""
        return record_key(COLLECTIONS[LABEL], self.name, self.version)

    def records(self, did: str) -> Iterator[tuple[str, str, Record]]:
        """Kind, key and content of what it consists of."""
        yield SCHEMA, SAMPLE, sample()
        entry: Record = {
            "$type": COLLECTIONS[ENTRY],
            "name": self.name,
            "schemaRef": record_uri(did, SCHEMA, SAMPLE),
            "description": self.description,
            "storage": {
                "$type": "science.alt.dataset.storageHttp",
                "shards": [
                    {
                        "url": f"https://data.example.org/{self.name}-{self.version}.tar",
                        "checksum": {"algorithm": "sha256", "digest": "ab" * 32},
                    }
                ],
            },
        }
        if self.large:
            entry["metadata"] = bytes(95_000)
        yield ENTRY, self.entry, entry
        label: Record = {
            "$type": COLLECTIONS[LABEL],
            "name": self.name,
            "version": self.version,
            "datasetUri": record_uri(did, ENTRY, self.entry),
        }
        yield LABEL, self.label, label


def sample() -> Record:
    """The schema of every dataset here."""
    return {
        "$type": COLLECTIONS[SCHEMA],
        "name": "Sample",
        "version": "1.0.0",
        "schemaType": "jsonSchema",
        "schema": {
            "$type": "science.alt.dataset.schema#jsonSchemaFormat",
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {"value": {"type": "integer"}},
        },
    }


@dataclass(slots=True)
class World:
    """One account, and a directory for what its clients keep."""

    base: Path
    server: PdsServer
    account: Account
    contents: dict[str, bytes] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def did(self) -> str:
        """The account's DID."""
        return self.account.did

    def config(self, **settings: object) -> StoreConfig:
        """Where the account is; a setting that is None is left out."""
        known: dict[str, object] = {
            "service": self.server.url,
            "identity": self.did,
            "ledger": "file:ledger",
            "credentials": {"env": VARIABLE},
            "allowPrivate": True,
        }
        given = {name: value for name, value in (known | settings).items() if value is not None}
        return StoreConfig(name="public", kind="atproto", settings=given, place=CONFIGURED)

    @contextmanager
    def open(
        self, *, login: str | None = None, lock_timeout: float = 30.0, **settings: object
    ) -> Iterator[AtprotoStore]:
        """A handle; its pauses are noted and not waited for."""
        variables = {VARIABLE: self.account.session if login is None else login, **self.environment}
        surroundings = Surroundings(
            root=self.base,
            lock_timeout=lock_timeout,
            records=self.contents,
            variables=variables,
            progress=self.notes.append,
        )
        store = open_store(self.config(**settings), surroundings, pause=self.pauses.append)
        try:
            yield store
        finally:
            store.close()

    def wishes(self, *promoted: Promoted, withdrawn: Sequence[Promoted] = ()) -> list[Declaration]:
        """The declarations of datasets, and the tombstones of others."""
        found: dict[Address, Declaration] = {}
        for one in promoted:
            for kind, key, record in one.records(self.did):
                content = encode(record)
                self.contents[cid_of(content)] = content
                address = Address("public", kind, key)
                slots = slots_of(self.did, kind, record)
                found[address] = Declaration(address, slots, PLACE, record_source(content))
        for one in withdrawn:
            for kind, key in ((ENTRY, one.entry), (LABEL, one.label)):
                address = Address("public", kind, key)
                found[address] = Declaration(address, NOTHING, PLACE, reason="superseded")
        return [found[address] for address in sorted(found)]

    def plan(self, store: AtprotoStore, wishes: Sequence[Declaration]) -> Plan:
        """What leads to the wish."""
        found = difference(
            wishes,
            store.snapshot(Selection()),
            inventory(store.history()),
            shape=SHAPE,
            everything_ours=False,
        )
        part = store_plan(store.config, SHAPE, found, depth=Depth.MANIFESTS)
        return Plan(stores=(part,), commit="c" * 40, policy="", tool="test")

    def reconcile(self, store: AtprotoStore, wishes: Sequence[Declaration]) -> ApplyReport:
        """Finish what was left open, plan and apply."""
        store.recover()
        return apply_plan(self.plan(store, wishes), {"public": store}, lambda _part: RUN)

    def records(self) -> dict[str, Any]:
        """What another client lists: `kind/key` → the record."""
        return {
            f"{kind}/{key}": record["value"]
            for kind in KINDS
            for key, record in self.server.records(self.account, COLLECTIONS[kind]).items()
        }

    def expected(self, *promoted: Promoted) -> dict[str, Any]:
        """What must be listed where exactly these are promoted."""
        from reconciler.stores.atproto.dagcbor import to_json  # noqa: PLC0415 - here only

        return {
            f"{kind}/{key}": orjson.loads(orjson.dumps(to_json({**record, "createdAt": CREATED})))
            for one in promoted
            for kind, key, record in one.records(self.did)
        }

    def another(self, base: str) -> World:
        """The same account, as a second machine with a ledger of its own reaches it."""
        place = self.base / base
        place.mkdir(exist_ok=True)
        return World(place, self.server, self.account, self.contents, environment=self.environment)


def outcomes(results: Sequence[StepResult] | ApplyReport) -> list[Outcome]:
    """What became of each step."""
    if isinstance(results, ApplyReport):
        return [item.result.outcome for item in results.items]
    return [result.outcome for result in results]


def ledger_of(world: World) -> Mapping[str, bytes]:
    """Every file of the ledger."""
    place = world.base / "ledger" / ".reconciler" / "ledger"
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())} if place.exists() else {}
