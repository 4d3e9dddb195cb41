"""Real processes for tests of races and crashes: forked, started together, and asked how they ended."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterable

from reconciler import failpoints


def start(work: Callable[[], None], *, armed: str = "") -> int:
    """Fork a process that does some work; its number. An exception ends it with 1.

    Args:
        work: what it does.
        armed: failpoints, as the variable spells them.
    """
    child = os.fork()
    if child == 0:
        failpoints.arm(armed)
        os._exit(_done(work))
    return child


def ended(child: int) -> int:
    """Wait for a process: its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def together(works: Iterable[Callable[[], None]]) -> list[int]:
    """Run processes that start at the same moment; how each ended."""
    gate, key = os.pipe()

    children = []
    for work in works:
        child = os.fork()
        if child == 0:
            os.close(key)
            os.read(gate, 1)
            os._exit(_done(work))
        children.append(child)
    os.close(key)
    os.close(gate)
    return [ended(child) for child in children]


def _done(work: Callable[[], None]) -> int:
    try:
        work()
    except BaseException:  # noqa: BLE001 - whatever it is, the parent must see it
        traceback.print_exc()
        return 1
    return 0


def stopped(child: int) -> None:
    """Wait until a process has stopped itself."""
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status


def resume(child: int) -> None:
    """Let a stopped process go on."""
    os.kill(child, signal.SIGCONT)
