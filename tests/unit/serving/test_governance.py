"""The governance files say what they say, and nothing that is misspelt is ignored."""

from __future__ import annotations

import json

import pytest

from reconciler.errors import ReconcilerError
from reconciler.governance import Governance, PromotionRules
from reconciler.stores.serving.governance import FREEZE, PROMOTION, ROLLBACK, governance_of
from tests.integration.command_line import PROJECT

OURS = {path: (PROJECT / path).read_bytes() for path in (PROMOTION, ROLLBACK, FREEZE)}


def edited(path: str, **members: object) -> dict[str, bytes]:
    return {path: json.dumps({**json.loads(OURS[path]), **members}).encode()}


def test_the_files_of_this_repository_say_what_is_enforced() -> None:
    assert governance_of(OURS) == Governance(
        promotion=PromotionRules(in_manifest=True, in_pins=True, append_only=True),
        rollback_depth=3,
        release_lines=2,
        line_versions=2,
        reviewed_deletion=True,
    )


def test_without_files_the_defaults_hold() -> None:
    assert governance_of({}) == Governance()


RETENTION = {
    "minimum_release_lines": 2,
    "preserve_latest_fixture_versions": 2,
    "require_deletion_review": True,
}


@pytest.mark.parametrize(
    ("files", "code", "exit_code"),
    [
        ({ROLLBACK: b" \n"}, "E_POLICY_EMPTY", 4),
        ({ROLLBACK: b"{}"}, "E_REQUIRED", 3),
        (edited(ROLLBACK, max_rollback_depht=1), "E_UNKNOWN_FIELD", 3),
        (edited(ROLLBACK, max_rollback_depth=0), "E_TYPE", 3),
        (edited(ROLLBACK, schema_version=2), "E_SCHEMA_VERSION", 3),
        (edited(PROMOTION, rules=["dataset_id_must_exist_in_manifets"]), "E_TYPE", 3),
        (edited(PROMOTION, pins_source="pins.yaml"), "E_TYPE", 3),
        (edited(FREEZE, retention={**RETENTION, "minimum_release_lines": -1}), "E_TYPE", 3),
        (edited(FREEZE, retention={**RETENTION, "minimum_release_lines": True}), "E_TYPE", 3),
        (edited(FREEZE, retention={"minimum_release_lines": 2}), "E_REQUIRED", 3),
        ({FREEZE: b'{"schema_version": 1, "schema_version": 1}'}, "E_JSON_DUP", 3),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(files: dict[str, bytes], code: str, exit_code: int) -> None:
    with pytest.raises(ReconcilerError) as refused:
        governance_of(files)
    assert (refused.value.code, refused.value.exit_code) == (code, exit_code)
    assert refused.value.problems[0].path in files
