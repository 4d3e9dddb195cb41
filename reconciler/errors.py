"""The errors of the whole program, cut by what the caller must do next, and the exit codes.

Whatever a library throws, only these classes leave an adapter or a loader::

    ReconcilerError
    ├── InvalidInput     3   fix the input: a document, an id, a flag, a file that was named
    ├── Denied           4   change the wish, or the policy through review
    ├── Stale            5   plan again: the plan is not (any more) what would happen
    ├── Conflict         6   plan again: somebody else was faster; nothing was written
    ├── OutcomeUnknown   7   observe first: a write may or may not have landed
    ├── Corrupt          8   call a person: bytes are not what they must be
    ├── LimitExceeded    9   a safety limit; nothing was written
    ├── Unavailable     10   retry later: the store cannot be used; nothing was written
    └── PartlyApplied   11   some steps landed, the rest did not start

An error carries one or more `Problem` values, so that one run can report everything it found. The
text form of a problem is fixed: ``E_CODE path:line:col: what is wrong; got …; fix: …``.

This module never prints and never exits: `reconciler.cli` does.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

_GOT_LIMIT = 80


class Exit(IntEnum):
    """The exit codes of the command line; no other code is ever used."""

    DONE = 0
    INTERNAL = 1
    CHANGES = 2
    INVALID = 3
    DENIED = 4
    STALE = 5
    CONFLICT = 6
    UNKNOWN = 7
    CORRUPT = 8
    LIMIT = 9
    UNAVAILABLE = 10
    PARTLY = 11
    INTERRUPTED = 130
    TERMINATED = 143


def escaped(value: str, limit: int = _GOT_LIMIT) -> str:
    """Text of unknown origin made safe for a terminal, a log line and a pull-request comment.

    Control, bidirectional and all other non-ASCII characters are written as escapes; the result is
    at most `limit` characters long.
    """
    if value.isascii() and value.isprintable():
        text = value
    else:
        text = value[: limit + 1].encode("unicode_escape").decode("ascii")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def forbidden_character(text: str) -> str | None:
    """The first character that no text of ours may hold, or None.

    Refused are control characters (but not tab and newline), surrogates, bidirectional controls and
    invisible format characters: a reviewer cannot see them, so they must not decide anything.
    """
    if text.isascii() and text.isprintable():
        return None
    for char in text:
        if char in "\t\n":
            continue
        if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            return char
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, where it stands, what was found and what to do about it.

    `path` is a file of the repository, a file of the store, or a command-line option; `line` and
    `column` count from 1 and are 0 where they have no meaning.
    """

    code: str
    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    got: str | None = None
    fix: str = ""

    def __str__(self) -> str:
        place = escaped(self.path, 400) if self.path else ""
        if place and self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        head = f"{self.code} {place}: {self.message}" if place else f"{self.code}: {self.message}"
        parts = [head]
        if self.got is not None:
            parts.append(f"got {escaped(self.got)}")
        if self.fix:
            parts.append(f"fix: {self.fix}")
        return "; ".join(parts)

    def to_json(self) -> dict[str, object]:
        """The stable keys of `reconciler/errors/v1`."""
        return {
            "code": self.code,
            "path": escaped(self.path, 400),
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "got": None if self.got is None else escaped(self.got),
            "fix": self.fix,
        }


class ReconcilerError(Exception):
    """Base of every error that leaves a public function; `exit_code` says how the program ends."""

    exit_code: ClassVar[Exit] = Exit.INTERNAL

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(
        cls,
        code: str,
        message: str,
        *,
        path: str = "",
        line: int = 0,
        column: int = 0,
        got: str | None = None,
        fix: str = "",
    ) -> Self:
        """An error of this class that carries one problem."""
        return cls(Problem(code=code, message=message, path=path, line=line, column=column, got=got, fix=fix))

    @property
    def code(self) -> str:
        """The code of the first problem."""
        return self.problems[0].code


class InvalidInput(ReconcilerError):
    """Fix the input."""

    exit_code = Exit.INVALID


class Denied(ReconcilerError):
    """Change the wish, or the policy through review."""

    exit_code = Exit.DENIED


class Stale(ReconcilerError):
    """Plan again: what would happen is not what was reviewed. Nothing was written."""

    exit_code = Exit.STALE


class Conflict(ReconcilerError):
    """Plan again: another writer was faster. Nothing was written."""

    exit_code = Exit.CONFLICT


class OutcomeUnknown(ReconcilerError):
    """Observe first: a write may or may not have landed."""

    exit_code = Exit.UNKNOWN


class Corrupt(ReconcilerError):
    """Call a person: stored bytes are not what they must be."""

    exit_code = Exit.CORRUPT


class LimitExceeded(ReconcilerError):
    """A safety limit was reached. Nothing was written."""

    exit_code = Exit.LIMIT


class Unavailable(ReconcilerError):
    """Retry later: the store cannot be used or reached. Nothing was written."""

    exit_code = Exit.UNAVAILABLE


class PartlyApplied(ReconcilerError):
    """Some steps landed, others did not; the outcomes list them."""

    exit_code = Exit.PARTLY
