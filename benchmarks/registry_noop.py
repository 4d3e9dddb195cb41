"""A plan that finds nothing to do, over 100,000 version tags in 1,000 documents, beside octoDNS.

Ours reads the wish from a git commit, every row of the registry in SQLite, its ledger, and looks whether the
object of every manifest is there. There is no cache of its own from an earlier run. octoDNS reads as many
records in as many zones from YAML, twice: as the wish and as the live side (`octodns_peer`).

The versions of a dataset name one manifest in the first row and each one of its own in the second, where
100,000 manifests, 100,000 links and the objects are read and compared as well.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import octodns_peer
from benchmarks.measure import Usage, median, module, run, scratch, stands_on
from benchmarks.registry_world import TAGGED, World, apply, ensure, world_in
from benchmarks.report import COST, Goal, Report, cost_row, finish

_RATIO = 20
_READY = "tagged"


def measure(worlds: Path, *, datasets: int, versions: int, peer_python: str, repeats: int = 3) -> Report:
    """Our plan of both registries, `repeats` times each, and the peer's."""
    octodns_peer.require(peer_python)
    size = {"datasets": datasets, "versions": versions}
    shared = tagged(world_in(worlds, **size, manifests=1))
    own = tagged(world_in(worlds, **size, manifests=versions))
    of_shared = median([plan(shared, datasets) for _ in range(repeats)])
    of_own = median([plan(own, own.tags) for _ in range(repeats)])
    zones = shared.root / "zones"
    if not zones.exists():
        zones.mkdir()
        run(module("benchmarks.octodns_peer", str(zones), f"--zones={datasets}", f"--records={versions}"))
    peer = octodns_peer.plan(zones, python=peer_python)
    ratio = peer.cpu / of_shared.cpu
    return Report(
        title=f"No-op plan over {shared.tags:,} version tags in {datasets:,} documents",
        command="python -m benchmarks.registry_noop",
        columns=COST,
        rows=[
            cost_row(f"`reconciler plan`, {datasets:,} manifests", of_shared, peer),
            cost_row(f"`reconciler plan`, {own.tags:,} manifests and links", of_own, peer),
            cost_row("`octodns-sync` 1.22, as many records", peer),
        ],
        goals=[
            Goal(
                asked=f"tags: at most 1/{_RATIO} of the peer's CPU", got=f"1/{ratio:.1f}", met=ratio >= _RATIO
            )
        ],
        notes=[
            f"Ours are medians of {repeats} runs; the peer ran once, after them, on the same machine.",
            f"Everything that both read stood {stands_on(shared.root)}.",
        ],
    )


def tagged(world: World) -> World:
    """The world with its second commit applied."""
    ensure(world)
    if not (world.root / _READY).exists():
        apply(world, TAGGED)
        (world.root / _READY).touch()
    return world


def plan(world: World, manifests: int) -> Usage:
    """One `reconciler plan`, which must find nothing to do and everything in place.

    Raises:
        SystemExit: it planned a change, or saw another number of things.
    """
    usage = run(module("reconciler", "plan", "--output=json", "--repo", str(world.repo)))
    summary = json.loads(usage.out)["summary"]
    links = world.datasets * world.manifests
    wanted = {"create": 0, "update": 0, "delete": 0, "noop": world.tags + links + manifests, "adopted": 0}
    if summary != wanted:
        raise SystemExit(f"the plan was not the empty one: {summary} instead of {wanted}")
    return usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry_noop", allow_abbrev=False)
    parser.add_argument("--datasets", type=int, default=1000, help="documents, and zones")
    parser.add_argument("--versions", type=int, default=100, help="version tags in each, and records")
    parser.add_argument("--worlds", type=Path, help="keep what is built here, and use it again")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has octoDNS")
    args = parser.parse_args(arguments)
    size = {"datasets": args.datasets, "versions": args.versions}
    with scratch() as directory:
        return finish([measure(args.worlds or directory, **size, peer_python=args.peer_python)])


if __name__ == "__main__":
    sys.exit(main())
