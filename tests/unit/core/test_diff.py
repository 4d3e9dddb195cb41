"""Difference: what must change, what is adopted, what of ours is no longer declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.diff import Difference, difference, joined
from reconciler.errors import Problem
from reconciler.model import NOTHING, Address, Change, Declaration, Observed, Slots
from reconciler.stores.memory import SHAPE
from tests.unit.core.values import DIGEST, LATEST, LISTED, OTHER, PUBLISHED, dataset, owned, seen, wish

HUMAN, MOUSE = dataset(), dataset(species="mus_musculus", assembly="GRCm39")
BROKEN = Problem(code="E_ARTIFACT", message="broken")
HALF = Problem(code="E_HALF_PUBLISHED", message="half")


def compared(
    wishes: Sequence[Declaration],
    sights: Sequence[Observed],
    recorded: Mapping[Address, Slots] | None = None,
    *,
    everything_ours: bool = False,
) -> Difference:
    return difference(wishes, sights, owned(recorded or {}), shape=SHAPE, everything_ours=everything_ours)


def test_two_sorted_streams_are_joined_by_address() -> None:
    left = [wish(dataset(1), LISTED), wish(dataset(3), LISTED)]
    right = [seen(dataset(2), LISTED), seen(dataset(3), LISTED), seen(dataset(4), LISTED)]
    assert [(a.key.split("/")[0], w is not None, s is not None) for a, w, s in joined(left, right)] == [
        ("1", True, False),
        ("2", False, True),
        ("3", True, True),
        ("4", False, True),
    ]


def test_absent_thing_is_created_slot_by_slot_from_its_source() -> None:
    found = compared([wish(HUMAN, LISTED, source="builds/x")], [])
    assert found.changes == [Change(HUMAN, "artifact", None, DIGEST), Change(HUMAN, "entry", None, "listed")]
    assert (found.sources, found.unchanged) == ({HUMAN: "builds/x"}, 0)


def test_only_the_slots_that_differ_change() -> None:
    found = compared([wish(HUMAN, LISTED)], [seen(HUMAN, PUBLISHED)], {HUMAN: PUBLISHED})
    assert (found.changes, found.adopted) == ([Change(HUMAN, "entry", None, "listed")], [])


def test_slot_of_ours_that_is_not_declared_any_more_is_taken_back() -> None:
    live = {**LISTED, "diffs": ("x",)}
    found = compared([wish(HUMAN, LISTED)], [seen(HUMAN, live)], {HUMAN: live})
    assert (found.changes, found.adopted) == ([Change(HUMAN, "diffs", ("x",), None)], [])


def test_slot_of_ours_that_is_gone_already_leaves_the_record_only() -> None:
    ours = {**LISTED, "diffs": ("x",)}
    found = compared([wish(HUMAN, LISTED)], [seen(HUMAN, LISTED)], {HUMAN: ours})
    assert (found.changes, found.adopted, found.newly_ours) == ([], [(HUMAN, LISTED)], 0)


def test_empty_list_is_the_wish_for_none() -> None:
    wishes = [wish(HUMAN, {**LISTED, "diffs": ()})]
    assert compared(wishes, [seen(HUMAN, LISTED)]).adopted == [(HUMAN, LISTED)]
    assert compared(wishes, [seen(HUMAN, LISTED)], {HUMAN: LISTED}).unchanged == 1
    by_others = compared(wishes, [seen(HUMAN, {**LISTED, "diffs": ("x",)})])
    assert by_others.changes == [Change(HUMAN, "diffs", ("x",), None)]


def test_slot_of_ours_that_changes_is_not_adopted_again() -> None:
    ours = {**LISTED, "diffs": ("x",)}
    found = compared([wish(HUMAN, {**LISTED, "diffs": ("y",)})], [seen(HUMAN, ours)], {HUMAN: ours})
    assert (found.changes, found.adopted) == ([Change(HUMAN, "diffs", ("x",), ("y",))], [])


def test_slot_that_was_never_ours_is_not_compared() -> None:
    found = compared([wish(HUMAN, LISTED)], [seen(HUMAN, {**LISTED, "diffs": ("x",)})], {HUMAN: LISTED})
    assert (found.changes, found.adopted, found.unchanged) == ([], [], 1)


def test_thing_of_ours_that_is_as_declared_is_unchanged() -> None:
    found = compared([wish(HUMAN, LISTED)], [seen(HUMAN, LISTED)], {HUMAN: LISTED})
    assert (found.changes, found.adopted, found.unchanged, found.newly_ours) == ([], [], 1, 0)


def test_thing_that_already_is_as_declared_is_adopted() -> None:
    found = compared([wish(HUMAN, LISTED)], [seen(HUMAN, LISTED)])
    assert (found.changes, found.adopted, found.newly_ours) == ([], [(HUMAN, LISTED)], 1)


def test_kept_part_of_a_thing_that_changes_is_adopted_with_it() -> None:
    found = compared([wish(HUMAN, LISTED)], [seen(HUMAN, PUBLISHED)])
    assert (found.adopted, found.newly_ours) == ([(HUMAN, PUBLISHED)], 0)


def test_thing_of_others_is_left_alone() -> None:
    found = compared([], [seen(MOUSE, LISTED)])
    assert (found.changes, found.removals) == ([], [])


def test_undeclared_thing_of_ours_is_removed_but_its_content_stays() -> None:
    found = compared([], [seen(HUMAN, LISTED)], {HUMAN: LISTED})
    assert (found.changes, found.removals) == ([Change(HUMAN, "entry", "listed", None)], [HUMAN])


def test_undeclared_thing_of_ours_that_is_only_published_is_no_removal() -> None:
    found = compared([], [seen(HUMAN, PUBLISHED)], {HUMAN: PUBLISHED})
    assert (found.changes, found.removals) == ([], [])


def test_in_an_authoritative_store_everything_undeclared_is_removed() -> None:
    found = compared([], [seen(MOUSE, LISTED)], everything_ours=True)
    assert found.removals == [MOUSE]


def test_omitted_alias_of_ours_is_not_managed() -> None:
    slots = {"dataset": HUMAN.key, "binding": "catalog"}
    assert compared([], [seen(LATEST, slots)], {LATEST: slots}).changes == []


def test_tombstone_removes_and_is_no_silent_removal() -> None:
    found = compared([wish(HUMAN, NOTHING, reason="superseded")], [seen(HUMAN, LISTED)], {HUMAN: LISTED})
    assert (found.changes, found.removals) == ([Change(HUMAN, "entry", "listed", None)], [])


def test_tombstone_of_what_is_gone_is_unchanged() -> None:
    found = compared([wish(HUMAN, NOTHING, reason="superseded")], [seen(HUMAN, PUBLISHED)])
    assert (found.changes, found.unchanged, found.adopted) == ([], 1, [])


def test_declared_thing_with_broken_content_is_corrupt_and_never_compared() -> None:
    sight = Observed(HUMAN, {"artifact": OTHER}, (BROKEN,))
    found = compared([wish(HUMAN, LISTED, source="builds/x")], [sight])
    assert (found.corrupt, found.changes) == ([sight], [])


def test_half_published_thing_is_published_again_where_a_source_is_given() -> None:
    sight = Observed(HUMAN, NOTHING, (HALF,))
    with_source = compared([wish(HUMAN, LISTED, source="builds/x")], [sight])
    assert (with_source.corrupt, len(with_source.changes)) == ([], 2)
    assert compared([wish(HUMAN, LISTED)], [sight]).corrupt == [sight]


def test_alias_is_observed_even_where_nobody_declared_it() -> None:
    slots = {"dataset": HUMAN.key, "binding": "catalog"}
    assert compared([], [seen(LATEST, slots)]).observed == {LATEST: slots}
