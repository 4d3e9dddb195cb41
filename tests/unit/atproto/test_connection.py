"""A server is reached at an address that was checked, or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.errors import InvalidInput, LimitExceeded
from reconciler.stores.atproto.connection import (
    Answer,
    Connection,
    NoAnswer,
    NotSent,
    Origin,
    is_public,
    parse_origin,
)

WHERE = "desired/stores.yaml:7"


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://pds.example.org", Origin("https", "pds.example.org", 443)),
        ("https://PDS.Example.org/", Origin("https", "pds.example.org", 443)),
        ("https://pds.example.org:8443", Origin("https", "pds.example.org", 8443)),
        ("https://[2606:4700::1]:1", Origin("https", "2606:4700::1", 1)),
    ],
)
def test_location_of_a_server_is_read(text: str, origin: Origin) -> None:
    assert parse_origin(text, where=WHERE, private=False) == origin
    assert parse_origin(str(origin), where=WHERE, private=False) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pds.example.org",
        "ftp://pds.example.org",
        "https://",
        "https://pds.example.org/path",
        "https://pds.example.org?x=hunter2",
        "https://me:hunter2@pds.example.org",
        "https://good\\@hunter2",
        "https://pds.example.org:0",
        "https://pds.example.org:65536",
        "https://bücher.example",
        "https://a b",
        "https://a\nb",
        "https://pds.example.org#hunter2",
    ],
)
def test_location_that_is_no_server_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_origin(text, where=WHERE, private=True)
    assert refused.value.code == "E_URL_SYNTAX"
    assert "hunter2" not in str(refused.value)


def test_plain_http_needs_the_permission_of_the_document() -> None:
    assert parse_origin("http://localhost:1", where=WHERE, private=True).port == 1
    with pytest.raises(InvalidInput) as refused:
        parse_origin("http://localhost:1", where=WHERE, private=False)
    assert refused.value.code == "E_URL_PLAIN"


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2002:5db8:d822::1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::",
        "",
        "localhost",
        "0x7f.1",
    ],
)
def test_every_other_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0"]
)
def test_name_that_leads_to_this_machine_is_refused_before_anything_is_sent(host: str) -> None:
    with listening() as (port, seen):
        origin = parse_origin(f"https://{host}:{port}", where=WHERE, private=False)
        connection = Connection(origin, where=WHERE, private=False)
        with pytest.raises(InvalidInput) as refused:
            connection.request("GET", "/", headers={}, limit=100)
        assert refused.value.code == "E_URL_PRIVATE"
        assert seen == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_host: str, port: int, **_more: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("93.184.216.34", port)), (0, 0, 0, "", ("10.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    connection = Connection(Origin("https", "pds.example.org", 443), where=WHERE, private=False)
    with pytest.raises(InvalidInput) as refused:
        connection.request("GET", "/", headers={}, limit=100)
    assert (refused.value.code, refused.value.problems[0].got) == ("E_URL_PRIVATE", "pds.example.org")


def test_name_that_changes_its_mind_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, *_more: object, **_named: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    with listening(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (port, _seen):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        connection = Connection(Origin("http", "pds.example.org", port), where=WHERE, private=True)
        assert connection.request("GET", "/", headers={}, limit=100).body == b"ok"
        connection.close()
    # `create_connection` resolves the address that it is given, which is a number.
    assert [host for host in asked if host != "127.0.0.1"] == ["pds.example.org"]


def test_certificate_of_another_host_is_not_accepted() -> None:
    with listening(b"not TLS at all") as (port, _seen):
        connection = Connection(Origin("https", "localhost", port), where=WHERE, private=True)
        with pytest.raises(NotSent):
            connection.request("POST", "/", headers={"authorization": "Bearer canary"}, body=b"x", limit=100)


def test_name_without_an_address_was_not_sent() -> None:
    connection = Connection(Origin("https", "nobody.invalid", 443), where=WHERE, private=True)
    with pytest.raises(NotSent):
        connection.request("GET", "/", headers={}, limit=100)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="less than was promised"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", id="half a chunk"),
        pytest.param(b"SSH-2.0\r\n\r\n", id="another protocol"),
    ],
)
def test_answer_that_is_not_whole_is_no_answer(answer: bytes) -> None:
    with pytest.raises(NoAnswer):
        answered(answer)


def test_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    with pytest.raises(LimitExceeded) as refused:
        answered(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101)
    assert refused.value.code == "E_ANSWER_SIZE"


def test_redirect_is_an_answer_like_any_other() -> None:
    found = answered(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n")
    assert (found.status, found.body) == (302, b"")


def answered(answer: bytes) -> Answer:
    """What a server's bytes are understood as."""
    with listening(answer) as (port, _seen):
        connection = Connection(Origin("http", "localhost", port), where=WHERE, private=True)
        try:
            return connection.request("GET", "/", headers={}, limit=100)
        finally:
            connection.close()


@contextmanager
def listening(answer: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """A port that says the same to everybody, and what it was sent."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    seen.append(client.recv(65536))
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], seen
        finally:
            server.shutdown(socket.SHUT_RDWR)
    thread.join()
