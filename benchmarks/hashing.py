"""Our streaming hash of a file beside `hashlib.file_digest`, and its memory for a small and a large file.

Speed is the CPU time of the hashing alone, best of several turns taken alternately in one process; memory
is the peak of a process that hashes one file and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import MEGABYTE, module, run
from benchmarks.report import Goal, Report, finish, megabytes, seconds

_MEBIBYTE = 1 << 20
_SMALL, _LARGE = 64 * _MEBIBYTE, 1024 * _MEBIBYTE
_SHARE = 0.90
_SLACK = 4 * MEGABYTE
_TURNS = 3


def measure(root: Path) -> Report:
    """Speed on the large file; memory on both."""
    sizes = {"small": _SMALL, "large": _LARGE}
    peaks = {}
    for name, size in sizes.items():
        write_file(root / name, size)
        peaks[name] = run(module("benchmarks.hashing", "--one", str(root / name))).peak
    cpu_ours, cpu_floor = map(
        float, run(module("benchmarks.hashing", "--turns", str(root / "large"))).out.split()
    )
    for name in sizes:
        (root / name).unlink()
    share, growth = cpu_floor / cpu_ours, peaks["large"] - peaks["small"]
    return Report(
        title="Hashing a file of 1 GiB",
        command="python -m benchmarks.hashing",
        columns=("", "CPU", "per second", "peak memory, 64 MiB file", "peak memory, 1 GiB file"),
        rows=[
            ("ours, streaming", *_speed(cpu_ours), megabytes(peaks["small"]), megabytes(peaks["large"])),
            ("floor: `hashlib.file_digest`", *_speed(cpu_floor), "", ""),
        ],
        goals=[
            Goal(asked="at least 90 % of the floor's speed", got=f"{share:.0%}", met=share >= _SHARE),
            Goal(asked="constant memory", got=f"{growth / MEGABYTE:+.1f} MB", met=growth <= _SLACK),
        ],
    )


def _speed(cpu: float) -> tuple[str, str]:
    return seconds(cpu), f"{_LARGE / cpu / 1e9:.2f} GB"


def write_file(path: Path, size: int) -> None:
    """A file whose blocks all differ."""
    with path.open("wb") as handle:
        for number in range(size // _MEBIBYTE):
            handle.write(number.to_bytes(16, "big") * (_MEBIBYTE // 16))


def ours(path: Path) -> str:
    """The digest by the code that publish, verify and drift use."""
    from reconciler.stores.serving.files import sha256_file  # noqa: PLC0415 - children import it, not the parent

    dirfd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = sha256_file(dirfd, path.name)
    finally:
        os.close(dirfd)
    if found is None:
        raise SystemExit(f"{path.name} is gone")
    return found.sha256


def floor(path: Path) -> str:
    """The digest by the standard library."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _best(path: Path) -> tuple[float, float]:
    best = [float("inf"), float("inf")]
    answers: set[str] = set()
    ways: tuple[Callable[[Path], str], ...] = (ours, floor)
    for _ in range(_TURNS):
        for index, way in enumerate(ways):
            start = time.process_time()
            answers.add(way(path))
            best[index] = min(best[index], time.process_time() - start)
    if len(answers) != 1:
        raise SystemExit("the two digests differ")
    return best[0], best[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this benchmark, or one part of it in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hashing", allow_abbrev=False)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.one:
        ours(args.one)
        return 0
    if args.turns:
        print(*_best(args.turns))
        return 0
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as root:
        return finish([measure(Path(root))])


if __name__ == "__main__":
    sys.exit(main())
