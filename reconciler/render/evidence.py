"""What a packet proves, on one screen: what the release did, why, who approved it, and each check.

Everything but the words of this program comes from the packet, so it is shown escaped and cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from reconciler.errors import escaped
from reconciler.evidence.packet import release_name
from reconciler.evidence.verification import Check, Proof
from reconciler.ledger import Record
from reconciler.model import Change, Outcome, Value
from reconciler.plan import by_address, verb
from reconciler.render.text import short
from reconciler.shape import Shape

_FIRST, _LAST = 4, 2
"""So many changes fit on a screen beside the checks; what points at content comes last in every run."""


def proof_text(proof: Proof, where: str) -> str:
    """Which release it is, who answers for it, and each check with what it found."""
    lines = []
    if proof.index is not None:
        lines.append(f"{release_name(proof.index.store, proof.index.seq)}   {proof.index.release_id}")
    if proof.record is not None:
        run = proof.record.run
        said = (
            ("commit", run.commit),
            ("author", run.author),
            ("pull request", run.pull_request),
            ("approvers", ", ".join(run.approvers)),
            ("owner", run.owner),
            ("reason", run.reason),
            ("ticket", run.ticket),
            ("command", run.command),
        )
        lines += [f"  {name:<14} {escaped(text, 160)}" for name, text in said if text]
        lines += [f"  {'head':<14} {name} {digest}" for name, digest in sorted(proof.record.heads.items())]
        if proof.shape is not None:
            lines += _did_lines(proof.record, proof.shape)
    lines += _check_lines(proof.checks)
    lines.append(f"{where}: {'verified' if proof.whole else 'does NOT verify'}")
    return "\n".join(lines)


def _did(record: Record, shape: Shape) -> Iterator[tuple[str, Change]]:
    """What landed: the verb of each address of each step, and the change that leads it."""
    landed = {result.step for result in record.results or () if result.outcome is Outcome.APPLIED}
    for step in record.steps:
        if step.id in landed:
            for changes in by_address(step.changes).values():
                yield verb(shape, changes), changes[0]


def _did_lines(record: Record, shape: Shape) -> list[str]:
    lines = [
        f"  {what:<14} {escaped(change.address.key, 120)}   {_value(change.after)}"
        for what, change in _did(record, shape)
    ]
    if len(lines) > _FIRST + _LAST:
        between = f"  {'':<14} {len(lines) - _FIRST - _LAST} more"
        return [*lines[:_FIRST], between, *lines[-_LAST:]]
    return lines


def _value(value: Value | None) -> str:
    if value is None:
        return "gone"
    return short(escaped(value) if isinstance(value, str) else tuple(map(escaped, value)))


def record_json(proof: Proof) -> dict[str, Any] | None:
    """The stable keys of what a packet's record says; None where it cannot be read."""
    if proof.record is None:
        return None
    run = proof.record.run
    return {
        "by": run.by,
        "time": run.time,
        "commit": run.commit,
        "author": run.author,
        "pull_request": run.pull_request,
        "approvers": list(run.approvers),
        "owner": run.owner,
        "reason": run.reason,
        "ticket": run.ticket,
        "command": run.command,
        "heads": dict(proof.record.heads),
        "changes": [
            {"address": str(change.address), "verb": what, "slot": change.slot, "after": change.after}
            for what, change in (_did(proof.record, proof.shape) if proof.shape is not None else ())
        ],
    }


def checks_text(subject: str, checks: Sequence[Check]) -> str:
    """Each check of one store with what it found."""
    return "\n".join([subject, *_check_lines(checks)])


def _check_lines(checks: Sequence[Check]) -> list[str]:
    lines = []
    for check in checks:
        verdict = "proved" if check.proved else "WRONG" if check.problems else "not proved"
        said = check.said or (check.problems[0].message if check.problems else "")
        lines.append(f"  {check.name:<10} {verdict:<10} {escaped(said, 200)}".rstrip())
    return lines
