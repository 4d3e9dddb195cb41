from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.desired.git import open_commit
from reconciler.desired.loader import load
from reconciler.desired.tree import TreeLimits
from reconciler.desired.worktree import open_worktree
from reconciler.errors import Exit, InvalidInput, LimitExceeded, ReconcilerError
from reconciler.model import NOTHING, Address, Declaration, Desired, Meta, Place, StoreConfig
from tests.unit.desired.repository import (
    DIGEST,
    HUMAN_110,
    HUMAN_111,
    STORES,
    Content,
    File,
    Repository,
    catalog,
    listed,
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repo")


def at_commit(repository: Repository, files: Mapping[str, Content]) -> Desired:
    return load(open_commit(repository.root, repository.commit(files)))


def refusal(repository: Repository, files: Mapping[str, Content]) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        at_commit(repository, files)
    assert caught.value.exit_code is Exit.INVALID
    return [str(problem) for problem in caught.value.problems]


def one_catalog(repository: Repository, body: str) -> list[str]:
    return refusal(repository, {"desired/stores.yaml": STORES, "desired/c.yaml": catalog(body)})


def test_a_catalog_becomes_declarations_in_address_order(repository: Repository) -> None:
    body = (
        "meta: {owner: genomics, reason: Ensembl 111, ticket: DATA-42}\n"
        "datasets:\n"
        f'  - {{id: {HUMAN_111}, manifest: "{DIGEST}", source: builds/111.tar, diffs: [derived/diff.json]}}\n'
        f"  - id: {HUMAN_110}\n"
        f"    manifest: {DIGEST}\n"
        "    meta: {reason: kept for the paper}\n"
        f"latest: {HUMAN_111}\n"
        "removed:\n"
        "  - {id: 109/homo_sapiens/GRCh38, reason: superseded}\n"
    )
    oid = repository.commit({"desired/stores.yaml": STORES, "desired/c.yaml": catalog(body)})

    desired = load(open_commit(repository.root, "main"))

    path = "desired/c.yaml"
    assert desired == Desired(
        commit=oid,
        commit_time=1700000000,
        author="Ada <ada@example.org>",
        stores={
            "serving": StoreConfig(
                name="serving",
                kind="serving",
                settings={"root": "file:var/serving", "create": True},
                place=Place("desired/stores.yaml", 4, 3),
            )
        },
        declarations=(
            Declaration(
                Address("serving", "alias", "latest"),
                {"dataset": HUMAN_111, "binding": "catalog"},
                Place(path, 10, 1),
            ),
            Declaration(
                Address("serving", "dataset", "109/homo_sapiens/GRCh38"),
                NOTHING,
                Place(path, 12, 5),
                reason="superseded",
            ),
            Declaration(
                Address("serving", "dataset", HUMAN_110),
                {"artifact": DIGEST, "entry": "listed"},
                Place(path, 7, 5),
            ),
            Declaration(
                Address("serving", "dataset", HUMAN_111),
                {"artifact": DIGEST, "entry": "listed", "diffs": ("derived/diff.json",)},
                Place(path, 6, 5),
                source="builds/111.tar",
            ),
        ),
        scopes={("serving", "dataset"): Place(path, 1, 1)},
        metas={
            path: Meta(owner="genomics", reason="Ensembl 111", ticket="DATA-42"),
            f"{path}:7": Meta(reason="kept for the paper"),
        },
    )


def test_documents_of_one_store_are_merged(repository: Repository) -> None:
    desired = at_commit(
        repository,
        {
            "desired/stores.yaml": STORES,
            "desired/a.yaml": catalog(listed(HUMAN_110)),
            "desired/deep/er/b.yml": catalog(f"latest: {HUMAN_110}\n"),
        },
    )

    assert [str(one.address) for one in desired.declarations] == [
        "serving/alias/latest",
        f"serving/dataset/{HUMAN_110}",
    ]
    assert desired.scopes == {("serving", "dataset"): Place("desired/a.yaml", 1, 1)}


def test_an_emptied_list_is_still_a_scope_and_declares_nothing(repository: Repository) -> None:
    desired = at_commit(repository, {"desired/s.yaml": STORES, "desired/z.yaml": catalog("datasets: []\n")})

    assert desired.declarations == ()
    assert desired.scopes == {("serving", "dataset"): Place("desired/z.yaml", 1, 1)}


def test_an_omitted_latest_is_not_managed_and_none_means_absent(repository: Repository) -> None:
    omitted = at_commit(repository, {"desired/s.yaml": STORES, "desired/c.yaml": catalog("datasets: []\n")})
    none = at_commit(repository, {"desired/s.yaml": STORES, "desired/c.yaml": catalog("latest: none\n")})

    assert omitted.declarations == ()
    assert none.declarations == (
        Declaration(Address("serving", "alias", "latest"), NOTHING, Place("desired/c.yaml", 4, 1), reason=""),
    )


def test_latest_by_line_declares_one_alias_for_each(repository: Repository) -> None:
    mouse = "110/mus_musculus/GRCm39"
    body = listed(HUMAN_111, mouse) + (
        f"latest:\n  default: {HUMAN_111}\n  homo_sapiens/GRCh38: {HUMAN_111}\n"
        f"  mus_musculus/GRCm39: {mouse}\n  rattus/R7: none\n"
    )
    desired = at_commit(repository, {"desired/s.yaml": STORES, "desired/c.yaml": catalog(body)})

    aliases = {one.address.key: one.slots for one in desired.declarations if one.address.kind == "alias"}
    assert aliases == {
        "latest": {"dataset": HUMAN_111, "binding": "catalog"},
        "homo_sapiens/GRCh38": {"dataset": HUMAN_111, "binding": "catalog"},
        "mus_musculus/GRCm39": {"dataset": mouse, "binding": "catalog"},
        "rattus/R7": {},
    }


def test_a_removed_document_leaves_its_tombstones(repository: Repository) -> None:
    removed = (
        "apiVersion: reconciler/v1\nkind: Removed\nstore: serving\n"
        "document: desired/old.yaml\nwas: Catalog\nreason: project closed\n"
        f"datasets:\n  - {HUMAN_110}\nlatest: none\n"
    )
    desired = at_commit(repository, {"desired/s.yaml": STORES, "desired/gone.yaml": removed})

    assert desired.declarations == (
        Declaration(
            Address("serving", "alias", "latest"),
            NOTHING,
            Place("desired/gone.yaml", 9, 1),
            reason="project closed",
        ),
        Declaration(
            Address("serving", "dataset", HUMAN_110),
            NOTHING,
            Place("desired/gone.yaml", 8, 5),
            reason="project closed",
        ),
    )
    assert desired.scopes == {("serving", "dataset"): Place("desired/gone.yaml", 1, 1)}
    assert refusal(
        repository,
        {
            "desired/s.yaml": STORES,
            "desired/gone.yaml": removed,
            "desired/old.yaml": catalog("datasets: []\n"),
        },
    ) == [
        (
            "E_REMOVED_PRESENT desired/gone.yaml:4:11: the document is still there; got desired/old.yaml; "
            "fix: delete one of them"
        )
    ]


@pytest.mark.parametrize("path", ["../old.yaml", "/etc/passwd", "a\\b"])
def test_a_removed_document_names_a_path_of_the_repository(repository: Repository, path: str) -> None:
    removed = (
        "apiVersion: reconciler/v1\nkind: Removed\nstore: serving\n"
        f"document: {path}\nwas: Catalog\nreason: x\ndatasets: []\n"
    )
    found = refusal(repository, {"desired/s.yaml": STORES, "desired/gone.yaml": removed})

    assert [one.split(": ")[0] for one in found] == ["E_REMOVED_PATH desired/gone.yaml:4:11"]


def test_an_authoritative_store_is_named(repository: Repository) -> None:
    stores = STORES.replace("create: true", "create: false, authoritative: true")
    desired = at_commit(repository, {"desired/s.yaml": stores})

    assert desired.authoritative == frozenset({"serving"})
    assert desired.stores["serving"].settings == {"root": "file:var/serving", "create": False}


def test_a_location_from_the_environment_is_kept_as_written(repository: Repository) -> None:
    stores = STORES.replace("file:var/serving", "{env: SERVING_ROOT}")
    desired = at_commit(repository, {"desired/s.yaml": stores})

    assert desired.stores["serving"].settings["root"] == {"env": "SERVING_ROOT"}


def test_line_endings_give_the_same_wish(repository: Repository) -> None:
    text = catalog(listed(HUMAN_110))
    unix = at_commit(repository, {"desired/s.yaml": STORES, "desired/c.yaml": text})
    windows = at_commit(
        repository,
        {"desired/s.yaml": STORES, "desired/c.yaml": text.replace("\n", "\r\n").removesuffix("\r\n")},
    )

    assert windows.declarations == unix.declarations


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
            "apiVersion: reconciler/v1\nkind: Policy\n",
            "E_KIND desired/x.yaml:2:7: the kinds are Catalog, Removed, Stores",
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
        ("{kind: registry}", "E_STORE_KIND desired/s.yaml:4:13: the value is one of serving; got registry"),
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
    "files",
    [
        {"README.md": "no desired state"},
        {"desired": "a file"},
        {"desired/README.md": "no document"},
        {"desired-not/s.yaml": STORES},
    ],
)
def test_a_missing_wish_is_never_the_wish_for_nothing(repository: Repository, files: dict[str, str]) -> None:
    found = refusal(repository, files)

    assert [one.split(": ")[0] for one in found] == ["E_DESIRED_MISSING desired"]


