from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.diff import Difference, difference
from reconciler.drift import DriftReport, observe_drift
from reconciler.ledger import Inventory
from reconciler.model import NOTHING, Address, Change, Declaration, Depth, Observed, Place, Slots
from reconciler.stores.registry.order import SHAPE

A = "sha256:" + "aa" * 32
B = "sha256:" + "bb" * 32
PLACE = Place("desired/d.yaml", 1, 1)


def at(text: str) -> Address:
    return Address.parse(f"r/{text}")


def wish(text: str, slots: Slots) -> Declaration:
    return Declaration(at(text), slots, PLACE)


def seen(text: str, slots: Slots) -> Observed:
    return Observed(at(text), slots)


def compared(
    wishes: Sequence[Declaration], live: Sequence[Observed], recorded: dict[str, Slots]
) -> Difference:
    return difference(
        sorted(wishes, key=lambda one: one.address),
        sorted(live, key=lambda one: one.address),
        Inventory({at(text): slots for text, slots in recorded.items()}),
        shape=SHAPE,
        everything_ours=False,
    )


def changed(found: Difference) -> list[tuple[str, str]]:
    return [(c.address.kind + "/" + c.address.key, c.slot) for c in found.changes]


def test_everything_of_one_apply_is_one_step_up_and_then_down() -> None:
    changes = [
        Change(at(f"link/n/a@{B}"), "linked", "linked", None),
        Change(at("tag/n/a@latest"), "manifest", B, A),
        Change(at("tag/n/a@0.9.0"), "manifest", B, None),
        Change(at("tag/n/a@1.0.0"), "manifest", None, A),
        Change(at("tag/n/a@0.8.0"), "yanked", None, "yanked"),
        Change(at(f"link/n/a@{A}"), "linked", None, "linked"),
        Change(at(f"manifest/{A}"), "content", None, A),
    ]

    (step,) = SHAPE.arrange("r", changes, {at(f"manifest/{A}"): "desired/a.json"})

    assert (step.unit, step.after, dict(step.sources)) == (
        "registry",
        (),
        {at(f"manifest/{A}"): "desired/a.json"},
    )
    assert [SHAPE.verb(c.address.kind, c.slot, c.before, c.after) for c in step.changes] == [
        "register",
        "link",
        "yank",
        "tag",
        "untag",
        "unlink",
        "retag",
    ]
    assert step.changes[-1].address == at("tag/n/a@latest")


def test_nothing_to_change_is_no_step() -> None:
    assert SHAPE.arrange("r", [], {}) == []


@pytest.mark.parametrize(
    ("kind", "slot", "before", "after", "verb"),
    [
        ("manifest", "content", A, None, "delete manifest"),
        ("tag", "manifest", A, B, "retag"),
        ("tag", "yanked", "yanked", None, "unyank"),
        ("other", "thing", None, "x", "set thing"),
    ],
)
def test_a_change_is_called_by_its_name(
    kind: str, slot: str, before: str | None, after: str | None, verb: str
) -> None:
    assert SHAPE.verb(kind, slot, before, after) == verb


def test_a_link_goes_without_a_tombstone_with_the_last_tag_that_named_it() -> None:
    found = compared(
        [wish("tag/n/a@1.0.0", NOTHING)],
        [
            seen(f"link/n/a@{A}", {"linked": "linked", "tags": ("n/a@1.0.0",)}),
            seen("tag/n/a@1.0.0", {"manifest": A}),
        ],
        {f"link/n/a@{A}": {"linked": "linked"}, "tag/n/a@1.0.0": {"manifest": A}},
    )

    assert changed(found) == [("tag/n/a@1.0.0", "manifest"), (f"link/n/a@{A}", "linked")]
    assert found.removals == []


