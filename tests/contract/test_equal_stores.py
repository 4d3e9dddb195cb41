"""The serving store and the memory store, driven with one history, always look the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reconciler.errors import ReconcilerError
from reconciler.ledger import Run
from reconciler.model import Declaration, Step
from reconciler.stores.port import Store
from reconciler.testing.harness import (
    BY_GIT,
    BY_HAND,
    declared,
    declared_alias,
    live,
    planned,
    reconciled,
    removed,
    removed_alias,
    steps_of,
)
from reconciler.testing.memory_harness import MemoryHarness
from reconciler.testing.serving_harness import ServingHarness
from reconciler.testing.strategies import DIFFS, POOL, Wish, wishes

KEYS = POOL[:4]
Answer = tuple[str, ...]


class EqualStores(RuleBasedStateMachine):
    """Every rule does the same to both stores and compares the answers."""

    base: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.serving = ServingHarness(self.base)
        self.memory = MemoryHarness()
        self.stores: tuple[Store, Store] = (self.serving.open(), self.memory.open())
        self.before = Wish((), None)
        self.kept: tuple[Step, ...] = ()

    def both(self, act: Callable[[Store], Answer]) -> None:
        answers = [_answer(act, store) for store in self.stores]
        assert answers[0] == answers[1]

    def declarations(self, store: Store, wish: Wish) -> list[Declaration]:
        for key, _ in wish.listed:
            build = self.serving.build(key)
            self.memory.state.sources[build.source] = build.digest
        return wish.declarations(self.serving, store, before=self.before)

    @rule(wish=wishes())
    def git_decides(self, wish: Wish) -> None:
        self.both(lambda store: _outcomes(store, self.declarations(store, wish)))
        self.before = wish

    @rule(key=st.sampled_from(KEYS), diffs=st.sampled_from(DIFFS))
    def somebody_promotes(self, key: str, diffs: tuple[str, ...]) -> None:
        build = self.serving.build(key)
        self.memory.state.sources[build.source] = build.digest
        self.both(lambda store: _committed(store, [declared(store, key, build, diffs)], BY_HAND))

    @rule(key=st.sampled_from(KEYS))
    def somebody_rolls_back(self, key: str) -> None:
        self.both(lambda store: _committed(store, [removed(store, key)], BY_HAND))

    @rule(key=st.sampled_from(KEYS))
    def somebody_points_latest(self, key: str) -> None:
        self.both(lambda store: _committed(store, [declared_alias(store, key)], BY_HAND))

    @rule()
    def somebody_drops_latest(self) -> None:
        self.both(lambda store: _committed(store, [removed_alias(store)], BY_HAND))

    @rule(wish=wishes())
    def somebody_plans_and_waits(self, wish: Wish) -> None:
        plans = [steps_of(planned(store, self.declarations(store, wish))) for store in self.stores]
        assert plans[0] == plans[1]
        self.kept = plans[0]

    @precondition(lambda self: self.kept)
    @rule()
    def the_one_who_waited_applies(self) -> None:
        self.both(lambda store: _done(store, self.kept, BY_GIT))

    @precondition(lambda self: self.kept)
    @rule(at=st.integers(0, 9))
    def a_single_step_is_tried(self, at: int) -> None:
        step = self.kept[at % len(self.kept)]
        self.both(lambda store: _done(store, [step], BY_HAND))

    @rule()
    def both_are_opened_again(self) -> None:
        for store in self.stores:
            store.close()
        self.stores = (self.serving.open(), self.memory.open())

    @invariant()
    def observations_are_equal(self) -> None:
        serving, memory = (live(store) for store in self.stores)
        assert serving == memory

    @invariant()
    def histories_are_equal(self) -> None:
        serving, memory = (
            [
                (record.seq, record.run, record.steps, [(r.step, r.outcome) for r in record.results or ()])
                for record in store.history()
            ]
            for store in self.stores
        )
        assert serving == memory

    def teardown(self) -> None:
        for store in self.stores:
            store.close()


def _answer(act: Callable[[Store], Answer], store: Store) -> Answer:
    try:
        return act(store)
    except ReconcilerError as error:
        return (type(error).__name__,)


def _outcomes(store: Store, wishes: Sequence[Declaration]) -> Answer:
    report = reconciled(store, wishes)
    return (report.exit_code.name, *(f"{i.step.id}: {i.result.outcome.value}" for i in report.items))


def _committed(store: Store, wishes: Sequence[Declaration], run: Run) -> Answer:
    return _done(store, steps_of(planned(store, wishes)), run)


def _done(store: Store, steps: Sequence[Step], run: Run) -> Answer:
    return tuple(f"{result.step}: {result.outcome.value}" for result in store.commit(steps, run))


def test_serving_store_and_memory_store_stay_equal(tmp_path: Path) -> None:
    EqualStores.base = tmp_path
    run_state_machine_as_test(
        EqualStores,
        settings=settings(
            max_examples=25,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
