"""The snapshot document: it comes back as it was, holds no secret, and nothing made up is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.canonical import canonical, sha256_digest
from reconciler.contents import Content
from reconciler.errors import InvalidInput, Problem
from reconciler.ledger import Inventory
from reconciler.model import Address, Depth, Observed, Place, StoreConfig, public_settings
from reconciler.snapshot import Snapshot, StoreSnapshot, read_snapshot
from tests.unit.core.values import DIGEST, LATEST, LISTED, PUBLISHED, dataset

BROKEN = Problem(code="E_MANIFEST_HASH", message="broken", path="x", line=1, column=2, got="y", fix="mend")
WHOLE = Snapshot(
    time=1_770_000_000,
    tool="reconciler 1",
    stores=(
        StoreSnapshot(
            name="m",
            kind="memory",
            settings={"name": "unit"},
            revision=DIGEST,
            depth=Depth.MANIFESTS,
            observed=(
                Observed(LATEST, {"dataset": dataset().key, "binding": "catalog"}),
                Observed(dataset(), {**LISTED, "diffs": ("a", "b")}, (BROKEN,)),
                Observed(dataset(111), PUBLISHED),
            ),
            inventory=Inventory({dataset(): LISTED, dataset(111): {}}),
            contents=(Content(address=dataset(111), facts={"genes": 3, "schema": "1"}, document={"a": [1]}),),
        ),
    ),
)


def sealed(document: dict[str, Any]) -> bytes:
    body = {name: value for name, value in document.items() if name != "digest"}
    return canonical({"digest": sha256_digest(canonical(body)), **body})


def spoilt(**members: Any) -> bytes:  # noqa: ANN401 - JSON
    """The snapshot with other members in its one store, sealed again."""
    document = json.loads(canonical(WHOLE.to_json()))
    document["stores"][0] |= members
    return sealed(document)


def test_snapshot_comes_back_as_it_was() -> None:
    assert read_snapshot(canonical(WHOLE.to_json()), where="f") == WHOLE


def test_printed_snapshot_is_as_good_as_the_written_one() -> None:
    assert read_snapshot(json.dumps(WHOLE.to_json()).encode(), where="f") == WHOLE


def test_settings_that_say_how_a_store_is_reached_are_left_out_and_locations_lose_their_secrets() -> None:
    settings = {
        "database": "postgresql://ada:lovelace@db.example.org/registry?password=babbage",
        "objects": "s3://bucket/prefix",
        "credentials": {"env": "KEY"},
        "region": "eu-1",
        "create": True,
    }
    assert public_settings(settings) == {
        "database": "postgresql://db.example.org/registry",
        "objects": "s3://bucket/prefix",
    }


ENTRY = [str(dataset()), {"entry": "listed"}, []]


@pytest.mark.parametrize(
    "members",
    [
        {"observed": [ENTRY, ENTRY]},
        {"observed": [[str(dataset(111)), {}, []], ENTRY]},
        {"observed": [["other/dataset/110/homo_sapiens/GRCh38", {}, []]]},
        {"observed": [["m/dataset", {}, []]]},
        {"observed": [["m/dataset/" + "1" * 3_000, {}, []]]},
        {"observed": [[str(dataset()), {"entry": 7}, []]]},
        {"observed": [[str(dataset()), {"entry": None}, []]]},
        {"observed": [[str(dataset()), {"entry": "listed\u202e"}, []]]},
        {"observed": [[str(dataset()), {"entry": "two\nlines"}, []]]},
        {"observed": [[str(dataset()), {"entry": ""}, []]]},
        {"observed": [[str(dataset()), {"entry": "x" * 2_001}, []]]},
        {"observed": [[str(dataset()), {"entry": "listed"}]]},
        {"observed": [[str(dataset()), {}, [{"code": "E_X"}]]]},
        {"inventory": [[str(dataset()), {}], [str(dataset()), {}]]},
        {"inventory": [[str(dataset(111)), {}], [str(dataset()), {}]]},
        {"contents": [[str(dataset()), {"genes": 1.5}, None]]},
        {"contents": [[str(dataset()), {"genes\u202e": 1}, None]]},
        {"contents": [[str(dataset()), {}, "x" * 70_000]]},
        {"contents": [[str(dataset()), {str(n): n for n in range(21)}, None]]},
        {"contents": [[str(dataset()), {}, None], [str(dataset()), {}, None]]},
        {"contents": [[str(dataset(n)), {}, None] for n in range(1000, 2001)]},
        {"depth": "none"},
        {"hook": "rm -rf /"},
    ],
)
def test_made_up_snapshot_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_snapshot(spoilt(**members), where="f")
    assert refused.value.code == "E_SNAPSHOT_SHAPE"


def test_store_that_is_given_twice_is_refused() -> None:
    document = json.loads(canonical(WHOLE.to_json()))
    document["stores"] *= 2
    with pytest.raises(InvalidInput, match="E_SNAPSHOT_SHAPE"):
        read_snapshot(sealed(document), where="f")


def declared(**settings: Any) -> StoreConfig:  # noqa: ANN401 - YAML
    return StoreConfig(name="m", kind="memory", settings=settings, place=Place("stores.yaml", 4, 3))


@pytest.mark.parametrize("name", ["unit", {"env": "NAME"}])
def test_store_is_known_by_its_settings_and_by_what_a_variable_held(name: object) -> None:
    assert WHOLE.of_store(declared(name=name, create=True)) is WHOLE.stores[0]


@pytest.mark.parametrize(
    "config",
    [
        declared(name="other"),
        declared(name="unit", environment="prod"),
        declared(),
        StoreConfig(name="m", kind="serving", settings={"name": "unit"}, place=Place("s", 1, 1)),
        StoreConfig(name="n", kind="memory", settings={"name": "unit"}, place=Place("s", 1, 1)),
    ],
)
def test_another_store_is_not_taken_for_this_one(config: StoreConfig) -> None:
    with pytest.raises(InvalidInput) as refused:
        WHOLE.of_store(config)
    assert refused.value.code == "E_SNAPSHOT_STORE"


def test_addresses_of_a_snapshot_keep_their_parts() -> None:
    (store,) = read_snapshot(canonical(WHOLE.to_json()), where="f").stores
    assert store.observed[0].address == Address("m", "alias", "latest")
