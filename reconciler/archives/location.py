"""Which archive a location names: a directory or a bucket.

Decides by the location's form alone; nothing is made before the first write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.archives.directory import DirectoryArchive
from reconciler.backup.archive import Archive
from reconciler.errors import InvalidInput
from reconciler.stores.port import Surroundings


@contextmanager
def opened_archive(location: str, surroundings: Surroundings) -> Iterator[Archive]:
    """The archive of a location, as long as the block runs.

    Args:
        location: `file:PATH`, or a path alone.
        surroundings: where relative paths start, and how long to wait for another writer.

    Raises:
        InvalidInput: E_URL_SCHEME, or E_ARCHIVE.
        Unavailable: it cannot be used.
    """
    scheme, mark, path = location.partition(":")
    if not mark:
        scheme, path = "file", location
    if scheme != "file" or not path or "\0" in path or path.startswith("//"):
        raise InvalidInput.of(
            "E_URL_SCHEME",
            "an archive of backups is a directory",
            got=scheme,
            fix="write file:PATH",
        )
    archive = DirectoryArchive(surroundings.root, path, lock_timeout=surroundings.lock_timeout)
    try:
        yield archive
    finally:
        archive.close()
