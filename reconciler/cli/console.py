"""Where output goes: standard output for answers, standard error for everything else.

Decides the format (text, JSON, Markdown, SARIF), colour (only on a terminal, and not with NO_COLOR) and
how an error looks. A document under JSON is one line with a `schema` member; errors under JSON go to
standard error as `reconciler/errors/v1`. Under SARIF, what is wrong is the answer, so it goes to standard
output as well.

Nobody listening is no reason to stop: a line that standard error does not take is dropped, and a reader
who closes standard output early changes neither what a command does nor its exit code.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from reconciler import __version__
from reconciler.errors import Problem, Unavailable

_COLOURS = {"  + ": "\x1b[32m", "  - ": "\x1b[31m", "  ~ ": "\x1b[33m"}
_RESET = "\x1b[0m"
ERRORS_SCHEMA = "reconciler/errors/v1"
_OF_EACH_CODE = 40
"""More errors of one code than this are counted where a person reads; JSON names them all."""


def open_streams() -> None:
    """Make the standard streams usable, whatever the caller left of them.

    A closed descriptor is filled, so that no file of a store can take its number; a character that the
    terminal's encoding lacks is escaped, so that printing never fails halfway.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as we run
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as we run
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The terminal, or what stands in for it; `also` lists further forms of the answer and their files."""

    output: str
    out: TextIO
    err: TextIO
    also: tuple[tuple[str, Path], ...] = ()

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin is not None and sys.stdin.isatty() and self.err.isatty()

    def answer(
        self,
        document: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        text: Callable[[], str],
        markdown: Callable[[], str] | None = None,
        sarif: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        """Print the command's answer in the chosen format, and write it in those of `also`.

        Only the forms that are asked for are built.
        """
        forms: dict[str, Callable[[], str]] = {
            "json": lambda: _one_line(document() if callable(document) else document),
            "markdown": markdown or (lambda: "```\n" + text() + "\n```"),
            "text": text,
        }
        if sarif is not None:
            forms["sarif"] = lambda: _one_line(sarif())
        for form, path in self.also:
            from reconciler.cli.files import replace_file  # noqa: PLC0415 - not needed for --help

            replace_file(path, (forms[form]().rstrip("\n") + "\n").encode("utf-8", "backslashreplace"))
        shown = forms.get(self.output, text)()
        self._write(self._coloured(shown) if self.output == "text" else shown)

    def raw(self, data: bytes) -> None:
        """Print bytes exactly as they are."""
        self._send(lambda: self.out.buffer.write(data))

    def note(self, line: str) -> None:
        """A line for people, beside the answer; errors under JSON stand alone on standard error."""
        if self.output != "json":
            self._tell(line)

    def problems(self, problems: tuple[Problem, ...]) -> None:
        """Report what is wrong; nothing where nothing is."""
        if self.output == "json" and problems:
            document = {"schema": ERRORS_SCHEMA, "errors": [problem.to_json() for problem in problems]}
            self._tell(_one_line(document))
        elif self.output != "json":
            counts: Counter[str] = Counter()
            for problem in problems:
                counts[problem.code] += 1
                if counts[problem.code] <= _OF_EACH_CODE:
                    self._tell(str(problem))
            for code, count in sorted(counts.items()):
                if count > _OF_EACH_CODE:
                    self._tell(f"{code}: and {count - _OF_EACH_CODE} more, which --output json names")
        if self.output == "sarif":
            from reconciler.render.sarif import problems_sarif  # noqa: PLC0415 - as above

            self._write(_one_line(problems_sarif(problems, version=__version__)))

    def confirmed(self, question: str) -> bool:
        """Ask a person; only `yes` is yes."""
        self.err.write(f"{question} Only 'yes' will go on: ")
        self.err.flush()
        return sys.stdin.readline().strip() == "yes"

    def finish(self) -> None:
        """Send what was printed past this console on its way."""
        self._write("")

    def _tell(self, line: str) -> None:
        try:
            print(line, file=self.err, flush=True)
        except OSError:
            _silence(self.err)

    def _write(self, text: str) -> None:
        self._send(lambda: self.out.write(text if text.endswith("\n") or not text else text + "\n"))

    def _send(self, send: Callable[[], object]) -> None:
        try:
            send()
            self.out.flush()
        except BrokenPipeError:
            _silence(self.out)
        except OSError as error:
            _silence(self.out)
            raise Unavailable.of(
                "E_IO",
                f"the answer could not be written: {error.strerror}",
                path="standard output",
                fix="what the command did stands; make room, then look with 'reconciler status'",
            ) from error

    def _coloured(self, text: str) -> str:
        if not self.out.isatty() or os.environ.get("NO_COLOR"):
            return text
        return "\n".join(
            f"{_COLOURS[line[:4]]}{line}{_RESET}" if line[:4] in _COLOURS else line
            for line in text.split("\n")
        )


def _one_line(document: Mapping[str, Any]) -> str:
    """A document as one line of JSON."""
    import json  # noqa: PLC0415 - not needed for the other formats

    return json.dumps(document, ensure_ascii=True)


def _silence(stream: TextIO) -> None:
    """Send what a failed stream still holds nowhere, so that the exit code is not lost to it."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
