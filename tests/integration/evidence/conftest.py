"""Keys on disk, and the repository of the walk after its first apply."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from reconciler.evidence.keys import SigningKey
from tests.integration.gitops.conftest import (
    Repository,
    let_latest_go_back,
    make_applied,
    make_published,
    make_repository,
    published,
    repository,
)
from tests.unit.evidence.packets import ADA, BOB, EVE

__all__ = ["published", "repository"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The PEM files of three owners."""

    place: Path

    def private(self, owner: str) -> str:
        return str(self.place / f"{owner}.key")

    def public(self, owner: str) -> str:
        return str(self.place / f"{owner}.pub")

    def pem(self, owner: str) -> str:
        return (self.place / f"{owner}.key").read_text()


def write_key(place: Path, owner: str, key: SigningKey) -> None:
    private = key._private  # noqa: SLF001 - the library's own key object
    (place / f"{owner}.key").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (place / f"{owner}.pub").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    place = tmp_path / "keys"
    place.mkdir()
    for owner, key in (("ada", ADA), ("bob", BOB), ("eve", EVE)):
        write_key(place, owner, key)
    return Keys(place)


@pytest.fixture(scope="session")
def first_apply(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The walk up to its first apply, made once; tests work on copies."""
    base = tmp_path_factory.mktemp("first_apply")
    repo = make_repository(base)
    let_latest_go_back(repo.root)
    repo.commit("Latest may go back and forth")
    return make_applied(make_published(repo)).root


@pytest.fixture
def applied(first_apply: Path, tmp_path: Path) -> Repository:
    """The repository after its first apply."""
    root = tmp_path / "repository"
    shutil.copytree(first_apply, root, copy_function=shutil.copy2)
    return Repository(root)


@pytest.fixture
def collected(applied: Repository, keys: Keys) -> Repository:
    """The evidence of the first apply, collected and signed by ada."""
    applied.ok("evidence", "collect", "--release", "serving#2", "--into", "release")
    applied.ok("evidence", "sign", "release", "--key", keys.private("ada"))
    return applied
