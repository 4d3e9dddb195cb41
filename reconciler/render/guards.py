"""What judged a plan, in a few lines: policy and base, room left in the budgets, exceptions, what is held.

Shown with every plan that does something, so that a reviewer sees which guards were configured and how close
the plan comes to them. At most `_SHOWN` of each kind, the rest counted; budgets of which nothing is used are
left out, unless that is all of them: then the smallest of each kind of action says what there is. Decides
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from reconciler.errors import escaped
from reconciler.governance import Exemption, Headroom, InForce, instant
from reconciler.plan import Plan

_SHOWN: Final = 6


def guards_lines(plan: Plan) -> Iterator[str]:
    """The lines about a plan's guards, for a terminal; texts of unknown origin are escaped."""
    if plan.in_force is not None:
        yield _origin(plan.in_force)
        yield from _room(plan.in_force.headroom)
        yield from _some([_exception(one) for one in plan.in_force.exceptions], "exceptions")
    held = [f"held, stays as it is live: {escaped(str(a), 160)}" for p in plan.stores for a in p.held]
    yield from _some(held, "held")


def _origin(guards: InForce) -> str:
    base = guards.base
    branch = f"{escaped(base.branch, 80)} at " if base.branch else ""
    commit = f"{escaped(base.commit[:12])} ({base.chosen.value})"
    return f"policy: {escaped(guards.policy, 160)}; base: {branch}{commit}"


def _room(headroom: Sequence[Headroom]) -> Iterator[str]:
    used = [room for room in headroom if room.used]
    if not used:
        yield from _unused(headroom)
        return
    # The fullest first: that is the one which the next change may break.
    used.sort(key=lambda room: (-room.used / max(room.allowed, 1), room))
    shown = [
        f"{room.action} {escaped(room.scope, 80)} {room.used} of {room.allowed}" for room in used[:_SHOWN]
    ]
    more = f", and {len(used) - _SHOWN} more" if len(used) > _SHOWN else ""
    yield f"budgets: {', '.join(shown)}{more}"


def _unused(headroom: Sequence[Headroom]) -> Iterator[str]:
    least: dict[str, int] = {}
    for room in headroom:
        least[room.action] = min(room.allowed, least.get(room.action, room.allowed))
    if least:
        each = ", ".join(f"{action} {allowed}" for action, allowed in sorted(least.items()))
        yield f"budgets: nothing used; in each scope at least {each}"


def _exception(one: Exemption) -> str:
    rule = f" of {escaped(one.rule, 80)}" if one.rule else ""
    return (
        f"exception: {one.type.value}{rule} for {escaped(one.subject, 160)} until {instant(one.expires)} by "
        f"{escaped(one.owner, 80)}: {escaped(one.reason, 200)} ({escaped(str(one.place), 200)})"
    )


def _some(lines: Sequence[str], what: str) -> Iterator[str]:
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"{what}: {len(lines) - _SHOWN} more"
