"""What of a serving store a backup holds, and taking it back into an empty directory.

Durable are the files of every published dataset, the ledger and what else stands beside it, the kept
aliases, catalog and alias. `manifest.lock`, `immutable.release.json` and `catalog.sha256` follow from other
files; where their bytes are exactly what follows, their digest alone is kept. Disposable are the lock, what
is staged or thrown away, what a tool left over, and whatever else lies in the root.

A dataset that the catalog lists must be whole: its lock file and manifest must state the digests that its
files have. One that is broken and not listed is left out, and reported.

A stamp is a file's device, inode, size and both times. It promises that the bytes are the same only if the
file was left alone for some seconds by the store's own clock: a write in the same tick would not show.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from reconciler.backup.document import Phase
from reconciler.canonical import sha256_digest
from reconciler.errors import Conflict, OutcomeUnknown, Problem, ReconcilerError, Unavailable
from reconciler.model import DatasetId, Digest
from reconciler.stores.keeping import Hold, Judged, Need, Offered, OfferedGroup
from reconciler.stores.serving.alias import ALIAS
from reconciler.stores.serving.catalog import CATALOG, CATALOG_DIGEST, Catalog, parse_catalog, struct_digest
from reconciler.stores.serving.contents import ARTIFACT, IMMUTABLE, LOCK, MANIFEST, PUBLISH_LOCK, dataset_path
from reconciler.stores.serving.durable import CHUNK, LEDGER, OWN, store_faults, store_time
from reconciler.stores.serving.files import open_dir, open_file, read_file
from reconciler.stores.serving.heads import ALIASES_FILE, Heads, head_digests, read_heads
from reconciler.stores.serving.ledger_files import LedgerFiles
from reconciler.stores.serving.lock_files import Published, encode_immutable, encode_lock
from reconciler.stores.serving.walk import Standing, dataset_directories

RESTORED: Final = "restore.json"
DISPOSABLE: Final = frozenset({"lock", "tmp", "staging", "trash", "quarantine", RESTORED})
"""What of `.reconciler` is in no backup."""

_SETTLED_SECONDS: Final = 2
_LEFT_OVER: Final = (".tmp", "-wal", "-shm", "-journal")
_RECORDS_IN_GROUP: Final = 500
_DEPTH: Final = 8
_HEADS: Final = {
    CATALOG: Phase.CATALOG,
    CATALOG_DIGEST: Phase.CATALOG,
    ALIASES_FILE: Phase.ALIAS,
    ALIAS: Phase.ALIAS,
}


class _Checksums(msgspec.Struct):
    sqlite_sha256: str
    gff3_sha256: str
    fasta_sha256: str
    fai_sha256: str


class _Chain(msgspec.Struct):
    checksums: _Checksums


_chain = msgspec.json.Decoder(_Chain)


class ServingReading:
    """One reading of a serving store (see `reconciler.stores.keeping.Reading`)."""

    def __init__(self, root: int, where: str, ledger: LedgerFiles, hold: Hold) -> None:
        self._root, self._where, self._ledger = root, where, ledger
        self._before = self._token()
        records = list(ledger.records())
        last = records[-1] if records else None
        self._open = last is not None and last.results is None
        if self._open and hold is Hold.LOCKED:
            raise OutcomeUnknown.of(
                "E_UNFINISHED",
                f"run {len(records)} was stopped before its end",
                path=where,
                fix="run 'reconciler apply', which finishes it first",
            )
        closed = records[:-1] if self._open else records
        self._records = len(closed)
        self._last = closed[-1].outcome_sha if closed else None
        self._heads: Heads = read_heads(root, where, recorded=ledger.recorded_heads())
        self._now = _now(root, where)

    @property
    def records(self) -> int:
        """How many closed records the ledger holds."""
        return self._records

    @property
    def ledger(self) -> str | None:
        """The digest of the last outcome."""
        return self._last

    @property
    def heads(self) -> Mapping[str, str]:
        """The digests of the mutable heads."""
        return self._heads.digests

    def settled(self) -> bool:
        """Whether no run was open and no head or record has moved since."""
        return not self._open and self._token() == self._before

    def groups(self) -> Iterator[OfferedGroup]:
        """Datasets in address order, then the ledger, what else stands beside it, and the heads."""
        listed = {entry.id for entry in self._heads.catalog.entries}
        with store_faults(self._where):
            for seen in dataset_directories(self._root, self._where):
                if seen.problem is None:
                    yield self._dataset(seen, Need.NEEDED if seen.dataset in listed else Need.LEFT_OUT)
                    listed.discard(seen.dataset)
            for dataset in sorted(listed):
                yield OfferedGroup(f"dataset/{dataset}", (), _gone(dataset, self._where))
            yield from self._records_in_groups()
            yield from self._beside()
            heads = [self._file(self._root, path, path, phase) for path, phase in _HEADS.items()]
            present = tuple(one for one in heads if one is not None)
            if present:
                yield OfferedGroup("heads", present, self._judge_heads)

    def _token(self) -> tuple[str, Mapping[str, str]]:
        with store_faults(self._where):
            return self._ledger.head(), head_digests(self._root, self._where)

    def _dataset(self, seen: Standing, need: Need) -> OfferedGroup:
        place = dataset_path(seen.dataset)
        names = tuple(_files(seen.handle, "", f"{self._where}/{place}", _DEPTH))
        parts = [self._file(seen.handle, name, f"{place}/{name}", Phase.CONTENT) for name in names]
        judge = partial(self._judge_dataset, seen, need)
        return OfferedGroup(f"dataset/{seen.dataset}", tuple(one for one in parts if one), judge)

    def _judge_dataset(self, seen: Standing, need: Need, digests: Mapping[str, Digest]) -> Judged:
        """Whether lock file and manifest state the digests that the files have."""
        place = dataset_path(seen.dataset)
        inner = {path.removeprefix(f"{place}/"): digest for path, digest in digests.items()}
        where = f"{self._where}/{place}"
        absent = [name for name in (MANIFEST, ARTIFACT, LOCK) if name not in inner]
        if absent:
            return Judged((_half(where, absent),), need=need)
        published = Published(inner[MANIFEST][7:], inner[ARTIFACT][7:])
        if inner[LOCK] != sha256_digest(encode_lock(published)):
            problem = _differs(
                f"{where}/{LOCK}", "E_ARTIFACT_HASH", "its files are not those that were published"
            )
            return Judged((problem,), need=need)
        problems = _manifest_problems(read_file(seen.handle, MANIFEST, where=where) or b"", inner, where)
        again = {LOCK}
        if inner.get(IMMUTABLE) == sha256_digest(encode_immutable(seen.dataset, published)):
            again.add(IMMUTABLE)
        return Judged(problems, frozenset(f"{place}/{name}" for name in again), need)

    def _judge_heads(self, digests: Mapping[str, Digest]) -> Judged:
        moved = digests.get(CATALOG, "") != self._heads.digests.get("catalog", "")
        stated = digests.get(CATALOG_DIGEST)
        follows = stated == sha256_digest(catalog_digest_bytes(self._heads.catalog))
        rebuilt = frozenset({CATALOG_DIGEST}) if stated and follows and not moved else frozenset()
        return Judged(reconstructable=rebuilt)

    def _records_in_groups(self) -> Iterator[OfferedGroup]:
        names = _listed(self._root, LEDGER, self._where)
        for start in range(0, len(names), 2 * _RECORDS_IN_GROUP):
            some = names[start : start + 2 * _RECORDS_IN_GROUP]
            paths = [f"{LEDGER}/{name}" for name in some]
            parts = [self._file(self._root, path, path, Phase.LEDGER) for path in paths]
            key = f"ledger/{start // 2 + 1:020d}"
            yield OfferedGroup(key, tuple(one for one in parts if one), _nothing_to_judge)

    def _beside(self) -> Iterator[OfferedGroup]:
        """What stands beside the ledger and is not disposable; the kept aliases are a head."""
        known = DISPOSABLE | {LEDGER.removeprefix(f"{OWN}/"), ALIASES_FILE.removeprefix(f"{OWN}/")}
        for name in _listed(self._root, OWN, self._where):
            if name in known or name.endswith(_LEFT_OVER):
                continue
            below = tuple(_files(self._root, f"{OWN}/{name}", self._where, _DEPTH))
            parts = [self._file(self._root, path, path, Phase.LEDGER) for path in below]
            yield OfferedGroup(f"own/{name}", tuple(one for one in parts if one), _nothing_to_judge)

    def _file(self, handle: int, name: str, path: str, phase: Phase) -> Offered | None:
        seen = _stat(handle, name)
        if seen is None:
            return None
        stamp = _stamp(seen) if int(seen.st_ctime) < self._now - _SETTLED_SECONDS else ""
        where = f"{self._where}/{path}"
        chunks = partial(_unchanged, handle, name, where, seen)
        return Offered(path, phase, seen.st_size, stamp, None, chunks)


def catalog_digest_bytes(catalog: Catalog) -> bytes:
    """The bytes of a `catalog.sha256` that says its digest and nothing else."""
    return f"{struct_digest(catalog)}\n".encode("ascii")


def rebuilt_bytes(path: str, digests: Mapping[str, Digest], catalog: Callable[[], bytes]) -> bytes | None:
    """The bytes of a reconstructable part, from the digests of the parts it follows from.

    Args:
        path: the part.
        digests: of everything that is back.
        catalog: gives the bytes of the catalog.
    """
    if path == CATALOG_DIGEST:
        return catalog_digest_bytes(parse_catalog(catalog(), CATALOG))
    for name in (LOCK, IMMUTABLE):
        place = path.removesuffix(f"/{name}")
        if place != path:
            manifest, artifact = (digests.get(f"{place}/{of}") for of in (MANIFEST, ARTIFACT))
            if manifest is None or artifact is None:
                return None
            published = Published(manifest[7:], artifact[7:])
            if name == LOCK:
                return encode_lock(published)
            parts = [part.partition("=")[2] for part in place.split("/")]
            return encode_immutable(DatasetId.parse("/".join(parts)), published)
    return None


def _nothing_to_judge(_digests: Mapping[str, Digest]) -> Judged:
    return Judged()


def _now(root: int, where: str) -> int:
    """The store's clock; where it cannot be asked, a time at which no stamp is old enough."""
    try:
        return store_time(root, where)
    except Unavailable:
        return 0


