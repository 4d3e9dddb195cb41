"""The guards of the protected base, read for one command.

Which commit is the base: the one that `--base` names; else where the planned commit left the protected
branch (the clone's `reconciler.protectedBranch`, else what `origin` calls its head), which is the planned
commit itself once it is merged; else, where nothing is protected, the planned commit. What guards comes
from there: policy, exceptions, stores and governance files. What the planned commit says about them is only
a proposal, compared here and shown in the plan.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.canonical import sha256_digest
from reconciler.errors import Denied, InvalidInput, Problem, ReconcilerError, Stale
from reconciler.governance import Base, Chosen, Governance, Guards, Proposal
from reconciler.model import Desired, StoreConfig
from reconciler.policy import RULESET

if TYPE_CHECKING:
    from reconciler.desired.loader import BaseGuards, Loaded
    from reconciler.desired.tree import Tree, TreeEntry

GOVERNANCE = (
    "ops/datasets/freeze-policy.json",
    "ops/datasets/promotion-rules.json",
    "ops/datasets/publish-gates.json",
    "ops/datasets/qc-thresholds.json",
    "ops/datasets/rollback-policy.json",
)
"""The governance files that are read at the base, where they exist."""

_WISHES_OUTSIDE = (
    "ops/datasets/manifest.json",
    "ops/datasets/manifest.lock",
    "ops/inventory/gc-pins.json",
    "ops/inventory/pins.yaml",
)
"""The desired state that is not below the desired path."""

_READ_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """What judges: the base, its guards and the bytes of its governance files.

    `proposal` is what the planned commit would make of them; None where it is the base itself.
    """

    base: Base
    guards: Guards
    governance: Mapping[str, bytes]
    proposal: Proposal | None

    def over(self, desired: Desired) -> Desired:
        """The desired state with the stores and governance files of the base.

        Raises:
            Denied: E_STORE_PROPOSED, a store is of another kind at the base.
        """
        if self.proposal is None:
            return desired
        for name, config in desired.stores.items():
            kept = self.guards.stores.get(name)
            if kept is not None and kept.kind != config.kind:
                raise Denied(_of_another_kind(config, kept))
        stores = {name: config for name, config in self.guards.stores.items() if name in desired.stores}
        return replace(
            desired,
            stores=stores,
            authoritative=self.guards.authoritative,
            governance=self.governance,
        )

    def check_store(self, name: str) -> None:
        """Refuse a store that the base does not know.

        Raises:
            Denied: E_STORE_PROPOSED.
        """
        if self.proposal is not None and name in self.proposal.stores:
            raise Denied.of(
                "E_STORE_PROPOSED",
                "the store is declared only in the change under review, so it is not opened",
                path="--store",
                got=name,
                fix="merge its declaration first",
            )


def _of_another_kind(config: StoreConfig, kept: StoreConfig) -> Problem:
    return Problem(
        code="E_STORE_PROPOSED",
        message=f"the change under review makes store {config.name} one of kind {config.kind}; "
        f"the protected base has one of kind {kept.kind}",
        path=config.place.path,
        line=config.place.line,
        column=config.place.column,
        fix="give the new store a name of its own",
    )


def load_tree(tree: Tree, args: Namespace) -> Loaded:
    """Everything that the documents of the planned tree say.

    Raises:
        InvalidInput, Denied, LimitExceeded, Unavailable: see `reconciler.desired.loader.load_all`.
    """
    from reconciler.desired.loader import load_all  # noqa: PLC0415 - the YAML and schema libraries

    loaded = load_all(
        tree, args.desired, governance_paths=GOVERNANCE, judge_governance=_judged, ruleset=RULESET
    )
    return loaded._replace(guards=_completed(loaded.guards, loaded.desired.governance))


def protect(args: Namespace, root: Path, tree: Tree, loaded: Loaded) -> Protected:
    """Find the base of a planned tree and read what guards there.

    Raises:
        InvalidInput: E_BASE_UNRELATED or a code of a ref, the base cannot be told; or what is wrong there.
        Denied: E_POLICY_EMPTY at the base.
    """
    base = _base(args, root, tree)
    if base.commit == tree.commit:
        return Protected(base=base, guards=loaded.guards, governance=loaded.desired.governance, proposal=None)
    base_tree = _opened(root, base.commit, "--base")
    found = _guards_at(base_tree, args)
    guards = found.guards
    if not guards.stores:  # nothing is protected yet that a store could be aimed away from
        guards = replace(guards, stores=loaded.guards.stores, authoritative=loaded.guards.authoritative)
    policy = _differing(found.guards.files, loaded.guards.files)
    return Protected(
        base=base,
        guards=guards,
        governance=found.governance,
        proposal=Proposal(
            policy=policy,
            wishes=_changed_wishes(args, base_tree, tree, found.guards, loaded.guards) if policy else (),
            stores=tuple(sorted(loaded.guards.stores.keys() - guards.stores.keys())),
            guards=loaded.guards,
        ),
    )


def check_current(args: Namespace, root: Path, protected: Protected) -> None:
    """Refuse to apply what is judged by guards that the protected branch does not hold any more.

    Raises:
        Stale: E_POLICY_STALE.
    """
    if not protected.base.branch or protected.base.commit == protected.base.tip:
        return
    now = _guards_at(_opened(root, protected.base.tip, protected.base.branch), args).guards
    changed = _differing(protected.guards.files, now.files)
    if changed:
        raise Stale.of(
            "E_POLICY_STALE",
            f"the protected branch {protected.base.branch} holds other policy by now",
            path=changed[0],
            got=", ".join(changed),
            fix="merge the protected branch (or name it with --ref), and plan again",
        )


def check_writing(args: Namespace, root: Path, protected: Protected) -> None:
    """The same for an operation by hand or a collection, unless it is one that writes nothing.

    Raises:
        Stale: E_POLICY_STALE.
    """
    if "dry_run" in args and not args.dry_run:  # what only reads has no dry run
        check_current(args, root, protected)


def _base(args: Namespace, root: Path, tree: Tree) -> Base:
    from reconciler.desired.git import head_commit  # noqa: PLC0415 - GitPython is slow to import
    from reconciler.desired.protected import PROTECTED_BRANCH, merge_base, protected_branch  # noqa: PLC0415

    if args.base is not None:
        commit = _opened(root, args.base, "--base").commit
        return Base(commit=commit, tip=commit, chosen=Chosen.OPTION)
    branch = protected_branch(root)
    planned = head_commit(root) if args.worktree else tree.commit
    if branch is None:
        return Base(commit=tree.commit, tip=tree.commit, chosen=Chosen.PLANNED)
    name, setting = branch
    tip = _opened(root, name, setting).commit
    return Base(
        commit=tip if planned is None else merge_base(root, planned, tip),
        tip=tip,
        chosen=Chosen.CONFIGURED if setting == PROTECTED_BRANCH else Chosen.REMOTE,
        branch=name,
    )


def _opened(root: Path, ref: str, setting: str) -> Tree:
    """The tree of a ref of the base; what is wrong with the ref is wrong with what named it."""
    from reconciler.desired.git import open_commit  # noqa: PLC0415 - GitPython is slow to import

    try:
        return open_commit(root, ref)
    except InvalidInput as error:
        raise InvalidInput(replace(problem, path=setting) for problem in error.problems) from error


def _guards_at(tree: Tree, args: Namespace) -> BaseGuards:
    from reconciler.desired.loader import load_guards  # noqa: PLC0415 - the YAML and schema libraries

    try:
        found = load_guards(
            tree,
            args.desired,
            governance_paths=GOVERNANCE,
            judge_governance=_judged,
            ruleset=RULESET,
        )
    except ReconcilerError as error:
        at = tree.commit[:12]
        raise type(error)(replace(one, path=f"{at}:{one.path}") for one in error.problems) from error
    return found._replace(guards=_completed(found.guards, found.governance))


def _judged(governance: Mapping[str, bytes]) -> None:
    if governance:
        from reconciler.stores.serving.gates import thresholds_from  # noqa: PLC0415 - only such files need it

        thresholds_from(governance)
        _governance(governance)


def _governance(files: Mapping[str, bytes]) -> Governance:
    if not files:
        return Governance()
    from reconciler.stores.serving.governance import governance_of  # noqa: PLC0415 - as above

    return governance_of(files)


def _completed(guards: Guards, files: Mapping[str, bytes]) -> Guards:
    return replace(guards, governance=_governance(files))


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(path for path in {*before, *after} if before.get(path) != after.get(path)))


def _changed_wishes(
    args: Namespace, base: Tree, planned: Tree, guards: Guards, proposed: Guards
) -> tuple[str, ...]:
    """The files of the desired state that differ, and are no policy on either side."""
    sides = [_wishes(args, tree) for tree in (base, planned)]
    if all(entry.oid for side in sides for entry in side):
        contents = [{entry.path: entry.oid for entry in side} for side in sides]
    else:
        contents = [
            {entry.path: sha256_digest(data) for entry, data in tree.read(side, _READ_LIMIT)}
            for tree, side in zip((base, planned), sides, strict=True)
        ]
    policy = {*guards.files, *proposed.files}
    return tuple(path for path in _differing(*contents) if path not in policy)


def _wishes(args: Namespace, tree: Tree) -> list[TreeEntry]:
    from reconciler.desired.loader import DEFAULT_LIMITS  # noqa: PLC0415 - the YAML and schema libraries
    from reconciler.desired.tree import FILE  # noqa: PLC0415 - as above

    below = tree.files(args.desired.rstrip("/"), DEFAULT_LIMITS).entries
    outside: Iterable[TreeEntry] = tree.find(_WISHES_OUTSIDE).entries
    return [*below, *(entry for entry in outside if entry.mode == FILE)]
