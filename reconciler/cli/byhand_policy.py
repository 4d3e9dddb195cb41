"""What policy says of a write by hand, put together from what the operation has before it.

An operation on a store of the repository is judged by the guards of the protected base, as a plan would
be, by the rules that need no more than what it touches (`reconciler.policy.by_hand`). One on a bare
directory (`--store-root`) has no guards but those of the ledger that stands there. Reads no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from reconciler.apply import denied
from reconciler.cli.workspace import Workspace, source_date_epoch
from reconciler.diff import Difference
from reconciler.governance import Guards, Pins
from reconciler.ledger import Inventory
from reconciler.model import Address, Depth, Desired, Slots, Step, StoreConfig
from reconciler.plan import StorePlan
from reconciler.policy import Facts, Purpose, StoreFacts, judge_by_hand
from reconciler.policy.lines import touched
from reconciler.shape import Shape


class Target(NamedTuple):
    """Where an operation would write: the store, its shape, and what its ledger protects."""

    config: StoreConfig
    shape: Shape
    ours: Inventory


def refuse_denied(
    workspace: Workspace | None, target: Target, steps: Sequence[Step], live: Mapping[Address, Slots]
) -> None:
    """Refuse what policy denies; a dry run is judged as well.

    Args:
        workspace: whose guards judge; None without a repository.
        target: where it would be written.
        steps: what would be written.
        live: what stands where they change something.

    Raises:
        Denied: what the policy says.
    """
    if not steps:
        return
    part = StorePlan(
        config=target.config,
        shape=target.shape,
        steps=tuple(steps),
        adopted=(),
        unchanged=0,
        newly_ours=0,
        depth=Depth.HEADS,
    )
    store = StoreFacts(
        plan=part,
        difference=Difference(observed=dict(live)),
        inventory=target.ours,
        touched=touched(part, live),
    )
    facts = _unguarded(store) if workspace is None else workspace.facts((store,), Purpose.APPLY)
    refusal = denied(judge_by_hand(facts))
    if refusal:
        raise refusal


def _unguarded(store: StoreFacts) -> Facts:
    """What is known of a write that no repository guards."""
    return Facts(
        desired=Desired(commit="", commit_time=0, author="", stores={}, declarations=()),
        guards=Guards(),
        stores=(store,),
        pins=Pins(),
        manifest_ids=frozenset(),
        now=source_date_epoch(),
    )
