"""Packets: a pure function of the ledger record, in shapes that are written out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reconciler.canonical import canonical, sha256_digest, sha256_hex
from reconciler.errors import Corrupt
from reconciler.evidence.packet import (
    CHECKSUMS,
    IDENTITY,
    INTENT,
    MANIFEST,
    OUTCOME,
    PACKET,
    PROVENANCE,
    is_member,
    read_index,
)
from reconciler.ledger import RecordBytes, Run, outcome_bytes
from reconciler.model import Change, Outcome, Step, StepResult
from tests.unit.evidence import packets
from tests.unit.evidence.packets import (
    COMMIT,
    HUMAN,
    POLICY,
    PROMOTE,
    PUBLISH,
    RUN,
    documents,
    packet,
    second_packet,
)


def test_the_same_record_gives_the_same_bytes() -> None:
    assert dict(packet().members) == dict(packet(documents()).members)


def test_a_packet_holds_these_files() -> None:
    assert sorted(packet().members) == [
        "evidence/identity.json",
        "evidence/ledger/intent.json",
        "evidence/ledger/outcome.json",
        "evidence/manifest.json",
        "evidence/statements/provenance.json",
        "evidence/statements/verdict.json",
        "packet/packet.json",
        "provenance.json",
        "signing/checksums.json",
    ]


def test_the_record_stands_in_the_packet_byte_for_byte() -> None:
    members = packet().members
    assert (members[INTENT], members[OUTCOME]) == documents()


def test_identity_has_the_members_of_the_reference() -> None:
    assert json.loads(packet().members[IDENTITY]) == {
        "schema_version": 1,
        "release_id": "serving-1-cccccccccccc",
        "git_sha": COMMIT,
        "governance_version": f"policy@{POLICY}",
    }


def test_the_manifest_says_what_was_published_and_who_answers_for_it() -> None:
    manifest = json.loads(packet().members[MANIFEST])
    assert manifest["dataset_assets"] == [{"address": str(HUMAN), "digest": packets.MANIFEST}]
    assert manifest["heads"] == {"catalog": packets.MANIFEST}
    assert manifest["change"] == {
        "by": "git",
        "time": 1_700_000_000,
        "author": "Ada <ada@example.org>",
        "pull_request": "https://git.example.org/data/pull/7",
        "approvers": [],
        "owner": "genomics",
        "reason": "first release",
        "ticket": "DATA-42",
    }


def test_provenance_names_subject_commit_and_source() -> None:
    statement = json.loads(packet().members["evidence/statements/provenance.json"])
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": str(HUMAN), "digest": {"sha256": "1" * 64}}]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"] == [
        {"uri": "git+commit", "digest": {"gitCommit": COMMIT}},
        {"uri": "examples/builds/human-110", "name": str(HUMAN)},
    ]


def test_the_verdict_is_a_summary_of_what_policy_said() -> None:
    statement = json.loads(packet().members["evidence/statements/verdict.json"])
    assert statement["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert statement["subject"] == [{"name": "intent", "digest": {"sha256": "2" * 64}}]
    assert statement["predicate"] == {
        "verifier": {"id": "urn:reconciler:policy", "version": {"reconciler": "0.1.0"}},
        "timeVerified": "2023-11-14T22:13:20Z",
        "resourceUri": "urn:reconciler:store:serving",
        "policy": {"uri": "urn:reconciler:policy", "digest": {"sha256": "3" * 64}},
        "verificationResult": "PASSED",
        "verifiedLevels": ["RECONCILER_POLICY"],
        "urn:reconciler:findings": [{"rule": "tombstone", "severity": "warn", "count": 2}],
    }


def test_a_release_that_published_nothing_has_no_provenance_statement() -> None:
    assert "evidence/statements/provenance.json" not in packet(documents(steps=(PROMOTE,))).members


def test_a_step_that_did_not_land_is_not_claimed_as_published() -> None:
    closed = documents()
    results = [
        StepResult(step=PUBLISH.id, outcome=Outcome.FAILED),
        StepResult(step=PROMOTE.id, outcome=Outcome.NOT_STARTED),
    ]
    failed = outcome_bytes(seq=1, intent_sha=sha256_digest(closed.intent), results=results, heads={})
    members = packet(RecordBytes(closed.intent, failed)).members
    assert "evidence/statements/provenance.json" not in members
    assert json.loads(members[MANIFEST])["dataset_assets"] == []


def test_a_record_by_hand_has_a_packet_without_a_verdict() -> None:
    members = packet(documents(run=Run(by="hand", time=5, tool="reconciler 0.1.0", reason="repair"))).members
    assert "evidence/statements/verdict.json" not in members
    assert json.loads(members[IDENTITY]) == {
        "schema_version": 1,
        "release_id": "serving-1",
        "git_sha": "",
        "governance_version": "by hand",
    }


def test_a_location_in_a_source_loses_what_may_be_a_secret() -> None:
    step = Step(
        id="publish",
        store="serving",
        unit="dataset",
        changes=(Change(HUMAN, "artifact", None, packets.MANIFEST),),
        sources={HUMAN: "https://user:canary@example.org/a.tar?X-Signature=canary"},
    )
    statement = packet(documents(steps=(step,))).members["evidence/statements/provenance.json"]
    assert b"canary" not in statement
    assert b"https://example.org/a.tar" in statement


def test_every_hash_is_that_of_its_file() -> None:
    members = packet().members
    checksums = json.loads(members[CHECKSUMS])["items"]
    index = json.loads(members[PACKET])["items"]
    assert [(item["path"], item["sha256"]) for item in checksums] == [
        (path, sha256_hex(members[path])) for path in sorted(members) if path not in {CHECKSUMS, PACKET}
    ]
    assert [(item["path"], item["sha256"], item["bytes"]) for item in index] == [
        (path, sha256_hex(members[path]), len(members[path])) for path in sorted(members) if path != PACKET
    ]
    assert json.loads(members[PROVENANCE])["evidence_manifest_sha256"] == sha256_hex(members[MANIFEST])


def test_the_root_covers_the_list_the_record_and_the_packet_before() -> None:
    document = json.loads(second_packet().members[PACKET])
    root = document.pop("root")
    assert root == sha256_digest(canonical(document))
    assert document["previous"] == packet().index.root


def test_approvals_stand_in_the_packet_as_they_were_signed() -> None:
    members = packet(
        documents(run=replace(RUN, approvals=("{one}", "{two}"), approvers=("ada", "bob")))
    ).members
    assert (members["signing/approvals/01.json"], members["signing/approvals/02.json"]) == (
        b"{one}",
        b"{two}",
    )


def index_with(**over: object) -> bytes:
    """An index with other members and a root that fits them, as whoever edits one would leave it."""
    document = {**json.loads(packet().members[PACKET]), **over}
    document.pop("root")
    return canonical({**document, "root": sha256_digest(canonical(document))})


ITEMS = json.loads(packet().members[PACKET])["items"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        packet().members[PACKET] + b"\n",
        packet().members[PACKET].replace(b'"seq":1', b'"seq": 1'),
        packet().members[PACKET].replace(b'"seq":1', b'"seq":2'),
        index_with(schema="reconciler/packet/v2"),
        index_with(schema_version=2),
        index_with(more=1),
        index_with(items=ITEMS[::-1]),
        index_with(items=[*ITEMS, ITEMS[-1]]),
        index_with(items=ITEMS[1:]),
        index_with(items=[]),
        index_with(required_minimum=[]),
        index_with(items=[{**ITEMS[0], "sha256": ITEMS[0]["sha256"].upper()}, *ITEMS[1:]]),
        index_with(items=[{**ITEMS[0], "bytes": -1}, *ITEMS[1:]]),
        index_with(items=[{**ITEMS[0], "bytes": 1 << 40}, *ITEMS[1:]]),
        index_with(
            items=sorted([*ITEMS, {"path": PACKET, "sha256": "1" * 64, "bytes": 1}], key=lambda i: i["path"])
        ),
    ],
)
def test_an_index_that_is_not_what_we_write_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt) as refused:
        read_index(data, where="packet.json")
    assert refused.value.code == "E_EVIDENCE_PACKET"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("packet/packet.json", True),
        ("signing/release.dsse.json", True),
        ("signing/approvals/07.json", True),
        ("evidence/statements/verdict.json", True),
        ("signing/approvals/7.json", False),
        ("evidence/statements/../x.json", False),
        ("evidence/other.json", False),
    ],
)
def test_which_files_a_packet_may_have_is_a_closed_list(path: str, expected: object) -> None:
    assert is_member(path) == expected
