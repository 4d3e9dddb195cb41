"""A session: what the holder of a store's lock knows, and the fence that every write of it passes.

Decides what is live now (each address's slots, read under the lock) and whether we still may write: the
lock file must be the one we locked, and no ledger record may stand behind ours. A process that was
paused while another took over writes nothing more.

Keeps the last parsed catalog by the digest of its bytes, so that reading it back costs a hash.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.canonical import sha256_digest
from reconciler.errors import Conflict, Unavailable
from reconciler.failpoints import failpoint
from reconciler.model import NOTHING, Address, DatasetId, Slots, Value
from reconciler.stores.serving.catalog import CATALOG_LIMIT, Catalog
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.durable import LEDGER, OWN, STAGING, TMP, directory, remove_tree, unique_name
from reconciler.stores.serving.files import open_dir, read_file
from reconciler.stores.serving.gates import Thresholds
from reconciler.stores.serving.heads import CATALOG_FILE, Heads, alias_slots, entry_slots, read_heads
from reconciler.stores.serving.ledger_files import LedgerFiles
from reconciler.stores.serving.observe import observe_artifact
from reconciler.stores.serving.order import ALIAS, ARTIFACT


@dataclass(slots=True, kw_only=True)
class Session:
    """One holding of the lock, for one run of number `seq`."""

    root: int
    where: str
    base: Path
    ledger: LedgerFiles
    thresholds: Thresholds
    lock_inode: int
    lock_timeout: float
    seq: int
    recorded: Mapping[str, str]
    progress: Callable[[str], None]
    _known: dict[str, Catalog] = field(default_factory=dict)

    def heads(self) -> Heads:
        """The heads as they are now; the lock makes one reading enough."""
        heads = read_heads(self.root, self.where, recorded=self.recorded, tries=1, known=self._known)
        if "catalog" in heads.digests:
            self._known = {heads.digests["catalog"]: heads.catalog}
        return heads

    def remember(self, data: bytes, catalog: Catalog) -> None:
        """Keep the catalog that was just encoded to these bytes."""
        self._known = {sha256_digest(data): catalog}

    def still_ours(self) -> None:
        """The fence: raise unless nobody took over since we got the lock.

        Raises:
            Conflict: E_FENCED.
        """
        with directory(self.root, OWN) as own:
            try:
                same = os.stat("lock", dir_fd=own, follow_symlinks=False).st_ino == self.lock_inode
            except FileNotFoundError:
                same = False
        if not same or self.ledger.stands(self.seq + 1):
            raise Conflict.of(
                "E_FENCED",
                "another run took over this store while we were paused",
                path=f"{self.where}/{LEDGER}",
                fix="plan again; never remove the lock of a store",
            )

    def catalog_is(self, digest: str | None) -> Callable[[], None]:
        """A check, made right before a rename, that the catalog's bytes still have this digest."""

        def check() -> None:
            self.still_ours()
            data = read_file(self.root, CATALOG_FILE, CATALOG_LIMIT, self.where)
            if (None if data is None else sha256_digest(data)) != digest:
                raise Conflict.of(
                    "E_CONFLICT",
                    "a writer that takes no lock changed the catalog at the same time",
                    path=f"{self.where}/{CATALOG_FILE}",
                    fix="stop it, then plan again",
                )

        return check

    def slots(self, address: Address, heads: Heads, wanted: frozenset[str]) -> Slots:
        """The live slots of an address; the artifact is read only if it is among the wanted ones."""
        if address.kind == ALIAS:
            alias = heads.aliases().get(address.key)
            return alias_slots(alias, heads.catalog_hash) if alias else NOTHING
        dataset = DatasetId.parse(address.key)
        entry = heads.catalog.find(dataset)
        slots: dict[str, Value] = entry_slots(entry) if entry else {}
        if ARTIFACT in wanted:
            digest = self.artifact(dataset)
            if digest is not None:
                slots[ARTIFACT] = digest
        return slots

    def artifact(self, dataset: DatasetId) -> str | None:
        """The digest of a completely published dataset's manifest."""
        handle = open_dir(self.root, dataset_path(dataset), self.where)
        if handle is None:
            return None
        try:
            seen = observe_artifact(handle, f"{self.where}/{dataset_path(dataset)}")
        finally:
            os.close(handle)
        return None if seen.problems else seen.digest

    def clean(self) -> None:
        """Sweep after a refusal, as far as the store lets us and only while it is ours."""
        with contextlib.suppress(OSError, Conflict):
            self.still_ours()
            self.sweep()

    def sweep(self, *, keep: int | None = None) -> None:
        """Remove what dead processes left in `tmp` and in the staging of closed runs.

        Args:
            keep: the number of the run whose staging stays.
        """
        with directory(self.root, STAGING) as staging, directory(self.root, TMP) as tmp:
            dead = [name for name in os.listdir(staging) if name != f"{keep or 0:020d}"]
            for name in dead:
                # Moved first: a staging directory that stands is complete, however we are killed.
                failpoint("fs.sweep")
                os.rename(name, unique_name(), src_dir_fd=staging, dst_dir_fd=tmp)
            if dead:
                os.fsync(tmp)
                os.fsync(staging)  # before anything in it goes, or a power loss brings it back in part
            for name in os.listdir(tmp):
                remove_tree(tmp, name)


def litter(root: int) -> bool:
    """Whether a dead process left something behind; cheap, and takes no lock."""
    for area in (TMP, STAGING):
        handle = open_dir(root, area)
        if handle is not None:
            try:
                if os.listdir(handle):
                    return True
            finally:
                os.close(handle)
    return False


def closed_store(where: str) -> Unavailable:
    """The error of a handle that was used after `close`."""
    return Unavailable.of("E_STORE_CLOSED", "the store was closed", path=where, fix="open it again")
