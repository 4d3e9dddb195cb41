"""Trust: enough different owners, each by a key that counts at that time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from reconciler.errors import Corrupt, InvalidInput
from reconciler.evidence.envelope import STATEMENT_TYPE, Envelope, Signature, sealed
from reconciler.evidence.keys import PublicKey, SigningKey, read_public, read_signing
from reconciler.evidence.trust import Trust, TrustedKey, policy_trust, read_trust, trust_of
from tests.unit.evidence.packets import ADA, ADA_ONLY, BOB, BOTH, EVE, TIME

PAYLOAD = b'{"_type":"x"}'


def pem(key: SigningKey) -> str:
    public = key._private.public_key()  # noqa: SLF001 - the library's own key object
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def trust_document(**over: object) -> bytes:
    keys = [{"name": "ada", "public": pem(ADA)}, {"name": "bob", "public": pem(BOB), "from": 5, "until": 9}]
    return json.dumps({"schema": "reconciler/trust/v1", "threshold": 2, "keys": keys, **over}).encode()


def not_signed(trust: Trust, envelope: Envelope, at: int = TIME) -> str:
    with pytest.raises(Corrupt) as refused:
        trust.require(envelope, at=at, where="e.json")
    return refused.value.code


def test_enough_owners_are_named_in_order() -> None:
    assert BOTH.require(sealed(PAYLOAD, [BOB, ADA]), at=TIME, where="") == ("ada", "bob")


def test_a_key_that_is_not_trusted_counts_for_nothing() -> None:
    assert not_signed(ADA_ONLY, sealed(PAYLOAD, [EVE, BOB])) == "E_NOT_SIGNED"


def test_the_same_signature_twice_counts_once() -> None:
    once = sealed(PAYLOAD, [ADA])
    twice = Envelope(PAYLOAD, STATEMENT_TYPE, once.signatures * 2)
    assert not_signed(BOTH, twice) == "E_NOT_SIGNED"


def test_one_key_under_two_keyids_counts_once() -> None:
    (signature,) = sealed(PAYLOAD, [ADA]).signatures
    twice = Envelope(PAYLOAD, STATEMENT_TYPE, (signature, Signature("another", signature.sig)))
    assert not_signed(BOTH, twice) == "E_NOT_SIGNED"


def test_two_keys_of_one_owner_count_once() -> None:
    trust = Trust(
        (
            TrustedKey(name="ada", key=ADA.public),
            TrustedKey(name="ada", key=EVE.public),
            TrustedKey(name="bob", key=BOB.public),
        ),
        threshold=2,
    )
    assert not_signed(trust, sealed(PAYLOAD, [ADA, EVE])) == "E_NOT_SIGNED"


def test_another_payload_type_has_no_signers() -> None:
    signature = Signature(ADA.public.keyid, ADA.sign(b"DSSEv1 10 text/plain 1 x"))
    assert not_signed(ADA_ONLY, Envelope(b"x", "text/plain", (signature,))) == "E_NOT_SIGNED"


def test_changing_the_payload_type_breaks_the_signature() -> None:
    envelope = sealed(PAYLOAD, [ADA])
    assert not ADA.public.verifies(
        envelope.signatures[0].sig, Envelope(PAYLOAD, "text/plain", envelope.signatures).signed
    )


@pytest.mark.parametrize(("at", "signers"), [(4, ()), (5, ("bob",)), (8, ("bob",)), (9, ())])
def test_a_key_counts_in_its_time_only(at: int, signers: tuple[str, ...]) -> None:
    trust = Trust((TrustedKey(name="bob", key=BOB.public, since=5, until=9),))
    assert trust.signers(sealed(PAYLOAD, [BOB]), at=at) == signers


def test_a_rotated_key_is_trusted_beside_the_old_one_and_then_alone() -> None:
    overlap = Trust(
        (
            TrustedKey(name="ada", key=ADA.public, until=100),
            TrustedKey(name="ada", key=EVE.public, since=50),
        )
    )
    old, new = sealed(PAYLOAD, [ADA]), sealed(PAYLOAD, [EVE])
    assert [(overlap.signers(old, at=at), overlap.signers(new, at=at)) for at in (49, 50, 100)] == [
        (("ada",), ()),
        (("ada",), ("ada",)),
        ((), ("ada",)),
    ]


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_a_signature_of_another_size_is_none(size: int) -> None:
    signature = (ADA.sign(b"x") * 2)[:size]
    assert not ADA.public.verifies(signature, b"x")


def test_a_trust_document_is_read() -> None:
    trust = read_trust(trust_document(), where="trust.json")
    assert trust == Trust(
        (
            TrustedKey(name="ada", key=PublicKey(ADA.public.raw)),
            TrustedKey(name="bob", key=PublicKey(BOB.public.raw), since=5, until=9),
        ),
        threshold=2,
    )


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"schema": "reconciler/trust/v2"}, "E_TRUST"),
        ({"more": 1}, "E_TRUST"),
        ({"threshold": 0}, "E_TRUST"),
        ({"threshold": 3}, "E_TRUST"),
        ({"threshold": True}, "E_TRUST"),
        ({"threshold": "2"}, "E_TRUST"),
        ({"keys": []}, "E_TRUST"),
        ({"keys": {}}, "E_TRUST"),
        ({"keys": ["x"]}, "E_TRUST"),
        ({"threshold": 1, "keys": [{"name": "ada"}]}, "E_TRUST"),
        ({"threshold": 1, "keys": [{"name": "", "public": pem(ADA)}]}, "E_TRUST"),
        ({"threshold": 1, "keys": [{"name": "ada\u202e", "public": pem(ADA)}]}, "E_TRUST"),
        ({"threshold": 1, "keys": [{"name": "ada", "public": 5}]}, "E_TRUST"),
        ({"threshold": 1, "keys": [{"name": "ada", "public": pem(ADA), "until": "5"}]}, "E_TRUST"),
        ({"threshold": 1, "keys": [{"name": "ada", "public": pem(ADA), "role": "x"}]}, "E_TRUST"),
        ({"threshold": 1, "keys": [{"name": "ada", "public": "ed25519"}]}, "E_KEY"),
        ({"keys": [{"name": "ada", "public": pem(ADA)}, {"name": "bob", "public": pem(ADA)}]}, "E_TRUST"),
    ],
)
def test_a_trust_document_that_could_be_misread_is_refused(over: dict[str, object], code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_trust(trust_document(**over), where="trust.json")
    assert refused.value.code == code


def test_the_threshold_is_not_above_the_number_of_owners() -> None:
    keys = (TrustedKey(name="ada", key=ADA.public), TrustedKey(name="ada", key=EVE.public))
    with pytest.raises(InvalidInput) as refused:
        trust_of(keys, threshold=2, where="--threshold")
    assert refused.value.code == "E_TRUST"


def test_a_public_key_has_a_short_form() -> None:
    short = f"ed25519:{ADA.public.raw.hex()}"
    keys = [{"name": "ada", "public": short}, {"name": "bob", "public": pem(BOB)}]
    trust = read_trust(trust_document(keys=keys), where="trust.json")
    assert trust.signers(sealed(PAYLOAD, [ADA, BOB]), at=TIME) == ("ada", "bob")


def test_a_policy_names_owners_with_their_keys() -> None:
    texts = [f"Ada Lovelace ed25519:{ADA.public.raw.hex()}", f"bob ed25519:{BOB.public.raw.hex()}"]
    trust = policy_trust(texts, count=2, where="desired/policy.yaml:5")
    assert trust.require(sealed(PAYLOAD, [ADA, BOB]), at=TIME, where="") == ("Ada Lovelace", "bob")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ada", "E_TRUST"),
        (f"ed25519:{'0' * 64}", "E_TRUST"),
        (f" ed25519:{'0' * 64}", "E_TRUST"),
        (f"ada ed25519:{'0' * 63}", "E_KEY"),
        (f"ada ed25519:{'A' * 64}", "E_KEY"),
        ("ada rsa:00", "E_TRUST"),
    ],
)
def test_a_key_in_a_policy_that_could_be_misread_is_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        policy_trust([text], count=1, where="desired/policy.yaml:5")
    assert refused.value.code == code


def private_pem(key: object, password: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    assert isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def test_a_private_key_is_read_and_never_shows_itself() -> None:
    data = private_pem(ADA._private)  # noqa: SLF001 - the library's own key object
    key = read_signing(data, where="key")
    secret = data.split(b"\n")[1].decode()
    assert key.public == ADA.public
    assert secret not in repr(key)
    assert "Ed25519PrivateKey" not in repr(key)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ssh-ed25519 AAAA",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        private_pem(ec.generate_private_key(ec.SECP256R1())),
        private_pem(ed25519.Ed25519PrivateKey.generate(), b"password"),
    ],
    ids=["empty", "ssh", "broken", "p256", "encrypted"],
)
def test_what_is_no_ed25519_key_is_refused_without_being_repeated(data: bytes, tmp_path: Path) -> None:
    del tmp_path
    with pytest.raises(InvalidInput) as refused:
        read_signing(data, where="key")
    assert refused.value.code == "E_KEY"
    assert [line for line in data.decode().split("\n") if len(line) > 10 and line in str(refused.value)] == []


def test_a_private_key_is_refused_where_a_public_one_belongs() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_public(private_pem(ADA._private), where="key.pub")  # noqa: SLF001 - as above
    assert refused.value.code == "E_KEY"
