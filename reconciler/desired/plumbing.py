"""Starting git: its plumbing only, in an environment of its own, behind one fence.

Each process gets an environment built from nothing but PATH: no user or system configuration, no prompts,
no replace objects, no lazy fetching, no transport at all. What the repository's own configuration could
start (a file-system monitor, hooks) is switched off on the command line.

Git refuses a repository of another owner, because its configuration could run commands. The one thing that
is read of the user's and the system's configuration, and only after such a refusal, is `safe.directory`:
whoever told git there to trust a directory need not tell us again. The repository itself cannot say so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from reconciler.errors import InvalidInput, Unavailable

OLDEST: Final = (2, 39, 0)
ADVISED: Final = (2, 50, 1)

_NO_CONFIGURATION = ("HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
_PLACES_OF_CONFIGURATION = (
    "HOME",
    "XDG_CONFIG_HOME",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
)
_OF_THE_USER = frozenset({"system", "global"})
DUBIOUS = "dubious ownership"
_ENVIRONMENT = (
    "LC_ALL=C",
    "GIT_ATTR_NOSYSTEM=1",
    "GIT_TERMINAL_PROMPT=0",
    "GIT_OPTIONAL_LOCKS=0",
    "GIT_NO_REPLACE_OBJECTS=1",
    "GIT_NO_LAZY_FETCH=1",
    "GIT_ALLOW_PROTOCOL=none",
)
_OPTIONS = (
    "--no-pager",
    "--literal-pathspecs",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "protocol.allow=never",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "core.symlinks=false",
)


class GitFailed(Exception):
    """A git process ended with a status that is not zero; never leaves `reconciler.desired`."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        self.said = said
        super().__init__(said)


class Plumbing:
    """Starts git in one directory, always behind the same fence."""

    __slots__ = ("_git", "_trusted")

    def __init__(self, directory: Path) -> None:
        try:
            from git.cmd import Git  # noqa: PLC0415 - slow to import
        except ImportError as error:
            raise _no_git() from error
        self._git = Git(str(directory))
        self._trusted: tuple[str, ...] = ()

    def _command(self, args: Sequence[str]) -> list[str]:
        trusted = [word for place in self._trusted for word in ("-c", f"safe.directory={place}")]
        return [*_fenced(_NO_CONFIGURATION), "git", *_OPTIONS, *trusted, *args]

    def run(self, *args: str) -> bytes:
        """What a command prints.

        Raises:
            GitFailed: it did not succeed.
            Unavailable: there is no git.
        """
        try:
            return self._output(self._command(args))
        except GitFailed as failed:
            if self._trusted or DUBIOUS not in failed.said:
                raise
            self._trusted = self._consent()
            if not self._trusted:
                raise
            return self._output(self._command(args))

    def _output(self, command: list[str]) -> bytes:
        status, out, err = self._git.execute(
            command,
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
        )
        if status == 127:
            raise _no_git()
        if status:
            raise GitFailed(status, str(err))
        return bytes(out)

    def _consent(self) -> tuple[str, ...]:
        """The directories that the user or the system tells git to trust, in their order.

        All of them are handed on, so that git judges wildcards and the empty value, which takes back those
        before it, as it always does. What cannot be read is no consent.
        """
        places = [f"{name}={os.environ[name]}" for name in _PLACES_OF_CONFIGURATION if name in os.environ]
        asked = ("config", "--null", "--show-scope", "--type=path", "--get-all", "safe.directory")
        try:
            # Without a repository there is no configuration of one either.
            out = self._output([*_fenced(places), "GIT_DIR=/nonexistent", "git", *asked])
        except GitFailed:
            return ()
        words = os.fsdecode(out).split("\0")
        return tuple(
            value for scope, value in zip(words[::2], words[1::2], strict=False) if scope in _OF_THE_USER
        )

    def start(self, *args: str, asked: BinaryIO | None = None) -> Any:  # noqa: ANN401 - GitPython's process wrapper
        """A running command whose output is read as it comes."""
        return self._git.execute(self._command(args), istream=asked, as_process=True)


def _fenced(configuration: Sequence[str]) -> list[str]:
    path = os.environ.get("PATH", os.defpath)
    return ["env", "-i", f"PATH={path}", *_ENVIRONMENT, *configuration]


def _no_git() -> Unavailable:
    return Unavailable.of("E_GIT_TOOL", "git was not found", fix="install git 2.50.1 or newer")


def require_version(git: Plumbing, warn: Callable[[str], None] | None) -> None:
    """Refuse a git that is too old, and warn of one with known vulnerabilities.

    Raises:
        Unavailable: E_GIT_TOOL.
    """
    text = git.run("version").decode("ascii", "replace").strip()
    numbers = re.search(r"([0-9]+)\.([0-9]+)(?:\.([0-9]+))?", text)
    version = tuple(int(part or 0) for part in numbers.groups()) if numbers else (0, 0, 0)
    if version < OLDEST:
        raise Unavailable.of(
            "E_GIT_TOOL", "git is older than 2.39", got=text, fix="install git 2.50.1 or newer"
        )
    if version < ADVISED and warn is not None:
        warn(f"{text} has known vulnerabilities; 2.50.1 or newer is advised")


def unusable_repository(root: Path) -> InvalidInput:
    """The refusal of a repository that git cannot read."""
    return InvalidInput.of(
        "E_GIT_REPO", "git cannot read the repository", path="--repo", got=str(root), fix="run git fsck in it"
    )


def missing_object(what: str) -> InvalidInput:
    """The refusal of a repository that lacks an object."""
    return InvalidInput.of(
        "E_GIT_MISSING_OBJECT",
        "the repository lacks an object that is needed (a shallow or partial clone, or damage)",
        got=what,
        fix="fetch the whole history without a filter, or run git fsck",
    )
