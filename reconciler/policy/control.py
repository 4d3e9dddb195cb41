"""Rules about who may change what, when and after what: freezes, owners, protected things, commits.

They judge a plan by what people decided about it, not by what is in it. Nothing here reads a clock: the
time is one of the facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from reconciler.governance import Ancestry, Freeze, Guards, Lineage, Ownership
from reconciler.model import Finding, Place, Severity
from reconciler.policy.actions import DELETE, RETARGET
from reconciler.policy.calendar import closed_until, reopens, spoken
from reconciler.policy.facts import Facts, Purpose, StoreFacts


def freeze_window(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """Nothing is applied to a store while one of its windows is closed, whatever other windows say."""
    if not store.plan.steps and not store.plan.adopted:
        return
    yield from frozen(facts.guards, store.name, facts.now)


def frozen(guards: Guards, store: str, now: int) -> Iterator[Finding]:
    """The closed windows of a store."""
    freezes = [freeze for freeze in guards.freezes if not freeze.stores or store in freeze.stores]
    for freeze in freezes:
        if closed_until(freeze, now) is not None:
            yield _frozen(freeze, store, reopens(freezes, now) or now)


def _frozen(freeze: Freeze, store: str, opens: int) -> Finding:
    return Finding(
        rule="freeze-window",
        severity=Severity.DENY,
        subject=store,
        message=f"the window '{freeze.name}' is closed ({freeze.reason}); "
        f"it reopens at {spoken(opens, freeze.timezone)}",
        place=freeze.place,
        code="E_FREEZE",
        fix="apply after that; what cannot wait needs a waiver with a reason and an expiry",
    )


def commit_order(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What is applied descends from what was applied last, so that nothing old is applied once more."""
    if store.lineage is not None:
        yield from out_of_order(store.name, store.lineage, facts.purpose)


def out_of_order(store: str, lineage: Lineage, purpose: Purpose) -> Iterator[Finding]:
    """A commit that does not descend from the one that was applied last.

    A change under review may still be brought up to date, so it is only warned of that.
    """
    if lineage.ancestry is Ancestry.FORWARD:
        return
    planned, last = lineage.planned[:_SHORT], lineage.last[:_SHORT]
    code, message, fix = _ORDERS[lineage.ancestry]
    denies = purpose is Purpose.APPLY or lineage.ancestry is Ancestry.OLDER
    yield Finding(
        rule="commit-order",
        severity=Severity.DENY if denies else Severity.WARN,
        subject=store,
        message=message.format(planned=planned, last=last) + ("" if denies else "; apply would refuse it"),
        code=code,
        fix=fix,
    )


_SHORT: Final = 12
_WAIVER: Final = "where history was rewritten, a waiver of commit-order for the store says so"
_ORDERS: Final[Mapping[Ancestry, tuple[str, str, str]]] = MappingProxyType(
    {
        Ancestry.OLDER: (
            "E_COMMIT_ORDER",
            "commit {planned} is older than {last}, which was applied last",
            "plan a newer commit; to go back, make one with 'reconciler rollback' or 'git revert'",
        ),
        Ancestry.ASIDE: (
            "E_COMMIT_ORDER",
            "commit {planned} does not contain {last}, which was applied last",
            f"merge the branch that is applied; {_WAIVER}",
        ),
        Ancestry.UNKNOWN: (
            "E_COMMIT_UNKNOWN",
            "whether commit {planned} contains {last}, which was applied last, cannot be told in this clone",
            f"fetch the whole history ('git fetch --unshallow', in CI fetch-depth: 0); {_WAIVER}",
        ),
    }
)


def required_owners(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A document below a path with owners says which of them answers for the change."""
    if not facts.guards.owners:
        return
    for path in _documents(facts, store):
        ownership = _ownership(facts.guards.owners, path)
        meta = facts.desired.metas.get(path)
        owner = meta.owner if meta else ""
        if ownership is None or owner in ownership.owners:
            continue
        named = " or ".join(sorted(ownership.owners))
        yield Finding(
            rule="required-owners",
            severity=Severity.DENY,
            subject=path,
            message=f"its owner is {owner or 'not named'}, and {ownership.pattern} belongs to {named}",
            place=Place(path, 1, 1),
            code="E_OWNERS",
            fix=f"name the owner in 'meta:', one of {named}",
        )


def _documents(facts: Facts, store: StoreFacts) -> list[str]:
    """The documents that a plan comes from, by path."""
    paths = {wish.place.path for wish in store.difference.declarations.values()}
    adopted = {address for address, _ in store.plan.adopted}
    if adopted:
        paths |= {w.place.path for w in facts.desired.of_store(store.name) if w.address in adopted}
    return sorted(paths)


def _ownership(owners: tuple[Ownership, ...], path: str) -> Ownership | None:
    """Whose a path is: the last pattern that matches decides, as in a CODEOWNERS file."""
    return next((one for one in reversed(owners) if _pattern(one.pattern).fullmatch(path)), None)


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    """A path, or a directory that ends in `/`; `*` stands for any characters."""
    whole = ".*".join(re.escape(part) for part in text.split("*"))
    return re.compile(f"{whole}.*" if text.endswith("/") else whole)


def protected(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What the policy protects is neither taken away nor pointed elsewhere."""
    if not facts.guards.protected:
        return
    for address, action in store.actions.items():
        if action not in {DELETE, RETARGET}:
            continue
        pattern = next((one for one in facts.guards.protected if covers(one, str(address))), None)
        if pattern is not None:
            yield Finding(
                rule="protected",
                severity=Severity.DENY,
                subject=str(address),
                message=f"the policy protects {pattern}; the plan would take it away or point it elsewhere",
                place=store.place(address),
                code="E_PROTECTED",
                fix="leave it, or take it off the policy's 'protected:' first, in a change of its own",
            )


def covers(pattern: str, subject: str) -> bool:
    """Whether an address is what a pattern names, lies in it, or begins with what stands before its `*`."""
    if pattern.endswith("*"):
        return subject.startswith(pattern[:-1])
    return subject == pattern or subject.startswith(f"{pattern}/")
