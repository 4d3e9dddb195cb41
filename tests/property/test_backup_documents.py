"""What an archive holds may be bytes of anybody: reading them ends in a value or in `Corrupt`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.backup.document import (
    Backup,
    Durability,
    GroupRef,
    Part,
    Phase,
    backup_bytes,
    group_bytes,
    index_bytes,
    is_plain,
    read_backup,
    read_group,
    read_index,
)
from reconciler.backup.known import Seen, known_bytes, read_known
from reconciler.errors import Corrupt
from reconciler.model import Digest

digests = st.binary(min_size=32, max_size=32).map(lambda data: Digest(f"sha256:{data.hex()}"))
names = st.text("abcdefghij=._-0123456789", min_size=1, max_size=12).filter(lambda name: name.strip("."))
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
sizes = st.integers(0, 2**53)
parts = st.builds(Part, paths, st.sampled_from(Phase), st.sampled_from(Durability), digests, sizes)
groups = st.builds(GroupRef, paths, digests, sizes, sizes)
backups = st.builds(
    Backup,
    store=st.just("serving"),
    kind=names,
    settings=st.dictionaries(names, st.text(max_size=8) | st.booleans(), max_size=3),
    number=st.just(1),
    previous=st.none() | digests,
    time=sizes,
    tool=names,
    commit=names,
    records=sizes,
    ledger=st.none() | digests,
    heads=st.dictionaries(names, digests, max_size=2),
    index=digests,
    parts=sizes,
    size=sizes,
    configuration=st.dictionaries(paths, digests, max_size=2),
)


@given(backups)
def test_the_document_of_a_backup_reads_as_what_was_written(backup: Backup) -> None:
    assert read_backup(backup_bytes(backup), store="serving", number=1, where="x") == backup


@given(st.lists(groups, max_size=5), st.lists(parts, max_size=5))
def test_an_index_and_a_group_read_as_what_was_written(listed: list[GroupRef], held: list[Part]) -> None:
    assert read_index(index_bytes(listed), "x") == tuple(sorted(listed))
    assert read_group(group_bytes("k", held), "k", "x") == tuple(sorted(held))


READERS: dict[str, Callable[[bytes], object]] = {
    "backup": lambda data: read_backup(data, store="serving", number=1, where="x"),
    "index": lambda data: read_index(data, "x"),
    "group": lambda data: read_group(data, "k", "x"),
}
PART = Part("a/b", Phase.CONTENT, Durability.DURABLE, Digest("sha256:" + "0" * 64), 1)
WHOLE = {
    "index": index_bytes([GroupRef("k", PART.digest, 1, 1)]),
    "group": group_bytes("k", [PART]),
}


@settings(max_examples=300)
@pytest.mark.parametrize("kind", sorted(READERS))
@given(data=st.data())
def test_changed_bytes_are_a_document_or_corrupt(kind: str, data: st.DataObject) -> None:
    whole = WHOLE.get(kind) or backup_bytes(data.draw(backups))
    place = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 8))
    changed = whole[:place] + data.draw(st.binary(max_size=8)) + whole[place + cut :]
    with suppress(Corrupt):
        READERS[kind](changed)


@pytest.mark.parametrize("kind", sorted(READERS))
@pytest.mark.parametrize(
    "hostile", [b"", b"[" * 100_000, b'{"settings":' + b'{"a":' * 50_000, b"\xff", b"null"]
)
def test_hostile_bytes_are_corrupt(kind: str, hostile: bytes) -> None:
    with pytest.raises(Corrupt):
        READERS[kind](hostile)


@given(st.text(max_size=12) | paths)
def test_a_plain_path_never_leaves_its_place(path: str) -> None:
    if is_plain(path):
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        assert "\0" not in path


@given(st.dictionaries(paths, st.builds(Seen, names, digests), max_size=4), st.data())
def test_knowledge_is_whole_or_nothing(known: dict[str, Seen], data: st.DataObject) -> None:
    whole = known_bytes(known)
    assert read_known(whole) == known
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    assert read_known(changed) in ({}, known)
