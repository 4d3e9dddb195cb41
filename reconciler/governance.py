"""What the protected base says about what may change: policy, governance files, exceptions, pins.

These are values only. `reconciler.desired` reads them from the protected base and never from the change
under review; `reconciler.policy` judges by them; `reconciler.gc` keeps what their pins and retention name.
Pins and the dataset manifest are desired state: they come from the planned commit.

A `Guards` value is complete: where no document says anything, it holds the built-in defaults, so no rule
ever has to ask whether a policy exists. Nothing here reads a file or a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from reconciler.model import Place, Severity

BUILT_IN: Final = "built-in defaults"


class ExceptionType(StrEnum):
    """What an `Exception` document allows, or stops."""

    WAIVER = "waiver"
    HOLD = "hold"
    SUSPENSION = "suspension"
    BREAK_GLASS = "break-glass"
    ALLOW_EMPTY = "allow-empty"
    APPROVED_DELETES = "approved-deletes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """One `Exception` document of the protected base.

    Attributes:
        type: what it allows: a *waiver* turns one rule's finding on its subject into a warning; a *hold*
            keeps its subject as it is live, whatever git says; a *suspension* does so for a whole store;
            *break-glass* lets a version tag move; *allow-empty* lets a scope be emptied; *approved-deletes*
            raises the delete budget of its subject to exactly `count`.
        rule: the rule that a waiver is for; empty for the other types.
        subject: the address, `STORE/KIND` or `STORE` that it is for; an address may end in `*`.
        owner: who answers for it.
        reason: why.
        expires: Unix seconds from which it has no effect.
        count: the exact number of deletes that was approved; 0 for the other types.
        place: where it was written.
    """

    type: ExceptionType
    rule: str
    subject: str
    owner: str
    reason: str
    expires: int
    count: int
    place: Place

    def covers(self, subject: str) -> bool:
        """Whether a subject (an address, a `STORE/KIND` or a store) is the one this is for, or lies in it."""
        if self.subject.endswith("*"):
            return subject.startswith(self.subject[:-1])
        return subject == self.subject or subject.startswith(f"{self.subject}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many things of one action kind a plan may change before somebody has to say the exact number.

    A scope is one (store, kind). A plan is within budget while it changes at most the larger of `count`
    and `percent` of a scope's live things, and, where more than `above` things are live in all scopes
    together, at most `total_percent` of those. Shares are whole per cents.
    """

    count: int = 5
    percent: int = 10
    total_percent: int = 10
    above: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A window in which nothing may be applied to some stores.

    Either a span between two instants (`starts`, `ends`: Unix seconds), or a weekly one: on `days` (0 is
    Monday) from `opens` to `closes` (minutes of the day in `timezone`; a window past midnight ends on the
    next day).
    """

    name: str
    reason: str
    stores: frozenset[str]
    timezone: str = "UTC"
    starts: int = 0
    ends: int = 0
    days: frozenset[int] = frozenset()
    opens: int = 0
    closes: int = 0
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Which owners a document below a path must name in its `meta`; the last matching path decides."""

    pattern: str
    owners: frozenset[str]
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRules:
    """`promotion-rules.json`: what a dataset needs before it may be promoted (contract 5.1)."""

    in_manifest: bool = False
    in_pins: bool = False
    append_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """The governance files, decoded: promotion rules, rollback depth, retention of release lines.

    `rollback_depth` is how many releases of one line a plan may step back; None where no file says it.
    """

    promotion: PromotionRules = PromotionRules()
    rollback_depth: int | None = None
    release_lines: int = 0
    line_versions: int = 0
    reviewed_deletion: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Everything that judges a plan.

    Attributes:
        origin: the commit of the protected base that it was read from, or `BUILT_IN`.
        severities: per rule, where the policy says something else than the rule itself.
        budgets: per action kind: delete, update, retarget (a tag or alias that moves).
        freezes: when nothing may be applied.
        soak: seconds that a digest must have been live in the store that `promotesFrom` names, by store.
        owners: who must stand in `meta`, by path.
        protected: addresses, or prefixes that end in `*`, which may not be removed.
        federation_licenses: the licences under which data may become public; empty for any that is named.
        federation_metadata: the members of `metadata` that a promotion must have.
        approvals: how many owners must have signed a plan's intent before it is applied.
        approvers: the ids of the keys that count.
        governance: the governance files.
        exceptions: what was allowed, held or suspended.
        digest: over every byte that was read and the rules in force.
        present_but_empty: a policy document is there and says nothing, which denies.
    """

    origin: str = BUILT_IN
    severities: Mapping[str, Severity] = field(default_factory=lambda: MappingProxyType({}))
    budgets: Mapping[str, Budget] = field(
        default_factory=lambda: MappingProxyType(
            {"delete": Budget(), "update": Budget(), "retarget": Budget()}
        )
    )
    freezes: tuple[Freeze, ...] = ()
    soak: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    owners: tuple[Ownership, ...] = ()
    protected: tuple[str, ...] = ()
    federation_licenses: frozenset[str] = frozenset()
    federation_metadata: frozenset[str] = frozenset()
    approvals: int = 0
    approvers: frozenset[str] = frozenset()
    governance: Governance = Governance()
    exceptions: tuple[Exemption, ...] = ()
    digest: str = ""
    present_but_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Datasets and artifact digests that the planned commit pins, by id text."""

    datasets: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
