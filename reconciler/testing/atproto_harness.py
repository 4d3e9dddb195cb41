"""The contract suite's hands on an account of a PDS: another writer's records, damage, a takedown, EIO.

The server is the suite's own (`Server`), and its data are on this machine, so that a record's bytes can be
damaged where they lie.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol, Self

import orjson

from reconciler import failpoints
from reconciler.model import Place, StoreConfig
from reconciler.stores.atproto.keys import COLLECTIONS
from reconciler.stores.atproto.store import AtprotoStore, open_store
from reconciler.stores.port import Surroundings
from reconciler.stores.serving.durable import OWN
from reconciler.testing.atproto_terms import RECORDS, AtprotoTerms, entry_of
from reconciler.testing.harness import Build
from reconciler.testing.serving_harness import FailpointFault

_NUMBERS = count(1)
_NOBODY = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
_OURS = frozenset({"close", "journal", "lock", "pds"})
_VARIABLE = "ACCOUNT_SESSION"


class Owner(Protocol):
    """An account of the server, with an open session."""

    @property
    def did(self) -> str:
        """Whose repository."""

    @property
    def session(self) -> str:
        """A session string."""


class Server(Protocol):
    """The PDS under test."""

    @property
    def url(self) -> str:
        """Where it answers."""

    @property
    def data(self) -> Path:
        """The directory of its data."""

    def account(self) -> Owner:
        """A new account with an empty repository."""

    def write(self, account: Any, *writes: Mapping[str, object]) -> Any:  # noqa: ANN401 - its account and answer
        """Commit operations as another client would."""

    def records(self, account: Any, collection: str) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - its account
        """Every record of a collection by its key."""

    def take_down(self, account: Any, *, applied: bool) -> None:  # noqa: ANN401 - as above
        """Take an account down, or bring it back."""


class AtprotoHarness:
    """One account of a PDS, and a directory for its ledger."""

    places = (
        *sorted(name for name in failpoints.NAMES if set(name.split(".")) & _OURS),
        "pds.write.before@2",
    )

    def __init__(
        self,
        base: Path,
        server: Server,
        opened: list[AtprotoStore] | None = None,
        account: Owner | None = None,
    ) -> None:
        self._all = base
        self._base = base / str(next(_NUMBERS))
        self._base.mkdir(parents=True)
        self._server = server
        self._account = server.account() if account is None else account
        self._terms = AtprotoTerms(self._account.did)
        self._opened: list[AtprotoStore] = [] if opened is None else opened

    @property
    def ledger(self) -> str:
        """Where the ledger is, as a document names it."""
        return "file:store"

    @property
    def variables(self) -> Mapping[str, str]:
        """What else the environment holds."""
        return {}

    def fresh(self) -> Self:
        """Another account, with an empty repository."""
        self.close()
        return type(self)(self._all, self._server, self._opened)

    def replacement(self) -> Self:
        """The same account, which lost its records, and an empty place for its ledger."""
        self.close()
        for collection in COLLECTIONS.values():
            keys = self._server.records(self._account, collection)
            deletes = [
                {"$type": "com.atproto.repo.applyWrites#delete", "collection": collection, "rkey": key}
                for key in keys
            ]
            if deletes:
                self._server.write(self._account, *deletes)
        return type(self)(self._all, self._server, self._opened, self._account)

    def close(self) -> None:
        """Close every handle that was opened."""
        for store in self._opened:
            store.close()
        self._opened.clear()

    def open(self, *, create: bool = True, lock_timeout: float = 10.0) -> AtprotoStore:
        """A new handle; no account is ever made, so another one stands for one that does not exist."""
        settings = {
            "service": self._server.url,
            "identity": self._account.did if create else _NOBODY,
            "ledger": self.ledger,
            "credentials": {"env": _VARIABLE},
            "allowPrivate": True,
        }
        config = StoreConfig(name="m", kind="atproto", settings=settings, place=Place("stores.yaml", 1, 1))
        surroundings = Surroundings(
            root=self._base,
            lock_timeout=lock_timeout,
            records=RECORDS,
            variables={_VARIABLE: self._account.session, **self.variables},
        )
        self._opened.append(open_store(config, surroundings, pause=lambda _seconds: None))
        return self._opened[-1]

    def build(self, dataset: str) -> Build:
        """Wish a label."""
        return Build(self._terms.source(dataset), self._terms.wished(dataset))

    def fingerprint(self) -> Mapping[str, bytes]:
        """What another client lists, wherever the account is named as if it were one and the same."""
        found: dict[str, bytes] = {}
        for collection in COLLECTIONS.values():
            for key, record in self._server.records(self._account, collection).items():
                value = orjson.dumps(record["value"], option=orjson.OPT_SORT_KEYS)
                name = record["value"].get("name")
                found[f"{collection}/{name}/{key}"] = value.replace(self._account.did.encode(), b"DID")
        return found

    def damage(self, dataset: str) -> None:
        """Flip the last byte of an entry where the server keeps it."""
        (file,) = self._server.data.glob(f"actors/*/{self._account.did}/store.sqlite")
        cid = self._cid(dataset)
        with closing(sqlite3.connect(file, timeout=30.0)) as connection, connection:
            ((content,),) = connection.execute(
                "SELECT content FROM repo_block WHERE cid = ?", (cid,)
            ).fetchall()
            damaged = content[:-1] + bytes((content[-1] ^ 1,))
            connection.execute("UPDATE repo_block SET content = ? WHERE cid = ?", (damaged, cid))

    def _cid(self, dataset: str) -> str:
        """The CID of a thing's entry as it stands; its bytes do not depend on the account."""
        wanted = entry_of(dataset)["description"]
        listed = self._server.records(self._account, COLLECTIONS["entry"]).values()
        return next(str(record["cid"]) for record in listed if record["value"]["description"] == wanted)

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """The account is taken down."""
        self._server.take_down(self._account, applied=True)
        try:
            yield
        finally:
            self._server.take_down(self._account, applied=False)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock beside the ledger, as another process would."""
        own = self._base / "store" / OWN
        own.mkdir(parents=True, exist_ok=True)
        with (own / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def failing(self, place: str) -> Iterator[FailpointFault]:
        """EIO at one failpoint."""
        failpoints.arm(f"{place}=EIO")
        try:
            yield FailpointFault(place.partition("@")[0])
        finally:
            failpoints.arm("")
