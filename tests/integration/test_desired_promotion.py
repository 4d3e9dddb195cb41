from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model import Meta, Origin, Place, Promotion, Shard
from tests.unit.desired.repository import Content, File, Repository, at_commit, refusal

STORES = """apiVersion: reconciler/v1
kind: Stores
stores:
  index: {kind: atdata-index, path: var/index.db}
  bucket: {kind: bucket, root: s3://datasets/public}
  registry: {kind: registry, database: "sqlite:var/registry.db", objects: file:var/manifests, create: true}
  public: {kind: atproto, identity: data.example.org, ledger: file:var/public, credentials: {env: PDS}}
"""
YAML = "desired/promotions/d1.yaml"
CID = "bafyreiaafd37g62tvpmzezpbabzbau4bj7j6aj5upj7edbxifbrvai7pya"
ENTRY = f"{{index: index, entry: d1, cid: {CID}}}"
SHA = "ab" * 32
SCHEMA = "desired/promotions/schemas/sample.json"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repo")


def files(body: str, name: str = "d1", **others: Content) -> dict[str, Content]:
    head = f"apiVersion: reconciler/v1\nkind: Promotion\nstore: public\nname: {name}\n"
    return {"desired/stores.yaml": STORES, YAML: head + body, SCHEMA: "{}", **others}


def promotions(repository: Repository, body: str, **others: Content) -> list[Promotion]:
    return list(at_commit(repository, {**files(body), **others}).promotions)


def refused(repository: Repository, body: str, name: str = "d1", **others: Content) -> list[str]:
    return refusal(repository, {**files(body, name), **others})


def test_an_index_entry_is_promoted_with_what_the_document_says_of_it(repository: Repository) -> None:
    body = (
        f"meta: {{owner: physics}}\nversions:\n  1.0.0:\n    from: {ENTRY}\n"
        "    metadata: {split: train, n: [1, no]}\n    license: MIT\n"
        "data: {copy: bucket}\ndescription: Measurements\ntags: [a, b]\nlicense: CC-BY-4.0\n"
    )
    desired = at_commit(repository, files(body))

    assert desired.promotions == (
        Promotion(
            store="public",
            name="d1",
            version="1.0.0",
            place=Place(YAML, 7, 3),
            origin=Origin(index="index", entry="d1", cid=CID),
            metadata={"split": "train", "n": ["1", "no"]},
            copy_to="bucket",
            description="Measurements",
            tags=("a", "b"),
            license="MIT",
        ),
    )
    assert (desired.declarations, desired.metas[YAML]) == ((), Meta(owner="physics"))


def test_a_revision_is_promoted_with_a_schema_file_and_its_shards(repository: Repository) -> None:
    body = (
        "versions:\n  1.0.0:\n    from:\n      registry: ethereum/mainnet@1.0.0\n      store: registry\n"
        "      schema: schemas/sample.json\n"
        f"      urls: [https://x.example/1.tar, {{url: s3://b/2.tar, sha256: {SHA}}}]\n"
    )
    desired = at_commit(repository, files(body))

    assert desired.promotions[0].origin == Origin(
        registry="registry",
        revision="ethereum/mainnet@1.0.0",
        schema=SCHEMA,
        urls=(Shard("https://x.example/1.tar"), Shard("s3://b/2.tar", SHA)),
    )
    assert desired.committed == {SCHEMA}


def test_data_stays_where_it_is_unless_a_document_says_otherwise(repository: Repository) -> None:
    for data in ("", "data: keep\n"):
        found = promotions(repository, f"versions:\n  1.0.0: {{from: {ENTRY}}}\n{data}")
        assert found[0].copy_to == ""
    found = promotions(repository, f"versions:\n  1.0.0: {{from: {ENTRY}}}\ndata: {{copy: public}}\n")
    assert found[0].copy_to == "public"


def test_a_withdrawn_version_leaves_a_tombstone(repository: Repository) -> None:
    body = f"versions:\n  1.1.0: {{from: {ENTRY}}}\nremoved: [{{version: 1.0.0, reason: wrong data}}]\n"
    assert [(one.version, one.origin is None, one.reason) for one in promotions(repository, body)] == [
        ("1.0.0", True, "wrong data"),
        ("1.1.0", False, ""),
    ]


def test_a_document_that_is_gone_leaves_its_tombstones(repository: Repository) -> None:
    removed = (
        "apiVersion: reconciler/v1\nkind: Removed\nwas: Promotion\n"
        f"document: {YAML}\nstore: public\nname: d1\n"
        "versions: [1.0.0, 1.1.0]\nreason: superseded\n"
    )
    desired = at_commit(repository, {"desired/stores.yaml": STORES, "desired/removed/d1.yaml": removed})
    assert [(one.name, one.version, one.reason) for one in desired.promotions] == [
        ("d1", "1.0.0", "superseded"),
        ("d1", "1.1.0", "superseded"),
    ]


