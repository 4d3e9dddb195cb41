"""What the operations by hand share: naming a dataset and opening one store.

An operation by hand names its dataset with the reference's three flags or with one `R/P/A`; the id is
checked strictly before any file is touched. It names its store with `--store-root DIR` (built-in policy)
or with `--store NAME`, a store of the repository's `stores.yaml`, and then the gates and thresholds of
that commit hold.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.canonical import sha256_digest
from reconciler.cli.byhand_policy import Target
from reconciler.cli.console import Console
from reconciler.cli.files import Standing, standing
from reconciler.cli.options import add_desired, add_output, seconds
from reconciler.cli.protected import check_writing
from reconciler.cli.roots import opened_root
from reconciler.cli.workspace import Opened, Workspace, refreshed
from reconciler.errors import (
    Exit,
    InvalidInput,
    Unavailable,
)
from reconciler.model import (
    Address,
    DatasetId,
    Depth,
    Desired,
    Observed,
    Place,
    Selection,
    StoreConfig,
    dataset_id_problem,
    public_location,
)
from reconciler.stores.port import Surroundings, adapter
from reconciler.stores.serving.catalog import CATALOG, CATALOG_LIMIT
from reconciler.stores.serving.files import read_file

if TYPE_CHECKING:
    Operations = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name
else:
    Operations = object

SERVING = "serving"


Operation = Callable[[argparse.Namespace, Console], Exit]


def operations_of(parser: argparse.ArgumentParser) -> Operations:
    """The operations of a command group."""
    return parser.add_subparsers(title="operations", metavar="OPERATION", dest="operation", required=True)


def add_operation(
    operations: Operations, name: str, run: Operation, *, summary: str, example: str
) -> argparse.ArgumentParser:
    """Add one operation: its summary, its example and what runs it."""
    parser = operations.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\nexample:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add the dataset: one positional id, or the reference's three flags."""
    parser.add_argument("id", metavar="ID", nargs="?", help="the dataset, as RELEASE/SPECIES/ASSEMBLY")
    for name, example in (("release", "110"), ("species", "homo_sapiens"), ("assembly", "GRCh38")):
        parser.add_argument(f"--{name}", metavar=name.upper(), help=f"instead of ID, for example {example}")


def dataset_of(args: argparse.Namespace) -> DatasetId:
    """The dataset that the arguments name, checked strictly.

    Raises:
        InvalidInput: E_USAGE, E_ID_PATH, E_ID_CHARS or E_ID_LENGTH.
    """
    flags = (args.release, args.species, args.assembly)
    given = [flag for flag in flags if flag is not None]
    if (args.id is None) == (not given) or len(given) not in {0, 3}:
        raise InvalidInput.of(
            "E_USAGE",
            "name one dataset",
            got=args.id or " ".join(given),
            fix="give ID as RELEASE/SPECIES/ASSEMBLY, or all of --release, --species and --assembly",
        )
    problem = dataset_id_problem(args.id if args.id is not None else "/".join(given))
    if problem:
        place = "ID" if args.id is not None else "--release --species --assembly"
        raise InvalidInput(replace(problem, path=place))
    return DatasetId.parse(args.id if args.id is not None else "/".join(given))


def add_store(parser: argparse.ArgumentParser, *, creates: bool = False) -> None:
    """Add the store, the repository it may come from, and `--output`.

    Args:
        parser: gets the options.
        creates: whether the operation makes the directory of `--store-root` if it is missing.
    """
    parser.set_defaults(creates_store=creates)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--store-root", metavar="DIR", help="the serving store's directory")
    where.add_argument(
        "--store", metavar="NAME", nargs=1, default=[], help="a store of the repository's stores.yaml"
    )
    add_repository(parser)
    add_output(parser)


def add_repository(parser: argparse.ArgumentParser) -> None:
    """Add where `--store NAME` is looked up, and how long to wait for another writer."""
    add_desired(parser)
    parser.add_argument(
        "--lock-timeout",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="how long to wait for another writer (default: 60)",
    )


