"""The one list of the built-in rules, under stable kebab-case ids.

Each takes the `Facts` of a whole plan and yields findings; none of them changes anything. A rule says in
its docstring what it protects; one that judges a store at a time is asked of each. They stand in modules
by theme: integrity, promotion, movement, control, budgets, order.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reconciler.policy import account, budgets, control, integrity, movement, order, promotion, protection
from reconciler.policy.facts import Rule, each_store

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "removal-needs-tombstone": each_store(integrity.removal_needs_tombstone),
        "empty-desired": each_store(integrity.empty_desired),
        "artifact-immutable": each_store(integrity.artifact_immutable),
        "dataset-published": each_store(integrity.dataset_published),
        "tag-immutable": each_store(integrity.tag_immutable),
        "manifest-available": each_store(integrity.manifest_available),
        "yanked-exists": each_store(integrity.yanked_exists),
        "source-reachable": each_store(integrity.source_reachable),
        "promoted-in-manifest": each_store(promotion.promoted_in_manifest),
        "promoted-in-pins": each_store(promotion.promoted_in_pins),
        "promotion-append-only": each_store(promotion.promotion_append_only),
        "yanked-unpromotable": each_store(promotion.yanked_unpromotable),
        "environment-path": each_store(promotion.environment_path),
        "federation-licence": each_store(promotion.federation_licence),
        "federation-metadata": each_store(promotion.federation_metadata),
        "alias-target": each_store(movement.alias_target),
        "latest-monotonic": each_store(movement.latest_monotonic),
        "latest-asserted": each_store(movement.latest_asserted),
        "rollback-depth": each_store(movement.rollback_depth),
        "rollback-target": each_store(movement.rollback_target),
        "release-retention": each_store(movement.release_retention),
        "last-release": each_store(movement.last_release),
        "freeze-window": each_store(control.freeze_window),
        "commit-order": each_store(control.commit_order),
        "required-owners": each_store(control.required_owners),
        "protected": each_store(control.protected),
        "protected-live": each_store(protection.protected_live),
        "delete-budget": budgets.delete_budget,
        "update-budget": budgets.update_budget,
        "retarget-budget": budgets.retarget_budget,
        "rate-budget": each_store(account.rate_budget),
        "order": each_store(order.safe_order),
    }
)
