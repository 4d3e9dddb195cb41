"""An archive of backups in an S3-compatible bucket.

Decides how a bucket is used. Objects are named by the sha256 of their bytes, so putting one again changes
nothing; the last piece of a large one is only sent when the hash of the whole is right. The document of a
backup is created under a condition that the bucket must honour, which is tried once per handle: its number is
the fence between two writers, and there is no lock. A bucket that does not answer is an error, never an empty
one; below a prefix that holds other things no archive is made.

How the bucket is reached, and what a failed request means, is decided where registries keep theirs.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.archives.directory import MARK, MARK_BYTES, no_archive, no_archive_yet, source_changed, taken
from reconciler.errors import InvalidInput, LimitExceeded, OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.model import Digest
from reconciler.stores.keeping import Chunks
from reconciler.stores.registry.objects_s3 import TRIES, client_of
from reconciler.stores.registry.s3_access import S3Access
from reconciler.stores.registry.s3_faults import S3Fault, Verdict, judged

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

_LOCATION = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/=-]*))?", re.ASCII)
_OBJECT = re.compile(r"objects/[0-9a-f]{2}/([0-9a-f]{64})", re.ASCII)
_PIECE: Final = 8 << 20
_FIRST_PAUSE: Final = 0.1
_PROBE: Final = "probe"
_PROBE_BYTES: Final = b"reconciler asks whether this store honours If-None-Match\n"


class BucketArchive:
    """An archive below one prefix of a bucket (see `reconciler.backup.archive.Archive`)."""

    def __init__(
        self, location: str, access: S3Access, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        found = _LOCATION.fullmatch(location)
        prefix = (found.group(2) or "").strip("/") if found else ""
        if not found or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
            raise InvalidInput.of(
                "E_STORE_LOCATION", "this is not the location of a bucket", fix="write s3://BUCKET/PREFIX"
            )
        self._store: S3Store = client_of(found.group(1), prefix, access)
        self._where, self._pause = location, pause
        self._stands = self._conditional = False

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return self._where

    def close(self) -> None:
        """Nothing is held between calls."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make the archive where nothing is; two writers meet at the number of a backup."""
        if self._asked(lambda: self._content(MARK, 4096)) is None:
            if self._asked(self._first_key) is not None:
                raise no_archive(self._where, "it holds other things")
            self._require_conditions()
            self._asked(lambda: self._put(MARK, MARK_BYTES))
        self._stands = True
        self._require_conditions()
        yield

    def sizes(self) -> Mapping[Digest, int]:
        """Every object with its size, from every page of one listing."""
        self._require_archive()
        return self._asked(self._objects)

    def put(self, digest: Digest, chunks: Chunks) -> None:
        """Keep an object; a large one is sent in parts."""
        self._asked(lambda: self._put_object(digest, chunks))

    def chunks(self, digest: Digest) -> Iterator[bytes] | None:
        """The bytes of an object as they stand there."""
        self._require_archive()
        stream = self._asked(lambda: self._stream(_key(digest)))
        return None if stream is None else self._told(stream)

    def settle(self) -> None:
        """What was put is durable already."""

    def names(self, folder: str) -> list[str]:
        """The names of the documents in a folder, sorted."""
        self._require_archive()
        return self._asked(lambda: self._names(folder))

    def read(self, name: str, limit: int) -> bytes | None:
        """The bytes of a document."""
        self._require_archive()
        return self._asked(lambda: self._content(name, limit))

    def create(self, name: str, data: bytes) -> None:
        """Put a document if there is none.

        Raises:
            Conflict: E_CONFLICT, there is another one.
            OutcomeUnknown: no answer came, and looking gave none either.
        """
        self._require_conditions()
        try:
            created = self._asked(lambda: self._create(name, data))
        except Unavailable as error:
            if self._looked_up(name, len(data), error) == data:
                return
            raise
        if not created and self.read(name, len(data)) != data:
            raise taken(f"{self._where}/{name}")

    def replace(self, name: str, data: bytes) -> None:
        """Give a document new bytes at once."""
        self._asked(lambda: self._put(name, data))

    # One request each; a failure is an S3Fault

    def _put(self, key: str, data: bytes) -> None:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            obstore.put(self._store, key, data, use_multipart=len(data) > _PIECE)

    def _create(self, key: str, data: bytes) -> bool:
        import obstore  # noqa: PLC0415 - an extra
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        with judged():
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def _put_object(self, digest: Digest, chunks: Chunks) -> None:
        import obstore  # noqa: PLC0415 - an extra

        pieces = _checked(chunks(), digest, self._where)
        first = next(pieces)
        second = next(pieces, None)
        if second is None:
            self._put(_key(digest), first)
            return
        ours: list[ReconcilerError] = []

        def told() -> Iterator[bytes]:
            try:
                yield first
                yield second
                yield from pieces
            except ReconcilerError as error:
                ours.append(error)
                raise

        try:
            with judged():
                obstore.put(self._store, _key(digest), told(), chunk_size=_PIECE, use_multipart=True)
        except S3Fault:
            if ours:
                raise ours[0] from None
            raise

    def _content(self, key: str, limit: int) -> bytes | None:
        stream = self._stream(key)
        if stream is None:
            return None
        content = bytearray()
        with judged():
            for chunk in stream:
                content += chunk
                if len(content) > limit:
                    raise LimitExceeded.of(
                        "E_FILE_SIZE",
                        f"the document is larger than {limit} bytes",
                        path=f"{self._where}/{key}",
                    )
        return bytes(content)

    def _stream(self, key: str) -> Iterator[bytes] | None:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            try:
                stream = obstore.get(self._store, key).stream(min_chunk_size=_PIECE)
            except FileNotFoundError:
                return None
        return (bytes(chunk) for chunk in stream)

    def _objects(self) -> dict[Digest, int]:
        import obstore  # noqa: PLC0415 - an extra

        found: dict[Digest, int] = {}
        with judged():
            for page in obstore.list(self._store, "objects"):
                for meta in page:
                    name = _OBJECT.fullmatch(meta["path"])
                    if name is not None:
                        found[Digest(f"sha256:{name.group(1)}")] = meta["size"]
        return found

    def _names(self, folder: str) -> list[str]:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            pages = obstore.list(self._store, folder)
            return sorted(meta["path"].rpartition("/")[2] for page in pages for meta in page)

    def _first_key(self) -> str | None:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            for page in obstore.list(self._store, chunk_size=10):
                for meta in page:
                    if meta["path"] != _PROBE:
                        return str(meta["path"])
        return None

    # Tries

    def _asked(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer: everything here may be asked twice.

        Raises:
            Unavailable: no answer after all tries, or a refusal.
        """
        for turn in range(TRIES):
            if turn:
                self._pause(_FIRST_PAUSE * 2 ** (turn - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            try:
                return ask()
            except S3Fault as found:
                fault = found
                if found.verdict is Verdict.REFUSED:
                    break
        raise fault.error(self._where)

    def _told(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces of an object; a connection that breaks is no end of it."""
        try:
            with judged():
                yield from stream
        except S3Fault as fault:
            raise fault.error(self._where) from fault

    def _looked_up(self, name: str, limit: int, error: Unavailable) -> bytes | None:
        try:
            return self.read(name, limit)
        except Unavailable:
            raise OutcomeUnknown.of(
                "E_OUTCOME_UNKNOWN",
                "whether the document of the backup was put is not known, and the bucket cannot be read",
                path=f"{self._where}/{name}",
                got=error.code,
                fix="run it again when the bucket answers",
            ) from error

    # What the bucket must be

    def _require_archive(self) -> None:
        if not self._stands:
            if self._asked(lambda: self._content(MARK, 4096)) is None:
                self._asked(self._first_key)  # a missing bucket answers like a missing object
                raise no_archive_yet(self._where)
            self._stands = True

    def _require_conditions(self) -> None:
        if self._conditional:
            return
        self._asked(lambda: self._create(_PROBE, _PROBE_BYTES))
        if self._asked(lambda: self._create(_PROBE, _PROBE_BYTES)):
            raise Unavailable.of(
                "E_STORE_NO_CAS",
                "the object store overwrites although it was asked to create only",
                path=self._where,
                fix="use a store that honours If-None-Match, or a newer release of this one",
            )
        self._conditional = True


def _key(digest: Digest) -> str:
    name = digest.removeprefix("sha256:")
    return f"objects/{name[:2]}/{name}"


def _checked(chunks: Iterator[bytes], digest: Digest, where: str) -> Iterator[bytes]:
    """Pieces of one size; the last one comes only if the hash of all is right."""
    hashed, rest = hashlib.sha256(), bytearray()
    for chunk in chunks:
        hashed.update(chunk)
        rest += chunk
        while len(rest) > _PIECE:
            yield bytes(rest[:_PIECE])
            del rest[:_PIECE]
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise source_changed(digest, where)
    yield bytes(rest)
