"""Records have one byte form, and it is the one that every other implementation gives."""

from __future__ import annotations

import libipld
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import InvalidInput
from reconciler.stores.atproto.dagcbor import (
    MAX_DEPTH,
    MAX_INTEGER,
    Data,
    Link,
    Malformed,
    cid_bytes,
    cid_of,
    cid_text,
    decode,
    encode,
    from_json,
    is_named_by,
    to_json,
)

EMPTY = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
A_1 = "bafyreihltcnuuyqp2jm24aqydpnlj7b6w3ogwrplomrjtg5rifv44mmjey"
ENTRY = "bafyreiaafd37g62tvpmzezpbabzbau4bj7j6aj5upj7edbxifbrvai7pya"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts
keys = texts.filter(lambda text: text not in {"$bytes", "$link"})
plain = st.recursive(scalars, lambda s: st.lists(s, max_size=4) | st.dictionaries(keys, s, max_size=4))
links = st.binary(min_size=32, max_size=32).map(lambda digest: Link(b"\x01\x71\x12\x20" + digest))
values = st.recursive(
    scalars | st.binary(max_size=40) | links,
    lambda s: st.lists(s, max_size=4) | st.dictionaries(keys, s, max_size=4),
)


def test_cids_are_those_of_the_contract() -> None:
    urls: Data = ["https://x.invalid/1.tar"]
    entry: Data = {"schema_ref": "atdata://local/schema/Sample@1.0.0", "data_urls": urls}
    known: list[Data] = [{}, {"a": 1}, entry]
    assert [cid_of(encode(value)) for value in known] == [EMPTY, A_1, ENTRY]


def test_keys_are_ordered_by_length_and_then_by_bytes() -> None:
    assert encode({"b": 1, "aa": 2, "a": 3}).hex() == "a361610361620162616102"


@given(plain)
def test_bytes_are_those_that_another_implementation_gives(value: Data) -> None:
    assert encode(value) == libipld.encode_dag_cbor(value)


@given(values)
def test_what_is_written_is_read_back(value: Data) -> None:
    data = encode(value)
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(values)
def test_json_form_is_read_back(value: Data) -> None:
    assert from_json(to_json(value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_one_canonical_value_or_malformed(data: bytes) -> None:
    try:
        value = decode(data)
    except Malformed:
        return
    assert encode(value) == data


def test_byte_string_that_looks_like_a_cid_is_no_link() -> None:
    raw = cid_bytes(A_1)
    assert encode(raw) != encode(Link(raw))
    assert decode(encode({"bytes": raw, "link": Link(raw)})) == {"bytes": raw, "link": Link(raw)}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("", id="nothing"),
        pytest.param("a2616201616101", id="keys out of order"),
        pytest.param("a2616101616102", id="a key twice"),
        pytest.param("1801", id="a head that is not the shortest"),
        pytest.param("190001", id="a longer head that is not the shortest"),
        pytest.param("fb3ff0000000000000", id="a float"),
        pytest.param("f97e00", id="not a number"),
        pytest.param("f7", id="undefined"),
        pytest.param("9f01ff", id="an indefinite list"),
        pytest.param("5f4101ff", id="indefinite bytes"),
        pytest.param("c101", id="another tag"),
        pytest.param("d82a4100", id="a link without a CID"),
        pytest.param("d82a420101", id="a CID without its prefix"),
        pytest.param("d82a6100", id="a link of text"),
        pytest.param("61ff", id="text that is not UTF-8"),
        pytest.param("a10101", id="a key that is no text"),
        pytest.param("0101", id="bytes after the value"),
        pytest.param("6261", id="text that breaks off"),
        pytest.param("8201", id="a list that breaks off"),
        pytest.param("1a0001", id="a head that breaks off"),
        pytest.param("9b7fffffffffffffff", id="a list of an impossible length"),
        pytest.param("81" * (MAX_DEPTH + 1) + "01", id="too many levels"),
    ],
)
def test_what_is_not_canonical_is_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (1.5, "E_RECORD_TYPE"),
        ({"a": [{"b": 0.1}]}, "E_RECORD_TYPE"),
        (float("nan"), "E_RECORD_TYPE"),
        (2**53, "E_RECORD_TYPE"),
        (-(2**53), "E_RECORD_TYPE"),
        ({1: 2}, "E_RECORD_TYPE"),
        (object(), "E_RECORD_TYPE"),
        ("\ud800", "E_RECORD_TYPE"),
        ({"\udfff": 1}, "E_RECORD_TYPE"),
    ],
)
def test_what_records_cannot_hold_is_refused(value: Data, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        encode(value)
    assert refused.value.code == code


def test_record_that_is_too_deep_is_refused() -> None:
    value: Data = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert decode(encode(value)) == value
    with pytest.raises(InvalidInput) as refused:
        encode([value])
    assert refused.value.code == "E_RECORD_LIMIT"


@pytest.mark.parametrize("key", ["$bytes", "$link"])
def test_map_that_would_be_read_as_something_else_is_not_sent(key: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        to_json({"metadata": {key: "aGk"}})
    assert refused.value.code == "E_RECORD_TYPE"


NO_JSON: tuple[object, ...] = (1.5, {"$bytes": "a"}, {"$bytes": "?"}, {"$link": "bafy"}, {"a": 0.5})


@pytest.mark.parametrize("value", NO_JSON)
def test_json_that_is_no_value_is_malformed(value: object) -> None:
    with pytest.raises(Malformed):
        from_json(value)


def test_bytes_in_json_are_read_with_and_without_padding() -> None:
    assert [from_json({"$bytes": text}) for text in ("aGk", "aGk=")] == [b"hi", b"hi"]


@pytest.mark.parametrize("text", ["", "b", "bafyrei1", A_1.upper(), "z" + A_1[1:], A_1 + "a", "bÿ"])
def test_text_that_is_no_cid_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        cid_bytes(text)


def test_cid_names_its_bytes_and_no_others() -> None:
    raw = cid_bytes(A_1)
    assert cid_text(raw) == A_1
    assert is_named_by(raw, encode({"a": 1}))
    assert not is_named_by(raw, encode({"a": 2}))
    assert not is_named_by(b"", encode({"a": 1}))
