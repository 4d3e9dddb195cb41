"""The evidence that is committed in `ops/release` verifies, on every change of this repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler.cli import main
from tests.integration.command_line import PROJECT
from tests.unit.evidence.test_schemas import SCHEMAS, schema

RELEASE = PROJECT / "ops/release"
TRUST = str(RELEASE / "trust.json")


def test_the_committed_evidence_verifies(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["evidence", "verify", str(RELEASE), "--trust", TRUST, "--release", "serving#2"])
    out, err = capfd.readouterr()
    assert (code, err) == (0, "")
    assert "signed by maintainer, release (threshold 2)" in out
    assert "approved by maintainer" in out


@pytest.mark.parametrize("path", sorted(SCHEMAS))
def test_the_committed_evidence_is_valid_by_its_schemas(path: str) -> None:
    judge = Draft202012Validator(schema(SCHEMAS[path]))
    document = json.loads((RELEASE / path).read_bytes())
    assert [error.message for error in judge.iter_errors(document)] == []


def test_the_committed_evidence_does_not_verify_when_any_file_of_it_is_touched(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "release"
    shutil.copytree(RELEASE, copy)
    members = [item["path"] for item in json.loads((copy / "packet/packet.json").read_bytes())["items"]]
    verified = []
    for member in [*members, "packet/packet.json", "signing/release.dsse.json"]:
        data = (copy / member).read_bytes()
        (copy / member).write_bytes(data[:20] + bytes([data[20] ^ 4]) + data[21:])
        verified.append((member, main(["evidence", "verify", str(copy), "--trust", TRUST])))
        (copy / member).write_bytes(data)
    assert [member for member, code in verified if code != 8] == []
    assert main(["evidence", "verify", str(copy), "--trust", TRUST]) == 0
    capfd.readouterr()
