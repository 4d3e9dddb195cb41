"""Shards in a bucket: streamed in parts, whole or not at all, and judged by the store's answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from reconciler.errors import Corrupt, InvalidInput, ReconcilerError
from reconciler.model import NOTHING, Place, StoreConfig
from reconciler.stores.bucket.s3 import S3Location
from tests.servers import s3

VARIABLES = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": s3.SECRET}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.running() as url:
        yield url


def location(endpoint: str, more: Mapping[str, object] = NOTHING) -> S3Location:
    settings = {"root": f"s3://{s3.BUCKET}/sets", "endpoint": endpoint, "allowPrivate": True, **more}
    config = StoreConfig(name="copies", kind="bucket", settings=settings, place=Place("s.yaml", 4, 3))
    return S3Location.of(config, VARIABLES)


def keys(endpoint: str) -> list[str]:
    listed = s3.bucket_client(endpoint).list_objects_v2(Bucket=s3.BUCKET)
    return [one["Key"] for one in listed.get("Contents", [])]


def test_a_shard_larger_than_one_part_is_put_and_read_back(endpoint: str) -> None:
    part = bytes(range(256)) * 4096
    bucket = location(endpoint)
    bucket.put("large.tar", (part for _ in range(20)))
    assert bucket.size("large.tar") == 20 * len(part)
    assert b"".join(bucket.read("sets/large.tar")) == part * 20


@pytest.mark.parametrize("pieces", [1, 20])
def test_pieces_that_end_in_an_error_put_nothing(endpoint: str, pieces: int) -> None:
    def broken() -> Iterator[bytes]:
        yield from (bytes(1 << 20) for _ in range(pieces))
        raise Corrupt.of("E_SHARD_HASH", "the shard is not what its hash says")

    with pytest.raises(Corrupt) as error:
        location(endpoint).put(f"broken-{pieces}.tar", broken())
    assert (error.value.code, [key for key in keys(endpoint) if "broken" in key]) == ("E_SHARD_HASH", [])


def test_what_is_not_there_is_absent_and_a_bucket_that_is_not_there_is_an_error(endpoint: str) -> None:
    bucket = location(endpoint)
    assert bucket.size("none.tar") is None
    with pytest.raises(InvalidInput) as error:
        list(bucket.read("sets/none.tar"))
    assert error.value.code == "E_SHARD_MISSING"
    with pytest.raises(ReconcilerError) as missing:
        location(endpoint, {"root": "s3://nowhere-at-all"}).put("a.tar", iter([b"x"]))
    assert missing.value.exit_code == 10


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"allowPrivate": False}, "E_URL_PLAIN"), ({"root": "s3://B"}, "E_STORE_LOCATION")],
)
def test_a_bucket_that_cannot_be_reached_safely_is_refused(
    endpoint: str, settings: dict[str, object], code: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        location(endpoint, settings)
    assert (error.value.code, s3.SECRET in str(error.value)) == (code, False)
