"""Check the desired state at a commit: YAML, schemas and everything across files.

Reads git objects only (or the worktree), never a store. All problems are reported together; the exit
code is 3 when there is any. A change that touches policy and desired state together is refused with 4.

for example:
  reconciler validate --ref origin/main
  reconciler validate --worktree --output sarif
"""

from __future__ import annotations

import argparse

from reconciler import __version__
from reconciler.apply import denied
from reconciler.cli.committed import files_of
from reconciler.cli.console import Console
from reconciler.cli.options import add_desired, add_output
from reconciler.cli.protected import load_tree, protect
from reconciler.cli.workspace import open_tree
from reconciler.errors import Exit
from reconciler.policy.proposals import proposal_findings
from reconciler.render.sarif import problems_sarif
from reconciler.render.text import plural

SCHEMA = "reconciler/validate/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_desired(parser)
    add_output(parser, "sarif")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Validate and say what was read."""
    root, tree = open_tree(args, console)
    loaded = load_tree(tree, args)
    desired = loaded.desired
    protected = protect(args, root, tree, loaded)
    refusal = denied(proposal_findings(protected.proposal, protected.over(desired)))
    if refusal:
        raise refusal
    if desired.promotions:
        from reconciler.cli.promotions import check_documents  # noqa: PLC0415 - only accounts need it

        check_documents(desired, files_of(tree))
    document = {
        "schema": SCHEMA,
        "commit": desired.commit,
        "stores": sorted(desired.stores),
        "declarations": len(desired.declarations),
        "promotions": len(desired.promotions),
    }
    console.answer(
        document,
        lambda: (
            f"valid: {plural(len(desired.declarations), 'declaration')} "
            + (f"and {plural(len(desired.promotions), 'promotion')} " if desired.promotions else "")
            + "for "
            + f"{plural(len(desired.stores), 'store')} "
            + ("in the work tree" if args.worktree else f"at {desired.commit[:12]}")
        ),
        sarif=lambda: problems_sarif((), version=__version__),
    )
    return Exit.DONE
