"""The mutable heads of a serving store as one consistent reading: catalog, alias and kept aliases.

Two files cannot be read at one instant. The alias carries the hash of the catalog it belongs to, so a
reader reads alias and catalog, and reads both again while they do not belong together: at most five
times, twenty milliseconds apart. Still different, the binding is reported as stale (reader protocol).

`latest.alias.json` is the reference's one alias per store. Aliases of other lines (species/assembly) are
kept beside the ledger in `aliases.json`, in records of the same members.

A missing catalog is an empty one only where the ledger never recorded one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from reconciler.canonical import canonical, parse_strict, sha256_digest, sha256_hex
from reconciler.errors import Corrupt, InvalidInput
from reconciler.model import DatasetId, Slots, Value
from reconciler.stores.serving import alias as alias_file
from reconciler.stores.serving import catalog as catalog_file
from reconciler.stores.serving.alias import Alias, parse_alias
from reconciler.stores.serving.catalog import (
    CATALOG_LIMIT,
    Catalog,
    Entry,
    catalog_sha256,
    parse_catalog,
)
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.documents import LIVE_ALIAS, LIVE_CATALOG
from reconciler.stores.serving.durable import OWN
from reconciler.stores.serving.files import read_file, sha256_file
from reconciler.stores.serving.order import BINDING, BOUND, DIFFS, ENTRY, LISTED, LISTED_AT, NAMED

CATALOG_FILE: Final = catalog_file.CATALOG
ALIAS_FILE: Final = alias_file.ALIAS
ALIASES_FILE: Final = f"{OWN}/aliases.json"
ALIASES_SCHEMA: Final = "reconciler/aliases/v1"

REBUILD: Final = "run `reconciler catalog rebuild`"
_TRIES = 5
_PAUSE = 0.02
_DATASET_FOLDERS = ("derived/", "inputs/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What the heads said at one instant; `digests` holds those of the raw files that exist."""

    catalog: Catalog
    catalog_hash: str
    alias: Alias | None
    kept: Mapping[str, Alias]
    digests: Mapping[str, str]

    def aliases(self) -> Mapping[str, Alias]:
        """Every alias by its key, `latest` among them."""
        latest = {"latest": self.alias} if self.alias else {}
        return {**self.kept, **latest}


EMPTY: Final = Heads(catalog=Catalog(), catalog_hash="", alias=None, kept={}, digests={})
"""The heads of a store that does not exist yet."""


def read_heads(
    root: int,
    where: str,
    *,
    recorded: Mapping[str, str],
    tries: int = _TRIES,
    known: Mapping[str, Catalog] = MappingProxyType({}),
) -> Heads:
    """Read all heads as they belong together.

    Args:
        root: descriptor of the store's root.
        where: the store's place, for errors.
        recorded: the heads that the last closed ledger record names.
        tries: how often at most; a holder of the lock needs one.
        known: catalogs that were parsed already, by the digest of their bytes.

    Raises:
        Corrupt: E_CATALOG_MISSING, E_LIVE_CATALOG, E_LIVE_ALIAS.
        Unavailable: a file cannot be read.
    """
    raw = _read_pair(root, where, recorded, tries)
    alias = _parse_latest(raw.alias, where)
    kept = {} if raw.kept is None else _parse_kept(raw.kept, f"{where}/{ALIASES_FILE}")
    files = {"catalog": raw.catalog, "alias": raw.alias, "aliases": raw.kept}
    digests = {name: sha256_digest(data) for name, data in files.items() if data is not None}
    catalog = known.get(digests.get("catalog", ""))
    if catalog is None:
        catalog = _parse(raw.catalog, where)
    raw_hash = digests.get("catalog", "").removeprefix("sha256:")
    stale = any(a.catalog_sha256 != raw_hash for a in (alias, *kept.values()) if a is not None)
    return Heads(
        catalog=catalog,
        catalog_hash=catalog_sha256(catalog) if stale or not raw_hash else raw_hash,
        alias=alias,
        kept=kept,
        digests=digests,
    )


class _Raw(NamedTuple):
    catalog: bytes | None
    alias: bytes | None
    kept: bytes | None


def _read_pair(root: int, where: str, recorded: Mapping[str, str], tries: int) -> _Raw:
    """Read until alias and catalog belong together, a few times at most."""
    for attempt in range(tries):
        if attempt:
            time.sleep(_PAUSE)
        alias = read_file(root, ALIAS_FILE, where=where)
        kept = read_file(root, ALIASES_FILE, where=where)
        catalog = read_file(root, CATALOG_FILE, CATALOG_LIMIT, where)
        if catalog is None and "catalog" in recorded:
            raise Corrupt.of(
                "E_CATALOG_MISSING",
                "the ledger recorded a catalog, and it has gone",
                path=f"{where}/{CATALOG_FILE}",
                fix=REBUILD,
            )
        if alias is None or catalog is None or sha256_hex(catalog).encode("ascii") in alias:
            break
    return _Raw(catalog, alias, kept)


