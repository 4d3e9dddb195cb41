"""Say of one address why the plan changes it, or why it does not; nothing is written to a store.

Shows the line that declares it, what is live, what the record says, the steps that touch it, what it needs
and what waits for it, the findings about it, and what would change the answer. The exit code is 0 whatever
the answer is.

for example:
  reconciler explain serving/alias/latest
  reconciler explain serving/dataset/111/homo_sapiens/GRCh38 --ref feature --output markdown
"""

from __future__ import annotations

import argparse

from reconciler.cli.console import Console
from reconciler.cli.contents import with_contents
from reconciler.cli.options import add_desired, add_live, add_output, add_stores
from reconciler.cli.snapshot import read_live
from reconciler.cli.workspace import Opened, Workspace
from reconciler.errors import Exit, InvalidInput
from reconciler.explain import Explanation, Situation, explained, needed
from reconciler.ledger import Record
from reconciler.model import NOTHING, Address, Observed, Selection
from reconciler.plan import Plan
from reconciler.render.explain import explain_markdown, explain_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("address", metavar="ADDRESS", help="such as serving/alias/latest")
    add_desired(parser)
    add_stores(parser)
    add_live(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Plan, and explain one address of it."""
    address = Address.parse(args.address)
    live = read_live(args.live) if args.live else None
    with Workspace.open(args, console, live=live) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        if address.store not in opened:
            raise InvalidInput.of(
                "E_STORE_UNKNOWN",
                "this store is not declared, or not selected",
                path="ADDRESS",
                got=address.store,
                fix=f"one of {', '.join(opened)}",
            )
        plan = with_contents(workspace.plan(opened), opened)
        found = _explained(address, workspace, plan, opened[address.store])
    console.answer(found.to_json, lambda: explain_text(found), lambda: explain_markdown(found))
    return Exit.DONE


def _explained(address: Address, workspace: Workspace, plan: Plan, one: Opened) -> Explanation:
    wish = next((w for w in workspace.desired.of_store(address.store) if w.address == address), None)
    live = _seen(one, frozenset({address}))
    slots = live[address].slots if address in live else NOTHING
    others = needed(one.shape, address, wish, slots)
    known = Situation(
        part=next(part for part in plan.stores if part.config.name == address.store),
        wish=wish,
        live={**live, **(_seen(one, others) if others else {})},
        inventory=one.inventory,
        last=None if workspace.live else _last(one, address),
        everything_ours=address.store in workspace.desired.authoritative,
    )
    return explained(address, known, plan.findings, plan.contents)


def _seen(one: Opened, addresses: frozenset[Address]) -> dict[Address, Observed]:
    return {seen.address: seen for seen in one.store.snapshot(Selection(addresses=addresses))}


def _last(one: Opened, address: Address) -> Record | None:
    """The last record that touched an address."""
    last = None
    for record in one.store.history():
        adopted = any(other == address for other, _ in record.run.adopted)
        if adopted or any(change.address == address for change in record.applied_changes()):
            last = record
    return last
