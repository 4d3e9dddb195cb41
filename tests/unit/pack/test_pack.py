"""Packs: reproducible bytes, the reference's order, and every bad archive refused by its own code."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import Corrupt, InvalidInput, LimitExceeded, Unavailable
from reconciler.model import DatasetId
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.pack import verify_pack
from reconciler.stores.serving.tar_stream import END, Header, header_bytes, padding
from reconciler.testing.samples import Stage, minimal_dataset
from tests.unit.pack.packs import ID, OTHER, archive, packed, refusal, taken_apart


def test_members_stand_in_the_references_order_then_index_then_files_by_path(pack: bytes) -> None:
    assert [name for name, _ in taken_apart(pack)] == [
        "manifest.json",
        "gene_summary.sqlite",
        "manifest.lock",
        "pack.json",
        "derived/anomaly_report.json",
        "derived/qc.json",
        "derived/qc_report.json",
        "inputs/genes.gff3.bgz",
        "inputs/genome.fa.bgz",
        "inputs/genome.fa.bgz.fai",
    ]


def test_every_member_is_a_plain_file_without_owner_time_or_odd_mode(pack: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(pack), mode="r:") as tar:
        metas = {
            (item.type, item.mode, item.mtime, item.uid, item.gid, item.uname, item.gname) for item in tar
        }
    assert metas == {(tarfile.REGTYPE, 0o644, 0, 0, 0, "", "")}


def test_the_index_of_a_known_dataset_has_these_bytes(pack: bytes) -> None:
    index = dict(taken_apart(pack))["pack.json"]
    assert index.startswith(
        b'{"dataset":"110/homo_sapiens/GRCh38","files":[{"path":"derived/anomaly_report.json","sha256":"'
    )
    assert index.endswith(b'}],"schema":"reconciler/pack/v1"}')


def test_a_pack_ends_with_two_zero_blocks_and_nothing_more(pack: bytes) -> None:
    assert pack[-1024:] == bytes(1024)
    assert pack[-1536:-1024] != bytes(512)


def test_packing_twice_gives_equal_bytes(directory: Path) -> None:
    assert packed(directory)[0] == packed(directory)[0]


def test_a_copy_with_other_times_and_modes_packs_to_equal_bytes(directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    for path in sorted(copy.rglob("*")):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert packed(copy)[0] == packed(directory)[0]


def test_a_published_dataset_packs_without_what_the_store_made(tmp_path: Path) -> None:
    minimal_dataset(tmp_path, ID, stage=Stage.PUBLISHED)
    names = [name for name, _ in taken_apart(packed(tmp_path / dataset_path(ID))[0])]
    assert names == ["manifest.json", "gene_summary.sqlite", "manifest.lock", "pack.json"]


def test_the_lock_in_a_pack_is_the_reference_locks_169_bytes(pack: bytes) -> None:
    parts = dict(taken_apart(pack))
    manifest = hashlib.sha256(parts["manifest.json"]).hexdigest()
    artifact = hashlib.sha256(parts["gene_summary.sqlite"]).hexdigest()
    assert parts["manifest.lock"] == (
        f'{{"manifest_sha256":"{manifest}","sqlite_sha256":"{artifact}"}}'.encode()
    )
    assert len(parts["manifest.lock"]) == 169


def test_the_summary_names_the_packs_own_digest_and_size(directory: Path) -> None:
    data, summary = packed(directory)
    assert (summary.digest, summary.size) == ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))


def test_without_an_expected_digest_a_pack_is_self_consistent_only(pack: bytes) -> None:
    assert verify_pack(io.BytesIO(pack)).trust == "self-consistent only"


def test_with_the_manifests_digest_a_pack_matches_what_was_expected(directory: Path) -> None:
    data, summary = packed(directory)
    report = verify_pack(io.BytesIO(data), expect=summary.manifest)
    assert (report.dataset, report.files) == (ID, summary.files)
    assert report.trust == (
        "matches the expected digest; self-consistent only: "
        "derived/anomaly_report.json, derived/qc.json, derived/qc_report.json"
    )


def test_another_expected_digest_is_refused(pack: bytes) -> None:
    assert refusal(pack, expect=OTHER) == "E_PACK_EXPECT"


def as_the_reference_writes(members: list[tuple[str, bytes]]) -> bytes:
    """The reference leaves type, owner and group blank and pads its checksum otherwise."""
    pieces = []
    for name, data in members:
        block = bytearray(header_bytes(Header(name, len(data))))
        block[108:124] = bytes(16)
        block[156:157] = b"\0"
        block[148:156] = b" " * 8
        block[148:156] = b"%07o\0" % sum(block)
        pieces += [bytes(block), data, padding(len(data))]
    return b"".join(pieces) + END


def test_a_pack_of_the_reference_with_its_three_members_is_accepted(pack: bytes) -> None:
    report = verify_pack(io.BytesIO(as_the_reference_writes(taken_apart(pack)[:3])))
    assert report.by_reference
    assert [item.path for item in report.files] == ["derived/manifest.json", "derived/gene_summary.sqlite"]


def tar_of(change: Callable[[tarfile.TarInfo], None], name: str = "manifest.json") -> bytes:
    """One archive written by Python's own tarfile, with its header changed."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size, info.mode = 2, 0o644
        change(info)
        tar.addfile(info, io.BytesIO(b"{}"))
    return out.getvalue()


