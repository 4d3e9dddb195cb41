"""Show what apply would do, judged by policy; nothing is written to a store.

The last line is the intent: the digest that a reviewer approves and `apply --expect` compares. `--out`
saves the plan for `apply PLAN`; a saved plan is sealed, expires after 24 hours and works once. The exit
code is 4 when policy denies, and 9 when only a safety limit does.

for example:
  reconciler plan --out plan.json
  reconciler plan --store serving --output markdown
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.apply import denied
from reconciler.canonical import canonical
from reconciler.cli.console import Console
from reconciler.cli.files import replace_file
from reconciler.cli.options import add_desired, add_detailed_exitcode, add_output, add_stores
from reconciler.cli.workspace import Workspace, source_date_epoch
from reconciler.errors import Exit
from reconciler.model import Depth
from reconciler.plan import Plan
from reconciler.render.markdown import plan_markdown
from reconciler.render.text import plan_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_desired(parser)
    add_stores(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="save the plan here")
    parser.add_argument("--deep", action="store_true", help="re-hash every artifact, not only manifests")
    add_detailed_exitcode(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Plan, show, save."""
    with Workspace.open(args, console) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        plan = workspace.plan(opened, Depth.DEEP if args.deep else Depth.MANIFESTS)
    issued = source_date_epoch()
    if args.out:
        replace_file(args.out, canonical(plan.to_json(issued=issued)))
    console.answer(lambda: plan.to_json(issued=issued), lambda: plan_text(plan), lambda: plan_markdown(plan))
    return exit_of(plan, detailed=args.detailed_exitcode)


def exit_of(plan: Plan, *, detailed: bool) -> Exit:
    """The exit code that a plan deserves."""
    refusal = denied(plan.findings)
    if refusal:
        return refusal.exit_code
    return Exit.CHANGES if detailed and not plan.empty else Exit.DONE
