from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.desired.git import open_commit
from reconciler.desired.loader import load
from reconciler.desired.tree import TreeLimits
from reconciler.errors import Exit, InvalidInput, LimitExceeded
from tests.unit.desired.repository import (
    DIGEST,
    HUMAN_110,
    STORES,
    Content,
    File,
    Repository,
    catalog,
    listed,
    refusal,
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repo")


def one_catalog(repository: Repository, body: str) -> list[str]:
    return refusal(repository, {"desired/stores.yaml": STORES, "desired/c.yaml": catalog(body)})


@pytest.mark.parametrize("path", ["../old.yaml", "/etc/passwd", "a\\b"])
def test_a_removed_document_names_a_path_of_the_repository(repository: Repository, path: str) -> None:
    removed = (
        "apiVersion: reconciler/v1\nkind: Removed\nstore: serving\n"
        f"document: {path}\nwas: Catalog\nreason: x\ndatasets: []\n"
    )
    found = refusal(repository, {"desired/s.yaml": STORES, "desired/gone.yaml": removed})

    assert [one.split(": ")[0] for one in found] == ["E_REMOVED_PATH desired/gone.yaml:4:11"]


def test_every_problem_of_a_run_is_reported_in_the_order_of_places(repository: Repository) -> None:
    found = refusal(
        repository,
        {
            "desired/s.yaml": STORES,
            "desired/a.yaml": "a: [\n",
            "desired/b.yaml": catalog("datsets: []\nlatest: [1]\n"),
            "desired/c.yaml": catalog(listed("110/a__b/GRCh38", HUMAN_110, HUMAN_110)),
            "desired/d.yaml": File("120000", b"/etc/passwd"),
        },
    )

    assert [one.split(": ")[0] for one in found] == [
        "E_YAML_SYNTAX desired/a.yaml:2:1",
        "E_UNKNOWN_FIELD desired/b.yaml:4:1",
        "E_TYPE desired/b.yaml:5:9",
        "E_ID_CHARS desired/c.yaml:5:10",
        "E_DUPLICATE desired/c.yaml:7:5",
        "E_TREE_MODE desired/d.yaml",
    ]


def test_nothing_is_called_missing_while_a_document_cannot_be_read(repository: Repository) -> None:
    found = refusal(
        repository,
        {
            "desired/s.yaml": STORES + "  other: {kind: serving, rot: file:x, promotesFrom: serving}\n",
            "desired/c.yaml": catalog(f"latest: {HUMAN_110}\n"),
        },
    )

    assert [one.split(": ")[0] for one in found] == [
        "E_REQUIRED desired/s.yaml:5:10",
        "E_UNKNOWN_FIELD desired/s.yaml:5:26",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: Catalog\n", "E_REQUIRED desired/x.yaml:1:1: apiVersion is missing"),
        ("apiVersion: reconciler/v1\nkind:\n", "E_REQUIRED desired/x.yaml:2:1: kind has no value"),
        ("apiVersion: reconciler/v2\nkind: Catalog\n", "E_API_VERSION desired/x.yaml:1:13: "),
        ("apiVersion: reconciler/v1\nkind: Catalogue\n", 'fix: did you mean "Catalog"?'),
        (
            "apiVersion: reconciler/v1\nkind: Recovered\n",
            "E_KIND desired/x.yaml:2:7: the kinds are Catalog, Dataset, Exception, Pins, Policy",
        ),
        ("apiVersion: reconciler/v1\nkind: [Catalog]\n", "E_KIND desired/x.yaml:2:7: "),
        (
            catalog("datset: []\n"),
            (
                "E_UNKNOWN_FIELD desired/x.yaml:4:1: no such field is known here; got datset; "
                'fix: did you mean "datasets"?'
            ),
        ),
        (catalog("datasets:\n"), "E_REQUIRED desired/x.yaml:4:1: datasets has no value"),
        (catalog("datasets: {}\n"), "E_TYPE desired/x.yaml:4:11: a list is expected here; got a mapping"),
        (catalog("datasets: [text]\n"), "E_TYPE desired/x.yaml:4:12: a mapping is expected here; got text"),
        (catalog("datasets:\n  -\n"), "E_REQUIRED desired/x.yaml:5:4: the item has no value"),
        (
            catalog(f"datasets:\n  - {{id: {HUMAN_110}}}\n"),
            "E_REQUIRED desired/x.yaml:5:5: manifest is missing",
        ),
        (
            catalog(f"datasets:\n  - {{id: {HUMAN_110}, manifest: ~}}\n"),
            "E_REQUIRED desired/x.yaml:5:35: manifest has",
        ),
        (catalog("removed: [{id: 1/a/b}]\n"), "E_REQUIRED desired/x.yaml:4:11: reason is missing"),
        (
            catalog("removed: [{id: 1/a/b, reason: ''}]\n"),
            "E_PATTERN desired/x.yaml:4:31: expected: a text of",
        ),
        (catalog("meta: {owner: [a]}\n"), "E_TYPE desired/x.yaml:4:15: text is expected here; got a list"),
        (catalog("meta: {onwer: a}\n"), 'fix: did you mean "owner"?'),
        (catalog("datasets: []\n", store=""), "E_REQUIRED desired/x.yaml:3:1: store has no value"),
        (catalog("datasets: []\n", store="Serving"), "E_STORE_NAME desired/x.yaml:3:8: "),
        (catalog("latest: {}\n"), "E_REQUIRED desired/x.yaml:4:9: at least one entry is needed"),
        (catalog("latest: {'a b': none}\n"), "E_LATEST desired/x.yaml:4:10: expected: a key of latest"),
        (catalog("latest: 110\n"), "E_ID_PATH desired/x.yaml:4:9: "),
        (
            catalog(f"latest: {HUMAN_110}\n"),
            "E_LATEST desired/x.yaml:4:1: latest names a dataset that is not",
        ),
        (
            catalog(listed(HUMAN_110) + f"latest: {{a/b: {HUMAN_110}}}\n"),
            "E_LATEST desired/x.yaml:6:10: the dataset is",
        ),
        (
            catalog(listed(HUMAN_110) + f"removed: [{{id: {HUMAN_110}, reason: x}}]\n"),
            (
                f"E_DUPLICATE desired/x.yaml:6:11: serving/dataset/{HUMAN_110} is declared twice, first at "
                "desired/x.yaml:5:5"
            ),
        ),
        (catalog(listed("110/h/GRCh38", "110/h/grch38")), "E_ID_CASE_COLLISION desired/x.yaml:6:5: "),
        (
            catalog(listed(HUMAN_110), store="srving"),
            (
                "E_STORE_UNKNOWN desired/x.yaml:3:8: no document declares this "
                'store; got srving; fix: did you mean "serving"?'
            ),
        ),
        (
            catalog("datasets: [{id: 1/a/b, manifest: '" + DIGEST + "', diffs: [x, x]}]\n"),
            "E_DUPLICATE desired/x.yaml:4:",
        ),
        (
            catalog("datasets: [{id: 1/a/b, manifest: '" + DIGEST + "', diffs: [../x]}]\n"),
            "E_DIFF_PATH desired/x.yaml:4:",
        ),
    ],
)
def test_a_document_that_does_not_fit_is_explained_at_its_place(
    repository: Repository, text: str, expected: str
) -> None:
    found = refusal(repository, {"desired/s.yaml": STORES, "desired/x.yaml": text})

    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("../x", "E_ID_PATH"),
        ("110/../b", "E_ID_PATH"),
        ("/abs/a/b", "E_ID_PATH"),
        ("110//b", "E_ID_PATH"),
        ("./a/b", "E_ID_PATH"),
        ("''", "E_ID_PATH"),
        ("110/a/..", "E_ID_PATH"),
        ("110/a/b/c", "E_ID_PATH"),
        ("'%2e%2e%2f/a/b'", "E_ID_CHARS"),
        ("110/data²/b", "E_ID_CHARS"),
        ("110/data٣/b", "E_ID_CHARS"),
        ("110/dataⅧ/b", "E_ID_CHARS"),
        ("١١٠/a/b", "E_ID_CHARS"),
        ("110/café/b", "E_ID_CHARS"),
        ("110/cafe\u0301/b", "E_ID_CHARS"),
        ("110/hum\u0430n/b", "E_ID_CHARS"),
        ("110/HUMAN/b", "E_ID_CHARS"),
        ("110/a__b/c", "E_ID_CHARS"),
        ('"110/a/b\\n"', "E_ID_CHARS"),
        ("1/" + "a" * 300 + "/b", "E_ID_LENGTH"),
        ("1" * 17 + "/a/b", "E_ID_LENGTH"),
    ],
)
def test_a_dataset_id_outside_the_grammar_is_refused(
    repository: Repository, text: str, expected: str
) -> None:
    found = one_catalog(repository, f'datasets:\n  - id: {text}\n    manifest: "{DIGEST}"\n')

    assert [one.split(": ")[0] for one in found] == [f"{expected} desired/c.yaml:5:9"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sha256:" + "a" * 63, "E_HASH_LENGTH"),
        ("sha256:" + "a" * 65, "E_HASH_LENGTH"),
        ("a" * 64, "E_HASH_PREFIX"),
        ("1" * 64, "E_HASH_PREFIX"),
        ("md5:" + "a" * 32, "E_HASH_ALG"),
        ("sha1:" + "a" * 40, "E_HASH_ALG"),
        ("sha256:" + "A" * 64, "E_HASH_CHARS"),
        ('"sha256:' + "a" * 64 + '\\n"', "E_HASH_CHARS"),
    ],
)
def test_a_digest_outside_the_grammar_is_refused(repository: Repository, text: str, expected: str) -> None:
    found = one_catalog(repository, f"datasets:\n  - id: {HUMAN_110}\n    manifest: {text}\n")

    assert [one.split(": ")[0] for one in found] == [f"{expected} desired/c.yaml:6:15"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("../builds", "E_SOURCE_PATH"),
        ("/builds", "E_SOURCE_PATH"),
        ("a//b", "E_SOURCE_PATH"),
        ("a/./b", "E_SOURCE_PATH"),
        ("a\\b", "E_SOURCE_PATH"),
        (".", "E_SOURCE_PATH"),
        ("s3://bucket/key", "E_SOURCE_SCHEME"),
        ("file:builds", "E_SOURCE_SCHEME"),
        ("https://example.org/x.tar?X-Amz-Signature=hunter2", "E_SECRET_IN_CONFIG"),
        ("s3://me:hunter2@bucket/key", "E_SECRET_IN_CONFIG"),
    ],
)
def test_a_source_is_a_path_inside_the_repository(repository: Repository, source: str, expected: str) -> None:
    body = f'datasets:\n  - id: {HUMAN_110}\n    manifest: "{DIGEST}"\n    source: {source}\n'
    found = one_catalog(repository, body)

    assert [one.split(": ")[0] for one in found] == [f"{expected} desired/c.yaml:7:13"]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "{kind: shelf}",
            "the value is one of serving, registry, atproto, atdata-index, bucket; got shelf",
        ),
        ("{kind: memory}", "E_STORE_KIND desired/s.yaml:4:13: "),
        ("{root: file:x}", "E_REQUIRED desired/s.yaml:4:6: kind is missing"),
        ("{kind: serving}", "E_REQUIRED desired/s.yaml:4:6: root is missing"),
        ("{kind: serving, root: file:x, rot: y}", 'fix: did you mean "root"?'),
        (
            "{kind: serving, root: file:x, create: yes}",
            "E_VALUE desired/s.yaml:4:44: the value is one of true, false",
        ),
        ("{kind: serving, root: var/x}", "E_URL_SCHEME"),
        ("{kind: serving, root: 's3://bucket/x'}", "E_URL_SCHEME"),
        ("{kind: serving, root: 'http://127.0.0.1/'}", "E_URL_SCHEME"),
        ("{kind: serving, root: 'ext::sh -c x'}", "E_URL_SCHEME"),
        ("{kind: serving, root: 'file://host/x'}", "E_URL_HOST"),
        ("{kind: serving, root: 'file:'}", "E_URL_SYNTAX"),
        ("{kind: serving, root: 'file:a\\b'}", "E_URL_SYNTAX"),
        ("{kind: serving, root: 's3://me:hunter2@bucket/x'}", "E_SECRET_IN_CONFIG"),
        ("{kind: serving, root: 'https://good\\@hunter2/'}", "E_SECRET_IN_CONFIG"),
        ("{kind: serving, root: 's3://bucket/x?sig=hunter2'}", "E_SECRET_IN_CONFIG"),
        ("{kind: serving, root: {env: 'A B'}}", "E_PATTERN"),
        ("{kind: serving, root: {evn: A}}", "E_UNKNOWN_FIELD"),
        ("{kind: serving, root: file:x, promotesFrom: nobody}", "E_STORE_UNKNOWN"),
        ("{kind: serving, root: file:x, promotesFrom: a}", "E_STORE_CYCLE"),
        ("{kind: serving, root: file:x, promotesFrom: b}\n  b: {kind: bucket, root: file:y}", "E_STORE_KIND"),
    ],
)
def test_a_store_that_does_not_fit_is_explained_without_its_secrets(
    repository: Repository, entry: str, expected: str
) -> None:
    found = refusal(
        repository,
        {"desired/s.yaml": f"apiVersion: reconciler/v1\nkind: Stores\nstores:\n  a: {entry}\n"},
    )

    assert any(expected in one for one in found)
    assert "hunter2" not in "".join(found)


