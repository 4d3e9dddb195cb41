"""Properties of ids, digests, canonical JSON, ledger records and saved plans."""

from __future__ import annotations

import json
import os
from pathlib import PurePosixPath

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.canonical import canonical, parse_strict, sha256_digest, struct_order
from reconciler.errors import Corrupt, InvalidInput, Stale, escaped
from reconciler.ledger import Record, intent_bytes, outcome_bytes, read_record
from reconciler.model import Change, DatasetId, Outcome, Step, StepResult, dataset_id_problem, digest_problem
from reconciler.plan import Plan, check_same, read_saved
from reconciler.testing.harness import BY_GIT, HUMAN_110, HUMAN_111, declared, declared_alias, planned
from reconciler.testing.memory_harness import MemoryHarness
from reconciler.testing.strategies import changes, dataset_ids, json_values, near_dataset_ids


@given(json_values())
def test_canonical_bytes_are_those_of_rfc_8785(document: object) -> None:
    assert canonical(document) == rfc8785.dumps(document)  # type: ignore[arg-type]


@given(json_values())
def test_canonical_bytes_come_back_as_the_same_document(document: object) -> None:
    assert parse_strict(canonical(document)) == document
    assert parse_strict(struct_order(document)) == document


@given(
    st.binary(max_size=60)
    | st.text(alphabet='[]{}",:\\ud800019eE+-.NaInfity \n', max_size=60).map(str.encode)
)
def test_strict_reader_refuses_or_agrees_with_the_standard_reader(data: bytes) -> None:
    try:
        document = parse_strict(data)
    except InvalidInput:
        return
    assert document == json.loads(data)
    assert b"NaN" not in json.dumps(document).encode()


@given(dataset_ids())
def test_legal_dataset_id_comes_back_as_written(text: str) -> None:
    assert str(DatasetId.parse(text)) == text


@given(near_dataset_ids())
@example("110/homo_sapiens/...")
def test_any_text_is_refused_or_is_a_safe_path(text: str) -> None:
    if dataset_id_problem(text) is not None:
        return
    assert text.isascii()
    assert text.isprintable()
    assert os.path.normpath(f"root/{text}") == f"root/{text}"
    assert len(PurePosixPath(text).parts) == 3
    assert not {"", ".", ".."} & set(text.split("/"))


@given(st.text(max_size=80))
def test_any_text_but_a_digest_is_refused_as_one(text: str) -> None:
    assert digest_problem(text) is not None


@given(st.text(), st.integers(min_value=10, max_value=100))
def test_escaped_text_is_one_short_line_without_controls(text: str, limit: int) -> None:
    safe = escaped(text, limit)
    assert len(safe) <= limit
    assert safe.removesuffix("…").isascii()
    assert safe.isprintable()


def ledger_of(size: int) -> list[tuple[bytes, bytes]]:
    """A ledger as its bytes."""
    records: list[tuple[bytes, bytes]] = []
    previous = None
    for seq in range(1, size + 1):
        step = Step(id=f"step {seq}", store="m", unit="catalog", changes=())
        intent = intent_bytes(seq=seq, previous=previous, identity="m memory", run=BY_GIT, steps=[step])
        result = StepResult(step=step.id, outcome=Outcome.APPLIED, receipt=f"r{seq}")
        outcome = outcome_bytes(
            seq=seq, intent_sha=sha256_digest(intent), results=[result], heads={"catalog": "x"}
        )
        records.append((intent, outcome))
        previous = sha256_digest(outcome)
    return records


def read_ledger(records: list[tuple[bytes, bytes]]) -> list[Record]:
    """Every record, each checked against the one before it."""
    found: list[Record] = []
    for seq, (intent, outcome) in enumerate(records, start=1):
        previous = found[-1].outcome_sha if found else None
        found.append(
            read_record(seq=seq, store="m", previous=previous, intent=intent, outcome=outcome, where="ledger")
        )
    return found


def is_refused(records: list[tuple[bytes, bytes]]) -> bool:
    try:
        read_ledger(records)
    except Corrupt as error:
        return error.code == "E_LEDGER_CHAIN"
    return False


LEDGER = ledger_of(4)


def test_untouched_ledger_is_read() -> None:
    assert [record.seq for record in read_ledger(LEDGER)] == [1, 2, 3, 4]


