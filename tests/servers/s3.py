"""S3 servers over a socket: a whole one from a pip package, one that misbehaves, and a proxy with faults."""

from __future__ import annotations

import http.client
import http.server
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar
from urllib.parse import urlsplit

import boto3
from moto.server import ThreadedMotoServer

from reconciler.stores.registry.objects_s3 import S3Objects, open_s3
from reconciler.stores.registry.s3_access import S3Access

BUCKET = "manifests"


SECRET = "canary-of-a-secret"  # noqa: S105 - of no server but these


def access(endpoint: str) -> S3Access:
    """How a client reaches a server of a test."""
    return S3Access(key_id="test", secret=SECRET, endpoint=endpoint)


def opened(endpoint: str, prefix: str = "", bucket: str = BUCKET) -> S3Objects:
    """The objects of a bucket; nobody waits between two tries."""
    return open_s3(f"s3://{bucket}/{prefix}", access(endpoint), pause=lambda _seconds: None)


def bucket_client(endpoint: str) -> Any:  # noqa: ANN401 - boto3 makes its classes when it runs
    """Another client of the same server, which shares no code with ours."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key=SECRET,
    )


@contextmanager
def running() -> Iterator[str]:
    """The endpoint of a whole S3 server that holds one empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")  # noqa: S310 - our own server
        urllib.request.urlopen(request).close()  # noqa: S310
        yield endpoint
    finally:
        server.stop()


@dataclass(slots=True)
class Misbehaviour:
    """What a misbehaving server does wrong, and what it holds.

    Attributes:
        overwrites: a put replaces an object although it was to create only.
        silent_puts: the connection of a put of a manifest is closed without an answer.
        keeps: whether such a put is kept.
        silent_reads: the connection of every read is closed without an answer.
    """

    overwrites: bool = False
    silent_puts: bool = False
    keeps: bool = True
    silent_reads: bool = False
    objects: dict[str, bytes] = field(default_factory=dict)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: ClassVar[Misbehaviour]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        silent = self.behaviour.silent_puts and "/.reconciler/" not in self.path
        if self.path in self.behaviour.objects and not self.behaviour.overwrites and not silent:
            self._answer(412)
            return
        if self.behaviour.keeps or not silent:
            self.behaviour.objects[self.path] = body
        if silent:
            self.close_connection = True
        else:
            self._answer(200)

    def do_GET(self) -> None:
        if self.behaviour.silent_reads:
            self.close_connection = True
        elif "?" in self.path:
            self._answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        elif self.path in self.behaviour.objects:
            self._answer(200, self.behaviour.objects[self.path])
        else:
            self._answer(404)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Quietly."""


@contextmanager
def misbehaving(behaviour: Misbehaviour) -> Iterator[str]:
    """The endpoint of a small server that does wrong what it is told to."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Fault(Enum):
    """What a proxy does to one request."""

    LOST = "the request never arrives"
    UNANSWERED = "the server does it, and its answer is lost"
    HALF = "the connection breaks in the middle of the answer"
    OTHER_BYTES = "the answer has a body of the same length with other bytes"


@dataclass(frozen=True, slots=True)
class Plan:
    """A fault of the next requests of a method.

    Attributes:
        method: the method, or LIST; all others pass.
        fault: what happens, or the status that is answered although nothing was done.
        times: how many requests it hits.
        skip: how many requests pass before.
    """

    method: str
    fault: Fault | int
    times: int = 1
    skip: int = 0


@dataclass(slots=True)
class Proxy:
    """What stands between a client and a server: its faults, and the methods of the requests it saw.

    A listing is seen as LIST. Requests for our own probe pass and are not noted.
    """

    endpoint: str = ""
    plans: list[Plan] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def fault(self, method: str) -> Fault | int | None:
        """What happens to the request that was noted last."""
        for plan in self.plans:
            if plan.method == method and plan.skip < self.seen.count(method) <= plan.skip + plan.times:
                return plan.fault
        return None


class _ProxyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ClassVar[Proxy]
    upstream: ClassVar[str]

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault: Fault | int | None = None
        if "/.reconciler/probe" not in self.path:
            name = "LIST" if "list-type=" in self.path else self.command
            self.proxy.seen.append(name)
            fault = self.proxy.fault(name)
        if isinstance(fault, int):
            self._answer(fault, {}, f"<Error><Message>{SECRET}</Message></Error>".encode())
            return
        if fault is Fault.LOST:
            self.close_connection = True
            return
        server = http.client.HTTPConnection(self.upstream)
        server.request(self.command, self.path, body, dict(self.headers))
        answer = server.getresponse()
        content, headers = answer.read(), dict(answer.getheaders())
        server.close()
        if fault is Fault.UNANSWERED:
            self.close_connection = True
            return
        if fault is Fault.OTHER_BYTES:
            content = b"x" * len(content)
        self._answer(answer.status, headers, content, broken=fault is Fault.HALF)

    def do_GET(self) -> None:
        self._pass_on()

    def do_HEAD(self) -> None:
        self._pass_on()

    def do_PUT(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, broken: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "connection", "transfer-encoding", "date", "server"}:
                self.send_header(name, value)
        length = next((v for n, v in headers.items() if n.lower() == "content-length"), str(len(body)))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if broken else body)
        self.close_connection = broken

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Quietly."""


@contextmanager
def faulty(upstream: str, *plans: Plan) -> Iterator[Proxy]:
    """A proxy before a whole server."""
    proxy = Proxy(plans=list(plans))
    handler = type("Handler", (_ProxyHandler,), {"proxy": proxy, "upstream": urlsplit(upstream).netloc})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
