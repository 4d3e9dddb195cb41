"""The pins and the dataset manifest of the planned commit, read where something asks for them.

Promotion asks where the promotion rules of the protected base say so; garbage collection always does. A
file that is asked for and missing is an error: nothing is pinned by mistake, and nothing unpinned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reconciler.governance import Pins, PromotionRules

if TYPE_CHECKING:
    from reconciler.desired.tree import Tree


class Listed(NamedTuple):
    """What may be promoted: the pins, and the ids of the dataset manifest."""

    pins: Pins
    manifest_ids: frozenset[str]


def listed(tree: Tree, documents: Pins, rules: PromotionRules) -> Listed:
    """What the planned commit lists, as far as the promotion rules ask for it.

    Args:
        tree: the planned tree.
        documents: what its `Pins` documents name.
        rules: the promotion rules of the protected base.

    Raises:
        InvalidInput: E_PINS, a file that is asked for is missing or not of its form.
    """
    from reconciler.desired.pins import (  # noqa: PLC0415 - the YAML library
        MANIFEST_FILE,
        PINS_FILE,
        manifest_ids,
        merged_pins,
        pins_of,
        read_file,
    )

    pins, ids = documents, frozenset[str]()
    if rules.in_pins:
        pins = merged_pins((documents, pins_of(read_file(tree, PINS_FILE))))
    if rules.in_manifest:
        ids = manifest_ids(read_file(tree, MANIFEST_FILE))
    return Listed(pins, ids)


def kept(tree: Tree, documents: Pins) -> frozenset[str]:
    """Everything that any pin of the planned commit keeps, by id or digest.

    Raises:
        InvalidInput: E_PINS, a file is missing or not of its form.
    """
    from reconciler.desired.pins import (  # noqa: PLC0415 - the YAML library
        GC_PINS_FILE,
        PINS_FILE,
        gc_pins_of,
        merged_pins,
        pins_of,
        read_file,
    )

    found = merged_pins(
        (
            documents,
            pins_of(read_file(tree, PINS_FILE)),
            gc_pins_of(read_file(tree, GC_PINS_FILE)),
        )
    )
    return found.datasets | found.digests
