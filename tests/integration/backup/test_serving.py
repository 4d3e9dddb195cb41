"""A serving store in an archive and back: identical bytes, or the name of what cannot be brought back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from reconciler.failpoints import NAMES
from reconciler.stores.serving import keeping
from tests.integration.backup.conftest import MARK, Vault, files, kept, parts
from tests.integration.cli_byhand.conftest import H111, M110

SQLITE = "release=111/species=homo_sapiens/assembly=GRCh38/derived/gene_summary.sqlite"


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_restored_store_has_the_bytes_of_the_one_that_was_backed_up(vault: Vault) -> None:
    vault.backup("--verify")
    assert vault.restore().code == 0
    assert files(vault.root / "var/back") == files(vault.store)


def test_backing_up_writes_nothing_into_the_store(vault: Vault) -> None:
    before = vault.desk.tree()
    vault.backup()
    after = vault.desk.tree()
    inside = {path for path in {*before, *after} if path.startswith("var/serving")}
    assert {path for path in inside if before.get(path) != after.get(path)} == set()


def test_an_unchanged_store_is_backed_up_without_copying_an_object(vault: Vault) -> None:
    first = vault.backup()
    objects = vault.objects()
    second = vault.backup()
    assert (second["copied"], vault.objects()) == ({"objects": 0, "bytes": 0}, objects)
    assert (first["number"], second["number"], vault.backups()) == (1, 2, ["01", "02"])


def test_only_what_changed_is_copied(vault: Vault) -> None:
    vault.backup()
    vault.ok("catalog", "rollback", M110, "--store-root", "var/serving", "--reason", "a test")
    # Catalog and alias, one intent, one outcome and its packet, three lists of parts and the index.
    assert vault.backup()["copied"]["objects"] == 9


def test_lock_files_and_markers_are_built_anew_and_hold_no_object(vault: Vault) -> None:
    vault.backup()
    again = {path: digest for path, (how, digest) in parts(vault, 1).items() if how == "reconstructable"}
    assert sorted({path.rpartition("/")[2] for path in again}) == ["immutable.release.json", "manifest.lock"]
    assert len(again) == 8
    assert [path for path, digest in again.items() if kept(vault, digest).exists()] == []


def test_the_digest_file_of_a_catalog_is_built_anew(vault: Vault) -> None:
    (vault.store / "catalog.sha256").write_text("0" * 64 + "\n")
    vault.ok("catalog", "rollback", M110, "--store-root", "var/serving")
    vault.backup()
    assert parts(vault, 1)["catalog.sha256"][0] == "reconstructable"
    assert vault.restore().code == 0
    assert files(vault.root / "var/back") == files(vault.store)


def test_what_is_disposable_is_in_no_backup(vault: Vault) -> None:
    for name in ("tmp/x", "trash/00000000000000000001/y", "quarantine/z"):
        path = vault.store / ".reconciler" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"litter")
    (vault.store / "catalog.json.tmp").write_bytes(b"litter")
    vault.backup()
    own = {path for path in parts(vault, 1) if path.startswith(".reconciler")}
    assert own == {
        f".reconciler/{place}/{number:020d}.{part}.json"
        for number in (1, 2)
        for place, part in (("ledger", "intent"), ("ledger", "outcome"), ("evidence", "packet"))
    }


def test_settings_are_kept_as_git_has_them_and_never_the_value_of_a_variable(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_ROOT", "file:var/serving")
    stores = vault.root / "desired/stores.yaml"
    stores.write_text(stores.read_text().replace("root: file:var/serving", "root: {env: CANARY_ROOT}"))
    vault.backup("--worktree")
    document = json.loads((vault.archive / f"backups/serving/{1:020d}.json").read_bytes())
    assert document["settings"]["root"] == {"env": "CANARY_ROOT"}


# Damage to the store.


@pytest.mark.parametrize("name", ["catalog.json", "latest.alias.json"])
def test_a_lost_head_comes_back_byte_for_byte(vault: Vault, name: str) -> None:
    vault.backup()
    before = files(vault.store)
    (vault.store / name).unlink()
    assert vault.restore().code == 0
    assert files(vault.root / "var/back") == before


@pytest.mark.parametrize(
    ("name", "error"), [("catalog.json", "E_LIVE_CATALOG"), ("latest.alias.json", "E_LIVE_ALIAS")]
)
def test_a_store_with_a_broken_head_is_not_backed_up(vault: Vault, name: str, error: str) -> None:
    vault.backup()
    (vault.store / name).write_bytes(b"{")
    ran = vault.create()
    assert (ran.code, ran.error, vault.backups()) == (8, error, ["01"])


def test_a_store_whose_directory_is_gone_comes_back_where_it_is_declared(vault: Vault) -> None:
    vault.backup()
    before = files(vault.store)
    shutil.rmtree(vault.store)
    vault.ok("backup", "restore", "--store", "serving", "--from", "var/backup")
    assert files(vault.store) == before
    assert vault.ok("plan", "--detailed-exitcode").code == 0


@pytest.mark.parametrize("name", ["gene_summary.sqlite", "manifest.json", "manifest.lock"])
def test_a_listed_dataset_with_other_bytes_is_not_backed_up_as_if_it_were_whole(
    vault: Vault, name: str
) -> None:
    vault.backup()
    flip((vault.store / SQLITE).parent / name)
    ran = vault.create()
    assert (ran.code, vault.backups()) == (8, ["01"])
    assert "species=homo_sapiens/assembly=GRCh38/derived/" in ran.err


def test_a_listed_dataset_that_is_gone_is_named(vault: Vault) -> None:
    shutil.rmtree((vault.store / SQLITE).parent.parent)
    ran = vault.create()
    assert (ran.code, ran.error) == (8, "E_ARTIFACT_MISSING")
    assert H111 in ran.err


def test_a_broken_dataset_that_nothing_lists_is_left_out_and_reported(vault: Vault) -> None:
    (vault.store / "release=110/species=mus_musculus/assembly=GRCm39/derived/manifest.lock").unlink()
    vault.ok("catalog", "rollback", M110, "--store-root", "var/serving")
    created = vault.create("--output", "json")
    assert created.code == 0
    assert [problem["code"] for problem in created.document["left_out"]] == ["E_HALF_PUBLISHED"]
    assert [path for path in parts(vault, 1) if "mus_musculus" in path and "=110" in path] == []


def test_a_ledger_that_lost_a_record_is_not_backed_up(vault: Vault) -> None:
    (vault.store / ".reconciler/ledger/00000000000000000001.outcome.json").unlink()
    ran = vault.create()
    assert (ran.code, ran.error) == (8, "E_LEDGER_CHAIN")


def test_a_ledger_that_lost_its_end_is_not_backed_up_over_the_backup_that_has_it(vault: Vault) -> None:
    vault.backup()
    for half in ("intent", "outcome"):
        (vault.store / f".reconciler/ledger/{2:020d}.{half}.json").unlink()
    ran = vault.create()
    assert (ran.code, ran.error, "release 2" in ran.err) == (8, "E_LEDGER_CHAIN", True)
    assert [path.name for path in (vault.archive / "backups/serving").iterdir()] == [f"{1:020d}.json"]


# Damage to the archive.


def test_every_changed_object_is_named_with_what_it_is(vault: Vault) -> None:
    vault.backup()
    assert vault.verify().code == 0
    by_digest = {digest: path for path, (_, digest) in parts(vault, 1).items()}
    for path in vault.objects():
        flip(path)
        ran = vault.verify()
        digest = f"sha256:{path.name}"
        assert (ran.code, digest in ran.err) == (8, True)
        assert by_digest.get(digest, "") in ran.err
        flip(path)
    assert vault.verify().code == 0


def test_half_of_the_objects_gone_is_named_refused_and_healed_by_the_next_backup(vault: Vault) -> None:
    vault.backup()
    held = {digest[7:] for how, digest in parts(vault, 1).values() if how == "durable"}
    gone = [path for path in vault.objects() if path.name in held][::2]
    for path in gone:
        path.unlink()
    ran = vault.verify("--output", "json")
    assert ran.code == 8
    assert [path.name for path in gone if path.name not in ran.err] == []
    back = vault.restore()
    assert (back.code, back.error, (vault.root / "var/back/catalog.json").exists()) == (
        8,
        "E_BACKUP_OBJECT",
        False,
    )
    assert vault.backup()["copied"]["objects"] == len(gone)
    assert vault.verify("--backup", "1").code == 0
    assert vault.restore("--backup", "1").code == 0
    assert files(vault.root / "var/back") == files(vault.store)


def test_a_truncated_object_is_copied_again(vault: Vault) -> None:
    vault.backup()
    path = max(vault.objects(), key=lambda one: one.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1])
    assert vault.backup()["copied"]["objects"] == 1
    assert vault.verify().code == 0


def test_an_object_with_other_bytes_is_mended_by_a_deep_backup(vault: Vault) -> None:
    vault.backup()
    for path in vault.objects()[::5]:
        flip(path)
    broken = len(vault.objects()[::5])
    assert vault.backup()["copied"]["objects"] == 0
    assert vault.verify().code == 8
    assert vault.backup("--deep")["copied"]["objects"] == broken
    assert vault.verify("--backup", "1").code == 0


def test_a_changed_document_of_a_backup_is_refused(vault: Vault) -> None:
    vault.backup()
    path = vault.archive / f"backups/serving/{1:020d}.json"
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":2'))
    ran = vault.verify()
    assert (ran.code, ran.error) == (8, "E_BACKUP_DOCUMENT")


def test_a_backup_that_is_gone_between_others_is_named(vault: Vault) -> None:
    for _ in range(3):
        vault.backup()
    (vault.archive / f"backups/serving/{2:020d}.json").unlink()
    ran = vault.verify()
    assert (ran.code, ran.error, "backup 2 of serving" in ran.err) == (8, "E_BACKUP_CHAIN", True)


def test_an_archive_that_was_never_made_is_not_an_empty_one(vault: Vault) -> None:
    ran = vault.verify()
    assert (ran.code, ran.error) == (10, "E_ARCHIVE_MISSING")


@pytest.mark.parametrize("name", ["var/serving", "examples/builds/human-110", "desired"])
def test_a_directory_of_something_else_is_no_archive(vault: Vault, name: str) -> None:
    before = vault.desk.tree()
    ran = vault.run("backup", "create", "--store", "serving", "--to", name)
    assert (ran.code, ran.error, vault.desk.tree()) == (3, "E_ARCHIVE", before)


@pytest.mark.parametrize("name", ["var/serving/backup", "var/serving/.reconciler/backup"])
def test_an_archive_below_the_store_is_refused(vault: Vault, name: str) -> None:
    ran = vault.run("backup", "create", "--store", "serving", "--to", name)
    assert (ran.code, ran.error, (vault.root / name).exists()) == (3, "E_ARCHIVE", False)


def test_the_cache_of_a_server_is_neither_store_nor_archive_nor_place(vault: Vault) -> None:
    cache = vault.root / "var/cache"
    (cache / ".dataset-index").mkdir(parents=True)
    ran = vault.run("backup", "create", "--store", "serving", "--to", "var/cache")
    assert (ran.code, ran.error, "cache of a server" in ran.err) == (3, "E_ARCHIVE", True)
    vault.backup()
    assert vault.restore(into="var/cache").error == "E_STORE_IS_CACHE"
    stores = vault.root / "desired/stores.yaml"
    stores.write_text(stores.read_text().replace("file:var/serving", "file:var/cache"))
    ran = vault.run("backup", "create", "--store", "serving", "--to", "var/backup", "--worktree")
    assert (ran.code, ran.error) == (3, "E_STORE_IS_CACHE")


def test_an_archive_that_cannot_be_written_can_still_be_verified_and_drilled(vault: Vault) -> None:
    vault.backup()
    shutil.rmtree(vault.archive / ".reconciler")
    (vault.archive / ".reconciler").write_text("in the way")
    ran = vault.verify()
    assert (ran.code, "not noted beside the backup" in ran.err) == (0, True)
    ran = vault.run("recovery", "drill", "--store", "serving", "--from", "var/backup")
    assert (ran.code, "not kept beside the backup" in ran.err) == (0, True)


# Restoring.


def test_a_place_that_is_not_empty_is_left_alone(vault: Vault) -> None:
    vault.backup()
    (vault.root / "var/back").mkdir()
    (vault.root / "var/back/precious").write_bytes(b"mine")
    before = vault.desk.tree()
    ran = vault.restore()
    assert (ran.code, ran.error, vault.desk.tree()) == (3, "E_RESTORE_PLACE", before)


def test_configuration_files_come_back_and_never_over_others(vault: Vault) -> None:
    vault.backup()
    assert vault.restore("--configuration", "var/config").code == 0
    for name in ("freeze-policy", "promotion-rules", "rollback-policy"):
        path = f"ops/datasets/{name}.json"
        assert (vault.root / "var/config" / path).read_bytes() == (vault.root / path).read_bytes()
    (vault.root / "var/config/ops/datasets/freeze-policy.json").write_text("mine")
    ran = vault.restore("--configuration", "var/config", into="var/again")
    assert (ran.code, ran.error) == (3, "E_RESTORE_PLACE")
    assert (vault.root / "var/config/ops/datasets/freeze-policy.json").read_text() == "mine"


def test_a_dry_run_writes_nothing(vault: Vault) -> None:
    assert vault.create("--dry-run").code == 0
    assert not vault.archive.exists()
    vault.backup()
    before = vault.desk.tree()
    assert vault.restore("--dry-run").code == 0
    assert vault.create("--dry-run").code == 0
    assert vault.desk.tree() == before


def test_a_part_that_leaves_the_store_is_refused(vault: Vault) -> None:
    vault.backup()
    name = vault.archive / f"backups/serving/{1:020d}.json"
    backup = json.loads(name.read_bytes())
    index = json.loads(kept(vault, backup["index"]).read_bytes())
    group = json.loads(kept(vault, index["groups"][0][1]).read_bytes())
    group["parts"][0][0] = "../outside"
    index["groups"][0][1] = put(vault, group)
    backup["index"] = put(vault, index)
    name.write_bytes(json.dumps(backup, sort_keys=True, separators=(",", ":")).encode())
    ran = vault.restore()
    assert (ran.code, ran.error) == (8, "E_BACKUP_DOCUMENT")
    assert not (vault.root / "var/outside").exists()


def put(vault: Vault, document: object) -> str:
    """Keep a document as an object, as somebody else could."""
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = kept(vault, digest)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return digest


# Killed.


@pytest.mark.parametrize("name", sorted(one for one in NAMES if one.startswith("arc.")))
def test_a_backup_that_was_killed_is_made_by_the_next_run(vault: Vault, name: str) -> None:
    hit = f"{name}@7" if name in {"arc.object.before", "arc.object.after"} else name
    vault.killed(hit, "backup", "create", "--store", "serving", "--to", "var/backup")
    vault.backup("--verify")
    assert vault.restore().code == 0
    assert files(vault.root / "var/back") == files(vault.store)
    assert list((vault.archive / ".reconciler/tmp").iterdir()) == []


RESTORES = [
    *(one for one in sorted(NAMES) if one.startswith("res.mark.") and not one.endswith("dirsync")),
    *("res.mark.before@2", "res.mark.after@2", "res.mark.tmp.mid@2"),
    *(f"res.part.{moment}@{hit}" for moment in ("before", "after") for hit in (1, 30, 88, 91, 92)),
]


@pytest.mark.parametrize("name", RESTORES)
def test_a_restore_that_was_killed_is_finished_by_the_next_run(vault: Vault, name: str) -> None:
    vault.backup()
    words = ("--store", "serving", "--from", "var/backup", "--into", "root=file:var/back")
    vault.killed(name, "backup", "restore", *words)
    if name != "res.mark.after@2":
        assert vault.restore().code == 0
    assert files(vault.root / "var/back") == files(vault.store)
    assert json.loads((vault.root / "var/back" / MARK).read_bytes())["finished"] is True


def test_a_store_that_is_not_completely_back_can_be_neither_read_nor_written(vault: Vault) -> None:
    vault.backup()
    before = files(vault.store)
    shutil.rmtree(vault.store)
    words = ("backup", "restore", "--store", "serving", "--from", "var/backup")
    vault.killed("res.part.after@20", *words)
    for command in (("plan",), ("apply", "--yes"), ("drift",), ("status",), ("backup", "create")):
        more = ("--store", "serving", "--to", "var/backup") if "create" in command else ()
        ran = vault.run(*command, *more)
        assert (ran.code, ran.error) == (10, "E_RESTORE_UNFINISHED"), command
    vault.ok(*words)
    assert files(vault.store) == before


# What is known is only believed where it is safe.


def test_a_file_that_changed_a_moment_ago_has_no_stamp(vault: Vault) -> None:
    vault.backup()
    known = (vault.archive / "known/serving.json").read_bytes().splitlines()[2]
    assert json.loads(known) == {}


def test_bytes_that_changed_under_the_same_size_and_time_are_copied(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_SETTLED_SECONDS", -60)  # so that the files of this test are old enough
    vault.backup()
    known = json.loads((vault.archive / "known/serving.json").read_bytes().splitlines()[2])
    assert len(known) == len(parts(vault, 1))
    path = vault.store / "release=110/species=homo_sapiens/assembly=GRCh38/derived/lifecycle.state.json"
    seen = path.stat()
    flip(path)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    # The file, the list of its dataset's parts, the index.
    assert vault.backup()["copied"]["objects"] == 3
    assert vault.restore().code == 0
    assert files(vault.root / "var/back") == files(vault.store)


def test_knowledge_that_was_touched_is_not_used(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_SETTLED_SECONDS", -60)
    vault.backup()
    path = vault.archive / "known/serving.json"
    path.write_bytes(path.read_bytes().replace(b"sha256:0", b"sha256:1").replace(b"sha256:a", b"sha256:b"))
    vault.backup("--verify")
    assert vault.restore().code == 0
    assert files(vault.root / "var/back") == files(vault.store)


def test_status_and_apply_say_that_no_drill_has_proved_a_restored_store(vault: Vault) -> None:
    digest = vault.backup()["backup"]
    shutil.rmtree(vault.store)
    vault.ok("backup", "restore", "--store", "serving", "--from", "var/backup")
    assert vault.ok("status", "--output", "json").document["stores"][0]["unproved_backup"] == digest
    assert "no drill has proved it" in vault.ok("status").out
    assert vault.ok("apply", "--yes", "--output", "json").document["unproved"] == ["serving"]
    assert "no drill proved it" in vault.ok("apply", "--yes").err
