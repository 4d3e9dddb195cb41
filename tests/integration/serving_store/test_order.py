"""Changes are cut into the store's own units, in an order that is safe at every instant."""

from __future__ import annotations

import random

import pytest

from reconciler.model import Address, Change, Step, Value
from reconciler.stores.serving.store import SHAPE
from tests.integration.serving_store.world import H110, H111, LATEST, M110, dataset

LINE = Address("serving", "alias", "homo_sapiens/GRCh38")
MOUSE = Address("serving", "alias", "mus_musculus/GRCm39")
D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64

CHANGES = [
    Change(dataset(H111), "artifact", None, D1),
    Change(dataset(M110), "artifact", None, D2),
    Change(dataset(H111), "entry", None, "listed"),
    Change(dataset(H111), "diffs", None, ("derived/diff.json",)),
    Change(dataset(M110), "entry", None, "listed"),
    Change(dataset(H110), "entry", "listed", None),
    Change(dataset(H110), "diffs", ("derived/diff.json",), None),
    Change(LATEST, "dataset", str(H110), str(H111)),
    Change(LINE, "dataset", None, str(H111)),
    Change(LINE, "binding", None, "catalog"),
    Change(MOUSE, "dataset", str(M110), None),
    Change(MOUSE, "binding", "catalog", None),
]


def arranged(changes: list[Change]) -> list[Step]:
    return SHAPE.arrange("serving", changes, {dataset(H111): "builds/111.tar"})


def test_up_goes_before_aliases_and_down_comes_last() -> None:
    steps = arranged(CHANGES)
    assert [(step.id, step.unit, step.after) for step in steps] == [
        ("publish 110/mus_musculus/GRCm39", "dataset 110/mus_musculus/GRCm39", ()),
        ("publish 111/homo_sapiens/GRCh38", "dataset 111/homo_sapiens/GRCh38", ()),
        ("promote", "catalog", ("publish 110/mus_musculus/GRCm39", "publish 111/homo_sapiens/GRCh38")),
        ("set alias homo_sapiens/GRCh38", "alias homo_sapiens/GRCh38", ("promote",)),
        ("move alias latest", "alias latest", ("promote",)),
        ("drop alias mus_musculus/GRCm39", "alias mus_musculus/GRCm39", ("promote",)),
        ("roll back", "catalog", tuple(step.id for step in steps[:-1])),
    ]


def test_every_change_is_in_exactly_one_step() -> None:
    assert sorted(change for step in arranged(CHANGES) for change in step.changes) == sorted(CHANGES)


def test_a_source_travels_with_the_step_that_needs_it() -> None:
    sources = [dict(step.sources) for step in arranged(CHANGES)]
    assert sources == [{}, {dataset(H111): "builds/111.tar"}, {}, {}, {}, {}, {}]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_changes_does_not_matter(seed: int) -> None:
    shuffled = list(CHANGES)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a repeatable shuffle
    assert arranged(shuffled) == arranged(CHANGES)


def test_nothing_to_change_is_no_step() -> None:
    assert arranged([]) == []


@pytest.mark.parametrize(
    ("kind", "slot", "before", "after", "verb"),
    [
        ("dataset", "artifact", None, D1, "publish"),
        ("dataset", "entry", None, "listed", "promote"),
        ("dataset", "entry", "listed at a b", "listed", "relist"),
        ("dataset", "entry", "listed", None, "roll back"),
        ("dataset", "diffs", None, ("x",), "set diffs"),
        ("alias", "dataset", None, "a", "set alias"),
        ("alias", "dataset", "a", "b", "move alias"),
        ("alias", "dataset", "a", None, "drop alias"),
        ("alias", "binding", D1, "catalog", "bind alias"),
    ],
)
def test_every_change_has_its_name(
    kind: str, slot: str, before: Value | None, after: Value | None, verb: str
) -> None:
    assert SHAPE.verb(kind, slot, before, after) == verb
