"""Which URLs a pattern names, and which may stand in a public record."""

from __future__ import annotations

import pytest

from reconciler.errors import InvalidInput
from reconciler.model import Shard
from reconciler.stores.atproto.shards import MOST, all_expanded, expanded, public_problem, storage_of

ONE = "https://data.example.org/1.tar"


@pytest.mark.parametrize(
    ("pattern", "urls"),
    [
        (ONE, (ONE,)),
        ("a-{00..02}.tar", ("a-00.tar", "a-01.tar", "a-02.tar")),
        ("a-{8..10}.tar", ("a-8.tar", "a-9.tar", "a-10.tar")),
        ("a-{2..0}.tar", ("a-2.tar", "a-1.tar", "a-0.tar")),
        ("a-{0..4..2}.tar", ("a-0.tar", "a-2.tar", "a-4.tar")),
        ("a-{b..d}.tar", ("a-b.tar", "a-c.tar", "a-d.tar")),
        ("{train,val}-{0..1}.tar", ("train-0.tar", "train-1.tar", "val-0.tar", "val-1.tar")),
        ("{a,b{1,2}}.tar", ("a.tar", "b1.tar", "b2.tar")),
        ("a{}.tar", ("a{}.tar",)),
        ("a{b}.tar", ("a{b}.tar",)),
    ],
)
def test_a_pattern_names_the_same_shards_as_in_webdataset(pattern: str, urls: tuple[str, ...]) -> None:
    assert expanded(pattern) == urls


@pytest.mark.parametrize("pattern", ["a{0..1.tar", "{0..10000}", "{a,{b,{c,{d,{e,{f,{g,{h,{i,{j,k}}}}}}}}}}"])
def test_a_pattern_that_is_broken_or_too_wide_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        expanded(pattern, where="x.yaml")
    assert refused.value.code == "E_URL_PATTERN"


def test_a_wide_pattern_is_refused_before_it_is_built() -> None:
    with pytest.raises(InvalidInput) as refused:
        expanded("{0..999999999}{0..999999999}")
    assert refused.value.code == "E_URL_PATTERN"


def test_a_hash_stands_beside_one_shard_only() -> None:
    with pytest.raises(InvalidInput) as refused:
        all_expanded([Shard("https://data.example.org/{0..1}.tar", "ab" * 32)], where="")
    assert refused.value.code == "E_URL_PATTERN"
    with pytest.raises(InvalidInput):
        all_expanded([Shard("https://data.example.org/{0..6000}.tar")] * 2, where="")
    assert MOST == 10_000