@pytest.mark.parametrize("path", ["", ".", "..", "/etc", "a/../b", "a//b", "-x\n", ".git"])
def test_the_desired_path_lies_below_the_root(repository: Repository, path: str) -> None:
    repository.commit({"desired/s.yaml": STORES})

    with pytest.raises(InvalidInput) as caught:
        load(open_commit(repository.root, "main"), path)

    assert caught.value.code == "E_DESIRED_PATH"


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


def test_what_lies_outside_the_desired_path_is_not_judged(repository: Repository) -> None:
    desired = at_commit(
        repository,
        {
            "desired/s.yaml": STORES,
            "run.sh": File("100755", b"x"),
            "link": File("120000", b"/etc"),
            "x.yaml": "a: &b",
        },
    )

    assert list(desired.stores) == ["serving"]


def test_a_tree_beyond_the_limits_ends_with_the_limit_exit_code(repository: Repository) -> None:
    oid = repository.commit({"desired/s.yaml": STORES, "desired/b": "x" * 100})
    tree = open_commit(repository.root, oid)

    for limits in (TreeLimits(files=1), TreeLimits(size=100)):
        with pytest.raises(LimitExceeded) as caught:
            load(tree, limits=limits)
        assert (caught.value.code, caught.value.exit_code) == ("E_TREE_LIMIT", Exit.LIMIT)
    assert load(tree, limits=TreeLimits(files=2, size=100 + len(STORES))).commit == oid


