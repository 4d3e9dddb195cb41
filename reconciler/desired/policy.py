"""`Policy` documents: what may change, how much at once, when, and who must stand behind it.

There is one in a repository. It becomes `Guards` with the built-in defaults wherever it says nothing; one
that says nothing at all denies everything (E_POLICY_EMPTY), because a policy that was emptied by mistake
must not open the gate. Times of a freeze are local to its time zone; where a change of clocks makes one
ambiguous, the longer window holds.

Nothing here judges a plan, and nothing is read but the document and the time zone database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reconciler.desired.draft import Draft
from reconciler.desired.yaml_guard import Document
from reconciler.errors import Problem
from reconciler.governance import Budget, Freeze, Guards, Ownership
from reconciler.model import Place, Severity

_SAYS_NOTHING: Final = frozenset({"apiVersion", "kind", "meta"})
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_policy(document: Document, draft: Draft) -> None:
    """Add one `Policy` document to the draft."""
    root = document.root
    draft.describe(document.path, root.get("meta"))
    start = Place(document.path, 1, 1)
    if draft.policies:
        message = f"there is one Policy document, and {draft.policies[0].origin} is one already"
        draft.refuse("E_DUPLICATE", message, start, fix="merge them")
        return
    if set(root) <= _SAYS_NOTHING:
        draft.problems.append(empty_policy(document.path))
        return
    defaults = Guards()
    federation: Mapping[str, Any] = root.get("federation", {})
    approvals: Mapping[str, Any] = root.get("approvals", {})
    draft.policies.append(
        replace(
            defaults,
            origin=document.path,
            severities=_severities(document, draft),
            budgets=MappingProxyType({**defaults.budgets, **_budgets(root.get("budgets", {}))}),
            freezes=tuple(
                freeze
                for index in range(len(root.get("freezes", ())))
                if (freeze := _freeze(index, document, draft)) is not None
            ),
            soak=MappingProxyType({store: _duration(text) for store, text in root.get("soak", {}).items()}),
            owners=tuple(
                Ownership(
                    pattern=entry["path"],
                    owners=frozenset(entry["owners"]),
                    place=Place(document.path, *document.place(("owners", index))),
                )
                for index, entry in enumerate(root.get("owners", ()))
            ),
            protected=tuple(root.get("protected", ())),
            federation_licenses=frozenset(federation.get("licenses", ())),
            federation_metadata=frozenset(federation.get("metadata", ())),
            approvals=int(approvals.get("count", 0)),
            approvers=frozenset(approvals.get("keys", ())),
        )
    )


def empty_policy(path: str) -> Problem:
    """A policy document that is there and says nothing: it denies."""
    return Problem(
        code="E_POLICY_EMPTY",
        message="a policy file is there but empty, which denies everything",
        path=path,
        fix="fill it in or remove it",
    )


def _severities(document: Document, draft: Draft) -> Mapping[str, Severity]:
    written: dict[str, str] = document.root.get("severities", {})
    for rule in written:
        place = Place(document.path, *document.place(("severities", rule), key=True))
        draft.rules_named.append((rule, place))
    return MappingProxyType({rule: Severity(word) for rule, word in written.items()})


def _budgets(written: Mapping[str, Mapping[str, Any]]) -> dict[str, Budget]:
    names = {
        "count": "count",
        "percent": "percent",
        "totalCount": "total_count",
        "totalPercent": "total_percent",
        "above": "above",
    }
    return {
        action: Budget(**{names[name]: int(number) for name, number in members.items()})
        for action, members in written.items()
    }


def _duration(text: str) -> int:
    return int(text[:-1]) * _SECONDS[text[-1]]


def _freeze(index: int, document: Document, draft: Draft) -> Freeze | None:
    """One window, or None and a problem in the draft."""
    entry: dict[str, Any] = document.root["freezes"][index]
    steps = ("freezes", index)
    zone = _zone(entry.get("timezone", "UTC"))
    if zone is None:
        place = Place(document.path, *document.place((*steps, "timezone")))
        message = "the time zone database has no such zone"
        draft.refuse("E_TIMEZONE", message, place, got=entry["timezone"], fix="for example Europe/Berlin")
        return None
    both = sorted({"days", "starts"} & set(entry))
    if both == ["days", "starts"]:
        place = Place(document.path, *document.place((*steps, "starts"), key=True))
        draft.refuse("E_FREEZE", "a freeze is weekly (days) or one span (starts, ends), not both", place)
        return None
    common = Freeze(
        name=entry["name"],
        reason=entry["reason"],
        stores=frozenset(entry.get("stores", ())),
        timezone=zone.key,
        place=Place(document.path, *document.place(steps)),
    )
    if "days" in entry:
        days = frozenset(_DAYS.index(day) for day in entry["days"])
        return replace(common, days=days, opens=_minutes(entry["opens"]), closes=_minutes(entry["closes"]))
    starts = _moment(entry["starts"], zone, later=0)
    ends = _moment(entry["ends"], zone, later=1)
    if starts is None or ends is None or ends <= starts:
        wrong = "starts" if starts is None else "ends"
        place = Place(document.path, *document.place((*steps, wrong)))
        message = "a freeze ends after it starts, and both are real dates"
        draft.refuse("E_FREEZE", message, place, got=entry[wrong])
        return None
    return replace(common, starts=starts, ends=ends)


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory of zones
        return None


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _moment(text: str, zone: ZoneInfo, *, later: int) -> int | None:
    """Unix seconds of a local time; of two readings the earlier, or with `later` 1 the later one."""
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=later).timestamp())
    except (ValueError, OverflowError):
        return None
