"""Evidence that was touched does not verify: every mutation, on every member, and every bit that is signed.

After each batch the untouched packet is verified again, so that a verifier which refuses everything fails.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from reconciler.canonical import canonical, sha256_digest, sha256_hex
from reconciler.errors import InvalidInput
from reconciler.evidence.approval import approval_statement
from reconciler.evidence.envelope import (
    STATEMENT_TYPE,
    Envelope,
    Signature,
    envelope_bytes,
    read_envelope,
    sealed,
)
from reconciler.evidence.packet import CHECKSUMS, ENVELOPE, ENVELOPES, INTENT, OUTCOME, PACKET
from reconciler.evidence.trust import Trust, TrustedKey
from reconciler.evidence.verification import Expected, verify
from reconciler.shape import Shape
from tests.unit.evidence.packets import (
    ADA,
    ADA_ONLY,
    BOB,
    BOTH,
    EVE,
    PROMOTE,
    TIME,
    codes,
    contents,
    documents,
    packet,
    proved,
    second_packet,
    signed,
)
from tests.unit.evidence.packets import (
    INTENT as APPROVED,
)

WHOLE = signed(packet().members)
OTHER = signed(second_packet().members)
MEMBERS = sorted(WHOLE)
Change = Callable[[bytes], bytes]

TOUCHES: dict[str, Change] = {
    "flip the first bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "flip a bit in the middle": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x10]) + data[len(data) // 2 + 1 :]
    ),
    "flip the last bit": lambda data: data[:-1] + bytes([data[-1] ^ 0x80]),
    "truncate one byte": lambda data: data[:-1],
    "append one byte": lambda data: data + b"\n",
    "append itself": lambda data: data + data,
    "empty": lambda _data: b"",
    "encode again with spaces": lambda data: json.dumps(json.loads(data)).encode(),
}


@pytest.fixture(autouse=True)
def untouched_verifies() -> Iterator[None]:
    yield
    assert proved(WHOLE).whole
    assert proved(OTHER).whole


def test_the_untouched_packet_proves_everything() -> None:
    proof = proved(WHOLE)
    assert [(check.name, check.proved) for check in proof.checks] == [
        (name, True)
        for name in ("index", "members", "ledger", "derived", "signature", "release", "approvals")
    ]
    assert proof.problems == ()


@pytest.mark.parametrize("touch", sorted(TOUCHES))
@pytest.mark.parametrize("member", MEMBERS)
def test_a_touched_member_does_not_verify(member: str, touch: str) -> None:
    touched = TOUCHES[touch](WHOLE[member])
    if member in ENVELOPES and touch in {"append one byte", "encode again with spaces"}:
        # The envelope's own JSON is not signed (DSSE): white space around it says nothing else.
        assert proved({**WHOLE, member: touched}).whole
        return
    proof = proved({**WHOLE, member: touched})
    assert not proof.whole
    assert proof.problems != ()


@pytest.mark.parametrize("member", MEMBERS)
def test_a_removed_member_does_not_verify(member: str) -> None:
    proof = proved({path: data for path, data in WHOLE.items() if path != member})
    assert codes(proof)[0] == ("E_NOT_SIGNED" if member in ENVELOPES else "E_EVIDENCE_MEMBER")


@pytest.mark.parametrize(
    "path", ["evidence/extra.json", "signing/release.dsse.json.bak", "packet/packet2.json"]
)
def test_a_file_that_is_not_listed_does_not_verify(path: str) -> None:
    assert codes(proved({**WHOLE, path: b"{}"})) == ["E_EVIDENCE_MEMBER"]


@pytest.mark.parametrize("member", MEMBERS)
def test_a_renamed_member_does_not_verify(member: str) -> None:
    renamed = {(f"{path}x" if path == member else path): data for path, data in WHOLE.items()}
    assert "E_EVIDENCE_MEMBER" in codes(proved(renamed))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_of_another_valid_packet_does_not_verify(member: str) -> None:
    assert not proved({**WHOLE, member: OTHER[member]}).whole


def test_two_members_that_changed_places_do_not_verify() -> None:
    swapped = {**WHOLE, INTENT: WHOLE[OUTCOME], OUTCOME: WHOLE[INTENT]}
    assert codes(proved(swapped)) == ["E_EVIDENCE_MEMBER", "E_LEDGER_CHAIN"]


def resigned_index(change: Callable[[dict[str, Any]], None]) -> dict[str, bytes]:
    """A packet whose index was edited, made whole again with a new root, and signed by nobody we trust."""
    document = json.loads(WHOLE[PACKET])
    document.pop("root")
    change(document)
    data = canonical({**document, "root": sha256_digest(canonical(document))})
    return {**WHOLE, PACKET: data}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d["items"].reverse(), "E_EVIDENCE_PACKET"),
        (lambda d: d["items"].append(d["items"][-1]), "E_EVIDENCE_PACKET"),
        (lambda d: d["items"].pop(), "E_EVIDENCE_PACKET"),
        (lambda d: d.update(previous="sha256:" + "9" * 64), "E_STATEMENT"),
        (lambda d: d.update(seq=2), "E_EVIDENCE_PACKET"),
        (lambda d: d.update(store="another"), "E_EVIDENCE_PACKET"),
        (lambda d: d.update(release_id="serving-1-dddddddddddd"), "E_EVIDENCE_DERIVED"),
        (lambda d: d["ledger"].update(outcome="sha256:" + "9" * 64), "E_EVIDENCE_PACKET"),
    ],
)
def test_an_edited_index_with_a_fitting_root_does_not_verify(
    change: Callable[[dict[str, Any]], None], code: str
) -> None:
    assert code in codes(proved(resigned_index(change)))


def test_a_member_edited_together_with_all_its_hashes_is_not_what_the_record_gives() -> None:
    """Even a trusted signer cannot claim what the ledger record does not say."""
    members = dict(packet().members)
    path = "evidence/manifest.json"
    members[path] = members[path].replace(b"first release", b"other reasons")
    checksums = json.loads(members[CHECKSUMS])
    for item in checksums["items"]:
        item["sha256"] = sha256_hex(members[item["path"]])
    members[CHECKSUMS] = canonical(checksums)
    index = json.loads(members[PACKET])
    index.pop("root")
    for item in index["items"]:
        item.update(sha256=sha256_hex(members[item["path"]]), bytes=len(members[item["path"]]))
    members[PACKET] = canonical({**index, "root": sha256_digest(canonical(index))})
    proof = proved(signed(members))
    assert codes(proof) == ["E_EVIDENCE_DERIVED"]
    assert [problem.path for problem in proof.problems] == [
        "packet/evidence/manifest.json",
        "packet/signing/checksums.json",
    ]


def test_an_older_packet_is_not_the_release_that_was_asked_for() -> None:
    assert codes(proved(WHOLE, expected=Expected(store="serving", seq=2))) == ["E_EVIDENCE_RELEASE"]


def test_a_packet_of_another_store_is_not_the_release_that_was_asked_for() -> None:
    other = signed(packet(documents(identity="archive serving root=file:var/archive")).members)
    assert proved(other).whole
    assert codes(proved(other, expected=Expected(store="serving", seq=1))) == ["E_EVIDENCE_RELEASE"]


def test_a_packet_follows_the_one_before_and_no_other() -> None:
    root = packet().index.root
    assert proved(OTHER, expected=Expected(previous=root)).whole
    assert codes(proved(OTHER, expected=Expected(previous=OTHER[PACKET].hex()))) == ["E_EVIDENCE_CHAIN"]
    assert codes(proved(WHOLE, expected=Expected(previous=root))) == ["E_EVIDENCE_CHAIN"]


# Signatures


def with_envelope(envelope: Envelope) -> dict[str, bytes]:
    return {**WHOLE, ENVELOPE: envelope_bytes(envelope)}


PAYLOAD = read_envelope(WHOLE[ENVELOPE], where="").payload


def statement(**over: object) -> bytes:
    return canonical({**json.loads(PAYLOAD), **over})


def about(digest: Mapping[str, str]) -> list[dict[str, object]]:
    return [{"name": PACKET, "digest": digest}]


HEX = sha256_hex(WHOLE[PACKET])


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (statement(_type="https://in-toto.io/Statement/v0.1"), "E_STATEMENT"),
        (statement(predicateType="https://slsa.dev/provenance/v1"), "E_STATEMENT"),
        (statement(predicateType="urn:reconciler:approval:v1"), "E_STATEMENT"),
        (statement(subject=about({"sha256": "9" * 64})), "E_STATEMENT"),
        (statement(subject=about({"sha256": HEX.upper()})), "E_STATEMENT"),
        (statement(subject=about({"sha256": HEX[:-1]})), "E_STATEMENT"),
        (statement(subject=about({"sha512": HEX})), "E_STATEMENT"),
        (statement(subject=about({"sha256": HEX, "sha1": "1"})), "E_STATEMENT"),
        (statement(subject=[]), "E_STATEMENT"),
        (statement(subject=about({"sha256": HEX}) * 2), "E_STATEMENT"),
        (statement(predicate=[]), "E_STATEMENT"),
        (statement(extra=1), "E_STATEMENT"),
        (b"{", "E_STATEMENT"),
        (PAYLOAD.replace(b"{", b'{"_type":"x",', 1), "E_STATEMENT"),
    ],
)
def test_a_signed_statement_that_is_not_about_this_packet_does_not_verify(payload: bytes, code: str) -> None:
    """Signed by a trusted key, so that only the statement itself can be what is refused."""
    assert codes(proved(with_envelope(sealed(payload, [ADA])))) == [code]


@pytest.mark.parametrize("name", ["provenance", "verdict"])
def test_each_statement_is_signed_as_it_stands(name: str) -> None:
    place, member = f"signing/{name}.dsse.json", f"evidence/statements/{name}.json"
    assert read_envelope(WHOLE[place], where="").payload == WHOLE[member]
    forged = envelope_bytes(sealed(WHOLE[member], [EVE]))
    assert codes(proved({**WHOLE, place: forged})) == ["E_NOT_SIGNED"]
    other = envelope_bytes(sealed(OTHER[member].replace(b"serving", b"servinG"), [ADA]))
    assert codes(proved({**WHOLE, place: other})) == ["E_STATEMENT"]


def test_an_envelope_without_its_statement_is_a_file_too_many() -> None:
    promoted = packet(documents(steps=(PROMOTE,)))
    whole = signed(promoted.members)
    assert "signing/provenance.dsse.json" not in whole
    assert proved(whole).whole
    extra = {**whole, "signing/provenance.dsse.json": WHOLE["signing/provenance.dsse.json"]}
    assert codes(proved(extra)) == ["E_EVIDENCE_MEMBER"]


def test_another_payload_type_does_not_verify() -> None:
    plain = Envelope(PAYLOAD, "application/json", ())
    signature = Signature(ADA.public.keyid, ADA.sign(plain.signed))
    assert codes(proved(with_envelope(Envelope(PAYLOAD, "application/json", (signature,))))) == [
        "E_NOT_SIGNED"
    ]
    genuine = read_envelope(WHOLE[ENVELOPE], where="").signatures
    assert codes(proved(with_envelope(Envelope(PAYLOAD, "application/json", genuine)))) == ["E_NOT_SIGNED"]


def test_a_payload_that_was_encoded_again_does_not_verify() -> None:
    genuine = read_envelope(WHOLE[ENVELOPE], where="").signatures
    again = json.dumps(json.loads(PAYLOAD)).encode()
    assert codes(proved(with_envelope(Envelope(again, STATEMENT_TYPE, genuine)))) == ["E_NOT_SIGNED"]


def test_a_signature_of_a_key_that_is_not_trusted_does_not_verify() -> None:
    assert codes(proved(signed(packet().members, EVE))) == ["E_NOT_SIGNED"]


def test_a_key_that_is_not_trusted_under_a_trusted_name_does_not_verify() -> None:
    forged = Signature(ADA.public.keyid, sealed(PAYLOAD, [EVE]).signatures[0].sig)
    assert codes(proved(with_envelope(Envelope(PAYLOAD, STATEMENT_TYPE, (forged,))))) == ["E_NOT_SIGNED"]


def test_a_trusted_key_under_a_wrong_name_verifies() -> None:
    (genuine,) = read_envelope(WHOLE[ENVELOPE], where="").signatures
    renamed = Envelope(PAYLOAD, STATEMENT_TYPE, (Signature("0" * 64, genuine.sig),))
    assert proved(with_envelope(renamed)).whole


def test_a_threshold_of_two_wants_two_owners() -> None:
    assert proved(signed(packet().members, ADA, BOB), BOTH).whole
    assert codes(proved(signed(packet().members, ADA), BOTH)) == ["E_NOT_SIGNED"]
    (genuine,) = read_envelope(WHOLE[ENVELOPE], where="").signatures
    twice = Envelope(PAYLOAD, STATEMENT_TYPE, (genuine, Signature("again", genuine.sig)))
    assert codes(proved(with_envelope(twice), BOTH)) == ["E_NOT_SIGNED"]


@pytest.mark.parametrize(("since", "until"), [(None, TIME), (TIME + 1, None)])
def test_a_key_outside_its_time_does_not_verify(since: int | None, until: int | None) -> None:
    trust = Trust((TrustedKey(name="ada", key=ADA.public, since=since, until=until),))
    assert codes(proved(WHOLE, trust)) == ["E_NOT_SIGNED"]


def test_ten_thousand_signatures_do_not_verify() -> None:
    (genuine,) = read_envelope(WHOLE[ENVELOPE], where="").signatures
    many = Envelope(PAYLOAD, STATEMENT_TYPE, (genuine,) * 10_000)
    assert codes(proved(with_envelope(many))) == ["E_ENVELOPE"]


def test_no_signature_does_not_verify() -> None:
    assert codes(proved(with_envelope(Envelope(PAYLOAD, STATEMENT_TYPE, ())))) == ["E_ENVELOPE"]


def test_base64_with_bits_that_no_encoder_writes_does_not_verify() -> None:
    document = json.loads(WHOLE[ENVELOPE])
    sig = document["signatures"][0]["sig"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    junk = sig[:-3] + alphabet[alphabet.index(sig[-3]) | 1] + "=="
    assert base64.b64decode(junk) == base64.b64decode(sig)
    document["signatures"][0]["sig"] = junk
    assert codes(proved({**WHOLE, ENVELOPE: canonical(document)})) == ["E_ENVELOPE"]


def test_base64_for_urls_verifies() -> None:
    document = json.loads(WHOLE[ENVELOPE])
    for holder, name in ((document, "payload"), (document["signatures"][0], "sig")):
        holder[name] = holder[name].replace("+", "-").replace("/", "_")
    assert proved({**WHOLE, ENVELOPE: canonical(document)}).whole


# Every bit


def flipped(data: bytes) -> Iterator[bytes]:
    for position in range(len(data)):
        for bit in range(8):
            yield data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def test_every_bit_of_the_signed_payload_counts() -> None:
    genuine = read_envelope(WHOLE[ENVELOPE], where="").signatures
    survived = [
        payload
        for payload in flipped(PAYLOAD)
        if ADA_ONLY.signers(Envelope(payload, STATEMENT_TYPE, genuine), at=TIME)
    ]
    assert survived == []


def test_every_bit_of_a_signature_counts() -> None:
    (genuine,) = read_envelope(WHOLE[ENVELOPE], where="").signatures
    survived = [
        sig
        for sig in flipped(genuine.sig)
        if ADA_ONLY.signers(Envelope(PAYLOAD, STATEMENT_TYPE, (Signature("", sig),)), at=TIME)
    ]
    assert survived == []


def test_every_bit_of_an_approval_counts() -> None:
    approval = sealed(approval_statement(APPROVED, issued=TIME), [ADA])
    survived = [
        payload
        for payload in flipped(approval.payload)
        if ADA_ONLY.signers(Envelope(payload, STATEMENT_TYPE, approval.signatures), at=TIME)
    ]
    assert survived == []


def test_every_bit_of_the_index_counts() -> None:
    survived = [data for data in flipped(WHOLE[PACKET]) if proved({**WHOLE, PACKET: data}).whole]
    assert survived == []


@pytest.mark.parametrize("member", [path for path in MEMBERS if path not in {PACKET, *ENVELOPES}])
def test_every_byte_of_a_member_counts(member: str) -> None:
    """One bit of each byte, another one from byte to byte; what is signed has every bit tried above."""
    data = WHOLE[member]
    touched = (
        data[:position] + bytes([data[position] ^ (1 << position % 8)]) + data[position + 1 :]
        for position in range(len(data))
    )
    assert [bad for bad in touched if proved({**WHOLE, member: bad}).whole] == []


def test_a_check_that_cannot_be_made_is_not_proved() -> None:
    """A packet of a kind of store that this program does not know."""

    def unknown(kind: str) -> Shape:
        raise InvalidInput.of("E_STORE_KIND", "this kind of store is not known", got=kind)

    proof = verify(contents(WHOLE), ADA_ONLY, shape_of=unknown, expected=Expected())
    assert (proof.whole, codes(proof)) == (False, ["E_STORE_KIND"])


def test_after_a_broken_index_nothing_else_is_proved() -> None:
    proof = proved({**WHOLE, PACKET: b"{}"})
    assert [check.name for check in proof.checks if check.proved] == []
    assert [check.name for check in proof.checks if check.problems] == ["index"]
