"""Writing by hand: observe, decide, commit through the port, and say what was done.

A write observes only the addresses concerned, lets the operation decide what must change, and commits the
steps of the store's own shape. So lock, integrity, ledger, alias binding and crash recovery are those of
`apply`. A run that a killed process left open is finished first. Nothing to change writes nothing. Where
another writer was faster, the operation decides again from what stands there then, at most five times.

By-hand records create no ownership: what was written shows as drift until git agrees.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.cli.byhand import Hand, dataset_of
from reconciler.cli.byhand_policy import refuse_denied
from reconciler.cli.console import Console
from reconciler.cli.packets import keep_packets
from reconciler.cli.workspace import TOOL, source_date_epoch
from reconciler.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    OutcomeUnknown,
    PartlyApplied,
    Problem,
    ReconcilerError,
    Unavailable,
)
from reconciler.ledger import Run
from reconciler.model import (
    NOTHING,
    Address,
    Change,
    Depth,
    Observed,
    Outcome,
    Slots,
    Step,
    StepResult,
)
from reconciler.render.byhand import Written, written_text

_ATTEMPTS = 5
_IN_COMMAND = (
    "dataset",
    "store_root",
    "store",
    "source_root",
    "catalog",
    "pack",
    "expect",
    "expect_sha256",
    "move_alias_to",
    "drop_alias",
    "drop_aliased",
    "drop_last",
    "line",
    "name",
    "version",
    "index",
    "registry",
    "copy_to",
)
"""The options that the ledger's command line repeats; none of them can carry a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intention:
    """What an operation wants to change, given what stands there.

    `whole` is the name of the one step that all catalog changes then are; `base` is the digest that the
    catalog must still have (empty: there must be none).
    `said` is the sentence for the case that nothing has to change.
    """

    changes: tuple[Change, ...]
    said: str
    sources: Mapping[Address, str] = field(default_factory=dict)
    base: str | None = None
    whole: str | None = None
    notes: tuple[str, ...] = ()


Decide = Callable[[Mapping[Address, Observed]], Intention]


def slots_of(live: Mapping[Address, Observed], address: Address) -> Slots:
    """The slots seen at an address."""
    seen = live.get(address)
    return NOTHING if seen is None else seen.slots


def changes_to(address: Address, live: Slots, wanted: Slots) -> tuple[Change, ...]:
    """The changes that give an address some slots; slots that are not named stay."""
    return tuple(
        Change(address, slot, live.get(slot), value)
        for slot, value in wanted.items()
        if live.get(slot) != value
    )


def carry_out(
    args: argparse.Namespace,
    console: Console,
    hand: Hand,
    *,
    addresses: Iterable[Address] | None,
    decide: Decide,
    depth: Depth = Depth.MANIFESTS,
) -> Written:
    """Observe, decide and commit; a dry run stops after deciding.

    Raises:
        Conflict: E_CONFLICT, another writer was faster five times; E_LOCKED.
        ReconcilerError: the operation or the store refuses, or a step did not land.
    """
    wanted = None if addresses is None else frozenset(addresses)
    if not args.dry_run:
        _finish_open_run(console, hand)
    for attempt in range(1, _ATTEMPTS + 1):
        live = hand.observe(wanted, depth)
        intention = decide(live)
        steps = _steps(hand, intention)
        seen = {address: one.slots for address, one in live.items()}
        refuse_denied(hand.workspace, hand.target, steps, seen)
        if args.dry_run:
            return Written(
                status="dry-run", said=intention.said, steps=steps, results=(), notes=intention.notes
            )
        if not steps:
            keep_packets(hand.opened, console)  # of a run that was finished, or killed before its packet
            return Written(
                status="unchanged", said=intention.said, steps=(), results=(), notes=intention.notes
            )
        try:
            results = hand.opened.store.commit(steps, run_of(args))
        except Conflict as conflict:
            if conflict.code != "E_CONFLICT" or intention.base is not None or attempt == _ATTEMPTS:
                raise
            continue
        keep_packets(hand.opened, console)
        check_landed(results)
        return Written(
            status="done", said=intention.said, steps=steps, results=results, notes=intention.notes
        )
    raise AssertionError  # the last attempt returned or raised


