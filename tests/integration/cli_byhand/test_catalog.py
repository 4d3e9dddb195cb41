"""promote, rollback, latest-alias-update and resolve, by hand."""

from __future__ import annotations

import json

from tests.integration.cli_byhand.conftest import H110, H111, M110, STORE, Desk

ONE_PROMOTED = "058cbdd160734ac2ff74816f4a07e54a2a9b4d135f63df85de69192453b30f3a"
"""The sha256 of the catalog that lists human 110 only (the serving store's contract 2.2)."""


def test_promote_says_what_it_did_with_the_catalogs_digest(desk: Desk) -> None:
    desk.publish(H110)
    assert desk.ok("catalog", "promote", H110, *STORE).out == (
        "  + promote      110/homo_sapiens/GRCh38   listed\n1 of 1 step applied   sha256:058cbdd16073…\n"
    )
    assert desk.listed() == [H110]


def test_promote_as_json(desk: Desk) -> None:
    desk.publish(H110)
    ran = desk.ok("catalog", "promote", H110, *STORE, "--output", "json")
    assert ran.document == {
        "schema": "reconciler/catalog-promote/v1",
        "store": "serving",
        "dataset": H110,
        "status": "done",
        "changes": [
            {
                "address": f"serving/dataset/{H110}",
                "step": "promote",
                "verb": "promote",
                "slot": "entry",
                "before": None,
                "after": "listed",
            }
        ],
        "steps": [
            {"id": "promote", "unit": "catalog", "outcome": "applied", "receipt": f"sha256:{ONE_PROMOTED}"}
        ],
        "notes": [],
    }
    assert ran.err == ""


def test_the_reference_flags_name_a_dataset_too(desk: Desk) -> None:
    desk.publish(H110)
    flags = ("--release", "110", "--species", "homo_sapiens", "--assembly", "GRCh38")
    desk.ok("catalog", "promote", *flags, *STORE)
    assert desk.listed() == [H110]


def test_a_second_run_writes_nothing_and_says_so(desk: Desk) -> None:
    desk.promote(H110)
    desk.latest(H110)
    promoted = desk.unchanged("catalog", "promote", H110, *STORE)
    assert promoted.out == f"nothing to do: {H110} is already in the catalog\n"
    named = desk.unchanged("catalog", "latest-alias-update", H110, *STORE)
    assert named.out == f"nothing to do: latest already points at {H110}\n"


def test_a_dry_run_shows_the_change_and_writes_nothing(desk: Desk) -> None:
    desk.publish(H110)
    for flag in ("--dry-run", "--explain"):
        ran = desk.unchanged("catalog", "promote", H110, *STORE, flag)
        assert ran.out == (
            "  + promote      110/homo_sapiens/GRCh38   listed\ndry run: 1 step, nothing was written\n"
        )


def test_a_dry_run_refuses_what_the_real_run_would_refuse(desk: Desk) -> None:
    desk.publish(H110)
    database = desk.directory(H110) / "derived/gene_summary.sqlite"
    data = bytearray(database.read_bytes())
    data[-1] ^= 1
    database.write_bytes(data)
    desk.refused("catalog", "promote", H110, *STORE, "--dry-run", code=8, error="E_ARTIFACT_HASH")
    desk.refused("catalog", "promote", H110, *STORE, code=8, error="E_ARTIFACT_HASH")


def test_the_ledger_keeps_command_reason_and_time_and_the_hand(desk: Desk) -> None:
    desk.publish(H110)
    desk.ok("catalog", "promote", H110, *STORE, "--reason", "first release")
    intent = json.loads((desk.root / f"store/.reconciler/ledger/{2:020d}.intent.json").read_bytes())
    assert {name: intent[name] for name in ("by", "command", "reason", "time", "adopted")} == {
        "by": "hand",
        "command": f"reconciler catalog promote {H110} --store-root store",
        "reason": "first release",
        "time": 1714592400,
        "adopted": [],
    }


