"""What a rule may know: the plan, the wish, the observation, the guards in force and the time.

Everything is a value that the edges put together before judging. A rule takes `Facts` and yields
findings; it never asks anybody for more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from types import MappingProxyType

from reconciler.diff import Difference
from reconciler.governance import Guards, Lineage, Pins
from reconciler.ledger import Inventory
from reconciler.model import Address, Change, Desired, Finding, Place, Slots, Terms
from reconciler.plan import StorePlan
from reconciler.policy.actions import action_of
from reconciler.policy.lines import Line, Touched, lines_of
from reconciler.shape import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What the store that `promotesFrom` names holds at an address: its slots, and since when they stand.

    `since` is when the ledger there recorded the digest, in Unix seconds of that store's clock; None where
    its ledger does not say. `asked` is false where a snapshot stands in for the store: it holds no ledger.
    """

    slots: Slots
    since: int | None
    asked: bool = True


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """Everything a rule may know of one store's part of a plan.

    Attributes:
        plan: the ordered steps.
        difference: the comparison that they come from.
        inventory: what is ours.
        touched: every address that the plan changes, before and after (see `lines.touched`).
        missing_sources: addresses whose source is needed but could not be reached.
        survey: what is live in every line of releases or versions that the plan touches, and what the names
            that it changes need, by address, whoever owns it; empty where the plan changes nothing.
        upstream: what the store that `promotesFrom` names holds of what is promoted here; None where this
            store names none.
        live_counts: how many things of each kind are live, for shares.
        editions: how many releases of each edition are discoverable, in all lines.
        formerly: what the ledger says of releases that are to return: the slots that they had before they
            went.
        unsound: addresses of rollback targets whose bytes did not verify when they were read again.
        lineage: how the planned commit stands to the one that was applied last; None where that is not asked.
    """

    plan: StorePlan
    difference: Difference
    inventory: Inventory
    touched: Mapping[Address, Touched]
    missing_sources: frozenset[Address] = frozenset()
    survey: Mapping[Address, Slots] = field(default_factory=lambda: MappingProxyType({}))
    upstream: Mapping[Address, Upstream] | None = None
    live_counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    editions: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    formerly: Mapping[Address, Slots] = field(default_factory=lambda: MappingProxyType({}))
    unsound: frozenset[Address] = frozenset()
    lineage: Lineage | None = None

    @cached_property
    def actions(self) -> Mapping[Address, str]:
        """What happens to every address that is more than created: delete, update or retarget."""
        shape = self.plan.shape
        acts = ((address, action_of(shape, address, state)) for address, state in self.touched.items())
        return {address: action for address, action in acts if action is not None}

    @cached_property
    def lines(self) -> Mapping[str, Line]:
        """Every line that the plan touches, before and after, by its name."""
        known = {**self.survey, **self.difference.observed}
        return lines_of(self.plan, self.touched, known.items())

    @cached_property
    def appearing(self) -> tuple[tuple[Address, Release], ...]:
        """The releases that readers find after the plan and did not find, or found otherwise, before."""
        return tuple(
            (address, release)
            for line in self.lines.values()
            for address, release in line.after.items()
            if address not in line.before or line.before[address].target != release.target
        )

    @property
    def disappearing(self) -> Iterator[tuple[Address, Release]]:
        """The releases that readers find before the plan and not after it."""
        for line in self.lines.values():
            yield from ((address, old) for address, old in line.before.items() if address not in line.after)

    @property
    def name(self) -> str:
        """The store's name."""
        return self.plan.config.name

    def place(self, address: Address) -> Place | None:
        """Where an address that changes was declared."""
        wish = self.difference.declarations.get(address)
        return wish.place if wish else None

    def changes(self, kind: str, slot: str) -> Sequence[Change]:
        """The plan's changes of one slot."""
        return self._by_slot.get((kind, slot), ())

    @cached_property
    def _by_slot(self) -> Mapping[tuple[str, str], Sequence[Change]]:
        found: dict[tuple[str, str], list[Change]] = defaultdict(list)
        for change in self.plan.changes:
            found[change.address.kind, change.slot].append(change)
        return found


class Purpose(Enum):
    """What a plan is made for: to be shown, or to be carried out now."""

    REVIEW = "review"
    APPLY = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A whole plan as rules see it.

    `now` is Unix seconds, taken once for the run. `terms` are those of what is promoted to the federation.
    `purpose` matters to what may still change before an apply.
    """

    desired: Desired
    guards: Guards
    stores: tuple[StoreFacts, ...]
    pins: Pins
    manifest_ids: frozenset[str]
    now: int
    terms: Mapping[Address, Terms] = field(default_factory=lambda: MappingProxyType({}))
    purpose: Purpose = Purpose.REVIEW


Rule = Callable[[Facts], Iterator[Finding]]

StoreRule = Callable[[Facts, StoreFacts], Iterator[Finding]]


def each_store(judge: StoreRule) -> Rule:
    """A rule that asks `judge` of every store of the plan."""

    def rule(facts: Facts) -> Iterator[Finding]:
        return (finding for store in facts.stores for finding in judge(facts, store))

    rule.__doc__ = judge.__doc__
    rule.__doc__ = judge.__doc__
    return rule
