"""Kill, EIO and ENOSPC at every failpoint of every operation, then the same command again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler import failpoints
from reconciler.canonical import sha256_hex
from reconciler.errors import OutcomeUnknown, ReconcilerError
from reconciler.stores.serving.contents import dataset_path
from tests.integration.serving_store.world import (
    H110,
    H111,
    HUMAN,
    M110,
    Wish,
    World,
    assert_readable,
    litter,
    tree,
)

NEVER = 1 << 40
LEDGER = ".reconciler/ledger"
QUARANTINE = ".reconciler/quarantine"
LOCK = (".reconciler/lock",)
"""The lock's text names its last holder; only the system knows whether it is held."""


@dataclass(frozen=True, slots=True)
class Case:
    """One operation: the state it starts from, and what is wished then."""

    name: str
    before: tuple[Wish, ...]
    wish: Wish
    prepare: Callable[[World], None] = lambda _world: None


def with_digest_file(world: World) -> None:
    """The operator of this store keeps a catalog.sha256 beside the catalog."""
    catalog = json.loads((world.root / "catalog.json").read_bytes())
    ordered = {
        "model_version": "v1",
        "datasets": [
            {
                "dataset": {part: entry["dataset"][part] for part in ("release", "species", "assembly")},
                "manifest_path": entry["manifest_path"],
                "sqlite_path": entry["sqlite_path"],
            }
            for entry in catalog["datasets"]
        ],
    }
    text = json.dumps(ordered, separators=(",", ":"))
    (world.root / "catalog.sha256").write_text(f"{sha256_hex(text.encode())}  catalog.json\n")


def half_published(world: World) -> None:
    """The reference's publisher was killed after its first rename."""
    derived = world.directory(H111) / "derived"
    derived.mkdir(parents=True)
    source = world.base / "builds" / dataset_path(H111) / "derived" / "manifest.json"
    shutil.copy(source, derived / "manifest.json")
    (derived / "gene_summary.sqlite.tmp").write_bytes(b"half")


CASES = (
    Case("publish_promote_alias", (), Wish(listed=(H110,), latest=H110)),
    Case(
        "second_release_moves_the_alias",
        (Wish(listed=(H110,), latest=H110, lines={HUMAN: H110}),),
        Wish(listed=(H110, H111, M110), latest=H111, lines={HUMAN: H111}),
        with_digest_file,
    ),
    Case(
        "roll_back_after_moving_the_alias",
        (Wish(listed=(H110, H111), latest=H110),),
        Wish(listed=(H111,), removed=(H110,), latest=H111),
    ),
    Case(
        "roll_back_after_dropping_the_alias",
        (Wish(listed=(H110, H111), latest=H110, lines={HUMAN: H110}),),
        Wish(listed=(H111,), removed=(H110,), no_latest=("latest", HUMAN)),
    ),
    Case(
        "half_published_is_completed",
        (Wish(listed=(H110,), latest=H110),),
        Wish(listed=(H110, H111), latest=H110),
        half_published,
    ),
)


