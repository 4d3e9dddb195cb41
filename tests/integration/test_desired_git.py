from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reconciler.desired.git import open_commit, repository_root
from reconciler.desired.loader import load
from reconciler.desired.worktree import open_worktree
from reconciler.errors import Exit, InvalidInput, ReconcilerError, Unavailable
from tests.unit.desired.repository import HUMAN_110, STORES, File, Repository, catalog, listed

WISH = {"desired/s.yaml": STORES, "desired/c.yaml": catalog(listed(HUMAN_110))}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository.create(tmp_path / "repo")
    made.commit(WISH)
    return made


def refusal(root: Path, ref: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        open_commit(root, ref)
    assert caught.value.exit_code is Exit.INVALID
    return caught.value.code


def script(path: Path, canary: Path) -> str:
    path.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("--upload-pack=touch x", "E_REF_OPTION"),
        ("--output=/tmp/x", "E_REF_OPTION"),
        ("-x", "E_REF_OPTION"),
        ("refs/heads/-x", "E_REF_CHARS"),
        ("refs/heads/x/-y", "E_REF_CHARS"),
        ("", "E_REF_CHARS"),
        ("main:desired", "E_REF_CHARS"),
        (":/test", "E_REF_CHARS"),
        ("main..HEAD", "E_REF_CHARS"),
        ("main@{0}", "E_REF_CHARS"),
        ("main^{tree}", "E_REF_CHARS"),
        ("../main", "E_REF_CHARS"),
        ("refs/./heads/main", "E_REF_CHARS"),
        ("a b", "E_REF_CHARS"),
        ("a\nb", "E_REF_CHARS"),
        ("main\n", "E_REF_CHARS"),
        ("*", "E_REF_CHARS"),
        ("caf\u00e9", "E_REF_CHARS"),
        ("main.lock", "E_REF_CHARS"),
        ("ext::sh -c x", "E_REF_CHARS"),
        ("nobody", "E_REF_UNKNOWN"),
        ("refs/heads/nobody", "E_REF_UNKNOWN"),
        ("main~5", "E_REF_UNKNOWN"),
        ("0" * 40, "E_GIT_MISSING_OBJECT"),
    ],
)
def test_a_ref_outside_the_grammar_or_unknown_is_refused_and_runs_nothing(
    repository: Repository, ref: str, expected: str
) -> None:
    assert refusal(repository.root, ref) == expected
    assert sorted(path.name for path in repository.root.iterdir()) == [".git"]


def test_every_way_to_name_a_commit_gives_the_same_one(repository: Repository) -> None:
    oid = repository.git("rev-parse", "main")
    repository.git("tag", "light", oid)
    repository.git("tag", "-a", "-m", "x", "heavy", oid)
    repository.git("update-ref", "refs/remotes/origin/topic", oid)
    child = repository.git("commit-tree", f"{oid}^{{tree}}", "-p", oid, "-m", "x")
    repository.git("update-ref", "refs/heads/next", child)

    names = [
        "HEAD",
        "@",
        "main",
        "refs/heads/main",
        "light",
        "heavy",
        "refs/tags/heavy",
        "origin/topic",
        oid,
        "next~1",
        "next^",
    ]
    assert [open_commit(repository.root, name).commit for name in names] == [oid] * len(names)


def test_a_commit_carries_its_time_and_author(repository: Repository) -> None:
    tree = open_commit(repository.root, "HEAD")

    assert (tree.commit_time, tree.author) == (1700000000, "Ada <ada@example.org>")


def test_an_object_id_is_given_in_full(repository: Repository) -> None:
    oid = repository.git("rev-parse", "main")

    assert refusal(repository.root, oid[:7]) == "E_REF_FULL"
    assert refusal(repository.root, oid[:39]) == "E_REF_FULL"
    assert refusal(repository.root, oid.upper()) == "E_REF_FULL"


def test_a_branch_that_looks_like_a_short_id_is_a_branch(repository: Repository) -> None:
    oid = repository.git("rev-parse", "main")
    repository.git("update-ref", "refs/heads/decade", oid)

    assert open_commit(repository.root, "decade").commit == oid


def test_an_id_of_a_tree_a_blob_or_a_tag_is_not_a_commit(repository: Repository) -> None:
    repository.git("tag", "-a", "-m", "x", "heavy", "main")
    repository.git("tag", "leaf", "main^{tree}")

    for name in ("main^{tree}", "main:desired/s.yaml", "heavy"):
        assert refusal(repository.root, repository.git("rev-parse", name)) == "E_REF_TYPE"
    assert refusal(repository.root, "leaf") == "E_REF_TYPE"


