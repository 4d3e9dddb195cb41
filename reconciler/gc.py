"""Garbage collection, as values: what a store holds, what keeps it, and the plan to remove the rest.

A thing is a candidate only if nothing at all keeps it: no use in the store, no wish in git, no pin, no
protection or hold, no retention, an age beyond the grace period in the store's own time, and bytes that can
be judged. Every root that cannot be read stops the collection (`E_GC_ROOTS`): what is not known to be
garbage is kept.

`judge` is pure and is asked twice: for the plan, and again under the store's lock, with what stands there
then. What was planned is an upper bound: a collection only ever removes less.

The digest of a plan covers the store, the policy and the candidates with their content; it is what a
reviewer approves.
Nothing here reads a clock, a file or a store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from reconciler.canonical import canonical, parse_strict, sha256_digest
from reconciler.errors import Corrupt, InvalidInput, LimitExceeded, Problem
from reconciler.model import Address, Desired, StepResult

SCHEMA: Final = "reconciler/gc-plan/v1"
GRACE: Final = 7 * 24 * 60 * 60
"""Seconds that anything stays after its last change; no option lowers it."""

PLAN_LIMIT: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One immutable thing that a store holds.

    Attributes:
        address: what it is.
        digest: its content, None where that cannot be said.
        hashes: every digest that a pin may name it by.
        size: its bytes.
        changed_at: when it last changed, in Unix seconds of the store's clock.
        uses: what in the store keeps it, in words.
        release: of a dataset, its release; retention counts releases.
        line: of a dataset, its species and assembly.
        problems: why it cannot be judged.
    """

    address: Address
    digest: str | None
    hashes: frozenset[str]
    size: int
    changed_at: int
    uses: tuple[str, ...] = ()
    release: str = ""
    line: str = ""
    problems: tuple[Problem, ...] = ()


class Holdings(NamedTuple):
    """One reading of a store: its clock, its contents by address, what of the removed may go for good."""

    now: int
    contents: tuple[Content, ...]
    expired: tuple[str, ...] = ()


class Collected(NamedTuple):
    """What a collection did: a result per removed thing, and what removed earlier is gone for good now."""

    results: tuple[StepResult, ...]
    expired: tuple[str, ...]


Judge = Callable[[Holdings], Sequence[Content]]
"""Says, of a reading under the store's lock, what may be removed."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What `freeze-policy.json` keeps: so many releases of the store, and so many of each line.

    Attributes:
        release_lines: the highest releases of the store that are kept whole.
        versions: the highest releases that are kept of each species and assembly.
        reviewed: whether a removal needs a plan that somebody reviewed.
    """

    release_lines: int = 0
    versions: int = 0
    reviewed: bool = False


def _unshielded(_address: Address) -> None:
    """Nothing forbids it."""


@dataclass(frozen=True, slots=True)
class Roots:
    """What keeps content besides the store itself.

    Attributes:
        declared: keys and digests that git wishes.
        pinned: ids and digests that are pinned.
        retention: what the freeze policy keeps.
        shields: keys and digests of what may not be taken away, and why.
        shield: says why an address may not be taken away, if so.
    """

    declared: frozenset[str]
    pinned: frozenset[str]
    retention: Retention = Retention()
    shields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    shield: Callable[[Address], str | None] = _unshielded


@dataclass(frozen=True, slots=True)
class Verdict:
    """A content and everything that keeps it; nothing keeps a candidate."""

    content: Content
    reasons: tuple[str, ...]


def judge(holdings: Holdings, roots: Roots) -> tuple[Verdict, ...]:
    """Say of every content what keeps it, by address."""
    retained = _retained(holdings.contents, roots.retention)
    return tuple(
        Verdict(one, tuple(_reasons(one, roots, retained, holdings.now))) for one in holdings.contents
    )


def _reasons(content: Content, roots: Roots, retained: frozenset[Address], now: int) -> Iterable[str]:
    yield from content.uses
    if content.problems:
        yield f"cannot be judged: {content.problems[0].message}"
    elif content.digest is None:
        yield "cannot be judged: it is not published"
    names = {content.address.key, *content.hashes}
    if names & roots.declared:
        yield "declared in git"
    if names & roots.pinned:
        yield "pinned"
    shielded = roots.shield(content.address)
    named = () if shielded is None else (shielded,)
    yield from sorted({*named, *(roots.shields[name] for name in names & roots.shields.keys())})
    if content.address in retained:
        yield "kept by the freeze policy's retention"
    if now - content.changed_at < GRACE:
        yield "changed less than 7 days ago"


