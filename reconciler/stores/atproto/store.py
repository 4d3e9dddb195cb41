"""An ATProto repository behind the port: which account a configuration names, and what is seen there.

Reading asks the account's own server and needs no credentials: it gives the whole repository, or what moved
since the last reading. Every record of our three collections is observed, whoever wrote it.

    store = open_store(config, surroundings)
    for seen in store.snapshot(Selection()): ...
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Final, NamedTuple

from reconciler.canonical import sha256_digest
from reconciler.model import Address, Observed, Selection, StoreConfig
from reconciler.stores.atproto.connection import Connection, parse_origin
from reconciler.stores.atproto.identity import PLC_DIRECTORY, Account, resolved
from reconciler.stores.atproto.keys import SCHEMA
from reconciler.stores.atproto.order import CONTENT, NAME, SHAPE, VERSION
from reconciler.stores.atproto.repository import Reading, Repository
from reconciler.stores.atproto.xrpc import Pause, Secrets, Xrpc
from reconciler.stores.port import Capabilities, Surroundings

__all__ = ["SHAPE", "AtprotoStore", "KnownSchema", "open_store"]


class KnownSchema(NamedTuple):
    """A schema record that stands in the repository, whoever published it."""

    key: str
    content: str


def open_store(config: StoreConfig, surroundings: Surroundings, *, pause: Pause = time.sleep) -> AtprotoStore:
    """Open the repository of an account; nothing is asked of its server yet.

    Args:
        config: where it is.
        surroundings: what it may know of the world.
        pause: waits some seconds between two tries.

    Raises:
        InvalidInput: E_URL_SYNTAX, E_URL_PLAIN.
    """
    return AtprotoStore(config, surroundings, pause)


class AtprotoStore:
    """One account's repository (see `reconciler.stores.port.Store`)."""

    capabilities = Capabilities(
        serialises_writers=True, atomic_units=False, deletes_content=True, survives_reopen=True
    )

    def __init__(self, config: StoreConfig, surroundings: Surroundings, pause: Pause) -> None:
        self.config = config
        self._surroundings = surroundings
        self._pause = pause
        self._secrets = Secrets()
        self._where = str(config.place)
        self._private = config.settings.get("allowPrivate") in {True, "true"}
        service = config.settings.get("service")
        if service is not None:
            parse_origin(str(service), where=self._where, private=self._private)

    @cached_property
    def account(self) -> Account:
        """The account and its server.

        Raises:
            InvalidInput: E_ACCOUNT, nobody knows it.
            Unavailable: a server cannot be asked.
        """
        settings = self.config.settings
        service = settings.get("service")
        return resolved(
            str(settings["identity"]),
            service=None if service is None else str(service),
            plc=str(settings.get("plc", PLC_DIRECTORY)),
            connect=self._connect,
            where=self._where,
        )

    @property
    def did(self) -> str:
        """The account's DID."""
        return self.account.did

    @cached_property
    def _xrpc(self) -> Xrpc:
        return self._connect(self.account.service, self._where)

    @cached_property
    def _repository(self) -> Repository:
        return Repository(self._xrpc, self.did)

    def _connect(self, service: str, where: str) -> Xrpc:
        origin = parse_origin(service, where=where, private=self._private)
        connection = Connection(origin, where=str(origin), private=self._private)
        return Xrpc(connection, where=str(origin), pause=self._pause, secrets=self._secrets)

    def reading(self) -> Reading:
        """Everything of our collections, as of the newest commit.

        Raises:
            Unavailable: the server cannot be asked, or does not have the account.
            Corrupt: E_REPOSITORY.
        """
        return self._repository.read()

    def known_schemas(self) -> Mapping[tuple[str, str], KnownSchema]:
        """The schemas that stand in the repository by name and version.

        Where several records have one name and version, the first by key is taken: all readers agree on it.
        """
        return known_schemas(self.reading())

    def revision(self) -> str:
        """The newest commit, as one digest."""
        return sha256_digest(self._repository.head().cid.encode("ascii"))

    def snapshot(self, selection: Selection) -> Iterator[Observed]:
        """What is selected, sorted by address, as of one commit.

        Raises:
            Unavailable: the server cannot be asked, or does not have the account.
            Corrupt: E_REPOSITORY.
        """
        name, wanted = self.config.name, selection.addresses
        for (kind, key), record in sorted(self.reading().records.items()):
            address = Address(name, kind, key)
            if wanted is None or address in wanted:
                yield Observed(address, record.slots, record.problems)

    def close(self) -> None:
        """Close the connection."""
        if "_xrpc" in self.__dict__:
            self._xrpc.close()


def known_schemas(reading: Reading) -> Mapping[tuple[str, str], KnownSchema]:
    """The schemas of a reading by name and version; of several the first by key."""
    found: dict[tuple[str, str], KnownSchema] = {}
    for (kind, key), record in sorted(reading.records.items()):
        name, version = record.slots.get(NAME), record.slots.get(VERSION)
        if kind == SCHEMA and isinstance(name, str) and isinstance(version, str):
            found.setdefault((name, version), KnownSchema(key, str(record.slots[CONTENT])))
    return found


_CACHE: Final = "repository.car"
