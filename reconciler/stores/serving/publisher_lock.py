"""The lock that the reference's own publisher leaves in a dataset while it writes, and perhaps for ever.

`derived/.publish.lock` is an empty file without a process id or a time in it (contract 3.7, 8.4). Decides,
by the store's own time and not by a clock of ours, whether its owner may still be at work: younger than a
minute, we wait for it as for any other writer; older, it is what a killed publisher left behind.

Never removes it: publishing moves a stale one to the quarantine.
"""

from __future__ import annotations

import contextlib
import os
import time

from reconciler.errors import Conflict
from reconciler.model import DatasetId
from reconciler.stores.serving.contents import PUBLISH_LOCK, dataset_path
from reconciler.stores.serving.durable import TMP, directory, unique_name
from reconciler.stores.serving.files import file_stat

STALE_AFTER = 60.0
"""Seconds of store time after which nobody is believed to hold the lock."""

_PAUSE = 0.2


def await_publisher(root: int, dataset: DatasetId, *, where: str, timeout: float) -> None:
    """Wait until no publisher of the reference can be writing this dataset.

    Raises:
        Conflict: E_LOCKED, it is still at work after `timeout` seconds.
        OSError: the store failed.
    """
    path = f"{dataset_path(dataset)}/{PUBLISH_LOCK}"
    deadline = time.monotonic() + timeout
    while (seen := file_stat(root, path, where)) is not None:
        if _store_time(root) - seen.st_mtime >= STALE_AFTER:
            return
        if time.monotonic() >= deadline:
            raise Conflict.of(
                "E_LOCKED",
                f"another publisher writes this dataset; waited {timeout:g} s",
                path=f"{where}/{path}",
                fix="wait for it; a lock that nobody holds is passed over after a minute",
            )
        time.sleep(_PAUSE)


def _store_time(root: int) -> float:
    """What time it is where the store's files get theirs from."""
    with directory(root, TMP) as tmp:
        name = unique_name()
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=tmp)
        try:
            os.write(handle, b"t")
            return os.fstat(handle).st_mtime
        finally:
            os.close(handle)
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=tmp)
