"""The port: what a live system must offer, and the promises that an adapter makes.

An adapter is bulk-first and streaming. It offers

- `revision`: a cheap token over the mutable heads. Equal tokens mean that nothing was moved.
- `snapshot`: everything selected, sorted by address, as one consistent reading. What cannot be read is
  an error (`Unavailable`, `Corrupt`), never "absent"; one corrupt thing among many is an `Observed`
  with problems. Reading writes nothing.
- `commit`: compare every `before`, then do the steps in order, each all or nothing, with a ledger
  record around them. Before the first write it raises (`Conflict`, `Corrupt`, `Denied`, `Unavailable`);
  after it, it answers with one `StepResult` per step and never raises for a store fault.
- `recover`: finish the run that a killed process left open; it may only shrink that run's work.
- `history`: the ledger, oldest first, its chain checked.

A store that `describes` is also a `Describer`: it says what is inside of the content that a plan publishes
or points at, for people.

A store that `keeps_packets` is also a `PacketKeeper`: the packet of each release (`reconciler.evidence`)
stands beside its ledger, where another operator finds it.

A store that `keeps` can be backed up and restored: its port is `reconciler.stores.keeping`.

A store that `collects` is also a `Collector`: it says everything that it holds and what keeps it, and
removes, under its own lock and with a record, what is judged to be garbage there and then.

An adapter states its `Capabilities`; they gate the contract tests and are themselves tested. Its
`Shape` (pure) cuts changes into the units that the store writes at once and names their verbs.

Adding a live store is one package under `reconciler/stores/`, one line in `ADAPTERS`, one subclass of
the shared contract suite and one row in the README.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from reconciler.contents import Content, Look
from reconciler.errors import Corrupt, InvalidInput
from reconciler.gc import Collected, Holdings, Judge
from reconciler.ledger import Record, RecordBytes, Run
from reconciler.model import Observed, Selection, Step, StepResult, StoreConfig
from reconciler.shape import Shape

Blobs = Callable[[Sequence[str]], Iterator[tuple[str, bytes]]]
"""Gives the bytes of files of the planned commit, by path from the repository's root, in the order asked."""


