"""Rules about what is there: nothing is lost, replaced or named without its bytes.

They are the ones that a store's own gates hold as well; here a reviewer sees them before anybody writes.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model import NOTHING, Finding, Severity
from reconciler.policy.facts import Facts, StoreFacts


def removal_needs_tombstone(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A thing of ours that disappears from git without a word is a mistake until somebody says why."""
    for address in store.difference.removals:
        yield Finding(
            rule="removal-needs-tombstone",
            severity=Severity.DENY,
            subject=str(address),
            message="it is ours and live, but no longer declared and nothing says that it was removed",
            code="E_TOMBSTONE",
            fix="add it to 'removed:' with a reason, or declare it again",
        )


def empty_desired(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """An emptied list must never empty a live catalog."""
    for (name, kind), place in sorted(facts.desired.scopes.items()):
        if name != store.name:
            continue
        wanted = any(
            d.slots and d.address.kind == kind and d.address.store == name for d in facts.desired.declarations
        )
        ours = any(a.kind == kind and store.inventory.owns(a) for a in store.inventory.recorded)
        removed = any(c.after is None and c.address.kind == kind for c in store.plan.changes)
        if not wanted and (ours or removed):
            yield Finding(
                rule="empty-desired",
                severity=Severity.DENY,
                subject=name,
                message="no dataset is declared any more, which would empty the catalog",
                place=place,
                code="E_EMPTY_DESIRED",
                fix="restore the list; emptying a catalog needs an allow-empty exception",
            )


def artifact_immutable(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A published dataset's manifest digest is never replaced."""
    for change in store.changes("dataset", "artifact"):
        if change.before is not None:
            yield Finding(
                rule="artifact-immutable",
                severity=Severity.DENY,
                subject=str(change.address),
                message=f"it is published as {change.before} and cannot become {change.after}",
                place=store.place(change.address),
                code="E_IMMUTABLE",
                fix="publish the new bytes under a new release",
            )


def tag_immutable(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A version tag never moves to another manifest; `dev` may, and `latest` follows the versions."""
    for change in store.changes("tag", "manifest"):
        moves = change.before is not None and change.after is not None
        if moves and not change.address.key.endswith(("@dev", "@latest")):
            yield Finding(
                rule="tag-immutable",
                severity=Severity.DENY,
                subject=str(change.address),
                message=f"the version names {change.before} and cannot move to {change.after}",
                place=store.place(change.address),
                code="E_TAG_IMMUTABLE",
                fix="tag a new version; yank this one if nobody may take it any more",
            )


def manifest_available(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What is tagged or linked must be registered, or must come from a file of the commit."""
    for change in store.changes("manifest", "content"):
        if change.before is None and change.address not in store.difference.sources:
            yield Finding(
                rule="manifest-available",
                severity=Severity.DENY,
                subject=str(change.address),
                message="the registry does not hold this manifest and no file of the commit does",
                place=store.place(change.address),
                code="E_MANIFEST_MISSING",
                fix="name its file, or register it first with 'reconciler registry manifest register'",
            )


def yanked_exists(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """Only a version that the registry holds, or gets now, can be yanked."""
    for change in store.changes("tag", "yanked"):
        wish = store.difference.declarations.get(change.address)
        live = store.difference.observed.get(change.address, NOTHING)
        if change.after is not None and "manifest" not in {*live, *(wish.slots if wish else ())}:
            yield Finding(
                rule="yanked-exists",
                severity=Severity.DENY,
                subject=str(change.address),
                message="the version is to be yanked, and the registry does not hold it",
                place=store.place(change.address),
                code="E_TAG_MISSING",
                fix="name its manifest, or drop the line",
            )


def dataset_published(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What becomes discoverable must be in the store, or must come from a source."""
    for change in store.changes("dataset", "artifact"):
        if change.before is None and change.address not in store.difference.sources:
            yield Finding(
                rule="dataset-published",
                severity=Severity.DENY,
                subject=str(change.address),
                message="the dataset was never published to this store and no source is given",
                place=store.place(change.address),
                code="E_NOT_PUBLISHED",
                fix="add 'source:', or publish it first with 'reconciler dataset publish'",
            )


def source_reachable(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A source that is needed must be readable where apply runs."""
    for address in sorted(store.missing_sources):
        yield Finding(
            rule="source-reachable",
            severity=Severity.WARN,
            subject=str(address),
            message=f"its source {store.difference.sources[address]} cannot be read here; apply will stop",
            place=store.place(address),
            code="E_SOURCE_MISSING",
            fix="build it, or make the source reachable where apply runs",
        )
