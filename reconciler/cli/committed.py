"""Files of the planned commit that its documents name: manifests, schemas, build files.

They are read from the commit, never from the disk beside it, so that what is applied is what was reviewed.
Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reconciler.errors import InvalidInput
from reconciler.stores.port import Blobs

if TYPE_CHECKING:
    from reconciler.desired.tree import Tree

SOURCE_LIMIT = 5_000_000
"""The most bytes that are read of one of them."""


def files_of(tree: Tree) -> Blobs:
    """What gives the bytes of files of a tree, in the order asked."""

    def read(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        entries = {entry.path: entry for entry in tree.find(paths).entries}
        missing = next((path for path in paths if path not in entries), None)
        if missing is not None:
            raise InvalidInput.of("E_SOURCE_MISSING", "the commit has no such file", path=missing)
        for entry, data in tree.read([entries[path] for path in paths], SOURCE_LIMIT):
            yield entry.path, data

    return read
