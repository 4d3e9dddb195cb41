"""What a store kind's addresses mean for planning: the `Shape` that its adapter declares.

A shape says which slots stay, what belongs together, in which order changes are safe, what a release is
and what points at one. It is pure: addresses and slots in, values out. Rules, plans and drift know stores
only through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from reconciler.model import Address, Change, Slots, Step, Value


class Release(NamedTuple):
    """One release of a line as readers find it.

    Attributes:
        rank: orders the releases of one line.
        stable: whether `latest` may be it: it is no pre-release.
        digest: its content; empty where the observation did not look.
        edition: its name where several lines share it, as all species of one Ensembl release do; else empty.
        target: what a pointer to it names: itself, or its content.
    """

    rank: tuple[int, str]
    stable: bool
    digest: str
    edition: str
    target: Address


class Pointer(NamedTuple):
    """A name that moves: what it names, and whether it must follow the newest release of its line."""

    target: Address
    follows: bool


class Shape(Protocol):
    """What a store kind's addresses mean for planning; pure, declared by its adapter.

    Attributes:
        permanent: the (kind, slot) pairs that a removal leaves in place: immutable content, which only
            garbage collection deletes.
        retained: the (kind, slot) pairs that a wish leaves as they are by not naming them, also where an
            apply of ours left them.
        users: for each kind of thing that goes with the last one that uses it: the slot that lists the keys
            of its users, their kind, and their slot that names it. An undeclared one stays while a user does.
        always: the (kind, key) pairs that every observation includes, because rules depend on them.
    """

    permanent: frozenset[tuple[str, str]]
    retained: frozenset[tuple[str, str]]
    users: Mapping[str, tuple[str, str, str]]
    always: tuple[tuple[str, str], ...]

    def omittable(self, address: Address) -> bool:
        """Whether git lets go of a thing of ours by not naming it: an omitted `latest` is not managed.

        Anything else of ours needs a tombstone.
        """

    def derived(self, address: Address) -> bool:
        """Whether the store keeps this by its own rule, so that nobody has to manage it."""

    def follower(self, store: str, line: str) -> Address | None:
        """The name that the store keeps at the newest release of a line by its own rule, or None."""

    def arrange(self, store: str, changes: Sequence[Change], sources: Mapping[Address, str]) -> list[Step]:
        """Cut the changes of one store into ordered steps.

        Referenced things come before what refers to them on the way up, the exact reverse on the way
        down, and deletes come last. Ties are broken by address, so equal input gives equal steps. Ids
        are unique in the store and `after` holds the ids each step depends on.
        """

    def verb(self, kind: str, slot: str, before: Value | None, after: Value | None) -> str:
        """The name of a change, such as publish, promote, roll back or move alias."""

    def line(self, address: Address, slots: Slots) -> str | None:
        """The line of releases or versions that an address with these slots belongs to, or None."""

    def release(self, address: Address, slots: Slots) -> Release | None:
        """The release that readers find at an address with these slots; None where they find none."""

    def pointer(self, address: Address, slots: Slots) -> Pointer | None:
        """What a moving name with these slots names; None for what is no such name, or names nothing."""

    def legal(self, address: Address, slots: Slots) -> bool:
        """Whether such a store can hold this: what was observed elsewhere and comes from a file is asked."""

    def needs(self, address: Address, slots: Slots) -> tuple[tuple[Address, str], ...]:
        """The slots, here and elsewhere, that must be filled for readers to follow what stands here."""
