"""A store as a snapshot says it was: it can be read and nothing else, and no live system is opened.

Stands in for a live store where no credentials may be. It answers with what was observed then, whatever
depth is asked for, and it has no ledger to show: what a plan needs of it, the inventory, is in the snapshot.
What is inside of content comes from the snapshot, and of what a plan would publish from its source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

from reconciler.contents import Content, Look
from reconciler.errors import InvalidInput, Problem, Unavailable
from reconciler.ledger import Record, Run
from reconciler.model import Observed, Selection, Step, StoreConfig
from reconciler.snapshot import StoreSnapshot
from reconciler.stores.port import Capabilities, Surroundings, described_sources


class PublishedStore:
    """One store of a snapshot (see `reconciler.stores.port.Store`)."""

    capabilities = Capabilities(
        serialises_writers=False,
        atomic_units=False,
        deletes_content=False,
        survives_reopen=True,
        describes=True,
    )

    def __init__(self, config: StoreConfig, seen: StoreSnapshot, surroundings: Surroundings) -> None:
        self.config = config
        self._seen = seen
        self._surroundings = surroundings

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

    def describe(self, looks: Sequence[Look]) -> Iterator[tuple[Look, Content]]:
        """What the snapshot says of content, and what sources say of what would be published."""
        known = {content.address: content for content in self._seen.contents}
        with_source = tuple(look for look in looks if look.source)
        yield from described_sources(self.config.kind, with_source, self._surroundings)
        for look in looks:
            if not look.source:
                yield look, known.get(look.address) or _unknown(look)

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


def _unknown(look: Look) -> Content:
    problem = Problem(
        code="E_SNAPSHOT_ONLY",
        message="the snapshot does not say what is inside",
        path=str(look.address),
        fix="ask where the store can be reached",
    )
    return Content(address=look.address, facts={}, problems=(problem,))
