"""A store goes back to a recorded release: a change of git, planned, reviewed and applied like any other."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from tests.integration.command_line import CLEAN
from tests.integration.gitops.conftest import Repository

SERVING = ("--store", "serving")
HUMAN = "desired/catalogs/human.yaml"
H111 = "111/homo_sapiens/GRCh38"
ENTRY = """  - id: 111/homo_sapiens/GRCh38
    manifest: "sha256:4f0a4b3ed561dd7d9a38721b939cb0e00e157798d30919cd65ad822abcc6b713"
    source: examples/builds/human-111
"""
TOMBSTONE = """apiVersion: reconciler/v1
kind: Catalog
store: serving
removed:
  - {id: "111/homo_sapiens/GRCh38", reason: "wrong assembly"}
"""


@pytest.fixture
def moved(published: Repository) -> Repository:
    """Release 2: human 110 alone, latest. Release 3: human 111 as well, which is latest now."""
    text = (published.root / HUMAN).read_text()
    published.edit(HUMAN, ENTRY, "")
    published.edit(HUMAN, "latest: 111", "latest: 110")
    published.commit("Only 110")
    published.ok("apply", "--yes")
    (published.root / HUMAN).write_text(text)
    published.commit("And 111")
    published.ok("apply", "--yes")
    return published


def test_a_rollback_is_a_change_of_git_that_returns_to_the_recorded_state(moved: Repository) -> None:
    before = moved.store()
    moved.ok("rollback", "--to", "serving#2", "--out", "rollback.patch", "--reason", "wrong assembly")
    assert moved.store() == before
    moved.git("apply", "rollback.patch")
    assert (moved.root / "desired/rollback/serving-2/removed.yaml").read_text() == TOMBSTONE
    (moved.root / "rollback.patch").unlink()
    moved.commit("Roll back")
    moved.ok("apply", "--yes")
    assert H111 not in moved.catalog()
    (store,) = moved.ok("history", *SERVING, "--output", "json").document["stores"]
    assert [record["seq"] for record in store["records"]] == [1, 2, 3, 4]
    assert moved.ok("catalog", "resolve", "latest", "--store", "serving").out.startswith("110/homo_sapiens")
    again = moved.ok("rollback", "--to", "serving#4")
    assert "the desired state already is what it was" in again.out


def test_the_answer_shows_what_is_undone_and_what_moves(moved: Repository) -> None:
    document = moved.ok("rollback", "--to", "serving#2", "--output", "json").document
    assert [one["seq"] for one in document["undone"]] == [3]
    assert document["addresses"] == ["serving/alias/latest", f"serving/dataset/{H111}"]
    assert document["files"] == {
        "written": [HUMAN, "desired/rollback/serving-2/removed.yaml"],
        "removed": [],
    }
    assert document["plan"]["summary"] == {
        "create": 0,
        "update": 1,
        "delete": 1,
        "noop": 3,
        "adopted": 0,
    }
    assert "type: hold\nsubject: serving/alias/latest\n" in document["holds"][0]


def test_a_branch_holds_the_same_change_and_the_work_tree_stays(moved: Repository) -> None:
    moved.ok("rollback", "--to", "serving#2", "--out", "p", "--reason", "wrong assembly")
    wanted = (moved.root / "p").read_text()
    (moved.root / "p").unlink()
    moved.ok("rollback", "--to", "serving#2", "--branch", "back", "--reason", "wrong assembly")
    assert moved.git("status", "--porcelain") == ""
    assert moved.git("rev-parse", "back~1") == moved.git("rev-parse", "HEAD")
    subprocess.run(
        ["git", "apply", "--cached", "-"], cwd=moved.root, env=CLEAN, input=wanted.encode(), check=True
    )
    assert moved.git("diff", "--cached", "back") == ""
    assert moved.git("log", "-1", "--format=%s", "back") == "Roll serving back to release serving#2"
    assert "wrong assembly" in moved.git("log", "-1", "--format=%b", "back")
    ran = moved.run("rollback", "--to", "serving#2", "--branch", "back")
    assert (ran.code, ran.error) == (6, "E_BRANCH_EXISTS")


def test_a_rollback_that_policy_denies_is_written_nowhere(moved: Repository) -> None:
    mouse = moved.root / "desired/catalogs/mouse.yaml"
    listed = mouse.read_text()
    entry = listed[listed.index("  - id: 110") : listed.index("  - id: 111")]
    removed = "removed: [{id: 110/mus_musculus/GRCm39, reason: superseded}]\n"
    mouse.write_text(listed.replace(entry, "") + removed)
    moved.commit("Without mouse 110")
    moved.ok("apply", "--yes")
    shutil.rmtree(moved.root / "var/serving/release=110/species=mus_musculus")  # as a collection does
    for where in (("--out", "p"), ("--branch", "back")):
        ran = moved.run("rollback", "--to", "serving#2", *where)
        assert (ran.code, ran.error) == (4, "E_NOT_PUBLISHED")
        assert "dataset-published" in ran.out
    assert not (moved.root / "p").exists()
    assert moved.git("branch", "--list", "back") == ""


@pytest.mark.parametrize(
    ("release", "error", "said"),
    [
        ("serving", "E_RELEASE", "a release is STORE#N"),
        ("serving#0", "E_RELEASE", "a release is STORE#N"),
        ("serving#9", "E_RELEASE", "the ledger holds 3 records"),
        ("serving#1", "E_RELEASE", "made by hand"),
        ("nowhere#1", "E_STORE_UNKNOWN", "no such store"),
    ],
)
def test_what_is_no_release_of_git_is_refused(moved: Repository, release: str, error: str, said: str) -> None:
    ran = moved.run("rollback", "--to", release)
    assert (ran.code, ran.error, said in ran.err) == (3, error, True)


def test_a_branch_needs_a_name_and_somebody_who_commits(moved: Repository) -> None:
    ran = moved.run("rollback", "--to", "serving#2", "--branch", "a..b")
    assert (ran.code, ran.error) == (3, "E_REF_CHARS")
    nobody = {"GIT_AUTHOR_NAME": "", "GIT_AUTHOR_EMAIL": "", "GIT_COMMITTER_NAME": ""}
    ran = moved.run("rollback", "--to", "serving#2", "--branch", "back", **nobody)
    assert (ran.code, ran.error) == (3, "E_GIT_IDENTITY")
    assert moved.git("branch", "--list", "back") == ""


def test_a_rollback_that_stands_in_git_is_not_proposed_twice(moved: Repository) -> None:
    moved.ok("rollback", "--to", "serving#2", "--out", "p")
    moved.git("apply", "p")
    (moved.root / "p").unlink()
    text = (moved.root / HUMAN).read_text()
    moved.commit("Roll back")
    (moved.root / "desired/catalogs/more.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Catalog\nstore: serving\ndatasets:\n" + ENTRY.replace("111", "112")
    )
    moved.commit("Something new")
    assert (moved.root / HUMAN).read_text() == text
    ran = moved.run("rollback", "--to", "serving#2")
    assert (ran.code, ran.error) == (3, "E_ROLLBACK_EXISTS")


def test_a_commit_that_the_clone_lacks_is_an_error(moved: Repository) -> None:
    shallow = moved.root / "shallow"
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{moved.root}", str(shallow)], env=CLEAN, check=True
    )
    (moved.root / "var").rename(shallow / "var")
    ran = Repository(shallow).run("rollback", "--to", "serving#2")
    assert (ran.code, ran.error) == (3, "E_GIT_MISSING_OBJECT")


def test_a_release_of_a_registry_comes_back_with_its_tags(repository: Repository) -> None:
    one, two = b'{"kind":"evm-rpc","n":1}', b'{"kind":"evm-rpc","n":2}'
    folder = repository.root / "desired/datasets"
    shutil.rmtree(repository.root / "desired")
    (folder / "manifests").mkdir(parents=True)
    (folder / "manifests/one.json").write_bytes(one)
    stores = repository.root / "desired/stores.yaml"
    stores.write_text(
        "apiVersion: reconciler/v1\nkind: Stores\nstores:\n"
        "  registry: {kind: registry, database: 'sqlite:var/r.db', objects: file:var/m, create: true}\n"
    )
    head = "apiVersion: reconciler/v1\nkind: Dataset\nstore: registry\nnamespace: eth\nname: main\n"
    (folder / "main.yaml").write_text(head + "versions:\n  1.0.0: {manifest: manifests/one.json}\n")
    repository.commit("One")
    repository.ok("apply", "--yes", "--store", "registry")
    (folder / "manifests/two.json").write_bytes(two)
    (folder / "main.yaml").write_text(
        head + "versions:\n  1.0.0: {manifest: manifests/one.json}\n  2.0.0: {manifest: manifests/two.json}\n"
        "dev: {manifest: manifests/two.json}\n"
    )
    repository.commit("Two")
    repository.ok("apply", "--yes", "--store", "registry")
    repository.ok("rollback", "--to", "registry#1", "--out", "p")
    repository.git("apply", "p")
    (repository.root / "p").unlink()
    assert (repository.root / "desired/rollback/registry-1/eth/main.yaml").read_text().splitlines()[5:] == [
        "removed:",
        '  - {version: "2.0.0", reason: "rolled back to registry#1"}',
        "dev: none",
    ]
    repository.commit("Back")
    repository.ok("apply", "--yes", "--store", "registry")
    listed = repository.ok("registry", "tag", "list", "eth/main", "--store", "registry").out
    assert ("1.0.0" in listed, "2.0.0" in listed, "dev" in listed) == (True, False, False)


def hold(repository: Repository, holds: list[str], until: str) -> None:
    """The suggested exceptions with an owner and a date, committed."""
    for number, text in enumerate(holds):
        place = repository.root / f"desired/exceptions/hold-{number}.yaml"
        place.parent.mkdir(exist_ok=True)
        place.write_text(text.replace("OWNER", "genomics").replace("YYYY-MM-DD", until))
    repository.commit("Hold what was rolled back")


def test_a_rollback_is_reviewed_merged_applied_and_held_until_its_hold_expires(moved: Repository) -> None:
    """With a protected branch whose policy judges every step."""
    policy = moved.root / "desired/policy.yaml"
    policy.write_text("apiVersion: reconciler/v1\nkind: Policy\nseverities: {source-reachable: deny}\n")
    moved.commit("A policy")
    moved.git("config", "reconciler.protectedBranch", "main")
    newest = moved.git("rev-parse", "main")

    # The branch is proposed and reviewed: its plan is judged by the policy of main.
    document = moved.ok(
        "rollback", "--to", "serving#2", "--branch", "back", "--reason", "wrong assembly", "--output", "json"
    ).document
    moved.git("switch", "-q", "back")
    review = moved.ok("plan", "--output", "json").document
    assert review["guards"]["base"]["commit"] == newest
    assert review["intent"] == document["plan"]["intent"]
    assert moved.catalog().count(H111) == 1

    # Merged, and applied as it was reviewed: a run forward, with its own packet.
    moved.git("switch", "-q", "main")
    moved.git("merge", "-q", "--ff-only", "back")
    moved.ok("apply", "--yes", "--expect", review["intent"])
    assert H111 not in moved.catalog()
    assert (moved.root / f"var/serving/.reconciler/evidence/{4:020d}.packet.json").exists()

    # The holds that the answer suggests, with an owner and a date, in a change of their own.
    held = sorted(document["addresses"])
    hold(moved, document["holds"], until="2027-06-01")
    moved.ok("apply", "--yes")

    # Somebody wishes for it again: the reconciler does not re-apply it, and says who holds it.
    moved.git("rm", "-q", "desired/rollback/serving-2/removed.yaml")
    moved.git("checkout", "-q", newest, "--", HUMAN)
    moved.commit("And 111 again")
    before = moved.store()
    plan = moved.ok("plan", "--output", "json").document
    assert (plan["steps"], sorted(plan["held"])) == ([], held)
    moved.ok("apply", "--yes")
    assert moved.store() == before
    drift = moved.ok("drift", "--output", "json").document
    assert {item["address"] for item in drift["items"] if item["verdict"] == "hold"} == set(held)

    # The hold expires, and git's wish counts again.
    later = str(int(datetime(2027, 6, 2, tzinfo=UTC).timestamp()))
    moved.ok("apply", "--yes", SOURCE_DATE_EPOCH=later)
    assert H111 in moved.catalog()
    again = moved.ok("plan", "--output", "json", SOURCE_DATE_EPOCH=later).document
    assert (again["findings"][0]["rule"], again["steps"]) == ("exception-expired", [])
