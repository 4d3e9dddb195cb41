"""From a tree of files to the desired state, or to everything that is wrong with it.

The order of work: list the desired path, read each YAML file once, guard it, hold it against the schema
of its kind, add it to the draft, then check what only all documents together can tell. Every problem of
a run is reported, sorted by place; a tree without documents is an error and never the wish for nothing.

A source that is a build root inside the tree is compared here with the digest it is declared under; other
sources are compared by the store, when it needs them. Outside the desired path nothing is read but those
manifests and the governance files that the caller names.

    Desired = load(open_commit(root, "HEAD"))

`load_all` gives the guards (`Policy`, `Exception` and `Stores` documents) and the pins of the same tree as
well; `load_guards` reads the guards of another commit, the protected base, and nothing else there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NamedTuple

from reconciler.canonical import sha256_digest
from reconciler.desired.catalog import add_catalog, add_removed_catalog, check_catalogs
from reconciler.desired.dataset import add_dataset, add_removed_dataset, check_datasets, declare_datasets
from reconciler.desired.draft import Draft
from reconciler.desired.exception import add_exception
from reconciler.desired.location import relative_path_problem
from reconciler.desired.pins import add_pins
from reconciler.desired.policy import add_policy, empty_policy
from reconciler.desired.promotion import add_promotion, add_removed_promotion, check_promotions
from reconciler.desired.recovery import add_recovery, check_recoveries
from reconciler.desired.schema import checked_kind
from reconciler.desired.stores import add_stores, check_stores
from reconciler.desired.tree import DIRECTORY, LFS_HEAD, Tree, TreeEntry, TreeLimits, directory_path
from reconciler.desired.yaml_guard import MAX_SIZE, Document, parse
from reconciler.errors import Denied, InvalidInput, LimitExceeded, Problem, ReconcilerError
from reconciler.governance import Guards, Pins, Ruleset
from reconciler.model import Declaration, Desired, Place

GOVERNANCE_LIMIT: Final = 5_000_000
MANIFEST_LIMIT: Final = 5_000_000
DEFAULT_LIMITS: Final = TreeLimits()

_SUFFIXES = (".yaml", ".yml")
_EMPTY_POLICY: Final = "E_POLICY_EMPTY"
_GUARDING: Final = (b"Policy", b"Exception", b"Stores", b"\\")
"""A document without any of these bytes is of no kind that guards: an escape may spell a name otherwise."""


def _add_removed(document: Document, draft: Draft) -> None:
    """Add a `Removed` document, in the way of the kind that is gone."""
    gone = document.root["document"]
    problem = relative_path_problem(gone, "E_REMOVED_PATH", "a document")
    draft.note(problem, document, ("document",))
    if problem is None:
        draft.gone.append((gone, Place(document.path, *document.place(("document",)))))
    _REMOVED[document.root["was"]](document, draft)


_REMOVED: Final[dict[str, Callable[[Document, Draft], None]]] = {
    "Catalog": add_removed_catalog,
    "Dataset": add_removed_dataset,
    "Promotion": add_removed_promotion,
}
_KINDS: Final[dict[str, Callable[[Document, Draft], None]]] = {
    "Catalog": add_catalog,
    "Dataset": add_dataset,
    "Exception": add_exception,
    "Pins": add_pins,
    "Policy": add_policy,
    "Promotion": add_promotion,
    "Recovery": add_recovery,
    "Removed": _add_removed,
    "Stores": add_stores,
}
_GUARDS: Final = frozenset({"Exception", "Policy", "Stores"})
"""The kinds that judge the others, read from the protected base."""


class Loaded(NamedTuple):
    """Everything that the documents of one tree say: the wish, what would guard it, and the pins."""

    desired: Desired
    guards: Guards
    pins: Pins


def _unjudged(_governance: Mapping[str, bytes]) -> None:
    """Nobody uses the governance files."""


def load(
    tree: Tree,
    desired_path: str = "desired",
    *,
    governance_paths: Sequence[str] = (),
    judge_governance: Callable[[Mapping[str, bytes]], object] = _unjudged,
    limits: TreeLimits = DEFAULT_LIMITS,
) -> Desired:
    """The desired state of a tree: `load_all` for those who need no guards."""
    return load_all(
        tree,
        desired_path,
        governance_paths=governance_paths,
        judge_governance=judge_governance,
        limits=limits,
    ).desired


def load_all(
    tree: Tree,
    desired_path: str = "desired",
    *,
    governance_paths: Sequence[str] = (),
    judge_governance: Callable[[Mapping[str, bytes]], object] = _unjudged,
    ruleset: Ruleset | None = None,
    limits: TreeLimits = DEFAULT_LIMITS,
) -> Loaded:
    """Read everything that the documents of a tree say.

    Args:
        tree: a commit or the work tree.
        desired_path: the directory that holds the documents, relative to the root.
        governance_paths: files whose bytes go into the result where they exist.
        judge_governance: raises one of our errors where those bytes cannot be used.
        ruleset: the rules that a policy or a waiver may name; None to accept any name.
        limits: how large the desired state may be.

    Raises:
        InvalidInput: everything that is wrong with the documents, sorted by place; or E_DESIRED_PATH,
            E_DESIRED_MISSING, E_GIT_MISSING_OBJECT.
        Denied: nothing is wrong but a policy file that is there and empty.
        LimitExceeded: E_TREE_LIMIT.
        Unavailable: E_IO, a file on disk cannot be read.
    """
    draft = _drafted(tree, directory_path(desired_path, "--desired"), limits)
    _check_together(draft, tree)
    governance = _judged_governance(draft, tree, governance_paths, judge_governance)
    guards = _guards(draft, governance, ruleset)
    _refuse_all(draft.problems)
    desired = Desired(
        commit=tree.commit,
        commit_time=tree.commit_time,
        author=tree.author,
        stores=MappingProxyType(draft.stores),
        declarations=tuple(sorted(draft.declarations.values(), key=attrgetter("address"))),
        scopes=MappingProxyType(draft.scopes),
        authoritative=frozenset(draft.authoritative),
        metas=MappingProxyType(draft.metas),
        governance=MappingProxyType(governance),
        committed=frozenset(draft.committed),
        yanked=MappingProxyType(draft.yanked),
        recoveries=MappingProxyType(draft.recoveries),
        promotions=tuple(draft.promotions[key] for key in sorted(draft.promotions)),
    )
    pins = Pins(datasets=frozenset(draft.pinned.datasets), digests=frozenset(draft.pinned.digests))
    return Loaded(desired, guards, pins)


class BaseGuards(NamedTuple):
    """The guards of the protected base, and the bytes of its governance files."""

    guards: Guards
    governance: Mapping[str, bytes]


def load_guards(
    tree: Tree,
    desired_path: str,
    *,
    governance_paths: Sequence[str],
    judge_governance: Callable[[Mapping[str, bytes]], object],
    ruleset: Ruleset,
    limits: TreeLimits = DEFAULT_LIMITS,
) -> BaseGuards:
    """Read what guards from a tree, and nothing else that its documents say.

    A tree without the directory has no policy: the built-in defaults hold.

    Raises:
        InvalidInput, Denied, LimitExceeded, Unavailable: as `load_all`.
    """
    listing = tree.files(directory_path(desired_path, "--desired"), limits)
    draft = Draft(problems=list(listing.problems))
    for entry, data in tree.read(_documents(listing.entries), MAX_SIZE):
        if _may_guard(entry, data):
            _add(entry, data, draft, only=_GUARDS)
    check_stores(draft)
    governance = _judged_governance(draft, tree, governance_paths, judge_governance)
    guards = _guards(draft, governance, ruleset)
    _refuse_all(draft.problems)
    return BaseGuards(guards, MappingProxyType(governance))


def _may_guard(entry: TreeEntry, data: bytes) -> bool:
    return any(mark in data for mark in _GUARDING) or _is_policy(entry.path)


def _is_policy(path: str) -> bool:
    """Whether a file is the policy by its name, so that it stays one when it is emptied."""
    return path.rpartition("/")[2].casefold() in {"policy.yaml", "policy.yml"}


def _says_nothing(data: bytes) -> bool:
    """Whether there are only blank lines and comments."""
    return all(not line or line.startswith(b"#") for line in map(bytes.strip, data.splitlines()))


def _judged_governance(
    draft: Draft, tree: Tree, paths: Sequence[str], judge: Callable[[Mapping[str, bytes]], object]
) -> dict[str, bytes]:
    governance = _governance(draft, tree, paths)
    try:
        judge(governance)
    except ReconcilerError as error:
        if not draft.problems and not isinstance(error, InvalidInput | Denied):
            raise
        draft.problems += error.problems
    return governance


def _guards(draft: Draft, governance: Mapping[str, bytes], ruleset: Ruleset | None) -> Guards:
    """What guards, as the draft and the governance files have it."""
    if ruleset is not None:
        for rule, place in draft.rules_named:
            _check_rule(rule, place, draft, ruleset)
    files = {path: sha256_digest(data) for path, data in governance.items()}
    return replace(
        draft.policies[0] if draft.policies else Guards(),
        exceptions=tuple(draft.exemptions),
        stores=MappingProxyType(draft.stores),
        authoritative=frozenset(draft.authoritative),
        files=MappingProxyType(dict(sorted({**files, **draft.guarding}.items()))),
    )


def _check_rule(rule: str, place: Place, draft: Draft, ruleset: Ruleset) -> None:
    if rule not in ruleset.known:
        near = difflib.get_close_matches(rule[:64], sorted(ruleset.known), n=1)
        fix = f'did you mean "{near[0]}"?' if near else "see docs/policy.md for the rules"
        draft.refuse("E_RULE_UNKNOWN", "there is no such rule", place, got=rule, fix=fix)
    elif rule in ruleset.fixed:
        message = "this rule protects what readers rely on: it is never lowered or waived"
        draft.refuse("E_RULE_FIXED", message, place, got=rule, fix="remove the line")


def _check_together(draft: Draft, tree: Tree) -> None:
    """Declare what waits for manifest files, and note what only all documents together can tell."""
    check_stores(draft)
    check_recoveries(draft)
    declare_datasets(draft, tree)
    check_catalogs(draft)
    check_datasets(draft)
    check_promotions(draft, tree)
    _check_gone(draft, tree)
    _check_sources(draft, tree)


def _drafted(tree: Tree, prefix: str, limits: TreeLimits) -> Draft:
    """Every document below a path, with what is wrong with each alone."""
    listing = tree.files(prefix, limits)
    if not listing.entries and not listing.problems:
        raise InvalidInput.of(
            "E_DESIRED_MISSING",
            "there is no such directory, or it is empty; a missing wish is never the wish for nothing",
            path=prefix,
            fix="commit the desired state, or name it with --desired",
        )
    documents = _documents(listing.entries)
    draft = Draft(problems=list(listing.problems), unread=len(listing.problems))
    for entry, data in tree.read(documents, MAX_SIZE):
        _add(entry, data, draft)
    if not documents and not draft.problems:
        raise InvalidInput.of(
            "E_DESIRED_MISSING", "the directory holds no YAML document", path=prefix, fix="commit one"
        )
    return draft


def _documents(entries: Sequence[TreeEntry]) -> list[TreeEntry]:
    return [entry for entry in entries if entry.path.casefold().endswith(_SUFFIXES)]


def _add(entry: TreeEntry, data: bytes, draft: Draft, only: frozenset[str] = frozenset(_KINDS)) -> None:
    """Add one file to the draft if it is of one of these kinds, or what is wrong with it."""
    try:
        if data.startswith(LFS_HEAD):
            raise InvalidInput.of(
                "E_TREE_LFS",
                "the file is a Git LFS pointer, not a document",
                path=entry.path,
                fix="commit the document itself",
            )
        document = parse(data, entry.path)
        if only != _KINDS.keys() and document.root.get("kind") not in only:
            return
        kind = checked_kind(document)
    except InvalidInput as error:
        emptied = _is_policy(entry.path) and _says_nothing(data)
        draft.problems += (empty_policy(entry.path),) if emptied else error.problems
        draft.unread += 1
    else:
        _KINDS[kind](document, draft)
        if kind in _GUARDS:
            draft.guarding[entry.path] = sha256_digest(data)


def _check_gone(draft: Draft, tree: Tree) -> None:
    """A document that a `Removed` document stands for must really be gone."""
    there = (
        {entry.path for entry in tree.find([path for path, _ in draft.gone]).entries} if draft.gone else set()
    )
    for path, place in draft.gone:
        if path in there:
            draft.refuse(
                "E_REMOVED_PRESENT", "the document is still there", place, got=path, fix="delete one of them"
            )


def _root(declaration: Declaration) -> str:
    return (declaration.source or "").removesuffix("/")


def _manifest_path(declaration: Declaration) -> str:
    """Where a build root keeps the manifest of a dataset (the serving store's contract, section 1)."""
    release, species, assembly = declaration.address.key.split("/")
    return (
        f"{_root(declaration)}/release={release}/species={species}/assembly={assembly}/derived/manifest.json"
    )


def _check_sources(draft: Draft, tree: Tree) -> None:
    """A build root inside the tree must hold the manifest that it is declared under."""
    if draft.problems:
        return  # ids and paths are safe to join only when nothing is wrong with them
    sourced = [
        one
        for one in draft.declarations.values()
        if one.source is not None and one.source not in draft.committed
    ]
    if not sourced:
        return
    listing = tree.find([_root(one) for one in sourced])
    draft.problems += listing.problems
    roots = {entry.path for entry in listing.entries if entry.mode == DIRECTORY}
    inside = [one for one in sourced if _root(one) in roots]
    listing = tree.find([_manifest_path(one) for one in inside])
    draft.problems += listing.problems
    entries = [entry for entry in listing.entries if entry.mode != DIRECTORY]
    digests = {entry.path: sha256_digest(data) for entry, data in tree.read(entries, MANIFEST_LIMIT)}
    for one in inside:
        digest = digests.get(_manifest_path(one))
        if digest is None:
            message = f"the build root has no {_manifest_path(one)}"
            draft.refuse(
                "E_SOURCE_MANIFEST", message, one.place, got=one.source, fix="commit the whole build root"
            )
        elif digest != one.slots["artifact"]:
            message = "the build root's manifest is not the one that is declared"
            fix = f"declare manifest: {digest} or commit the build that was meant"
            draft.refuse("E_SOURCE_MANIFEST", message, one.place, got=str(one.slots["artifact"]), fix=fix)


def _governance(draft: Draft, tree: Tree, paths: Sequence[str]) -> dict[str, bytes]:
    if not paths:
        return {}
    listing = tree.find(paths)
    draft.problems += listing.problems
    files = [entry for entry in listing.entries if entry.mode != DIRECTORY]
    governance: dict[str, bytes] = {}
    for entry, data in tree.read(files, GOVERNANCE_LIMIT):
        if len(data) > GOVERNANCE_LIMIT:
            raise LimitExceeded.of(
                "E_TREE_LIMIT", f"a governance file has at most {GOVERNANCE_LIMIT} bytes", path=entry.path
            )
        governance[entry.path] = data
    return governance


def _refuse_all(problems: Sequence[Problem]) -> None:
    if problems:
        ordered = sorted(problems, key=lambda one: (one.path, one.line, one.column, one.code))
        emptied = all(problem.code == _EMPTY_POLICY for problem in problems)
        raise Denied(ordered) if emptied else InvalidInput(ordered)
