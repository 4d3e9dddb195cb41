"""What a registry holds, and removing the manifests that no dataset links and the bytes that no row names.

Decides what in the registry keeps a manifest: its links (a tag implies one). Its age counts from its last
registration, by the database's clock, so that whoever registers it again has time to link it.

An object without a row is what a registration left that was killed between the two; a manifest that nobody
registers is nothing that anybody can name. Its age is what the object store says of it, by its own clock.

Removing is what the registry's writer does: under the lock it looks again for links, rows and age, buries
the manifest or the object (a tombstone; then the row), records that and commits; only then the object goes,
under the lock that a registration needs to dig it up. An object whose deletion was interrupted goes with
the next collection, because its tombstone stands. A tombstone stays for the grace period after that, for
registrations that were under way, and temporary files of killed puts as long.
"""

from __future__ import annotations

from collections.abc import Collection

from reconciler.gc import GRACE, Collected, Content, Holdings, Judge
from reconciler.ledger import Run
from reconciler.model import Address, Outcome, StepResult
from reconciler.reference import ManifestHash, digest_of
from reconciler.stores.registry.order import MANIFEST, OBJECT
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import Written


def holdings(registry: Registry) -> Holdings:
    """Every manifest with the number of its links, every object without a row, and what may go for good."""
    now = registry.now()  # before anything is looked at: what changes meanwhile is young
    store = registry.settings.name
    entries = registry.list_manifests()
    manifests = tuple(
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
        for one in entries
    )
    buried = registry.list_tombstones()
    named = {one.hash for one in entries} | {one.hash for one in buried}
    expired = (
        *(digest_of(one.hash) for one in buried),
        *(_tombstone(one) for one in registry.list_forgotten(grace=GRACE)),
        *(_temporary(name) for name in registry.settings.objects.litter(GRACE)),
    )
    return Holdings(now, (*manifests, *_strays(registry, named, now)), expired)


def _strays(registry: Registry, named: Collection[ManifestHash], now: int) -> list[Content]:
    """The objects that neither a row nor a tombstone names; their ages are those by the store's own clock."""
    objects, store = registry.settings.objects, registry.settings.name
    found = sorted(one for one in objects.list() if one.hash not in named)
    if not found:
        return []  # the clock of a bucket is only asked where something hangs on it
    clock = objects.now()
    return [
        Content(
            address=Address(store, OBJECT, digest_of(one.hash)),
            digest=digest_of(one.hash),
            hashes=frozenset({digest_of(one.hash)}),
            size=one.size,
            changed_at=now - (clock - one.stored_at),
        )
        for one in found
    ]


def _tombstone(manifest: ManifestHash) -> str:
    return f"tombstone {digest_of(manifest)}"


def _temporary(name: str) -> str:
    return f"temporary file {name}"


def collect(registry: Registry, judge: Judge, run: Run) -> Collected:
    """Remove what is judged to be garbage and still is under the lock; then delete what is buried.

    Raises:
        Conflict, Corrupt, Unavailable: no row was written.
        OutcomeUnknown: the answer to the commit was lost, and looking failed too.
    """
    doomed = judge(holdings(registry))
    manifests, strays = (
        [ManifestHash(one.address.key.removeprefix("sha256:")) for one in doomed if one.address.kind == kind]
        for kind in (MANIFEST, OBJECT)
    )
    results: list[StepResult] = []
    if manifests:
        results += _results(registry.collect_manifests(manifests, grace=GRACE, run=run), "collect")
    if strays:
        before = registry.settings.objects.now() - GRACE
        results += _results(registry.bury_objects(strays, before=before, run=run), "collect object")
    buried = (tombstone.hash for tombstone in registry.list_tombstones())
    gone: list[str] = [digest_of(one) for one in buried if registry.delete_buried(one)]
    if registry.list_forgotten(grace=GRACE):
        gone += [_tombstone(one) for one in registry.forget_tombstones(grace=GRACE)]
    for name in registry.settings.objects.litter(GRACE):
        registry.settings.objects.remove_litter(name)
        gone.append(_temporary(name))
    return Collected(tuple(results), tuple(gone))


def _results(written: Written, verb: str) -> list[StepResult]:
    return [
        StepResult(step=f"{verb} {change.address.key}", outcome=Outcome.APPLIED, receipt=str(written.seq))
        for change in written.changes
    ]
