"""Changes of the model as rows of the registry's tables, and back.

Decides what the addresses and slots of a registry mean:

    manifest/sha256:HEX       content  the digest itself
    link/ns/name@sha256:HEX   linked   "linked"
    tag/ns/name@VERSION       manifest the digest, yanked "yanked"
    tag/ns/name@dev           manifest the digest
    tag/ns/name@latest        manifest the digest: only ever an assertion, because `latest` is derived
    object/sha256:HEX         stored   the digest: bytes without a row, which a collection buries

A tag's two slots become one row. Nothing here asks a registry anything; whether a `before` still holds
is found out in the transaction (`reconciler.stores.registry.perform`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from reconciler.errors import Denied, InvalidInput, Problem
from reconciler.model import Address, Change, Value, parse_digest
from reconciler.reference import (
    DEV,
    LATEST,
    DatasetName,
    ManifestHash,
    digest_of,
    parse_version,
)
from reconciler.stores.registry.order import (
    CONTENT,
    LINK,
    LINKED,
    MANIFEST,
    NAMED,
    OBJECT,
    STORED,
    TAG,
    YANKED,
)
from reconciler.stores.registry.values import BreakGlass

_HEX: Final = len("sha256:")


class ManifestEdit(NamedTuple):
    """A row of `wanted_manifests`."""

    hash: str
    size: int
    held: bool
    holds: bool


class LinkEdit(NamedTuple):
    """A row of `wanted_links`."""

    namespace: str
    name: str
    hash: str
    held: bool
    holds: bool


class TagEdit(NamedTuple):
    """A row of `wanted_tags`; a hash that is absent is the empty text."""

    namespace: str
    name: str
    version: str
    precedence: str | None
    prerelease: bool
    moves: bool
    old_hash: str
    new_hash: str
    marks: bool
    old_yanked: bool
    new_yanked: bool


class LatestClaim(NamedTuple):
    """What a plan says of `latest` before and after; compared, never written."""

    dataset: DatasetName
    before: str
    after: str


@dataclass(slots=True)
class Edits:
    """The rows that one transaction is to change."""

    manifests: list[ManifestEdit] = field(default_factory=list)
    links: list[LinkEdit] = field(default_factory=list)
    tags: list[TagEdit] = field(default_factory=list)
    latest: list[LatestClaim] = field(default_factory=list)

    def datasets(self) -> list[tuple[str, str]]:
        """The datasets whose versions may change."""
        return sorted({(edit.namespace, edit.name) for edit in self.tags})


@lru_cache(maxsize=1 << 14)
def _dataset(text: str) -> DatasetName:
    return DatasetName.parse(text)


@lru_cache(maxsize=1 << 14)
def _hex(digest: str) -> str:
    return parse_digest(digest)[_HEX:]


def _slot(change: Change) -> InvalidInput:
    return InvalidInput.of(
        "E_SLOT",
        f"a registry has no such value in slot '{change.slot}' of this address",
        path=str(change.address),
        got=str(change.after if change.after is not None else change.before),
        fix="manifest: content; link: linked; tag: manifest and yanked",
    )


def _named(change: Change, value: Value | None) -> str:
    """The hash in a slot, the empty text if it is absent."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _slot(change)
    return _hex(value)


def _present(change: Change, value: Value | None, word: str) -> bool:
    if value is not None and value != word:
        raise _slot(change)
    return value is not None


def edits_of(changes: Iterable[Change]) -> Edits:
    """The rows that some changes stand for; sizes of new manifests are 0 until their bytes are read.

    Raises:
        InvalidInput: E_SLOT, E_STEP, E_VERSION_BUILD, or the code of a malformed name, version or digest.
    """
    edits = Edits()
    tags: dict[str, list[Change]] = {}
    for change in changes:
        _, kind, key = change.address
        if kind == TAG:
            tags.setdefault(key, []).append(change)
        elif kind == LINK and change.slot == LINKED:
            name, _, digest = key.partition("@")
            held, holds = _present(change, change.before, LINKED), _present(change, change.after, LINKED)
            edits.links.append(LinkEdit(*_dataset(name), _hex(digest), held, holds))
        elif kind == MANIFEST and change.slot == CONTENT:
            held, holds = _present(change, change.before, key), _present(change, change.after, key)
            edits.manifests.append(ManifestEdit(_hex(key), 0, held, holds))
        elif kind == OBJECT and change.slot == STORED and change.after is None:
            edits.manifests.append(ManifestEdit(_hex(key), 0, held=False, holds=False))
        else:
            raise _slot(change)
    for key, parts in tags.items():
        _add_tag(edits, key, parts)
    _sort(edits)
    return edits


