"""Show a store's ledger: who changed what, from which commit, and why; the chain is checked on the way.

With an ADDRESS only the records that touched it are shown. `--check` walks every record step by step and
says where a reader could have met a name that led to nothing, bytes that were replaced, or a version that
moved. The exit code is 8
when the chain is broken or the check found something.

for example:
  reconciler history
  reconciler history --check
  reconciler history serving/alias/latest --output json
"""

from __future__ import annotations

import argparse
from typing import Any

from reconciler.cli.console import Console
from reconciler.cli.options import add_desired, add_output, add_stores
from reconciler.cli.workspace import Workspace
from reconciler.errors import Corrupt, Exit, Problem
from reconciler.ledger import Record
from reconciler.model import Address, StoreConfig
from reconciler.policy.order import record_problems
from reconciler.render.text import history_text

SCHEMA = "reconciler/history/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("address", metavar="ADDRESS", nargs="?", help="only what touched this address")
    parser.add_argument("--check", action="store_true", help="walk every step as a reader could have")
    add_desired(parser)
    add_stores(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Read the ledgers and show them."""
    address = Address.parse(args.address) if args.address else None
    if address:
        args.store = [address.store]
    with Workspace.open(args, console) as workspace:
        if args.check:
            _check(workspace, console)
        histories = [(config, _records(workspace, config, address)) for config in workspace.selected]
    document = {
        "schema": SCHEMA,
        "stores": [
            {"store": config.name, "records": [_record_json(record) for record in records]}
            for config, records in histories
        ],
    }
    console.answer(
        document,
        lambda: "\n".join(
            history_text(config.name, records, of=args.address or "") for config, records in histories
        ),
    )
    return Exit.DONE


def _check(workspace: Workspace, console: Console) -> None:
    """Walk the record of every selected store.

    Raises:
        Corrupt: E_ORDER, a reader could have met what must never be.
    """
    problems: list[Problem] = []
    for config in workspace.selected:
        one = workspace.opened(config)
        found = list(record_problems(one.shape, one.store.history(), config.name))
        if not found:
            console.note(f"{config.name}: at no moment could a reader meet a name that led to nothing")
        problems += found
    if problems:
        raise Corrupt(problems)


def _records(workspace: Workspace, config: StoreConfig, address: Address | None) -> list[Record]:
    records = workspace.by_hand(config).store.history()
    return [record for record in records if address is None or _touches(record, address)]


def _touches(record: Record, address: Address) -> bool:
    return any(change.address == address for step in record.steps for change in step.changes) or any(
        adopted == address for adopted, _ in record.run.adopted
    )


def _record_json(record: Record) -> dict[str, Any]:
    run_values = record.run
    outcomes = {result.step: result for result in record.results or ()}
    return {
        "seq": record.seq,
        "by": run_values.by,
        "time": run_values.time,
        "commit": run_values.commit,
        "author": run_values.author,
        "reason": run_values.reason,
        "owner": run_values.owner,
        "ticket": run_values.ticket,
        "command": run_values.command,
        "pull_request": run_values.pull_request,
        "approvers": list(run_values.approvers),
        "policy": run_values.policy,
        "findings": [
            {"rule": rule, "severity": severity, "count": count}
            for rule, severity, count in run_values.findings
        ],
        "tool": run_values.tool,
        "intent": run_values.intent,
        "finished": record.results is not None,
        "heads": dict(record.heads),
        "adopted": [str(address) for address, _ in run_values.adopted],
        "protection": [{"address": str(address), "protected": on} for address, on in run_values.protection],
        "break_glass": [{"address": str(address), "reason": why} for address, why in run_values.break_glass],
        "steps": [
            {
                "id": step.id,
                "unit": step.unit,
                "outcome": outcomes[step.id].outcome.value if step.id in outcomes else "unfinished",
                "receipt": outcomes[step.id].receipt if step.id in outcomes else "",
                "changes": [
                    {"address": str(c.address), "slot": c.slot, "before": c.before, "after": c.after}
                    for c in step.changes
                ],
            }
            for step in record.steps
        ],
    }
