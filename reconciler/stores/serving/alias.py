"""The alias file of a serving store: which dataset `latest` means, and of which catalog (contract 2.3).

Decides what a valid `latest.alias.json` is and what its bytes are. The record binds the alias to the
sha256 of the catalog's canonical bytes; whether that binding is still true is the store's to compare.

Never opens a file, never reads a clock: the time of an update is given as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from reconciler.canonical import canonical, parse_strict
from reconciler.errors import InvalidInput
from reconciler.model import DatasetId
from reconciler.stores.serving.documents import (
    GIVEN,
    DatasetMembers,
    Origin,
    convert,
    dataset_members,
    id_problem,
    read_as,
)

ALIAS = "latest.alias.json"
POLICY = "promotion-gated"
UPDATED_BY = "reconciler"

_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """What `latest` means: a dataset, and the sha256 of the catalog it was set for."""

    dataset: DatasetId
    catalog_sha256: str
    updated_at: str
    policy: str = POLICY
    updated_by: str = UPDATED_BY


class _Members(Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: int
    alias: Literal["latest"]
    dataset: DatasetMembers
    policy: str
    updated_at: str
    updated_by: str
    catalog_sha256: str


def parse_alias(data: bytes, where: str = ALIAS, *, origin: Origin = GIVEN) -> Alias:
    """Read an alias file strictly.

    Args:
        data: the bytes of the file.
        where: the path that errors name.
        origin: `LIVE_ALIAS` for the store's own file.

    Raises:
        InvalidInput: a code of `documents.decode`, E_SCHEMA_VERSION, E_REQUIRED, E_HASH_CHARS, or an id's
            code; or the origin's class and code.
    """
    return read_as(origin, lambda: _parse(data, where))


def _parse(data: bytes, where: str) -> Alias:
    members = convert(parse_strict(data, where=where), _Members, where=where)
    if members.schema_version != 1:
        raise InvalidInput.of(
            "E_SCHEMA_VERSION",
            "this schema version is not supported",
            path=where,
            got=str(members.schema_version),
            fix="use schema_version 1",
        )
    problem = id_problem(members.dataset.id, where)
    if problem:
        raise InvalidInput(problem)
    for name in ("policy", "updated_at", "updated_by"):
        if not getattr(members, name).strip():
            raise InvalidInput.of("E_REQUIRED", f"the member {name} is blank", path=where, fix="fill it in")
    if not _HEX64.fullmatch(members.catalog_sha256):
        raise InvalidInput.of(
            "E_HASH_CHARS",
            "catalog_sha256 is not 64 lower-case hex digits",
            path=where,
            got=members.catalog_sha256,
            fix="update the alias again",
        )
    return Alias(
        dataset=members.dataset.id,
        catalog_sha256=members.catalog_sha256,
        updated_at=members.updated_at,
        policy=members.policy,
        updated_by=members.updated_by,
    )


def encode_alias(alias: Alias) -> bytes:
    """The canonical bytes of an alias file."""
    return canonical(
        {
            "schema_version": 1,
            "alias": "latest",
            "dataset": dataset_members(alias.dataset),
            "policy": alias.policy,
            "updated_at": alias.updated_at,
            "updated_by": alias.updated_by,
            "catalog_sha256": alias.catalog_sha256,
        }
    )
