"""Publish datasets to the repository of an account by hand, withdraw them, list and verify them.

`promote` lifts one version: an entry of a local index, or a schema file and the URLs of its shards, perhaps
with the revision of a registry that they belong to. What is there already is left as it is. `withdraw` takes
the label, then the entry. `list` shows every label of the account, whoever made it. `verify` compares the
account with git, and with --deep fetches every shard.

A write by hand creates no ownership and shows as drift until git agrees. The login comes from the variable
that the store's `credentials` name.

Example:
  reconciler federation promote experiment-2024-001 --store public --dry-run
  reconciler federation promote --name d2 --schema sample.json --url https://x.org/{0..9}.tar --store public
  reconciler federation withdraw experiment-2024-001@1.0.0 --store public --reason "wrong units"
  reconciler federation verify --store public --deep
"""

from __future__ import annotations

import argparse

from reconciler.cli import federation_read, federation_verify, federation_write
from reconciler.cli.byhand import (
    Operation,
    Operations,
    add_operation,
    add_repository,
    add_write,
    operations_of,
)
from reconciler.cli.options import add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    _add_promote(operations)
    withdraw = _add(
        operations,
        "withdraw",
        federation_write.withdraw,
        "take a version's label, then its entry, from the account",
        "experiment-2024-001@1.0.0",
    )
    withdraw.add_argument("reference", metavar="NAME@VERSION", help="the version, as it was promoted")
    add_write(withdraw)
    listing = _add(
        operations, "list", federation_read.list_labels, "list the account's labels and entries", ""
    )
    listing.add_argument("name", metavar="NAME", nargs="?", help="only labels of this name")
    verify = _add(
        operations,
        "verify",
        federation_verify.verify,
        "compare what the account serves with what git says",
        "--deep",
    )
    verify.add_argument(
        "--deep", action="store_true", help="fetch every shard, compare its hash, and decode one sample of it"
    )


def _add_promote(operations: Operations) -> None:
    promote = _add(
        operations,
        "promote",
        federation_write.promote,
        "publish one version of a dataset",
        "experiment-2024-001 --version 1.0.0",
    )
    promote.add_argument(
        "reference",
        metavar="ENTRY",
        nargs="?",
        help="an entry of the index: its name, NAME@VERSION of a label, or its CID",
    )
    promote.add_argument("--index", metavar="NAME", help="the index, where several are declared")
    promote.add_argument("--name", metavar="NAME", help="the name to publish under (default: the entry's)")
    promote.add_argument(
        "--version", metavar="VERSION", help="the version to publish (default: the entry's label, else 1.0.0)"
    )
    promote.add_argument("--registry", metavar="REF", help="instead of ENTRY: NAMESPACE/NAME@VERSION")
    promote.add_argument("--registry-store", metavar="NAME", help="the registry, where several are declared")
    promote.add_argument("--schema", metavar="FILE", help="instead of ENTRY: the schema, a JSON file")
    promote.add_argument("--url", metavar="URL", nargs="+", default=[], help="with --schema: the shards")
    promote.add_argument("--description", metavar="TEXT", default="", help="what it is")
    promote.add_argument("--tag", metavar="TEXT", nargs="+", default=[], help="tags to find it by")
    promote.add_argument("--license", metavar="TEXT", default="", help="the licence, best an SPDX identifier")
    promote.add_argument(
        "--metadata",
        metavar="KEY=TEXT",
        nargs="+",
        default=[],
        help="laid over what the index holds; KEY:=JSON for an integer, a truth value, a list or a map",
    )
    promote.add_argument(
        "--copy-to", metavar="NAME", default="", help="copy the data to this bucket, or to the account itself"
    )
    add_write(promote)


def _add(
    operations: Operations, name: str, run: Operation, summary: str, example: str
) -> argparse.ArgumentParser:
    words = f"reconciler federation {name} {example}".strip()
    parser = add_operation(operations, name, run, summary=summary, example=f"{words} --store public")
    parser.add_argument(
        "--store", metavar="NAME", nargs=1, required=True, help="an account of the repository's stores.yaml"
    )
    add_repository(parser)
    add_output(parser)
    return parser
