"""The three writes of a serving store, each one commit point for its readers.

    publish   one rename of a complete directory
    catalog   one replace of `catalog.json`, recomputed from the live catalog under the lock; then
              `catalog.sha256` where it exists, then the binding of every alias, whoever owns it
    alias     one replace (or removal) of an alias file

Entries that a step does not name are kept as they are, and so is a file whose bytes would not change.
Doing a step that was done already changes nothing, so recovery does unfinished steps again.

Every write is preceded by the session's fence and, for the catalog, by a comparison of its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum

from reconciler.canonical import sha256_digest
from reconciler.errors import InvalidInput
from reconciler.model import Change, DatasetId, Step
from reconciler.stores.serving.alias import Alias, encode_alias
from reconciler.stores.serving.catalog import (
    CATALOG_DIGEST,
    Catalog,
    Entry,
    encode_catalog,
    parse_catalog_digest,
    struct_digest,
)
from reconciler.stores.serving.durable import (
    ALIAS_MOMENTS,
    CATALOG_MOMENTS,
    DIGEST_MOMENTS,
    remove_file,
    replace_file,
)
from reconciler.stores.serving.files import read_file
from reconciler.stores.serving.heads import (
    ALIAS_FILE,
    ALIASES_FILE,
    CATALOG_FILE,
    Heads,
    catalog_path,
    encode_kept,
)
from reconciler.stores.serving.order import (
    ARTIFACT,
    DATASET,
    ENTRY,
    LATEST,
    NAMED,
)
from reconciler.stores.serving.preconditions import publications
from reconciler.stores.serving.publish import place
from reconciler.stores.serving.session import Session


class Again(Enum):
    """Whether a write whose bytes stand already is skipped, or made again because it may not be durable."""

    SKIP = "skip"
    REWRITE = "rewrite"


def do_step(session: Session, step: Step, time: int, again: Again = Again.SKIP) -> str:
    """Do one checked step and return its receipt: the digest of what was written.

    Raises:
        Conflict: E_FENCED or E_CONFLICT, somebody else writes.
        OSError, Unavailable: the store failed.
    """
    first = step.changes[0]
    if first.slot == ARTIFACT:
        for publication in publications((step,)):
            place(session.root, session.seq, publication, still_ours=session.still_ours)
        return str(first.after)
    if first.address.kind == DATASET:
        return _do_catalog(session, step.changes, again)
    return _do_alias(session, step.changes, time, again)


def edited(catalog: Catalog, changes: tuple[Change, ...]) -> Catalog:
    """The catalog after a step's changes."""
    edits: dict[DatasetId, Entry | None] = {}
    for change in changes:
        dataset = DatasetId.parse(change.address.key)
        entry = edits[dataset] if dataset in edits else catalog.find(dataset)
        if change.slot == ENTRY:
            diffs = entry.diffs if entry else ()
            edits[dataset] = None if change.after is None else Entry(dataset, None, diffs)
        elif entry is not None:
            paths = change.after if isinstance(change.after, tuple) else ()
            edits[dataset] = entry._replace(diffs=tuple(catalog_path(dataset, path) for path in paths))
    return catalog.edited(edits)


def _do_catalog(session: Session, changes: tuple[Change, ...], again: Again) -> str:
    heads = session.heads()
    # The entry of a dataset comes before its diffs, which need it.
    ordered = tuple(sorted(changes, key=lambda c: (c.address, c.slot != ENTRY)))
    catalog = edited(heads.catalog, ordered)
    digest = write_catalog(session, heads, catalog, again)
    bind_aliases(session, again)
    return digest


def write_catalog(session: Session, heads: Heads, catalog: Catalog, again: Again) -> str:
    """Replace the catalog, and its digest file where there is one; returns the digest of its bytes."""
    base = heads.digests.get("catalog")
    if base is not None and catalog == heads.catalog and again is Again.SKIP:
        digest = base
    else:
        data = encode_catalog(catalog)
        digest = sha256_digest(data)
        if digest != base or again is Again.REWRITE:
            replace_file(
                session.root, CATALOG_FILE, data, CATALOG_MOMENTS, still_valid=session.catalog_is(base)
            )
        session.remember(data, catalog)
    _write_digest(session, catalog, again)
    return digest


def _write_digest(session: Session, catalog: Catalog, again: Again) -> None:
    """Keep `catalog.sha256` true where it exists; the words after the digest stay (contract 2.2)."""
    data = read_file(session.root, CATALOG_DIGEST, where=session.where)
    if data is None:
        return
    digest = struct_digest(catalog)
    try:
        stated = parse_catalog_digest(data)
        rest = data.lstrip()[len(stated) :]
    except InvalidInput:
        stated, rest = "", b"\n"
    if stated != digest or again is Again.REWRITE:
        new = digest.encode("ascii") + rest
        replace_file(session.root, CATALOG_DIGEST, new, DIGEST_MOMENTS, still_valid=session.still_ours)


def bind_aliases(session: Session, again: Again) -> None:
    """Make every alias name the catalog that is live now; nothing else of a record changes."""
    heads = session.heads()
    if heads.alias and (heads.alias.catalog_sha256 != heads.catalog_hash or again is Again.REWRITE):
        _write_alias(session, replace(heads.alias, catalog_sha256=heads.catalog_hash))
    kept = {key: replace(alias, catalog_sha256=heads.catalog_hash) for key, alias in heads.kept.items()}
    if kept != heads.kept or (kept and again is Again.REWRITE):
        _write_kept(session, kept)


def _do_alias(session: Session, changes: tuple[Change, ...], time: int, again: Again) -> str:
    heads = session.heads()
    key = changes[0].address.key
    live = heads.aliases().get(key)
    named = next((change for change in changes if change.slot == NAMED), None)
    if (named or changes[0]).after is None:
        return _drop(session, heads, key)
    dataset = DatasetId.parse(str(named.after)) if named else live.dataset if live else None
    if dataset is None:
        raise InvalidInput.of("E_STEP", "an alias that does not exist cannot be bound", path=key)
    if live and (live.dataset, live.catalog_sha256) == (dataset, heads.catalog_hash) and again is Again.SKIP:
        return _receipt(heads, key)
    record = Alias(dataset=dataset, catalog_sha256=heads.catalog_hash, updated_at=str(time))
    if live and live.dataset == dataset:
        record = replace(live, catalog_sha256=heads.catalog_hash)
    if key == LATEST:
        return _write_alias(session, record)
    return _write_kept(session, {**heads.kept, key: record})


def _drop(session: Session, heads: Heads, key: str) -> str:
    if key == LATEST:
        remove_file(session.root, ALIAS_FILE, ALIAS_MOMENTS, still_valid=session.still_ours)
        return ""
    return _write_kept(session, {name: alias for name, alias in heads.kept.items() if name != key})


def _receipt(heads: Heads, key: str) -> str:
    return heads.digests["alias" if key == LATEST else "aliases"]


def _write_alias(session: Session, alias: Alias) -> str:
    data = encode_alias(alias)
    replace_file(session.root, ALIAS_FILE, data, ALIAS_MOMENTS, still_valid=session.still_ours)
    return sha256_digest(data)


def _write_kept(session: Session, kept: Mapping[str, Alias]) -> str:
    if not kept:
        remove_file(session.root, ALIASES_FILE, ALIAS_MOMENTS, still_valid=session.still_ours)
        return ""
    data = encode_kept(kept)
    replace_file(session.root, ALIASES_FILE, data, ALIAS_MOMENTS, still_valid=session.still_ours)
    return sha256_digest(data)
