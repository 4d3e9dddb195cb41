"""Grammars of addresses, dataset ids and digests, and what small values mean."""

from __future__ import annotations

import pytest

from reconciler.errors import InvalidInput
from reconciler.model import (
    NOTHING,
    Address,
    Change,
    DatasetId,
    Place,
    StoreConfig,
    dataset_id_problem,
    digest_problem,
    merged,
    parse_digest,
)

HEX = "0123456789abcdef" * 4


def test_address_is_split_at_the_first_two_slashes() -> None:
    address = Address.parse("serving/dataset/110/homo_sapiens/GRCh38")
    assert address == Address("serving", "dataset", "110/homo_sapiens/GRCh38")
    assert str(address) == "serving/dataset/110/homo_sapiens/GRCh38"


@pytest.mark.parametrize(
    "text", ["", "a", "a/b", "a/b/", "/b/c", "a//c", "A/b/c", "1a/b/c", f"{'a' * 64}/b/c", "é/b/c", "a\n/b/c"]
)
def test_text_without_three_parts_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Address.parse(text)
    assert refused.value.code == "E_ADDRESS"


@pytest.mark.parametrize(
    "text",
    ["110/homo_sapiens/GRCh38", "0/a/.a", "0110/a_b_1/...", f"{'9' * 16}/{'s' * 64}/{'A' * 64}"],
)
def test_good_dataset_ids_come_back_as_written(text: str) -> None:
    assert str(DatasetId.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "E_ID_PATH"),
        ("../x/y", "E_ID_PATH"),
        ("110/../GRCh38", "E_ID_PATH"),
        ("110/homo_sapiens/..", "E_ID_PATH"),
        ("/110/homo_sapiens/GRCh38", "E_ID_PATH"),
        ("110//GRCh38", "E_ID_PATH"),
        ("./homo_sapiens/GRCh38", "E_ID_PATH"),
        ("110/homo_sapiens", "E_ID_PATH"),
        ("110/homo_sapiens/GRCh38/", "E_ID_PATH"),
        ("%2e%2e%2f/a/b", "E_ID_CHARS"),
        ("%2e%2e%2f", "E_ID_CHARS"),
        ("data²", "E_ID_CHARS"),
        ("h" * 300, "E_ID_LENGTH"),
        ("110/homo_sapiens/%2e%2e", "E_ID_CHARS"),
        ("11\u00b2/a/b", "E_ID_CHARS"),
        ("\uff11\uff11/a/b", "E_ID_CHARS"),
        ("\u0663/a/b", "E_ID_CHARS"),
        ("110/data\u2167/b", "E_ID_CHARS"),
        ("110/caf\u00e9/b", "E_ID_CHARS"),
        ("110/homo_s\u0430piens/b", "E_ID_CHARS"),
        ("110/Homo/b", "E_ID_CHARS"),
        ("110/_a/b", "E_ID_CHARS"),
        ("110/a__b/c", "E_ID_CHARS"),
        ("110/a/b c", "E_ID_CHARS"),
        ("110/a/b\n", "E_ID_CHARS"),
        (" 110/a/b", "E_ID_CHARS"),
        ("-1/a/b", "E_ID_CHARS"),
        ("110/a/b\\c", "E_ID_CHARS"),
        ("110/a/b\x00", "E_ID_CHARS"),
        (f"{'1' * 17}/a/b", "E_ID_LENGTH"),
        (f"110/{'a' * 65}/b", "E_ID_LENGTH"),
        (f"110/a/{'b' * 300}", "E_ID_LENGTH"),
    ],
)
def test_bad_dataset_ids_are_refused_with_their_code(text: str, code: str) -> None:
    problem = dataset_id_problem(text)
    assert problem is not None
    assert problem.code == code
    with pytest.raises(InvalidInput):
        DatasetId.parse(text)


def test_releases_are_ordered_as_numbers() -> None:
    ids = [DatasetId.parse(f"{release}/a/b") for release in ("100", "9", "09", "10")]
    assert [i.release for i in sorted(ids, key=lambda i: i.sort_key)] == ["09", "9", "10", "100"]


def test_scope_is_the_line_of_releases() -> None:
    assert DatasetId.parse("110/homo_sapiens/GRCh38").scope == "homo_sapiens/GRCh38"


def test_good_digest_comes_back_as_written() -> None:
    assert parse_digest(f"sha256:{HEX}") == f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "E_HASH_PREFIX"),
        (HEX, "E_HASH_PREFIX"),
        (f"md5:{HEX}", "E_HASH_ALG"),
        (f"sha1:{HEX}", "E_HASH_ALG"),
        (f"SHA256:{HEX}", "E_HASH_ALG"),
        (f"sha256:{HEX[:-1]}", "E_HASH_LENGTH"),
        (f"sha256:{HEX}0", "E_HASH_LENGTH"),
        (f"sha256:{HEX.upper()}", "E_HASH_CHARS"),
        (f"sha256:sha256:{HEX}", "E_HASH_CHARS"),
        (f"sha256:{HEX}\n", "E_HASH_CHARS"),
        ("sha256:", "E_HASH_CHARS"),
    ],
)
def test_bad_digests_are_refused_with_their_code(text: str, code: str) -> None:
    problem = digest_problem(text)
    assert problem is not None
    assert problem.code == code
    with pytest.raises(InvalidInput):
        parse_digest(text)


@pytest.mark.parametrize(
    ("before", "after", "actions"),
    [(None, "x", ("create",)), ("x", "y", ("update",)), ("x", None, ("delete",))],
)
def test_actions_of_a_change(before: str | None, after: str | None, actions: tuple[str, ...]) -> None:
    assert Change(Address("s", "k", "a"), "slot", before, after).actions == actions


def test_merging_changes_sets_and_drops_slots() -> None:
    address = Address("s", "k", "a")
    changes = [Change(address, "x", "1", None), Change(address, "y", None, "2")]
    assert merged({"x": "1", "z": "3"}, changes) == {"y": "2", "z": "3"}
    assert merged(NOTHING, []) == {}


def test_place_is_shown_with_its_line_where_it_has_one() -> None:
    assert (str(Place("a.yaml", 3, 1)), str(Place("a.yaml", 0, 0))) == ("a.yaml:3", "a.yaml")


def test_identity_of_a_store_is_its_location_and_not_whether_it_may_be_made() -> None:
    place = Place("stores.yaml", 1, 1)
    settings = {"root": "file:var", "environment": "prod", "create": True}
    config = StoreConfig(name="serving", kind="serving", settings=settings, place=place)
    assert config.identity == "serving serving environment=prod root=file:var"
