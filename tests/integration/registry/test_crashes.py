"""A registry that is killed, or whose disk or connection fails, at every place where that can happen.

After each fault every row still names bytes that are there and `latest` is right; the same work done again
ends in the same state as if nothing had happened, with each change recorded once.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from reconciler import failpoints
from reconciler.errors import OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.model import Outcome, Step
from reconciler.reference import DatasetName
from reconciler.stores.registry.edits import link_change, manifest_change, tag_change
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import RegistryState
from tests.integration.registry.processes import ended, start
from tests.integration.registry.world import ETH, RUN, World, content, hash_of, tagged

NEVER = 1 << 40
KILLED = -9
Place = tuple[str, int]


class Turn(NamedTuple):
    """One piece of work on a dataset and two manifests of its own."""

    number: int

    @property
    def dataset(self) -> DatasetName:
        return DatasetName("turn", f"n{self.number}")

    @property
    def old(self) -> int:
        return 2 * self.number

    @property
    def new(self) -> int:
        return 2 * self.number + 1

    def prepare(self, registry: Registry) -> None:
        tagged(registry, {"1.0.0": self.old}, dataset=self.dataset)

    def work(self, registry: Registry) -> None:
        """A new manifest, linked and tagged; the old one untagged, unlinked and deleted."""
        manifest = registry.register_manifest(content(self.new), run=RUN)
        registry.link_manifest(self.dataset, manifest, run=RUN)
        registry.set_version_tag(self.dataset, "2.0.0", manifest, run=RUN)
        registry.delete_version_tag(self.dataset, "1.0.0", run=RUN)
        registry.unlink_manifest(self.dataset, hash_of(self.old), run=RUN)
        registry.delete_manifest(hash_of(self.old), run=RUN)
        registry.delete_buried(hash_of(self.old))

    def look(self, registry: Registry) -> None:
        """Every manifest that is registered is there, and `latest` is right."""
        for number in (self.old, self.new):
            found = registry.get_manifest(hash_of(number))
            assert found in (None, content(number))
        last = registry.latest_version(self.dataset)
        assert registry.resolve_latest(self.dataset) == (last.hash if last else None)

    def look_done(self, registry: Registry) -> None:
        """Nothing is left of the old manifest, and every change of this turn was recorded once."""
        assert [(tag.version, tag.hash) for tag in registry.list_tags(self.dataset)] == [
            (version, hash_of(self.new)) for version in ("2.0.0", "latest", "dev")
        ]
        assert registry.list_links(self.dataset) == (hash_of(self.new),)
        assert registry.get_manifest(hash_of(self.new)) == content(self.new)
        assert registry.get_manifest(hash_of(self.old)) is None
        assert not registry.settings.objects.exists(hash_of(self.old))
        changes = [
            change
            for record in registry.history()
            for change in record.applied_changes()
            if str(self.dataset) in str(change.address)
        ]
        assert len(changes) == len(set(changes)) == 7


@pytest.fixture
def places(world: World) -> list[Place]:
    """Every failpoint and every time one piece of work passes it."""
    turn = Turn(0)
    with world.open() as registry:
        turn.prepare(registry)
    with world.open() as registry:
        own = [name for name in failpoints.NAMES if name.startswith("reg.")]
        failpoints.arm(",".join(f"{name}@{NEVER}=kill" for name in own))
        try:
            turn.work(registry)
            hits = failpoints.hits()
        finally:
            failpoints.arm("")
    assert set(hits) == set(own)
    return [(name, hit) for name, count in sorted(hits.items()) for hit in range(1, count + 1)]


def test_killed_anywhere_and_run_again_it_ends_as_if_nothing_had_happened(
    world: World, places: list[Place]
) -> None:
    for number, (name, hit) in enumerate(places, start=1):
        turn = Turn(number)
        with world.open() as registry:
            turn.prepare(registry)
        child = start(lambda turn=turn: turn.work(world.open()), armed=f"{name}@{hit}=kill")  # type: ignore[misc]
        assert ended(child) == KILLED, (name, hit)
        with world.open() as registry:
            turn.look(registry)
            turn.work(registry)
            turn.look_done(registry)


def test_a_fault_anywhere_is_an_error_or_is_survived_and_run_again_it_converges(
    world: World, places: list[Place]
) -> None:
    survived = set()
    for number, (name, hit) in enumerate(places, start=1):
        turn = Turn(number)
        with world.open() as registry:
            turn.prepare(registry)
        with world.open() as registry:
            failpoints.arm(f"{name}@{hit}=EIO")
            try:
                turn.work(registry)
                survived.add(name)
            except Unavailable:
                pass
            finally:
                failpoints.arm("")
        with world.open() as registry:
            turn.look(registry)
            turn.work(registry)
            turn.look_done(registry)
    assert survived == {"reg.commit.answer"}


def test_a_commit_whose_answer_is_lost_is_found_in_the_ledger(world: World) -> None:
    with world.open() as registry:
        registry.register_manifest(content(1), run=RUN)
        failpoints.arm("reg.commit.answer=EIO")
        try:
            written = registry.link_manifest(ETH, hash_of(1), run=RUN)
        finally:
            failpoints.arm("")
        assert written.seq == 2
        assert registry.resolve_dev(ETH) == hash_of(1)
        assert [record.seq for record in registry.history()] == [1, 2]


def test_a_lost_answer_that_nobody_can_look_up_is_unknown_and_says_so(world: World) -> None:
    with world.open() as registry:
        registry.register_manifest(content(1), run=RUN)
        step = Step(
            id="transaction",
            store="registry",
            unit="registry",
            changes=(link_change("registry", ETH, hash_of(1), held=False, holds=True),),
        )
        failpoints.arm("reg.commit.answer=EIO,reg.begin@2=EIO")
        try:
            (result,) = registry.commit([step], RUN)
        finally:
            failpoints.arm("")
        assert (result.outcome, [problem.code for problem in result.problems]) == (
            Outcome.UNKNOWN,
            ["E_OUTCOME_UNKNOWN"],
        )
        failpoints.arm("reg.commit.answer=EIO,reg.begin@2=EIO")
        try:
            with pytest.raises(OutcomeUnknown):
                registry.set_dev_tag(ETH, hash_of(1), run=RUN)
        finally:
            failpoints.arm("")
        assert registry.resolve_dev(ETH) == hash_of(1)


def test_planned_steps_are_done_whole_or_not_at_all(world: World) -> None:
    changes = (
        manifest_change("registry", hash_of(1), held=False, holds=True),
        link_change("registry", ETH, hash_of(1), held=False, holds=True),
        tag_change("registry", ETH, "1.0.0", None, hash_of(1)),
        tag_change("registry", ETH, "dev", None, hash_of(1)),
        tag_change("registry", ETH, "latest", None, hash_of(1)),
    )
    step = Step(id="transaction", store="registry", unit="registry", changes=changes)
    with world.open() as registry:
        failpoints.arm("reg.commit.before=EIO")
        try:
            with pytest.raises(Unavailable):
                registry.commit([step], RUN, contents=lambda _: content(1))
        finally:
            failpoints.arm("")
        assert (registry.state(), list(registry.history())) == (RegistryState((), (), ()), [])
        (result,) = registry.commit([step], RUN, contents=lambda _: content(1))
        assert (result.outcome, result.receipt) == (Outcome.APPLIED, "1")
        assert [tag.version for tag in registry.list_tags(ETH)] == ["1.0.0", "latest", "dev"]


def test_a_broken_object_is_found_on_reading_and_never_overwritten(world: World, tmp_path: Path) -> None:
    with world.open() as registry:
        registry.register_manifest(content(1), run=RUN)
        file = tmp_path / "0/manifests" / hash_of(1)
        file.write_bytes(b"broken")
        for attempt in (
            lambda: registry.get_manifest(hash_of(1)),
            lambda: registry.register_manifest(content(1), run=RUN),
        ):
            with pytest.raises(ReconcilerError) as caught:
                attempt()
            assert (caught.value.code, int(caught.value.exit_code)) == ("E_MANIFEST_HASH", 8)
        assert file.read_bytes() == b"broken"
        file.unlink()
        with pytest.raises(ReconcilerError) as caught:
            registry.get_manifest(hash_of(1))
        assert (caught.value.code, int(caught.value.exit_code)) == ("E_MANIFEST_OBJECT", 8)
        registry.register_manifest(content(1), run=RUN)
        assert registry.get_manifest(hash_of(1)) == content(1)
