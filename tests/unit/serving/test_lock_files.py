"""The four files of a publish: exact bytes and strict readers."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from reconciler.errors import InvalidInput
from reconciler.stores.serving.lock_files import (
    LifecycleState,
    Publication,
    Published,
    encode_immutable,
    encode_lock,
    encode_state,
    encode_transitions,
    parse_immutable,
    parse_lock,
    parse_state,
    parse_transitions,
)
from tests.unit.serving.examples import HUMAN, changed, json_bytes

HASHES = Published(
    "efdf7e01aeba83d6a851a7e8b2703fcba4f8d90d5bc67b103c724fcab4b74f9d",
    "6a70d98b55f71fa10b6d012fbd7aebc45daa182bf722e9b7f07f855dabf2703f",
)
LOCK = (
    b'{"manifest_sha256":"efdf7e01aeba83d6a851a7e8b2703fcba4f8d90d5bc67b103c724fcab4b74f9d",'
    b'"sqlite_sha256":"6a70d98b55f71fa10b6d012fbd7aebc45daa182bf722e9b7f07f855dabf2703f"}'
)
DATASET = '{"assembly":"GRCh38","release":"110","species":"homo_sapiens"}'
SHORT = Published("m", "s")
PUBLICATION = Publication(HUMAN, SHORT, "1714592400", "atlas-store")


def test_a_lock_is_the_169_bytes_of_the_contract() -> None:
    assert encode_lock(HASHES) == LOCK
    assert len(LOCK) == 169
    assert parse_lock(LOCK) == HASHES


def test_the_immutability_marker_is_the_bytes_of_the_contract() -> None:
    data = (
        f'{{"dataset":{DATASET},"immutability":"published","manifest_sha256":"m","schema_version":1,'
        '"sqlite_sha256":"s"}'
    ).encode()
    assert encode_immutable(HUMAN, SHORT) == data
    assert parse_immutable(data) == (HUMAN, SHORT)


def test_the_transitions_are_the_bytes_of_the_contract() -> None:
    data = (
        f'[{{"dataset":{DATASET},"from_state":"draft","manifest_sha256":"m",'
        '"reason":"manifest-validated-publish","schema_version":1,"sqlite_sha256":"s","to_state":"published",'
        '"transition_at":"1714592400","transition_by":"atlas-store"}]'
    ).encode()
    assert encode_transitions(PUBLICATION) == data
    assert parse_transitions(data) == (PUBLICATION,)


def test_the_state_is_the_bytes_of_the_contract() -> None:
    data = (
        f'{{"dataset":{DATASET},"reason":"manifest-validated-publish","schema_version":1,"state":"published",'
        '"transition_at":"1714592400","transition_by":"atlas-store","transition_count":1}'
    ).encode()
    assert encode_state(PUBLICATION) == data
    assert parse_state(data) == LifecycleState(HUMAN, "published", "1714592400", "atlas-store")


@pytest.mark.parametrize(
    ("read", "data", "path", "value", "code"),
    [
        (parse_lock, LOCK, "note", 1, "E_UNKNOWN_FIELD"),
        (parse_lock, LOCK, "sqlite_sha256", ..., "E_REQUIRED"),
        (parse_lock, LOCK, "sqlite_sha256", None, "E_TYPE"),
        (parse_immutable, encode_immutable(HUMAN, SHORT), "immutability", "draft", "E_TYPE"),
        (parse_immutable, encode_immutable(HUMAN, SHORT), "dataset.release", "x", "E_ID_CHARS"),
        (parse_state, encode_state(PUBLICATION), "state", "retired", "E_TYPE"),
        (parse_state, encode_state(PUBLICATION), "schema_version", 2, "E_SCHEMA_VERSION"),
    ],
)
def test_a_record_that_breaks_the_contract_is_refused(
    read: Callable[[bytes], object], data: bytes, path: str, value: object, code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(json_bytes(changed(json.loads(data), path, value)))
    assert refused.value.code == code


def test_transitions_that_are_not_a_list_are_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_transitions(b"{}")
    assert refused.value.code == "E_TYPE"
