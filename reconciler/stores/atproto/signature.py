"""Whether the head of a repository was signed with the key that the account's identity names.

Every record is named by its hash in a tree whose root is named in one commit, and the commit is signed. So a
good signature says that all of it is what the account published, whichever server handed it out; it does not
say that it is the newest. What is signed is the commit without `sig`, in DAG-CBOR; a signature is r and s, 32
bytes each, on the curve of the key (secp256k1 or P-256), and only the one of its two forms with the low s
counts, so that nobody can make a second signature from a first.

The key is the verification method `#atproto` of the DID document: a Multikey, or in documents of older
directories a bare point whose type says its curve. A document without one, or with a key of another kind,
proves nothing, which is not the same as proving the opposite.

Specification: https://atproto.com/specs/repository#commit-objects, https://atproto.com/specs/cryptography
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reconciler.stores.atproto.dagcbor import Malformed, decode, encode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LONGEST: Final = 100
_SIGNATURE: Final = 64
_HALF: Final = 32


class _Curve(NamedTuple):
    """A curve: its name where keys are read, and the number of its points."""

    name: str
    order: int


_CURVES: Final[Mapping[bytes, _Curve]] = {
    b"\xe7\x01": _Curve("SECP256K1", 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
    b"\x80\x24": _Curve("SECP256R1", 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
}
"""By the two bytes that say what a Multikey is (https://github.com/multiformats/multicodec)."""


_KINDS: Final[Mapping[str, bytes]] = {
    "Multikey": b"",
    "EcdsaSecp256k1VerificationKey2019": b"\xe7\x01",
    "EcdsaSecp256r1VerificationKey2019": b"\x80\x24",
}
"""By the type of a verification method: what is missing before its bytes."""


class Verdict(Enum):
    """What is known of a signature."""

    PROVED = "proved"
    WRONG = "wrong"
    UNPROVED = "not proved"


class Proof(NamedTuple):
    """The verdict and its reason."""

    verdict: Verdict
    reason: str


def proof_of(commit: bytes, document: Mapping[str, Any]) -> Proof:
    """Judge the signature of a commit.

    Args:
        commit: the block, as it stands in the repository.
        document: the DID document of the account.
    """
    if find_spec("cryptography") is None:
        return Proof(Verdict.UNPROVED, "the package for signatures is not installed: reconciler[sign]")
    raw = _multikey(document)
    curve = _CURVES.get(raw[:2])
    if curve is None:
        return Proof(Verdict.UNPROVED, "the account's identity names no signing key of a known kind")
    try:
        key = _key(curve, raw[2:])
    except ValueError:
        return Proof(Verdict.UNPROVED, "the signing key that the account's identity names cannot be read")
    try:
        found = decode(commit)
    except Malformed:
        found = None
    signature = found.pop("sig", None) if isinstance(found, dict) else None
    if not isinstance(signature, bytes) or len(signature) != _SIGNATURE:
        return Proof(Verdict.WRONG, "the head of the repository carries no signature")
    if not _is_signed(key, curve, signature, encode(found)):
        return Proof(Verdict.WRONG, "the head of the repository is not signed with the account's key")
    return Proof(Verdict.PROVED, "the head of the repository is signed with the account's key")


def _multikey(document: Mapping[str, Any]) -> bytes:
    """The bytes of the account's key as a Multikey; none where the document names none."""
    methods = document.get("verificationMethod")
    for method in methods if isinstance(methods, list) else ():
        if isinstance(method, dict) and str(method.get("id", "")).endswith("#atproto"):
            text = method.get("publicKeyMultibase")
            before = _KINDS.get(str(method.get("type")))
            if before is not None and isinstance(text, str):
                return before + _base58(text)
    return b""


def _base58(text: str) -> bytes:
    """The bytes of a multibase text in base58btc; none where it is not one."""
    digits = text[1:]
    if not text.startswith("z") or len(text) > _LONGEST or not set(digits) <= set(_ALPHABET):
        return b""
    number = 0
    for digit in digits:
        number = number * 58 + _ALPHABET.index(digit)
    zeros = len(digits) - len(digits.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _key(curve: _Curve, point: bytes) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - an extra

    return ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, curve.name)(), point)


def _is_signed(key: EllipticCurvePublicKey, curve: _Curve, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above

    r, s = (int.from_bytes(half, "big") for half in (signature[:_HALF], signature[_HALF:]))
    if s > curve.order // 2:
        return False
    try:
        key.verify(encode_dss_signature(r, s), data, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
