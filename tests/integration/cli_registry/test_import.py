"""`import` of a registry: one document for each dataset, whose plan is empty."""

from __future__ import annotations

from tests.integration.cli_registry.conftest import D1, D2, H1, STORE
from tests.integration.gitops.conftest import Repository

DATASET = f"""# What store registry held when 'reconciler import' looked.
apiVersion: reconciler/v1
kind: Dataset
store: registry
namespace: ethereum
name: mainnet
versions:
  "1.10.0": {{manifest: "{D2}"}}
  "1.9.0": {{manifest: "{D1}"}}
dev: {{manifest: "{D2}"}}
"""


def test_a_registry_becomes_one_document_for_each_dataset(filled: Repository) -> None:
    ran = filled.ok("import", *STORE, "--into", "desired/datasets")

    assert (filled.root / "desired/datasets/registry/ethereum/mainnet.yaml").read_text() == DATASET
    assert ran.out.splitlines()[-1] == (
        "wrote 1 file for 3 addresses; the plan with them is empty, adopted: 7"
    )


def test_links_dev_and_yanked_versions_are_declared_as_they_are(filled: Repository) -> None:
    filled.ok("registry", "link", "ethereum/sepolia", H1, "--keep-dev", *STORE)
    filled.ok("registry", "tag", "yank", "ethereum/mainnet@1.10.0", *STORE)
    filled.ok("registry", "tag", "delete", "ethereum/mainnet@dev", *STORE)

    files = filled.ok("import", *STORE, "--output", "json").document["files"]

    assert [file["text"].split("name: ")[1].splitlines() for file in files] == [
        [
            "mainnet",
            "versions:",
            f'  "1.10.0": {{manifest: "{D2}", yanked: true}}',
            f'  "1.9.0": {{manifest: "{D1}"}}',
        ],
        ["sepolia", "links:", f'  - "{D1}"'],
    ]
