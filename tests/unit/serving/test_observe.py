"""What a snapshot sees of a dataset: published, absent, half-published or broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.canonical import sha256_digest
from reconciler.errors import Unavailable
from reconciler.stores.serving.observe import Observation, observe_artifact, observe_content
from tests.unit.serving.examples import codes, descriptor

MANIFEST = "derived/manifest.json"
ARTIFACT = "derived/gene_summary.sqlite"
LOCK = "derived/manifest.lock"


def seen(directory: Path) -> Observation:
    with descriptor(directory) as root:
        return observe_artifact(root, "here")


def test_a_published_dataset_is_the_digest_of_its_manifest(published: Path) -> None:
    assert seen(published) == (sha256_digest((published / MANIFEST).read_bytes()), ())


def test_a_lock_in_other_bytes_means_the_same(published: Path) -> None:
    before = seen(published)
    (published / LOCK).write_text(json.dumps(json.loads((published / LOCK).read_text()), indent=1))
    assert seen(published) == before


def test_an_empty_directory_is_absent(tmp_path: Path) -> None:
    assert seen(tmp_path) == Observation(None)
    (tmp_path / "derived").mkdir()
    assert seen(tmp_path) == Observation(None)


@pytest.mark.parametrize("relpath", [MANIFEST, ARTIFACT, LOCK])
def test_two_of_the_three_files_are_half_published(published: Path, relpath: str) -> None:
    (published / relpath).unlink()
    found = seen(published)
    assert found.digest is None
    assert codes(found.problems) == ["E_HALF_PUBLISHED"]
    assert found.problems[0].message == f"the dataset is published in part: {relpath} missing"


@pytest.mark.parametrize(
    ("relpath", "edit", "code"),
    [
        (MANIFEST, (b'"software_version"', b' "software_version"'), "E_MANIFEST_HASH"),
        (LOCK, (b'"manifest_sha256":"', b'"manifest_sha256":"0'), "E_MANIFEST_HASH"),
        (LOCK, (b'"sqlite_sha256":"', b'"sqlite_sha256":"0'), "E_ARTIFACT_HASH"),
        (LOCK, (b"}", b',"note":1}'), "E_UNKNOWN_FIELD"),
        (LOCK, (b"}", b""), "E_JSON_SYNTAX"),
    ],
)
def test_a_broken_chain_keeps_the_digest_and_says_what_is_wrong(
    published: Path, relpath: str, edit: tuple[bytes, bytes], code: str
) -> None:
    (published / relpath).write_bytes((published / relpath).read_bytes().replace(*edit, 1))
    found = seen(published)
    assert found.digest == sha256_digest((published / MANIFEST).read_bytes())
    assert codes(found.problems) == [code]
    assert found.problems[0].path.startswith("here/derived/manifest.")


@pytest.mark.parametrize("relpath", ["derived", MANIFEST, ARTIFACT, LOCK])
def test_a_link_is_an_error_and_not_absent(published: Path, tmp_path: Path, relpath: str) -> None:
    (published / relpath).rename(tmp_path / "outside")
    (published / relpath).symlink_to(tmp_path / "outside")
    with pytest.raises(Unavailable) as refused:
        seen(published)
    assert refused.value.code == "E_STORE_LINK"


def test_flipped_bytes_of_the_database_are_seen_in_depth_only(published: Path) -> None:
    data = bytearray((published / ARTIFACT).read_bytes())
    data[-1] ^= 1
    (published / ARTIFACT).write_bytes(data)
    assert seen(published).problems == ()
    with descriptor(published) as root:
        deep = observe_content(root, "here")
    assert deep.digest == seen(published).digest
    assert codes(deep.problems) == ["E_ARTIFACT_HASH"]


def test_depth_hashes_the_inputs_that_are_there(published: Path) -> None:
    with descriptor(published) as root:
        assert observe_content(root) == observe_artifact(root)
    (published / "inputs").mkdir()
    (published / "inputs" / "genome.fa.bgz").write_bytes(b"other")
    with descriptor(published) as root:
        assert codes(observe_content(root).problems) == ["E_FILE_HASH"]


def test_depth_parses_the_manifest_it_trusts(published: Path) -> None:
    document = json.loads((published / MANIFEST).read_bytes()) | {"note": "x"}
    data = json.dumps(document).encode()
    (published / MANIFEST).write_bytes(data)
    lock = json.loads((published / LOCK).read_bytes())
    lock["manifest_sha256"] = sha256_digest(data).removeprefix("sha256:")
    (published / LOCK).write_text(json.dumps(lock, separators=(",", ":")))
    with descriptor(published) as root:
        assert codes(observe_content(root).problems) == ["E_UNKNOWN_FIELD"]


def test_depth_reports_what_the_chain_already_shows(published: Path) -> None:
    (published / LOCK).write_bytes(b"{}")
    with descriptor(published) as root:
        assert codes(observe_content(root).problems) == ["E_REQUIRED"]
