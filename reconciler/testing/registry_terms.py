"""The contract suite's words for a registry: a thing is a version tag, the pointer is `dev`.

`110/homo_sapiens/GRCh38` is version 110.0.0 of the dataset `homo_sapiens/grch38`; its content is a manifest
that says the thing's name, so equal things have equal digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.canonical import sha256_digest
from reconciler.model import Address, Change, Declaration, Slots, Step, Value
from reconciler.stores.registry.order import (
    CONTENT,
    LINK,
    LINKED,
    MANIFEST,
    NAMED,
    TAG,
    TAGS,
    UNIT,
    YANKED,
)
from reconciler.testing.terms import cut


def content_of(thing: str) -> bytes:
    """The bytes of a thing's manifest."""
    return f'{{"thing": "{thing}"}}'.encode()


def _tag(thing: str) -> tuple[str, str]:
    """Dataset and version of a thing."""
    release, _, dataset = thing.partition("/")
    return dataset.lower(), f"{release}.0.0"


class RegistryTerms:
    """The words of a registry."""

    longest = f"{'9' * 19}/{'s' * 128}/{'a' * 128}"
    odd: Mapping[str, str] = {
        "too long": f"110/homo_sapiens/{'a' * 129}",
        "dot segments": "110/../grch38",
        "capital letter": "110/homo-sapiens/grch38",
        "missing part": "110/homo_sapiens",
        "foreign digit": "²/a/b",
    }
    extras: tuple[Value, ...] = (YANKED, ())
    pointer_holds = False

    def address(self, store: str, thing: str) -> Address:
        """Where the version is."""
        dataset, version = _tag(thing)
        return Address(store, TAG, f"{dataset}@{version}")

    def content(self, store: str, thing: str, digest: str) -> Address:  # noqa: ARG002
        """Where the manifest is."""
        return Address(store, MANIFEST, digest)

    def looked(self, store: str, thing: str, digest: str) -> Address:  # noqa: ARG002
        """The manifest."""
        return Address(store, MANIFEST, digest)

    def pointer(self, store: str, thing: str) -> Address:
        """`dev` of the thing's dataset."""
        return Address(store, TAG, f"{_tag(thing)[0]}@dev")

    def listed(self, digest: str, extra: Value) -> Slots:
        """Tagged, and yanked or not."""
        return {NAMED: digest, YANKED: extra}

    def pointed(self, thing: str) -> Slots:
        """`dev` names the thing's manifest."""
        return {NAMED: sha256_digest(content_of(thing))}

    def implied(self, wishes: Iterable[Declaration]) -> list[Declaration]:
        """A tag implies its link and its manifest, as in a `Dataset` document."""
        found: dict[Address, Declaration] = {}
        for wish in wishes:
            found[wish.address] = wish
            digest = wish.slots.get(NAMED)
            if wish.address.kind != TAG or not isinstance(digest, str):
                continue
            store, dataset = wish.address.store, wish.address.key.partition("@")[0]
            link = Address(store, LINK, f"{dataset}@{digest}")
            found.setdefault(link, Declaration(link, {LINKED: LINKED}, wish.place))
            manifest = Address(store, MANIFEST, digest)
            if manifest not in found or wish.source is not None:
                found[manifest] = Declaration(manifest, {CONTENT: digest}, wish.place, wish.source)
        return [found[address] for address in sorted(found)]

    def only_content(self, steps: Sequence[Step]) -> list[Step]:
        """The registrations."""
        return cut(steps, frozenset({MANIFEST}))

    def without_content(self, steps: Sequence[Step]) -> list[Step]:
        """Links and tags."""
        return cut(steps, frozenset({LINK, TAG}))

    def deletion(self, store: str, thing: str, digest: str) -> Step:
        """The manifest."""
        change = Change(self.content(store, thing, digest), CONTENT, digest, None)
        return Step(id="delete", store=store, unit=UNIT, changes=(change,))

    def shown(
        self, listed: Mapping[str, str], hidden: Mapping[str, str], pointer: str | None
    ) -> dict[str, Slots]:
        """Manifests, and links, versions, dev and latest of what is listed."""
        found: dict[str, Slots] = {
            f"{MANIFEST}/{digest}": {CONTENT: digest} for digest in (*listed.values(), *hidden.values())
        }
        names: dict[str, str] = {}
        for thing, digest in listed.items():
            dataset, version = _tag(thing)
            names[f"{dataset}@{version}"] = digest
        if pointer is not None:
            names[f"{_tag(pointer)[0]}@dev"] = sha256_digest(content_of(pointer))
        for key, digest in names.items():
            found[f"{TAG}/{key}"] = {NAMED: digest}
            link = f"{LINK}/{key.partition('@')[0]}@{digest}"
            users = tuple(sorted(k for k, d in names.items() if d == digest))
            found[link] = {LINKED: LINKED, TAGS: users}
        for thing in sorted(listed, key=lambda thing: int(thing.partition("/")[0])):
            found[f"{TAG}/{_tag(thing)[0]}@latest"] = {NAMED: listed[thing]}
        return found


TERMS = RegistryTerms()