MANIFEST = b'{"model_version":"v1"}\n'
BUILT = "release=110/species=homo_sapiens/assembly=GRCh38/derived/manifest.json"


def sourced(digest: str, source: str = "builds/one") -> str:
    return catalog(f'datasets:\n  - {{id: {HUMAN_110}, manifest: "{digest}", source: {source}}}\n')


def test_a_build_root_in_the_tree_must_hold_the_declared_manifest(repository: Repository) -> None:
    digest = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
    files: dict[str, Content] = {"desired/s.yaml": STORES, f"builds/one/{BUILT}": MANIFEST}

    equal = at_commit(repository, files | {"desired/c.yaml": sourced(digest, "builds/one/")})
    assert equal.declarations[0].source == "builds/one/"
    assert refusal(repository, files | {"desired/c.yaml": sourced(DIGEST)}) == [
        (
            "E_SOURCE_MANIFEST desired/c.yaml:5:5: the build root's manifest is not the one that is "
            f"declared; got {DIGEST}; fix: declare manifest: {digest} or commit the build that was meant"
        )
    ]
    assert refusal(repository, files | {"desired/c.yaml": sourced(digest, "builds")})[0].startswith(
        f"E_SOURCE_MANIFEST desired/c.yaml:5:5: the build root has no builds/{BUILT}"
    )


def test_a_source_that_is_not_in_the_tree_is_left_to_apply(repository: Repository) -> None:
    files: dict[str, Content] = {"desired/s.yaml": STORES, "builds/pack.tar": b"x"}

    for source in ("elsewhere/x", "builds/other", "builds/pack.tar"):
        desired = at_commit(repository, files | {"desired/c.yaml": sourced(DIGEST, source)})
        assert desired.declarations[0].source == source


