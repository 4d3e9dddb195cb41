"""Protection that lives with the record: what the ledger protects is not removed, whatever git says now.

A line that protects something protects nothing any more once it is deleted together with the thing. So
`protected: true` is recorded when it is applied, and lifting it is a change of its own that is applied
first: `protected: false`.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model import Finding, Severity
from reconciler.policy.actions import DELETE, RETARGET
from reconciler.policy.facts import Facts, StoreFacts


def protected_live(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """What the ledger protects is neither taken away nor, where an exception lets it move, moved."""
    protected = store.inventory.protected
    for address, action in store.actions.items() if protected else ():
        if address in protected and action in {DELETE, RETARGET}:
            yield Finding(
                rule="protected-live",
                severity=Severity.DENY,
                subject=str(address),
                message="the ledger says that it is protected, so it is not removed",
                place=store.place(address),
                code="E_PROTECTED",
                fix="declare it with 'protected: false', apply that, and remove it in a change after that",
            )
