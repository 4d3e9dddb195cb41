"""What a recovery drill proves: named checks, each with its evidence, and the report that they add up to.

A check is proved, failed, or not proved: what could not be looked at (a live ledger that is gone, a commit
that the clone lacks) is said, and never counted as proof. Every check says what it looked at in numbers and
digests, so that somebody else can look again. A drill fails as a whole if one wanted check failed.

Decides from values only; who restores, reads and measures is the command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, ValidationError, convert

from reconciler.backup.archive import Found
from reconciler.backup.recovery import Drilled, span
from reconciler.backup.verify import Verified
from reconciler.canonical import parse_strict, sha256_digest
from reconciler.errors import Exit, InvalidInput, Problem
from reconciler.ledger import Record, ledger_state
from reconciler.model import NOTHING, Observed, Recovery
from reconciler.shape import Shape
from reconciler.stores.keeping import Answers

SCHEMA: Final = "reconciler/drill/v1"
ROLLBACK_POLICY: Final = "ops/datasets/rollback-policy.json"
_PROMISES: Final = frozenset({"backup-age", "time"})
"""Checks of what was promised, not of what came back: a drill that fails in these alone exits 4."""

_NAMED: Final = 20
_YEAR_10000: Final = 253_402_300_800


class Verdict(StrEnum):
    """What a check found."""

    PROVED = "proved"
    FAILED = "failed"
    NOT_PROVED = "not proved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check with what it looked at."""

    name: str
    verdict: Verdict
    evidence: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """The report of one drill.

    Attributes:
        store: what came back.
        found: the backup.
        time: when it began, in Unix seconds.
        milliseconds: how long the store took to come back and to be checked.
        parts: how many parts came back.
        size: their bytes.
        rto: what was promised, in seconds.
        rpo: what was promised, in seconds.
        checks: every check that was made.
    """

    store: str
    found: Found
    time: int
    milliseconds: int
    parts: int
    size: int
    rto: int | None
    rpo: int | None
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict is Verdict.FAILED)

    @property
    def exit_code(self) -> Exit:
        """How the program ends after it."""
        if not self.failed:
            return Exit.DONE
        return Exit.DENIED if {check.name for check in self.failed} <= _PROMISES else Exit.CORRUPT

    def to_json(self) -> dict[str, Any]:
        """The stable keys of the report."""
        backup = self.found.backup
        return {
            "schema": SCHEMA,
            "store": self.store,
            "number": backup.number,
            "backup": self.found.digest,
            "release": backup.release,
            "ledger": backup.ledger,
            "time": self.time,
            "milliseconds": self.milliseconds,
            "parts": self.parts,
            "bytes": self.size,
            "rto": self.rto,
            "rpo": self.rpo,
            "proved": not self.failed,
            "checks": [
                {
                    "name": check.name,
                    "verdict": check.verdict.value,
                    "evidence": list(check.evidence),
                    "problems": [str(problem) for problem in check.problems[:_NAMED]],
                }
                for check in self.checks
            ],
        }


class _CheckMembers(Struct, frozen=True):
    verdict: Verdict


class _DrillMembers(Struct, frozen=True):
    schema: Literal["reconciler/drill/v1"]
    number: int
    release: str
    time: Annotated[int, Meta(ge=0, lt=_YEAR_10000)]
    proved: bool
    checks: tuple[_CheckMembers, ...]


def read_drilled(data: bytes, *, where: str) -> Drilled | None:
    """What a report that was kept says; None if it is no report of a drill."""
    try:
        report = convert(parse_strict(data, where=where), _DrillMembers)
    except (InvalidInput, ValidationError):
        return None
    verdicts = tuple(check.verdict.value for check in report.checks)
    proved = report.proved and Verdict.FAILED not in verdicts
    return Drilled(report.number, report.release, report.time, proved, verdicts)


def judged(name: str, evidence: Iterable[str], problems: Iterable[Problem] = ()) -> Check:
    """A check that failed if there are problems, and is proved otherwise."""
    found = tuple(problems)
    verdict = Verdict.FAILED if found else Verdict.PROVED
    return Check(name=name, verdict=verdict, evidence=tuple(evidence), problems=found)


def not_proved(name: str, why: str) -> Check:
    """A check that could not be made."""
    return Check(name=name, verdict=Verdict.NOT_PROVED, evidence=(why,))


def whole(verified: Verified) -> Check:
    """Every object of the backup was read where it is kept."""
    evidence = f"{verified.objects} objects, {verified.size} bytes read"
    return judged("backup-whole", (evidence,), verified.problems)


