"""Figures and goals of a benchmark, as the Markdown table that the README keeps.

A `Report` is data: which commands were compared, what each cost, which goals were stated and what came
out. It is printed the same way to a terminal and into the README, so recorded figures are never retyped.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import MEGABYTE, Usage

_README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One promise of a benchmark: what was asked, what came out, and whether that keeps it."""

    asked: str
    got: str
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One benchmark's figures.

    Attributes:
        title: what was measured.
        command: how to run it again.
        columns: heads of the table.
        rows: cells, one row for each command compared.
        goals: what was promised.
        notes: what a reader must know to judge the figures.
    """

    title: str
    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()

    @property
    def met(self) -> bool:
        """Every goal was met."""
        return all(goal.met for goal in self.goals)


COST = ("", "CPU", "wall", "peak memory", "CPU against the peer")
"""The heads of a table that compares commands by `cost_row`."""


def cost_row(name: str, usage: Usage, peer: Usage | None = None) -> tuple[str, ...]:
    """A row of a `COST` table; the ratio is left open for the peer itself."""
    ratio = "" if peer is None else f"1/{peer.cpu / usage.cpu:.1f}"
    return (name, seconds(usage.cpu), seconds(usage.wall), megabytes(usage.peak), ratio)


def seconds(value: float) -> str:
    """Seconds, or milliseconds below a tenth of one."""
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.0f} ms"


def megabytes(size: int) -> str:
    """Decimal megabytes."""
    return f"{size / MEGABYTE:.0f} MB"


def markdown(report: Report) -> str:
    """The report as Markdown, ending with a newline."""
    lines = [f"### {report.title}", "", f"`{report.command}`", ""]
    lines += _table([report.columns, *report.rows])
    if report.goals:
        lines.append("")
        lines += [f"- {'met' if g.met else 'MISSED'}: {g.asked}; got {g.got}" for g in report.goals]
    for note in report.notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def machine() -> str:
    """The machine in one sentence; never a name or a path of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} CPUs, {memory:.0f} GiB memory, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}."
    )


def finish(reports: Iterable[Report]) -> int:
    """Print reports as they come; 1 when a goal was missed, else 0."""
    code = 0
    for report in reports:
        sys.stdout.write(markdown(report) + "\n")
        sys.stdout.flush()
        code = code if report.met else 1
    return code


def record(reports: Sequence[Report]) -> None:
    """Put the figures between the marks of `benchmarks/README.md`, instead of those recorded before."""
    text = _README.read_text("utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    body = "\n".join([machine(), "", *(markdown(report) for report in reports)])
    _README.write_text(f"{head}{_BEGIN}\n\n{body}\n{_END}{tail}", "utf-8")
