"""Pins are read strictly: a form that the reference would have ignored in silence is refused."""

from __future__ import annotations

import json

import pytest

from reconciler.desired.pins import gc_pins_of, manifest_ids, pins_of
from reconciler.errors import InvalidInput
from reconciler.governance import Pins

MOUSE = "1/mus_musculus/GRCm39"
DIGEST = "sha256:" + "c" * 64


def test_both_forms_of_an_id_pin_the_same_dataset() -> None:
    ids = [MOUSE, "release=2&species=homo_sapiens&assembly=GRCh38"]
    found = gc_pins_of(json.dumps({"dataset_ids": ids, "artifact_hashes": ["b" * 64, DIGEST]}).encode())
    assert found == Pins(
        datasets=frozenset({MOUSE, "2/homo_sapiens/GRCh38"}),
        digests=frozenset({"sha256:" + "b" * 64, DIGEST}),
    )


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"dataset_ids": []},
        {"dataset_ids": [], "artifact_hashes": [], "datasets": []},
        {"dataset_ids": MOUSE, "artifact_hashes": []},
        {"dataset_ids": [1], "artifact_hashes": []},
        {"dataset_ids": ["1/mus_musculus"], "artifact_hashes": []},
        {"dataset_ids": ["species=mus_musculus&release=1&assembly=GRCm39"], "artifact_hashes": []},
        {"dataset_ids": ["release=1&species=Mus&assembly=GRCm39"], "artifact_hashes": []},
        {"dataset_ids": [], "artifact_hashes": ["md5:" + "b" * 32]},
        {"dataset_ids": [], "artifact_hashes": ["B" * 64]},
    ],
)
def test_any_other_form_of_pins_is_refused(document: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        gc_pins_of(json.dumps(document).encode())
    assert (refused.value.code, refused.value.problems[0].path) == ("E_PINS", "ops/inventory/gc-pins.json")


@pytest.mark.parametrize(
    "text",
    ["dataset_ids: x\n", "images: {}\n", f"dataset_ids: [{MOUSE}, 'release=1&species=a&assembly=B']\n"],
)
def test_any_other_form_of_the_inventorys_ids_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        pins_of(text.encode())
    assert (refused.value.code, refused.value.problems[0].path) == ("E_PINS", "ops/inventory/pins.yaml")


@pytest.mark.parametrize("datasets", [None, {}, [MOUSE], [{"name": "m"}], [{"id": "1/mouse"}], [{"id": 1}]])
def test_a_dataset_manifest_without_usable_ids_is_refused(datasets: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        manifest_ids(json.dumps({"schema_version": 1, "datasets": datasets}).encode())
    assert refused.value.code == "E_PINS"


def test_the_dataset_manifest_lists_ids() -> None:
    data = {"schema_version": 1, "datasets": [{"name": "mouse", "id": MOUSE, "kind": "fixture", "paths": {}}]}
    assert manifest_ids(json.dumps(data).encode()) == {MOUSE}
