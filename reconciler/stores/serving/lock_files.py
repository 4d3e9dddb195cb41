"""The four files that publish writes beside a dataset's own (contract 2.5, 2.6).

Decides the bytes of `manifest.lock`, `immutable.release.json`, `lifecycle.transitions.json` and
`lifecycle.state.json`, and what they must say to be believed. All four state the same two hashes: of
`manifest.json` and of `gene_summary.sqlite`, over the raw bytes as they were published.

`manifest.lock` is in struct order, the other three are canonical. Never opens a file.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

from reconciler.canonical import canonical, parse_strict, struct_order
from reconciler.errors import InvalidInput
from reconciler.model import DatasetId
from reconciler.stores.serving.documents import DatasetMembers, convert, dataset_members, id_problem

REASON = "manifest-validated-publish"
PUBLISHED_BY = "reconciler"


class Published(NamedTuple):
    """The bare sha256 of the two files that make a published dataset."""

    manifest_sha256: str
    sqlite_sha256: str


class Publication(NamedTuple):
    """One publish: of which dataset, of which bytes, when (Unix seconds as text) and by whom."""

    dataset: DatasetId
    published: Published
    at: str
    by: str = PUBLISHED_BY


class _Lock(Struct, frozen=True, forbid_unknown_fields=True):
    manifest_sha256: str
    sqlite_sha256: str


class _Immutable(Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: Literal[1]
    dataset: DatasetMembers
    immutability: Literal["published"]
    manifest_sha256: str
    sqlite_sha256: str


class _Transition(Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: Literal[1]
    dataset: DatasetMembers
    from_state: Literal["draft"]
    to_state: Literal["published"]
    transition_at: str
    transition_by: str
    reason: str
    manifest_sha256: str
    sqlite_sha256: str


class _State(Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: Literal[1]
    dataset: DatasetMembers
    state: Literal["draft", "published"]
    transition_count: int
    transition_at: str
    transition_by: str
    reason: str


class LifecycleState(NamedTuple):
    """What `lifecycle.state.json` says."""

    dataset: DatasetId
    state: str
    at: str
    by: str


def encode_lock(published: Published) -> bytes:
    """The 169 bytes of a `manifest.lock`."""
    return struct_order(published._asdict())


def parse_lock(data: bytes, where: str = "manifest.lock") -> Published:
    """Read a `manifest.lock` strictly.

    Raises:
        InvalidInput: a code of `documents.decode`.
    """
    lock = convert(parse_strict(data, where=where), _Lock, where=where)
    return Published(lock.manifest_sha256, lock.sqlite_sha256)


def encode_immutable(dataset: DatasetId, published: Published) -> bytes:
    """The bytes of an `immutable.release.json`."""
    return canonical(
        {
            "dataset": dataset_members(dataset),
            "immutability": "published",
            "schema_version": 1,
            **published._asdict(),
        }
    )


def parse_immutable(data: bytes, where: str = "immutable.release.json") -> tuple[DatasetId, Published]:
    """Read an `immutable.release.json` strictly: the dataset and its hashes.

    Raises:
        InvalidInput: a code of `documents.decode`, or an id's code.
    """
    members = convert(parse_strict(data, where=where), _Immutable, where=where)
    return _checked(members.dataset.id, where), Published(members.manifest_sha256, members.sqlite_sha256)


def encode_transitions(publication: Publication) -> bytes:
    """The bytes of a `lifecycle.transitions.json`: the one transition that exists, draft to published."""
    return canonical(
        [
            {
                "dataset": dataset_members(publication.dataset),
                "from_state": "draft",
                "reason": REASON,
                "schema_version": 1,
                "to_state": "published",
                "transition_at": publication.at,
                "transition_by": publication.by,
                **publication.published._asdict(),
            }
        ]
    )


def parse_transitions(data: bytes, where: str = "lifecycle.transitions.json") -> tuple[Publication, ...]:
    """Read a `lifecycle.transitions.json` strictly.

    Raises:
        InvalidInput: a code of `documents.decode`, or an id's code.
    """
    items = convert(parse_strict(data, where=where), list[_Transition], where=where)
    return tuple(
        Publication(
            _checked(item.dataset.id, where),
            Published(item.manifest_sha256, item.sqlite_sha256),
            item.transition_at,
            item.transition_by,
        )
        for item in items
    )


def encode_state(publication: Publication) -> bytes:
    """The bytes of a `lifecycle.state.json`."""
    return canonical(
        {
            "dataset": dataset_members(publication.dataset),
            "reason": REASON,
            "schema_version": 1,
            "state": "published",
            "transition_at": publication.at,
            "transition_by": publication.by,
            "transition_count": 1,
        }
    )


def parse_state(data: bytes, where: str = "lifecycle.state.json") -> LifecycleState:
    """Read a `lifecycle.state.json` strictly.

    Raises:
        InvalidInput: a code of `documents.decode`, or an id's code.
    """
    members = convert(parse_strict(data, where=where), _State, where=where)
    return LifecycleState(
        _checked(members.dataset.id, where), members.state, members.transition_at, members.transition_by
    )


def _checked(dataset: DatasetId, where: str) -> DatasetId:
    problem = id_problem(dataset, where)
    if problem:
        raise InvalidInput(problem)
    return dataset
