"""Several reconcilers of one account at the same time: exactly the declared records, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier

import pytest

from reconciler.errors import Conflict
from reconciler.model import Outcome
from tests.integration.atproto.world import RUN, Promoted, World, outcomes
from tests.integration.registry.processes import ended

RACERS = 4
ROUNDS = 40


def declared(number: int) -> list[Promoted]:
    """What a round wishes: everything so far, the last one new, and the one before it edited."""
    edited = [Promoted(f"dataset-{n}", description=f"Edited in round {n + 1}") for n in range(number)]
    return [*edited, Promoted(f"dataset-{number}", description=f"Written in round {number}")]


def converge(world: World, wishes: Sequence[Promoted]) -> None:
    """Reconcile until it is as wished; whoever loses a race plans again, as a person would."""
    for _ in range(50):
        with world.open() as store:
            try:
                told = set(outcomes(world.reconcile(store, world.wishes(*wishes))))
            except Conflict:
                continue
            if told <= {Outcome.APPLIED}:
                return
            if not told <= {Outcome.APPLIED, Outcome.CONFLICT, Outcome.NOT_STARTED}:
                raise AssertionError(told)
    raise AssertionError("it does not converge")


def race(world: World, barrier: Barrier) -> None:
    for number in range(ROUNDS):
        barrier.wait()
        converge(world, declared(number))
        barrier.wait()


def test_four_racing_reconcilers_leave_exactly_the_declared_records(world: World) -> None:
    # Two share a ledger, as on one machine; two have one of their own, as on others.
    shared = world.another("shared")
    worlds = [shared, shared, world.another("second"), world.another("third")]
    barrier = multiprocessing.get_context("fork").Barrier(RACERS)
    children = []
    for one in worlds:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                race(one, barrier)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [ended(child) for child in children] == [0] * RACERS

    assert world.records() == world.expected(*declared(ROUNDS - 1))
    for one in {id(one): one for one in worlds}.values():
        with one.open() as store:
            assert all(record.results is not None for record in store.history())


def test_two_runs_of_one_step_are_one_write_and_one_conflict(world: World) -> None:
    one = Promoted("experiment-2024-001")
    with world.open() as first, world.open() as second:
        steps = world.plan(first, world.wishes(one)).stores[0].steps
        assert world.plan(second, world.wishes(one)).stores[0].steps == steps
        assert outcomes(first.commit(steps, RUN)) == [Outcome.APPLIED]
        with pytest.raises(Conflict) as refused:
            second.commit(steps, RUN)
        assert refused.value.code == "E_CONFLICT"
        assert len(list(second.history())) == 1
    assert world.records() == world.expected(one)
