"""Metadata travels as msgpack whose base64 needs no padding."""

from __future__ import annotations

import msgspec.msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import InvalidInput
from reconciler.stores.atproto.metadata import decoded_metadata, encoded_metadata, metadata_problems

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=40), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=300), VALUES, min_size=1, max_size=40))
def test_what_was_encoded_is_read_back_and_needs_no_padding(metadata: dict[str, object]) -> None:
    data = encoded_metadata(metadata)
    assert (msgspec.msgpack.decode(data), len(data) % 3) == (metadata, 0)


def test_equal_metadata_are_equal_bytes() -> None:
    assert encoded_metadata({"split": "train", "k": "1"}) == encoded_metadata({"k": "1", "split": "train"})


def test_short_metadata_are_widened_in_the_header_of_their_first_key() -> None:
    assert encoded_metadata({"a": "bc"}).hex() == "81a161a26263"
    assert encoded_metadata({"a": "b"}).hex() == "81d90161a162"
    assert encoded_metadata({"a": ""}).hex() == "81da000161a0"


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x01", b"\x81\x01\x01", b"\x81\xa1a", b"\xff" * 9])
def test_bytes_that_are_no_map_with_text_keys_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        decoded_metadata(data, where="index: d1")
    assert refused.value.code == "E_METADATA"


def test_a_float_in_metadata_is_named_with_its_place() -> None:
    found = metadata_problems({"a": {"b": [1, 2.5]}}, where="x.yaml")
    assert [(one.code, one.message.split(":")[0], one.got) for one in found] == [
        ("E_RECORD_TYPE", "metadata.a.b[1]", "2.5")
    ]
