"""What a reference registry's database says, read only: the way from there to here.

Its tables are `manifest_files`, `dataset_manifests` and `tags` (the registry's contract, section 2). One
read-only transaction gives one consistent reading; the server may be a replica and the role may lack every
right but SELECT. What that system accepts and this one does not (a name with characters beyond ASCII, a
version that differs from another only in build metadata) comes as an observation with its problem.

Nothing is ever written there, and its stored `latest` is not believed: ours follows from the versions.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final, NamedTuple

from reconciler.errors import InvalidInput, Problem
from reconciler.model import Address, Observed, Slots
from reconciler.reference import DEV, LATEST, DatasetName, digest_of, parse_hash, parse_version
from reconciler.stores.registry.backend_postgres import open_postgres

_TAGS: Final = "SELECT namespace, name, version, hash FROM tags"
_LINKS: Final = "SELECT namespace, name, hash FROM dataset_manifests"


def reference_contents(location: str, *, store: str, timeout: float) -> list[Observed]:
    """Every tag and link of a reference registry, under the addresses of a store of ours, sorted.

    Args:
        location: `postgresql://…`; it may hold a password and is never shown.
        store: the name of our store.
        timeout: seconds to wait for a lock.

    Raises:
        InvalidInput: E_STORE_LOCATION.
        Unavailable: it cannot be read, or holds no such tables.
    """
    with (
        closing(open_postgres(location, timeout=timeout, only_read=True)) as database,
        database.reading() as session,
    ):
        tags = sorted(_Tag(*row) for row in session.rows(_TAGS))
        links = session.rows(_LINKS)
    named: dict[tuple[str, str, str], list[str]] = {}
    first: dict[tuple[str, str, str], str] = {}
    seen: list[Observed] = []
    for tag in tags:
        if tag.version != LATEST:
            named.setdefault((tag.namespace, tag.name, tag.hash), []).append(tag.version)
            seen.append(_observed(store, tag, first))
    for namespace, name, manifest in links:
        tagged = tuple(sorted(named.get((namespace, name, manifest), ())))
        seen.append(_link(store, namespace, name, manifest, tagged))
    return sorted(seen, key=lambda one: one.address)


class _Tag(NamedTuple):
    """One row of the reference's tags."""

    namespace: str
    name: str
    version: str
    hash: str


def _observed(store: str, tag: _Tag, first: dict[tuple[str, str, str], str]) -> Observed:
    """A tag; `first` keeps the version that was seen first of each precedence."""
    address = Address(store, "tag", f"{tag.namespace}/{tag.name}@{tag.version}")
    try:
        DatasetName.of(tag.namespace, tag.name)
        if tag.version != DEV:
            precedence = parse_version(tag.version).precedence
            twin = first.setdefault((tag.namespace, tag.name, precedence), tag.version)
            if twin != tag.version:
                return _refused(address, f"it differs from {twin} only in build metadata")
        return Observed(address, {"manifest": digest_of(parse_hash(tag.hash))})
    except InvalidInput as error:
        return _refused(address, error.problems[0].message)


def _link(store: str, namespace: str, name: str, manifest: str, tags: tuple[str, ...]) -> Observed:
    try:
        DatasetName.of(namespace, name)
        text = digest_of(parse_hash(manifest))
    except InvalidInput as error:
        return _refused(Address(store, "link", f"{namespace}/{name}@{manifest}"), error.problems[0].message)
    slots: Slots = {"linked": "linked", **({"tags": tags} if tags else {})}
    return Observed(Address(store, "link", f"{namespace}/{name}@{text}"), slots)


def _refused(address: Address, why: str) -> Observed:
    return Observed(address, {}, (Problem(code="E_REFERENCE", message=why, path=str(address)),))
