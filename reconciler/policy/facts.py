"""What a rule may know: the plan, the wish, the observation, the guards in force and the time.

Everything is a value that the edges put together before judging. A rule takes `Facts` and yields
findings; it never asks anybody for more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.diff import Difference
from reconciler.governance import Guards, Pins
from reconciler.ledger import Inventory
from reconciler.model import Address, Change, Desired, Finding, Place, Slots
from reconciler.plan import StorePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What the store that `promotesFrom` names holds at an address: its slots, and since when they stand.

    `since` is when the ledger there recorded the digest, in Unix seconds of that store's clock; None where
    its ledger does not say.
    """

    slots: Slots
    since: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """Everything a rule may know of one store's part of a plan.

    Attributes:
        plan: the ordered steps.
        difference: the comparison that they come from.
        inventory: what is ours.
        missing_sources: addresses whose source is needed but could not be reached.
        survey: what is live in every line of releases or versions that the plan touches, by address,
            whoever owns it (see `lines_touched`); empty where the plan touches none.
        upstream: what the store that `promotesFrom` names holds of what is promoted here; None where this
            store names none.
        live_counts: how many things of each kind are live, for shares.
        unsound: addresses of rollback targets whose bytes did not verify when they were read again.
    """

    plan: StorePlan
    difference: Difference
    inventory: Inventory
    missing_sources: frozenset[Address] = frozenset()
    survey: Mapping[Address, Slots] = field(default_factory=lambda: MappingProxyType({}))
    upstream: Mapping[Address, Upstream] | None = None
    live_counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    unsound: frozenset[Address] = frozenset()

    @property
    def name(self) -> str:
        """The store's name."""
        return self.plan.config.name

    def place(self, address: Address) -> Place | None:
        """Where an address that changes was declared."""
        wish = self.difference.declarations.get(address)
        return wish.place if wish else None

    def changes(self, kind: str, slot: str) -> Iterator[Change]:
        """The plan's changes of one slot."""
        return (c for c in self.plan.changes if c.address.kind == kind and c.slot == slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A whole plan as rules see it; `now` is Unix seconds, taken once for the run."""

    desired: Desired
    guards: Guards
    stores: tuple[StoreFacts, ...]
    pins: Pins
    manifest_ids: frozenset[str]
    now: int


Rule = Callable[[Facts], Iterator[Finding]]

StoreRule = Callable[[Facts, StoreFacts], Iterator[Finding]]


def each_store(judge: StoreRule) -> Rule:
    """A rule that asks `judge` of every store of the plan."""

    def rule(facts: Facts) -> Iterator[Finding]:
        return (finding for store in facts.stores for finding in judge(facts, store))

    rule.__doc__ = judge.__doc__
    return rule
