"""Whatever becomes of a request and its answer: it is done once, or certainly not, or said to be unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from reconciler.errors import Exit, InvalidInput, LimitExceeded, OutcomeUnknown, Unavailable
from reconciler.model import Outcome
from tests.integration.atproto.world import Promoted, World, ledger_of, outcomes
from tests.servers.pds import PASSWORD, running
from tests.servers.pds_proxy import (
    APPLY,
    LOGIN,
    REFRESH,
    REPO,
    UPLOAD,
    Fault,
    Plan,
    Said,
    before,
    left,
    refusal,
)

ONE = Promoted("experiment-2024-001")
TWO = Promoted("experiment-2024-002")
FIRST_INTENT, FIRST_OUTCOME = (f"00000000000000000001.{part}.json" for part in ("intent", "outcome"))


def write(world: World, name: str) -> None:
    """Another client writes a record that is no concern of ours."""
    value = {"$type": "org.example.note", "text": name}
    create = {"$type": f"{APPLY}#create", "collection": "org.example.note", "rkey": name, "value": value}
    world.server.write(world.account, create)


def test_promotion_is_one_commit_of_schema_entry_and_label(world: World) -> None:
    with before(world.server.url) as proxy, world.open(service=proxy.url) as store:
        report = world.reconcile(store, world.wishes(ONE))
        assert (report.exit_code, proxy.seen.count(APPLY)) == (Exit.DONE, 1)
        receipt = store.read().head.cid
    assert [item.result.receipt for item in report.items] == [receipt]
    assert world.records() == world.expected(ONE)


def test_second_apply_writes_nothing_and_asks_once(world: World) -> None:
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE, TWO))
    with before(world.server.url) as proxy, world.open(service=proxy.url) as store:
        report = world.reconcile(store, world.wishes(ONE, TWO))
    assert (report.items, report.recorded) == ((), ())
    assert proxy.seen == [REPO]
    assert sum(proxy.sizes) < 100


@pytest.mark.parametrize(
    "fault", [Fault.LOST, Fault.UNANSWERED, Fault.HALF, refusal(500, "InternalServerError")]
)
@pytest.mark.parametrize("times", [1, 2])
def test_lost_answer_is_looked_up_and_the_records_stand_once(
    world: World, fault: Fault | Said, times: int
) -> None:
    with (
        before(world.server.url, Plan(APPLY, fault, times=times)) as proxy,
        world.open(service=proxy.url) as store,
    ):
        report = world.reconcile(store, world.wishes(ONE))
    assert outcomes(report) == [Outcome.APPLIED]
    assert world.records() == world.expected(ONE)
    assert sorted(ledger_of(world)) == [FIRST_INTENT, FIRST_OUTCOME]


def test_answer_that_nobody_can_look_up_is_unknown_and_the_next_run_finishes_it(world: World) -> None:
    down = Plan(REPO, refusal(502, "BadGateway"), skip=3, times=99)
    with (
        before(world.server.url, Plan(APPLY, Fault.UNANSWERED), down) as proxy,
        world.open(service=proxy.url) as store,
    ):
        report = world.reconcile(store, world.wishes(ONE))
        assert (outcomes(report), report.exit_code) == ([Outcome.UNKNOWN], Exit.UNKNOWN)
    assert sorted(ledger_of(world)) == [FIRST_INTENT]
    with world.open() as store:
        results = store.recover()
        assert results is not None
        assert outcomes(results) == [Outcome.APPLIED]
        assert world.plan(store, world.wishes(ONE)).empty
    assert world.records() == world.expected(ONE)


def test_server_that_only_fails_is_reported_and_nothing_is_written(world: World) -> None:
    with (
        before(world.server.url, Plan(APPLY, refusal(500, "InternalServerError"), times=99)) as proxy,
        world.open(service=proxy.url) as store,
    ):
        report = world.reconcile(store, world.wishes(ONE))
    (item,) = report.items
    assert (item.result.outcome, item.result.problems[0].code) == (Outcome.FAILED, "E_UNREACHABLE")
    assert (proxy.seen.count(APPLY), world.records()) == (8, {})


def test_request_that_may_still_be_under_way_is_never_called_failed(world: World) -> None:
    with (
        before(world.server.url, Plan(APPLY, Fault.LOST, times=99)) as proxy,
        world.open(service=proxy.url) as store,
    ):
        report = world.reconcile(store, world.wishes(ONE))
    assert outcomes(report) == [Outcome.UNKNOWN]
    assert sorted(ledger_of(world)) == [FIRST_INTENT]


def test_unrelated_write_between_reading_and_writing_does_not_matter(world: World) -> None:
    plan = Plan(APPLY, before=lambda: write(world, "n1"))
    with before(world.server.url, plan) as proxy, world.open(service=proxy.url) as store:
        report = world.reconcile(store, world.wishes(ONE))
    assert (outcomes(report), proxy.seen.count(APPLY)) == ([Outcome.APPLIED], 2)
    assert world.records() == world.expected(ONE)


def test_same_write_of_another_reconciler_is_done_and_not_done_again(world: World) -> None:
    other = world.another("other")

    def promote() -> None:
        with other.open() as store:
            assert outcomes(other.reconcile(store, other.wishes(ONE))) == [Outcome.APPLIED]

    with (
        before(world.server.url, Plan(APPLY, before=promote)) as proxy,
        world.open(service=proxy.url) as store,
    ):
        report = world.reconcile(store, world.wishes(ONE))
    assert (outcomes(report), proxy.seen.count(APPLY)) == ([Outcome.APPLIED], 1)
    assert world.records() == world.expected(ONE)


def test_other_content_written_at_the_same_time_is_a_conflict_and_is_left_alone(world: World) -> None:
    theirs = Promoted(ONE.name, description="Said by somebody else")
    other = world.another("other")

    def promote() -> None:
        with other.open() as store:
            other.reconcile(store, other.wishes(theirs))

    with (
        before(world.server.url, Plan(APPLY, before=promote)) as proxy,
        world.open(service=proxy.url) as store,
    ):
        report = world.reconcile(store, world.wishes(ONE))
    assert outcomes(report) == [Outcome.CONFLICT]
    assert world.records() == world.expected(theirs)


def test_server_that_asks_for_patience_is_given_it(world: World) -> None:
    patience = Plan(APPLY, refusal(429, "RateLimitExceeded", retry_after="1200"), times=2)
    with before(world.server.url, patience) as proxy, world.open(service=proxy.url) as store:
        report = world.reconcile(store, world.wishes(ONE))
    assert outcomes(report) == [Outcome.APPLIED]
    assert [int(pause) for pause in world.pauses] == [1200, 1200]
    assert [note.partition(", until")[0] for note in world.notes] == ["commit 1: waits 1200 s"] * 2


def test_time_until_which_a_server_asks_to_wait_may_be_a_date(world: World) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=1200), usegmt=True)
    patience = Plan(APPLY, refusal(429, "RateLimitExceeded", retry_after=until))
    with before(world.server.url, patience) as proxy, world.open(service=proxy.url) as store:
        assert outcomes(world.reconcile(store, world.wishes(ONE))) == [Outcome.APPLIED]
    (pause,) = world.pauses
    assert 1100 < pause < 1202


FIVE_REQUESTS = tuple(Promoted(f"large-{number}", large=True) for number in range(2))
"""Each of one record, so of three points."""


def test_run_waits_before_it_spends_more_than_the_server_says_is_left(world: World) -> None:
    plan = Plan(APPLY, headers=left(5, 1200))
    with before(world.server.url, plan) as proxy, world.open(service=proxy.url) as store:
        report = world.reconcile(store, world.wishes(*FIVE_REQUESTS))
    assert outcomes(report) == [Outcome.APPLIED] * 5
    assert proxy.seen.count(APPLY) == 5
    (pause,) = world.pauses
    assert 1100 < pause < 1203
    waits = [note.partition(" waits")[0] for note in world.notes if "3 points are more than are left" in note]
    assert waits == ["commit 3:"]


def test_what_is_left_of_requests_is_not_taken_for_points(world: World) -> None:
    plan = Plan(APPLY, headers=left(5, 200, window=300))
    with before(world.server.url, plan) as proxy, world.open(service=proxy.url) as store:
        report = world.reconcile(store, world.wishes(*FIVE_REQUESTS))
    assert (outcomes(report), world.pauses) == ([Outcome.APPLIED] * 5, [])


def test_day_that_is_used_up_ends_the_run_and_the_next_one_writes_nothing(world: World) -> None:
    plan = Plan(APPLY, headers=left(5, 60_000, window=86_400))
    with before(world.server.url, plan) as proxy:
        with world.open(service=proxy.url) as store:
            report = world.reconcile(store, world.wishes(*FIVE_REQUESTS))
        assert outcomes(report)[1:4] == [Outcome.APPLIED, Outcome.FAILED, Outcome.NOT_STARTED]
        assert report.items[2].result.problems[0].code == "E_RATE_BUDGET"
        written = ledger_of(world)
        with world.open(service=proxy.url) as store, pytest.raises(LimitExceeded) as refused:
            world.reconcile(store, world.wishes(*FIVE_REQUESTS))
        assert refused.value.code == "E_RATE_BUDGET"
    assert (proxy.seen.count(APPLY), world.pauses, ledger_of(world)) == (2, [], written)


def test_upload_waits_as_long_as_the_server_asks_for(world: World) -> None:
    patience = Plan(UPLOAD, refusal(429, "RateLimitExceeded", retry_after="900"), times=2)
    with before(world.server.url, patience) as proxy, world.open(service=proxy.url) as store:
        blob = store.upload(b"some bytes", "application/x-tar")
    assert isinstance(blob, dict)
    assert blob["size"] == 10
    assert world.pauses == [900.0, 900.0]


def test_upload_is_given_up_where_the_server_asks_for_a_day(world: World) -> None:
    patience = Plan(UPLOAD, refusal(429, "RateLimitExceeded", retry_after="86400"))
    with (
        before(world.server.url, patience) as proxy,
        world.open(service=proxy.url) as store,
        pytest.raises(LimitExceeded) as refused,
    ):
        store.upload(b"some bytes", "application/x-tar")
    assert (refused.value.code, world.pauses) == ("E_RATE_BUDGET", [])


def test_server_that_asks_for_a_day_is_not_waited_for(world: World) -> None:
    patience = Plan(APPLY, refusal(429, "RateLimitExceeded", retry_after="86400"))
    with before(world.server.url, patience) as proxy, world.open(service=proxy.url) as store:
        report = world.reconcile(store, world.wishes(ONE))
        (item,) = report.items
        assert (item.result.outcome, item.result.problems[0].code) == (Outcome.FAILED, "E_RATE_BUDGET")
        assert (world.pauses, world.records()) == ([], {})
        assert outcomes(world.reconcile(store, world.wishes(ONE))) == [Outcome.APPLIED]


def test_limit_of_a_real_server_is_waited_for_and_then_reported(tmp_path: Path) -> None:
    with running(limits=True) as server:
        world = World(tmp_path, server, server.account())
        many = [Promoted(f"dataset-{number}") for number in range(900)]
        with world.open(pointsPerHour="99999", pointsPerDay="99999") as store:
            told = [item.result for item in world.reconcile(store, world.wishes(*many)).items]
        assert [result.outcome for result in told].count(Outcome.FAILED) == 1
        refused = next(result for result in told if result.outcome is Outcome.FAILED)
        assert refused.problems[0].code == "E_RATE_BUDGET"
        landed = sum(result.outcome is Outcome.APPLIED for result in told)
        assert 0 < landed < len(told) - 1
        asked = [pause for pause in world.pauses if pause > 60]
        assert len(asked) == 8
        assert max(asked) < 3_700
        assert 0 < len(world.records()) < 1_667


def test_run_that_costs_more_than_a_day_allows_writes_nothing(world: World) -> None:
    with world.open(pointsPerDay="8") as store, pytest.raises(LimitExceeded) as refused:
        world.reconcile(store, world.wishes(ONE))
    assert (refused.value.code, refused.value.problems[0].got) == ("E_RATE_BUDGET", "9")
    assert (world.records(), ledger_of(world)) == ({}, {})


def test_expired_token_is_refreshed_once_and_the_write_sent_again(world: World) -> None:
    with (
        before(world.server.url, Plan(APPLY, refusal(400, "ExpiredToken"))) as proxy,
        world.open(service=proxy.url) as store,
    ):
        report = world.reconcile(store, world.wishes(ONE))
    assert outcomes(report) == [Outcome.APPLIED]
    assert [method for method in proxy.seen if method != REPO] == [APPLY, REFRESH, APPLY]


def test_app_password_logs_in_once_and_only_to_write(world: World) -> None:
    with before(world.server.url) as proxy, world.open(service=proxy.url, login=PASSWORD) as store:
        assert not world.plan(store, world.wishes(ONE)).empty
        assert LOGIN not in proxy.seen
        world.reconcile(store, world.wishes(ONE))
        world.reconcile(store, world.wishes(ONE, TWO))
    assert proxy.seen.count(LOGIN) == 1


def test_wrong_password_writes_nothing_and_is_not_repeated(world: World) -> None:
    with world.open(login="canary-of-a-wrong-password") as store, pytest.raises(Unavailable) as refused:
        world.reconcile(store, world.wishes(ONE))
    assert refused.value.code == "E_AUTH"
    assert "canary" not in str(refused.value)
    assert (world.records(), ledger_of(world)) == ({}, {})


def test_session_of_another_account_is_not_used(world: World) -> None:
    other = world.server.account()
    with world.open(login=other.session) as store, pytest.raises(Unavailable) as refused:
        world.reconcile(store, world.wishes(ONE))
    assert refused.value.code == "E_AUTH"
    assert (world.records(), ledger_of(world)) == ({}, {})


def test_password_of_another_account_is_not_used(world: World) -> None:
    answer = b'{"did": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "accessJwt": "a", "refreshJwt": "r"}'
    with (
        before(world.server.url, Plan(LOGIN, Said(200, answer))) as proxy,
        world.open(service=proxy.url, login=PASSWORD) as store,
        pytest.raises(Unavailable) as refused,
    ):
        world.reconcile(store, world.wishes(ONE))
    assert refused.value.code == "E_AUTH"


def test_variable_that_is_not_set_is_named(world: World) -> None:
    with world.open(login="") as store, pytest.raises(InvalidInput) as refused:
        world.reconcile(store, world.wishes(ONE))
    assert str(refused.value) == (
        "E_ENV desired/stores.yaml:7: writing to store public needs a login; got ACCOUNT_LOGIN; "
        "fix: set ACCOUNT_LOGIN to an app password"
    )


def test_secrets_that_a_server_repeats_are_not_shown(world: World) -> None:
    token = world.account.session.split(":::")[2]
    echo = Said(400, f'{{"error": "InvalidRequest", "message": "no {token} here"}}'.encode())
    with before(world.server.url, Plan(APPLY, echo)) as proxy, world.open(service=proxy.url) as store:
        (item,) = world.reconcile(store, world.wishes(ONE)).items
    (problem,) = item.result.problems
    assert (problem.code, problem.got) == ("E_PDS_REFUSED", "no (withheld) here")
    kept = b"".join(ledger_of(world).values())
    assert token.encode() not in kept


def test_redirect_is_not_followed(world: World) -> None:
    away = Said(302, b"", {"location": "http://127.0.0.1:1/"})
    with (
        before(world.server.url, Plan(REPO, away)) as proxy,
        world.open(service=proxy.url) as store,
        pytest.raises(Unavailable) as refused,
    ):
        store.read()
    assert refused.value.code == "E_PDS_REFUSED"
    assert "302 Redirect" in str(refused.value)


def test_intent_whose_outcome_is_open_stops_the_plan_until_it_is_finished(world: World) -> None:
    with (
        before(world.server.url, Plan(APPLY, Fault.LOST, times=99)) as proxy,
        world.open(service=proxy.url) as store,
    ):
        world.reconcile(store, world.wishes(ONE))
        with pytest.raises(OutcomeUnknown):
            store.recover()
    with world.open() as store:
        assert outcomes(world.reconcile(store, world.wishes(ONE))) == []
    assert world.records() == world.expected(ONE)
