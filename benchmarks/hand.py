"""Promotions by hand through the port, as the benchmarks of the store alone need them.

The same calls as `catalog promote` makes: observe the addresses, cut the changes into steps by the
store's own shape, commit them as a run by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import Unavailable
from reconciler.ledger import Run
from reconciler.model import Address, Change, Depth, Outcome, Place, Selection, Step, StoreConfig
from reconciler.stores.port import Store, Surroundings, adapter

_NAME, _KIND = "serving", "serving"
_RUN = Run(by="hand", time=1700000000, tool="benchmarks", reason="benchmark", command="catalog promote")


@contextmanager
def opened(root: Path) -> Iterator[Store]:
    """The serving store at a directory."""
    config = StoreConfig(
        name=_NAME, kind=_KIND, settings={"root": f"file:{root}"}, place=Place("benchmarks", 0, 0)
    )
    store = adapter(_KIND).open_store(config, Surroundings(root=root, lock_timeout=300.0))
    try:
        yield store
    finally:
        store.close()


def steps_for(store: Store, names: Sequence[str]) -> list[Step]:
    """The steps that promote these published datasets; none for those that are listed already."""
    addresses = frozenset(Address(_NAME, "dataset", name) for name in names)
    seen = store.snapshot(Selection(addresses=addresses, depth=Depth.HEADS))
    listed = {sight.address for sight in seen if "entry" in sight.slots}
    changes = [Change(address, "entry", None, "listed") for address in sorted(addresses - listed)]
    return adapter(_KIND).SHAPE.arrange(_NAME, changes, {})


def commit(store: Store, steps: Sequence[Step]) -> None:
    """Commit steps as a run by hand.

    Raises:
        Unavailable: a step was not applied.
        Conflict: another writer was faster.
    """
    for result in store.commit(steps, _RUN):
        if result.outcome is not Outcome.APPLIED:
            raise Unavailable.of("E_BENCHMARK", f"step '{result.step}' is {result.outcome.value}")
