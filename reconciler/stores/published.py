"""A store as a snapshot says it was: it can be read and nothing else, and no live system is opened.

Stands in for a live store where no credentials may be. It answers with what was observed then, whatever
depth is asked for, and it has no ledger to show: what a plan needs of it, the inventory, is in the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

from reconciler.errors import InvalidInput, Unavailable
from reconciler.ledger import Record, Run
from reconciler.model import Observed, Selection, Step, StoreConfig
from reconciler.snapshot import StoreSnapshot
from reconciler.stores.port import Capabilities


class PublishedStore:
    """One store of a snapshot (see `reconciler.stores.port.Store`)."""

    capabilities = Capabilities(
        serialises_writers=False, atomic_units=False, deletes_content=False, survives_reopen=True
    )

    def __init__(self, config: StoreConfig, seen: StoreSnapshot) -> None:
        self.config = config
        self._seen = seen

    def revision(self) -> str:
        """The revision that was observed."""
        return self._seen.revision

    def snapshot(self, selection: Selection) -> Iterator[Observed]:
        """What was observed of what is selected, sorted by address."""
        wanted = selection.addresses
        return (seen for seen in self._seen.observed if wanted is None or seen.address in wanted)

    def history(self) -> Iterator[Record]:
        """Nothing can be said of the ledger.

        Raises:
            Unavailable: E_SNAPSHOT_ONLY.
        """
        raise Unavailable.of(
            "E_SNAPSHOT_ONLY",
            "a snapshot does not hold the ledger's records",
            path=self.config.name,
            fix="ask where the store can be reached",
        )

    def commit(self, steps: Sequence[Step], run: Run) -> NoReturn:
        """Refuse.

        Raises:
            InvalidInput: E_PLAN_ADVISORY.
        """
        del steps, run
        raise InvalidInput.of(
            "E_PLAN_ADVISORY", "nothing can be written to a snapshot", path=self.config.name, fix="plan again"
        )

    def recover(self) -> None:
        """Nothing: a snapshot is not taken while a run stands open."""
        return

    def close(self) -> None:
        """Nothing is held."""
