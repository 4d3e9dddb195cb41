"""Rules about who may change what: owners of paths, and what is protected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.governance import Ancestry, Guards, Lineage, Ownership
from reconciler.ledger import Inventory
from reconciler.model import Meta
from reconciler.policy import Purpose
from tests.unit.policy.scenes import (
    at,
    facts_of,
    gone,
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

OWNERS = Guards(
    owners=(
        Ownership(pattern="desired/*", owners=frozenset({"data"})),
        Ownership(pattern="desired/catalogs/", owners=frozenset({"genomics"})),
        Ownership(pattern="desired/catalogs/mouse*.yaml", owners=frozenset({"mice", "genomics"})),
    )
)


@pytest.mark.parametrize(
    ("path", "owner", "denied"),
    [
        ("desired/catalogs/human.yaml", "genomics", False),
        ("desired/catalogs/human.yaml", "data", True),
        ("desired/catalogs/human.yaml", "", True),
        ("desired/catalogs/mouse-lab.yaml", "mice", False),
        ("desired/other/x.yaml", "data", False),
        ("elsewhere/x.yaml", "", False),
    ],
)
def test_document_names_an_owner_of_its_path(path: str, owner: str, *, denied: bool) -> None:
    store = facts_of(live([human(110)]), [listed(human(111), path=path)])
    facts = whole(store, guards=OWNERS, metas={path: Meta(owner=owner)})
    assert said("required-owners", facts) == ([("deny", path, "E_OWNERS")] if denied else [])


def test_document_without_meta_is_denied_once() -> None:
    path = "desired/catalogs/human.yaml"
    store = facts_of(live([]), [listed(human(number), path=path) for number in (110, 111)])
    facts = whole(store, guards=OWNERS)
    assert said("required-owners", facts) == [("deny", path, "E_OWNERS")]
    assert only("required-owners", facts).fix == "name the owner in 'meta:', one of genomics"


def test_document_that_only_adopts_needs_its_owner_too() -> None:
    path = "desired/catalogs/human.yaml"
    wish = listed(human(110), path=path)
    store = facts_of(live([human(110)]), [wish], others=[human(110)])
    assert said("required-owners", whole(store, guards=OWNERS, wishes=[wish])) == [("deny", path, "E_OWNERS")]


def test_document_that_changes_nothing_needs_none() -> None:
    store = facts_of(live([human(110)]), [listed(human(110), path="desired/catalogs/human.yaml")])
    assert said("required-owners", whole(store, guards=OWNERS)) == []


@pytest.mark.parametrize("pattern", [f"m/dataset/{human(110)}", "m/dataset/110/*", "m/dataset", "m"])
def test_protected_release_is_not_taken_away(pattern: str) -> None:
    store = facts_of(live([human(110), human(111)]), [gone(human(110)), listed(human(111))])
    facts = whole(store, guards=Guards(protected=(pattern,)))
    assert said("protected", facts) == [("deny", f"m/dataset/{human(110)}", "E_PROTECTED")]


@pytest.mark.parametrize("pattern", [f"m/dataset/{human(111)}", "m/dataset/11", "m/data", "other"])
def test_what_no_pattern_names_is_not_protected(pattern: str) -> None:
    store = facts_of(live([human(110), human(111)]), [gone(human(110)), listed(human(111))])
    assert said("protected", whole(store, guards=Guards(protected=(pattern,)))) == []


def test_what_the_ledger_protects_is_not_taken_away() -> None:
    store = facts_of(live([human(110), human(111)]), [gone(human(110)), listed(human(111))])
    protected = Inventory(store.inventory.recorded, frozenset({at(human(110)), at(human(111))}))
    assert said("protected-live", whole(store)) == []
    assert said("protected-live", whole(replace(store, inventory=protected))) == [
        ("deny", f"m/dataset/{human(110)}", "E_PROTECTED")
    ]


def test_protected_alias_is_not_pointed_elsewhere() -> None:
    store = facts_of(
        live([human(110), mouse(110)], human(110)), [latest(mouse(110))], others=[human(110), mouse(110)]
    )
    facts = whole(store, guards=Guards(protected=("m/alias/latest",)))
    assert said("protected", facts) == [("deny", "m/alias/latest", "E_PROTECTED")]


def test_protected_version_is_not_yanked() -> None:
    store = registry_facts(
        {"1.0.0": 1, "1.1.0": 2}, [tagged("1.0.0", 1, yanked="yanked"), tagged("1.1.0", 2)]
    )
    facts = whole(store, guards=Guards(protected=("r/tag/eth/main@1*",)))
    assert said("protected", facts) == [("deny", "r/tag/eth/main@1.0.0", "E_PROTECTED")]


@pytest.mark.parametrize(
    ("ancestry", "reviewed", "applied"),
    [
        (Ancestry.FORWARD, [], []),
        (Ancestry.OLDER, [("deny", "m", "E_COMMIT_ORDER")], [("deny", "m", "E_COMMIT_ORDER")]),
        (Ancestry.ASIDE, [("warn", "m", "E_COMMIT_ORDER")], [("deny", "m", "E_COMMIT_ORDER")]),
        (Ancestry.UNKNOWN, [("warn", "m", "E_COMMIT_UNKNOWN")], [("deny", "m", "E_COMMIT_UNKNOWN")]),
    ],
)
def test_what_is_applied_descends_from_what_was_applied_last(
    ancestry: Ancestry, reviewed: list[tuple[str, str, str]], applied: list[tuple[str, str, str]]
) -> None:
    store = facts_of(live([human(110)]), [listed(human(110)), listed(human(111))])
    facts = whole(replace(store, lineage=Lineage("a" * 40, "b" * 40, ancestry)))
    assert said("commit-order", facts) == reviewed
    assert said("commit-order", replace(facts, purpose=Purpose.APPLY)) == applied
