"""A registry that holds manifests, and a git repository whose documents name a version for each of them.

Every manifest is really there: its bytes as an object under their hash, its row, and its link to the one
dataset that uses it. The repository's first commit declares the links, the second names each manifest by a
version of its dataset instead; each dataset has a document of its own. Everything up to the first commit
was adopted by an apply, so the ledger holds an inventory, as in daily use.

Built by a process of its own, so that the one that measures stays small.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Usage, module, run
from reconciler.canonical import sha256_digest
from reconciler.ledger import Run
from reconciler.model import Address, Change, Place, StoreConfig
from reconciler.reference import ManifestHash
from reconciler.stores.port import Surroundings
from reconciler.stores.registry.order import CONTENT, LINK, LINKED, MANIFEST, NAMED, SHAPE, TAG
from reconciler.stores.registry.store import RegistryStore, open_store

NAME = "registry"
LINKS, TAGGED = "HEAD~1", "HEAD"
"""The commit that declares the links only, and the one that names every manifest by a version."""

RUN = Run(by="hand", time=1700000000, tool="benchmarks", reason="benchmark", command="registry")
_STORES = """\
apiVersion: reconciler/v1
kind: Stores
stores:
  registry: {{kind: registry, database: "{database}", objects: "{objects}", create: true}}
"""
_HEAD = """\
apiVersion: reconciler/v1
kind: Dataset
store: registry
namespace: benchmarks
name: {name}
"""
_READY = "ready"
_GIT = ("git", "-c", "user.name=benchmarks", "-c", "user.email=benchmarks@example.org")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where a world is, and how big it is.

    Attributes:
        root: its directory.
        datasets: how many datasets there are, each with a document of its own.
        versions: how many versions each of them has.
        manifests: how many manifests the versions of one dataset name, in turns.
    """

    root: Path
    datasets: int
    versions: int
    manifests: int

    @property
    def repo(self) -> Path:
        """The git repository."""
        return self.root / "repo"

    @property
    def database(self) -> str:
        """The registry's database, as a document names it."""
        return f"sqlite:{self.root}/registry.db"

    @property
    def objects(self) -> str:
        """Where the manifests' bytes are, as a document names it."""
        return f"file:{self.root}/manifests"

    @property
    def tags(self) -> int:
        """How many version tags the second commit declares."""
        return self.datasets * self.versions

    def linked(self, dataset: int) -> list[str]:
        """The digests of the manifests of one dataset."""
        first = dataset * self.manifests
        return [sha256_digest(content(number)) for number in range(first, first + self.manifests)]

    def tagged(self, dataset: int) -> Iterator[tuple[str, str]]:
        """The versions of one dataset and the digests that they name."""
        digests = self.linked(dataset)
        for number in range(self.versions):
            yield f"1.{number}.0", digests[number % self.manifests]


def content(number: int) -> bytes:
    """The bytes of one manifest."""
    return b'{"kind":"manifest","number":%d}' % number


def dataset_name(dataset: int) -> str:
    """The name of one dataset, without its namespace."""
    return f"dataset_{dataset:05}"


def ensure(world: World) -> None:
    """Build the world in a process of its own, unless it stands already, and adopt what it holds."""
    if (world.root / _READY).exists():
        return
    world.root.mkdir(parents=True, exist_ok=True)
    size = (f"--datasets={world.datasets}", f"--versions={world.versions}", f"--manifests={world.manifests}")
    run(module("benchmarks.registry_world", str(world.root), *size))
    apply(world, LINKS)
    (world.root / _READY).touch()


def world_in(worlds: Path, *, datasets: int, versions: int, manifests: int) -> World:
    """The world of a size in a directory of worlds."""
    root = worlds.resolve() / f"registry-{datasets}-{versions}-{manifests}"
    return World(root=root, datasets=datasets, versions=versions, manifests=manifests)


def apply(world: World, ref: str) -> Usage:
    """`reconciler apply --yes` of a commit of the world's repository."""
    return run(module("reconciler", "apply", "--yes", "--ref", ref, "--repo", str(world.repo)))


def opened(database: str, objects: str) -> RegistryStore:
    """The registry in a database, which may be made."""
    settings: Mapping[str, object] = {"database": database, "objects": objects, "create": True}
    config = StoreConfig(name=NAME, kind=NAME, settings=settings, place=Place("benchmarks", 0, 0))
    return open_store(config, Surroundings(root=Path("/"), lock_timeout=300.0))


def fill(world: World, store: RegistryStore) -> None:
    """Register every manifest and link it to its dataset, in one commit by hand."""
    contents = {
        ManifestHash(sha256_digest(data).removeprefix("sha256:")): data
        for data in map(content, range(world.datasets * world.manifests))
    }
    changes = []
    for dataset in range(world.datasets):
        for digest in world.linked(dataset):
            changes.append(Change(Address(NAME, MANIFEST, digest), CONTENT, None, digest))
            link = Address(NAME, LINK, f"benchmarks/{dataset_name(dataset)}@{digest}")
            changes.append(Change(link, LINKED, None, LINKED))
    store.registry.commit(SHAPE.arrange(NAME, changes, {}), RUN, contents=contents.__getitem__)


def tag_changes(world: World) -> list[Change]:
    """What naming every manifest by its version changes."""
    return [
        Change(Address(NAME, TAG, f"benchmarks/{dataset_name(dataset)}@{version}"), NAMED, None, digest)
        for dataset in range(world.datasets)
        for version, digest in world.tagged(dataset)
    ]


def build(world: World) -> None:
    """Fill the registry and write the repository with its two commits."""
    store = opened(world.database, world.objects)
    try:
        fill(world, store)
    finally:
        store.close()
    desired = world.repo / "desired"
    (desired / "datasets").mkdir(parents=True)
    stores = _STORES.format(database=world.database, objects=world.objects)
    (desired / "stores.yaml").write_text(stores, "utf-8")
    _git(world, "init", "--quiet", "--initial-branch=main")
    for dataset in range(world.datasets):
        _write(world, dataset, "links:", [f'  - "{digest}"' for digest in world.linked(dataset)])
    _commit(world, "what is linked")
    for dataset in range(world.datasets):
        lines = [f'  {version}: {{manifest: "{digest}"}}' for version, digest in world.tagged(dataset)]
        _write(world, dataset, "versions:", lines)
    _commit(world, "what is tagged")


def _write(world: World, dataset: int, head: str, lines: Sequence[str]) -> None:
    document = _HEAD.format(name=dataset_name(dataset)) + "\n".join([head, *lines, ""])
    (world.repo / f"desired/datasets/{dataset_name(dataset)}.yaml").write_text(document, "utf-8")


def _commit(world: World, message: str) -> None:
    _git(world, "add", "--all")
    _git(world, "commit", "--quiet", "--message", message)


def _git(world: World, *arguments: str) -> None:
    subprocess.run((*_GIT, "-C", str(world.repo), *arguments), check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a world from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry_world", allow_abbrev=False)
    parser.add_argument("root", type=Path)
    for name in ("--datasets", "--versions", "--manifests"):
        parser.add_argument(name, type=int, required=True)
    args = parser.parse_args(arguments)
    size = {"datasets": args.datasets, "versions": args.versions, "manifests": args.manifests}
    build(World(root=args.root.resolve(), **size))
    return 0


if __name__ == "__main__":
    sys.exit(main())
