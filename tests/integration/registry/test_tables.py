"""The tables: made by migrations, checked at opening, the same on both engines, and refused elsewhere."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine
from sqlalchemy.pool import NullPool

from reconciler.errors import Corrupt, InvalidInput, ReconcilerError, Unavailable
from reconciler.model import Address
from reconciler.stores.registry.backend_postgres import open_postgres
from reconciler.stores.registry.backend_sqlite import mounted_kind, open_sqlite
from reconciler.stores.registry.migrate import SCRIPTS
from reconciler.stores.registry.schema import metadata
from reconciler.stores.registry.session import HEAD
from tests.integration.registry.world import ETH, RUN, World, content, tagged
from tests.servers.postgres import PostgresServer


@contextlib.contextmanager
def core(world: World) -> Iterator[Connection]:
    """The tables as SQLAlchemy sees them."""
    if world.engine == "sqlite":
        engine = create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(world.location), poolclass=NullPool
        )
    else:
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(world.location), poolclass=NullPool
        )
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def execute(world: World, sql: str) -> None:
    """A statement of another program."""
    if world.engine == "sqlite":
        with contextlib.closing(sqlite3.connect(world.location)) as file, file:
            file.execute("PRAGMA foreign_keys = ON")
            file.execute(sql)
        return
    with psycopg.connect(world.location) as server:
        server.execute(sql.encode())


def without_ledger_columns(world: World) -> None:
    """The ledger's table as it was before it said when a record was written, and what it protects."""
    execute(world, "DROP INDEX ix_reconciler_ledger_protects")
    for column in ("closed_at", "protects"):
        execute(world, f"ALTER TABLE reconciler_ledger DROP COLUMN {column}")


def refused(world: World) -> str:
    """The code with which opening and migrating refuse; both do."""
    codes = set()
    with pytest.raises(ReconcilerError) as caught:
        world.open()
    codes.add((caught.value.code, int(caught.value.exit_code)))
    database = world.database(1.0)
    with pytest.raises(ReconcilerError) as caught, contextlib.closing(database):
        database.migrate()
    codes.add((caught.value.code, int(caught.value.exit_code)))
    ((code, exit_code),) = codes
    assert exit_code == 10
    return code


def test_the_migrations_make_the_tables_that_are_described(world: World) -> None:
    world.open().migrate()
    described = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        if world.engine == "postgres" or "engine" not in table.info:
            table.to_metadata(described)
    with core(world) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, described) == []


def test_the_statements_are_written_for_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_migrating_twice_changes_nothing(world: World) -> None:
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1})
        before = registry.state()
        registry.migrate()
        assert registry.state() == before


def test_tables_that_are_ahead_are_refused_and_left_alone(world: World) -> None:
    world.open().migrate()
    execute(world, "UPDATE alembic_version SET version_num = '9999'")
    assert refused(world) == "E_SCHEMA_VERSION"


def test_tables_that_are_behind_name_the_command_that_migrates_them(world: World) -> None:
    world.open().migrate()
    execute(world, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(Unavailable, match="run 'reconciler registry migrate'") as caught:
        world.open()
    assert caught.value.code == "E_SCHEMA_VERSION"


TAG = Address("registry", "tag", "ethereum/mainnet@1.0.0")
OTHER = Address("registry", "tag", "ethereum/mainnet@1.1.0")


def test_records_of_before_the_columns_count_as_written_when_they_were_added(world: World) -> None:
    protection = ((TAG, True), (OTHER, True), (OTHER, False))
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1})
        for one in protection:
            registry.commit((), replace(RUN, by="git", protection=(one,)))
        assert registry.protected() == {TAG}
        before = [record.closed_at for record in registry.history()]
    without_ledger_columns(world)
    execute(world, "UPDATE alembic_version SET version_num = '0003'")
    with contextlib.closing(world.database(20.0)) as database:
        database.migrate()
    with world.open() as registry:
        after = [record.closed_at for record in registry.history()]
        assert registry.protected() == {TAG}
    assert len(after) == len(before) > 0
    assert all(old and new and old <= new for old, new in zip(before, after, strict=True))


def test_protection_is_read_from_the_records_that_speak_of_it_alone(world: World) -> None:
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1})
        registry.commit((), replace(RUN, by="git", protection=((TAG, True), (OTHER, True))))
        registry.commit((), replace(RUN, by="git", protection=((OTHER, False),)))
        registry.commit((), replace(RUN, protection=((TAG, False),)))  # by hand nobody lifts one
    execute(world, "UPDATE reconciler_ledger SET intent = outcome WHERE seq = 1")
    with world.open() as registry:
        assert registry.protected() == {TAG}
        with pytest.raises(Corrupt):
            list(registry.history())
    execute(world, "UPDATE reconciler_ledger SET intent = outcome WHERE protects")
    with world.open() as registry, pytest.raises(Corrupt, match="record 4 of the ledger cannot be read"):
        registry.protected()


