"""An account as a snapshot says it was: its records can be read and nothing else, and no server is asked.

A snapshot of an account carries its public repository. Every block in it is compared with its CID and the
records must be the ones that the snapshot lists, so that it cannot say two things; but it proves nothing of
what the account held, because whoever writes a snapshot also writes the hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.contents import Content, Look
from reconciler.errors import InvalidInput
from reconciler.model import StoreConfig
from reconciler.snapshot import StoreSnapshot
from reconciler.stores.atproto.car import MissingBlock
from reconciler.stores.atproto.dagcbor import Malformed
from reconciler.stores.atproto.describe import described
from reconciler.stores.atproto.repository import Reading, read_kept
from reconciler.stores.port import Surroundings
from reconciler.stores.published import PublishedStore


class PublishedAccount(PublishedStore):
    """One account of a snapshot."""

    def __init__(self, config: StoreConfig, seen: StoreSnapshot, surroundings: Surroundings) -> None:
        """Read the repository in the snapshot.

        Raises:
            InvalidInput: E_SNAPSHOT_SHAPE, it is broken, or not what the snapshot lists.
        """
        super().__init__(config, seen, surroundings)
        try:
            self.did, self._reading = read_kept(seen.reading)
        except (Malformed, MissingBlock) as error:
            raise _refused("what it says of the account's repository cannot be read", config.name) from error
        listed = {(one.address.kind, one.address.key): dict(one.slots) for one in seen.observed}
        if listed != {tuple(key): dict(stored.slots) for key, stored in self._reading.records.items()}:
            raise _refused("it lists other records than the account's repository in it has", config.name)

    def describe(self, looks: Sequence[Look]) -> Iterator[tuple[Look, Content]]:
        """What is inside of records, of those that stood and of those that would be written."""
        return described(looks, self.read, self._surroundings.records)

    def read(self) -> Reading:
        """The records as they were."""
        return self._reading


def _refused(message: str, got: str) -> InvalidInput:
    return InvalidInput.of(
        "E_SNAPSHOT_SHAPE",
        message,
        path="--live",
        got=got,
        fix="take the snapshot again with 'reconciler snapshot --out FILE'",
    )
