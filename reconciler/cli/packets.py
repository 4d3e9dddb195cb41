"""The packets beside a ledger: made from its records, and kept where they are missing.

A packet follows from its record and from the root of the packet before, so it is made when it is first
missed: after an apply, when a killed process left one out, or when evidence is collected. What is kept is
the packet's index; everything else comes from the record again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reconciler.cli.console import Console
from reconciler.cli.workspace import Opened
from reconciler.errors import InvalidInput, ReconcilerError
from reconciler.evidence.packet import PACKET, Packet, packet_of, release_name, root_of
from reconciler.stores.port import PacketKeeper, other_packet, packet_keeper


def keep_packets(one: Opened, console: Console, newest: Callable[[], int] | None = None) -> None:
    """Write the packets that a store's ledger still lacks.

    A packet that cannot be written is told, and is no failure of what was applied: the next apply writes it.

    Args:
        one: the store.
        console: who is told.
        newest: gives the number of the newest closed record, where that needs no reading of the ledger.
    """
    if not one.store.capabilities.keeps_packets:
        return
    try:
        keeper = packet_keeper(one.store)
        last = last_release(one) if newest is None else newest()
        if last and keeper.packet(last) is None:
            for seq, packet in _made(one, keeper, last):
                keeper.keep_packet(seq, packet.members[PACKET])
    except ReconcilerError as error:
        console.note(f"{one.config.name}: the packet of the release is not written yet: {error.problems[0]}")


def last_release(one: Opened) -> int:
    """The number of the newest closed record, 0 if there is none."""
    keeper = packet_keeper(one.store)
    seq = one.last.seq if one.last else 0
    while keeper.documents(seq + 1) is not None:
        seq += 1
    return seq if seq and keeper.documents(seq) is not None else max(seq - 1, 0)


def packet_at(one: Opened, seq: int) -> Packet:
    """The packet of one release, made from the ledger and compared with the one that is kept.

    Raises:
        InvalidInput: E_RELEASE, there is no such release.
        Corrupt: E_EVIDENCE_KEPT, another packet is kept; E_EVIDENCE_PACKET; E_LEDGER_CHAIN.
    """
    keeper = packet_keeper(one.store)
    if seq < 1:
        raise _no_release(one, seq)
    made = [packet for _, packet in _made(one, keeper, seq)][-1]
    kept = keeper.packet(seq)
    if kept is not None and kept != made.members[PACKET]:
        raise other_packet(seq, one.config.name)
    return made


def all_packets(one: Opened) -> Iterator[Packet]:
    """The packet of every release, oldest first, each made from the ledger alone."""
    keeper = packet_keeper(one.store)
    previous: str | None = None
    for seq in range(1, last_release(one) + 1):
        packet = _one(one, keeper, seq, previous)
        previous = packet.index.root
        yield packet


def _made(one: Opened, keeper: PacketKeeper, upto: int) -> Iterator[tuple[int, Packet]]:
    """The packets after the newest one that is kept before `upto`, up to it."""
    start = next((seq for seq in range(upto - 1, 0, -1) if keeper.packet(seq) is not None), 0)
    kept = keeper.packet(start) if start else None
    where = f"{one.config.name}: packet {start}"
    previous = None if kept is None else root_of(kept, where=where)
    for seq in range(start + 1, upto + 1):
        packet = _one(one, keeper, seq, previous)
        previous = packet.index.root
        yield seq, packet


def _one(one: Opened, keeper: PacketKeeper, seq: int, previous: str | None) -> Packet:
    documents = keeper.documents(seq)
    if documents is None:
        raise _no_release(one, seq)
    return packet_of(documents, previous=previous, shape=one.shape, where=f"the ledger of {one.config.name}")


def _no_release(one: Opened, seq: int) -> InvalidInput:
    return InvalidInput.of(
        "E_RELEASE",
        "there is no such release: a release is a closed record of the ledger",
        path=one.config.name,
        got=release_name(one.config.name, seq),
        fix="look with 'reconciler history'",
    )
