"""The governance files of a serving store's repository, decoded: promotion, rollback, freeze (contract 5).

Their shapes are the reference's, and every member is known: one that is not is refused, because a rule
that is misspelt and ignored is no rule. A file that is there and empty denies (E_POLICY_EMPTY). What the
reference keeps as free text (the rules of promotion) is read as what it says; a rule that means nothing
to us is refused as well.

Reads bytes, never a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from reconciler.governance import Governance, PromotionRules
from reconciler.stores.serving.documents import convert
from reconciler.stores.serving.gates import policy_document

PROMOTION: Final = "ops/datasets/promotion-rules.json"
ROLLBACK: Final = "ops/datasets/rollback-policy.json"
FREEZE: Final = "ops/datasets/freeze-policy.json"

Rules = Literal[
    "dataset_id_must_exist_in_manifest", "dataset_id_must_exist_in_pins", "promotion_is_append_only"
]
Texts = Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)]
FromOne = Annotated[int, Meta(ge=1)]
FromZero = Annotated[int, Meta(ge=0)]


class _Promotion(Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: Literal[1]
    pins_source: Literal["ops/inventory/pins.yaml"]
    manifest_lock: Literal["ops/datasets/manifest.lock"]
    environments: Texts
    rules: tuple[Rules, ...]


class _Rollback(Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: Literal[1]
    strategy: Annotated[str, Meta(min_length=1)]
    rollback_steps: Texts
    requires: tuple[str, ...]
    max_rollback_depth: FromOne


class _Immutability(Struct, frozen=True, forbid_unknown_fields=True):
    fixture_assets_append_only: bool
    manifest_lock_hash_required: bool
    allow_archive_replacement: bool


class _Retention(Struct, frozen=True, forbid_unknown_fields=True):
    minimum_release_lines: FromZero
    preserve_latest_fixture_versions: FromZero
    require_deletion_review: bool


class _Freeze(Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: Literal[1]
    freeze_mode: Annotated[str, Meta(min_length=1)]
    immutability: _Immutability
    retention: _Retention
    change_controls: tuple[str, ...]


def governance_of(files: Mapping[str, bytes]) -> Governance:
    """What the files say; where one is absent, the built-in defaults.

    Args:
        files: bytes of the policy files by path.

    Raises:
        Denied: E_POLICY_EMPTY, a file is there but empty.
        InvalidInput: a code of `documents.decode`.
    """
    rules = PromotionRules()
    if PROMOTION in files:
        written = convert(policy_document(files, PROMOTION), _Promotion, where=PROMOTION).rules
        rules = PromotionRules(
            in_manifest="dataset_id_must_exist_in_manifest" in written,
            in_pins="dataset_id_must_exist_in_pins" in written,
            append_only="promotion_is_append_only" in written,
        )
    depth = None
    if ROLLBACK in files:
        depth = convert(policy_document(files, ROLLBACK), _Rollback, where=ROLLBACK).max_rollback_depth
    if FREEZE not in files:
        return Governance(promotion=rules, rollback_depth=depth)
    retention = convert(policy_document(files, FREEZE), _Freeze, where=FREEZE).retention
    return Governance(
        promotion=rules,
        rollback_depth=depth,
        release_lines=retention.minimum_release_lines,
        line_versions=retention.preserve_latest_fixture_versions,
        reviewed_deletion=retention.require_deletion_review,
    )
