"""One run over a store: intent, steps, outcome; and the recovery of a run that was killed.

Decides what is written to the ledger and what a fault means. The intent is put first, the steps follow in
order, each is read back, and the outcome closes the record. A fault inside a step is followed by a look
at the store, never by cleaning up: as before means *failed*, anything else means *unknown*, and then the
record stays open for the next run, which finishes it.

A recovered run can only shrink: each step that is as wanted is made durable, each that is as before is
done, and one that is neither has diverged and stops the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum

from reconciler.errors import Conflict, Corrupt, OutcomeUnknown, Problem, ReconcilerError
from reconciler.failpoints import failpoint
from reconciler.gc import Collected, Judge
from reconciler.ledger import Record, Run
from reconciler.model import DatasetId, Outcome, Step, StepResult
from reconciler.stores.serving import collect as garbage
from reconciler.stores.serving.catalog import CATALOG_DIGEST
from reconciler.stores.serving.durable import QUARANTINE, sync_directory, unavailable
from reconciler.stores.serving.edits import Again, do_step
from reconciler.stores.serving.files import read_file
from reconciler.stores.serving.heads import head_digests
from reconciler.stores.serving.order import ALIAS, ARTIFACT, LATEST
from reconciler.stores.serving.preconditions import (
    check_before,
    check_references,
    prepare,
    promotable,
    publications,
)
from reconciler.stores.serving.publish import is_staged, settle, verify
from reconciler.stores.serving.rebuild import is_rebuild, put_aside
from reconciler.stores.serving.session import Session


class Standing(Enum):
    """Where the live values of a step's changes are."""

    BEFORE = "before"
    AFTER = "after"
    BETWEEN = "between"
    ELSEWHERE = "elsewhere"


def commit(session: Session, previous: str | None, steps: Sequence[Step], run: Run) -> tuple[StepResult, ...]:
    """Check, record, do, verify, close.

    Raises:
        Conflict, Corrupt, Denied, InvalidInput, Unavailable: nothing was written.
        OutcomeUnknown: E_OUTCOME_UNKNOWN, the intent may have been written, no step was started.
    """
    try:
        failpoint("fs.read_base")
        heads = session.heads()
        read_file(session.root, CATALOG_DIGEST, where=session.where)  # found unreadable now, not half way
        check_before(
            steps,
            lambda address, slots: session.slots(address, heads, slots),
            base=heads.digests.get("catalog", ""),
        )
        prepare(session, steps, run.time)
        check_references(steps, heads, lambda dataset: promotable(session, dataset))
    except (OSError, ReconcilerError) as error:
        session.clean()
        raise _refusal(error, session.where) from error
    record = _put_intent(session, previous, steps, run)
    return _close(session, record, _do_all(session, record, _first_time))


def rebuild(
    session: Session, previous: str | None, steps: Sequence[Step], run: Run
) -> tuple[tuple[StepResult, ...], tuple[str, ...]]:
    """Record and do a rebuild that was planned under this lock: the results, and what was put aside.

    Raises:
        Conflict, Unavailable: nothing was written.
        OutcomeUnknown: the intent may have been written.
    """
    record = _put_intent(session, previous, steps, run)
    aside = put_aside(session, steps)
    return _close(session, record, _do_all(session, record, _first_time)), aside


def collect(session: Session, previous: str | None, store: str, judge: Judge, run: Run) -> Collected:
    """Judge what stands under this lock, record and move what is garbage; then delete expired trash.

    Raises:
        Conflict, Corrupt, LimitExceeded, Unavailable: nothing was removed.
        OutcomeUnknown: the intent may have been written.
    """
    failpoint("fs.gc.recheck")
    found = garbage.holdings(session.root, session.where, store, session.heads())
    steps = garbage.steps_of(store, judge(found))
    # Before the run: what it removes now stays in the trash for its whole grace period.
    garbage.delete_expired(session, found.expired)
    if not steps:
        return Collected((), found.expired)
    record = _put_intent(session, previous, steps, run)
    return Collected(_close(session, record, _do_all(session, record, _first_time)), found.expired)


