"""`verify`: stores, ledgers, signed packets and servers, held against git and against each other."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.evidence.conftest import Keys
from tests.integration.gitops.conftest import Repository, make_published

SHARED = Path(__file__).resolve().parents[4] / "shared/data/serving/release-evidence"
DATASET = "release=111/species=homo_sapiens/assembly=GRCh38"


def proved(repo: Repository, *words: str) -> dict[str, bool]:
    ran = repo.run("verify", "--store", "serving", "--output", "json", *words)
    (store,) = ran.document["stores"]
    assert ran.document["verified"] == (ran.code == 0)
    return {check["name"]: check["proved"] for check in store["checks"]}


ALL = {"ledger": True, "packets": True, "live": True, "release": True}


def test_a_store_at_its_commit_is_proved(applied: Repository) -> None:
    before = applied.store()
    assert proved(applied) == ALL
    assert proved(applied, "--at", "main", "--deep") == ALL
    assert applied.store() == before


def test_a_commit_that_was_not_applied_is_not_proved(applied: Repository) -> None:
    applied.edit("desired/catalogs/human.yaml", "latest: 111/", "latest: 110/")
    applied.commit("Go back")
    ran = applied.run("verify", "--store", "serving")
    assert (ran.code, ran.error) == (8, "E_NOT_AT_COMMIT")
    assert "serving/alias/latest" in ran.err
    assert proved(applied, "--at", "HEAD~1") == ALL


def test_a_changed_manifest_is_found_and_named(applied: Repository) -> None:
    place = applied.root / "var/serving" / DATASET / "derived/manifest.json"
    place.write_bytes(place.read_bytes().replace(b"GRCh38", b"GRCh37", 1))
    assert proved(applied) == {**ALL, "live": False}


def test_a_changed_database_is_found_when_everything_is_read(applied: Repository) -> None:
    place = applied.root / "var/serving" / DATASET / "derived/gene_summary.sqlite"
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)
    assert proved(applied, "--deep") == {**ALL, "live": False}


def test_a_packet_that_was_changed_beside_its_ledger_is_found(applied: Repository) -> None:
    place = applied.root / f"var/serving/.reconciler/evidence/{1:020d}.packet.json"
    place.write_bytes(place.read_bytes().replace(b"serving-1", b"serving-9"))
    assert proved(applied) == {**ALL, "packets": False}


def test_a_broken_ledger_is_an_integrity_failure(applied: Repository) -> None:
    (applied.root / f"var/serving/.reconciler/ledger/{1:020d}.outcome.json").unlink()
    ran = applied.run("verify", "--store", "serving")
    assert (ran.code, ran.error) == (8, "E_LEDGER_CHAIN")


# A signed packet vouches for the ledger


def signed(keys: Keys) -> tuple[str, ...]:
    return ("--packet", "release", "--key", keys.public("ada"))


def test_a_signed_packet_vouches_for_the_ledger_up_to_its_release(collected: Repository, keys: Keys) -> None:
    assert proved(collected, *signed(keys)) == {**ALL, "signed": True}
    collected.edit("desired/catalogs/human.yaml", "latest: 111/", "latest: 110/")
    collected.commit("Go back")
    collected.ok("apply", "--yes")
    ran = collected.ok("verify", "--store", "serving", *signed(keys))
    assert "releases 1 to 2 signed by" in ran.out
    assert "1 later not covered" in ran.out


def test_a_ledger_that_was_written_anew_does_not_follow_from_the_signed_packet(
    collected: Repository, keys: Keys
) -> None:
    """The chain, the packets and the live state all agree with each other; only the signature tells."""
    shutil.rmtree(collected.root / "var")
    make_published(collected).ok("apply", "--yes", "--pull-request", "another")
    assert proved(collected) == ALL
    ran = collected.run("verify", "--store", "serving", *signed(keys))
    assert (ran.code, ran.error) == (8, "E_EVIDENCE_CHAIN")


def test_a_packet_without_a_key_that_counts_is_refused(collected: Repository) -> None:
    ran = collected.run("verify", "--store", "serving", "--packet", "release")
    assert (ran.code, ran.error) == (3, "E_USAGE")


# A server


class Answers(BaseHTTPRequestHandler):
    """Answers as the reference's server does, from what the test put into its class."""

    ready = 200
    body = b"{}"

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self.respond(self.ready, b"ready")
        elif self.path.startswith("/v1/genes/count?release=110&species=homo_sapiens&assembly=GRCh38"):
            self.respond(200, self.body)
        else:
            self.respond(404, b"{}")

    def respond(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def server(*, ready: int = 200, body: bytes) -> Iterator[str]:
    handler = type("Handler", (Answers,), {"ready": ready, "body": body})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


def epoch(repo: Repository) -> str:
    """The struct-order digest of the live catalog, from its definition (contract 2.1 and 2.2)."""
    catalog = json.loads((repo.root / "var/serving/catalog.json").read_bytes())
    ordered = {
        "model_version": "v1",
        "datasets": [
            {
                "dataset": {part: entry["dataset"][part] for part in ("release", "species", "assembly")},
                "manifest_path": entry["manifest_path"],
                "sqlite_path": entry["sqlite_path"],
            }
            for entry in catalog["datasets"]
        ],
    }
    return hashlib.sha256(json.dumps(ordered, separators=(",", ":")).encode()).hexdigest()


def count(value: str) -> bytes:
    return json.dumps({"count": 37, "provenance": {"catalog_epoch": value}}).encode()


def flat(value: str) -> bytes:
    """As the server's release 0.2.2 answers."""
    return json.dumps(
        {"catalog_epoch": value, "dataset": "110/homo_sapiens/GRCh38", "gene_count": 15}
    ).encode()


@pytest.mark.parametrize("answer", [count, flat])
def test_a_server_that_adopted_the_catalog_is_proved(
    applied: Repository, answer: Callable[[str], bytes]
) -> None:
    with server(body=answer(epoch(applied))) as url:
        assert proved(applied, "--server", url) == {**ALL, "ready": True, "epoch": True}


@pytest.mark.parametrize(
    ("ready", "body", "code"),
    [
        (503, None, "E_SERVER_READY"),
        (200, count("0" * 64), "E_SERVER_EPOCH"),
        (200, b"{}", "E_SERVER_EPOCH"),
        (200, b"<html>", "E_SERVER_ANSWER"),
    ],
)
def test_a_server_that_did_not_adopt_the_catalog_is_not_proved(
    applied: Repository, ready: int, body: bytes | None, code: str
) -> None:
    with server(ready=ready, body=body or count(epoch(applied))) as url:
        ran = applied.run("verify", "--store", "serving", "--server", url)
    assert (ran.code, ran.error) == (10, code)


def test_a_server_that_does_not_answer_is_unreachable(applied: Repository) -> None:
    with server(body=b"{}") as url:
        pass
    ran = applied.run("verify", "--store", "serving", "--server", url)
    assert (ran.code, ran.error) == (10, "E_UNREACHABLE")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.org", "E_URL_SCHEME"),
        ("http://", "E_URL_SYNTAX"),
        ("http://good\\@evil/", "E_SECRET_IN_CONFIG"),
        ("http://user:canary@example.org", "E_SECRET_IN_CONFIG"),
        ("http://example.org/?token=canary", "E_SECRET_IN_CONFIG"),
        ("http://example.org:port", "E_URL_SYNTAX"),
    ],
)
def test_an_address_that_is_no_server_is_refused_without_its_secrets(
    applied: Repository, url: str, code: str
) -> None:
    ran = applied.run("verify", "--store", "serving", "--server", url)
    assert (ran.code, ran.error, "canary" in ran.err) == (3, code, False)


# The reference's own evidence


@pytest.mark.skipif(
    not SHARED.exists(), reason="the public release evidence does not stand beside this checkout"
)
def test_the_evidence_of_the_reference_does_not_verify_and_the_reasons_are_named(
    applied: Repository, keys: Keys
) -> None:
    ran = applied.run("evidence", "verify", str(SHARED), "--key", keys.public("ada"), "--output", "json")
    assert ran.code == 8
    checks = {check["name"]: check for check in ran.document["checks"]}
    assert [name for name, check in checks.items() if check["proved"]] == []
    assert checks["packet"]["said"] == "2 of 25 listed files are there as stated"
    differing = [p["path"] for p in checks["packet"]["problems"] if "another sha256" in p["message"]]
    assert [path.partition("ops/release/")[2] for path in differing] == [
        "evidence/manifest.json",
        "signing/checksums.json",
        "signing/release-sign.json",
        "signing/release-verify.json",
    ]
    assert "no key has signed anything" in checks["signature"]["problems"][0]["message"]
    assert "its own report says 'ok'" in checks["report"]["problems"][0]["message"]
