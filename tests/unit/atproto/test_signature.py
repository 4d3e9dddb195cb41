"""A commit is proved by the account's own key and by nothing else; what cannot be judged is not proved."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reconciler.stores.atproto.dagcbor import Link, Record, encode
from reconciler.stores.atproto.signature import Verdict, proof_of

CURVES: dict[str, tuple[ec.EllipticCurve, bytes, int]] = {
    "k256": (ec.SECP256K1(), b"\xe7\x01", 2**256 - 432420386565659656852420866394968145599),
    "p256": (ec.SECP256R1(), b"\x80\x24", 2**256 - 2**224 + 2**192 - 89188191075325690597107910205041859247),
}
UNSIGNED: Record = {
    "did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
    "version": 3,
    "data": Link(b"\x01\x71\x12\x20" + bytes(32)),
    "rev": "3kaaaaaaaaaaa",
    "prev": None,
}
LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58(data: bytes) -> str:
    """Bytes whose first is not zero, in base58btc."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = LETTERS[rest] + text
    return f"z{text}"


def document(key: ec.EllipticCurvePrivateKey, kind: bytes) -> dict[str, object]:
    """A DID document that names a key, compressed."""
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    method = {"id": "did:x#atproto", "type": "Multikey", "publicKeyMultibase": base58(kind + point)}
    return {"verificationMethod": [{"id": "did:x#other", "type": "Multikey"}, method]}


def signed(curve: str, *, high: bool = False) -> tuple[bytes, dict[str, object]]:
    """A signed commit, with the low or the high s, and the document that names its key."""
    form, kind, order = CURVES[curve]
    key = ec.generate_private_key(form)
    r, s = decode_dss_signature(key.sign(encode(UNSIGNED), ec.ECDSA(SHA256())))
    if (s > order // 2) != high:
        s = order - s
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return encode({**UNSIGNED, "sig": signature}), document(key, kind)


@pytest.mark.parametrize("curve", sorted(CURVES))
def test_commit_that_the_account_signed_is_proved(curve: str) -> None:
    assert proof_of(*signed(curve)).verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("curve", "kind"),
    [("k256", "EcdsaSecp256k1VerificationKey2019"), ("p256", "EcdsaSecp256r1VerificationKey2019")],
)
def test_key_of_an_older_directory_is_a_bare_point(curve: str, kind: str) -> None:
    form, _, order = CURVES[curve]
    key = ec.generate_private_key(form)
    r, s = decode_dss_signature(key.sign(encode(UNSIGNED), ec.ECDSA(SHA256())))
    signature = r.to_bytes(32, "big") + min(s, order - s).to_bytes(32, "big")
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    known = method(id="#atproto", type=kind, publicKeyMultibase=base58(point))
    assert proof_of(encode({**UNSIGNED, "sig": signature}), known).verdict is Verdict.PROVED


@pytest.mark.parametrize("curve", sorted(CURVES))
def test_second_form_of_a_signature_proves_nothing(curve: str) -> None:
    assert proof_of(*signed(curve, high=True)).verdict is Verdict.WRONG


@pytest.mark.parametrize("curve", sorted(CURVES))
def test_commit_that_another_key_signed_is_wrong(curve: str) -> None:
    assert proof_of(signed(curve)[0], signed(curve)[1]).verdict is Verdict.WRONG


@pytest.mark.parametrize(
    "change",
    [
        {"rev": "3kaaaaaaaaaab"},
        {"prev": Link(b"\x01\x71\x12\x20" + bytes(32))},
        {"sig": b""},
        {"sig": bytes(64)},
        {"sig": "text"},
        {"more": 1},
    ],
)
def test_commit_that_was_changed_after_signing_is_wrong(change: Record) -> None:
    commit, known = signed("k256")
    from reconciler.stores.atproto.dagcbor import decode  # noqa: PLC0415 - here only

    found = decode(commit)
    assert isinstance(found, dict)
    assert proof_of(encode({**found, **change}), known).verdict is Verdict.WRONG


@pytest.mark.parametrize("commit", [b"", b"\xa0", b"\x80", b"no map"])
def test_block_that_is_no_commit_is_wrong(commit: bytes) -> None:
    assert proof_of(commit, signed("k256")[1]).verdict is Verdict.WRONG


def method(**members: object) -> dict[str, object]:
    """A document with one verification method."""
    known = {"id": "did:x#atproto", "type": "Multikey", "publicKeyMultibase": "z6Mk"}
    return {"verificationMethod": [{**known, **members}]}


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"verificationMethod": "z"},
        {"verificationMethod": ["z"]},
        method(id="did:x#other"),
        method(type="JsonWebKey2020"),
        method(publicKeyMultibase="z0OIl"),
        method(publicKeyMultibase="m6Mk"),
        method(publicKeyMultibase=base58(b"\xe7\x01" + b"\x02" + bytes(31))),
        method(publicKeyMultibase=base58(b"\xe7\x01")),
        method(publicKeyMultibase=base58(b"\xed\x01" + bytes(32))),
        method(publicKeyMultibase="z" + "2" * 5000),
    ],
)
def test_document_without_a_usable_key_proves_nothing(known: dict[str, object]) -> None:
    assert proof_of(signed("k256")[0], known).verdict is Verdict.UNPROVED
