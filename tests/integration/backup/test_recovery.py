"""What recovery planning says, and what a drill proves or names."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler.stores.serving.catalog import parse_catalog, struct_digest
from tests.integration.backup.conftest import Vault, files, kept, parts
from tests.integration.backup.test_serving import flip
from tests.integration.cli_byhand.conftest import H110, M110
from tests.integration.evidence.conftest import write_key
from tests.integration.gitops.conftest import let_latest_go_back
from tests.unit.evidence.packets import ADA, EVE

ALL = [  # without a rehearsal and a server
    "backup-whole",
    "backup-age",
    "restored",
    "release-identity",
    "contents-hash-true",
    "heads-as-recorded",
    "rollback-policy",
    "query-paths",
    "plan-empty",
    "configuration",
    "time",
]
SERVING = ("--store", "serving")
NOW = 1714592400


def drill(vault: Vault, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run a drill: exit code, the store's report, what was said on standard error."""
    ran = vault.run("recovery", "drill", *SERVING, "--output", "json", *words)
    assert ran.out, ran.err
    return ran.code, ran.document["drills"][0], ran.err


def verdicts(report: dict[str, Any], verdict: str) -> list[str]:
    return [check["name"] for check in report["checks"] if check["verdict"] == verdict]


def test_a_drill_proves_every_check_of_a_whole_backup(vault: Vault) -> None:
    vault.backup()
    before = files(vault.store)
    code, report, said = drill(vault)
    assert (code, verdicts(report, "failed"), said) == (0, [], "")
    assert [name for name in verdicts(report, "proved") if name in ALL] == ALL
    assert (report["release"], report["proved"], report["parts"]) == ("serving#2", True, len(parts(vault, 1)))
    assert files(vault.store) == before


def test_the_report_of_a_drill_is_saved_and_kept_beside_the_backup(vault: Vault) -> None:
    vault.backup()
    code, report, _ = drill(vault, "--out", "drill.json")
    saved = json.loads((vault.root / "drill.json").read_bytes())
    beside = json.loads((vault.archive / f"drills/serving/{1:020d}.json").read_bytes())
    assert (code, saved, beside) == (0, report, report)


