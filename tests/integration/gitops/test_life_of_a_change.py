"""The whole life of a change, played in a local bare repository with the very script that a CI runs.

A branch is pushed, planned from a snapshot by somebody without any credential, approved by its intent,
merged, applied, compared, moved by hand, and reverted. Each part has a clone of its own, as on a CI.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.command_line import CLEAN, PROJECT, Ran
from tests.integration.gitops.conftest import Repository

STORES = """apiVersion: reconciler/v1
kind: Stores
stores:
  serving: {kind: serving, root: {env: SERVING_ROOT}, environment: prod, create: true}
"""
HUMAN_110 = """  - id: 110/homo_sapiens/GRCh38
    manifest: "sha256:6f36f030686d35e5ef6b540158fbd15721769e4766be7d4b8d4d39507ba22c62"
    source: examples/builds/human-110
"""
HUMAN_111 = """  - id: 111/homo_sapiens/GRCh38
    manifest: "sha256:4f0a4b3ed561dd7d9a38721b939cb0e00e157798d30919cd65ad822abcc6b713"
    source: examples/builds/human-111
"""
MOUSE_111 = """  - id: 111/mus_musculus/GRCm39
    manifest: "sha256:eff1dad9c416f44a238d0655887a28ec2445c5c1d1355770b9ed4ac93ba88fce"
    source: examples/builds/mouse-111
"""
HEAD = "apiVersion: reconciler/v1\nkind: Catalog\nstore: serving\ndatasets:\n"
CATALOG = "desired/catalogs/human.yaml"


@dataclass(frozen=True, slots=True)
class Ci:
    """One job of a CI: a clone of its own, and the variables that its identity has."""

    clone: Repository
    program: Path
    store: Path | None

    def flow(self, *words: str) -> Ran:
        """Run `tools/flow.sh` of the checkout."""
        own = {"SERVING_ROOT": f"file:{self.store}"} if self.store else {}
        done = subprocess.run(
            ["sh", "tools/flow.sh", *words],
            cwd=self.clone.root,
            env={**CLEAN, **own, "RECONCILER": str(self.program)},
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def read(self, name: str) -> str:
        """What the last call left for people or machines."""
        return (self.clone.root / "out" / name).read_text()


@dataclass(frozen=True, slots=True)
class World:
    """A bare repository that everybody pushes to, the author's clone, and one store."""

    top: Path
    author: Repository
    program: Path

    @property
    def store(self) -> Path:
        return self.top / "store"

    def job(self, name: str, ref: str, *, credentials: bool) -> Ci:
        """A fresh clone at a ref, as a CI makes it."""
        root = self.top / name
        shutil.rmtree(root, ignore_errors=True)
        clone = Repository(root)
        subprocess.run(["git", "clone", "-q", self.top / "origin.git", root], env=CLEAN, check=True)
        clone.git("checkout", "-q", "--detach", ref)
        return Ci(clone, self.program, self.store if credentials else None)

    def write(self, *entries: str, latest: str) -> None:
        (self.author.root / CATALOG).write_text(HEAD + "".join(entries) + f"latest: {latest}\n")

    def push(self, branch: str, message: str) -> str:
        commit = self.author.commit(message)
        self.author.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}")
        return commit

    def merge(self, branch: str) -> str:
        """Merge a branch into main, as the host does when somebody approves."""
        self.author.git("checkout", "-q", "main")
        self.author.git("merge", "-q", "--no-ff", "--no-edit", branch)
        self.author.git("push", "-q", "origin", "main")
        return self.author.git("rev-parse", "main")


@pytest.fixture
def world(tmp_path: Path) -> World:
    program = tmp_path / "reconciler"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n')
    program.chmod(0o755)
    origin, root = tmp_path / "origin.git", tmp_path / "author"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], env=CLEAN, check=True)
    (root / "desired/catalogs").mkdir(parents=True)
    (root / "desired/stores.yaml").write_text(STORES)
    shutil.copytree(PROJECT / "ops/datasets", root / "ops/datasets")
    shutil.copytree(PROJECT / "ops/inventory", root / "ops/inventory")
    freeze = root / "ops/datasets/freeze-policy.json"
    freeze.write_text(freeze.read_text().replace('"minimum_release_lines": 2', '"minimum_release_lines": 1'))
    shutil.copytree(PROJECT / "examples/builds", root / "examples/builds")
    (root / "tools").mkdir()
    shutil.copy(PROJECT / "tools/flow.sh", root / "tools/flow.sh")
    author = Repository(root)
    author.git("init", "-q", "-b", "main")
    author.git("remote", "add", "origin", str(origin))
    made = World(tmp_path, author, program)
    made.write(HUMAN_110, latest="110/homo_sapiens/GRCh38")
    made.push("main", "Release 110")
    return made


def applied(world: World, commit: str) -> Ci:
    """Plan a commit of main, approve what was planned, apply it."""
    job = world.job("apply", commit, credentials=True)
    planned = job.flow("plan", commit, commit, "out")
    assert planned.code == 0, planned.err
    done = job.flow("apply", commit, job.read("intent").strip(), "out")
    assert done.code == 0, done.err
    return job


