"""`latest.alias.json`: exact bytes and a strict reader."""

from __future__ import annotations

import json

import pytest

from reconciler.errors import Corrupt, InvalidInput
from reconciler.stores.serving.alias import Alias, encode_alias, parse_alias
from reconciler.stores.serving.documents import LIVE_ALIAS
from tests.unit.serving.examples import HUMAN, changed, json_bytes

SHA = "058cbdd160734ac2ff74816f4a07e54a2a9b4d135f63df85de69192453b30f3a"
EXAMPLE = (
    b'{"alias":"latest","catalog_sha256":"058cbdd160734ac2ff74816f4a07e54a2a9b4d135f63df85de69192453b30f3a",'
    b'"dataset":{"assembly":"GRCh38","release":"110","species":"homo_sapiens"},"policy":"promotion-gated",'
    b'"schema_version":1,"updated_at":"1714592400","updated_by":"atlas-cli"}'
)


def test_an_alias_is_the_bytes_of_the_contract() -> None:
    alias = Alias(dataset=HUMAN, catalog_sha256=SHA, updated_at="1714592400", updated_by="atlas-cli")
    assert encode_alias(alias) == EXAMPLE
    assert parse_alias(EXAMPLE) == alias


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("schema_version", 2, "E_SCHEMA_VERSION"),
        ("schema_version", "1", "E_TYPE"),
        ("alias", "stable", "E_TYPE"),
        ("dataset.release", "../x", "E_ID_PATH"),
        ("dataset.species", "Homo", "E_ID_CHARS"),
        ("dataset.note", "x", "E_UNKNOWN_FIELD"),
        ("policy", " ", "E_REQUIRED"),
        ("updated_at", "", "E_REQUIRED"),
        ("updated_at", 1714592400, "E_TYPE"),
        ("updated_by", "\t", "E_REQUIRED"),
        ("updated_by", ..., "E_REQUIRED"),
        ("catalog_sha256", SHA.upper(), "E_HASH_CHARS"),
        ("catalog_sha256", SHA[:-1], "E_HASH_CHARS"),
        ("note", "x", "E_UNKNOWN_FIELD"),
    ],
)
def test_an_alias_that_breaks_the_contract_is_refused(path: str, value: object, code: str) -> None:
    data = json_bytes(changed(json.loads(EXAMPLE), path, value))
    with pytest.raises(InvalidInput) as refused:
        parse_alias(data)
    assert refused.value.code == code
    with pytest.raises(Corrupt) as live:
        parse_alias(data, origin=LIVE_ALIAS)
    assert live.value.code == "E_LIVE_ALIAS"


def test_a_torn_alias_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_alias(EXAMPLE[:-20])
    assert refused.value.code == "E_JSON_SYNTAX"
