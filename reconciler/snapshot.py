"""The snapshot document: what some stores hold and what is ours there, to plan where none can be reached.

    {"schema": "reconciler/snapshot/v1", "digest": "sha256:…", "time": 1767323045, "tool": "…",
     "stores": [{"name", "kind", "settings", "revision", "depth", "observed": [[address, slots, problems]],
                 "inventory": [[address, slots]], "protected": [address],
                 "contents": [[address, facts, document]], "reading": base64}]}

`reading` is the store's own form of what was observed, where planning needs more than slots: of an account,
its public repository as a CAR file. It is empty elsewhere.

It holds no secret: settings that say how a store is reached are left out, and locations lose their user
part and query. Whoever reads one trusts nothing in it: its size, its form, every address and every text is
checked, and what is planned from it is *advisory*. The digest finds damage; it is no signature.

Nothing here opens a file, a store or a clock.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from reconciler.canonical import canonical, parse_strict, sha256_digest
from reconciler.contents import NOTABLE, Content, comparable
from reconciler.errors import Corrupt, InvalidInput, Problem, forbidden_character
from reconciler.ledger import Inventory
from reconciler.model import Address, Depth, Observed, Slots, StoreConfig, Value, public_settings

SCHEMA: Final = "reconciler/snapshot/v1"
SNAPSHOT_LIMIT: Final = 256 * 1024 * 1024
_TEXT_LIMIT: Final = 2_000
_FACTS: Final = 20
_FIX: Final = "take it again with 'reconciler snapshot --out FILE'"


class Advisory(NamedTuple):
    """What a plan that did not see the stores rests on: which snapshot, and how old it was, in seconds."""

    snapshot: str
    time: int
    age: int

    def to_json(self) -> dict[str, Any]:
        """The stable keys of a plan's `advisory`."""
        return self._asdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSnapshot:
    """One store as it was seen at one revision.

    `contents` is what a later change may be shown beside, `reading` what the store itself keeps of it.
    """

    name: str
    kind: str
    settings: Mapping[str, str]
    revision: str
    depth: Depth
    observed: tuple[Observed, ...]
    inventory: Inventory
    contents: tuple[Content, ...] = ()
    reading: bytes = b""

    def to_json(self) -> dict[str, Any]:
        """The stable keys of one store; addresses are in order."""
        return {
            "name": self.name,
            "kind": self.kind,
            "settings": dict(self.settings),
            "revision": self.revision,
            "depth": self.depth.value,
            "observed": [
                [str(seen.address), _plain(seen.slots), [problem.to_json() for problem in seen.problems]]
                for seen in self.observed
            ],
            "inventory": [
                [str(address), _plain(slots)] for address, slots in sorted(self.inventory.recorded.items())
            ],
            "protected": [str(address) for address in sorted(self.inventory.protected)],
            "contents": [[str(c.address), dict(c.facts), c.document] for c in self.contents],
            "reading": b64encode(self.reading).decode("ascii"),
        }

    def check_declared(self, config: StoreConfig) -> None:
        """Refuse to take this for another store than the one that is declared.

        A setting that the declaration takes from a variable is known only from here.

        Raises:
            InvalidInput: E_SNAPSHOT_STORE.
        """
        stated = public_settings(config.settings)
        same = stated.keys() == self.settings.keys() and all(
            isinstance(config.settings[name], Mapping) or self.settings[name] == text
            for name, text in stated.items()
        )
        if self.kind != config.kind or not same:
            raise InvalidInput.of(
                "E_SNAPSHOT_STORE",
                "the snapshot was taken of another store than stores.yaml declares under this name",
                path=config.place.path,
                line=config.place.line,
                got=config.name,
                fix=_FIX,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Some stores as they were seen; `time` is Unix seconds."""

    time: int
    tool: str
    stores: tuple[StoreSnapshot, ...]

    def to_json(self) -> dict[str, Any]:
        """The document; `digest` covers everything else in it."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "time": self.time,
            "tool": self.tool,
            "stores": [store.to_json() for store in self.stores],
        }
        return {"digest": sha256_digest(canonical(document)), **document}

    @property
    def digest(self) -> str:
        """What tells this snapshot from any other."""
        return str(self.to_json()["digest"])

    def of_store(self, config: StoreConfig) -> StoreSnapshot:
        """What was seen of a declared store.

        Raises:
            InvalidInput: E_SNAPSHOT_STORE, nothing, or another store.
        """
        for store in self.stores:
            if store.name == config.name:
                store.check_declared(config)
                return store
        raise InvalidInput.of(
            "E_SNAPSHOT_STORE",
            "the snapshot says nothing of this store, which is not the same as empty",
            path="--live",
            got=config.name,
            fix=f"{_FIX}, or name other stores with --store",
        )


def _plain(slots: Slots) -> dict[str, Any]:
    return {slot: list(value) if isinstance(value, tuple) else value for slot, value in slots.items()}


class _Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: str
    path: str
    line: int
    column: int
    message: str
    got: str | None
    fix: str