def _retained(contents: Sequence[Content], retention: Retention) -> frozenset[Address]:
    datasets = [one for one in contents if one.release and not one.problems]
    releases = sorted({int(one.release) for one in datasets}, reverse=True)
    newest = frozenset(releases[: retention.release_lines])
    lines: dict[str, set[int]] = {}
    for one in datasets:
        lines.setdefault(one.line, set()).add(int(one.release))
    kept = {line: sorted(of_line, reverse=True)[: retention.versions] for line, of_line in lines.items()}
    return frozenset(
        one.address for one in datasets if int(one.release) in newest or int(one.release) in kept[one.line]
    )


@dataclass(frozen=True, slots=True)
class GcPlan:
    """What a collection of one store would remove, and what keeps the rest."""

    store: str
    identity: str
    commit: str
    policy: str
    verdicts: tuple[Verdict, ...]
    expired: tuple[str, ...]

    @property
    def candidates(self) -> tuple[Content, ...]:
        """What nothing keeps."""
        return tuple(verdict.content for verdict in self.verdicts if not verdict.reasons)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do at all."""
        return not self.candidates and not self.expired

    @property
    def digest(self) -> str:
        """What a reviewer approves: the store, the policy, and the candidates with their content."""
        return _digest(self.identity, self.policy, _named(self.candidates))

    def again(self, roots: Roots) -> Judge:
        """What the store may remove under its lock: planned, unchanged, and still kept by nothing."""
        planned = {(one.address, one.digest) for one in self.candidates}

        def still(holdings: Holdings) -> Sequence[Content]:
            return [
                verdict.content
                for verdict in judge(holdings, roots)
                if not verdict.reasons and (verdict.content.address, verdict.content.digest) in planned
            ]

        return still

    def to_json(self) -> dict[str, Any]:
        """The plan's document, also the form of a saved plan."""
        kept = [verdict for verdict in self.verdicts if verdict.reasons]
        return {
            "schema": SCHEMA,
            "digest": self.digest,
            "commit": self.commit,
            "store": self.store,
            "identity": self.identity,
            "policy": self.policy,
            "grace": GRACE,
            "summary": {
                "candidates": len(self.candidates),
                "bytes": sum(one.size for one in self.candidates),
                "kept": len(kept),
                "expired": len(self.expired),
            },
            "candidates": [
                {**named, "bytes": one.size}
                for named, one in zip(_named(self.candidates), self.candidates, strict=True)
            ],
            "kept": [{"address": str(v.content.address), "reasons": list(v.reasons)} for v in kept],
            "expired": list(self.expired),
        }


def _named(contents: Iterable[Content]) -> list[dict[str, str]]:
    return [{"address": str(one.address), "digest": str(one.digest)} for one in contents]


def _digest(identity: str, policy: str, named: Sequence[Mapping[str, str]]) -> str:
    members = {
        "schema": SCHEMA,
        "identity": identity,
        "policy": policy,
        "grace": GRACE,
        "candidates": named,
    }
    return sha256_digest(canonical(members))


class SavedGcPlan(NamedTuple):
    """What a saved plan says of what was reviewed."""

    digest: str
    policy: str


def read_plan(data: bytes, where: str) -> SavedGcPlan:
    """A saved plan, if it is the one that its digest was made of.

    Raises:
        InvalidInput: E_SCHEMA_VERSION or E_PLAN_SHAPE, it is no plan.
        Corrupt: E_PLAN_MISMATCH, it was edited.
    """
    document = parse_strict(data, where=where, limit=PLAN_LIMIT)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise InvalidInput.of("E_SCHEMA_VERSION", f"not a plan of {SCHEMA}", path=where, fix="plan again")
    try:
        named = [{key: str(one[key]) for key in ("address", "digest")} for one in document["candidates"]]
        digest = _digest(str(document["identity"]), str(document["policy"]), named)
    except (KeyError, TypeError) as error:
        raise InvalidInput.of(
            "E_PLAN_SHAPE", "a member is missing or of the wrong kind", path=where, fix="plan again"
        ) from error
    if digest != document.get("digest") or document.get("grace") != GRACE:
        raise Corrupt.of(
            "E_PLAN_MISMATCH", "the plan file was edited after it was made", path=where, fix="plan again"
        )
    return SavedGcPlan(digest, str(document["policy"]))


# Roots.


def declared_in(desired: Desired) -> frozenset[str]:
    """Everything that any store's wish names: keys and digests. Another store's wish keeps it as well."""
    wishes = [wish for wish in desired.declarations if wish.slots]
    values = (value for wish in wishes for value in wish.slots.values() if isinstance(value, str))
    return frozenset((*(wish.address.key for wish in wishes), *values))


def unusable(path: str, message: str, got: str | None = None) -> LimitExceeded:
    """The refusal of a collection whose roots are not all known."""
    return LimitExceeded.of(
        "E_GC_ROOTS",
        f"what must be kept is not known: {message}",
        path=path,
        got=got,
        fix="add or correct it (it may name nothing); nothing is collected before",
    )
