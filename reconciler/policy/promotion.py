"""Rules about what becomes discoverable: a dataset that was listed, pinned, tried elsewhere, never withdrawn.

They judge the releases that readers find after a plan and did not find before it. Nothing here knows a
kind of store, but for the files under `ops/`, which name datasets by id (contract 5.1, 5.4, 5.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from reconciler.model import Address, Finding, Severity, Terms
from reconciler.policy.facts import Facts, StoreFacts, Upstream
from reconciler.shape import Release

_MANIFEST = "ops/datasets/manifest.json"
_PINS = "ops/inventory/pins.yaml"


def promoted_in_manifest(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """Nobody can find a dataset that this repository does not know how to make again (contract 5.1)."""
    if facts.guards.governance.promotion.in_manifest:
        yield from _not_among(
            store, facts.manifest_ids, "promoted-in-manifest", "E_PROMOTION_MANIFEST", _MANIFEST
        )


def promoted_in_pins(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """Nobody can find a dataset that garbage collection might take away (contract 5.1)."""
    if facts.guards.governance.promotion.in_pins:
        yield from _not_among(store, facts.pins.datasets, "promoted-in-pins", "E_PROMOTION_PINS", _PINS)


def _not_among(store: StoreFacts, ids: frozenset[str], rule: str, code: str, path: str) -> Iterator[Finding]:
    for address, _ in store.appearing:
        if address.kind == "dataset" and address.key not in ids:
            yield Finding(
                rule=rule,
                severity=Severity.DENY,
                subject=str(address),
                message=f"it is to be promoted, and {path} does not name it",
                place=store.place(address),
                code=code,
                fix=f"add {address.key} to {path} in the same change",
            )


def promotion_append_only(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A release that went and returns is the one that went: its bytes are never replaced behind a gap."""
    if not facts.guards.governance.promotion.append_only:
        return
    identity = store.plan.shape.permanent | store.plan.shape.retained
    for address, _ in store.appearing:
        recorded = store.inventory.recorded.get(address) or store.formerly.get(address)
        if not recorded:
            continue
        before, after = store.touched[address]
        for slot, old in recorded.items():
            # What the plan itself replaces is for the rules of what is immutable.
            stays = before.get(slot, after.get(slot)) == after.get(slot)
            if (address.kind, slot) in identity and stays and after.get(slot, old) != old:
                yield Finding(
                    rule="promotion-append-only",
                    severity=Severity.DENY,
                    subject=str(address),
                    message=f"the ledger recorded it as {old}, and it cannot return as {after[slot]}",
                    place=store.place(address),
                    code="E_APPEND_ONLY",
                    fix="promote the new bytes under a new release",
                )


def yanked_unpromotable(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What was withdrawn in one store becomes discoverable in none."""
    if not facts.desired.yanked:
        return
    yanked = {(address.kind, address.key): yank for address, yank in facts.desired.yanked.items()}
    for address, _ in store.appearing:
        yank = yanked.get((address.kind, address.key))
        if yank is not None:
            instead = f"promote {yank.replaced_by}, which replaces it" if yank.replaced_by else "leave it out"
            yield Finding(
                rule="yanked-unpromotable",
                severity=Severity.DENY,
                subject=str(address),
                message=f"it was yanked at {yank.place} ({yank.reason})",
                place=store.place(address),
                code="E_YANKED",
                fix=instead,
            )


def environment_path(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What is promoted stood in the store before this one, with the same bytes, for as long as was asked."""
    if store.upstream is None:
        return
    source = str(store.plan.config.settings.get("promotesFrom", ""))
    soak = facts.guards.soak.get(store.name, 0)
    for address, release in store.appearing:
        above = store.upstream.get(address)
        found = None if above is None else store.plan.shape.release(address, above.slots)
        problem = _not_found(release, found, source)
        if problem is None and above is not None and soak:
            problem = _too_early(above, soak, facts.now, source)
        if problem is not None:
            yield Finding(
                rule="environment-path",
                severity=Severity.WARN if problem.unknown else Severity.DENY,
                subject=str(address),
                message=problem.message,
                place=store.place(address),
                code=problem.code,
                fix=problem.fix,
            )


class _Untried(NamedTuple):
    """What is wrong with the way of a release; `unknown` where only an apply can tell."""

    code: str
    message: str
    fix: str
    unknown: bool = False


def _not_found(release: Release, found: Release | None, source: str) -> _Untried | None:
    fix = f"promote it in {source} first"
    if found is None:
        return _Untried("E_ENVIRONMENT_PATH", f"it is not discoverable in {source}, which comes first", fix)
    if found.digest != release.digest:
        message = f"{source} holds {found.digest or 'something that was not read'}, not {release.digest}"
        return _Untried("E_ENVIRONMENT_PATH", message, fix)
    return None


def _too_early(above: Upstream, soak: int, now: int, source: str) -> _Untried | None:
    if not above.asked:
        message = (
            f"it must stand in {source} for {soak} seconds, and a snapshot does not say since when it does"
        )
        return _Untried("E_SOAK", message, "plan where the stores can be read; apply asks", unknown=True)
    if above.since is None:
        message = f"the ledger of {source} does not say since when it is discoverable there"
        return _Untried("E_SOAK", message, f"declare it for {source} and apply that")
    ready = above.since + soak
    if now >= ready:
        return None
    moment = f"{datetime.fromtimestamp(ready, UTC):%Y-%m-%d %H:%M:%S} UTC"
    message = f"it must stand in {source} for {soak} seconds, which is so from {moment} on"
    return _Untried("E_SOAK", message, "wait, and plan again")


def federation_licence(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """Nothing becomes public without a licence, and only under one that the policy names."""
    allowed = facts.guards.federation_licenses
    for address in _public(store):
        licence = facts.terms.get(address, _NO_TERMS).license
        if licence and (not allowed or licence in allowed):
            continue
        yield Finding(
            rule="federation-licence",
            severity=Severity.DENY,
            subject=str(address),
            message=f"{licence} is not a licence that the policy allows"
            if licence
            else "it names no licence",
            place=store.place(address),
            code="E_LICENCE",
            fix=f"license: one of {', '.join(sorted(allowed))}" if allowed else "add 'license:'",
        )


def federation_metadata(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What becomes public says of itself what the policy asks for."""
    for address in _public(store):
        missing = facts.guards.federation_metadata - facts.terms.get(address, _NO_TERMS).metadata
        if missing:
            yield Finding(
                rule="federation-metadata",
                severity=Severity.DENY,
                subject=str(address),
                message=f"its metadata lacks {', '.join(sorted(missing))}",
                place=store.place(address),
                code="E_METADATA",
                fix="add it under 'metadata:'",
            )


_NO_TERMS = Terms()


def _public(store: StoreFacts) -> Iterator[Address]:
    """The entries that the plan adds to a federated account, or says something else of."""
    if store.plan.config.kind != "atproto":
        return
    for address, (before, after) in store.touched.items():
        if address.kind == "entry" and after and after != before:
            yield address
