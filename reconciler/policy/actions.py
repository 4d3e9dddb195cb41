"""What happens to an address as a whole, in the words that budgets and protection count by.

A plan changes slots; people think of things. A thing goes (*delete*: nobody finds it any more), it names
something else (*retarget*), or the rest of it changes (*update*). What appears, and what is found again, is
free and is no action here. What a slot means is the shape's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reconciler.model import Address
from reconciler.policy.lines import Touched
from reconciler.shape import Release, Shape

DELETE: Final = "delete"
UPDATE: Final = "update"
RETARGET: Final = "retarget"


def action_of(shape: Shape, address: Address, state: Touched) -> str | None:
    """What happens to an address as a whole: delete, update or retarget; None for what is free."""
    before, after = state
    if not before or shape.derived(address) or not visible(shape, address, before):
        return None
    if not visible(shape, address, after):
        return DELETE
    named, names = shape.pointer(address, before), shape.pointer(address, after)
    if named is not None and names is not None:
        return RETARGET if named.target != names.target else None
    found, finds = shape.release(address, before), shape.release(address, after)
    if found is None or finds is None:
        return UPDATE if found is finds else _withdrawn(found)
    return RETARGET if found.target != finds.target else UPDATE


def _withdrawn(found: Release | None) -> str | None:
    """A release that nobody finds any more was taken away; one that is found again is a create."""
    return DELETE if found is not None else None


def visible(shape: Shape, address: Address, slots: Mapping[str, object]) -> bool:
    """Whether a thing is more than content that only garbage collection takes away."""
    kind, permanent = address.kind, shape.permanent
    for slot in slots:  # noqa: SIM110 - asked of every address of a plan, where `any` takes twice the time
        if (kind, slot) not in permanent:
            return True
    return False
