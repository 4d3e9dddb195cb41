"""The shards of a dataset: databases of a part of its contigs, and the file that lists them (contract 2.7).

Decides what `catalog_shards.json` must say and that each shard it lists is there, is the file it says, and
keeps the database contract. A shard that is missing is reported; opening it does not create it, as the
reference's verification does (contract 8.4).

Never writes, and never follows a path out of `derived/`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal, NamedTuple

from msgspec import Struct

from reconciler.canonical import parse_strict
from reconciler.errors import InvalidInput, Problem
from reconciler.model import DatasetId
from reconciler.stores.serving.artifact_db import database_problems
from reconciler.stores.serving.documents import DatasetMembers, convert, id_problem
from reconciler.stores.serving.files import DatasetFiles, is_plain_path, opened

SHARD_CATALOG = "derived/catalog_shards.json"
MAX_SHARDS = 512

_SHARD_ID = re.compile(r"[a-z0-9_-]+", re.ASCII)


class Shard(NamedTuple):
    """One shard; its path is relative to `derived/`."""

    shard_id: str
    seqids: tuple[str, ...]
    sqlite_path: str
    sqlite_sha256: str


class ShardCatalog(NamedTuple):
    """What `catalog_shards.json` lists."""

    dataset: DatasetId
    mode: str
    shards: tuple[Shard, ...]


class _Shard(Struct, frozen=True, forbid_unknown_fields=True):
    shard_id: str
    seqids: tuple[str, ...]
    sqlite_path: str
    sqlite_sha256: str


class _Members(Struct, frozen=True, forbid_unknown_fields=True):
    dataset: DatasetMembers
    mode: str
    shards: tuple[_Shard, ...]
    model_version: Literal["v1"] = "v1"


def parse_shards(data: bytes, where: str = "catalog_shards.json") -> ShardCatalog:
    """Read a shard catalog strictly.

    Raises:
        InvalidInput: a code of `documents.decode`, an id's code, or E_SHARDS.
    """
    members = convert(parse_strict(data, where=where), _Members, where=where)
    problem = id_problem(members.dataset.id, where)
    if problem:
        raise InvalidInput(problem)
    shards = tuple(
        Shard(item.shard_id, item.seqids, item.sqlite_path, item.sqlite_sha256) for item in members.shards
    )
    wrong = _wrong(members.mode, shards)
    if wrong:
        raise InvalidInput.of("E_SHARDS", wrong, path=where, fix="rebuild the dataset")
    return ShardCatalog(members.dataset.id, members.mode, shards)


def _wrong(mode: str, shards: tuple[Shard, ...]) -> str | None:
    """The first thing that is wrong with the list as a whole, or with one shard."""
    if not mode.strip():
        return "mode must not be blank"
    if len(shards) > MAX_SHARDS:
        return f"there are more than {MAX_SHARDS} shards"
    if any(before >= after for before, after in pairwise(shards)):
        return "the shards are not sorted, or one is listed twice"
    return next(filter(None, map(_wrong_shard, shards)), None)


def _wrong_shard(shard: Shard) -> str | None:
    if not _SHARD_ID.fullmatch(shard.shard_id):
        return "a shard_id has characters other than a-z 0-9 _ -"
    if not shard.seqids or not all(seqid.strip() for seqid in shard.seqids):
        return "a shard names no contig"
    if not is_plain_path(shard.sqlite_path):
        return "the path of a shard leaves derived/"
    return None if shard.sqlite_sha256.strip() else "a shard states no sha256"


def shard_problems(files: DatasetFiles, catalog: ShardCatalog, dataset: DatasetId) -> tuple[Problem, ...]:
    """What is wrong with the shards on disk.

    Raises:
        Unavailable: a shard cannot be read.
    """
    problems = []
    if catalog.dataset != dataset:
        problems.append(
            Problem(
                code="E_IDENTITY",
                message=f"the shard catalog is of another dataset than {dataset}",
                path=files.path(SHARD_CATALOG),
                got=str(catalog.dataset),
                fix="rebuild the dataset",
            )
        )
    for shard in catalog.shards:
        problems.extend(_problems_of(files, shard, dataset))
    return tuple(problems)


def _problems_of(files: DatasetFiles, shard: Shard, dataset: DatasetId) -> tuple[Problem, ...]:
    relpath = f"derived/{shard.sqlite_path}"
    path = files.path(relpath)
    found = files.hash(relpath)
    with opened(files.dirfd, relpath, files.where) as handle:
        if found is None or handle is None:
            return (
                Problem(code="E_FILE_MISSING", message="a shard is missing", path=path, fix="publish it"),
            )
        if found.sha256 != shard.sqlite_sha256:
            return (
                Problem(
                    code="E_FILE_HASH",
                    message=f"the shard is not the file that {SHARD_CATALOG} names",
                    path=path,
                    got=found.sha256,
                    fix="restore the shard",
                ),
            )
        return database_problems(handle, path, dataset)