class _Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    kind: str
    settings: dict[str, str]
    revision: str
    depth: Depth
    observed: tuple[tuple[str, dict[str, Value], tuple[_Problem, ...]], ...]
    inventory: tuple[tuple[str, dict[str, Value]], ...]
    contents: tuple[tuple[str, dict[str, int | str], Any], ...]
    protected: tuple[str, ...] = ()
    reading: str = ""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    digest: str
    time: int
    tool: str
    stores: tuple[_Store, ...]


def read_snapshot(data: bytes, *, where: str) -> Snapshot:
    """Decode a snapshot of unknown origin.

    Raises:
        InvalidInput: a code of `parse_strict`, E_SCHEMA_VERSION, E_SNAPSHOT_SHAPE.
        Corrupt: E_SNAPSHOT_DIGEST, it is damaged.
    """
    document = parse_strict(data, where=where, limit=SNAPSHOT_LIMIT)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise InvalidInput.of("E_SCHEMA_VERSION", f"not a snapshot of {SCHEMA}", path=where, fix=_FIX)
    try:
        read = msgspec.convert(document, _Document)
        digest = sha256_digest(canonical({name: v for name, v in document.items() if name != "digest"}))
    except (msgspec.ValidationError, TypeError) as error:
        raise _shape(where, "a member is missing, unknown or of the wrong kind", str(error)) from error
    if digest != read.digest:
        raise Corrupt.of("E_SNAPSHOT_DIGEST", "the snapshot is damaged", path=where, fix=_FIX)
    names = [store.name for store in read.stores]
    if len(set(names)) != len(names):
        raise _shape(where, "a store is given twice", ", ".join(names))
    return Snapshot(
        time=read.time, tool=read.tool, stores=tuple(_store(store, where) for store in read.stores)
    )


def _store(read: _Store, where: str) -> StoreSnapshot:
    observed = tuple(
        Observed(_address(text, read.name, where), slots, tuple(_problem(item) for item in problems))
        for text, slots, problems in read.observed
    )
    recorded = {_address(text, read.name, where): slots for text, slots in read.inventory}
    _check_order(read.name, (seen.address for seen in observed), where)
    _check_order(read.name, recorded, where)
    if len(recorded) != len(read.inventory):
        raise _shape(where, "an address is recorded twice", read.name)
    protected = tuple(_address(text, read.name, where) for text in read.protected)
    _check_order(read.name, protected, where)
    for texts in (*(seen.slots for seen in observed), *recorded.values()):
        _check_texts(texts, where)
    contents = tuple(_content(read.name, item, where) for item in read.contents)
    _check_order(read.name, (content.address for content in contents), where)
    if len(contents) > NOTABLE:
        raise _shape(where, f"more than {NOTABLE} contents are described", read.name)
    return StoreSnapshot(
        name=read.name,
        kind=read.kind,
        settings=read.settings,
        revision=read.revision,
        depth=read.depth,
        observed=observed,
        inventory=Inventory(recorded, frozenset(protected)),
        contents=contents,
        reading=_reading(read, where),
    )


def _reading(read: _Store, where: str) -> bytes:
    try:
        return b64decode(read.reading, validate=True)
    except ValueError as error:
        raise _shape(where, "what the store kept is not base64", read.name) from error


def _content(store: str, read: tuple[str, dict[str, int | str], Any], where: str) -> Content:
    text, facts, document = read
    content = Content(address=_address(text, store, where), facts=facts, document=document)
    if len(facts) > _FACTS or comparable(content) != content:
        raise _shape(where, "a content says more than is shown of one", text)
    for name, value in facts.items():
        for said in (name, str(value)):
            _check_text(said, where)
    return content


def _problem(read: _Problem) -> Problem:
    return Problem(**{name: getattr(read, name) for name in read.__struct_fields__})


def _address(text: str, store: str, where: str) -> Address:
    try:
        address = Address.parse(text)
    except InvalidInput as error:
        raise _shape(where, "an address is not one", text) from error
    if address.store != store:
        raise _shape(where, f"an address of another store stands in {store!a}", text)
    _check_text(text, where)
    return address


def _check_order(store: str, addresses: Iterable[Address], where: str) -> None:
    last: Address | None = None
    for address in addresses:
        if last is not None and not last < address:
            raise _shape(
                where, f"the addresses of {store!a} are not sorted, or one is given twice", str(address)
            )
        last = address


def _check_texts(slots: Slots, where: str) -> None:
    for slot, value in slots.items():
        _check_text(slot, where)
        for text in (value,) if isinstance(value, str) else value:
            _check_text(text, where)


def _check_text(text: str, where: str) -> None:
    if len(text) > _TEXT_LIMIT or not text or "\n" in text or forbidden_character(text):
        raise _shape(where, f"a text is empty, longer than {_TEXT_LIMIT}, or holds control characters", text)


def _shape(where: str, message: str, got: str) -> InvalidInput:
    return InvalidInput.of("E_SNAPSHOT_SHAPE", message, path=where, got=got, fix=_FIX)