@pytest.mark.parametrize(
    "url",
    [
        ONE,
        "https://data.example.org:8443/a/b.tar?download=1",
        "https://8.8.8.8/1.tar",
        "s3://bucket/path/1.tar",
    ],
)
def test_a_public_url_has_no_problem(url: str) -> None:
    assert public_problem(url, allow_private=False, where="") is None


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("/data/1.tar", "E_URL_PRIVATE"),
        ("data/1.tar", "E_URL_PRIVATE"),
        ("file:///data/1.tar", "E_URL_PRIVATE"),
        ("http://data.example.org/1.tar", "E_URL_SCHEME"),
        ("ftp://data.example.org/1.tar", "E_URL_SCHEME"),
        ("gs://bucket/1.tar", "E_URL_SCHEME"),
        ("at://did:plc:x/blob/bafy", "E_URL_SCHEME"),
        ("https://127.0.0.1/1.tar", "E_URL_PRIVATE"),
        ("https://[::1]/1.tar", "E_URL_PRIVATE"),
        ("https://[::ffff:127.0.0.1]/1.tar", "E_URL_PRIVATE"),
        ("https://0x7f.1/1.tar", "E_URL_PRIVATE"),
        ("https://2130706433/1.tar", "E_URL_PRIVATE"),
        ("https://0177.0.0.1/1.tar", "E_URL_PRIVATE"),
        ("https://127.1/1.tar", "E_URL_PRIVATE"),
        ("https://10.1.2.3/1.tar", "E_URL_PRIVATE"),
        ("https://100.64.0.1/1.tar", "E_URL_PRIVATE"),
        ("https://169.254.169.254/latest", "E_URL_PRIVATE"),
        ("https://localhost/1.tar", "E_URL_PRIVATE"),
        ("https://minio:9000/1.tar", "E_URL_PRIVATE"),
        ("https://user:pass@data.example.org/1.tar", "E_URL_CREDENTIALS"),
        ("https://data.example.org/1.tar?X-Amz-Signature=abc", "E_URL_CREDENTIALS"),
        ("https://data.example.org/1.tar?x=1&sig=abc", "E_URL_CREDENTIALS"),
        ("https://data.example.org/1.tar?access_token=abc", "E_URL_CREDENTIALS"),
        ("s3://key:secret@bucket/1.tar", "E_URL_CREDENTIALS"),
        ("https://good.example.org\\@evil.example.org/", "E_URL_SYNTAX"),
        ("https://data.example.org/1.tar#x", "E_URL_SYNTAX"),
        ("https://data.example.org/a b.tar", "E_URL_SYNTAX"),
        ("https://dätä.example.org/1.tar", "E_URL_SYNTAX"),
        ("https:///1.tar", "E_URL_SYNTAX"),
        ("https://data.example.org:99999/1.tar", "E_URL_SYNTAX"),
        ("s3://bucket", "E_URL_SYNTAX"),
        ("s3://B/1.tar", "E_URL_SYNTAX"),
    ],
)
def test_a_url_that_must_not_be_public_is_refused_without_its_secrets(url: str, code: str) -> None:
    problem = public_problem(url, allow_private=False, where="x.yaml")
    assert problem is not None
    secrets = [word for word in ("pass@", "secret@", "abc", "Signature=") if word in str(problem)]
    assert (problem.code, problem.path, secrets) == (code, "x.yaml", [])


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/1.tar", "http://minio:9000/b/1.tar", ONE])
def test_a_private_network_of_ones_own_may_name_its_hosts(url: str) -> None:
    assert public_problem(url, allow_private=True, where="") is None


def test_a_private_network_makes_neither_paths_nor_passwords_public() -> None:
    found = [
        public_problem(url, allow_private=True, where="")
        for url in ("/data/1.tar", "http://user:pass@127.0.0.1/1.tar")
    ]
    assert [one.code for one in found if one] == ["E_URL_PRIVATE", "E_URL_CREDENTIALS"]


def test_http_shards_are_listed_with_their_checksums() -> None:
    assert storage_of([Shard(ONE, "ab" * 32), Shard("https://x.example/2.tar")], where="") == {
        "$type": "science.alt.dataset.storageHttp",
        "shards": [
            {"url": ONE, "checksum": {"algorithm": "sha256", "digest": "ab" * 32}},
            {"url": "https://x.example/2.tar", "checksum": {"algorithm": "none", "digest": ""}},
        ],
    }


def test_shards_of_one_bucket_are_listed_by_key() -> None:
    assert storage_of([Shard("s3://bucket/a/1.tar", "ab" * 32)], where="") == {
        "$type": "science.alt.dataset.storageS3",
        "bucket": "bucket",
        "shards": [{"key": "a/1.tar", "checksum": {"algorithm": "sha256", "digest": "ab" * 32}}],
    }


@pytest.mark.parametrize(
    ("shards", "code"),
    [
        ([], "E_DATA_URLS"),
        ([Shard(ONE), Shard("s3://bucket/1.tar")], "E_URL_MIXED"),
        ([Shard("s3://a-b/1.tar"), Shard("s3://bucket/1.tar")], "E_URL_MIXED"),
    ],
)
def test_shards_that_one_record_cannot_name_are_refused(shards: list[Shard], code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        storage_of(shards, where="x.yaml")
    assert refused.value.code == code
