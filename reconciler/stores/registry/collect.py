"""What a registry holds, and removing the manifests that no dataset links.

Decides what in the registry keeps a manifest: its links (a tag implies one). Its age counts from its last
registration, by the database's clock, so that whoever registers it again has time to link it.

Removing is what the registry's writer does: under the lock it looks again for links and age, buries the
manifest (a tombstone, then its row), records that and commits; only then the object goes, under the lock
that a registration needs to dig it up. An object whose deletion was interrupted goes with the next
collection, because its tombstone stands.
"""

from __future__ import annotations

from reconciler.gc import GRACE, Collected, Content, Holdings, Judge
from reconciler.ledger import Run
from reconciler.model import Address, Outcome, StepResult
from reconciler.reference import ManifestHash, digest_of
from reconciler.stores.registry.order import MANIFEST
from reconciler.stores.registry.registry import Registry


def holdings(registry: Registry) -> Holdings:
    """Every manifest with the number of its links, and the objects whose deletion is still to be done."""
    now = registry.now()  # before anything is looked at: what changes meanwhile is young
    store = registry.settings.name
    contents = tuple(
        Content(
            address=Address(store, MANIFEST, digest_of(one.hash)),
            digest=digest_of(one.hash),
            hashes=frozenset({digest_of(one.hash)}),
            size=one.size,
            changed_at=one.registered_at,
            uses=(f"linked by {one.datasets} dataset{'' if one.datasets == 1 else 's'}",)
            if one.datasets
            else (),
        )
        for one in registry.list_manifests()
    )
    expired = tuple(digest_of(tombstone.hash) for tombstone in registry.list_tombstones())
    return Holdings(now, contents, expired)


def collect(registry: Registry, judge: Judge, run: Run) -> Collected:
    """Remove what is judged to be garbage and still is under the lock; then delete what is buried.

    Raises:
        Conflict, Corrupt, Unavailable: no row was written.
        OutcomeUnknown: the answer to the commit was lost, and looking failed too.
    """
    doomed = [ManifestHash(one.address.key.removeprefix("sha256:")) for one in judge(holdings(registry))]
    results: tuple[StepResult, ...] = ()
    if doomed:
        written = registry.collect_manifests(doomed, grace=GRACE, run=run)
        results = tuple(
            StepResult(
                step=f"collect {change.address.key}", outcome=Outcome.APPLIED, receipt=str(written.seq)
            )
            for change in written.changes
        )
    buried = (tombstone.hash for tombstone in registry.list_tombstones())
    return Collected(results, tuple(digest_of(one) for one in buried if registry.delete_buried(one)))
