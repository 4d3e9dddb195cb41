"""What the caller left of the standard streams, and what an unset variable makes of an option."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.command_line import CLEAN
from tests.integration.gitops.conftest import Repository

APPLIED = [
    "110/homo_sapiens/GRCh38",
    "110/mus_musculus/GRCm39",
    "111/homo_sapiens/GRCh38",
    "111/mus_musculus/GRCm39",
]
FULL = Path("/dev/full")


def start(repository: Repository, redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell redirects it."""
    command = 'exec "$0" -m reconciler "$@" ' + redirection
    return subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, *words],
        cwd=repository.root,
        env=CLEAN,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@contextmanager
def unread_pipe() -> Iterator[int]:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_nobody_listening_does_not_stop_an_apply(published: Repository, name: str) -> None:
    words = [sys.executable, "-m", "reconciler", "apply", "--yes"]
    with unread_pipe() as pipe:
        kept = subprocess.PIPE
        done = subprocess.run(
            words,
            cwd=published.root,
            env=CLEAN,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=pipe if name == "stdout" else kept,
            stderr=pipe if name == "stderr" else kept,
            preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN),
        )
    assert done.returncode == 0
    assert published.catalog() == APPLIED
    assert published.ok("plan", "--detailed-exitcode").out.startswith("nothing to do")


@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", ">&-", "2>&-"])
def test_closed_streams_change_nothing_of_what_a_command_does(
    published: Repository, redirection: str
) -> None:
    assert start(published, redirection, "apply", "--yes").returncode == 0
    assert published.catalog() == APPLIED


def test_notes_never_stand_among_the_answer_of_a_command_without_standard_error(
    published: Repository,
) -> None:
    ran = start(published, "2>&-", "plan", "--output", "markdown")
    assert not ran.stdout.startswith("warning")
    assert start(published, "2>&-", "plan", "--ref", "gone").stdout == ""


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_an_answer_that_cannot_be_written_is_an_io_error_after_the_work(published: Repository) -> None:
    ran = start(published, f">{FULL}", "apply", "--yes")
    assert ran.returncode == 10
    assert "E_IO standard output: the answer could not be written: No space left on device" in ran.stderr
    assert published.catalog() == APPLIED


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_an_error_that_cannot_be_told_keeps_its_exit_code(repository: Repository) -> None:
    assert start(repository, f"2>{FULL}", "validate", "--ref", "gone").returncode == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_lacks_a_character_shows_its_escape(applied: Repository, encoding: str) -> None:
    ran = applied.ok("dataset", "list", "--store", "serving", PYTHONIOENCODING=encoding)
    assert "published sha256:6f36f030686d\\u2026, in catalog" in ran.out
    assert applied.ok("apply", "--help", PYTHONIOENCODING=encoding).out.startswith("usage:")


def test_empty_options_never_stand_for_a_default(published: Repository) -> None:
    assert published.run("plan", "--ref", "").err.startswith("E_REF_CHARS --ref")
    assert published.run("plan", "--repo", "").err.startswith("E_GIT_REPO --repo")
    ran = published.run("apply", "--yes", "--expect", "")
    assert ran.code == 5
    assert not (published.root / "var/serving/catalog.json").exists()


@pytest.mark.parametrize("seconds", ["99999999999999999999999", "-1", "", "1e9", "١٢"])
def test_a_source_date_that_is_no_number_of_seconds_is_refused(published: Repository, seconds: str) -> None:
    ran = published.run("plan", SOURCE_DATE_EPOCH=seconds)
    assert (ran.code, ran.err.split(":")[0]) == (3, "E_ENV")


def test_completion_answers_as_json_too(repository: Repository) -> None:
    document = json.loads(repository.ok("completion", "bash", "--output", "json").out)
    assert document["schema"] == "reconciler/completion/v1"
    assert "latest-alias-update" in document["script"]


@pytest.mark.parametrize(
    "words",
    [
        ("apply", "--yes"),
        ("catalog", "promote", "--store", "serving", "110/mus_musculus/GRCm39"),
        (
            "dataset",
            "publish",
            "--store",
            "serving",
            "--source-root",
            "examples/builds/mouse-110",
            "110/mus_musculus/GRCm39",
        ),
    ],
)
def test_the_same_command_sweeps_what_it_left_when_it_was_killed_after_its_last_write(
    published: Repository, words: tuple[str, ...]
) -> None:
    if words[1] == "publish":
        lost = published.root / "var/serving/release=110/species=mus_musculus/assembly=GRCm39/derived/qc.json"
        lost.unlink()
    killed = published.run(*words, RECONCILER_FAILPOINTS="fs.close.after=kill")
    assert killed.code == -signal.SIGKILL
    assert [path for path in published.store() if path.startswith(".reconciler/tmp/")] != []
    published.ok(*words)
    assert [path for path in published.store() if path.startswith(".reconciler/tmp/")] == []


def test_an_address_with_a_password_in_it_is_not_shown(repository: Repository) -> None:
    repository.edit("desired/stores.yaml", "file:var/serving", '"{env: ROOT}"')
    stores = repository.root / "desired/stores.yaml"
    stores.write_text(stores.read_text().replace('"{env: ROOT}"', "{env: ROOT}"))
    repository.commit("Take the root from a variable")
    ran = repository.run("plan", ROOT="https://ada:lovelace@data.example.org/s?X-Amz-Signature=0123")
    assert (ran.code, ran.err.split()[0]) == (3, "E_STORE_ROOT")
    assert "got https://\\u2026;" in ran.err
    assert "lovelace" not in ran.err
    assert "0123" not in ran.err


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (("../x/y",), "E_ID_PATH ID: "),
        (
            ("--release", "110", "--species", "data²", "--assembly", "x"),
            "E_ID_CHARS --release --species --assembly: ",
        ),
    ],
)
def test_an_id_on_the_command_line_is_refused_with_its_place(
    repository: Repository, words: tuple[str, ...], start: str
) -> None:
    ran = repository.run("catalog", "promote", "--store", "serving", *words)
    assert (ran.code, ran.err[: len(start)]) == (3, start)
