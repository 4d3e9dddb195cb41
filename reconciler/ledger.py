"""The ledger's record format, its hash chain and the inventory that follows from it.

One ledger stands beside each store. A record has two documents, both canonical JSON: an *intent*,
written before the first change, and an *outcome*, written after the last. The intent holds the sha256
of the previous outcome, the outcome that of its intent; the sequence number rises by one and is the
fence: writing an intent is put-if-absent, so the loser of a race knows before it has changed anything.

The inventory (what is ours, and what we last saw it to be) is a fold over the records of applies from
git. By-hand records never create ownership; they explain history.

Adapters put and read the bytes; this module encodes, decodes, checks and folds. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any, NamedTuple

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from reconciler.canonical import canonical, sha256_digest
from reconciler.errors import Corrupt
from reconciler.model import NOTHING, Address, Change, Outcome, Slots, Step, StepResult, Value, merged

INTENT_SCHEMA = "reconciler/ledger-intent/v1"
OUTCOME_SCHEMA = "reconciler/ledger-outcome/v1"
SEQUENCE_DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Who changes a store, from which commit and why; everything of a record but the steps.

    `by` is "git" or "hand"; `time` is Unix seconds (of the commit; by hand, SOURCE_DATE_EPOCH or the
    clock). `intent` and `policy` are the digests of what was planned and of the policy it was judged by,
    `plan` that of the saved plan, which is single-use. `findings` counts what policy said, by rule and
    severity. `approvals` are the signed envelopes in which the intent was approved, `approvers` the owners
    whose keys the policy of that time trusted for it.
    `adopted` lists addresses that already were as declared and are ours from this record on, `protection`
    those that may not be removed from this record on, or may be again. `break_glass` are the version tags
    that an exception let move, each with who allowed it and why.
    """

    by: str
    time: int
    tool: str
    commit: str = ""
    author: str = ""
    reason: str = ""
    owner: str = ""
    ticket: str = ""
    intent: str = ""
    plan: str = ""
    policy: str = ""
    command: str = ""
    pull_request: str = ""
    approvers: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    findings: tuple[tuple[str, str, int], ...] = ()
    adopted: tuple[tuple[Address, Slots], ...] = ()
    protection: tuple[tuple[Address, bool], ...] = ()
    break_glass: tuple[tuple[Address, str], ...] = ()

    @property
    def claims(self) -> bool:
        """Whether the ledger has something to say even where nothing changes in the store."""
        return bool(self.adopted or self.protection)


