"""What goes into the registry's methods and what comes out of them: values only.

`Expected` and `ExpectedTag` say what a tag must be for a write to happen (compare-and-set). `BreakGlass`
carries the reason for moving what is immutable; who may give one is decided by policy, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from reconciler.model import Address, Change
from reconciler.reference import DatasetName, ManifestHash, Reference


class LatestRule(StrEnum):
    """Which version `latest` is: the highest that is no pre-release, or the highest of all."""

    STABLE = "stable"
    HIGHEST = "highest"


class Expected(Enum):
    """What a tag must be before it is written, where that is not a manifest."""

    ANYTHING = "anything"
    NOTHING = "nothing"
    """The tag must not exist."""


ExpectedTag = ManifestHash | Expected


class DevMove(Enum):
    """What linking does to `dev`: the reference's register points it at the linked manifest."""

    TO_LINKED = "to the linked manifest"
    STAYS = "stays"


class TagsOnUnlink(Enum):
    """What unlinking does where tags still name the manifest."""

    REFUSE = "refuse"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Permission to move the version tags at these addresses, and why; None of them: all of a write."""

    reason: str
    addresses: frozenset[Address] | None = None

    def covers(self, address: Address) -> bool:
        """Whether this tag may move."""
        return self.addresses is None or address in self.addresses


class ManifestEntry(NamedTuple):
    """A manifest row: its bytes' size, when it was first and last registered, how many datasets link it."""

    hash: ManifestHash
    size: int
    created_at: int
    registered_at: int
    datasets: int


class Tag(NamedTuple):
    """A tag of a dataset: a version, `dev` or `latest`; times are Unix seconds."""

    dataset: DatasetName
    version: str
    hash: ManifestHash
    yanked: bool
    created_at: int
    updated_at: int


class Resolved(NamedTuple):
    """What a reference names; `yanked` only if the version itself was asked for."""

    reference: Reference
    hash: ManifestHash
    yanked: bool


class Tombstone(NamedTuple):
    """A manifest whose row is gone and whose object is still to be deleted."""

    hash: ManifestHash
    since: int


class Written(NamedTuple):
    """What a write did: its ledger record, None if nothing had to change, and the changes."""

    seq: int | None
    changes: tuple[Change, ...]


LinkRow = tuple[str, str, ManifestHash]
"""Namespace, name and manifest of a link; a plain row, because there may be very many."""

TagRow = tuple[str, str, str, ManifestHash, bool]
"""Namespace, name, version and manifest of a tag, and whether it is yanked."""


class RegistryState(NamedTuple):
    """Everything that a registry names, in one consistent reading, in byte order."""

    manifests: tuple[ManifestHash, ...]
    links: tuple[LinkRow, ...]
    tags: tuple[TagRow, ...]
