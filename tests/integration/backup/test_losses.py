"""Each part of a store is lost or broken in turn: it is noticed, and what comes back has identical bytes.

What the backup does not hold is named: nothing is proved that nobody looked at.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.backup.conftest import Vault, files
from tests.integration.backup.test_serving import flip

STORE = ("--store", "serving")


def parts_of(vault: Vault) -> list[Path]:
    """The files of the published datasets."""
    return sorted(path for path in vault.store.glob("release=*/**/*") if path.is_file())


def delete(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def corrupt_half(vault: Vault) -> None:
    for path in parts_of(vault)[::2]:
        flip(path)


def ledger(vault: Vault) -> list[Path]:
    return sorted((vault.store / ".reconciler/ledger").iterdir())


LOSSES: dict[str, Callable[[Vault], None]] = {
    "catalog deleted": lambda vault: delete(vault.store / "catalog.json"),
    "catalog corrupted": lambda vault: flip(vault.store / "catalog.json"),
    "catalog cut": lambda vault: cut(vault.store / "catalog.json"),
    "alias deleted": lambda vault: delete(vault.store / "latest.alias.json"),
    "alias corrupted": lambda vault: flip(vault.store / "latest.alias.json"),
    "alias cut": lambda vault: cut(vault.store / "latest.alias.json"),
    "half of the files deleted": lambda vault: delete(*parts_of(vault)[::2]),
    "half of the files corrupted": corrupt_half,
    "the last outcome deleted": lambda vault: delete(ledger(vault)[-1]),
    "the last outcome corrupted": lambda vault: flip(ledger(vault)[-1]),
    "the last record deleted": lambda vault: delete(*ledger(vault)[-2:]),
    "an intent deleted": lambda vault: delete(ledger(vault)[0]),
    "the ledger deleted": lambda vault: shutil.rmtree(vault.store / ".reconciler/ledger"),
    "the directory": lambda vault: shutil.rmtree(vault.store),
}


NOTICED = {
    "the last outcome deleted": (7, "E_UNFINISHED"),
    "the last record deleted": (8, "E_LEDGER_CHAIN"),
    "the ledger deleted": (8, "E_LEDGER_CHAIN"),
    "an intent deleted": (8, "E_LEDGER_CHAIN"),
    "the directory": (8, "E_NOT_AT_COMMIT"),
}
UNSAID = {
    "the last outcome deleted",
    "the last record deleted",
    "the ledger deleted",
    "an intent deleted",
    "the directory",
}
"""Losses after which nothing live says which release was the newest."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def report_of(vault: Vault, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = vault.run("recovery", "drill", *STORE, "--output", "json", *words)
    assert ran.out, ran.err
    return ran.code, {check["name"]: check for check in ran.document["drills"][0]["checks"]}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_noticed_and_comes_back_byte_for_byte_with_proof(vault: Vault, loss: str) -> None:
    vault.backup("--verify")
    before = files(vault.store)
    LOSSES[loss](vault)
    assert files(vault.store) != before

    noticed = vault.run("verify", *STORE, "--at", "HEAD", "--deep")
    assert (noticed.code, noticed.error) == NOTICED.get(loss, (8, noticed.error)), noticed.err

    code, checks = report_of(vault)
    failed = {name for name, check in checks.items() if check["verdict"] == "failed"}
    if loss == "the last outcome corrupted":  # which of the two is right is for a person to say
        assert (code, failed) == (8, {"release-identity"})
    else:
        assert (code, failed) == (0, set())
        left = checks["release-identity"]["verdict"]
        assert left == ("not proved" if loss in UNSAID else "proved"), checks["release-identity"]

    back = vault.restore()
    assert back.code == 0, back.err
    assert files(vault.root / "var/back") == before
    shutil.rmtree(vault.store, ignore_errors=True)
    (vault.root / "var/back").rename(vault.store)
    code, checks = report_of(vault, "--restored")
    assert (code, checks["contents-hash-true"]["verdict"]) == (0, "proved")
    vault.ok("verify", *STORE, "--at", "HEAD", "--deep")
    assert files(vault.store) == before


def one_more(vault: Vault) -> None:
    """A release that no backup holds."""
    human = vault.root / "desired/catalogs/human.yaml"
    human.write_text(human.read_text().replace("latest: 111/homo_sapiens/GRCh38", "latest: none"))
    vault.commit("No latest")
    vault.ok("apply", "--yes")


def test_a_release_after_the_backup_is_named_where_the_live_ledger_still_says_so(vault: Vault) -> None:
    vault.backup("--verify")
    one_more(vault)
    (vault.store / "catalog.json").unlink()
    code, checks = report_of(vault)
    assert (code, checks["release-identity"]["verdict"]) == (8, "failed")
    (problem,) = checks["release-identity"]["problems"]
    assert problem.startswith("E_DRILL_OLDER: the backup is older than the store: it lacks records 3 to 3")


@pytest.mark.parametrize("lost", ["outcome", "record", "everything"])
def test_a_release_after_the_backup_that_was_lost_with_the_ledger_is_never_proved(
    vault: Vault, lost: str
) -> None:
    vault.backup("--verify")
    one_more(vault)
    if lost == "everything":
        shutil.rmtree(vault.store)
    else:
        for path in ledger(vault)[-2 if lost == "record" else -1 :]:
            path.unlink()
    code, checks = report_of(vault)
    identity = checks["release-identity"]
    if lost == "record":  # the live ledger ends where the backup does, but for the packet beside it
        for words in (("plan",), ("apply", "--yes"), ("verify", *STORE, "--at", "HEAD"), ("drift",)):
            ran = vault.run(*words)
            assert (ran.code, ran.error, "release 3" in ran.err) == (8, "E_LEDGER_CHAIN", True), words
    if lost != "everything":
        assert (code, identity["verdict"]) == (8, "failed")
        assert "the packet of serving#3 stands beside its ledger" in identity["problems"][0]
    else:
        assert (code, identity["verdict"]) == (0, "not proved"), identity
