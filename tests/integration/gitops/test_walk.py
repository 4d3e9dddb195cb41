"""The whole life of a change through the real command line, on real git and a real store."""

from __future__ import annotations

import hashlib
import json

from tests.integration.gitops.conftest import Repository

HUMAN = "desired/catalogs/human.yaml"
MOUSE = "desired/catalogs/mouse.yaml"
ALL = [
    "110/homo_sapiens/GRCh38",
    "110/mus_musculus/GRCm39",
    "111/homo_sapiens/GRCh38",
    "111/mus_musculus/GRCm39",
]
TOMBSTONE = "removed:\n  - {id: 110/homo_sapiens/GRCh38, reason: superseded}\n"


def drop_human_110(repository: Repository) -> None:
    """Take the declaration of human 110 out of git."""
    text = (repository.root / HUMAN).read_text()
    start = text.index("  - id: 110/homo_sapiens/GRCh38")
    (repository.root / HUMAN).write_text(text[:start] + text[text.index("  - id: 111/homo_sapiens/GRCh38") :])


def test_plan_apply_plan_again_is_empty_and_drift_is_clean(published: Repository) -> None:
    published.ok("validate")
    plan = published.ok("plan", "--out", "plan.json", "--output", "json").document
    assert plan["schema"] == "reconciler/plan/v1"
    assert plan["summary"] == {"create": 5, "update": 0, "delete": 0, "noop": 0, "adopted": 0}
    assert [step["id"] for step in plan["steps"]] == [
        "publish 110/homo_sapiens/GRCh38",
        "publish 111/homo_sapiens/GRCh38",
        "publish 111/mus_musculus/GRCm39",
        "promote",
        "set alias latest",
    ]
    published.ok("apply", "plan.json")
    assert published.catalog() == ALL
    again = published.ok("plan", "--detailed-exitcode")
    assert again.out == "nothing to do   (5 declarations checked)\n"
    drift = published.ok("drift", "--detailed-exitcode", "--output", "json").document
    assert drift["summary"] == {
        "in_sync": 5,
        "pending": 0,
        "drift": 0,
        "hold": 0,
        "corrupt": 0,
        "unmanaged": 0,
        "unknown": 0,
    }
    assert published.ok("drift", "--deep").code == 0


def test_second_apply_writes_nothing(applied: Repository) -> None:
    before = applied.store()
    assert applied.ok("apply", "--yes").out == "nothing to do\n"
    assert applied.store() == before


def test_plan_and_drift_write_nothing(published: Repository) -> None:
    before = published.store()
    published.ok("plan")
    published.run("drift")
    assert published.store() == before


def test_equal_inputs_give_an_equal_intent_and_equal_steps(published: Repository) -> None:
    plans = [
        published.ok("plan", "--output", "json", SOURCE_DATE_EPOCH=epoch, PYTHONHASHSEED=seed).document
        for epoch, seed in (("1770000000", "1"), ("1770009999", "2"))
    ]
    assert plans[0]["intent"] == plans[1]["intent"]
    assert plans[0]["steps"] == plans[1]["steps"]
    assert plans[0]["digest"] != plans[1]["digest"]


def test_expected_intent_is_applied_and_another_is_refused(published: Repository) -> None:
    intent = published.ok("plan", "--output", "json").document["intent"]
    before = published.store()
    wrong = published.run("apply", "--expect", "sha256:" + "0" * 64)
    assert (wrong.code, published.store()) == (5, before)
    assert wrong.err.startswith("E_PLAN_STALE --expect: ")
    published.ok("apply", "--expect", intent)
    assert published.catalog() == ALL


def test_apply_without_a_reviewed_plan_or_consent_writes_nothing(published: Repository) -> None:
    before = published.store()
    ran = published.run("apply")
    assert (ran.code, published.store()) == (3, before)
    assert ran.err.startswith("E_CONFIRM --yes: ")


