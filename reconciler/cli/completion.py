"""Print a completion script for a shell (needs the `completion` extra).

for example:
  reconciler completion bash > ~/.local/share/bash-completion/completions/reconciler
"""

from __future__ import annotations

import argparse

from reconciler.cli.console import Console
from reconciler.cli.options import add_output
from reconciler.errors import Exit, InvalidInput

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", choices=SHELLS)
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Build the whole parser and print its completion."""
    from reconciler.cli import build_parser  # noqa: PLC0415 - the package imports this module by name

    try:
        import shtab  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise InvalidInput.of(
            "E_EXTRA", "shell completion needs an extra", fix="pip install 'reconciler[completion]'"
        ) from error
    script: str = shtab.complete(build_parser(), args.shell)
    console.answer({"schema": "reconciler/completion/v1", "script": script}, lambda: script)
    return Exit.DONE
