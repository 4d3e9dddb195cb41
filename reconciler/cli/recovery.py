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
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.backup import drill as proof
from reconciler.backup.archive import Archive, Found, chosen, document_name, numbers, read_found
from reconciler.backup.drill import Check, Drill, Verdict
from reconciler.backup.recovery import SCHEMA, RecoveryPlan, Sighting, recovery_plan, wanted_checks
from reconciler.backup.restore import Brought, restore
from reconciler.backup.verify import last_verified, verify
from reconciler.canonical import canonical
from reconciler.cli.archives import archive_of, configuration_files
from reconciler.cli.byhand import add_operation, add_repository, operations_of
from reconciler.cli.console import Console
from reconciler.cli.files import replace_file
from reconciler.cli.options import add_output
from reconciler.cli.workspace import Opened, Workspace, refreshed, source_date_epoch
from reconciler.errors import Denied, Exit, InvalidInput, Problem, ReconcilerError
from reconciler.ledger import Record
from reconciler.model import Depth, Observed, Recovery, Selection, StoreConfig
from reconciler.stores.keeping import KeeperAdapter, keeper, keeper_adapter
from reconciler.stores.port import adapter

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
            found = [read_found(archive, store, number) for number in numbers(archive, store)]
            for one in reversed(found):
                verified = last_verified(archive, one)
                if verified is not None and verified.whole:
                    return Sighting(newest=found[-1], verified=(one, verified))
            return Sighting(newest=found[-1] if found else None)
    except ReconcilerError as error:
        return Sighting(problems=error.problems)


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
        made = _Drilling(args, console, workspace, config, kind, archive)
        report = made.proved_in_place() if args.restored else made.proved_in_scratch()
        with archive.writing():
            name = document_name("drills", config.name, report.found.backup.number)
            archive.replace(name, canonical(report.to_json()))
    return report


