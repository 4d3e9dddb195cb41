"""Many real processes on one registry: nothing is lost, and `latest` is right at every instant.

The reference's own races have a test each (contract section 9, W2 to W5), on every engine.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from reconciler.errors import Conflict, Denied, InvalidInput
from reconciler.reference import DatasetName, parse_version
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import DevMove, Expected, RegistryState
from tests.integration.registry.processes import ended, resume, start, stopped, together
from tests.integration.registry.world import ETH, RUN, World, content, hash_of, linked, tagged


def highest(state: RegistryState, dataset: DatasetName = ETH) -> tuple[str | None, str | None]:
    """The manifest of the highest stable version, and that of `latest`, as one reading sees them."""
    tags = {version: manifest for *of, version, manifest, _ in state.tags if tuple(of) == dataset}
    stable = [version for version in tags if version not in ("latest", "dev") and "-" not in version]
    best = max(stable, key=lambda version: parse_version(version).precedence, default=None)
    return (tags[best] if best else None, tags.get("latest"))


def tag_in(world: World, dataset: DatasetName, version: str, number: int) -> None:
    world.open().set_version_tag(dataset, version, hash_of(number), run=RUN)


@pytest.mark.parametrize("already", [[], ["1.0.0"]], ids=["no latest yet", "latest is 1.0.0"])
def test_of_two_tags_at_once_the_higher_one_is_latest(world: World, already: list[str]) -> None:
    """W2 and W3: the reference ends with the lower version."""
    with world.open() as registry:
        for turn in range(6):
            dataset = DatasetName("race", f"turn{turn}")
            linked(registry, 1, 2, 3, dataset=dataset)
            tagged(registry, dict.fromkeys(already, 1), dataset=dataset)
            pair = [("2.0.0", 2), ("1.5.0", 3)]
            works = [partial(tag_in, world, dataset, *one) for one in (pair if turn % 2 else pair[::-1])]
            assert together(works) == [0, 0]
            assert registry.resolve_latest(dataset) == hash_of(2)


def test_a_link_and_a_delete_at_once_never_both_succeed(world: World, tmp_path: Path) -> None:
    """W5: the reference's delete takes a link with it that was committed meanwhile."""
    with world.open() as registry:
        registry.migrate()

    def link(number: int) -> None:
        with contextlib.suppress(InvalidInput):
            world.open().link_manifest(ETH, hash_of(number), run=RUN)
            (tmp_path / f"linked{number}").touch()

    def delete(number: int) -> None:
        with contextlib.suppress(Denied):
            world.open().delete_manifest(hash_of(number), run=RUN)
            (tmp_path / f"deleted{number}").touch()

    for number in range(8):
        with world.open() as registry:
            registry.register_manifest(content(number), run=RUN)
        works: list[Callable[[], None]] = [partial(link, number), partial(delete, number)]
        assert together(works if number % 2 else works[::-1]) == [0, 0]
        with world.open() as registry:
            was_linked, was_deleted = (
                (tmp_path / f"{word}{number}").exists() for word in ("linked", "deleted")
            )
            assert was_linked != was_deleted
            assert registry.is_manifest_linked(ETH, hash_of(number)) == was_linked
            assert registry.get_manifest(hash_of(number)) == (content(number) if was_linked else None)


@contextlib.contextmanager
def foreign(world: World, sql: str) -> Iterator[None]:
    """A statement of another program that takes no lock of ours, committed when the block ends."""
    if world.engine == "postgres":
        with psycopg.connect(world.location) as server:
            server.execute(sql.encode())
            yield
        return
    with contextlib.closing(sqlite3.connect(world.location)) as file, file:
        file.execute(sql)
        yield


def test_a_link_that_another_program_makes_without_our_lock_is_not_erased(world: World) -> None:
    with world.open(timeout=0.2) as registry:
        registry.register_manifest(content(1), run=RUN)
        with foreign(world, f"INSERT INTO dataset_manifests VALUES ('a', 'b', '{hash_of(1)}', 0)"):  # noqa: S608
            with pytest.raises(Conflict) as caught:
                registry.delete_manifest(hash_of(1), run=RUN)
            assert caught.value.code == "E_LOCKED"
        with pytest.raises(Denied):
            registry.delete_manifest(hash_of(1), run=RUN)
        assert registry.get_manifest(hash_of(1)) == content(1)


def test_the_revision_sees_what_another_program_changed(world: World) -> None:
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1, "2.0.0": 2})
        before = registry.revision()
        with foreign(world, f"UPDATE dataset_tags SET hash = '{hash_of(1)}' WHERE version = '2.0.0'"):  # noqa: S608
            pass
        assert registry.revision() != before


@pytest.mark.parametrize(("writers", "each"), [(2, 100), (8, 100), (32, 100)])
def test_no_tag_of_many_writers_is_lost_and_latest_is_right_at_every_instant(
    world: World, writers: int, each: int, tmp_path: Path
) -> None:
    with world.open() as registry:
        linked(registry, *range(writers))
    done = tmp_path / "done"

    def write(writer: int) -> None:
        with world.open(timeout=60) as registry:
            for turn in range(each):
                number = (writer + turn) % writers
                registry.set_version_tag(ETH, f"{turn}.{writer}.0", hash_of(number), run=RUN)

    def watch() -> None:
        with world.open(timeout=60) as registry:
            while not done.exists():
                best, named = highest(registry.state())
                assert best == named

    watcher = start(watch)
    assert together([partial(write, writer) for writer in range(writers)]) == [0] * writers
    done.touch()
    assert ended(watcher) == 0
    with world.open() as registry:
        assert {tag.version: tag.hash for tag in registry.list_version_tags(ETH)} == {
            f"{turn}.{writer}.0": hash_of((writer + turn) % writers)
            for writer in range(writers)
            for turn in range(each)
        }
        last = registry.latest_version(ETH)
        assert last is not None
        assert last.version == f"{each - 1}.{writers - 1}.0"
        assert registry.resolve_latest(ETH) == last.hash
        records = list(registry.history())
        assert len(records) == 2 * writers + writers * each


