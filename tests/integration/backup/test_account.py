"""An account of a real PDS through the command line: lost, brought back record by record, drilled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.failpoints import NAMES
from tests.integration.command_line import PROJECT, Ran
from tests.integration.evidence.conftest import write_key
from tests.integration.federation.archives import write_shards
from tests.integration.federation.conftest import ENTRIES, LABELS, SCHEMAS, World, world
from tests.servers.pds import PASSWORD
from tests.servers.pds_proxy import APPLY, HANDLE, REPO, before
from tests.unit.evidence.packets import ADA

__all__ = ["world"]

COLLECTIONS = (SCHEMAS, ENTRIES, LABELS)
STORE = ("--store", "public")
CREATE = ("backup", "create", *STORE, "--to", "var/backup")
RESTORE = ("backup", "restore", *STORE, "--from", "var/backup")
DRILL = ("recovery", "drill", *STORE, "--from", "var/backup")
THEIRS = "x" * 450


def version(cid: str, number: str) -> str:
    return f"  {number}:\n    from: {{index: index, entry: d1, cid: {cid}}}\n"


@pytest.fixture
def kept(world: World) -> World:
    """An account with two releases, their data in blobs, and a record of somebody else; backed up."""
    source = world.repository.root / "var/source"
    write_shards(source, 2)
    one, two = (world.index.insert("d1", [str(source / f"{number}.tar")]) for number in range(2))
    copy = "data: {copy: public}\n"
    governance = world.repository.root / "ops/datasets"
    governance.mkdir(parents=True)
    shutil.copy(PROJECT / "ops/datasets/rollback-policy.json", governance)
    world.promote("d1", "versions:\n" + version(one, "1.0.0") + copy)
    world.ok("apply", "--yes")
    world.promote("d1", "versions:\n" + version(one, "1.0.0") + version(two, "2.0.0") + copy)
    world.ok("apply", "--yes")
    foreign = {"$type": LABELS, "name": "theirs", "datasetUri": "at://did:plc:a/b/c", "n": {"$bytes": "AAE"}}
    world.server.write(
        world.account,
        {"$type": f"{APPLY}#create", "collection": LABELS, "rkey": THEIRS, "value": foreign},
    )
    world.ok(*CREATE, "--verify")
    return world


def everything(world: World) -> dict[str, Any]:
    """Every record of the account with its CID, as another client lists it."""
    return {
        f"{collection}/{key}": (record["cid"], record["value"])
        for collection in COLLECTIONS
        for key, record in world.server.records(world.account, collection).items()
    }


def ledger(world: World) -> dict[str, bytes]:
    """The files of the ledger and of its packets."""
    own = world.repository.root / "var/public/.reconciler"
    return {
        str(path.relative_to(own)): path.read_bytes()
        for folder in ("ledger", "evidence")
        for path in sorted((own / folder).glob("*"))
    }


def blobs(world: World) -> list[str]:
    """What the server gives for the blobs of the account."""
    listed: list[str] = world.server.call(f"com.atproto.sync.listBlobs?did={world.account.did}")["cids"]
    return sorted(listed)


def lose_records(world: World) -> None:
    for collection in COLLECTIONS:
        for key in world.server.records(world.account, collection):
            delete = {"$type": f"{APPLY}#delete", "collection": collection, "rkey": key}
            world.server.write(world.account, delete)


def lose(world: World) -> None:
    """The account has no record of ours, and the machine with the ledger is gone."""
    lose_records(world)
    shutil.rmtree(world.repository.root / "var/public")


def objects(world: World) -> list[Path]:
    found = (world.repository.root / "var/backup/objects").rglob("*")
    return sorted(path for path in found if path.is_file())


def verdicts(ran: Ran) -> dict[str, str]:
    (report,) = ran.document["drills"]
    return {check["name"]: check["verdict"] for check in report["checks"]}


NOT_PROMISED = {"backup-age": "not proved", "time": "not proved"}
"""No Recovery document says what is promised."""


def test_an_account_that_lost_everything_comes_back_with_the_same_cids_and_the_same_ledger(
    kept: World,
) -> None:
    records, chain, given = everything(kept), ledger(kept), blobs(kept)
    assert (len(records), len(chain), len(given)) == (6, 6, 2)
    lose(kept)
    assert (everything(kept), ledger(kept), blobs(kept)) == ({}, {}, [])

    ran = kept.ok(*RESTORE, "--output", "json")
    assert ran.document["restored"]["found"] == 0
    assert (everything(kept), ledger(kept), blobs(kept)) == (records, chain, given)

    again = kept.ok("plan", "--output", "json", "--detailed-exitcode")
    assert again.document["resource_changes"] == []
    assert "no drill proved it" in kept.ok("plan").err
    proved = verdicts(kept.ok(*DRILL, "--restored", "--output", "json"))
    left = {name for name, verdict in proved.items() if verdict != "proved"}
    assert left == {"backup-whole", "backup-age", "rollback-rehearsed"}  # for a drill in a scratch place
    assert "no drill proved it" not in kept.ok("plan").err
    kept.ok("federation", "verify", *STORE, "--deep")


def test_records_alone_come_back_where_the_ledger_was_not_lost_only_after_it_was_moved_away(
    kept: World,
) -> None:
    records = everything(kept)
    lose_records(kept)
    ran = kept.run(*RESTORE)
    assert (ran.code, ran.error, everything(kept)) == (3, "E_RESTORE_PLACE", {})
    (kept.repository.root / "var/public").rename(kept.repository.root / "var/before")
    kept.ok(*RESTORE)
    assert everything(kept) == records


def test_a_drill_needs_no_server_and_no_password(kept: World) -> None:
    kept.server.take_down(kept.account, applied=True)
    try:
        ran = kept.repository.run(*DRILL, "--output", "json")
    finally:
        kept.server.take_down(kept.account, applied=False)
    assert ran.code == 0, ran.err
    found = verdicts(ran)
    assert {name: verdict for name, verdict in found.items() if verdict != "proved"} == NOT_PROMISED
    assert {"contents-hash-true", "heads-as-recorded", "plan-empty", "rollback-rehearsed"} <= set(found)
    assert everything(kept)


def test_a_drill_names_the_record_that_the_backup_has_otherwise(kept: World) -> None:
    (label, _) = (cid for cid, value in everything(kept).values() if value.get("version") == "1.0.0")
    for path in objects(kept):
        data = path.read_bytes()
        if b"datasetUri" in data and b"1.0.0" in data:
            path.write_bytes(data.replace(b"1.0.0", b"9.0.0"))
    ran = kept.run(*DRILL)
    assert (ran.code, ran.error) == (8, "E_BACKUP_OBJECT")
    assert "records/label/" in ran.err
    assert label not in ran.err


def test_an_account_that_did_not_move_costs_one_small_request_and_copies_nothing(kept: World) -> None:
    with before(kept.server.url) as proxy:
        text = (kept.repository.root / "desired/stores.yaml").read_text()
        kept.write("desired/stores.yaml", text.replace(kept.server.url, proxy.url, 1))
        kept.ok("plan")  # what is kept of the repository now holds the record of the others, too
        proxy.seen.clear()
        proxy.sizes.clear()
        ran = kept.ok(*CREATE, "--output", "json")
    assert ran.document["copied"] == {"objects": 0, "bytes": 0}
    assert [method for method in proxy.seen if method != HANDLE] == [REPO]


def test_a_record_that_moved_copies_its_own_bytes(kept: World) -> None:
    kept.repository.edit("desired/promotions/d1.yaml", "versions:", "license: MIT\nversions:")
    kept.repository.commit("A licence")
    kept.ok("apply", "--yes")
    copied = kept.ok(*CREATE, "--output", "json").document["copied"]
    lose(kept)
    kept.ok(*RESTORE)
    licences = [value.get("license") for _, value in everything(kept).values() if value["$type"] == ENTRIES]
    # Two entries, their groups, the two documents and the packet of the record and its group, and the index.
    assert (licences, copied["objects"] <= 2 + 2 + 3 + 1 + 1) == (["MIT", "MIT"], True)


def test_a_backup_says_whose_it_is_as_its_schema_describes(kept: World) -> None:
    schema = json.loads((PROJECT / "reconciler/backup/schemas/account.json").read_bytes())
    (said,) = (path for path in objects(kept) if b"reconciler/account/v1" in path.read_bytes())
    document = json.loads(said.read_bytes())
    Draft202012Validator(schema).validate(document)
    assert document == {"schema": "reconciler/account/v1", "did": kept.account.did}


def test_records_of_another_account_are_not_put_into_this_one(kept: World) -> None:
    other = kept.server.account()
    text = (kept.repository.root / "desired/stores.yaml").read_text()
    text = text.replace(kept.account.handle, other.handle).replace("file:var/public", "file:var/other")
    kept.write("desired/stores.yaml", text)
    ran = kept.run(*RESTORE)
    assert (ran.code, ran.error) == (3, "E_RESTORE_PLACE")
    assert kept.account.did in ran.err
    assert [kept.server.records(other, collection) for collection in COLLECTIONS] == [{}, {}, {}]


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_an_account_that_holds_any_record_of_the_collections_is_no_empty_place(
    kept: World, collection: str
) -> None:
    lose(kept)
    value = {"$type": collection, "name": "theirs"}
    kept.server.write(
        kept.account, {"$type": f"{APPLY}#create", "collection": collection, "rkey": "a", "value": value}
    )
    ran = kept.run(*RESTORE)
    assert (ran.code, ran.error, len(everything(kept))) == (3, "E_RESTORE_PLACE", 1)
    assert f"{collection}/a" in ran.err
    assert ledger(kept) == {}


def test_without_a_password_nothing_is_begun(kept: World) -> None:
    lose(kept)
    ran = kept.repository.run(*RESTORE)
    assert (ran.code, ran.error, everything(kept), ledger(kept)) == (3, "E_ENV", {}, {})
    kept.ok(*RESTORE)


def killed(kept: World, moment: str, *words: str) -> None:
    ran = kept.repository.run(*words, PDS_PASSWORD=PASSWORD, RECONCILER_FAILPOINTS=f"{moment}=kill")
    assert ran.code == -9, f"{moment}: {ran.err}"


MOMENTS = [
    *sorted(name for name in NAMES if name.startswith("res.") and ".part." not in name),
    "res.blob.before@2",
    "res.document.after@3",
    "res.mark.before@2",
    "res.mark.after@2",
    "res.write.answer@2",
    "res.write.answer@3",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_restore_that_was_killed_is_used_by_nobody_and_finished_by_the_next_run(
    kept: World, moment: str
) -> None:
    records, chain, given = everything(kept), ledger(kept), blobs(kept)
    lose(kept)
    killed(kept, moment, *RESTORE)
    finished = moment == "res.mark.after@2"
    marked = (kept.repository.root / "var/public/.reconciler/restore.json").exists()
    if marked and not finished:
        for words in (("plan",), ("apply", "--yes"), CREATE):
            ran = kept.run(*words)
            assert (ran.code, ran.error) == (10, "E_RESTORE_UNFINISHED"), ran.err
    if not finished:
        kept.ok(*RESTORE)
    assert (everything(kept), ledger(kept), blobs(kept)) == (records, chain, given)
    mark = json.loads((kept.repository.root / "var/public/.reconciler/restore.json").read_bytes())
    assert mark["finished"] is True


def test_what_somebody_writes_meanwhile_is_named_and_the_store_stays_unfinished(kept: World) -> None:
    records = everything(kept)
    lose(kept)
    killed(kept, "res.write.answer@2", *RESTORE)
    value = {"$type": LABELS, "name": "meanwhile"}
    kept.server.write(
        kept.account, {"$type": f"{APPLY}#create", "collection": LABELS, "rkey": "b", "value": value}
    )
    ran = kept.run(*RESTORE)
    assert (ran.code, ran.error) == (8, "E_RESTORE_REBUILT")
    assert f"{LABELS}/b" in ran.err
    assert kept.run("plan").error == "E_RESTORE_UNFINISHED"
    kept.server.write(kept.account, {"$type": f"{APPLY}#delete", "collection": LABELS, "rkey": "b"})
    kept.ok(*RESTORE)
    assert everything(kept) == records


def test_half_of_the_records_lost_is_named_and_the_rest_is_not_written_over(kept: World) -> None:
    records = everything(kept)
    for key in kept.server.records(kept.account, ENTRIES):
        kept.server.write(kept.account, {"$type": f"{APPLY}#delete", "collection": ENTRIES, "rkey": key})
    left = everything(kept)
    ran = kept.run("verify", *STORE, "--at", "HEAD")
    assert (ran.code, "E_" in ran.err) == (8, True)
    assert (kept.run(*RESTORE).error, everything(kept)) == ("E_RESTORE_PLACE", left)
    kept.ok("apply", "--yes")  # git says what they were
    kept.ok("federation", "verify", *STORE, "--deep")
    assert set(everything(kept)) == set(records)


def test_a_packet_is_kept_for_every_release_of_an_account_and_verifies_elsewhere(
    kept: World, tmp_path: Path
) -> None:
    assert [name for name in ledger(kept) if name.startswith("evidence/")] == [
        f"evidence/{number:020d}.packet.json" for number in (1, 2)
    ]
    write_key(tmp_path, "ada", ADA)
    kept.ok("evidence", "collect", "--release", "public#2", "--into", "var/release")
    kept.ok("evidence", "sign", "var/release", "--key", str(tmp_path / "ada.key"))
    kept.ok("verify", *STORE, "--at", "HEAD", "--packet", "var/release", "--key", str(tmp_path / "ada.pub"))
    (kept.repository.root / "var/release").rename(tmp_path / "release")
    said = kept.ok("evidence", "verify", str(tmp_path / "release"), "--key", str(tmp_path / "ada.pub")).out
    assert "label" in said
    assert said.splitlines()[-1].endswith("release: verified")


@pytest.mark.parametrize("lost", ["the last outcome", "the last record", "the whole ledger"])
def test_a_ledger_of_an_account_that_lost_its_end_is_noticed_and_comes_back(kept: World, lost: str) -> None:
    records, chain = everything(kept), ledger(kept)
    place = kept.repository.root / "var/public/.reconciler/ledger"
    gone = {"the last outcome": 1, "the last record": 2, "the whole ledger": 4}[lost]
    for path in sorted(place.iterdir())[-gone:]:
        path.unlink()
    noticed = kept.run("verify", *STORE, "--at", "HEAD")
    wanted = (7, "E_UNFINISHED") if gone == 1 else (8, "E_LEDGER_CHAIN")
    assert (noticed.code, noticed.error) == wanted
    drilled = verdicts(kept.ok(*DRILL, "--output", "json"))
    assert drilled["release-identity"] == "not proved"

    lose(kept)
    kept.ok(*RESTORE)
    assert (everything(kept), ledger(kept)) == (records, chain)
    kept.ok(*DRILL, "--restored")
    kept.ok("verify", *STORE, "--at", "HEAD")


def test_a_blob_that_the_server_lost_is_named_and_no_backup_is_made_without_it(kept: World) -> None:
    files = [path for path in kept.server.data.glob(f"**/{kept.account.did}/b*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        path.unlink()
    kept.ok(*CREATE)  # an archive that has its bytes needs them no more
    ran = kept.run("backup", "create", *STORE, "--to", "var/another")
    assert (ran.code, ran.error) == (8, "E_RECORD_BLOB"), ran.err
    assert any(path.name in ran.err for path in files)
    assert not (kept.repository.root / "var/another/backups").exists()

    answered = kept.run(*DRILL, "--output", "json")
    assert (answered.code, verdicts(answered)["query-paths"]) == (0, "proved")
    lose(kept)
    kept.ok(*RESTORE)
    assert len(blobs(kept)) == 2
    assert verdicts(kept.ok(*DRILL, "--restored", "--output", "json"))["query-paths"] == "proved"
