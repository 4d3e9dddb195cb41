"""What is seen of an account, whoever wrote it, and what it costs to look again."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from reconciler.drift import DriftReport, observe_drift
from reconciler.errors import Corrupt, InvalidInput, Unavailable
from reconciler.ledger import inventory
from reconciler.model import Address, Depth, Observed, Selection
from reconciler.stores.atproto.order import SHAPE
from reconciler.stores.atproto.store import AtprotoStore
from tests.integration.atproto.world import RUN, SAMPLE, Promoted, World
from tests.servers import dns
from tests.servers.pds_proxy import APPLY, HANDLE, REPO, Fault, Plan, Said, before

ONE = Promoted("experiment-2024-001")
TWO = Promoted("experiment-2024-002")


def create(world: World, collection: str, key: str, value: dict[str, object]) -> None:
    """A record as another client writes it."""
    name = f"{APPLY}#create"
    world.server.write(
        world.account,
        {"$type": name, "collection": collection, "rkey": key, "value": {"$type": collection, **value}},
    )


def observed(store: AtprotoStore, depth: Depth = Depth.MANIFESTS) -> dict[str, Observed]:
    """Everything seen, by kind and key."""
    return {f"{o.address.kind}/{o.address.key}": o for o in store.snapshot(Selection(depth=depth))}


def test_account_that_did_not_move_costs_one_small_request_also_in_another_process(world: World) -> None:
    many = [Promoted(f"dataset-{n}") for n in range(60)]
    with world.open() as store:
        world.reconcile(store, world.wishes(*many))
        first = observed(store)
    with before(world.server.url) as proxy, world.open(service=proxy.url) as store:
        assert observed(store) == first
        assert observed(store) == first
    assert (proxy.seen, max(proxy.sizes) < 100) == ([REPO, REPO], True)


def test_one_change_in_a_large_account_costs_little_and_is_seen(world: World) -> None:
    many = [Promoted(f"dataset-{n}") for n in range(60)]
    with world.open() as store:
        world.reconcile(store, world.wishes(*many))
    create(world, "science.alt.dataset.entry", "3kzzzzzzzzzzz", {"name": "theirs"})
    with before(world.server.url) as proxy, world.open(service=proxy.url) as store:
        seen = observed(store)
    assert seen["entry/3kzzzzzzzzzzz"].slots["name"] == "theirs"
    assert (len(seen), len(proxy.seen), proxy.sizes[0] < 6000) == (122, 1, True)


@pytest.mark.parametrize("spoil", ["cut", "flip", "empty", "foreign"])
def test_what_was_kept_and_is_not_right_any_more_is_not_believed(world: World, spoil: str) -> None:
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE))
        first = observed(store)
    kept = world.base / "ledger/.reconciler/repository.car"
    data = kept.read_bytes()
    other = World(world.base / "other", world.server, world.server.account())
    other.base.mkdir()
    with other.open() as store:
        other.reconcile(store, other.wishes(ONE))
    spoiled = {
        "cut": data[: len(data) // 2],
        "flip": data[:-1] + bytes((data[-1] ^ 1,)),
        "empty": b"",
        "foreign": (other.base / "ledger/.reconciler/repository.car").read_bytes(),
    }
    kept.write_bytes(spoiled[spoil])
    with world.open() as store:
        assert observed(store) == first


def test_reading_makes_nothing_on_disk(world: World) -> None:
    with world.open() as store:
        observed(store)
        list(store.history())
        store.revision()
        assert store.recover() is None
    assert list(world.base.iterdir()) == []


def test_records_that_others_wrote_are_seen_and_never_touched(world: World) -> None:
    entries, labels = "science.alt.dataset.entry", "science.alt.dataset.label"
    create(
        world,
        entries,
        "3kaaaaaaaaaaa",
        {"name": ONE.name, "metadata": {"legacy": {"k": 1}}, "createdAt": "then"},
    )
    create(world, entries, "3kaaaaaaaaaab", {"name": ONE.name})
    create(
        world, labels, "3kaaaaaaaaaac", {"name": ONE.name, "version": "1.0.0", "datasetUri": "at://nowhere"}
    )
    create(world, "science.alt.dataset.lens", "3kaaaaaaaaaad", {"name": "lens"})
    create(
        world, "app.bsky.feed.post", "3kaaaaaaaaaae", {"text": "hello", "createdAt": "2024-01-01T00:00:00Z"}
    )
    theirs = world.records()
    with world.open() as store:
        seen = observed(store)
        assert sorted(seen) == ["entry/3kaaaaaaaaaaa", "entry/3kaaaaaaaaaab", "label/3kaaaaaaaaaac"]
        assert seen["label/3kaaaaaaaaaac"].slots["entry"] == "at://nowhere"
        world.reconcile(store, world.wishes(ONE))
        report = DriftReport("", Depth.MANIFESTS)
        ours = inventory(store.history())
        sights = store.snapshot(Selection())
        observe_drift(report, world.wishes(ONE), sights, ours, shape=SHAPE, everything_ours=False)
        assert {k: n for k, n in report.summary.items() if n} == {"in_sync": 3, "unmanaged": 3}
    assert world.records() == theirs | world.expected(ONE)


def test_schema_that_somebody_else_published_is_seen_with_the_entries_that_use_it(world: World) -> None:
    create(
        world,
        "science.alt.dataset.schema",
        "3kaaaaaaaaaaa",
        {"name": "Theirs", "version": "1.0.0", "schemaType": "jsonSchema"},
    )
    uri = f"at://{world.did}/science.alt.dataset.schema/3kaaaaaaaaaaa"
    create(world, "science.alt.dataset.entry", "3kaaaaaaaaaab", {"name": "d", "schemaRef": uri})
    with world.open() as store:
        seen = observed(store)["schema/3kaaaaaaaaaaa"].slots
    assert (seen["name"], seen["version"], seen["entries"]) == ("Theirs", "1.0.0", ("3kaaaaaaaaaab",))


def test_account_by_its_handle_is_asked_of_its_server_once(world: World) -> None:
    with (
        before(world.server.url) as proxy,
        world.open(service=proxy.url, identity=world.account.handle) as store,
    ):
        assert store.did == world.did
        assert observed(store) == {}
        assert observed(store) == {}
    assert proxy.seen == [HANDLE, REPO, REPO]


def test_account_without_a_named_server_is_found_through_its_documents(world: World) -> None:
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE))
    with world.open(service=None, plc=world.server.plc) as store:
        assert store.account == (world.did, world.server.url)
        assert len(observed(store)) == 3


def test_account_whose_handle_dns_proves_is_found_without_a_named_server(world: World) -> None:
    with (
        dns.running(lambda query: [dns.answer(query, dns.txt(f"did={world.did}"))]) as nameserver,
        world.open(
            service=None,
            identity=world.account.handle,
            plc=world.server.plc,
            nameserver=f"127.0.0.1:{nameserver.address.port}",
        ) as store,
    ):
        assert store.account == (world.did, world.server.url)
    assert nameserver.asked == [f"_atproto.{world.account.handle}"]


def test_handle_that_dns_gives_to_another_account_is_not_followed(world: World) -> None:
    other = world.server.account()
    with (
        dns.running(lambda query: [dns.answer(query, dns.txt(f"did={other.did}"))]) as nameserver,
        world.open(
            service=None,
            identity=world.account.handle,
            plc=world.server.plc,
            nameserver=f"127.0.0.1:{nameserver.address.port}",
        ) as store,
        pytest.raises(InvalidInput) as refused,
    ):
        observed(store)
    assert refused.value.code == "E_ACCOUNT"


@pytest.mark.parametrize("identity", ["nobody.test", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"])
def test_account_that_does_not_exist_is_an_error_and_never_an_empty_one(world: World, identity: str) -> None:
    expected = {"nobody.test": "E_ACCOUNT"}.get(identity, "E_STORE_MISSING")
    with world.open(identity=identity) as store, pytest.raises((InvalidInput, Unavailable)) as refused:
        observed(store)
    assert refused.value.code == expected


def test_account_that_was_taken_down_is_an_error(world: World) -> None:
    world.server.take_down(world.account, applied=True)
    with world.open() as store, pytest.raises(Unavailable) as refused:
        observed(store)
    assert refused.value.code == "E_PDS_REFUSED"


def test_server_that_cannot_be_reached_is_an_error(world: World) -> None:
    with world.open(service="http://localhost:1") as store, pytest.raises(Unavailable) as refused:
        observed(store)
    assert refused.value.code == "E_UNREACHABLE"
    assert len(world.pauses) == 5


def test_answer_that_breaks_off_is_asked_for_again(world: World) -> None:
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE))
        first = observed(store)
    shutil.rmtree(world.base / "ledger")
    half = Plan(REPO, Fault.HALF, times=2)
    with before(world.server.url, half) as proxy, world.open(service=proxy.url) as store:
        assert observed(store) == first
    assert proxy.seen == [REPO] * 3


def test_repository_that_moves_while_it_is_read_is_read_again(world: World) -> None:
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE))
    car = (world.base / "ledger/.reconciler/repository.car").read_bytes()
    shutil.rmtree(world.base / "ledger")
    torn = Plan(REPO, Said(200, car[: _first_block_end(car)]), times=1)
    with before(world.server.url, torn) as proxy, world.open(service=proxy.url) as store:
        assert len(observed(store)) == 3
    assert proxy.seen == [REPO] * 2


def _first_block_end(car: bytes) -> int:
    """Where the first block after the header ends: the head stands, and its tree does not."""
    header = 1 + car[0]
    size, at = car[header] & 127, header + 1
    if car[header] > 127:
        size |= car[at] << 7
        at += 1
    return at + size


@pytest.mark.parametrize("body", [b"", b"{}", b"\x00", b"\x3a\xa2eroots\x80gversion\x01"])
def test_answer_that_is_no_repository_is_corrupt(world: World, body: bytes) -> None:
    with (
        before(world.server.url, Plan(REPO, Said(200, body), times=99)) as proxy,
        world.open(service=proxy.url) as store,
        pytest.raises(Corrupt) as refused,
    ):
        observed(store)
    assert refused.value.code == "E_REPOSITORY"


def test_repository_of_another_account_is_not_taken(world: World) -> None:
    other = World(world.base / "other", world.server, world.server.account())
    other.base.mkdir()
    with other.open() as store:
        other.reconcile(store, other.wishes(ONE))
    car = (other.base / "ledger/.reconciler/repository.car").read_bytes()
    with (
        before(world.server.url, Plan(REPO, Said(200, car), times=99)) as proxy,
        world.open(service=proxy.url) as store,
        pytest.raises(Corrupt) as refused,
    ):
        observed(store)
    assert "the repository of another account" in str(refused.value)


def test_edited_record_keeps_its_key_and_its_time(world: World) -> None:
    edited = Promoted(ONE.name, description="Said better")
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE))
        report = world.reconcile(store, world.wishes(edited))
    assert [change.address for item in report.items for change in item.step.changes] == [
        Address("public", "entry", ONE.entry)
    ]
    assert world.records() == world.expected(edited)


def test_schema_goes_with_the_last_entry_that_uses_it(world: World) -> None:
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE, TWO))
        world.reconcile(store, world.wishes(TWO, withdrawn=[ONE]))
        assert world.records() == world.expected(TWO)
        wishes = [w for w in world.wishes(withdrawn=[ONE, TWO]) if w.address.key != SAMPLE]
        world.reconcile(store, wishes)
    assert world.records() == {}


def test_schema_that_is_left_over_stays_and_asks_for_no_tombstone(world: World) -> None:
    with world.open() as store:
        world.reconcile(store, world.wishes(ONE))
        gone = world.wishes(withdrawn=[ONE])
        kept = [wish for wish in world.wishes(ONE) if wish.address.kind == "schema"]
        by_hand = replace(RUN, by="hand", commit="", reason="withdrawn by hand")
        store.commit(world.plan(store, [*gone, *kept]).stores[0].steps, by_hand)
        assert world.plan(store, gone).empty
    assert list(world.records()) == [f"schema/{SAMPLE}"]


def test_place_of_the_ledger_is_no_part_of_what_an_account_is(world: World) -> None:
    assert world.config().identity == world.config(ledger="file:elsewhere").identity
