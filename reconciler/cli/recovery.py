"""Say how a store would come back after a loss, and prove it by doing so in a scratch place.

`plan` answers the three questions of recovery planning from the `Recovery` documents and the archives, and
exits 4 where an answer is missing or the newest verified backup is older than the RPO. `drill` restores a
backup into a scratch directory, proves each check of the list with what it looked at, and fails (exit 8) on a
backup that is broken, incomplete or older than the store. What a drill cannot look at is never proved.

Example:
  reconciler recovery plan
  reconciler recovery drill --store serving --out drill.json
  reconciler recovery drill --restored --store serving
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.backup.archive import Archive, document_name, numbers, read_found
from reconciler.backup.document import DOCUMENT_LIMIT
from reconciler.backup.drill import Drill, Verdict, read_drilled
from reconciler.backup.recovery import SCHEMA, Drilled, RecoveryPlan, Sighting, recovery_plan
from reconciler.backup.verify import last_verified
from reconciler.canonical import canonical
from reconciler.cli.archives import archive_of
from reconciler.cli.byhand import add_operation, add_repository, operations_of
from reconciler.cli.console import Console
from reconciler.cli.files import replace_file
from reconciler.cli.options import add_output
from reconciler.cli.recovery_drill import Drilling
from reconciler.cli.workspace import Workspace, source_date_epoch
from reconciler.errors import Denied, Exit, InvalidInput, ReconcilerError, Unavailable
from reconciler.evidence.signed_file import SUFFIX
from reconciler.model import StoreConfig
from reconciler.stores.keeping import KeeperAdapter, keeper_adapter

DRILLS_SCHEMA = "reconciler/recovery-drill/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    planned = add_operation(
        operations,
        "plan",
        run_plan,
        summary="answer the three questions of recovery planning for every store",
        example="reconciler recovery plan --store serving",
    )
    _add_stores(planned)
    _add_archive(planned)
    drilled = add_operation(
        operations,
        "drill",
        run_drill,
        summary="restore into a scratch place, and prove each check",
        example="reconciler recovery drill --store serving --out drill.json",
    )
    _add_stores(drilled)
    _add_archive(drilled)
    drilled.add_argument("--backup", metavar="N", type=int, help="the backup's number (default: the newest)")
    drilled.add_argument("--scratch", metavar="DIR", type=Path, help="restore below this directory")
    drilled.add_argument(
        "--restored", action="store_true", help="prove the restored store itself, and take its mark away"
    )
    drilled.add_argument("--server", metavar="URL", help="a live server that must serve what came back")
    drilled.add_argument("--out", metavar="FILE", type=Path, help="save the report of one store here")


def _add_stores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", metavar="NAME", action="append", default=[], help="only this store; may be repeated"
    )
    add_repository(parser)
    add_output(parser)


def _add_archive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        metavar="LOCATION",
        help="the archive (default: that of the Recovery document)",
    )


# The plan.


def run_plan(args: argparse.Namespace, console: Console) -> Exit:
    """Answer the questions; what is missing denies."""
    now = source_date_epoch()
    with Workspace.open(args, console) as workspace:
        plans = [_plan(workspace, *one, args.source, now) for one in _kept(workspace)]
    console.answer(
        {"schema": SCHEMA, "stores": [plan.to_json() for plan in plans]}, lambda: _plan_text(plans)
    )
    problems = [problem for plan in plans for problem in plan.problems]
    if problems:
        raise Denied(problems)
    return Exit.DONE


def _kept(workspace: Workspace) -> Iterator[tuple[StoreConfig, KeeperAdapter]]:
    for config in workspace.selected:
        kind = keeper_adapter(config.kind)
        if kind is not None:
            yield config, kind


def _plan(
    workspace: Workspace, config: StoreConfig, kind: KeeperAdapter, location: str | None, now: int
) -> RecoveryPlan:
    recovery = workspace.desired.recoveries.get(config.name)
    sighting = Sighting()
    if location is not None or (recovery is not None and recovery.backup):
        sighting = _sighting(workspace, config.name, location)
    return recovery_plan(config.name, recovery, sighting, integrity=kind.INTEGRITY, now=now)


def _sighting(workspace: Workspace, store: str, location: str | None) -> Sighting:
    """What the archive holds; that it cannot be read is a missing answer, not the end."""
    try:
        with archive_of(workspace, store, location, "--from") as archive:
            known = list(reversed(numbers(archive, store)))
            found = (read_found(archive, store, number) for number in known)
            seen = ((one, last_verified(archive, one)) for one in found)
            whole = ((one, verified) for one, verified in seen if verified is not None and verified.whole)
            return Sighting(
                newest=read_found(archive, store, known[0]) if known else None,
                verified=next(whole, None),
                drilled=_drilled_last(archive, store),
            )
    except ReconcilerError as error:
        return Sighting(problems=error.problems)


def _drilled_last(archive: Archive, store: str) -> Drilled | None:
    """The newest report of a drill; None if there is none, or it cannot be read."""
    reports = [name for name in archive.names(f"drills/{store}") if not name.endswith(SUFFIX)]
    data = archive.read(f"drills/{store}/{reports[-1]}", DOCUMENT_LIMIT) if reports else None
    return read_drilled(data or b"", where=archive.where)


def _plan_text(plans: Sequence[RecoveryPlan]) -> str:
    lines = []
    for plan in plans:
        lines.append(plan.store)
        for answer in plan.answers:
            lines.append(f"  {answer.question}")
            lines += [f"    {line}" for line in answer.answer]
            lines += [f"    missing: {problem.message}" for problem in answer.problems]
    return "\n".join(lines)


# The drill.


def run_drill(args: argparse.Namespace, console: Console) -> Exit:
    """Prove every store that is selected; the worst of them decides the exit code."""
    with Workspace.open(args, console) as workspace:
        kept = list(_kept(workspace))
        if args.out and len(kept) != 1:
            raise InvalidInput.of(
                "E_USAGE", "--out takes the report of one store", path="--out", fix="give --store"
            )
        drills = [_drilled(args, console, workspace, *one) for one in kept]
    if args.out:
        replace_file(args.out, canonical(drills[0].to_json()))
    document = {"schema": DRILLS_SCHEMA, "drills": [one.to_json() for one in drills]}
    console.answer(document, lambda: "\n".join(_drill_text(one) for one in drills))
    problems = tuple(problem for one in drills for check in one.failed for problem in check.problems)
    console.problems(problems)
    return max((one.exit_code for one in drills), default=Exit.DONE)


def _drilled(
    args: argparse.Namespace,
    console: Console,
    workspace: Workspace,
    config: StoreConfig,
    kind: KeeperAdapter,
) -> Drill:
    with archive_of(workspace, config.name, args.source, "--from") as archive:
        made = Drilling(args, console, workspace, config, kind, archive)
        report = made.proved_in_place() if args.restored else made.proved_in_scratch()
        name = document_name("drills", config.name, report.found.backup.number)
        try:
            with archive.writing():
                archive.replace(name, canonical(report.to_json()))
        except Unavailable as error:
            console.note(f"warning: the report is not kept beside the backup: {error}")
    return report


_SIGNS = {Verdict.PROVED: "+", Verdict.FAILED: "-", Verdict.NOT_PROVED: "?"}


def _drill_text(drill: Drill) -> str:
    backup = drill.found.backup
    lines = [f"{drill.store}: {backup.name}, release {backup.release}, {drill.found.digest}"]
    lines += [
        f"  {_SIGNS[check.verdict]} {check.name:<20} {'; '.join(check.evidence)}" for check in drill.checks
    ]
    counts = [
        f"{sum(check.verdict is verdict for check in drill.checks)} {verdict.value}" for verdict in Verdict
    ]
    lines.append(f"{', '.join(counts)}   ({drill.milliseconds} ms)")
    return "\n".join(lines)
