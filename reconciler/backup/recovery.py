"""The three questions of recovery planning, answered from what is declared and what an archive holds.

Where is the authoritative backup? How is the integrity of what readers find preserved or rebuilt? Which
checks prove that a restored store is ready? A question without an answer denies (exit 4), and so does a
newest verified backup that is older than the declared RPO: a plan that nobody can follow is none.

Values in, values out; the time is a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from reconciler.backup.archive import Found
from reconciler.backup.verify import Verified
from reconciler.errors import Problem
from reconciler.model import Recovery, public_location

SCHEMA: Final = "reconciler/recovery-plan/v1"

CHECKS: Final = {
    "backup-whole": "every object of the backup has the bytes of its name",
    "backup-age": "the backup is no older than the RPO",
    "restored": "everything came back into an empty place",
    "release-identity": "the restored ledger ends with the release that was expected",
    "contents-hash-true": "every listed dataset and registered manifest is there with its bytes",
    "heads-as-recorded": "catalog, aliases and tags are as the ledger says",
    "rollback-policy": "the rollback policy is in force",
    "rollback-rehearsed": "a rollback within its depth works on what was restored",
    "query-paths": "what readers ask is answered",
    "plan-empty": "git and the restored store agree at the commit of the release",
    "configuration": "the configuration files of the commit are in the backup",
    "time": "the store was back within the RTO",
    "server": "a live server is ready and serves the catalog",
}
"""The checks of a drill, in their order, and what each proves."""


class Drilled(NamedTuple):
    """What a report of a drill says: backup, release, when, whether no check failed, checks by verdict."""

    number: int
    release: str
    time: int
    proved: bool
    verdicts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What an archive was seen to hold of one store.

    Attributes:
        newest: the newest backup.
        verified: the newest backup that its last verification found whole, and that verification.
        drilled: the newest report of a drill.
        problems: why the archive could not be read.
    """

    newest: Found | None = None
    verified: tuple[Found, Verified] | None = None
    drilled: Drilled | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question with its answer; `problems` say what is missing."""

    question: str
    answer: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """The answers for one store."""

    store: str
    answers: tuple[Answer, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is missing."""
        return tuple(problem for answer in self.answers for problem in answer.problems)

    def to_json(self) -> dict[str, Any]:
        """The stable keys of one store."""
        return {
            "store": self.store,
            "questions": [
                {
                    "question": answer.question,
                    "answer": list(answer.answer),
                    "missing": [problem.to_json() for problem in answer.problems],
                }
                for answer in self.answers
            ],
        }


def recovery_plan(
    store: str, recovery: Recovery | None, sighting: Sighting, *, integrity: str, now: int
) -> RecoveryPlan:
    """Answer the three questions for one store.

    Args:
        store: its name.
        recovery: what git declares of its recovery.
        sighting: what the archive holds.
        integrity: how the store's adapter says that what readers find is preserved.
        now: Unix seconds.
    """
    return RecoveryPlan(
        store=store,
        answers=(
            Answer(
                question="where is the authoritative backup?",
                answer=tuple(_where(recovery, sighting, now)),
                problems=tuple(_where_missing(store, recovery, sighting, now)),
            ),
            Answer(
                question="how is catalog integrity preserved or rebuilt?",
                answer=tuple(_integrity(recovery, sighting, integrity)),
                problems=tuple(_integrity_missing(store, sighting)),
            ),
            Answer(
                question="which checks prove readiness?",
                answer=(*_checks(recovery), *_last_drill(sighting, now)),
                problems=tuple(_checks_missing(store, recovery)),
            ),
        ),
    )


def wanted_checks(recovery: Recovery | None) -> tuple[str, ...]:
    """The checks that prove readiness, in the order of a drill."""
    named = recovery.checks if recovery is not None and recovery.checks else tuple(CHECKS)
    return tuple(name for name in CHECKS if name in named)


