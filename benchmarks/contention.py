"""Eight processes, one hundred promotions each, one store: what is kept, and what a promotion costs.

Each process opens the store through the port and promotes its own published datasets one by one, as a
command by hand does: one locked, synced catalog write and one ledger record each. A process that loses a
race observes again and repeats. Beside it, the reference's unlocked steps do the same work on a store of
the same kind; a write that fails is not repeated, as its command would not. They check and sync nothing,
so their time is no yardstick, only their losses are.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.measure import Usage, module, run
from benchmarks.report import Goal, Report, finish, seconds

_WRITERS, _EACH = 8, 100
_TOTAL = _WRITERS * _EACH


def measure(root: Path) -> Report:
    """Both ways, on two stores of their own."""
    outcomes: dict[str, tuple[dict[str, Any], Usage]] = {}
    for way in ("ours", "reference"):
        run(module("benchmarks.contention", "--prepare", str(root / way)))
        usage = run(module("benchmarks.contention", f"--{way}", str(root / way)))
        outcomes[way] = json.loads(usage.out), usage
    kept = outcomes["ours"][0]["kept"]
    return Report(
        title=f"{_WRITERS} writers, {_EACH} promotions each",
        command="python -m benchmarks.contention",
        columns=("", "kept", "writes that failed", "races repeated", "CPU", "wall", "CPU of each"),
        rows=[
            _row("ours: locked, synced, recorded", *outcomes["ours"]),
            _row("the reference's steps: unlocked, not synced", *outcomes["reference"]),
        ],
        goals=[
            Goal(asked=f"{_TOTAL} of {_TOTAL} kept", got=f"{kept} of {_TOTAL}", met=kept == _TOTAL),
        ],
    )


def _row(name: str, found: dict[str, Any], usage: Usage) -> tuple[str, ...]:
    kept = f"{found['kept']} of {_TOTAL}" if found["readable"] else "none: the catalog is torn"
    counts = (kept, str(found["failed"]), str(found["repeated"]))
    return (name, *counts, seconds(usage.cpu), seconds(found["wall"]), seconds(usage.cpu / _TOTAL))


def _names(writer: int) -> list[str]:
    return [f"{number}/species_{writer}/GRCx1" for number in range(1, _EACH + 1)]


def prepare(store: Path) -> None:
    """Publish every dataset and list none."""
    from reconciler.model import DatasetId  # noqa: PLC0415 - the measuring process stays small
    from reconciler.testing.samples import Stage, minimal_dataset  # noqa: PLC0415 - as above

    for writer in range(_WRITERS):
        for name in _names(writer):
            minimal_dataset(store, DatasetId.parse(name), stage=Stage.PUBLISHED)


def promote_ours(store: Path, names: Iterable[str]) -> tuple[int, int]:
    """Promote by the port; the number that failed and of races repeated."""
    from benchmarks.hand import commit, opened, steps_for  # noqa: PLC0415 - as above
    from reconciler.errors import Conflict  # noqa: PLC0415 - as above

    repeated = 0
    with opened(store) as serving:
        for name in names:
            while True:
                try:
                    commit(serving, steps_for(serving, [name]))
                except Conflict:
                    repeated += 1
                else:
                    break
    return 0, repeated


def promote_reference(store: Path, names: Iterable[str]) -> tuple[int, int]:
    """Promote by the reference's steps; the number that failed, which are not repeated."""
    from benchmarks import reference_steps  # noqa: PLC0415 - as above
    from reconciler.model import DatasetId  # noqa: PLC0415 - as above

    failed = 0
    for name in names:
        try:
            reference_steps.promote(store, DatasetId.parse(name))
        except (OSError, ValueError):
            failed += 1
    return failed, 0


def contend(store: Path, way: Callable[[Path, Iterable[str]], tuple[int, int]]) -> dict[str, Any]:
    """Start all writers at once and count what the catalog holds after the last one."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(_WRITERS + 1), context.SimpleQueue()

    def write(writer: int, start: Barrier) -> None:
        start.wait()
        results.put(way(store, _names(writer)))

    writers = [context.Process(target=write, args=(writer, barrier)) for writer in range(_WRITERS)]
    for writer in writers:
        writer.start()
    barrier.wait()
    begun = time.perf_counter()
    for writer in writers:
        writer.join()
    wall = time.perf_counter() - begun
    if any(writer.exitcode for writer in writers):
        raise SystemExit("a writer did not come to its end")
    counts = [results.get() for _ in writers]
    kept = _kept(store)
    return {
        "kept": kept or 0,
        "readable": kept is not None,
        "failed": sum(failed for failed, _ in counts),
        "repeated": sum(repeated for _, repeated in counts),
        "wall": wall,
    }


def _kept(store: Path) -> int | None:
    """How many datasets the catalog lists; None when two writers left a torn file behind."""
    try:
        return len(json.loads((store / "catalog.json").read_bytes())["datasets"])
    except ValueError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark, or one part of it in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contention", allow_abbrev=False)
    for name in ("--prepare", "--ours", "--reference"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.prepare:
        prepare(args.prepare)
    elif args.ours:
        print(json.dumps(contend(args.ours, promote_ours)))
    elif args.reference:
        print(json.dumps(contend(args.reference, promote_reference)))
    else:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as root:
            return finish([measure(Path(root))])
    return 0


if __name__ == "__main__":
    sys.exit(main())
