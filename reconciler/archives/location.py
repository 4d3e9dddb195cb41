"""Which archive a location names: a directory or a bucket.

Decides by the location's form alone; nothing is made before the first write, and the client of buckets is
imported only for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from reconciler.archives.directory import DirectoryArchive
from reconciler.backup.archive import Archive
from reconciler.errors import InvalidInput
from reconciler.model import Place, StoreConfig
from reconciler.stores.port import Surroundings
from reconciler.stores.registry.s3_access import access_of


@contextmanager
def opened_archive(
    location: str, settings: Mapping[str, Any], place: Place, surroundings: Surroundings
) -> Iterator[Archive]:
    """The archive of a location, as long as the block runs.

    Args:
        location: `file:PATH`, a path alone, or `s3://BUCKET/PREFIX`.
        settings: how a bucket is reached, as a `Recovery` document says it.
        place: where that is declared.
        surroundings: where relative paths start, how long to wait, and the variables for credentials.

    Raises:
        InvalidInput: E_URL_SCHEME, E_STORE_LOCATION, E_ENV, or E_ARCHIVE.
        Unavailable: it cannot be used.
    """
    scheme, mark, path = location.partition(":")
    if scheme == "s3":
        from reconciler.archives.bucket import BucketArchive  # noqa: PLC0415 - an extra

        config = StoreConfig(name="of backups", kind="archive", settings=settings, place=place)
        yield BucketArchive(location, access_of(config, surroundings.variables))
        return
    if not mark:
        scheme, path = "file", location
    if scheme != "file" or not path or "\0" in path or path.startswith("//"):
        raise InvalidInput.of(
            "E_URL_SCHEME",
            "an archive of backups is a directory or a bucket",
            got=scheme,
            fix="write file:PATH or s3://BUCKET/PREFIX",
        )
    archive = DirectoryArchive(surroundings.root, path, lock_timeout=surroundings.lock_timeout)
    try:
        yield archive
    finally:
        archive.close()
