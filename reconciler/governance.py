"""What the protected base says about what may change: policy, governance files, exceptions, pins.

These are values only. `reconciler.desired` reads them from the protected base and never from the change
under review; `reconciler.policy` judges by them; `reconciler.gc` keeps what their pins and retention name.
Pins and the dataset manifest are desired state: they come from the planned commit.

A `Guards` value is complete: where no document says anything, it holds the built-in defaults, so no rule
ever has to ask whether a policy exists. Nothing here reads a file or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from reconciler.model import Address, Place, Severity, StoreConfig

BUILT_IN: Final = "built-in defaults"


class Ruleset(NamedTuple):
    """The ids of the rules that exist, and of those that nobody can lower or waive."""

    known: frozenset[str]
    fixed: frozenset[str]


class Chosen(StrEnum):
    """Why a commit is the protected base."""

    OPTION = "--base"
    CONFIGURED = "reconciler.protectedBranch"
    REMOTE = "refs/remotes/origin/HEAD"
    PLANNED = "no protected branch is configured"


class Ancestry(StrEnum):
    """How a planned commit stands to the one that a store was last brought to."""

    FORWARD = "forward"
    OLDER = "older"
    ASIDE = "aside"
    UNKNOWN = "unknown"


class Lineage(NamedTuple):
    """A planned commit, the one that was applied last, and how the two stand to each other."""

    planned: str
    last: str
    ancestry: Ancestry


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The protected base of a plan.

    Attributes:
        commit: its object id; that of the planned commit where both are the same.
        tip: the newest commit of the protected branch, or `commit` where there is none.
        chosen: why it is the base.
        branch: the protected branch, as it was configured; empty where none is.
    """

    commit: str
    tip: str
    chosen: Chosen
    branch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the planned commit says beside the protected base about policy.

    Attributes:
        policy: the policy files that differ from the base, sorted.
        wishes: the files of the desired state that differ, sorted; only told where `policy` is not empty.
        stores: the stores that only the planned commit declares.
        guards: the guards as they are proposed.
    """

    policy: tuple[str, ...]
    wishes: tuple[str, ...]
    stores: tuple[str, ...]
    guards: Guards


def instant(moment: int) -> str:
    """A moment for people, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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

    def expired(self, now: int) -> bool:
        """Whether it has no effect any more."""
        return now >= self.expires

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
    together, at most the larger of `total_count` and `total_percent` of those. Shares are whole per cents.
    """

    count: int = 5
    percent: int = 10
    total_count: int = 0
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
        origin: the path of the `Policy` document, or `BUILT_IN`.
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
        stores: where the live systems are.
        authoritative: the stores in which everything is ours.
        files: the sha256 of every file that was read, by path.
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
    stores: Mapping[str, StoreConfig] = field(default_factory=lambda: MappingProxyType({}))
    authoritative: frozenset[str] = frozenset()
    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def in_force(self, kind: ExceptionType, now: int) -> tuple[Exemption, ...]:
        """The exceptions of one type that have an effect now."""
        return tuple(one for one in self.exceptions if one.type is kind and not one.expired(now))


class Headroom(NamedTuple):
    """How much of a budget a plan uses: of one action, in one scope (or `all scopes`)."""

    action: str
    scope: str
    used: int
    allowed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What judged a plan, as it is shown with it.

    Attributes:
        base: the protected base.
        policy: the path of the `Policy` document there, or `BUILT_IN`.
        exceptions: the exceptions that have an effect now.
        headroom: how much of each budget the plan uses.
    """

    base: Base
    policy: str
    exceptions: tuple[Exemption, ...]
    headroom: tuple[Headroom, ...] = ()


Holder = Callable[[Address], Exemption | None]
"""Says which hold or suspension keeps an address as it is live, if one does."""


def holder(guards: Guards, now: int) -> Holder | None:
    """What says which addresses are held now; None where nothing is."""
    holds = (*guards.in_force(ExceptionType.HOLD, now), *guards.in_force(ExceptionType.SUSPENSION, now))
    if not holds:
        return None
    return lambda address: next((one for one in holds if one.covers(str(address))), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Datasets and artifact digests that the planned commit pins, by id text."""

    datasets: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
