"""Protection lives with the record: deleting the line that protects does not lift it."""

from __future__ import annotations

import json

from tests.integration.gitops.conftest import Repository

CATALOG = "desired/catalogs/human.yaml"
HUMAN_110 = "serving/dataset/110/homo_sapiens/GRCh38"
SOURCE = "    source: examples/builds/human-110\n"
TOMBSTONE = "removed: [{id: 110/homo_sapiens/GRCh38, reason: superseded}]\n"


def protect(repository: Repository, word: str) -> None:
    repository.edit(CATALOG, SOURCE, SOURCE + f"    protected: {word}\n")
    repository.commit("Protect")


def remove(repository: Repository) -> None:
    """Take 110 out of the list, with its tombstone."""
    text = (repository.root / CATALOG).read_text()
    start = text.index("  - id: 110/")
    end = text.index("  - id: 111/")
    (repository.root / CATALOG).write_text(text[:start] + text[end:] + TOMBSTONE)
    repository.commit("Remove")


def denials(repository: Repository) -> list[str]:
    ran = repository.run("plan", "--output", "json")
    return [f["code"] for f in json.loads(ran.out)["findings"] if f["severity"] == "deny"]


def test_what_the_record_protects_is_not_removed_with_the_line_that_protects_it(applied: Repository) -> None:
    protect(applied, "true")
    plan = applied.ok("plan", "--output", "json").document
    assert (plan["steps"], plan["protection"]) == ([], [{"address": HUMAN_110, "protected": True}])
    applied.ok("apply", "--yes")
    assert applied.ok("plan", "--output", "json").document["protection"] == []
    before = applied.store()
    remove(applied)
    assert "E_PROTECTED" in denials(applied)
    ran = applied.run("apply", "--yes")
    assert (ran.code, "E_PROTECTED" in ran.err, applied.store()) == (4, True, before)


def test_leaving_the_line_out_lifts_nothing(applied: Repository) -> None:
    protect(applied, "true")
    applied.ok("apply", "--yes")
    applied.edit(CATALOG, "    protected: true\n", "")
    applied.commit("Leave it out")
    assert applied.ok("plan", "--output", "json").document["protection"] == []
    applied.ok("apply", "--yes")
    remove(applied)
    assert "E_PROTECTED" in denials(applied)


def test_lifting_protection_is_a_change_of_its_own(applied: Repository) -> None:
    protect(applied, "true")
    applied.ok("apply", "--yes")
    applied.edit(CATALOG, "protected: true", "protected: false")
    applied.commit("Lift it")
    plan = applied.ok("plan", "--output", "json").document
    assert plan["protection"] == [{"address": HUMAN_110, "protected": False}]
    applied.ok("apply", "--expect", plan["intent"])
    remove(applied)
    assert "E_PROTECTED" not in denials(applied)


def test_nobody_removes_by_hand_what_the_record_protects(applied: Repository) -> None:
    protect(applied, "true")
    applied.ok("apply", "--yes")
    before = applied.store()
    for where in (("--store", "serving"), ("--store-root", "var/serving")):
        ran = applied.run("catalog", "rollback", "110/homo_sapiens/GRCh38", *where)
        assert (ran.code, ran.error) == (4, "E_PROTECTED")
    assert applied.store() == before


def test_a_snapshot_knows_what_is_protected(applied: Repository) -> None:
    protect(applied, "true")
    applied.ok("apply", "--yes")
    applied.ok("snapshot", "--out", "live.json")
    remove(applied)
    ran = applied.run("plan", "--live", "live.json", "--output", "json")
    assert "E_PROTECTED" in [f["code"] for f in json.loads(ran.out)["findings"]]


def test_a_withdrawn_dataset_leaves_the_catalog_and_stays_published(applied: Repository) -> None:
    remove(applied)
    applied.edit(
        CATALOG,
        TOMBSTONE,
        "yanked:\n  - {id: 110/homo_sapiens/GRCh38, reason: wrong transcripts, at: 2026-01-02,"
        " replacedBy: 111/homo_sapiens/GRCh38}\n",
    )
    applied.commit("Withdraw")
    applied.ok("apply", "--yes")
    assert "110/homo_sapiens/GRCh38" not in applied.catalog()
    published = applied.root / "var/serving/release=110/species=homo_sapiens/assembly=GRCh38"
    assert (published / "derived/manifest.json").is_file()
    assert applied.ok("plan", "--output", "json").document["steps"] == []


