"""A real git repository, its trees written object by object, so that any name and mode can stand in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from reconciler.desired.git import open_commit
from reconciler.desired.loader import load
from reconciler.errors import Exit, InvalidInput
from reconciler.model import Desired

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ben",
    "GIT_COMMITTER_EMAIL": "ben@example.org",
    "GIT_AUTHOR_DATE": "1600000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0200",
}

STORES = """apiVersion: reconciler/v1
kind: Stores
stores:
  serving: {kind: serving, root: file:var/serving, create: true}
"""

DIGEST = "sha256:" + "ab" * 32
HUMAN_110 = "110/homo_sapiens/GRCh38"
HUMAN_111 = "111/homo_sapiens/GRCh38"


def catalog(body: str, store: str = "serving") -> str:
    """A Catalog document with this body."""
    return f"apiVersion: reconciler/v1\nkind: Catalog\nstore: {store}\n{body}"


def listed(*ids: str) -> str:
    """The datasets of a Catalog document, all with the same manifest."""
    return "datasets:\n" + "".join(f'  - {{id: {text}, manifest: "{DIGEST}"}}\n' for text in ids)


class File(NamedTuple):
    """Content with a mode; for a submodule the content is the commit id."""

    mode: str
    content: bytes


Content = str | bytes | File


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository below a directory of the test."""

    root: Path
    objects: dict[bytes, str] = field(default_factory=dict)

    @classmethod
    def create(cls, root: Path) -> Repository:
        root.mkdir(exist_ok=True)
        made = cls(root)
        made.git("init", "-q", "-b", "main")
        return made

    def git(self, *args: str, given: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *args], cwd=self.root, input=given, env=ENVIRONMENT, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        if content not in self.objects:
            self.objects[content] = self.git("hash-object", "-w", "--stdin", given=content)
        return self.objects[content]

    def tree(self, files: Mapping[bytes, Content]) -> str:
        below: dict[bytes, dict[bytes, Content]] = {}
        rows: list[bytes] = []
        for path, content in files.items():
            head, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(head, {})[rest] = content
                continue
            data = content.encode() if isinstance(content, str) else content
            one = data if isinstance(data, File) else File("100644", data)
            kind = "commit" if one.mode == "160000" else "blob"
            oid = one.content.decode() if kind == "commit" else self.blob(one.content)
            rows.append(f"{one.mode} {kind} {oid}\t".encode() + head)
        for name, inner in below.items():
            rows.append(f"040000 tree {self.tree(inner)}\t".encode() + name)
        return self.git("mktree", "-z", "--missing", given=b"".join(row + b"\0" for row in rows))

    def commit(self, files: Mapping[str, Content], branch: str = "main") -> str:
        """Commit these files, and nothing else, to a branch; surrogates in paths stand for raw bytes."""
        named = {path.encode("utf-8", "surrogateescape"): content for path, content in files.items()}
        oid = self.git("commit-tree", self.tree(named), "-m", "test")
        self.git("update-ref", f"refs/heads/{branch}", oid)
        return oid

    def write(self, files: Mapping[str, str]) -> None:
        """Write files to the work tree."""
        for path, text in files.items():
            place = self.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)


def at_commit(repository: Repository, files: Mapping[str, Content]) -> Desired:
    """The desired state of a commit that holds these files."""
    return load(open_commit(repository.root, repository.commit(files)))


def refusal(repository: Repository, files: Mapping[str, Content]) -> list[str]:
    """What is said of a commit that holds these files, which must be refused as invalid input."""
    with pytest.raises(InvalidInput) as caught:
        at_commit(repository, files)
    assert caught.value.exit_code is Exit.INVALID
    return [str(problem) for problem in caught.value.problems]
