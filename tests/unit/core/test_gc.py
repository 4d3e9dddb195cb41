"""What keeps content, judged on values; and the files that say it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reconciler.canonical import canonical
from reconciler.errors import Corrupt, InvalidInput, Problem
from reconciler.gc import (
    Content,
    GcPlan,
    Holdings,
    Retention,
    Roots,
    judge,
    read_plan,
)
from reconciler.ledger import Inventory
from reconciler.model import Address
from reconciler.policy.by_hand import shielded_in

DIGEST = "sha256:" + "a" * 64
WEEK = 604_800
NOW = 2_000_000_000
NOTHING = Roots(frozenset(), frozenset())
MOUSE = "1/mus_musculus/GRCm39"


def content(key: str = MOUSE, *, age: int = WEEK) -> Content:
    release, _, line = key.partition("/")
    return Content(
        address=Address("serving", "dataset", key),
        digest=DIGEST,
        hashes=frozenset({DIGEST, "sha256:" + "b" * 64}),
        size=10,
        changed_at=NOW - age,
        release=release,
        line=line,
    )


def reasons(one: Content, roots: Roots = NOTHING) -> tuple[str, ...]:
    (verdict,) = judge(Holdings(NOW, (one,)), roots)
    return verdict.reasons


def removed(keys: list[str], retention: Retention) -> list[str]:
    roots = Roots(frozenset(), frozenset(), retention)
    verdicts = judge(Holdings(NOW, tuple(content(key) for key in keys)), roots)
    return [verdict.content.address.key for verdict in verdicts if not verdict.reasons]


def plan(*contents: Content) -> GcPlan:
    verdicts = judge(Holdings(NOW, contents), NOTHING)
    return GcPlan("serving", "serving root=x", "c0", "sha256:policy", verdicts, ())


def test_what_nothing_keeps_is_a_candidate() -> None:
    assert reasons(content()) == ()


def test_a_second_less_than_seven_days_is_too_young() -> None:
    assert reasons(content(age=WEEK - 1)) == ("changed less than 7 days ago",)


def test_a_time_in_the_future_is_young() -> None:
    assert reasons(content(age=-WEEK)) == ("changed less than 7 days ago",)


def test_every_use_is_told() -> None:
    one = replace(content(), uses=("listed in the catalog", "alias latest"))
    assert reasons(one) == ("listed in the catalog", "alias latest")


def test_a_wish_keeps_by_key_and_by_digest() -> None:
    assert reasons(content(), Roots(frozenset({MOUSE}), frozenset())) == ("declared in git",)
    assert reasons(content(), Roots(frozenset({DIGEST}), frozenset())) == ("declared in git",)


def test_a_pin_keeps_by_key_and_by_any_hash() -> None:
    assert reasons(content(), Roots(frozenset(), frozenset({MOUSE}))) == ("pinned",)
    assert reasons(content(), Roots(frozenset(), frozenset({"sha256:" + "b" * 64}))) == ("pinned",)


def test_what_may_not_be_taken_away_stays_by_address_key_and_digest() -> None:
    tag = Address("registry", "tag", "eth/main@1.0.0")
    ours = Inventory({tag: {"manifest": DIGEST}}, frozenset({tag}))

    def why(address: Address) -> str | None:
        return "protected by the ledger" if address in ours.protected else None

    shields = shielded_in(ours, why)
    assert reasons(content(), Roots(frozenset(), frozenset(), shields=shields)) == (
        "protected by the ledger, as registry/tag/eth/main@1.0.0",
    )
    held = Roots(frozenset(), frozenset(), shield=lambda address: f"hold of {address}")
    assert reasons(content(), held) == (f"hold of serving/dataset/{MOUSE}",)


def test_what_cannot_be_judged_stays() -> None:
    problem = Problem(code="E_HALF_PUBLISHED", message="it is half")
    assert reasons(replace(content(), problems=(problem,))) == ("cannot be judged: it is half",)
    assert reasons(replace(content(), digest=None)) == ("cannot be judged: it is not published",)


def test_the_highest_releases_of_the_store_are_kept_whole() -> None:
    keys = ["9/a_a/X", "10/a_a/X", "11/a_a/X", "11/b_b/Y", "8/c_c/Z"]
    assert removed(keys, Retention(release_lines=2)) == ["9/a_a/X", "8/c_c/Z"]


def test_the_highest_releases_of_every_line_are_kept() -> None:
    keys = ["9/a_a/X", "10/a_a/X", "11/a_a/X", "11/b_b/Y", "8/c_c/Z"]
    assert removed(keys, Retention(versions=2)) == ["9/a_a/X"]


def test_the_digest_covers_the_candidates_and_nothing_that_time_moves() -> None:
    young = content("2/mus_musculus/GRCm39", age=0)
    assert plan(content()).digest == plan(content(age=2 * WEEK), young).digest
    assert plan(content()).digest != plan(replace(content(), digest="sha256:" + "c" * 64)).digest


def test_under_the_lock_only_what_was_planned_and_is_unchanged_goes() -> None:
    other, changed = content("2/mus_musculus/GRCm39"), content("3/mus_musculus/GRCm39")
    still = plan(content(), changed).again(NOTHING)
    found = Holdings(NOW, (content(), other, replace(changed, digest="sha256:" + "c" * 64)))
    assert still(found) == [content()]


def test_what_is_used_meanwhile_does_not_go() -> None:
    assert plan(content()).again(NOTHING)(Holdings(NOW, (replace(content(), uses=("alias latest",)),))) == []


def test_a_saved_plan_gives_its_digest_in_both_forms() -> None:
    made = plan(content())
    assert read_plan(canonical(made.to_json()), "gc.json") == (made.digest, "sha256:policy")
    assert read_plan(json.dumps(made.to_json()).encode(), "gc.json") == (made.digest, "sha256:policy")


def test_an_edited_plan_is_an_integrity_failure() -> None:
    document = plan(content()).to_json()
    document["candidates"].append({"address": "serving/dataset/2/a/B", "digest": DIGEST})
    with pytest.raises(Corrupt) as refused:
        read_plan(canonical(document), "gc.json")
    assert refused.value.code == "E_PLAN_MISMATCH"


@pytest.mark.parametrize("document", [[], {}, {"schema": "reconciler/plan/v1"}])
def test_another_document_is_no_plan(document: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_plan(canonical(document), "gc.json")
    assert refused.value.code == "E_SCHEMA_VERSION"
