"""Remove what nothing needs any more: datasets of a serving store, manifests of a registry.

`plan` shows what would go and what keeps the rest; `apply` judges everything again under the store's lock
and removes what is garbage in both. Kept is whatever the catalog, an alias or a link names, what git
declares, what `ops/inventory` pins, what the ledger or the policy protects or an exception holds, what the
freeze policy retains, what is being published, and whatever changed less than 7 days ago by the store's own
time. A root that is missing or cannot be read stops it.

A dataset is moved to the store's trash and deleted for good by a later collection, 7 days after.

Example:
  reconciler gc plan --store serving --out gc.json
  reconciler gc apply gc.json --store serving
  reconciler gc apply --store registry --yes
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconciler.apply import denied
from reconciler.canonical import canonical
from reconciler.cli.byhand import Operations, add_operation, add_repository, operations_of
from reconciler.cli.console import Console
from reconciler.cli.files import read_file, replace_file
from reconciler.cli.lineage import lineage
from reconciler.cli.options import add_output
from reconciler.cli.packets import keep_packets
from reconciler.cli.pinned import kept
from reconciler.cli.protected import check_writing
from reconciler.cli.workspace import TOOL, Opened, Workspace, refreshed
from reconciler.errors import Denied, Exit, InvalidInput, ReconcilerError, Stale
from reconciler.gc import (
    PLAN_LIMIT,
    Collected,
    GcPlan,
    Retention,
    Roots,
    SavedGcPlan,
    declared_in,
    judge,
    read_plan,
    unusable,
)
from reconciler.ledger import Run
from reconciler.model import Outcome
from reconciler.policy import judge_collection, policy_digest
from reconciler.policy.by_hand import shield, shielded_in
from reconciler.stores.port import collector

SCHEMA = "reconciler/gc-apply/v1"
FREEZE = "ops/datasets/freeze-policy.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    planned = add_operation(
        operations,
        "plan",
        plan,
        summary="show what would be removed, and what keeps the rest",
        example="reconciler gc plan --store serving --out gc.json",
    )
    _add_common(planned)
    planned.add_argument("--out", metavar="FILE", type=Path, help="save the plan here")
    _add_apply(operations)


def _add_apply(operations: Operations) -> None:
    applied = add_operation(
        operations,
        "apply",
        apply,
        summary="remove what is garbage, and record it",
        example="reconciler gc apply gc.json --store serving",
    )
    applied.add_argument("plan", metavar="PLAN", nargs="?", type=Path, help="a plan saved by 'gc plan --out'")
    _add_common(applied)
    applied.add_argument("--expect", metavar="DIGEST", help="the digest of the plan that was approved")
    applied.add_argument("--yes", action="store_true", help="do not ask")
    applied.add_argument("--reason", metavar="TEXT", default="", help="why; the ledger keeps it")
    applied.add_argument("--dry-run", action="store_true", help="show the plan and stop")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", metavar="NAME", nargs=1, required=True, help="a store of the repository's stores.yaml"
    )
    add_repository(parser)
    add_output(parser)


def plan(args: argparse.Namespace, console: Console) -> Exit:
    """Judge everything; nothing is written."""
    with Workspace.open(args, console) as workspace:
        one = workspace.opened(workspace.selected[0])
        found = _planned(workspace, one, _roots(workspace, one))
    if args.out:
        replace_file(args.out, canonical(found.to_json()))
    _show(console, found)
    return Exit.DONE


def apply(args: argparse.Namespace, console: Console) -> Exit:
    """Finish what was left open, judge, compare, ask, collect."""
    expected = args.expect
    saved = read_plan(read_file(args.plan, limit=PLAN_LIMIT), str(args.plan)) if args.plan else None
    if saved:
        expected = saved.digest
        _check_expected(args.expect, expected)
    with Workspace.open(args, console) as workspace:
        check_writing(args, workspace.root, workspace.protected)
        one = workspace.opened(workspace.selected[0])
        if not args.dry_run:
            one.store.recover()
            one = refreshed(one.store, one.shape)
        roots = _roots(workspace, one)
        found = _planned(workspace, one, roots)
        _check_policy(saved, found)
        _check_expected(expected, found.digest)
        if args.dry_run:
            _show(console, found)
            return Exit.DONE
        collected = Collected((), ())
        if not found.empty:
            _check_open(workspace, one)
            _check_confirmed(args, console, found, roots.retention, reviewed=expected is not None)
            run = _run(args, workspace, found)
            collected = collector(one.store).collect(found.again(roots), run)
            keep_packets(one, console)
    console.answer(lambda: _document(found, collected), lambda: _collected_text(found, collected))
    return _ended(console, collected)


def _planned(workspace: Workspace, one: Opened, roots: Roots) -> GcPlan:
    one.require_finished()
    holdings = collector(one.store).holdings()
    return GcPlan(
        store=one.config.name,
        identity=one.config.identity,
        commit=workspace.desired.commit,
        policy=policy_digest(workspace.protected.guards),
        verdicts=judge(holdings, roots),
        expired=holdings.expired,
    )


def _check_policy(saved: SavedGcPlan | None, found: GcPlan) -> None:
    """Refuse a plan that was reviewed under other guards, whatever they would remove."""
    if saved is not None and saved.policy != found.policy:
        raise Stale.of(
            "E_PLAN_STALE",
            "another policy judges now than the one under which the plan was reviewed",
            path="PLAN",
            got=found.policy,
            fix="plan again and have the new plan reviewed",
        )


def _check_open(workspace: Workspace, one: Opened) -> None:
    """Refuse to remove anything while a freeze window is closed, or for a commit that is not the newest.

    Raises:
        Denied: E_FREEZE; E_COMMIT_ORDER or E_COMMIT_UNKNOWN.
    """
    since = lineage(workspace.root, workspace.desired.commit, one.inventory.commit)
    refusal = denied(judge_collection(workspace.protected.guards, one.config.name, since, workspace.now))
    if refusal:
        raise refusal


def _check_expected(expected: str | None, found: str) -> None:
    if expected is not None and expected != found:
        raise Stale.of(
            "E_PLAN_STALE",
            "what would be removed is not what was reviewed",
            path="--expect",
            got=found,
            fix="plan again and have the new plan reviewed",
        )


def _check_confirmed(
    args: argparse.Namespace, console: Console, found: GcPlan, retention: Retention, *, reviewed: bool
) -> None:
    if reviewed:
        return
    if console.interactive and not args.yes:
        console.note(_plan_text(found))
        if not console.confirmed("Remove this?"):
            raise InvalidInput.of("E_CONFIRM", "not confirmed; nothing was written")
        return
    if retention.reviewed and found.candidates:
        raise Denied.of(
            "E_GC_REVIEW",
            "the freeze policy wants every deletion reviewed",
            path=FREEZE,
            fix=f"review 'reconciler gc plan', then give its file, or --expect {found.digest}",
        )
    if not args.yes:
        raise InvalidInput.of(
            "E_CONFIRM",
            "nobody can be asked here",
            path="--yes",
            fix="give a saved plan, --expect DIGEST, or --yes",
        )


def _run(args: argparse.Namespace, workspace: Workspace, found: GcPlan) -> Run:
    """What the ledger says. What git planned to remove is not ours any more, so this counts as its run."""
    return Run(
        by="git",
        time=workspace.desired.commit_time,
        tool=TOOL,
        commit=workspace.desired.commit,
        author=workspace.desired.author,
        reason=args.reason,
        intent=found.digest,
        command=f"reconciler gc apply --store {found.store}",
    )


# Roots.


def _roots(workspace: Workspace, one: Opened) -> Roots:
    """What keeps content besides the store.

    The commit's wishes and pins, the base's freeze policy, and what ledger, policy or exceptions protect.

    Raises:
        LimitExceeded: E_GC_ROOTS, a file is missing or is not of its form.
    """
    try:
        pinned = kept(workspace.tree, workspace.pins)
    except ReconcilerError as error:
        problem = error.problems[0]
        raise unusable(problem.path, problem.message, problem.got) from error
    retention = Retention()
    if workspace.selected[0].kind == "serving":
        if FREEZE not in workspace.protected.governance:
            raise unusable(FREEZE, "the file is missing")
        said = workspace.protected.guards.governance
        retention = Retention(said.release_lines, said.line_versions, said.reviewed_deletion)
    why = shield(workspace.protected.guards, one.inventory, workspace.now)
    return Roots(
        declared=declared_in(workspace.desired),
        pinned=pinned,
        retention=retention,
        shields=shielded_in(one.inventory, why),
        shield=why,
    )


# Answers.


def _show(console: Console, found: GcPlan) -> None:
    console.answer(found.to_json, lambda: _plan_text(found))


def _plan_text(found: GcPlan) -> str:
    lines = [f"  - remove  {one.address}  ({one.size} bytes)" for one in found.candidates]
    lines += [
        f"    keep    {verdict.content.address}  {'; '.join(verdict.reasons)}"
        for verdict in found.verdicts
        if verdict.reasons
    ]
    lines += [f"  - delete  {name}  (removed earlier)" for name in found.expired]
    if not found.candidates:
        return "\n".join([*lines, "nothing to remove"])
    return "\n".join([*lines, f"to remove: {len(found.candidates)}", f"digest {found.digest}"])


def _document(found: GcPlan, collected: Collected) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "store": found.store,
        "digest": found.digest,
        "planned": len(found.candidates),
        "steps": [
            {
                "id": result.step,
                "outcome": result.outcome.value,
                "receipt": result.receipt,
                "problems": [problem.to_json() for problem in result.problems],
            }
            for result in collected.results
        ],
        "expired": list(collected.expired),
    }


def _collected_text(found: GcPlan, collected: Collected) -> str:
    lines = [f"  {result.outcome.value:<11} {result.step}" for result in collected.results]
    lines += [f"  deleted     {name}" for name in collected.expired]
    left = len(found.candidates) - len(collected.results)
    if left:
        lines.append(f"  {left} of the planned are needed again, and stay")
    return "\n".join(lines or ["nothing to remove"])


def _ended(console: Console, collected: Collected) -> Exit:
    """The exit code: of what went wrong first, if anything did."""
    outcomes = [result.outcome for result in collected.results]
    problems = tuple(problem for result in collected.results for problem in result.problems)
    if all(outcome is Outcome.APPLIED for outcome in outcomes):
        return Exit.DONE
    console.problems(problems)
    if Outcome.UNKNOWN in outcomes:
        return Exit.UNKNOWN
    if Outcome.DIVERGED in outcomes:
        return Exit.CORRUPT
    return Exit.PARTLY if Outcome.APPLIED in outcomes else Exit.UNAVAILABLE
