"""The four writes of a serving store, each one commit point for its readers.

    publish   one rename of a complete directory
    catalog   one replace of `catalog.json`, recomputed from the live catalog under the lock; then
              `catalog.sha256` where it exists, then the binding of every alias, whoever owns it
    alias     one replace (or removal) of an alias file
    collect   one rename of a dataset to the trash

Entries that a step does not name are kept as they are, and so is a file whose bytes would not change.
Doing a step that was done already changes nothing, so recovery does unfinished steps again.

Every write is preceded by the session's fence and, for the catalog, by a comparison of its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum

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
from reconciler.stores.serving.collect import collects, move_to_trash
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


def do_step(session: Session, step: Step, time: int, again: Again = Again.SKIP) -> None:
    """Do one checked step.

    Raises:
        Conflict: E_FENCED or E_CONFLICT, somebody else writes.
        OSError, Unavailable: the store failed.
    """
    first = step.changes[0]
    if collects(step):
        move_to_trash(session, step)
    elif first.slot == ARTIFACT:
        for publication in publications((step,)):
            place(session.root, session.seq, publication, still_ours=session.still_ours)
    elif first.address.kind == DATASET:
        _do_catalog(session, step.changes, again)
    else:
        _do_alias(session, step.changes, time, again)


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


def _do_catalog(session: Session, changes: tuple[Change, ...], again: Again) -> None:
    heads = session.heads()
    # The entry of a dataset comes before its diffs, which need it.
    ordered = tuple(sorted(changes, key=lambda c: (c.address, c.slot != ENTRY)))
    catalog = edited(heads.catalog, ordered)
    write_catalog(session, heads, catalog, again)
    bind_aliases(session, again)


def write_catalog(session: Session, heads: Heads, catalog: Catalog, again: Again) -> None:
    """Replace the catalog, and its digest file where there is one."""
    base = heads.digests.get("catalog")
    if base is None or catalog != heads.catalog or again is Again.REWRITE:
        data = encode_catalog(catalog)
        still_valid = session.catalog_is(base)
        replace_file(session.root, CATALOG_FILE, data, CATALOG_MOMENTS, still_valid=still_valid)
        session.remember(data, catalog)
    _write_digest(session, catalog, again)


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


def _do_alias(session: Session, changes: tuple[Change, ...], time: int, again: Again) -> None:
    heads = session.heads()
    key = changes[0].address.key
    live = heads.aliases().get(key)
    named = next((change for change in changes if change.slot == NAMED), None)
    if (named or changes[0]).after is None:
        _drop(session, heads, key)
        return
    dataset = DatasetId.parse(str(named.after)) if named else live.dataset if live else None
    if dataset is None:
        raise InvalidInput.of("E_STEP", "an alias that does not exist cannot be bound", path=key)
    record = Alias(dataset=dataset, catalog_sha256=heads.catalog_hash, updated_at=str(time))
    if live is not None and live.dataset == dataset:
        record = replace(live, catalog_sha256=heads.catalog_hash)
    if record == live and again is Again.SKIP:
        return
    if key == LATEST:
        _write_alias(session, record)
    else:
        _write_kept(session, {**heads.kept, key: record})


def _drop(session: Session, heads: Heads, key: str) -> None:
    if key == LATEST:
        remove_file(session.root, ALIAS_FILE, ALIAS_MOMENTS, still_valid=session.still_ours)
    else:
        _write_kept(session, {name: alias for name, alias in heads.kept.items() if name != key})


def _write_alias(session: Session, alias: Alias) -> None:
    data = encode_alias(alias)
    replace_file(session.root, ALIAS_FILE, data, ALIAS_MOMENTS, still_valid=session.still_ours)


def _write_kept(session: Session, kept: Mapping[str, Alias]) -> None:
    if kept:
        data = encode_kept(kept)
        replace_file(session.root, ALIASES_FILE, data, ALIAS_MOMENTS, still_valid=session.still_ours)
    else:
        remove_file(session.root, ALIASES_FILE, ALIAS_MOMENTS, still_valid=session.still_ours)
