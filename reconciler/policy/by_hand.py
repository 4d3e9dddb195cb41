"""What policy says of a write that no plan of git decided: an operation by hand, or a collection.

Such a write touches a few addresses and is judged by them alone, so that it costs what it changes: by the
rules of `BY_HAND`, which look no further, and by holds and suspensions, which keep what is live from people
as they keep it from git. Rules about whole lines and budgets need everything that is live; they judge the
plan in which git follows.

`shield` says what no collection may take, whatever else keeps or does not keep it. Nothing here reads
anything: what is touched comes with the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from reconciler.governance import Guards, holder, instant
from reconciler.ledger import Inventory
from reconciler.model import NOTHING, Address, Finding, Severity
from reconciler.policy.control import covers
from reconciler.policy.facts import Facts

BY_HAND: Final = (
    "freeze-window",
    "protected",
    "protected-live",
    "promoted-in-manifest",
    "promoted-in-pins",
    "yanked-unpromotable",
    "federation-licence",
    "federation-metadata",
)
"""The rules that need no more than the addresses that a write touches."""

Shield = Callable[[Address], str | None]
"""Says why nobody may take an address away; None where nothing forbids it."""


def held(facts: Facts) -> Iterator[Finding]:
    """What is held stays as it is live, whoever wants to change it."""
    holds = holder(facts.guards, facts.now)
    if holds is None:
        return
    for store in facts.stores:
        for address in store.touched:
            one = holds(address)
            if one is not None:
                yield Finding(
                    rule=one.type.value,
                    severity=Severity.DENY,
                    subject=str(address),
                    message=f"it is held by {one.owner} until {instant(one.expires)}: {one.reason}",
                    place=one.place,
                    code="E_HELD",
                    fix="remove the exception in a change of its own first",
                )


def shield(guards: Guards, inventory: Inventory, now: int) -> Shield:
    """What the ledger, the policy and the exceptions in force protect."""
    holds = holder(guards, now)

    def why(address: Address) -> str | None:
        if address in inventory.protected:
            return "protected by the ledger"
        pattern = next((one for one in guards.protected if covers(one, str(address))), None)
        if pattern is not None:
            return f"protected by the policy ({pattern})"
        one = None if holds is None else holds(address)
        return None if one is None else f"{one.type.value} by {one.owner}: {one.reason}"

    return why


def shielded_in(inventory: Inventory, why: Shield) -> Mapping[str, str]:
    """The keys and digests of everything of ours that may not be taken away, and why."""
    known = {**dict.fromkeys(inventory.protected, NOTHING), **inventory.recorded}
    found: dict[str, str] = {}
    for address, slots in known.items():
        reason = why(address)
        if reason is not None:
            values = (value for value in slots.values() if isinstance(value, str))
            found.update(dict.fromkeys((address.key, *values), f"{reason}, as {address}"))
    return found