def _stamp(seen: os.stat_result) -> str:
    return f"{seen.st_dev}:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}:{seen.st_ctime_ns}"


def _stat(handle: int, path: str) -> os.stat_result | None:
    opened = open_file(handle, path)
    if opened is None:
        return None
    try:
        return os.fstat(opened)
    finally:
        os.close(opened)


def _unchanged(handle: int, name: str, where: str, seen: os.stat_result) -> Iterator[bytes]:
    """The bytes of a file that was not written to since it was looked at."""
    opened = open_file(handle, name, where)
    if opened is None:
        raise _moved(where)
    try:
        with store_faults(where):
            while chunk := os.read(opened, CHUNK):
                yield chunk
            if _stamp(os.fstat(opened)) != _stamp(seen):
                raise _moved(where)
    finally:
        os.close(opened)


def _moved(where: str) -> ReconcilerError:
    return Conflict.of(
        "E_CONFLICT",
        "a file changed while it was backed up",
        path=where,
        fix="stop whoever writes without the lock, then run it again",
    )


def _listed(root: int, path: str, where: str) -> list[str]:
    handle = open_dir(root, path, where)
    if handle is None:
        return []
    try:
        return sorted(os.listdir(handle))
    finally:
        os.close(handle)


def _files(handle: int, path: str, where: str, depth: int) -> Iterator[str]:
    """Every file below a directory, or the file itself; what a tool left over is not one."""
    mode = os.stat(path or ".", dir_fd=handle, follow_symlinks=False).st_mode
    if stat.S_ISREG(mode):
        yield path
        return
    if not stat.S_ISDIR(mode) or not depth:
        raise Unavailable.of(
            "E_STORE_FILE",
            "this is no regular file, or too deep",
            path=f"{where}/{path}",
            fix="a store holds regular files and plain directories only; move it out of the store",
        )
    inner = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
    try:
        names = sorted(os.listdir(inner))
    finally:
        os.close(inner)
    for name in names:
        below = f"{path}/{name}" if path else name
        if below != PUBLISH_LOCK and not name.endswith(_LEFT_OVER):
            yield from _files(handle, below, where, depth - 1)


