"""The JSON Schemas that are shipped describe what the command line really prints, member for member."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.integration.documents import ROOT
from tests.integration.gitops.changes import HUMAN, lose_human_110, step_forward
from tests.integration.gitops.conftest import Repository, applied, published, repository

__all__ = ["applied", "published", "repository"]
SCHEMAS = {
    path.stem: json.loads(path.read_bytes())
    for path in sorted((ROOT / "reconciler/render/schemas").glob("*.json"))
}


def undescribed(schema: dict[str, Any], document: object, root: dict[str, Any]) -> Iterator[str]:
    """The members of a document that its schema says nothing of."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    for one in schema.get("anyOf", ()):
        if isinstance(document, dict) and "properties" in one:
            schema = one
    if isinstance(document, list):
        for item in document:
            yield from undescribed(schema.get("items", {}), item, root)
    elif isinstance(document, dict) and "properties" in schema:
        for name, value in document.items():
            if name not in schema["properties"]:
                yield name
            else:
                yield from undescribed(schema["properties"][name], value, root)


def check(document: dict[str, Any]) -> None:
    schema = SCHEMAS[document["schema"].split("/")[1]]
    assert document["schema"] == schema["properties"]["schema"]["const"]
    Draft202012Validator(schema).validate(document)
    assert list(undescribed(schema, document, schema)) == []


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["properties"]["schema"]["const"] == f"reconciler/{name}/v1"


def test_plans_and_applies_are_as_their_schemas_say(published: Repository) -> None:
    step_forward(published)
    plan = published.ok("plan", "--out", "plan.json", "--output", "json").document
    check(plan)
    check(json.loads((published.root / "plan.json").read_bytes()))
    assert [item["change"]["actions"] for item in plan["resource_changes"]] == [
        ["create"],
        ["create"],
        ["update"],
        ["delete"],
    ]
    check(published.ok("apply", "plan.json", "--output", "json").document)
    check(published.ok("plan", "--output", "json").document)


def test_snapshots_and_advisory_plans_are_as_their_schemas_say(applied: Repository) -> None:
    check(applied.ok("snapshot", "--out", "live.json", "--output", "json").document)
    check(json.loads((applied.root / "live.json").read_bytes()))
    check(applied.ok("plan", "--live", "live.json", "--output", "json").document)


def test_explanations_are_as_their_schema_says(published: Repository) -> None:
    step_forward(published)
    for address in ("alias/latest", "dataset/111/homo_sapiens/GRCh38", "dataset/9/a/b"):
        check(published.ok("explain", f"serving/{address}", "--output", "json").document)


def test_denied_plans_are_as_their_schema_says(applied: Repository) -> None:
    lose_human_110(applied)
    check(applied.run("plan", "--output", "json").document)
    check(json.loads(applied.run("apply", "--yes", "--output", "json").err))


def test_drift_and_validation_are_as_their_schemas_say(applied: Repository) -> None:
    check(applied.ok("validate", "--output", "json").document)
    check(applied.ok("drift", "--output", "json").document)
    lose_human_110(applied)
    (applied.root / "var/serving/catalog.json").unlink()
    check(applied.run("drift", "--output", "json").document)
    applied.ok("catalog", "rebuild", "--store", "serving")
    (Path(applied.root) / "var/serving/latest.alias.json").unlink()
    ran = applied.run("drift", "--output", "json")
    assert ran.document["summary"]["drift"] > 0
    check(ran.document)


def test_input_errors_are_as_their_schema_says(applied: Repository) -> None:
    applied.edit(HUMAN, "latest: 111/homo_sapiens", "latest: 111/Homo")
    applied.commit("Break it")
    check(json.loads(applied.run("validate", "--output", "json").err))
    check(json.loads(applied.run("plan", "--ref", "gone", "--output", "json").err))
