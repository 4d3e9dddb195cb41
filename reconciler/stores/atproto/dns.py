"""TXT records of a name: the one question of DNS that the standard library cannot ask.

Asks the nameservers that the machine is configured with, or one that `nameserver:` in `stores.yaml` names,
one after the other, and reads what answers. "The name has no such record" and "nobody could be asked" are
different answers: the first is an empty tuple, the second an error, so that a failed lookup never looks like
a missing record. An answer counts only if it repeats the question and the random number that was sent with
it, and comes from the address that was asked; one that does not fit into a datagram is fetched over TCP.

What an answer says is data of a stranger: every length in it is checked, names are followed a bounded number
of times, and nothing of it is resolved further. Signatures (DNSSEC) are left to the nameserver.

Specification: RFC 1035 sections 3 and 4, RFC 7766 for TCP
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from reconciler.errors import Unavailable

CONFIGURATION: Final = Path("/etc/resolv.conf")
ROUNDS: Final = 2
SECONDS: Final = 3.0
"""How often every nameserver is asked, and how long each is waited for."""

_MOST_SERVERS: Final = 3
_PORT: Final = 53
_HEADER: Final = struct.Struct("!6H")
_RECORD: Final = struct.Struct("!HHIH")
_TXT: Final = 16
_CNAME: Final = 5
_INTERNET: Final = 1
_ANSWER: Final = 0x8000
_OPCODE: Final = 0x7800
_TRUNCATED: Final = 0x0200
_RECURSION: Final = 0x0100
_NO_SUCH_NAME: Final = 3
_LONGEST_NAME: Final = 253
_MOST_PARTS: Final = 160
"""A name has at most 127 labels; the rest are for going on elsewhere."""


class Nameserver(NamedTuple):
    """A nameserver: an IP address, and the port where it answers."""

    address: str
    port: int = _PORT


class _Unusable(Exception):
    """An answer that does not answer the question."""


class _Found(NamedTuple):
    """A record of an answer: whose, of which type, and where its data are."""

    owner: bytes
    kind: int
    start: int
    end: int


def nameserver(text: str) -> Nameserver:
    """Read `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`."""
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        address, _, port = text.partition(":")
    return Nameserver(address, int(port or _PORT))


def configured(file: Path = CONFIGURATION) -> tuple[Nameserver, ...]:
    """The nameservers of this machine, at most three; its own where none is named (resolv.conf(5))."""
    found: list[Nameserver] = []
    with suppress(OSError, UnicodeDecodeError):
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                found.append(Nameserver(words[1]))
    return tuple(found[:_MOST_SERVERS]) or (Nameserver("127.0.0.1"),)


def texts(name: str, servers: Sequence[Nameserver], *, where: str) -> tuple[str, ...]:
    """The TXT records of a name, each as one text; empty if it has none.

    Args:
        name: a host name in ASCII, without the dot at its end.
        servers: who is asked.
        where: what names it, for errors.

    Raises:
        Unavailable: E_UNREACHABLE, no nameserver gave an answer.
    """
    if len(name) > _LONGEST_NAME:
        return ()
    for server in [server for _ in range(ROUNDS) for server in servers]:
        try:
            return _asked(name, server)
        except (OSError, _Unusable, struct.error):
            continue
    raise Unavailable.of(
        "E_UNREACHABLE",
        "no nameserver answers what this name says",
        path=where,
        got=name,
        fix="retry later, or name the account's DID or its service",
    )


def _asked(name: str, server: Nameserver) -> tuple[str, ...]:
    number = secrets.randbelow(1 << 16)
    asked = _name_of(name)
    query = _HEADER.pack(number, _RECURSION, 1, 0, 0, 0) + asked + struct.pack("!2H", _TXT, _INTERNET)
    answer = _datagram(query, server)
    if _HEADER.unpack_from(answer)[1] & _TRUNCATED:
        answer = _streamed(query, server)
        if not _answers(query, answer):
            raise _Unusable
    code = _HEADER.unpack_from(answer)[1] & 15
    if code == _NO_SUCH_NAME:
        return ()
    if code:
        raise _Unusable
    return tuple(_said(answer, asked.lower(), len(query)))


def _name_of(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split(".")) + b"\0"


def _answers(query: bytes, answer: bytes) -> bool:
    """Whether an answer repeats the number and the question; names are equal in any case."""
    if len(answer) < len(query):
        return False
    number, flags, questions, *_ = _HEADER.unpack_from(answer)
    return (
        number == _HEADER.unpack_from(query)[0]
        and bool(flags & _ANSWER)
        and not flags & _OPCODE
        and questions == 1
        and answer[_HEADER.size : len(query)].lower() == query[_HEADER.size :].lower()
    )


def _datagram(query: bytes, server: Nameserver) -> bytes:
    """The answer to one datagram; what does not answer it is passed over."""
    family, kind, protocol, _, address = socket.getaddrinfo(*server, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.connect(address)  # so that only this address can answer
        until = time.monotonic() + SECONDS
        sock.send(query)
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            answer = sock.recv(1 << 16)
            if _answers(query, answer):
                return answer
    raise TimeoutError


def _streamed(query: bytes, server: Nameserver) -> bytes:
    until = time.monotonic() + SECONDS
    with socket.create_connection(server, timeout=SECONDS) as sock:
        sock.sendall(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", _exactly(sock, 2, until))
        return _exactly(sock, length, until)


def _exactly(sock: socket.socket, length: int, until: float) -> bytes:
    parts: list[bytes] = []
    while length:
        sock.settimeout(max(until - time.monotonic(), 0.001))
        part = sock.recv(length)
        if not part:
            raise _Unusable
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _said(answer: bytes, name: bytes, at: int) -> Iterator[str]:
    """The texts of a name, and of what it is another name of."""
    records = list(_records(answer, at))
    names = {name}
    for record in records:
        if record.kind == _CNAME and record.owner in names:
            names.add(_name(answer, record.start)[0])
    for record in records:
        if record.kind == _TXT and record.owner in names:
            yield _text(answer[record.start : record.end])


def _records(answer: bytes, at: int) -> Iterator[_Found]:
    for _ in range(_HEADER.unpack_from(answer)[3]):
        owner, at = _name(answer, at)
        kind, network, _, length = _RECORD.unpack_from(answer, at)
        start = at + _RECORD.size
        at = start + length
        if at > len(answer):
            raise _Unusable
        if network == _INTERNET:
            yield _Found(owner, kind, start, at)


def _name(answer: bytes, at: int) -> tuple[bytes, int]:
    """A name in lower case, and where it ends; the rest of a name may stand elsewhere, before it."""
    labels: list[bytes] = []
    end = 0
    for _ in range(_MOST_PARTS):
        if at >= len(answer):
            break
        length = answer[at]
        if length >= 192:
            end = end or at + 2
            (pointer,) = struct.unpack_from("!H", answer, at)
            if pointer & 0x3FFF >= at:
                break
            at = pointer & 0x3FFF
        elif length >= 64:
            break
        else:
            labels.append(answer[at : at + 1 + length].lower())
            at += 1 + length
            if not length:
                return b"".join(labels), end or at
    raise _Unusable


def _text(data: bytes) -> str:
    """A record's strings as one text; what is not UTF-8 is no text of ours."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        length = data[at]
        if at + 1 + length > len(data):
            raise _Unusable
        parts.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return b"".join(parts).decode("utf-8", "replace")
