"""Show what apply would do, judged by policy; nothing is written to a store.

The last line is the intent: the digest that a reviewer approves and `apply --expect` compares. `--output
markdown` is the body of one comment, of bounded length, whose first line says which comment to update;
`--output sarif` puts the findings on the lines of desired state. `--out` saves the plan for `apply PLAN`; a
saved plan is sealed, expires after 24 hours and works once. `--live` plans from a file that `snapshot`
wrote, without opening a store; such a plan is advisory. The exit code is 4 when policy denies, 9
when only a budget does.

for example:
  reconciler plan --out plan.json
  reconciler plan --store serving --output markdown
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reconciler import __version__
from reconciler.apply import denied
from reconciler.canonical import canonical
from reconciler.cli.console import Console
from reconciler.cli.contents import with_contents
from reconciler.cli.files import replace_file
from reconciler.cli.keys import signing_keys, with_signatures
from reconciler.cli.options import (
    add_also,
    add_desired,
    add_detailed_exitcode,
    add_live,
    add_output,
    add_stores,
)
from reconciler.cli.snapshot import advisory, read_live
from reconciler.cli.workspace import Workspace, source_date_epoch
from reconciler.errors import Exit, InvalidInput
from reconciler.evidence.envelope import envelope_bytes
from reconciler.evidence.keys import SigningKey
from reconciler.evidence.signed_file import SUFFIX, file_statement
from reconciler.model import Depth
from reconciler.plan import Plan
from reconciler.render.comment import plan_comment
from reconciler.render.sarif import plan_sarif
from reconciler.render.text import plan_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_desired(parser)
    add_stores(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="save the plan here")
    add_live(parser)
    parser.add_argument(
        "--sign-key",
        metavar="KEY",
        action="append",
        default=[],
        help="sign the saved plan with this private key: a file, or env:NAME; may be repeated",
    )
    parser.add_argument("--deep", action="store_true", help="re-hash every artifact, not only manifests")
    add_detailed_exitcode(parser)
    add_output(parser, "sarif")
    add_also(parser, "sarif")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Plan, show, save, sign."""
    if args.sign_key and not args.out:
        raise InvalidInput.of(
            "E_USAGE", "only a saved plan can be signed", path="--sign-key", fix="give --out"
        )
    keys = signing_keys(args.sign_key)
    live = read_live(args.live) if args.live else None
    if live is not None and args.deep:
        raise InvalidInput.of(
            "E_USAGE",
            "a snapshot cannot be hashed again",
            path="--deep",
            fix="take the snapshot with 'snapshot --deep', or leave --deep out",
        )
    with Workspace.open(args, console, live=live) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        plan = with_contents(workspace.plan(opened, Depth.DEEP if args.deep else Depth.MANIFESTS), opened)
    if live is not None:
        plan = replace(plan, advisory=advisory(live))
    issued = source_date_epoch()
    if args.out:
        data = canonical(plan.to_json(issued=issued))
        replace_file(args.out, data)
        if keys:
            _sign(args.out, data, keys)
    replace(console, also=tuple(args.also)).answer(
        lambda: plan.to_json(issued=issued),
        lambda: plan_text(plan),
        lambda: plan_comment(plan, scope=" ".join(sorted(set(args.store)))),
        lambda: plan_sarif(plan, version=__version__),
    )
    return exit_of(plan, detailed=args.detailed_exitcode)


def _sign(path: Path, data: bytes, keys: Sequence[SigningKey]) -> None:
    """Write the envelope of a saved plan beside it."""
    place = Path(f"{path}{SUFFIX}")
    statement = file_statement(data, name=path.name, where=str(path))
    replace_file(place, envelope_bytes(with_signatures(place, statement, keys)))


def exit_of(plan: Plan, *, detailed: bool) -> Exit:
    """The exit code that a plan deserves."""
    refusal = denied(plan.findings)
    if refusal is not None:
        return refusal.exit_code
    return Exit.CHANGES if detailed and not plan.empty else Exit.DONE
