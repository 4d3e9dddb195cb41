"""A scratch account: the server of one repository, in a directory that is gone after a drill.

It answers the few methods that a restore, a reading and a run ask of a PDS, from a SQLite file, so that a
drill needs no server and no credentials: the same code that restores into a real account restores into this
one, and reads back what it wrote, every block by its CID. As a server does, it takes a request as a whole or
not at all, refuses one that follows another commit than it names, and refuses a record whose blobs it lacks.

Whose account it is, it learns from the backup. Its tree is one node and nothing in it is signed: it is
good for reading the records back, and for nothing else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from reconciler.errors import Unavailable
from reconciler.model import StoreConfig
from reconciler.stores.atproto.car import write_car
from reconciler.stores.atproto.connection import Connection, Origin
from reconciler.stores.atproto.dagcbor import (
    Data,
    Link,
    cid_bytes,
    cid_of,
    encode,
    from_json,
    to_json,
)
from reconciler.stores.atproto.identity import Account
from reconciler.stores.atproto.keeping import references_of
from reconciler.stores.atproto.login import Login
from reconciler.stores.atproto.store import AtprotoStore
from reconciler.stores.atproto.xrpc import Body, Pause, Refused, Secrets, Xrpc
from reconciler.stores.port import Surroundings

T = TypeVar("T")

SETTING: Final = "scratch"
"""The setting that names the directory; no document may have it."""

_RAW: Final = b"\x01\x55\x12\x20"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS account (did TEXT NOT NULL, rev INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS records (path TEXT PRIMARY KEY, block BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (cid BLOB PRIMARY KEY, type TEXT NOT NULL, content BLOB NOT NULL);
"""


class ScratchStore(AtprotoStore):
    """A store of kind atproto whose server is a file (see `reconciler.stores.port.Store`)."""

    def __init__(self, config: StoreConfig, surroundings: Surroundings, pause: Pause) -> None:
        super().__init__(config, surroundings, pause)
        self._server = ScratchServer(Path(str(config.settings[SETTING])))

    @cached_property
    def account(self) -> Account:
        """Whose backup came back here; nobody's before."""
        return Account(self._server.did, self._server.where)

    @cached_property
    def _xrpc(self) -> Xrpc:
        return self._server

    @cached_property
    def _login(self) -> Login:
        return _NoLogin(self.config, {}, did=self.did, xrpc=self._server, secrets=Secrets())

    def _claim(self, did: str) -> None:
        """Learn whose backup comes back."""
        self._server.claim(did)
        for name in ("account", "_repository", "_login"):
            self.__dict__.pop(name, None)


class _NoLogin(Login):
    """Nobody has to log in to a file."""

    def require(self) -> None:
        """Nothing to do."""

    def authorised(self, call: Callable[[str], T]) -> T:
        """Make the call."""
        return call("")


