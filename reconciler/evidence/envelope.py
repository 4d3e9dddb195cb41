"""DSSE envelopes: some bytes, the type that they are signed under, and signatures over both.

Implements the envelope of the DSSE specification 1.0.2 (secure-systems-lab/dsse, `envelope.md` and
`protocol.md`): what is signed is the pre-authentication encoding of type and payload, so that bytes which
were signed as one thing can never be shown as another.

Reading is strict where two readers could disagree: duplicate members, unknown members, base64 with bits
that no encoder writes, and more signatures than anybody needs are refused. Both alphabets of base64 are
read, as the specification wants. A `keyid` is read as the hint that it is and decides nothing.

Never verifies: whose signatures count is for `reconciler.evidence.trust`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from reconciler.canonical import canonical, parse_strict
from reconciler.errors import Corrupt, InvalidInput
from reconciler.evidence.keys import SigningKey

STATEMENT_TYPE: Final = "application/vnd.in-toto+json"
"""The payload type of every envelope of ours: an in-toto statement."""

SIGNATURE_LIMIT: Final = 64
"""The most signatures that are looked at; more cannot be needed, and each one costs time."""

ENVELOPE_LIMIT: Final = 64 << 20
"""The most bytes of an envelope; the statement of a release that publishes very much is large."""

_MEMBERS: Final = frozenset({"payload", "payloadType", "signatures"})
_SIGNATURE_MEMBERS: Final = frozenset({"keyid", "sig"})


class Signature(NamedTuple):
    """One signature; `keyid` is a hint for finding the key, and may be anything."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its type and its signatures, none of them verified yet."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    @property
    def signed(self) -> bytes:
        """The bytes that the signatures are over."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding (DSSE protocol, "Signature Definition")."""
    name = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def sealed(payload: bytes, keys: Iterable[SigningKey]) -> Envelope:
    """An envelope around a statement, signed by each key."""
    unsigned = Envelope(payload, STATEMENT_TYPE, ())
    return countersigned(unsigned, keys)


def countersigned(envelope: Envelope, keys: Iterable[SigningKey]) -> Envelope:
    """The envelope with one more signature for each key that has not signed it; the same key signs once."""
    signatures = {signature.keyid: signature for signature in envelope.signatures}
    for key in keys:
        signatures[key.public.keyid] = Signature(key.public.keyid, key.sign(envelope.signed))
    return Envelope(
        envelope.payload, envelope.payload_type, tuple(signatures[keyid] for keyid in sorted(signatures))
    )


def envelope_bytes(envelope: Envelope) -> bytes:
    """The canonical bytes of an envelope."""
    return canonical(
        {
            "payload": base64.b64encode(envelope.payload).decode("ascii"),
            "payloadType": envelope.payload_type,
            "signatures": [
                {"keyid": keyid, "sig": base64.b64encode(sig).decode("ascii")}
                for keyid, sig in envelope.signatures
            ],
        }
    )


def read_envelope(data: bytes, *, where: str) -> Envelope:
    """Decode an envelope strictly; its payload is opened only after its signatures were verified.

    Args:
        data: the bytes of the envelope.
        where: how errors name it.

    Raises:
        Corrupt: E_ENVELOPE.
    """
    try:
        document = parse_strict(data, where=where, limit=ENVELOPE_LIMIT)
    except InvalidInput as error:
        raise _refused(f"it cannot be read: {error.problems[0].message}", where) from error
    if not isinstance(document, dict) or document.keys() != _MEMBERS:
        raise _refused("it has payload, payloadType and signatures, and nothing else", where)
    if not isinstance(document["payloadType"], str):
        raise _refused("its payloadType is a text", where)
    signatures = document["signatures"]
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= SIGNATURE_LIMIT:
        raise _refused(f"it has 1 to {SIGNATURE_LIMIT} signatures", where)
    return Envelope(
        payload=_decoded(document["payload"], where),
        payload_type=document["payloadType"],
        signatures=tuple(_signature(item, where) for item in signatures),
    )


def _signature(item: Any, where: str) -> Signature:  # noqa: ANN401 - JSON
    if not isinstance(item, dict) or "sig" not in item or not item.keys() <= _SIGNATURE_MEMBERS:
        raise _refused("a signature has sig and perhaps keyid, and nothing else", where)
    keyid = item.get("keyid", "")
    if not isinstance(keyid, str):
        raise _refused("a keyid is a text", where)
    return Signature(keyid, _decoded(item["sig"], where))


def _decoded(text: object, where: str) -> bytes:
    """The bytes of one base64 text, in either alphabet, that its own encoder would have written."""
    if isinstance(text, str) and text.isascii():
        raw = text.encode("ascii")
        standard = raw.translate(bytes.maketrans(b"-_", b"+/"))
        try:
            data = base64.b64decode(standard, validate=True)
        except binascii.Error:
            data = b""
        mixed = any(sign in raw for sign in b"-_") and any(sign in raw for sign in b"+/")
        if data and base64.b64encode(data) == standard and not mixed:
            return data
    raise _refused("a text in it is not the base64 that an encoder writes", where)


def _refused(message: str, where: str) -> Corrupt:
    return Corrupt.of(
        "E_ENVELOPE",
        f"this is not a signature envelope that can be trusted: {message}",
        path=where,
        fix="sign again with 'reconciler evidence sign'",
    )