def test_a_store_name_outside_the_grammar_is_refused_at_the_name(repository: Repository) -> None:
    found = refusal(repository, {"desired/s.yaml": STORES.replace("  serving:", "  Serving:")})

    assert [one.split(": ")[0] for one in found] == ["E_STORE_NAME desired/s.yaml:4:3"]


def test_two_stores_share_neither_name_nor_location(repository: Repository) -> None:
    other = STORES.replace("  serving:", "  again:").replace("file:var/serving", "file:var//serving/")
    found = refusal(repository, {"desired/a.yaml": STORES, "desired/b.yaml": STORES, "desired/c.yaml": other})

    assert found == [
        "E_DUPLICATE desired/b.yaml:4:3: the store is declared twice, first at desired/a.yaml:4; got serving",
        (
            "E_DUPLICATE desired/c.yaml:4:3: the location is that of store serving at desired/a.yaml:4; "
            "got again; fix: give each store its own"
        ),
    ]


def test_latest_in_two_documents_names_both(repository: Repository) -> None:
    found = refusal(
        repository,
        {
            "desired/a.yaml": catalog(listed(HUMAN_110) + f"latest: {HUMAN_110}\n"),
            "desired/b.yaml": catalog(f"latest: {HUMAN_110}\n"),
            "desired/s.yaml": STORES,
        },
    )

    assert found == [
        (
            "E_DUPLICATE desired/b.yaml:4:1: serving/alias/latest is declared twice, first at "
            "desired/a.yaml:6:1; got latest; fix: keep one of them"
        )
    ]


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        (
            "desired/x.yaml",
            File("120000", b"/etc/passwd"),
            "E_TREE_MODE desired/x.yaml: a symbolic link is not allowed",
        ),
        ("desired/d", File("120000", b"."), "E_TREE_MODE desired/d: a symbolic link"),
        ("desired/x.yaml", File("100755", b"a: 1"), "E_TREE_MODE desired/x.yaml: an executable file"),
        ("desired/sub", File("160000", b"1" * 40), "E_TREE_MODE desired/sub: a submodule"),
        ("desired/a\nb.yaml", b"a: 1", "E_TREE_PATH desired/a\\nb.yaml: "),
        ("desired/a\x1bb.yaml", b"a: 1", "E_TREE_PATH desired/a\\x1bb.yaml: "),
        ("desired/.g\u200cit/config", b"a", "E_TREE_PATH "),
        ("desired/.GIT/config", b"a", "E_TREE_PATH desired/.GIT/config: "),
        ("desired/.git/config", b"a", "E_TREE_PATH desired/.git/config: "),
        ("desired/git~1", b"a", "E_TREE_PATH desired/git~1: "),
        ("desired/GIT~2/x", b"a", "E_TREE_PATH desired/GIT~2/x: "),
        ("desired/.git ", b"a", "E_TREE_PATH desired/.git : "),
        ("desired/\uff0egit", b"a", "E_TREE_PATH "),
        ("desired/../x.yaml", b"a", "E_TREE_PATH desired/../x.yaml: "),
        ("desired/a\\b", b"a", "E_TREE_PATH desired/a\\b: "),
        ("desired/C:x", b"a", "E_TREE_PATH desired/C:x: "),
        ("desired/a\udcff", b"a", "E_TREE_PATH desired/a\\xff: a path is UTF-8"),
        ("desired/x.", b"a", "E_TREE_PATH desired/x.: "),
        (
            "desired/S.yaml",
            b"a: 1",
            "E_TREE_PATH desired/s.yaml: the path differs from",
        ),
        (
            "desired/lfs.yaml",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "E_TREE_LFS desired/lfs.yaml: ",
        ),
    ],
)
def test_a_row_of_the_tree_that_is_no_plain_file_is_refused(
    repository: Repository, path: str, content: Content, expected: str
) -> None:
    oid = repository.commit({"desired/s.yaml": STORES, path: content})

    with pytest.raises(InvalidInput) as caught:
        load(open_commit(repository.root, oid))

    assert [str(one) for one in caught.value.problems if str(one).startswith(expected)]


