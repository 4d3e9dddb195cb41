"""The evidence of a real run: collected from the ledger, signed, bundled and verified on the command line."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.integration.command_line import CLEAN
from tests.integration.evidence.conftest import Keys
from tests.integration.gitops.conftest import Repository

MEMBERS = [
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
PACKETS = ".reconciler/evidence"


def files(place: Path) -> dict[str, bytes]:
    return {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


def packets(repo: Repository) -> dict[str, bytes]:
    return {name: data for name, data in repo.store().items() if name.startswith(PACKETS)}


def test_an_apply_leaves_the_packet_of_every_release_beside_the_ledger(applied: Repository) -> None:
    assert sorted(packets(applied)) == [
        f"{PACKETS}/00000000000000000001.packet.json",
        f"{PACKETS}/00000000000000000002.packet.json",
    ]


def test_the_packets_are_a_chain(applied: Repository) -> None:
    first, second = (json.loads(data) for _, data in sorted(packets(applied).items()))
    assert (first["previous"], second["previous"]) == (None, first["root"])


def test_a_second_apply_with_nothing_to_do_writes_nothing(applied: Repository) -> None:
    before = applied.store()
    applied.ok("apply", "--yes")
    assert applied.store() == before


@pytest.mark.parametrize("moment", ["mid", "fsync", "cas", "before", "after", "dirsync"])
def test_killed_while_a_packet_is_written_and_run_again_gives_the_same_bytes(
    published: Repository, moment: str, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(published.root, whole)
    Repository(whole).ok("apply", "--yes")
    killed = published.run("apply", "--yes", RECONCILER_FAILPOINTS=f"fs.packet.{moment}=kill")
    assert killed.code == -signal.SIGKILL
    published.ok("apply", "--yes")
    assert published.store() == Repository(whole).store()


def test_a_packet_that_cannot_be_written_is_told_and_fails_nothing(published: Repository) -> None:
    ran = published.run("apply", "--yes", RECONCILER_FAILPOINTS="fs.packet.before=ENOSPC")
    assert (ran.code, "the packet of the release is not written yet" in ran.err) == (0, True)
    published.ok("apply", "--yes")
    assert len(packets(published)) == 2


def test_lost_packets_are_made_again_with_the_same_bytes(applied: Repository) -> None:
    before = packets(applied)
    shutil.rmtree(applied.root / "var/serving" / PACKETS)
    applied.ok("apply", "--yes")
    assert packets(applied) == before


def test_collecting_twice_gives_the_same_files(applied: Repository) -> None:
    for into in ("one", "two", "two"):
        applied.ok("evidence", "collect", "--release", "serving#2", "--into", into)
    assert sorted(files(applied.root / "one")) == MEMBERS
    assert files(applied.root / "one") == files(applied.root / "two")


def test_collecting_takes_the_newest_release_of_a_store(applied: Repository) -> None:
    ran = applied.ok("evidence", "collect", "--store", "serving", "--into", "release", "--output", "json")
    assert (ran.document["release"], ran.document["files"]) == ("serving#2", MEMBERS)


def test_collecting_into_a_store_that_was_changed_in_its_packets_is_refused(applied: Repository) -> None:
    place = applied.root / "var/serving" / PACKETS / "00000000000000000002.packet.json"
    place.write_bytes(place.read_bytes().replace(b'"seq":2', b'"seq":3'))
    ran = applied.run("evidence", "collect", "--release", "serving#2", "--into", "release")
    assert (ran.code, ran.error) == (8, "E_EVIDENCE_KEPT")


def test_collecting_another_release_into_the_same_place_replaces_the_packet(
    collected: Repository, keys: Keys
) -> None:
    collected.ok("evidence", "collect", "--release", "serving#1", "--into", "release")
    assert "signing/release.dsse.json" not in files(collected.root / "release")
    assert "evidence/statements/verdict.json" not in files(collected.root / "release")
    collected.ok("evidence", "sign", "release", "--key", keys.private("ada"))
    collected.ok("evidence", "verify", "release", "--key", keys.public("ada"), "--release", "serving#1")


def test_collecting_again_keeps_the_signatures_of_the_same_packet(collected: Repository) -> None:
    before = files(collected.root / "release")
    collected.ok("evidence", "collect", "--release", "serving#2", "--into", "release")
    assert files(collected.root / "release") == before


def test_what_stands_beside_the_packet_is_left_alone(applied: Repository) -> None:
    (applied.root / "release/decisions").mkdir(parents=True)
    (applied.root / "release/decisions/0001.md").write_text("why\n")
    applied.ok("evidence", "collect", "--release", "serving#2", "--into", "release")
    assert (applied.root / "release/decisions/0001.md").read_text() == "why\n"


def test_a_file_that_no_packet_has_is_never_removed(applied: Repository) -> None:
    (applied.root / "release/evidence").mkdir(parents=True)
    (applied.root / "release/evidence/mine.txt").write_text("mine\n")
    ran = applied.run("evidence", "collect", "--release", "serving#2", "--into", "release")
    assert (ran.code, ran.error) == (3, "E_OUT_EXISTS")
    assert files(applied.root / "release") == {"evidence/mine.txt": b"mine\n"}


@pytest.mark.parametrize(
    ("release", "code"),
    [
        ("serving#3", "E_RELEASE"),
        ("serving#0", "E_RELEASE"),
        ("serving", "E_RELEASE"),
        ("x#1", "E_STORE_UNKNOWN"),
    ],
)
def test_a_release_that_does_not_exist_is_refused(applied: Repository, release: str, code: str) -> None:
    ran = applied.run("evidence", "collect", "--release", release, "--into", "release")
    assert (ran.code, ran.error) == (3, code)
    assert not (applied.root / "release").exists()


def test_a_store_without_a_record_has_no_release(repository: Repository) -> None:
    ran = repository.run("evidence", "collect", "--store", "serving", "--into", "release")
    assert (ran.code, ran.error) == (3, "E_RELEASE")


def test_a_dry_run_writes_nothing(applied: Repository, keys: Keys) -> None:
    shutil.rmtree(applied.root / "var/serving" / PACKETS)
    before = files(applied.root)
    applied.ok("evidence", "collect", "--release", "serving#2", "--into", "release", "--dry-run")
    assert files(applied.root) == before
    applied.ok("evidence", "collect", "--release", "serving#2", "--into", "release")
    before = files(applied.root)
    applied.ok("evidence", "sign", "release", "--key", keys.private("ada"), "--dry-run")
    applied.ok("evidence", "bundle", "release", "--out", "bundle.tar", "--dry-run")
    assert files(applied.root) == before


def test_a_signed_packet_verifies_and_says_what_is_proved_on_one_screen(
    collected: Repository, keys: Keys
) -> None:
    ran = collected.ok("evidence", "verify", "release", "--key", keys.public("ada"))
    lines = ran.out.splitlines()
    assert len(lines) <= 30
    assert "  publish        111/homo_sapiens/GRCh38   sha256:4f0a4b3ed561…" in lines
    assert "                 2 more" in lines
    assert "  set alias      latest   111/homo_sapiens/GRCh38" in lines
    assert [line.split()[:2] for line in lines if " proved" in line] == [
        [name, "proved"]
        for name in ("index", "members", "ledger", "derived", "signature", "release", "approvals")
    ]
    assert lines[-1] == "release: verified"


def test_verification_needs_no_repository_and_no_store(
    collected: Repository, keys: Keys, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    shutil.copytree(collected.root / "release", away / "release")
    assert Repository(away).ok("evidence", "verify", "release", "--key", keys.public("ada")).err == ""


def test_verification_without_a_key_proves_nothing_and_is_refused(collected: Repository) -> None:
    ran = collected.run("evidence", "verify", "release")
    assert (ran.code, ran.error) == (3, "E_USAGE")


def test_a_packet_signed_by_somebody_else_does_not_verify(collected: Repository, keys: Keys) -> None:
    ran = collected.run("evidence", "verify", "release", "--key", keys.public("eve"), "--output", "json")
    assert (ran.code, ran.document["verified"]) == (8, False)
    assert [check["name"] for check in ran.document["checks"] if not check["proved"]] == ["signature"]


def test_two_owners_sign_one_after_the_other(collected: Repository, keys: Keys) -> None:
    both = ("--key", keys.public("ada"), "--key", keys.public("bob"), "--threshold", "2")
    assert collected.run("evidence", "verify", "release", *both).code == 8
    collected.ok("evidence", "sign", "release", "--key", "env:SECOND", SECOND=keys.pem("bob"))
    collected.ok("evidence", "verify", "release", *both)


def test_a_trust_document_says_whose_signatures_count(collected: Repository, keys: Keys) -> None:
    owners = [{"name": owner, "public": Path(keys.public(owner)).read_text()} for owner in ("ada", "bob")]
    document = {"schema": "reconciler/trust/v1", "threshold": 1, "keys": owners}
    (collected.root / "trust.json").write_text(json.dumps(document))
    ran = collected.ok("evidence", "verify", "release", "--trust", "trust.json")
    assert "signed by ada (threshold 1)" in ran.out


def test_a_changed_member_is_named(collected: Repository, keys: Keys) -> None:
    place = collected.root / "release/evidence/identity.json"
    place.write_bytes(place.read_bytes().replace(b"serving", b"servinG"))
    ran = collected.run("evidence", "verify", "release", "--key", keys.public("ada"))
    assert (ran.code, ran.error) == (8, "E_EVIDENCE_MEMBER")
    assert "release/evidence/identity.json" in ran.err
    assert ran.out.splitlines()[-1] == "release: does NOT verify"


def test_a_link_in_a_packet_is_not_followed(collected: Repository, keys: Keys) -> None:
    place = collected.root / "release/evidence/identity.json"
    shutil.move(place, collected.root / "identity.json")
    place.symlink_to(collected.root / "identity.json")
    ran = collected.run("evidence", "verify", "release", "--key", keys.public("ada"))
    assert (ran.code, ran.error) == (8, "E_EVIDENCE_MEMBER")


def test_a_packet_of_directories_without_end_is_refused(collected: Repository, keys: Keys) -> None:
    (collected.root / "release/evidence" / "/".join(["d"] * 50)).mkdir(parents=True)
    ran = collected.run("evidence", "verify", "release", "--key", keys.public("ada"))
    assert (ran.code, ran.error) == (8, "E_EVIDENCE_MEMBER")


def test_a_packet_beyond_its_limits_is_refused(collected: Repository, keys: Keys) -> None:
    with (collected.root / "release/evidence/large.json").open("wb") as file:
        file.truncate((64 << 20) + 1)
    ran = collected.run("evidence", "verify", "release", "--key", keys.public("ada"))
    assert (ran.code, ran.error) == (9, "E_EVIDENCE_LIMIT")
    (collected.root / "release/evidence/large.json").unlink()
    for number in range(257):
        (collected.root / f"release/evidence/{number}.json").touch()
    ran = collected.run("evidence", "verify", "release", "--key", keys.public("ada"))
    assert (ran.code, ran.error) == (9, "E_EVIDENCE_LIMIT")


def test_the_release_that_must_be_there_is_compared(collected: Repository, keys: Keys) -> None:
    ran = collected.run(
        "evidence", "verify", "release", "--key", keys.public("ada"), "--release", "serving#1"
    )
    assert (ran.code, ran.error) == (8, "E_EVIDENCE_RELEASE")


def test_a_library_for_signatures_that_breaks_never_passes(
    collected: Repository, keys: Keys, tmp_path: Path
) -> None:
    broken = tmp_path / "broken/cryptography"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('broken')\n")
    path = f"{broken.parent}:{CLEAN['PYTHONPATH']}"
    ran = collected.run("evidence", "verify", "release", "--key", keys.public("ada"), PYTHONPATH=path)
    assert (ran.code, ran.out) == (1, "")


# Bundles


def test_a_bundle_comes_out_equal_every_time_and_verifies(collected: Repository, keys: Keys) -> None:
    for name in ("one.tar", "two.tar"):
        collected.ok("evidence", "bundle", "release", "--out", name)
    assert (collected.root / "one.tar").read_bytes() == (collected.root / "two.tar").read_bytes()
    ran = collected.ok("evidence", "verify", "one.tar", "--key", keys.public("ada"), "--release", "serving#2")
    assert ran.out.splitlines()[-1] == "one.tar: verified"


def bundle(repo: Repository) -> bytes:
    repo.ok("evidence", "bundle", "release", "--out", "bundle.tar")
    return (repo.root / "bundle.tar").read_bytes()


def verified(repo: Repository, keys: Keys, data: bytes) -> tuple[int, str]:
    (repo.root / "touched.tar").write_bytes(data)
    ran = repo.run("evidence", "verify", "touched.tar", "--key", keys.public("ada"))
    return ran.code, ran.error


def test_a_touched_bundle_does_not_verify(collected: Repository, keys: Keys) -> None:
    whole = bundle(collected)
    touched = {
        "one byte less": (whole[:-1], "E_TAR_TRUNCATED"),
        "one byte more": (whole + b"\0", "E_TAR_TRAILING"),
        "a second archive": (whole + whole, "E_TAR_TRAILING"),
        "no end": (whole[:-1024], "E_TAR_TRUNCATED"),
        "the first member twice": (whole[:1024] + whole, "E_TAR_DUP"),
        "the first member gone": (whole[1024:], "E_EVIDENCE_MEMBER"),
        "a mode": (whole[:100] + b"0004755\0" + whole[108:], "E_TAR_TRUNCATED"),
        "no tar at all": (b"PK\x03\x04" * 1000, "E_TAR_FORMAT"),
        "empty": (b"", "E_TAR_FORMAT"),
    }
    found = {name: verified(collected, keys, data) for name, (data, _) in touched.items()}
    assert found == {name: (8, code) for name, (_, code) in touched.items()}
    (collected.root / "touched.tar").write_bytes(whole)
    collected.ok("evidence", "verify", "touched.tar", "--key", keys.public("ada"))


# Keys and secrets


def test_a_key_as_an_argument_is_refused_and_not_repeated(collected: Repository, keys: Keys) -> None:
    ran = collected.run("evidence", "sign", "release", "--key", keys.pem("bob"))
    assert (ran.code, ran.error) == (3, "E_KEY")
    assert keys.pem("bob").splitlines()[1] not in ran.err


@pytest.mark.parametrize(
    ("key", "code"), [("env:NOT_SET", "E_ENV"), ("missing.key", "E_FILE"), ("desired/stores.yaml", "E_KEY")]
)
def test_a_key_that_cannot_be_used_is_refused(collected: Repository, key: str, code: str) -> None:
    before = files(collected.root / "release")
    ran = collected.run("evidence", "sign", "release", "--key", key)
    assert (ran.code, ran.error) == (3, code)
    assert files(collected.root / "release") == before


def test_no_secret_enters_a_ledger_a_packet_or_an_answer(published: Repository, keys: Keys) -> None:
    """The private key, a password in the environment and one in a remote's URL are canaries."""
    secret = keys.pem("ada").splitlines()[1]
    published.git("remote", "add", "origin", "https://user:canary-remote@git.example.org/data.git")
    env = {"SIGNING": keys.pem("ada"), "AWS_SECRET_ACCESS_KEY": "canary-cloud", "PGPASSWORD": "canary-sql"}
    ran = [
        published.ok("plan", "--out", "plan.json", **env),
        published.ok("apply", "plan.json", **env),
        published.ok("evidence", "collect", "--release", "serving#2", "--into", "release", **env),
        published.ok("evidence", "sign", "release", "--key", "env:SIGNING", **env),
        published.ok("evidence", "bundle", "release", "--out", "bundle.tar", **env),
        published.ok(
            "evidence", "verify", "bundle.tar", "--key", keys.public("ada"), "--output", "json", **env
        ),
        published.ok("history", "--output", "json", **env),
    ]
    everything = [
        *(text.encode() for one in ran for text in (one.out, one.err)),
        *(path.read_bytes() for path in (published.root / "var").rglob("*") if path.is_file()),
        *files(published.root / "release").values(),
        (published.root / "plan.json").read_bytes(),
        (published.root / "bundle.tar").read_bytes(),
    ]
    canaries = (secret.encode(), b"canary-remote", b"canary-cloud", b"canary-sql", b"PRIVATE KEY")
    assert [canary for canary in canaries for data in everything if canary in data] == []