def _add_tag(edits: Edits, key: str, parts: list[Change]) -> None:
    name, _, version = key.partition("@")
    dataset = _dataset(name)
    moves = marks = was = becomes = False
    old = new = ""
    for part in parts:
        if part.slot == NAMED and not moves:
            moves, old, new = True, _named(part, part.before), _named(part, part.after)
        elif part.slot == YANKED and not marks and version not in (LATEST, DEV):
            marks = True
            was, becomes = _present(part, part.before, YANKED), _present(part, part.after, YANKED)
        else:
            raise _slot(part)
    if version == LATEST:
        edits.latest.append(LatestClaim(dataset, old, new))
        return
    precedence, prerelease = None, False
    if version != DEV:
        parsed = parse_version(version)
        precedence, prerelease = parsed.precedence, parsed.prerelease
    edits.tags.append(
        TagEdit(*dataset, version, precedence, prerelease, moves, old, new, marks, was, becomes)
    )


def _sort(edits: Edits) -> None:
    """Every writer takes rows in the same order, and nothing is edited twice."""
    edits.manifests.sort()
    edits.links.sort()
    edits.tags.sort(key=lambda edit: edit[:3])
    for kind, keys in (
        (MANIFEST, [edit.hash for edit in edits.manifests]),
        (LINK, [str(edit[:3]) for edit in edits.links]),
    ):
        if len(set(keys)) != len(keys):
            raise InvalidInput.of("E_STEP", f"a step changes the same {kind} twice", fix="plan again")
    places: dict[tuple[str, str, str], str] = {}
    for edit in edits.tags:
        if edit.precedence is not None and edit.new_hash:
            place = (edit.namespace, edit.name, edit.precedence)
            twin = places.setdefault(place, edit.version)
            if twin != edit.version:
                raise InvalidInput(twins(f"{edit.namespace}/{edit.name}", edit.version, twin))


def twins(dataset: str, version: str, twin: str) -> Problem:
    """What is said of two versions that differ only in build metadata."""
    return Problem(
        code="E_VERSION_BUILD",
        path=f"{dataset}@{version}",
        message=f"the version differs from {twin} only in build metadata, which does not order versions",
        got=version,
        fix="raise the version, or remove the other one",
    )


def refuse_moves(store: str, edits: Edits, break_glass: BreakGlass | None) -> None:
    """Refuse to point a version that stands at another manifest.

    Raises:
        Denied: E_TAG_IMMUTABLE, for every such tag that the permission does not cover.
    """
    problems = []
    for edit in edits.tags:
        if edit.precedence is None or not (edit.old_hash and edit.new_hash) or edit.old_hash == edit.new_hash:
            continue
        key = f"{edit.namespace}/{edit.name}@{edit.version}"
        if break_glass is None or not break_glass.covers(Address(store, TAG, key)):
            problems.append(immutable(key, ManifestHash(edit.old_hash), ManifestHash(edit.new_hash)))
    if problems:
        raise Denied(problems)


def immutable(key: str, old: ManifestHash, new: ManifestHash) -> Problem:
    """What is said of a version tag that would move."""
    return Problem(
        code="E_TAG_IMMUTABLE",
        path=key,
        message=f"a version never moves; it names {digest_of(old)}",
        got=digest_of(new),
        fix="tag a new version; only a break-glass exception in git moves this one",
    )


def reused(key: str, retired: str, old: ManifestHash, new: ManifestHash) -> Problem:
    """What is said of a version that was removed and is to name something else now."""
    return Problem(
        code="E_TAG_IMMUTABLE",
        path=key,
        message=f"a version never moves, not even after its removal; {retired} named {digest_of(old)}",
        got=digest_of(new),
        fix="tag a new version; only a break-glass exception in git uses this name again",
    )


# Changes of one thing, as an operation by hand makes them.


def manifest_change(store: str, manifest: ManifestHash, *, held: bool, holds: bool) -> Change:
    """A manifest registered or removed."""
    digest = digest_of(manifest)
    return Change(
        Address(store, MANIFEST, digest), CONTENT, digest if held else None, digest if holds else None
    )


def object_change(store: str, manifest: ManifestHash) -> Change:
    """An object removed that no row names."""
    digest = digest_of(manifest)
    return Change(Address(store, OBJECT, digest), STORED, digest, None)


def link_change(
    store: str, dataset: DatasetName, manifest: ManifestHash, *, held: bool, holds: bool
) -> Change:
    """A link made or removed."""
    address = Address(store, LINK, f"{dataset}@{digest_of(manifest)}")
    return Change(address, LINKED, LINKED if held else None, LINKED if holds else None)


def tag_change(
    store: str, dataset: DatasetName, version: str, before: ManifestHash | None, after: ManifestHash | None
) -> Change:
    """A tag pointed at a manifest, or removed."""
    return Change(
        Address(store, TAG, f"{dataset}@{version}"),
        NAMED,
        None if before is None else digest_of(before),
        None if after is None else digest_of(after),
    )


def yank_change(store: str, dataset: DatasetName, version: str, *, before: bool, after: bool) -> Change:
    """A version yanked, or taken back."""
    address = Address(store, TAG, f"{dataset}@{version}")
    return Change(address, YANKED, YANKED if before else None, YANKED if after else None)