def test_a_name_that_is_a_branch_and_a_tag_is_ambiguous(repository: Repository) -> None:
    repository.git("tag", "main", "main")

    assert refusal(repository.root, "main") == "E_REF_AMBIGUOUS"
    assert open_commit(repository.root, "refs/heads/main").commit


def test_a_repository_without_commits_says_so(tmp_path: Path) -> None:
    empty = Repository.create(tmp_path / "empty")

    assert refusal(empty.root, "HEAD") == "E_GIT_UNBORN"


def test_the_root_is_found_from_below_and_not_outside(repository: Repository, tmp_path: Path) -> None:
    (repository.root / "a/b").mkdir(parents=True)

    assert repository_root(repository.root / "a/b") == repository.root
    assert repository_root(repository.root / ".git") == repository.root / ".git"
    for start in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InvalidInput) as caught:
            repository_root(start)
        assert caught.value.code == "E_GIT_REPO"


def test_a_bare_repository_can_be_read(repository: Repository, tmp_path: Path) -> None:
    repository.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    root = repository_root(tmp_path / "bare")

    assert len(load(open_commit(root, "main")).declarations) == 1


def test_a_missing_blob_is_an_error_and_never_an_absent_file(repository: Repository) -> None:
    blob = repository.git("rev-parse", "main:desired/c.yaml")
    (repository.root / ".git/objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(InvalidInput) as caught:
        load(open_commit(repository.root, "main"))

    assert caught.value.code == "E_GIT_MISSING_OBJECT"


def test_a_missing_tree_is_an_error_and_never_an_empty_directory(repository: Repository) -> None:
    oid = repository.git("rev-parse", "main:desired")
    (repository.root / ".git/objects" / oid[:2] / oid[2:]).unlink()

    with pytest.raises(InvalidInput) as caught:
        load(open_commit(repository.root, "main"))

    assert caught.value.code == "E_GIT_MISSING_OBJECT"


def test_a_damaged_blob_is_an_error(repository: Repository) -> None:
    blob = repository.git("rev-parse", "main:desired/c.yaml")
    path = repository.root / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:20])

    with pytest.raises(ReconcilerError) as caught:
        load(open_commit(repository.root, "main"))

    assert caught.value.code == "E_GIT_MISSING_OBJECT"


def test_a_shallow_clone_without_the_ancestor_says_that_objects_are_missing(
    repository: Repository, tmp_path: Path
) -> None:
    child = repository.git("commit-tree", "main^{tree}", "-p", "main", "-m", "x")
    repository.git("update-ref", "refs/heads/main", child)
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.root}", str(tmp_path / "shallow"))

    assert open_commit(tmp_path / "shallow", "HEAD").commit == child
    assert refusal(tmp_path / "shallow", "HEAD~1") == "E_GIT_MISSING_OBJECT"


def test_a_partial_clone_is_never_filled_up_from_its_remote(repository: Repository, tmp_path: Path) -> None:
    repository.git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "partial"
    repository.git(
        "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{repository.root}", str(clone)
    )
    canary = tmp_path / "canary"
    repository.git("-C", str(clone), "config", "remote.origin.uploadpack", script(tmp_path / "fetch", canary))

    with pytest.raises(InvalidInput) as caught:
        load(open_commit(clone, "HEAD"))

    assert caught.value.code == "E_GIT_MISSING_OBJECT"
    assert not canary.exists()


