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

from reconciler.model import Address, Change, Step, Value
from reconciler.reference import DEV, LATEST

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
    """The shape of a registry (see `reconciler.model.Shape`)."""

    permanent: frozenset[tuple[str, str]] = frozenset({(MANIFEST, CONTENT), (LINK, TAGS)})
    retained: frozenset[tuple[str, str]] = frozenset({(TAG, NAMED)})
    users: Mapping[str, tuple[str, str, str]] = MappingProxyType({LINK: (TAGS, TAG, NAMED)})
    always: tuple[tuple[str, str], ...] = ()

    def omittable(self, address: Address) -> bool:
        """`dev` and `latest`: git lets go of them by not naming them."""
        return address.kind == TAG and tag_of(address.key)[1] in {DEV, LATEST}

    def derived(self, address: Address) -> bool:
        """`latest` follows from the versions in every transaction."""
        return address.kind == TAG and tag_of(address.key)[1] == LATEST

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
