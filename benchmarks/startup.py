"""How long `reconciler --help` computes, beside a Python that does nothing.

Both commands run in turns, so that a busy machine slows both alike. The goal is on CPU time: waiting for
a shared core is not ours to promise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.measure import median, module, run
from benchmarks.report import Goal, Report, finish, seconds

_LIMIT = 0.100


def measure(repeats: int) -> Report:
    """The medians of as many runs of each."""
    ours, bare = module("reconciler", "--help"), (sys.executable, "-c", "pass")
    run(ours)  # byte code is compiled once per installation, not once per call
    pairs = [(run(ours), run(bare)) for _ in range(repeats)]
    our, floor = median([first for first, _ in pairs]), median([second for _, second in pairs])
    return Report(
        title="Start-up",
        command="python -m benchmarks.startup",
        columns=("", "CPU (median)", "wall (median)"),
        rows=[
            ("`reconciler --help`", seconds(our.cpu), seconds(our.wall)),
            ("floor: `python -c pass`", seconds(floor.cpu), seconds(floor.wall)),
        ],
        goals=[Goal(asked="at most 100 ms of CPU", got=seconds(our.cpu), met=our.cpu <= _LIMIT)],
        notes=[f"Medians of {repeats} runs, the two commands in turns."],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=20)
    return finish([measure(parser.parse_args(arguments).repeats)])


if __name__ == "__main__":
    sys.exit(main())