def test_the_report_of_a_drill_is_signed_and_verified_with_nothing_but_a_public_key(
    vault: Vault, tmp_path: Path
) -> None:
    for owner, key in (("ada", ADA), ("eve", EVE)):
        write_key(tmp_path, owner, key)
    vault.backup()
    assert drill(vault, "--out", "drill.json")[0] == 0
    vault.ok("evidence", "sign", "drill.json", "--key", str(tmp_path / "ada.key"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("drill.json", "drill.json.dsse.json"):
        shutil.move(vault.root / name, elsewhere)
    verify = ("evidence", "verify", str(elsewhere / "drill.json"), "--key")
    said = vault.ok(*verify, str(tmp_path / "ada.pub"), "--release", "serving#2").out
    assert "signed by" in said
    assert "serving#2 from backup 1, at 2024-05-01T19:40:00Z: 1 not proved, 11 proved" in said
    ran = vault.run(*verify, str(tmp_path / "ada.pub"), "--release", "serving#3")
    assert (ran.code, ran.error) == (8, "E_EVIDENCE_RELEASE")
    assert vault.run(*verify, str(tmp_path / "eve.pub")).error == "E_NOT_SIGNED"
    report = elsewhere / "drill.json"
    report.write_bytes(report.read_bytes().replace(b'"proved":true', b'"proved":null', 1))
    ran = vault.run(*verify, str(tmp_path / "ada.pub"))
    assert (ran.code, ran.error) == (8, "E_STATEMENT")


def test_a_report_that_is_signed_where_it_is_kept_is_still_the_last_drill(
    vault: Vault, tmp_path: Path
) -> None:
    write_key(tmp_path, "ada", ADA)
    vault.backup("--verify")
    drill(vault)
    kept_report = f"var/backup/drills/serving/{1:020d}.json"
    vault.ok("evidence", "sign", kept_report, "--key", str(tmp_path / "ada.key"))
    vault.ok("evidence", "verify", kept_report, "--key", str(tmp_path / "ada.pub"))
    assert "proved backup 1" in vault.ok("recovery", "plan", *SERVING).out


def test_a_signed_report_of_a_drill_that_failed_does_not_verify(vault: Vault, tmp_path: Path) -> None:
    write_key(tmp_path, "ada", ADA)
    vault.backup()
    (vault.root / "ops/datasets/rollback-policy.json").unlink()
    vault.commit("No way back")
    assert drill(vault, "--out", "drill.json")[0] == 8
    vault.ok("evidence", "sign", "drill.json", "--key", str(tmp_path / "ada.key"))
    ran = vault.run("evidence", "verify", "drill.json", "--key", str(tmp_path / "ada.pub"))
    assert (ran.code, ran.error) == (8, "E_DRILL_FAILED")


def test_a_signed_report_with_a_time_beyond_any_calendar_is_no_report_of_a_drill(
    vault: Vault, tmp_path: Path
) -> None:
    write_key(tmp_path, "ada", ADA)
    vault.backup()
    _, report, _ = drill(vault)
    (vault.root / "drill.json").write_text(json.dumps({**report, "time": 2**53 - 1}))
    vault.ok("evidence", "sign", "drill.json", "--key", str(tmp_path / "ada.key"))
    verify = ("evidence", "verify", "drill.json", "--key", str(tmp_path / "ada.pub"))
    assert "drill  " not in vault.ok(*verify).out
    assert vault.run(*verify, "--release", "serving#2").error == "E_USAGE"


def test_a_report_outlives_the_rotation_of_the_key_that_signed_it(vault: Vault, tmp_path: Path) -> None:
    write_key(tmp_path, "ada", ADA)
    vault.backup()
    drill(vault, "--out", "drill.json")
    vault.ok("evidence", "sign", "drill.json", "--key", str(tmp_path / "ada.key"))
    for until, code in ((NOW + 1, 0), (NOW, 8)):
        key = {"name": "ada", "public": (tmp_path / "ada.pub").read_text(), "until": until}
        trust = {"schema": "reconciler/trust/v1", "threshold": 1, "keys": [key]}
        (tmp_path / "trust.json").write_text(json.dumps(trust))
        ran = vault.run("evidence", "verify", "drill.json", "--trust", str(tmp_path / "trust.json"))
        assert ran.code == code


def test_a_scratch_directory_that_is_not_there_is_an_error(vault: Vault) -> None:
    vault.backup()
    ran = vault.run("recovery", "drill", *SERVING, "--scratch", "nowhere")
    assert (ran.code, ran.error) == (10, "E_IO")


def test_a_drill_leaves_nothing_in_its_scratch_directory(vault: Vault) -> None:
    vault.backup()
    scratch = vault.root / "scratch"
    scratch.mkdir()
    assert drill(vault, "--scratch", "scratch")[0] == 0
    assert list(scratch.iterdir()) == []


def test_a_rollback_is_rehearsed_on_what_came_back_and_nowhere_else(vault: Vault) -> None:
    let_latest_go_back(vault.root)
    human = vault.root / "desired/catalogs/human.yaml"
    human.write_text(human.read_text().replace("latest: 111/", "latest: 110/"))
    vault.commit("Back to 110")
    vault.ok("apply", "--yes")
    vault.backup()
    before = files(vault.store)
    code, report, _ = drill(vault)
    (check,) = [check for check in report["checks"] if check["name"] == "rollback-rehearsed"]
    assert (code, check["verdict"]) == (0, "proved")
    assert check["evidence"] == ["to serving#2: move alias latest"]
    assert files(vault.store) == before


def test_a_rollback_beyond_the_depth_of_the_policy_is_not_rehearsed(vault: Vault) -> None:
    let_latest_go_back(vault.root)
    human = vault.root / "desired/catalogs/human.yaml"
    policy = vault.root / "ops/datasets/rollback-policy.json"
    human.write_text(human.read_text().replace("latest: 111/", "latest: 110/"))
    policy.write_text(policy.read_text().replace('"max_rollback_depth": 3', '"max_rollback_depth": 1'))
    vault.commit("Back to 110")
    vault.ok("apply", "--yes")
    (vault.root / "desired/catalogs/mouse.yaml").write_text(
        (vault.root / "desired/catalogs/mouse.yaml").read_text() + "# a remark\n"
    )
    vault.commit("A remark")
    vault.ok("apply", "--yes")
    vault.backup()
    _, report, _ = drill(vault)
    (check,) = [check for check in report["checks"] if check["name"] == "rollback-rehearsed"]
    assert (check["verdict"], check["evidence"]) == ("proved", ["to serving#2: move alias latest"])


def epoch_of(vault: Vault) -> str:
    """The digest by which a server says which catalog it serves."""
    return struct_digest(parse_catalog((vault.store / "catalog.json").read_bytes(), "catalog.json"))


def listing(vault: Vault, datasets: int = 4) -> bytes:
    """What a server says it serves."""
    entries = json.loads((vault.store / "catalog.json").read_bytes())["datasets"][:datasets]
    return json.dumps({"items": entries}).encode()


def test_a_server_is_asked_whether_it_serves_what_came_back(vault: Vault) -> None:
    vault.backup()
    answers = {
        "/readyz": b"ready",
        "/v1/datasets": listing(vault),
        "/v1/genes/count": json.dumps({"catalog_epoch": epoch_of(vault)}).encode(),
    }
    with server(answers) as url:
        code, report, _ = drill(vault, "--server", url)
    assert (code, report["checks"][-1]["name"], report["checks"][-1]["verdict"]) == (0, "server", "proved")
    with server({**answers, "/v1/datasets": listing(vault, 3)}) as url:
        code, report, said = drill(vault, "--server", url)
    assert (code, verdicts(report, "failed"), "E_SERVER_DATASETS" in said) == (8, ["server"], True)
    with server({**answers, "/v1/genes/count": b'{"catalog_epoch": "0"}'}) as url:
        assert "E_SERVER_EPOCH" in drill(vault, "--server", url)[2]
    code, report, said = drill(vault, "--server", url)
    assert (code, verdicts(report, "failed"), "E_UNREACHABLE" in said) == (8, ["server"], True)


def test_a_server_that_readiness_needs_and_nobody_named_is_not_proved(vault: Vault) -> None:
    recovery = vault.root / "desired/recovery/serving.yaml"
    recovery.write_text(recovery.read_text() + "checks: [restored, server]\n")
    vault.backup("--worktree")
    _, report, _ = drill(vault, "--worktree")
    assert [(check["name"], check["verdict"]) for check in report["checks"]] == [
        ("restored", "proved"),
        ("server", "not proved"),
    ]


@contextmanager
def server(answers: dict[str, bytes]) -> Iterator[str]:
    """A server over a socket that answers as the reference's does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path.partition("?")[0])
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Quietly."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.mark.parametrize("damage", ["flip", "remove", "truncate"])
def test_a_drill_on_a_broken_backup_names_the_object_and_what_it_is(vault: Vault, damage: str) -> None:
    vault.backup()
    name = "release=111/species=homo_sapiens/assembly=GRCh38/derived/gene_summary.sqlite"
    digest = parts(vault, 1)[name][1]
    path = kept(vault, digest)
    match damage:
        case "flip":
            flip(path)
        case "remove":
            path.unlink()
        case "truncate":
            path.write_bytes(path.read_bytes()[:-1])
    code, report, said = drill(vault)
    assert (code, report["proved"]) == (8, False)
    assert verdicts(report, "failed") == ["backup-whole", "restored"]
    assert digest in said
    assert name in said


def test_a_drill_on_a_backup_older_than_the_store_names_the_records_that_it_lacks(vault: Vault) -> None:
    vault.backup()
    vault.ok("catalog", "rollback", M110, "--store-root", "var/serving", "--reason", "a test")
    code, report, said = drill(vault)
    assert (code, verdicts(report, "failed")) == (8, ["release-identity"])
    assert "E_DRILL_OLDER" in said
    assert "it lacks records 3 to 3" in said
    assert drill(vault, "--backup", "1")[0] == 0


def test_a_drill_beyond_the_rpo_is_denied(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.backup()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOW + 24 * 60 * 60 + 1))
    code, report, said = drill(vault)
    assert (code, verdicts(report, "failed"), "E_RECOVERY_OLD" in said) == (4, ["backup-age"], True)


def test_a_store_whose_heads_moved_past_the_ledger_is_not_as_recorded(vault: Vault) -> None:
    alias = vault.store / "latest.alias.json"
    document = json.loads(alias.read_bytes())
    release, species, assembly = H110.split("/")
    document["dataset"] = {"assembly": assembly, "release": release, "species": species}
    alias.write_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    vault.backup()
    code, report, said = drill(vault)
    assert (code, verdicts(report, "failed")) == (8, ["heads-as-recorded", "plan-empty"])
    assert "serving/alias/latest" in said


@pytest.mark.parametrize("lost", ["store", "ledger tail"])
def test_what_cannot_be_looked_at_is_not_proved(vault: Vault, lost: str) -> None:
    vault.backup()
    if lost == "store":
        shutil.rmtree(vault.store)
    else:
        for part in ("intent", "outcome"):
            (vault.store / f".reconciler/ledger/{2:020d}.{part}.json").unlink()
    code, report, _ = drill(vault)
    assert (code, verdicts(report, "failed")) == (0, [])
    said = next(check for check in report["checks"] if check["name"] == "release-identity")
    why = {
        "ledger tail": "the live ledger cannot be read",  # a packet stands beside its end
        "store": "the live ledger ends with record 0, before that of the backup",
    }[lost]
    assert said["evidence"][1] == f"{why}, so nothing says that it was the newest release"
    assert said["verdict"] == "not proved"


def test_a_live_ledger_that_cannot_be_read_is_said(vault: Vault) -> None:
    vault.backup()
    (vault.store / f".reconciler/ledger/{1:020d}.outcome.json").write_bytes(b"{}")
    code, report, _ = drill(vault)
    assert (code, "release-identity" in verdicts(report, "not proved")) == (0, True)


def test_a_drill_without_a_rollback_policy_fails(vault: Vault) -> None:
    (vault.root / "ops/datasets/rollback-policy.json").unlink()
    recovery = vault.root / "desired/recovery/serving.yaml"
    recovery.write_text(recovery.read_text().replace("  - ops/datasets/rollback-policy.json\n", ""))
    vault.backup("--worktree")
    code, report, said = drill(vault, "--worktree")
    assert (code, "rollback-policy" in verdicts(report, "failed"), "E_DRILL_POLICY" in said) == (
        8,
        True,
        True,
    )


def test_a_configuration_file_that_changed_since_the_backup_is_named(vault: Vault) -> None:
    vault.backup()
    policy = vault.root / "ops/datasets/freeze-policy.json"
    policy.write_text(policy.read_text() + "\n")
    code, report, said = drill(vault, "--worktree")
    assert (code, verdicts(report, "failed")) == (8, ["configuration"])
    assert "ops/datasets/freeze-policy.json" in said


def test_a_configuration_file_with_a_secret_is_kept_nowhere(vault: Vault) -> None:
    (vault.root / "ops/runtime.json").write_text('{\n  "API_KEY": "canary-4711"\n}\n')
    with (vault.root / "desired/recovery/serving.yaml").open("a") as recovery:
        recovery.write("  - ops/runtime.json\n")
    ran = vault.create("--worktree")
    assert (ran.code, ran.error, "canary" in ran.err) == (3, "E_SECRET_IN_CONFIG", False)
    assert "ops/runtime.json:2" in ran.err
    assert vault.backups() == []


def test_a_restored_store_loses_its_mark_when_a_drill_proved_it(vault: Vault) -> None:
    vault.backup()
    shutil.rmtree(vault.store)
    vault.ok("backup", "restore", *SERVING)
    code, report, _ = drill(vault, "--restored")
    assert (code, verdicts(report, "failed")) == (0, [])
    assert vault.ok("status", "--output", "json").document["stores"][0]["unproved_backup"] is None
    assert vault.run("recovery", "drill", *SERVING, "--restored").error == "E_NOT_RESTORED"


def test_a_restored_store_that_is_not_as_it_was_keeps_its_mark(vault: Vault) -> None:
    vault.backup()
    shutil.rmtree(vault.store)
    vault.ok("backup", "restore", *SERVING)
    flip(vault.store / "release=110/species=homo_sapiens/assembly=GRCh38/inputs/genome.fa.bgz")
    code, report, _ = drill(vault, "--restored")
    assert (code, verdicts(report, "failed")) == (8, ["contents-hash-true"])
    assert vault.run("status", "--output", "json").document["stores"][0]["unproved_backup"]


# The plan.


def missing(vault: Vault, *words: str) -> tuple[int, list[str]]:
    """The exit code of a recovery plan, and what is missing."""
    ran = vault.run("recovery", "plan", *SERVING, "--output", "json", *words)
    questions = ran.document["stores"][0]["questions"]
    return ran.code, [one["message"] for question in questions for one in question["missing"]]


def test_a_plan_answers_the_three_questions(vault: Vault) -> None:
    vault.backup("--verify")
    ran = vault.ok("recovery", "plan", *SERVING, "--output", "json")
    where, integrity, checks = ran.document["stores"][0]["questions"]
    assert where["question"] == "where is the authoritative backup?"
    assert where["answer"][0] == "in file:var/backup, by whoever applies, after each apply"
    assert where["answer"][1].startswith("backup 1 of serving, release serving#2, sha256:")
    assert integrity["question"] == "how is catalog integrity preserved or rebuilt?"
    assert "'reconciler catalog rebuild'" in integrity["answer"][0]
    assert checks["question"] == "which checks prove readiness?"
    assert (len(checks["answer"]), checks["answer"][-1]) == (14, "no drill has been run yet")
    drill(vault)
    ran = vault.ok("recovery", "plan", *SERVING)
    assert "the last drill, 0s ago, proved backup 1" in ran.out


def test_a_plan_without_a_document_denies(vault: Vault) -> None:
    (vault.root / "desired/recovery/serving.yaml").unlink()
    assert missing(vault, "--worktree") == (4, ["serving: no Recovery document names this store"])


def test_a_plan_says_everything_that_the_document_leaves_out(vault: Vault) -> None:
    (vault.root / "desired/recovery/serving.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Recovery\nstore: serving\nbackup: {location: file:var/backup}\n"
        "checks: [restored, nonsense]\n"
    )
    vault.backup("--verify", "--worktree")
    assert missing(vault, "--worktree") == (
        4,
        [
            "serving: the document states no schedule",
            "serving: the document states no rpo",
            "serving: the document states no rto",
            "serving: there is no check nonsense",
        ],
    )


def test_a_backup_that_was_never_verified_does_not_count(vault: Vault) -> None:
    vault.backup()
    assert missing(vault) == (4, ["serving: no backup of this store was verified and found whole"])


def test_the_newest_backup_that_was_verified_and_found_whole_counts(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.backup("--verify")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOW + 60 * 60))
    vault.ok("catalog", "rollback", M110, "--store-root", "var/serving")
    vault.backup("--verify")
    flip(kept(vault, parts(vault, 2)["catalog.json"][1]))
    assert vault.verify().code == 8
    ran = vault.ok("recovery", "plan", *SERVING)
    assert "backup 1 of serving, release serving#2" in ran.out
    assert "backup 2 of serving is newer, and was not verified or is not whole" in ran.out


def test_a_newest_verified_backup_older_than_the_rpo_denies(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.backup("--verify")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOW + 24 * 60 * 60))
    assert missing(vault) == (0, [])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOW + 24 * 60 * 60 + 1))
    assert missing(vault) == (4, ["the newest verified backup of serving is older than the RPO of 1d"])


def test_an_archive_that_cannot_be_read_is_a_missing_answer(vault: Vault) -> None:
    assert missing(vault) == (4, ["there is no archive of backups"])
