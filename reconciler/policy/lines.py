"""Lines of releases before and after a plan: what rules about movement look at.

A line is what `latest` moves along: the releases of one species and assembly, or the versions of one
dataset. Decides, for every line that a plan touches, which releases readers find before and after it
(whoever put them there), which names point into it, and how far it steps back.

What every store kind means by a line, a release and a pointer is its shape's business; this module never
looks at a kind or a key. It reads nothing: the observations come with the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from reconciler.model import NOTHING, Address, Slots, merged
from reconciler.plan import StorePlan, by_address
from reconciler.shape import Pointer, Release, Shape


class Touched(NamedTuple):
    """The slots of an address before and after a plan that changes it."""

    before: Slots
    after: Slots


class PointerMove(NamedTuple):
    """What a moving name names before and after a plan; equal where it stays, None where there is none."""

    before: Pointer | None
    after: Pointer | None


@dataclass
class Line:
    """One line before and after a plan; its releases are complete before anybody asks for the newest.

    Attributes:
        counts_unstable: whether a pre-release may be the newest release.
        before: the releases that readers find before, by address.
        after: the releases that readers find after it.
        pointers: the names that point into it before or after.
    """

    counts_unstable: bool
    before: dict[Address, Release] = field(default_factory=dict)
    after: dict[Address, Release] = field(default_factory=dict)
    pointers: dict[Address, PointerMove] = field(default_factory=dict)

    @cached_property
    def newest_before(self) -> Address | None:
        """The highest release that `latest` may be, before the plan."""
        return self._newest(self.before)

    @cached_property
    def newest_after(self) -> Address | None:
        """The highest release that `latest` may be, after the plan."""
        return self._newest(self.after)

    def _newest(self, releases: Mapping[Address, Release]) -> Address | None:
        eligible = (
            (release.rank, address)
            for address, release in releases.items()
            if release.stable or self.counts_unstable
        )
        _, newest = max(eligible, default=(None, None))
        return newest

    def steps_back(self) -> StepBack | None:
        """The longest way back that the plan takes in this line, or None."""
        ways = [(self.newest_before, self.newest_after)]
        ways += [
            (_named(before, self.before), _named(after, self.after))
            for before, after in self.pointers.values()
            if before is not None and after is not None
        ]
        backward = [step for start, end in ways if (step := self._step(start, end)) is not None]
        return max(backward, key=lambda step: len(step.passed), default=None)

    def _step(self, start: Address | None, end: Address | None) -> StepBack | None:
        if start is None or start == end:
            return None
        top = self.before[start].rank
        floor = self.after[end].rank if end is not None else None
        passed = sorted(
            address
            for address, release in self.before.items()
            if release.rank <= top and (floor is None or release.rank > floor)
        )
        return StepBack(start, end, tuple(passed)) if passed else None


class StepBack(NamedTuple):
    """A way back along a line: from where, to where (None where no release is left), and what it passes."""

    start: Address
    end: Address | None
    passed: tuple[Address, ...]


def _named(pointer: Pointer, releases: Mapping[Address, Release]) -> Address | None:
    """The release that a pointer names, the highest where several have equal content."""
    named = [address for address, release in releases.items() if release.target == pointer.target]
    return max(named, key=lambda address: releases[address].rank, default=None)


def named_release(pointer: Pointer, line: Line) -> Address | None:
    """The release of the line after the plan that a pointer names, or None."""
    return _named(pointer, line.after)


def touched(plan: StorePlan, observed: Mapping[Address, Slots]) -> dict[Address, Touched]:
    """Every address that a plan changes, before and after."""
    found = {}
    for address, changes in by_address(plan.changes).items():
        before = observed.get(address, NOTHING)
        found[address] = Touched(before, merged(before, changes))
    return found


def lines_touched(shape: Shape, addresses: Mapping[Address, Touched]) -> frozenset[str]:
    """The lines of everything that a plan changes."""
    return frozenset(
        line
        for address, (before, after) in addresses.items()
        for slots in (before, after)
        if (line := shape.line(address, slots)) is not None
    )


def lines_of(
    plan: StorePlan, addresses: Mapping[Address, Touched], known: Iterable[tuple[Address, Slots]]
) -> dict[str, Line]:
    """The touched lines before and after a plan.

    Args:
        plan: of one store.
        addresses: what it changes.
        known: what else is live, in these lines and perhaps in others.
    """
    shape = plan.shape
    counts_unstable = plan.config.settings.get("latest") == "highest"
    lines: dict[str, Line] = {}
    for address, state in addresses.items():
        of_state = shape.line(address, state.before), shape.line(address, state.after)
        for name in of_state:
            if name is not None and name not in lines:
                lines[name] = Line(counts_unstable)
        _place(shape, address, state, of_state, lines)
    for address, slots in known:
        name = None if address in addresses else shape.line(address, slots)
        if name in lines:
            _place(shape, address, Touched(slots, slots), (name, name), lines)
    for line in lines.values():
        _follow(shape, line)
    return dict(sorted(lines.items()))


def followed(
    plan: StorePlan, lines: Mapping[str, Line], addresses: Mapping[Address, Touched]
) -> Iterator[str]:
    """What a plan does to names that the store itself keeps at the newest release, in sentences.

    Args:
        plan: of one store.
        lines: those that it touches.
        addresses: what it changes; a name that it changes itself is not said again.
    """
    for name, line in lines.items():
        address = plan.shape.follower(plan.config.name, name)
        old, new = line.newest_before, line.newest_after
        if address is None or address in addresses or old == new:
            continue
        if new is None:
            yield f"{address} ends: no release is left that it may name"
        elif old is None:
            yield f"{address} begins at {new.key}"
        else:
            yield f"{address} follows from {old.key} to {new.key}"


def _place(
    shape: Shape,
    address: Address,
    state: Touched,
    of_state: tuple[str | None, str | None],
    lines: Mapping[str, Line],
) -> None:
    """Put what stands at an address before and after into the lines that these states belong to."""
    pointers: dict[str, PointerMove] = {}
    for at, (slots, name) in enumerate(zip(state, of_state, strict=True)):
        if name is None:
            continue
        release = shape.release(address, slots)
        if release is not None:
            line = lines[name]
            (line.after if at else line.before)[address] = release
        pointer = shape.pointer(address, slots)
        if pointer is not None:
            other = pointers.get(name, PointerMove(None, None))
            pointers[name] = other._replace(after=pointer) if at else other._replace(before=pointer)
    for name, move in pointers.items():
        lines[name].pointers[address] = move


def _follow(shape: Shape, line: Line) -> None:
    """A name that the store derives is wherever its rule puts it, whatever the plan says."""
    newest = line.newest_after
    for address, move in line.pointers.items():
        if shape.derived(address):
            after = None if newest is None else Pointer(line.after[newest].target, follows=True)
            line.pointers[address] = move._replace(after=after)
