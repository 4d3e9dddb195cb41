"""Stores as a snapshot says they were: what stands in for each of them where none can be reached."""

from __future__ import annotations

from reconciler.errors import InvalidInput
from reconciler.model import StoreConfig
from reconciler.shape import Shape
from reconciler.snapshot import Snapshot
from reconciler.stores.port import Store, Surroundings
from reconciler.stores.published import PublishedStore


def stand_in(live: Snapshot, config: StoreConfig, shape: Shape, surroundings: Surroundings) -> Store:
    """A store as the snapshot says it was.

    Raises:
        InvalidInput: E_SNAPSHOT_STORE, E_SNAPSHOT_SHAPE.
    """
    seen = live.of_store(config)
    things = (*((s.address, s.slots) for s in seen.observed), *seen.inventory.recorded.items())
    for address, slots in things:
        if not shape.legal(address, slots):
            raise InvalidInput.of(
                "E_SNAPSHOT_SHAPE",
                f"a {config.kind} store cannot hold this",
                path="--live",
                got=str(address),
                fix="take the snapshot again with 'reconciler snapshot --out FILE'",
            )
    if not seen.reading:
        return PublishedStore(config, seen, surroundings)
    from reconciler.stores.atproto.published_account import PublishedAccount  # noqa: PLC0415 - accounts only

    return PublishedAccount(config, seen, surroundings)
