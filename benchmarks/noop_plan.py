"""A plan that finds nothing to do, over 100,000 catalog entries in 1,000 files, beside octoDNS.

Ours reads the wish from a git commit, the catalog, and the manifest and lock of every dataset on disk,
with no cache of its own from an earlier run (the kernel's page cache is warm for both). The store was
adopted before, so its ledger holds an inventory of all entries, as in daily use. octoDNS reads as many
records in as many zones from YAML, twice: as the wish and as the live side.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import octodns_peer
from benchmarks.measure import MEGABYTE, Usage, median, module, run, scratch, stands_on
from benchmarks.report import COST, Goal, Report, cost_row, finish, megabytes
from benchmarks.serving_world import LISTED, World, ensure, world_in

_RATIO = 8
_PEAK = 250 * MEGABYTE


def measure(world: World, *, peer_python: str, repeats: int = 3) -> Report:
    """Both plans, ours `repeats` times."""
    octodns_peer.require(peer_python)
    files = world.lines - world.unlisted
    ensure(world)
    ours = median([plan(world) for _ in range(repeats)])
    zones = world.root / "zones"
    if not zones.exists():
        zones.mkdir()
        size = (f"--zones={files}", f"--records={world.releases}")
        run(module("benchmarks.octodns_peer", str(zones), *size))
    peer = octodns_peer.plan(zones, python=peer_python)
    ratio = peer.cpu / ours.cpu
    return Report(
        title=f"No-op plan over {world.listed:,} entries in {files:,} files",
        command="python -m benchmarks.noop_plan",
        columns=COST,
        rows=[
            cost_row("`reconciler plan`, cold, nothing to do", ours, peer),
            cost_row("`octodns-sync` 1.22, nothing to do", peer),
        ],
        goals=[
            Goal(asked="at most 1/8 of the peer's CPU", got=f"1/{ratio:.1f}", met=ratio >= _RATIO),
            Goal(asked="at most 250 MB", got=megabytes(ours.peak), met=ours.peak <= _PEAK),
        ],
        notes=[
            f"Ours is the median of {repeats} runs; the peer ran once, after ours, on the same machine.",
            f"Everything that both read stood {stands_on(world.root)}.",
        ],
    )


def plan(world: World) -> Usage:
    """One `reconciler plan`, which must find nothing to do and every entry in place.

    Raises:
        SystemExit: it planned a change, or saw another number of things.
    """
    usage = run(module("reconciler", "plan", "--output=json", "--ref", LISTED, "--repo", str(world.repo)))
    summary = json.loads(usage.out)["summary"]
    wanted = {"create": 0, "update": 0, "delete": 0, "noop": world.listed + 1, "adopted": 0}
    if summary != wanted:
        raise SystemExit(f"the plan was not the empty one: {summary} instead of {wanted}")
    return usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noop_plan", allow_abbrev=False)
    parser.add_argument("--lines", type=int, default=1010, help="documents; the last ones are not listed yet")
    parser.add_argument("--releases", type=int, default=100, help="entries in each, and records in a zone")
    parser.add_argument("--unlisted", type=int, default=10, help="documents that this plan leaves out")
    parser.add_argument("--worlds", type=Path, help="keep what is built here, and use it again")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has octoDNS")
    args = parser.parse_args(arguments)
    size = {"lines": args.lines, "releases": args.releases, "unlisted": args.unlisted}
    with scratch() as directory:
        world = world_in(args.worlds or directory, **size)
        return finish([measure(world, peer_python=args.peer_python)])


if __name__ == "__main__":
    sys.exit(main())
