"""A signed file that was touched does not verify: every bit of a report, its statement and its signature.

The bundle of a packet is here, too: its bytes between the members say nothing else than they must. After
each batch the untouched file is verified again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.canonical import canonical
from reconciler.cli.packet_files import bundle_bytes, read_contents, write_packet
from reconciler.errors import Corrupt, InvalidInput, ReconcilerError
from reconciler.evidence.envelope import Envelope, Signature, envelope_bytes, read_envelope, sealed
from reconciler.evidence.signed_file import file_signers, file_statement, kind_of
from reconciler.evidence.statement import PLAN, REPORT
from reconciler.evidence.verification import Expected, verify
from reconciler.stores.port import adapter
from tests.unit.evidence.packets import ADA, ADA_ONLY, EVE, TIME, packet, signed

REPORT_BYTES = canonical(
    {"schema": "reconciler/drill/v1", "store": "serving", "number": 1, "proved": True, "checks": []}
)
PAYLOAD = file_statement(REPORT_BYTES, name="drill.json", where="")
ENVELOPE = envelope_bytes(sealed(PAYLOAD, [ADA]))


def signers(envelope: bytes = ENVELOPE, data: bytes = REPORT_BYTES) -> tuple[str, ...]:
    """Who signed these bytes, as the command line asks it."""
    kind = kind_of(data, where="")
    return file_signers(envelope, data, ADA_ONLY, predicate_type=kind, at=TIME, where="")


def passes(envelope: bytes = ENVELOPE, data: bytes = REPORT_BYTES) -> bool:
    try:
        return signers(envelope, data) != ()
    except ReconcilerError:
        return False


@pytest.fixture(autouse=True)
def untouched_verifies() -> Iterator[None]:
    yield
    assert signers() == ("ada",)


def flipped(data: bytes) -> Iterator[bytes]:
    for position in range(len(data)):
        for bit in range(8):
            yield data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def test_every_bit_of_a_signed_report_counts() -> None:
    assert [data for data in flipped(REPORT_BYTES) if passes(data=data)] == []


def test_every_bit_of_its_statement_counts() -> None:
    genuine = read_envelope(ENVELOPE, where="")
    touched = (
        envelope_bytes(Envelope(payload, genuine.payload_type, genuine.signatures))
        for payload in flipped(genuine.payload)
    )
    assert [envelope for envelope in touched if passes(envelope)] == []


def test_every_bit_of_its_signature_counts() -> None:
    genuine = read_envelope(ENVELOPE, where="")
    touched = (
        envelope_bytes(Envelope(genuine.payload, genuine.payload_type, (Signature("", sig),)))
        for sig in flipped(genuine.signatures[0].sig)
    )
    assert [envelope for envelope in touched if passes(envelope)] == []


@pytest.mark.parametrize("touch", ["one byte less", "one byte more", "itself again", "nothing"])
def test_a_report_of_another_length_does_not_verify(touch: str) -> None:
    data = {
        "one byte less": REPORT_BYTES[:-1],
        "one byte more": REPORT_BYTES + b"\n",
        "itself again": REPORT_BYTES * 2,
        "nothing": b"",
    }[touch]
    with pytest.raises((Corrupt, InvalidInput)) as refused:
        signers(data=data)
    assert refused.value.exit_code in {3, 8}


def test_a_report_with_the_envelope_of_another_one_does_not_verify() -> None:
    other = canonical({"schema": "reconciler/drill/v1", "store": "serving", "number": 2})
    envelope = envelope_bytes(sealed(file_statement(other, name="drill.json", where=""), [ADA]))
    with pytest.raises(Corrupt) as refused:
        signers(envelope)
    assert refused.value.code == "E_STATEMENT"


def test_a_report_that_somebody_else_signed_does_not_verify() -> None:
    with pytest.raises(Corrupt) as refused:
        signers(envelope_bytes(sealed(PAYLOAD, [EVE])))
    assert refused.value.code == "E_NOT_SIGNED"


@pytest.mark.parametrize("wanted", [PLAN, "https://slsa.dev/provenance/v1"])
def test_a_signed_report_is_nothing_else(wanted: str) -> None:
    with pytest.raises(Corrupt) as refused:
        file_signers(ENVELOPE, REPORT_BYTES, ADA_ONLY, predicate_type=wanted, at=TIME, where="")
    assert refused.value.code == "E_STATEMENT"
    assert kind_of(REPORT_BYTES, where="") == REPORT


# A bundle: what stands between the members


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    place = tmp_path_factory.mktemp("bundle")
    write_packet(place / "packet", packet().members)
    for path, data in signed(packet().members).items():
        (place / "packet" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "packet" / path).write_bytes(data)
    return place, b"".join(bundle_bytes(place / "packet"))


def bundle_passes(place: Path, data: bytes) -> bool:
    file = place / "touched.tar"
    file.write_bytes(data)
    try:
        contents = read_contents(file)
        proof = verify(
            contents, ADA_ONLY, shape_of=lambda kind: adapter(kind).SHAPE, expected=Expected(store="serving")
        )
    except Corrupt:
        return False
    return proof.whole


def test_every_byte_of_a_bundle_that_is_no_member_counts(bundled: tuple[Path, bytes]) -> None:
    """The header of the first member, what fills its last block, and the blocks that end the archive."""
    place, whole = bundled
    assert bundle_passes(place, whole)
    size = int(whole[124:135], 8)
    filled = range(512 + size, 512 + -(-size // 512) * 512)
    end = range(len(whole.rstrip(b"\0")), len(whole), 61)
    positions = [*range(512), *filled, *end]
    survived = [
        position
        for position in positions
        if bundle_passes(
            place, whole[:position] + bytes([whole[position] ^ (1 << position % 8)]) + whole[position + 1 :]
        )
    ]
    assert survived == []
    assert bundle_passes(place, whole)
