"""Envelopes: exact bytes, and nothing that two readers could read differently."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined] # re-exported

from reconciler.errors import Corrupt
from reconciler.evidence.envelope import (
    STATEMENT_TYPE,
    Envelope,
    Signature,
    countersigned,
    envelope_bytes,
    pae,
    read_envelope,
    sealed,
)
from tests.unit.evidence.packets import ADA, ADA_ONLY, BOB, BOTH, EVE, TIME

PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'


def document(envelope: Envelope | None = None) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(envelope_bytes(envelope or sealed(PAYLOAD, [ADA])))
    return loaded


def read(changed: object) -> Envelope:
    return read_envelope(json.dumps(changed).encode(), where="e.json")


def refusal(changed: object) -> str:
    with pytest.raises(Corrupt) as refused:
        read(changed)
    return refused.value.code


def test_what_is_signed_is_the_example_of_the_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_lengths_count_bytes_and_not_characters() -> None:
    assert pae("é", "é".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"


def test_an_envelope_comes_back_as_it_was_written() -> None:
    envelope = sealed(PAYLOAD, [ADA, BOB])
    assert read_envelope(envelope_bytes(envelope), where="") == envelope


def test_signing_twice_gives_the_same_bytes() -> None:
    assert envelope_bytes(sealed(PAYLOAD, [BOB, ADA])) == envelope_bytes(
        countersigned(sealed(PAYLOAD, [ADA]), [BOB, ADA])
    )


def test_both_alphabets_of_base64_are_read() -> None:
    written = document(sealed(b"\xfb\xff\xfe", [ADA]))
    assert written["payload"] == "+//+"
    written["payload"] = "-__-"
    assert read(written).payload == b"\xfb\xff\xfe"
    written["signatures"][0]["sig"] = base64.urlsafe_b64encode(
        base64.b64decode(written["signatures"][0]["sig"])
    ).decode()
    assert ADA_ONLY.signers(read(written), at=TIME) == ("ada",)


@pytest.mark.parametrize(
    "payload",
    ["-/_+", "+//+=", "+//", "aGk", "aGk=\n", " aGk=", "aGl=", "aGk=aGk=", "", "é", 7, None],
    ids=lambda text: f"<{text}>",
)
def test_base64_that_no_encoder_writes_is_refused(payload: object) -> None:
    assert refusal({**document(), "payload": payload}) == "E_ENVELOPE"


@pytest.mark.parametrize(
    "changed",
    [
        [],
        {},
        {**document(), "more": 1},
        {**document(), "payloadType": 1},
        {**document(), "signatures": {}},
        {**document(), "signatures": []},
        {**document(), "signatures": ["x"]},
        {**document(), "signatures": [{"keyid": "x"}]},
        {**document(), "signatures": [{"sig": "aGk=", "keyid": 1}]},
        {**document(), "signatures": [{"sig": "aGk=", "cert": "x"}]},
    ],
)
def test_an_envelope_of_another_form_is_refused(changed: object) -> None:
    assert refusal(changed) == "E_ENVELOPE"


def test_a_member_that_is_given_twice_is_refused() -> None:
    twice = envelope_bytes(sealed(PAYLOAD, [ADA])).replace(b'{"payload":', b'{"payload":"aGk=","payload":')
    with pytest.raises(Corrupt) as refused:
        read_envelope(twice, where="e.json")
    assert refused.value.code == "E_ENVELOPE"


def test_ten_thousand_signatures_are_refused_before_any_is_verified() -> None:
    written = document()
    assert refusal({**written, "signatures": written["signatures"] * 10_000}) == "E_ENVELOPE"


def test_securesystemslib_verifies_what_we_sign() -> None:
    other = OtherEnvelope.from_dict(document(sealed(PAYLOAD, [ADA, BOB])))
    keys = [
        SSlibKey(key.public.keyid, "ed25519", "ed25519", {"public": key.public.raw.hex()})
        for key in (ADA, BOB)
    ]
    assert sorted(other.verify(list(keys), 2)) == sorted(key.keyid for key in keys)


def test_we_verify_what_securesystemslib_signs() -> None:
    other = OtherEnvelope(PAYLOAD, STATEMENT_TYPE, {})
    for key in (ADA, BOB):
        other.sign(CryptoSigner(key._private))  # noqa: SLF001 - the library's own key object
    assert BOTH.signers(read(other.to_dict()), at=TIME) == ("ada", "bob")


def test_the_name_of_a_key_is_the_one_that_securesystemslib_gives_it() -> None:
    assert ADA.public.keyid == CryptoSigner(ADA._private).public_key.keyid  # noqa: SLF001 - as above


def test_a_keyid_decides_nothing() -> None:
    honest = sealed(PAYLOAD, [ADA])
    renamed = Envelope(PAYLOAD, STATEMENT_TYPE, (Signature("anything", honest.signatures[0].sig),))
    claimed = Envelope(
        PAYLOAD, STATEMENT_TYPE, (Signature(ADA.public.keyid, sealed(PAYLOAD, [EVE]).signatures[0].sig),)
    )
    assert (ADA_ONLY.signers(renamed, at=TIME), ADA_ONLY.signers(claimed, at=TIME)) == (("ada",), ())
