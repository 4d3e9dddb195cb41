"""Promotions made into declarations, once the account that they go to is open.

Puts together what only an edge may: the account's DID and schemas, the sources of each promotion and the
rule that decides the records. The desired state that comes back holds the declarations beside the others;
the bytes of the records travel in the mapping that the store was opened with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.cli.promotion_data import PromotionData
from reconciler.cli.promotion_sources import PromotionSources
from reconciler.errors import InvalidInput, Problem
from reconciler.model import Desired, Promotion
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
from reconciler.stores.port import Store


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
    declarations = sorted((*desired.declarations, *found.declarations.values()), key=lambda one: one.address)
    travelling = {one.source for one in found.declarations.values() if one.source is not None}
    return replace(
        desired,
        declarations=tuple(declarations),
        committed=desired.committed | frozenset(travelling),
        terms={**desired.terms, **found.terms},
    )


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
    reading = store.reading()
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
