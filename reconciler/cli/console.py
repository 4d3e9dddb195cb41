"""Where output goes: standard output for answers, standard error for everything else.

Decides the format (text, JSON, Markdown), colour (only on a terminal, and not with NO_COLOR) and how an
error looks. A document under JSON is one line with a `schema` member; errors under JSON go to standard
error as `reconciler/errors/v1`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from reconciler.errors import Problem

_COLOURS = {"  + ": "\x1b[32m", "  - ": "\x1b[31m", "  ~ ": "\x1b[33m"}
_RESET = "\x1b[0m"
ERRORS_SCHEMA = "reconciler/errors/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The terminal, or what stands in for it."""

    output: str
    out: TextIO
    err: TextIO

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin is not None and sys.stdin.isatty() and self.err.isatty()

    def answer(
        self,
        document: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        text: Callable[[], str],
        markdown: Callable[[], str] | None = None,
    ) -> None:
        """Print the command's answer in the chosen format; only that form is built."""
        if self.output == "json":
            import json  # noqa: PLC0415 - not needed for the other formats

            built = document() if callable(document) else document
            self._write(json.dumps(built, ensure_ascii=True))
        elif self.output == "markdown":
            self._write(markdown() if markdown else "```\n" + text() + "\n```")
        else:
            self._write(self._coloured(text()))

    def raw(self, data: bytes) -> None:
        """Print bytes exactly as they are."""
        self.out.flush()
        self.out.buffer.write(data)
        self.out.buffer.flush()

    def note(self, line: str) -> None:
        """A line for people, beside the answer; errors under JSON stand alone on standard error."""
        if self.output != "json":
            print(line, file=self.err, flush=True)

    def problems(self, problems: tuple[Problem, ...]) -> None:
        """Report what is wrong."""
        if self.output == "json":
            import json  # noqa: PLC0415 - not needed for the other formats

            document = {"schema": ERRORS_SCHEMA, "errors": [problem.to_json() for problem in problems]}
            print(json.dumps(document, ensure_ascii=True), file=self.err, flush=True)
        else:
            for problem in problems:
                print(problem, file=self.err, flush=True)

    def confirmed(self, question: str) -> bool:
        """Ask a person; only `yes` is yes."""
        self.err.write(f"{question} Only 'yes' will go on: ")
        self.err.flush()
        return sys.stdin.readline().strip() == "yes"

    def _write(self, text: str) -> None:
        self.out.write(text if text.endswith("\n") or not text else text + "\n")
        self.out.flush()

    def _coloured(self, text: str) -> str:
        if not self.out.isatty() or os.environ.get("NO_COLOR"):
            return text
        return "\n".join(
            f"{_COLOURS[line[:4]]}{line}{_RESET}" if line[:4] in _COLOURS else line
            for line in text.split("\n")
        )
