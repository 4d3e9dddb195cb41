"""Backing up an unchanged store of 10,000 datasets, and verifying a backup beside `hashlib.file_digest`.

The first backup copies everything; the second one finds nothing new, and must not copy a byte. Verifying is
the CPU time of the verification alone, beside the raw hashing of the very same object files, in turns in one
process: once for large objects, once for the many small ones of the store.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Usage, module, run, scratch, stands_on
from benchmarks.report import Goal, Report, finish, megabytes, seconds
from benchmarks.serving_world import World, ensure, world_in

_STORE = ("--store", "serving")
_LARGE, _MEBIBYTE = 64, 1 << 20
_SHARE = 0.80
_TURNS = 3


def measure(worlds: Path) -> Report:
    """Two backups of the store, then verifications."""
    world = world_in(worlds, lines=101, releases=100, unlisted=1)
    ensure(world)
    archive = world.root / "archive"
    first = _backup(world, archive)
    second = _backup(world, archive)
    copied = [json.loads(usage.out)["copied"] for usage in (first, second)]
    small = _turns(archive)
    large_world = _large_world(worlds)
    large_archive = large_world.root / "archive"
    _backup(large_world, large_archive)
    large = _turns(large_archive)
    return Report(
        title="A backup of 10,100 datasets, and verifying backups",
        command="python -m benchmarks.backup",
        columns=("", "CPU", "wall", "peak memory", "copied"),
        rows=[
            _row("first backup", first, copied[0]),
            _row("second backup, nothing changed", second, copied[1]),
            _share_row("verify, 1 GiB in 64 objects", large),
            _share_row("verify, the store's small objects", small),
        ],
        goals=[
            Goal(
                asked="an unchanged store copies no object byte",
                got=f"{copied[1]['objects']} objects, {copied[1]['bytes']} bytes",
                met=copied[1] == {"objects": 0, "bytes": 0},
            ),
            Goal(
                asked="verify at 80 % of the speed of `hashlib.file_digest` or more",
                got=f"{large[1] / large[0]:.0%}",
                met=large[1] / large[0] >= _SHARE,
            ),
        ],
        notes=(
            f"The store and the archive stood {stands_on(world.root)}.",
            "For verifying, the CPU is ours, and in the last column that of raw hashing of the same files.",
        ),
    )


def _row(name: str, usage: Usage, copied: dict[str, int]) -> tuple[str, ...]:
    what = f"{copied['objects']} objects, {megabytes(copied['bytes'])}"
    return (name, seconds(usage.cpu), seconds(usage.wall), megabytes(usage.peak), what)


def _share_row(name: str, turns: tuple[float, float]) -> tuple[str, ...]:
    ours, raw = turns
    return (name, seconds(ours), "", "", f"raw: {seconds(raw)}, {raw / ours:.0%} of its speed")


def _backup(world: World, archive: Path) -> Usage:
    words = ("backup", "create", *_STORE, "--repo", str(world.repo), "--to", str(archive), "--output", "json")
    return run(module("reconciler", *words))


def _large_world(worlds: Path) -> World:
    """A store of few datasets, one of which has 1 GiB of files that all differ."""
    world = world_in(worlds, lines=2, releases=1, unlisted=1)
    ensure(world)
    place = next(world.store.glob("release=*/species=*/assembly=*/derived"))
    for number in range(_LARGE):
        block = number.to_bytes(16, "big") * (_MEBIBYTE // 16)
        with (place / f"extra-{number:02}.bin").open("wb") as file:
            for _ in range(16):
                file.write(block)
    return world


def _turns(archive: Path) -> tuple[float, float]:
    ours, raw = map(float, run(module("benchmarks.backup", "--turns", str(archive))).out.split())
    return ours, raw


def verified(archive: Path) -> None:
    """Our verification of the newest backup."""
    from reconciler.archives.directory import DirectoryArchive  # noqa: PLC0415 - children only
    from reconciler.backup.archive import chosen  # noqa: PLC0415
    from reconciler.backup.verify import verify  # noqa: PLC0415

    opened = DirectoryArchive(archive.parent, archive.name, lock_timeout=1)
    found = verify(opened, chosen(opened, "serving", None), time=0, progress=lambda _line: None)
    opened.close()
    if not found.whole:
        raise SystemExit("the backup is not whole")


def hashed(archive: Path) -> None:
    """The same object files, by the standard library alone."""
    for path in (archive / "objects").glob("*/*"):
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != path.name:
                raise SystemExit("an object differs")


def _best(archive: Path) -> tuple[float, float]:
    best = [float("inf"), float("inf")]
    for _ in range(_TURNS):
        for index, way in enumerate((verified, hashed)):
            start = time.process_time()
            way(archive)
            best[index] = min(best[index], time.process_time() - start)
    return best[0], best[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark, or its turns in a process of their own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backup", allow_abbrev=False)
    parser.add_argument("--worlds", type=Path, help="keep what is built here, and use it again")
    parser.add_argument("--turns", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.turns:
        print(*_best(args.turns))
        return 0
    with scratch() as directory:
        return finish([measure(args.worlds or directory)])


if __name__ == "__main__":
    sys.exit(main())