def test_stale_plan_is_refused_before_the_first_write(applied: Repository) -> None:
    applied.edit(HUMAN, "latest: 111/homo_sapiens/GRCh38", "latest: 111/mus_musculus/GRCm39")
    applied.commit("Turn to mouse")
    applied.ok("plan", "--out", "plan.json")
    applied.ok(
        *("catalog", "latest-alias-update", "--store-root", "var/serving"),
        *("--release", "110", "--species", "mus_musculus", "--assembly", "GRCm39"),
    )
    before = applied.store()
    ran = applied.run("apply", "plan.json")
    assert (ran.code, applied.store()) == (5, before)
    assert ran.err.startswith(
        "E_PLAN_STALE serving/alias/latest: 'move alias latest' would change something else than was "
        'reviewed: before.dataset: "111/homo_sapiens/GRCh38" became "110/mus_musculus/GRCm39"'
    )


def test_edited_plan_is_an_integrity_failure(published: Repository) -> None:
    published.ok("plan", "--out", "plan.json")
    plan = published.root / "plan.json"
    plan.write_bytes(plan.read_bytes().replace(b"GRCh38", b"GRCh37"))
    before = published.store()
    ran = published.run("apply", "plan.json")
    assert (ran.code, published.store()) == (8, before)
    assert ran.err.startswith("E_PLAN_MISMATCH plan.json: ")


def test_saved_plan_works_once_and_not_after_a_day(applied: Repository) -> None:
    applied.edit(HUMAN, "latest: 111/homo_sapiens/GRCh38", "latest: 111/mus_musculus/GRCm39")
    applied.commit("Turn to mouse")
    applied.ok("plan", "--out", "plan.json", SOURCE_DATE_EPOCH="1770000000")
    late = applied.run("apply", "plan.json", SOURCE_DATE_EPOCH=str(1770000000 + 86401))
    assert (late.code, late.err[:14]) == (5, "E_PLAN_EXPIRED")
    applied.ok("apply", "plan.json", SOURCE_DATE_EPOCH="1770000000")
    again = applied.run("apply", "plan.json", SOURCE_DATE_EPOCH="1770000000")
    assert (again.code, again.error) == (5, "E_PLAN_USED")


def test_disappeared_declaration_is_denied_until_it_has_a_tombstone(applied: Repository) -> None:
    drop_human_110(applied)
    applied.commit("Forget human 110")
    before = applied.store()
    plan = applied.run("plan", "--output", "json")
    assert plan.code == 4
    assert [(f["rule"], f["subject"]) for f in plan.document["findings"]] == [
        ("removal-needs-tombstone", "serving/dataset/110/homo_sapiens/GRCh38")
    ]
    ran = applied.run("apply", "--yes")
    assert (ran.code, applied.store()) == (4, before)
    applied.edit(HUMAN, "latest:", TOMBSTONE + "latest:")
    applied.commit("Say why")
    assert "roll back" in applied.ok("plan").out
    applied.ok("apply", "--yes")
    assert applied.catalog() == [dataset for dataset in ALL if dataset != "110/homo_sapiens/GRCh38"]
    assert (applied.root / "var/serving/release=110/species=homo_sapiens").is_dir()
    assert applied.ok("drift", "--detailed-exitcode").code == 0


def test_alias_moves_before_its_dataset_is_rolled_back(applied: Repository) -> None:
    text = (applied.root / HUMAN).read_text()
    start = text.index("  - id: 111/homo_sapiens/GRCh38")
    (applied.root / HUMAN).write_text(
        text[:start]
        + "removed:\n  - {id: 111/homo_sapiens/GRCh38, reason: wrong build}\n"
        + "latest: 110/homo_sapiens/GRCh38\n"
    )
    applied.commit("Withdraw human 111")
    plan = applied.ok("plan", "--output", "json").document
    assert [step["id"] for step in plan["steps"]] == ["move alias latest", "roll back"]
    applied.ok("apply", "--yes")
    alias = json.loads((applied.root / "var/serving/latest.alias.json").read_bytes())
    assert alias["dataset"]["release"] == "110"
    assert applied.ok("drift", "--detailed-exitcode").code == 0


