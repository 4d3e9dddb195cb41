"""Every document of a backup is as its published schema says, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.integration.backup.conftest import MARK, Vault, kept

PLACE = resources.files("reconciler.backup").joinpath("schemas")
NAMES = sorted(Path(str(file)).stem for file in PLACE.iterdir())


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(PLACE.joinpath(f"{name}.json").read_text("utf-8"))
    return loaded


def documents(vault: Vault) -> Iterator[tuple[str, dict[str, Any]]]:
    """A document of each kind, as the commands wrote it, by the name of its schema."""
    backup = json.loads((vault.archive / f"backups/serving/{1:020d}.json").read_bytes())
    index = json.loads(kept(vault, backup["index"]).read_bytes())
    yield "backup", backup
    yield "backup-index", index
    for group in index["groups"]:
        yield "backup-group", json.loads(kept(vault, group[1]).read_bytes())
    for name, path in (
        ("archive", "var/backup/archive.json"),
        ("backup-verified", f"var/backup/verified/serving/{1:020d}.json"),
        ("drill", "drill.json"),
        ("restored", f"var/back/{MARK}"),
    ):
        yield name, json.loads((vault.root / path).read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


def test_every_document_is_as_its_schema_says_and_not_with_one_member_more_or_less(vault: Vault) -> None:
    vault.backup("--verify")
    assert vault.restore().code == 0
    vault.ok("recovery", "drill", "--store", "serving", "--out", "drill.json")
    seen = set()
    for name, document in documents(vault):
        judge = Draft202012Validator(schema(name))
        assert [error.message for error in judge.iter_errors(document)] == []
        assert document["schema"] == f"reconciler/{name}/v1"
        assert not judge.is_valid({**document, "another": 1})
        for member in document:
            assert not judge.is_valid({key: value for key, value in document.items() if key != member})
        seen.add(name)
    assert sorted({*seen, "account"}) == NAMES  # see test_account
