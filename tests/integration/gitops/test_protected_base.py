"""Policy comes from the protected base: no pull request weakens what judges it, or aims a store elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.gitops.conftest import Repository

POLICY = "apiVersion: reconciler/v1\nkind: Policy\n"
STRICT = POLICY + "severities: {source-reachable: deny}\n"
LAX = POLICY + "severities: {source-reachable: warn}\n"
NEW = "sha256:" + "a" * 64
ELSEWHERE = "  elsewhere: {kind: serving, root: file:var/elsewhere, create: true}\n"


def write(repository: Repository, path: str, text: str) -> None:
    file = repository.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def protected(applied: Repository) -> Repository:
    """A clone that protects main, on a branch of its own, with a policy on main."""
    write(applied, "desired/policy.yaml", STRICT)
    applied.commit("Be strict")
    applied.git("config", "reconciler.protectedBranch", "main")
    applied.git("switch", "-q", "-c", "proposal")
    return applied


def missing_source(repository: Repository) -> None:
    """Declare a dataset whose source is not there: a warning, or a denial where the policy says so."""
    zebrafish = "110/danio_rerio/GRCz11"
    repository.edit(
        "desired/catalogs/human.yaml",
        "latest:",
        f'  - {{id: {zebrafish}, manifest: "{NEW}", source: builds/none}}\nlatest:',
    )
    repository.edit("ops/inventory/pins.yaml", "dataset_ids:\n", f'dataset_ids:\n  - "{zebrafish}"\n')
    repository.edit(
        "ops/datasets/manifest.json",
        '"datasets": [\n',
        f'"datasets": [\n{{"name": "fish", "id": "{zebrafish}", "kind": "real"}},\n',
    )


def test_a_policy_that_the_change_itself_weakens_judges_nothing(protected: Repository) -> None:
    missing_source(protected)
    protected.commit("Add a dataset")
    strict = protected.run("plan", "--output", "json")
    write(protected, "desired/policy.yaml", LAX)
    protected.commit("And weaken the policy")
    ran = protected.run("plan", "--output", "json")
    assert (strict.code, ran.code) == (4, 4)
    rules = [(f["rule"], f["severity"], f["code"]) for f in ran.document["findings"]]
    assert ("source-reachable", "deny", "E_SOURCE_MISSING") in rules
    assert ("policy-mixed", "deny", "E_POLICY_MIXED") in rules
    assert ran.document["policy"] == strict.document["policy"]
    assert ran.document["guards"]["base"] == {
        "commit": protected.git("rev-parse", "main"),
        "branch": "main",
        "chosen": "reconciler.protectedBranch",
    }


@pytest.mark.parametrize("command", [("validate",), ("apply", "--yes")])
def test_policy_and_desired_state_in_one_change_are_refused(
    protected: Repository, command: tuple[str, ...]
) -> None:
    write(protected, "desired/policy.yaml", LAX)
    protected.edit("desired/catalogs/human.yaml", "latest: 111", "latest: 110")
    protected.commit("Both")
    before = protected.store()
    ran = protected.run(*command)
    assert ran.code == 4
    assert "E_POLICY_MIXED" in ran.err
    assert protected.store() == before


def test_a_change_of_policy_alone_is_shown_and_decides_nothing(protected: Repository) -> None:
    missing_source(protected)
    protected.git("switch", "-q", "main")
    protected.commit("Add a dataset")
    protected.git("switch", "-q", "-c", "looser")
    write(protected, "desired/policy.yaml", LAX)
    protected.commit("Weaken the policy")
    ran = protected.run("plan", "--output", "json")
    assert ran.code == 4
    shown = [f["message"] for f in ran.document["findings"] if f["rule"] == "policy-proposed"]
    assert [message.split(": ")[0:2] for message in shown] == [
        ["the proposed policy would also say", "warn source-reachable"],
        ["the proposed policy would not say any more", "deny source-reachable"],
    ]
    assert protected.run("validate").code == 0
    protected.git("switch", "-q", "main")
    protected.git("merge", "-q", "looser")
    assert protected.run("plan").code == 0


def test_a_store_is_where_the_base_says_not_where_the_change_says(protected: Repository) -> None:
    protected.edit("desired/stores.yaml", "file:var/serving", "file:var/stolen")
    protected.commit("Aim the store elsewhere")
    ran = protected.ok("plan", "--output", "json")
    assert [store["identity"].split()[-1] for store in ran.document["stores"]] == ["root=file:var/serving"]
    protected.ok("apply", "--yes")
    assert not (protected.root / "var/stolen").exists()


def test_a_store_that_only_the_change_declares_is_not_opened(protected: Repository) -> None:
    file = protected.root / "desired/stores.yaml"
    file.write_text(file.read_text() + ELSEWHERE)
    protected.commit("Add a store")
    ran = protected.ok("plan", "--output", "json")
    assert [store["name"] for store in ran.document["stores"]] == ["serving"]
    assert [(f["rule"], f["severity"], f["line"]) for f in ran.document["findings"]] == [
        ("store-proposed", "warn", 6)
    ]
    refused = protected.run("plan", "--store", "elsewhere")
    assert (refused.code, refused.error) == (4, "E_STORE_PROPOSED")


def test_what_a_store_holds_is_declared_after_the_store(protected: Repository) -> None:
    file = protected.root / "desired/stores.yaml"
    file.write_text(file.read_text() + ELSEWHERE)
    text = (protected.root / "desired/catalogs/human.yaml").read_text()
    write(protected, "desired/catalogs/other.yaml", text.replace("store: serving", "store: elsewhere"))
    protected.commit("Add a store and fill it")
    ran = protected.run("plan", "--output", "json")
    denials = [f["code"] for f in ran.document["findings"] if f["severity"] == "deny"]
    assert (ran.code, denials) == (4, ["E_POLICY_MIXED", "E_STORE_PROPOSED"])


def test_the_first_stores_document_is_taken_from_the_change(repository: Repository) -> None:
    repository.git("rm", "-q", "-r", "desired")
    repository.commit("Nothing is declared yet")
    repository.git("config", "reconciler.protectedBranch", "main")
    repository.git("switch", "-q", "-c", "first")
    repository.git("checkout", "-q", "main~1", "--", "desired/stores.yaml")
    repository.commit("Declare the stores")
    assert [s["name"] for s in repository.ok("plan", "--output", "json").document["stores"]] == ["serving"]


def test_an_exception_has_no_effect_in_the_change_that_brings_it(protected: Repository) -> None:
    missing_source(protected)
    protected.git("switch", "-q", "main")
    protected.commit("Add a dataset")
    protected.git("switch", "-q", "-c", "waived")
    write(protected, "desired/exceptions/source.yaml", waiver())
    protected.commit("Waive it")
    assert protected.run("plan").code == 4
    protected.git("switch", "-q", "main")
    protected.git("merge", "-q", "waived")
    findings = protected.ok("plan", "--output", "json").document["findings"]
    assert [(f["rule"], f["severity"]) for f in findings] == [("source-reachable", "warn")]
    assert findings[0]["message"].endswith(
        "waiver by genomics until 2099-01-01T00:00:00Z: built tonight (desired/exceptions/source.yaml:1)"
    )


def waiver(rule: str = "source-reachable", expires: str = "2099-01-01") -> str:
    return (
        "apiVersion: reconciler/v1\nkind: Exception\ntype: waiver\n"
        f"rule: {rule}\nsubject: serving/dataset\nowner: genomics\nreason: built tonight\n"
        f"expires: {expires}\n"
    )


def test_what_was_reviewed_under_an_old_policy_is_not_applied_under_a_new_one(protected: Repository) -> None:
    protected.edit("desired/catalogs/human.yaml", "latest: 111", "latest: 110")
    protected.commit("Move latest back")
    protected.git("switch", "-q", "main")
    write(protected, "desired/policy.yaml", STRICT + "protected: [serving/alias/latest]\n")
    protected.commit("Protect it")
    protected.git("switch", "-q", "proposal")
    before = protected.store()
    ran = protected.run("apply", "--yes")
    assert (ran.code, ran.error) == (5, "E_POLICY_STALE")
    assert protected.store() == before


def test_nothing_is_written_by_hand_or_collected_under_an_old_policy(protected: Repository) -> None:
    protected.git("switch", "-q", "main")
    write(protected, "desired/policy.yaml", STRICT + "protected: [serving/alias/latest]\n")
    protected.commit("Protect it")
    protected.git("switch", "-q", "proposal")
    before = protected.store()
    alias = ("catalog", "latest-alias-update", "110/homo_sapiens/GRCh38", "--store", "serving")
    for words in (alias, ("gc", "apply", "--store", "serving", "--yes")):
        ran = protected.run(*words)
        assert (ran.code, ran.error) == (5, "E_POLICY_STALE"), words
        assert protected.ok(*words, "--dry-run").err == ""
    assert protected.store() == before
    protected.git("merge", "-q", "--no-edit", "main")
    ran = protected.run(*alias)
    assert (ran.code, ran.error) == (4, "E_PROTECTED")
    assert protected.store() == before


def test_what_origin_calls_its_head_is_protected_too(protected: Repository, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    protected.git("switch", "-q", "main")
    protected.git("clone", "-q", str(protected.root), str(clone))
    there = Repository(clone)
    there.git("switch", "-q", "-c", "mine")
    write(there, "desired/policy.yaml", LAX)
    there.commit("Weaken the policy")
    base = there.run("plan", "--output", "json").document["guards"]["base"]
    assert base == {
        "commit": protected.git("rev-parse", "main"),
        "branch": "refs/remotes/origin/main",
        "chosen": "refs/remotes/origin/HEAD",
    }


def test_no_file_of_a_commit_says_what_is_protected(protected: Repository) -> None:
    protected.git("config", "--unset", "reconciler.protectedBranch")
    write(protected, ".gitconfig", "[reconciler]\n\tprotectedBranch = proposal\n")
    protected.git("config", "include.path", "../.gitconfig")
    protected.commit("Say it in a file")
    base = protected.ok("plan", "--output", "json").document["guards"]["base"]
    assert (base["commit"], base["branch"]) == (protected.git("rev-parse", "HEAD"), "")
    assert base["chosen"] == "no protected branch is configured"


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("--base", "--output=x"), 3, "E_USAGE"),
        (("--base=--output=x",), 3, "E_REF_OPTION"),
        (("--base", "none"), 3, "E_REF_UNKNOWN"),
        (("--base", ""), 3, "E_REF_CHARS"),
    ],
)
def test_a_base_that_is_no_commit_is_refused(
    protected: Repository, words: tuple[str, ...], code: int, error: str
) -> None:
    ran = protected.run("plan", *words)
    assert (ran.code, ran.error) == (code, error)


def test_a_protected_branch_that_is_not_there_is_refused(protected: Repository) -> None:
    protected.git("config", "reconciler.protectedBranch", "gone")
    ran = protected.run("plan")
    assert (ran.code, ran.error) == (3, "E_REF_UNKNOWN")
    assert "reconciler.protectedBranch" in ran.err


def test_a_history_of_its_own_has_no_base(protected: Repository) -> None:
    protected.git("switch", "-q", "--orphan", "apart")
    protected.git("checkout", "-q", "main", "--", "desired/stores.yaml", "desired/catalogs", "examples")
    protected.commit("Start anew")
    ran = protected.run("plan")
    assert (ran.code, ran.error) == (3, "E_BASE_UNRELATED")


def test_an_emptied_policy_denies(protected: Repository) -> None:
    for text in ("", "# later\n", POLICY, POLICY + "meta: {owner: me}\n"):
        write(protected, "desired/policy.yaml", text)
        ran = protected.run("plan", "--worktree")
        assert (ran.code, ran.error) == (4, "E_POLICY_EMPTY"), text


def test_a_broken_policy_of_the_base_stops_what_it_would_judge(protected: Repository) -> None:
    protected.git("switch", "-q", "main")
    write(protected, "desired/policy.yaml", POLICY + "severites: {order: warn}\n")
    at = protected.commit("Break the policy")
    protected.git("switch", "-q", "-c", "repair")
    write(protected, "desired/policy.yaml", STRICT)
    protected.commit("Repair it")
    ran = protected.run("plan")
    assert (ran.code, ran.error) == (3, "E_UNKNOWN_FIELD")
    assert f"{at[:12]}:desired/policy.yaml:3:1" in ran.err
