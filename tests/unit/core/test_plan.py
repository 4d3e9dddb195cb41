"""Plans: what their digests cover, what a saved plan must be, and what makes it stale."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from reconciler.canonical import canonical, sha256_digest
from reconciler.diff import difference
from reconciler.errors import Corrupt, InvalidInput, Problem, Stale
from reconciler.model import NOTHING, Depth, Finding, Observed, Place, Severity
from reconciler.plan import Plan, check_same, read_saved, store_plan
from reconciler.stores.memory import SHAPE
from tests.unit.core.values import DIGEST, LATEST, LISTED, OTHER, STORE, dataset, owned, seen, wish

HUMAN, MOUSE = dataset(), dataset(species="mus_musculus", assembly="GRCm39")
ALIAS = {"dataset": HUMAN.key, "binding": "catalog"}
WISHES = [wish(LATEST, ALIAS), wish(HUMAN, LISTED, source="builds/human")]
ISSUED = 1_700_000_000


def plan_of(wishes: Any = WISHES, sights: Any = (), **over: Any) -> Plan:  # noqa: ANN401 - test shorthand
    found = difference(wishes, sights, owned({}), shape=SHAPE, everything_ours=False)
    part = store_plan(STORE, SHAPE, found, depth=Depth.MANIFESTS)
    return Plan(**{"stores": (part,), "commit": "c" * 40, "policy": DIGEST, "tool": "test", **over})


def saved(plan: Plan) -> bytes:
    return canonical(plan.to_json(issued=ISSUED))


def resealed(plan: Plan, **members: Any) -> bytes:  # noqa: ANN401 - JSON
    """A saved plan that somebody edited and sealed again: the seal is no secret."""
    document = json.loads(saved(plan)) | members
    document = {name: value for name, value in document.items() if value != "drop" and name != "digest"}
    return canonical({"digest": sha256_digest(canonical(document)), **document})


def test_saved_plan_says_what_would_happen() -> None:
    document = plan_of().to_json(issued=ISSUED)
    assert document.pop("intent") == plan_of().intent
    sealed = {**document, "intent": plan_of().intent}
    assert document.pop("digest") == sha256_digest(
        canonical({name: value for name, value in sealed.items() if name != "digest"})
    )
    assert document == {
        "schema": "reconciler/plan/v1",
        "commit": "c" * 40,
        "policy": DIGEST,
        "tool": "test",
        "issued": ISSUED,
        "expires": ISSUED + 86_400,
        "advisory": None,
        "stores": [{"name": "m", "identity": "m memory name=unit", "depth": "manifests"}],
        "summary": {"create": 2, "update": 0, "delete": 0, "noop": 0, "adopted": 0},
        "steps": [
            {
                "id": "publish 110/homo_sapiens/GRCh38",
                "store": "m",
                "unit": "dataset 110/homo_sapiens/GRCh38",
                "after": [],
            },
            {
                "id": "promote",
                "store": "m",
                "unit": "catalog",
                "after": ["publish 110/homo_sapiens/GRCh38"],
            },
            {"id": "set alias latest", "store": "m", "unit": "alias latest", "after": ["promote"]},
        ],
        "resource_changes": [
            _change(str(HUMAN), "publish 110/homo_sapiens/GRCh38", "publish", {"artifact": DIGEST}),
            _change(str(HUMAN), "promote", "promote", {"entry": "listed"}),
            _change(str(LATEST), "set alias latest", "set alias", ALIAS),
        ],
        "adopted": [],
        "protection": [],
        "held": [],
        "contents": [],
        "notes": [],
        "findings": [],
        "guards": None,
    }


def _change(address: str, step: str, verb: str, after: dict[str, str]) -> dict[str, Any]:
    return {
        "address": address,
        "type": address.split("/")[1],
        "step": step,
        "verb": verb,
        "path": "catalog.yaml",
        "line": 7,
        "change": {"actions": ["create"], "before": None, "after": after},
    }


def test_summary_counts_addresses_and_not_slots() -> None:
    wishes = [wish(LATEST, ALIAS), wish(HUMAN, LISTED), wish(MOUSE, NOTHING, reason="superseded")]
    sights = [
        seen(LATEST, {"dataset": MOUSE.key, "binding": OTHER}),
        seen(HUMAN, LISTED),
        seen(MOUSE, {**LISTED, "diffs": ("x",)}),
    ]
    counts = {"create": 0, "update": 1, "delete": 1, "noop": 1, "adopted": 1}
    assert plan_of(wishes, sights).summary() == counts


def test_plan_that_only_adopts_is_empty() -> None:
    plan = plan_of([wish(HUMAN, LISTED)], [seen(HUMAN, LISTED)])
    assert (plan.empty, plan.summary()["adopted"], plan_of().empty) == (True, 1, False)


@pytest.mark.parametrize("over", [{"commit": "d" * 40}, {"tool": "other"}, {"findings": "deny"}])
def test_intent_does_not_cover_commit_tool_and_findings(over: dict[str, Any]) -> None:
    if over == {"findings": "deny"}:
        over = {"findings": (Finding(rule="r", severity=Severity.DENY, subject="s", message="m"),)}
    assert plan_of(**over).intent == plan_of().intent


def test_intent_does_not_cover_places() -> None:
    moved = [w._replace(place=Place("elsewhere.yaml", 99, 9)) for w in WISHES]
    assert plan_of(moved).intent == plan_of().intent


def test_intent_does_not_cover_unrelated_live_values() -> None:
    assert plan_of(sights=[seen(MOUSE, LISTED)]).intent == plan_of().intent


def test_intent_covers_policy_store_identity_changes_before_values_sources_and_adoption() -> None:
    part = plan_of().stores[0]
    elsewhere = replace(STORE, settings={"name": "another"})
    intents = [
        plan_of().intent,
        plan_of(policy=OTHER).intent,
        plan_of(stores=(replace(part, config=elsewhere),)).intent,
        plan_of([WISHES[0], wish(HUMAN, {**LISTED, "artifact": OTHER}, source="builds/human")]).intent,
        plan_of([WISHES[0], wish(HUMAN, LISTED, source="builds/other")]).intent,
        plan_of(sights=[seen(LATEST, {"dataset": MOUSE.key, "binding": "catalog"})]).intent,
        plan_of(sights=[seen(LATEST, {"dataset": MOUSE.key, "binding": OTHER})]).intent,
        plan_of(sights=[seen(HUMAN, LISTED)]).intent,
    ]
    assert len(set(intents)) == len(intents)


def test_broken_content_stops_the_plan() -> None:
    problem = Problem(code="E_ARTIFACT", message="broken")
    with pytest.raises(Corrupt) as refused:
        plan_of(sights=[Observed(HUMAN, {"artifact": DIGEST}, (problem,))])
    assert refused.value.problems == (problem,)


def test_saved_plan_is_read_back() -> None:
    plan = plan_of()
    back = read_saved(saved(plan), where="plan.json")
    assert (back.intent, back.commit, back.policy, back.tool, back.stores) == (
        plan.intent,
        "c" * 40,
        DIGEST,
        "test",
        ("m",),
    )
    assert (back.issued, back.expires) == (ISSUED, ISSUED + 86_400)
    check_same(back, plan)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"create":2', b'"create":1'),
        (b"homo_sapiens", b"mus_musculus"),
        (b'"tool":"test"', b'"tool":"text"'),
        (b'"findings":[]', b'"findings":[1]'),
        (b'"expires":1700086400', b'"expires":9900086400'),
        (b'"digest":"sha256:', b'"digest":"sha512:'),
    ],
)
def test_edited_plan_does_not_match_its_seal(old: bytes, new: bytes) -> None:
    data = saved(plan_of())
    assert old in data
    with pytest.raises(Corrupt) as refused:
        read_saved(data.replace(old, new), where="plan.json")
    assert (refused.value.code, refused.value.problems[0].path) == ("E_PLAN_MISMATCH", "plan.json")


def test_no_byte_of_a_saved_plan_can_be_changed_added_or_lost() -> None:
    data = saved(plan_of())
    changed = [data[:at] + bytes([byte ^ 1]) + data[at + 1 :] for at, byte in enumerate(data)]
    longer = [data + end for end in (b"\n", b" ", b"x", data)] + [b"\n" + data]
    for edited in (*changed, *longer, data[:-1], data[1:], data[: len(data) // 2]):
        with pytest.raises(Corrupt) as refused:
            read_saved(edited, where="plan.json")
        assert refused.value.code == "E_PLAN_MISMATCH"


def test_plan_as_it_was_printed_is_the_saved_plan() -> None:
    printed = json.dumps(plan_of().to_json(issued=ISSUED), ensure_ascii=True) + "\n"
    assert read_saved(printed.encode(), where="plan.json") == read_saved(saved(plan_of()), where="plan.json")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schema":"reconciler/plan/v2"}', b"\xff", b"[" * 999])
def test_file_that_is_no_plan_is_invalid_input(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_saved(data, where="plan.json")


@pytest.mark.parametrize(
    "members",
    [
        {"intent": "drop"},
        {"commit": 1},
        {"issued": "soon"},
        {"expires": None},
        {"stores": [{}]},
        {"stores": 1},
        {"resource_changes": [{"step": "x"}]},
        {"resource_changes": [{"step": [], "address": "a", "change": {}}]},
        {"resource_changes": "text"},
    ],
)
def test_plan_that_was_edited_and_sealed_again_is_invalid_input(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_saved(resealed(plan_of(), **members), where="plan.json")
    assert refused.value.code == "E_PLAN_SHAPE"


@pytest.mark.parametrize("now", [ISSUED - 300, ISSUED, ISSUED + 86_400])
def test_plan_may_be_applied_for_a_day(now: int) -> None:
    read_saved(saved(plan_of()), where="").check_age(now)


@pytest.mark.parametrize("now", [ISSUED - 301, ISSUED + 86_401])
def test_plan_that_is_too_old_or_from_the_future_is_stale(now: int) -> None:
    with pytest.raises(Stale) as refused:
        read_saved(saved(plan_of()), where="").check_age(now)
    assert refused.value.code == "E_PLAN_EXPIRED"


def test_stale_plan_names_each_difference() -> None:
    reviewed = read_saved(saved(plan_of()), where="")
    now = plan_of([wish(HUMAN, {**LISTED, "artifact": OTHER}), wish(MOUSE, LISTED)])
    with pytest.raises(Stale) as refused:
        check_same(reviewed, now)
    assert [(p.code, p.path, p.message) for p in refused.value.problems] == [
        (
            "E_PLAN_STALE",
            str(MOUSE),
            "'promote' would happen but was not in the reviewed plan",
        ),
        (
            "E_PLAN_STALE",
            str(HUMAN),
            (
                "'publish 110/homo_sapiens/GRCh38' would change something else than was reviewed: "
                f'after.artifact: "{DIGEST}" became "{OTHER}"'
            ),
        ),
        (
            "E_PLAN_STALE",
            str(MOUSE),
            "'publish 110/mus_musculus/GRCm39' would happen but was not in the reviewed plan",
        ),
        (
            "E_PLAN_STALE",
            str(LATEST),
            "'set alias latest' was reviewed but would not happen any more",
        ),
    ]
    assert [bool(p.fix) for p in refused.value.problems] == [False, False, False, True]


def test_stale_plan_whose_steps_are_equal_says_what_else_can_differ() -> None:
    with pytest.raises(Stale) as refused:
        check_same(read_saved(saved(plan_of()), where=""), plan_of(policy=OTHER))
    (problem,) = refused.value.problems
    assert problem.message == "another policy would judge it than the one under which it was reviewed"


def test_step_names_of_an_edited_plan_are_escaped() -> None:
    item = {"step": "\x1b[2J\nforged", "address": "a", "change": {"after": 1}}
    reviewed = read_saved(resealed(plan_of(), intent=OTHER, resource_changes=[item]), where="")
    with pytest.raises(Stale) as refused:
        check_same(reviewed, plan_of())
    assert "\x1b" not in str(refused.value)
    assert "'\\x1b[2J\\nforged' was reviewed" in str(refused.value)
