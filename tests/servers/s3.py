"""S3 servers over a socket: a whole one from a pip package, and a small one that misbehaves on demand."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from moto.server import ThreadedMotoServer

BUCKET = "manifests"


def options(endpoint: str) -> Mapping[str, str]:
    """The settings with which a client reaches a server of a test."""
    return {
        "endpoint": endpoint,
        "region": "us-east-1",
        "access_key_id": "test",
        "secret_access_key": "canary-of-a-secret",
        "allow_http": "true",
    }


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
