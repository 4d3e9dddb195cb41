"""Every file of the evidence has a schema that ships with the package, and is valid by it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.evidence.approval import approval_statement
from reconciler.evidence.envelope import envelope_bytes, sealed
from tests.unit.evidence.packets import ADA, INTENT, RUN, documents, packet, signed
from tests.unit.evidence.test_trust import trust_document

APPROVAL = envelope_bytes(sealed(approval_statement(INTENT, issued=5), [ADA]))
APPROVED = packet(documents(run=replace(RUN, approvers=("ada",), approvals=(APPROVAL.decode(),))))
FILES = {**signed(APPROVED.members), "trust.json": trust_document()}
SCHEMAS = {
    "evidence/identity.json": "identity",
    "evidence/manifest.json": "manifest",
    "evidence/statements/provenance.json": "statement",
    "evidence/statements/verdict.json": "statement",
    "packet/packet.json": "packet",
    "provenance.json": "provenance",
    "signing/approvals/01.json": "envelope",
    "signing/checksums.json": "checksums",
    "signing/provenance.dsse.json": "envelope",
    "signing/release.dsse.json": "envelope",
    "signing/verdict.dsse.json": "envelope",
    "trust.json": "trust",
}
LEDGER = {"evidence/ledger/intent.json", "evidence/ledger/outcome.json"}
PLACE = resources.files("reconciler.evidence").joinpath("schemas")


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(PLACE.joinpath(f"{name}.json").read_text("utf-8"))
    return loaded


def test_every_file_of_a_packet_has_a_schema() -> None:
    assert sorted({*FILES} - LEDGER) == sorted(SCHEMAS)
    shipped = {Path(str(file)).stem for file in PLACE.iterdir()}
    assert shipped == set(SCHEMAS.values())


@pytest.mark.parametrize("name", sorted(set(SCHEMAS.values())))
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("path", sorted(SCHEMAS))
def test_a_file_is_valid_by_its_schema_and_not_with_one_member_more_or_less(path: str) -> None:
    judge = Draft202012Validator(schema(SCHEMAS[path]))
    document = json.loads(FILES[path])
    assert [error.message for error in judge.iter_errors(document)] == []
    assert not judge.is_valid({**document, "another": 1})
    for member in document:
        assert not judge.is_valid({name: value for name, value in document.items() if name != member}), member
