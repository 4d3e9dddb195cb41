"""All benchmarks, one after the other; exit code 1 when a goal was missed.

`--record` also puts the figures into `benchmarks/README.md`. The two that need a store of 100,000
datasets share it: it is built once and then removed, unless `--worlds DIR` keeps it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import (
    backup,
    contention,
    hashing,
    noop_plan,
    promote_1000,
    registry_bulk,
    registry_noop,
    registry_tags,
    startup,
)
from benchmarks.measure import scratch
from benchmarks.report import Report, finish, record
from benchmarks.serving_world import World, world_in


def reports(world: World, worlds: Path, small: Path, peer_python: str) -> Iterator[Report]:
    """Each benchmark's report as soon as it is there; `small` is on disk, where syncing costs."""
    yield startup.measure(20)
    yield hashing.measure(small)
    yield contention.measure(small)
    yield backup.measure(world.root.parent)
    yield noop_plan.measure(world, peer_python=peer_python)
    yield promote_1000.measure(world)
    yield registry_tags.measure(small, peer_python=peer_python)
    yield registry_noop.measure(worlds, datasets=1000, versions=100, peer_python=peer_python)
    yield registry_bulk.measure(worlds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", allow_abbrev=False)
    parser.add_argument("--record", action="store_true", help="put the figures into benchmarks/README.md")
    parser.add_argument("--worlds", type=Path, help="keep what is built here, and use it again")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="the Python that has octoDNS and MLflow"
    )
    args = parser.parse_args(arguments)
    done: list[Report] = []
    with scratch() as directory, tempfile.TemporaryDirectory(prefix="benchmarks-") as small:
        worlds = args.worlds or directory
        world = world_in(worlds, lines=1010, releases=100, unlisted=10)

        def kept() -> Iterator[Report]:
            for report in reports(world, worlds, Path(small), args.peer_python):
                done.append(report)
                yield report

        code = finish(kept())
    if args.record:
        record(done)
    return code


if __name__ == "__main__":
    sys.exit(main())