def reviewed(world: World, base: str, proposed: str, live: Path) -> str:
    """Plan a branch without any credential, from a snapshot; the intent that its comment shows."""
    job = world.job("review", base, credentials=False)
    shutil.copy(live, job.clone.root / "live.json")
    planned = job.flow("plan", base, proposed, "out", "--live", "live.json")
    assert planned.code == 0, planned.err
    comment, intent = job.read("comment.md"), job.read("intent").strip()
    assert comment.startswith("<!-- reconciler:plan")
    assert intent in comment
    assert "111/homo_sapiens/GRCh38" in comment
    return intent


def test_a_change_is_planned_approved_applied_compared_and_reverted(world: World) -> None:
    base = world.author.git("rev-parse", "main")
    live = applied(world, base).clone.root / "out/live.json"
    before = catalog(world)
    assert before == ["110/homo_sapiens/GRCh38"]

    # A branch, planned by a job that has no credential and sees the store as a snapshot only.
    world.author.git("checkout", "-q", "-b", "release-111")
    world.write(HUMAN_110, HUMAN_111, latest="111/homo_sapiens/GRCh38")
    proposed = world.push("release-111", "Release 111")
    intent = reviewed(world, base, proposed, live)
    assert catalog(world) == before

    # Merged: applied as it was approved, at the commit of the merge.
    merged = world.merge("release-111")
    job = world.job("apply", merged, credentials=True)
    done = job.flow("apply", merged, intent, "out")
    assert done.code == 0, done.err
    assert catalog(world) == ["110/homo_sapiens/GRCh38", "111/homo_sapiens/GRCh38"]
    assert alias(world) == "111/homo_sapiens/GRCh38"

    # The same approval again: what it approved is done, and nothing else happens.
    again = job.flow("apply", merged, intent, "out")
    assert again.code == 5
    assert job.flow("drift", merged, "out").code == 0

    # Somebody moves the alias by hand.
    moved = job.clone.run(
        *("catalog", "latest-alias-update", "--store", "serving", "--reason", "a test"),
        *("--release", "110", "--species", "homo_sapiens", "--assembly", "GRCh38"),
        SERVING_ROOT=f"file:{world.store}",
    )
    assert moved.code == 0, moved.err
    seen = job.flow("drift", merged, "out")
    assert (seen.code, "alias/latest" in job.read("drift.md")) == (2, True)

    # The change is reverted: a new commit, forward, with a plan and an intent of its own.
    world.author.git("checkout", "-q", "-b", "back")
    world.author.git("revert", "--no-edit", "-m", "1", merged)
    with (world.author.root / CATALOG).open("a") as file:
        file.write("removed:\n  - {id: 111/homo_sapiens/GRCh38, reason: wrong gene names}\n")
    world.push("back", "Take release 111 back")
    reverted = world.merge("back")
    applied(world, reverted)
    assert catalog(world) == before
    assert alias(world) == "110/homo_sapiens/GRCh38"
    assert world.job("drift", reverted, credentials=True).flow("drift", reverted, "out").code == 0


def test_what_somebody_else_changed_meanwhile_is_not_applied(world: World) -> None:
    base = world.author.git("rev-parse", "main")
    applied(world, base)
    world.author.git("checkout", "-q", "-b", "release-111")
    world.write(HUMAN_110, HUMAN_111, latest="111/homo_sapiens/GRCh38")
    proposed = world.push("release-111", "Release 111")
    review = world.job("review", base, credentials=True)
    assert review.flow("plan", base, proposed, "out").code == 0
    intent = review.read("intent").strip()

    world.author.git("checkout", "-q", "main")
    (world.author.root / "desired/catalogs/mouse.yaml").write_text(HEAD + MOUSE_111)
    world.push("main", "Mouse, which nobody has applied yet")
    merged = world.merge("release-111")
    done = world.job("apply", merged, credentials=True).flow("apply", merged, intent, "out")

    assert (done.code, done.error) == (5, "E_PLAN_STALE")
    assert (catalog(world), alias(world)) == (["110/homo_sapiens/GRCh38"], "110/homo_sapiens/GRCh38")


def test_a_change_that_cannot_be_read_gets_a_comment_that_says_why(world: World) -> None:
    base = world.author.git("rev-parse", "main")
    world.author.git("checkout", "-q", "-b", "broken")
    (world.author.root / CATALOG).write_text(HEAD + "  - {id: 110/../GRCh38, manifest: `rm`}\n")
    proposed = world.push("broken", "Break it")
    review = world.job("review", base, credentials=True)

    ran = review.flow("plan", base, proposed, "out")

    assert ran.code == 3
    comment = review.read("comment.md")
    assert comment.startswith(
        "<!-- reconciler:plan -->\n### Plan\n\nThere is no plan for this change (exit 3):\n"
    )
    assert all(line.startswith("    ") for line in comment.splitlines()[5:])


def catalog(world: World) -> list[str]:
    """The ids that the live catalog lists."""
    entries = json.loads((world.store / "catalog.json").read_bytes())["datasets"]
    return ["/".join(e["dataset"][part] for part in ("release", "species", "assembly")) for e in entries]


def alias(world: World) -> str:
    """The dataset that latest names."""
    dataset = json.loads((world.store / "latest.alias.json").read_bytes())["dataset"]
    return "/".join(dataset[part] for part in ("release", "species", "assembly"))