def test_a_database_of_another_program_is_never_touched(world: World) -> None:
    if world.engine == "sqlite":
        Path(world.location).parent.mkdir()
    execute(world, "CREATE TABLE tags (namespace TEXT, name TEXT)")
    assert refused(world) == "E_SCHEMA_VERSION"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM manifests",
        "DELETE FROM dataset_manifests",
        "INSERT INTO dataset_manifests VALUES ('a', 'b', 'unknown', 0)",
        "INSERT INTO dataset_tags VALUES ('a', 'b', '1.0.0', 'k', FALSE, 'unlinked', FALSE, 0, 0)",
        "UPDATE dataset_tags SET precedence = 'same'",
    ],
)
def test_the_keys_hold_for_writers_that_are_not_ours(world: World, sql: str) -> None:
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1, "2.0.0": 1})
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        execute(world, sql)


def test_times_do_not_depend_on_the_time_zone(world: World) -> None:
    """The servers of these tests run in New York; the reference is off by its offset (W19)."""
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1})
        (tag,) = registry.list_version_tags(ETH)
        assert (tag.created_at, tag.updated_at) == (RUN.time, RUN.time)
        (entry,) = registry.list_manifests()
        stored_at = registry.settings.objects.stored_at(entry.hash)
        assert stored_at is not None
        assert abs(entry.created_at - stored_at) < 60


# SQLite


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/db/registry.db", "nfs4"),
        ("/data/registry.db", "ext4"),
        ("/database/x", "overlay"),
        ("/my disk/x", "9p"),
    ],
)
def test_the_kind_of_a_file_system_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 0:1 / / rw - overlay overlay rw\n"
        "2 1 8:1 / /data rw,relatime shared:1 - ext4 /dev/sda rw\n"
        "3 2 0:9 / /data/db rw - nfs4 server:/x rw\n"
        "4 1 0:8 / /my\\040disk rw - 9p share rw\n"
    )
    assert mounted_kind(path, str(mounts)) == kind


def test_a_database_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 0:1 / / rw - nfs4 server:/x rw\n")
    with pytest.raises(Unavailable) as caught:
        open_sqlite(str(tmp_path / "registry.db"), timeout=1, mounts=str(mounts))
    assert caught.value.code == "E_STORE_FS"


@pytest.mark.parametrize(
    ("bytes_", "code"), [(b"no database at all" * 99, "E_DATABASE"), (None, "E_STORE_LINK")]
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, bytes_: bytes | None, code: str) -> None:
    path = tmp_path / "registry.db"
    if bytes_ is None:
        path.symlink_to("elsewhere.db")
    else:
        path.write_bytes(bytes_)
    with contextlib.closing(open_sqlite(str(path), timeout=1)) as database:
        with pytest.raises((Corrupt, Unavailable)) as caught:
            database.version()
        assert caught.value.code == code


# PostgreSQL


def test_a_read_only_server_is_refused_at_once(postgres: PostgresServer) -> None:
    location = f"{postgres.create_schema()}%20-cdefault_transaction_read_only%3Don"
    with contextlib.closing(open_postgres(location, timeout=1)) as database:
        with pytest.raises(Unavailable) as caught:
            database.version()
        assert caught.value.code == "E_STORE_READONLY"


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://user:canary@127.0.0.1:1/none",
        "postgresql:///none?host=/nowhere&user=u&password=canary",
    ],
)
def test_a_server_that_is_not_there_is_unreachable_and_no_secret_is_shown(location: str) -> None:
    with pytest.raises(Unavailable) as caught:
        open_postgres(location, timeout=1).version()
    assert caught.value.code == "E_UNREACHABLE"
    assert "canary" not in str(caught.value)


def test_what_is_no_location_is_refused_and_no_secret_is_shown() -> None:
    with pytest.raises(InvalidInput) as caught:
        open_postgres("postgresql://user:canary@host:port:port/x?y", timeout=1)
    assert caught.value.code == "E_STORE_LOCATION"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("another", ["postgres"], indirect=True)
def test_a_connection_that_the_server_ended_is_opened_again(world: World) -> None:
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1})
        with psycopg.connect(world.location, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'reconciler' AND pid <> pg_backend_pid()"
            )
        with pytest.raises(Unavailable) as caught:
            registry.register_manifest(content(2), run=RUN)
        assert caught.value.code == "E_UNREACHABLE"
        registry.register_manifest(content(2), run=RUN)
        assert len(registry.list_manifests()) == 2
