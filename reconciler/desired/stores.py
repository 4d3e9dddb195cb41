"""`Stores` documents: where the live systems are.

A kind of store joins with one branch of the schema and one line in `_LOCATIONS`. Locations stay as they
were written, also ``{env: VARIABLE}``: who opens a store resolves them. Names are unique over all
documents, two stores never share a location, and a chain of `promotesFrom` has one kind and an end.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from reconciler.desired.draft import Draft
from reconciler.desired.location import (
    base_problem,
    bucket_problem,
    database_problem,
    endpoint_problem,
    index_problem,
    ledger_problem,
    objects_problem,
    root_problem,
)
from reconciler.desired.yaml_guard import Document
from reconciler.errors import Problem
from reconciler.model import Place, StoreConfig

_LOCATIONS: Final[Mapping[str, Mapping[str, Callable[[str], Problem | None]]]] = {
    "atdata-index": {"path": index_problem},
    "atproto": {"service": endpoint_problem, "plc": endpoint_problem, "ledger": ledger_problem},
    "bucket": {"root": bucket_problem, "url": base_problem},
    "registry": {"database": database_problem, "objects": objects_problem},
    "serving": {"root": root_problem},
}
"""For each kind of store: which settings are locations, and what judges them."""

_SHARED: Final = frozenset({"service", "plc", "url"})
"""Locations that several stores may have: one server holds many accounts."""

_COMPARED: Final = 100
_TRUTHS: Final = frozenset({"create", "authoritative", "allowPrivate"})


def add_stores(document: Document, draft: Draft) -> None:
    """Add the stores of one document to the draft."""
    draft.describe(document.path, document.root.get("meta"))
    stores = document.root["stores"]
    for (name, written), at in zip(stores.items(), document.key_places(stores), strict=True):
        place = Place(document.path, *at)
        kind = written["kind"]
        for setting, judge in _LOCATIONS[kind].items():
            value = written.get(setting)
            if isinstance(value, str):
                draft.note(judge(value), document, ("stores", name, setting))
        endpoint = written.get("endpoint")
        if isinstance(endpoint, str):
            draft.note(endpoint_problem(endpoint), document, ("stores", name, "endpoint"))
        if name in draft.stores:
            first = draft.stores[name].place
            draft.refuse("E_DUPLICATE", f"the store is declared twice, first at {first}", place, got=name)
            continue
        settings: dict[str, Any] = {key: value for key, value in written.items() if key != "kind"}
        settings |= {key: settings[key] == "true" for key in _TRUTHS.intersection(settings)}
        if settings.pop("authoritative", False):
            draft.authoritative.add(name)
        draft.stores[name] = StoreConfig(name=name, kind=kind, settings=settings, place=place)


def check_stores(draft: Draft) -> None:
    """Check what only all documents together can tell about stores."""
    for use in draft.uses:
        config = draft.stores.get(use.store)
        if config is None:
            if draft.unread:
                continue
            near = difflib.get_close_matches(use.store, islice(draft.stores, _COMPARED), n=1)
            fix = f'did you mean "{near[0]}"?' if near else "declare it in a Stores document"
            draft.refuse(
                "E_STORE_UNKNOWN", "no document declares this store", use.place, got=use.store, fix=fix
            )
        elif config.kind != use.kind:
            message = f"the document is for stores of kind {use.kind}, this one is of kind {config.kind}"
            draft.refuse("E_STORE_KIND", message, use.place, got=use.store, fix=f"name a {use.kind} store")
    _check_chains(draft)
    _check_locations(draft)


def _check_chains(draft: Draft) -> None:
    """Every chain of `promotesFrom` leads along declared stores to one that promotes from none."""
    ends: set[str] = set()
    for name in draft.stores:
        chain: dict[str, None] = {}
        now: str | None = name
        while now is not None and now not in ends and now not in chain:
            chain[now] = None
            before = draft.stores[now].settings.get("promotesFrom")
            place = draft.stores[now].place
            if before is not None and before not in draft.stores:
                if not draft.unread:
                    draft.refuse("E_STORE_UNKNOWN", "promotesFrom names no declared store", place, got=before)
                before = None
            elif before is not None and draft.stores[before].kind != (kind := draft.stores[now].kind):
                message = (
                    f"promotesFrom names a {draft.stores[before].kind} store, and this is a {kind} store"
                )
                draft.refuse("E_STORE_KIND", message, place, got=before, fix=f"name a {kind} store")
                before = None
            elif before in chain:
                draft.refuse("E_STORE_CYCLE", "a store promotes from itself in the end", place, got=before)
            now = before
        ends.update(chain)


def _check_locations(draft: Draft) -> None:
    taken: dict[str, StoreConfig] = {}
    for config in draft.stores.values():
        for setting in _LOCATIONS[config.kind]:
            written = config.settings.get(setting)
            if not isinstance(written, str) or setting in _SHARED:
                continue
            scheme, _, rest = written.partition(":")
            location = posixpath.normpath(rest) if scheme in {"file", "sqlite"} else written
            first = taken.setdefault(location, config)
            if first is not config:
                message = f"the location is that of store {first.name} at {first.place}"
                fix = "give each store its own"
                draft.refuse("E_DUPLICATE", message, config.place, got=config.name, fix=fix)
