"""An archive that writes nothing: what a dry run of `backup create` copies to.

Reading is that of the real archive, or of an empty one where there is none yet; what is put is counted by
the caller and forgotten here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from reconciler.backup.archive import Archive
from reconciler.errors import Unavailable
from reconciler.model import Digest
from reconciler.stores.keeping import Chunks

T = TypeVar("T")


class Rehearsal:
    """The archive behind it, for reading only (see `reconciler.backup.archive.Archive`)."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return self._archive.where

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nothing is held: nothing is written."""
        yield

    def sizes(self) -> Mapping[Digest, int]:
        """Every object with its size."""
        return _or(self._archive.sizes, {})

    def put(self, digest: Digest, chunks: Chunks) -> None:
        """Forgotten."""

    def chunks(self, digest: Digest) -> Iterator[bytes] | None:
        """The bytes of an object."""
        return self._archive.chunks(digest)

    def settle(self) -> None:
        """Nothing to make durable."""

    def names(self, folder: str) -> list[str]:
        """The names of the documents in a folder."""
        return _or(lambda: self._archive.names(folder), [])

    def read(self, name: str, limit: int) -> bytes | None:
        """The bytes of a document."""
        return _or(lambda: self._archive.read(name, limit), None)

    def create(self, name: str, data: bytes) -> None:
        """Forgotten."""

    def replace(self, name: str, data: bytes) -> None:
        """Forgotten."""


def _or(ask: Callable[[], T], empty: T) -> T:
    """The answer of an archive; that of an empty one where there is none."""
    try:
        return ask()
    except Unavailable as error:
        if error.code != "E_ARCHIVE_MISSING":
            raise
        return empty
