"""Check the desired state at a commit: YAML, schemas and everything across files.

Reads git objects only (or the worktree), never a store. All problems are reported together; the exit
code is 3 when there is any.

for example:
  reconciler validate --ref origin/main
  reconciler validate --worktree --output json
"""

from __future__ import annotations

import argparse

from reconciler.cli.console import Console
from reconciler.cli.options import add_desired, add_output
from reconciler.cli.workspace import files_of, load_desired, open_tree
from reconciler.errors import Exit
from reconciler.render.text import plural

SCHEMA = "reconciler/validate/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_desired(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Validate and say what was read."""
    _, tree = open_tree(args, console)
    desired = load_desired(tree, args)
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
    )
    return Exit.DONE