def typed(kind: bytes, link: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, link, 0

    return change


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "derived/qc.json"),
        (tarfile.SYMTYPE, "../../etc/passwd"),
        (tarfile.LNKTYPE, "manifest.json"),
        (tarfile.DIRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.GNUTYPE_SPARSE, ""),
        (tarfile.XGLTYPE, ""),
    ],
)
def test_anything_but_a_plain_file_is_a_wrong_type(kind: bytes, link: str) -> None:
    assert refusal(tar_of(typed(kind, link))) == "E_TAR_TYPE"


def setter(field: str, value: object) -> Callable[[tarfile.TarInfo], None]:
    return lambda info: setattr(info, field, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", 0o4755),
        ("mode", 0o600),
        ("uid", 1),
        ("gid", 1),
        ("mtime", 1),
        ("uname", "root"),
        ("gname", "x"),
    ],
)
def test_a_setuid_mode_an_owner_or_a_time_is_refused(field: str, value: object) -> None:
    assert refusal(tar_of(setter(field, value))) == "E_TAR_META"


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "..\\evil",
        "../evil",
        "/etc/passwd",
        "./manifest.json",
        "derived//x",
        "derived/../x",
        "d\u00e9rived",
        "a" * 101,
        "a/" * 9 + "a",
        "n" * 4000,
    ],
)
def test_a_name_that_is_not_a_plain_relative_path_is_refused(name: str) -> None:
    assert refusal(tar_of(lambda _info: None, name)) == "E_TAR_PATH"


def test_a_pax_header_with_a_long_name_is_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("n" * 4000))
    assert refusal(out.getvalue()) == "E_TAR_PATH"


