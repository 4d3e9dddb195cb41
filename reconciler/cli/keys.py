"""Keys on the command line: from a file or a named variable, never from an argument's own text.

`--key FILE` reads PEM from a file, `--key env:NAME` from an environment variable, so that no key ever
stands in a process list, a shell history or a log. Whose signatures count comes from such public keys
with `--threshold`, or from a trust document that a repository holds (`--trust`).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from reconciler.cli.files import read_file
from reconciler.errors import InvalidInput
from reconciler.evidence.envelope import (
    ENVELOPE_LIMIT,
    Envelope,
    countersigned,
    read_envelope,
    sealed,
)
from reconciler.evidence.keys import KEY_LIMIT, PublicKey, SigningKey, read_public, read_signing
from reconciler.evidence.trust import TRUST_LIMIT, Trust, TrustedKey, read_trust, trust_of

_VARIABLE = "env:"


def add_signing_key(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--key` for signing."""
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        required=required,
        help="an Ed25519 private key in PEM form: a file, or env:NAME for a variable; may be repeated",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--key`, `--threshold` and `--trust` for verifying."""
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="a public key that counts, in PEM form: a file, or env:NAME for a variable; may be repeated",
    )
    parser.add_argument(
        "--threshold", metavar="N", type=int, help="how many owners of keys must have signed (default: 1)"
    )
    parser.add_argument("--trust", metavar="FILE", type=Path, help="a trust document instead of --key")


def signing_keys(given: list[str]) -> tuple[SigningKey, ...]:
    """The private keys that `--key` names.

    Raises:
        InvalidInput: E_FILE, E_ENV, E_KEY or E_EXTRA.
    """
    return tuple(read_signing(_pem(text), where=text) for text in given)


def with_signatures(place: Path, statement: bytes, keys: Sequence[SigningKey]) -> Envelope:
    """An envelope around a statement, with the signatures of the same statement that stand at a place.

    Raises:
        Corrupt: E_ENVELOPE, something else stands there.
        Unavailable: E_IO.
    """
    envelope = sealed(statement, ())
    if place.exists():
        there = read_envelope(read_file(place, limit=ENVELOPE_LIMIT), where=str(place))
        envelope = there if there.payload == statement else envelope
    return countersigned(envelope, keys)


def trust_given(args: argparse.Namespace) -> Trust | None:
    """Whose signatures count, or None where the arguments do not say.

    Raises:
        InvalidInput: E_USAGE, E_FILE, E_ENV, E_KEY, E_TRUST or E_EXTRA.
    """
    if args.trust is not None:
        if args.key or args.threshold is not None:
            raise InvalidInput.of(
                "E_USAGE", "a trust document says which keys count and how many", path="--trust"
            )
        return read_trust(read_file(args.trust, limit=TRUST_LIMIT), where=str(args.trust))
    if not args.key:
        return None
    keys = [read_public(_pem(text), where=text) for text in args.key]
    threshold = 1 if args.threshold is None else args.threshold
    return trust_of(
        (TrustedKey(name=short_name(key), key=key) for key in keys), threshold=threshold, where="--key"
    )


def required_trust(args: argparse.Namespace) -> Trust:
    """Whose signatures count.

    Raises:
        InvalidInput: E_USAGE, nobody is trusted; and as `trust_given`.
    """
    trust = trust_given(args)
    if trust is None:
        raise InvalidInput.of(
            "E_USAGE",
            "without a key nothing can be proved: whoever changed the evidence could have made all of it",
            path="--key",
            fix="give --key PUBLIC.pem, or --trust FILE",
        )
    return trust


def short_name(key: PublicKey) -> str:
    """How a key without an owner's name is shown."""
    return f"key {key.keyid[:16]}"


def _pem(text: str) -> bytes:
    if not text.startswith(_VARIABLE):
        if "-----" in text:
            raise InvalidInput.of(
                "E_KEY",
                "a key is never given as an argument, because other processes can read it",
                path="--key",
                fix="give the file that holds it, or env:NAME",
            )
        return read_file(Path(text), limit=KEY_LIMIT)
    name = text.removeprefix(_VARIABLE)
    value = os.environ.get(name)
    if not value:
        raise InvalidInput.of(
            "E_ENV", "the variable that holds the key is not set", path="--key", got=name, fix=f"set {name}"
        )
    return value.encode("utf-8", "surrogateescape")
