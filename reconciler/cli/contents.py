"""Look into what a plan publishes or points at, so that people judge more than digests.

Reads manifests of changed addresses only, at most `reconciler.contents.LOOKS` pairs a store, and the heads of
a store once where a release appears. What cannot be looked into is said and stops nothing: whether it may be
applied is for the rules, and for apply itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from reconciler.cli.workspace import Opened
from reconciler.contents import LOOKS, Inside, inside, lines_that_grow, pairs, rewritten
from reconciler.model import Depth, Observed, Selection
from reconciler.plan import Plan, StorePlan
from reconciler.points import KIND
from reconciler.shape import Shape
from reconciler.stores.port import Store, describer


def with_contents(plan: Plan, opened: Mapping[str, Opened]) -> Plan:
    """The plan, with what is inside of its values."""
    return replace(
        plan,
        contents=tuple(item for part in plan.stores for item in _of(part, opened[part.config.name].store)),
    )


def _of(part: StorePlan, store: Store) -> Iterator[Inside]:
    looker = describer(store)
    if looker is None or not part.steps:
        return
    if part.config.kind == KIND:
        found = tuple(islice(rewritten(part.steps), LOOKS))
    else:
        live = _live(store, part.shape, lines_that_grow(part.shape, part.steps))
        found = pairs(part.shape, part.steps, live)
    looks = dict.fromkeys(look for pair in found for look in (pair.content, pair.beside) if look is not None)
    described = dict(looker.describe(tuple(looks)))
    for pair in found:
        yield inside(pair, described)


def _live(store: Store, shape: Shape, lines: frozenset[str]) -> tuple[Observed, ...]:
    if not lines:
        return ()
    heads = store.snapshot(Selection(depth=Depth.HEADS))
    return tuple(seen for seen in heads if shape.line(seen.address, seen.slots) in lines)
