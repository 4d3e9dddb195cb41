"""What a packet proves, on one screen."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.errors import escaped
from reconciler.evidence.packet import release_name
from reconciler.evidence.verification import Check, Proof


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
    lines += _check_lines(proof.checks)
    lines.append(f"{where}: {'verified' if proof.whole else 'does NOT verify'}")
    return "\n".join(lines)


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