class ScratchServer(Xrpc):
    """The methods of a PDS that this program asks for, over one SQLite file."""

    def __init__(self, directory: Path) -> None:
        where = str(directory)
        nowhere = Connection(Origin("http", "scratch.invalid", 80), where=where, private=False)
        super().__init__(nowhere, where=where, pause=lambda _seconds: None, secrets=Secrets())
        self._directory = directory
        self._file: sqlite3.Connection | None = None

    @property
    def did(self) -> str:
        """Whose account it is; empty before a backup said so."""
        with self._database() as file:
            return str(file.execute("SELECT did FROM account").fetchone()[0])

    def claim(self, did: str) -> None:
        """Become the account of a backup."""
        with self._database() as file:
            file.execute("UPDATE account SET did = ?", (did,))

    def query(self, method: str, **parameters: str) -> dict[str, Any]:  # noqa: ARG002 - there is one account
        """The newest commit."""
        if method != "com.atproto.sync.getLatestCommit":
            raise Refused(501, "MethodNotImplemented")
        with self._database() as file:
            root, rev, _ = _commit(file)
        return {"cid": Link(root).cid, "rev": rev}

    def download(self, method: str, *, limit: int, **parameters: str) -> bytes:  # noqa: ARG002 - as above
        """The repository with all of its blocks, or a blob."""
        with self._database() as file:
            if method == "com.atproto.sync.getBlob":
                cid = cid_bytes(parameters["cid"])
                found = file.execute("SELECT content FROM blobs WHERE cid = ?", (cid,)).fetchone()
                if found is None:
                    raise Refused(400, "BlobNotFound")
                return bytes(found[0])
            if method not in {"com.atproto.sync.getRepo", "com.atproto.sync.getRecord"}:
                raise Refused(501, "MethodNotImplemented")
            root, _, blocks = _commit(file)
            return write_car(root, blocks)

    def procedure(
        self,
        method: str,
        body: Body | None = None,
        *,
        token: str | None = None,  # noqa: ARG002 - nobody has to log in
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Write records, or take a blob."""
        data = bytes(body) if isinstance(body, bytes) else orjson.dumps(body)
        with self._database() as file:
            if method == "com.atproto.repo.uploadBlob":
                cid = _RAW + sha256(data).digest()
                file.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", (cid, content_type, data))
                ref: Data = {
                    "$type": "blob",
                    "ref": Link(cid),
                    "mimeType": content_type,
                    "size": len(data),
                }
                return {"blob": to_json(ref)}
            if method != "com.atproto.repo.applyWrites":
                raise Refused(501, "MethodNotImplemented")
            return _applied(file, orjson.loads(data))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        try:
            if self._file is None:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._file = sqlite3.connect(self._directory / "account.db")
                self._file.executescript(_TABLES)
                if self._file.execute("SELECT count(*) FROM account").fetchone()[0] == 0:
                    self._file.execute("INSERT INTO account VALUES ('', 1)")
                    self._file.commit()
            with self._file:
                yield self._file
        except (sqlite3.Error, OSError) as error:
            raise Unavailable.of(
                "E_IO",
                f"the scratch account cannot be used: {error}",
                path=self.where,
                fix="name a scratch directory with room",
            ) from error


def _commit(file: sqlite3.Connection) -> tuple[bytes, str, dict[bytes, bytes]]:
    """The CID of the newest commit, its revision, and every block below it."""
    did, number = file.execute("SELECT did, rev FROM account").fetchone()
    rev = f"{number:013d}"
    blocks: dict[bytes, bytes] = {}
    entries: list[Data] = []
    for path, block in file.execute("SELECT path, block FROM records ORDER BY path"):
        cid = cid_bytes(cid_of(block))
        blocks[cid] = block
        entries.append({"p": 0, "k": path.encode("ascii"), "v": Link(cid), "t": None})
    node = encode({"e": entries, "l": None})
    tree = cid_bytes(cid_of(node))
    commit = encode({"did": did, "version": 3, "rev": rev, "data": Link(tree), "prev": None, "sig": b""})
    root = cid_bytes(cid_of(commit))
    return root, rev, {root: commit, tree: node, **blocks}


def _applied(file: sqlite3.Connection, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What `applyWrites` answers; raises before anything was written, and the transaction ends with it."""
    if asked["swapCommit"] != Link(_commit(file)[0]).cid:
        raise Refused(400, "InvalidSwap")
    results: list[dict[str, str]] = []
    for write in asked["writes"]:
        path, action = f"{write['collection']}/{write['rkey']}", write["$type"].rpartition("#")[2]
        stands = file.execute("SELECT 1 FROM records WHERE path = ?", (path,)).fetchone() is not None
        if stands is (action == "create"):
            raise Refused(500, "InternalServerError")
        if action == "delete":
            file.execute("DELETE FROM records WHERE path = ?", (path,))
            results.append({})
            continue
        value = from_json(write["value"])
        for cid, *_ in references_of(value):
            if file.execute("SELECT 1 FROM blobs WHERE cid = ?", (cid,)).fetchone() is None:
                raise Refused(400, "BlobNotFound")
        block = encode(value)
        file.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (path, block))
        results.append({"cid": cid_of(block)})
    file.execute("UPDATE account SET rev = rev + 1")
    root, rev, _ = _commit(file)
    return {"commit": {"cid": Link(root).cid, "rev": rev}, "results": results}
