"""One drill under way: a backup brought back into a scratch directory, and looked at from every side.

Decides the order of the looks, and that an error on the way is what a check found, never the end of the
drill. What a look means is decided in `reconciler.backup.drill`. The live store is only read; the rehearsal
of a rollback happens in the scratch directory, after everything else was seen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from reconciler.apply import apply_plan, denied
from reconciler.backup import drill as proof
from reconciler.backup.archive import Archive, Found, chosen, numbers, read_found
from reconciler.backup.drill import Check, Drill
from reconciler.backup.recovery import wanted_checks
from reconciler.backup.restore import Brought, restore
from reconciler.backup.verify import verify
from reconciler.cli.archives import configuration_files
from reconciler.cli.console import Console
from reconciler.cli.rollback import change_back, changed
from reconciler.cli.roots import opened_root
from reconciler.cli.server import parse_server, require_datasets, require_epoch, require_ready
from reconciler.cli.workspace import Opened, Workspace, refreshed, source_date_epoch
from reconciler.errors import InvalidInput, Problem, ReconcilerError, Unavailable
from reconciler.ledger import Record
from reconciler.model import Depth, Observed, Recovery, Selection, StoreConfig
from reconciler.plan import Plan
from reconciler.stores.keeping import KeeperAdapter, keeper
from reconciler.stores.port import adapter, has_packet, refuse_lost_records
from reconciler.stores.serving.heads import read_catalog


@dataclass(slots=True)
class Drilling:
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
        with self._scratch() as directory:
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

    @contextmanager
    def _scratch(self) -> Iterator[str]:
        """A directory that is gone afterwards."""
        try:
            made = tempfile.TemporaryDirectory(prefix="reconciler-drill-", dir=self.args.scratch)
        except OSError as error:
            raise Unavailable.of(
                "E_IO",
                f"no scratch directory can be made: {error.strerror}",
                path="--scratch",
                got=str(self.args.scratch or tempfile.gettempdir()),
                fix="name a directory with room",
            ) from error
        with made as directory:
            yield directory

    def _restored(self, config: StoreConfig, found: Found) -> Brought:
        with self._open(config) as one:
            brought = restore(self.archive, found, keeper(one.store), self.console.note)
            keeper(one.store).proved()  # nobody uses a scratch place, so nobody has to be warned of it
        self._add(proof.judged("restored", (f"{brought.parts} parts, {brought.size} bytes",)))
        return brought

    def proved_in_place(self) -> Drill:
        """Look at the store that was restored where it stands; proved, it loses its mark."""
        began, start = source_date_epoch(), time.monotonic()
        one = self.workspace.by_hand(self.config)
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
            self._add(self._identity(found, records))
            self._add(proof.heads(seen, records, one.shape))
            self._add(self._asked("query-paths", lambda: proof.answered(keeper(one.store).answers())))
        self._add(proof.policy(self.workspace.desired.governance))
        files = self._asked_files()
        self._add(proof.configuration(found, files, self.recovery))
        self._add(self._asked("plan-empty", lambda: self._planned(config, records)))
        if self.args.server:
            self._add(self._asked("server", lambda: self._served(config)))
        rehearsed = self._asked("rollback-rehearsed", lambda: self._rehearsed(config, records))
        self._add(rehearsed)

    def _identity(self, found: Found, records: Sequence[Record]) -> Check:
        """Hold the restored ledger against the live one, unless that is what is looked at."""
        if self.args.restored or self.args.backup is not None:
            return proof.identity(found, records, None, proof.Compared.ALONE)
        try:
            one = self.workspace.by_hand(self.config)
            live = list(one.store.history())
            closed = sum(record.results is not None for record in live)
            if closed <= found.backup.records and has_packet(one.store, found.backup.records + 1):
                return proof.outrun(found)
            refuse_lost_records(one.store, closed)
        except ReconcilerError:
            return proof.identity(found, records, None)
        return proof.identity(found, records, live)

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

    def _served(self, config: StoreConfig) -> Check:
        """Ask a live server whether it is ready and serves what came back."""
        if config.kind != "serving":
            return proof.not_proved("server", f"a store of kind {config.kind} has no server")
        server = parse_server(self.args.server)
        where = str(config.settings["root"]).removeprefix("file:")
        with opened_root(self.workspace.root / where, config.name) as root:
            catalog = read_catalog(root, where)
        evidence = (
            require_ready(server),
            require_datasets(server, catalog),
            require_epoch(server, catalog),
        )
        return proof.judged("server", evidence)

    def _rehearsed(self, config: StoreConfig, records: Sequence[Record]) -> Check:
        """Roll what came back in the scratch directory back to an earlier release, as git would."""
        name = "rollback-rehearsed"
        if self.args.restored:
            return proof.not_proved(name, "a rollback is rehearsed in a scratch directory only")
        depth = proof.rollback_depth(self.workspace.desired.governance)
        named = [record for record in records if _commit(record)]
        for release in reversed(named[-1 - depth : -1]):
            with self._at(_commit(named[-1]), config) as then:
                one = then.opened(config)
                before = records[: release.seq]
                change = change_back(self.args, then, one, before, "a rehearsal")
                proposed = changed(self.args, then, one, change)
                plan = proposed.plan({config.name: one})
                if plan.empty:
                    continue
                return self._rolled_back(config, plan, proposed, f"{config.name}#{release.seq}")
        return proof.not_proved(name, f"none of the {depth} releases before differs, as git made them")

    def _rolled_back(self, config: StoreConfig, plan: Plan, proposed: Workspace, release: str) -> Check:
        refusal = denied(plan.findings)
        if refusal is not None:
            return proof.judged("rollback-rehearsed", (f"to {release}",), refusal.problems)
        one = proposed.by_hand(config)  # what is promoted was declared with the change
        run = proposed.run_of(plan, "", "recovery drill")
        report = apply_plan(plan, {config.name: one.store}, lambda _part: run)
        problems = [problem for item in report.items for problem in item.result.problems]
        again = proposed.plan({config.name: refreshed(one.store, one.shape)})
        if not again.empty:
            problems.append(
                Problem(
                    code="E_DRILL_PLAN",
                    message="after the rehearsal of a rollback the plan is not empty",
                    path=release,
                    got=f"{sum(len(part.steps) for part in again.stores)} steps",
                    fix="plan that rollback against the live store, and look",
                )
            )
        steps = ", ".join(item.step.id for item in report.items)
        return proof.judged("rollback-rehearsed", (f"to {release}: {steps}",), problems)

    @contextmanager
    def _at(self, commit: str, config: StoreConfig) -> Iterator[Workspace]:
        """The repository as of a commit, with this store in the place of the declared one."""
        with Workspace.open(self.args, self.console, ref=commit) as then:
            then.selected = (config,)
            yield then

    def _planned(self, config: StoreConfig, records: Sequence[Record]) -> Check:
        """Plan at the commit of the release, against what came back."""
        commits = [commit for commit in map(_commit, records) if commit]
        if not commits:
            return proof.not_proved("plan-empty", "no record of the release names a commit")
        commit = commits[-1]
        try:
            with self._at(commit, config) as then:
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
        named = self.recovery.checks if self.recovery is not None else ()
        for name in wanted_checks(self.recovery):
            if name not in self.checks and (name in named or name not in {"server", "time"}):
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


def _commit(record: Record) -> str:
    """The commit that a record was applied from; empty if git did not make it, or from no commit."""
    run = record.run
    return run.commit if run.by == "git" and not run.commit.startswith("worktree") else ""
