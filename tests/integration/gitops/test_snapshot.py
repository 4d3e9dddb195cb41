"""What the stores hold, written down, and plans that are made from it where no store can be reached."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.canonical import canonical, sha256_digest
from tests.integration.cli_registry.conftest import dataset
from tests.integration.cli_registry.conftest import repository as registry_repository
from tests.integration.gitops.changes import check_golden, lose_human_110, step_forward
from tests.integration.gitops.conftest import Repository
from tests.integration.sarif_shape import check_sarif

__all__ = ["registry_repository"]
TAKEN, LATER = "1770000000", "1770012345"
Document = dict[str, Any]


def taken(repository: Repository) -> None:
    """Take the snapshot of the repository's stores, after which they are out of reach."""
    repository.ok("snapshot", "--out", "live.json", SOURCE_DATE_EPOCH=TAKEN)
    (repository.root / "var").rename(repository.root / "elsewhere")


def put(repository: Repository, document: Document, *, sealed: bool = True) -> None:
    """Write a snapshot that somebody made or edited, sealed again as anybody can."""
    body = {name: value for name, value in document.items() if name != "digest"}
    digest = sha256_digest(canonical(body)) if sealed else document["digest"]
    (repository.root / "live.json").write_bytes(canonical({"digest": digest, **body}))


def test_plan_from_a_snapshot_has_the_intent_of_the_plan_from_the_stores(published: Repository) -> None:
    step_forward(published)
    seen = published.ok("plan", "--output", "json").document
    taken(published)
    plan = published.ok("plan", "--live", "live.json", "--output", "json", SOURCE_DATE_EPOCH=LATER).document
    assert plan["intent"] == seen["intent"]
    assert plan["resource_changes"] == seen["resource_changes"]
    assert plan["contents"] == seen["contents"] != []
    assert (plan["advisory"]["time"], plan["advisory"]["age"]) == (1770000000, 12345)
    assert seen["advisory"] is None


def test_plan_of_a_registry_from_a_snapshot_looks_into_the_manifests_of_the_commit(
    registry_repository: Repository,
) -> None:
    repository = registry_repository
    document = repository.root / "desired/datasets/mainnet.yaml"
    document.write_text(dataset("versions:\n  1.0.0: {manifest: manifests/one.json}\n"))
    repository.commit("One version")
    repository.ok("apply", "--yes")
    document.write_text(document.read_text() + "  1.1.0: {manifest: manifests/two.json}\n")
    repository.commit("Another version")
    seen = repository.ok("plan", "--output", "json").document
    taken(repository)
    plan = repository.ok("plan", "--live", "live.json", "--output", "json").document
    assert plan["contents"] == seen["contents"]
    assert [item["differences"] for item in plan["contents"]] == [["n: 1 became 2"]]
    assert plan["intent"] == seen["intent"]


def test_content_that_the_snapshot_does_not_hold_is_said(published: Repository) -> None:
    step_forward(published)
    taken(published)
    document = json.loads((published.root / "live.json").read_bytes())
    document["stores"][0]["contents"] = []
    put(published, document)
    plan = published.ok("plan", "--live", "live.json", "--output", "json").document
    assert [p["code"] for p in plan["contents"][0]["problems"]] == ["E_SNAPSHOT_ONLY"]
    assert plan["contents"][0]["facts"][0] == {"name": "genes", "before": None, "after": 37}


def test_plan_from_a_snapshot_opens_no_store_and_makes_none(applied: Repository) -> None:
    taken(applied)
    ran = applied.ok("plan", "--live", "live.json", SOURCE_DATE_EPOCH=LATER)
    assert ran.out.splitlines()[-1] == "nothing to do   (5 declarations checked)"
    assert not (applied.root / "var").exists()


def test_plan_from_a_snapshot_knows_what_is_ours(applied: Repository) -> None:
    lose_human_110(applied)
    taken(applied)
    ran = applied.run("plan", "--live", "live.json", "--output", "json")
    assert (ran.code, [f["rule"] for f in ran.document["findings"]]) == (4, ["removal-needs-tombstone"])


