"""Replace the catalog by a file, in one write.

`catalog publish` verifies every entry of the file against the store (the serving store's contract 11),
shows what would come and go, and makes one write of it. It never drops the last dataset, nor one that an
alias names, unless a flag says so, and then the alias goes first. A catalog that changed since it was
compared is a conflict: a whole file is never replaced by a guess.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

from reconciler.canonical import canonical, parse_strict
from reconciler.cli.byhand import (
    Hand,
    Operations,
    add_operation,
    add_store,
    add_write,
    live_digest,
    open_by_hand,
)
from reconciler.cli.byhand_write import Intention, answer_written, carry_out, slots_of
from reconciler.cli.console import Console
from reconciler.cli.files import read_file
from reconciler.cli.roots import opened_dataset, opened_root
from reconciler.errors import Conflict, Corrupt, Denied, Exit, InvalidInput, Problem
from reconciler.model import NOTHING, Address, Change, DatasetId, Depth, Observed, Slots, parse_digest
from reconciler.stores.serving.catalog import CATALOG_LIMIT, Catalog, parse_catalog
from reconciler.stores.serving.heads import entry_slots
from reconciler.stores.serving.verify import check_promotable as promotion_problems

_SHOWN = 3


def add_publish(operations: Operations) -> None:
    """Add `catalog publish`."""
    parser = add_operation(
        operations,
        "publish",
        publish,
        summary="replace the catalog by a file, after verifying every entry",
        example="reconciler catalog publish --store-root var/serving --catalog catalog.json --dry-run",
    )
    parser.add_argument("--catalog", metavar="FILE", type=Path, required=True, help="the new catalog")
    parser.add_argument(
        "--expect-sha256",
        metavar="HEX",
        help="refuse unless the live catalog has this sha256 ('none': there is no catalog)",
    )
    parser.add_argument(
        "--drop-aliased", action="store_true", help="allow datasets to go that an alias names; it goes first"
    )
    parser.add_argument("--drop-last", action="store_true", help="allow the catalog to become empty")
    add_store(parser)
    add_write(parser)


def publish(args: argparse.Namespace, console: Console) -> Exit:
    """Replace the catalog in one write."""
    expected = _expected(args.expect_sha256)
    wanted = _read_wanted(args.catalog)
    with open_by_hand(args, console) as hand:
        base = live_digest(hand)
        if expected is not None and expected != base:
            raise Conflict.of(
                "E_CONFLICT",
                "the live catalog is not the expected one",
                path="--expect-sha256",
                got=base or "none",
                fix="look at what changed and publish again",
            )
        check_promotable(hand, [entry.id for entry in wanted.entries])

        def decide(live: Mapping[Address, Observed]) -> Intention:
            return _replacement(args, hand, wanted, live, base)

        written = carry_out(args, console, hand, addresses=None, decide=decide, depth=Depth.HEADS)
        subject = {"store": hand.name, "catalog": str(args.catalog), "base": base}
        answer_written(console, hand, written, "reconciler/catalog-publish/v1", subject)
    return Exit.DONE


def _expected(text: str | None) -> str | None:
    """The digest that the live catalog must have; empty text means that there is none."""
    if text is None:
        return None
    return "" if text == "none" else str(parse_digest(f"sha256:{text.removeprefix('sha256:')}"))


def _read_wanted(path: Path) -> Catalog:
    """The new catalog; entries that are only out of order are sorted, as the reference does."""
    data = read_file(path, limit=CATALOG_LIMIT)
    try:
        return parse_catalog(data, str(path))
    except InvalidInput as error:
        if error.code != "E_CATALOG_ORDER":
            raise
    document = parse_strict(data, where=str(path), limit=CATALOG_LIMIT)
    document["datasets"].sort(
        key=lambda e: tuple(e["dataset"][m] for m in ("release", "species", "assembly"))
    )
    return parse_catalog(canonical(document), str(path))


def _replacement(
    args: argparse.Namespace, hand: Hand, wanted: Catalog, live: Mapping[Address, Observed], base: str
) -> Intention:
    listed = {address: _entry(seen.slots) for address, seen in live.items() if "entry" in seen.slots}
    new: dict[Address, Slots] = {hand.dataset(entry.id): entry_slots(entry) for entry in wanted.entries}
    changes = [
        Change(address, slot, before, after)
        for address in sorted({*listed, *new})
        for slot in ("entry", "diffs")
        for before, after in [(listed.get(address, NOTHING).get(slot), new.get(address, NOTHING).get(slot))]
        if before != after
    ]
    _check_paths(changes, args.catalog)
    if listed and not new and not args.drop_last:
        raise Denied.of(
            "E_DROP_LAST",
            "the new catalog is empty",
            path=str(args.catalog),
            fix="add --drop-last if nothing shall be discoverable",
        )
    gone = {address.key for address in listed if address not in new}
    aliases = [
        address
        for address, seen in live.items()
        if address.kind == "alias" and seen.slots.get("dataset") in gone
    ]
    if aliases and not args.drop_aliased:
        raise Denied(_aliased(alias, slots_of(live, alias), args.catalog) for alias in aliases)
    drops = [
        Change(alias, slot, value, None) for alias in aliases for slot, value in slots_of(live, alias).items()
    ]
    return Intention(
        changes=(*drops, *changes),
        said="the catalog already says this",
        base=base,
        whole="publish catalog",
    )


def _entry(slots: Slots) -> Slots:
    return {name: value for name, value in slots.items() if name in {"entry", "diffs"}}


def _check_paths(changes: Iterable[Change], catalog: Path) -> None:
    strange = [c for c in changes if c.slot == "entry" and c.after not in {None, "listed"}]
    if strange:
        raise InvalidInput(
            Problem(
                code="E_CATALOG_PATH",
                message=f"the paths of {change.address.key} are not those that its id gives",
                path=str(catalog),
                got=str(change.after),
                fix="write the standard paths release=…/species=…/assembly=…/derived/…",
            )
            for change in strange[:_SHOWN]
        )


def _aliased(alias: Address, slots: Slots, catalog: Path) -> Problem:
    return Problem(
        code="E_ALIAS_TARGET",
        message=f"the new catalog drops a dataset that the alias {alias.key} names",
        path=str(catalog),
        got=str(slots.get("dataset")),
        fix="keep it, move the alias first, or add --drop-aliased to remove the alias too",
    )


def check_promotable(hand: Hand, datasets: Iterable[DatasetId]) -> None:
    """Check everything that a promotion asks of each dataset (the serving store's contract 11).

    Raises:
        Denied: E_NOT_PUBLISHED.
        Corrupt: a dataset does not hold.
    """
    problems = [problem for dataset in datasets for problem in refusals(hand, dataset)]
    absent = [problem for problem in problems if problem.code == "E_NOT_PUBLISHED"]
    if absent:
        raise Denied(absent)
    if problems:
        raise Corrupt(problems)


def refusals(hand: Hand, dataset: DatasetId) -> tuple[Problem, ...]:
    """What keeps a dataset of the store from being listed."""
    with opened_root(hand.root, "--store-root") as root:
        try:
            with opened_dataset(root, dataset, hand.where) as place:
                return promotion_problems(place, dataset)
        except InvalidInput as error:
            return tuple(_never_published(problem, dataset) for problem in error.problems)


def _never_published(problem: Problem, dataset: DatasetId) -> Problem:
    return Problem(
        code="E_NOT_PUBLISHED",
        message="the dataset was never published to this store",
        path=problem.path,
        got=str(dataset),
        fix=f"run 'reconciler dataset publish {dataset}' first",
    )
