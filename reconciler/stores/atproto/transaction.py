"""One run over a repository: intent, requests, outcome; and the end of a run that was killed.

Decides what every answer of the server means. Each step is one `applyWrites` that names the commit it
follows (`swapCommit`), so of two writers one loses and knows it. Whoever loses reads again: where the step's
records are still as they were, an unrelated record moved the head and the request is sent again; where
they are as wished, somebody else did the same; anything else is a conflict.

A lost answer, a timeout or a server fault leaves the outcome open. It is looked up, never assumed: the
repository is read and the records are compared. As wished is done; as before is sent again with the same
`swapCommit`, of which only one can land. What is still open at the end stays open in the ledger, and the
next run looks again.

A server that asks for patience is waited for, as long as it asks for less than `LONGEST_WAIT`; so is one that
said before how little the account may still spend (`reconciler.stores.atproto.budget`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

import orjson

from reconciler.canonical import sha256_digest
from reconciler.errors import Corrupt, OutcomeUnknown, Problem, ReconcilerError
from reconciler.failpoints import failpoint
from reconciler.ledger import Record, Run
from reconciler.model import Outcome, Step, StepResult
from reconciler.points import points_of
from reconciler.stores.atproto import preconditions
from reconciler.stores.atproto.budget import Budget, cost_of
from reconciler.stores.atproto.connection import NoAnswer, NotSent
from reconciler.stores.atproto.journal import Held
from reconciler.stores.atproto.login import Login
from reconciler.stores.atproto.repository import Head, Reading, Repository
from reconciler.stores.atproto.times import Times, times_of
from reconciler.stores.atproto.writes import (
    Standing,
    Wishes,
    Write,
    advanced,
    live_slots,
    standing,
    writes_of,
)
from reconciler.stores.atproto.xrpc import LONGEST_WAIT, MOST_WAITS, Pause, Refused, Xrpc, rate_budget
from reconciler.stores.serving.durable import unavailable

TRIES: Final = 8
HEAD: Final = "repository"
_APPLY: Final = "com.atproto.repo.applyWrites"
_FIRST_PAUSE: Final = 0.05


class _Landed(Enum):
    """What is known of the requests of a step so far."""

    NO = "no"
    PERHAPS = "perhaps"


@dataclass(slots=True, kw_only=True)
class Session:
    """What a run needs: the account, the right to write, and what stands.

    Attributes:
        reading: what stands, as far as this run knows.
        most: the points that may be spent in a day.
        budget: what the server lets the account still spend.
    """

    repository: Repository
    xrpc: Xrpc
    login: Login
    wishes: Wishes
    held: Held | None
    pause: Pause
    progress: Callable[[str], None]
    most: int
    budget: Budget
    reading: Reading
    where: str = field(default="")

    @property
    def writer(self) -> Held:
        """The right to write; a session that only checks has none."""
        if self.held is None:
            raise AssertionError("this session may not write")
        return self.held

    @property
    def did(self) -> str:
        """The account."""
        return self.repository.did


def revision_of(reading: Reading) -> str:
    """The store's revision at a reading."""
    return sha256_digest(reading.head.cid.encode("ascii"))


def commit(
    session: Session, seq: int, previous: str | None, steps: Sequence[Step], run: Run
) -> tuple[StepResult, ...]:
    """Check, record, do, verify, close.

    Raises:
        Conflict, Denied, InvalidInput, LimitExceeded, Unavailable: nothing was written.
        OutcomeUnknown: the intent may have been written; no step was started.
    """
    check(session, steps)
    record = _put_intent(session, seq, previous, steps, run)
    return _close(session, record, _do_all(session, record))


def check(session: Session, steps: Sequence[Step]) -> None:
    """Refuse a run that cannot be done, before anything is written.

    Raises:
        Conflict, Denied, InvalidInput, LimitExceeded, Unavailable: nothing was written.
    """
    reading = session.reading
    preconditions.check_before(steps, reading, revision_of(reading))
    preconditions.check_names(steps, reading)
    preconditions.check_references(steps, reading, session.wishes, session.repository.broken)
    preconditions.check_budget(steps, session.most, session.where)
    if steps:
        wait = session.budget.wait(points_of(steps[0].changes), time.time())
        if wait > LONGEST_WAIT:
            raise rate_budget(session.where, wait)
        session.login.require()


