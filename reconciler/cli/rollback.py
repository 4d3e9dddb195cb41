"""Propose the change of the desired state that returns a store to a recorded release.

A release is one closed record of a store's ledger, `STORE#N`. The documents of that store become what they
were at the commit of the record; what was declared since gets a tombstone each. The plan of that change is
shown with the policy's findings, and where policy denies nothing is written (exit 4). The change comes as a
patch, or as a commit on a new branch; no store is touched. Reviewed, merged and applied, it is a run like any
other, forward, with its own record and evidence.

for example:
  reconciler rollback --to serving#3 --out rollback.patch
  reconciler rollback --to serving#3 --branch rollback/serving-3 --reason "wrong assembly"
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.apply import denied
from reconciler.cli.console import Console
from reconciler.cli.files import replace_file
from reconciler.cli.options import add_desired, add_output, seconds
from reconciler.cli.protected import load_tree
from reconciler.cli.workspace import Opened, Workspace, open_tree
from reconciler.desired.branch import create_branch
from reconciler.desired.overlay import Overlay
from reconciler.desired.returned import Returned, patch, returned
from reconciler.errors import Exit, InvalidInput
from reconciler.ledger import Record, ledger_state
from reconciler.model import Address
from reconciler.plan import Plan
from reconciler.render.text import plan_text

SCHEMA = "reconciler/rollback/v1"
_RELEASE = re.compile(r"([a-z][a-z0-9_-]{0,62})#([1-9][0-9]{0,18})", re.ASCII)
_FILE_LIMIT = 5_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--to", metavar="RELEASE", required=True, help="the release, as STORE#N")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", metavar="FILE", type=Path, help="write the change as a patch here")
    where.add_argument("--branch", metavar="NAME", help="commit the change on a new branch of this name")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why; tombstones and commit say it")
    add_desired(parser)
    parser.add_argument(
        "--lock-timeout", metavar="SECONDS", type=seconds, default=60.0, help=argparse.SUPPRESS
    )
    add_output(parser)
    parser.set_defaults(run=run, store=[])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rollback:
    """What is proposed: the release, the records after it, the change, its plan, the holds to follow."""

    release: Record
    undone: tuple[Record, ...]
    change: Returned
    plan: Plan
    patch: str
    holds: tuple[str, ...]


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Find the release, build the change, plan it, and write it where policy allows it."""
    found = _RELEASE.fullmatch(args.to)
    if found is None:
        raise InvalidInput.of(
            "E_RELEASE", "a release is STORE#N", path="--to", got=args.to, fix="see 'reconciler history'"
        )
    args.store = [found.group(1)]
    if args.branch and args.worktree:
        raise InvalidInput.of("E_USAGE", "a branch stands on a commit", path="--branch", fix="give --ref")
    with Workspace.open(args, console) as workspace:
        made = _proposed(args, workspace, int(found.group(2)))
        console.answer(lambda: _document(args, made), lambda: _text(args, made))
        refusal = denied(made.plan.findings)
        if refusal:
            raise refusal
        if args.out:
            replace_file(args.out, made.patch.encode("utf-8"))
        if args.branch and not made.change.empty:
            files: Mapping[str, bytes | None] = {**made.change.files, **dict.fromkeys(made.change.gone)}
            message = f"Roll {args.store[0]} back to release {args.to}\n\n{_reason(args)}\n"
            commit = create_branch(
                workspace.root, args.branch, parent=workspace.desired.commit, files=files, message=message
            )
            console.note(f"{args.branch} is {commit}")
    return Exit.DONE


def _proposed(args: argparse.Namespace, workspace: Workspace, number: int) -> _Rollback:
    one = workspace.opened(workspace.selected[0])
    one.require_finished()
    records = list(one.store.history())
    release = _release(args.to, records, number)
    change = change_back(args, workspace, one, records[:number], _reason(args))
    before = workspace.tree.find(sorted({*change.files, *change.gone})).entries
    plan = changed(args, workspace, one, change).plan({one.config.name: one})
    return _Rollback(
        release=release,
        undone=tuple(records[number:]),
        change=change,
        plan=plan,
        patch=patch(dict(_read(workspace, before)), change),
        holds=_holds(args, plan),
    )


