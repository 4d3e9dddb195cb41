"""Promoting 1,000 published datasets into a catalog of 100,000: one catalog write, and its time.

Two figures, because they answer two questions. The store's commit alone is the promotion: compare every
`before`, check that all 1,000 may be promoted, write the ledger's intent, the catalog once, the binding of
its aliases and the outcome, all synced. The whole `reconciler apply` is that plus reading the wish from
git, observing all 101,000 datasets and planning.

Catalog writes are counted in two ways that must agree: the new ledger record has one step whose unit is
the catalog, and the catalog's inode is another one (the old file is held open, so its number is not used
again). The store is put back after each figure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Usage, module, run, scratch, stands_on
from benchmarks.report import Goal, Report, finish, megabytes, seconds
from benchmarks.serving_world import EVERYTHING, World, apply, ensure, world_in

_LIMIT = 3.0
_HEADS = ("catalog.json", "latest.alias.json", ".reconciler")


def measure(world: World) -> Report:
    """The commit alone, then the whole command, each from the same store."""
    ensure(world)
    with put_back(world.store), one_catalog_write(world.store):
        size = (f"--lines={world.lines}", f"--releases={world.releases}", f"--unlisted={world.unlisted}")
        process = run(module("benchmarks.promote_1000", "--commit", str(world.root), *size))
        commit = json.loads(process.out)
    with put_back(world.store), one_catalog_write(world.store):
        whole = apply(world, EVERYTHING)
    return Report(
        title=f"Promoting {world.unlisted * world.releases:,} datasets into a catalog of {world.listed:,}",
        command="python -m benchmarks.promote_1000",
        columns=("", "CPU", "wall", "peak memory", "catalog writes"),
        rows=[
            (
                "the store's commit",
                seconds(commit["cpu"]),
                seconds(commit["wall"]),
                megabytes(process.peak),
                "1",
            ),
            _row("whole `reconciler apply`: wish, observation, plan, commit", whole),
        ],
        goals=[
            Goal(
                asked="one catalog write, at most 3 s of CPU for the store's commit",
                got=f"one write, {seconds(commit['cpu'])}",
                met=commit["cpu"] <= _LIMIT,
            )
        ],
        notes=[f"The store stood {stands_on(world.root)}."],
    )


def _row(name: str, usage: Usage) -> tuple[str, ...]:
    return (name, seconds(usage.cpu), seconds(usage.wall), megabytes(usage.peak), "1")


@contextmanager
def put_back(store: Path) -> Iterator[None]:
    """Afterwards the store's heads and its ledger are as they were."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        for name in _HEADS:
            _copy(store / name, Path(scratch) / name)
        try:
            yield
        finally:
            shutil.rmtree(store / ".reconciler")
            for name in _HEADS:
                _copy(Path(scratch) / name, store / name)


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination)
    else:
        shutil.copy2(source, destination)


@contextmanager
def one_catalog_write(store: Path) -> Iterator[None]:
    """What runs inside writes the catalog exactly once.

    Raises:
        SystemExit: it did not.
    """
    catalog, ledger = store / "catalog.json", store / ".reconciler" / "ledger"
    before = set(ledger.glob("*.intent.json"))
    with catalog.open("rb") as held:
        yield
        replaced = os.fstat(held.fileno()).st_ino != catalog.stat().st_ino
    added = [json.loads(path.read_bytes()) for path in set(ledger.glob("*.intent.json")) - before]
    units = [step["unit"] for intent in added for step in intent["steps"]]
    if not replaced or units.count("catalog") != 1:
        raise SystemExit(f"not one catalog write: new inode {replaced}, ledger {units}")


def commit_alone(world: World) -> dict[str, float]:
    """Promote everything that is not listed, by the port; the cost of `Store.commit`."""
    from benchmarks.hand import commit, opened, steps_for  # noqa: PLC0415 - the measuring process stays small

    first = world.lines - world.unlisted
    names = [str(dataset) for number in range(first, world.lines) for dataset in world.line(number)]
    with opened(world.store) as store:
        steps = steps_for(store, names)
        wall, cpu = time.perf_counter(), time.process_time()
        commit(store, steps)
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark, or the commit in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promote_1000", allow_abbrev=False)
    parser.add_argument("--lines", type=int, default=1010, help="documents; the last ones are not listed yet")
    parser.add_argument("--releases", type=int, default=100, help="datasets in each")
    parser.add_argument("--unlisted", type=int, default=10, help="documents to promote")
    parser.add_argument("--worlds", type=Path, help="keep what is built here, and use it again")
    parser.add_argument("--commit", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    size = {"lines": args.lines, "releases": args.releases, "unlisted": args.unlisted}
    if args.commit:
        print(json.dumps(commit_alone(World(root=args.commit, **size))))
        return 0
    with scratch() as directory:
        return finish([measure(world_in(args.worlds or directory, **size))])


if __name__ == "__main__":
    sys.exit(main())