def _steps(hand: Hand, intention: Intention) -> tuple[Step, ...]:
    """The steps of the store's own shape; the catalog's as one, if the whole file is replaced."""
    steps = hand.opened.shape.arrange(hand.name, intention.changes, intention.sources)
    if intention.whole is None:
        return tuple(steps)
    others = [step for step in steps if step.unit != "catalog"]
    changes = tuple(change for step in steps if step.unit == "catalog" for change in step.changes)
    replaced = Step(
        id=intention.whole,
        store=hand.name,
        unit="catalog",
        changes=changes,
        after=tuple(step.id for step in others),
        base=intention.base,
    )
    lead = (replace(step, after=()) for step in others)
    return (*lead, replaced) if changes else tuple(steps)


def _finish_open_run(console: Console, hand: Hand) -> None:
    """Finish the run of a process that was killed and remove what it left; nothing open costs nothing."""
    results = hand.opened.store.recover() or ()
    if results:
        console.note(f"{hand.name}: finished a run that was stopped before its end")
    for result in results:
        console.note(f"{hand.name}  {result.outcome.value:<11} {result.step}")


_FAILURES: Mapping[Outcome, type[ReconcilerError]] = {
    Outcome.CONFLICT: Conflict,
    Outcome.FAILED: Unavailable,
    Outcome.UNKNOWN: OutcomeUnknown,
    Outcome.DIVERGED: Corrupt,
}


def check_landed(results: Sequence[StepResult]) -> None:
    """Turn a step that did not land into the error of its class."""
    failed = next((result for result in results if result.outcome is not Outcome.APPLIED), None)
    if failed is None:
        return
    landed = [result.step for result in results if result.outcome is Outcome.APPLIED]
    before = f"; applied before it: {', '.join(landed)}" if landed else ""
    problem = Problem(
        code="E_STEP",
        message=f"the outcome of step '{failed.step}' is: {failed.outcome.value}{before}",
        fix="run the same command again",
    )
    error = _FAILURES.get(failed.outcome, InvalidInput)
    if landed and error is not Corrupt:
        error = PartlyApplied
    raise error((*failed.problems, problem))


def run_of(args: argparse.Namespace) -> Run:
    """What the ledger says of an operation by hand."""
    return Run(
        by="hand",
        time=source_date_epoch(),
        tool=TOOL,
        reason=args.reason,
        command=command_line(args),
    )


def command_line(args: argparse.Namespace) -> str:
    """The command as the ledger keeps it: the operation, its dataset and its known options."""
    words = ["reconciler", args.command, args.operation]
    words += (str(getattr(args, name)) for name in ("path", "reference") if getattr(args, name, None))
    if any(getattr(args, name, None) is not None for name in ("id", "release")):
        words.append(str(dataset_of(args)))
    for name in _IN_COMMAND:
        value = getattr(args, name, None)
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value:
            words += [flag, *([str(item) for item in value] if isinstance(value, list) else [str(value)])]
    return shlex.join(words)


def answer_written(
    console: Console, hand: Hand, written: Written, schema: str, subject: Mapping[str, Any]
) -> None:
    """Print what a write by hand did; `subject` is what the document says of its object."""
    console.answer(
        lambda: _written_json(schema, written, hand, subject),
        lambda: written_text(hand.opened.shape, written),
    )


def _written_json(schema: str, written: Written, hand: Hand, subject: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON document of a write by hand."""
    outcomes = {result.step: result for result in written.results}
    return {
        "schema": schema,
        **subject,
        "status": written.status,
        "changes": [
            {
                "address": str(change.address),
                "step": step.id,
                "verb": hand.opened.shape.verb(change.address.kind, change.slot, change.before, change.after),
                "slot": change.slot,
                "before": change.before,
                "after": change.after,
            }
            for step in written.steps
            for change in step.changes
        ],
        "steps": [
            {
                "id": step.id,
                "unit": step.unit,
                "outcome": outcomes[step.id].outcome.value if step.id in outcomes else "not started",
                "receipt": outcomes[step.id].receipt if step.id in outcomes else "",
            }
            for step in written.steps
        ],
        "notes": list(written.notes),
    }
