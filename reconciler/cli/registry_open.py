"""What the operations on a registry share: opening it, and reading the names that a person wrote.

A dataset may be followed by `@` and a version or hash, or these stand as words of their own; both spell the
same. A name without a namespace is one of the global namespace.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from reconciler.cli.console import Console
from reconciler.cli.protected import check_writing
from reconciler.cli.workspace import Workspace
from reconciler.errors import InvalidInput
from reconciler.model import StoreConfig
from reconciler.reference import GLOBAL_NAMESPACE, DatasetName, parse_hash
from reconciler.stores.port import Store
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import Expected, ExpectedTag

REGISTRY = "registry"


class Located(NamedTuple):
    """Where a registry is, and the repository that declares it."""

    config: StoreConfig
    workspace: Workspace


@contextmanager
def located(args: argparse.Namespace, console: Console) -> Iterator[Located]:
    """The store that the arguments name.

    Raises:
        InvalidInput: E_STORE_UNKNOWN or E_STORE_KIND.
        Stale: E_POLICY_STALE, and the operation writes.
    """
    with Workspace.open(args, console) as workspace:
        config = workspace.selected[0]
        if config.kind != REGISTRY:
            raise InvalidInput.of(
                "E_STORE_KIND", "this operation needs a registry", path="--store", got=config.kind
            )
        check_writing(args, workspace.root, workspace.protected)
        yield Located(config, workspace)


class OpenRegistry(NamedTuple):
    """A registry that is open, the repository that declares it, and the store that it is in the port."""

    registry: Registry
    workspace: Workspace
    store: Store


@contextmanager
def opened(args: argparse.Namespace, console: Console) -> Iterator[OpenRegistry]:
    """The registry that the arguments name.

    Raises:
        InvalidInput: E_STORE_UNKNOWN or E_STORE_KIND.
        Stale: E_POLICY_STALE, and the operation writes.
        Unavailable: it cannot be used.
    """
    from reconciler.stores.registry.store import open_store  # noqa: PLC0415 - the database drivers

    with located(args, console) as (config, workspace):
        store = open_store(config, workspace.surroundings)
        try:
            yield OpenRegistry(store.registry, workspace, store)
        finally:
            store.close()


def dataset_name(text: str) -> DatasetName:
    """A dataset as a person writes it.

    Raises:
        InvalidInput: E_ID_PATH, E_ID_CHARS or E_ID_LENGTH.
    """
    return DatasetName.parse(text) if "/" in text else DatasetName.of(GLOBAL_NAMESPACE, text)


def dataset_and_words(args: argparse.Namespace, *, most: int, least: int) -> tuple[DatasetName, list[str]]:
    """The dataset, and what follows it after `@` or as words.

    Raises:
        InvalidInput: E_USAGE, too few or too many.
    """
    dataset, at, rest = str(args.dataset).partition("@")
    words = [*([rest] if at else []), *args.words]
    if not least <= len(words) <= most:
        raise InvalidInput.of(
            "E_USAGE",
            f"the dataset is followed by {least if least == most else f'{least} to {most}'} of these, not "
            f"{len(words)}",
            got=" ".join([args.dataset, *args.words]),
            fix=f"see 'reconciler registry {args.full_name} --help'",
        )
    return dataset_name(dataset), words


def expected_tag(text: str | None) -> ExpectedTag:
    """What `--expect` says: nothing, that the tag does not exist, or a hash.

    Raises:
        InvalidInput: E_HASH_LENGTH or E_HASH_CHARS.
    """
    if text is None:
        return Expected.ANYTHING
    return Expected.NOTHING if text == "none" else parse_hash(text)
