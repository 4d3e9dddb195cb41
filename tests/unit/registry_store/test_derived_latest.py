"""`latest` of a registry follows by itself: nobody has to declare it, and it is never reported."""

from __future__ import annotations

from reconciler.drift import DriftReport, observe_drift
from reconciler.ledger import Inventory
from reconciler.model import Address, Declaration, Depth, Observed, Place
from reconciler.stores.registry.order import SHAPE

LATEST = Address("registry", "tag", "ethereum/mainnet@latest")
DEV = Address("registry", "tag", "ethereum/mainnet@dev")
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def summary(*declared: Declaration) -> dict[str, int]:
    report = DriftReport("", Depth.MANIFESTS)
    observe_drift(
        report,
        declared,
        [Observed(DEV, {"manifest": ONE}), Observed(LATEST, {"manifest": ONE})],
        Inventory({}),
        shape=SHAPE,
        everything_ours=False,
    )
    return {verdict: count for verdict, count in report.summary.items() if count}


def test_latest_that_nobody_declared_is_not_reported_and_dev_is_unmanaged() -> None:
    assert summary() == {"unmanaged": 1}


def test_latest_that_is_asserted_is_compared() -> None:
    place = Place("desired/mainnet.yaml", 1, 1)
    assert summary(Declaration(LATEST, {"manifest": ONE}, place)) == {"in_sync": 1, "unmanaged": 1}
    assert summary(Declaration(LATEST, {"manifest": TWO}, place)) == {"pending": 1, "unmanaged": 1}