def _manifest_problems(data: bytes, inner: Mapping[str, Digest], where: str) -> tuple[Problem, ...]:
    try:
        checksums = _chain.decode(data).checksums
    except (msgspec.DecodeError, UnicodeDecodeError):
        return (_differs(f"{where}/{MANIFEST}", "E_MANIFEST_HASH", "the manifest cannot be read"),)
    stated = {
        ARTIFACT: checksums.sqlite_sha256,
        "inputs/genes.gff3.bgz": checksums.gff3_sha256,
        "inputs/genome.fa.bgz": checksums.fasta_sha256,
        "inputs/genome.fa.bgz.fai": checksums.fai_sha256,
    }
    return tuple(
        _differs(f"{where}/{name}", "E_FILE_HASH", "the file has other bytes than its manifest states")
        for name, digest in stated.items()
        if name in inner and inner[name] != f"sha256:{digest}"
    )


def _differs(path: str, code: str, message: str) -> Problem:
    return Problem(code=code, message=message, path=path, fix="restore it from an earlier backup")


def _half(where: str, absent: Sequence[str]) -> Problem:
    return Problem(
        code="E_HALF_PUBLISHED",
        message=f"the dataset is published in part: {' and '.join(absent)} missing",
        path=where,
        fix="publish the dataset again, or restore it from an earlier backup",
    )


def _gone(dataset: DatasetId, where: str) -> Callable[[Mapping[str, Digest]], Judged]:
    problem = Problem(
        code="E_ARTIFACT_MISSING",
        message=f"the catalog lists {dataset}, and it is not there",
        path=f"{where}/{dataset_path(dataset)}",
        fix="publish the dataset again, or restore it from an earlier backup",
    )
    return lambda _digests: Judged((problem,))