class RecordBytes(NamedTuple):
    """The two documents of a closed record, as they stand in the ledger."""

    intent: bytes
    outcome: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One ledger record as read back. `results` is None while the run is unfinished.

    `heads` holds the digests of the store's mutable heads after the run; a head that does not exist
    is absent. `intent_sha` and `outcome_sha` are the chain's links. `closed_at` is when the outcome was
    written, in Unix seconds of the store's clock, where the store tells that.
    """

    seq: int
    run: Run
    steps: tuple[Step, ...]
    results: tuple[StepResult, ...] | None
    heads: Mapping[str, str]
    intent_sha: str
    outcome_sha: str | None
    closed_at: int | None = None

    def applied_changes(self) -> Iterator[Change]:
        """The changes of the steps that landed."""
        landed = {r.step for r in self.results or () if r.outcome is Outcome.APPLIED}
        for step in self.steps:
            if step.id in landed:
                yield from step.changes


def file_name(seq: int, part: str) -> str:
    """The name of one document of a record: ``00000000000000000001.intent.json``."""
    return f"{seq:0{SEQUENCE_DIGITS}d}.{part}.json"


def intent_bytes(*, seq: int, previous: str | None, identity: str, run: Run, steps: Sequence[Step]) -> bytes:
    """The canonical bytes of an intent; `previous` is the digest of the previous outcome, None at first."""
    said = {
        "protection": [[str(address), on] for address, on in run.protection],
        "break_glass": [[str(address), why] for address, why in run.break_glass],
    }
    return canonical(
        {
            **{name: value for name, value in said.items() if value},
            "schema": INTENT_SCHEMA,
            "seq": seq,
            "previous": previous,
            "store": identity,
            "by": run.by,
            "time": run.time,
            "tool": run.tool,
            "commit": run.commit,
            "author": run.author,
            "reason": run.reason,
            "owner": run.owner,
            "ticket": run.ticket,
            "intent": run.intent,
            "plan": run.plan,
            "policy": run.policy,
            "command": run.command,
            "pull_request": run.pull_request,
            "approvers": list(run.approvers),
            "approvals": list(run.approvals),
            "findings": [list(finding) for finding in run.findings],
            "adopted": [[str(address), dict(slots)] for address, slots in run.adopted],
            "steps": [step_to_json(step) for step in steps],
        }
    )


def outcome_bytes(
    *, seq: int, intent_sha: str, results: Sequence[StepResult], heads: Mapping[str, str]
) -> bytes:
    """The canonical bytes of an outcome."""
    return canonical(
        {
            "schema": OUTCOME_SCHEMA,
            "seq": seq,
            "intent": intent_sha,
            "heads": dict(heads),
            "results": [
                {
                    "step": result.step,
                    "outcome": result.outcome.value,
                    "receipt": result.receipt,
                    "problems": [str(problem) for problem in result.problems],
                }
                for result in results
            ],
        }
    )


def step_to_json(step: Step) -> dict[str, Any]:
    """A step as it stands in ledgers."""
    return {
        "id": step.id,
        "unit": step.unit,
        "after": list(step.after),
        "base": step.base,
        "sources": {str(address): source for address, source in step.sources.items()},
        "changes": [[str(c.address), c.slot, c.before, c.after] for c in step.changes],
    }


class _StepMembers(Struct, frozen=True):
    id: str
    unit: str
    after: tuple[str, ...]
    base: str | None
    sources: dict[str, str]
    changes: tuple[tuple[str, str, Value | None, Value | None], ...]


class _IntentMembers(Struct, frozen=True):
    schema: str
    seq: int
    previous: str | None
    by: str
    time: int
    tool: str
    commit: str
    author: str
    reason: str
    owner: str
    ticket: str
    intent: str
    plan: str
    policy: str
    command: str
    adopted: tuple[tuple[str, dict[str, Value]], ...]
    steps: tuple[_StepMembers, ...]
    protection: tuple[tuple[str, bool], ...] = ()
    break_glass: tuple[tuple[str, str], ...] = ()
    pull_request: str = ""
    approvers: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    findings: tuple[tuple[str, str, int], ...] = ()


class _ResultMembers(Struct, frozen=True):
    step: str
    outcome: Outcome
    receipt: str


class _OutcomeMembers(Struct, frozen=True):
    schema: str
    seq: int
    intent: str
    heads: dict[str, str]
    results: tuple[_ResultMembers, ...]


_UNREADABLE = (DecodeError, ValueError)  # ValueError: text that is not UTF-8, an address without three parts


def _address(text: str) -> Address:
    store, kind, key = text.split("/", 2)
    return Address(intern(store), intern(kind), key)


def _step(store: str, item: _StepMembers) -> Step:
    return Step(
        id=item.id,
        store=store,
        unit=item.unit,
        after=item.after,
        base=item.base,
        sources={_address(address): source for address, source in item.sources.items()},
        changes=tuple(
            Change(_address(text), slot, before, after) for text, slot, before, after in item.changes
        ),
    )


def _broken(seq: int, message: str, path: str) -> Corrupt:
    return Corrupt.of(
        "E_LEDGER_CHAIN",
        f"record {seq} of the ledger {message}",
        path=path,
        fix="restore the ledger from a backup; the chain is never repaired silently",
    )


def read_record(
    *, seq: int, store: str, previous: str | None, intent: bytes, outcome: bytes | None, where: str
) -> Record:
    """Decode one record and check its links.

    Args:
        seq: the number its file names carry.
        store: the name under which the store is configured now.
        previous: the digest of the previous outcome, None for the first record.
        intent: the intent's bytes.
        outcome: the outcome's bytes, None while the run is unfinished.
        where: the ledger's place, for errors.

    Raises:
        Corrupt: E_LEDGER_CHAIN, the record is not what the chain says.
    """
    try:
        head = _intent.decode(intent)
        run = Run(
            adopted=tuple((_address(address), slots) for address, slots in head.adopted),
            protection=tuple((_address(address), on) for address, on in head.protection),
            break_glass=tuple((_address(address), why) for address, why in head.break_glass),
            **{name: getattr(head, name) for name in _RUN_MEMBERS},
        )
        steps = tuple(_step(store, item) for item in head.steps)
    except _UNREADABLE as error:
        raise _broken(seq, "cannot be read", where) from error
    if head.schema != INTENT_SCHEMA or head.seq != seq or head.previous != previous:
        raise _broken(seq, "does not follow the record before it", where)
    intent_sha = sha256_digest(intent)
    tail = None if outcome is None else _read_outcome(seq, intent_sha, outcome, where)
    return Record(
        seq=seq,
        run=run,
        steps=steps,
        results=None
        if tail is None
        else tuple(StepResult(step=r.step, outcome=r.outcome, receipt=r.receipt) for r in tail.results),
        heads={} if tail is None else tail.heads,
        intent_sha=intent_sha,
        outcome_sha=None if outcome is None else sha256_digest(outcome),
    )


def read_heads(*, seq: int, intent_sha: str, outcome: bytes, where: str) -> Mapping[str, str]:
    """The heads that a closed record names, from its outcome and the digest of its intent alone.

    A reader of the heads and the next writer need no more of a record that may hold very many addresses;
    that it follows the one before is for whoever reads the whole chain.

    Raises:
        Corrupt: E_LEDGER_CHAIN, the outcome is not that of this intent.
    """
    return _read_outcome(seq, intent_sha, outcome, where).heads


def _read_outcome(seq: int, intent_sha: str, outcome: bytes, where: str) -> _OutcomeMembers:
    try:
        tail = _outcome.decode(outcome)
    except _UNREADABLE as error:
        raise _broken(seq, "cannot be read", where) from error
    if tail.schema != OUTCOME_SCHEMA or tail.seq != seq or tail.intent != intent_sha:
        raise _broken(seq, "has an outcome that belongs to another intent", where)
    return tail


_intent, _outcome = Decoder(_IntentMembers), Decoder(_OutcomeMembers)

_RUN_MEMBERS = (
    "time",
    "by",
    "tool",
    "commit",
    "author",
    "reason",
    "owner",
    "ticket",
    "intent",
    "plan",
    "policy",
    "command",
    "pull_request",
    "approvers",
    "approvals",
    "findings",
)


def ledger_state(records: Iterable[Record]) -> Mapping[Address, Slots]:
    """What the runs of a ledger, by git and by hand, left in the store: the fold of all that landed."""
    state: dict[Address, Slots] = {}
    for record in records:
        if record.results is not None:
            state.update(record.run.adopted)
            for change in record.applied_changes():
                state[change.address] = merged(state.get(change.address, NOTHING), (change,))
    return state


def protects(intent: bytes) -> bool:
    """Whether an intent that is known to be whole begins or ends a protection."""
    return bool(_intent.decode(intent).protection)


def protected_by(intents: Iterable[tuple[int, bytes]], *, where: str) -> frozenset[Address]:
    """What is protected after some records, by their numbers and intents alone; see `Inventory`.

    Raises:
        Corrupt: E_LEDGER_CHAIN, one cannot be read.
    """
    protected: dict[Address, bool] = {}
    for seq, intent in intents:
        try:
            head = _intent.decode(intent)
            said = {_address(address): on for address, on in head.protection}
        except _UNREADABLE as error:
            raise _broken(seq, "cannot be read", where) from error
        if head.by == "git":
            protected.update(said)
    return frozenset(address for address, on in protected.items() if on)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is ours in one store: address → the slots that the last apply from git left there.

    An address that an apply emptied stays, with `NOTHING`, so that its return is seen as drift. What is
    `protected` may not be removed until a later record says otherwise. `commit` is the one that the store was
    last brought to.
    """

    recorded: Mapping[Address, Slots]
    protected: frozenset[Address] = frozenset()
    commit: str = ""

    def owns(self, address: Address) -> bool:
        """Whether the ledger's inventory holds this address."""
        return bool(self.recorded.get(address))


def inventory(records: Iterable[Record]) -> Inventory:
    """Fold the records of applies from git, in order, to what is ours."""
    recorded: dict[Address, Slots] = {}
    protected: dict[Address, bool] = {}
    commit = ""
    for record in records:
        if record.run.by != "git" or record.results is None:
            continue
        if record.run.claims or any(result.outcome is Outcome.APPLIED for result in record.results):
            commit = record.run.commit
        recorded.update(record.run.adopted)
        protected.update(record.run.protection)
        for change in record.applied_changes():
            before = recorded.get(change.address)
            if before is None and change.after is not None:  # nearly every change of a large first apply
                recorded[change.address] = {change.slot: change.after}
            else:
                recorded[change.address] = merged(before or NOTHING, (change,))
    return Inventory(recorded, frozenset(address for address, on in protected.items() if on), commit)
