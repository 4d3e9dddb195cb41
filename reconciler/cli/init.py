"""Write the files of a new repository: desired state, policy, workflows, editor schemas.

What is there is never overwritten. The result is a whole: once committed it validates, its first plan is
empty, and the workflows plan every pull request and reconcile main. `--dry-run` lists the files.

for example:
  reconciler init .
  reconciler init catalog --kind serving --kind registry
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.cli.files import Standing, new_files, standing
from reconciler.cli.options import add_output
from reconciler.errors import Exit, InvalidInput, Unavailable
from reconciler.scaffold import KINDS, scaffold

SCHEMA = "reconciler/init/v1"
IGNORED = ".gitignore"
NEXT = """next:
  git init                                  where this is no repository yet
  edit desired/stores.yaml                  where the stores are; desired/ says what they hold
  git add -A && git commit -m 'Desired state'
  reconciler validate && reconciler plan    valid, and nothing to do yet
  reconciler import --store NAME            for a store that is live already"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "directory", metavar="DIR", nargs="?", type=Path, default=Path(), help="where (default: here)"
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        action="append",
        help="begin with a store of this kind; may be repeated (default: serving)",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the files and write none")
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Write the files, or list them."""
    files = scaffold(frozenset(args.kind or ("serving",)))
    if standing(args.directory / IGNORED) is Standing.FILE:
        kept = " and ".join(files.pop(IGNORED).decode().split())
        console.note(f"{IGNORED} is there and stays as it is; keep {kept} in it")
    paths = tuple(files)
    if not args.dry_run:
        _make(args.directory)
        paths = new_files(args.directory, files)
    verb = "would write" if args.dry_run else "wrote"
    console.answer(
        {"schema": SCHEMA, "written": not args.dry_run, "files": list(paths)},
        lambda: "\n".join([*(f"{verb} {path}" for path in paths), *([] if args.dry_run else [NEXT])]),
    )
    return Exit.DONE


def _make(directory: Path) -> None:
    """Make the directory, if it is not there.

    Raises:
        InvalidInput: E_FILE, something else has its name.
        Unavailable: E_IO.
    """
    if standing(directory) in {Standing.FILE, Standing.OTHER}:
        raise InvalidInput.of("E_FILE", "it is no directory", path=str(directory), fix="name another place")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable.of("E_IO", f"cannot be made: {error.strerror}", path=str(directory)) from error
