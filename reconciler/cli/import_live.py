"""Write the documents that declare what live stores hold, so that an existing store comes under git.

Only what nobody declares yet is written: one `Catalog` document for a serving store, one `Dataset` document
for each dataset of a registry. Before anything is written the plan is made with the new documents in place:
it must have no step, or the import is refused. Without `--into` the documents are only printed. No store is
written; the first `apply` afterwards adds the record that what matches is now ours.

With `--reference`, a registry store takes over what a reference registry's database says: its tags and links
become documents and its manifests files beside them, each compared with its hash. That database is read in
one read-only transaction and never written; the plan then says what `apply` will bring over.

for example:
  reconciler import --store serving
  reconciler import --store serving --store registry --into desired/imported
  reconciler import --store registry --reference OLD_DATABASE_URL --objects file:/srv/manifests --into desired
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.cli.console import Console
from reconciler.cli.files import new_files
from reconciler.cli.options import add_output, seconds
from reconciler.cli.protected import load_tree
from reconciler.cli.workspace import Opened, Workspace
from reconciler.desired.overlay import Overlay
from reconciler.desired.transcript import Transcript, transcribe
from reconciler.desired.tree import directory_path
from reconciler.errors import Corrupt, Exit, InvalidInput, Problem, escaped
from reconciler.model import Address, Desired, Observed, Selection, StoreConfig
from reconciler.plan import Plan
from reconciler.render.text import plural

SCHEMA = "reconciler/import/v1"
_LEFT_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--repo", metavar="DIR", help="the git repository (default: the one around here)")
    parser.add_argument(
        "--desired", metavar="PATH", default="desired", help="the desired state (default: desired)"
    )
    parser.add_argument(
        "--store", metavar="NAME", action="append", required=True, help="import this store; may be repeated"
    )
    parser.add_argument("--into", metavar="PATH", help="write the documents below this directory")
    parser.add_argument(
        "--reference",
        metavar="VARIABLE",
        help="take over a reference registry, whose database this environment variable locates",
    )
    parser.add_argument("--objects", metavar="LOCATION", help="where that registry keeps its manifests")
    parser.add_argument("--dry-run", action="store_true", help="print and prove, even with --into")
    parser.add_argument(
        "--lock-timeout",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="how long to wait for another writer (default: 60)",
    )
    add_output(parser)
    parser.set_defaults(run=run, ref=None, base=None, worktree=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is to be written: documents and manifest files, what stays out, and what it all must declare."""

    files: Mapping[str, bytes]
    declared: int
    left: Sequence[tuple[Address, str]]
    wanted: Mapping[Address, str]


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Read the stores, write the documents in memory, prove them, write them."""
    into = _directory(args)
    with Workspace.open(args, console) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        found = (
            _of_reference(workspace, args, into) if args.reference else _of_stores(workspace, opened, into)
        )
        plan = _proved(workspace, args, opened, found)
        write = bool(found.files) and args.into is not None and not args.dry_run
        if write:
            new_files(workspace.root, found.files)
    console.answer(
        lambda: _document(found, plan, written=write),
        lambda: _text(found, plan, written=write),
    )
    return Exit.DONE


def _directory(args: argparse.Namespace) -> str:
    """Where the documents go; below the desired path, or nothing would read them.

    Raises:
        InvalidInput: E_DESIRED_PATH.
    """
    desired = directory_path(args.desired, "--desired")
    into = directory_path(args.into, "--into") if args.into is not None else f"{desired}/imported"
    if into != desired and not into.startswith(f"{desired}/"):
        raise InvalidInput.of(
            "E_DESIRED_PATH",
            "documents outside the desired state declare nothing",
            path="--into",
            got=into,
            fix=f"name a directory below {desired}",
        )
    return into


def _of_stores(workspace: Workspace, opened: Mapping[str, Opened], into: str) -> _Found:
    """The documents of every selected store, from what it holds."""
    whole = Transcript()
    for name, one in opened.items():
        one.require_finished()
        part = transcribe(one.config, one.store.snapshot(Selection()), _declared(workspace, name))
        whole.files |= part.files
        whole.declared += part.declared
        whole.left += part.left
    files = {f"{into}/{path}": text.encode() for path, text in sorted(whole.files.items())}
    return _Found(files=files, declared=whole.declared, left=whole.left, wanted={})


def _declared(workspace: Workspace, name: str) -> Iterable[Address]:
    return [wish.address for wish in workspace.desired.of_store(name)]


def _of_reference(workspace: Workspace, args: argparse.Namespace, into: str) -> _Found:
    """The documents and manifests of a reference registry, for the one selected store.

    Raises:
        InvalidInput: E_USAGE, E_ENV, or E_STORE_KIND.
        Unavailable, Corrupt: the database or a manifest cannot be read.
    """
    from reconciler.stores.registry.reference_database import reference_contents  # noqa: PLC0415 - a driver

    if len(workspace.selected) != 1 or not args.objects:
        raise InvalidInput.of(
            "E_USAGE",
            "a reference registry is taken over by one store, from a database and the place of its manifests",
            path="--reference",
            fix="give one --store and --objects LOCATION",
        )
    config = workspace.selected[0]
    if config.kind != "registry":
        raise InvalidInput.of(
            "E_STORE_KIND",
            "a reference registry is taken over by a registry",
            path="--store",
            got=config.name,
        )
    contents = reference_contents(_location(args.reference), store=config.name, timeout=args.lock_timeout)
    bytes_of = _manifests(workspace, config, args.objects, contents)
    paths = {digest: _beside(digest) for digest in bytes_of}
    declared = frozenset(_declared(workspace, config.name))
    part = transcribe(config, contents, declared, manifests=paths)
    files = {f"{into}/{path}": text.encode() for path, text in part.files.items()}
    for path, text in part.files.items():
        beside = path.rpartition("/")[0]
        files |= {
            f"{into}/{beside}/{place}": bytes_of[digest] for digest, place in paths.items() if place in text
        }
    wanted = {
        one.address: str(one.slots["manifest"])
        for one in contents
        if one.address.kind == "tag" and not one.problems and one.address not in declared
    }
    return _Found(files=dict(sorted(files.items())), declared=part.declared, left=part.left, wanted=wanted)


def _beside(digest: str) -> str:
    return f"manifests/{digest.removeprefix('sha256:')}.json"


def _location(variable: str) -> str:
    """The database's location, which may hold a password, from the environment.

    Raises:
        InvalidInput: E_ENV.
    """
    location = os.environ.get(variable, "")
    if not location:
        raise InvalidInput.of(
            "E_ENV",
            "the variable that locates the reference database is not set",
            path="--reference",
            got=variable,
            fix=f"set {variable}",
        )
    return location


def _manifests(
    workspace: Workspace, config: StoreConfig, location: str, contents: Sequence[Observed]
) -> dict[str, bytes]:
    """The bytes of every manifest that is linked, each compared with its hash.

    Raises:
        Corrupt: E_MANIFEST_MISSING, one is gone; E_MANIFEST_HASH.
    """
    from reconciler.reference import parse_hash  # noqa: PLC0415 - as the caller
    from reconciler.stores.registry.store import open_objects  # noqa: PLC0415 - as above

    links = {
        one.address.key.rpartition("@")[2] for one in contents if one.address.kind == "link" and one.slots
    }
    place = replace(config, settings={**config.settings, "objects": location})
    objects = open_objects(place, workspace.surroundings)
    found: dict[str, bytes] = {}
    try:
        for digest in sorted(links):
            data = objects.get(parse_hash(digest))
            if data is None:
                raise Corrupt.of(
                    "E_MANIFEST_MISSING",
                    "the reference registry has a row for this manifest and no bytes",
                    path=objects.where,
                    got=digest,
                    fix="restore the object there, or unlink the manifest",
                )
            found[digest] = data
    finally:
        objects.close()
    return found


def _proved(
    workspace: Workspace, args: argparse.Namespace, opened: Mapping[str, Opened], found: _Found
) -> Plan:
    """The plan with the new documents in place.

    Raises:
        Corrupt: E_IMPORT_PROOF, they would change the store they describe, or declare something else.
    """
    workspace.tree = Overlay.adding(workspace.tree, found.files)
    before = frozenset(wish.address for wish in workspace.desired.declarations)
    workspace.desired = workspace.protected.over(load_tree(workspace.tree, args).desired)
    plan = workspace.plan(opened)
    wrong = list(_otherwise(workspace.desired, found.wanted))
    if not found.wanted:
        wrong += [
            change.address for part in plan.stores for change in part.changes if change.address not in before
        ]
    if wrong:
        raise Corrupt(
            Problem(
                code="E_IMPORT_PROOF",
                path=str(address),
                message="the document for it says something else than what was read; nothing was written",
                fix="report this as a bug",
            )
            for address in dict.fromkeys(wrong)
        )
    return plan


def _otherwise(desired: Desired, wanted: Mapping[Address, str]) -> Iterable[Address]:
    """The tags that are not declared as they were read."""
    declared = {wish.address: wish.slots.get("manifest") for wish in desired.declarations}
    return (address for address, digest in wanted.items() if declared.get(address) != digest)


def _document(found: _Found, plan: Plan, *, written: bool) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "written": written,
        "declared": found.declared,
        "files": [
            {"path": path, "text": data.decode("utf-8", "backslashreplace")}
            for path, data in found.files.items()
        ],
        "left": [{"address": str(address), "reason": why} for address, why in found.left],
        "plan": plan.summary(),
    }


def _text(found: _Found, plan: Plan, *, written: bool) -> str:
    lines: list[str] = []
    for path, data in found.files.items():
        shown = not written and path.endswith(".yaml")
        lines += [f"--- {path}", data.decode().rstrip("\n")] if shown else [path]
    for address, why in found.left[:_LEFT_SHOWN]:
        lines.append(f"left: {escaped(str(address), 120)}: {escaped(why, 200)}")
    if len(found.left) > _LEFT_SHOWN:
        lines.append(f"left: … and {len(found.left) - _LEFT_SHOWN} more")
    if not found.files:
        return "\n".join([*lines, "nothing to import: everything that can be declared is declared"])
    counts = f"{plural(len(found.files), 'file')} for {plural(found.declared, 'address')}"
    verb = "wrote" if written else "would write"
    steps = sum(len(part.steps) for part in plan.stores)
    proof = "the plan with them is empty" if plan.empty else f"the plan with them has {plural(steps, 'step')}"
    lines.append(f"{verb} {counts}; {proof}, adopted: {plan.summary()['adopted']}")
    if not written:
        lines.append("nothing was written; --into PATH writes the documents")
    return "\n".join(lines)