def add_write(parser: argparse.ArgumentParser) -> None:
    """Add what every write by hand takes."""
    parser.add_argument("--reason", metavar="TEXT", default="", help="why; the ledger keeps it")
    parser.add_argument(
        "--dry-run", "--explain", dest="dry_run", action="store_true", help="say what would be done, and stop"
    )


@dataclass(frozen=True, slots=True)
class Hand:
    """One store opened for an operation by hand.

    `base` is where relative locations start; `workspace` is None without a repository.
    """

    opened: Opened
    base: Path
    workspace: Workspace | None

    @property
    def desired(self) -> Desired | None:
        """What git wants; None without a repository."""
        return None if self.workspace is None else self.workspace.desired

    @property
    def governance(self) -> Mapping[str, bytes]:
        """The governance files that hold; none without a repository."""
        return {} if self.workspace is None else self.workspace.desired.governance

    @property
    def target(self) -> Target:
        """Where it writes."""
        return Target(self.opened.config, self.opened.shape, self.opened.inventory)

    @property
    def name(self) -> str:
        """The store's name, the first part of its addresses."""
        return self.opened.config.name

    @property
    def root(self) -> Path:
        """The store's directory."""
        return self.base / self.where

    @property
    def where(self) -> str:
        """The store's directory as it was written; of a registry, its database."""
        settings = self.opened.config.settings
        return public_location(str(settings.get("root", settings.get("database")))).removeprefix("file:")

    def dataset(self, dataset: DatasetId) -> Address:
        """The address of a dataset."""
        return Address(self.name, "dataset", str(dataset))

    def alias(self, key: str = "latest") -> Address:
        """The address of an alias."""
        return Address(self.name, "alias", key)

    def observe(
        self, addresses: Iterable[Address] | None, depth: Depth = Depth.MANIFESTS
    ) -> dict[Address, Observed]:
        """What stands at some addresses, or everything."""
        wanted = None if addresses is None else frozenset(addresses)
        seen = self.opened.store.snapshot(Selection(addresses=wanted, depth=depth))
        return {one.address: one for one in seen}


@contextmanager
def open_by_hand(args: argparse.Namespace, console: Console) -> Iterator[Hand]:
    """Open the store that the arguments name.

    Raises:
        InvalidInput: the repository or the store is not declared as it must be.
        Stale: E_POLICY_STALE, and the operation writes.
        Unavailable: E_STORE_MISSING, the directory given with --store-root is not there.
    """
    if args.store_root is None:
        with Workspace.open(args, console) as workspace:
            config = workspace.selected[0]
            if config.kind != SERVING:
                raise InvalidInput.of(
                    "E_STORE_KIND", "this operation needs a serving store", path="--store", got=config.kind
                )
            check_writing(args, workspace.root, workspace.protected)
            yield Hand(workspace.opened(config), workspace.root, workspace)
        return
    kind = adapter(SERVING)
    config = StoreConfig(
        name=SERVING,
        kind=SERVING,
        settings={
            "root": f"file:{args.store_root if args.creates_store else _present(args.store_root)}",
            "create": args.creates_store,
        },
        place=Place("--store-root", 0, 0),
    )
    surroundings = Surroundings(root=Path.cwd(), lock_timeout=args.lock_timeout, progress=console.note)
    store = kind.open_store(config, surroundings)
    try:
        yield Hand(refreshed(store, kind.SHAPE), Path.cwd(), None)
    finally:
        store.close()


def _present(directory: str) -> str:
    path = Path(directory)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Unavailable.of(
            "E_STORE_MISSING",
            "there is no such directory",
            path="--store-root",
            got=directory,
            fix=f"name the store's directory, or create an empty one: mkdir -p {shlex.quote(directory)}",
        ) from error
    except OSError as error:
        raise Unavailable.of("E_IO", f"cannot be read: {error.strerror}", path=directory) from error
    return directory


def live_digest(hand: Hand) -> str:
    """The digest of the live catalog's bytes; empty if there is no catalog."""
    if hand.opened.config.kind != SERVING or standing(hand.root) is Standing.MISSING:
        return ""
    with opened_root(hand.root, "--store-root") as root:
        data = read_file(root, CATALOG, CATALOG_LIMIT, hand.where)
    return "" if data is None else sha256_digest(data)
