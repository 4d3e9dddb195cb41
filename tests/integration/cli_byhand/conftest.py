"""A directory with an empty store and this project's example builds, and the command line run in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.cli import main
from reconciler.model import DatasetId
from reconciler.stores.serving.contents import dataset_path
from tests.integration.command_line import CLEAN, PROJECT, Ran, copy_project

BUILDS = PROJECT / "examples" / "builds"

H110 = "110/homo_sapiens/GRCh38"
H111 = "111/homo_sapiens/GRCh38"
M110 = "110/mus_musculus/GRCm39"
M111 = "111/mus_musculus/GRCm39"
BUILD_OF = {H110: "human-110", H111: "human-111", M110: "mouse-110", M111: "mouse-111"}
MANIFEST_OF = {
    H110: "sha256:6f36f030686d35e5ef6b540158fbd15721769e4766be7d4b8d4d39507ba22c62",
    H111: "sha256:4f0a4b3ed561dd7d9a38721b939cb0e00e157798d30919cd65ad822abcc6b713",
    M111: "sha256:eff1dad9c416f44a238d0655887a28ec2445c5c1d1355770b9ed4ac93ba88fce",
    M110: "sha256:5e24a924c589ff68d144ed58235c8b4237394c01b67b5de87a76b6fa9531fed7",
}
STORE = ("--store-root", "store")


@dataclass(frozen=True, slots=True)
class Desk:
    """Where somebody works by hand: `store`, and `builds/human-110` and so on."""

    root: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *words: str) -> Ran:
        self.capture.readouterr()
        code = main(words)
        out, err = self.capture.readouterr()
        assert "Traceback" not in err
        assert "E_INTERNAL" not in err, err
        return Ran(int(code), out, err)

    def ok(self, *words: str) -> Ran:
        ran = self.run(*words)
        assert ran.code == 0, f"{words}: exit {ran.code}\n{ran.out}\n{ran.err}"
        return ran

    def build(self, dataset: str) -> str:
        """The build root of an example, copied here when it is first needed."""
        name = f"builds/{BUILD_OF[dataset]}"
        if not (self.root / name).exists():
            shutil.copytree(BUILDS / BUILD_OF[dataset], self.root / name)
        return name

    def publish(self, *datasets: str) -> None:
        for dataset in datasets:
            self.ok("dataset", "publish", dataset, "--source-root", self.build(dataset), *STORE)

    def promote(self, *datasets: str) -> None:
        self.publish(*datasets)
        for dataset in datasets:
            self.ok("catalog", "promote", dataset, *STORE)

    def latest(self, dataset: str) -> None:
        self.ok("catalog", "latest-alias-update", dataset, *STORE)

    def directory(self, dataset: str, root: str = "store") -> Path:
        return self.root / root / dataset_path(DatasetId.parse(dataset))

    def listed(self) -> list[str]:
        entries = json.loads((self.root / "store/catalog.json").read_bytes())["datasets"]
        return ["/".join(e["dataset"][part] for part in ("release", "species", "assembly")) for e in entries]

    def named(self) -> str:
        """What the alias file says latest is."""
        alias = json.loads((self.root / "store/latest.alias.json").read_bytes())["dataset"]
        return "/".join(alias[part] for part in ("release", "species", "assembly"))

    def records(self) -> int:
        return len(list((self.root / "store/.reconciler/ledger").glob("*.outcome.json")))

    def tree(self) -> dict[str, tuple[bytes, int, int]]:
        """Every file and directory here: bytes, modification time, inode.

        Not the store's lock: a writer says in it who holds it, before it looks.
        """
        return {
            str(path.relative_to(self.root)): (
                b"" if path.is_dir() or path.is_symlink() else path.read_bytes(),
                path.lstat().st_mtime_ns,
                path.lstat().st_ino,
            )
            for path in sorted(self.root.rglob("*"))
            if path != self.root / "store/.reconciler/lock"
        }

    def refused(self, *words: str, code: int, error: str) -> Ran:
        """Run a command that must be refused with one code and must write nothing."""
        before = self.tree()
        ran = self.run(*words)
        assert (ran.code, ran.error, ran.out) == (code, error, ""), f"{words}\n{ran.out}\n{ran.err}"
        assert self.tree() == before
        return ran

    def repository(self) -> None:
        """Make this a git repository with this project's desired state; its store is var/serving."""
        copy_project(self.root, "desired", "ops")
        for dataset in BUILD_OF:
            self.build(dataset)
        (self.root / "examples").mkdir()
        (self.root / "builds").rename(self.root / "examples/builds")
        self.commit()

    def commit(self) -> None:
        """Commit everything here but the stores and what tests put beside them."""
        (self.root / ".gitignore").write_text("/var/\n/store/\n*.tar\n")
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "A wish"]):
            subprocess.run(["git", *words], cwd=self.root, env=CLEAN, check=True, capture_output=True)

    def unchanged(self, *words: str) -> Ran:
        """Run a command that must succeed and write nothing."""
        before = self.tree()
        ran = self.ok(*words)
        assert self.tree() == before
        return ran


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    root = tmp_path / "desk"
    (root / "store").mkdir(parents=True)
    monkeypatch.chdir(root)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1714592400")
    return Desk(root, capsys)
