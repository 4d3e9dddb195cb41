"""Ed25519 keys: reading them from PEM, naming them, signing and verifying.

Ed25519 (RFC 8032) is the only algorithm: none is ever chosen by what is being verified. A key is named by
the sha256 that securesystemslib computes for it, so that its tools find our keys and we find theirs; the
name is a hint for people and never a reason to trust.

The library behind it is loaded when a key is first used. Private keys are values that never show
themselves: their `repr` is the name of the public half.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from reconciler.canonical import canonical, sha256_hex
from reconciler.errors import InvalidInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_LIMIT: Final = 16_384
"""The most bytes that a key file may have."""

SIGNATURE_SIZE: Final = 64
SHORT: Final = "ed25519:"
"""How the short form of a public key begins."""

_FIX_PUBLIC: Final = "give the PEM that 'openssl pkey -in KEY -pubout' prints"
_FIX_PRIVATE: Final = "make one with 'openssl genpkey -algorithm ed25519 -out KEY'"


@dataclass(frozen=True)
class PublicKey:
    """One Ed25519 public key, by its 32 bytes."""

    raw: bytes

    @cached_property
    def keyid(self) -> str:
        """Its name: the sha256 over its canonical description, as securesystemslib gives it."""
        return sha256_hex(
            canonical({"keytype": "ed25519", "keyval": {"public": self.raw.hex()}, "scheme": "ed25519"})
        )

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this key made the signature over these bytes."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only where keys are used
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

        if len(signature) != SIGNATURE_SIZE:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """One Ed25519 private key; shows nothing but its public half."""

    public: PublicKey
    _private: Ed25519PrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """The signature over these bytes; equal bytes give an equal signature."""
        return self._private.sign(data)


def read_public(data: bytes, *, where: str) -> PublicKey:
    """The public key in a PEM document.

    Raises:
        InvalidInput: E_KEY, or E_EXTRA where the library for signatures is not installed.
    """
    _need_library()
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - only where keys are used
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    if b"PRIVATE" in data:
        raise _unusable("this is a private key, and a public one is needed here", where, _FIX_PUBLIC)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable("this is not a public key in PEM form", where, _FIX_PUBLIC) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _unusable("this key is not of the kind Ed25519", where, _FIX_PUBLIC)
    return PublicKey(key.public_bytes_raw())


def public_key(text: str, *, where: str) -> PublicKey:
    """The public key in a document's text: PEM, or `ed25519:` and 64 hex digits.

    Raises:
        InvalidInput: E_KEY, or E_EXTRA where the library for signatures is not installed.
    """
    if not text.startswith(SHORT):
        return read_public(text.encode("utf-8"), where=where)
    _need_library()
    digits = text.removeprefix(SHORT)
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise _unusable(f"a short public key is {SHORT} and 64 lower-case hex digits", where, _FIX_PUBLIC)
    return PublicKey(bytes.fromhex(digits))


def read_signing(data: bytes, *, where: str) -> SigningKey:
    """The private key in a PEM document; nothing of it is ever repeated in an error.

    Raises:
        InvalidInput: E_KEY, or E_EXTRA where the library for signatures is not installed.
    """
    _need_library()
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - only where keys are used
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise _unusable("this private key is encrypted", where, "give it in a variable, decrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable("this is not a private key in PEM form", where, _FIX_PRIVATE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable("this key is not of the kind Ed25519", where, _FIX_PRIVATE)
    return SigningKey(PublicKey(key.public_key().public_bytes_raw()), key)


def _need_library() -> None:
    """Refuse where the optional library is missing.

    Raises:
        InvalidInput: E_EXTRA.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - only where keys are used

    if find_spec("cryptography") is None:
        raise InvalidInput.of(
            "E_EXTRA", "the library for signatures is not installed", fix="pip install 'reconciler[sign]'"
        )


def _unusable(message: str, where: str, fix: str) -> InvalidInput:
    return InvalidInput.of("E_KEY", message, path=where, fix=fix)
