"""Making a backup: every part that the archive lacks is copied, then a document says what belongs together.

The store is read without a lock first; only where somebody wrote meanwhile is it read again under the
lock, and then most of it is known already. What is broken is never backed up as if it were whole: the run
ends with every problem (exit 8), earlier backups stand, and nothing names what was copied so far.

The document is put last, under a number that nobody else took. Killed before, a run leaves objects that
the next one finds; it leaves no half backup.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from reconciler.backup import archive as kept
from reconciler.backup.archive import Archive, Found
from reconciler.backup.document import (
    Backup,
    Durability,
    GroupRef,
    Part,
    backup_bytes,
    group_bytes,
    index_bytes,
)
from reconciler.backup.known import KNOWN_LIMIT, Known, Seen, known_bytes, read_known
from reconciler.canonical import sha256_digest
from reconciler.errors import Conflict, Corrupt, Problem
from reconciler.model import Digest
from reconciler.stores.keeping import Hold, Keeper, Need, Offered, OfferedGroup, Reading

_IN_MEMORY = 1 << 20
_NOTHING: Mapping[str, bytes] = MappingProxyType({})


class Trust(Enum):
    """Whether bytes are believed to be the same under the same stamp, or read again in store and archive."""

    STAMPS = "stamps"
    NOTHING = "nothing"


class Created(NamedTuple):
    """A new backup, what was copied for it, and what is no part of it because it is broken and unused."""

    found: Found
    objects: int
    size: int
    left_out: tuple[Problem, ...]


@dataclass(slots=True)
class _Copying:
    """One run: what the archive holds, what is known, and what was copied."""

    archive: Archive
    trust: Trust
    known: Known
    have: dict[Digest, int]
    seen: dict[str, Seen] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    left_out: list[Problem] = field(default_factory=list)
    sound: set[Digest] = field(default_factory=set)
    objects: int = 0
    size: int = 0

    def group(self, group: OfferedGroup) -> GroupRef | None:
        """Copy what is new of a group, and its document; None if it is broken."""
        digests: dict[str, Digest] = {}
        whole: dict[str, bytes] = {}
        for offered in group.parts:
            digests[offered.path] = self._digest(offered, whole)
        judged = group.judge(digests)
        if judged.problems:
            target = self.problems if judged.need is Need.NEEDED else self.left_out
            target += judged.problems
            return None
        parts = []
        for offered in group.parts:
            path, digest = offered.path, digests[offered.path]
            rebuilt = path in judged.reconstructable
            durability = Durability.RECONSTRUCTABLE if rebuilt else Durability.DURABLE
            parts.append(Part(path, offered.phase, durability, digest, offered.size))
            if not rebuilt:
                data = whole.get(path)
                chunks = offered.chunks if data is None else partial(_once, data)
                self.keep(digest, offered.size, chunks)
        digest = self.document(group_bytes(group.key, parts))
        return GroupRef(group.key, digest, len(parts), sum(part.size for part in parts))

    def _digest(self, offered: Offered, whole: dict[str, bytes]) -> Digest:
        """The digest of a part: by its name, as known under its stamp, or of its bytes."""
        if offered.digest is not None:
            return offered.digest
        seen = self.known.get(offered.path)
        if not offered.stamp or seen is None or seen.stamp != offered.stamp:
            data, digest = _hashed(offered)
            if data is not None:
                whole[offered.path] = data
            seen = Seen(offered.stamp, digest)
        if offered.stamp:
            self.seen[offered.path] = seen
        return seen.digest

    def _sound(self, digest: Digest) -> bool:
        """Whether the archive's object has the bytes of its name; each is read once."""
        if digest not in self.sound:
            hashed = hashlib.sha256()
            for chunk in self.archive.chunks(digest) or ():
                hashed.update(chunk)
            if f"sha256:{hashed.hexdigest()}" != digest:
                return False
            self.sound.add(digest)
        return True

    def document(self, data: bytes) -> Digest:
        """Keep a document as an object."""
        digest = Digest(sha256_digest(data))
        self.keep(digest, len(data), partial(_once, data))
        return digest

    def keep(self, digest: Digest, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Copy an object that the archive lacks, or has in another size or (trusting nothing) other bytes."""
        if self.have.get(digest) == size and (self.trust is Trust.STAMPS or self._sound(digest)):
            return
        self.archive.put(digest, chunks)
        self.have[digest] = size
        self.sound.add(digest)
        self.objects += 1
        self.size += size


def create(
    archive: Archive,
    store: Keeper,
    draft: Backup,
    trust: Trust,
    configuration: Mapping[str, bytes] = _NOTHING,
) -> Created:
    """Back a store up.

    Args:
        archive: takes the backup; held by the caller for writing.
        store: what is backed up.
        draft: what the caller knows of the backup: store, kind, settings, time, tool, commit.
        trust: whether stamps are believed.
        configuration: files of the repository that are kept as well, by path.

    Raises:
        Corrupt: the store is broken, or E_BACKUP_SOURCE; no backup was made.
        Conflict: somebody else made one under this number, or writes without the lock.
        OutcomeUnknown: E_UNFINISHED.
        Unavailable: the store or the archive cannot be used.
    """
    before = kept.newest(archive, draft.store)
    known = archive.read(f"known/{draft.store}.json", KNOWN_LIMIT) if trust is Trust.STAMPS else None
    copying = _Copying(archive, trust, read_known(known), dict(archive.sizes()))
    backup = _copied(copying, store, draft)
    files = {path: copying.document(data) for path, data in sorted(configuration.items())}
    archive.settle()
    backup = replace(
        backup,
        number=before.backup.number + 1 if before else 1,
        previous=before.digest if before else None,
        configuration=files,
    )
    data = backup_bytes(backup)
    archive.create(kept.document_name("backups", backup.store, backup.number), data)
    if known is None or copying.seen != copying.known:
        archive.replace(f"known/{backup.store}.json", known_bytes(copying.seen))
    found = Found(backup, Digest(sha256_digest(data)))
    return Created(found, copying.objects, copying.size, tuple(copying.left_out))


def _copied(copying: _Copying, store: Keeper, draft: Backup) -> Backup:
    """Everything of one moment, copied; the document that says so, without its number."""
    for hold in Hold:
        with store.reading(hold) as reading:
            copying.seen, copying.problems, copying.left_out = {}, [], []
            backup = _read(copying, reading, draft)
            settled = reading.settled()
        copying.known = {**copying.known, **copying.seen}
        if settled:
            if copying.problems:
                raise Corrupt(copying.problems)
            return backup
    raise Conflict.of(
        "E_CONFLICT",
        "a writer that takes no lock changed the store while it was backed up",
        path=draft.store,
        fix="stop it, then run it again",
    )


def _read(copying: _Copying, reading: Reading, draft: Backup) -> Backup:
    groups = [ref for ref in map(copying.group, reading.groups()) if ref is not None]
    index = Digest("") if copying.problems else copying.document(index_bytes(groups))
    return replace(
        draft,
        records=reading.records,
        ledger=reading.ledger,
        heads=dict(reading.heads),
        index=index,
        parts=sum(group.parts for group in groups),
        size=sum(group.size for group in groups),
    )


def _once(data: bytes) -> Iterator[bytes]:
    yield data


def _hashed(offered: Offered) -> tuple[bytes | None, Digest]:
    """The digest of a part, and its bytes if they are few."""
    hashed, data, length = hashlib.sha256(), bytearray(), 0
    for chunk in offered.chunks():
        hashed.update(chunk)
        length += len(chunk)
        if length <= _IN_MEMORY:
            data += chunk
    if length != offered.size:
        raise Conflict.of(
            "E_CONFLICT",
            "a file changed while it was backed up",
            path=offered.path,
            fix="stop whoever writes without the lock, then run it again",
        )
    return bytes(data) if length <= _IN_MEMORY else None, Digest(f"sha256:{hashed.hexdigest()}")
