"""The ledger of an account in a bucket: nothing is written that the bucket did not record first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.errors import Corrupt, InvalidInput, LimitExceeded, Unavailable
from reconciler.model import Depth, Outcome, Selection
from tests.integration.atproto.world import VARIABLE, Promoted, World, outcomes
from tests.servers import s3
from tests.servers.pds_proxy import APPLY, REPO, before, left
from tests.servers.pds_proxy import Fault as Lost
from tests.servers.pds_proxy import Plan as PdsPlan

ONE = Promoted("experiment-2024-001")
TWO = Promoted("experiment-2024-002")


@pytest.fixture
def endpoint() -> Iterator[str]:
    with s3.running() as address:
        yield address


def reached(endpoint: str) -> dict[str, str]:
    """The environment of somebody who may use the bucket."""
    return {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": s3.SECRET,
    }


def prefix(world: World) -> str:
    """A prefix of the account's own."""
    return f"accounts/{world.did.rpartition(':')[2]}"


def ledger(world: World) -> str:
    """Where the ledger is, as a document names it."""
    return f"s3://{s3.BUCKET}/{prefix(world)}"


def documents(world: World, endpoint: str) -> list[str]:
    """The documents of the ledger, as another client lists them."""
    listed = s3.bucket_client(endpoint).list_objects_v2(Bucket=s3.BUCKET, Prefix=prefix(world))
    return [item["Key"] for item in listed.get("Contents", []) if "/ledger/" in item["Key"]]


def test_runs_are_recorded_in_the_bucket_and_read_by_another_machine(world: World, endpoint: str) -> None:
    world.environment = reached(endpoint)
    with world.open(ledger=ledger(world)) as store:
        assert outcomes(world.reconcile(store, world.wishes(ONE))) == [Outcome.APPLIED]
    other = world.another("other")
    with other.open(ledger=ledger(world)) as store:
        (record,) = store.history()
        assert (record.seq, record.results is not None) == (1, True)
        assert other.plan(store, other.wishes(ONE)).empty
    place = f"{prefix(world)}/.reconciler/ledger/00000000000000000001"
    assert documents(world, endpoint) == [f"{place}.intent.json", f"{place}.outcome.json"]
    assert list(world.base.glob("**/*.json")) == []


def test_account_that_did_not_move_costs_another_machine_one_small_request(
    world: World, endpoint: str
) -> None:
    world.environment = reached(endpoint)
    with world.open(ledger=ledger(world)) as store:
        world.reconcile(store, world.wishes(*(Promoted(f"dataset-{number}") for number in range(60))))
        first = list(store.snapshot(Selection(depth=Depth.MANIFESTS)))
    other = world.another("other")
    with before(world.server.url) as proxy, other.open(ledger=ledger(world), service=proxy.url) as store:
        assert list(store.snapshot(Selection(depth=Depth.MANIFESTS))) == first
    assert (proxy.seen, proxy.sizes[0] < 100) == ([REPO], True)


def test_what_is_left_of_a_day_is_known_to_another_machine(world: World, endpoint: str) -> None:
    world.environment = reached(endpoint)
    used_up = PdsPlan(APPLY, headers=left(0, 60_000, window=86_400))
    other = world.another("other")
    with before(world.server.url, used_up) as proxy:
        with world.open(ledger=ledger(world), service=proxy.url) as store:
            assert outcomes(world.reconcile(store, world.wishes(ONE))) == [Outcome.APPLIED]
        written = documents(world, endpoint)
        with other.open(ledger=ledger(world), service=proxy.url) as store:
            wishes = other.wishes(ONE, TWO)
            with pytest.raises(LimitExceeded) as refused:
                other.reconcile(store, wishes)
    assert (refused.value.code, proxy.seen.count(APPLY)) == ("E_RATE_BUDGET", 1)
    assert documents(world, endpoint) == written


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("fault", [s3.Fault.LOST, s3.Fault.UNANSWERED, 503])
def test_record_whose_answer_is_lost_is_looked_up(
    world: World, endpoint: str, fault: s3.Fault | int, skip: int
) -> None:
    with s3.faulty(endpoint, s3.Plan("PUT", fault, skip=skip)) as proxy:
        world.environment = reached(proxy.endpoint)
        with world.open(ledger=ledger(world)) as store:
            assert outcomes(world.reconcile(store, world.wishes(ONE))) == [Outcome.APPLIED]
            assert len(list(store.history())) == 1
    assert world.records() == world.expected(ONE)


