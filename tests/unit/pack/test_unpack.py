"""Unpacking writes what the index names and nothing else; which files the manifest vouches for."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import Corrupt, InvalidInput
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.pack import unpack_into, verify_pack
from reconciler.stores.serving.unpack import unpack_build_root
from reconciler.testing.samples import Sharding, build_root
from tests.unit.pack.packs import ID, OTHER, packed, refusal, with_file


def test_unpack_gives_back_every_file_byte_for_byte(directory: Path, pack: bytes, tmp_path: Path) -> None:
    report = unpack_build_root(io.BytesIO(pack), tmp_path / "out")
    unpacked = tmp_path / "out" / dataset_path(ID)
    assert tree(unpacked) == tree(directory)
    assert report.dataset == ID


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_unpack_into_an_empty_directory_is_allowed(pack: bytes, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    unpack_build_root(io.BytesIO(pack), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["release=110"]


def test_unpack_over_anything_that_exists_is_refused_and_writes_nothing(pack: bytes, tmp_path: Path) -> None:
    full, file, link = tmp_path / "full", tmp_path / "file", tmp_path / "link"
    full.mkdir()
    (full / "mine").write_bytes(b"")
    file.write_bytes(b"")
    link.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for out in (full, file, link):
        with pytest.raises(InvalidInput) as caught:
            unpack_build_root(io.BytesIO(pack), out)
        assert caught.value.code == "E_OUT_EXISTS"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pack_that_does_not_hold_leaves_nothing_behind(pack: bytes, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for broken in (pack[:-1], pack + b"x", pack[: len(pack) // 2]):
        with pytest.raises(Corrupt):
            unpack_build_root(io.BytesIO(broken), tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pack_of_another_dataset_or_manifest_is_refused_before_any_write(pack: bytes) -> None:
    written: list[str] = []

    def write(path: str, _content: Iterator[bytes]) -> None:
        written.append(path)

    with pytest.raises(InvalidInput) as caught:
        unpack_into(io.BytesIO(pack), write, dataset=DatasetId("111", "homo_sapiens", "GRCh38"))
    assert caught.value.code == "E_IDENTITY"
    with pytest.raises(Corrupt):
        unpack_into(io.BytesIO(pack), write, expect=OTHER)
    assert written == []


def complete(tmp_path: Path, sharding: Sharding = Sharding.NONE) -> tuple[bytes, Digest]:
    """A pack of a dataset whose manifest names its evidence bundle."""
    (tmp_path / "genes.gff3").write_text("c1\t.\tgene\t1\t4\t.\t+\t.\tID=g\n", encoding="utf-8")
    (tmp_path / "genome.fa").write_text(">c1\nACGT\n", encoding="utf-8")
    built = build_root(
        tmp_path / "complete",
        dataset=ID,
        gff3=tmp_path / "genes.gff3",
        fasta=tmp_path / "genome.fa",
        sharding=sharding,
    )
    return packed(built.directory)[0], built.manifest


def test_a_complete_datasets_manifest_vouches_for_every_file(tmp_path: Path) -> None:
    pack, manifest = complete(tmp_path)
    report = verify_pack(io.BytesIO(pack), expect=manifest)
    assert (report.unbound, report.trust) == ((), "matches the expected digest")


def test_shards_stand_on_the_packs_index_alone(tmp_path: Path) -> None:
    pack, manifest = complete(tmp_path, Sharding.CONTIG)
    assert verify_pack(io.BytesIO(pack), expect=manifest).unbound == (
        "derived/catalog_shards.json",
        "derived/gene_summary.c1.sqlite",
    )


@pytest.mark.parametrize(
    "name",
    [
        "derived/qc.json",
        "derived/qc_report.json",
        "derived/release_gene_index.json",
        "derived/canonical_features.json",
        "derived/artifact_inventory.json",
        "derived/scientific_profile.json",
        "inputs/genes.gff3.bgz",
    ],
)
def test_a_file_exchanged_together_with_the_index_contradicts_the_manifest(tmp_path: Path, name: str) -> None:
    pack, _ = complete(tmp_path)
    assert refusal(with_file(pack, name, b"{}")) == "E_PACK_HASH"


def test_an_exchanged_bundle_vouches_for_nothing(tmp_path: Path) -> None:
    pack, manifest = complete(tmp_path)
    report = verify_pack(
        io.BytesIO(with_file(pack, "derived/evidence_bundle.lock.json", b"{}")), expect=manifest
    )
    assert "derived/evidence_bundle.lock.json" in report.unbound
    assert "derived/qc.json" in report.unbound


def test_what_a_killed_unpack_left_is_removed_by_the_next_one(pack: bytes, tmp_path: Path) -> None:
    left = tmp_path / ".out.0123456789abcdef.unpack"
    (left / ".content/derived").mkdir(parents=True)
    unpack_build_root(io.BytesIO(pack), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build", "out"]


def test_an_unpack_that_is_still_running_is_left_alone(pack: bytes, tmp_path: Path) -> None:
    running = tmp_path / ".out.0123456789abcdef.unpack"
    running.mkdir()
    handle = os.open(running, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        unpack_build_root(io.BytesIO(pack), tmp_path / "out")
    finally:
        os.close(handle)
    assert running.is_dir()


def test_packing_what_was_unpacked_gives_the_same_pack(pack: bytes, tmp_path: Path) -> None:
    unpack_build_root(io.BytesIO(pack), tmp_path / "out")
    assert packed(tmp_path / "out" / dataset_path(ID))[0] == pack
