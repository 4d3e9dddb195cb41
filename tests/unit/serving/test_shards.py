"""`catalog_shards.json`: a strict reader."""

from __future__ import annotations

import pytest

from reconciler.errors import InvalidInput
from reconciler.stores.serving.shards import Shard, ShardCatalog, parse_shards
from tests.unit.serving.examples import HUMAN, json_bytes


def shard(**changes: object) -> dict[str, object]:
    document: dict[str, object] = {
        "shard_id": "chr1",
        "seqids": ["chr1"],
        "sqlite_path": "gene_summary.chr1.sqlite",
        "sqlite_sha256": "0" * 64,
    }
    return document | changes


def shards(*items: object, mode: str = "contig", **changes: object) -> bytes:
    return json_bytes({"dataset": HUMAN._asdict(), "mode": mode, "shards": list(items)} | changes)


def test_a_shard_catalog_is_read() -> None:
    assert parse_shards(shards(shard())) == ShardCatalog(
        HUMAN, "contig", (Shard("chr1", ("chr1",), "gene_summary.chr1.sqlite", "0" * 64),)
    )


def test_512_shards_are_accepted_and_one_more_is_not() -> None:
    many = [shard(shard_id=f"p{number:04}") for number in range(513)]
    assert len(parse_shards(shards(*many[:512])).shards) == 512
    with pytest.raises(InvalidInput) as refused:
        parse_shards(shards(*many))
    assert refused.value.problems[0].message == "there are more than 512 shards"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (shards(mode=" "), "E_SHARDS"),
        (shards(shard(), shard()), "E_SHARDS"),
        (shards(shard(shard_id="b"), shard(shard_id="a")), "E_SHARDS"),
        (shards(shard(shard_id="Chr1")), "E_SHARDS"),
        (shards(shard(seqids=[])), "E_SHARDS"),
        (shards(shard(seqids=[" "])), "E_SHARDS"),
        (shards(shard(sqlite_path="../x")), "E_SHARDS"),
        (shards(shard(sqlite_sha256=" ")), "E_SHARDS"),
        (shards(shard(rows=1)), "E_UNKNOWN_FIELD"),
        (shards(shard(), model_version="v2"), "E_SCHEMA_VERSION"),
        (shards(dataset={"release": "x", "species": "a", "assembly": "b"}), "E_ID_CHARS"),
        (shards(dataset={"release": "1", "species": "a/b", "assembly": "b"}), "E_ID_PATH"),
    ],
)
def test_a_shard_catalog_that_breaks_the_contract_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_shards(data)
    assert refused.value.code == code
