"""What the addresses of a registry mean for planning; pure.

    manifest/sha256:…        content   the digest; the bytes stay until garbage collection
    link/ns/name@sha256:…    linked    that the dataset may use the manifest
                             tags      which tags of the dataset name it; derived, never written
    tag/ns/name@VERSION      manifest  the digest that the version names
                             yanked    present where it is kept for those who ask for it and never latest
    tag/ns/name@dev          manifest
    tag/ns/name@latest       manifest; derived from the version tags in the same transaction
    object/sha256:…          stored    bytes that no manifest's row names; only a collection's record says so

A registry has one write unit: everything of one apply is one transaction. Inside it referenced things come
before what refers to them (register, link, tag, latest) and the exact reverse on the way down (untag,
unlink), although no reader sees anything between. Changes of `latest` are what the store must find after
the rest is done; it refuses the whole step otherwise.

A link goes with the last tag that named it, and needs no tombstone of its own then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from reconciler.errors import InvalidInput
from reconciler.model import Address, Change, Slots, Step, Value, digest_problem
from reconciler.reference import DEV, LATEST, parse_version
from reconciler.shape import Pointer, Release

MANIFEST: Final = "manifest"
LINK: Final = "link"
TAG: Final = "tag"
OBJECT: Final = "object"

CONTENT: Final = "content"
LINKED: Final = "linked"
TAGS: Final = "tags"
NAMED: Final = "manifest"
YANKED: Final = "yanked"
STORED: Final = "stored"

UNIT: Final = "registry"
STEP_ID: Final = "transaction"

_KINDS: Final = (MANIFEST, LINK, TAG)
_MOVING: Final = frozenset({DEV, LATEST})
_SLOTS: Final = (CONTENT, LINKED, NAMED, YANKED)
"""Slots in the order in which they give an address's change its name."""

_VERBS: Final[Mapping[tuple[str, str], tuple[str, str, str]]] = {
    (MANIFEST, CONTENT): ("register", "replace manifest", "delete manifest"),
    (LINK, LINKED): ("link", "relink", "unlink"),
    (TAG, NAMED): ("tag", "retag", "untag"),
    (TAG, YANKED): ("yank", "yank", "unyank"),
    (OBJECT, STORED): ("put", "replace object", "delete object"),
}
"""What the change of a slot is called where it appears, where it changes and where it goes."""


def tag_of(key: str) -> tuple[str, str]:
    """The dataset and the tag (or digest) of a key: ``ns/name@tag``."""
    dataset, _, tag = key.partition("@")
    return dataset, tag


class RegistryShape:
    """The shape of a registry (see `reconciler.shape.Shape`)."""

    permanent: frozenset[tuple[str, str]] = frozenset({(MANIFEST, CONTENT), (LINK, TAGS)})
    retained: frozenset[tuple[str, str]] = frozenset({(TAG, NAMED)})
    users: Mapping[str, tuple[str, str, str]] = MappingProxyType({LINK: (TAGS, TAG, NAMED)})
    always: tuple[tuple[str, str], ...] = ()

    def omittable(self, address: Address) -> bool:
        """`dev` and `latest`: git lets go of them by not naming them."""
        return address.kind == TAG and tag_of(address.key)[1] in _MOVING

    def derived(self, address: Address) -> bool:
        """`latest` follows from the versions in every transaction."""
        return address.kind == TAG and tag_of(address.key)[1] == LATEST

    def follower(self, store: str, line: str) -> Address | None:
        """`latest` of the dataset."""
        return Address(store, TAG, f"{line}@{LATEST}")

    def arrange(self, store: str, changes: Sequence[Change], sources: Mapping[Address, str]) -> list[Step]:
        """One step for everything: up by kind, then down in the reverse order; ties by address."""
        if not changes:
            return []
        return [
            Step(
                id=STEP_ID,
                store=store,
                unit=UNIT,
                changes=tuple(sorted(changes, key=_position)),
                sources=dict(sorted(sources.items())),
            )
        ]

    def verb(self, kind: str, slot: str, before: Value | None, after: Value | None) -> str:
        """The name of a change; total over every kind and slot."""
        appears, changes, goes = _VERBS.get((kind, slot), (f"set {slot}", f"change {slot}", f"drop {slot}"))
        if after is None:
            return goes
        return appears if before is None else changes

    def line(self, address: Address, slots: Slots) -> str | None:  # noqa: ARG002 - the protocol's signature
        """The dataset of a tag."""
        return tag_of(address.key)[0] if address.kind == TAG else None

    def release(self, address: Address, slots: Slots) -> Release | None:
        """A version that is tagged and not yanked; versions compare by SemVer precedence."""
        digest, version = slots.get(NAMED), tag_of(address.key)[1]
        if address.kind != TAG or not isinstance(digest, str) or YANKED in slots or version in _MOVING:
            return None
        try:
            parsed = parse_version(version)
        except InvalidInput:  # another writer's tag that is no version: it has no place in the order
            return None
        target = Address(address.store, MANIFEST, digest)
        rank, stable = (0, parsed.precedence), not parsed.prerelease
        return Release(rank, stable=stable, digest=digest, edition="", target=target)

    def pointer(self, address: Address, slots: Slots) -> Pointer | None:
        """What `dev` and `latest` name; only `latest` follows the versions."""
        digest, tag = slots.get(NAMED), tag_of(address.key)[1]
        if address.kind != TAG or not isinstance(digest, str) or tag not in _MOVING:
            return None
        return Pointer(Address(address.store, MANIFEST, digest), follows=tag == LATEST)

    def legal(self, address: Address, slots: Slots) -> bool:
        """A manifest, a link or a tag, with the slots that these have; another writer may tag anything."""
        if any(isinstance(value, tuple) != (slot == TAGS) for slot, value in slots.items()):
            return False
        dataset, tag = tag_of(address.key)
        named = bool(dataset.strip("/") and tag)
        if address.kind == MANIFEST:
            return slots.keys() <= {CONTENT} and digest_problem(address.key) is None
        if address.kind == LINK:
            return slots.keys() <= {LINKED, TAGS} and named and digest_problem(tag) is None
        return address.kind == TAG and slots.keys() <= {NAMED, YANKED} and named

    def needs(self, address: Address, slots: Slots) -> tuple[tuple[Address, str], ...]:
        """A tag needs its link and its manifest, a link its manifest, a yank its tag."""
        dataset, tag = tag_of(address.key)
        named = slots.get(NAMED)
        if address.kind == LINK and LINKED in slots:
            return ((Address(address.store, MANIFEST, tag), CONTENT),)
        if address.kind != TAG:
            return ()
        if not isinstance(named, str):
            return ((address, NAMED),) if YANKED in slots else ()
        manifest = Address(address.store, MANIFEST, named)
        return ((manifest, CONTENT), (Address(address.store, LINK, f"{dataset}@{named}"), LINKED))


SHAPE: Final = RegistryShape()


def _position(change: Change) -> tuple[int, Address, int]:
    """Up by kind, down by kind reversed, and latest, which follows from all of it, at the end."""
    address = change.address
    kind = _KINDS.index(address.kind) if address.kind in _KINDS else 0
    slot = _SLOTS.index(change.slot) if change.slot in _SLOTS else len(_SLOTS)
    phase = kind
    if SHAPE.derived(address):
        phase = 2 * len(_KINDS)
    elif change.after is None and change.slot != YANKED:
        phase = 2 * len(_KINDS) - 1 - kind
    return (phase, address, slot)
