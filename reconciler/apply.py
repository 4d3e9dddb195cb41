"""Apply: hand each store its steps in plan order, observe again, and say what became of every step.

It refuses before the first write when policy denies. After a store's commit it reads the changed
addresses again: what is seen must be what was planned, else the step has *diverged* and everything
stops. It never repairs, retries or cleans up: a new plan does.

Stores come in through the port and answers go out as values; nothing is printed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reconciler.errors import (
    Conflict,
    Denied,
    Exit,
    InvalidInput,
    LimitExceeded,
    OutcomeUnknown,
    Problem,
    ReconcilerError,
)
from reconciler.ledger import Run
from reconciler.model import NOTHING, Finding, Outcome, Selection, Severity, Step, StepResult
from reconciler.plan import Plan, StorePlan
from reconciler.stores.port import Store

SCHEMA = "reconciler/apply/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One step of one store and what became of it."""

    store: str
    step: Step
    result: StepResult


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What an apply did, step by step in plan order; `recorded` names the stores that got a record."""

    items: tuple[Applied, ...]
    recorded: tuple[str, ...]

    @property
    def exit_code(self) -> Exit:
        """How the program ends after this."""
        outcomes = {item.result.outcome for item in self.items}
        if outcomes <= {Outcome.APPLIED}:
            return Exit.DONE
        if Outcome.DIVERGED in outcomes:
            return Exit.CORRUPT
        if Outcome.UNKNOWN in outcomes:
            return Exit.UNKNOWN
        return Exit.PARTLY if Outcome.APPLIED in outcomes else Exit.UNAVAILABLE


def denied(findings: tuple[Finding, ...]) -> Denied | LimitExceeded | None:
    """The error for the findings that deny, or None; where only a safety limit denies, that of a limit."""
    problems = [
        Problem(
            code=finding.code or "E_DENIED",
            path=finding.place.path if finding.place else "",
            line=finding.place.line if finding.place else 0,
            message=f"{finding.rule}: {finding.subject}: {finding.message}",
            fix=finding.fix,
        )
        for finding in findings
        if finding.severity is Severity.DENY
    ]
    if problems and all(problem.code == "E_RATE_BUDGET" for problem in problems):
        return LimitExceeded(problems)
    return Denied(problems) if problems else None


def apply_plan(plan: Plan, stores: Mapping[str, Store], run_of: Callable[[StorePlan], Run]) -> ApplyReport:
    """Do what the plan says, store by store, and stop at the first thing that is not as planned.

    Args:
        plan: recomputed just before; its findings decide.
        stores: the open stores by name.
        run_of: what the ledger record of a store says of this run; what is adopted comes from the plan.

    Raises:
        Denied: policy denies; nothing was written.
        ReconcilerError: the first store refused before anything was written.
    """
    refusal = denied(plan.findings)
    if refusal:
        raise refusal
    items: list[Applied] = []
    recorded: list[str] = []
    started = stopped = False
    for part in plan.stores:
        if not part.steps and not part.adopted:
            continue
        if stopped:
            results = _all(part, Outcome.NOT_STARTED)
        else:
            run = replace(run_of(part), adopted=part.adopted)
            results, landed = _commit(part, stores[part.config.name], run, first=not started)
            started = True
            recorded += [part.config.name] if landed else []
        items += [
            Applied(store=part.config.name, step=step, result=result)
            for step, result in zip(part.steps, results, strict=True)
        ]
        stopped = stopped or any(result.outcome is not Outcome.APPLIED for result in results)
    return ApplyReport(tuple(items), tuple(recorded))


def _all(part: StorePlan, outcome: Outcome, problems: tuple[Problem, ...] = ()) -> tuple[StepResult, ...]:
    return tuple(StepResult(step=step.id, outcome=outcome, problems=problems) for step in part.steps)


def _commit(part: StorePlan, store: Store, run: Run, *, first: bool) -> tuple[tuple[StepResult, ...], bool]:
    """What became of one store's steps, and whether its ledger got a record."""
    try:
        results = store.commit(part.steps, run)
    except ReconcilerError as error:
        if first:
            raise
        return _all(part, _outcome_of(error), error.problems), False
    return _observed_again(part, store, results), True


def _outcome_of(error: ReconcilerError) -> Outcome:
    if isinstance(error, Conflict):
        return Outcome.CONFLICT
    if isinstance(error, Denied | InvalidInput):
        return Outcome.REFUSED
    return Outcome.UNKNOWN if isinstance(error, OutcomeUnknown) else Outcome.FAILED


def _observed_again(part: StorePlan, store: Store, results: tuple[StepResult, ...]) -> tuple[StepResult, ...]:
    """Read every address that an applied step changed; a slot that is not as planned has diverged."""
    landed = {result.step for result in results if result.outcome is Outcome.APPLIED}
    final = {
        (change.address, change.slot): (change.after, step.id)
        for step in part.steps
        if step.id in landed
        for change in step.changes
    }
    if not final:
        return results
    addresses = frozenset(address for address, _ in final)
    try:
        live = {seen.address: seen.slots for seen in store.snapshot(Selection(addresses=addresses))}
    except ReconcilerError as error:
        return tuple(
            replace(result, outcome=Outcome.UNKNOWN, problems=error.problems)
            if result.step in landed
            else result
            for result in results
        )
    lost: dict[str, list[Problem]] = {}
    for (address, slot), (after, step) in final.items():
        seen = live.get(address, NOTHING).get(slot)
        if seen != after:
            lost.setdefault(step, []).append(
                Problem(
                    code="E_DIVERGED",
                    path=str(address),
                    message=f"after the write its {slot} is not what was planned",
                    got=str(seen),
                    fix="another writer is at work that takes no lock; stop it and plan again",
                )
            )
    return tuple(
        replace(result, outcome=Outcome.DIVERGED, problems=tuple(lost[result.step]))
        if result.step in lost
        else result
        for result in results
    )