def span(seconds: int) -> str:
    """A number of seconds as people say it."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            return f"{whole}{unit}" if not rest or unit == "d" else f"{whole}{unit} {span(rest)}"
    return f"{seconds}s"


def _where(recovery: Recovery | None, sighting: Sighting, now: int) -> Iterator[str]:
    if recovery is None or not recovery.backup:
        return
    location = recovery.backup["location"]
    shown = f"${location['env']}" if isinstance(location, dict) else public_location(location)
    yield f"in {shown}" + (f", {recovery.schedule}" if recovery.schedule else "")
    if sighting.verified is not None:
        found, verified = sighting.verified
        backup = found.backup
        old, ago = (span(max(0, now - then)) for then in (backup.time, verified.time))
        yield f"{backup.name}, release {backup.release}, {found.digest}"
        yield f"{old} old, verified {ago} ago: {backup.parts} parts, {backup.size} bytes"
    newest = sighting.newest
    if newest is not None and (sighting.verified is None or sighting.verified[0] != newest):
        yield f"{newest.backup.name} is newer, and was not verified or is not whole"


def _where_missing(store: str, recovery: Recovery | None, sighting: Sighting, now: int) -> Iterator[Problem]:
    if recovery is None:
        yield _missing(
            store, None, "no Recovery document names this store", "declare one, with backup, rto and rpo"
        )
        return
    if not recovery.backup:
        yield _missing(store, recovery, "the document names no backup location", "add backup: {location: …}")
        return
    yield from sighting.problems
    for name, value in (("schedule", recovery.schedule), ("rpo", recovery.rpo), ("rto", recovery.rto)):
        if not value:
            yield _missing(store, recovery, f"the document states no {name}", f"add {name}:")
    if sighting.problems:
        return
    if sighting.verified is None:
        yield _missing(
            store,
            recovery,
            "no backup of this store was verified and found whole",
            f"run 'reconciler backup create --verify --store {store}'",
        )
        return
    age = now - sighting.verified[0].backup.time
    if recovery.rpo is not None and age > recovery.rpo:
        yield Problem(
            code="E_RECOVERY_OLD",
            message=f"the newest verified backup of {store} is older than the RPO of {span(recovery.rpo)}",
            path=recovery.place.path,
            line=recovery.place.line,
            got=span(age),
            fix=f"run 'reconciler backup create --verify --store {store}', and see why the schedule did not",
        )


def _integrity(recovery: Recovery | None, sighting: Sighting, integrity: str) -> Iterator[str]:
    yield integrity
    if sighting.verified is not None:
        backup = sighting.verified[0].backup
        yield f"the backup holds the ledger up to record {backup.records} ({backup.ledger})"
    if recovery is not None and recovery.configuration:
        yield f"configuration: {', '.join(recovery.configuration)}"


def _integrity_missing(store: str, sighting: Sighting) -> Iterator[Problem]:
    if sighting.verified is not None and not sighting.verified[0].backup.records:
        yield _missing(
            store,
            None,
            "the backup holds no ledger record, so nothing says what is right",
            "apply, then back up",
        )


def _checks(recovery: Recovery | None) -> Iterator[str]:
    for name in wanted_checks(recovery):
        yield f"{name}: {CHECKS[name]}"


def _last_drill(sighting: Sighting, now: int) -> Iterator[str]:
    drilled = sighting.drilled
    if drilled is None:
        yield "no drill has been run yet"
        return
    verdict = "proved" if drilled.proved else "did not prove"
    yield f"the last drill, {span(max(0, now - drilled.time))} ago, {verdict} backup {drilled.number}"


def _checks_missing(store: str, recovery: Recovery | None) -> Iterator[Problem]:
    for name in recovery.checks if recovery is not None else ():
        if name not in CHECKS:
            yield _missing(store, recovery, f"there is no check {name}", f"one of {', '.join(CHECKS)}")


def _missing(store: str, recovery: Recovery | None, message: str, fix: str) -> Problem:
    return Problem(
        code="E_RECOVERY_MISSING",
        message=f"{store}: {message}",
        path=recovery.place.path if recovery is not None else "",
        line=recovery.place.line if recovery is not None else 0,
        fix=fix,
    )