def test_emptied_list_is_denied(applied: Repository) -> None:
    for name in (HUMAN, MOUSE):
        text = (applied.root / name).read_text()
        (applied.root / name).write_text(text[: text.index("datasets:")] + "datasets: []\n")
    applied.commit("Empty everything")
    before = applied.store()
    ran = applied.run("apply", "--yes")
    assert (ran.code, applied.store()) == (4, before)
    assert "E_EMPTY_DESIRED" in ran.err


def test_published_digest_is_never_replaced(applied: Repository) -> None:
    text = (applied.root / HUMAN).read_text()
    digest = text[text.index("sha256:") : text.index("sha256:") + 71]
    applied.edit(HUMAN, digest, "sha256:" + "1" * 64)
    applied.edit(HUMAN, "    source: examples/builds/human-110\n", "")
    applied.commit("Swap the bytes")
    before = applied.store()
    ran = applied.run("apply", "--yes")
    assert (ran.code, applied.store()) == (4, before)
    assert "E_IMMUTABLE" in ran.err


def test_dataset_that_was_never_published_is_denied(repository: Repository) -> None:
    ran = repository.run("apply", "--yes")
    assert ran.code == 4
    assert "E_NOT_PUBLISHED" in ran.err
    assert not (repository.root / "var/serving/catalog.json").exists()


def test_unreachable_source_warns_in_plan_and_stops_apply(published: Repository) -> None:
    published.edit(HUMAN, "examples/builds/human-111", "elsewhere/human-111")
    published.commit("Point at a build that is not here")
    plan = published.ok("plan", "--output", "json").document
    assert [(f["rule"], f["severity"]) for f in plan["findings"]] == [("source-reachable", "warn")]
    before = published.store()
    ran = published.run("apply", "--yes")
    assert (ran.code, published.store()) == (10, before)


def test_hand_rollback_shows_as_drift_and_apply_repairs_it(applied: Repository) -> None:
    applied.ok(
        *("catalog", "rollback", "--store-root", "var/serving"),
        *("--release", "110", "--species", "mus_musculus", "--assembly", "GRCm39"),
    )
    ran = applied.run("drift", "--detailed-exitcode", "--output", "json")
    assert ran.code == 2
    assert [(i["address"], i["verdict"], i["what"]) for i in ran.document["items"]] == [
        ("serving/dataset/110/mus_musculus/GRCm39", "drift", "missing")
    ]
    applied.ok("apply", "--yes")
    assert applied.catalog() == ALL
    assert applied.ok("drift", "--detailed-exitcode").code == 0


def beside_records(repository: Repository) -> dict[str, bytes]:
    """Everything in the store but the ledger and the packets of its records."""
    own = (".reconciler/ledger/", ".reconciler/evidence/")
    return {name: data for name, data in repository.store().items() if not name.startswith(own)}


def test_adoption_is_an_empty_plan_that_only_adds_a_record(published: Repository) -> None:
    for name, release, species, assembly in (
        ("human-110", "110", "homo_sapiens", "GRCh38"),
        ("human-111", "111", "homo_sapiens", "GRCh38"),
        ("mouse-111", "111", "mus_musculus", "GRCm39"),
        ("mouse-110", "110", "mus_musculus", "GRCm39"),
    ):
        flags = (
            "--store-root",
            "var/serving",
            "--release",
            release,
            "--species",
            species,
            "--assembly",
            assembly,
        )
        published.ok("dataset", "publish", "--source-root", f"examples/builds/{name}", *flags)
        published.ok("catalog", "promote", *flags)
    published.ok(
        *("catalog", "latest-alias-update", "--store-root", "var/serving"),
        *("--release", "111", "--species", "homo_sapiens", "--assembly", "GRCh38"),
    )
    drift = published.run("drift", "--detailed-exitcode")
    assert drift.code == 0, drift.out
    plan = published.ok("plan", "--detailed-exitcode", "--output", "json").document
    assert (plan["summary"]["adopted"], plan["steps"]) == (5, [])
    before = beside_records(published)
    published.ok("apply", "--yes")
    after = beside_records(published)
    assert after == before
    assert published.ok("plan", "--output", "json").document["summary"]["adopted"] == 0


