"""The names of records: collections, record keys and where a record's bytes come from.

A record of ours has a key that follows from its collection, name and version, so that a lost answer or a
second promotion meets the first record instead of making another. The lexicons ask for keys that are TIDs
(13 characters of a base32 alphabet that sorts by time, https://atproto.com/specs/tid): the key is 63 bits of
sha256 as a TID. Such a key says nothing about time; nothing of ours reads one as a time. All but the last
ten bits come from name and version alone, so that an entry and its label stand in the same order in their
collections: a commit of many touches fewer nodes of the repository's tree that way.

Two names that meet in 63 bits, and a record of another name that stands at a key of ours, are told apart
by the name and version inside the record: the store refuses to write over it (E_KEY_TAKEN).

    >>> record_key("science.alt.dataset.label", "experiment-2024-001", "1.0.0")
    '4wdt4iwvqn6aw'
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from reconciler.canonical import sha256_digest
from reconciler.stores.atproto.dagcbor import cid_of

SCHEMA: Final = "schema"
ENTRY: Final = "entry"
LABEL: Final = "label"

KINDS: Final = (SCHEMA, ENTRY, LABEL)
"""Kinds of address, what is referred to before what refers to it."""

COLLECTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {kind: f"science.alt.dataset.{kind}" for kind in KINDS}
)
KIND_OF: Final[Mapping[str, str]] = MappingProxyType({nsid: kind for kind, nsid in COLLECTIONS.items()})

KEY = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~:-]{1,512}", re.ASCII)
"""What a record key may be: https://atproto.com/specs/record-key"""

_ALPHABET: Final = "234567abcdefghijklmnopqrstuvwxyz"
_LETTERS: Final = 13
_BITS: Final = 63
_COLLECTION_BITS: Final = 10
_SOURCE = re.compile(r"record:(b[a-z2-7]{1,120}):([0-9]{1,9})", re.ASCII)


def record_key(collection: str, name: str, version: str) -> str:
    """The key of a record of ours; `version` is empty where a record has none."""
    of_name = _bits(f"{name}\0{version}", _BITS - _COLLECTION_BITS)
    of_all = _bits(f"{collection}\0{name}\0{version}", _COLLECTION_BITS)
    number = of_name << _COLLECTION_BITS | of_all
    return "".join(_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(_LETTERS)))


def _bits(text: str, bits: int) -> int:
    """The first bits of a text's sha256."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> (64 - bits)


def record_uri(did: str, kind: str, key: str) -> str:
    """How one record refers to another."""
    return f"at://{did}/{COLLECTIONS[kind]}/{key}"


def content_digest(content: bytes) -> str:
    """The value of the slot `content`: what a record says, without when it was created."""
    return sha256_digest(content)


def record_source(content: bytes) -> str:
    """Where a declaration's record comes from: its CID (the key of `Surroundings.records`) and its size.

    The size is there because a plan cuts its steps by it, and a plan holds no records.
    """
    return f"record:{cid_of(content)}:{len(content)}"


def source_parts(source: str) -> tuple[str, int] | None:
    """The CID and the size that a source names; None if it is not one of a record."""
    found = _SOURCE.fullmatch(source)
    return None if found is None else (found.group(1), int(found.group(2)))