def recover(session: Session, record: Record) -> tuple[StepResult, ...]:
    """Finish the run of an open record, or as much of it as its records are at hand for.

    Raises:
        OutcomeUnknown: its end is still not known.
        Corrupt: E_DIVERGED, a step is neither as before nor as wished; the run is closed with that.
    """
    session.progress(f"finishing run {record.seq}, which was interrupted")
    results: list[StepResult] = []
    times = times_of(record.run.time, record.steps)
    for step in record.steps:
        if any(result.outcome is not Outcome.APPLIED for result in results):
            results.append(StepResult(step=step.id, outcome=Outcome.NOT_STARTED))
            continue
        results.append(_once_more(session, step, times))
    closed = _close(session, record, results)
    problems = [problem for result in closed for problem in result.problems]
    outcomes = {result.outcome for result in closed}
    if Outcome.UNKNOWN in outcomes:
        raise OutcomeUnknown(problems)
    if Outcome.DIVERGED in outcomes:
        raise Corrupt(problems)
    return closed


def _once_more(session: Session, step: Step, times: Times) -> StepResult:
    where = standing(session.reading, step)
    if where is Standing.ELSEWHERE:
        return _diverged(session, step)
    if where is not Standing.AFTER and not _at_hand(session, step):
        # Whoever plans next finds what is left; a run that is taken up again may only shrink.
        return StepResult(step=step.id, outcome=Outcome.NOT_STARTED)
    return _do_step(session, step, times)


def _at_hand(session: Session, step: Step) -> bool:
    try:
        writes_of(step, session.reading, session.wishes, times_of(0, ()))
        session.login.require()
    except ReconcilerError:
        return False
    return True


def _put_intent(session: Session, seq: int, previous: str | None, steps: Sequence[Step], run: Run) -> Record:
    ledger = session.writer.ledger
    try:
        return ledger.put_intent(seq, previous, run, steps, still_valid=session.writer.still_ours)
    except OSError as error:
        refusal = unavailable(error, session.where)
        try:
            stands = ledger.has_intent(seq, previous, run, steps)
        except ReconcilerError:
            stands = True
        if not stands:
            raise refusal from error
        raise OutcomeUnknown.of(
            "E_OUTCOME_UNKNOWN",
            f"run {seq} was recorded, perhaps not durably; no step was started",
            path=session.where,
            fix="apply again: the next run finishes this one",
        ) from error


def _do_all(session: Session, record: Record) -> list[StepResult]:
    results: list[StepResult] = []
    times = times_of(record.run.time, record.steps)
    for step in record.steps:
        if any(result.outcome is not Outcome.APPLIED for result in results):
            results.append(StepResult(step=step.id, outcome=Outcome.NOT_STARTED))
            continue
        if len(record.steps) > 1:
            session.progress(f"{step.id} of {len(record.steps)}")
        results.append(_do_step(session, step, times))
    return results


def _do_step(session: Session, step: Step, times: Times) -> StepResult:
    """Send a step until it is certain what became of it, or until that cannot be found out."""
    return _Sending(session, step, times).result()


