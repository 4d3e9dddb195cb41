"""Write a broken catalog or alias anew, from git, the ledger and the artifacts on disk.

A catalog or alias that cannot be read, or an alias that names nothing, is moved into quarantine, never
removed. What is listed instead is what the ledger's records left in the catalog, and with `--store` what
git declares as well; each dataset only if everything a promotion asks of it holds. What cannot be listed
is reported and makes the exit code 8. A catalog that can be read keeps every entry. Where nothing is
broken and nothing is missing, nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, cast

from reconciler.cli.byhand import Hand, Operations, add_operation, add_store, add_write, open_by_hand
from reconciler.cli.byhand_write import check_landed, run_of
from reconciler.cli.catalog_file import refusals
from reconciler.cli.console import Console
from reconciler.cli.packets import keep_packets
from reconciler.errors import Corrupt, Exit, Problem
from reconciler.ledger import ledger_state
from reconciler.model import DatasetId, Depth
from reconciler.render.text import plural
from reconciler.stores.serving.rebuild import listed_in
from reconciler.stores.serving.store import ServingStore

SCHEMA = "reconciler/catalog-rebuild/v1"


def add_rebuild(operations: Operations) -> None:
    """Add `catalog rebuild`."""
    parser = add_operation(
        operations,
        "rebuild",
        rebuild,
        summary="quarantine a broken catalog or alias and write both anew",
        example="reconciler catalog rebuild --store serving",
    )
    add_store(parser)
    add_write(parser)


def rebuild(args: argparse.Namespace, console: Console) -> Exit:
    """Rebuild what is broken; what cannot be listed makes the exit code 8."""
    with open_by_hand(args, console) as hand:
        wanted, aliases = _declared(hand)
        if args.dry_run:
            return _preview(console, hand, wanted)
        store = cast("ServingStore", hand.opened.store)
        rebuilt = store.rebuild(run_of(args), wanted=wanted, aliases=aliases)
        keep_packets(hand.opened, console)
        check_landed(rebuilt.results)
        status = "done" if rebuilt.results or rebuilt.quarantined else "unchanged"
        listed = sorted(_listed(hand))
    moved = list(rebuilt.quarantined)
    document = _document(hand, status, listed, rebuilt.left_out) | {"quarantined": moved}
    lines = [f"  quarantined   {path}" for path in moved]
    lines.append(
        f"nothing to do: nothing is broken, {plural(len(listed), 'dataset')} in the catalog"
        if status == "unchanged"
        else f"rebuilt: {plural(len(listed), 'dataset')} in the catalog"
    )
    console.answer(document, lambda: "\n".join(lines))
    return _ended(console, rebuilt.left_out)


def _declared(hand: Hand) -> tuple[list[DatasetId], dict[str, DatasetId]]:
    """What git wants listed and what it wants each alias to name; nothing without a repository."""
    wishes = () if hand.desired is None else hand.desired.of_store(hand.name)
    wanted = [
        DatasetId.parse(w.address.key) for w in wishes if w.address.kind == "dataset" and "entry" in w.slots
    ]
    aliases = {
        w.address.key: DatasetId.parse(str(w.slots["dataset"]))
        for w in wishes
        if w.address.kind == "alias" and "dataset" in w.slots
    }
    return wanted, aliases


def _listed(hand: Hand) -> list[str]:
    seen = hand.observe(None, Depth.HEADS)
    return [a.key for a, one in seen.items() if a.kind == "dataset" and "entry" in one.slots]


def _preview(console: Console, hand: Hand, wanted: Sequence[DatasetId]) -> Exit:
    """Say what is broken and what would be listed; nothing is written."""
    broken: tuple[Problem, ...] = ()
    listed: list[str] = []
    try:
        listed = _listed(hand)
    except Corrupt as error:
        broken = error.problems
    known = {*listed_in(ledger_state(hand.opened.store.history())), *wanted}
    candidates = sorted(one for one in known if str(one) not in listed)
    refused = {one: refusals(hand, one) for one in candidates}
    to_list = [str(one) for one in candidates if not refused[one]]
    left_out = tuple(problem for problems in refused.values() for problem in problems)
    document = _document(hand, "dry-run", sorted((*listed, *to_list)), left_out)
    document["broken"] = [problem.to_json() for problem in broken]
    lines = [f"  broken        {problem}" for problem in broken]
    lines += [f"  + list        {one}" for one in to_list]
    lines.append("dry run: nothing was written")
    console.answer(document, lambda: "\n".join(lines))
    return _ended(console, left_out)


def _document(hand: Hand, status: str, listed: Sequence[str], left_out: Sequence[Problem]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "store": hand.name,
        "status": status,
        "listed": list(listed),
        "left_out": [problem.to_json() for problem in left_out],
    }


def _ended(console: Console, left_out: tuple[Problem, ...]) -> Exit:
    if not left_out:
        return Exit.DONE
    console.problems(left_out)
    return Exit.CORRUPT
