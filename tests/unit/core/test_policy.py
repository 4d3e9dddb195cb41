"""Each rule denies what it is there to deny, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from reconciler.diff import difference
from reconciler.governance import Guards, Pins
from reconciler.model import (
    NOTHING,
    Address,
    Declaration,
    Depth,
    Desired,
    Finding,
    Observed,
    Place,
    Severity,
    Slots,
)
from reconciler.plan import store_plan
from reconciler.policy import RULES, Facts, StoreFacts, evaluate, policy_digest
from reconciler.policy.lines import touched
from reconciler.shape import Shape
from reconciler.stores.memory import SHAPE
from reconciler.stores.registry.order import SHAPE as REGISTRY_SHAPE
from tests.unit.core.values import DIGEST, LATEST, LISTED, OTHER, PUBLISHED, STORE, dataset, owned, seen, wish

HUMAN, NEWER, MOUSE = dataset(), dataset(111), dataset(species="mus_musculus", assembly="GRCm39")
AT_HUMAN: Slots = {"dataset": HUMAN.key, "binding": "catalog"}
AT_NEWER: Slots = {"dataset": NEWER.key, "binding": "catalog"}
SCOPE = Place("catalog.yaml", 4, 1)
KEPT = wish(NEWER, LISTED, source="builds/newer")


def facts_of(
    wishes: Sequence[Declaration],
    sights: Sequence[Observed] = (),
    recorded: Mapping[Address, Slots] | None = None,
    *,
    missing: frozenset[Address] = frozenset(),
    shape: Shape = SHAPE,
) -> Facts:
    ours = owned(recorded or {})
    found = difference(wishes, sights, ours, shape=shape, everything_ours=False)
    desired = Desired(
        commit="c" * 40,
        commit_time=1,
        author="a",
        stores={"m": STORE},
        declarations=tuple(wishes),
        scopes={("m", "dataset"): SCOPE, ("other", "dataset"): SCOPE},
    )
    part = store_plan(STORE, shape, found, depth=Depth.MANIFESTS)
    survey = {sight.address: sight.slots for sight in sights}
    one = StoreFacts(
        plan=part,
        difference=found,
        inventory=ours,
        touched=touched(part, found.observed),
        missing_sources=missing,
        survey=survey,
    )
    return Facts(
        desired=desired, guards=Guards(), stores=(one,), pins=Pins(), manifest_ids=frozenset(), now=0
    )


V1 = Address("m", "tag", "n/a@1.0.0")
V2 = Address("m", "tag", "n/a@2.0.0")
DEV = Address("m", "tag", "n/a@dev")
CONTENT = Address("m", "manifest", DIGEST)


def registry_facts(wishes: Sequence[Declaration], sights: Sequence[Observed] = ()) -> Facts:
    return facts_of(wishes, sights, shape=REGISTRY_SHAPE)


def found_by(rule: str, facts: Facts) -> list[Finding]:
    return list(RULES[rule](facts))


CASES: dict[str, tuple[str, Facts, str, str]] = {
    "a thing of ours that is not named any more": (
        "removal-needs-tombstone",
        facts_of([KEPT], [seen(HUMAN, LISTED)], {HUMAN: LISTED}),
        "E_TOMBSTONE",
        str(HUMAN),
    ),
    "an emptied list that would empty the catalog": (
        "empty-desired",
        facts_of([], [seen(HUMAN, LISTED)], {HUMAN: LISTED}),
        "E_EMPTY_DESIRED",
        "m",
    ),
    "a list of tombstones only": (
        "empty-desired",
        facts_of([wish(HUMAN, NOTHING, reason="r")], [seen(HUMAN, LISTED)], {HUMAN: LISTED}),
        "E_EMPTY_DESIRED",
        "m",
    ),
    "other bytes under a published id": (
        "artifact-immutable",
        facts_of([wish(HUMAN, LISTED, source="builds/x")], [seen(HUMAN, {"artifact": OTHER})]),
        "E_IMMUTABLE",
        str(HUMAN),
    ),
    "a dataset that is neither published nor given": (
        "dataset-published",
        facts_of([wish(HUMAN, LISTED)]),
        "E_NOT_PUBLISHED",
        str(HUMAN),
    ),
    "a version that would move": (
        "tag-immutable",
        registry_facts([wish(V1, {"manifest": OTHER})], [seen(V1, {"manifest": DIGEST})]),
        "E_TAG_IMMUTABLE",
        str(V1),
    ),
    "a manifest that nobody holds": (
        "manifest-available",
        registry_facts([wish(CONTENT, {"content": DIGEST})]),
        "E_MANIFEST_MISSING",
        str(CONTENT),
    ),
    "a yank of a version that is not there": (
        "yanked-exists",
        registry_facts([wish(V1, {"yanked": "yanked"})]),
        "E_TAG_MISSING",
        str(V1),
    ),
    "a roll back of what latest names": (
        "alias-target",
        facts_of(
            [wish(HUMAN, NOTHING, reason="r"), wish(NEWER, LISTED)],
            [seen(LATEST, AT_HUMAN), seen(HUMAN, LISTED), seen(NEWER, LISTED)],
        ),
        "E_ALIAS_TARGET",
        str(HUMAN),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rule_denies(case: str) -> None:
    rule, facts, code, subject = CASES[case]
    assert [(f.rule, f.severity, f.code, f.subject) for f in found_by(rule, facts)] == [
        (rule, Severity.DENY, code, subject)
    ]


def test_finding_names_the_place_of_its_origin() -> None:
    assert [
        f.place
        for f in found_by("dataset-published", CASES["a dataset that is neither published nor given"][1])
    ] == [Place("catalog.yaml", 7, 1)]
    assert [
        f.place for f in found_by("empty-desired", facts_of([], [seen(HUMAN, LISTED)], {HUMAN: LISTED}))
    ] == [SCOPE]


def test_source_that_cannot_be_reached_here_warns() -> None:
    facts = facts_of([KEPT], missing=frozenset({NEWER}))
    assert [(f.rule, f.severity, f.code, f.subject) for f in evaluate(facts)] == [
        ("source-reachable", Severity.WARN, "E_SOURCE_MISSING", str(NEWER))
    ]


ALLOWED: dict[str, Facts] = {
    "nothing declared, nothing ours": facts_of([], [seen(HUMAN, LISTED)]),
    "a new dataset with a source": facts_of([KEPT]),
    "a removal with a tombstone": facts_of(
        [wish(HUMAN, NOTHING, reason="r"), KEPT], [seen(HUMAN, LISTED)], {HUMAN: LISTED}
    ),
    "a promotion of what is published": facts_of([wish(HUMAN, LISTED)], [seen(HUMAN, PUBLISHED)]),
    "dev moves": registry_facts([wish(DEV, {"manifest": OTHER})], [seen(DEV, {"manifest": DIGEST})]),
    "a manifest that a file of the commit holds": registry_facts(
        [wish(CONTENT, {"content": DIGEST}, source="desired/m.json")]
    ),
    "a yank of a version that is there": registry_facts(
        [wish(V1, {"yanked": "yanked"})], [seen(V1, {"manifest": DIGEST}), seen(V2, {"manifest": OTHER})]
    ),
    "an adoption": facts_of([wish(HUMAN, LISTED)], [seen(HUMAN, LISTED)]),
    "a roll back with the alias moved in the same change": facts_of(
        [wish(LATEST, AT_NEWER), wish(HUMAN, NOTHING, reason="r"), wish(NEWER, LISTED)],
        [seen(LATEST, AT_HUMAN), seen(HUMAN, LISTED), seen(NEWER, LISTED)],
    ),
    "a roll back with the alias dropped in the same change": facts_of(
        [wish(LATEST, NOTHING, reason="r"), wish(HUMAN, NOTHING, reason="r"), wish(NEWER, LISTED)],
        [seen(LATEST, AT_HUMAN), seen(HUMAN, LISTED), seen(NEWER, LISTED)],
    ),
    "an omitted alias": facts_of([KEPT], [seen(LATEST, AT_NEWER)], {LATEST: AT_NEWER}),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_no_rule_denies(case: str) -> None:
    assert evaluate(ALLOWED[case]) == ()


def test_denials_come_first_then_rules_and_subjects_in_order() -> None:
    wishes = [wish(HUMAN, LISTED), wish(MOUSE, LISTED), wish(NEWER, LISTED, source="builds/newer")]
    facts = facts_of(wishes, [seen(dataset(1), LISTED)], {dataset(1): LISTED}, missing=frozenset({NEWER}))
    assert [(f.severity.value, f.rule, f.subject) for f in evaluate(facts)] == [
        ("deny", "dataset-published", str(HUMAN)),
        ("deny", "dataset-published", str(MOUSE)),
        ("deny", "removal-needs-tombstone", str(dataset(1))),
        ("warn", "source-reachable", str(NEWER)),
    ]


def test_rule_that_fails_denies() -> None:
    # A missing source of an address that has none: the rule cannot know what to say.
    facts = facts_of([KEPT], missing=frozenset({HUMAN}))
    assert [(f.rule, f.severity, f.code) for f in evaluate(facts)] == [
        ("source-reachable", Severity.DENY, "E_POLICY_ERROR")
    ]


def test_policy_digest_follows_the_files_that_guard() -> None:
    every: tuple[dict[str, str], ...] = ({}, {"a.json": DIGEST}, {"a.json": OTHER}, {"b.json": DIGEST})
    digests = [policy_digest(Guards(files=files)) for files in every]
    assert len(set(digests)) == 4
    one, two = {"a": DIGEST, "b": OTHER}, {"b": OTHER, "a": DIGEST}
    assert policy_digest(Guards(files=one)) == policy_digest(Guards(files=two))
    assert all(digest.startswith("sha256:") and len(digest) == len(DIGEST) for digest in digests)
