"""Change what a serving store's catalog lists, by hand.

`promote` makes a published dataset discoverable, `rollback` hides it from discovery (queries that name it
go on being served), `latest-alias-update` says what latest means, `publish` replaces the whole catalog,
`resolve` answers what an alias means, and `rebuild` writes a broken catalog or alias anew.

Names and flags are the reference's. Every write is checked, locked and recorded like one of `apply`.

Example:
  reconciler catalog promote 110/homo_sapiens/GRCh38 --store serving --reason "first release"
  reconciler catalog latest-alias-update 110/homo_sapiens/GRCh38 --store-root var/serving --dry-run
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from reconciler.cli import catalog_file, catalog_rebuild
from reconciler.cli.byhand import (
    Hand,
    Operations,
    add_dataset,
    add_operation,
    add_store,
    add_write,
    dataset_of,
    open_by_hand,
    operations_of,
)
from reconciler.cli.byhand_write import Intention, answer_written, carry_out, changes_to, slots_of
from reconciler.cli.console import Console
from reconciler.cli.files import read_file
from reconciler.cli.options import add_output
from reconciler.errors import Corrupt, Denied, Exit, InvalidInput, escaped
from reconciler.model import Address, Change, DatasetId, Depth, Observed
from reconciler.stores.serving.catalog import CATALOG_LIMIT, catalog_sha256, encode_catalog, parse_catalog

LATEST = "latest"
_RESOLVE_ATTEMPTS = 5

HIDDEN = (
    "the dataset is hidden from discovery, not stopped: a server answers queries that name it until its "
    "cached copy is evicted and the store's copy is gone"
)
"""What a roll back does not do (the serving store's contract 3.12)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    check = add_operation(
        operations,
        "validate",
        validate,
        summary="check a catalog file; no store is read",
        example="reconciler catalog validate catalog.json",
    )
    check.add_argument("path", metavar="PATH", type=Path, help="the catalog file")
    add_output(check)
    catalog_file.add_publish(operations)
    for name, run, summary in (
        ("promote", promote, "list a published dataset in the catalog"),
        ("rollback", rollback, "take a dataset out of the catalog; its artifacts stay"),
        ("latest-alias-update", latest_alias_update, "point latest at a dataset of the catalog"),
    ):
        write = add_operation(
            operations,
            name,
            run,
            summary=summary,
            example=f"reconciler catalog {name} 110/homo_sapiens/GRCh38 --store-root var/serving",
        )
        add_dataset(write)
        add_store(write)
        add_write(write)
        if name == "rollback":
            _add_alias_choice(write)
        elif name == "latest-alias-update":
            write.add_argument(
                "--line",
                action="store_true",
                help="set the alias of the dataset's own species and assembly instead of latest",
            )
    _add_resolve(operations)
    catalog_rebuild.add_rebuild(operations)


def _add_resolve(operations: Operations) -> None:
    answer = add_operation(
        operations,
        "resolve",
        resolve,
        summary="say which dataset an alias means",
        example="reconciler catalog resolve latest --store-root var/serving",
    )
    answer.add_argument(
        "reference",
        metavar="REF",
        nargs="?",
        default=LATEST,
        help="latest (default), SPECIES/ASSEMBLY, or a whole id",
    )
    add_store(answer)


def _add_alias_choice(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--move-alias-to", metavar="ID", help="first point the aliases that name the dataset at this one"
    )
    choice.add_argument(
        "--drop-alias", action="store_true", help="first remove the aliases that name the dataset"
    )


def validate(args: argparse.Namespace, console: Console) -> Exit:
    """Parse a catalog file strictly."""
    data = read_file(args.path, limit=CATALOG_LIMIT)
    catalog = parse_catalog(data, str(args.path))
    canonical = encode_catalog(catalog) == data
    sha256 = catalog_sha256(catalog)
    count = len(catalog.entries)
    document = {
        "schema": "reconciler/catalog-validate/v1",
        "path": str(args.path),
        "status": "ok",
        "entries": count,
        "canonical": canonical,
        "catalog_sha256": sha256,
    }
    form = "canonical" if canonical else "valid, but not in canonical form"
    noun = "entry" if count == 1 else "entries"
    console.answer(
        document, lambda: f"{escaped(str(args.path), 400)}: {count} {noun}, {form}\ncatalog sha256 {sha256}"
    )
    return Exit.DONE