def test_directories_that_differ_in_case_only_collide(repository: Repository) -> None:
    found = refusal(repository, {"desired/A/x.yaml": STORES, "desired/a/y.yaml": catalog("datasets: []\n")})

    assert found[0].startswith("E_TREE_PATH desired/a: the path differs from 'desired/A' only in letter case")


def test_a_tree_beyond_the_limits_ends_with_the_limit_exit_code(repository: Repository) -> None:
    oid = repository.commit({"desired/s.yaml": STORES, "desired/b": "x" * 100})
    tree = open_commit(repository.root, oid)

    for limits in (TreeLimits(files=1), TreeLimits(size=100)):
        with pytest.raises(LimitExceeded) as caught:
            load(tree, limits=limits)
        assert (caught.value.code, caught.value.exit_code) == ("E_TREE_LIMIT", Exit.LIMIT)
    assert load(tree, limits=TreeLimits(files=2, size=100 + len(STORES))).commit == oid


def test_a_hundred_problems_of_one_document_are_explained_and_the_rest_is_announced(
    repository: Repository,
) -> None:
    body = "".join(f"field{n}: x\n" for n in range(150))
    found = one_catalog(repository, body)

    assert found[0] == "E_SCHEMA desired/c.yaml: only the first 100 problems of this file are listed"
    assert len(found) == 101