def test_rollback_says_that_the_dataset_is_hidden_and_not_stopped(desk: Desk) -> None:
    desk.promote(H110, H111)
    ran = desk.ok("catalog", "rollback", H110, *STORE)
    assert ran.out == (
        "  - roll back    110/homo_sapiens/GRCh38   was listed\n"
        "1 of 1 step applied   sha256:b0a24c7784e3…\n"
        "note: the dataset is hidden from discovery, not stopped: a server answers queries that name it "
        "until its cached copy is evicted and the store's copy is gone\n"
    )
    assert desk.listed() == [H111]
    assert (desk.directory(H110) / "derived/manifest.json").is_file()


def test_rollback_of_what_is_not_listed_is_done_already(desk: Desk) -> None:
    desk.promote(H110)
    ran = desk.unchanged("catalog", "rollback", H111, *STORE)
    assert ran.out == f"nothing to do: {H111} is not in the catalog\n"


def test_rollback_of_the_aliased_dataset_is_refused(desk: Desk) -> None:
    desk.promote(H110)
    desk.latest(H110)
    ran = desk.refused("catalog", "rollback", H110, *STORE, code=4, error="E_ALIAS_TARGET")
    assert "--move-alias-to ID" in ran.err
    assert "--drop-alias" in ran.err


def test_rollback_moves_the_alias_first(desk: Desk) -> None:
    desk.promote(H110, H111)
    desk.latest(H111)
    ran = desk.ok("catalog", "rollback", H111, *STORE, "--move-alias-to", H110, "--output", "json")
    assert [step["id"] for step in ran.document["steps"]] == ["move alias latest", "roll back"]
    assert (desk.listed(), desk.named()) == ([H110], H110)
    desk.ok("catalog", "resolve", *STORE)


def test_rollback_drops_the_alias_first(desk: Desk) -> None:
    desk.promote(H110)
    desk.latest(H110)
    ran = desk.ok("catalog", "rollback", H110, *STORE, "--drop-alias", "--output", "json")
    assert [step["id"] for step in ran.document["steps"]] == ["drop alias latest", "roll back"]
    assert not (desk.root / "store/latest.alias.json").exists()


def test_rollback_moves_every_alias_that_names_the_dataset(desk: Desk) -> None:
    desk.promote(H110, H111)
    desk.latest(H111)
    desk.ok("catalog", "latest-alias-update", H111, *STORE, "--line")
    desk.ok("catalog", "rollback", H111, *STORE, "--move-alias-to", H110)
    assert desk.ok("catalog", "resolve", "homo_sapiens/GRCh38", *STORE).out == f"{H110}\n"
    assert desk.ok("catalog", "resolve", *STORE).out == f"{H110}\n"


def test_an_alias_cannot_be_moved_to_what_is_not_listed(desk: Desk) -> None:
    desk.promote(H110)
    desk.latest(H110)
    desk.refused(
        *("catalog", "rollback", H110, *STORE, "--move-alias-to", H111), code=4, error="E_NOT_PROMOTED"
    )
    desk.refused(
        *("catalog", "rollback", H110, *STORE, "--move-alias-to", H110), code=4, error="E_ALIAS_TARGET"
    )


def test_the_alias_of_a_line_cannot_be_moved_to_another_line(desk: Desk) -> None:
    desk.promote(H110, M110)
    desk.ok("catalog", "latest-alias-update", H110, *STORE, "--line")
    desk.refused(
        *("catalog", "rollback", H110, *STORE, "--move-alias-to", M110), code=4, error="E_ALIAS_TARGET"
    )


def test_resolve_answers_latest_lines_and_whole_ids(desk: Desk) -> None:
    desk.promote(H110, M110)
    desk.latest(H110)
    desk.ok("catalog", "latest-alias-update", M110, *STORE, "--line")
    assert desk.unchanged("catalog", "resolve", *STORE).out == f"{H110}\n"
    assert desk.unchanged("catalog", "resolve", "latest", *STORE).out == f"{H110}\n"
    assert desk.unchanged("catalog", "resolve", "mus_musculus/GRCm39", *STORE).out == f"{M110}\n"
    assert desk.unchanged("catalog", "resolve", M110, *STORE).out == f"{M110}\n"
    assert desk.ok("catalog", "resolve", *STORE, "--output", "json").document == {
        "schema": "reconciler/catalog-resolve/v1",
        "store": "serving",
        "reference": "latest",
        "dataset": H110,
        "manifest": "sha256:6f36f030686d35e5ef6b540158fbd15721769e4766be7d4b8d4d39507ba22c62",
    }


