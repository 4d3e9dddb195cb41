"""Changes of desired state that several tests review, and the files that say what is then shown."""

from __future__ import annotations

from tests.integration.documents import ROOT, matches
from tests.integration.gitops.conftest import Repository

HUMAN = "desired/catalogs/human.yaml"
MOUSE = "desired/catalogs/mouse.yaml"
HUMAN_111 = "  - id: 111/homo_sapiens/GRCh38"


def step_forward(repository: Repository) -> None:
    """From the human release 110 and both mice, all live: add human 111, move latest, withdraw mouse 110."""
    whole = (repository.root / HUMAN).read_text()
    older = whole[: whole.index(HUMAN_111)] + "latest: 110/homo_sapiens/GRCh38\n"
    (repository.root / HUMAN).write_text(older)
    repository.commit("Declare human 110 alone")
    repository.ok("apply", "--yes")
    (repository.root / HUMAN).write_text(whole)
    text = (repository.root / MOUSE).read_text()
    start, end = text.index("  - id: 110/mus"), text.index("  - id: 111/mus")
    removed = "removed:\n  - {id: 110/mus_musculus/GRCm39, reason: superseded}\n"
    (repository.root / MOUSE).write_text(text[:start] + text[end:] + removed)
    repository.commit("Step forward")


def lose_human_110(repository: Repository) -> None:
    """Take the declaration of a live dataset out of git without a word, and point latest at it."""
    text = (repository.root / HUMAN).read_text()
    start, end = text.index("  - id: 110/homo"), text.index(HUMAN_111)
    (repository.root / HUMAN).write_text(text[:start] + text[end:])
    repository.commit("Lose human 110")


def check_golden(name: str, shown: str) -> None:
    """Compare with a file of tests/golden."""
    expected = (ROOT / "tests/golden" / name).read_text(encoding="utf-8")
    assert matches(expected.rstrip("\n"), shown.rstrip("\n")), (
        f"tests/golden/{name} is not what is shown:\n{shown}"
    )
