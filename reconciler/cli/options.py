"""The options that commands share, each added by one function so that it reads the same everywhere."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("text", "json", "markdown")


def add_output(parser: argparse.ArgumentParser, *more: str) -> None:
    """Add `--output`, with the formats that only this command has."""
    parser.add_argument(
        "--output", choices=(*FORMATS, *more), default="text", help="how to print the answer (default: text)"
    )


def add_also(parser: argparse.ArgumentParser, *more: str) -> None:
    """Add `--also`: the same answer in further formats, each in a file, from one and the same run."""

    def parsed(text: str) -> tuple[str, Path]:
        form, mark, path = text.partition("=")
        if form not in {*FORMATS, *more} or not mark or not path:
            raise argparse.ArgumentTypeError(
                f"expected one of {', '.join((*FORMATS, *more))} and =FILE, got {text!r}"
            )
        return form, Path(path)

    parser.add_argument(
        "--also",
        metavar="FORMAT=FILE",
        type=parsed,
        action="append",
        default=[],
        help="write the answer in this format, too; may be repeated",
    )


def add_desired(parser: argparse.ArgumentParser) -> None:
    """Add what says where the desired state is read."""
    parser.add_argument("--repo", metavar="DIR", help="the git repository (default: the one around here)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--ref", metavar="REF", help="the commit to read (default: HEAD)")
    where.add_argument("--worktree", action="store_true", help="read the files as they are on disk")
    parser.add_argument(
        "--desired", metavar="PATH", default="desired", help="the desired state (default: desired)"
    )
    add_base(parser)


def add_base(parser: argparse.ArgumentParser) -> None:
    """Add where policy, exceptions and stores are read."""
    parser.add_argument(
        "--base",
        metavar="REF",
        help="where policy is read (default: where the commit left the protected branch)",
    )


def add_stores(parser: argparse.ArgumentParser) -> None:
    """Add which stores, and how long to wait for another writer."""
    parser.add_argument(
        "--store", metavar="NAME", action="append", default=[], help="only this store; may be repeated"
    )
    parser.add_argument(
        "--lock-timeout",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="how long to wait for another writer (default: 60)",
    )


def add_live(parser: argparse.ArgumentParser) -> None:
    """Add what stands in for the stores."""
    parser.add_argument(
        "--live", metavar="FILE", type=Path, help="plan from this snapshot and open no store; never applied"
    )


def add_detailed_exitcode(parser: argparse.ArgumentParser) -> None:
    """Add `--detailed-exitcode`."""
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="exit 2 when there are changes or drift"
    )


def seconds(text: str) -> float:
    """A number of seconds from 0 to one day."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 24 * 60 * 60:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to 86400, got {text!r}")
    return value