def test_things_that_are_not_ours_stay_byte_equal(published: Repository) -> None:
    text = (published.root / MOUSE).read_text()
    (published.root / MOUSE).write_text(text[: text.index("  - id: 111/mus_musculus")])
    published.commit("Declare mouse 110 only")
    flags = (
        "--store-root",
        "var/serving",
        "--release",
        "111",
        "--species",
        "mus_musculus",
        "--assembly",
        "GRCm39",
    )
    published.ok("dataset", "publish", "--source-root", "examples/builds/mouse-111", *flags)
    published.ok("catalog", "promote", *flags)
    before = {name: data for name, data in published.store().items() if "release=111" in name}
    published.ok("apply", "--yes")
    store = published.store()
    assert {name: store[name] for name in before} == before
    assert published.catalog() == ALL
    drift = published.ok("drift", "--detailed-exitcode", "--output", "json").document
    assert (drift["summary"]["unmanaged"], drift["summary"]["in_sync"]) == (1, 4)


def test_killed_apply_is_reported_by_plan_and_finished_by_the_next_apply(published: Repository) -> None:
    killed = published.run("apply", "--yes", RECONCILER_FAILPOINTS="fs.catalog.rename.before=kill")
    assert killed.code == -9
    plan = published.run("plan")
    assert (plan.code, plan.err[:12]) == (7, "E_UNFINISHED")
    published.ok("apply", "--yes")
    assert published.catalog() == ALL
    assert published.ok("plan").out.startswith("nothing to do")
    assert not list((published.root / "var/serving/.reconciler/staging").iterdir())


def test_missing_catalog_that_the_ledger_recorded_is_an_integrity_failure(applied: Repository) -> None:
    (applied.root / "var/serving/catalog.json").unlink()
    before = applied.store()
    for command in (("plan",), ("apply", "--yes"), ("drift",)):
        ran = applied.run(*command)
        assert (ran.code, applied.store()) == (8, before), command
        assert "reconciler catalog rebuild" in ran.err


def test_torn_catalog_is_an_integrity_failure(applied: Repository) -> None:
    catalog = applied.root / "var/serving/catalog.json"
    catalog.write_bytes(catalog.read_bytes()[:-20])
    for command in (("plan",), ("apply", "--yes"), ("drift",)):
        ran = applied.run(*command)
        assert ran.code == 8, command
        assert "E_LIVE_CATALOG" in ran.err


def test_changed_manifest_is_corrupt_and_stops_everything(applied: Repository) -> None:
    manifest = next((applied.root / "var/serving/release=110/species=homo_sapiens").rglob("manifest.json"))
    manifest.write_bytes(manifest.read_bytes() + b" ")
    drift = applied.run("drift", "--output", "json")
    assert (drift.code, drift.document["summary"]["corrupt"]) == (8, 1)
    assert applied.run("plan").code == 8


def test_corrupt_dataset_can_be_rolled_back_by_its_tombstone(applied: Repository) -> None:
    manifest = next((applied.root / "var/serving/release=110/species=homo_sapiens").rglob("manifest.json"))
    manifest.write_bytes(manifest.read_bytes() + b" ")
    drop_human_110(applied)
    applied.edit(HUMAN, "latest:", TOMBSTONE + "latest:")
    applied.commit("Hide what is broken")
    applied.ok("apply", "--yes")
    assert applied.catalog() == [dataset for dataset in ALL if dataset != "110/homo_sapiens/GRCh38"]


def test_changed_artifact_of_equal_size_is_found_by_the_deep_drift(applied: Repository) -> None:
    artifact = next((applied.root / "var/serving/release=110/species=homo_sapiens").rglob("*.sqlite"))
    data = bytearray(artifact.read_bytes())
    data[-1] ^= 1
    artifact.write_bytes(bytes(data))
    assert applied.run("drift", "--deep").code == 8


def test_changed_side_file_is_found_by_the_deep_drift_only(applied: Repository) -> None:
    report = next((applied.root / "var/serving/release=110/species=homo_sapiens").rglob("qc_report.json"))
    report.write_bytes(report.read_bytes().replace(b"15", b"16", 1))
    assert applied.run("drift").code == 0
    deep = applied.run("drift", "--deep", "--output", "json")
    assert deep.code == 8
    (item,) = deep.document["items"]
    assert {problem["code"] for problem in item["problems"]} == {"E_FILE_HASH"}


