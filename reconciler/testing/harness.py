"""What the contract suite needs of a live system, and the walk from a wish to a store.

A `Harness` drives one live system from outside the port: it makes builds, acts as another writer,
breaks content, holds the lock and fails writes. Each adapter gives one.

`declared`, `declared_alias`, `removed` and `removed_alias` make wishes, in the words of the store's kind
(`reconciler.testing.terms`); `planned`, `applied` and `reconciled` go the way
of the real program (difference, plan, apply) without git, policy or a command line around it; `by_hand`
writes as an operator does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import NamedTuple, Protocol

from reconciler.apply import ApplyReport, apply_plan
from reconciler.diff import difference
from reconciler.ledger import Run, inventory
from reconciler.model import (
    NOTHING,
    Address,
    Declaration,
    Depth,
    Outcome,
    Place,
    Selection,
    Slots,
    Step,
    Value,
)
from reconciler.plan import Plan, store_plan
from reconciler.stores.port import Store, adapter
from reconciler.testing.terms import terms_of

HUMAN_110 = "110/homo_sapiens/GRCh38"
HUMAN_111 = "111/homo_sapiens/GRCh38"
MOUSE_110 = "110/mus_musculus/GRCm39"

BY_GIT = Run(by="git", time=1_700_000_000, tool="test", commit="c" * 40)
BY_HAND = Run(by="hand", time=1_700_000_000, tool="test", reason="contract suite")


class Build(NamedTuple):
    """A dataset that was built: where a publish reads it, and the digest of its manifest."""

    source: str
    digest: str


class Fault(Protocol):
    """One planned fault of a live system."""

    @property
    def fired(self) -> bool:
        """Whether it was reached."""


class Harness(Protocol):
    """One live system, driven from outside the port."""

    def fresh(self) -> Harness:
        """Another live system of the same kind, empty."""

    def replacement(self) -> Harness:
        """An empty place that can take this system's backup back: another one, or this one with all lost."""

    def open(self, *, create: bool = True, lock_timeout: float = 10.0) -> Store:
        """A new handle on the live system, which may or may not be made by the first commit."""

    def build(self, dataset: str) -> Build:
        """Build a dataset where a publish can read it; equal ids give equal builds."""

    def fingerprint(self) -> Mapping[str, bytes]:
        """The bytes of everything the live system holds except the ledger; relative names."""

    def damage(self, dataset: str) -> None:
        """Break the published bytes of a dataset."""

    def unreadable(self) -> AbstractContextManager[None]:
        """While open, the live system cannot be read."""

    def held(self) -> AbstractContextManager[None]:
        """While open, another writer holds whatever serialises the writers."""

    @property
    def places(self) -> Sequence[str]:
        """The names of all places in which a write of the live system can fail."""

    def failing(self, place: str) -> AbstractContextManager[Fault]:
        """While open, the write at this place fails once."""


def declared(store: Store, dataset: str, build: Build, extra: Value = ()) -> Declaration:
    """The wish that a dataset is there and visible."""
    terms = terms_of(store.config)
    address = terms.address(store.config.name, dataset)
    return Declaration(
        address, terms.listed(build.digest, extra), Place("desired.yaml", 1, 1), source=build.source
    )


def declared_alias(store: Store, dataset: str) -> Declaration:
    """The wish that the pointer names a dataset."""
    terms = terms_of(store.config)
    address = terms.pointer(store.config.name, dataset)
    return Declaration(address, terms.pointed(dataset), Place("desired.yaml", 2, 1))


def removed(store: Store, dataset: str) -> Declaration:
    """The wish that a dataset must not be visible."""
    return _absent(terms_of(store.config).address(store.config.name, dataset))


def removed_alias(store: Store, dataset: str = HUMAN_110) -> Declaration:
    """The wish that the pointer to a dataset must not exist."""
    return _absent(terms_of(store.config).pointer(store.config.name, dataset))


def _absent(address: Address) -> Declaration:
    return Declaration(address, NOTHING, Place("desired.yaml", 3, 1), reason="superseded")


def planned(store: Store, declarations: Iterable[Declaration]) -> Plan:
    """The plan that leads from what is live to the wish; no policy is asked."""
    shape = adapter(store.config.kind).SHAPE
    wishes = terms_of(store.config).implied(declarations)
    seen = store.snapshot(Selection())
    found = difference(wishes, seen, inventory(store.history()), shape=shape, everything_ours=False)
    part = store_plan(store.config, shape, found, depth=Depth.MANIFESTS)
    return Plan(stores=(part,), commit="c" * 40, policy="", tool="test")


def steps_of(plan: Plan) -> tuple[Step, ...]:
    """All steps of a plan."""
    return tuple(step for part in plan.stores for step in part.steps)


def applied(store: Store, plan: Plan) -> ApplyReport:
    """Apply a plan to the store it was made for."""
    return apply_plan(plan, {store.config.name: store}, lambda part: _run_of(part.adopted))


def _run_of(adopted: tuple[tuple[Address, Slots], ...]) -> Run:
    return Run(by="git", time=BY_GIT.time, tool=BY_GIT.tool, commit=BY_GIT.commit, adopted=adopted)


def reconciled(store: Store, declarations: Sequence[Declaration]) -> ApplyReport:
    """Plan and apply."""
    return applied(store, planned(store, declarations))


def by_hand(store: Store, declarations: Sequence[Declaration]) -> None:
    """Make the wish true as an operator would: recorded, but never ours."""
    results = store.commit(steps_of(planned(store, declarations)), BY_HAND)
    assert {result.outcome for result in results} <= {Outcome.APPLIED}


def live(store: Store, *, depth: Depth = Depth.MANIFESTS) -> dict[str, Slots]:
    """Everything observed, by kind and key."""
    return {
        f"{seen.address.kind}/{seen.address.key}": dict(seen.slots)
        for seen in store.snapshot(Selection(depth=depth))
    }


def shown(
    store: Store,
    listed: Mapping[str, Build],
    *,
    hidden: Mapping[str, Build] = MappingProxyType({}),
    pointer: str | None = None,
) -> dict[str, Slots]:
    """What `live` must be where these datasets are visible, those only kept, and the pointer names one."""
    return terms_of(store.config).shown(
        {dataset: build.digest for dataset, build in listed.items()},
        {dataset: build.digest for dataset, build in hidden.items()},
        pointer,
    )


def recorded(store: Store) -> int:
    """How many records the ledger holds."""
    return sum(1 for _ in store.history())