def test_a_hostile_repository_executes_nothing(repository: Repository, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    command = script(tmp_path / "run", canary)
    repository.commit(
        {**WISH, ".gitattributes": "* filter=evil diff=evil text working-tree-encoding=UTF-16\n"}
    )
    (repository.root / ".gitattributes").write_text("* filter=evil diff=evil\n")
    for name in (
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.askPass",
        "core.gitProxy",
        "filter.evil.smudge",
        "filter.evil.clean",
        "filter.evil.process",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "gpg.program",
        "uploadpack.packObjectsHook",
        "core.alternateRefsCommand",
        "pager.ls-tree",
    ):
        repository.git("config", name, command)
    repository.git("config", "alias.ls-tree", f"!{command}")
    repository.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    for hooks in (tmp_path / "hooks", repository.root / ".git/hooks"):
        hooks.mkdir(exist_ok=True)
        for name in (
            "post-checkout",
            "post-index-change",
            "pre-commit",
            "reference-transaction",
            "fsmonitor-watchman",
        ):
            script(hooks / name, canary)
    for name in ("sitecustomize.py", "conftest.py", "usercustomize.py"):
        (repository.root / name).write_text(f"open({str(canary)!r}, 'w')\n")
    repository.write({path: text for path, text in WISH.items() if isinstance(text, str)})

    wish = load(open_commit(repository_root(repository.root), "HEAD"))
    on_disk = load(open_worktree(repository.root, now=0))

    assert not canary.exists()
    assert wish.declarations == on_disk.declarations
    assert len(wish.declarations) == 1


@pytest.fixture
def of_another_owner(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The repository belongs to somebody else, and our own home is empty."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a repository to another user")
    repository.write({path: text for path, text in WISH.items() if isinstance(text, str)})
    for path in (repository.root, *repository.root.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return repository


def consent(home: Path, *places: str) -> None:
    lines = "".join(f"\tdirectory = {place}\n" for place in places)
    (home / ".gitconfig").write_text(f"[safe]\n{lines}")


def distrusted(root: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        repository_root(root)
    (problem,) = caught.value.problems
    assert (problem.code, problem.path, problem.got) == ("E_GIT_REPO", "--repo", str(root))
    assert (problem.message, problem.fix) == (
        "git does not trust a repository of another user",
        "run as the user who owns it, or name it as safe.directory in your own git configuration",
    )


@pytest.mark.parametrize("places", [(), ("/elsewhere",), ("*", ""), ("{root}/desired",)])
def test_a_repository_of_another_owner_is_refused_without_consent(
    of_another_owner: Repository, tmp_path: Path, places: tuple[str, ...]
) -> None:
    consent(tmp_path, *(place.format(root=of_another_owner.root) for place in places))
    distrusted(of_another_owner.root)


@pytest.mark.parametrize("places", [("{root}",), ("*",), ("/elsewhere", "", "{root}"), ("~/repo",)])
def test_a_repository_of_another_owner_is_read_with_the_users_consent(
    of_another_owner: Repository, tmp_path: Path, places: tuple[str, ...]
) -> None:
    consent(tmp_path, *(place.format(root=of_another_owner.root) for place in places))
    root = repository_root(of_another_owner.root / "desired")
    assert root == of_another_owner.root
    assert len(load(open_commit(root, "HEAD")).declarations) == 1
    assert len(load(open_worktree(root, now=0)).declarations) == 1


def test_the_systems_consent_counts_too(
    of_another_owner: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system").write_text("[safe]\n\tdirectory = *\n")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "system"))
    distrusted(of_another_owner.root)
    monkeypatch.delenv("GIT_CONFIG_NOSYSTEM")
    assert repository_root(of_another_owner.root) == of_another_owner.root


def test_a_repository_cannot_consent_for_itself(
    of_another_owner: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = of_another_owner.root / ".git/config"
    config.write_text(config.read_text() + "[safe]\n\tdirectory = *\n")
    for name, value in {"COUNT": "1", "KEY_0": "safe.directory", "VALUE_0": "*"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    distrusted(of_another_owner.root)


def test_a_trusted_repository_of_another_owner_executes_nothing(
    of_another_owner: Repository, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    command = script(tmp_path / "run", canary)
    config = of_another_owner.root / ".git/config"
    config.write_text(config.read_text() + f"[core]\n\tfsmonitor = {command}\n\tpager = {command}\n")
    settings = f"[core]\n\tpager = {command}\n\tfsmonitor = {command}\n[alias]\n\tconfig = !{command}\n"
    (tmp_path / ".gitconfig").write_text(f"{settings}[safe]\n\tdirectory = *\n")
    assert len(load(open_commit(repository_root(of_another_owner.root), "HEAD")).declarations) == 1
    assert not canary.exists()


def test_the_environment_cannot_redirect_what_is_read(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_commit(repository.root, "HEAD")  # GitPython asks for git's version, unfenced, when it is imported
    other = Repository.create(tmp_path / "other")
    other.commit({"desired/s.yaml": STORES})
    canary = tmp_path / "canary"
    command = script(tmp_path / "run", canary)
    for name, value in {
        "GIT_DIR": str(other.root / ".git"),
        "GIT_WORK_TREE": str(other.root),
        "GIT_OBJECT_DIRECTORY": str(other.root / ".git/objects"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": command,
        "GIT_EXTERNAL_DIFF": command,
        "GIT_PAGER": command,
        "GIT_SSH_COMMAND": command,
        "GIT_TRACE": str(tmp_path / "trace"),
    }.items():
        monkeypatch.setenv(name, value)

    root = repository_root(repository.root)

    assert root == repository.root
    assert len(load(open_commit(root, "HEAD")).declarations) == 1
    assert not canary.exists()
    assert not (tmp_path / "trace").exists()


def test_replace_objects_are_not_followed(repository: Repository) -> None:
    oid = repository.git("rev-parse", "main")
    other = repository.commit({"desired/s.yaml": STORES}, branch="other")
    repository.git("replace", oid, other)

    assert len(load(open_commit(repository.root, oid)).declarations) == 1


def test_reading_a_commit_leaves_the_repository_as_it_was(repository: Repository) -> None:
    repository.write({"desired/s.yaml": "not even YAML: ["})
    before = {path: path.stat().st_mtime_ns for path in repository.root.rglob("*")}

    load(open_commit(repository.root, "HEAD"))

    assert {path: path.stat().st_mtime_ns for path in repository.root.rglob("*")} == before


def test_a_document_of_a_partly_staged_work_tree_comes_from_the_commit(repository: Repository) -> None:
    repository.write({"desired/c.yaml": catalog("datasets: []\n")})
    repository.git("add", "desired/c.yaml")

    assert len(load(open_commit(repository.root, "HEAD")).declarations) == 1


def test_old_git_is_named_in_a_warning(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("git")
    fake = tmp_path / "bin/git"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *version) echo git version $FAKE;; *) exec {real} "$@";; esac\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")

    def told(version: str) -> list[str]:
        fake.write_text(fake.read_text().replace("$FAKE", version))
        said: list[str] = []
        open_commit(repository.root, "HEAD", warn=said.append)
        fake.write_text(fake.read_text().replace(version, "$FAKE"))
        return said

    assert told("2.50.1") == []
    assert told("2.50.0") == ["git version 2.50.0 has known vulnerabilities; 2.50.1 or newer is advised"]
    with pytest.raises(Unavailable) as caught:
        told("2.38.5")
    assert (caught.value.code, caught.value.exit_code) == ("E_GIT_TOOL", Exit.UNAVAILABLE)


def test_a_thousand_files_are_read_in_their_order(repository: Repository) -> None:
    files: dict[str, str] = {
        f"desired/{n:04}.yaml": catalog(listed(f"{n}/homo_sapiens/GRCh38")) for n in range(1000)
    }
    oid = repository.git("hash-object", "-w", "--stdin", given=STORES.encode())
    rows = [f"100644 {oid}\tdesired/s.yaml\n"]
    marks = "".join(
        f"blob\nmark :{n + 1}\ndata {len(text)}\n{text}\n" for n, text in enumerate(files.values())
    )
    tree = "".join(f"M 100644 :{n + 1} {path}\n" for n, path in enumerate(files))
    stream = (
        marks + "commit refs/heads/big\ncommitter Ben <b@example.org> 1700000000 +0000\ndata 1\nx\n" + tree
    )
    repository.git(
        "fast-import",
        "--quiet",
        given=(stream + rows[0].replace("\t", " ").replace("100644", "M 100644")).encode(),
    )

    wish = load(open_commit(repository.root, "big"))

    assert len(wish.declarations) == 1000
    assert {one.place.path for one in wish.declarations} == set(files)


def test_a_link_in_the_work_tree_is_never_followed_while_reading(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/s.yaml").write_text(STORES)
    repository.write({"desired/s.yaml": STORES})
    tree = open_worktree(repository.root, now=0)
    shutil.rmtree(repository.root / "desired")
    (repository.root / "desired").symlink_to(tmp_path / "outside")

    with pytest.raises(InvalidInput) as caught:
        load(tree)

    assert caught.value.code == "E_TREE_MODE"
    assert tree.find(["desired/s.yaml"]).entries == ()


def test_a_submodule_beside_the_desired_state_is_not_entered(repository: Repository) -> None:
    oid = repository.commit({**WISH, "module": File("160000", b"1" * 40), ".gitmodules": '[submodule "x"]\n'})

    assert len(load(open_commit(repository.root, oid)).declarations) == 1
