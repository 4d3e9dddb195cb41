"""What a change under review may say about policy: it proposes, and the protected base decides.

A change that touches what guards (policy, exceptions, stores, governance files) may not touch the desired
state as well: whoever reviews one of them would wave the other through. The plan is judged by the base
alone; what the proposed guards would say of the same plan is shown as warnings, so that a reviewer sees
what a new policy would do before it decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from reconciler.governance import Proposal
from reconciler.model import Desired, Finding, Place, Severity

_SHOWN: Final = 20


def proposal_findings(proposal: Proposal | None, desired: Desired) -> tuple[Finding, ...]:
    """What is wrong with a proposal by itself, whatever the plan is."""
    return () if proposal is None else (*_mixed(proposal), *_new_stores(proposal, desired))


def _mixed(proposal: Proposal) -> Iterator[Finding]:
    if not proposal.policy or not proposal.wishes:
        return
    yield Finding(
        rule="policy-mixed",
        severity=Severity.DENY,
        subject=proposal.policy[0],
        message=f"the change touches policy ({_listed(proposal.policy)}) and desired state "
        f"({_listed(proposal.wishes)})",
        place=Place(proposal.policy[0], 1, 1),
        code="E_POLICY_MIXED",
        fix="make two changes of it, and merge the policy first",
    )


def _new_stores(proposal: Proposal, desired: Desired) -> Iterator[Finding]:
    for name in proposal.stores:
        wishes = desired.of_store(name)
        config = proposal.guards.stores[name]
        yield Finding(
            rule="store-proposed",
            severity=Severity.DENY if wishes else Severity.WARN,
            subject=name,
            message="only the change under review declares the store, so it is neither opened nor planned",
            place=config.place,
            code="E_STORE_PROPOSED",
            fix="merge its declaration first, and declare what it holds in a change after that",
        )


def _listed(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def preview(now: Iterable[Finding], proposed: Iterable[Finding]) -> Iterator[Finding]:
    """What the proposed guards would say otherwise, as warnings that decide nothing."""
    known, coming = set(now), set(proposed)
    lines = [("would also say", one) for one in proposed if one not in known]
    lines += [("would not say any more", one) for one in now if one not in coming]
    for word, one in lines[:_SHOWN]:
        yield Finding(
            rule="policy-proposed",
            severity=Severity.WARN,
            subject=one.subject,
            message=f"the proposed policy {word}: {one.severity.value} {one.rule}: {one.message}",
            place=one.place,
            code="E_POLICY_PROPOSED",
            fix="nothing: the policy of the protected base decides",
        )
