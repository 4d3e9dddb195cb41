"""Rules about what becomes discoverable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.diff import difference
from reconciler.governance import Governance, Guards, PromotionRules
from reconciler.ledger import Inventory
from reconciler.model import Address, Declaration, Depth, Place, Slots, StoreConfig, Terms, Yank
from reconciler.plan import store_plan
from reconciler.policy import StoreFacts
from reconciler.policy.facts import Upstream
from reconciler.policy.lines import touched
from reconciler.stores.memory import SHAPE
from reconciler.testing.harness import by_hand, declared, reconciled, removed
from reconciler.testing.memory_harness import MemoryHarness
from tests.unit.policy.scenes import (
    NOW,
    at,
    digest_of,
    facts_of,
    gone,
    governed,
    human,
    latest,
    listed,
    live,
    mouse,
    only,
    registry_facts,
    said,
    tagged,
    whole,
)

LISTED_BOTH = governed(Governance(promotion=PromotionRules(in_manifest=True, in_pins=True)))


@pytest.mark.parametrize(
    ("rule", "code"),
    [("promoted-in-manifest", "E_PROMOTION_MANIFEST"), ("promoted-in-pins", "E_PROMOTION_PINS")],
)
def test_what_is_promoted_stands_in_the_files_that_the_rules_name(rule: str, code: str) -> None:
    store = facts_of(live([human(110), mouse(110)], human(110)), [listed(human(111)), listed(human(112))])
    facts = whole(store, guards=LISTED_BOTH, pins=[human(111)], manifest_ids=[human(111)])
    assert said(rule, facts) == [("deny", f"m/dataset/{human(112)}", code)]
    assert only(rule, facts).place == Place("catalog.yaml", 7, 1)
    assert said(rule, whole(store)) == []


def test_versions_of_a_registry_are_not_datasets_of_those_files() -> None:
    facts = whole(registry_facts({"1.0.0": 1}, [tagged("1.1.0", 2)]), guards=LISTED_BOTH)
    assert [said(rule, facts) for rule in ("promoted-in-manifest", "promoted-in-pins")] == [[], []]


def test_release_that_the_ledger_knows_with_other_bytes_does_not_return() -> None:
    # The artifact was collected, so the store alone would take any bytes.
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, [declared(store, human(110), harness.build(human(110)))])
    reconciled(store, [removed(store, human(110))])
    harness.state.contents = replace(harness.state.contents, published={})
    other = listed(human(110), digest="sha256:" + "9" * 64)
    found = whole(facts_of(store, [other]))
    assert said("promotion-append-only", found) == [("deny", f"m/dataset/{human(110)}", "E_APPEND_ONLY")]
    assert said("promotion-append-only", whole(facts_of(store, [listed(human(110))]))) == []
    free = governed(Governance(promotion=PromotionRules(append_only=False)))
    assert said("promotion-append-only", replace(found, guards=free)) == []


def test_version_that_was_untagged_does_not_return_with_another_manifest() -> None:
    facts = registry_facts({"1.0.0": 1}, [tagged("1.1.0", 2)])
    address = tagged("1.1.0", 2).address
    returned = replace(facts, formerly={address: {"manifest": "sha256:" + "7" * 64}})
    assert said("promotion-append-only", whole(returned)) == [("deny", str(address), "E_APPEND_ONLY")]
    same = replace(facts, formerly={address: tagged("1.1.0", 2).slots})
    assert said("promotion-append-only", whole(same)) == []


def test_what_was_yanked_anywhere_is_promoted_nowhere() -> None:
    store = facts_of(live([human(110)]), [listed(human(110)), listed(human(111)), listed(human(112))])
    place = Place("staging.yaml", 4, 1)
    yank = Yank(reason="wrong contigs", place=place, replaced_by=human(112))
    facts = whole(store, yanked={at(human(111), "staging"): yank})
    assert said("yanked-unpromotable", facts) == [("deny", f"m/dataset/{human(111)}", "E_YANKED")]
    finding = only("yanked-unpromotable", facts)
    assert finding.message == "it was yanked at staging.yaml:4 (wrong contigs)"
    assert finding.fix == f"promote {human(112)}, which replaces it"
    assert said("yanked-unpromotable", whole(store)) == []


# The environment path.


def promoted(above: Slots | None, since: int | None, *, soak: int = 0) -> list[tuple[str, str, str]]:
    store = facts_of(live([human(110)]), [listed(human(110)), listed(human(111))])
    held = {} if above is None else {at(human(111)): Upstream(slots=above, since=since)}
    facts = replace(store, upstream=held)
    return said("environment-path", whole(facts, guards=Guards(soak={"m": soak} if soak else {})))


LIVE: Slots = {"artifact": digest_of(human(111)), "entry": "listed"}
SUBJECT = f"m/dataset/{human(111)}"


@pytest.mark.parametrize(
    ("above", "since", "soak", "code"),
    [
        (None, None, 0, "E_ENVIRONMENT_PATH"),
        ({"artifact": digest_of(human(111))}, NOW - 10, 0, "E_ENVIRONMENT_PATH"),
        ({"artifact": digest_of(human(110)), "entry": "listed"}, NOW - 10, 0, "E_ENVIRONMENT_PATH"),
        (LIVE, None, 60, "E_SOAK"),
        (LIVE, NOW - 59, 60, "E_SOAK"),
    ],
    ids=["not there", "there but not discoverable", "other bytes", "since nobody knows when", "too early"],
)
def test_promotion_that_skips_its_path_is_denied(
    above: Slots | None, since: int | None, soak: int, code: str
) -> None:
    assert promoted(above, since, soak=soak) == [("deny", SUBJECT, code)]


def test_soak_time_that_a_snapshot_cannot_tell_is_for_apply_to_ask() -> None:
    store = facts_of(live([human(110)]), [listed(human(110)), listed(human(111))])
    held = {at(human(111)): Upstream(slots=LIVE, since=None, asked=False)}
    facts = whole(replace(store, upstream=held), guards=Guards(soak={"m": 60}))
    assert said("environment-path", facts) == [("warn", SUBJECT, "E_SOAK")]


@pytest.mark.parametrize(("since", "soak"), [(None, 0), (NOW - 60, 60)])
def test_promotion_of_what_stood_long_enough_before_is_allowed(since: int | None, soak: int) -> None:
    assert promoted(LIVE, since, soak=soak) == []


def test_store_that_names_none_before_it_is_not_asked() -> None:
    store = facts_of(live([human(110)]), [listed(human(110)), listed(human(111))])
    assert store.upstream is None
    assert said("environment-path", whole(store)) == []


def test_store_before_is_read_for_what_is_promoted_alone() -> None:
    staging = live([human(109), human(110), human(111)], name="staging")
    store = live([human(110)], upstream="staging")
    wishes = [listed(human(110)), listed(human(111)), listed(human(112))]
    facts = facts_of(store, wishes, above=staging)
    assert dict(facts.upstream or {}) == {at(human(111)): Upstream(slots=LIVE, since=None)}
    assert said("environment-path", whole(facts)) == [
        ("deny", f"m/dataset/{human(112)}", "E_ENVIRONMENT_PATH")
    ]


def test_rollback_and_alias_need_no_path() -> None:
    store = live([human(110), human(111)], human(111), upstream="staging")
    facts = facts_of(store, [listed(human(110)), gone(human(111)), latest(human(110))])
    assert said("environment-path", whole(facts)) == []


def test_broken_bytes_before_are_not_there() -> None:
    harness = MemoryHarness("staging")
    staging = harness.open()
    by_hand(staging, [declared(staging, human(111), harness.build(human(111)))])
    harness.damage(human(111))
    facts = facts_of(live([human(110)], upstream="staging"), [listed(human(111))], above=staging)
    assert facts.upstream == {}


# The federation.

ENTRY = Address("public", "entry", "2abc")


def federated() -> StoreFacts:
    place = Place("desired/promotions/x.yaml", 1, 1)
    config = StoreConfig(name="public", kind="atproto", settings={}, place=place)
    wish = Declaration(ENTRY, {"content": digest_of("x")}, place)
    found = difference([wish], [], Inventory({}), shape=SHAPE, everything_ours=False)
    plan = store_plan(config, SHAPE, found, depth=Depth.MANIFESTS)
    return StoreFacts(
        plan=plan, difference=found, inventory=Inventory({}), touched=touched(plan, found.observed)
    )


@pytest.mark.parametrize(
    ("license_", "allowed", "denied"),
    [
        ("", frozenset(), True),
        ("CC-BY-4.0", frozenset(), False),
        ("CC-BY-4.0", frozenset({"CC0-1.0", "CC-BY-4.0"}), False),
        ("proprietary", frozenset({"CC0-1.0"}), True),
    ],
)
def test_public_data_has_a_licence_that_the_policy_allows(
    *, license_: str, allowed: frozenset[str], denied: bool
) -> None:
    terms = {ENTRY: Terms(license=license_)}
    facts = replace(whole(federated(), guards=Guards(federation_licenses=allowed)), terms=terms)
    expected = [("deny", "public/entry/2abc", "E_LICENCE")] if denied else []
    assert said("federation-licence", facts) == expected


def test_public_data_has_the_metadata_that_the_policy_asks_for() -> None:
    guards = Guards(federation_metadata=frozenset({"split", "contact"}))
    facts = whole(federated(), guards=guards)
    some = replace(facts, terms={ENTRY: Terms(license="CC0-1.0", metadata=frozenset({"split"}))})
    every = replace(facts, terms={ENTRY: Terms(metadata=frozenset({"split", "contact", "more"}))})
    assert said("federation-metadata", some) == [("deny", "public/entry/2abc", "E_METADATA")]
    assert only("federation-metadata", some).message == "its metadata lacks contact"
    assert said("federation-metadata", every) == []


def test_entry_without_any_terms_is_denied() -> None:
    assert said("federation-licence", whole(federated())) == [("deny", "public/entry/2abc", "E_LICENCE")]
