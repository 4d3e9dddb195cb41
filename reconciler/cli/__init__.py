"""The command line: the only place that knows clock, environment and terminal.

`COMMANDS` maps each command to the module that runs it. A module offers `add_arguments(parser)` and
sets the parser's `run` default to a function ``(args, console) -> Exit``; it is imported only when its
command is called, so that `--help` and `--version` stay instant.

Every error ends here: one line each on standard error and the exit code of its class. An exception that
is not ours is a bug; it leaves a report file and exit code 1, never a bare traceback.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from gc import freeze, set_threshold
from importlib import import_module
from typing import NoReturn

from reconciler import __version__
from reconciler.cli.console import Console, open_streams
from reconciler.errors import Exit, InvalidInput, Problem, ReconcilerError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("reconciler.cli.init", "write the files of a new repository"),
    "validate": ("reconciler.cli.validate", "check the desired state; nothing is read from a store"),
    "plan": ("reconciler.cli.plan", "show what apply would do"),
    "apply": ("reconciler.cli.apply", "do what the plan says, and record it"),
    "approve": ("reconciler.cli.approve", "sign the intent of a plan as one of its owners"),
    "drift": ("reconciler.cli.drift", "compare the live stores with git and with the last record"),
    "policy": ("reconciler.cli.policy", "test the policy with cases, and explain its rules"),
    "explain": ("reconciler.cli.explain", "say why an address changes, or why it does not"),
    "snapshot": ("reconciler.cli.snapshot", "write down what the stores hold, to plan from it elsewhere"),
    "status": ("reconciler.cli.status", "say how far each dataset is, and what closes each gap"),
    "history": ("reconciler.cli.history", "show the ledger: who changed what, from which commit, and why"),
    "verify": ("reconciler.cli.verify", "prove that stores are what git, ledger and signed evidence say"),
    "dataset": ("reconciler.cli.dataset", "list, inspect, verify, publish, pack and unpack datasets by hand"),
    "catalog": ("reconciler.cli.catalog", "promote, roll back, move latest and rebuild by hand"),
    "registry": ("reconciler.cli.registry", "keep manifests, links and version tags of a registry by hand"),
    "federation": ("reconciler.cli.federation", "publish datasets to an account, withdraw and verify them"),
    "import": ("reconciler.cli.import_live", "write the documents that declare what a live store holds"),
    "gc": ("reconciler.cli.gc", "remove what no catalog, alias, tag, pin or wish needs any more"),
    "backup": ("reconciler.cli.backup", "back stores up, verify backups, restore them into an empty place"),
    "recovery": ("reconciler.cli.recovery", "say how a store would come back after a loss, and prove it"),
    "evidence": ("reconciler.cli.evidence", "collect, sign, bundle and verify what proves a release"),
    "rollback": ("reconciler.cli.rollback", "propose the change that returns a store to a recorded release"),
    "completion": ("reconciler.cli.completion", "print a completion script for a shell"),
}

_COLLECT_AFTER = (10_000_000, 20, 100)
"""Values flow one way and hold no cycles; at Python's default, a large plan spends a fifth of its time
looking for some."""

EPILOG = """\
for example:
  reconciler validate                     check desired/ at HEAD
  reconciler plan --out plan.json         show and save what would change
  reconciler apply plan.json              apply exactly that
  reconciler drift --detailed-exitcode    2 when something is pending or moved

exit codes: 0 done, 1 bug, 2 changes (--detailed-exitcode), 3 invalid input, 4 denied by policy,
5 stale plan, 6 lost a race, 7 outcome unknown, 8 integrity failure, 9 safety limit,
10 store unusable, 11 partly applied, 130/143 interrupted
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: exit code 3, one sentence, a fix."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            InvalidInput: E_USAGE.
        """
        raise InvalidInput.of("E_USAGE", message, fix=f"see '{self.prog} --help'")


def build_parser(only: str | None = None) -> Parser:
    """The parser, with the arguments of one command, or of all when `only` is None."""
    parser = Parser(
        prog="reconciler",
        description="Keeps dataset catalogs and version tags the way git says they should be.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"reconciler {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, (module, summary) in COMMANDS.items():
        loaded = import_module(module) if only in {None, name} else None
        command = commands.add_parser(
            name,
            help=summary,
            description=(loaded.__doc__ or "").strip() if loaded else summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if loaded:
            loaded.add_arguments(command)
    return parser


def console_script() -> int:
    """Run one command and end the process with the code that this returns."""
    code = main()
    freeze()  # at its end the interpreter looks for cycles among all that was imported, three times
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    open_streams()
    console = Console(output=_output_of(arguments), out=sys.stdout, err=sys.stderr)
    signal.signal(signal.SIGTERM, _terminated)
    set_threshold(*_COLLECT_AFTER)
    try:
        return _run(arguments, console)
    except ReconcilerError as error:
        console.problems(error.problems)
        return error.exit_code
    except KeyboardInterrupt:
        return _stopped(console, Exit.INTERRUPTED)
    except _Terminated:
        return _stopped(console, Exit.TERMINATED)
    except SystemExit:  # --help and --version have printed
        console.finish()
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence against a bare traceback
        return _bug(console, error)


def _run(arguments: Sequence[str], console: Console) -> int:
    for word in arguments:
        if not word.isprintable() and any("\ud800" <= char <= "\udfff" for char in word):
            raise InvalidInput.of("E_ENCODING", "an argument is not UTF-8", got=word, fix="use UTF-8 names")
    first = next((word for word in arguments if not word.startswith("-")), "")
    args = build_parser(first).parse_args(arguments)
    return int(args.run(args, console))


class _Terminated(BaseException):
    """SIGTERM arrived."""


def _terminated(_signal: int, _frame: object) -> NoReturn:
    raise _Terminated


def _stopped(console: Console, code: Exit) -> Exit:
    console.problems(
        (
            Problem(
                code="E_INTERRUPTED",
                message="stopped before the end; a run that had begun to write stands open in the ledger",
                fix="run 'reconciler apply' to finish it",
            ),
        )
    )
    return code


def _output_of(arguments: Sequence[str]) -> str:
    """The value of --output, known before parsing so that usage errors have the right form too."""
    for index, word in enumerate(arguments):
        if word == "--output" and index + 1 < len(arguments):
            return arguments[index + 1]
        if word.startswith("--output="):
            return word.partition("=")[2]
    return "text"


def _bug(console: Console, error: Exception) -> Exit:
    import tempfile  # noqa: PLC0415 - only when something is broken
    import traceback  # noqa: PLC0415 - as above

    lines = traceback.format_exception(error)
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="reconciler-bug-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as report:
            report.write(f"reconciler {__version__}\n")
            report.writelines(lines)
        path, fix = report.name, "report it with that file"
    except OSError as full:
        path = ""
        fix = f"make room for a report file ({full.strerror}), run it again, and report it with that file"
    console.problems(
        (Problem(code="E_INTERNAL", path=path, message=f"a bug: {type(error).__name__}", fix=fix),)
    )
    return Exit.INTERNAL