def _subject(hand: Hand, dataset: DatasetId) -> dict[str, str]:
    return {"store": hand.name, "dataset": str(dataset)}


def promote(args: argparse.Namespace, console: Console) -> Exit:
    """List a dataset; an entry with foreign paths gets the standard ones."""
    dataset = dataset_of(args)
    with open_by_hand(args, console) as hand:
        address = hand.dataset(dataset)

        def decide(live: Mapping[Address, Observed]) -> Intention:
            slots = slots_of(live, address)
            _check_readable(live, address)
            if "artifact" not in slots:
                raise _not_published(args, hand, dataset)
            changes = changes_to(address, slots, {"entry": "listed"})
            if changes and args.dry_run:
                catalog_file.check_promotable(hand, [dataset])
            return Intention(changes=changes, said=f"{dataset} is already in the catalog")

        written = carry_out(args, console, hand, addresses=[address], decide=decide)
        answer_written(console, hand, written, "reconciler/catalog-promote/v1", _subject(hand, dataset))
    return Exit.DONE


def rollback(args: argparse.Namespace, console: Console) -> Exit:
    """Take a dataset out of the catalog, the aliases that name it first."""
    dataset = dataset_of(args)
    successor = DatasetId.parse(args.move_alias_to) if args.move_alias_to is not None else None
    with open_by_hand(args, console) as hand:
        address = hand.dataset(dataset)
        aliases = [hand.alias(), hand.alias(dataset.scope)]

        def decide(live: Mapping[Address, Observed]) -> Intention:
            slots = slots_of(live, address)
            if "entry" not in slots:
                return Intention(changes=(), said=f"{dataset} is not in the catalog")
            naming = [alias for alias in aliases if slots_of(live, alias).get("dataset") == str(dataset)]
            changes = [
                change
                for alias in naming
                for change in _alias_changes(hand, live, alias, drop=args.drop_alias, successor=successor)
            ]
            changes += [
                Change(address, slot, slots[slot], None) for slot in ("entry", "diffs") if slot in slots
            ]
            return Intention(changes=tuple(changes), said="", notes=(HIDDEN,))

        wanted = [address, *aliases]
        if successor is not None:
            wanted.append(hand.dataset(successor))
        written = carry_out(args, console, hand, addresses=wanted, decide=decide, depth=Depth.HEADS)
        answer_written(console, hand, written, "reconciler/catalog-rollback/v1", _subject(hand, dataset))
    return Exit.DONE


def _alias_changes(
    hand: Hand, live: Mapping[Address, Observed], alias: Address, *, drop: bool, successor: DatasetId | None
) -> tuple[Change, ...]:
    """What becomes of an alias whose dataset goes."""
    slots = slots_of(live, alias)
    if drop:
        return tuple(Change(alias, slot, value, None) for slot, value in slots.items())
    if successor is None or str(successor) == slots["dataset"]:
        raise Denied.of(
            "E_ALIAS_TARGET",
            f"the alias {alias.key} points at this dataset, so it cannot be rolled back",
            path=hand.where,
            got=str(slots["dataset"]),
            fix="add --move-alias-to ID to point it at another dataset first, or --drop-alias to remove it",
        )
    if alias.key not in {LATEST, successor.scope}:
        raise Denied.of(
            "E_ALIAS_TARGET",
            f"the alias {alias.key} cannot point at a dataset of another species or assembly",
            path=hand.where,
            got=str(successor),
            fix="add --drop-alias instead",
        )
    _check_listed(live, hand, successor)
    return changes_to(alias, slots, {"dataset": str(successor), "binding": "catalog"})


def latest_alias_update(args: argparse.Namespace, console: Console) -> Exit:
    """Point an alias at a listed dataset."""
    dataset = dataset_of(args)
    with open_by_hand(args, console) as hand:
        alias = hand.alias(dataset.scope if args.line else LATEST)

        def decide(live: Mapping[Address, Observed]) -> Intention:
            _check_listed(live, hand, dataset)
            _check_readable(live, hand.dataset(dataset))
            changes = changes_to(
                alias, slots_of(live, alias), {"dataset": str(dataset), "binding": "catalog"}
            )
            return Intention(changes=changes, said=f"{alias.key} already points at {dataset}")

        written = carry_out(args, console, hand, addresses=[alias, hand.dataset(dataset)], decide=decide)
        schema = "reconciler/catalog-latest-alias-update/v1"
        answer_written(console, hand, written, schema, _subject(hand, dataset))
    return Exit.DONE


