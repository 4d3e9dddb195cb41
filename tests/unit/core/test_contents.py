"""Which content is shown beside which, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reconciler.contents import LOOKS, Content, Fact, Inside, Look, Pair, inside, lines_that_grow, pairs
from reconciler.errors import Problem
from reconciler.model import Address, Change, Observed, Slots, Step
from reconciler.shape import Shape
from reconciler.stores.memory import SHAPE
from reconciler.stores.registry.order import SHAPE as REGISTRY
from tests.unit.core.values import DIGEST, LATEST, OTHER, dataset

SOURCE = "builds/human"
LINE = "homo_sapiens/GRCh38"


def steps_of(shape: Shape, *changes: Change, sources: dict[Address, str] | None = None) -> Sequence[Step]:
    return shape.arrange("m", changes, sources or {})


def published(address: Address, digest: str = DIGEST) -> tuple[Change, Change]:
    return Change(address, "artifact", None, digest), Change(address, "entry", None, "listed")


def listed(*addresses: Address) -> list[Observed]:
    return [Observed(address, {"entry": "listed"}) for address in addresses]


def test_release_that_appears_is_shown_beside_the_highest_lower_one_that_is_live() -> None:
    steps = steps_of(SHAPE, *published(dataset(112)), sources={dataset(112): SOURCE})
    live = listed(dataset(9), dataset(110), dataset(111), dataset(113))
    assert lines_that_grow(SHAPE, steps) == {LINE}
    assert pairs(SHAPE, steps, live) == (
        Pair(dataset(112), Look(dataset(112), DIGEST, SOURCE), Look(dataset(111), "", "")),
    )


def test_first_release_of_a_line_stands_alone_and_other_lines_do_not_matter() -> None:
    steps = steps_of(SHAPE, *published(dataset(112)))
    mouse = dataset(111, "mus_musculus", "GRCm39")
    assert pairs(SHAPE, steps, listed(mouse)) == (Pair(dataset(112), Look(dataset(112), DIGEST, ""), None),)


def test_releases_that_appear_together_are_shown_beside_each_other() -> None:
    steps = steps_of(SHAPE, *published(dataset(111), OTHER), *published(dataset(110)))
    first, second = pairs(SHAPE, steps, ())
    assert (first.beside, second.beside) == (None, Look(dataset(110), DIGEST, ""))


def test_name_that_moves_is_shown_beside_what_it_named() -> None:
    steps = steps_of(SHAPE, Change(LATEST, "dataset", dataset(110).key, dataset(108).key))
    assert lines_that_grow(SHAPE, steps) == frozenset()
    assert pairs(SHAPE, steps, ()) == (Pair(LATEST, Look(dataset(108), "", ""), Look(dataset(110), "", "")),)


def test_pair_is_shown_once() -> None:
    move = Change(LATEST, "dataset", dataset(110).key, dataset(111).key)
    steps = steps_of(SHAPE, *published(dataset(111)), move)
    assert [pair.address for pair in pairs(SHAPE, steps, listed(dataset(110)))] == [dataset(111)]


def test_version_is_shown_beside_the_version_before_it_by_precedence() -> None:
    def tag(version: str) -> Address:
        return Address("m", "tag", f"n/a@{version}")

    live = [Observed(tag(v), {"manifest": f"sha256:{v[2] * 64}"}) for v in ("1.2.0", "1.9.0", "2.0.0-rc.1")]
    steps = steps_of(REGISTRY, Change(tag("1.10.0"), "manifest", None, DIGEST))
    (pair,) = pairs(REGISTRY, steps, live)
    assert pair.content.address == Address("m", "manifest", DIGEST)
    assert pair.beside == Look(Address("m", "manifest", "sha256:" + "9" * 64), "sha256:" + "9" * 64, "")


def test_removals_show_nothing_and_the_number_of_looks_is_bounded() -> None:
    gone = steps_of(SHAPE, Change(dataset(110), "entry", "listed", None))
    assert pairs(SHAPE, gone, listed(dataset(110))) == ()
    many = steps_of(SHAPE, *(change for n in range(100, 200) for change in published(dataset(n))))
    assert len(pairs(SHAPE, many, ())) == LOOKS


def shown(before: Any, after: Any, **facts: Any) -> Inside:  # noqa: ANN401 - JSON
    """What is shown of two documents."""
    now, then = Look(dataset(111), "", ""), Look(dataset(110), "", "")
    described = {
        now: Content(address=dataset(111), facts=facts, document=after),
        then: Content(address=dataset(110), facts={"genes": 1}, document=before),
    }
    return inside(Pair(dataset(111), now, then), described)


def test_facts_stand_side_by_side_and_differing_fields_are_named() -> None:
    assert shown({"schema": "1"}, {"schema": "2"}, genes=3, shards=2) == Inside(
        address=dataset(111),
        content=dataset(111).key,
        beside=dataset(110).key,
        facts=(Fact("genes", 1, 3), Fact("shards", None, 2)),
        differences=('schema: "1" became "2"',),
    )


def test_column_that_is_put_between_two_others_moves_neither() -> None:
    fields = [{"name": name, "type": "UInt64"} for name in ("a", "b")]
    between = [fields[0], {"name": "new", "type": "Utf8"}, fields[1]]
    assert shown(fields, between).differences == ("new: nothing became {'name': 'new', 'type': 'Utf8'}",)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x" * 70_000, "y"),
        ([0, 1] * 600, [1, 0] * 600),
        ({"deep": [[{"a": list(range(1_001))}]]}, {}),
    ],
)
def test_documents_that_would_take_long_are_not_compared(before: object, after: object) -> None:
    assert shown(before, after).differences == ("too large to be compared field by field",)


def test_differences_are_bounded() -> None:
    before: Slots = {str(n): "x" * 500 for n in range(100)}
    found = shown(before, {}).differences
    assert (len(found), found[-1]) == (9, "92 more fields")
    assert max(map(len, found)) < 250


def test_content_that_cannot_be_looked_into_says_why_and_compares_nothing() -> None:
    now, then = Look(dataset(111), "", ""), Look(dataset(110), "", "")
    problem = Problem(code="E_SOURCE_MISSING", message="gone")
    found = inside(
        Pair(dataset(111), now, then),
        {
            now: Content(address=dataset(111), facts={"genes": 3}, document={"a": 1}),
            then: Content(address=dataset(110), facts={}, problems=(problem,)),
        },
    )
    assert (found.facts, found.differences, found.problems) == ((Fact("genes", None, 3),), (), (problem,))
