"""Approvals: enough owners, of this very intent, fresh, and each once."""

from __future__ import annotations

import json

import pytest

from reconciler.canonical import canonical
from reconciler.errors import Corrupt, Denied, InvalidInput, ReconcilerError, Stale
from reconciler.evidence.approval import (
    LIFETIME,
    approval_statement,
    intent_approvers,
    require_approvals,
)
from reconciler.evidence.envelope import envelope_bytes, sealed
from reconciler.evidence.keys import SigningKey
from tests.unit.evidence.packets import ADA, ADA_ONLY, BOB, BOTH, EVE, INTENT, POLICY, TIME


def approval(*keys: SigningKey, intent: str = INTENT, issued: int = TIME) -> bytes:
    return envelope_bytes(sealed(approval_statement(intent, issued=issued), keys))


def owners(*approvals: bytes, now: int = TIME, used: tuple[bytes, ...] = ()) -> tuple[str, ...]:
    given = [(f"{number}.json", data) for number, data in enumerate(approvals)]
    return require_approvals(given, INTENT, BOTH, now=now, used=[data.decode() for data in used])


def refused(*approvals: bytes, now: int = TIME, used: tuple[bytes, ...] = ()) -> tuple[type, str]:
    with pytest.raises(ReconcilerError) as error:
        owners(*approvals, now=now, used=used)
    return type(error.value), error.value.code


def test_enough_owners_approve() -> None:
    assert owners(approval(BOB), approval(ADA)) == ("ada", "bob")


def test_one_file_may_carry_several_owners() -> None:
    assert owners(approval(ADA, BOB)) == ("ada", "bob")


def test_too_few_owners_are_denied() -> None:
    assert refused() == (Denied, "E_APPROVAL")
    assert refused(approval(ADA)) == (Denied, "E_APPROVAL")
    assert refused(approval(ADA), approval(ADA, issued=TIME - 1)) == (Denied, "E_APPROVAL")


def test_an_owner_that_nobody_trusts_does_not_count() -> None:
    assert refused(approval(ADA), approval(EVE)) == (Denied, "E_APPROVAL")


def test_an_approval_of_another_intent_is_refused() -> None:
    assert refused(approval(ADA), approval(BOB, intent=POLICY)) == (Corrupt, "E_STATEMENT")


@pytest.mark.parametrize("age", [LIFETIME, LIFETIME + 1, -301])
def test_an_approval_outside_its_time_is_refused(age: int) -> None:
    assert refused(approval(ADA, BOB, issued=TIME - age)) == (Stale, "E_APPROVAL_EXPIRED")


@pytest.mark.parametrize("age", [0, LIFETIME - 1, -300])
def test_an_approval_in_its_time_counts(age: int) -> None:
    assert owners(approval(ADA, BOB, issued=TIME - age)) == ("ada", "bob")


def test_an_approval_cannot_give_itself_a_longer_life() -> None:
    document = json.loads(approval_statement(INTENT, issued=TIME))
    document["predicate"]["expires"] += 1
    longer = envelope_bytes(sealed(canonical(document), [ADA, BOB]))
    assert refused(longer) == (Corrupt, "E_STATEMENT")


def test_an_approval_works_once() -> None:
    both = approval(ADA, BOB)
    assert refused(both, used=(both,)) == (Stale, "E_APPROVAL_USED")


def test_another_statement_of_an_owner_is_no_approval() -> None:
    document = json.loads(approval_statement(INTENT, issued=TIME))
    document["predicateType"] = "urn:reconciler:plan:v1"
    assert refused(envelope_bytes(sealed(canonical(document), [ADA, BOB]))) == (Corrupt, "E_STATEMENT")


def test_too_many_approvals_are_not_looked_at() -> None:
    assert refused(*[approval(ADA)] * 33) == (InvalidInput, "E_APPROVAL")


def test_what_is_no_digest_cannot_be_approved() -> None:
    with pytest.raises(InvalidInput) as error:
        approval_statement("sha256:xyz", issued=TIME)
    assert error.value.code == "E_HASH_CHARS"


def test_who_approved_is_told_later_by_the_keys_that_count_then() -> None:
    texts = [data.decode() for data in (approval(ADA), approval(BOB), approval(EVE), b"broken")]
    assert intent_approvers(texts, INTENT, BOTH, at=TIME) == ("ada", "bob")
    assert intent_approvers(texts, INTENT, ADA_ONLY, at=TIME) == ("ada",)
    assert intent_approvers(texts, POLICY, BOTH, at=TIME) == ()
