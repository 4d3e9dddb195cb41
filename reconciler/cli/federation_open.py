"""What the operations on an account share: opening it, and reading a promotion from arguments.

A promotion by hand is the same value as one of a document, at the place `command line`; what follows from it
is decided by the same rules.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reconciler.canonical import parse_strict
from reconciler.cli.console import Console
from reconciler.cli.files import read_file
from reconciler.cli.promotions import account
from reconciler.cli.protected import check_writing
from reconciler.cli.workspace import Opened, Workspace
from reconciler.desired.promotion import INDEX, SCHEMA_LIMIT, promoted_name_problem
from reconciler.errors import InvalidInput
from reconciler.model import Origin, Place, Promotion, Shard
from reconciler.stores.atdata_index import IndexEntry
from reconciler.stores.atproto.resolution import Source
from reconciler.stores.atproto.sample_schema import schema_record
from reconciler.stores.atproto.shards import all_expanded
from reconciler.stores.atproto.store import AtprotoStore

ATPROTO: Final = "atproto"
COMMAND_LINE: Final = Place("command line", 0, 0)
FIRST_VERSION: Final = "1.0.0"
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,49}", re.ASCII)


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """One account, opened for an operation by hand."""

    workspace: Workspace
    opened: Opened
    store: AtprotoStore

    @property
    def name(self) -> str:
        """The store's name."""
        return self.store.config.name


@contextmanager
def open_account(args: argparse.Namespace, console: Console) -> Iterator[OpenAccount]:
    """Open the account that the arguments name.

    Raises:
        InvalidInput: E_STORE_UNKNOWN or E_STORE_KIND.
        Stale: E_POLICY_STALE, and the operation writes.
    """
    with Workspace.open(args, console) as workspace:
        config = workspace.selected[0]
        if config.kind != ATPROTO:
            raise InvalidInput.of(
                "E_STORE_KIND", "this operation needs an account", path="--store", got=config.kind
            )
        check_writing(args, workspace.root, workspace.protected)
        opened = workspace.by_hand(config)
        yield OpenAccount(workspace, opened, account(opened.store))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A promotion by hand and its source; `assumed` says that nobody named the version."""

    promotion: Promotion
    source: Source
    entry: IndexEntry | None = None
    assumed: bool = False


def wanted(args: argparse.Namespace, one: OpenAccount) -> Wanted:
    """What the arguments of `promote` say.

    Raises:
        InvalidInput: E_USAGE; or the source does not have what is promoted.
        Unavailable, Corrupt: the source cannot be read.
    """
    if (args.reference is None) == (args.schema is None) or bool(args.url) != bool(args.schema):
        raise InvalidInput.of(
            "E_USAGE",
            "a promotion comes from an entry of an index, or from a schema and URLs",
            fix="give ENTRY, or --schema FILE and --url URL",
        )
    if args.reference is not None:
        return _from_index(args, one)
    if args.name is None:
        raise InvalidInput.of("E_USAGE", "--schema needs a name", path="--name", fix="give --name NAME")
    source = Source(
        schema=_schema_file(args.schema),
        shards=all_expanded((Shard(url) for url in args.url), where=""),
        provenance=_revision(args, one),
    )
    promotion = _promotion(args, one, args.name, args.version or FIRST_VERSION)
    return Wanted(promotion=promotion, source=source, assumed=args.version is None)


def _from_index(args: argparse.Namespace, one: OpenAccount) -> Wanted:
    if args.registry is not None:
        raise InvalidInput.of("E_USAGE", "--registry goes with --schema and --url", path="--registry")
    index = args.index or _only_index(one)
    sources = one.workspace.sources
    entry = sources.index(index).find(args.reference)
    label = sources.index(index).label_of(entry, args.reference)
    version = args.version or label or FIRST_VERSION
    promotion = _promotion(args, one, args.name or entry.name, version)
    return Wanted(
        promotion=promotion,
        source=sources.entry_source(index, entry),
        entry=entry,
        assumed=args.version is None and not label,
    )


def _only_index(one: OpenAccount) -> str:
    names = sorted(name for name, config in one.workspace.desired.stores.items() if config.kind == INDEX)
    if len(names) != 1:
        raise InvalidInput.of(
            "E_STORE_UNKNOWN",
            f"{len(names) or 'no'} indexes are declared, so it is not clear which one is meant",
            path="--index",
            fix=f"give --index {'|'.join(names)}" if names else "declare a store of kind atdata-index",
        )
    return names[0]


def _promotion(args: argparse.Namespace, one: OpenAccount, name: str, version: str) -> Promotion:
    problem = promoted_name_problem(name)
    if problem:
        raise InvalidInput(problem)
    check_version(version)
    return Promotion(
        store=one.name,
        name=name,
        version=version,
        place=COMMAND_LINE,
        origin=Origin(),
        metadata=dict(_pair(text) for text in args.metadata),
        copy_to=args.copy_to,
        description=args.description,
        tags=tuple(args.tag),
        license=args.license,
    )


def check_version(version: str) -> None:
    """Refuse a version that no document could hold.

    Raises:
        InvalidInput: E_PROMOTED_VERSION.
    """
    if not _VERSION.fullmatch(version):
        raise InvalidInput.of(
            "E_PROMOTED_VERSION",
            "a version has at most 50 of A-Z a-z 0-9 . _ + - and begins with a letter or a digit",
            path="--version",
            got=version,
        )


def _pair(text: str) -> tuple[str, Any]:
    """The key and value of `KEY=TEXT` or `KEY:=JSON`."""
    key, equals, value = text.partition("=")
    is_json = key.endswith(":")
    key = key.removesuffix(":")
    if not equals or not key:
        raise InvalidInput.of("E_USAGE", "metadata is KEY=TEXT or KEY:=JSON", path="--metadata", got=text)
    return key, parse_strict(value.encode(), where=f"--metadata {key}") if is_json else value


def _schema_file(path: str) -> Any:  # noqa: ANN401 - a record
    document = parse_strict(read_file(Path(path), limit=SCHEMA_LIMIT), where=path, limit=SCHEMA_LIMIT)
    if not isinstance(document, dict):
        raise InvalidInput.of("E_JSON_ROOT", "a schema is a JSON object", path=path)
    return schema_record(document, where=path)


def _revision(args: argparse.Namespace, one: OpenAccount) -> dict[str, str]:
    if args.registry is None:
        return {}
    origin = Origin(registry=args.registry_store or "", revision=args.registry)
    return dict(one.workspace.sources.revision(origin))
