"""Trust: whose signatures count, in which time, and how many of them there must be.

Comes from outside what is verified: key files that a person names, a trust document in a reviewed
repository, or the policy of the protected base. Decides that an envelope is believed only when it carries
valid signatures by enough different *owners*: the same signature twice, one key under two names and two
keys of one owner each count once. That is the threshold rule of TUF (python-tuf CVE-2020-6174, go-tuf
CVE-2026-23992 are what happens without it).

Keys rotate by overlap: the new key is listed beside the old one, each with the time in which it counts,
and `until` closes the old one. A signature of a key outside its time counts as none.

Never looks at a `keyid`, and never asks a clock: the caller says what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.canonical import parse_strict
from reconciler.errors import Corrupt, InvalidInput
from reconciler.evidence.envelope import STATEMENT_TYPE, Envelope
from reconciler.evidence.keys import SHORT, PublicKey, public_key

SCHEMA: Final = "reconciler/trust/v1"
KEY_COUNT_LIMIT: Final = 64
TRUST_LIMIT: Final = 1 << 20
_MEMBERS: Final = frozenset({"schema", "threshold", "keys"})
_KEY_MEMBERS: Final = frozenset({"name", "public", "from", "until"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """One key, its owner, and the Unix seconds in which it counts (None: no bound)."""

    name: str
    key: PublicKey
    since: int | None = None
    until: int | None = None

    def counts_at(self, at: int) -> bool:
        """Whether a signature made at this time counts."""
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys that count, and how many owners must have signed."""

    keys: tuple[TrustedKey, ...]
    threshold: int = 1

    def signers(self, envelope: Envelope, *, at: int) -> tuple[str, ...]:
        """The owners whose signature the envelope carries, sorted; there may be too few of them.

        Args:
            envelope: any envelope; one of another payload type has no signers.
            at: the time for which the keys are judged.
        """
        if envelope.payload_type != STATEMENT_TYPE:
            return ()
        signed = envelope.signed
        found = {
            trusted.name
            for trusted in self.keys
            if trusted.counts_at(at) and any(trusted.key.verifies(s.sig, signed) for s in envelope.signatures)
        }
        return tuple(sorted(found))

    def require(self, envelope: Envelope, *, at: int, where: str) -> tuple[str, ...]:
        """The owners who signed, at least as many as the threshold says.

        Raises:
            Corrupt: E_NOT_SIGNED.
        """
        signers = self.signers(envelope, at=at)
        if len(signers) >= self.threshold:
            return signers
        if envelope.payload_type != STATEMENT_TYPE:
            message = f"what is signed is not declared as {STATEMENT_TYPE}"
        else:
            message = (
                f"{len(signers)} of {self.threshold} needed owners have signed, "
                f"by the {len(self.keys)} trusted keys"
            )
        raise Corrupt.of(
            "E_NOT_SIGNED",
            message,
            path=where,
            got=", ".join(signers) or envelope.payload_type[:60],
            fix="do not use it; get it again from where it was signed, or have it signed by a trusted key",
        )


def trust_of(keys: Iterable[TrustedKey], *, threshold: int, where: str) -> Trust:
    """Check that keys and threshold make sense together.

    Raises:
        InvalidInput: E_TRUST.
    """
    listed = tuple(keys)
    owners = {trusted.name for trusted in listed}
    if not 1 <= len(listed) <= KEY_COUNT_LIMIT:
        raise _unusable(f"1 to {KEY_COUNT_LIMIT} keys are trusted", where, str(len(listed)))
    if len({trusted.key.raw for trusted in listed}) != len(listed):
        raise _unusable("a key is listed twice", where)
    if not 1 <= threshold <= len(owners):
        raise _unusable(
            f"the threshold is from 1 to the number of owners, {len(owners)}", where, str(threshold)
        )
    return Trust(listed, threshold)


def read_trust(data: bytes, *, where: str) -> Trust:
    """Decode a trust document.

    Raises:
        InvalidInput: E_TRUST or E_KEY, or it is not JSON.
    """
    document = parse_strict(data, where=where, limit=TRUST_LIMIT)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or document.keys() != _MEMBERS:
        raise _unusable(f"a trust document has schema ({SCHEMA}), threshold and keys", where)
    threshold, keys = document["threshold"], document["keys"]
    if type(threshold) is not int or not isinstance(keys, list):
        raise _unusable("threshold is a number, keys is a list", where)
    return trust_of((_trusted(item, where) for item in keys), threshold=threshold, where=where)


def policy_trust(keys: Iterable[str], *, count: int, where: str) -> Trust:
    """Whose approvals a policy wants: its `approvals: {count, keys}`, each key as ``OWNER ed25519:HEX``.

    Raises:
        InvalidInput: E_TRUST or E_KEY.
    """
    return trust_of((_by_policy(text, where) for text in keys), threshold=count, where=where)


def _by_policy(text: str, where: str) -> TrustedKey:
    name, _, short = text.rpartition(" ")
    if not name.strip() or not short.startswith(SHORT):
        raise _unusable(f"a key in a policy is its owner, a space, and {SHORT}…", where, text)
    return TrustedKey(name=name.strip(), key=public_key(short, where=f"{where}: {name.strip()}"))


def _trusted(item: Any, where: str) -> TrustedKey:  # noqa: ANN401 - JSON
    if not isinstance(item, dict) or not {"name", "public"} <= item.keys() <= _KEY_MEMBERS:
        raise _unusable("a key has name, public and perhaps from and until", where)
    name, public = item["name"], item["public"]
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 200:
        raise _unusable("the name of a key is its owner, in 1 to 200 characters", where)
    if not isinstance(public, str):
        raise _unusable("the public half of a key is a text: PEM, or its short form", where, name)
    return TrustedKey(
        name=name,
        key=public_key(public, where=f"{where}: {name}"),
        since=_seconds(item, "from", where),
        until=_seconds(item, "until", where),
    )


def _seconds(item: Mapping[str, Any], name: str, where: str) -> int | None:
    value = item.get(name)
    if value is not None and type(value) is not int:
        raise _unusable(f"'{name}' is a number of Unix seconds", where)
    return value


def _unusable(message: str, where: str, got: str | None = None) -> InvalidInput:
    return InvalidInput.of("E_TRUST", message, path=where, got=got, fix="correct the keys that are trusted")
