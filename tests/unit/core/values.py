"""Small values that the core's tests share."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.ledger import Inventory, Run, intent_bytes, outcome_bytes, read_record
from reconciler.ledger import Record as LedgerRecord
from reconciler.model import (
    Address,
    Change,
    Declaration,
    Observed,
    Outcome,
    Place,
    Slots,
    Step,
    StepResult,
    StoreConfig,
)

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
STORE = StoreConfig(name="m", kind="memory", settings={"name": "unit"}, place=Place("stores.yaml", 1, 1))
GIT = Run(by="git", time=1_700_000_000, tool="test", commit="c" * 40)
HAND = Run(by="hand", time=1_700_000_001, tool="test", reason="by an operator")
LISTED: Slots = {"artifact": DIGEST, "entry": "listed"}
PUBLISHED: Slots = {"artifact": DIGEST}


def dataset(release: int = 110, species: str = "homo_sapiens", assembly: str = "GRCh38") -> Address:
    return Address("m", "dataset", f"{release}/{species}/{assembly}")


LATEST = Address("m", "alias", "latest")


def wish(
    address: Address, slots: Slots, *, source: str | None = None, reason: str | None = None, line: int = 7
) -> Declaration:
    return Declaration(address, slots, Place("catalog.yaml", line, 1), source=source, reason=reason)


def seen(address: Address, slots: Slots) -> Observed:
    return Observed(address, slots)


def owned(recorded: Mapping[Address, Slots]) -> Inventory:
    return Inventory(recorded)


def step(name: str, *changes: Change) -> Step:
    return Step(id=name, store="m", unit="catalog", changes=changes)


def landed(*names: str) -> tuple[StepResult, ...]:
    return tuple(StepResult(step=name, outcome=Outcome.APPLIED, receipt=DIGEST) for name in names)


def record(
    run: Run,
    steps: tuple[Step, ...],
    results: tuple[StepResult, ...] | None,
    *,
    seq: int = 1,
    previous: str | None = None,
) -> LedgerRecord:
    """A record as it comes back from its bytes."""
    intent = intent_bytes(seq=seq, previous=previous, identity=STORE.identity, run=run, steps=steps)
    outcome = None
    if results is not None:
        sha = read_record(
            seq=seq, store="m", previous=previous, intent=intent, outcome=None, where=""
        ).intent_sha
        outcome = outcome_bytes(seq=seq, intent_sha=sha, results=results, heads={"catalog": DIGEST})
    return read_record(seq=seq, store="m", previous=previous, intent=intent, outcome=outcome, where="ledger")
