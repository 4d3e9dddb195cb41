"""Look into a dataset registry and change it by hand.

`manifest` keeps manifests by the hash of their bytes, `link` lets a dataset use one, `tag` names it by a
version or dev, `resolve` says which manifest a reference means, `migrate` makes or upgrades the tables.

A dataset is NAMESPACE/NAME. Versions never move, and latest follows them by itself. Every write is one
transaction with its ledger record; it creates no ownership and shows as drift until git agrees.

Example:
  reconciler registry manifest register mainnet.json --store registry
  reconciler registry link ethereum/mainnet 0eed…31b9 --store registry
  reconciler registry tag set ethereum/mainnet@1.0.0 0eed…31b9 --store registry --expect none
  reconciler registry resolve ethereum/mainnet@latest --store registry
"""

from __future__ import annotations

import argparse

from reconciler.cli import registry_read, registry_write
from reconciler.cli.byhand import (
    Operation,
    Operations,
    add_operation,
    add_repository,
    add_write,
    operations_of,
)
from reconciler.cli.options import add_output

_HASH = "a manifest's hash: 64 hex digits, perhaps after sha256:"
_DATASET = "the dataset, as NAMESPACE/NAME"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    _add_manifest(_group(operations, "manifest", "the manifests that the registry keeps"))
    _add_links(operations)
    _add_tag(_group(operations, "tag", "what the versions of a dataset, and dev, name"))
    resolve = _read(operations, "resolve", registry_read.resolve, "say which manifest a reference means")
    resolve.add_argument(
        "reference",
        metavar="REF",
        help="[NAMESPACE/]NAME[@REVISION], also as pkg:amp/NAMESPACE/NAME@REVISION",
    )
    _write(operations, "migrate", registry_write.migrate, "make the tables, or bring them up to date")


def _group(operations: Operations, name: str, summary: str) -> Operations:
    parser = operations.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    return parser.add_subparsers(title="operations", metavar="OPERATION", dest="part", required=True)


def _add_manifest(operations: Operations) -> None:
    register = _write(
        operations, "register", registry_write.register, "keep a manifest byte for byte", "manifest"
    )
    register.add_argument("path", metavar="FILE", help="the manifest, a JSON object")
    register.add_argument(
        "--hash", metavar="HASH", help="refuse the file unless this is the hash of its bytes"
    )
    get = _read(operations, "get", registry_read.get_manifest, "print a manifest's exact bytes", "manifest")
    get.add_argument("hash", metavar="HASH", help=_HASH)
    get.add_argument("--out", metavar="FILE", help="write them to this file")
    _read(operations, "list", registry_read.list_manifests, "list all manifests", "manifest")
    _read(
        operations,
        "orphans",
        registry_read.list_orphans,
        "list the manifests that no dataset links",
        "manifest",
    )
    datasets = _read(
        operations,
        "datasets",
        registry_read.list_datasets,
        "list the datasets that use a manifest",
        "manifest",
    )
    datasets.add_argument("hash", metavar="HASH", help=_HASH)
    delete = _write(
        operations,
        "delete",
        registry_write.delete_manifest,
        "delete a manifest that no dataset links",
        "manifest",
    )
    delete.add_argument("hash", metavar="HASH", help=_HASH)


def _add_links(operations: Operations) -> None:
    link = _write(operations, "link", registry_write.link, "let a dataset use a manifest; dev then names it")
    _add_reference(link, "HASH", _HASH)
    link.add_argument("--keep-dev", action="store_true", help="leave dev where it is")
    unlink = _write(operations, "unlink", registry_write.unlink, "take a manifest, or all, from a dataset")
    _add_reference(unlink, "HASH", f"{_HASH}; without one all of them go, with all tags")
    unlink.add_argument(
        "--remove-tags", action="store_true", help="also remove the tags that name the manifest"
    )
    links = _read(operations, "links", registry_read.list_links, "list the manifests that a dataset links")
    links.add_argument("dataset", metavar="DATASET", help=_DATASET)
    linked = _read(operations, "is-linked", registry_read.is_linked, "say whether a dataset links a manifest")
    _add_reference(linked, "HASH", _HASH)


def _add_tag(operations: Operations) -> None:
    for name, run, summary in (
        ("set", registry_write.set_tag, "point a version, or dev, at a linked manifest"),
        ("delete", registry_write.delete_tag, "remove a version, or dev; latest follows"),
        ("yank", registry_write.yank, "keep a version for those who ask for it; it is never latest"),
        ("unyank", registry_write.unyank, "take a yank back"),
    ):
        parser = _write(operations, name, run, summary, "tag")
        version = "the version, or dev, where it does not follow @"
        if name == "set":
            _add_reference(parser, "HASH", f"{version}; then {_HASH}")
        else:
            _add_reference(parser, "VERSION", version)
        if name in {"set", "delete"}:
            parser.add_argument(
                "--expect",
                metavar="HASH",
                help="only if the tag names this now; none: only if it does not exist",
            )
    tags = _read(operations, "list", registry_read.list_tags, "list tags, the highest version first", "tag")
    tags.add_argument("dataset", metavar="DATASET", nargs="?", help=f"{_DATASET}; without it all datasets")


def _add_reference(parser: argparse.ArgumentParser, rest: str, meaning: str) -> None:
    parser.add_argument(
        "dataset", metavar="DATASET", help=f"{_DATASET}, perhaps with @ and what follows here"
    )
    parser.add_argument("words", metavar=rest, nargs="*", help=meaning)


_EXAMPLES = {
    "manifest register": "mainnet.json",
    "manifest get": "0eed…31b9",
    "manifest datasets": "0eed…31b9",
    "manifest delete": "0eed…31b9",
    "link": "ethereum/mainnet 0eed…31b9",
    "unlink": "ethereum/mainnet 0eed…31b9",
    "links": "ethereum/mainnet",
    "is-linked": "ethereum/mainnet 0eed…31b9",
    "tag set": "ethereum/mainnet@1.0.0 0eed…31b9",
    "tag delete": "ethereum/mainnet@1.0.0",
    "tag yank": "ethereum/mainnet@1.0.0",
    "tag unyank": "ethereum/mainnet@1.0.0",
    "tag list": "ethereum/mainnet",
    "resolve": "ethereum/mainnet@latest",
}


def _read(
    operations: Operations, name: str, run: Operation, summary: str, group: str = ""
) -> argparse.ArgumentParser:
    full = f"{group} {name}".strip()
    words = f"reconciler registry {full} {_EXAMPLES.get(full, '')}".strip()
    parser = add_operation(operations, name, run, summary=summary, example=f"{words} --store registry")
    parser.add_argument(
        "--store", metavar="NAME", nargs=1, required=True, help="a store of the repository's stores.yaml"
    )
    add_repository(parser)
    add_output(parser)
    parser.set_defaults(full_name=full)
    return parser


def _write(
    operations: Operations, name: str, run: Operation, summary: str, group: str = ""
) -> argparse.ArgumentParser:
    parser = _read(operations, name, run, summary, group)
    add_write(parser)
    return parser
