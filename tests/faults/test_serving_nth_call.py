"""The n-th call that changes the file system is killed or fails, for every n: no place can be forgotten.

The interpreter's own audit events stand in for names: they come right before the system call.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError
from tests.faults.test_serving_faults import CASES, LEDGER, LOCK, QUARANTINE, Case, copied, started
from tests.integration.serving_store.world import World, assert_readable, litter, tree

CHANGING = frozenset({"os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod"})
FINISHED, REFUSED = 0, 10


def strike_at(wanted: int, strike: Callable[[], None]) -> None:
    """From now on, and for this process only, strike right before the wanted changing call."""
    seen = 0

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        creates = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & os.O_CREAT)
        if event in CHANGING or creates:
            seen += 1
            if seen == wanted:
                strike()

    sys.addaudithook(audit)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_struck(world: World, case: Case, wanted: int, strike: Callable[[], None]) -> int:
    """The wait status of one command that is struck at its n-th changing call."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            strike_at(wanted, strike)
            world.reconcile(case.wish)
            status = FINISHED
        except ReconcilerError:
            status = REFUSED
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_killed_before_any_call_and_run_again_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    start = started(case, tmp_path / "start")
    whole = copied(start, tmp_path / "whole")
    whole.reconcile(case.wish)
    expected = tree(whole.root, without=LOCK)
    for wanted in range(1, 10_000):
        world = copied(start, tmp_path / "run")
        status = run_struck(world, case, wanted, die)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == FINISHED
            break
        assert_readable(world.root)
        world.reconcile(case.wish)
        assert tree(world.root, without=LOCK) == expected, wanted
        assert litter(world.root) == [], wanted
    assert wanted > 10


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_full_disk_at_any_call_is_no_traceback_and_the_next_run_converges(
    case: Case, tmp_path: Path
) -> None:
    start = started(case, tmp_path / "start")
    whole = copied(start, tmp_path / "whole")
    whole.reconcile(case.wish)
    expected = tree(whole.root, without=(*LOCK, LEDGER, QUARANTINE))
    refused = 0
    for wanted in range(1, 10_000):
        world = copied(start, tmp_path / "run")
        status = os.waitstatus_to_exitcode(run_struck(world, case, wanted, fail))
        assert status in {FINISHED, REFUSED}, wanted
        assert_readable(world.root)
        done = tree(world.root, without=LOCK) == tree(whole.root, without=LOCK)
        world.reconcile(case.wish)
        assert tree(world.root, without=(*LOCK, LEDGER, QUARANTINE)) == expected, wanted
        assert litter(world.root) == [], wanted
        refused += status == REFUSED
        if done and status == FINISHED and wanted > 20:
            break
    assert refused > 3