def age(found: Found, recovery: Recovery | None, now: int) -> Check:
    """The backup is no older than what a loss may cost."""
    old = max(0, now - found.backup.time)
    evidence = f"{found.backup.name} is {span(old)} old"
    if recovery is None or recovery.rpo is None:
        return not_proved("backup-age", f"{evidence}; no RPO is declared")
    if old <= recovery.rpo:
        return judged("backup-age", (f"{evidence}, the RPO is {span(recovery.rpo)}",))
    problem = Problem(
        code="E_RECOVERY_OLD",
        message=f"{found.backup.name} is older than the RPO of {span(recovery.rpo)}",
        path=recovery.place.path,
        line=recovery.place.line,
        got=span(old),
        fix="back the store up, and see why the schedule did not",
    )
    return judged("backup-age", (evidence,), (problem,))


class Compared(Enum):
    """Whether a restored ledger is held against the live one."""

    WITH_LIVE = "with the live ledger"
    ALONE = "alone: another backup than the newest was asked for, or the restored store is the live one"


def identity(
    found: Found,
    restored: Sequence[Record],
    live: Sequence[Record] | None,
    compared: Compared = Compared.WITH_LIVE,
) -> Check:
    """The restored ledger ends with the release that the backup states, and is the live one's or its newest.

    A live ledger that is gone, ends earlier or with a run that is not closed cannot say which release was
    the newest.

    Args:
        found: the backup.
        restored: the records that came back.
        live: those of the live store; None if they cannot be read.
        compared: whether the two are compared.
    """
    backup = found.backup
    closed = [record for record in restored if record.results is not None]
    last = closed[-1].outcome_sha if closed else None
    evidence = [f"release {backup.release}, outcome {last}"]
    if (len(closed), last) != (backup.records, backup.ledger):
        problem = Problem(
            code="E_DRILL_IDENTITY",
            message=f"the restored ledger does not end with release {backup.release}",
            got=f"{len(closed)} records, {last}",
            fix="use another backup",
        )
        return judged("release-identity", evidence, (problem,))
    if compared is Compared.ALONE:
        return judged("release-identity", (*evidence, "whether it was the newest release was not asked"))
    theirs = [one for one in live or () if one.results is not None]
    problems = tuple(_behind(found, closed, theirs))
    doubt = _doubt(live, len(theirs), len(closed))
    if problems or not doubt:
        return judged("release-identity", evidence, problems)
    said = (*evidence, f"{doubt}, so nothing says that it was the newest release")
    return Check(name="release-identity", verdict=Verdict.NOT_PROVED, evidence=said)


def outrun(found: Found) -> Check:
    """The packet of a release after the backup stands beside a live ledger that lost that release."""
    release = f"{found.backup.store}#{found.backup.records + 1}"
    problem = Problem(
        code="E_DRILL_OLDER",
        message=f"the backup is older than the store: the packet of {release} stands beside its ledger",
        path=found.backup.name,
        got=f"release {found.backup.release}",
        fix="use a backup that has it, or another copy of that record",
    )
    return judged("release-identity", (f"release {found.backup.release}",), (problem,))


def _doubt(live: Sequence[Record] | None, theirs: int, mine: int) -> str:
    """Why a live ledger cannot say which release was the newest; nothing if it can."""
    if live is None:
        return "the live ledger cannot be read"
    if theirs < mine:
        return f"the live ledger ends with record {theirs}, before that of the backup"
    return f"run {theirs + 1} of the live ledger is not closed" if len(live) > theirs else ""


def _behind(found: Found, closed: Sequence[Record], live: Sequence[Record]) -> Iterable[Problem]:
    for mine, theirs in zip(closed, live, strict=False):
        if mine.outcome_sha != theirs.outcome_sha:
            yield Problem(
                code="E_DRILL_IDENTITY",
                message=f"record {mine.seq} of the backup is not that of the live ledger",
                got=str(theirs.outcome_sha),
                fix="find out which of the two is right before anything is restored",
            )
            return
    missing = live[len(closed) :]
    if missing:
        yield Problem(
            code="E_DRILL_OLDER",
            message=(
                f"the backup is older than the store: it lacks records {missing[0].seq} "
                f"to {missing[-1].seq}; {'; '.join(_said(record) for record in missing[:3])}"
            ),
            got=found.backup.release,
            fix="back the store up, then run the drill again; to prove an older one, name it with --backup",
        )


def _said(record: Record) -> str:
    return f"{record.seq}: {record.run.command or record.run.by}"


