"""Flipped bytes in a database: always words, never a traceback, and nothing beside the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.stores.serving.artifact_db import UnreadableDatabase, database, database_problems, row_counts
from reconciler.stores.serving.contents import ARTIFACT, dataset_path
from reconciler.stores.serving.signature import signature_forms
from reconciler.testing.samples import minimal_dataset
from tests.unit.serving.examples import HUMAN


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database that keeps the contract."""
    root = tmp_path_factory.mktemp("flipped")
    minimal_dataset(root, HUMAN)
    return root / dataset_path(HUMAN) / ARTIFACT


@given(flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=30))
def test_any_flipped_bytes_are_judged_in_words(artifact: Path, flips: list[tuple[int, int]]) -> None:
    original = artifact.read_bytes()
    used = [index for index, byte in enumerate(original) if byte]
    data = bytearray(original)
    for place, value in flips:
        data[used[place % len(used)]] = value
    hostile = artifact.with_name("hostile.sqlite")
    hostile.write_bytes(data)
    with hostile.open("rb") as stream:
        handle = stream.fileno()
        assert all(problem.message for problem in database_problems(handle, "here", HUMAN))
        assert deep(handle) in {"", "E_SQLITE", "E_SQLITE_MAGIC"}
    assert not list(hostile.parent.glob("hostile.sqlite?*"))


def deep(handle: int) -> str:
    """The code with which the rows of a database are refused; empty if they could be read."""
    try:
        with database(handle, "here") as connection:
            row_counts(connection)
            signature_forms(connection)
    except UnreadableDatabase as error:
        return error.problem.code
    return ""