class _Sending:
    """The requests of one step.

    Attributes:
        landed: whether a request was sent whose answer is not known.
    """

    def __init__(self, session: Session, step: Step, times: Times) -> None:
        self._session = session
        self._step = step
        self._times = times
        self._waits = 0
        self._landed = _Landed.NO
        self._problems: tuple[Problem, ...] = ()

    def result(self) -> StepResult:
        """Try, and look, until it is certain."""
        turn = 0
        while turn < TRIES:
            writes = writes_of(self._step, self._session.reading, self._session.wishes, self._times)
            if not writes:
                return self._done()
            if (refusal := self._paced(cost_of(writes))) is not None:
                return refusal
            wait = _FIRST_PAUSE * 2**turn * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            try:
                return self._answered(writes, self._send(writes))
            except Refused as refused:
                if refused.wait is not None and refused.status in {429, 503}:
                    if (refusal := self._patience(refused.wait, "the server asks for it")) is not None:
                        return refusal
                    continue
                finished = self._refused(refused)
            except NotSent as silent:
                self._problems = self._session.xrpc.silent(silent).problems
                finished = None
            except NoAnswer as silent:
                self._landed = _Landed.PERHAPS
                self._problems = self._session.xrpc.silent(silent).problems
                finished = self._look()
            except ReconcilerError as error:
                finished = self._not_done(error.problems)
            if finished is not None:
                return finished
            turn += 1
            if turn < TRIES:
                self._session.pause(wait)
        return self._given_up()

    def _send(self, writes: Sequence[Write]) -> dict[str, Any]:
        session = self._session
        body = orjson.dumps(
            {
                "repo": session.did,
                "swapCommit": session.reading.head.cid,
                "writes": [write.to_json() for write in writes],
            }
        )
        try:
            failpoint("pds.write.before")
            session.writer.still_ours()
        except OSError as error:
            raise unavailable(error, session.where) from error
        try:
            answer = session.login.authorised(lambda token: session.xrpc.procedure(_APPLY, body, token=token))
        finally:
            if session.xrpc.said:
                session.budget.spent(cost_of(writes), session.xrpc.said)
        try:
            failpoint("pds.write.answer")
        except OSError as error:
            raise NoAnswer(error.strerror) from error
        return answer

    def _answered(self, writes: Sequence[Write], answer: dict[str, Any]) -> StepResult:
        """The server did it: what it wrote must be what we computed."""
        session = self._session
        made = answer.get("commit")
        results = answer.get("results")
        head = Head(str(made.get("cid")), str(made.get("rev"))) if isinstance(made, dict) else Head("", "")
        cids = [str(one.get("cid", "")) for one in results] if isinstance(results, list) else []
        if not head.cid or cids != [write.cid for write in writes]:
            found = self._look()
            return found or self._unknown(session.xrpc.unusable("does not name what was written").problems)
        session.reading = advanced(session.reading, writes, head)
        session.repository.expect(session.reading, (write.key for write in writes))
        return self._done()

    def _refused(self, refused: Refused) -> StepResult | None:
        """What a refusal means; None to send it again."""
        problems = refused.unavailable(self._session.where).problems
        self._problems = problems
        if refused.error == "InvalidSwap":
            return self._look()
        if refused.doubtful:
            self._landed = _Landed.PERHAPS if refused.status != 500 else self._landed
            return self._look()
        if refused.status == 429:
            self._problems = rate_budget(self._session.where, refused.wait).problems
            return None
        if refused.status == 413:
            problems = (
                Problem(
                    code="E_RECORD_LIMIT",
                    message="the server does not take requests as large as this",
                    path=self._session.where,
                    fix="name fewer shards, or smaller metadata",
                ),
            )
        return self._not_done(problems)

    def _paced(self, points: int) -> StepResult | None:
        """Wait until the account may spend so many points, as far as the server said when that is."""
        wait = self._session.budget.wait(points, time.time())
        return self._patience(wait, f"{points} points are more than are left") if wait else None

    def _patience(self, asked: float, why: str) -> StepResult | None:
        session = self._session
        if asked > LONGEST_WAIT or self._waits == MOST_WAITS:
            return self._not_done(rate_budget(session.where, asked).problems)
        self._waits += 1
        until = time.time() + asked
        clock = time.strftime("%H:%M:%S", time.gmtime(until))
        session.progress(f"{self._step.id}: waits {asked:.0f} s, until {clock} UTC: {why}")
        session.pause(asked + random.uniform(0.0, 1.0))  # noqa: S311 - no secret
        session.budget.begun(until)
        return None

    def _look(self) -> StepResult | None:
        """Read the repository: done, somebody else's, or (None) as before, to be sent again."""
        session = self._session
        try:
            failpoint("pds.probe")
            session.reading = session.repository.read()
        except OSError as error:
            return self._unlooked(unavailable(error, session.where))
        except ReconcilerError as error:
            return self._unlooked(error)
        seen = standing(session.reading, self._step)
        if seen is Standing.AFTER:
            return self._done()
        if seen is Standing.ELSEWHERE or (seen is Standing.BETWEEN and self._landed is _Landed.NO):
            return self._conflict()
        return None

    def _unlooked(self, error: ReconcilerError) -> StepResult | None:
        """The repository cannot be read now: what is certain stays, what is not is unknown."""
        problems = (*self._problems, *error.problems)
        return self._unknown(problems)

    def _done(self) -> StepResult:
        head = self._session.reading.head
        return StepResult(step=self._step.id, outcome=Outcome.APPLIED, receipt=head.cid)

    def _conflict(self) -> StepResult:
        if self._landed is _Landed.PERHAPS:
            return _diverged(self._session, self._step)
        return StepResult(
            step=self._step.id,
            outcome=Outcome.CONFLICT,
            problems=(
                Problem(
                    code="E_CONFLICT",
                    path=self._session.where,
                    message=f"'{self._step.id}' found records that somebody else changed at the same time",
                    fix="plan again",
                ),
            ),
        )

    def _not_done(self, problems: tuple[Problem, ...]) -> StepResult:
        if self._landed is _Landed.PERHAPS:
            return self._unknown(problems)
        return StepResult(step=self._step.id, outcome=Outcome.FAILED, problems=problems)

    def _unknown(self, problems: tuple[Problem, ...]) -> StepResult:
        return StepResult(step=self._step.id, outcome=Outcome.UNKNOWN, problems=problems)

    def _given_up(self) -> StepResult:
        return self._not_done(self._problems)


