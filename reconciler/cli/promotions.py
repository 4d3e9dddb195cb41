"""Promotions made into declarations, once the account that they go to is open.

Puts together what only an edge may: the account's DID and schemas, the sources of each promotion and the
rule that decides the records. The desired state that comes back holds the declarations beside the others;
the bytes of the records travel in the mapping that the store was opened with.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler.cli.promotion_data import PromotionData, unfit_for_the_public
from reconciler.cli.promotion_sources import PromotionSources
from reconciler.errors import InvalidInput, Problem
from reconciler.model import Desired, Promotion, StoreConfig
from reconciler.stores.atproto.keys import SCHEMA
from reconciler.stores.atproto.order import NAME, VERSION
from reconciler.stores.atproto.repository import Reading
from reconciler.stores.atproto.resolution import (
    PublishedSchema,
    Publisher,
    Resolution,
    Source,
    placed,
    resolved,
    schema_meaning,
)
from reconciler.stores.atproto.store import AtprotoStore
from reconciler.stores.port import Blobs, Store, Surroundings


def resolve_promotions(
    desired: Desired,
    opened: Store,
    sources: PromotionSources,
    data: PromotionData,
    records: dict[str, bytes],
) -> Desired:
    """The desired state with what its promotions to one account declare.

    Args:
        desired: as it was loaded.
        opened: the account, open.
        sources: where the promotions come from.
        data: where their data is, or goes.
        records: gets the bytes of the records by CID.

    Raises:
        InvalidInput: everything that is wrong with the promotions.
        Unavailable, Corrupt: the account or a source cannot be read.
    """
    store = account(opened)
    promotions = [one for one in desired.promotions if one.store == store.config.name]
    found = resolution(promotions, store, sources, data)
    records.update(found.records)
    return declared(desired, found)


def declared(desired: Desired, found: Resolution) -> Desired:
    """The desired state with what some promotions declare."""
    declarations = sorted((*desired.declarations, *found.declarations.values()), key=lambda one: one.address)
    travelling = {one.source for one in found.declarations.values() if one.source is not None}
    return replace(
        desired,
        declarations=tuple(declarations),
        committed=desired.committed | frozenset(travelling),
        terms={**desired.terms, **found.terms},
    )


_NOBODY: Final = Publisher(did=f"did:plc:{'a' * 24}", schemas={})


def check_documents(desired: Desired, blobs: Blobs) -> None:
    """Check what can be told of promotions without any store: schema files, shards and what is said of them.

    Args:
        desired: as it was loaded.
        blobs: gives the schema files.

    Raises:
        InvalidInput: everything that is wrong.
    """
    promotions = [
        replace(one, origin=replace(one.origin, revision=""), copy_to="")
        for one in desired.promotions
        if one.origin is not None and one.origin.schema
    ]
    copied = {one.place for one in desired.promotions if one.copy_to}
    problems: list[Problem] = []
    read: list[tuple[Promotion, Source | None]] = []
    with ExitStack() as stack:
        sources = PromotionSources(desired, _as_it_is, Surroundings(root=Path(), blobs=blobs), stack)
        for promotion, source in sources.read_all(promotions, problems):
            private = desired.stores[promotion.store].settings.get("allowPrivate") is True
            if source is not None and promotion.place not in copied:
                unfit = unfit_for_the_public(source.shards, allow_private=private)
                problems += placed(unfit, promotion.place)
                read.append((promotion, source))
    if problems:
        raise InvalidInput(problems)
    resolved(read, _NOBODY)


def _as_it_is(config: StoreConfig) -> StoreConfig:
    return config


def account(store: Store) -> AtprotoStore:
    """The store as an account.

    Raises:
        InvalidInput: E_STORE_KIND.
    """
    if isinstance(store, AtprotoStore):
        return store
    raise InvalidInput.of("E_STORE_KIND", "this must be a store of kind atproto", got=store.config.kind)


def resolution(
    promotions: Sequence[Promotion], store: AtprotoStore, sources: PromotionSources, data: PromotionData
) -> Resolution:
    """What promotions to one account declare, every problem reported together.

    Raises:
        InvalidInput: everything that is wrong with the promotions.
        Unavailable, Corrupt: the account or a source cannot be read.
    """
    problems: list[Problem] = []
    reading = store.read()
    read: list[tuple[Promotion, Source | None]] = []
    for promotion, source in sources.read_all(promotions, problems):
        try:
            read.append(
                (promotion, None if source is None else data.placed(promotion, source, store, reading))
            )
        except InvalidInput as error:
            problems += placed(error.problems, promotion.place)
    if problems:
        raise InvalidInput(problems)
    return resolved(read, publisher_of(store.did, reading))


def publisher_of(did: str, reading: Reading) -> Publisher:
    """What a reading of the account says of its schemas."""
    schemas: dict[tuple[str, str], tuple[PublishedSchema, ...]] = {}
    for (kind, key), stored in reading.records.items():
        name, version = stored.slots.get(NAME), stored.slots.get(VERSION)
        if kind == SCHEMA and isinstance(name, str) and isinstance(version, str) and not stored.problems:
            one = PublishedSchema(key, str(stored.slots["content"]), schema_meaning(stored.record))
            schemas[name, version] = (*schemas.get((name, version), ()), one)
    return Publisher(did=did, schemas=schemas)