def _parse(data: bytes | None, where: str) -> Catalog:
    if data is None:
        return Catalog()
    return parse_catalog(data, f"{where}/{CATALOG_FILE}", origin=LIVE_CATALOG)


def read_catalog(root: int, where: str) -> Catalog:
    """The live catalog alone; an empty one if there is none.

    Raises:
        Corrupt: E_LIVE_CATALOG.
        Unavailable: it cannot be read.
    """
    return _parse(read_file(root, CATALOG_FILE, CATALOG_LIMIT, where), where)


def read_latest(root: int, where: str) -> Alias | None:
    """The alias `latest` alone.

    Raises:
        Corrupt: E_LIVE_ALIAS.
        Unavailable: it cannot be read.
    """
    return _parse_latest(read_file(root, ALIAS_FILE, where=where), where)


def read_kept(root: int, where: str) -> Mapping[str, Alias]:
    """The kept aliases alone, by their keys.

    Raises:
        Corrupt: E_LIVE_ALIAS.
        Unavailable: they cannot be read.
    """
    data = read_file(root, ALIASES_FILE, where=where)
    return {} if data is None else _parse_kept(data, f"{where}/{ALIASES_FILE}")


def _parse_latest(data: bytes | None, where: str) -> Alias | None:
    return None if data is None else parse_alias(data, f"{where}/{ALIAS_FILE}", origin=LIVE_ALIAS)


def head_digests(root: int, where: str) -> Mapping[str, str]:
    """The digests of the head files that exist, by head."""
    files = {"catalog": CATALOG_FILE, "alias": ALIAS_FILE, "aliases": ALIASES_FILE}
    seen = {head: sha256_file(root, path, where) for head, path in files.items()}
    return {head: f"sha256:{found.sha256}" for head, found in seen.items() if found is not None}


def entry_value(entry: Entry) -> str:
    """The `entry` slot: listed, or listed with other paths than the store's own."""
    if entry.paths is None:
        return LISTED
    return f"{LISTED_AT}{entry.manifest_path} {entry.sqlite_path}"


def entry_slots(entry: Entry) -> dict[str, Value]:
    """The slots that the catalog gives a dataset."""
    slots: dict[str, Value] = {ENTRY: entry_value(entry)}
    if entry.diffs:
        slots[DIFFS] = tuple(_shown(entry.id, path) for path in entry.diffs)
    return slots


def _shown(dataset: DatasetId, path: str) -> str:
    """A path below the dataset's own directory is shown relative to it."""
    inner = path.removeprefix(f"{dataset_path(dataset)}/")
    if inner != path and inner.startswith(_DATASET_FOLDERS):
        return inner
    return f"./{path}" if path.startswith((*_DATASET_FOLDERS, "./")) else path


def catalog_path(dataset: DatasetId, shown: str) -> str:
    """The path that the catalog holds for one that is shown; the inverse of showing it."""
    if shown.startswith(_DATASET_FOLDERS):
        return f"{dataset_path(dataset)}/{shown}"
    return shown.removeprefix("./")


def alias_slots(alias: Alias, catalog_hash: str) -> Slots:
    """The slots of an alias: what it names, and the catalog that it belongs to."""
    bound = alias.catalog_sha256 == catalog_hash
    return {NAMED: str(alias.dataset), BINDING: BOUND if bound else f"sha256:{alias.catalog_sha256}"}


def encode_kept(kept: Mapping[str, Alias]) -> bytes:
    """The canonical bytes of `aliases.json`."""
    return canonical(
        {
            "schema": ALIASES_SCHEMA,
            "aliases": {
                key: {
                    "dataset": str(alias.dataset),
                    "policy": alias.policy,
                    "updated_at": alias.updated_at,
                    "updated_by": alias.updated_by,
                    "catalog_sha256": alias.catalog_sha256,
                }
                for key, alias in kept.items()
            },
        }
    )


def _parse_kept(data: bytes, where: str) -> Mapping[str, Alias]:
    try:
        document: Any = parse_strict(data, where=where)
        kept = {
            key: Alias(
                dataset=DatasetId.parse(item["dataset"]),
                policy=item["policy"],
                updated_at=item["updated_at"],
                updated_by=item["updated_by"],
                catalog_sha256=item["catalog_sha256"],
            )
            for key, item in sorted(document["aliases"].items())
        }
        if document["schema"] != ALIASES_SCHEMA or encode_kept(kept) != data:
            raise _broken_kept(where)
    except (InvalidInput, KeyError, TypeError, AttributeError) as error:
        raise _broken_kept(where) from error
    return kept


def _broken_kept(where: str) -> Corrupt:
    return Corrupt.of("E_LIVE_ALIAS", "the kept aliases cannot be read", path=where, fix=REBUILD)
