"""Thresholds as data: a file that cannot be used stops every command that reads the desired state."""

from __future__ import annotations

import json

import pytest

from tests.integration.gitops.conftest import Repository

GATES = "ops/datasets/publish-gates.json"


@pytest.mark.parametrize("command", [("validate",), ("plan",), ("apply", "--yes")])
@pytest.mark.parametrize(
    ("content", "code", "error"),
    [
        ("{", 3, "E_JSON_SYNTAX"),
        ('{"schema_version": 1, "publish_gates": {"min_gene_cuont": 1}}', 3, "E_UNKNOWN_FIELD"),
        (" \n", 4, "E_POLICY_EMPTY"),
    ],
)
def test_a_gate_file_that_cannot_be_used_is_refused_before_anything_else(
    published: Repository, command: tuple[str, ...], content: str, code: int, error: str
) -> None:
    (published.root / GATES).write_text(content)
    published.commit("Break the gates")
    before = published.store()
    ran = published.run(*command)
    assert (ran.code, ran.err.split()[0]) == (code, error)
    assert GATES in ran.err
    assert published.store() == before


def test_a_broken_gate_file_is_reported_together_with_broken_documents(repository: Repository) -> None:
    (repository.root / GATES).write_text("")
    repository.edit("desired/catalogs/mouse.yaml", "store: serving", "store: elsewhere")
    repository.commit("Break both")
    errors = json.loads(repository.run("validate", "--output", "json").err.splitlines()[-1])["errors"]
    assert [error["code"] for error in errors] == ["E_STORE_UNKNOWN", "E_POLICY_EMPTY"]
