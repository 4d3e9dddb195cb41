"""What a command costs: CPU seconds, wall seconds and peak memory of one child process.

CPU is user plus system time of the process and of the children that it waited for, and the peak is the
largest resident set among them, both taken from the kernel's own accounting at `wait4`. Nothing is
sampled, so nothing short-lived is missed. A command that fails ends the benchmark with its last lines:
a figure of a command that did something else is worse than none.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MEGABYTE = 1_000_000
_TAIL = 4000
_MEMORY = Path("/dev/shm")  # noqa: S108 - a name of our own is made in it
_ROOM = 8_000_000_000
_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one run of a command cost, and the end of what it wrote.

    Attributes:
        cpu: user and system seconds of the process and its children.
        wall: seconds from start to end.
        peak: bytes of the largest resident set.
        out: the end of its standard output.
        err: the end of its standard error.
    """

    cpu: float
    wall: float
    peak: int
    out: str
    err: str


def run(command: Sequence[str], *, cwd: Path | None = None) -> Usage:
    """Run a command to its end.

    Args:
        command: the program and its arguments.
        cwd: where it runs; the repository when None. The repository is importable either way.

    Raises:
        SystemExit: it did not end with exit code 0.
    """
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=cwd or _REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        _, status, spent = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        usage = Usage(
            cpu=spent.ru_utime + spent.ru_stime,
            wall=wall,
            peak=spent.ru_maxrss * 1024,
            out=_end(out),
            err=_end(err),
        )
    if child.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}:\n{usage.out}{usage.err}")
    return usage


def _end(written: IO[bytes]) -> str:
    size = written.seek(0, os.SEEK_END)
    written.seek(max(0, size - _TAIL))
    return written.read().decode("utf-8", "replace")


def module(name: str, *arguments: str, python: str = sys.executable) -> tuple[str, ...]:
    """The command that runs a Python module."""
    return (python, "-m", name, *arguments)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for what a benchmark builds, removed afterwards.

    It is made in memory where there is room, because the system time of a disk's driver is no property of
    the programs that are compared; else among the temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=_in_memory()) as directory:
        yield Path(directory)


def _in_memory() -> Path | None:
    unused = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    roomy = _MEMORY.is_dir() and min(unused, shutil.disk_usage(_MEMORY).free) > _ROOM
    return _MEMORY if roomy else None


def stands_on(path: Path) -> str:
    """Whether what is measured was read from memory or from a disk, for the notes of a report."""
    return "in memory (tmpfs)" if path.resolve().is_relative_to(_MEMORY) else "on disk"


def median(usages: Sequence[Usage]) -> Usage:
    """The medians of several runs of one command; the largest peak, because a limit must hold each time."""
    return Usage(
        cpu=statistics.median(usage.cpu for usage in usages),
        wall=statistics.median(usage.wall for usage in usages),
        peak=max(usage.peak for usage in usages),
        out=usages[-1].out,
        err=usages[-1].err,
    )
