"""The packets of releases beside a file store: one file for each closed record of the ledger.

Decides where they stand (`.reconciler/evidence/<20 digits>.packet.json`) and that one that stands is never
replaced. A packet follows from the ledger, so losing one loses nothing; it stands here so that another
operator finds it, and so that a ledger which was written anew shows.

Never looks into a packet, and never makes one.
"""

from __future__ import annotations

from typing import Final

from reconciler.ledger import file_name
from reconciler.stores.port import other_packet
from reconciler.stores.serving.durable import PACKET_MOMENTS, PACKETS, make_directory, put_if_absent
from reconciler.stores.serving.files import read_file

PACKET_LIMIT: Final = 1 << 20


def kept_packet(root: int, seq: int) -> bytes | None:
    """The packet that is kept for a release.

    Raises:
        OSError: the store failed.
    """
    return read_file(root, _path(seq), PACKET_LIMIT)


def keep_packet(root: int, seq: int, packet: bytes, *, where: str) -> None:
    """Keep a packet; the same bytes again are fine, so a holder that was passed over does no harm.

    Raises:
        Corrupt: E_EVIDENCE_KEPT, another one is kept.
        OSError: the store failed.
    """
    make_directory(root, PACKETS)
    try:
        put_if_absent(root, _path(seq), packet, PACKET_MOMENTS, still_valid=lambda: None)
    except FileExistsError as error:
        if kept_packet(root, seq) != packet:
            raise other_packet(seq, f"{where}/{_path(seq)}") from error


def _path(seq: int) -> str:
    return f"{PACKETS}/{file_name(seq, 'packet')}"