def test_resolve_refuses_an_alias_that_is_not_set(desk: Desk) -> None:
    desk.promote(H110)
    desk.refused("catalog", "resolve", *STORE, code=3, error="E_ALIAS_MISSING")
    desk.refused("catalog", "resolve", "mus_musculus/GRCm39", *STORE, code=3, error="E_ALIAS_MISSING")
    desk.refused("catalog", "resolve", H111, *STORE, code=4, error="E_NOT_PROMOTED")


def test_resolve_reports_an_alias_that_names_nothing(desk: Desk) -> None:
    desk.promote(H110, H111)
    alone = (desk.root / "store/catalog.json").read_bytes()
    desk.latest(H111)
    desk.ok("catalog", "rollback", H110, *STORE)
    entries = json.loads(alone)["datasets"][:1]
    (desk.root / "store/catalog.json").write_text(
        json.dumps({"datasets": entries, "model_version": "v1"}, sort_keys=True, separators=(",", ":"))
    )
    desk.refused("catalog", "resolve", *STORE, code=8, error="E_ALIAS_DANGLING")


def test_resolve_reports_an_alias_of_another_catalog_and_updating_it_heals(desk: Desk) -> None:
    desk.promote(H110)
    desk.latest(H110)
    alias = desk.root / "store/latest.alias.json"
    alias.write_bytes(alias.read_bytes().replace(ONE_PROMOTED.encode(), b"0" * 64))
    desk.refused("catalog", "resolve", *STORE, code=8, error="E_ALIAS_STALE")
    bound = desk.ok("catalog", "latest-alias-update", H110, *STORE)
    assert bound.out.splitlines()[0] == "  ~ bind alias   latest   sha256:000000000000… → catalog"
    desk.ok("catalog", "resolve", *STORE)


def test_promote_gives_a_foreign_entry_the_standard_paths(desk: Desk) -> None:
    desk.promote(H110)
    catalog = desk.root / "store/catalog.json"
    catalog.write_bytes(catalog.read_bytes().replace(b"release=110/species", b"elsewhere/species"))
    ran = desk.ok("catalog", "promote", H110, *STORE)
    assert ran.out.startswith("  ~ relist       110/homo_sapiens/GRCh38   listed at elsewhere/")
    assert "receipt" not in ran.out
    assert ran.out.endswith("1 of 1 step applied   sha256:058cbdd16073…\n")


def test_validate_checks_a_file_and_touches_no_store(desk: Desk) -> None:
    desk.promote(H110)
    assert desk.unchanged("catalog", "validate", "store/catalog.json").out == (
        f"store/catalog.json: 1 entry, canonical\ncatalog sha256 {ONE_PROMOTED}\n"
    )
    loose = desk.root / "loose.json"
    loose.write_text(json.dumps(json.loads((desk.root / "store/catalog.json").read_bytes()), indent=2))
    assert desk.unchanged("catalog", "validate", "loose.json", "--output", "json").document == {
        "schema": "reconciler/catalog-validate/v1",
        "path": "loose.json",
        "status": "ok",
        "entries": 1,
        "canonical": False,
        "catalog_sha256": ONE_PROMOTED,
    }


def test_every_write_by_hand_leaves_its_packet_at_once(desk: Desk) -> None:
    desk.promote(H110, H111)
    desk.latest(H111)
    kept = sorted((desk.root / "store/.reconciler/evidence").iterdir())
    assert [path.name for path in kept] == [
        f"{number:020d}.packet.json" for number in range(1, desk.records() + 1)
    ]
    packet = json.loads(kept[-1].read_bytes())
    assert packet["previous"] == json.loads(kept[-2].read_bytes())["root"]


def test_a_packet_that_was_left_out_is_written_by_the_next_command_that_changes_nothing_else(
    desk: Desk,
) -> None:
    desk.promote(H110)
    last = max((desk.root / "store/.reconciler/evidence").iterdir())
    data = last.read_bytes()
    last.unlink()
    desk.ok("catalog", "promote", H110, *STORE)
    assert last.read_bytes() == data
