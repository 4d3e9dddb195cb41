"""From a tree of files to the desired state, or to everything that is wrong with it.

The order of work: list the desired path, read each YAML file once, guard it, hold it against the schema
of its kind, add it to the draft, then check what only all documents together can tell. Every problem of
a run is reported, sorted by place; a tree without documents is an error and never the wish for nothing.

A source that is a build root inside the tree is compared here with the digest it is declared under; other
sources are compared by the store, when it needs them. Outside the desired path nothing is read but those
manifests and the governance files that the caller names.

    Desired = load(open_commit(root, "HEAD"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from reconciler.canonical import sha256_digest
from reconciler.desired.catalog import add_catalog, add_removed_catalog, check_catalogs
from reconciler.desired.dataset import add_dataset, add_removed_dataset, check_datasets, declare_datasets
from reconciler.desired.draft import Draft
from reconciler.desired.location import relative_path_problem
from reconciler.desired.recovery import add_recovery, check_recoveries
from reconciler.desired.schema import checked_kind
from reconciler.desired.stores import add_stores, check_stores
from reconciler.desired.tree import DIRECTORY, LFS_HEAD, Tree, TreeEntry, TreeLimits, directory_path
from reconciler.desired.yaml_guard import MAX_SIZE, Document, parse
from reconciler.errors import InvalidInput, LimitExceeded, Problem, ReconcilerError
from reconciler.model import Declaration, Desired, Place

GOVERNANCE_LIMIT: Final = 5_000_000
MANIFEST_LIMIT: Final = 5_000_000
DEFAULT_LIMITS: Final = TreeLimits()

_SUFFIXES = (".yaml", ".yml")


def _add_removed(document: Document, draft: Draft) -> None:
    """Add a `Removed` document, in the way of the kind that is gone."""
    gone = document.root["document"]
    problem = relative_path_problem(gone, "E_REMOVED_PATH", "a document")
    draft.note(problem, document, ("document",))
    if problem is None:
        draft.gone.append((gone, Place(document.path, *document.place(("document",)))))
    add = add_removed_dataset if document.root["was"] == "Dataset" else add_removed_catalog
    add(document, draft)


_KINDS: Final[dict[str, Callable[[Document, Draft], None]]] = {
    "Catalog": add_catalog,
    "Dataset": add_dataset,
    "Recovery": add_recovery,
    "Removed": _add_removed,
    "Stores": add_stores,
}


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
    """Read the desired state of a tree.

    Args:
        tree: a commit or the work tree.
        desired_path: the directory that holds the documents, relative to the root.
        governance_paths: files whose bytes go into the result where they exist.
        judge_governance: raises one of our errors where those bytes cannot be used.
        limits: how large the desired state may be.

    Raises:
        InvalidInput: everything that is wrong with the documents, sorted by place; or E_DESIRED_PATH,
            E_DESIRED_MISSING, E_GIT_MISSING_OBJECT.
        Denied: nothing is wrong but a governance file that is there and empty.
        LimitExceeded: E_TREE_LIMIT.
        Unavailable: E_IO, a file on disk cannot be read.
    """
    draft = _drafted(tree, directory_path(desired_path, "--desired"), limits)
    _check_together(draft, tree)
    governance = _governance(draft, tree, governance_paths)
    try:
        judge_governance(governance)
    except ReconcilerError as error:
        if not draft.problems and not isinstance(error, InvalidInput):
            raise
        draft.problems += error.problems
    _refuse_all(draft.problems)
    return Desired(
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
        recoveries=MappingProxyType(draft.recoveries),
    )


def _check_together(draft: Draft, tree: Tree) -> None:
    """Declare what waits for manifest files, and note what only all documents together can tell."""
    check_stores(draft)
    check_recoveries(draft)
    declare_datasets(draft, tree)
    check_catalogs(draft)
    check_datasets(draft)
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
    documents = [entry for entry in listing.entries if entry.path.casefold().endswith(_SUFFIXES)]
    draft = Draft(problems=list(listing.problems), unread=len(listing.problems))
    for entry, data in tree.read(documents, MAX_SIZE):
        _add(entry, data, draft)
    if not documents and not draft.problems:
        raise InvalidInput.of(
            "E_DESIRED_MISSING", "the directory holds no YAML document", path=prefix, fix="commit one"
        )
    return draft


def _add(entry: TreeEntry, data: bytes, draft: Draft) -> None:
    """Add one file to the draft, or what is wrong with it."""
    try:
        if data.startswith(LFS_HEAD):
            raise InvalidInput.of(
                "E_TREE_LFS",
                "the file is a Git LFS pointer, not a document",
                path=entry.path,
                fix="commit the document itself",
            )
        document = parse(data, entry.path)
        kind = checked_kind(document)
    except InvalidInput as error:
        draft.problems += error.problems
        draft.unread += 1
    else:
        _KINDS[kind](document, draft)


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
        raise InvalidInput(sorted(problems, key=lambda one: (one.path, one.line, one.column, one.code)))
