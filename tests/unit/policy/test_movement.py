"""Rules about movement: latest, rollbacks, retention and the last release of a line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.governance import Governance
from reconciler.model import Address, Declaration, Place
from reconciler.policy import RULES
from reconciler.stores.memory import memory_state
from tests.unit.policy.scenes import (
    facts_of,
    gone,
    governed,
    human,
    latest,
    listed,
    live,
    manifest,
    mouse,
    only,
    registry_facts,
    said,
    tag,
    tagged,
    untagged,
    whole,
)

ALIAS = "m/alias/latest"


def test_latest_is_not_moved_below_a_release_that_stays() -> None:
    store = live([human(110), human(111)], human(111))
    wishes = [listed(human(110)), listed(human(111)), latest(human(110))]
    facts = whole(facts_of(store, wishes), wishes=wishes)
    assert said("latest-monotonic", facts) == [("deny", ALIAS, "E_LATEST_LOWERED")]
    finding = only("latest-monotonic", facts)
    assert finding.place == Place("catalog.yaml", 3, 1)
    assert finding.message == f"it names {human(110)}, and {human(111)} is discoverable above it"


def test_releases_compare_as_numbers() -> None:
    store = live([human(99)], human(99))
    wishes = [listed(human(99)), listed(human(110)), latest(human(99))]
    assert said("latest-monotonic", whole(facts_of(store, wishes))) == [("deny", ALIAS, "E_LATEST_LOWERED")]
    wishes[-1] = latest(human(110))
    assert said("latest-monotonic", whole(facts_of(store, wishes))) == []


def test_latest_follows_a_rollback_down() -> None:
    store = live([human(110), human(111)], human(111))
    wishes = [listed(human(110)), gone(human(111)), latest(human(110))]
    assert said("latest-monotonic", whole(facts_of(store, wishes))) == []


def test_release_that_nobody_declared_counts_for_latest() -> None:
    store = live([human(110), human(112)], human(110))
    wishes = [listed(human(110)), listed(human(111)), latest(human(111))]
    facts = whole(facts_of(store, wishes, others=[human(112)]))
    assert said("latest-monotonic", facts) == [("deny", ALIAS, "E_LATEST_LOWERED")]
    assert human(112) in only("latest-monotonic", facts).message


def test_gap_that_the_plan_did_not_make_is_a_warning() -> None:
    store = live([human(100), human(110), human(112)], human(110))
    wishes = [gone(human(100)), listed(human(110)), latest(human(110))]
    facts = whole(facts_of(store, wishes, others=[human(112)]))
    assert said("latest-monotonic", facts) == [("warn", ALIAS, "E_LATEST_LOWERED")]


def test_each_line_has_its_own_latest() -> None:
    store = live([human(111), mouse(110)], human(111))
    wishes = [listed(human(111)), listed(mouse(110)), latest(mouse(110))]
    assert said("latest-monotonic", whole(facts_of(store, wishes))) == []


def test_plan_that_touches_no_line_asks_nothing_of_lines() -> None:
    store = live([human(110), human(111)], human(110))
    wishes = [listed(human(110)), listed(human(111)), latest(human(110))]
    facts = whole(facts_of(store, wishes))
    assert [finding for rule in RULES.values() for finding in rule(facts)] == []


def test_alias_is_not_pointed_at_what_nobody_can_discover() -> None:
    store = live([human(110)], human(110))
    facts = whole(facts_of(store, [listed(human(110)), latest(mouse(110))]))
    assert said("alias-target", facts) == [("deny", ALIAS, "E_ALIAS_TARGET")]


def test_dataset_that_an_alias_names_is_not_rolled_back() -> None:
    store = live([human(110), human(111)], human(111))
    facts = whole(facts_of(store, [listed(human(110)), gone(human(111))]))
    assert said("alias-target", facts) == [("deny", f"m/dataset/{human(111)}", "E_ALIAS_TARGET")]


def stepped_back(depth: int | None, releases: int = 5) -> list[tuple[str, str, str]]:
    keys = [human(number) for number in range(101, 101 + releases)]
    wishes = [listed(keys[0]), *(gone(key) for key in keys[1:]), latest(keys[0])]
    facts = whole(facts_of(live(keys, keys[-1]), wishes), guards=governed(Governance(rollback_depth=depth)))
    return said("rollback-depth", facts)


@pytest.mark.parametrize("depth", [None, 4, 5])
def test_rollback_within_its_depth_is_allowed(depth: int | None) -> None:
    assert stepped_back(depth) == []


def test_rollback_deeper_than_the_policy_allows_is_denied() -> None:
    assert stepped_back(3) == [("deny", f"m/dataset/{human(105)}", "E_ROLLBACK_DEPTH")]


def test_pointer_alone_can_step_back_too_far() -> None:
    keys = [human(number) for number in range(101, 106)]
    wishes = [*(listed(key) for key in keys), latest(keys[0])]
    facts = whole(facts_of(live(keys, keys[-1]), wishes), guards=governed(Governance(rollback_depth=3)))
    assert said("rollback-depth", facts) == [("deny", f"m/dataset/{human(105)}", "E_ROLLBACK_DEPTH")]


def test_removal_from_below_is_no_rollback() -> None:
    keys = [human(number) for number in range(101, 106)]
    wishes = [*(gone(key) for key in keys[:4]), listed(keys[4]), latest(keys[4])]
    facts = whole(facts_of(live(keys, keys[-1]), wishes), guards=governed(Governance(rollback_depth=1)))
    assert said("rollback-depth", facts) == []


def test_rollback_to_broken_bytes_is_denied() -> None:
    store = live([human(110), human(111)], human(111))
    wishes = [gone(human(111)), latest(human(110))]
    assert said("rollback-target", whole(facts_of(store, wishes))) == []
    memory_state(str(store.config.settings["name"])).damaged.add(human(110))
    facts = whole(facts_of(store, wishes, others=[human(110)]))
    assert said("rollback-target", facts) == [("deny", f"m/dataset/{human(110)}", "E_ROLLBACK_TARGET")]


def test_removal_keeps_the_release_lines_of_the_freeze_policy() -> None:
    store = live([human(110), human(111), mouse(111)], human(111))
    both = [listed(human(110)), gone(human(111)), gone(mouse(111)), latest(human(110))]
    one = [listed(human(110)), gone(human(111)), listed(mouse(111)), latest(human(110))]
    guards = governed(Governance(release_lines=2))
    assert said("release-retention", whole(facts_of(store, both), guards=guards)) == [
        ("deny", "m", "E_RETENTION")
    ]
    assert said("release-retention", whole(facts_of(store, one), guards=guards)) == []
    assert said("release-retention", whole(facts_of(store, both))) == []


def test_newer_release_replaces_an_older_line() -> None:
    store = live([human(110), human(111)], human(111))
    wishes = [gone(human(110)), listed(human(111)), listed(human(112)), latest(human(112))]
    facts = whole(facts_of(store, wishes), guards=governed(Governance(release_lines=2)))
    assert said("release-retention", facts) == []


def test_last_release_of_a_line_stays() -> None:
    store = live([human(111), mouse(110)], human(111))
    facts = whole(facts_of(store, [listed(human(111)), gone(mouse(110)), latest(human(111))]))
    assert said("last-release", facts) == [("deny", f"m/dataset/{mouse(110)}", "E_LAST_RELEASE")]


def test_release_of_another_writer_keeps_a_line() -> None:
    store = live([human(111), mouse(110), mouse(111)], human(111))
    wishes = [listed(human(111)), gone(mouse(110)), latest(human(111))]
    assert said("last-release", whole(facts_of(store, wishes, others=[mouse(111)]))) == []


# Versions of a registry.


def asserted(number: int) -> Declaration:
    return Declaration(tag("latest"), {"manifest": manifest(number)}, Place("eth.yaml", 2, 1))


def test_asserted_latest_that_an_unmanaged_version_breaks_is_denied() -> None:
    wishes = [tagged("1.0.0", 1), tagged("1.1.0", 2), asserted(2)]
    store = registry_facts({"1.0.0": 1, "2.0.0": 9, "latest": 9}, wishes, others=["2.0.0"])
    facts = whole(store, wishes=sorted(wishes, key=lambda wish: wish.address))
    assert said("latest-asserted", facts) == [("deny", str(tag("latest")), "E_LATEST_DERIVED")]
    assert only("latest-asserted", facts).message.endswith("the versions make it eth/main@2.0.0")


def test_asserted_latest_that_the_versions_give_is_allowed() -> None:
    wishes = [tagged("1.0.0", 1), tagged("1.1.0", 2), tagged("2.0.0-rc.1", 3), asserted(2)]
    store = registry_facts({"1.0.0": 1, "latest": 1}, wishes)
    assert said("latest-asserted", whole(store, wishes=wishes)) == []


def test_prerelease_is_latest_only_where_the_store_says_so() -> None:
    wishes = [tagged("1.0.0", 1), tagged("2.0.0-rc.1", 3), asserted(1)]
    held = {"1.0.0": 1, "latest": 1}
    assert said("latest-asserted", whole(registry_facts(held, wishes), wishes=wishes)) == []
    highest = replace(registry_facts(held, wishes, rule="highest"))
    assert said("latest-asserted", whole(highest, wishes=wishes)) == [
        ("deny", str(tag("latest")), "E_LATEST_DERIVED")
    ]


def test_versions_step_back_by_precedence() -> None:
    versions = {"1.2.0": 1, "1.9.0": 2, "1.10.0": 3, "1.11.0": 4}
    wishes = [tagged("1.2.0", 1), *(untagged(version) for version in ("1.9.0", "1.10.0", "1.11.0"))]
    guards = governed(Governance(rollback_depth=2))
    facts = whole(registry_facts(versions, wishes), guards=guards)
    assert said("rollback-depth", facts) == [("deny", str(tag("1.11.0")), "E_ROLLBACK_DEPTH")]


def test_yanked_version_is_as_good_as_gone_for_its_line() -> None:
    wishes = [tagged("1.0.0", 1, yanked="yanked")]
    assert said("last-release", whole(registry_facts({"1.0.0": 1}, wishes))) == [
        ("deny", str(tag("1.0.0")), "E_LAST_RELEASE")
    ]


def test_tag_of_another_writer_that_is_no_version_has_no_place_in_the_order() -> None:
    wishes = [tagged("1.0.0", 1), untagged("1.1.0")]
    store = registry_facts({"1.0.0": 1, "1.1.0": 2, "nightly": 3}, wishes, others=["nightly"])
    assert sorted(address.key for address in store.lines["eth/main"].before) == [
        "eth/main@1.0.0",
        "eth/main@1.1.0",
    ]
    assert Address("r", "tag", "eth/main@nightly") not in store.lines["eth/main"].after