def test_of_many_writers_that_expect_no_tag_one_wins(world: World, tmp_path: Path) -> None:
    with world.open() as registry:
        linked(registry, *range(8))

    def claim(number: int) -> None:
        with world.open(timeout=60) as registry, contextlib.suppress(Conflict):
            registry.set_version_tag(ETH, "1.0.0", hash_of(number), run=RUN, expect=Expected.NOTHING)
            (tmp_path / f"won{number}").touch()

    assert together([partial(claim, number) for number in range(8)]) == [0] * 8
    (winner,) = tmp_path.glob("won*")
    with world.open() as registry:
        assert registry.resolve_version(ETH, "1.0.0") == hash_of(int(winner.name[3:]))


def test_processes_that_make_the_same_registry_make_it_once(world: World) -> None:
    def register(number: int) -> None:
        with world.open(timeout=60) as registry:
            registry.register_manifest(content(number), run=RUN)

    assert together([partial(register, number) for number in range(4)]) == [0] * 4
    with world.open(create=False) as registry:
        assert len(registry.list_manifests()) == 4
        assert [record.seq for record in registry.history()] == [1, 2, 3, 4]


def collect(registry: Registry, number: int) -> None:
    registry.collect_manifests([hash_of(number)], grace=0, run=RUN)
    registry.delete_buried(hash_of(number))


def test_bytes_that_are_collected_between_put_and_commit_are_put_again(world: World) -> None:
    with world.open() as registry:
        registry.register_manifest(content(1), run=RUN)

    def register() -> None:
        with world.open() as registry:
            registry.register_manifest(content(1), run=RUN)

    child = start(register, armed="reg.begin=stop")
    stopped(child)  # its bytes are put (they were there), its row is not
    with world.open() as registry:
        collect(registry, 1)
        assert not registry.settings.objects.exists(hash_of(1))
        resume(child)
        assert ended(child) == 0
        assert registry.get_manifest(hash_of(1)) == content(1)
        assert registry.list_tombstones() == ()


def test_a_registration_digs_up_what_is_buried_and_not_yet_deleted(world: World) -> None:
    with world.open() as registry:
        registry.register_manifest(content(1), run=RUN)
        registry.collect_manifests([hash_of(1)], grace=0, run=RUN)
        assert [tombstone.hash for tombstone in registry.list_tombstones()] == [hash_of(1)]
        registry.register_manifest(content(1), run=RUN)
        assert registry.delete_buried(hash_of(1)) is False
        assert registry.get_manifest(hash_of(1)) == content(1)


def test_a_registration_waits_for_a_collector_that_is_deleting_the_object(world: World) -> None:
    with world.open() as registry:
        registry.register_manifest(content(1), run=RUN)
        registry.collect_manifests([hash_of(1)], grace=0, run=RUN)

    def delete() -> None:
        with world.open() as registry:
            assert registry.delete_buried(hash_of(1))

    def register() -> None:
        with world.open() as registry:
            registry.register_manifest(content(1), run=RUN)

    collector = start(delete, armed="reg.object.delete=stop")
    stopped(collector)
    registrar = start(register)
    resume(collector)
    assert (ended(collector), ended(registrar)) == (0, 0)
    with world.open() as registry:
        assert registry.get_manifest(hash_of(1)) == content(1)


def test_what_was_linked_or_registered_again_since_is_not_collected(world: World) -> None:
    with world.open() as registry:
        linked(registry, 1)
        registry.register_manifest(content(2), run=RUN)
        written = registry.collect_manifests([hash_of(1), hash_of(2), hash_of(3)], grace=3600, run=RUN)
        assert written.seq is None
        assert len(registry.list_manifests()) == 2
        registry.collect_manifests([hash_of(1), hash_of(2)], grace=0, run=RUN)
        assert [entry.hash for entry in registry.list_manifests()] == [hash_of(1)]


def test_a_second_writer_waits_no_longer_than_it_was_told(world: World) -> None:
    with world.open() as registry:
        registry.register_manifest(content(1), run=RUN)

    def link() -> None:
        with world.open() as registry:
            registry.link_manifest(ETH, hash_of(1), run=RUN, dev=DevMove.STAYS)

    holder = start(link, armed="reg.commit.before=stop")
    stopped(holder)
    with world.open(timeout=0.1) as registry:
        with pytest.raises(Conflict) as caught:
            registry.register_manifest(content(2), run=RUN)
        assert caught.value.code == "E_LOCKED"
        assert registry.list_links(ETH) == ()
        resume(holder)
        assert ended(holder) == 0
        assert registry.list_links(ETH) == (hash_of(1),)


def test_a_handle_goes_on_after_a_fork(world: World) -> None:
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1})
        child = start(lambda: tagged(registry, {"2.0.0": 2}))
        assert ended(child) == 0
        tagged(registry, {"3.0.0": 3})
        assert [tag.version for tag in registry.list_version_tags(ETH)] == ["3.0.0", "2.0.0", "1.0.0"]