def test_store_that_may_not_be_created_is_unavailable_and_never_empty(repository: Repository) -> None:
    repository.edit("desired/stores.yaml", ", create: true", "")
    repository.commit("The store must exist")
    assert repository.run("plan").code == 10
    drift = repository.run("drift", "--output", "json")
    assert (drift.code, drift.document["summary"]["unknown"]) == (10, 5)


def test_history_says_who_did_what_from_which_commit_and_why(applied: Repository) -> None:
    head = applied.git("rev-parse", "HEAD")
    records = applied.ok("history", "serving/alias/latest", "--output", "json").document["stores"][0][
        "records"
    ]
    assert [(r["by"], r["commit"], r["owner"], r["finished"]) for r in records] == [
        ("git", head, "genomics", True)
    ]
    everything = applied.ok("history", "--output", "json").document["stores"][0]["records"]
    assert [r["by"] for r in everything] == ["hand", "git"]


def test_history_of_an_address_that_was_never_touched_says_so(applied: Repository) -> None:
    ran = applied.ok("history", "serving/dataset/1/nobody/X")
    assert ran.out == "serving: no record of serving/dataset/1/nobody/X\n"


def test_broken_ledger_chain_stops_everything(applied: Repository) -> None:
    outcome = min((applied.root / "var/serving/.reconciler/ledger").glob("*.outcome.json"))
    outcome.write_bytes(outcome.read_bytes().replace(b'"seq":1', b'"seq":1 '))
    for command in (("plan",), ("apply", "--yes"), ("history",), ("drift",)):
        ran = applied.run(*command)
        assert (ran.code, "E_LEDGER_CHAIN" in ran.err) == (8, True), command


def test_latest_none_drops_the_alias(applied: Repository) -> None:
    applied.edit(HUMAN, "latest: 111/homo_sapiens/GRCh38", "latest: none")
    applied.commit("No latest")
    applied.ok("apply", "--yes")
    assert not (applied.root / "var/serving/latest.alias.json").exists()
    assert applied.ok("drift", "--detailed-exitcode").code == 0


def test_omitted_latest_is_not_moved_but_stays_bound_to_the_catalog(applied: Repository) -> None:
    applied.edit(HUMAN, "latest: 111/homo_sapiens/GRCh38\n", "")
    text = (applied.root / MOUSE).read_text()
    (applied.root / MOUSE).write_text(
        text[: text.index("  - id: 110/mus_musculus")]
        + text[text.index("  - id: 111/mus_musculus") :]
        + "removed:\n  - {id: 110/mus_musculus/GRCm39, reason: superseded}\n"
    )
    applied.commit("Leave latest alone")
    plan = applied.ok("plan", "--output", "json").document
    assert [step["id"] for step in plan["steps"]] == ["roll back"]
    applied.ok("apply", "--yes")
    store = applied.store()
    alias = json.loads(store["latest.alias.json"])
    assert alias["dataset"]["release"] == "111"
    assert alias["catalog_sha256"] == hashlib.sha256(store["catalog.json"]).hexdigest()
    assert applied.ok("drift", "--output", "json").document["summary"]["unmanaged"] == 1


def test_worktree_is_planned_without_a_commit(published: Repository) -> None:
    published.ok("apply", "--yes")
    published.edit(HUMAN, "latest: 111/homo_sapiens/GRCh38", "latest: 111/mus_musculus/GRCm39")
    assert published.ok("plan").out.startswith("nothing to do")
    assert "move alias" in published.ok("plan", "--worktree").out


def test_unknown_store_and_bad_flags_are_usage_errors(repository: Repository) -> None:
    assert repository.run("plan", "--store", "nowhere").code == 3
    ran = repository.run("plan", "--output", "json", "--frobnicate")
    assert (ran.code, json.loads(ran.err)["errors"][0]["code"]) == (3, "E_USAGE")