def abandon(session: Session, record: Record) -> None:
    """Close a run that cannot be finished because the heads it needs are broken: it has diverged."""
    results = [StepResult(step=step.id, outcome=Outcome.DIVERGED) for step in record.steps]
    session.sweep()
    digests = head_digests(session.root, session.where)
    session.ledger.put_outcome(record, results, digests, still_valid=session.still_ours)


def recover(session: Session, record: Record) -> tuple[StepResult, ...]:
    """Finish the run of an open record."""
    session.progress(f"finishing run {record.seq}, which was interrupted")
    sync_directory(session.root, QUARANTINE)  # what it put aside before it was killed
    if is_rebuild(record.steps):
        put_aside(session, record.steps)
    return _close(session, record, _do_all(session, record, _once_more))


def _refusal(error: OSError | ReconcilerError, where: str) -> ReconcilerError:
    return unavailable(error, where) if isinstance(error, OSError) else error


def _put_intent(session: Session, previous: str | None, steps: Sequence[Step], run: Run) -> Record:
    try:
        return session.ledger.put_intent(session.seq, previous, run, steps, still_valid=session.still_ours)
    except Conflict:
        session.clean()
        raise
    except OSError as error:
        refusal = unavailable(error, f"{session.where}/.reconciler/ledger")
        try:
            stands = session.ledger.has_intent(session.seq, previous, run, steps)
        except ReconcilerError:
            stands = True
        if stands:
            raise OutcomeUnknown(
                Problem(
                    code="E_OUTCOME_UNKNOWN",
                    message=f"run {session.seq} was recorded, perhaps not durably; no step was started",
                    path=session.where,
                    fix="apply again: the next run finishes this one",
                )
            ) from error
        session.clean()
        raise refusal from error


_Do = Callable[[Session, Step, int], StepResult]


def _do_all(session: Session, record: Record, do: _Do) -> list[StepResult]:
    results: list[StepResult] = []
    for step in record.steps:
        if any(result.outcome is not Outcome.APPLIED for result in results):
            results.append(StepResult(step=step.id, outcome=Outcome.NOT_STARTED))
            continue
        session.progress(step.id)
        try:
            results.append(do(session, step, record.run.time))
        except (OSError, ReconcilerError) as error:
            results.append(_after_fault(session, step, error))
    return results


def _first_time(session: Session, step: Step, time: int) -> StepResult:
    do_step(session, step, time)
    return _read_back(session, step)


def _once_more(session: Session, step: Step, time: int) -> StepResult:
    standing = _standing(session, step)
    if garbage.collects(step) and standing is Standing.BEFORE:
        # Its roots may have changed since it was judged: a recovered collection removes nothing more.
        return StepResult(step=step.id, outcome=Outcome.NOT_STARTED)
    if garbage.collects(step) and standing is Standing.AFTER:
        garbage.settle_trash(session, step)
        return _read_back(session, step)
    if standing is Standing.ELSEWHERE:
        return StepResult(step=step.id, outcome=Outcome.DIVERGED, problems=tuple(_diverged(session, step)))
    if step.changes[0].slot != ARTIFACT:
        do_step(session, step, time, Again.REWRITE)
        return _read_back(session, step)
    dataset = DatasetId.parse(step.changes[0].address.key)
    if not is_staged(session.root, session.seq, dataset):
        if standing is Standing.AFTER:
            settle(session.root, dataset)
            return _read_back(session, step)
        prepare(session, (step,), time)
    do_step(session, step, time)
    return _read_back(session, step)


def _read_back(session: Session, step: Step) -> StepResult:
    problems = tuple(_diverged(session, step))
    for publication in () if garbage.collects(step) else publications((step,)):
        problems += verify(session.root, publication)
    outcome = Outcome.DIVERGED if problems else Outcome.APPLIED
    return StepResult(step=step.id, outcome=outcome, problems=problems)


