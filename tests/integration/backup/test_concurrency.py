"""Backups of a store that is written to at the same time: each is of one moment."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from tests.integration.backup.conftest import Vault
from tests.integration.cli_byhand.conftest import M110
from tests.integration.command_line import CLEAN

WRITER = """
import sys
from reconciler.cli import main
for turn in range(12):
    word = "rollback" if turn % 2 == 0 else "promote"
    assert main(["catalog", word, sys.argv[1], "--store-root", "var/serving"]) == 0
"""


def test_every_backup_made_beside_a_writer_is_of_one_moment(vault: Vault) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, M110],
        cwd=vault.root,
        env=CLEAN,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    made = 0
    while writer.poll() is None or made < 2:
        vault.backup()
        made += 1
    assert writer.wait() == 0
    vault.backup()
    for number in range(1, made + 2):
        assert vault.restore("--backup", str(number), into=f"var/back-{number}").code == 0
        check_moment(vault.root / f"var/back-{number}")


def check_moment(root: Path) -> None:
    """The ledger is closed and names the very heads that came back, and the alias this catalog."""
    names = sorted(path.name for path in (root / ".reconciler/ledger").iterdir())
    assert len(names) % 2 == 0
    outcome = json.loads((root / ".reconciler/ledger" / names[-1]).read_bytes())
    found = {
        head: f"sha256:{hashlib.sha256((root / name).read_bytes()).hexdigest()}"
        for head, name in (("catalog", "catalog.json"), ("alias", "latest.alias.json"))
    }
    assert outcome["heads"] == found
    alias = json.loads((root / "latest.alias.json").read_bytes())
    assert f"sha256:{alias['catalog_sha256']}" == found["catalog"]
