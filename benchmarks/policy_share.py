"""What policy costs a plan: the share of all rules, and of everything that is read only for them.

Three plans of one store of 100,000 datasets are measured: nothing to do, 1,000 promotions, and every dataset
promoted at once (the catalog, its aliases and the ledger are put away for that). CPU time is the process's
own, taken around the two places where policy is asked: what is surveyed for the rules, and the judging.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from benchmarks.measure import module, run, scratch, stands_on
from benchmarks.promote_1000 import put_back
from benchmarks.report import Goal, Report, finish, seconds
from benchmarks.serving_world import EVERYTHING, LISTED, World, ensure, world_in
from reconciler.errors import Exit

_LIMIT = 0.20
_HEADS = ("catalog.json", "latest.alias.json")
P = ParamSpec("P")
R = TypeVar("R")


def measure(world: World) -> Report:
    """The three plans, each in a process of its own."""
    ensure(world)
    nothing = _child(world, LISTED)
    some = _child(world, EVERYTHING)
    with put_back(world.store), _without_heads(world.store):
        everything = _child(world, EVERYTHING)
    plans = {
        "nothing to do": nothing,
        f"{world.unlisted * world.releases:,} promotions": some,
        f"{world.lines * world.releases:,} promotions": everything,
    }
    worst = max(policy / rest for policy, rest in plans.values())
    return Report(
        title=f"All rules in a plan over {world.listed:,} datasets",
        command="python -m benchmarks.policy_share",
        columns=("plan", "CPU without policy", "CPU of policy", "share"),
        rows=[
            (name, seconds(rest), seconds(policy), f"{policy / rest:.1%}")
            for name, (policy, rest) in plans.items()
        ],
        goals=[
            Goal(
                asked="rules and what is read for them add at most 20 %",
                got=f"at most {worst:.1%}",
                met=worst <= _LIMIT,
            )
        ],
        notes=[f"The store stood {stands_on(world.root)}."],
    )


def _child(world: World, ref: str) -> tuple[float, float]:
    """CPU seconds of policy, and of the rest of the plan."""
    done = run(module("benchmarks.policy_share", "--plan", str(world.repo), "--ref", ref))
    spent = json.loads(done.out.splitlines()[-1])
    return spent["policy"], spent["whole"] - spent["policy"]


@contextmanager
def _without_heads(store: Path) -> Iterator[None]:
    """The store as it was before its first apply: everything published, nothing listed."""
    for name in _HEADS:
        (store / name).unlink(missing_ok=True)
    records = store / ".reconciler"
    shutil.rmtree(records)
    try:
        yield
    finally:
        records.mkdir(exist_ok=True)


def plan_once(repo: Path, ref: str) -> dict[str, float]:
    """Plan in this process; CPU seconds of it all, and of policy.

    Raises:
        SystemExit: there was no plan.
    """
    from reconciler.cli import main as reconciler  # noqa: PLC0415 - the measuring process stays small
    from reconciler.cli import workspace  # noqa: PLC0415 - as above

    spent = 0.0

    def timed(function: Callable[P, R]) -> Callable[P, R]:
        def clocked(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal spent
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent += time.process_time() - start

        return clocked

    for name in ("surveyed", "judge", "headroom"):
        setattr(workspace, name, timed(getattr(workspace, name)))
    with Path(os.devnull).open("w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        ended = reconciler(["plan", "--repo", str(repo), "--ref", ref, "--output", "json"])
        sys.stdout = out
    if ended not in {Exit.DONE, Exit.DENIED, Exit.LIMIT}:
        raise SystemExit(f"the plan of {ref} ended with {ended}")
    return {"whole": time.process_time(), "policy": spent}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark, or one plan in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policy_share", allow_abbrev=False)
    parser.add_argument("--lines", type=int, default=1010, help="documents; the last ones are not listed yet")
    parser.add_argument("--releases", type=int, default=100, help="datasets in each")
    parser.add_argument("--unlisted", type=int, default=10, help="documents to promote")
    parser.add_argument("--worlds", type=Path, help="keep what is built here, and use it again")
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ref", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.plan:
        print(json.dumps(plan_once(args.plan, args.ref)))
        return 0
    size = {"lines": args.lines, "releases": args.releases, "unlisted": args.unlisted}
    with scratch() as directory:
        return finish([measure(world_in(args.worlds or directory, **size))])


if __name__ == "__main__":
    sys.exit(main())
