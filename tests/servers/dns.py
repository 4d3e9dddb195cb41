"""A nameserver on loopback, over datagrams and streams, that says what a test wants."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reconciler.stores.atproto.dns import Nameserver

POINTER_TO_QUESTION = b"\xc0\x0c"
TXT, CNAME = 16, 5


def name(text: str) -> bytes:
    """A name as DNS writes it."""
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def record(owner: bytes, kind: int, data: bytes) -> bytes:
    """A record of the internet that is true for a minute."""
    return owner + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def txt(*strings: str, owner: bytes = POINTER_TO_QUESTION) -> bytes:
    """A TXT record of the name that was asked for."""
    return record(owner, TXT, b"".join(bytes([len(s)]) + s.encode() for s in strings))


def answer(query: bytes, *records: bytes, code: int = 0, truncated: bool = False) -> bytes:
    """An answer to a query."""
    flags = 0x8180 | code | (0x0200 if truncated else 0)
    return query[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0) + query[12:] + b"".join(records)


Says = Callable[[bytes], list[bytes]]
"""The datagrams, or the one answer of a stream, for a query."""


@dataclass(slots=True)
class Server:
    """A running nameserver: where it answers, and the names that it was asked for."""

    address: Nameserver
    asked: list[str] = field(default_factory=list)


def _question(query: bytes) -> str:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels)


_TRIES = 20


def _on_one_port(
    datagrams: type[socketserver.BaseRequestHandler], streams: type[socketserver.BaseRequestHandler]
) -> tuple[socketserver.ThreadingUDPServer, socketserver.ThreadingTCPServer]:
    """Both servers on the same free port: one that is free for datagrams may be taken for streams."""
    for _ in range(_TRIES):
        first = socketserver.ThreadingUDPServer(("127.0.0.1", 0), datagrams)
        try:
            return first, socketserver.ThreadingTCPServer(first.server_address, streams)
        except OSError:
            first.server_close()
    raise AssertionError(f"no port was free for both in {_TRIES} tries")


@contextmanager
def running(says: Says, streamed: Says | None = None) -> Iterator[Server]:
    """A nameserver; without `streamed` it takes no streams."""
    server = Server(Nameserver("127.0.0.1"))

    class Datagrams(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, sock = self.request
            server.asked.append(_question(query))
            for one in says(query):
                sock.sendto(one, self.client_address)

    class Streams(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (length,) = struct.unpack("!H", self.rfile.read(2))
            query = self.rfile.read(length)
            server.asked.append(f"stream {_question(query)}")
            for one in streamed(query) if streamed else ():
                self.wfile.write(struct.pack("!H", len(one)) + one)

    datagrams, streams = _on_one_port(Datagrams, Streams)
    with datagrams, streams:
        server.address = Nameserver("127.0.0.1", datagrams.server_address[1])
        for one in (datagrams, streams):
            threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            datagrams.shutdown()
            streams.shutdown()
