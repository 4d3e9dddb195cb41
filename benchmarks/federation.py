"""2,000 promotions to an account: our apply beside `promote_entry` of atdata's own client, on one real PDS.

Both promote entries of a local index with one schema; each has accounts of its own on the same server, whose
data are in memory (tmpfs) where there is room. Ours is timed from the plan that was made to the last receipt:
preconditions, ledger, requests, and the second look. The reference is timed from its first promotion to its
last; its index is filled before. They take turns, because a machine has other work. Afterwards an unchanged
run of 1,000 promotions is counted in requests, through a proxy.

atdata needs Python 3.12 or newer; where there is none, the peer is left out and the goal with it.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.measure import module, run
from benchmarks.report import Goal, Report, finish, seconds
from tests.integration.federation.conftest import stores
from tests.integration.federation.index import Index, cid
from tests.servers import atdata_runner, pds, pds_proxy

_SCHEMA = "atdata://local/schema/Sample@1.0.0"
_TIMES = 10
_REQUESTS = 3
_UNCHANGED = 1000
_GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
_AUTHOR = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def measure(root: Path, *, count: int, peer_count: int, rounds: int) -> Report:
    """Both ways in turns, each round on accounts of its own of one server; the medians."""
    phases: list[float] = []
    wholes: list[float] = []
    peers: list[float] = []
    with pds.running() as server:
        for turn in range(rounds):
            place = root / f"ours-{turn}"
            prepare(place, server, server.account(f"ours-{turn}"), count)
            done = run(module("benchmarks.federation", "--ours", str(place)))
            phases.append(json.loads(done.out)["apply"])
            wholes.append(done.wall)
            peer = _peer(root / f"theirs-{turn}.db", server, server.account(f"theirs-{turn}"), peer_count)
            peers += [] if peer is None else [peer]
        requests = _unchanged(root / "unchanged", server, server.account("unchanged"))
    phase, whole = median(phases), median(wholes)
    rows = [
        ("ours: the apply phase", str(count), seconds(phase), f"{count / phase:.0f}"),
        ("ours: the whole command", str(count), seconds(whole), f"{count / whole:.0f}"),
    ]
    goals = [
        Goal(
            asked=f"at most {_REQUESTS} requests for an unchanged run of {_UNCHANGED} promotions",
            got=str(requests),
            met=requests <= _REQUESTS,
        )
    ]
    notes = [f"Medians of {rounds} rounds, the two in turns."]
    if peers:
        peer = median(peers)
        rows.append(("atdata's `promote_entry`", str(peer_count), seconds(peer), f"{peer_count / peer:.0f}"))
        ratio = (count / phase) / (peer_count / peer)
        goals.append(Goal(asked=f"at least {_TIMES}x its rate", got=f"{ratio:.1f}x", met=ratio >= _TIMES))
    else:
        notes.append("atdata was not asked: no Python is new enough for it.")
    return Report(
        title=f"{count} promotions to an account",
        command="python -m benchmarks.federation",
        columns=("", "promotions", "wall", "per second"),
        rows=rows,
        goals=goals,
        notes=notes,
    )


def prepare(root: Path, server: pds.PdsServer, account: pds.Account, count: int, service: str = "") -> None:
    """A repository with an index of entries and a document for each."""
    (root / "desired/promotions").mkdir(parents=True)
    text = stores(server, account, "").replace(
        "allowPrivate: true", "allowPrivate: true\n    pointsPerDay: 900000"
    )
    text = text.replace("    pointsPerDay", "    pointsPerHour: 900000\n    pointsPerDay")
    (root / "desired/stores.yaml").write_text(text.replace(server.url, service or server.url))
    (root / ".gitignore").write_text("/var/\n")
    index = Index.create(root / "var/index.db")
    rows = [_row(number) for number in range(count)]
    with closing(sqlite3.connect(index.path)) as database, database:
        database.executemany(
            "INSERT INTO dataset_entries (cid, name, schema_ref, data_urls, metadata) VALUES (?, ?, ?, ?, ?)",
            rows,
        )
    for entry, name, *_ in rows:
        (root / f"desired/promotions/{name}.yaml").write_text(
            f"apiVersion: reconciler/v1\nkind: Promotion\nstore: public\nname: {name}\nversions:\n"
            f"  1.0.0:\n    from: {{index: index, entry: {name}, cid: {entry}}}\n"
            "license: CC-BY-4.0\n"
        )
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*_AUTHOR, "commit", "-q", "-m", "Promote")):
        subprocess.run(["git", *words], cwd=root, env={**os.environ, **_GIT}, check=True)


def _row(number: int) -> tuple[str, str, str, bytes, bytes]:
    from msgspec import msgpack  # noqa: PLC0415 - beside the others it is small

    name = f"dataset-{number}"
    urls = [f"https://data.example.org/{name}.tar"]
    entry = cid({"schema_ref": _SCHEMA, "data_urls": urls})
    return entry, name, _SCHEMA, msgpack.encode(urls), msgpack.encode({"split": "train"})


def apply_ours(root: Path) -> dict[str, float]:
    """Plan, then apply; how long each took."""
    from reconciler.apply import apply_plan  # noqa: PLC0415 - the measuring process stays small
    from reconciler.cli import build_parser  # noqa: PLC0415 - as above
    from reconciler.cli.console import Console  # noqa: PLC0415 - as above
    from reconciler.cli.workspace import Workspace  # noqa: PLC0415 - as above

    os.environ.update(_GIT, PDS_PASSWORD=pds.PASSWORD)
    args = build_parser("apply").parse_args(["apply", "--yes", "--repo", str(root), "--store", "public"])
    console = Console(output="json", out=sys.stdout, err=sys.stderr)
    started = time.perf_counter()
    with Workspace.open(args, console) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        plan = workspace.plan(opened)
        planned = time.perf_counter()
        values = workspace.run_of(plan, "", "benchmark")
        report = apply_plan(plan, {name: one.store for name, one in opened.items()}, lambda _: values)
        done = time.perf_counter()
    assert report.exit_code == 0
    return {"plan": planned - started, "apply": done - planned}


def _peer(index: Path, server: pds.PdsServer, account: pds.Account, count: int) -> float | None:
    """How long the reference takes; None where it cannot run."""
    python = atdata_runner.python()
    if python is None:
        return None
    answer = atdata_runner.asked(
        python,
        do="promote",
        url=server.url,
        handle=account.handle,
        did=account.did,
        password=account.password,
        index=str(index),
        prefix="dataset",
        count=count,
    )
    return float(answer["seconds"])


def _unchanged(root: Path, server: pds.PdsServer, account: pds.Account) -> int:
    """How many requests an unchanged apply makes."""
    with pds_proxy.before(server.url) as proxy:
        prepare(root, server, account, _UNCHANGED, proxy.url)
        command = module("reconciler", "apply", "--yes", "--repo", str(root), "--store", "public")
        os.environ.update(_GIT, PDS_PASSWORD=pds.PASSWORD)
        run(command)
        proxy.seen.clear()
        run(command)
        sys.stderr.write(f"unchanged: {', '.join(proxy.seen)}\n")
        return len(proxy.seen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark, or the measured part of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.federation", allow_abbrev=False)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--peer-count", type=int, default=500, help="promotions of the reference in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.ours:
        sys.stdout.write(json.dumps(apply_ours(args.ours)))
        return 0
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        root = Path(directory)
        return finish([measure(root, count=args.count, peer_count=args.peer_count, rounds=args.rounds)])


if __name__ == "__main__":
    sys.exit(main())
