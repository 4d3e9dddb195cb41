"""The part of the contract suite about backups; see `reconciler.testing.contract`.

An archive is a real directory; a place to restore into is what each kind has for it: another live system,
empty, or the same one after it lost everything. So a test looks at the store first, and then loses it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.archives.directory import DirectoryArchive
from reconciler.backup.archive import chosen
from reconciler.backup.create import Created, Trust, create
from reconciler.backup.document import Backup
from reconciler.backup.restore import Brought, restore
from reconciler.backup.verify import verify
from reconciler.errors import Corrupt, InvalidInput
from reconciler.ledger import Record
from reconciler.model import Depth, Digest, Slots
from reconciler.stores.keeping import Restored, keeper
from reconciler.stores.port import Store
from reconciler.testing.contract_basics import Suite
from reconciler.testing.harness import (
    HUMAN_110,
    HUMAN_111,
    Harness,
    declared,
    declared_alias,
    live,
    reconciled,
)


class Keeping(Suite):
    """Backups: one moment of a store, complete; restored into nothing, it is the same store."""

    def test_a_store_can_be_backed_up_as_it_declares(self, harness: Harness) -> None:
        store = harness.open()
        if store.capabilities.keeps:
            assert keeper(store).restored() is None
        else:
            with pytest.raises(InvalidInput) as refused:
                keeper(store)
            assert refused.value.code == "E_STORE_KIND"

    def test_a_restored_store_is_the_store_that_was_backed_up(self, harness: Harness, tmp_path: Path) -> None:
        store = _filled(harness)
        found = _backed_up(store, tmp_path).found
        before = _everything(store)
        back = harness.replacement().open()
        _restored(back, tmp_path)
        assert _everything(back) == before
        assert keeper(back).answers().problems == ()
        assert keeper(back).restored() == Restored(found.digest, finished=True)
        keeper(back).proved()
        assert keeper(back).restored() is None

    def test_a_restored_store_goes_on_where_the_other_stood(self, harness: Harness, tmp_path: Path) -> None:
        store = _filled(harness)
        _backed_up(store, tmp_path)
        records = len(_chain(store))
        other = harness.replacement()
        back = other.open()
        _restored(back, tmp_path)
        wishes = [declared(back, dataset, other.build(dataset)) for dataset in (HUMAN_110, HUMAN_111)]
        assert reconciled(back, [*wishes, declared_alias(back, HUMAN_111)]).exit_code == 0
        assert len(_chain(back)) == records + 1

    def test_backing_up_writes_nothing_and_a_second_time_copies_nothing(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        store = _filled(harness)
        before = (harness.fingerprint(), _chain(store))
        assert _backed_up(store, tmp_path).objects > 0
        again = _backed_up(store, tmp_path)
        assert (again.objects, again.size, again.found.backup.number) == (0, 0, 2)
        assert (harness.fingerprint(), _chain(store)) == before

    def test_a_store_with_anything_in_it_is_no_place_to_restore_into(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        _backed_up(_filled(harness), tmp_path)
        other = harness.replacement()
        back = other.open()
        wish = declared(back, HUMAN_110, other.build(HUMAN_110))
        reconciled(back, [wish])
        before = (other.fingerprint(), _chain(back))
        with pytest.raises(InvalidInput) as refused:
            _restored(back, tmp_path)
        assert refused.value.code == "E_RESTORE_PLACE"
        assert (other.fingerprint(), _chain(back)) == before

    def test_a_backup_that_lacks_an_object_never_looks_like_a_store(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        store = _filled(harness)
        _backed_up(store, tmp_path)
        before = _everything(store)
        back = harness.replacement().open()
        objects = sorted((tmp_path / "archive/objects").glob("*/*"), key=lambda path: path.stat().st_size)
        data = objects[-1].read_bytes()
        objects[-1].unlink()
        with pytest.raises(Corrupt) as refused:
            _restored(back, tmp_path)
        assert refused.value.code == "E_BACKUP_OBJECT"
        objects[-1].write_bytes(data)
        _restored(back, tmp_path)
        assert _everything(back) == before


def _filled(harness: Harness) -> Store:
    """A store that holds one dataset, with the pointer at it; a kind that cannot be backed up is skipped."""
    store = harness.open()
    if not store.capabilities.keeps:
        pytest.skip("this kind of store cannot be backed up")
    wish = declared(store, HUMAN_110, harness.build(HUMAN_110))
    reconciled(store, [wish, declared_alias(store, HUMAN_110)])
    return store


def _backed_up(store: Store, directory: Path) -> Created:
    """A backup in the archive of a directory, verified."""
    draft = Backup(
        store=store.config.name,
        kind=store.config.kind,
        settings={},
        number=0,
        previous=None,
        time=1_700_000_000,
        tool="test",
        commit="",
        records=0,
        ledger=None,
        heads={},
        index=Digest(""),
        parts=0,
        size=0,
    )
    archive = DirectoryArchive(directory, "archive", lock_timeout=10)
    with archive.writing():
        created = create(archive, keeper(store), draft, Trust.STAMPS)
    assert verify(archive, created.found, time=0, progress=lambda _line: None).whole
    archive.close()
    return created


def _restored(store: Store, directory: Path) -> Brought:
    """The newest backup, brought back."""
    archive = DirectoryArchive(directory, "archive", lock_timeout=10)
    try:
        return restore(archive, chosen(archive, store.config.name, None), keeper(store), lambda _line: None)
    finally:
        archive.close()


def _everything(store: Store) -> tuple[dict[str, Slots], list[Record]]:
    """What the store holds, every byte read, and its ledger; times of files are those of the place."""
    return live(store, depth=Depth.DEEP), _chain(store)


def _chain(store: Store) -> list[Record]:
    """The whole ledger; when a file was put, by its own clock, is no part of it."""
    return [replace(record, closed_at=0) for record in store.history()]
