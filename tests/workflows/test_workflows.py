"""The workflows are held against three linters, and each linter against a workflow that it must refuse.

A gate that cannot fail is worse than none: the canaries prove, in every run, that each linter still finds
what it is there for.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.command_line import PROJECT
from tests.workflows.linters import actionlint, by_schema, zizmor

GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))

UNPINNED = """name: canary
on: push
permissions: {}
jobs:
  canary:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v4
"""
INJECTION = """name: canary
on: pull_request
permissions: {}
jobs:
  canary:
    runs-on: ubuntu-24.04
    steps:
      - run: echo "${{ github.event.pull_request.title }}"
"""
MISSPELT = """name: canary
on: push
jobs:
  canary:
    runs-on: ubuntu-24.04
    step: []
"""


def written(tmp_path: Path, text: str) -> Path:
    """A workflow file with this text."""
    place = tmp_path / ".github" / "workflows" / "canary.yml"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    return place


def test_zizmor_finds_nothing_in_what_runs_here() -> None:
    assert zizmor(GITHUB) == (0, [])


@pytest.mark.parametrize(
    ("text", "audit"), [(UNPINNED, "unpinned-uses"), (INJECTION, "template-injection")], ids=["pin", "text"]
)
def test_zizmor_finds_what_it_is_there_for(text: str, audit: str, tmp_path: Path) -> None:
    code, found = zizmor(written(tmp_path, text))

    assert code != 0
    assert audit in found


def test_actionlint_finds_nothing_in_the_workflows() -> None:
    assert actionlint(*WORKFLOWS) == []


def test_actionlint_finds_what_it_is_there_for(tmp_path: Path) -> None:
    found = actionlint(written(tmp_path, INJECTION))

    assert len(found) == 1
    assert '"github.event.pull_request.title" is potentially untrusted' in found[0]


def test_workflows_and_actions_are_what_their_schemas_say() -> None:
    assert by_schema("vendor.github-workflows", *WORKFLOWS).returncode == 0
    assert by_schema("vendor.github-actions", *ACTIONS).returncode == 0
    assert by_schema("vendor.dependabot", GITHUB / "dependabot.yml").returncode == 0


def test_the_schema_refuses_a_misspelt_member(tmp_path: Path) -> None:
    done = by_schema("vendor.github-workflows", written(tmp_path, MISSPELT))

    assert done.returncode == 1
    assert "step" in done.stdout


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """The jobs of a workflow."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["jobs"]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_workflow_starts_without_rights_and_every_job_ends(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())

    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    assert all("timeout-minutes" in job and "permissions" in job for job in workflow["jobs"].values())


def test_a_pull_request_runs_without_secrets_and_without_write_access() -> None:
    for name in ("ci", "plan"):
        text = (GITHUB / "workflows" / f"{name}.yml").read_text()

        assert "secrets." not in text
        assert "pull_request_target" not in text
        assert all(
            right == "read"
            for job in jobs(GITHUB / "workflows" / f"{name}.yml").values()
            for right in job["permissions"].values()
        )


def test_plan_runs_the_program_of_the_base_and_reads_the_change_as_objects() -> None:
    steps = jobs(GITHUB / "workflows/plan.yml")["plan"]["steps"]

    assert [step["with"]["ref"] for step in steps if "checkout" in step.get("uses", "")] == [
        "${{ github.event.pull_request.base.sha }}"
    ]
    assert not any("git checkout" in step.get("run", "") for step in steps)


def test_what_may_write_a_comment_runs_no_code_of_the_change() -> None:
    steps = [step for job in jobs(GITHUB / "workflows/comment.yml").values() for step in job["steps"]]

    assert not any("checkout" in step.get("uses", "") for step in steps)


def telling(files: str, total: int, tmp_path: Path) -> str:
    """The comment after a look at the files of a change, of which `gh` tells the name and the old name."""
    steps = jobs(GITHUB / "workflows/comment.yml")["comment"]["steps"]
    (step,) = (step for step in steps if "could rewrite" in step["name"])
    (tmp_path / "left").mkdir()
    (tmp_path / "left/comment.md").write_text("what plan left")
    (tmp_path / "files").write_text(files)
    program = tmp_path / "gh"
    program.write_text(f'#!/bin/sh\ncase "$*" in */files*) cat {tmp_path}/files ;; *) echo {total} ;; esac\n')
    program.chmod(0o755)
    names = {"REPOSITORY": "o/r", "NUMBER": "7", "RUNNER_TEMP": str(tmp_path)}
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["bash", "-e", "-c", step["run"]], env={**names, "PATH": path}, check=True)
    return (tmp_path / "left/comment.md").read_text()


@pytest.mark.parametrize(
    ("files", "total"),
    [
        ("desired/a.yaml\t\n.github/workflows/plan.yml\t\n", 2),
        ("gone.yml\t.github/workflows/plan.yml\n", 1),
        ("desired/a.yaml\t\n", 3001),
    ],
    ids=["rewritten", "moved away", "too many"],
)
def test_no_plan_is_taken_from_a_run_that_the_change_could_rewrite(
    files: str, total: int, tmp_path: Path
) -> None:
    comment = telling(files, total, tmp_path)

    assert comment.startswith(
        "<!-- reconciler:plan -->\n### Plan\n\nThere is no plan for this change: it touches"
    )


def test_the_plan_of_a_change_that_leaves_the_workflows_alone_is_posted(tmp_path: Path) -> None:
    assert telling("desired/a.yaml\t\nx/.github/b\t\n", 2, tmp_path) == "what plan left"


def test_plan_and_apply_have_different_identities() -> None:
    reconcile = jobs(GITHUB / "workflows/reconcile.yml")

    assert {name: job["environment"] for name, job in reconcile.items()} == {
        "review": "plan",
        "apply": "production",
    }
    assert jobs(GITHUB / "workflows/drift.yml")["look"]["environment"] == "plan"


@pytest.mark.parametrize("place", [GITHUB, PROJECT / "reconciler/scaffold/files/.github"])
def test_a_commit_of_evidence_reconciles_nothing_and_one_of_a_wish_or_of_governance_does(place: Path) -> None:
    text = (place / "workflows/reconcile.yml").read_text()
    paths = yaml.safe_load(text.replace("\non:", "\n'on':"))["on"]["push"]["paths"]

    def runs(path: str) -> bool:
        return any(path.startswith(pattern.removesuffix("**")) for pattern in paths)

    assert all(pattern.endswith("/**") for pattern in paths)
    assert not runs("ops/release/packet/packet.json")
    assert runs("desired/policy.yaml")
    assert runs("ops/datasets/rollback-policy.json")
    assert runs("ops/inventory/pins.yaml")


def test_an_apply_is_never_cancelled_by_the_next() -> None:
    workflow = yaml.safe_load((GITHUB / "workflows/reconcile.yml").read_text())

    assert workflow["concurrency"] == {
        "group": "stores-of-${{ github.repository }}",
        "cancel-in-progress": False,
    }


def test_the_action_installs_what_the_lock_file_pins_by_hash() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    project = (PROJECT / "pyproject.toml").read_text()
    block = project.partition("dependencies = [")[2].partition("]\n")[0]
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))

    assert set(re.findall(r'"([a-z0-9-]+)>=', block)) <= pinned
    assert lock.count("--hash=sha256:") > len(pinned)
    assert "--require-hashes" in ACTIONS[0].read_text()