@dataclass(slots=True)
class _Drilling:
    """One drill under way: what is proved, and the checks so far."""

    args: argparse.Namespace
    console: Console
    workspace: Workspace
    config: StoreConfig
    kind: KeeperAdapter
    archive: Archive
    checks: dict[str, Check] = field(default_factory=dict)

    @property
    def recovery(self) -> Recovery | None:
        """What git declares."""
        return self.workspace.desired.recoveries.get(self.config.name)

    def proved_in_scratch(self) -> Drill:
        """Restore into a scratch directory that is gone afterwards, and look at it."""
        found = chosen(self.archive, self.config.name, self.args.backup)
        began, start = source_date_epoch(), time.monotonic()
        self._add(proof.whole(verify(self.archive, found, time=began, progress=self.console.note)))
        self._add(proof.age(found, self.recovery, began))
        brought = Brought(0, 0, 0)
        with tempfile.TemporaryDirectory(prefix="reconciler-drill-", dir=self.args.scratch) as directory:
            config = self.kind.scratch(self.config, directory)
            try:
                brought = self._restored(config, found)
            except ReconcilerError as error:
                self._add(proof.judged("restored", (), error.problems))
            else:
                self._look(config, found)
            milliseconds = int((time.monotonic() - start) * 1000)
        self._add(proof.duration(milliseconds, brought.size, self.recovery))
        return self._report(found, began, milliseconds, brought)

    def _restored(self, config: StoreConfig, found: Found) -> Brought:
        with self._open(config) as one:
            brought = restore(self.archive, found, keeper(one.store), self.console.note)
        self._add(proof.judged("restored", (f"{brought.parts} parts, {brought.size} bytes",)))
        return brought

    def proved_in_place(self) -> Drill:
        """Look at the store that was restored where it stands; proved, it loses its mark."""
        began, start = source_date_epoch(), time.monotonic()
        one = self.workspace.opened(self.config)
        mark = keeper(one.store).restored()
        if mark is None:
            raise InvalidInput.of(
                "E_NOT_RESTORED",
                "the store was not restored, or a drill proved it already",
                path=self.config.name,
                fix="run the drill without --restored",
            )
        found = self._found(mark.backup)
        self._add(proof.judged("restored", (f"from {found.backup.name}, {mark.backup}",)))
        self._look(self.config, found)
        milliseconds = int((time.monotonic() - start) * 1000)
        report = self._report(found, began, milliseconds, Brought(0, 0, 0))
        if not report.failed:
            keeper(one.store).proved()
        return report

    def _found(self, digest: str) -> Found:
        for number in reversed(numbers(self.archive, self.config.name)):
            found = read_found(self.archive, self.config.name, number)
            if found.digest == digest:
                return found
        raise InvalidInput.of(
            "E_BACKUP_MISSING",
            "the archive does not hold the backup that the store was restored from",
            path=self.archive.where,
            got=digest,
            fix="name the archive that does",
        )

    def _look(self, config: StoreConfig, found: Found) -> None:
        """Everything that can be said of the store that came back."""
        with self._open(config) as one:
            records = self._records(one.store.history)
            seen: Sequence[Observed] = ()
            try:
                seen = list(one.store.snapshot(Selection(depth=Depth.DEEP)))
            except ReconcilerError as error:
                self._add(proof.judged("contents-hash-true", (), error.problems))
            else:
                self._add(proof.contents(seen))
            self._add(proof.identity(found, records, self._live()))
            self._add(proof.heads(seen, records, one.shape))
            self._add(self._asked("query-paths", lambda: proof.answered(keeper(one.store).answers())))
        self._add(proof.policy(self.workspace.desired.governance))
        files = self._asked_files()
        self._add(proof.configuration(found, files, self.recovery))
        self._add(self._asked("plan-empty", lambda: self._planned(config, records)))

    def _live(self) -> Sequence[Record] | None:
        """The live store's records; None if it cannot be read, or if it is what is looked at."""
        if self.args.restored or self.args.backup is not None:
            return ()
        try:
            return list(self.workspace.opened(self.config).store.history())
        except ReconcilerError:
            return None

    def _records(self, history: Callable[[], Iterator[Record]]) -> list[Record]:
        try:
            return list(history())
        except ReconcilerError as error:
            self._add(proof.judged("restored", (), error.problems))
            return []

    def _asked_files(self) -> Mapping[str, bytes]:
        try:
            return configuration_files(self.workspace, self.config.name)
        except InvalidInput:
            return {}

    def _asked(self, name: str, ask: Callable[[], Check]) -> Check:
        """A check whose question may end in an error, which is then what it found."""
        try:
            return ask()
        except ReconcilerError as error:
            return proof.judged(name, (), error.problems)

    def _planned(self, config: StoreConfig, records: Sequence[Record]) -> Check:
        """Plan at the commit of the release, against what came back."""
        commits = [record.run.commit for record in records if record.run.by == "git"]
        commit = commits[-1] if commits else ""
        if not commit or commit.startswith("worktree"):
            return proof.not_proved("plan-empty", "no record of the release names a commit")
        try:
            with Workspace.open(self.args, self.console, ref=commit) as then:
                then.selected = (config,)
                plan = then.plan({config.name: then.opened(config)})
        except InvalidInput as error:
            return proof.not_proved("plan-empty", f"commit {commit} cannot be read here: {error.code}")
        problems = [
            Problem(
                code="E_DRILL_PLAN",
                message="git at the commit of the release and what came back do not agree",
                path=str(change.address),
                got=f"{change.slot}: {change.before} would become {change.after}",
                fix="'reconciler drift' on the live store shows who moved it",
            )
            for part in plan.stores
            for step in part.steps
            for change in step.changes
        ]
        return proof.judged("plan-empty", (f"planned at {commit}",), problems)

    @contextmanager
    def _open(self, config: StoreConfig) -> Iterator[Opened]:
        kind = adapter(config.kind)
        store = kind.open_store(config, self.workspace.surroundings)
        try:
            yield Opened(store, kind.SHAPE, refreshed(store, kind.SHAPE).inventory, None)
        finally:
            store.close()

    def _add(self, check: Check) -> None:
        if check.name in wanted_checks(self.recovery):
            self.checks.setdefault(check.name, check)

    def _report(self, found: Found, began: int, milliseconds: int, brought: Brought) -> Drill:
        for name in wanted_checks(self.recovery):
            if name not in self.checks and name not in {"server", "time"}:
                self.checks[name] = proof.not_proved(name, "there was nothing to look at")
        ordered = tuple(self.checks[name] for name in wanted_checks(self.recovery) if name in self.checks)
        return Drill(
            store=self.config.name,
            found=found,
            time=began,
            milliseconds=milliseconds,
            parts=brought.parts,
            size=brought.size,
            rto=self.recovery.rto if self.recovery else None,
            rpo=self.recovery.rpo if self.recovery else None,
            checks=ordered,
        )


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
