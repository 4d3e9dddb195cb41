"""A serving store full of published datasets, and a git repository whose wish is exactly that store.

Every dataset is really there: its directory holds a manifest, a database of its own, the lock, the
immutability marker and both lifecycle records, as `publish` leaves them. The catalog lists all of them
except the `unlisted` ones, `latest` points at one of them, and the repository declares one document of
`releases` datasets for each line (species). What the catalog lists was adopted by an apply, so that a
ledger stands beside the store, as in daily use.

Built by processes of their own, so that the one that measures stays small.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Usage, module, run
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving.alias import ALIAS, Alias, encode_alias
from reconciler.stores.serving.catalog import CATALOG, Catalog, Entry, catalog_sha256, encode_catalog
from reconciler.testing.samples import Stage, minimal_dataset

_STORES = """\
apiVersion: reconciler/v1
kind: Stores
stores:
  serving: {{kind: serving, root: "file:{store}", environment: prod}}
"""
_HEAD = """\
apiVersion: reconciler/v1
kind: Catalog
store: serving
meta: {{owner: benchmarks, reason: line {line}}}
datasets:
"""
LISTED, EVERYTHING = "HEAD~1", "HEAD"
"""The commit that declares what the catalog lists, and the one that declares all that is published."""

_SET_AT = "1700000000"
_READY = "ready"
_GIT = ("git", "-c", "user.name=benchmarks", "-c", "user.email=benchmarks@example.org")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where a world is, and how big it is.

    Attributes:
        root: its directory; `repo` and `store` stand below it.
        lines: how many documents there are, one for each species.
        releases: how many datasets a document lists.
        unlisted: how many of the lines, the last ones, are published but not in the catalog.
    """

    root: Path
    lines: int
    releases: int
    unlisted: int

    @property
    def repo(self) -> Path:
        """The git repository."""
        return self.root / "repo"

    @property
    def store(self) -> Path:
        """The serving store's root."""
        return self.root / "store"

    @property
    def listed(self) -> int:
        """How many datasets the catalog lists."""
        return (self.lines - self.unlisted) * self.releases

    def line(self, number: int) -> Iterator[DatasetId]:
        """The datasets of one line, in the order of their releases."""
        for release in range(1, self.releases + 1):
            yield DatasetId(str(release), f"species_{number:05}", "GRCx1")


def ensure(world: World) -> None:
    """Build the world in a process of its own, unless it stands already, and adopt what it holds."""
    if (world.root / _READY).exists():
        return
    world.root.mkdir(parents=True, exist_ok=True)
    size = [str(world.root), f"--lines={world.lines}", f"--releases={world.releases}"]
    run(module("benchmarks.serving_world", *size, f"--unlisted={world.unlisted}"))
    apply(world, LISTED)
    (world.root / _READY).touch()


def world_in(worlds: Path, *, lines: int, releases: int, unlisted: int) -> World:
    """The world of a size in a directory of worlds."""
    root = worlds.resolve() / f"{lines}-{releases}-{unlisted}"
    return World(root=root, lines=lines, releases=releases, unlisted=unlisted)


def apply(world: World, ref: str) -> Usage:
    """`reconciler apply --yes` of a commit of the world's repository."""
    return run(module("reconciler", "apply", "--yes", "--ref", ref, "--repo", str(world.repo)))


def build(world: World) -> None:
    """Write the datasets, the catalog, `latest` and the repository with its two commits."""
    with multiprocessing.Pool(2) as workers:
        digests = workers.map(partial(_publish, world), range(world.lines), chunksize=8)
    listed = sorted(
        dataset for number in range(world.lines - world.unlisted) for dataset in world.line(number)
    )
    catalog = Catalog(tuple(Entry(dataset) for dataset in listed))
    (world.store / CATALOG).write_bytes(encode_catalog(catalog))
    alias = Alias(dataset=listed[-1], catalog_sha256=catalog_sha256(catalog), updated_at=_SET_AT)
    (world.store / ALIAS).write_bytes(encode_alias(alias))
    _write_repository(world, digests, latest=listed[-1])


def _publish(world: World, number: int) -> list[Digest]:
    return [minimal_dataset(world.store, dataset, stage=Stage.PUBLISHED) for dataset in world.line(number)]


def _write_repository(world: World, digests: Sequence[Sequence[Digest]], latest: DatasetId) -> None:
    catalogs = world.repo / "desired" / "catalogs"
    catalogs.mkdir(parents=True)
    (world.repo / "desired" / "stores.yaml").write_text(_STORES.format(store=world.store), "utf-8")
    _git(world, "init", "--quiet", "--initial-branch=main")
    for number, of_line in enumerate(digests):
        if number == world.lines - world.unlisted:
            _commit(world, "what the catalog lists")
        entries = zip(world.line(number), of_line, strict=True)
        document = _HEAD.format(line=number)
        document += "".join(f'  - {{id: {dataset}, manifest: "{digest}"}}\n' for dataset, digest in entries)
        if number == 0:
            document += f"latest: {latest}\n"
        (catalogs / f"species_{number:05}.yaml").write_text(document, "utf-8")
    _commit(world, "everything that is published")


def _commit(world: World, message: str) -> None:
    _git(world, "add", "--all")
    _git(world, "commit", "--quiet", "--message", message)


def _git(world: World, *arguments: str) -> None:
    subprocess.run((*_GIT, "-C", str(world.repo), *arguments), check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a world from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_world", allow_abbrev=False)
    parser.add_argument("root", type=Path)
    for name in ("--lines", "--releases", "--unlisted"):
        parser.add_argument(name, type=int, required=True)
    args = parser.parse_args(arguments)
    build(World(root=args.root.resolve(), lines=args.lines, releases=args.releases, unlisted=args.unlisted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
