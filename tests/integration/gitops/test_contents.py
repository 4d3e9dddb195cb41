"""Reviewers see what is inside of what a plan publishes or points at, from real stores and sources."""

from __future__ import annotations

import hashlib
import json
import shutil

from tests.integration.cli_registry.conftest import MANIFESTS, dataset
from tests.integration.cli_registry.conftest import repository as registry_repository
from tests.integration.gitops.changes import HUMAN, step_forward
from tests.integration.gitops.conftest import Repository

__all__ = ["registry_repository"]
HUMAN_111 = "serving/dataset/111/homo_sapiens/GRCh38"


def test_new_release_is_shown_beside_the_live_one(published: Repository) -> None:
    step_forward(published)
    plan = published.ok("plan", "--output", "json").document
    assert plan["contents"] == [
        {
            "address": HUMAN_111,
            "content": "111/homo_sapiens/GRCh38",
            "beside": "110/homo_sapiens/GRCh38",
            "facts": [
                {"name": "genes", "before": 15, "after": 37},
                {"name": "transcripts", "before": 15, "after": 37},
                {"name": "contigs", "before": 1, "after": 1},
                {"name": "bytes", "before": 126976, "after": 126976},
                {"name": "schema", "before": "1", "after": "1"},
            ],
            "differences": [
                "canonical_feature_counts.exon: 15 became 37",
            ],
            "problems": [],
        }
    ]


def test_what_is_inside_of_a_pack_is_shown_like_what_is_inside_of_its_build(published: Repository) -> None:
    step_forward(published)
    build = published.ok("plan", "--output", "json").document
    published.ok(
        *("dataset", "pack", "--root", "examples/builds/human-111", "--out", "human-111.tar"),
        *("--release", "111", "--species", "homo_sapiens", "--assembly", "GRCh38"),
    )
    published.edit(HUMAN, "examples/builds/human-111", "human-111.tar")
    published.commit("Take the pack")
    assert published.ok("plan", "--output", "json").document["contents"] == build["contents"]


def test_source_that_is_not_the_declared_one_is_said_and_stops_no_plan(published: Repository) -> None:
    step_forward(published)
    root = published.root / "examples/builds/human-111"
    manifest = next(root.rglob("manifest.json"))
    manifest.write_bytes(manifest.read_bytes().replace(b'"created_at":""', b'"created_at": ""'))
    (item,) = published.ok("plan", "--output", "json").document["contents"]
    assert [fact["after"] for fact in item["facts"]] == [None] * 5
    assert [problem["code"] for problem in item["problems"]] == ["E_SOURCE_MANIFEST"]
    shutil.rmtree(root)
    (item,) = published.ok("plan", "--output", "json").document["contents"]
    assert [problem["code"] for problem in item["problems"]] == ["E_SOURCE_MISSING"]


def test_what_is_inside_is_no_part_of_the_intent(published: Repository) -> None:
    step_forward(published)
    whole = published.ok("plan", "--output", "json").document
    shutil.rmtree(published.root / "examples/builds/human-111/release=111/species=homo_sapiens")
    partial = published.ok("plan", "--output", "json").document
    assert partial["contents"] != whole["contents"]
    assert partial["intent"] == whole["intent"]


def put(repository: Repository, name: str, document: object) -> str:
    """Write a manifest file; its digest."""
    data = json.dumps(document).encode()
    (repository.root / MANIFESTS / name).write_bytes(data)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def table(*columns: str) -> dict[str, object]:
    fields = [{"name": name, "type": "UInt64"} for name in columns]
    return {"schema": {"arrow": {"fields": fields}}}


def test_new_version_and_moved_names_of_a_registry_show_the_difference_of_their_manifests(
    registry_repository: Repository,
) -> None:
    repository = registry_repository
    put(repository, "a.json", {"kind": "evm-rpc", "start_block": 0, "tables": {"blocks": table("a", "b")}})
    first = dataset("versions:\n  1.0.0: {manifest: manifests/a.json}\n")
    file = repository.root / "desired/datasets/mainnet.yaml"
    file.write_text(first)
    repository.commit("One version")
    repository.ok("apply", "--yes")
    digest = put(
        repository,
        "b.json",
        {"kind": "evm-rpc", "start_block": 7, "tables": {"blocks": table("a", "n", "b"), "logs": table("x")}},
    )
    file.write_text(first + "  1.1.0: {manifest: manifests/b.json}\n")
    repository.commit("Another version")
    (item,) = repository.ok("plan", "--output", "json").document["contents"]
    assert (item["address"], item["content"]) == ("registry/tag/ethereum/mainnet@1.1.0", digest)
    facts = {fact["name"]: (fact["before"], fact["after"]) for fact in item["facts"]}
    assert (facts["tables"], facts["columns"]) == ((1, 2), (2, 4))
    assert item["differences"][:2] == [
        "start_block: 0 became 7",
        "tables.blocks.schema.arrow.fields.n: nothing became {'name': 'n', 'type': 'UInt64'}",
    ]
    assert item["differences"][2].startswith("tables.logs: nothing became {'schema': ")
    repository.ok("apply", "--yes")
    assert repository.ok("plan", "--output", "json").document["contents"] == []