@pytest.mark.parametrize("raw", [b"a\0b", b""])
def test_a_name_with_a_nul_inside_or_no_name_is_refused(raw: bytes) -> None:
    block = bytearray(header_bytes(Header("x", 0)))
    block[:100] = raw.ljust(100, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert refusal(bytes(block) + END) == "E_TAR_PATH"


def test_a_member_that_stands_twice_is_refused(pack: bytes) -> None:
    parts = taken_apart(pack)
    assert refusal(archive([*parts, parts[-1]])) == "E_TAR_DUP"


def test_a_pack_cut_anywhere_is_refused_and_never_accepted(pack: bytes) -> None:
    sizes = {1, 1024, 1025, 5000, len(pack) // 2, len(pack) - 600}
    assert {refusal(pack[:-size]) for size in sizes} == {"E_TAR_TRUNCATED"}


def test_a_flipped_bit_in_a_header_breaks_its_checksum(pack: bytes) -> None:
    assert refusal(bytes([pack[0] ^ 1]) + pack[1:]) == "E_TAR_TRUNCATED"


def test_no_flipped_bit_anywhere_goes_unnoticed(pack: bytes) -> None:
    places = [*range(512), *range(512, len(pack), 61), *range(len(pack) - 1024, len(pack), 16)]
    for number, place in enumerate(places):
        flipped = bytearray(pack)
        flipped[place] ^= 1 << number % 8
        with pytest.raises(Corrupt):
            verify_pack(io.BytesIO(bytes(flipped)))


@pytest.mark.parametrize("tail", [b"\0", b"x", bytes(512), bytes(10240)])
def test_bytes_after_the_end_are_refused_even_zeros(pack: bytes, tail: bytes) -> None:
    assert refusal(pack + tail) == "E_TAR_TRAILING"


def test_a_last_record_filled_with_zeros_as_other_tools_do_is_read_and_nothing_else_in_it(
    pack: bytes,
) -> None:
    filled = pack + bytes(-len(pack) % 10240)
    assert len(filled) > len(pack)
    assert verify_pack(io.BytesIO(filled)) == verify_pack(io.BytesIO(pack))
    for edited in (filled[:-1], filled + b"\0", filled[:-1] + b"x", filled + bytes(10240)):
        assert refusal(edited) == "E_TAR_TRAILING"


def test_a_second_archive_behind_the_first_is_refused(pack: bytes) -> None:
    assert refusal(pack + pack) == "E_TAR_TRAILING"


def test_bytes_between_the_two_zero_blocks_are_refused(pack: bytes) -> None:
    assert refusal(pack[:-512] + b"x" * 512) == "E_TAR_TRAILING"


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04" + bytes(600), b"\xfd7zXZ\0" + bytes(600), b"\x1f\x8b" + bytes(600), b"plain text\n"],
)
def test_a_file_that_never_was_a_tar_is_a_wrong_format(data: bytes) -> None:
    assert refusal(data) == "E_TAR_FORMAT"


def test_an_archive_without_members_is_a_wrong_format() -> None:
    assert refusal(END) == "E_TAR_FORMAT"


def test_padding_that_is_not_zero_is_refused(pack: bytes) -> None:
    manifest = taken_apart(pack)[0][1]
    at = 512 + len(manifest)
    assert len(manifest) % 512 != 0
    assert refusal(pack[:at] + b"x" + pack[at + 1 :]) == "E_TAR_META"


def test_a_changed_artifact_is_not_the_one_the_manifest_names(pack: bytes) -> None:
    parts = taken_apart(pack)
    parts[1] = (parts[1][0], parts[1][1][:-1] + b"\1")
    assert refusal(archive(parts)) == "E_PACK_HASH"


def test_a_changed_manifest_does_not_match_the_lock(pack: bytes) -> None:
    parts = taken_apart(pack)
    parts[0] = (parts[0][0], parts[0][1].replace(b'"software_version":"', b'"software_version":"x'))
    assert refusal(archive(parts)) == "E_PACK_LOCK"


def test_a_manifest_with_an_unknown_member_is_the_packs_fault(pack: bytes) -> None:
    parts = taken_apart(pack)
    parts[0] = (parts[0][0], b'{"manifest":"ok"}')
    with pytest.raises(Corrupt):
        verify_pack(io.BytesIO(archive(parts)))


def test_a_changed_side_file_is_not_the_one_the_index_lists(pack: bytes) -> None:
    parts = taken_apart(pack)
    name, data = parts[5]
    assert refusal(archive([*parts[:5], (name, data[:-1] + b" "), *parts[6:]])) == "E_PACK_HASH"
    assert refusal(archive([*parts[:5], (name, data + b" "), *parts[6:]])) == "E_PACK_HASH"


def test_an_input_the_index_lists_must_be_the_one_the_manifest_names(pack: bytes) -> None:
    parts = dict(taken_apart(pack))
    old, new = parts["inputs/genome.fa.bgz.fai"], b"chr1\t99\t6\t20\t21\n"
    parts["inputs/genome.fa.bgz.fai"] = new
    index = parts["pack.json"].replace(
        hashlib.sha256(old).hexdigest().encode(), hashlib.sha256(new).hexdigest().encode()
    )
    parts["pack.json"] = index.replace(b'"size":%d}],' % len(old), b'"size":16}],')
    with pytest.raises(Corrupt) as caught:
        verify_pack(io.BytesIO(archive(list(parts.items()))))
    assert caught.value.problems[0].message == "a file is not the one that the manifest vouches for"


def test_a_member_no_index_lists_is_refused(pack: bytes) -> None:
    parts = taken_apart(pack)
    assert refusal(archive([*parts, ("derived/zzz.json", b"{}")])) == "E_PACK_UNLISTED"
    assert refusal(archive([*parts[:3], parts[4]])) == "E_PACK_UNLISTED"


@pytest.mark.parametrize("gone", [0, 1, 2, 4, 9])
def test_a_member_that_was_removed_is_missed(pack: bytes, gone: int) -> None:
    parts = taken_apart(pack)
    assert refusal(archive(parts[:gone] + parts[gone + 1 :])) == "E_PACK_MEMBER"


def test_members_in_another_order_are_refused(pack: bytes) -> None:
    parts = taken_apart(pack)
    assert refusal(archive([parts[1], parts[0], *parts[2:]])) == "E_PACK_MEMBER"
    assert refusal(archive([*parts[:4], parts[5], parts[4], *parts[6:]])) == "E_PACK_MEMBER"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"derived/anomaly_report.json"', b'"../anomaly_report.json"'),
        (b'"derived/anomaly_report.json"', b'"derived/manifest.lock"'),
        (b'"derived/anomaly_report.json"', b'"derived/.publish.lock"'),
        (b'"derived/anomaly_report.json"', b'"release=1/anomaly_report.json"'),
        (b'"derived/anomaly_report.json"', b'"derived/zzz.json"'),
        (b"110/homo_sapiens", b"111/homo_sapiens"),
        (b'{"dataset"', b'{ "dataset"'),
        (b"reconciler/pack/v1", b"reconciler/pack/v2"),
        (b'"files":[', b'"files":{"a":['),
        (b'"path"', b'"name"'),
    ],
)
def test_an_index_that_is_not_in_its_one_form_is_refused(pack: bytes, old: bytes, new: bytes) -> None:
    parts = taken_apart(pack)
    parts[3] = ("pack.json", parts[3][1].replace(old, new, 1))
    assert refusal(archive(parts)) == "E_PACK_INDEX"


