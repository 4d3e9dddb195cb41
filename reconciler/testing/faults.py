"""Faults around any store: a call that fails, an answer that is lost, a writer that comes in between.

`FaultyStore` stands before a real store and hands every call on, except for the one fault that it was
made with. It decides nothing about content. Faults below the port (a write that fails half-way, a killed
process) belong to each adapter and come from its harness (`reconciler.testing.contract`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.errors import OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.ledger import Record, Run
from reconciler.model import Observed, Selection, Step, StepResult, StoreConfig
from reconciler.stores.port import Capabilities, Store


def _nothing() -> None:
    """Nobody comes in between."""


@dataclass(slots=True)
class FaultyStore:
    """A store with one planned fault.

    Attributes:
        inner: the store that does the work.
        failing_call: the number of the call (from 1) that fails; 0 for none.
        loses_answer: the answer to the first commit is lost after the write.
        just_before_commit: what another writer does just before a commit reaches the store.
        calls: how many calls were made so far.
    """

    inner: Store
    failing_call: int = 0
    loses_answer: bool = False
    just_before_commit: Callable[[], None] = _nothing
    calls: int = 0

    @property
    def config(self) -> StoreConfig:
        """Where the store is, as declared."""
        return self.inner.config

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""
        return self.inner.capabilities

    def revision(self) -> str:
        """As the store, unless this call fails."""
        self._count()
        return self.inner.revision()

    def snapshot(self, selection: Selection) -> Iterator[Observed]:
        """As the store, unless this call fails."""
        self._count()
        return self.inner.snapshot(selection)

    def history(self) -> Iterator[Record]:
        """As the store, unless this call fails."""
        self._count()
        return self.inner.history()

    def commit(self, steps: Sequence[Step], run: Run) -> tuple[StepResult, ...]:
        """As the store, with the planned fault.

        Raises:
            OutcomeUnknown: the write was done and the answer was lost.
        """
        self._count()
        self.just_before_commit()
        results = self.inner.commit(steps, run)
        if self.loses_answer:
            self.loses_answer = False
            raise OutcomeUnknown.of("E_OUTCOME_UNKNOWN", "the answer to a write was lost", fix="plan again")
        return results

    def recover(self) -> tuple[StepResult, ...] | None:
        """As the store, unless this call fails."""
        self._count()
        return self.inner.recover()

    def close(self) -> None:
        """Close the store."""
        self.inner.close()

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.failing_call:
            raise self.fault()

    @staticmethod
    def fault() -> ReconcilerError:
        """The error of a call that fails."""
        return Unavailable.of("E_UNREACHABLE", "the store did not answer", fix="retry later")
