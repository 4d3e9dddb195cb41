"""Do what the plan says, store by store, and record it in each store's ledger.

The plan is always computed again. `apply PLAN` and `--expect INTENT` refuse when what would happen is not
what was reviewed (exit 5); with the reviewed plan each difference is named. A run that was killed is
finished first. Without a plan or an intent, apply asks on a terminal and needs `--yes` elsewhere.

for example:
  reconciler apply plan.json
  reconciler apply --expect sha256:9f02… --ref main
  reconciler apply --yes --store serving
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from reconciler.apply import SCHEMA, ApplyReport, apply_plan, denied
from reconciler.cli.approvals import add_approvals, approved, check_plan_signature
from reconciler.cli.console import Console
from reconciler.cli.files import read_file
from reconciler.cli.options import add_desired, add_output, add_stores
from reconciler.cli.packets import keep_packets
from reconciler.cli.protected import check_current
from reconciler.cli.workspace import Opened, Workspace, refreshed, source_date_epoch
from reconciler.errors import Exit, InvalidInput, Stale, Unavailable
from reconciler.model import Outcome, public_location
from reconciler.plan import PLAN_LIMIT, Plan, SavedPlan, check_same, finding_json, read_saved, unexpected
from reconciler.policy import Purpose
from reconciler.render.comment import plan_comment
from reconciler.render.markdown import apply_markdown
from reconciler.render.text import apply_text, plan_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("plan", metavar="PLAN", nargs="?", type=Path, help="a plan saved by 'plan --out'")
    add_desired(parser)
    add_stores(parser)
    parser.add_argument("--expect", metavar="INTENT", help="the intent that was approved")
    parser.add_argument(
        "--reviewed",
        metavar="FILE",
        type=Path,
        help="the plan that was reviewed, to say what differs from it; of any commit and age",
    )
    add_approvals(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Finish what was left open, plan, compare, ask, apply."""
    data = read_file(args.plan, limit=PLAN_LIMIT) if args.plan else None
    check_plan_signature(args, data)
    saved = None if data is None else read_saved(data, where=str(args.plan))
    reviewed = saved or _approved(args)
    if saved:
        saved.check_age(source_date_epoch())
        args.store = args.store or list(saved.stores)
    with Workspace.open(args, console, ref=_ref(saved)) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        if not args.dry_run:
            opened = {name: _finished(one, console) for name, one in opened.items()}
        plan = workspace.plan(opened, purpose=Purpose.APPLY)
        check_current(args, workspace.root, workspace.protected)
        _check_unused(args, saved, opened)
        _check_reviewed(args, reviewed, plan)
        if args.dry_run:
            console.answer(
                lambda: plan.to_json(issued=source_date_epoch()),
                lambda: plan_text(plan),
                lambda: plan_comment(plan),
            )
            refusal = denied(plan.findings)
            return refusal.exit_code if refusal else Exit.DONE
        owners = approved(args, plan, opened, workspace.protected.guards)
        _check_appliable(args, plan, console, reviewed=reviewed is not None or args.expect is not None)
        notes = (*plan.notes, *workspace.copy_data(plan))
        run_values = replace(
            workspace.run_of(plan, saved.digest if saved else "", "reconciler apply"),
            pull_request=public_location(args.pull_request),
            approvers=owners.owners,
            approvals=owners.envelopes,
        )
        stores = {name: one.store for name, one in opened.items()}
        report = apply_plan(plan, stores, lambda _part: run_values)
        for one in opened.values():
            keep_packets(one, console)
        unproved = [name for name, one in opened.items() if one.unproved]
    console.answer(
        lambda: {**_document(plan, report, unproved), "notes": list(notes)},
        lambda: apply_text(report, notes),
        lambda: apply_markdown(report, notes),
    )
    return report.exit_code


def _ref(saved: SavedPlan | None) -> str | None:
    """A saved plan is applied at its own commit, unless it was made from a worktree."""
    return saved.commit if saved and not saved.commit.startswith("worktree") else None


def _finished(one: Opened, console: Console) -> Opened:
    """Finish the run that stands open in a store's ledger, and remove what a killed run left behind."""
    if one.last is not None and one.last.results is None:
        console.note(f"{one.config.name}: finishing run {one.last.seq}, which was stopped before its end")
    results = one.store.recover()
    if results is None:
        return one
    for result in results:
        console.note(f"{one.config.name}  {result.outcome.value:<11} {result.step}")
    return refreshed(one.store, one.shape)


def _approved(args: argparse.Namespace) -> SavedPlan | None:
    """The plan that was reviewed, where its file is given; its intent is then the one to expect.

    Raises:
        InvalidInput: E_USAGE, another intent is expected.
    """
    if args.reviewed is None:
        return None
    reviewed = read_saved(read_file(args.reviewed, limit=PLAN_LIMIT), where=str(args.reviewed))
    if args.expect not in {None, reviewed.intent}:
        raise InvalidInput.of(
            "E_USAGE",
            "the reviewed plan has another intent than the one that is expected",
            path="--reviewed",
            got=reviewed.intent,
            fix="give the file of the plan that was approved",
        )
    return reviewed


def _check_unused(args: argparse.Namespace, saved: SavedPlan | None, opened: Mapping[str, Opened]) -> None:
    """Refuse a saved plan that was applied before."""
    for one in opened.values() if saved else ():
        if saved and any(record.run.plan == saved.digest for record in one.store.history()):
            raise Stale.of(
                "E_PLAN_USED",
                f"this plan was already applied to {one.config.name}",
                path=str(args.plan),
                fix="plan again",
            )


def _check_reviewed(args: argparse.Namespace, reviewed: SavedPlan | None, plan: Plan) -> None:
    """Refuse what was not reviewed: name each difference, or without the plan what would happen now."""
    if reviewed is not None:
        check_same(reviewed, plan)
    if args.expect is not None and args.expect != plan.intent:
        raise Stale(unexpected(plan, "--expect"))


def _check_appliable(args: argparse.Namespace, plan: Plan, console: Console, *, reviewed: bool) -> None:
    refusal = denied(plan.findings)
    if refusal:
        raise refusal
    missing = [finding for finding in plan.findings if finding.code == "E_SOURCE_MISSING"]
    if missing:
        raise Unavailable.of(
            "E_SOURCE_MISSING",
            f"{missing[0].subject}: {missing[0].message}",
            path=str(missing[0].place or ""),
            fix=missing[0].fix,
        )
    if plan.empty or reviewed or args.yes:
        return
    if not console.interactive:
        raise InvalidInput.of(
            "E_CONFIRM",
            "nobody can be asked here",
            path="--yes",
            fix="give a saved plan, --expect INTENT, or --yes",
        )
    console.note(plan_text(plan))
    if not console.confirmed("Apply this?"):
        raise InvalidInput.of("E_CONFIRM", "not confirmed; nothing was written")


def _document(plan: Plan, report: ApplyReport, unproved: Sequence[str]) -> dict[str, object]:
    outcomes = [item.result.outcome for item in report.items]
    return {
        "schema": SCHEMA,
        "commit": plan.commit,
        "intent": plan.intent,
        "recorded": list(report.recorded),
        "unproved": list(unproved),
        "summary": {outcome.value: outcomes.count(outcome) for outcome in Outcome},
        "steps": [
            {
                "id": item.step.id,
                "store": item.store,
                "outcome": item.result.outcome.value,
                "receipt": item.result.receipt,
                "problems": [problem.to_json() for problem in item.result.problems],
            }
            for item in report.items
        ],
        "findings": [finding_json(finding) for finding in plan.findings],
    }
