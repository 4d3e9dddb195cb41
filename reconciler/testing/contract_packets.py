"""The part of the contract suite about the packets of releases; see `reconciler.testing.contract`."""

from __future__ import annotations

import pytest

from reconciler.errors import Corrupt, InvalidInput
from reconciler.ledger import read_record
from reconciler.stores.port import PacketKeeper, Store, packet_keeper
from reconciler.testing.contract_basics import Suite
from reconciler.testing.harness import HUMAN_110, MOUSE_110, Harness, declared, live, reconciled


def _keeper(store: Store) -> PacketKeeper:
    if not store.capabilities.keeps_packets:
        pytest.skip("no packets are kept beside this kind of store")
    return packet_keeper(store)


class Packets(Suite):
    """Keeping packets: beside the ledger, once each, and never as part of what readers see."""

    def test_a_store_keeps_packets_as_it_declares(self, harness: Harness) -> None:
        store = harness.open()
        if store.capabilities.keeps_packets:
            assert packet_keeper(store).packet(1) is None
            return
        with pytest.raises(InvalidInput) as refused:
            packet_keeper(store)
        assert refused.value.code == "E_STORE_KIND"

    def test_documents_are_those_of_the_ledger(self, harness: Harness) -> None:
        store = harness.open()
        keeper = _keeper(store)
        assert keeper.documents(1) is None
        for dataset in (HUMAN_110, MOUSE_110):
            reconciled(store, [declared(store, dataset, harness.build(dataset))])
        previous = None
        for seq, record in enumerate(store.history(), start=1):
            documents = keeper.documents(seq)
            assert documents is not None
            read = read_record(
                seq=seq,
                store=store.config.name,
                previous=previous,
                intent=documents.intent,
                outcome=documents.outcome,
                where="",
            )
            assert (read.intent_sha, read.outcome_sha) == (record.intent_sha, record.outcome_sha)
            previous = read.outcome_sha
        assert [keeper.documents(seq) for seq in (0, 3)] == [None, None]

    def test_a_packet_is_kept_once(self, harness: Harness) -> None:
        store = harness.open()
        keeper = _keeper(store)
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        assert keeper.packet(1) is None
        keeper.keep_packet(1, b"{}")
        keeper.keep_packet(1, b"{}")
        with pytest.raises(Corrupt) as refused:
            keeper.keep_packet(1, b"[]")
        assert refused.value.code == "E_EVIDENCE_KEPT"
        assert keeper.packet(1) == b"{}"

    def test_a_packet_is_there_through_a_second_handle(self, harness: Harness) -> None:
        store = harness.open()
        keeper = _keeper(store)
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        keeper.keep_packet(1, b"{}")
        assert packet_keeper(harness.open()).packet(1) == b"{}"

    def test_a_packet_changes_nothing_that_readers_or_the_next_run_see(self, harness: Harness) -> None:
        store = harness.open()
        keeper = _keeper(store)
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        before = live(store)
        keeper.keep_packet(1, b"{}")
        assert live(store) == before
        reconciled(store, [declared(store, MOUSE_110, harness.build(MOUSE_110))])
        assert [record.seq for record in store.history()] == [1, 2]
