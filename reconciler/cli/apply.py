"""Do what the plan says, store by store, and record it in each store's ledger.

The plan is always computed again. `apply PLAN` and `--expect INTENT` refuse when what would happen is
not what was reviewed (exit 5). A run that was killed is finished first. Without a plan or an intent,
apply asks on a terminal and needs `--yes` elsewhere.

for example:
  reconciler apply plan.json
  reconciler apply --expect sha256:9f02… --ref main
  reconciler apply --yes --store serving
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from reconciler.apply import SCHEMA, ApplyReport, apply_plan, denied
from reconciler.cli.console import Console
from reconciler.cli.files import read_file
from reconciler.cli.options import add_desired, add_output, add_stores
from reconciler.cli.workspace import Opened, Workspace, refreshed, source_date_epoch
from reconciler.errors import Exit, InvalidInput, Stale, Unavailable
from reconciler.model import Outcome
from reconciler.plan import PLAN_LIMIT, Plan, SavedPlan, check_same, finding_json, read_saved
from reconciler.render.markdown import apply_markdown, plan_markdown
from reconciler.render.text import apply_text, plan_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("plan", metavar="PLAN", nargs="?", type=Path, help="a plan saved by 'plan --out'")
    add_desired(parser)
    add_stores(parser)
    parser.add_argument("--expect", metavar="INTENT", help="the intent that was approved")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Finish what was left open, plan, compare, ask, apply."""
    saved = read_saved(read_file(args.plan, limit=PLAN_LIMIT), where=str(args.plan)) if args.plan else None
    if saved:
        saved.check_age(source_date_epoch())
        args.store = args.store or list(saved.stores)
    with Workspace.open(args, console, ref=_ref(saved)) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        if not args.dry_run:
            opened = {name: _finished(one, console) for name, one in opened.items()}
        plan = workspace.plan(opened)
        _check_reviewed(args, saved, plan, opened)
        if args.dry_run:
            console.answer(
                lambda: plan.to_json(issued=source_date_epoch()),
                lambda: plan_text(plan),
                lambda: plan_markdown(plan),
            )
            refusal = denied(plan.findings)
            return refusal.exit_code if refusal else Exit.DONE
        _check_appliable(args, plan, console, reviewed=saved is not None or args.expect is not None)
        workspace.copy_data(plan)
        run_values = workspace.run_of(plan, saved.digest if saved else "", "reconciler apply")
        stores = {name: one.store for name, one in opened.items()}
        report = apply_plan(plan, stores, lambda _part: run_values)
    console.answer(
        lambda: _document(plan, report), lambda: apply_text(report), lambda: apply_markdown(report)
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


def _check_reviewed(
    args: argparse.Namespace, saved: SavedPlan | None, plan: Plan, opened: Mapping[str, Opened]
) -> None:
    if args.expect is not None and args.expect != plan.intent:
        raise Stale.of(
            "E_PLAN_STALE",
            "what would happen is not what was approved",
            path="--expect",
            got=plan.intent,
            fix="plan again and have the new plan reviewed",
        )
    if saved is None:
        return
    for one in opened.values():
        if any(record.run.plan == saved.digest for record in one.store.history()):
            raise Stale.of(
                "E_PLAN_USED",
                f"this plan was already applied to {one.config.name}",
                path=str(args.plan),
                fix="plan again",
            )
    check_same(saved, plan)


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


def _document(plan: Plan, report: ApplyReport) -> dict[str, object]:
    outcomes = [item.result.outcome for item in report.items]
    return {
        "schema": SCHEMA,
        "commit": plan.commit,
        "intent": plan.intent,
        "recorded": list(report.recorded),
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
