"""The evidence of a registry: its packets stand in the database, and verify like any other."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cli_registry.conftest import D1, H1, STORE, dataset
from tests.integration.evidence.conftest import write_key
from tests.integration.gitops.conftest import Repository
from tests.unit.evidence.packets import ADA


@pytest.fixture
def tagged(repository: Repository) -> Repository:
    """A registry after an apply that registers, links and tags one manifest."""
    body = "versions:\n  1.0.0: {manifest: manifests/one.json}\n"
    (repository.root / "desired/datasets/mainnet.yaml").write_text(dataset(body))
    repository.commit("Declare a version")
    repository.ok("apply", "--yes")
    return repository


def kept(repo: Repository) -> list[tuple[int, bytes]]:
    with closing(sqlite3.connect(repo.root / "var/registry.db")) as database:
        return list(database.execute("SELECT seq, packet FROM reconciler_packets ORDER BY seq"))


def test_an_apply_leaves_its_packet_in_the_database(tagged: Repository) -> None:
    ((seq, packet),) = kept(tagged)
    assert (seq, json.loads(packet)["release_id"][:11]) == (1, "registry-1-")


def test_every_write_by_hand_leaves_its_packet_in_the_database_at_once(filled: Repository) -> None:
    assert [seq for seq, _ in kept(filled)] == [1, 2, 3, 4, 5, 6]
    filled.ok("registry", "tag", "set", "ethereum/mainnet@1.9.1", H1, *STORE)
    packets = kept(filled)
    assert [seq for seq, _ in packets] == [1, 2, 3, 4, 5, 6, 7]
    assert json.loads(packets[-1][1])["previous"] == json.loads(packets[-2][1])["root"]


def test_a_second_apply_with_nothing_to_do_changes_no_row(tagged: Repository) -> None:
    before = (tagged.root / "var/registry.db").read_bytes()
    tagged.ok("apply", "--yes")
    assert (tagged.root / "var/registry.db").read_bytes() == before


def test_the_evidence_of_a_registry_verifies_and_names_what_was_published(
    tagged: Repository, tmp_path: Path
) -> None:
    write_key(tmp_path, "ada", ADA)
    tagged.ok("evidence", "collect", "--release", "registry#1", "--into", "release")
    tagged.ok("evidence", "sign", "release", "--key", str(tmp_path / "ada.key"))
    tagged.ok("evidence", "verify", "release", "--key", str(tmp_path / "ada.pub"))
    tagged.ok("verify", "--packet", "release", "--key", str(tmp_path / "ada.pub"))
    manifest = json.loads((tagged.root / "release/evidence/manifest.json").read_bytes())
    assert manifest["dataset_assets"] == [{"address": f"registry/manifest/{D1}", "digest": D1}]


def test_a_packet_that_was_changed_in_the_database_is_found(tagged: Repository) -> None:
    with closing(sqlite3.connect(tagged.root / "var/registry.db")) as database:
        database.execute("UPDATE reconciler_packets SET packet = '{}'")
        database.commit()
    ran = tagged.run("verify")
    assert (ran.code, ran.error) == (8, "E_EVIDENCE_KEPT")