@given(st.integers(0, 2), st.booleans(), st.data())
def test_any_flipped_bit_breaks_the_chain(at: int, in_intent: bool, data: st.DataObject) -> None:  # noqa: FBT001
    touched = [list(record) for record in LEDGER]
    part = 0 if in_intent else 1
    document = bytearray(touched[at][part])
    bit = data.draw(st.integers(0, len(document) * 8 - 1))
    document[bit // 8] ^= 1 << bit % 8
    touched[at][part] = bytes(document)
    assert is_refused([(intent, outcome) for intent, outcome in touched])


@given(st.data())
def test_touched_last_outcome_is_refused_or_still_has_its_shape(data: st.DataObject) -> None:
    # Nothing follows it that could hold its digest; the next record will.
    document = bytearray(LEDGER[-1][1])
    bit = data.draw(st.integers(0, len(document) * 8 - 1))
    document[bit // 8] ^= 1 << bit % 8
    touched = [*LEDGER[:-1], (LEDGER[-1][0], bytes(document))]
    if not is_refused(touched):
        last = read_ledger(touched)[-1]
        assert all(isinstance(text, str) for text in (*last.heads, *last.heads.values()))
        assert last.outcome_sha != sha256_digest(LEDGER[-1][1])


@given(st.permutations(range(4)))
def test_any_other_order_of_the_records_breaks_the_chain(order: list[int]) -> None:
    assert is_refused([LEDGER[at] for at in order]) == (order != [0, 1, 2, 3])


@given(st.integers(0, 2))
def test_gap_and_repeat_break_the_chain(at: int) -> None:
    assert is_refused(LEDGER[:at] + LEDGER[at + 1 :])
    assert is_refused([*LEDGER[: at + 1], *LEDGER[at:]])


def test_fork_breaks_the_chain() -> None:
    intent, outcome = LEDGER[1]
    forked = outcome_bytes(seq=2, intent_sha=sha256_digest(intent), results=(), heads={})
    assert forked != outcome
    assert is_refused([LEDGER[0], (intent, forked), *LEDGER[2:]])


@given(changes())
def test_steps_come_back_from_the_ledger_as_written(found: list[Change]) -> None:
    step = Step(id="s", store="m", unit="catalog", changes=tuple(found))
    intent = intent_bytes(seq=1, previous=None, identity="m", run=BY_GIT, steps=[step])
    assert read_record(seq=1, store="m", previous=None, intent=intent, outcome=None, where="").steps == (
        step,
    )


def reviewed_plan() -> Plan:
    harness = MemoryHarness()
    store = harness.open()
    wishes = [declared(store, d, harness.build(d)) for d in (HUMAN_110, HUMAN_111)]
    return planned(store, [*wishes, declared_alias(store, HUMAN_111)])


PLAN = reviewed_plan()
SAVED = canonical(PLAN.to_json(issued=1_700_000_000))


@given(st.integers(0, len(SAVED) - 1), st.integers(0, 255))
def test_plan_with_any_edited_byte_is_never_applied(at: int, byte: int) -> None:
    edited = SAVED[:at] + bytes([byte]) + SAVED[at + 1 :]
    if edited != SAVED:
        with pytest.raises((Corrupt, InvalidInput)):
            read_saved(edited, where="plan.json")


@given(st.integers(0, len(SAVED)), st.integers(1, 40))
def test_cut_plan_is_never_applied(at: int, size: int) -> None:
    cut = SAVED[:at] + SAVED[at + size :]
    if cut != SAVED:
        with pytest.raises((Corrupt, InvalidInput)):
            read_saved(cut, where="plan.json")


@given(json_values(), st.sampled_from(sorted(json.loads(SAVED))))
def test_plan_that_was_sealed_again_is_refused_or_compared(value: object, member: str) -> None:
    document = {**json.loads(SAVED), member: value}
    document.pop("digest", None)
    data = canonical({"digest": sha256_digest(canonical(document)), **document})
    try:
        check_same(read_saved(data, where="plan.json"), PLAN)
        same = True
    except (Corrupt, InvalidInput, Stale):
        same = False
    if member in {"intent", "schema", "digest"}:
        assert same == (json.loads(data)[member] == json.loads(SAVED)[member])