def in_child(work: Callable[[], object], armed: str) -> int:
    """Run in a forked process with failpoints armed; its wait status."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            failpoints.arm(armed)
            work()
            status = 0
        except ReconcilerError:
            status = 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def started(case: Case, base: Path) -> World:
    world = World(base).building(H110, H111, M110)
    for wish in case.before:
        world.reconcile(wish)
    case.prepare(world)
    return world


def copied(world: World, base: Path) -> World:
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(world.base, base, copy_function=shutil.copy2)
    return world.moved_to(base)


def hits(world: World, wish: Wish) -> dict[str, int]:
    """How often one uninterrupted run passes each failpoint."""
    failpoints.arm(",".join(f"{name}@{NEVER}=kill" for name in failpoints.NAMES))
    try:
        world.reconcile(wish)
        return failpoints.hits()
    finally:
        failpoints.arm("")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_killed_anywhere_and_run_again_gives_the_bytes_of_an_uninterrupted_run(
    case: Case, tmp_path: Path
) -> None:
    start = started(case, tmp_path / "start")
    whole = copied(start, tmp_path / "whole")
    passed = hits(whole, case.wish)
    expected = tree(whole.root, without=LOCK)
    assert litter(whole.root) == []
    for name, count in sorted(passed.items()):
        for hit in range(1, count + 1):
            world = copied(start, tmp_path / "run")
            status = in_child(lambda w=world: w.reconcile(case.wish), f"{name}@{hit}=kill")  # type: ignore[misc]
            assert os.WTERMSIG(status) == signal.SIGKILL, (name, hit)
            assert_readable(world.root)
            world.reconcile(case.wish)
            assert tree(world.root, without=LOCK) == expected, (name, hit)
            assert litter(world.root) == [], (name, hit)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_killed_again_while_recovering_still_converges(case: Case, tmp_path: Path) -> None:
    start = started(case, tmp_path / "start")
    whole = copied(start, tmp_path / "whole")
    whole.reconcile(case.wish)
    expected = tree(whole.root, without=LOCK)
    for first in ("fs.journal.after", "fs.catalog.rename.after", "fs.close.before"):
        broken = copied(start, tmp_path / "broken")
        in_child(lambda w=broken: w.reconcile(case.wish), f"{first}=kill")  # type: ignore[misc]
        for second in sorted(hits(copied(broken, tmp_path / "trace"), case.wish)):
            world = copied(broken, tmp_path / "run")
            in_child(lambda w=world: w.reconcile(case.wish), f"{second}=kill")  # type: ignore[misc]
            assert_readable(world.root)
            world.reconcile(case.wish)
            assert tree(world.root, without=LOCK) == expected, (first, second)
            assert litter(world.root) == [], (first, second)


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_fault_anywhere_is_told_truthfully_and_the_next_run_converges(
    case: Case, fault: str, tmp_path: Path
) -> None:
    start = started(case, tmp_path / "start")
    untouched = tree(start.root, without=LOCK)
    whole = copied(start, tmp_path / "whole")
    passed = hits(whole, case.wish)
    expected = tree(whole.root, without=(*LOCK, LEDGER, QUARANTINE))
    for name, count in sorted(passed.items()):
        for hit in {1, count}:
            world = copied(start, tmp_path / "run")
            failpoints.arm(f"{name}@{hit}={fault}")
            try:
                results = world.reconcile(case.wish)
                raised = None
            except ReconcilerError as error:
                results, raised = (), error
            finally:
                failpoints.arm("")
            assert_readable(world.root)
            told = {result.outcome.value for result in results}
            if raised is not None and not isinstance(raised, OutcomeUnknown):
                assert tree(world.root, without=LOCK) == untouched, (name, hit)
            assert told <= {"applied", "failed", "unknown", "not started"}, (name, hit)
            world.reconcile(case.wish)
            assert tree(world.root, without=(*LOCK, LEDGER, QUARANTINE)) == expected, (name, hit)
            assert litter(world.root) == [], (name, hit)
            assert world.steps(case.wish) == []


def test_the_list_of_failpoints_is_what_the_source_passes() -> None:
    import re  # noqa: PLC0415

    import reconciler  # noqa: PLC0415

    package = Path(reconciler.__file__).parent
    name_of = re.compile(r'"((?:arc|bucket|fs|reg|res|pds)\.[a-z_]+(?:\.[a-z_]+)*)"')
    used = {
        name
        for path in package.rglob("*.py")
        if path.name != "failpoints.py"
        for name in name_of.findall(path.read_text("utf-8"))
    }
    assert used == set(failpoints.NAMES)


def test_every_failpoint_of_the_store_is_passed_by_some_case(tmp_path: Path) -> None:
    passed: set[str] = set()
    for case in CASES:
        passed |= set(hits(started(case, tmp_path / case.name), case.wish))
    # Those of a rebuild, of a collection and of a packet have tests beside theirs.
    own = {name for name in failpoints.NAMES if name.startswith("fs.") and not name.startswith("fs.gc.")}
    beside = {name for name in own if name.startswith("fs.packet.")}
    assert passed == own - {"fs.rebuild.aside"} - beside
