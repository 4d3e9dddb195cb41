"""One HTTP connection to a server whose address was checked first.

A location comes from a reviewed document, from the environment, or from an identity document that somebody
else wrote. So a host is resolved here, every address that the resolver gives must be a public one, and the
connection goes to the address that was checked and not to the name again. Redirects are never followed,
credentials go to one host only, and answers have a size and a time at which reading stops.

`allowPrivate: true` in `stores.yaml` lifts the check and allows plain http: for networks of one's own.

The connection is kept open between requests. Nothing here retries: what a failure means depends on the
request, and `reconciler.stores.atproto.xrpc` decides it.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from reconciler.errors import InvalidInput, LimitExceeded

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
WHOLE_SECONDS: Final = 900.0
_IDLE_SECONDS: Final = 2.0
"""A connection that was idle for longer is not used again: servers close theirs after some seconds, and a
write that meets that would have an unknown outcome for nothing."""

_SLOWEST: Final = 100_000
"""Bytes per second, below which a long answer counts as none."""

_CHUNK: Final = 1 << 18
_ORIGIN = re.compile(
    r"(https?)://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,64}\])(?::([0-9]{1,5}))?/?", re.ASCII
)
_PORTS: Final = {"http": 80, "https": 443}
_TRANSLATED: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""IPv6 addresses that a NAT64 turns into IPv4 ones, private or not; Python calls the first range global."""

Body = bytes | memoryview


class NoAnswer(Exception):
    """The request may or may not have been done: nothing, or not the whole answer, came back."""


class NotSent(Exception):
    """No connection could be made, so the request was not done."""


class Origin(NamedTuple):
    """A scheme, host and port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        standard = _PORTS[self.scheme]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == standard else f":{self.port}")


class Answer(NamedTuple):
    """What a server answered, whatever it says."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def parse_origin(text: str, *, where: str, private: bool) -> Origin:
    """Read the location of a server: a scheme, a host and perhaps a port.

    Args:
        text: the location.
        where: what names it, for errors.
        private: whether `allowPrivate` lifts the rules for public networks.

    Raises:
        InvalidInput: E_URL_SYNTAX or E_URL_PLAIN.
    """
    found = _ORIGIN.fullmatch(text)
    port = int(found.group(3) or _PORTS[found.group(1)]) if found else 0
    if found is None or not 0 < port < 65536:
        # It may come from the environment or from a stranger's document, so it is not repeated.
        raise InvalidInput.of(
            "E_URL_SYNTAX",
            "a server is a scheme, a host and perhaps a port",
            path=where,
            fix="write https://HOST",
        )
    if found.group(1) == "http" and not private:
        raise InvalidInput.of(
            "E_URL_PLAIN",
            "the server has no TLS, so everybody on the way can read the password and change the answers",
            path=where,
            fix="use https://, or allowPrivate: true in a network of your own",
        )
    return Origin(found.group(1), found.group(2).strip("[]").lower(), port)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also where it carries another one inside."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if any(found in network for network in _TRANSLATED):
            return False
        inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if any(one is not None and not one.is_global for one in inner):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


class Connection:
    """Requests to one origin, one after the other."""

    def __init__(self, origin: Origin, *, where: str, private: bool) -> None:
        self.origin = origin
        self._where = where
        self._private = private
        self._open: http.client.HTTPConnection | None = None
        self._used = 0.0

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        limit: int,
    ) -> Answer:
        """Send one request and read the whole answer.

        Args:
            method: GET or POST.
            path: path and query.
            headers: what is sent besides the standard headers.
            body: what is sent after them.
            limit: the most bytes that an answer may have.

        Raises:
            NotSent: no connection could be made.
            NoAnswer: it was sent, at least in part, and no whole answer came.
            InvalidInput: E_URL_PRIVATE.
            LimitExceeded: E_ANSWER_SIZE.
        """
        if time.monotonic() - self._used > _IDLE_SECONDS:
            self.close()
        connection = self._open or self._connect()
        self._open = None  # until the answer was read, the connection is in no known state
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            content = _content(answer, limit, self._where)
        except LimitExceeded:
            connection.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NoAnswer(type(error).__name__) from error
        if answer.will_close:
            connection.close()
        else:
            self._open = connection
            self._used = time.monotonic()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, content)

    @contextmanager
    def stream(self, path: str) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The status and the bytes of an answer that may be of any size, piece by piece.

        The connection is closed afterwards. Only what the server sends whole ends without an error.

        Raises:
            NotSent: no connection could be made.
            NoAnswer: no whole answer came.
            InvalidInput: E_URL_PRIVATE.
        """
        connection = self._connect()
        try:
            connection.request("GET", path, headers={"accept-encoding": "identity"})
            answer = connection.getresponse()
            yield answer.status, _pieces(answer)
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(type(error).__name__) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connect(self) -> http.client.HTTPConnection:
        """Connect to one of the checked addresses.

        Raises:
            NotSent: none can be reached.
            InvalidInput: E_URL_PRIVATE, one of them is not public.
        """
        problem: OSError | None = None
        for address in self._addresses():
            try:
                sock = self._socket(address)
            except OSError as error:
                problem = error
                continue
            connection = http.client.HTTPConnection(self.origin.host, self.origin.port)
            connection.sock = sock
            connection.default_port = _PORTS[self.origin.scheme]  # the Host header leaves it out
            connection.auto_open = 0  # it would connect to the name, which nobody checked
            return connection
        raise NotSent(type(problem).__name__ if problem else "no address") from problem

    def _socket(self, address: tuple[str, int]) -> socket.socket:
        sock = socket.create_connection(address, timeout=CONNECT_SECONDS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.origin.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self.origin.host)
        except OSError:
            sock.close()
            raise
        sock.settimeout(ANSWER_SECONDS)
        return sock

    def _addresses(self) -> list[tuple[str, int]]:
        try:
            found = socket.getaddrinfo(self.origin.host, self.origin.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotSent("the name has no address") from error
        addresses = [(str(item[4][0]), int(item[4][1])) for item in found]
        if not self._private and not all(is_public(address) for address, _ in addresses):
            raise InvalidInput.of(
                "E_URL_PRIVATE",
                "the server's name leads to an address that is not on the public internet",
                path=self._where,
                got=self.origin.host,
                fix="correct the location, or allowPrivate: true in a network of your own",
            )
        return addresses


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The bytes of an answer; one that only drips ends as no answer."""
    started, have = time.monotonic(), 0
    while piece := answer.read(_CHUNK):
        have += len(piece)
        yield piece
        if time.monotonic() - started > WHOLE_SECONDS + have / _SLOWEST:
            raise TimeoutError
    declared = answer.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) != have:
        raise http.client.IncompleteRead(b"", int(declared) - have)


def _content(answer: http.client.HTTPResponse, limit: int, where: str) -> bytes:
    until = time.monotonic() + WHOLE_SECONDS
    parts: list[bytes] = []
    have = 0
    while part := answer.read(_CHUNK):
        have += len(part)
        parts.append(part)
        if have > limit:
            raise LimitExceeded.of(
                "E_ANSWER_SIZE", f"the server's answer is larger than {limit} bytes", path=where
            )
        if time.monotonic() > until:
            raise TimeoutError
    declared = answer.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) != have:
        raise http.client.IncompleteRead(b"", int(declared) - have)
    return parts[0] if len(parts) == 1 else b"".join(parts)
