"""What is refused is refused before anything is written, the ledger included, and the refusal says why."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.errors import Conflict, Denied, InvalidInput, ReconcilerError
from reconciler.model import NOTHING, Address, Change, Declaration, Step
from reconciler.stores.atproto.dagcbor import Data, Record, cid_of, encode
from reconciler.stores.atproto.keys import COLLECTIONS, record_source
from reconciler.stores.atproto.repository import slots_of
from tests.integration.atproto.world import PLACE, RUN, SAMPLE, Promoted, World, ledger_of

ONE = Promoted("experiment-2024-001")


def refusal(world: World, steps: Sequence[Step]) -> ReconcilerError:
    """The error of a commit that must write nothing."""
    before, ledger = world.records(), ledger_of(world)
    with world.open() as store, pytest.raises(ReconcilerError) as refused:
        store.commit(steps, RUN)
    assert (world.records(), ledger_of(world)) == (before, ledger)
    return refused.value


def steps_for(world: World, *wishes: Declaration) -> tuple[Step, ...]:
    """The steps towards some wishes."""
    with world.open() as store:
        return world.plan(store, sorted(wishes, key=lambda wish: wish.address)).stores[0].steps


def wish(world: World, kind: str, key: str, record: Record) -> Declaration:
    """The wish for a record as it is."""
    content = encode(record)
    world.contents[cid_of(content)] = content
    slots = slots_of(world.did, kind, record)
    return Declaration(Address("public", kind, key), slots, PLACE, record_source(content))


def label(world: World, **changed: Data) -> Record:
    """The label of the dataset, changed."""
    return {**list(ONE.records(world.did))[2][2], **changed}


def entry(world: World, **changed: Data) -> Record:
    """Its entry, changed."""
    return {**list(ONE.records(world.did))[1][2], **changed}


def promoted(world: World) -> None:
    """The dataset is there."""
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE))


def test_label_of_an_entry_that_is_not_there(world: World) -> None:
    error = refusal(world, steps_for(world, wish(world, "label", ONE.label, label(world))))
    assert (type(error), error.code) == (Denied, "E_REFERENCE_MISSING")
    assert f"science.alt.dataset.entry/{ONE.entry}" in str(error)


def test_entry_of_a_schema_that_is_not_there(world: World) -> None:
    error = refusal(world, steps_for(world, wish(world, "entry", ONE.entry, entry(world))))
    assert error.code == "E_REFERENCE_MISSING"


@pytest.mark.parametrize(("kind", "key"), [("entry", ONE.entry), ("schema", SAMPLE)])
def test_withdrawal_of_what_is_still_named(world: World, kind: str, key: str) -> None:
    promoted(world)
    gone = Declaration(Address("public", kind, key), NOTHING, PLACE, reason="superseded")
    error = refusal(world, steps_for(world, *(w for w in world.wishes(ONE) if w.address.key != key), gone))
    assert (type(error), error.code) == (Denied, "E_STILL_REFERRED")


def test_withdrawal_of_an_entry_that_a_label_of_others_names(world: World) -> None:
    promoted(world)
    collection = COLLECTIONS["label"]
    value = {"$type": collection, **label(world), "createdAt": "2024-01-01T00:00:00Z"}
    operation = {
        "$type": "com.atproto.repo.applyWrites#create",
        "collection": collection,
        "rkey": "3kaaaaaaaaaaa",
    }
    world.server.write(world.account, {**operation, "value": value})
    error = refusal(world, steps_for(world, *world.wishes(withdrawn=[ONE])))
    assert error.code == "E_STILL_REFERRED"
    assert "3kaaaaaaaaaaa" in str(error)


def test_record_at_a_key_that_is_not_its_own(world: World) -> None:
    error = refusal(world, steps_for(world, wish(world, "label", "3kaaaaaaaaaaa", label(world))))
    assert error.code == "E_RECORD_KEY"
    assert f"its key is {ONE.label}" in str(error)


def test_record_over_one_of_another_name(world: World) -> None:
    promoted(world)
    renamed = wish(world, "entry", ONE.entry, entry(world, name="something else"))
    error = refusal(
        world, steps_for(world, *(w for w in world.wishes(ONE) if w.address.kind != "entry"), renamed)
    )
    assert (type(error), error.code) == (Denied, "E_KEY_TAKEN")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"name": "n" * 201}, "E_RECORD_LIMIT"),
        ({"tags": [1]}, "E_RECORD_TYPE"),
        ({"schemaRef": "nowhere"}, "E_RECORD_FORMAT"),
        ({"storage": {"$type": "science.alt.dataset.storageHttp"}}, "E_RECORD_FIELD"),
        ({"metadata": {"custom": 1}}, "E_RECORD_TYPE"),
        ({"metadata": bytes(100_001)}, "E_RECORD_LIMIT"),
        ({"other": bytes(900_001)}, "E_RECORD_LIMIT"),
        ({"$type": "science.alt.dataset.label"}, "E_RECORD_CONTENT"),
        ({"createdAt": "2024-01-01T00:00:00Z"}, "E_RECORD_CONTENT"),
    ],
)
def test_record_that_its_lexicon_does_not_know(world: World, changed: dict[str, Data], code: str) -> None:
    error = refusal(world, steps_for(world, wish(world, "entry", ONE.entry, entry(world, **changed))))
    assert (type(error), error.code) == (InvalidInput, code)


def test_record_that_is_not_at_hand_or_not_the_planned_one(world: World) -> None:
    good = wish(world, "entry", ONE.entry, entry(world))
    other = wish(world, "entry", ONE.entry, entry(world, description="another"))
    assert refusal(world, steps_for(world, good._replace(source=other.source))).code == "E_RECORD_CONTENT"
    for source in ("builds/1.tar", "record:bafy:1", None):
        assert refusal(world, steps_for(world, good._replace(source=source))).code == "E_SOURCE_MISSING"


def test_bytes_that_are_no_record(world: World) -> None:
    for content in (b"\xff", encode([1])):
        world.contents[cid_of(content)] = content
        steps = steps_for(
            world, wish(world, "entry", ONE.entry, entry(world))._replace(source=record_source(content))
        )
        assert refusal(world, steps).code == "E_RECORD_CONTENT"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (Change(Address("public", "lens", "a"), "content", None, "sha256:1"), "E_STEP"),
        (Change(Address("public", "entry", "a/b"), "content", None, "sha256:1"), "E_STEP"),
        (Change(Address("public", "entry", ".."), "content", None, "sha256:1"), "E_STEP"),
        (Change(Address("public", "entry", "a"), "version", None, "1.0.0"), "E_SLOT"),
        (Change(Address("public", "entry", "a"), "name", None, "x"), "E_STEP"),
    ],
)
def test_step_that_no_server_can_do(world: World, change: Change, code: str) -> None:
    error = refusal(world, [Step(id="s", store="public", unit="repository", changes=(change,))])
    assert error.code == code


def test_step_with_more_writes_than_one_request_takes(world: World) -> None:
    changes = tuple(
        Change(Address("public", "label", f"l{n}"), "content", "sha256:1", None) for n in range(201)
    )
    assert refusal(world, [Step(id="s", store="public", unit="repository", changes=changes)]).code == "E_STEP"


def test_step_that_names_a_slot_twice(world: World) -> None:
    change = Change(Address("public", "label", "l"), "content", "sha256:1", None)
    steps = [Step(id="s", store="public", unit="repository", changes=(change, change))]
    assert refusal(world, steps).code == "E_STEP"


def test_slot_that_does_not_follow_from_the_record(world: World) -> None:
    good = wish(world, "entry", ONE.entry, entry(world))
    error = refusal(world, steps_for(world, good._replace(slots={**good.slots, "name": "another"})))
    assert error.code == "E_RECORD_CONTENT"


def test_stale_step_names_every_difference(world: World) -> None:
    steps = steps_for(world, *world.wishes(ONE))
    promoted(world)
    error = refusal(world, steps)
    assert isinstance(error, Conflict)
    assert {problem.code for problem in error.problems} == {"E_CONFLICT"}
    assert len(error.problems) == len(steps[0].changes)
