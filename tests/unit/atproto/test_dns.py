"""TXT records are asked of a real nameserver on loopback: a name without one is not a lookup that failed."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import Unavailable
from reconciler.stores.atproto.dns import Nameserver, configured, nameserver, texts
from tests.servers import dns
from tests.servers.dns import answer, txt

NAME = "_atproto.data.example.org"
WHERE = "desired/stores.yaml:7"
DID = "did=did:plc:ewvi7nxzyoun6zhxrhs64oiz"


def closed_port() -> Nameserver:
    """Where nothing answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return Nameserver("127.0.0.1", sock.getsockname()[1])


def said(says: dns.Says, streamed: dns.Says | None = None) -> tuple[str, ...]:
    """What a nameserver's answers are read as."""
    with dns.running(says, streamed) as server:
        return texts(NAME, [server.address], where=WHERE)


def test_records_of_a_name_are_its_texts_in_order() -> None:
    assert said(lambda query: [answer(query, txt("v=1"), txt(DID))]) == ("v=1", DID)


def test_record_of_several_strings_is_one_text() -> None:
    assert said(lambda query: [answer(query, txt(DID[:10], DID[10:]))]) == (DID,)


def test_name_of_another_case_is_the_same_name() -> None:
    def says(query: bytes) -> list[bytes]:
        return [answer(query[:12] + query[12:].upper(), txt(DID))]

    assert said(says) == (DID,)


def test_another_name_for_the_name_is_followed() -> None:
    elsewhere = dns.name("txt.example.net")
    alias = dns.record(dns.POINTER_TO_QUESTION, dns.CNAME, elsewhere)
    assert said(lambda query: [answer(query, alias, txt(DID, owner=elsewhere))]) == (DID,)


def test_record_of_a_name_that_nobody_asked_for_is_not_taken() -> None:
    assert said(lambda query: [answer(query, txt(DID, owner=dns.name("evil.example.net")))]) == ()


@pytest.mark.parametrize("code", [0, 3])
def test_name_without_a_record_has_no_texts(code: int) -> None:
    assert said(lambda query: [answer(query, code=code)]) == ()


def test_answer_that_does_not_fit_is_fetched_over_a_stream() -> None:
    def streamed(query: bytes) -> list[bytes]:
        return [answer(query, *(txt("x" * 250) for _ in range(9)), txt(DID))]

    assert said(lambda query: [answer(query, truncated=True)], streamed)[-1] == DID


def test_answer_with_another_number_or_question_is_passed_over() -> None:
    def says(query: bytes) -> list[bytes]:
        other = bytes([query[0] ^ 1]) + query[1:]
        elsewhere = query[:12] + dns.name("evil.example.net") + query[-4:]
        return [answer(other, txt("did=1")), answer(elsewhere, txt("did=2")), query, answer(query, txt(DID))]

    assert said(says) == (DID,)


def test_next_nameserver_is_asked_where_one_cannot_answer() -> None:
    with (
        dns.running(lambda query: [answer(query, code=2)]) as broken,
        dns.running(lambda query: [answer(query, txt(DID))]) as whole,
    ):
        found = texts(NAME, [closed_port(), broken.address, whole.address], where=WHERE)
    assert found == (DID,)
    assert (broken.asked, whole.asked) == ([NAME], [NAME])


def _loop(query: bytes) -> bytes:
    at = struct.pack("!H", 0xC000 | len(query))
    return answer(query, dns.record(at, dns.TXT, b"\x01x"))


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(lambda query: [answer(query, code=2)], id="the server failed"),
        pytest.param(lambda query: [answer(query, code=5)], id="the server refuses"),
        pytest.param(lambda query: [_loop(query)], id="a name that leads to itself"),
        pytest.param(lambda query: [answer(query, txt(DID))[:-3]], id="a record that breaks off"),
        pytest.param(lambda query: [answer(query, b"")], id="no record where one is announced"),
        pytest.param(
            lambda query: [answer(query, dns.record(dns.POINTER_TO_QUESTION, dns.TXT, b"\xffx"))],
            id="a string that is longer than its record",
        ),
        pytest.param(lambda query: [answer(query, truncated=True)], id="a stream that says nothing"),
    ],
)
def test_answer_that_cannot_be_used_is_an_error_and_never_a_missing_record(
    says: Callable[[bytes], list[bytes]],
) -> None:
    with dns.running(says) as server, pytest.raises(Unavailable) as refused:
        texts(NAME, [server.address], where=WHERE)
    problem = refused.value.problems[0]
    assert (problem.code, problem.path, problem.got) == ("E_UNREACHABLE", WHERE, NAME)
    assert server.asked.count(NAME) == 2


def test_name_that_is_too_long_for_dns_has_no_record() -> None:
    assert texts("_atproto." + "a." * 124 + "org", [closed_port()], where=WHERE) == ()


def test_nameservers_of_the_machine_are_the_first_three_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# one\nsearch example.org\nnameserver 192.0.2.1\nnameserver\n" + "nameserver ::1 # x\n" * 4
    )
    assert configured(file) == (Nameserver("192.0.2.1"), Nameserver("::1"), Nameserver("::1"))


@pytest.mark.parametrize("text", ["", "search example.org\n", "\udcff"])
def test_machine_that_names_no_nameserver_asks_itself(text: str, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text, errors="surrogateescape")
    assert configured(file) == configured(tmp_path / "missing") == (Nameserver("127.0.0.1"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("[::1]", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_nameserver_is_an_address_and_perhaps_a_port(text: str, expected: tuple[str, int]) -> None:
    assert nameserver(text) == expected
