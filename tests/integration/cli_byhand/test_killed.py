"""A command by hand that is killed or that the disk fails, then the same command again."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from reconciler import failpoints
from reconciler.cli import main
from reconciler.model import DatasetId
from reconciler.testing.samples import Stage, minimal_dataset
from tests.integration.cli_byhand.conftest import H110, STORE, Desk

OLD, NEW = DatasetId("1", "homo_sapiens", "GRCh38"), DatasetId("2", "homo_sapiens", "GRCh38")
NEVER = 1 << 40

COMMANDS: Mapping[str, Sequence[str]] = {
    "publish": ("dataset", "publish", str(NEW), "--source-root", "builds", *STORE),
    "promote": ("catalog", "promote", str(NEW), *STORE),
    "alias": ("catalog", "latest-alias-update", str(NEW), *STORE),
    "rollback": ("catalog", "rollback", str(OLD), *STORE, "--move-alias-to", str(NEW)),
}
ORDER = list(COMMANDS)


def tree(root: Path) -> dict[str, bytes]:
    """Every file of the store but the lock, whose text names its last holder."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def prepared(root: Path, command: str) -> None:
    """A store with an old listed and aliased dataset, and every command before this one done."""
    root.mkdir()
    minimal_dataset(root / "store", OLD, stage=Stage.PUBLISHED)
    minimal_dataset(root / "builds", NEW)
    os.chdir(root)
    assert main(("catalog", "promote", str(OLD), *STORE)) == 0
    assert main(("catalog", "latest-alias-update", str(OLD), *STORE)) == 0
    earlier = ORDER[: ORDER.index(command)]
    for name in earlier:
        if not (name == "alias" and command == "rollback"):
            assert main(COMMANDS[name]) == 0


def killed_at(armed: str, words: Sequence[str]) -> bool:
    """Run a command in a forked process with a failpoint armed; whether it died there."""
    child = os.fork()
    if child == 0:
        try:
            failpoints.arm(armed)
            main(words)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("command", ORDER)
def test_a_command_killed_anywhere_and_run_again_ends_in_the_same_bytes(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1714592400")
    monkeypatch.chdir(tmp_path)
    words = COMMANDS[command]
    prepared(tmp_path / "start", command)
    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    os.chdir(tmp_path / "whole")
    failpoints.arm(",".join(f"{name}@{NEVER}=kill" for name in failpoints.NAMES))
    try:
        assert main(words) == 0
        passed = failpoints.hits()
    finally:
        failpoints.arm("")
    wanted = tree(tmp_path / "whole/store")
    assert len(passed) >= 5
    for name, times in sorted(passed.items()):
        for hit in {1, times}:
            again = tmp_path / f"{name}-{hit}"
            shutil.copytree(tmp_path / "start", again)
            os.chdir(again)
            assert killed_at(f"{name}@{hit}=kill", words), f"{name}@{hit}"
            assert main(words) == 0, f"{name}@{hit}: {capfd.readouterr().err}"
            assert tree(again / "store") == wanted, f"{name}@{hit}"
            shutil.rmtree(again)


@pytest.fixture
def disk_fails() -> Iterator[Callable[[str], None]]:
    """Arms one failpoint for the rest of the test; an empty text disarms it."""
    yield failpoints.arm
    failpoints.arm("")


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC", "EROFS"])
def test_a_write_that_fails_says_so_and_leaves_what_was_there(
    desk: Desk, fault: str, disk_fails: Callable[[str], None]
) -> None:
    desk.publish(H110)
    disk_fails(f"fs.catalog.tmp.mid={fault}")
    ran = desk.run("catalog", "promote", H110, *STORE)
    assert (ran.code, ran.error) == (10, "E_IO")
    assert "E_STEP: the outcome of step 'promote' is: failed; fix: run the same command again" in ran.err
    assert not (desk.root / "store/catalog.json").exists()
    disk_fails("")
    desk.ok("catalog", "promote", H110, *STORE)


def test_a_write_whose_outcome_is_not_known_is_finished_by_the_next(
    desk: Desk, disk_fails: Callable[[str], None]
) -> None:
    desk.publish(H110)
    disk_fails("fs.close.before=EIO")
    ran = desk.run("catalog", "promote", H110, *STORE)
    assert (ran.code, ran.error) == (7, "E_IO")
    disk_fails("")
    again = desk.ok("catalog", "promote", H110, *STORE)
    assert again.out == f"nothing to do: {H110} is already in the catalog\n"
    assert desk.records() == 2
