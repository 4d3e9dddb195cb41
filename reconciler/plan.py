"""A plan: the ordered steps that would make the stores match the wish, as data that can be reviewed.

A plan is a pure function of the wish, the observation, the policy and the tool version. It has two
digests. The *intent* covers what would happen (steps with their before-values, adoptions, store
identities, policy digest) and nothing else: it is what reviewers approve, and it stays equal when the
commit, the clock or unrelated live values move. The *digest* seals the saved file, which also binds
commit, tool version, issue time and expiry.

This module builds, encodes, decodes and compares plans. It never reads a store or a clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from reconciler.canonical import canonical, parse_strict, sha256_digest
from reconciler.contents import Inside
from reconciler.diff import Difference
from reconciler.errors import Corrupt, InvalidInput, Problem, Stale, escaped
from reconciler.fields import field_differences
from reconciler.governance import ExceptionType, InForce
from reconciler.model import Address, Change, Depth, Finding, Place, Severity, Slots, Step, StoreConfig, Value
from reconciler.shape import Shape
from reconciler.snapshot import Advisory

SCHEMA = "reconciler/plan/v1"
LIFETIME = 24 * 60 * 60
"""Seconds for which a saved plan may be applied."""

PLAN_LIMIT = 256 * 1024 * 1024
_TOLERATED_SKEW = 5 * 60
WHOLE_PLAN: Final = "plan"
"""The subject of what is found of a plan as a whole."""

_IMMUTABLE = "tag-immutable"
_NAMED = 20
_NAMING = ("name", "version")
_REVIEW = "plan again and have the new plan reviewed"
_MARKS = (b'"resource_changes":', b'"intent":')
"""What tells a plan that was edited from a file that never was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlan:
    """The part of a plan that concerns one store.

    `places` says where what changes is declared, `names` what people call it where its key does not say so.
    """

    config: StoreConfig
    shape: Shape
    steps: tuple[Step, ...]
    adopted: tuple[tuple[Address, Slots], ...]
    unchanged: int
    newly_ours: int
    depth: Depth
    places: Mapping[Address, Place] = field(default_factory=lambda: MappingProxyType({}))
    names: Mapping[Address, str] = field(default_factory=lambda: MappingProxyType({}))
    held: tuple[Address, ...] = ()
    protection: tuple[tuple[Address, bool], ...] = ()

    @property
    def idle(self) -> bool:
        """Whether neither the store nor its ledger would change."""
        return not (self.steps or self.adopted or self.protection)

    @property
    def changes(self) -> Iterable[Change]:
        """All changes of this store, in step order."""
        return (change for step in self.steps for change in step.changes)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Ordered steps for some stores, and what policy says of them.

    A plan that was made from a snapshot is `advisory`: it is shown, and never applied. `contents` says what
    is inside of the values that appear or move, and `notes` what else a reader should know, such as what is
    copied before the steps and where the store's own `latest` will be; both are for people, and the intent
    does not cover them.
    """

    stores: tuple[StorePlan, ...]
    commit: str
    policy: str
    tool: str
    findings: tuple[Finding, ...] = ()
    advisory: Advisory | None = None
    in_force: InForce | None = None
    contents: tuple[Inside, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing would change; adoption alone changes nothing in a store."""
        return not any(part.steps for part in self.stores)

    @cached_property
    def intent(self) -> str:
        """The digest of what would happen."""
        return sha256_digest(
            canonical(
                {
                    "schema": SCHEMA,
                    "policy": self.policy,
                    "stores": [
                        {
                            "identity": part.config.identity,
                            "steps": [_step_intent(step) for step in part.steps],
                            "adopted": [[str(address), dict(slots)] for address, slots in part.adopted],
                            **_protection_intent(part),
                        }
                        for part in self.stores
                        if not part.idle
                    ],
                }
            )
        )

    def summary(self) -> dict[str, int]:
        """Counts of addresses by what happens to them."""
        counts = {"create": 0, "update": 0, "delete": 0}
        for part in self.stores:
            kinds: dict[Address, set[str]] = {}
            for change in part.changes:
                kinds.setdefault(change.address, set()).update(change.actions)
            for actions in kinds.values():
                counts[actions.pop() if len(actions) == 1 else "update"] += 1
        counts["noop"] = sum(part.unchanged for part in self.stores)
        counts["adopted"] = sum(part.newly_ours for part in self.stores)
        return counts

    def to_json(self, *, issued: int) -> dict[str, Any]:
        """The saved form; `digest` seals everything else in it."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "intent": self.intent,
            "commit": self.commit,
            "policy": self.policy,
            "tool": self.tool,
            "issued": issued,
            "expires": issued + LIFETIME,
            "advisory": self.advisory.to_json() if self.advisory else None,
            "stores": [
                {"name": p.config.name, "identity": p.config.identity, "depth": p.depth.value}
                for p in self.stores
            ],
            "summary": self.summary(),
            "steps": [_step_json(step) for part in self.stores for step in part.steps],
            "resource_changes": [item for part in self.stores for item in _resource_changes(part)],
            "adopted": [str(address) for part in self.stores for address, _ in part.adopted],
            "protection": [
                {"address": str(address), "protected": on}
                for part in self.stores
                for address, on in part.protection
            ],
            "held": [str(address) for part in self.stores for address in part.held],
            "contents": [item.to_json() for item in self.contents],
            "notes": list(self.notes),
            "findings": [finding_json(finding) for finding in self.findings],
            "guards": None if self.in_force is None else _guards_json(self.in_force),
        }
        return {"digest": sha256_digest(canonical(document)), **document}


def _protection_intent(part: StorePlan) -> dict[str, Any]:
    lines = [[str(address), on] for address, on in part.protection]
    return {"protection": lines} if lines else {}


def _step_intent(step: Step) -> list[Any]:
    changes = [[str(c.address), c.slot, c.before, c.after] for c in step.changes]
    sources = {str(address): source for address, source in step.sources.items()}
    return [step.id, step.unit, list(step.after), changes, sources]


def _step_json(step: Step) -> dict[str, Any]:
    return {"id": step.id, "store": step.store, "unit": step.unit, "after": list(step.after)}


def _resource_changes(part: StorePlan) -> Iterable[dict[str, Any]]:
    for step in part.steps:
        for address, changes in by_address(step.changes).items():
            actions = {action for change in changes for action in change.actions}
            place = part.places.get(address)
            yield {
                "address": str(address),
                "type": address.kind,
                "step": step.id,
                "verb": verb(part.shape, changes),
                "path": place.path if place else "",
                "line": place.line if place else 0,
                "change": {
                    "actions": sorted(actions) if len(actions) == 1 else ["update"],
                    "before": {c.slot: c.before for c in changes if c.before is not None} or None,
                    "after": {c.slot: c.after for c in changes if c.after is not None} or None,
                },
            }


def broken_glass(plan: Plan, part: StorePlan) -> tuple[tuple[Address, str], ...]:
    """The version tags of one store that an exception lets move, each with who allows it and why."""
    if plan.in_force is None:
        return ()
    excused = {f.subject for f in plan.findings if f.rule == _IMMUTABLE and f.severity is Severity.WARN}
    return tuple(
        (address, f"{one.owner}: {one.reason}")
        for address in dict.fromkeys(change.address for change in part.changes)
        if str(address) in excused
        for one in plan.in_force.exceptions
        if one.type is ExceptionType.BREAK_GLASS and one.covers(str(address))
    )


def by_address(changes: Iterable[Change]) -> dict[Address, list[Change]]:
    """Changes grouped by address, in the order in which they come."""
    groups: dict[Address, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.address, []).append(change)
    return groups


def verb(shape: Shape, changes: Sequence[Change]) -> str:
    """The name of what happens to one address: the verb of its first changed slot."""
    first = changes[0]
    return shape.verb(first.address.kind, first.slot, first.before, first.after)


def finding_json(finding: Finding) -> dict[str, Any]:
    """The stable keys of a finding."""
    place = finding.place
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "message": finding.message,
        "path": place.path if place else "",
        "line": place.line if place else 0,
        "code": finding.code,
        "fix": finding.fix,
    }


def _guards_json(guards: InForce) -> dict[str, Any]:
    """What judged the plan: the base, the policy, the exceptions in force and what is left of the budgets."""
    return {
        "base": {
            "commit": guards.base.commit,
            "branch": guards.base.branch,
            "chosen": guards.base.chosen.value,
        },
        "policy": guards.policy,
        "exceptions": [
            {
                "type": one.type.value,
                "rule": one.rule,
                "subject": one.subject,
                "owner": one.owner,
                "reason": one.reason,
                "expires": one.expires,
                "path": one.place.path,
            }
            for one in guards.exceptions
        ],
        "budgets": [room._asdict() for room in guards.headroom],
    }


def store_plan(config: StoreConfig, shape: Shape, difference: Difference, *, depth: Depth) -> StorePlan:
    """Order what separates one store from the wish.

    Raises:
        Corrupt: something declared or owned is broken; no plan can be trusted until it is repaired.
    """
    if difference.corrupt:
        raise Corrupt(problem for sight in difference.corrupt for problem in sight.problems)
    return StorePlan(
        config=config,
        shape=shape,
        steps=tuple(shape.arrange(config.name, difference.changes, difference.sources)),
        adopted=tuple(difference.adopted),
        unchanged=difference.unchanged,
        newly_ours=difference.newly_ours,
        depth=depth,
        places={address: wish.place for address, wish in difference.declarations.items()},
        names=_names(difference),
        held=tuple(difference.held),
        protection=tuple(difference.protection),
    )


def _names(difference: Difference) -> dict[Address, str]:
    """The name, and the version, of everything that has slots for them, as wished or else as it was."""
    said: dict[Address, dict[str, Value]] = {}
    for change in difference.changes:
        value = change.before if change.after is None else change.after
        if change.slot in _NAMING and value is not None:
            said.setdefault(change.address, {})[change.slot] = value
    for address, wish in difference.declarations.items():
        if _NAMING[0] in wish.slots:
            said[address] = {slot: wish.slots[slot] for slot in _NAMING if slot in wish.slots}
    return {
        address: "@".join(str(slots[slot]) for slot in _NAMING if slot in slots)
        for address, slots in said.items()
        if _NAMING[0] in slots
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """What a saved plan file says; its content was sealed and is intact."""

    intent: str
    digest: str
    commit: str
    policy: str
    tool: str
    issued: int
    expires: int
    stores: tuple[str, ...]
    changes: Mapping[tuple[str, str], Any]

    def check_age(self, now: int) -> None:
        """Refuse a plan that is too old, or that comes from the future.

        Raises:
            Stale: E_PLAN_EXPIRED.
        """
        if not self.issued - _TOLERATED_SKEW <= now <= self.expires:
            raise Stale.of(
                "E_PLAN_EXPIRED",
                "the plan is older than 24 hours, or its clock is ahead of this one",
                fix="plan again",
            )


def read_saved(data: bytes, *, where: str) -> SavedPlan:
    """Decode a saved plan and check its seal, byte for byte.

    Raises:
        InvalidInput: the file is not a plan.
        Corrupt: E_PLAN_MISMATCH, the file was edited.
    """
    document = _sealed_document(data, where)
    if document.get("schema") != SCHEMA:
        raise InvalidInput.of("E_SCHEMA_VERSION", f"not a plan of {SCHEMA}", path=where, fix="plan again")
    if document.get("advisory") is not None:
        raise InvalidInput.of(
            "E_PLAN_ADVISORY",
            "the plan was made from a snapshot, not from the stores, and is never applied",
            path=where,
            fix="plan again where the stores can be reached",
        )
    try:
        return SavedPlan(
            **{name: _text(document[name]) for name in ("intent", "digest", "commit", "policy", "tool")},
            issued=_seconds(document["issued"]),
            expires=_seconds(document["expires"]),
            stores=tuple(_text(store["name"]) for store in document["stores"]),
            changes={
                (_text(item["step"]), _text(item["address"])): item["change"]
                for item in document["resource_changes"]
            },
        )
    except (KeyError, TypeError) as error:
        # The seal is no secret: whoever edits a plan can seal it again.
        raise InvalidInput.of(
            "E_PLAN_SHAPE", "a member is missing or of the wrong kind", path=where, fix="plan again"
        ) from error


def _sealed_document(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        document = parse_strict(data, where=where, limit=PLAN_LIMIT)
    except InvalidInput as error:
        if any(mark in data for mark in _MARKS):
            raise _edited(where) from error
        raise
    if not isinstance(document, dict):
        raise InvalidInput.of("E_SCHEMA_VERSION", f"not a plan of {SCHEMA}", path=where, fix="plan again")
    sealed = {name: value for name, value in document.items() if name != "digest"}
    whole = sha256_digest(canonical(sealed)) == document.get("digest")
    # What `plan --out` wrote, or what `plan --output json` printed.
    forms = (canonical(document), f"{json.dumps(document)}\n".encode("ascii")) if whole else ()
    if data in forms:
        return document
    if any(mark in data for mark in _MARKS):
        raise _edited(where)
    raise InvalidInput.of("E_SCHEMA_VERSION", f"not a plan of {SCHEMA}", path=where, fix="plan again")


def _edited(where: str) -> Corrupt:
    return Corrupt.of(
        "E_PLAN_MISMATCH", "the plan file was edited after it was sealed", path=where, fix="plan again"
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _seconds(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def check_same(saved: SavedPlan, now: Plan) -> None:
    """Refuse to apply anything but what was reviewed, naming each difference.

    Raises:
        Stale: E_PLAN_STALE.
    """
    if saved.intent == now.intent:
        return
    current = {
        (item["step"], item["address"]): item["change"]
        for part in now.stores
        for item in _resource_changes(part)
    }
    problems = [
        Problem(code="E_PLAN_STALE", path=address, message=_stale_sentence(step, before, after))
        for (step, address) in sorted({*saved.changes, *current})
        if (before := saved.changes.get((step, address))) != (after := current.get((step, address)))
    ]
    if saved.policy != now.policy:
        message = "another policy would judge it than the one under which it was reviewed"
        problems.append(Problem(code="E_PLAN_STALE", message=message, got=now.policy))
    if not problems:
        problems = [Problem(code="E_PLAN_STALE", message="the stores or what is adopted differ")]
    raise Stale([*problems[:-1], replace(problems[-1], fix=_REVIEW)])


def unexpected(plan: Plan, where: str) -> tuple[Problem, ...]:
    """What to say of a plan that was not approved, where only the intent of the approved one is known."""
    now = [
        Problem(
            code="E_PLAN_STALE",
            path=str(address),
            message=f"'{escaped(step.id)}' would happen now ({verb(part.shape, changes)})",
        )
        for part in plan.stores
        for step in part.steps
        for address, changes in by_address(step.changes).items()
    ]
    more = len(now) - _NAMED
    rest = [Problem(code="E_PLAN_STALE", message=f"and {more} more")] if more > 0 else []
    head = Problem(
        code="E_PLAN_STALE",
        path=where,
        message="what would happen is not what was approved"
        + ("" if now else ": nothing would happen in any store"),
        got=plan.intent,
        fix=f"{_REVIEW}; with --reviewed FILE each difference is named",
    )
    return (head, *now[:_NAMED], *rest)


def _stale_sentence(step: str, before: object, after: object) -> str:
    step = escaped(step)
    if before is None:
        return f"'{step}' would happen but was not in the reviewed plan"
    if after is None:
        return f"'{step}' was reviewed but would not happen any more"
    fields = "; ".join(field_differences(before, after))
    return f"'{step}' would change something else than was reviewed: {fields}"
