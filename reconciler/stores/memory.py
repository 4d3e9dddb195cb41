"""The reference store: the serving store's behaviour in memory, without a file system under it.

Tests use it where the live system does not matter, and property tests use it as the model that the
serving store is compared with. It has the same kinds, slots, gates and order rules: a dataset is
published (`artifact`), then listed (`entry`, `diffs`), then an alias may name it; every catalog write
binds every alias to the new catalog.

What a store holds lives in a process-wide table under ``settings["name"]``, so a second handle sees
what the first one wrote. `memory_state` gives tests that state, to edit it as another writer would, to
damage it, or to fail a write. Nothing here is durable and nothing here is meant for production.

    >>> config = StoreConfig(name="m", kind="memory", settings={"name": "doc", "create": True}, place=NOWHERE)
    >>> list(open_store(config).snapshot(Selection()))
    []
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from reconciler.canonical import canonical, sha256_digest
from reconciler.errors import Conflict, Corrupt, OutcomeUnknown, Problem, ReconcilerError, Unavailable
from reconciler.ledger import Record, RecordBytes, Run, intent_bytes, outcome_bytes, read_record
from reconciler.model import (
    Address,
    Depth,
    Observed,
    Outcome,
    Place,
    Selection,
    Step,
    StepResult,
    StoreConfig,
    Value,
)
from reconciler.shape import Shape
from reconciler.stores.memory_contents import Contents, MemoryState, after_step, damage
from reconciler.stores.port import Capabilities, Surroundings, other_packet
from reconciler.stores.serving.order import CATALOG_UNIT, DATASET
from reconciler.stores.serving.order import SHAPE as _SHAPE

SHAPE: Shape = _SHAPE
NOWHERE = Place("", 0, 0)

CAPABILITIES = Capabilities(
    serialises_writers=True,
    atomic_units=False,
    deletes_content=False,
    survives_reopen=True,
    keeps_packets=True,
)


_STATES: dict[str, MemoryState] = {}


def memory_state(name: str) -> MemoryState:
    """The state under this name, made if there is none."""
    return _STATES.setdefault(name, MemoryState())


def forget(name: str) -> None:
    """Drop the state under this name, as if the store had been deleted."""
    _STATES.pop(name, None)


def open_store(config: StoreConfig, surroundings: Surroundings | None = None) -> MemoryStore:
    """Open one memory store; nothing is made before the first commit."""
    return MemoryStore(config, surroundings or Surroundings(root=Path()))


class MemoryStore:
    """One handle on a memory store; see `reconciler.stores.port.Store`."""

    def __init__(self, config: StoreConfig, surroundings: Surroundings) -> None:
        self._config = config
        self._timeout = surroundings.lock_timeout
        self._name = str(config.settings["name"])

    @property
    def config(self) -> StoreConfig:
        """Where it is, as declared."""
        return self._config

    @property
    def capabilities(self) -> Capabilities:
        """What a memory store can do."""
        return CAPABILITIES

    def close(self) -> None:
        """Nothing is held between calls."""

    def revision(self) -> str:
        """A token over catalog, aliases and ledger head."""
        state = self._reading()
        last = [part and sha256_digest(part) for part in state.ledger[-1]] if state.ledger else []
        return sha256_digest(canonical([state.contents.heads(), len(state.ledger), last]))

    def snapshot(self, selection: Selection) -> Iterator[Observed]:
        """What is selected, sorted by address, from one reading.

        Raises:
            Unavailable: E_STORE_MISSING, or what a test planned.
            Corrupt: E_CATALOG_MISSING.
        """
        state = self._reading()
        contents = state.contents
        self._check_catalog(state)
        found = (Address(self._config.name, kind, key) for kind, key in contents.keys())  # noqa: SIM118
        wanted = selection.addresses
        return iter(
            [
                seen
                for address in found
                if wanted is None or address in wanted
                for seen in (self._observed(state, contents, address, selection.depth),)
                if seen.slots or seen.problems
            ]
        )

    def history(self) -> Iterator[Record]:
        """The ledger's records, oldest first.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        previous: str | None = None
        for number, (intent, outcome) in enumerate(self._reading().ledger, start=1):
            record = read_record(
                seq=number,
                store=self._config.name,
                previous=previous,
                intent=intent,
                outcome=outcome,
                where=f"memory:{self._name}",
            )
            previous = record.outcome_sha
            yield record

    def commit(self, steps: Sequence[Step], run: Run) -> tuple[StepResult, ...]:
        """Do the steps in order and record them; see the port."""
        if not steps and not run.claims:
            return ()
        with self._locked():
            state = self._writable()
            self._check_catalog(state)
            self._finish(state)
            self._check_before(state.contents, steps)
            contents = state.contents
            for step in steps:
                contents = after_step(state, contents, step)
            self._write_intent(state, steps, run)
            return self._do(state, steps, len(state.ledger))

    def recover(self) -> tuple[StepResult, ...] | None:
        """Finish the run that stands open in the ledger; None if there is none.

        Raises:
            Corrupt: E_DIVERGED, another writer was at work; the run is closed with that.
            OutcomeUnknown: the run still could not be finished.
        """
        with self._locked():
            return self._finish(self._reading())

    def documents(self, seq: int) -> RecordBytes | None:
        """The two documents of a closed record."""
        ledger = self._reading().ledger
        intent, outcome = ledger[seq - 1] if 1 <= seq <= len(ledger) else (b"", None)
        return None if outcome is None else RecordBytes(intent, outcome)

    def packet(self, seq: int) -> bytes | None:
        """The packet that is kept for a release."""
        return self._reading().packets.get(seq)

    def keep_packet(self, seq: int, packet: bytes) -> None:
        """Keep a packet; see the port."""
        with self._locked():
            state = self._writable()
            _told(state, "packet")
            if state.packets.setdefault(seq, packet) != packet:
                raise other_packet(seq, f"memory:{self._name}")

    # What is there

    def _reading(self) -> MemoryState:
        state = _STATES.get(self._name)
        if state is None:
            if not self._config.settings.get("create", False):
                raise Unavailable.of(
                    "E_STORE_MISSING",
                    f"store '{self._config.name}' does not exist",
                    got=self._name,
                    fix="check its location, or declare 'create: true'",
                )
            state = MemoryState()
        state.before_read()
        return state

    def _writable(self) -> MemoryState:
        self._reading()
        return memory_state(self._name)

    def _check_catalog(self, state: MemoryState) -> None:
        """A catalog that the ledger recorded and that is gone was lost, not never made (contract 3.3)."""
        if state.contents.catalog is None and any(
            record.heads.get("catalog") for record in list(self.history())[-1:]
        ):
            raise Corrupt.of(
                "E_CATALOG_MISSING",
                f"the ledger recorded a catalog in store '{self._config.name}', and it is gone",
                fix="run 'reconciler catalog rebuild'",
            )

    def _observed(self, state: MemoryState, contents: Contents, address: Address, depth: Depth) -> Observed:
        slots = dict(contents.slots(address.kind, address.key))
        if address.kind != "dataset":
            return Observed(address, slots)
        if depth is Depth.HEADS:
            slots.pop("artifact", None)
            return Observed(address, slots)
        return Observed(address, slots, damage(state, contents, address))

    # What may be written

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The registry may lack a state that `create` will make: the lock must exist before that.
        state = memory_state(self._name) if self._config.settings.get("create", False) else self._reading()
        if not state.lock.acquire(timeout=self._timeout):
            raise Conflict.of(
                "E_LOCKED",
                f"another writer holds the lock of store '{self._config.name}'",
                fix="wait for it, or raise --lock-timeout",
            )
        try:
            yield
        finally:
            state.lock.release()

    def _check_before(self, contents: Contents, steps: Sequence[Step]) -> None:
        first: dict[tuple[Address, str], Value | None] = {}
        for step in steps:
            for change in step.changes:
                first.setdefault((change.address, change.slot), change.before)
        problems = [
            Problem(
                code="E_CONFLICT",
                path=str(address),
                message=f"its {slot} is not what the plan saw ({before or 'absent'})",
                got=str(seen or "absent"),
                fix="plan again",
            )
            for (address, slot), before in first.items()
            if (seen := contents.slots(address.kind, address.key).get(slot)) != before
        ]
        problems += [
            Problem(code="E_CONFLICT", path=step.unit, message="the catalog moved", fix="plan again")
            for step in steps
            if step.base is not None and step.base != contents.catalog_digest()
        ]
        if problems:
            raise Conflict(problems)

    # Writing

    def _write_intent(self, state: MemoryState, steps: Sequence[Step], run: Run) -> None:
        _told(state, "intent")
        outcome = state.ledger[-1][1] if state.ledger else None
        intent = intent_bytes(
            seq=len(state.ledger) + 1,
            previous=None if outcome is None else sha256_digest(outcome),
            identity=self._config.identity,
            run=run,
            steps=steps,
        )
        state.ledger.append((intent, None))

    def _do(self, state: MemoryState, steps: Sequence[Step], seq: int) -> tuple[StepResult, ...]:
        results: list[StepResult] = []
        for step in steps:
            if any(result.outcome is not Outcome.APPLIED for result in results):
                results.append(StepResult(step=step.id, outcome=Outcome.NOT_STARTED))
            else:
                results.append(self._do_step(state, step))
        done = tuple(results)
        intent = state.ledger[seq - 1][0]
        outcome = outcome_bytes(
            seq=seq, intent_sha=sha256_digest(intent), results=done, heads=state.contents.heads()
        )
        try:
            _told(state, "outcome")
        except Unavailable as error:
            # The steps' states are known; only the record stays open, and the next run closes it.
            return tuple(
                replace(result, outcome=Outcome.UNKNOWN, problems=error.problems)
                if result.outcome is Outcome.APPLIED
                else result
                for result in done
            )
        state.ledger[seq - 1] = (intent, outcome)
        return done

    def _do_step(self, state: MemoryState, step: Step) -> StepResult:
        try:
            live = [state.contents.slots(c.address.kind, c.address.key).get(c.slot) for c in step.changes]
            if any(seen not in (c.before, c.after) for seen, c in zip(live, step.changes, strict=True)):
                return _diverged(step)
            if any(seen != c.after for seen, c in zip(live, step.changes, strict=True)):
                contents = after_step(state, state.contents, step)
                _told(state, step.id)
                state.contents = contents
        except ReconcilerError as error:
            return StepResult(step=step.id, outcome=Outcome.FAILED, problems=error.problems)
        return StepResult(step=step.id, outcome=Outcome.APPLIED, receipt=_receipt(state.contents, step))

    def _finish(self, state: MemoryState) -> tuple[StepResult, ...] | None:
        records = list(self.history())
        if not records or records[-1].results is not None:
            return None
        results = self._do(state, records[-1].steps, records[-1].seq)
        for outcome, error in ((Outcome.DIVERGED, Corrupt), (Outcome.UNKNOWN, OutcomeUnknown)):
            problems = [p for result in results if result.outcome is outcome for p in result.problems]
            if problems:
                raise error(problems)
        return results


def _diverged(step: Step) -> StepResult:
    problem = Problem(
        code="E_DIVERGED",
        path=step.unit,
        message=f"'{step.id}' found neither what it was to change nor what it was to leave",
        fix="another writer is at work; plan again",
    )
    return StepResult(step=step.id, outcome=Outcome.DIVERGED, problems=(problem,))


def _receipt(contents: Contents, step: Step) -> str:
    """The store's own revision of the unit that a step wrote."""
    if step.unit == CATALOG_UNIT or not step.changes:
        return contents.catalog_digest()
    address = step.changes[0].address
    slots = contents.slots(address.kind, address.key)
    if address.kind == DATASET:
        return str(slots["artifact"])
    return sha256_digest(canonical(dict(slots)))


def _told(state: MemoryState, write: str) -> None:
    try:
        state.before_write(write)
    except OSError as error:
        raise Unavailable.of(
            "E_IO", f"the store could not be written: {error.strerror}", path=write
        ) from error
