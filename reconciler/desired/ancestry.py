"""How a commit stands to another one: after it, before it, or beside it.

A ledger names the commit that was applied last. Whether the planned one descends from it is answered by git
alone, and only where the clone can tell: in a shallow clone, or where the other commit is not there, the
answer is that nobody knows. What a ledger says is data; nothing but an object id is given to git.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from reconciler.desired.plumbing import GitFailed, Plumbing
from reconciler.governance import Ancestry

_OBJECT_ID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_NO: Final = 1


def ancestry(root: Path, planned: str, last: str) -> Ancestry:
    """How `planned` stands to `last`, two object ids.

    Raises:
        InvalidInput: E_GIT_REPO, there is no repository that git would read.
    """
    if planned == last:
        return Ancestry.FORWARD
    if not _OBJECT_ID.fullmatch(planned) or not _OBJECT_ID.fullmatch(last):
        return Ancestry.UNKNOWN
    git = Plumbing(root)
    try:
        if _descends(git, planned, last):
            return Ancestry.FORWARD
        if _descends(git, last, planned):
            return Ancestry.OLDER
        whole = git.run("rev-parse", "--is-shallow-repository").strip() == b"false"
    except GitFailed:  # one of them is no commit of this clone
        return Ancestry.UNKNOWN
    return Ancestry.ASIDE if whole else Ancestry.UNKNOWN


def _descends(git: Plumbing, later: str, earlier: str) -> bool:
    try:
        git.run("merge-base", "--is-ancestor", earlier, later)
    except GitFailed as failed:
        if failed.status != _NO:
            raise
        return False
    return True
