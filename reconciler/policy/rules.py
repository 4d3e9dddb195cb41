"""The built-in rules, one function each, under stable kebab-case ids.

Each takes the `Facts` of one store and yields findings; none of them changes anything. A rule says in
its docstring what it protects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.diff import Difference
from reconciler.ledger import Inventory
from reconciler.model import NOTHING, Address, Change, Desired, Finding, Place, Severity, merged
from reconciler.plan import StorePlan
from reconciler.policy.account import RATE_BUDGET, rate_budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a rule may know of one store's part of a plan.

    `missing_sources` are the addresses whose source is needed but could not be reached.
    """

    desired: Desired
    plan: StorePlan
    difference: Difference
    inventory: Inventory
    missing_sources: frozenset[Address] = field(default_factory=frozenset)

    def place(self, address: Address) -> Place | None:
        """Where an address that changes was declared."""
        wish = self.difference.declarations.get(address)
        return wish.place if wish else None

    def changes(self, kind: str, slot: str) -> Iterator[Change]:
        """The plan's changes of one slot."""
        return (c for c in self.plan.changes if c.address.kind == kind and c.slot == slot)


Rule = Callable[[Facts], Iterator[Finding]]


def removal_needs_tombstone(facts: Facts) -> Iterator[Finding]:
    """A thing of ours that disappears from git without a word is a mistake until somebody says why."""
    for address in facts.difference.removals:
        yield Finding(
            rule="removal-needs-tombstone",
            severity=Severity.DENY,
            subject=str(address),
            message="it is ours and live, but no longer declared and nothing says that it was removed",
            code="E_TOMBSTONE",
            fix="add it to 'removed:' with a reason, or declare it again",
        )


def empty_desired(facts: Facts) -> Iterator[Finding]:
    """An emptied list must never empty a live catalog."""
    store = facts.plan.config.name
    for (name, kind), place in sorted(facts.desired.scopes.items()):
        if name != store:
            continue
        wanted = any(
            d.slots and d.address.kind == kind and d.address.store == store
            for d in facts.desired.declarations
        )
        ours = any(a.kind == kind and facts.inventory.owns(a) for a in facts.inventory.recorded)
        removed = any(c.after is None and c.address.kind == kind for c in facts.plan.changes)
        if not wanted and (ours or removed):
            yield Finding(
                rule="empty-desired",
                severity=Severity.DENY,
                subject=store,
                message="no dataset is declared any more, which would empty the catalog",
                place=place,
                code="E_EMPTY_DESIRED",
                fix="restore the list; emptying a catalog needs an allow-empty exception",
            )


def artifact_immutable(facts: Facts) -> Iterator[Finding]:
    """A published dataset's manifest digest is never replaced."""
    for change in facts.changes("dataset", "artifact"):
        if change.before is not None:
            yield Finding(
                rule="artifact-immutable",
                severity=Severity.DENY,
                subject=str(change.address),
                message=f"it is published as {change.before} and cannot become {change.after}",
                place=facts.place(change.address),
                code="E_IMMUTABLE",
                fix="publish the new bytes under a new release",
            )


def tag_immutable(facts: Facts) -> Iterator[Finding]:
    """A version tag never moves to another manifest; `dev` may, and `latest` follows the versions."""
    for change in facts.changes("tag", "manifest"):
        moves = change.before is not None and change.after is not None
        if moves and not change.address.key.endswith(("@dev", "@latest")):
            yield Finding(
                rule="tag-immutable",
                severity=Severity.DENY,
                subject=str(change.address),
                message=f"the version names {change.before} and cannot move to {change.after}",
                place=facts.place(change.address),
                code="E_TAG_IMMUTABLE",
                fix="tag a new version; yank this one if nobody may take it any more",
            )


def manifest_available(facts: Facts) -> Iterator[Finding]:
    """What is tagged or linked must be registered, or must come from a file of the commit."""
    for change in facts.changes("manifest", "content"):
        if change.before is None and change.address not in facts.difference.sources:
            yield Finding(
                rule="manifest-available",
                severity=Severity.DENY,
                subject=str(change.address),
                message="the registry does not hold this manifest and no file of the commit does",
                place=facts.place(change.address),
                code="E_MANIFEST_MISSING",
                fix="name its file, or register it first with 'reconciler registry manifest register'",
            )


def yanked_exists(facts: Facts) -> Iterator[Finding]:
    """Only a version that the registry holds, or gets now, can be yanked."""
    for change in facts.changes("tag", "yanked"):
        wish = facts.difference.declarations.get(change.address)
        live = facts.difference.observed.get(change.address, NOTHING)
        if change.after is not None and "manifest" not in {*live, *(wish.slots if wish else ())}:
            yield Finding(
                rule="yanked-exists",
                severity=Severity.DENY,
                subject=str(change.address),
                message="the version is to be yanked, and the registry does not hold it",
                place=facts.place(change.address),
                code="E_TAG_MISSING",
                fix="name its manifest, or drop the line",
            )


def dataset_published(facts: Facts) -> Iterator[Finding]:
    """What becomes discoverable must be in the store, or must come from a source."""
    for change in facts.changes("dataset", "artifact"):
        if change.before is None and change.address not in facts.difference.sources:
            yield Finding(
                rule="dataset-published",
                severity=Severity.DENY,
                subject=str(change.address),
                message="the dataset was never published to this store and no source is given",
                place=facts.place(change.address),
                code="E_NOT_PUBLISHED",
                fix="add 'source:', or publish it first with 'reconciler dataset publish'",
            )


def source_reachable(facts: Facts) -> Iterator[Finding]:
    """A source that is needed must be readable where apply runs."""
    for address in sorted(facts.missing_sources):
        yield Finding(
            rule="source-reachable",
            severity=Severity.WARN,
            subject=str(address),
            message=f"its source {facts.difference.sources[address]} cannot be read here; apply will stop",
            place=facts.place(address),
            code="E_SOURCE_MISSING",
            fix="build it, or make the source reachable where apply runs",
        )


def alias_target(facts: Facts) -> Iterator[Finding]:
    """No alias may name a dataset that the catalog does not list."""
    hidden = {c.address.key: c.address for c in facts.changes("dataset", "entry") if c.after is None}
    if not hidden:
        return
    changes: dict[Address, list[Change]] = {}
    for change in facts.plan.changes:
        if change.address.kind == "alias":
            changes.setdefault(change.address, []).append(change)
    for address, slots in facts.difference.observed.items():
        dataset = merged(slots, changes.get(address, ())).get("dataset")
        if address.kind == "alias" and isinstance(dataset, str) and dataset in hidden:
            yield Finding(
                rule="alias-target",
                severity=Severity.DENY,
                subject=str(hidden[dataset]),
                message=f"{address} points at it, so it cannot be rolled back",
                place=facts.place(hidden[dataset]),
                code="E_ALIAS_TARGET",
                fix="point latest at another dataset in the same change",
            )


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "removal-needs-tombstone": removal_needs_tombstone,
        "empty-desired": empty_desired,
        "artifact-immutable": artifact_immutable,
        "dataset-published": dataset_published,
        "tag-immutable": tag_immutable,
        "manifest-available": manifest_available,
        "yanked-exists": yanked_exists,
        "source-reachable": source_reachable,
        "alias-target": alias_target,
        RATE_BUDGET: lambda facts: rate_budget(facts.plan),
    }
)
