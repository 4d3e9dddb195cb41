"""`init`: what it writes is a whole, and nothing that was there is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.command_line import PROJECT
from tests.integration.gitops.conftest import Repository
from tests.workflows.linters import actionlint, by_schema, zizmor

SERVING = [
    ".github/CODEOWNERS",
    ".github/workflows/comment.yml",
    ".github/workflows/drift.yml",
    ".github/workflows/plan.yml",
    ".github/workflows/reconcile.yml",
    ".gitignore",
    "desired/catalogs/serving.yaml",
    "desired/policy.yaml",
    "desired/stores.yaml",
    "ops/datasets/freeze-policy.json",
    "ops/datasets/rollback-policy.json",
    "ops/inventory/gc-pins.json",
    "ops/inventory/pins.yaml",
    "tools/flow.sh",
]


@pytest.fixture
def empty(tmp_path: Path) -> Repository:
    root = tmp_path / "new"
    root.mkdir()
    repo = Repository(root)
    repo.git("init", "-q", "-b", "main")
    return repo


@pytest.mark.parametrize("kinds", [(), ("serving",), ("registry",), ("serving", "registry")], ids="-".join)
def test_what_init_writes_validates_and_its_first_plan_is_empty(
    empty: Repository, kinds: tuple[str, ...]
) -> None:
    empty.ok("init", ".", *(word for kind in kinds for word in ("--kind", kind)))
    empty.commit("Desired state")

    stores = empty.ok("validate", "--output", "json").document["stores"]
    assert stores == sorted(kinds or ("serving",))
    assert empty.ok("plan", "--detailed-exitcode").out == "nothing to do   (0 declarations checked)\n"
    for store in stores:
        assert empty.ok("gc", "apply", "--store", store, "--yes").out == "nothing to remove\n"


def test_init_lists_and_writes_what_a_serving_store_needs(empty: Repository) -> None:
    listed = empty.ok("init", ".", "--dry-run", "--output", "json").document
    assert not any(empty.root.glob("desired"))

    written = empty.ok("init", ".", "--output", "json").document

    assert (listed["written"], written["written"]) == (False, True)
    assert listed["files"] == written["files"]
    assert [path for path in written["files"] if not path.startswith("schemas/")] == SERVING


def test_init_overwrites_nothing(empty: Repository) -> None:
    mine = empty.root / "desired/stores.yaml"
    mine.parent.mkdir()
    mine.write_text("mine\n")

    ran = empty.run("init", ".")

    assert (ran.code, ran.error) == (3, "E_FILE_EXISTS")
    assert sorted(path.name for path in empty.root.iterdir()) == [".git", "desired"]
    assert mine.read_text() == "mine\n"


def test_an_init_that_was_stopped_halfway_can_be_repeated(empty: Repository) -> None:
    whole = empty.ok("init", ".", "--output", "json").document["files"]
    for path in whole[::2]:
        (empty.root / path).unlink()

    again = empty.ok("init", ".", "--output", "json").document["files"]

    assert again == whole[::2]


def test_an_ignore_file_stays_as_it_is(empty: Repository) -> None:
    (empty.root / ".gitignore").write_text("mine\n")

    ran = empty.ok("init", ".")

    assert (empty.root / ".gitignore").read_text() == "mine\n"
    assert ran.err == ".gitignore is there and stays as it is; keep /var/ and /reconciler-out/ in it"


def test_init_writes_through_no_link(empty: Repository) -> None:
    outside = empty.root.parent / "outside"
    outside.mkdir()
    (empty.root / "desired").symlink_to(outside)

    ran = empty.run("init", ".")

    assert (ran.code, ran.error) == (3, "E_TREE_MODE")
    assert list(outside.iterdir()) == []


def test_the_workflows_that_init_writes_pass_what_ours_pass(empty: Repository) -> None:
    empty.ok("init", ".")
    workflows = sorted((empty.root / ".github/workflows").glob("*.yml"))

    assert len(workflows) == 4
    assert zizmor(empty.root / ".github") == (0, [])
    assert actionlint(*workflows) == []
    assert by_schema("vendor.github-workflows", *workflows).returncode == 0


def test_a_new_repository_gets_the_flow_and_the_comment_job_of_this_one(empty: Repository) -> None:
    empty.ok("init", ".")

    for path in ("tools/flow.sh", ".github/workflows/comment.yml"):
        assert (empty.root / path).read_text() == (PROJECT / path).read_text()


def test_editors_get_the_very_schemas_of_the_loader(empty: Repository) -> None:
    empty.ok("init", ".", "--kind", "registry", "--kind", "serving")
    document = (empty.root / "desired/datasets/example.yaml").read_text()

    assert document.startswith("# yaml-language-server: $schema=../../schemas/dataset.json\n")
    for schema in (PROJECT / "reconciler/desired/schemas").glob("*.json"):
        assert json.loads((empty.root / "schemas" / schema.name).read_text()) == json.loads(
            schema.read_text()
        )
