"""One sample is decoded while a shard streams by, and the whole shard is hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from msgspec import msgpack

from reconciler.errors import InvalidInput
from reconciler.stores.bucket.sample import Sampled, sampled
from tests.integration.federation.archives import archive

SAMPLE = msgpack.encode({"image": b"\x00", "label": 1})


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


@pytest.mark.parametrize("size", [1, 511, 512, 10_240, 1 << 20])
def test_the_first_sample_is_decoded_however_the_bytes_come(size: int) -> None:
    content = archive({"a/000.msgpack": SAMPLE, "a/000.txt": b"note", "a/001.msgpack": b"\xc1"})
    assert sampled(pieces(content, size), where="x") == Sampled(
        hashlib.sha256(content).hexdigest(), len(content), "000", ("msgpack", "txt"), ("image", "label")
    )


def test_other_members_are_read_and_not_judged() -> None:
    found = sampled([archive({"000.jpg": b"\xff\xd8", "000.json": b'{"label": 1}'})], where="x")
    assert (found.members, found.fields) == (("jpg", "json"), ("label",))


@pytest.mark.parametrize(
    "content",
    [
        archive({"000.msgpack": b"\xc1"}),
        archive({"000.json": b"{"}),
        archive({"000.txt": b"\xff"}),
        archive({"README": b"no key"}),
        archive({}),
        archive({"000.msgpack": SAMPLE})[:700],
        b"",
        b"x" * 2000,
    ],
    ids=["msgpack", "json", "text", "no key", "empty", "breaks off", "nothing", "garbage"],
)
def test_a_shard_without_a_whole_sample_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        sampled([content], where="d1 1/1")
    assert (refused.value.code, refused.value.problems[0].path) == ("E_SHARD_SAMPLE", "d1 1/1")
