"""Write the documents that declare what live stores hold, so that an existing store comes under git.

Only what nobody declares yet is written: one `Catalog` document for a serving store, one `Dataset` document
for each dataset of a registry. Before anything is written the plan is made with the new documents in place:
it must have no step, or the import is refused. Without `--into` the documents are only printed. No store is
written; the first `apply` afterwards adds the record that what matches is now ours.

for example:
  reconciler import --store serving
  reconciler import --store serving --store registry --into desired/imported
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from reconciler.cli.console import Console
from reconciler.cli.files import new_files
from reconciler.cli.options import add_output, seconds
from reconciler.cli.workspace import Opened, Workspace, load_desired
from reconciler.desired.overlay import Overlay
from reconciler.desired.transcript import Transcript, transcribe
from reconciler.desired.tree import directory_path
from reconciler.errors import Corrupt, Exit, InvalidInput, Problem, escaped
from reconciler.model import Selection
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
    parser.add_argument("--dry-run", action="store_true", help="print and prove, even with --into")
    parser.add_argument(
        "--lock-timeout",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="how long to wait for another writer (default: 60)",
    )
    add_output(parser)
    parser.set_defaults(run=run, ref=None, worktree=True)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Read the stores, write the documents in memory, prove them, write them."""
    into = _directory(args)
    with Workspace.open(args, console) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        transcript = _transcribed(workspace, opened)
        files = {f"{into}/{path}": text.encode() for path, text in sorted(transcript.files.items())}
        plan = _proved(workspace, args, opened, files)
        write = bool(files) and args.into is not None and not args.dry_run
        if write:
            new_files(workspace.root, files)
    console.answer(
        lambda: _document(files, transcript, plan, written=write),
        lambda: _text(files, transcript, plan, written=write),
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


def _transcribed(workspace: Workspace, opened: Mapping[str, Opened]) -> Transcript:
    """The documents of every selected store."""
    whole = Transcript()
    for name, one in opened.items():
        one.require_finished()
        declared = [wish.address for wish in workspace.desired.of_store(name)]
        part = transcribe(one.config, one.store.snapshot(Selection()), declared)
        whole.files |= part.files
        whole.declared += part.declared
        whole.left += part.left
    return whole


def _proved(
    workspace: Workspace, args: argparse.Namespace, opened: Mapping[str, Opened], files: Mapping[str, bytes]
) -> Plan:
    """The plan with the new documents in place.

    Raises:
        Corrupt: E_IMPORT_PROOF, it would change a store.
    """
    workspace.tree = Overlay.of(workspace.tree, files)
    before = frozenset(wish.address for wish in workspace.desired.declarations)
    workspace.desired = load_desired(workspace.tree, args)
    plan = workspace.plan(opened)
    changed = [
        change.address for part in plan.stores for change in part.changes if change.address not in before
    ]
    if changed:
        raise Corrupt(
            Problem(
                code="E_IMPORT_PROOF",
                path=str(address),
                message="the document written for it would change the store, so nothing was written",
                fix="report this as a bug",
            )
            for address in dict.fromkeys(changed)
        )
    return plan


def _document(
    files: Mapping[str, bytes], transcript: Transcript, plan: Plan, *, written: bool
) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "written": written,
        "declared": transcript.declared,
        "files": [{"path": path, "text": data.decode()} for path, data in files.items()],
        "left": [{"address": str(address), "reason": why} for address, why in transcript.left],
        "plan": plan.summary(),
    }


def _text(files: Mapping[str, bytes], transcript: Transcript, plan: Plan, *, written: bool) -> str:
    lines: list[str] = []
    for path, data in files.items():
        lines += [path] if written else [f"--- {path}", data.decode().rstrip("\n")]
    for address, why in transcript.left[:_LEFT_SHOWN]:
        lines.append(f"left: {escaped(str(address), 120)}: {escaped(why, 200)}")
    if len(transcript.left) > _LEFT_SHOWN:
        lines.append(f"left: … and {len(transcript.left) - _LEFT_SHOWN} more")
    if not files:
        return "\n".join([*lines, "nothing to import: everything that can be declared is declared"])
    counts = f"{plural(len(files), 'document')} for {plural(transcript.declared, 'address')}"
    verb = "wrote" if written else "would write"
    steps = sum(len(part.steps) for part in plan.stores)
    proof = "the plan with them is empty" if plan.empty else f"the plan stays at {plural(steps, 'step')}"
    lines.append(f"{verb} {counts}; {proof}, adopted: {plan.summary()['adopted']}")
    if not written:
        lines.append("nothing was written; --into PATH writes the documents")
    return "\n".join(lines)
