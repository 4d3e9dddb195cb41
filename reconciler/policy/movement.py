"""Rules about what moves and what leaves: `latest`, rollbacks, retention, the last release of a line.

They judge lines of releases, whoever put the releases there: an unmanaged one is as discoverable as ours.
What a line is, the store's shape says (`reconciler.policy.lines`).
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model import Address, Declaration, Finding, Place, Severity
from reconciler.policy.facts import Facts, StoreFacts
from reconciler.policy.lines import Line, PointerMove, named_release

_SHOWN = 3


def latest_monotonic(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """`latest` names the highest discoverable release of its line, whoever made that discoverable.

    A rollback that takes the higher releases away moves `latest` down with them; that is not below. Where
    the plan neither moves `latest` nor adds the release above it, it did not cause the gap, and is warned.
    """
    for line in store.lines.values():
        highest = line.newest_after
        for address, move in line.pointers.items():
            if highest is None or move.after is None or not move.after.follows:
                continue
            named = named_release(move.after, line)
            if named is None or line.after[named].rank >= line.after[highest].rank:
                continue
            caused = move.before != move.after or highest not in line.before
            yield Finding(
                rule="latest-monotonic",
                severity=Severity.DENY if caused else Severity.WARN,
                subject=str(address),
                message=f"it names {named.key}, and {highest.key} is discoverable above it",
                place=store.place(address) or store.place(highest),
                code="E_LATEST_LOWERED",
                fix=f"point it at {highest.key}, or roll that back in the same change",
            )


def latest_asserted(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """Where git states a `latest` that the store derives, the store will derive that one."""
    if not store.lines:
        return
    for wish in facts.desired.of_store(store.name):
        if not store.plan.shape.derived(wish.address):
            continue
        line = store.lines.get(store.plan.shape.line(wish.address, wish.slots) or "")
        if line is None:
            continue
        newest = line.newest_after
        stated = store.plan.shape.pointer(wish.address, wish.slots)
        derived = None if newest is None else line.after[newest].target
        if (stated.target if stated else None) != derived:
            yield _not_derived(wish, newest)


def _not_derived(wish: Declaration, newest: Address | None) -> Finding:
    follows = "no version is left for it" if newest is None else f"the versions make it {newest.key}"
    return Finding(
        rule="latest-asserted",
        severity=Severity.DENY,
        subject=str(wish.address),
        message=f"git states another latest, and {follows}",
        place=wish.place,
        code="E_LATEST_DERIVED",
        fix="state what the versions give, or leave it out; a version that nobody declared may be at work",
    )


def alias_target(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """No alias may name a dataset that the catalog does not list."""
    for line in store.lines.values():
        for address, move in line.pointers.items():
            if move.after is None or not move.after.follows or named_release(move.after, line) is not None:
                continue
            yield _dangling(store, line, address, move)


def _dangling(store: StoreFacts, line: Line, address: Address, move: PointerMove) -> Finding:
    target = move.after.target if move.after else address
    hidden = target in line.before
    return Finding(
        rule="alias-target",
        severity=Severity.DENY,
        subject=str(target if hidden else address),
        message=f"{address} points at it, so it cannot be rolled back"
        if hidden
        else f"it would name {target.key}, which nobody can discover",
        place=store.place(target if hidden else address),
        code="E_ALIAS_TARGET",
        fix="point latest at another dataset in the same change"
        if hidden
        else "promote the dataset in the same change, or name one that is discoverable",
    )


def rollback_depth(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A plan steps a line back by no more releases than the rollback policy allows (contract 5.2)."""
    allowed = facts.guards.governance.rollback_depth
    if allowed is None:
        return
    for name, line in store.lines.items():
        step = line.steps_back()
        if step is not None and len(step.passed) > allowed:
            to = step.end.key if step.end else "nothing"
            yield Finding(
                rule="rollback-depth",
                severity=Severity.DENY,
                subject=str(step.start),
                message=f"{name} would step back from {step.start.key} to {to}, "
                f"by {len(step.passed)} releases where at most {allowed} are allowed",
                place=_origin(store, step.passed),
                code="E_ROLLBACK_DEPTH",
                fix="step back by fewer releases; a longer way needs a waiver",
            )


def rollback_target(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What a rollback returns to is read again in full, and is what it was when it was published."""
    for line in store.lines.values():
        step = line.steps_back()
        if step is not None and step.end is not None and line.after[step.end].target in store.unsound:
            yield Finding(
                rule="rollback-target",
                severity=Severity.DENY,
                subject=str(step.end),
                message=f"readers would return to it from {step.start.key}, and its bytes do not verify",
                place=store.place(step.end) or _origin(store, step.passed),
                code="E_ROLLBACK_TARGET",
                fix="restore its bytes, or return to another release",
            )


def release_retention(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A removal leaves as many release lines discoverable as the freeze policy keeps (contract 5.3)."""
    kept = dict(store.editions)
    gone = [(address, release) for address, release in store.disappearing if release.edition]
    for _, release in gone:
        kept[release.edition] = kept.get(release.edition, 0) - 1
    added = {
        r.edition for line in store.lines.values() for a, r in line.after.items() if a not in line.before
    }
    left = {edition for edition, count in kept.items() if count > 0} | (added - {""})
    fewer = len(left) < len(store.editions)
    if gone and fewer and len(left) < facts.guards.governance.release_lines:
        lost = sorted(set(store.editions) - left, key=lambda edition: (len(edition), edition))
        yield Finding(
            rule="release-retention",
            severity=Severity.DENY,
            subject=store.name,
            message=f"release {', '.join(lost[:_SHOWN])} would leave it with {len(left)} of the "
            f"{facts.guards.governance.release_lines} release lines that must stay",
            place=_origin(store, tuple(address for address, _ in gone)),
            code="E_RETENTION",
            fix="keep one dataset of the release, or promote a newer release first",
        )


def last_release(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A line that has releases keeps one: whoever reads it by name must find something."""
    for name, line in store.lines.items():
        if line.before and not line.after:
            last = max(line.before, key=lambda address: (line.before[address].rank, address))
            yield Finding(
                rule="last-release",
                severity=Severity.DENY,
                subject=str(last),
                message=f"it is the last discoverable release of {name}",
                place=_origin(store, tuple(line.before)),
                code="E_LAST_RELEASE",
                fix="promote another release in the same change; leaving none needs an allow-empty exception",
            )


def _origin(store: StoreFacts, addresses: tuple[Address, ...]) -> Place | None:
    """The first place that says something of these addresses."""
    places = (place for address in addresses if (place := store.place(address)) is not None)
    return next(places, None)
