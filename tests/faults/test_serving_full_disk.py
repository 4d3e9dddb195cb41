"""A disk that really is full, by one page more or less each time: told as such, and the store as it was.

A small file system in memory is mounted where that is permitted (as root). Elsewhere those tests are
skipped, and a full disk is covered by the file size limit below and by the ENOSPC failpoints of
`test_serving_faults` and `test_serving_nth_call`.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest

from reconciler.cli import main
from tests.integration.cli_byhand.test_killed import COMMANDS, ORDER, prepared, tree
from tests.integration.serving_store.world import assert_readable

PAGE = 4096
DONE, UNKNOWN, UNUSABLE = 0, 7, 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here; ENOSPC failpoints and a size limit stand in for it")
    try:
        with chdir(tmp_path):  # whatever the test does, nobody stands in it when it is unmounted
            yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def only_free(disk: Path, pages: int) -> Iterator[None]:
    """Take all space but so many pages."""
    filler = disk / "filler"
    free = os.statvfs(disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - pages * PAGE))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def content(store: Path) -> dict[str, bytes]:
    """What readers see, without the history of what was tried."""
    return {name: data for name, data in tree(store).items() if not name.startswith(".reconciler/")}


class Tried:
    """One command that has just so much room, then the same command with enough."""

    def __init__(self, start: Path, place: Path, command: str) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(start, place)
        os.chdir(place)
        self.words = COMMANDS[command]
        self.store = place / "store"
        self.before = content(self.store)

    def run(self, capsys: pytest.CaptureFixture[str]) -> int:
        capsys.readouterr()
        code = int(main(self.words))
        said = capsys.readouterr().err
        assert_readable(self.store)
        assert code in {DONE, UNKNOWN, UNUSABLE}, said
        assert code == DONE or "\nE_IO " in f"\n{said}", said
        if code == UNUSABLE:
            assert content(self.store) == self.before
        return code

    def again(self, capsys: pytest.CaptureFixture[str]) -> dict[str, bytes]:
        assert main(self.words) == DONE, capsys.readouterr().err
        return content(self.store)


def whole(start: Path, place: Path, command: str) -> dict[str, bytes]:
    shutil.copytree(start, place)
    os.chdir(place)
    assert main(COMMANDS[command]) == DONE
    return content(place / "store")


@pytest.mark.parametrize("command", ORDER)
def test_a_full_disk_is_told_and_the_same_command_converges_when_there_is_room(
    command: str,
    disk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1714592400")
    monkeypatch.chdir(tmp_path)
    prepared(tmp_path / "start", command)
    expected = whole(tmp_path / "start", tmp_path / "whole", command)
    codes: list[int] = []
    while DONE not in codes:
        tried = Tried(tmp_path / "start", disk / "run", command)
        with only_free(disk, len(codes)):
            codes.append(tried.run(capsys))
        assert tried.again(capsys) == expected, codes
    assert codes[0] == UNUSABLE
    assert len(codes) > 2


@pytest.mark.parametrize("command", ORDER)
def test_a_limit_on_the_size_of_files_is_told_and_the_same_command_converges_without_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1714592400")
    monkeypatch.chdir(tmp_path)
    prepared(tmp_path / "start", command)
    expected = whole(tmp_path / "start", tmp_path / "whole", command)
    codes: list[int] = []
    for size in (0, 1, 100, 300, 600):
        tried = Tried(tmp_path / "start", tmp_path / "run", command)
        with no_file_larger_than(size):
            codes.append(tried.run(capsys))
        assert tried.again(capsys) == expected, size
    assert codes[0] == UNUSABLE
