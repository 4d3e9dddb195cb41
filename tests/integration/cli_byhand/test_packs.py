"""pack, verify-pack and unpack on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli_byhand.conftest import H110, H111, MANIFEST_OF, STORE, Desk

PACKED = "sha256:a43cbeeb9843805c6aad1c2c23c863e0e834890a56b868a4811df85c20ebf659"
"""Packs are byte-reproducible, so the pack of a committed example has one digest on every machine."""


@pytest.fixture
def packed(desk: Desk) -> Desk:
    """Human 110 is packed as `h110.tar`."""
    desk.ok("dataset", "pack", H110, "--root", desk.build(H110), "--out", "h110.tar")
    return desk


def test_pack_says_the_packs_digest_and_the_manifests(desk: Desk) -> None:
    ran = desk.ok("dataset", "pack", H110, "--root", desk.build(H110), "--out", "h110.tar")
    assert ran.out == (
        "packed: 110/homo_sapiens/GRCh38 in h110.tar, 18 files, 181760 bytes\n"
        f"pack     {PACKED}\n"
        f"manifest {MANIFEST_OF[H110]}\n"
    )
    assert sorted(path.name for path in desk.root.iterdir()) == ["builds", "h110.tar", "store"]


def test_packing_again_is_done_already_and_other_bytes_are_not_overwritten(packed: Desk) -> None:
    again = ("dataset", "pack", H110, "--root", "builds/human-110", "--out", "h110.tar")
    inode = (packed.root / "h110.tar").stat().st_ino
    assert packed.ok(*again, "--output", "json").document["status"] == "unchanged"
    other = ("dataset", "pack", H111, "--root", packed.build(H111), "--out", "h110.tar")
    ran = packed.run(*other)
    assert (ran.code, ran.error) == (4, "E_OUT_EXISTS")
    assert (packed.root / "h110.tar").stat().st_ino == inode
    assert sorted(path.name for path in packed.root.iterdir()) == ["builds", "h110.tar", "store"]


def test_a_dry_run_of_pack_leaves_no_file(desk: Desk) -> None:
    words = ("dataset", "pack", H110, "--root", desk.build(H110), "--out", "h110.tar", "--dry-run")
    assert desk.ok(*words, "--output", "json").document["digest"] == PACKED
    assert not (desk.root / "h110.tar").exists()


def test_a_pack_of_the_store_equals_the_pack_of_its_source(packed: Desk) -> None:
    packed.publish(H110)
    packed.ok("dataset", "pack", H110, "--root", "store", "--out", "again.tar")
    assert (packed.root / "again.tar").read_bytes() == (packed.root / "h110.tar").read_bytes()


def test_without_an_expectation_a_pack_is_self_consistent_only(packed: Desk) -> None:
    assert packed.unchanged("dataset", "verify-pack", "--pack", "h110.tar").out == (
        f"h110.tar: 110/homo_sapiens/GRCh38, 18 files; self-consistent only\nmanifest {MANIFEST_OF[H110]}\n"
    )


def test_the_expected_digest_is_compared(packed: Desk) -> None:
    verify = ("dataset", "verify-pack", "--pack", "h110.tar", "--expect")
    assert "; matches the expected digest\n" in packed.unchanged(*verify, MANIFEST_OF[H110]).out
    packed.refused(*verify, MANIFEST_OF[H111], code=8, error="E_PACK_EXPECT")
    packed.refused(*verify, "md5:00", code=3, error="E_HASH_ALG")


def test_unpack_makes_a_build_root_that_verifies(packed: Desk) -> None:
    packed.ok("dataset", "unpack", "--pack", "h110.tar", "--out", "unpacked", "--expect", MANIFEST_OF[H110])
    packed.ok("dataset", "verify", "--deep", H110, "--root", "unpacked")
    packed.refused(
        *("dataset", "unpack", "--pack", "h110.tar", "--out", "unpacked"), code=3, error="E_OUT_EXISTS"
    )


def test_unpack_into_a_store_publishes(packed: Desk) -> None:
    words = ("dataset", "unpack", "--pack", "h110.tar", *STORE)
    ran = packed.ok(*words, "--output", "json")
    assert (ran.document["schema"], ran.document["state"]) == ("reconciler/dataset-unpack/v1", "new")
    assert packed.unchanged(*words, "--output", "json").document["status"] == "unchanged"
    packed.ok("catalog", "promote", H110, *STORE)


def test_a_pack_is_a_source_of_publish(packed: Desk) -> None:
    words = ("dataset", "publish", H110, "--source-root", "h110.tar", *STORE)
    packed.ok(*words)
    packed.unchanged(*words)
    wrong = ("dataset", "publish", H111, "--source-root", "h110.tar", *STORE)
    packed.refused(*wrong, code=3, error="E_IDENTITY")


def test_a_damaged_pack_is_refused_everywhere(packed: Desk) -> None:
    pack = packed.root / "h110.tar"
    data = bytearray(pack.read_bytes())
    data[70_000] ^= 1
    pack.write_bytes(data)
    for words in (
        ("dataset", "verify-pack", "--pack", "h110.tar"),
        ("dataset", "unpack", "--pack", "h110.tar", "--out", "unpacked"),
        ("dataset", "unpack", "--pack", "h110.tar", *STORE),
        ("dataset", "publish", H110, "--source-root", "h110.tar", *STORE),
    ):
        packed.refused(*words, code=8, error="E_PACK_HASH")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(600), b"plain text\n" * 100])
def test_a_file_that_is_no_pack_is_refused(desk: Desk, content: bytes) -> None:
    (desk.root / "bad.tar").write_bytes(content)
    for words in (
        ("dataset", "verify-pack", "--pack", "bad.tar"),
        ("dataset", "unpack", "--pack", "bad.tar", "--out", "unpacked"),
        ("dataset", "unpack", "--pack", "bad.tar", *STORE),
    ):
        before = desk.tree()
        ran = desk.run(*words)
        assert (ran.code, ran.error[:6], desk.tree()) == (8, "E_TAR_", before)


@pytest.mark.parametrize("name", ["nowhere.tar", "store"])
def test_a_pack_that_is_no_file_is_refused(desk: Desk, name: str) -> None:
    desk.refused("dataset", "verify-pack", "--pack", name, code=3, error="E_FILE")
    desk.refused("dataset", "unpack", "--pack", name, "--out", "unpacked", code=3, error="E_FILE")


def test_pack_refuses_what_is_not_there(desk: Desk) -> None:
    out = ("--out", "x.tar")
    desk.refused("dataset", "pack", H110, "--root", "nowhere", *out, code=10, error="E_ROOT_MISSING")
    desk.refused("dataset", "pack", H110, "--root", "store", *out, code=3, error="E_DATASET_MISSING")
    missing = str(Path("nowhere") / "x.tar")
    words = ("dataset", "pack", H110, "--root", desk.build(H110), "--out", missing)
    desk.refused(*words, code=10, error="E_OUT_WRITE")
