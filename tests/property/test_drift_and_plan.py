"""Drift and plan look at the same three states, so they must agree."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.drift import DriftReport, observe_drift
from reconciler.ledger import inventory
from reconciler.model import Declaration, Depth, Selection
from reconciler.stores.memory import SHAPE
from reconciler.stores.memory_contents import Alias, Entry
from reconciler.stores.port import Store
from reconciler.testing.harness import planned, reconciled, steps_of
from reconciler.testing.memory_harness import MemoryHarness
from reconciler.testing.strategies import POOL, Wish, wishes

ELSEWHERE = "listed at elsewhere/manifest.json elsewhere/gene_summary.sqlite"


def drift_of(store: Store, declarations: list[Declaration]) -> DriftReport:
    report = DriftReport("c" * 40, Depth.MANIFESTS)
    ours = inventory(store.history())
    seen = store.snapshot(Selection())
    observe_drift(report, declarations, seen, ours, shape=SHAPE, everything_ours=False)
    return report


def meddled(harness: MemoryHarness, data: st.DataObject) -> set[str]:
    """Let another writer, who takes no lock, edit the catalog and the alias; which keys it touched."""
    contents = harness.state.contents
    catalog, aliases = dict(contents.catalog or {}), dict(contents.aliases)
    touched = set()
    for key in data.draw(st.lists(st.sampled_from(sorted(catalog)), unique=True) if catalog else st.just([])):
        touched.add(key)
        edit = data.draw(st.sampled_from([None, Entry(ELSEWHERE), Entry(diffs=("derived/other.json",))]))
        if edit is None:
            del catalog[key]
        else:
            catalog[key] = edit
    if data.draw(st.booleans()):
        touched.add("latest")
        if "latest" in aliases:
            del aliases["latest"]
        else:
            aliases["latest"] = Alias(POOL[0], contents.catalog_digest())
    harness.state.contents = replace(contents, catalog=catalog, aliases=aliases)
    return touched


@given(wishes())
def test_after_an_apply_nothing_drifts(wish: Wish) -> None:
    harness = MemoryHarness()
    store = harness.open()
    declarations = wish.declarations(harness, store)
    reconciled(store, declarations)
    report = drift_of(store, declarations)
    assert report.items == []
    assert report.summary["in_sync"] == len(declarations)


@given(wishes(), wishes())
def test_what_git_changed_is_pending_and_never_drift(first: Wish, second: Wish) -> None:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, first.declarations(harness, store))
    declarations = second.declarations(harness, store, before=first)
    changed = {change.address for step in steps_of(planned(store, declarations)) for change in step.changes}
    report = drift_of(store, declarations)
    assert {item.address for item in report.items if item.verdict == "pending"} == changed
    assert report.summary["drift"] == 0


@given(wishes(), wishes(), st.data())
def test_plan_changes_exactly_what_is_pending_or_has_drifted(
    first: Wish, second: Wish, data: st.DataObject
) -> None:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, first.declarations(harness, store))
    touched = meddled(harness, data)
    declarations = second.declarations(harness, store, before=first)
    changed = {change.address for step in steps_of(planned(store, declarations)) for change in step.changes}
    report = drift_of(store, declarations)
    assert {i.address for i in report.items if i.verdict in {"pending", "drift"}} == changed
    # Without our binding refreshed, an alias goes stale with every catalog edit of others.
    assert {i.address.key for i in report.items if i.verdict == "drift"} <= touched | {"latest"}