def _no_commit(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Stands where nothing was planned from a commit."""
    if paths:
        raise InvalidInput.of("E_SOURCE_MISSING", "no commit is at hand to read this file from", got=paths[0])
    return iter(())


Progress = Callable[[str], None]
"""Told one plain line for each thing that takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an adapter's live system can and cannot do.

    Attributes:
        serialises_writers: a second writer waits for the first (a lock), it does not lose the race.
        atomic_units: several units are committed together; else a run can stop between two of them.
        deletes_content: a commit can remove immutable content.
        collects: the store is a `Collector`.
        describes: the store is a `Describer`.
        keeps: the store can be backed up and restored (`reconciler.stores.keeping`).
        survives_reopen: what was committed is there through a second handle.
        keeps_packets: the store is a `PacketKeeper`.
    """

    serialises_writers: bool
    atomic_units: bool
    deletes_content: bool
    survives_reopen: bool
    collects: bool = False
    describes: bool = False
    keeps: bool = False
    keeps_packets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an adapter may know of the world: no adapter reads the environment or the clock.

    Attributes:
        root: the directory that relative locations and sources start from.
        governance: bytes of the policy files by path, as read from the protected base.
        lock_timeout: seconds to wait for another writer.
        progress: told what takes long.
        blobs: gives the bytes of sources that are files of the planned commit.
        records: the records that sources name by their CID, as canonical DAG-CBOR without `createdAt`.
        variables: the environment's variables, for credentials that no document may hold.
    """

    root: Path
    governance: Mapping[str, bytes] = field(default_factory=dict)
    lock_timeout: float = 60.0
    progress: Progress = lambda _line: None
    blobs: Blobs = _no_commit
    records: Mapping[str, bytes] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


class Store(Protocol):
    """One live system behind the port."""

    @property
    def config(self) -> StoreConfig:
        """Where it is, as declared."""

    @property
    def capabilities(self) -> Capabilities:
        """What its live system can do."""

    def revision(self) -> str:
        """A token over the mutable heads (catalog, alias, tags, ledger head, …)."""

    def snapshot(self, selection: Selection) -> Iterator[Observed]:
        """What is selected, sorted by address; absent addresses are left out.

        Raises:
            Unavailable: the store cannot be read.
            Corrupt: a head that everything else depends on is broken.
        """

    def history(self) -> Iterator[Record]:
        """The ledger's records, oldest first; the last one may be unfinished.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """

    def commit(self, steps: Sequence[Step], run: Run) -> tuple[StepResult, ...]:
        """Do the steps in order and record them; one result per step.

        A step that fails leaves the later ones `NOT_STARTED`. No steps and a run that claims
        something adds the record only; no steps and no claim writes nothing.

        Raises:
            Conflict: a `before` does not hold; nothing was written.
            Corrupt, Denied, InvalidInput: the new content is not acceptable; nothing was written.
            Unavailable: the store cannot be written; nothing was written.
            OutcomeUnknown: an unfinished run stands in the ledger and could not be finished.
        """

    def recover(self) -> tuple[StepResult, ...] | None:
        """Finish the run that stands open in the ledger; None if there is none."""

    def close(self) -> None:
        """Let go of everything that is held."""


class Collector(Protocol):
    """A store whose content can be collected (`Capabilities.collects`)."""

    def holdings(self) -> Holdings:
        """Every content with what keeps it, by address, and the store's own time. Writes nothing.

        Raises:
            LimitExceeded: E_GC_ROOTS, what keeps content is not known.
            Unavailable, Corrupt: it cannot be read.
        """

    def collect(self, judge: Judge, run: Run) -> Collected:
        """Remove what is judged to be garbage under the lock, and delete for good what was removed before.

        Raises:
            Conflict, Corrupt, LimitExceeded, Unavailable: nothing was removed.
            OutcomeUnknown: an unfinished run could not be finished, or the record may have been written.
        """


class Describer(Protocol):
    """A store that can say what is inside of its content (`Capabilities.describes`)."""

    def describe(self, looks: Sequence[Look]) -> Iterator[tuple[Look, Content]]:
        """One content for each look; what cannot be looked into says why. Writes nothing."""


def describer(store: Store) -> Describer | None:
    """The store as a describer, if it is one."""
    return cast("Describer", store) if store.capabilities.describes else None


def collector(store: Store) -> Collector:
    """The store as a collector.

    Raises:
        InvalidInput: E_STORE_KIND, nothing can be collected in it.
    """
    if not store.capabilities.collects:
        raise InvalidInput.of(
            "E_STORE_KIND", "nothing can be collected in this kind of store", got=store.config.kind
        )
    return cast("Collector", store)


class PacketKeeper(Protocol):
    """A store that keeps the packet of each release beside its ledger (`Capabilities.keeps_packets`)."""

    def documents(self, seq: int) -> RecordBytes | None:
        """The two documents of a closed record, byte for byte; None if there is no such closed record.

        Raises:
            Unavailable: the ledger cannot be read.
        """

    def packet(self, seq: int) -> bytes | None:
        """The index of the packet that is kept for a release; None if none is kept.

        Raises:
            Unavailable: it cannot be read.
        """

    def keep_packet(self, seq: int, packet: bytes) -> None:
        """Keep the index of a release's packet; the same bytes again are fine.

        Raises:
            Corrupt: E_EVIDENCE_KEPT, another packet is kept for this release.
            Conflict: E_LOCKED, another writer is at work for too long.
            Unavailable: it cannot be written.
        """


def other_packet(seq: int, where: str) -> Corrupt:
    """The refusal to replace a packet that is kept."""
    return Corrupt.of(
        "E_EVIDENCE_KEPT",
        f"another packet is kept for release {seq} than its ledger record gives",
        path=where,
        fix="one of them was changed; compare with a signed copy of the packet",
    )


def packet_keeper(store: Store) -> PacketKeeper:
    """The store as a keeper of packets.

    Raises:
        InvalidInput: E_STORE_KIND, no packets are kept beside it.
    """
    if not store.capabilities.keeps_packets:
        raise InvalidInput.of(
            "E_STORE_KIND", "no packets are kept beside this kind of store", got=store.config.kind
        )
    return cast("PacketKeeper", store)


def has_packet(store: Store, seq: int) -> bool:
    """Whether the packet of a release stands beside the ledger."""
    return store.capabilities.keeps_packets and packet_keeper(store).packet(seq) is not None


def refuse_lost_records(store: Store, closed: int) -> None:
    """Refuse a ledger that ends before the packets beside it do: a packet follows its record, never leads.

    Args:
        store: the store.
        closed: the number of the ledger's last record, which is closed; 0 if there is none.

    Raises:
        Corrupt: E_LEDGER_CHAIN.
    """
    # Where the record stands by now, somebody wrote meanwhile.
    if has_packet(store, closed + 1) and packet_keeper(store).documents(closed + 1) is None:
        raise Corrupt.of(
            "E_LEDGER_CHAIN",
            f"the ledger ends with record {closed}, and the packet of release {closed + 1} stands beside it",
            path=store.config.name,
            fix="restore the store from a backup; where none has the record, move the packet aside and "
            "apply: what is live and declared is adopted by a new record",
        )


class Adapter(Protocol):
    """What a store package offers to the table below."""

    SHAPE: Shape

    def open_store(self, config: StoreConfig, surroundings: Surroundings) -> Store:
        """Open one store; nothing is created before the first commit."""


class SourceDescriber(Protocol):
    """What the package of a `Describer` offers besides: it looks into sources without opening a store."""

    def describe_sources(
        self, looks: Sequence[Look], surroundings: Surroundings
    ) -> Iterator[tuple[Look, Content]]:
        """One content for each look, each of which names a source."""


ADAPTERS: Mapping[str, str] = {
    "atproto": "reconciler.stores.atproto.store",
    "memory": "reconciler.stores.memory",
    "registry": "reconciler.stores.registry.store",
    "serving": "reconciler.stores.serving.store",
}
"""Store kind → module that offers `SHAPE` and `open_store`."""


def adapter(kind: str) -> Adapter:
    """The adapter of a store kind, imported when it is first needed.

    Raises:
        InvalidInput: E_STORE_KIND.
    """
    if kind not in ADAPTERS:
        raise InvalidInput.of(
            "E_STORE_KIND", "this kind of store is not known", got=kind, fix=f"one of {', '.join(ADAPTERS)}"
        )
    return cast("Adapter", import_module(ADAPTERS[kind]))


def described_sources(
    kind: str, looks: Sequence[Look], surroundings: Surroundings
) -> Iterator[tuple[Look, Content]]:
    """What sources say of the content that they would bring to a store of this kind."""
    return cast("SourceDescriber", adapter(kind)).describe_sources(looks, surroundings) if looks else iter(())
