"""Promotions made into declarations, once the account that they go to is open.

Puts together what only an edge may: the account's DID and schemas, the sources of each promotion and the
rule that decides the records. The desired state that comes back holds the declarations beside the others;
the bytes of the records travel in the mapping that the store was opened with.
"""

from __future__ import annotations

from dataclasses import replace

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
from reconciler.stores.atproto.shards import public_problem
from reconciler.stores.atproto.store import AtprotoStore
from reconciler.stores.port import Store


def resolve_promotions(
    desired: Desired, opened: Store, sources: PromotionSources, records: dict[str, bytes]
) -> Desired:
    """The desired state with what its promotions to one account declare.

    Args:
        desired: as it was loaded.
        opened: the account, open.
        sources: where the promotions come from.
        records: gets the bytes of the records by CID.

    Raises:
        InvalidInput: everything that is wrong with the promotions.
        Unavailable, Corrupt: the account or a source cannot be read.
    """
    store = account(opened)
    promotions = [one for one in desired.promotions if one.store == store.config.name]
    found = resolution(promotions, store, sources)
    records.update(found.records)
    declarations = sorted((*desired.declarations, *found.declarations.values()), key=lambda one: one.address)
    travelling = {one.source for one in found.declarations.values() if one.source is not None}
    return replace(
        desired, declarations=tuple(declarations), committed=desired.committed | frozenset(travelling)
    )


def account(store: Store) -> AtprotoStore:
    """The store as an account.

    Raises:
        InvalidInput: E_STORE_KIND.
    """
    if isinstance(store, AtprotoStore):
        return store
    raise InvalidInput.of("E_STORE_KIND", "this must be a store of kind atproto", got=store.config.kind)


def resolution(promotions: list[Promotion], store: AtprotoStore, sources: PromotionSources) -> Resolution:
    """What promotions to one account declare, every problem reported together."""
    problems: list[Problem] = []
    read: list[tuple[Promotion, Source | None]] = []
    private = store.config.settings.get("allowPrivate") is True
    for promotion, source in sources.read_all(promotions, problems):
        read.append((promotion, source))
        if source is not None:
            problems += placed(unfit_for_the_public(source, allow_private=private), promotion.place)
    if problems:
        raise InvalidInput(problems)
    return resolved(read, publisher_of(store.did, store.reading()))


def unfit_for_the_public(source: Source, *, allow_private: bool) -> list[Problem]:
    """What keeps data that stays where it is from being named in a public record."""
    found = (public_problem(one.url, allow_private=allow_private, where="") for one in source.shards)
    return [problem for problem in found if problem is not None]


def publisher_of(did: str, reading: Reading) -> Publisher:
    """What a reading of the account says of its schemas."""
    schemas: dict[tuple[str, str], tuple[PublishedSchema, ...]] = {}
    for (kind, key), stored in reading.records.items():
        name, version = stored.slots.get(NAME), stored.slots.get(VERSION)
        if kind == SCHEMA and isinstance(name, str) and isinstance(version, str) and not stored.problems:
            one = PublishedSchema(key, str(stored.slots["content"]), schema_meaning(stored.record))
            schemas[name, version] = (*schemas.get((name, version), ()), one)
    return Publisher(did=did, schemas=schemas)
