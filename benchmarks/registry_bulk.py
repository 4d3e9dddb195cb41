"""100,000 version tags in one commit on PostgreSQL, beside a raw COPY and upsert of the same rows.

Ours is the store's commit through the port: compare every `before` under the writer lock, load, refuse what
must be refused (a tag of an unlinked manifest, a version that differs only in build metadata), write,
derive `latest` of every dataset, add the ledger's record of all changes, commit. The peer is what the server
can do at all: COPY of exactly these rows into a temporary table, one INSERT with ON CONFLICT from there
into a table with the same keys, references and triggers, commit. It compares, checks and records nothing.

Steps and rows are made before the clock starts. Each round has two new schemas of one server, filled alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import module, run, scratch
from benchmarks.registry_world import NAME, RUN, World, dataset_name, fill, opened, tag_changes
from benchmarks.report import Goal, Report, finish, seconds

_DATASETS, _VERSIONS, _MANIFESTS = 1000, 100, 10
_ROUNDS = 3
_SHARE = 3
_COLUMNS = "namespace, name, version, precedence, prerelease, hash, yanked, created_at, updated_at"
_TYPES = ("text", "text", "text", "text", "bool", "text", "bool", "int8", "int8")


def measure(root: Path) -> Report:
    """Both ways, in turns, on one server."""
    from tests.servers.postgres import running  # noqa: PLC0415 - the drivers, only where a server is wanted

    ways: dict[str, list[dict[str, float]]] = {"--commit": [], "--copy": []}
    with running() as server:
        for number in range(_ROUNDS):
            for way, spent in ways.items():
                where = (str(root / f"{number}{way}"), server.create_schema())
                spent.append(json.loads(run(module("benchmarks.registry_bulk", way, *where)).out))
    ours, raw = (_median(ways[way]) for way in ("--commit", "--copy"))
    share = raw["wall"] / ours["wall"]
    tags = _DATASETS * _VERSIONS
    return Report(
        title=f"{tags:,} version tags on PostgreSQL in one commit",
        command="python -m benchmarks.registry_bulk",
        columns=("", "time", "CPU of the client", "tags per second"),
        rows=[
            _row("ours: compared, checked, recorded", ours, tags),
            _row("floor: COPY and upsert of the same rows", raw, tags),
        ],
        goals=[
            Goal(
                asked=f"at least 1/{_SHARE} of the floor's rate", got=f"{share:.2f}", met=share >= 1 / _SHARE
            )
        ],
        notes=[
            f"Medians of {_ROUNDS} rounds, in turns. The server syncs nothing, so neither waits for a disk."
        ],
    )


def _median(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(spent[name] for spent in rounds) for name in ("cpu", "wall")}


def _row(name: str, spent: dict[str, float], tags: int) -> tuple[str, ...]:
    return (name, seconds(spent["wall"]), seconds(spent["cpu"]), f"{tags / spent['wall']:,.0f}")


def commit(world: World, location: str) -> dict[str, float]:
    """The tags through the port."""
    from reconciler.model import Outcome  # noqa: PLC0415 - the measuring process stays small
    from reconciler.stores.registry.order import SHAPE  # noqa: PLC0415 - as above

    store = opened(location, world.objects)
    try:
        fill(world, store)
        steps = SHAPE.arrange(NAME, tag_changes(world), {})
        wall, cpu = time.perf_counter(), time.process_time()
        results = store.commit(steps, RUN)
        spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        if [result.outcome for result in results] != [Outcome.APPLIED]:
            raise SystemExit(f"the tags were not set: {results}")
        return spent
    finally:
        store.close()


def copy(world: World, location: str) -> dict[str, float]:
    """The same rows as fast as the driver and the server can, into tables that were filled alike."""
    import psycopg  # noqa: PLC0415 - an extra

    from reconciler.reference import parse_version  # noqa: PLC0415 - the measuring process stays small

    store = opened(location, world.objects)
    fill(world, store)
    store.close()
    rows = []
    for dataset in range(world.datasets):
        for text, digest in world.tagged(dataset):
            version = parse_version(text)
            place = ("benchmarks", dataset_name(dataset), text, version.precedence, version.prerelease)
            rows.append((*place, digest.removeprefix("sha256:"), False, RUN.time, RUN.time))
    columns = ", ".join(f"{c} {t}" for c, t in zip(_COLUMNS.split(", "), _TYPES, strict=True))
    with psycopg.connect(location) as connection, connection.cursor() as cursor:
        wall, cpu = time.perf_counter(), time.process_time()
        cursor.execute(f"CREATE TEMPORARY TABLE loaded ({columns})".encode())
        with cursor.copy("COPY loaded FROM STDIN (FORMAT BINARY)") as into:
            into.set_types(_TYPES)
            for row in rows:
                into.write_row(row)
        cursor.execute(
            f"INSERT INTO dataset_tags ({_COLUMNS}) SELECT {_COLUMNS} FROM loaded "  # noqa: S608 - constants
            "ON CONFLICT (namespace, name, version) "
            "DO UPDATE SET hash = excluded.hash, updated_at = excluded.updated_at".encode()
        )
        connection.commit()
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark, or one of its ways in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry_bulk", allow_abbrev=False)
    for way in ("--commit", "--copy"):
        parser.add_argument(way, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.commit or args.copy:
        root, location = args.commit or args.copy
        world = World(root=Path(root), datasets=_DATASETS, versions=_VERSIONS, manifests=_MANIFESTS)
        print(json.dumps((commit if args.commit else copy)(world, location)))
        return 0
    with scratch() as directory:
        return finish([measure(directory)])


if __name__ == "__main__":
    sys.exit(main())