def test_a_source_that_is_a_link_in_the_tree_is_refused(repository: Repository) -> None:
    found = refusal(
        repository,
        {"desired/s.yaml": STORES, "desired/c.yaml": sourced(DIGEST), "builds/one": File("120000", b"/etc")},
    )

    assert found[0].startswith("E_TREE_MODE builds/one: a symbolic link is not allowed here")


def test_nested_build_roots_are_both_checked(repository: Repository) -> None:
    digest = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
    outer = BUILT.replace("110", "111")
    body = (
        f'datasets:\n  - {{id: {HUMAN_111}, manifest: "{DIGEST}", source: builds}}\n'
        f'  - {{id: {HUMAN_110}, manifest: "{digest}", source: builds/one}}\n'
    )
    found = refusal(
        repository,
        {
            "desired/s.yaml": STORES,
            "desired/c.yaml": catalog(body),
            f"builds/{outer}": MANIFEST,
            f"builds/one/{BUILT}": MANIFEST,
        },
    )

    assert [one.split(": ")[0] for one in found] == ["E_SOURCE_MANIFEST desired/c.yaml:5:5"]


def test_governance_files_are_taken_byte_for_byte_where_they_exist(repository: Repository) -> None:
    paths = ("ops/freeze.json", "ops/none.json", "README.md/x")
    oid = repository.commit({"desired/s.yaml": STORES, "ops/freeze.json": b"{\xff}\r\n", "README.md": "x"})

    desired = load(open_commit(repository.root, oid), governance_paths=paths)

    assert desired.governance == {"ops/freeze.json": b"{\xff}\r\n"}


def test_a_governance_file_that_is_a_link_is_refused(repository: Repository) -> None:
    oid = repository.commit({"desired/s.yaml": STORES, "ops/freeze.json": File("120000", b"/etc/passwd")})

    with pytest.raises(InvalidInput) as caught:
        load(open_commit(repository.root, oid), governance_paths=("ops/freeze.json",))

    assert caught.value.code == "E_TREE_MODE"


def test_the_work_tree_gives_the_same_wish_as_the_commit(repository: Repository) -> None:
    digest = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
    files = {
        "desired/s.yaml": STORES,
        "desired/c/d.yaml": sourced(digest),
        f"builds/one/{BUILT}": MANIFEST.decode(),
        "ops/freeze.json": "{}",
    }
    repository.write(files)
    oid = repository.commit(files)

    commit = load(open_commit(repository.root, oid), governance_paths=("ops/freeze.json",))
    on_disk = load(open_worktree(repository.root, now=5), governance_paths=("ops/freeze.json",))

    assert on_disk.declarations == commit.declarations
    assert on_disk.stores == commit.stores
    assert on_disk.governance == commit.governance
    assert (on_disk.commit, on_disk.commit_time) == (f"worktree+{oid}", 5)


def test_the_work_tree_of_a_repository_without_commits_can_be_read(repository: Repository) -> None:
    repository.write({"desired/s.yaml": STORES})

    assert load(open_worktree(repository.root, now=5)).commit == "worktree"


def test_the_work_tree_refuses_what_a_commit_refuses(repository: Repository) -> None:
    repository.write(
        {"desired/s.yaml": STORES, "desired/run.yaml": "a: 1", "desired/in/.git/config": "x", "other/y": ""}
    )
    (repository.root / "desired/run.yaml").chmod(0o755)
    (repository.root / "desired/link.yaml").symlink_to("/etc/passwd")
    (repository.root / "desired/dir").symlink_to("../other")

    with pytest.raises(InvalidInput) as caught:
        load(open_worktree(repository.root, now=5))

    assert [f"{one.code} {one.path}" for one in caught.value.problems] == [
        "E_TREE_MODE desired/dir",
        "E_TREE_PATH desired/in/.git",
        "E_TREE_MODE desired/link.yaml",
        "E_TREE_MODE desired/run.yaml",
    ]


def test_a_desired_directory_that_is_a_link_is_refused(repository: Repository) -> None:
    repository.write({"real/s.yaml": STORES})
    (repository.root / "desired").symlink_to("real")

    with pytest.raises(ReconcilerError) as caught:
        load(open_worktree(repository.root, now=5))

    assert caught.value.code == "E_TREE_MODE"
