"""Several people at one store: nothing is lost, and what is done already is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from reconciler.model import DatasetId
from reconciler.testing.samples import Stage, minimal_dataset

PROJECT = Path(__file__).resolve().parents[3]
IDS = [DatasetId(str(release), "homo_sapiens", "GRCh38") for release in range(100, 108)]


def all_at_once(root: Path, commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """Start every command before waiting for the first; exit codes and answers in order."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "reconciler", *words, "--store-root", "store"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in commands
    ]
    ended = [(process, *process.communicate()) for process in started]
    return [(process.returncode, out or err) for process, out, err in ended]


def stocked(root: Path) -> Path:
    for dataset in IDS:
        minimal_dataset(root / "store", dataset, stage=Stage.PUBLISHED)
    return root


def listed(root: Path) -> list[str]:
    entries = json.loads((root / "store/catalog.json").read_bytes())["datasets"]
    return [entry["dataset"]["release"] for entry in entries]


def test_promotions_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    root = stocked(tmp_path)
    ended = all_at_once(root, [("catalog", "promote", str(dataset)) for dataset in IDS])
    assert [code for code, _ in ended] == [0] * len(IDS)
    assert listed(root) == [dataset.release for dataset in IDS]


def test_the_same_promotion_by_several_people_is_one_record(tmp_path: Path) -> None:
    root = stocked(tmp_path)
    ended = all_at_once(root, [("catalog", "promote", str(IDS[0]))] * 6)
    assert [code for code, _ in ended] == [0] * 6
    assert sorted(out.split(":")[0] == "nothing to do" for _, out in ended) == [False] + [True] * 5
    assert len(list((root / "store/.reconciler/ledger").glob("*.outcome.json"))) == 1
