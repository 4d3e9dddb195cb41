"""What a rule is told: the data of the protected base that it judges by, in words.

A finding says what is wrong with a plan. Who wants to change the answer by changing the policy needs to
know which number, window or pattern decided, and which file holds it. Rules that judge by nothing but the
plan and what is live have no data. Says nothing about a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from reconciler.governance import Budget, Freeze, Guards, instant

_PROMOTION: Final = "ops/datasets/promotion-rules.json"
_ROLLBACK: Final = "ops/datasets/rollback-policy.json"
_FREEZE: Final = "ops/datasets/freeze-policy.json"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def settings_of(rule: str, guards: Guards) -> tuple[str, ...]:
    """The data that a rule judges by, one thing a line; empty where it needs none."""
    told = _TOLD.get(rule)
    return () if told is None else tuple(told(guards)) or (f"{guards.origin}: says nothing of it",)


def _budget(action: str) -> Callable[[Guards], Iterator[str]]:
    def told(guards: Guards) -> Iterator[str]:
        budget = guards.budgets[action]
        yield (
            f"{guards.origin}: the larger of {budget.count} and {budget.percent} % of a scope; "
            f"{_everything(budget)} of everything, where more than {budget.above} things are live"
        )

    return told


def _everything(budget: Budget) -> str:
    share = f"{budget.total_percent} %"
    return f"the larger of {budget.total_count} and {share}" if budget.total_count else share


def _windows(guards: Guards) -> Iterator[str]:
    for freeze in guards.freezes:
        where = ", ".join(sorted(freeze.stores)) or "all stores"
        place = freeze.place or guards.origin
        yield f"{place}: '{freeze.name}' of {where}: {_when(freeze)} ({freeze.reason})"


def _when(freeze: Freeze) -> str:
    if not freeze.days:
        return f"{instant(freeze.starts)} to {instant(freeze.ends)}"
    days = " ".join(_DAYS[day] for day in sorted(freeze.days))
    times = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (freeze.opens, freeze.closes))
    return f"{days} {' to '.join(times)} {freeze.timezone}"


def _soak(guards: Guards) -> Iterator[str]:
    for name, config in sorted(guards.stores.items()):
        source = config.settings.get("promotesFrom")
        if source is not None:
            yield f"{config.place}: {name} promotes from {source}, after {guards.soak.get(name, 0)} seconds"


def _owners(guards: Guards) -> Iterator[str]:
    for one in guards.owners:
        yield f"{one.place or guards.origin}: {one.pattern} belongs to {' or '.join(sorted(one.owners))}"


def _patterns(guards: Guards) -> Iterator[str]:
    yield from (f"{guards.origin}: {pattern}" for pattern in guards.protected)


def _manifest(guards: Guards) -> Iterator[str]:
    yield f"{_PROMOTION}: {_asked(wanted=guards.governance.promotion.in_manifest)}"


def _pins(guards: Guards) -> Iterator[str]:
    yield f"{_PROMOTION}: {_asked(wanted=guards.governance.promotion.in_pins)}"


def _append_only(guards: Guards) -> Iterator[str]:
    yield f"{_PROMOTION}: {_asked(wanted=guards.governance.promotion.append_only)}"


def _asked(*, wanted: bool) -> str:
    return "asks for it" if wanted else "does not ask for it"


def _depth(guards: Guards) -> Iterator[str]:
    depth = guards.governance.rollback_depth
    yield f"{_ROLLBACK}: {'says nothing' if depth is None else f'{depth} releases of a line at once'}"


def _lines(guards: Guards) -> Iterator[str]:
    yield f"{_FREEZE}: {guards.governance.release_lines} release lines stay"


def _licences(guards: Guards) -> Iterator[str]:
    named = ", ".join(sorted(guards.federation_licenses))
    yield f"{guards.origin}: {named or 'any licence that is named'}"


def _metadata(guards: Guards) -> Iterator[str]:
    if guards.federation_metadata:
        yield f"{guards.origin}: {', '.join(sorted(guards.federation_metadata))}"


_TOLD: Final[Mapping[str, Callable[[Guards], Iterator[str]]]] = MappingProxyType(
    {
        "delete-budget": _budget("delete"),
        "update-budget": _budget("update"),
        "retarget-budget": _budget("retarget"),
        "freeze-window": _windows,
        "environment-path": _soak,
        "required-owners": _owners,
        "protected": _patterns,
        "promoted-in-manifest": _manifest,
        "promoted-in-pins": _pins,
        "promotion-append-only": _append_only,
        "rollback-depth": _depth,
        "release-retention": _lines,
        "federation-licence": _licences,
        "federation-metadata": _metadata,
    }
)
