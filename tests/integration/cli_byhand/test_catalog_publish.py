"""catalog publish: one reviewed replacement of the whole file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.integration.cli_byhand.conftest import H110, H111, STORE, Desk

PUBLISH = ("catalog", "publish", *STORE, "--catalog")


@pytest.fixture
def files(desk: Desk) -> Desk:
    """Human 110 and 111 are listed; `one.json` lists 110, `two.json` both, `none.json` nothing."""
    desk.promote(H110)
    live = desk.root / "store/catalog.json"
    (desk.root / "one.json").write_bytes(live.read_bytes())
    desk.promote(H111)
    (desk.root / "two.json").write_bytes(live.read_bytes())
    (desk.root / "none.json").write_bytes(b'{"datasets":[],"model_version":"v1"}')
    return desk


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_publish_shows_the_difference_and_writes_the_file(files: Desk) -> None:
    shown = files.unchanged(*PUBLISH, "one.json", "--dry-run").out
    assert shown == (
        "  - roll back    111/homo_sapiens/GRCh38   was listed\ndry run: 1 step, nothing was written\n"
    )
    files.ok(*PUBLISH, "one.json")
    assert (files.root / "store/catalog.json").read_bytes() == (files.root / "one.json").read_bytes()


def test_publishing_the_live_catalog_writes_nothing(files: Desk) -> None:
    said = files.unchanged(*PUBLISH, "two.json").out
    assert said == "nothing to do: the catalog already says this\n"


def test_additions_and_removals_are_one_write(files: Desk) -> None:
    files.ok(*PUBLISH, "one.json")
    only_111 = json.loads((files.root / "two.json").read_bytes())
    del only_111["datasets"][0]
    (files.root / "other.json").write_text(json.dumps(only_111))
    before = files.records()
    ran = files.ok(*PUBLISH, "other.json", "--output", "json")
    assert [step["id"] for step in ran.document["steps"]] == ["publish catalog"]
    assert [change["verb"] for change in ran.document["changes"]] == ["promote", "roll back"]
    assert (files.listed(), files.records()) == ([H111], before + 1)


def test_an_unexpected_live_catalog_is_refused(files: Desk) -> None:
    wrong = sha256(files.root / "one.json")
    files.refused(*PUBLISH, "one.json", "--expect-sha256", wrong, code=6, error="E_CONFLICT")
    files.refused(*PUBLISH, "one.json", "--expect-sha256", "none", code=6, error="E_CONFLICT")
    files.refused(*PUBLISH, "one.json", "--expect-sha256", "58cbdd", code=3, error="E_HASH_LENGTH")
    right = sha256(files.root / "two.json")
    files.ok(*PUBLISH, "one.json", "--expect-sha256", right)
    assert files.listed() == [H110]


def test_the_first_catalog_can_be_expected_to_be_none(desk: Desk) -> None:
    desk.promote(H110)
    (desk.root / "one.json").write_bytes((desk.root / "store/catalog.json").read_bytes())
    (desk.root / "other").mkdir()
    other = ("--store-root", "other")
    desk.ok("dataset", "publish", H110, "--source-root", desk.build(H110), *other)
    desk.ok("catalog", "publish", *other, "--catalog", "one.json", "--expect-sha256", "none")
    assert (desk.root / "other/catalog.json").read_bytes() == (desk.root / "one.json").read_bytes()


def test_an_aliased_dataset_is_not_dropped_unasked(files: Desk) -> None:
    files.latest(H111)
    files.refused(*PUBLISH, "one.json", code=4, error="E_ALIAS_TARGET")
    ran = files.ok(*PUBLISH, "one.json", "--drop-aliased", "--output", "json")
    assert [step["id"] for step in ran.document["steps"]] == ["drop alias latest", "publish catalog"]
    assert not (files.root / "store/latest.alias.json").exists()


def test_an_alias_that_stays_is_bound_to_the_new_catalog(files: Desk) -> None:
    files.latest(H110)
    files.ok(*PUBLISH, "one.json")
    alias = json.loads((files.root / "store/latest.alias.json").read_bytes())
    assert alias["catalog_sha256"] == sha256(files.root / "one.json")


def test_the_last_dataset_is_not_dropped_unasked(files: Desk) -> None:
    files.refused(*PUBLISH, "none.json", code=4, error="E_DROP_LAST")
    files.ok(*PUBLISH, "none.json", "--drop-last")
    assert files.listed() == []


def test_every_entry_is_verified_even_one_that_is_listed_already(files: Desk) -> None:
    database = files.directory(H110) / "derived/gene_summary.sqlite"
    database.write_bytes(database.read_bytes()[:-1] + b"x")
    files.refused(*PUBLISH, "one.json", code=8, error="E_ARTIFACT_HASH")


def test_an_entry_that_was_never_published_is_refused(files: Desk) -> None:
    text = (files.root / "two.json").read_text().replace("110", "109")
    (files.root / "two.json").write_text(text)
    files.refused(*PUBLISH, "two.json", code=4, error="E_NOT_PUBLISHED")


def test_an_entry_with_foreign_paths_is_refused(files: Desk) -> None:
    text = (files.root / "one.json").read_text().replace("release=110/species", "elsewhere/species")
    (files.root / "one.json").write_text(text)
    files.refused(*PUBLISH, "one.json", code=3, error="E_CATALOG_PATH")


def test_unsorted_entries_are_sorted_as_the_reference_does(files: Desk) -> None:
    document = json.loads((files.root / "two.json").read_bytes())
    document["datasets"].reverse()
    (files.root / "unsorted.json").write_text(json.dumps(document))
    files.unchanged(*PUBLISH, "unsorted.json")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "E_JSON_SYNTAX"),
        (b"[]", "E_TYPE"),
        (b'{"datasets":[],"datasets":[]}', "E_JSON_DUP"),
        (b'{"datasets":[],"extra":1}', "E_UNKNOWN_FIELD"),
        (b'{"datasets":[],"model_version":"v2"}', "E_SCHEMA_VERSION"),
    ],
)
def test_a_file_that_is_no_catalog_is_refused(files: Desk, data: bytes, error: str) -> None:
    (files.root / "bad.json").write_bytes(data)
    files.refused(*PUBLISH, "bad.json", code=3, error=error)
    files.refused("catalog", "validate", "bad.json", code=3, error=error)


def test_a_missing_file_is_refused(files: Desk) -> None:
    files.refused(*PUBLISH, "nowhere.json", code=3, error="E_FILE")