def test_a_link_stays_while_a_tag_that_is_not_ours_names_it() -> None:
    found = compared(
        [wish("tag/n/a@1.0.0", NOTHING)],
        [
            seen(f"link/n/a@{A}", {"linked": "linked", "tags": ("n/a@1.0.0", "n/a@dev")}),
            seen("tag/n/a@1.0.0", {"manifest": A}),
        ],
        {f"link/n/a@{A}": {"linked": "linked"}, "tag/n/a@1.0.0": {"manifest": A}},
    )

    assert changed(found) == [("tag/n/a@1.0.0", "manifest")]


def test_a_link_without_a_tag_needs_a_tombstone() -> None:
    found = compared(
        [], [seen(f"link/n/a@{A}", {"linked": "linked"})], {f"link/n/a@{A}": {"linked": "linked"}}
    )

    assert found.removals == [at(f"link/n/a@{A}")]


def test_the_superseded_manifest_of_dev_is_unlinked() -> None:
    found = compared(
        [wish("tag/n/a@dev", {"manifest": B}), wish(f"link/n/a@{B}", {"linked": "linked"})],
        [
            seen(f"link/n/a@{A}", {"linked": "linked", "tags": ("n/a@dev",)}),
            seen("tag/n/a@dev", {"manifest": A}),
        ],
        {f"link/n/a@{A}": {"linked": "linked"}, "tag/n/a@dev": {"manifest": A}},
    )

    assert changed(found) == [
        (f"link/n/a@{B}", "linked"),
        ("tag/n/a@dev", "manifest"),
        (f"link/n/a@{A}", "linked"),
    ]


def test_yanking_a_version_that_is_no_longer_listed_keeps_its_manifest_and_its_link() -> None:
    found = compared(
        [wish("tag/n/a@1.0.0", {"yanked": "yanked"})],
        [
            seen(f"link/n/a@{A}", {"linked": "linked", "tags": ("n/a@1.0.0",)}),
            seen("tag/n/a@1.0.0", {"manifest": A}),
        ],
        {f"link/n/a@{A}": {"linked": "linked"}, "tag/n/a@1.0.0": {"manifest": A}},
    )

    assert changed(found) == [("tag/n/a@1.0.0", "yanked")]


def test_a_version_that_disappears_needs_a_tombstone_and_dev_and_latest_do_not() -> None:
    found = compared(
        [],
        [
            seen("tag/n/a@1.0.0", {"manifest": A}),
            seen("tag/n/a@dev", {"manifest": A}),
            seen("tag/n/a@latest", {"manifest": A}),
        ],
        {
            "tag/n/a@1.0.0": {"manifest": A},
            "tag/n/a@dev": {"manifest": A},
            "tag/n/a@latest": {"manifest": A},
        },
    )

    assert found.removals == [at("tag/n/a@1.0.0")]


def test_a_manifest_of_ours_that_is_no_longer_declared_is_left_to_garbage_collection() -> None:
    found = compared([], [seen(f"manifest/{A}", {"content": A})], {f"manifest/{A}": {"content": A}})

    assert (found.changes, found.removals) == ([], [])


def test_a_yank_by_hand_of_a_released_version_is_undone() -> None:
    found = compared(
        [wish("tag/n/a@1.0.0", {"manifest": A, "yanked": ()})],
        [seen("tag/n/a@1.0.0", {"manifest": A, "yanked": "yanked"})],
        {"tag/n/a@1.0.0": {"manifest": A}},
    )

    assert found.changes == [Change(at("tag/n/a@1.0.0"), "yanked", "yanked", None)]


def test_a_link_that_stays_for_another_tag_is_no_drift() -> None:
    report = DriftReport(commit="c", depth=Depth.HEADS)
    observe_drift(
        report,
        [],
        [seen(f"link/n/a@{A}", {"linked": "linked", "tags": ("n/a@dev",)})],
        Inventory({at(f"link/n/a@{A}"): {"linked": "linked"}}),
        shape=SHAPE,
        everything_ours=False,
    )

    assert report.items == []
