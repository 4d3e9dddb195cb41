"""Which files make up a dataset, and where they stand (the serving store's contract 1.1, 2.4).

Decides what publish copies and what a pack holds: every regular file under `inputs/` and `derived/`,
except what a store makes for itself and what a tool left over. Never follows a link and never opens a
file's content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from reconciler.errors import InvalidInput
from reconciler.model import DatasetId

MANIFEST = "derived/manifest.json"
ARTIFACT = "derived/gene_summary.sqlite"
LOCK = "derived/manifest.lock"
IMMUTABLE = "derived/immutable.release.json"
LIFECYCLE_STATE = "derived/lifecycle.state.json"
LIFECYCLE_TRANSITIONS = "derived/lifecycle.transitions.json"
PUBLISH_LOCK = "derived/.publish.lock"

MADE_BY_STORE = frozenset({LOCK, IMMUTABLE, LIFECYCLE_STATE, LIFECYCLE_TRANSITIONS})
"""Files that publish makes; they are never copied from a build root."""

_LEFT_OVER = (".tmp", "-wal", "-shm", "-journal")
_DEPTH = 3


def dataset_path(dataset: DatasetId) -> str:
    """The dataset's directory, relative to a store or build root."""
    return f"release={dataset.release}/species={dataset.species}/assembly={dataset.assembly}"


def content_files(dirfd: int, where: str) -> tuple[str, ...]:
    """The dataset's own files, relative to its directory, in path order.

    Args:
        dirfd: an open descriptor of the dataset's directory.
        where: how errors name that directory.

    Raises:
        InvalidInput: E_SOURCE_FILE, something is neither a regular file nor a directory, or is too deep.
    """
    return tuple(sorted(name for top in ("inputs", "derived") for name in _files(dirfd, top, where)))


def _files(dirfd: int, directory: str, where: str) -> Iterator[str]:
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(f"{where}/{directory}", "is not a directory") from error
    try:
        names = sorted(os.listdir(handle))
        for name in names:
            path = f"{directory}/{name}"
            mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and path.count("/") < _DEPTH:
                yield from _files(dirfd, path, where)
            elif not stat.S_ISREG(mode):
                raise _refused(f"{where}/{path}", "is not a regular file")
            elif path not in MADE_BY_STORE and not name.startswith(".") and not name.endswith(_LEFT_OVER):
                yield path
    finally:
        os.close(handle)


def _refused(path: str, what: str) -> InvalidInput:
    return InvalidInput.of(
        "E_SOURCE_FILE", what, path=path, fix="a dataset holds regular files and plain directories only"
    )