def test_reading_more_members_than_the_limit_is_a_safety_limit(pack: bytes) -> None:
    parts = taken_apart(pack)[:3]
    extra = [(f"derived/extra{number:04}.json", b"") for number in range(1021)]
    empty = hashlib.sha256(b"").hexdigest()
    files = [{"path": name, "sha256": empty, "size": 0} for name, _ in extra]
    index = {"dataset": str(ID), "files": files, "schema": "reconciler/pack/v1"}
    data = json.dumps(index, separators=(",", ":")).encode()
    assert refusal(archive([*parts, ("pack.json", data), *extra]), LimitExceeded) == "E_TAR_LIMIT"
    assert len([*parts, "pack.json", *extra]) == 1025


def test_a_document_larger_than_its_limit_is_refused_unread() -> None:
    assert refusal(header_bytes(Header("manifest.json", 5_000_001)) + bytes(512)) == "E_PACK_MEMBER"


def test_a_size_above_eight_gib_is_written_and_read_in_binary() -> None:
    block = header_bytes(Header("gene_summary.sqlite", 9 << 30))
    info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    assert (info.name, info.size) == ("gene_summary.sqlite", 9663676416)


def test_a_pack_that_cannot_be_read_is_unavailable() -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(Unavailable) as caught:
        verify_pack(Broken())
    assert caught.value.code == "E_PACK_IO"


def test_packing_under_another_id_is_refused(directory: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        packed(directory, DatasetId("111", "homo_sapiens", "GRCh38"))
    assert caught.value.code == "E_IDENTITY"


@pytest.mark.parametrize("gone", ["derived/manifest.json", "derived/gene_summary.sqlite"])
def test_packing_an_incomplete_dataset_is_refused(directory: Path, gone: str) -> None:
    (directory / gone).unlink()
    with pytest.raises(InvalidInput) as caught:
        packed(directory)
    assert caught.value.code == "E_PACK_FILE"


def test_packing_an_artifact_the_manifest_does_not_name_is_corrupt(directory: Path) -> None:
    (directory / "derived/gene_summary.sqlite").write_bytes(b"sqlite")
    with pytest.raises(Corrupt) as caught:
        packed(directory)
    assert caught.value.code == "E_PACK_HASH"


def test_packing_a_link_is_refused(directory: Path) -> None:
    (directory / "derived/extra.json").symlink_to("qc.json")
    with pytest.raises(InvalidInput) as caught:
        packed(directory)
    assert caught.value.code == "E_SOURCE_FILE"


def test_packing_a_name_that_cannot_stand_in_a_pack_is_refused(directory: Path) -> None:
    (directory / "derived/b\u00e4d.json").write_bytes(b"{}")
    with pytest.raises(InvalidInput) as caught:
        packed(directory)
    assert caught.value.code == "E_PACK_FILE"


def test_packing_too_many_files_is_a_safety_limit(directory: Path) -> None:
    for number in range(1020):
        (directory / f"derived/extra{number:04}.json").write_bytes(b"{}")
    with pytest.raises(LimitExceeded) as caught:
        packed(directory)
    assert caught.value.code == "E_PACK_LIMIT"
