"""The protected branch of a clone, and where a planned commit left it.

Policy must not come from the change that it judges. Which branch is protected is therefore never read
from a file of a commit: only the clone's own configuration and what its remote says of itself count.
A base that cannot be told for sure (no common commit, several, a shallow clone) is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reconciler.desired.plumbing import GitFailed, Plumbing, missing_object, unusable_repository
from reconciler.errors import InvalidInput

PROTECTED_BRANCH: Final = "reconciler.protectedBranch"
ORIGIN_HEAD: Final = "refs/remotes/origin/HEAD"


def protected_branch(root: Path) -> tuple[str, str] | None:
    """The branch that the person who set up this clone protects, and which setting says so; None if none.

    `reconciler.protectedBranch` in the clone's own configuration (without what that includes), else the
    branch that the remote `origin` calls its head. No file of a commit can set either.

    Raises:
        InvalidInput: E_GIT_REPO.
    """
    git = Plumbing(root)
    asked = (
        ("config", "--local", "--no-includes", "--get", PROTECTED_BRANCH),
        ("symbolic-ref", "--quiet", ORIGIN_HEAD),
    )
    for setting, words in zip((PROTECTED_BRANCH, ORIGIN_HEAD), asked, strict=True):
        try:
            name = git.run(*words).decode("utf-8", "replace").removesuffix("\n")
        except GitFailed as failed:
            if failed.status != 1:
                raise unusable_repository(root) from failed
        else:
            return name, setting
    return None


def merge_base(root: Path, planned: str, branch: str) -> str:
    """The commit from which a planned commit left a branch; the planned one where it is on the branch.

    Args:
        root: the repository.
        planned: the object id of the planned commit.
        branch: the object id of the branch's newest commit.

    Raises:
        InvalidInput: E_BASE_UNRELATED, there is not exactly one; E_GIT_MISSING_OBJECT, the clone is shallow.
    """
    if planned == branch:
        return planned
    git = Plumbing(root)
    if git.run("rev-parse", "--is-shallow-repository").strip() == b"true":
        raise missing_object(planned)  # what left the branch where cannot be told
    try:
        bases = git.run("merge-base", "--all", planned, branch).decode("ascii").split()
    except GitFailed as failed:
        if failed.status != 1:
            raise missing_object(planned) from failed
        bases = []
    if len(bases) != 1:
        found = "no commit" if not bases else f"{len(bases)} best commits"
        raise InvalidInput.of(
            "E_BASE_UNRELATED",
            f"the planned commit has {found} in common with the protected branch",
            path="--ref",
            got=planned,
            fix="merge the protected branch into it, or name the base with --base",
        )
    return bases[0]