def contents(seen: Sequence[Observed]) -> Check:
    """Everything was read again and has the bytes that its documents state."""
    counts: dict[str, int] = {}
    for one in seen:
        counts[one.address.kind] = counts.get(one.address.kind, 0) + 1
    evidence = ", ".join(f"{count} of kind {kind}" for kind, count in sorted(counts.items())) or "nothing"
    listed = [
        one
        for one in seen
        if one.address.kind == "dataset" and "entry" in one.slots and "artifact" not in one.slots
    ]
    absent = [
        Problem(code="E_ARTIFACT_MISSING", path=str(one.address), message="it is listed, and not there")
        for one in listed
    ]
    broken = [problem for one in seen for problem in one.problems]
    return judged("contents-hash-true", (f"{evidence}, every byte read",), (*absent, *broken))


def heads(seen: Sequence[Observed], records: Iterable[Record], shape: Shape) -> Check:
    """What the ledger left in the store is what came back, slot by slot."""
    live = {one.address: one.slots for one in seen}
    compared = 0
    problems = []
    for address, slots in sorted(ledger_state(records).items()):
        if shape.derived(address):
            continue
        for slot, value in slots.items():
            compared += 1
            found = live.get(address, NOTHING).get(slot)
            if found != value:
                problems.append(
                    Problem(
                        code="E_DRILL_RECORDED",
                        message=f"its {slot} is not what the ledger says ({value})",
                        path=str(address),
                        got=str(found),
                        fix="somebody wrote past the ledger before the backup; 'reconciler drift' shows it",
                    )
                )
    return judged("heads-as-recorded", (f"{compared} slots compared with the ledger",), problems)


def policy(governance: Mapping[str, bytes]) -> Check:
    """The rollback policy is there and says how far back one may go."""
    data = governance.get(ROLLBACK_POLICY)
    if data is None:
        return judged("rollback-policy", (), (_no_policy("the commit has no such file"),))
    try:
        document = parse_strict(data, where=ROLLBACK_POLICY)
        depth, strategy = document["max_rollback_depth"], document["strategy"]
    except (InvalidInput, KeyError, TypeError):
        return judged("rollback-policy", (), (_no_policy("it cannot be read"),))
    if not isinstance(depth, int) or depth < 1 or not isinstance(strategy, str) or not strategy.strip():
        return judged("rollback-policy", (), (_no_policy("it states no depth or no strategy"),))
    evidence = f"strategy {strategy}, at most {depth} releases back, {sha256_digest(data)}"
    return judged("rollback-policy", (evidence,))


def rollback_depth(governance: Mapping[str, bytes]) -> int:
    """How many releases a rollback may go back; none where no policy can be read."""
    data = governance.get(ROLLBACK_POLICY, b"")
    try:
        depth = parse_strict(data, where=ROLLBACK_POLICY)["max_rollback_depth"]
    except (InvalidInput, KeyError, TypeError):
        return 0
    return depth if isinstance(depth, int) and depth > 0 else 0


def _no_policy(why: str) -> Problem:
    return Problem(
        code="E_DRILL_POLICY",
        message=f"no rollback policy is in force: {why}",
        path=ROLLBACK_POLICY,
        fix="commit it, with strategy and max_rollback_depth",
    )


def answered(answers: Answers) -> Check:
    """What readers ask was answered."""
    return judged("query-paths", (f"{answers.asked} questions: {answers.about}",), answers.problems)


def configuration(found: Found, files: Mapping[str, bytes], recovery: Recovery | None) -> Check:
    """The configuration files of the commit are those of the backup."""
    wanted = recovery.configuration if recovery is not None else ()
    problems = []
    for path in wanted:
        held = found.backup.configuration.get(path)
        stands = sha256_digest(files[path]) if path in files else None
        if held is None or held != stands:
            problems.append(
                Problem(
                    code="E_DRILL_CONFIGURATION",
                    message="the backup does not hold this configuration file as the commit has it",
                    path=path,
                    got=held,
                    fix="back the store up again",
                )
            )
    return judged("configuration", (f"{len(wanted)} files compared",), problems)


def duration(milliseconds: int, size: int, recovery: Recovery | None) -> Check:
    """The store was back within what was promised."""
    evidence = f"{milliseconds} ms for {size} bytes"
    if recovery is None or recovery.rto is None:
        return not_proved("time", f"{evidence}; no RTO is declared")
    if milliseconds <= recovery.rto * 1000:
        return judged("time", (f"{evidence}, the RTO is {span(recovery.rto)}",))
    problem = Problem(
        code="E_DRILL_TIME",
        message=f"it took longer than the RTO of {span(recovery.rto)}",
        path=recovery.place.path,
        line=recovery.place.line,
        got=f"{milliseconds} ms",
        fix="make restoring faster, or promise less",
    )
    return judged("time", (evidence,), (problem,))
