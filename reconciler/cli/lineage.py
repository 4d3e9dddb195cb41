"""How the commit that a command plans stands to the one that a store was last brought to.

The ledger knows the second one and git how they stand to each other. Only a plan that changes something is
asked: the commits of one that finds everything as it should be make no difference.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.governance import Ancestry, Lineage

_WORKTREE = "worktree"


def lineage(root: Path, planned: str, last: str) -> Lineage | None:
    """The lineage of a planned commit; None where nothing was applied yet, or a worktree is of no commit.

    Args:
        root: the repository.
        planned: what is planned; a worktree counts as its commit.
        last: what the store's ledger says was applied last; empty if nothing was.
    """
    from reconciler.desired.ancestry import ancestry  # noqa: PLC0415 - GitPython is slow to import

    before, after = (name.removeprefix(_WORKTREE).removeprefix("+") for name in (last, planned))
    if not before or not after:
        return None
    same = before == after
    return Lineage(after, before, Ancestry.FORWARD if same else ancestry(root, after, before))
