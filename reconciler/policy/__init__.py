"""Policy: pure rules over (plan, wish, observation) that return findings.

`evaluate` runs every rule of `RULES` in order; a rule that raises denies (`E_POLICY_ERROR`), because a
gate that fails must fail shut. `policy_digest` names the rules and the governance files that judged a
plan, so that a plan reviewed under one policy is not applied under another.

Rules never read a file, a clock or a store; what they need is in `Facts`.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.canonical import canonical, sha256_digest
from reconciler.model import Finding, Severity
from reconciler.policy.facts import Facts, StoreFacts
from reconciler.policy.rules import RULES

__all__ = ["RULES", "Facts", "StoreFacts", "evaluate", "policy_digest"]


def evaluate(facts: Facts) -> tuple[Finding, ...]:
    """What the rules say of a plan; denials first, then by rule and subject."""
    findings = [finding for rule in RULES for finding in _run(rule, facts)]
    findings.sort(key=lambda f: (f.severity is not Severity.DENY, f.rule, f.subject))
    return tuple(findings)


def _run(rule: str, facts: Facts) -> tuple[Finding, ...]:
    try:
        return tuple(RULES[rule](facts))
    except Exception as error:  # noqa: BLE001 - whatever a rule throws, the answer is no
        return (
            Finding(
                rule=rule,
                severity=Severity.DENY,
                subject="plan",
                message=f"the rule failed to decide ({type(error).__name__}), which denies",
                code="E_POLICY_ERROR",
                fix="report this as a bug",
            ),
        )


def policy_digest(governance: Mapping[str, bytes]) -> str:
    """The digest of the rules in force and of the governance files they read."""
    files = {path: sha256_digest(data) for path, data in governance.items()}
    return sha256_digest(canonical({"rules": sorted(RULES), "files": files}))
