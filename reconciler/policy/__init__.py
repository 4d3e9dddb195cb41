"""Policy: pure rules over (plan, wish, observation) that return findings.

`judge` runs every rule of `RULES` in order; a rule that raises denies (`E_POLICY_ERROR`), because a gate
that fails must fail shut. Then the policy of the protected base says how severe a finding is, exceptions
turn those they are for into warnings, and what is wrong with a proposal is added: a change under review
never decides how it is judged. What protects readers (`FIXED`) can be neither lowered nor waived.

`policy_digest` names the rules and the files that judged a plan, so that a plan reviewed under one policy
is not applied under another. Rules never read a file, a clock or a store; what they need is in `Facts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from reconciler.canonical import canonical, sha256_digest
from reconciler.governance import ExceptionType, Exemption, Guards, Lineage, Proposal, Ruleset
from reconciler.model import Finding, Severity
from reconciler.plan import WHOLE_PLAN
from reconciler.policy.by_hand import BY_HAND, held
from reconciler.policy.control import frozen, out_of_order
from reconciler.policy.exceptions import about_exceptions, excused
from reconciler.policy.facts import Facts, Purpose, StoreFacts
from reconciler.policy.proposals import preview, proposal_findings
from reconciler.policy.rules import RULES

__all__ = [
    "FIXED",
    "RULES",
    "RULESET",
    "Facts",
    "Judgement",
    "Purpose",
    "StoreFacts",
    "evaluate",
    "judge",
    "judge_by_hand",
    "judge_collection",
    "policy_digest",
    "says",
]

ABOUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        ExceptionType.HOLD.value: "Something stays as it is live because a hold says so.",
        ExceptionType.SUSPENSION.value: "A store stays as it is live because a suspension says so.",
        "exception-expired": "An exception that is over has no effect.",
        "exception-unused": "An exception that a plan does not need invites another use.",
        "policy-mixed": "A change touches policy or desired state, never both.",
        "policy-proposed": "What the proposed policy would say; the protected base decides.",
        "store-proposed": "A store is opened only where the protected base declares it.",
    }
)
"""What is said of exceptions and proposals, not of the plan."""

FIXED: Final = frozenset(
    {
        "alias-target",
        "artifact-immutable",
        "dataset-published",
        "delete-budget",
        "empty-desired",
        "last-release",
        "manifest-available",
        "order",
        "policy-mixed",
        "protected",
        "protected-live",
        "removal-needs-tombstone",
        "store-proposed",
        "tag-immutable",
        "yanked-exists",
    }
)
"""What no policy lowers and no waiver covers: rules that protect readers, and those with an exception of
their own."""

RULESET: Final = Ruleset(known=frozenset({*ABOUT, *RULES}), fixed=FIXED)


class Judgement(NamedTuple):
    """What policy says of a plan, denials first, and the exceptions that it fell under."""

    findings: tuple[Finding, ...]
    used: frozenset[Exemption]


def judge(facts: Facts, proposal: Proposal | None = None) -> Judgement:
    """Judge a plan by the guards of the protected base.

    Args:
        facts: the plan, the wish, the observation and those guards.
        proposal: what the planned commit says about policy; it decides nothing.
    """
    judged = _judged(facts)
    findings = [*judged.findings, *proposal_findings(proposal, facts.desired)]
    if proposal is not None and proposal.policy:
        proposed = _judged(replace(facts, guards=proposal.guards))
        findings += preview(judged.findings, proposed.findings)
    return Judgement(_ordered(findings), judged.used)


def judge_by_hand(facts: Facts) -> tuple[Finding, ...]:
    """What policy says of a write by hand, which its facts give as a plan that nothing was surveyed for."""
    found = (finding for rule in BY_HAND for finding in _run(rule, facts))
    return _ordered([*_excused(found, facts.guards, facts.now), *held(facts)])


def judge_collection(guards: Guards, store: str, lineage: Lineage | None, now: int) -> tuple[Finding, ...]:
    """What policy says of collecting garbage now, at a commit; what must stay is for its roots."""
    found = [*frozen(guards, store, now)]
    if lineage is not None:
        found += out_of_order(store, lineage, Purpose.APPLY)
    return _ordered(_excused(found, guards, now))


def _excused(found: Iterable[Finding], guards: Guards, now: int) -> list[Finding]:
    in_force = [one for one in guards.exceptions if not one.expired(now)]
    return excused([_graded(finding, guards) for finding in found], in_force)[0]


def evaluate(facts: Facts) -> tuple[Finding, ...]:
    """What the rules say of a plan; denials first, then by rule and subject."""
    return judge(facts).findings


def _judged(facts: Facts) -> Judgement:
    guards = facts.guards
    found = [_graded(finding, guards) for rule in RULES for finding in _run(rule, facts)]
    in_force = [one for one in guards.exceptions if not one.expired(facts.now)]
    findings, used = excused(found, in_force)
    about = (_graded(finding, guards) for finding in about_exceptions(facts, used))
    return Judgement(_ordered([*findings, *about]), used)


def _graded(finding: Finding, guards: Guards) -> Finding:
    """A finding as severe as the policy says."""
    severity = guards.severities.get(finding.rule, finding.severity)
    fixed = finding.rule in FIXED or finding.code == "E_POLICY_ERROR"
    return finding if fixed or severity is finding.severity else replace(finding, severity=severity)


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (f.severity is not Severity.DENY, f.rule, f.subject)))


def _run(rule: str, facts: Facts) -> tuple[Finding, ...]:
    try:
        return tuple(RULES[rule](facts))
    except Exception as error:  # noqa: BLE001 - whatever a rule throws, the answer is no
        return (
            Finding(
                rule=rule,
                severity=Severity.DENY,
                subject=WHOLE_PLAN,
                message=f"the rule failed to decide ({type(error).__name__}), which denies",
                code="E_POLICY_ERROR",
                fix="report this as a bug",
            ),
        )


def policy_digest(guards: Guards) -> str:
    """The digest of the rules in force and of every file that guards."""
    return sha256_digest(canonical({"rules": sorted(RULES), "files": dict(guards.files)}))


def says(rule: str) -> str:
    """What a rule protects, in one sentence."""
    return ABOUT[rule] if rule in ABOUT else (RULES[rule].__doc__ or "").partition("\n")[0]
