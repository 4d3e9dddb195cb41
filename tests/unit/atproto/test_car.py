"""A repository is read as it is, or not at all; damage is never taken for absence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.stores.atproto.car import Blocks, Commit, MissingBlock, Tree, read_car, read_commit, write_car
from reconciler.stores.atproto.dagcbor import Data, Link, Malformed, cid_bytes, cid_of, encode

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
PREFIX = "science.alt.dataset."


def put(blocks: Blocks, value: Data) -> Link:
    """A block, and the link to it."""
    data = encode(value)
    cid = cid_bytes(cid_of(data))
    blocks[cid] = data
    return Link(cid)


def node(blocks: Blocks, keys: list[str], left: Link | None = None, right: Link | None = None) -> Link:
    """A node of a tree; the last key has the right subtree."""
    entries: list[Data] = []
    before = b""
    for number, text in enumerate(keys):
        key = text.encode()
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        value = put(blocks, {"key": text})
        tree: Data = right if number == len(keys) - 1 else None
        entries.append({"p": shared, "k": key[shared:], "v": value, "t": tree})
        before = key
    return put(blocks, {"l": left, "e": entries})


def commit(blocks: Blocks, tree: Link) -> bytes:
    """The head of a repository."""
    head: Data = {"did": DID, "version": 3, "rev": "3n2rw47t3422o", "data": tree, "prev": None, "sig": b"s"}
    return put(blocks, head).raw


def paths(blocks: Blocks, root: bytes, prefix: str = PREFIX) -> list[str]:
    """What is found."""
    return [found.path for found in Tree(blocks, read_commit(blocks, root)).records(prefix)]


def repository(keys: list[str], others: list[str]) -> tuple[Blocks, bytes]:
    """A tree with ours in the middle node and others in the outer ones."""
    blocks: Blocks = {}
    low = node(blocks, [key for key in others if key < PREFIX])
    high = node(blocks, [key for key in others if key > PREFIX])
    root = node(blocks, keys, low, high)
    return blocks, commit(blocks, root)


OURS = [f"{PREFIX}entry/{key}" for key in ("2a", "2b", "3")]
THEIRS = ["app.bsky.feed.post/1", "app.bsky.feed.post/2", "z.example.note/1"]


def test_car_file_is_read_back() -> None:
    blocks, root = repository(OURS, THEIRS)
    car = read_car(write_car(root, blocks))
    assert (car.root, car.blocks) == (root, blocks)
    assert read_commit(car.blocks, car.root).did == DID


def test_records_come_in_order_and_only_those_that_are_asked_for() -> None:
    blocks, root = repository(OURS, THEIRS)
    assert paths(blocks, root) == OURS
    assert paths(blocks, root, "") == sorted([*OURS, *THEIRS])


def test_parts_of_the_tree_that_hold_none_of_ours_need_not_be_there() -> None:
    blocks: Blocks = {}
    far = node({}, ["app.bsky.feed.post/0"])
    inner = node(blocks, ["app.bsky.feed.post/1", *OURS], left=far)
    assert paths(blocks, commit(blocks, inner)) == OURS


def test_node_that_is_missing_is_not_an_empty_one() -> None:
    blocks, root = repository(OURS, [])
    tree = read_commit(blocks, root).tree
    with pytest.raises(MissingBlock):
        paths({cid: block for cid, block in blocks.items() if cid != tree}, root)
    with pytest.raises(MissingBlock):
        read_commit({}, root)


def test_node_with_other_bytes_is_not_believed() -> None:
    blocks, root = repository(OURS, [])
    tree = read_commit(blocks, root).tree
    for flipped in range(len(blocks[tree])):
        data = bytearray(blocks[tree])
        data[flipped] ^= 1
        with pytest.raises(Malformed):
            paths({**blocks, tree: bytes(data)}, root)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(None, id="no entries"),
        pytest.param([1], id="an entry that is a number"),
        pytest.param([{"p": 1, "k": b"a", "v": Link(b"x")}], id="a prefix of nothing"),
        pytest.param([{"p": -1, "k": b"a", "v": Link(b"x")}], id="a prefix below nothing"),
        pytest.param([{"p": 0, "k": b"a" * 2000, "v": Link(b"x")}], id="a key that is too long"),
        pytest.param([{"p": 0, "k": b"\xff", "v": Link(b"x")}], id="a key that is no text"),
        pytest.param([{"p": 0, "k": b"a"}], id="a key without a record"),
        pytest.param(
            [{"p": 0, "k": b"b", "v": Link(b"x")}, {"p": 0, "k": b"a", "v": Link(b"x")}],
            id="keys out of order",
        ),
        pytest.param(
            [{"p": 0, "k": b"a", "v": Link(b"x")}, {"p": 1, "k": b"", "v": Link(b"x")}], id="a key twice"
        ),
    ],
)
def test_tree_that_is_none_is_malformed(entries: Data) -> None:
    blocks: Blocks = {}
    root = commit(blocks, put(blocks, {"l": None, "e": entries}))
    with pytest.raises(Malformed):
        paths(blocks, root, "")


def test_tree_that_is_too_deep_is_malformed() -> None:
    blocks: Blocks = {}
    inner = node(blocks, OURS)
    for _ in range(200):
        inner = put(blocks, {"l": inner, "e": []})
    with pytest.raises(Malformed):
        paths(blocks, commit(blocks, inner))


@pytest.mark.parametrize(
    "head",
    [
        {"did": DID, "version": 2, "rev": "r", "data": Link(b"x")},
        {"did": DID, "version": 3, "rev": "r"},
        {"did": 1, "version": 3, "rev": "r", "data": Link(b"x")},
        {"did": DID, "version": 3, "data": Link(b"x")},
        [1],
    ],
)
def test_head_that_is_no_commit_is_malformed(head: Data) -> None:
    blocks: Blocks = {}
    with pytest.raises(Malformed):
        read_commit(blocks, put(blocks, head).raw)


def test_car_file_that_breaks_off_anywhere_is_malformed_or_shorter() -> None:
    blocks, root = repository(OURS, THEIRS)
    whole = write_car(root, blocks)
    for end in range(len(whole)):
        try:
            car = read_car(whole[:end])
        except Malformed:
            continue
        assert len(car.blocks) < len(blocks)
        with pytest.raises(MissingBlock):
            paths(car.blocks, root, "")


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_car_file_or_malformed(data: bytes) -> None:
    try:
        read_car(data)
    except Malformed:
        return
    raise AssertionError("random bytes are no CAR file")


def test_tree_knows_the_nodes_that_it_walked() -> None:
    blocks, root = repository(OURS, THEIRS)
    head: Commit = read_commit(blocks, root)
    tree = Tree(blocks, head)
    assert len(list(tree.records(PREFIX))) == 3
    assert head.tree in tree.nodes
