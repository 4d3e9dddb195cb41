"""The contract suite's words for a repository: a thing is an entry and its label, the pointer a label.

`110/homo_sapiens/GRCh38` is version 110.0.0 of the dataset `homo_sapiens/GRCh38`; its content is an entry,
its listing the label of that version, and the pointer a label of the same name without a version. A label
names its entry by the account's DID, so what it says depends on whose repository it is in.

Entries are large enough that each needs a request of its own: a run over one thing can stop between two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from reconciler.model import Address, Change, Declaration, Slots, Step, StoreConfig, Value
from reconciler.stores.atproto.dagcbor import Record, cid_of, encode
from reconciler.stores.atproto.keys import (
    COLLECTIONS,
    ENTRY,
    LABEL,
    content_digest,
    record_key,
    record_source,
    record_uri,
)
from reconciler.stores.atproto.order import CONTENT, MOST_BYTES, UNIT
from reconciler.stores.atproto.repository import slots_of
from reconciler.testing.terms import cut

RECORDS: Final[dict[str, bytes]] = {}
"""Every record that the suite ever wished, by its CID."""

_RECORDS_BY_DIGEST: Final[dict[str, Record]] = {}
_THINGS: Final[dict[str, str]] = {}
"""Things by the keys of their labels."""

_SCHEMA: Final = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/science.alt.dataset.schema/2222222222222"
"""A schema in another repository."""


def _noted(record: Record) -> str:
    """Remember a record; the digest of its content."""
    content = encode(record)
    RECORDS[cid_of(content)] = content
    digest = content_digest(content)
    _RECORDS_BY_DIGEST[digest] = record
    return digest


def _parts(thing: str) -> tuple[str, str]:
    """Name and version of a thing."""
    release, _, name = thing.partition("/")
    return name, f"{release}.0.0"


def _key(kind: str, thing: str) -> str:
    return record_key(COLLECTIONS[kind], *_parts(thing))


def entry_of(thing: str) -> Record:
    """The entry of a thing."""
    return {
        "$type": COLLECTIONS[ENTRY],
        "name": _parts(thing)[0],
        "schemaRef": _SCHEMA,
        "description": thing,
        "metadata": bytes(MOST_BYTES * 2 // 3),
        "storage": {
            "$type": "science.alt.dataset.storageHttp",
            "shards": [
                {"url": "https://data.example.org/1.tar", "checksum": {"algorithm": "none", "digest": ""}}
            ],
        },
    }


def label_of(did: str, thing: str, *, version: str | None = None, description: str = "") -> Record:
    """A label of a thing: of its own version, unless another is given."""
    name, own = _parts(thing)
    version = own if version is None else version
    record: Record = {
        "$type": COLLECTIONS[LABEL],
        "name": name,
        "datasetUri": record_uri(did, ENTRY, _key(ENTRY, thing)),
    }
    if version:
        record["version"] = version
    if description:
        record["description"] = description
    return record


class AtprotoTerms:
    """The words of one account's repository."""

    longest = f"{'9' * 46}/{'s' * 100}/{'A' * 99}"
    odd: Mapping[str, str] = {
        "too long": f"110/{'s' * 100}/{'A' * 200}",
        "dot segments": "110/../GRCh38",
        "capital letter": "110/Homo/GRCh38",
        "missing part": "110/homo_sapiens",
        "foreign digit": "²/a/b",
    }
    extras: tuple[Value, ...] = (("first",), ("second",))
    pointer_holds = False

    def __init__(self, did: str = "") -> None:
        self._did = did

    def of(self, config: StoreConfig) -> AtprotoTerms:
        """The words of the repository of this account."""
        return AtprotoTerms(str(config.settings["identity"]))

    def address(self, store: str, thing: str) -> Address:
        """Where the label of the thing's version is."""
        key = _key(LABEL, thing)
        _THINGS[key] = thing
        return Address(store, LABEL, key)

    def content(self, store: str, thing: str, digest: str) -> Address:  # noqa: ARG002
        """Where the entry is."""
        return Address(store, ENTRY, _key(ENTRY, thing))

    def looked(self, store: str, thing: str, digest: str) -> Address:  # noqa: ARG002
        """The label, whose digest stands for the thing here."""
        return self.address(store, thing)

    def pointer(self, store: str, thing: str) -> Address:
        """Where the label without a version is."""
        return Address(store, LABEL, record_key(COLLECTIONS[LABEL], _parts(thing)[0], ""))

    def listed(self, digest: str, extra: Value) -> Slots:
        """The label, and what it says of itself."""
        record = _RECORDS_BY_DIGEST.get(digest)
        if record is None:
            return {CONTENT: digest}
        if extra:
            record = {**record, "description": " ".join(extra)}
        return {**self._slots(LABEL, record), CONTENT: _noted(record)}

    def pointed(self, thing: str) -> Slots:
        """The label names the thing's entry."""
        record = label_of(self._did, thing, version="")
        _noted(record)
        return self._slots(LABEL, record)

    def implied(self, wishes: Iterable[Declaration]) -> list[Declaration]:
        """A label implies its entry, which stays when it goes; every record comes from its own source."""
        found: dict[Address, Declaration] = {}
        for wish in wishes:
            digest = wish.slots.get(CONTENT)
            record = _RECORDS_BY_DIGEST.get(str(digest))
            source = wish.source
            if record is not None and (source is None or source.startswith("record:")):
                source = record_source(encode(record))
            found[wish.address] = wish._replace(source=source)
            thing = self._thing(record) or _THINGS.get(wish.address.key)
            if thing is None:
                continue
            entry = entry_of(thing)
            _noted(entry)
            address = self.content(wish.address.store, thing, "")
            slots = self._slots(ENTRY, entry)
            found[address] = Declaration(address, slots, wish.place, record_source(encode(entry)))
        return [found[address] for address in sorted(found)]

    def only_content(self, steps: Sequence[Step]) -> list[Step]:
        """The entries."""
        return cut(steps, frozenset({ENTRY}))

    def without_content(self, steps: Sequence[Step]) -> list[Step]:
        """The labels."""
        return cut(steps, frozenset({LABEL}))

    def deletion(self, store: str, thing: str, digest: str) -> Step:
        """The entry goes."""
        address = self.content(store, thing, digest)
        slots = self._slots(ENTRY, entry_of(thing))
        changes = tuple(Change(address, slot, slots[slot], None) for slot in sorted(slots))
        return Step(id="delete", store=store, unit=UNIT, changes=changes)

    def shown(
        self, listed: Mapping[str, str], hidden: Mapping[str, str], pointer: str | None
    ) -> dict[str, Slots]:
        """Entries, the labels of what is listed, and the label without a version."""
        found: dict[str, Slots] = {
            f"{ENTRY}/{_key(ENTRY, thing)}": self._slots(ENTRY, entry_of(thing))
            for thing in (*listed, *hidden)
        }
        for thing, digest in listed.items():
            found[f"{LABEL}/{_key(LABEL, thing)}"] = self.listed(digest, ())
        if pointer is not None:
            found[f"{LABEL}/{self.pointer('', pointer).key}"] = self.pointed(pointer)
        return found

    def wished(self, thing: str) -> str:
        """The digest of the label of a thing's version."""
        return _noted(label_of(self._did, thing))

    def source(self, thing: str) -> str:
        """Where that label comes from."""
        return record_source(encode(label_of(self._did, thing)))

    def _slots(self, kind: str, record: Record) -> Slots:
        return slots_of(self._did, kind, record)

    def _thing(self, record: Record | None) -> str | None:
        """The thing that a label of a version stands for."""
        if record is None or record.get("$type") != COLLECTIONS[LABEL]:
            return None
        name, version = record.get("name"), record.get("version")
        if not isinstance(name, str) or not isinstance(version, str):
            return None
        return f"{version.partition('.')[0]}/{name}"


TERMS = AtprotoTerms()
