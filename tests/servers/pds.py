"""A real ATProto PDS and a real PLC directory for tests, on loopback, from npm packages.

Node and npm come from a pip package, the servers from the lock file beside this module; nothing is
compiled and no install script runs. They are installed once per user and lock file into the user's cache
directory. The PDS keeps its data in memory-backed files where the machine has them, and can be killed and
started again on the same data: accounts, sessions and records are then as they were committed.

Nothing here skips: where no server can be started, the test that needs one fails and says why.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, cast

from tests.servers.node import installed, node

_PACKAGES = Path(__file__).parent / "pds_packages"
_FILES = ("package.json", "package-lock.json", "start.cjs", "sqlite/package.json", "sqlite/index.js")
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
_NUMBERS = count(1)

PASSWORD = "canary-of-a-password"  # noqa: S105 - of no account but these

_ADMIN = hashlib.sha256(b"for tests only: admin").hexdigest()
_ADMINISTRATOR = f"Basic {base64.b64encode(f'admin:{_ADMIN}'.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of a PDS, with the session string of its first login."""

    handle: str
    did: str
    session: str = field(repr=False)
    password: str = PASSWORD


class _Process:
    """One server in its own process, which ends with ours."""

    def __init__(self, wanted: Mapping[str, object], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [node() / "bin" / "node", installed(_PACKAGES, _FILES) / "start.cjs", json.dumps(wanted)],
                env={"PATH": "/usr/bin:/bin", "LOG_ENABLED": "false", "NODE_NO_WARNINGS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')}")
        self.url: str = json.loads(line)["url"]

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@dataclass(slots=True)
class PdsServer:
    """A running PDS.

    Attributes:
        data: the directory of its data.
        plc: the URL of its PLC directory.
        limits: whether its own rate limits are on.
        url: where it answers; stays the same when it is started again.
    """

    data: Path
    plc: str
    limits: bool = False
    url: str = ""
    _process: _Process | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it on its data, at the port that it had before."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        wanted = {
            "server": "pds",
            "plc": self.plc,
            "data": str(self.data),
            "port": port,
            "limits": self.limits,
        }
        self._process = _Process(wanted, self.data.parent / "log")
        self.url = self._process.url

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL; its data stay."""
        assert self._process is not None
        self._process.kill()

    def account(self, label: str | None = None) -> Account:
        """A new account with an empty repository."""
        handle = f"{label or f'account-{os.getpid()}-{next(_NUMBERS)}'}.test"
        made = self.call(
            "com.atproto.server.createAccount",
            {"handle": handle, "email": f"{handle}@example.org", "password": PASSWORD},
        )
        session = ":::".join((handle, made["did"], made["accessJwt"], made["refreshJwt"]))
        return Account(handle, made["did"], session)

    def take_down(self, account: Account, *, applied: bool) -> None:
        """Take an account down as the server's administrator, or bring it back."""
        subject = {"$type": "com.atproto.admin.defs#repoRef", "did": account.did}
        self.call(
            "com.atproto.admin.updateSubjectStatus",
            {"subject": subject, "takedown": {"applied": applied}},
            authorization=_ADMINISTRATOR,
        )

    def session(self, account: Account) -> str:
        """A token that may write into the account's repository."""
        words = {"identifier": account.handle, "password": account.password}
        return str(self.call("com.atproto.server.createSession", words)["accessJwt"])

    def write(
        self, account: Account, *writes: Mapping[str, object], token: str | None = None
    ) -> dict[str, Any]:
        """Commit `com.atproto.repo.applyWrites#…` operations as another client would, unconditionally."""
        return self.call(
            "com.atproto.repo.applyWrites",
            {"repo": account.did, "writes": list(writes)},
            token=token or self.session(account),
        )

    def records(self, account: Account, collection: str) -> dict[str, dict[str, Any]]:
        """Every record of a collection by its key, as another client lists them."""
        found: dict[str, dict[str, Any]] = {}
        cursor = ""
        while True:
            page = self.call(
                f"com.atproto.repo.listRecords?repo={account.did}&collection={collection}&limit=100{cursor}"
            )
            for record in page["records"]:
                found[record["uri"].rpartition("/")[2]] = record
            if not page.get("cursor"):
                return found
            cursor = f"&cursor={page['cursor']}"

    def call(
        self,
        method: str,
        body: Mapping[str, object] | None = None,
        *,
        token: str | None = None,
        authorization: str = "",
    ) -> dict[str, Any]:
        """One XRPC call: a query, or a procedure where there is a body.

        Raises:
            AssertionError: the server refuses it.
        """
        headers = {"content-type": "application/json"} if body is not None else {}
        if token is not None or authorization:
            headers["authorization"] = authorization or f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/xrpc/{method}", data, headers)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
                return cast("dict[str, Any]", json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method}: {error.code} {error.read().decode()}") from error


@contextmanager
def running(*, limits: bool = False) -> Iterator[PdsServer]:
    """Start a PDS with a PLC directory of its own, and stop both at the end."""
    base = Path(tempfile.mkdtemp(prefix="pds-", dir=_MEMORY if _MEMORY.is_dir() else None))
    plc: _Process | None = None
    server: PdsServer | None = None
    try:
        plc = _Process({"server": "plc"}, base / "log")
        (base / "data").mkdir()
        server = PdsServer(base / "data", plc.url, limits)
        server.start()
        yield server
    finally:
        if server is not None and server.url:
            server.kill()
        if plc is not None:
            plc.kill()
        shutil.rmtree(base, ignore_errors=True)
