"""`PolicyCase` documents: what policy is expected to say of one plan, written down as a test of the policy.

A case is a directory: `case.yaml`, the desired state in `desired/`, and governance files under `ops/` where
the case needs some. It says what the stores hold, what the time is, and every finding that it expects.
Nothing is opened for it, so it runs anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from reconciler.desired.draft import truth
from reconciler.desired.schema import check_as
from reconciler.desired.yaml_guard import parse
from reconciler.errors import InvalidInput
from reconciler.model import Address, Severity, Slots

CASE_FILE: Final = "case.yaml"
KIND: Final = "PolicyCase"


class Expected(NamedTuple):
    """A finding that a case expects."""

    rule: str
    severity: Severity
    subject: str


class LiveThing(NamedTuple):
    """One thing that a store of a case holds, and whether it is ours."""

    address: Address
    slots: Slots
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCase:
    """One case, as its document says it."""

    description: str
    now: int
    live: tuple[LiveThing, ...]
    expected: frozenset[Expected]


def read_case(data: bytes, path: str) -> PolicyCase:
    """Decode one case.

    Args:
        data: the bytes of its document.
        path: what errors name.

    Raises:
        InvalidInput: everything that is wrong with it.
    """
    document = parse(data, path)
    check_as(document, KIND)
    root: dict[str, Any] = document.root
    try:
        now = int(datetime.fromisoformat(root["now"]).timestamp())
    except ValueError as error:
        line, column = document.place(("now",))
        raise InvalidInput.of(
            "E_PATTERN", "there is no such time", path=path, line=line, column=column, got=root["now"]
        ) from error
    live = [
        LiveThing(
            Address.parse(entry["address"]),
            {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in entry["slots"].items()
            },
            truth(entry.get("ours")) is not False,
        )
        for entry in root["live"]
    ]
    expected = (Expected(e["rule"], Severity(e["severity"]), e["subject"]) for e in root["expect"])
    return PolicyCase(
        description=root["description"],
        now=now,
        live=tuple(sorted(live, key=lambda thing: thing.address)),
        expected=frozenset(expected),
    )