def _check_listed(live: Mapping[Address, Observed], hand: Hand, dataset: DatasetId) -> None:
    if "entry" not in slots_of(live, hand.dataset(dataset)):
        raise Denied.of(
            "E_NOT_PROMOTED",
            "an alias may only name a dataset that the catalog lists",
            path=hand.where,
            got=str(dataset),
            fix=f"run 'reconciler catalog promote {dataset}' first",
        )


def _check_readable(live: Mapping[Address, Observed], address: Address) -> None:
    seen = live.get(address)
    if seen is not None and seen.problems:
        raise Corrupt(seen.problems)


def _not_published(args: argparse.Namespace, hand: Hand, dataset: DatasetId) -> Denied:
    store = f"--store-root {args.store_root}" if args.store_root else f"--store {hand.name}"
    return Denied.of(
        "E_NOT_PUBLISHED",
        "the dataset was never published to this store",
        path=hand.where,
        got=str(dataset),
        fix=f"run 'reconciler dataset publish {dataset} {store} --source-root DIR' first",
    )


def resolve(args: argparse.Namespace, console: Console) -> Exit:
    """Answer which dataset a reference means, and refuse an answer that does not hold."""
    key, dataset = _reference(args.reference)
    with open_by_hand(args, console) as hand:
        alias, dataset, live = _resolved(hand, key, dataset)
        slots = slots_of(live, hand.dataset(dataset))
        if alias is not None:
            _check_alias(live, alias, hand, dataset)
        elif "entry" not in slots:
            _check_listed(live, hand, dataset)
        _check_readable(live, hand.dataset(dataset))
        document = {
            "schema": "reconciler/catalog-resolve/v1",
            "store": hand.name,
            "reference": args.reference,
            "dataset": str(dataset),
            "manifest": slots.get("artifact"),
        }
    console.answer(document, lambda: str(dataset))
    return Exit.DONE


def _reference(text: str) -> tuple[str, DatasetId | None]:
    """An alias's key, or a whole id."""
    if text == LATEST:
        return LATEST, None
    if text.count("/") == 1:
        return DatasetId.parse(f"0/{text}").scope, None
    return "", DatasetId.parse(text)


def _resolved(
    hand: Hand, key: str, dataset: DatasetId | None
) -> tuple[Address | None, DatasetId, Mapping[Address, Observed]]:
    """The alias, the dataset it names, and one observation that holds both."""
    if dataset is not None:
        return None, dataset, hand.observe([hand.dataset(dataset)])
    alias = hand.alias(key)
    live = hand.observe([alias])
    for _ in range(_RESOLVE_ATTEMPTS):
        named = slots_of(live, alias).get("dataset")
        if named is None:
            break
        dataset = DatasetId.parse(str(named))
        live = hand.observe([alias, hand.dataset(dataset)])
        if slots_of(live, alias).get("dataset") == named:
            return alias, dataset, live
    raise InvalidInput.of(
        "E_ALIAS_MISSING",
        f"no alias {key} is set in this store",
        path=hand.where,
        got=key,
        fix="run 'reconciler catalog latest-alias-update ID'",
    )


def _check_alias(live: Mapping[Address, Observed], alias: Address, hand: Hand, dataset: DatasetId) -> None:
    """Refuse an alias that names nothing, or was set for a catalog that is not there any more.

    Raises:
        Corrupt: E_ALIAS_DANGLING or E_ALIAS_STALE.
    """
    if "entry" not in slots_of(live, hand.dataset(dataset)):
        raise Corrupt.of(
            "E_ALIAS_DANGLING",
            f"the alias {alias.key} names a dataset that the catalog does not list",
            path=hand.where,
            got=str(dataset),
            fix=f"run 'reconciler catalog promote {dataset}', or point the alias at another dataset",
        )
    binding = slots_of(live, alias).get("binding")
    if binding != "catalog":
        raise Corrupt.of(
            "E_ALIAS_STALE",
            f"the alias {alias.key} was set for another catalog than the one that is there",
            path=hand.where,
            got=str(binding),
            fix=f"check it, then run 'reconciler catalog latest-alias-update {dataset}'",
        )
