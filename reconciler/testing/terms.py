"""How each kind of store says what the contract suite talks about: things, and a pointer to one of them.

A *thing* is a dataset by its serving id, such as `110/homo_sapiens/GRCh38`: content that is put once, and a
listing that makes it visible. A *pointer* names one thing and may move: an alias of a serving store, `dev`
of a registry. `Terms` turns them into the addresses, slots and steps of one kind of store, so that the suite
itself knows of none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Protocol, cast

from reconciler.model import Address, Change, Declaration, Slots, Step, StoreConfig, Value

_MODULES = {
    "atproto": "reconciler.testing.atproto_terms",
    "memory": "reconciler.testing.terms",
    "registry": "reconciler.testing.registry_terms",
    "serving": "reconciler.testing.terms",
}


class Terms(Protocol):
    """The words of one kind of store.

    Attributes:
        longest: a thing whose name is as long as it may be.
        odd: names that must be refused, by what is wrong with them.
        extras: values, each of which a listing may carry besides; they can replace each other.
        pointer_holds: whether a thing cannot leave while the pointer names it.
    """

    longest: str
    odd: Mapping[str, str]
    extras: tuple[Value, ...]
    pointer_holds: bool

    def address(self, store: str, thing: str) -> Address:
        """Where a thing is listed."""

    def content(self, store: str, thing: str, digest: str) -> Address:
        """Where a thing's content is seen."""

    def looked(self, store: str, thing: str, digest: str) -> Address:
        """What is looked into where this digest appears."""

    def pointer(self, store: str, thing: str) -> Address:
        """Where the pointer to a thing is."""

    def listed(self, digest: str, extra: Value) -> Slots:
        """The wish that a thing is there."""

    def pointed(self, thing: str) -> Slots:
        """The wish that the pointer names a thing."""

    def implied(self, wishes: Iterable[Declaration]) -> list[Declaration]:
        """The wishes and what they imply, sorted by address."""

    def only_content(self, steps: Sequence[Step]) -> list[Step]:
        """Of the steps that make things visible, what puts their content."""

    def without_content(self, steps: Sequence[Step]) -> list[Step]:
        """Of the steps that make things visible, what comes after their content."""

    def deletion(self, store: str, thing: str, digest: str) -> Step:
        """The step that removes content."""

    def shown(
        self, listed: Mapping[str, str], hidden: Mapping[str, str], pointer: str | None
    ) -> dict[str, Slots]:
        """What is live, by kind and key, where things (and their digests) are listed or only kept."""


class ServingTerms:
    """The words of serving stores, and of the memory store."""

    longest = f"{'9' * 16}/{'s' * 64}/{'A' * 64}"
    odd: Mapping[str, str] = {
        "too long": f"{'9' * 17}/homo_sapiens/GRCh38",
        "dot segments": "110/../GRCh38",
        "capital letter": "110/Homo/GRCh38",
        "missing part": "110/homo_sapiens",
        "foreign digit": "²/a/b",
    }
    extras: tuple[Value, ...] = (("derived/b.json", "derived/a.json"), ("derived/a.json",))
    pointer_holds = True

    def address(self, store: str, thing: str) -> Address:
        """Where a thing is listed."""
        return Address(store, "dataset", thing)

    def content(self, store: str, thing: str, digest: str) -> Address:  # noqa: ARG002
        """Content and listing are slots of one address."""
        return self.address(store, thing)

    def looked(self, store: str, thing: str, digest: str) -> Address:  # noqa: ARG002
        """The dataset."""
        return self.address(store, thing)

    def pointer(self, store: str, thing: str) -> Address:  # noqa: ARG002
        """The alias of the whole store."""
        return Address(store, "alias", "latest")

    def listed(self, digest: str, extra: Value) -> Slots:
        """Published and in the catalog."""
        slots: dict[str, Value] = {"artifact": digest, "entry": "listed"}
        return {**slots, "diffs": extra} if extra else slots

    def pointed(self, thing: str) -> Slots:
        """The alias belongs to the live catalog."""
        return {"dataset": thing, "binding": "catalog"}

    def implied(self, wishes: Iterable[Declaration]) -> list[Declaration]:
        """Nothing more."""
        return sorted(wishes, key=lambda wish: wish.address)

    def only_content(self, steps: Sequence[Step]) -> list[Step]:
        """The publishes."""
        return [step for step in steps if step.unit.startswith("dataset ")]

    def without_content(self, steps: Sequence[Step]) -> list[Step]:
        """The catalog and the aliases."""
        return [step for step in steps if not step.unit.startswith("dataset ")]

    def deletion(self, store: str, thing: str, digest: str) -> Step:
        """The published artifact."""
        change = Change(self.address(store, thing), "artifact", digest, None)
        return Step(id="delete", store=store, unit=f"dataset {thing}", changes=(change,))

    def shown(
        self, listed: Mapping[str, str], hidden: Mapping[str, str], pointer: str | None
    ) -> dict[str, Slots]:
        """Datasets and the alias."""
        found: dict[str, Slots] = {f"dataset/{thing}": {"artifact": d} for thing, d in hidden.items()}
        found |= {f"dataset/{thing}": self.listed(digest, ()) for thing, digest in listed.items()}
        return found if pointer is None else {**found, "alias/latest": self.pointed(pointer)}


TERMS = ServingTerms()


def terms_of(config: StoreConfig) -> Terms:
    """The words of a store; of some kinds they depend on whose it is."""
    terms = import_module(_MODULES[config.kind]).TERMS
    return cast("Terms", terms.of(config) if hasattr(terms, "of") else terms)


def cut(steps: Iterable[Step], kinds: frozenset[str]) -> list[Step]:
    """Steps with the changes of some kinds of address only; empty ones are left out."""
    found = (
        replace(step, changes=tuple(change for change in step.changes if change.address.kind in kinds))
        for step in steps
    )
    return [step for step in found if step.changes]
