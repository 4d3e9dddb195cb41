"""I21 and T2: what a change says about policy decides nothing about how the change is judged."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from reconciler.apply import denied
from reconciler.governance import (
    Budget,
    ExceptionType,
    Exemption,
    Freeze,
    Governance,
    Guards,
    Ownership,
    PromotionRules,
    Proposal,
)
from reconciler.model import Finding, Place, Severity
from reconciler.policy import RULES, judge
from reconciler.policy.proposals import preview
from tests.unit.policy.scenes import NOW, at, facts_of, gone, human, latest, listed, live, mouse, whole

ABOUT = {"policy-mixed", "policy-proposed", "store-proposed"}
KEYS = [human(110), human(111), human(112), mouse(110), mouse(111)]
SUBJECTS = ["m", "m/dataset", "m/dataset/*", "m/alias/latest", str(at(human(110)))]
LOWERED = sorted(RULES)

exemptions = st.builds(
    Exemption,
    type=st.sampled_from(ExceptionType),
    rule=st.sampled_from(LOWERED),
    subject=st.sampled_from(SUBJECTS),
    owner=st.just("data"),
    reason=st.just("because"),
    expires=st.sampled_from([NOW - 1, NOW + 1]),
    count=st.integers(0, 3),
    place=st.just(Place("exception.yaml", 1, 1)),
)
budgets = st.builds(Budget, count=st.integers(0, 3), percent=st.integers(0, 100))
policies = st.builds(
    Guards,
    severities=st.dictionaries(st.sampled_from(LOWERED), st.sampled_from(Severity), max_size=4),
    budgets=st.dictionaries(st.sampled_from(["delete", "update", "retarget"]), budgets, min_size=3),
    freezes=st.lists(
        st.just(Freeze(name="f", reason="r", stores=frozenset(), starts=NOW - 9, ends=NOW + 9)), max_size=1
    ).map(tuple),
    owners=st.lists(st.just(Ownership(pattern="*", owners=frozenset({"data"}))), max_size=1).map(tuple),
    protected=st.lists(st.sampled_from(SUBJECTS), max_size=2).map(tuple),
    governance=st.builds(
        Governance,
        promotion=st.builds(PromotionRules, in_manifest=st.booleans(), in_pins=st.booleans()),
        rollback_depth=st.sampled_from([None, 1, 3]),
        release_lines=st.integers(0, 3),
    ),
    exceptions=st.lists(exemptions, max_size=3).map(tuple),
)
kept = st.lists(st.sampled_from(KEYS), min_size=1, unique=True)


def without_proposals(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.rule not in ABOUT]


@given(before=kept, after=kept, base=policies, proposed=policies, wishes=st.sampled_from([(), ("c.yaml",)]))
def test_for_every_change_of_policy_and_desired_state_the_verdict_is_that_of_the_base(
    before: list[str], after: list[str], base: Guards, proposed: Guards, wishes: tuple[str, ...]
) -> None:
    """T2: for all (policy change, desired change) pairs in one change, the verdict is the base policy's."""
    desired = [*(listed(key) for key in after), *(gone(key) for key in before if key not in after)]
    store = facts_of(live(before, before[0]), [*desired, latest(after[0])])
    facts = whole(store, guards=base)
    alone = judge(facts).findings
    proposal = Proposal(policy=("p.yaml",), wishes=wishes, stores=(), guards=proposed)
    together = judge(facts, proposal).findings
    assert without_proposals(together) == list(alone)
    mixed = [finding.code for finding in together if finding.rule == "policy-mixed"]
    assert mixed == (["E_POLICY_MIXED"] if wishes else [])
    assert (denied(together) is None) == (denied(alone) is None and not wishes)


@given(now=st.lists(st.sampled_from(LOWERED)), proposed=st.lists(st.sampled_from(LOWERED)))
def test_what_is_proposed_is_only_ever_a_warning(now: list[str], proposed: list[str]) -> None:
    def found(rules: list[str]) -> list[Finding]:
        return [Finding(rule=rule, severity=Severity.DENY, subject="m", message="no") for rule in rules]

    assert {finding.severity for finding in preview(found(now), found(proposed))} <= {Severity.WARN}