def test_every_output_says_that_the_plan_is_advisory_and_how_old_it_is(published: Repository) -> None:
    step_forward(published)
    taken(published)
    sentence = (
        "advisory: planned from a snapshot 3 h 25 min old and not from the stores; apply will not take it"
    )
    words = ("plan", "--live", "live.json")
    assert published.ok(*words, SOURCE_DATE_EPOCH=LATER).out.splitlines()[0] == sentence
    check_golden("advisory.md", published.ok(*words, "--output", "markdown", SOURCE_DATE_EPOCH=LATER).out)
    log = published.ok(*words, "--output", "sarif", SOURCE_DATE_EPOCH=LATER).document
    check_sarif(log)
    (note,) = log["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert (note["level"], note["message"]["text"]) == ("note", sentence)


def test_apply_never_takes_a_plan_that_was_made_from_a_snapshot(published: Repository) -> None:
    step_forward(published)
    published.ok("snapshot", "--out", "live.json")
    published.ok("plan", "--live", "live.json", "--out", "plan.json")
    before = published.store()
    ran = published.run("apply", "plan.json")
    assert (ran.code, ran.error, published.store()) == (3, "E_PLAN_ADVISORY", before)


def test_snapshot_writes_nothing_and_gives_the_same_bytes_again(applied: Repository) -> None:
    before = applied.store()
    applied.ok("snapshot", "--out", "one.json", SOURCE_DATE_EPOCH=TAKEN)
    applied.ok("snapshot", "--out", "two.json", SOURCE_DATE_EPOCH=TAKEN, PYTHONHASHSEED="7")
    assert applied.store() == before
    assert (applied.root / "one.json").read_bytes() == (applied.root / "two.json").read_bytes()


def test_snapshot_of_a_store_with_an_open_run_is_refused(published: Repository) -> None:
    killed = published.run("apply", "--yes", RECONCILER_FAILPOINTS="fs.catalog.rename.before=kill")
    assert killed.code == -9
    ran = published.run("snapshot", "--out", "live.json")
    assert (ran.code, ran.error) == (7, "E_UNFINISHED")
    assert not (published.root / "live.json").exists()


def test_plan_from_a_snapshot_needs_no_variable_that_says_where_a_store_is(repository: Repository) -> None:
    repository.edit("desired/stores.yaml", "root: file:var/serving", "root: {env: SERVING_ROOT}")
    repository.commit("Take the root from a variable")
    where = {"SERVING_ROOT": "file:var/serving"}
    repository.ok("snapshot", "--out", "live.json", **where)
    with_store = repository.run("plan", "--output", "json", **where).document
    without = repository.run("plan", "--live", "live.json", "--output", "json").document
    assert without["intent"] == with_store["intent"]


def test_snapshot_that_says_nothing_of_a_store_is_not_an_empty_store(repository: Repository) -> None:
    put(repository, {**MADE_UP, "stores": []})
    ran = repository.run("plan", "--live", "live.json")
    assert (ran.code, ran.error) == (3, "E_SNAPSHOT_STORE")


def test_snapshot_of_another_store_under_the_same_name_is_refused(repository: Repository) -> None:
    put(repository, MADE_UP)
    repository.edit("desired/stores.yaml", "file:var/serving", "file:var/other")
    repository.commit("Move the store")
    ran = repository.run("plan", "--live", "live.json")
    assert (ran.code, ran.error) == (3, "E_SNAPSHOT_STORE")


def test_damaged_snapshot_is_an_integrity_failure(repository: Repository) -> None:
    put(repository, {**MADE_UP, "digest": "sha256:" + "0" * 64}, sealed=False)
    ran = repository.run("plan", "--live", "live.json")
    assert (ran.code, ran.error) == (8, "E_SNAPSHOT_DIGEST")


MADE_UP: Document = {
    "schema": "reconciler/snapshot/v1",
    "time": 1_770_000_000,
    "tool": "made up",
    "stores": [
        {
            "name": "serving",
            "kind": "serving",
            "settings": {"root": "file:var/serving", "environment": "prod"},
            "revision": "r",
            "depth": "manifests",
            "observed": [],
            "inventory": [],
            "contents": [],
        }
    ],
}


@pytest.mark.parametrize(
    ("address", "slots"),
    [
        ("serving/dataset/x", {"entry": "listed"}),
        ("serving/dataset/110/homo_sapiens/..", {"entry": "listed"}),
        ("serving/dataset/110/homo_sapiens/GRCh38", {"entry": ["listed"]}),
        ("serving/alias/latest", {"dataset": "../../etc/passwd"}),
        ("serving/alias/latest", {"hook": "110/homo_sapiens/GRCh38"}),
        ("serving/pwned/x", {"entry": "listed"}),
    ],
)
@pytest.mark.parametrize("part", ["observed", "inventory"])
def test_snapshot_of_what_no_such_store_can_hold_is_refused(
    repository: Repository, part: str, address: str, slots: Document
) -> None:
    item = [address, slots, []] if part == "observed" else [address, slots]
    put(repository, {**MADE_UP, "stores": [{**MADE_UP["stores"][0], part: [item]}]})
    ran = repository.run("plan", "--live", "live.json")
    assert (ran.code, ran.error) == (3, "E_SNAPSHOT_SHAPE")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "E_JSON_SYNTAX"),
        (b"[]", "E_SCHEMA_VERSION"),
        (b'{"schema": "reconciler/plan/v1"}', "E_SCHEMA_VERSION"),
        (b'{"schema": "reconciler/snapshot/v1"}', "E_SNAPSHOT_SHAPE"),
        (b"[" * 5_000, "E_JSON_DEPTH"),
        (b'{"schema": "reconciler/snapshot/v1", "schema": "x"}', "E_JSON_DUP"),
        (b"\xff\xfe", "E_ENCODING"),
    ],
)
def test_file_that_is_no_snapshot_is_refused(repository: Repository, data: bytes, code: str) -> None:
    (repository.root / "live.json").write_bytes(data)
    ran = repository.run("plan", "--live", "live.json")
    assert (ran.code, ran.error) == (3, code)


def test_snapshot_cannot_be_planned_deep(repository: Repository) -> None:
    repository.ok("snapshot", "--out", "live.json")
    ran = repository.run("plan", "--live", "live.json", "--deep")
    assert (ran.code, ran.error) == (3, "E_USAGE")


def test_corrupt_content_is_in_the_snapshot_and_stops_the_plan_as_it_would_at_the_store(
    applied: Repository,
) -> None:
    dataset = "release=111/species=homo_sapiens/assembly=GRCh38"
    (applied.root / "var/serving" / dataset / "derived/manifest.lock").write_text("{}")
    at_the_store = applied.run("plan")
    taken(applied)
    ran = applied.run("plan", "--live", "live.json")
    assert (ran.code, ran.err) == (at_the_store.code, at_the_store.err)
    assert ran.code == 8


def test_text_says_what_was_taken(applied: Repository) -> None:
    check_golden("snapshot.txt", applied.ok("snapshot", "--out", "live.json").out)
