"""The port of stores that can be backed up and restored, beside `reconciler.stores.port`.

A `Keeper` says what of its store is durable truth, reconstructable or disposable, in the words of
`reconciler.backup.document`. It

- offers everything that a backup holds, as one consistent reading: what was read belongs to one moment, or
  `settled` raises. Reading writes nothing. A thing that cannot be read is an error, never left out; what is
  broken is a problem of its group.
- takes parts back, into an empty place only. What was put under a name has the bytes of its digest, is
  durable, and is found again by a later attempt; nothing that readers use appears before `check` passed.
- remembers that it was restored until a drill proved it, and refuses to be written while a restore is
  unfinished.

`Capabilities.keeps` says that a store is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from enum import Enum
from typing import Final, NamedTuple, Protocol, cast

from reconciler.backup.document import Part, Phase
from reconciler.canonical import canonical, parse_strict, sha256_digest
from reconciler.errors import Corrupt, InvalidInput, Problem, Unavailable
from reconciler.model import Digest, StoreConfig, parse_digest
from reconciler.stores.port import Store, adapter

RESTORED_SCHEMA: Final = "reconciler/restored/v1"

Chunks = Callable[[], Iterator[bytes]]
"""Gives the bytes of one part, from their beginning, each time it is called."""


class Offered(NamedTuple):
    """One part as a store offers it.

    Attributes:
        path: its path in the store.
        phase: when it comes back.
        size: its bytes.
        stamp: equal to that of an earlier reading only if the bytes are; empty where that cannot be promised.
        digest: that of its bytes, where its own name says it.
        chunks: gives the bytes.
    """

    path: str
    phase: Phase
    size: int
    stamp: str
    digest: Digest | None
    chunks: Chunks


class Need(Enum):
    """Whether a backup may do without a group that is broken."""

    NEEDED = "needed"
    LEFT_OUT = "left out"


class Judged(NamedTuple):
    """What the digests of a group tell: what is wrong with it, and which parts are built anew."""

    problems: tuple[Problem, ...] = ()
    reconstructable: frozenset[str] = frozenset()
    need: Need = Need.NEEDED


class OfferedGroup(NamedTuple):
    """Parts that belong together; `judge` is asked when their digests are known."""

    key: str
    parts: tuple[Offered, ...]
    judge: Callable[[Mapping[str, Digest]], Judged]


class Hold(Enum):
    """Whether other writers are kept out while a store is read."""

    FREE = "free"
    LOCKED = "locked"


class Reading(Protocol):
    """One consistent reading of a store."""

    @property
    def records(self) -> int:
        """How many closed records its ledger holds."""

    @property
    def ledger(self) -> str | None:
        """The digest of the last outcome."""

    @property
    def heads(self) -> Mapping[str, str]:
        """The digests of the mutable heads."""

    def groups(self) -> Iterator[OfferedGroup]:
        """Everything that a backup holds; what a part gives is read while its group is at hand."""

    def settled(self) -> bool:
        """Whether everything that was read belongs to one moment: nobody wrote meanwhile."""


class Restored(NamedTuple):
    """What a store says of its own restore.

    Attributes:
        backup: the digest of the backup's document.
        finished: whether everything is back; if not, the store cannot be used yet.
    """

    backup: Digest
    finished: bool


def restored_bytes(restored: Restored) -> bytes:
    """The mark as a document, for stores that keep it in a file."""
    return canonical({"schema": RESTORED_SCHEMA, "backup": restored.backup, "finished": restored.finished})


def read_restored(data: bytes, where: str) -> Restored:
    """The mark that a document holds.

    Args:
        data: its bytes.
        where: where it stands, for the error.

    Raises:
        Corrupt: E_RESTORE_MARK.
    """
    try:
        document = parse_strict(data, where=where)
        finished = document["finished"]
        if document["schema"] == RESTORED_SCHEMA and isinstance(finished, bool):
            return Restored(parse_digest(document["backup"]), finished)
    except (InvalidInput, KeyError, TypeError):
        pass
    raise Corrupt.of(
        "E_RESTORE_MARK",
        "the mark of a restore cannot be read",
        path=where,
        fix="restore into another, empty place",
    )


def refuse_unfinished(mark: Restored | None, where: str) -> None:
    """Refuse a store that is not completely back.

    Raises:
        Unavailable: E_RESTORE_UNFINISHED.
    """
    if mark is not None and not mark.finished:
        raise Unavailable.of(
            "E_RESTORE_UNFINISHED",
            "a restore into this store was stopped before its end",
            path=where,
            got=mark.backup,
            fix="run the same 'reconciler backup restore' again",
        )


def other_bytes(part: Part) -> Corrupt:
    """The refusal of a part whose bytes are not those of its digest."""
    return Corrupt.of(
        "E_BACKUP_OBJECT",
        f"object {part.digest} has other bytes than its name says; it is {part.path}",
        fix="use another backup, or put the right bytes back",
    )


def foreign_part(path: str, holder: str) -> Corrupt:
    """The refusal of a part that no backup of such a store holds."""
    return Corrupt.of(
        "E_BACKUP_DOCUMENT",
        f"the backup holds a part that no backup of {holder} holds",
        path=path,
        fix="use another backup",
    )


def whole(part: Part, chunks: Chunks) -> bytes:
    """The bytes of a part, compared with its digest; no more is read than it has.

    Raises:
        Corrupt: E_BACKUP_OBJECT.
    """
    data = b"".join(_limited(chunks(), part))
    if sha256_digest(data) != part.digest:
        raise other_bytes(part)
    return data


def _limited(chunks: Iterator[bytes], part: Part) -> Iterator[bytes]:
    length = 0
    for chunk in chunks:
        length += len(chunk)
        if length > part.size:
            break
        yield chunk


class Restoring(Protocol):
    """A place that takes a backup back."""

    def holds(self, part: Part) -> bool:
        """Whether an earlier attempt put this part; its bytes are read and compared.

        Raises:
            Corrupt: E_RESTORE_PLACE, something else stands there.
        """

    def put(self, part: Part, chunks: Chunks) -> None:
        """Put a durable part.

        Raises:
            Corrupt: E_BACKUP_OBJECT, the bytes are not those of its digest; nothing was put.
        """

    def rebuild(self, part: Part) -> None:
        """Build a reconstructable part from those that are back, and put it.

        Raises:
            Corrupt: E_RESTORE_REBUILT, what was built is not what it was.
        """

    def check(self) -> None:
        """Before what readers use appears: content and ledger are whole.

        Raises:
            Corrupt: they are not.
        """

    def finish(self) -> None:
        """Everything is back: the place becomes a store that no drill has proved yet."""


class Answers(NamedTuple):
    """What a store answered to the questions that its readers ask.

    Attributes:
        asked: how many questions.
        about: what was asked, in words.
        problems: the questions without the right answer.
    """

    asked: int
    about: str
    problems: tuple[Problem, ...]


class Keeper(Protocol):
    """A store that can be backed up and restored (`Capabilities.keeps`)."""

    def reading(self, hold: Hold) -> AbstractContextManager[Reading]:
        """Everything durable, as one reading.

        Raises:
            OutcomeUnknown: E_UNFINISHED, a run stands open in the ledger.
            Corrupt: a head or the ledger is broken.
            Unavailable: the store cannot be read.
        """

    def restoring(self, backup: Digest) -> AbstractContextManager[Restoring]:
        """Take a backup back into this store's place, which must be empty or hold a part of the same one.

        Raises:
            InvalidInput: E_RESTORE_PLACE, the place is not empty.
        """

    def restored(self) -> Restored | None:
        """What backup the store was restored from; None if it was not, or a drill proved it since."""

    def answers(self) -> Answers:
        """Ask what readers ask: along the key query paths, through the store's own content.

        Raises:
            Corrupt, Unavailable: it cannot be asked.
        """

    def proved(self) -> None:
        """A drill proved the restored store: take the mark away."""


class KeeperAdapter(Protocol):
    """What the package of a store that can be backed up offers beside `open_store`.

    Attributes:
        INTEGRITY: how what readers find is preserved or rebuilt, in a sentence.
    """

    INTEGRITY: str

    def scratch(self, config: StoreConfig, directory: str) -> StoreConfig:
        """The same store in an empty directory, whatever live system it is on."""


def keeper_adapter(kind: str) -> KeeperAdapter | None:
    """The adapter of a kind of store that can be backed up; None of any other."""
    found = adapter(kind)
    return cast("KeeperAdapter", found) if hasattr(found, "scratch") else None


def keeper(store: Store) -> Keeper:
    """The store as one that can be backed up.

    Raises:
        InvalidInput: E_STORE_KIND.
    """
    if not store.capabilities.keeps:
        raise InvalidInput.of("E_STORE_KIND", "this kind of store cannot be backed up", got=store.config.kind)
    return cast("Keeper", store)