def _diverged(session: Session, step: Step) -> StepResult:
    problems = tuple(
        Problem(
            code="E_DIVERGED",
            path=str(change.address),
            message=f"its {change.slot} is neither what was to be changed nor what was to be left",
            got=str(seen or "absent"),
            fix="another writer is at work; plan again",
        )
        for change in step.changes
        if (seen := live_slots(session.reading, change.address).get(change.slot))
        not in (change.before, change.after)
    )
    return StepResult(step=step.id, outcome=Outcome.DIVERGED, problems=problems)


def _close(session: Session, record: Record, results: list[StepResult]) -> tuple[StepResult, ...]:
    """Read back and close the record, unless a step's outcome is unknown."""
    if any(result.outcome is Outcome.UNKNOWN for result in results):
        return tuple(results)
    try:
        failpoint("pds.verify")
        session.reading = session.repository.read()
        results = _verified(session, record, results)
        heads = {HEAD: session.reading.head.cid}
        session.writer.ledger.put_outcome(record, results, heads, still_valid=session.writer.still_ours)
    except (OSError, ReconcilerError) as error:
        refusal = unavailable(error, session.where) if isinstance(error, OSError) else error
        if not results:
            raise OutcomeUnknown(refusal.problems) from error
        problems = (*results[-1].problems, *refusal.problems)
        results[-1] = replace(results[-1], outcome=Outcome.UNKNOWN, problems=problems)
    return tuple(results)


def _verified(session: Session, record: Record, results: Sequence[StepResult]) -> list[StepResult]:
    """The results; a step whose last word on a slot is not what stands there has diverged."""
    landed = {result.step for result in results if result.outcome is Outcome.APPLIED}
    last = {
        (change.address, change.slot): step.id
        for step in record.steps
        if step.id in landed
        for change in step.changes
    }
    lost: dict[str, StepResult] = {}
    for step in record.steps:
        ours = tuple(c for c in step.changes if last.get((c.address, c.slot)) == step.id)
        if ours and standing(session.reading, replace(step, changes=ours)) is not Standing.AFTER:
            lost[step.id] = _diverged(session, replace(step, changes=ours))
    return [lost.get(result.step, result) for result in results]
