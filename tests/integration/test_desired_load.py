from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from reconciler.desired.git import open_commit
from reconciler.desired.loader import load
from reconciler.desired.worktree import open_worktree
from reconciler.errors import InvalidInput, ReconcilerError
from reconciler.model import NOTHING, Address, Declaration, Desired, Meta, Place, StoreConfig
from tests.unit.desired.repository import (
    DIGEST,
    HUMAN_110,
    HUMAN_111,
    STORES,
    Content,
    File,
    Repository,
    at_commit,
    catalog,
    listed,
    refusal,
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repo")


EVERY_FIELD = (
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


def test_a_catalog_becomes_declarations_in_address_order(repository: Repository) -> None:
    oid = repository.commit({"desired/stores.yaml": STORES, "desired/c.yaml": catalog(EVERY_FIELD)})

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
