"""Reads below a directory descriptor: absent is ENOENT alone, and no link is followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import InvalidInput, LimitExceeded, Unavailable
from reconciler.stores.serving.files import (
    FileHash,
    file_stat,
    is_plain_path,
    open_dir,
    read_file,
    sha256_file,
)
from tests.unit.serving.examples import descriptor


def test_a_file_is_read_hashed_and_measured(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"abc")
    with descriptor(tmp_path) as root:
        assert read_file(root, "a/f") == b"abc"
        assert sha256_file(root, "a/f") == FileHash(
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3
        )
        found = file_stat(root, "a/f")
    assert found is not None
    assert found.st_size == 3


@pytest.mark.parametrize("path", ["f", "a/f", "a/b/f"])
def test_only_what_does_not_exist_is_absent(tmp_path: Path, path: str) -> None:
    (tmp_path / "a").mkdir()
    with descriptor(tmp_path) as root:
        assert read_file(root, path) is None
        assert sha256_file(root, path) is None
        assert open_dir(root, path) is None


@pytest.mark.parametrize("path", ["link", "dir/f", "a/link", "dangling"])
def test_a_link_is_refused_wherever_it_points(tmp_path: Path, path: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a/f")
    (tmp_path / "dir").symlink_to("a")
    (tmp_path / "a" / "link").symlink_to("f")
    (tmp_path / "dangling").symlink_to("nowhere")
    with descriptor(tmp_path) as root, pytest.raises(Unavailable) as refused:
        read_file(root, path, where="store")
    assert (refused.value.code, refused.value.exit_code) == ("E_STORE_LINK", 10)
    assert refused.value.problems[0].path.startswith("store/")


def test_a_file_in_a_directorys_place_is_not_absent(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with descriptor(tmp_path) as root, pytest.raises(Unavailable) as refused:
        read_file(root, "a/f")
    assert refused.value.code == "E_STORE_FILE"


def test_a_directory_or_a_fifo_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "p")
    with descriptor(tmp_path) as root:
        for name in ("d", "p"):
            with pytest.raises(Unavailable) as refused:
                read_file(root, name)
            assert refused.value.code == "E_STORE_FILE"


@pytest.mark.parametrize("path", ["../f", "/etc/passwd", "a/../../f", "a//f", "./f", "", "a\\f", "f\0", "a/"])
def test_a_path_that_could_leave_is_refused(tmp_path: Path, path: str) -> None:
    assert not is_plain_path(path)
    with descriptor(tmp_path) as root, pytest.raises(InvalidInput) as refused:
        read_file(root, path)
    assert refused.value.code == "E_PATH"


def test_a_file_beyond_the_limit_is_an_error_not_a_short_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abcd")
    with descriptor(tmp_path) as root:
        assert read_file(root, "f", 4) == b"abcd"
        with pytest.raises(LimitExceeded) as refused:
            read_file(root, "f", 3)
    assert refused.value.code == "E_FILE_SIZE"


def answer_of_an_unprivileged_reader(root: int) -> str:
    """What a reader without the superuser's rights is told: the code, or what it read."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            said = repr(read_file(root, "f"))
        except Unavailable as refused:
            said = refused.code
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def test_what_may_not_be_read_is_not_absent(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "f").write_bytes(b"abc")
    with descriptor(tmp_path) as root:
        (tmp_path / "f").chmod(0o644)
        assert answer_of_an_unprivileged_reader(root) == "b'abc'"
        (tmp_path / "f").chmod(0)
        assert answer_of_an_unprivileged_reader(root) == "E_IO"


def test_reading_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"abc")
    (tmp_path / "a" / "l").symlink_to("f")
    with descriptor(tmp_path) as root:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for path in ("a/f", "a/x", "x/f", "a/l", "a", "a/f/x"):
            try:
                read_file(root, path)
                sha256_file(root, path)
            except Unavailable:
                continue
        assert len(list(Path("/proc/self/fd").iterdir())) == before