def test_the_same_version_in_two_documents_is_refused_with_both_places(repository: Repository) -> None:
    body = f"versions:\n  1.0.0: {{from: {ENTRY}}}\n"
    again = str(files(body)[YAML])
    found = refused(repository, body, **{"desired/promotions/d2.yaml": again})
    twice = f"the version is named twice, first at {YAML}:6:3; got d1@1.0.0; fix: keep one of them"
    assert found == [f"E_DUPLICATE desired/promotions/d2.yaml:6:3: {twice}"]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("{index: index, entry: d1}", "E_PROMOTION_FROM"),
        ("{}", "E_PROMOTION_FROM"),
        ("{urls: [https://x.example/1.tar]}", "E_PROMOTION_FROM"),
        (f"{{index: index, entry: d1, cid: {CID}, schema: schemas/sample.json}}", "E_PROMOTION_FROM"),
        ("{index: index, entry: d1, cid: bafkrei}", "E_CID"),
        ("{index: bucket, entry: d1, cid: " + CID + "}", "E_STORE_KIND"),
        ("{index: nowhere, entry: d1, cid: " + CID + "}", "E_STORE_UNKNOWN"),
        ("{schema: schemas/sample.json, urls: []}", "E_REQUIRED"),
        ("{schema: ../sample.json, urls: [https://x.example/1.tar]}", "E_SCHEMA_PATH"),
        ("{schema: /etc/passwd, urls: [https://x.example/1.tar]}", "E_SCHEMA_PATH"),
        ("{schema: schemas/none.json, urls: [https://x.example/1.tar]}", "E_SCHEMA_MISSING"),
        (
            "{schema: schemas/sample.json, urls: [{url: https://x.example/1.tar, sha256: AB}]}",
            "E_HASH_LENGTH",
        ),
        ("{schema: schemas/sample.json, urls: ['https://me:secret@x.example/1.tar']}", "E_SECRET_IN_CONFIG"),
        (
            "{schema: schemas/sample.json, urls: ['https://x.example/1.tar?X-Amz-Signature=secret@']}",
            "E_SECRET_IN_CONFIG",
        ),
        ("{schema: schemas/sample.json, urls: [/etc/passwd]}", "E_SOURCE_PATH"),
        ("{schema: schemas/sample.json, urls: [../1.tar]}", "E_SOURCE_PATH"),
        ("{schema: schemas/sample.json, urls: ['file:///etc/passwd']}", "E_SOURCE_PATH"),
        (
            "{registry: ethereum/mainnet@latest, schema: schemas/sample.json, urls: [https://x.example/1.tar]}",
            "E_REVISION_MOVES",
        ),
        (
            "{registry: ethereum/mainnet@dev, schema: schemas/sample.json, urls: [https://x.example/1.tar]}",
            "E_REVISION_MOVES",
        ),
        (
            "{registry: mainnet, schema: schemas/sample.json, urls: [https://x.example/1.tar]}",
            "E_REFERENCE",
        ),
    ],
)
def test_an_origin_that_is_none_of_the_three_is_refused(
    repository: Repository, written: str, code: str
) -> None:
    found = refused(repository, f"versions:\n  1.0.0:\n    from: {written}\n")
    assert ([line.split(" ")[0] for line in found], "secret@" in "".join(found)) == ([code], False)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("n" * 201, "E_RECORD_LIMIT"),
        ("é" * 150, "E_RECORD_LIMIT"),
        ("a/b", "E_PROMOTED_NAME"),
        ("a@b", "E_PROMOTED_NAME"),
        ("' a'", "E_PROMOTED_NAME"),
    ],
)
def test_a_name_that_readers_cannot_ask_for_is_refused(repository: Repository, name: str, code: str) -> None:
    found = refused(repository, f"versions:\n  1.0.0: {{from: {ENTRY}}}\n", name)
    assert [line.split(" ")[0] for line in found] == [code]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (f"versions:\n  {'v' * 51}: {{from: {ENTRY}}}\n", "E_PROMOTED_VERSION"),
        (f"versions:\n  1 0: {{from: {ENTRY}}}\n", "E_PROMOTED_VERSION"),
        (f"versions:\n  1.0.0: {{from: {ENTRY}}}\nlicense: {'l' * 201}\n", "E_RECORD_LIMIT"),
        (f"versions:\n  1.0.0: {{from: {ENTRY}}}\ndescription: {'d' * 5001}\n", "E_RECORD_LIMIT"),
        (f"versions:\n  1.0.0: {{from: {ENTRY}}}\ntags: [{', '.join('t' * 31)}]\n", "E_RECORD_LIMIT"),
        (f"versions:\n  1.0.0: {{from: {ENTRY}}}\ntags: [{'t' * 151}]\n", "E_RECORD_LIMIT"),
        (f"versions:\n  1.0.0: {{from: {ENTRY}}}\ndata: move\n", "E_PATTERN"),
        (f"versions:\n  1.0.0: {{from: {ENTRY}}}\ndata: {{copy: registry}}\n", "E_STORE_KIND"),
        ("versions:\n  1.0.0: {}\n", "E_REQUIRED"),
    ],
)
def test_what_no_record_can_hold_is_refused_where_it_is_written(
    repository: Repository, body: str, code: str
) -> None:
    assert [line.split(" ")[0] for line in refused(repository, body)] == [code]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("[]", "E_JSON_ROOT"),
        ("{", "E_JSON_SYNTAX"),
        ('{"a": 1, "a": 2}', "E_JSON_DUP"),
        ("version https://git-lfs.github.com/spec/v1\n", "E_TREE_LFS"),
        (File("120000", b"/etc/passwd"), "E_TREE_MODE"),
    ],
)
def test_a_schema_file_is_one_json_object_of_the_commit(
    repository: Repository, content: Content, code: str
) -> None:
    body = "versions:\n  1.0.0: {from: {schema: schemas/sample.json, urls: [https://x.example/1.tar]}}\n"
    found = refusal(repository, {**files(body), SCHEMA: content})
    assert [line.split(" ")[0] for line in found] == [code]