def test_a_withdrawn_dataset_is_not_listed_in_the_same_breath(repository: Repository) -> None:
    catalog = repository.root / CATALOG
    yanked = "yanked: [{id: 110/homo_sapiens/GRCh38, reason: wrong, at: 2026-01-02}]\n"
    catalog.write_text(catalog.read_text() + yanked)
    ran = repository.run("validate", "--worktree")
    assert (ran.code, ran.error) == (3, "E_DUPLICATE")


MANIFESTS = {"one": "1", "two": "2"}


def registry(repository: Repository, *, at: str) -> None:
    """Declare version 1.0.0 of a dataset at one of two manifests."""
    folder = repository.root / "desired/datasets"
    folder.mkdir(exist_ok=True)
    for name, block in MANIFESTS.items():
        (folder / f"{name}.json").write_text(json.dumps({"block": block}))
    (folder / "moved.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Dataset\nstore: tags\nnamespace: ethereum\nname: moved\n"
        f"versions:\n  1.0.0: {{manifest: {at}.json}}\nlinks: [one.json, two.json]\n"
    )


def declare_tags(repository: Repository) -> None:
    """Declare a registry that holds one version."""
    stores = repository.root / "desired/stores.yaml"
    line = "  tags: {kind: registry, database: 'sqlite:var/r.db', objects: file:var/o, create: true}\n"
    stores.write_text(stores.read_text() + line)
    registry(repository, at="one")


def test_nobody_untags_by_hand_what_the_record_protects(repository: Repository) -> None:
    declare_tags(repository)
    repository.edit(
        "desired/datasets/moved.yaml", "{manifest: one.json}", "{manifest: one.json, protected: true}"
    )
    repository.commit("Declare a protected version")
    repository.ok("apply", "--yes", "--store", "tags")
    for words in (("tag", "delete", "ethereum/moved@1.0.0"), ("unlink", "ethereum/moved")):
        for more in ((), ("--dry-run",)):
            ran = repository.run("registry", *words, "--store", "tags", *more)
            assert (ran.code, ran.error) == (4, "E_PROTECTED"), words
    assert repository.ok("plan", "--store", "tags", "--output", "json").document["steps"] == []


def test_break_glass_moves_one_version_tag_and_the_record_says_so(repository: Repository) -> None:
    declare_tags(repository)
    repository.commit("Declare a version")
    words = ("--store", "tags")
    repository.ok("apply", "--yes", *words)
    registry(repository, at="two")
    repository.commit("Move it")
    refused = repository.run("apply", "--yes", *words)
    assert (refused.code, refused.error) == (4, "E_TAG_IMMUTABLE")
    tag = "tags/tag/ethereum/moved@1.0.0"
    exception = repository.root / "desired/exceptions/glass.yaml"
    exception.parent.mkdir()
    exception.write_text(
        "apiVersion: reconciler/v1\nkind: Exception\ntype: break-glass\n"
        f"subject: {tag}\nowner: chain data\nreason: the file was truncated\nexpires: 2099-01-01\n"
    )
    repository.commit("Break the glass")
    findings = repository.ok("plan", "--output", "json", *words).document["findings"]
    assert [(f["rule"], f["severity"], f["subject"]) for f in findings] == [("tag-immutable", "warn", tag)]
    repository.ok("apply", "--yes", *words)
    assert repository.ok("plan", "--output", "json", *words).document["steps"] == []
    shown = repository.ok("history", *words).out
    assert f"    break-glass {tag}   chain data: the file was truncated" in shown.splitlines()
    records = repository.ok("history", "--output", "json", *words).document["stores"][0]["records"]
    assert [record["break_glass"] for record in records] == [
        [],
        [{"address": tag, "reason": "chain data: the file was truncated"}],
    ]
    assert repository.ok("history", "--check", *words).code == 0


def test_an_old_ledger_reads_as_protecting_nothing(applied: Repository) -> None:
    intent = next((applied.root / "var/serving/.reconciler/ledger").glob("*.intent.json"))
    assert "protection" not in json.loads(intent.read_bytes())
    assert applied.ok("plan", "--output", "json").document["protection"] == []
