"""One thousand version tags in one `reconciler apply` on SQLite, beside as many aliases in MLflow.

Two figures for each. *Each tag* is what the work itself costs, in a process that has started: ours is the
whole command (read the wish from git, observe the registry, plan, judge, commit with the ledger's record,
observe again), MLflow's its loop of calls. *The whole process* adds what starting it costs both.

Both databases stand on the same disk and sync each commit. Ours is one commit, because a plan is; MLflow
has no call for several aliases.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import mlflow_peer
from benchmarks.measure import Usage, module, run
from benchmarks.registry_world import TAGGED, World, apply, ensure, world_in
from benchmarks.report import Goal, Report, finish, megabytes, seconds

_DATASETS, _VERSIONS = 10, 100
_RATIO = 15
_ROUNDS = 5


def measure(root: Path, *, peer_python: str) -> Report:
    """Ours and MLflow's, in turns; each is the median of some rounds."""
    mlflow_peer.require(peer_python)
    world = world_in(root, datasets=_DATASETS, versions=_VERSIONS, manifests=_VERSIONS)
    ensure(world)
    alone: list[tuple[float, float]] = []
    whole: list[Usage] = []
    peers: list[mlflow_peer.Aliases] = []
    for number in range(_ROUNDS):
        with untagged(world):
            spent = json.loads(run(module("benchmarks.registry_tags", "--apply", str(world.repo))).out)
            alone.append((spent["wall"], spent["cpu"]))
        with untagged(world):
            whole.append(apply(world, TAGGED))
        peers.append(mlflow_peer.set_aliases(root / f"aliases-{number}.db", world.tags, python=peer_python))
    ours, theirs = sorted(alone)[_ROUNDS // 2], sorted(peers, key=lambda one: one.wall)[_ROUNDS // 2]
    process = sorted(whole, key=lambda one: one.wall)[_ROUNDS // 2]
    ratio = theirs.wall / ours[0]
    return Report(
        title=f"{world.tags:,} version tags",
        command="python -m benchmarks.registry_tags",
        columns=("", "time of each tag", "CPU of each tag", "whole process", "peak memory"),
        rows=[
            _row("`reconciler apply`, one commit", world, *ours, process),
            _row("MLflow, one alias after the other", world, theirs.wall, theirs.cpu, theirs.process),
        ],
        goals=[
            Goal(
                asked=f"at most 1/{_RATIO} of the peer's time for each tag",
                got=f"1/{ratio:.0f}",
                met=ratio >= _RATIO,
            )
        ],
        notes=[
            f"Medians of {_ROUNDS} rounds, in turns; both databases on the same disk.",
            f"As whole processes, from start to end: 1/{theirs.process.wall / process.wall:.0f}.",
        ],
    )


def _row(name: str, world: World, wall: float, cpu: float, process: Usage) -> tuple[str, ...]:
    each = (f"{wall / world.tags * 1e6:.0f} µs", f"{cpu / world.tags * 1e6:.0f} µs")
    return (name, *each, seconds(process.wall), megabytes(process.peak))


@contextmanager
def untagged(world: World) -> Iterator[None]:
    """What runs inside finds the registry without a tag, and so does the next one."""
    file = Path(world.database.removeprefix("sqlite:"))
    with tempfile.TemporaryDirectory(dir=world.root) as scratch:
        kept = Path(scratch) / file.name
        shutil.copy2(file, kept)
        try:
            yield
        finally:
            kept.replace(file)


def apply_alone(repo: str) -> dict[str, float]:
    """The command in a process that has started: a dry run has imported all it needs."""
    from reconciler.cli import main as command  # noqa: PLC0415 - the measuring process stays small

    arguments = ["apply", "--yes", "--repo", repo]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
        command([*arguments, "--dry-run"])
        wall, cpu = time.perf_counter(), time.process_time()
        code = command(arguments)
        spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    if code or "1 of 1 step applied" not in said.getvalue():
        raise SystemExit(f"the tags were not applied:\n{said.getvalue()}")
    return spent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark, or the command in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry_tags", allow_abbrev=False)
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has MLflow")
    parser.add_argument("--apply", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.apply:
        print(json.dumps(apply_alone(args.apply)))
        return 0
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as root:
        return finish([measure(Path(root), peer_python=args.peer_python)])


if __name__ == "__main__":
    sys.exit(main())