def _diverged(session: Session, step: Step) -> list[Problem]:
    heads = session.heads()
    return [
        Problem(
            code="E_DIVERGED",
            message=f"its {change.slot} is not what was written",
            path=str(change.address),
            got=str(value),
            fix="another writer is at work that takes no lock; stop it and plan again",
        )
        for change in step.changes
        if (value := session.slots(change.address, heads, frozenset({change.slot})).get(change.slot))
        != change.after
    ]


def _standing(session: Session, step: Step) -> Standing:
    heads = session.heads()
    seen = set()
    for change in step.changes:
        value = session.slots(change.address, heads, frozenset({change.slot})).get(change.slot)
        if value == change.after:
            seen.add(Standing.AFTER)
        elif value == change.before:
            seen.add(Standing.BEFORE)
        else:
            return Standing.ELSEWHERE
    return seen.pop() if len(seen) == 1 else Standing.BETWEEN


def _after_fault(session: Session, step: Step, error: OSError | ReconcilerError) -> StepResult:
    """What a fault inside a step means, judged by what stands there now."""
    problems = _refusal(error, session.where).problems
    try:
        standing = _standing(session, step)
    except ReconcilerError as unreadable:
        problems += unreadable.problems
        return StepResult(step=step.id, outcome=Outcome.UNKNOWN, problems=problems)
    if standing is not Standing.BEFORE:
        return StepResult(step=step.id, outcome=Outcome.UNKNOWN, problems=problems)
    outcome = Outcome.CONFLICT if isinstance(error, Conflict) else Outcome.FAILED
    return StepResult(step=step.id, outcome=outcome, problems=problems)


def _close(session: Session, record: Record, results: list[StepResult]) -> tuple[StepResult, ...]:
    """Sweep and close the record, unless a step's outcome is unknown."""
    if any(result.outcome is Outcome.UNKNOWN for result in results):
        return tuple(results)
    try:
        session.still_ours()
        session.sweep()
        failpoint("fs.evidence")
        digests = session.heads().digests
        receipts = [_receipt(step, digests, record.seq) for step in record.steps]
        closed = [
            replace(result, receipt=receipt) if result.outcome is Outcome.APPLIED else result
            for result, receipt in zip(results, receipts, strict=True)
        ]
        session.ledger.put_outcome(record, closed, digests, still_valid=session.still_ours)
    except (OSError, ReconcilerError) as error:
        refusal = _refusal(error, session.where)
        if not results:
            raise OutcomeUnknown(refusal.problems) from error
        problems = (*results[-1].problems, *refusal.problems)
        results[-1] = replace(results[-1], outcome=Outcome.UNKNOWN, problems=problems)
        return tuple(results)
    return tuple(closed)


def _receipt(step: Step, digests: Mapping[str, str], seq: int) -> str:
    """The digest of what a step wrote, as the whole run left it: a killed run can find no other again."""
    first = step.changes[0]
    if garbage.collects(step):
        return garbage.trash_path(seq, DatasetId.parse(first.address.key))
    if first.slot == ARTIFACT:
        return str(first.after)
    if first.address.kind == ALIAS:
        return digests.get("alias" if first.address.key == LATEST else "aliases", "")
    return digests.get("catalog", "")


def not_finished(results: Sequence[StepResult], where: str) -> ReconcilerError | None:
    """The error for a recovered run whose end is not known or not as wanted, if it is so."""
    problems = [problem for result in results for problem in result.problems]
    outcomes = {result.outcome for result in results}
    if Outcome.UNKNOWN in outcomes:
        return OutcomeUnknown(problems or [_unfinished(where)])
    return Corrupt(problems) if Outcome.DIVERGED in outcomes else None


def _unfinished(where: str) -> Problem:
    return Problem(
        code="E_OUTCOME_UNKNOWN",
        message="an unfinished run could not be finished",
        path=where,
        fix="look at it",
    )