def change_back(
    args: argparse.Namespace, workspace: Workspace, one: Opened, records: Sequence[Record], reason: str
) -> Returned:
    """What must change in a workspace's desired state to return a store to the last of some records.

    Args:
        args: where the repository is, and the path of the desired state.
        workspace: the repository as it is now.
        one: the store.
        records: its ledger up to the release, which git made.
        reason: why, for the tombstones.

    Raises:
        InvalidInput: E_GIT_MISSING_OBJECT, the clone lacks the commit; E_ROLLBACK_EXISTS.
    """
    release = records[-1]
    at_commit = argparse.Namespace(**{**vars(args), "worktree": False})
    _, tree = open_tree(at_commit, workspace.progress, ref=release.run.commit)
    return returned(
        one.config.name,
        (tree, load_tree(tree, args).desired),
        (workspace.tree, workspace.desired),
        tombstones=f"{args.desired.strip('/')}/rollback/{one.config.name}-{release.seq}",
        recorded=ledger_state(records),
        reason=reason,
    )


def changed(args: argparse.Namespace, workspace: Workspace, one: Opened, change: Returned) -> Workspace:
    """The workspace as it would be with a change that nobody has committed yet, for one open store.

    Raises:
        InvalidInput, Unavailable: what would be promoted to the store cannot be.
    """
    tree = Overlay(workspace.tree, change.files, change.gone)
    made = replace(workspace, tree=tree, desired=workspace.protected.over(load_tree(tree, args).desired))
    made.promote(one)
    return made


def _read(workspace: Workspace, entries: Sequence[Any]) -> list[tuple[str, bytes]]:
    return [(entry.path, data) for entry, data in workspace.tree.read(entries, _FILE_LIMIT)]


def _release(text: str, records: Sequence[Record], number: int) -> Record:
    """The record of a release that git made.

    Raises:
        InvalidInput: E_RELEASE.
    """
    if number > len(records):
        raise InvalidInput.of(
            "E_RELEASE",
            f"the ledger holds {len(records)} records",
            path="--to",
            got=text,
            fix="see 'reconciler history'",
        )
    record = records[number - 1]
    if record.run.by != "git" or not record.run.commit or record.run.commit.startswith("worktree"):
        earlier = [one.seq for one in records[:number] if one.run.by == "git" and one.run.commit]
        near = f"name release {text.partition('#')[0]}#{earlier[-1]}" if earlier else "name another release"
        raise InvalidInput.of(
            "E_RELEASE",
            "this release was made by hand, so no commit says what was wished for",
            path="--to",
            got=text,
            fix=near,
        )
    return record


def _reason(args: argparse.Namespace) -> str:
    return args.reason or f"rolled back to {args.to}"


def _moved(plan: Plan) -> list[Address]:
    """What the rollback changes, by address."""
    return sorted({change.address for part in plan.stores for step in part.steps for change in step.changes})


def _holds(args: argparse.Namespace, plan: Plan) -> tuple[str, ...]:
    """Exceptions for after the apply: nothing moves again what was rolled back, until they expire.

    They are not part of the change, because a hold would keep the rollback itself from being applied.
    """
    return tuple(
        f"apiVersion: reconciler/v1\nkind: Exception\ntype: hold\nsubject: {address}\nowner: OWNER\n"
        f"reason: {json.dumps(_reason(args))}\nexpires: YYYY-MM-DD\n"
        for address in _moved(plan)
    )


# Answers.


def _document(args: argparse.Namespace, made: _Rollback) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "release": args.to,
        "commit": made.release.run.commit,
        "undone": [
            {"seq": record.seq, "by": record.run.by, "commit": record.run.commit, "reason": record.run.reason}
            for record in made.undone
        ],
        "files": {"written": sorted(made.change.files), "removed": sorted(made.change.gone)},
        "addresses": [str(address) for address in _moved(made.plan)],
        "plan": made.plan.to_json(issued=made.release.run.time),
        "patch": made.patch,
        "holds": list(made.holds),
    }


def _text(args: argparse.Namespace, made: _Rollback) -> str:
    lines = [f"release {args.to} was applied from commit {made.release.run.commit}"]
    lines += [
        f"  undoes {record.seq}: {record.run.reason or record.run.command or record.run.by}"
        for record in made.undone
    ]
    if made.change.empty:
        return "\n".join([*lines, "the desired state already is what it was"])
    lines += [f"  writes {path}" for path in sorted(made.change.files)]
    lines += [f"  removes {path}" for path in sorted(made.change.gone)]
    lines.append(plan_text(made.plan))
    if not args.out and not args.branch:
        lines.append(made.patch.rstrip("\n"))
    if made.holds:
        lines.append("once it was applied, a hold for each keeps it so; the first:")
        lines += [f"  {line}" for line in made.holds[0].splitlines()]
    return "\n".join(lines)
