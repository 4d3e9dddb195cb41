"""What stands between a client and a PDS: it loses requests and answers, or answers and acts itself."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar
from urllib.parse import urlsplit

APPLY = "com.atproto.repo.applyWrites"
REPO = "com.atproto.sync.getRepo"
COMMIT = "com.atproto.sync.getLatestCommit"
LOGIN = "com.atproto.server.createSession"
REFRESH = "com.atproto.server.refreshSession"
UPLOAD = "com.atproto.repo.uploadBlob"
HANDLE = "com.atproto.identity.resolveHandle"


_OF_ONE_CONNECTION = frozenset({"content-length", "connection", "transfer-encoding", "date", "keep-alive"})


class Fault(Enum):
    """What happens to a request and its answer."""

    LOST = "the request never arrives"
    UNANSWERED = "the server does it, and its answer is lost"
    HALF = "the connection breaks in the middle of the answer"
    ABANDONED = "the request arrives, and nobody waits for what becomes of it"


@dataclass(frozen=True, slots=True)
class Said:
    """An answer that the proxy gives itself."""

    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


def left(points: int, seconds: int, window: int = 3_600) -> dict[str, str]:
    """What a server says of its budget."""
    return {
        "ratelimit-limit": "5000",
        "ratelimit-remaining": str(points),
        "ratelimit-reset": str(int(time.time()) + seconds),
        "ratelimit-policy": f"5000;w={window}",
    }


def refusal(status: int, error: str, **headers: str) -> Said:
    """A refusal as XRPC has it."""
    body = f'{{"error": "{error}", "message": "said by a test"}}'.encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, body, {"content-type": "application/json", **named})


def _nothing() -> None:
    """Nobody acts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to some requests of a method.

    Attributes:
        method: the XRPC method.
        fault: what becomes of the request; None lets it pass.
        skip: how many requests pass before.
        times: how many requests it hits.
        before: done just before the request is passed on.
        after: done when it was passed on, before its answer is.
        headers: what the answer says besides.
    """

    method: str
    fault: Fault | Said | None = None
    skip: int = 0
    times: int = 1
    before: Callable[[], object] = _nothing
    after: Callable[[], object] = _nothing
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Proxy:
    """A running proxy: where it answers, and the methods and sizes of answers that it saw."""

    url: str = ""
    plans: tuple[Plan, ...] = ()
    seen: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def plan(self, method: str) -> Plan:
        """What happens to the request that was noted last."""
        count = self.seen.count(method)
        for plan in self.plans:
            if plan.method == method and plan.skip < count <= plan.skip + plan.times:
                return plan
        return Plan(method)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ClassVar[Proxy]
    upstream: ClassVar[str]

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        method = urlsplit(self.path).path.removeprefix("/xrpc/")
        self.proxy.seen.append(method)
        plan = self.proxy.plan(method)
        plan.before()
        if isinstance(plan.fault, Said):
            self._answer(plan.fault)
            return
        if plan.fault is Fault.LOST:
            self.close_connection = True
            return
        server = http.client.HTTPConnection(self.upstream)
        try:
            server.request(self.command, self.path, body, dict(self.headers))
            if plan.fault is Fault.ABANDONED:
                plan.after()
                self.close_connection = True
                return
            found = server.getresponse()
            headers = {**dict(found.getheaders()), **plan.headers}
            said = Said(found.status, found.read(), headers)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        finally:
            server.close()
        plan.after()
        if plan.fault is Fault.UNANSWERED:
            self.close_connection = True
            return
        self._answer(said, broken=plan.fault is Fault.HALF)

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _answer(self, said: Said, *, broken: bool = False) -> None:
        self.proxy.sizes.append(len(said.body))
        self.send_response(said.status)
        for name, value in said.headers.items():
            if name.lower() not in _OF_ONE_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(said.body)))
        self.end_headers()
        self.wfile.write(said.body[: len(said.body) // 2] if broken else said.body)
        self.close_connection = self.close_connection or broken

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Quietly."""


@contextmanager
def before(upstream: str, *plans: Plan) -> Iterator[Proxy]:
    """A proxy before a server."""
    proxy = Proxy(plans=plans)
    handler = type("Handler", (_Handler,), {"proxy": proxy, "upstream": urlsplit(upstream).netloc})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