def test_bucket_that_overwrites_is_not_used(world: World) -> None:
    with s3.misbehaving(s3.Misbehaviour(overwrites=True)) as endpoint:
        world.environment = reached(endpoint)
        with world.open(ledger=ledger(world)) as store, pytest.raises(Unavailable) as refused:
            world.reconcile(store, world.wishes(ONE))
    assert (refused.value.code, world.records()) == ("E_STORE_NO_CAS", {})


def test_bucket_that_does_not_exist_is_an_error(world: World, endpoint: str) -> None:
    world.environment = reached(endpoint)
    with world.open(ledger="s3://nobody/x") as store, pytest.raises(Unavailable) as refused:
        world.reconcile(store, world.wishes(ONE))
    assert (refused.value.code, world.records()) == ("E_STORE_MISSING", {})


def test_run_that_nobody_closes_is_taken_over_after_the_wait(world: World, endpoint: str) -> None:
    world.environment = reached(endpoint)
    lost = PdsPlan(APPLY, Lost.LOST, times=99)
    with (
        before(world.server.url, lost) as proxy,
        world.open(ledger=ledger(world), service=proxy.url) as store,
    ):
        assert outcomes(world.reconcile(store, world.wishes(ONE))) == [Outcome.UNKNOWN]
    assert len(documents(world, endpoint)) == 1
    other = world.another("other")
    with other.open(ledger=ledger(world), lock_timeout=0.0) as store:
        results = store.recover()
        assert results is not None
        assert outcomes(results) == [Outcome.APPLIED]
        assert outcomes(other.reconcile(store, other.wishes(ONE, TWO))) == [Outcome.APPLIED]
    assert world.records() == world.expected(ONE, TWO)
    assert len(documents(world, endpoint)) == 4


def test_run_that_was_taken_over_writes_nothing_more(world: World, endpoint: str) -> None:
    world.environment = reached(endpoint)
    other = world.another("other")

    def take_over() -> None:
        with other.open(ledger=ledger(world), lock_timeout=0.0) as store:
            store.recover()

    first, second = Promoted("a", large=True), Promoted("b", large=True)
    plan = PdsPlan(APPLY, after=take_over)
    with (
        before(world.server.url, plan) as proxy,
        world.open(ledger=ledger(world), service=proxy.url) as store,
    ):
        report = world.reconcile(store, world.wishes(first, second))
        # The other one finished it; what it did is done, and nothing is written twice.
        assert Outcome.DIVERGED not in outcomes(report)
        assert proxy.seen.count(APPLY) == 1
    assert world.records() == world.expected(first, second)
    with world.open(ledger=ledger(world)) as store:
        assert all(record.results is not None for record in store.history())


def test_document_that_is_missing_breaks_the_chain(world: World, endpoint: str) -> None:
    world.environment = reached(endpoint)
    with world.open(ledger=ledger(world)) as store:
        world.reconcile(store, world.wishes(ONE))
        world.reconcile(store, world.wishes(ONE, TWO))
    s3.bucket_client(endpoint).delete_object(Bucket=s3.BUCKET, Key=documents(world, endpoint)[1])
    with world.open(ledger=ledger(world)) as store, pytest.raises(Corrupt) as refused:
        list(store.history())
    assert refused.value.code == "E_LEDGER_CHAIN"


def test_credentials_of_the_account_are_not_sent_to_the_bucket(world: World) -> None:
    with pytest.raises(InvalidInput) as refused, world.open(ledger=ledger(world)):
        raise AssertionError("a bucket needs credentials of its own")
    assert (refused.value.code, refused.value.problems[0].got) == ("E_ENV", "AWS_ACCESS_KEY_ID")
    assert VARIABLE not in str(refused.value)
