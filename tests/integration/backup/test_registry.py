"""A registry on each engine in an archive and back, also from one engine to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.archives.directory import DirectoryArchive
from reconciler.backup.create import Created, Trust, create
from reconciler.backup.document import Backup
from reconciler.backup.restore import restore
from reconciler.backup.verify import verify
from reconciler.errors import Corrupt, InvalidInput
from reconciler.model import Depth, Digest, Place, Selection, StoreConfig
from reconciler.stores.keeping import Restored
from reconciler.stores.port import Surroundings
from reconciler.stores.registry import statements as sql
from reconciler.stores.registry.backend_sqlite import open_sqlite
from reconciler.stores.registry.objects import LocalObjects
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.schema import metadata
from reconciler.stores.registry.store import RegistryStore
from reconciler.stores.registry.values import LatestRule
from tests.integration.registry.conftest import another, postgres, world
from tests.integration.registry.world import ETH, RUN, SOLANA, World, content, hash_of, tagged

__all__ = ["another", "postgres", "world"]

DRAFT = Backup(
    store="registry",
    kind="registry",
    settings={"database": "sqlite:x"},
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
TABLES = (
    sql.KEPT_MANIFESTS,
    sql.KEPT_LINKS,
    sql.KEPT_TAGS,
    sql.KEPT_RETIRED,
    sql.KEPT_TOMBSTONES,
    sql.KEPT_RECORDS,
    sql.KEPT_PACKETS,
)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[DirectoryArchive]:
    opened = DirectoryArchive(tmp_path, "archive", lock_timeout=5)
    with opened.writing():
        yield opened
    opened.close()


def quiet(_line: str) -> None:
    """Nobody listens."""


def store(registry: Registry) -> RegistryStore:
    config = StoreConfig(name="registry", kind="registry", settings={}, place=Place("stores.yaml", 1, 1))
    return RegistryStore(config, Surroundings(root=Path()), registry)


def rows(registry: Registry) -> list[list[tuple[object, ...]]]:
    """Every row of every table, as both engines give it."""
    with registry.settings.database.reading() as session:
        return [
            [tuple(plain(value) for value in row) for row in session.rows(statement)] for statement in TABLES
        ]


def plain(value: object) -> object:
    """SQLite has numbers for truths."""
    return int(value) if isinstance(value, bool) else value


def filled(world: World) -> Registry:
    """Two datasets with versions, a yank and a removal, latest, a tombstone and a packet."""
    registry = world.open()
    tagged(registry, {"0.9.0": 1, "1.0.0": 1, "1.1.0": 2, "2.0.0-rc.1": 3})
    tagged(registry, {"0.1.0": 2}, dataset=SOLANA)
    registry.delete_version_tag(ETH, "0.9.0", run=RUN)
    registry.yank_version(ETH, "1.1.0", run=RUN, yanked=True)
    alone = registry.register_manifest(b"{}", run=RUN)
    registry.delete_manifest(alone, run=RUN)
    store(registry).keep_packet(2, b"a packet")
    return registry


def back_up(archive: DirectoryArchive, registry: Registry) -> Created:
    return create(archive, store(registry), DRAFT, Trust.STAMPS)


def test_a_restored_registry_has_every_row_and_object(
    world: World, another: Callable[[], World], archive: DirectoryArchive
) -> None:
    registry = filled(world)
    found = back_up(archive, registry).found
    assert verify(archive, found, time=0, progress=quiet).whole
    back = another().open()
    restore(archive, found, store(back), quiet)
    assert rows(back) == rows(registry)
    assert back.get_manifest(hash_of(1)) == registry.get_manifest(hash_of(1))
    seen = [list(store(one).snapshot(Selection(depth=Depth.DEEP))) for one in (back, registry)]
    assert seen[0] == seen[1]
    assert store(back).restored() == Restored(found.digest, finished=True)
    store(back).proved()
    assert store(back).restored() is None


def test_every_table_is_in_a_backup_or_known_to_be_disposable() -> None:
    kept = {word for statement in TABLES for word in statement.split() if word in metadata.tables}
    assert set(metadata.tables) - kept == {"registry_generation", "registry_restored"}


def test_a_backup_of_one_engine_comes_back_in_another(
    world: World, archive: DirectoryArchive, tmp_path: Path
) -> None:
    registry = filled(world)
    found = back_up(archive, registry).found
    scratch = World(
        "sqlite",
        "",
        lambda wait: open_sqlite(str(tmp_path / "scratch.db"), timeout=wait),
        lambda: LocalObjects(str(tmp_path / "scratch")),
    )
    with scratch.open() as back:
        restore(archive, found, store(back), quiet)
        assert rows(back) == rows(registry)


def test_an_unchanged_registry_is_backed_up_without_copying_an_object(
    world: World, archive: DirectoryArchive
) -> None:
    registry = filled(world)
    assert back_up(archive, registry).objects > 0
    again = back_up(archive, registry)
    assert (again.objects, again.size, again.found.backup.number) == (0, 0, 2)


def test_one_more_tag_copies_its_dataset_and_its_record_only(world: World, archive: DirectoryArchive) -> None:
    registry = filled(world)
    back_up(archive, registry)
    registry.set_version_tag(SOLANA, "0.2.0", hash_of(2), run=RUN)
    # The dataset's rows and their list, intent, outcome and their list, the index.
    assert back_up(archive, registry).objects == 6


def test_a_registry_that_lost_half_of_its_objects_gets_them_back(
    world: World, another: Callable[[], World], archive: DirectoryArchive
) -> None:
    registry = filled(world)
    found = back_up(archive, registry).found
    registry.settings.objects.delete(hash_of(1))
    with pytest.raises(Corrupt) as caught:
        back_up(archive, registry)
    assert [(one.code, one.got) for one in caught.value.problems] == [
        ("E_MANIFEST_OBJECT", f"sha256:{hash_of(1)}")
    ]
    back = another().open()
    restore(archive, found, store(back), quiet)
    assert rows(back) == rows(registry)
    assert [one.problems for one in store(back).snapshot(Selection(depth=Depth.DEEP)) if one.problems] == []


def test_a_lost_object_of_the_archive_is_named_and_no_row_is_written(
    world: World, another: Callable[[], World], archive: DirectoryArchive, tmp_path: Path
) -> None:
    registry = filled(world)
    found = back_up(archive, registry).found
    digest = hash_of(3)
    (tmp_path / "archive/objects" / digest[:2] / digest).unlink()
    problems = verify(archive, found, time=0, progress=quiet).problems
    assert [digest in one.message for one in problems] == [True]
    back = another().open()
    with pytest.raises(Corrupt) as caught:
        restore(archive, found, store(back), quiet)
    assert (caught.value.code, digest in str(caught.value)) == ("E_BACKUP_OBJECT", True)
    assert back.settings.database.version() is None
    back_up(archive, registry)
    restore(archive, found, store(back), quiet)
    assert rows(back) == rows(registry)


def test_a_registry_with_rows_and_objects_of_somebody_else_are_no_empty_place(
    world: World, another: Callable[[], World], archive: DirectoryArchive
) -> None:
    registry = filled(world)
    found = back_up(archive, registry).found
    full = another().open()
    tagged(full, {"1.0.0": 9})
    before = rows(full)
    with pytest.raises(InvalidInput) as caught:
        restore(archive, found, store(full), quiet)
    assert (caught.value.code, rows(full)) == ("E_RESTORE_PLACE", before)
    littered = another().open()
    littered.settings.objects.put(hash_of(77), content(77))
    with pytest.raises(InvalidInput) as caught:
        restore(archive, found, store(littered), quiet)
    assert (caught.value.code, littered.settings.database.version()) == ("E_RESTORE_PLACE", None)


def test_latest_by_another_rule_is_not_taken_for_the_same(
    world: World, another: Callable[[], World], archive: DirectoryArchive
) -> None:
    found = back_up(archive, filled(world)).found
    highest = another().open(latest=LatestRule.HIGHEST)
    with pytest.raises(Corrupt) as caught:
        restore(archive, found, store(highest), quiet)
    assert (caught.value.code, rows(highest)) == ("E_RESTORE_REBUILT", [[], [], [], [], [], [], []])


def test_a_ledger_that_was_edited_is_not_backed_up(world: World, archive: DirectoryArchive) -> None:
    registry = filled(world)
    with registry.settings.database.writing() as session:
        session.run("UPDATE reconciler_ledger SET outcome = ? WHERE seq = ?", (b"{}", 2))
    with pytest.raises(Corrupt) as caught:
        back_up(archive, registry)
    assert caught.value.code == "E_LEDGER_CHAIN"
    assert archive.names("backups/registry") == []
