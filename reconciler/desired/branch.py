"""A commit on a new branch, made of git objects alone: the work tree and the index are never touched.

Decides how a change of some files becomes a branch that a person can review: a commit on top of another one,
made in an index of its own, and a ref that is created and never moved. No hook runs. Who commits is what
`GIT_AUTHOR_…` and `GIT_COMMITTER_…` say, else what git is configured to; without either it is refused.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reconciler.desired.tree import FILE
from reconciler.errors import Conflict, InvalidInput, Unavailable

_BRANCH = re.compile(r"(?!-)[A-Za-z0-9._+#=,%@-]+(?:/(?!-)[A-Za-z0-9._+#=,%@-]+)*", re.ASCII)
_NOTHING: Final = "0" * 40
_OPTIONS: Final = ("--no-pager", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


def create_branch(
    root: Path, branch: str, *, parent: str, files: Mapping[str, bytes | None], message: str
) -> str:
    """Make a commit on top of another one and a new branch that names it.

    Args:
        root: the repository.
        branch: the name of the branch.
        parent: the commit that it stands on.
        files: new bytes by path; None for a file that goes.
        message: what the commit says.

    Returns:
        The object id of the commit.

    Raises:
        InvalidInput: E_REF_CHARS, or E_GIT_IDENTITY.
        Conflict: E_BRANCH_EXISTS.
        Unavailable: git failed.
    """
    if not _BRANCH.fullmatch(branch) or ".." in branch or branch.endswith((".lock", ".", "/")):
        raise InvalidInput.of(
            "E_REF_CHARS",
            "this is not the name of a branch",
            path="--branch",
            got=branch,
            fix="name it plainly",
        )
    with tempfile.TemporaryDirectory(prefix="reconciler-index-") as directory:
        index = {"GIT_INDEX_FILE": f"{directory}/index"}
        _git(root, index, "read-tree", parent)
        for path, data in sorted(files.items()):
            if data is None:
                _git(root, index, "update-index", "--force-remove", "--", path)
            else:
                blob = _git(root, index, "hash-object", "-w", "--stdin", said=data)
                _git(root, index, "update-index", "--add", "--cacheinfo", f"{FILE},{blob},{path}")
        tree = _git(root, index, "write-tree")
        commit = _committed(root, tree, parent, message)
    try:
        _git(root, {}, "update-ref", "--no-deref", f"refs/heads/{branch}", commit, _NOTHING[: len(commit)])
    except Unavailable as error:
        raise Conflict.of(
            "E_BRANCH_EXISTS",
            "there is such a branch already, or its name stands in the way of another",
            path="--branch",
            got=branch,
            fix="name another one",
        ) from error
    return commit


def _committed(root: Path, tree: str, parent: str, message: str) -> str:
    try:
        return _git(root, {}, "commit-tree", tree, "-p", parent, said=message.encode("utf-8"))
    except Unavailable as error:
        if "ident" not in str(error.__cause__) and "tell me who you are" not in str(error.__cause__):
            raise
        raise InvalidInput.of(
            "E_GIT_IDENTITY",
            "git does not know who makes this commit",
            fix="set user.name and user.email, or GIT_AUTHOR_NAME and the like",
        ) from error


class _Failed(Exception):
    """What git said when it failed."""


def _git(root: Path, more: Mapping[str, str], *words: str, said: bytes = b"") -> str:
    environment = {**os.environ, **more, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - plumbing, and no shell
            ["git", *_OPTIONS, *words],  # noqa: S607 - the git that is found, as everywhere
            cwd=root,
            env=environment,
            input=said,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unavailable.of("E_GIT_TOOL", "git was not found", fix="install git 2.50.1 or newer") from error
    if done.returncode:
        raise Unavailable.of(
            "E_GIT_WRITE",
            f"git {words[0]} failed in this repository",
            path=str(root),
            fix="see whether the repository can be written, then retry",
        ) from _Failed(done.stderr.decode("utf-8", "replace"))
    return done.stdout.decode("ascii", "replace").strip()
