"""The serving store behind the port: a directory tree with `catalog.json` and `latest.alias.json`.

Decides how the parts work together: which descriptor everything is read through, when the lock is taken,
and that a run left open by a killed process is finished before anything else is written. Reading takes no
lock and writes nothing; nothing at all is created before the first commit.

    store = open_store(config, surroundings)
    for seen in store.snapshot(Selection()): ...
    store.commit(SHAPE.arrange(config.name, changes, sources), run)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from reconciler.canonical import sha256_digest
from reconciler.contents import Content, Look
from reconciler.errors import Corrupt, OutcomeUnknown
from reconciler.gc import Collected, Holdings, Judge
from reconciler.ledger import Record, RecordBytes, Run, ledger_state
from reconciler.model import (
    NOTHING,
    DatasetId,
    Digest,
    Observed,
    Selection,
    Step,
    StepResult,
    StoreConfig,
)
from reconciler.stores.keeping import Answers, Hold, Restored, refuse_unfinished
from reconciler.stores.port import Capabilities, Surroundings
from reconciler.stores.serving import collect, packet_files, source, transaction
from reconciler.stores.serving.durable import OWN, make_directory, store_faults
from reconciler.stores.serving.gates import thresholds_from
from reconciler.stores.serving.heads import EMPTY, head_digests, read_heads
from reconciler.stores.serving.keeping import ServingReading
from reconciler.stores.serving.ledger_files import LedgerFiles
from reconciler.stores.serving.location import (
    create_root,
    may_create,
    missing,
    open_root,
    prepare_own,
    probe,
    refuse_build_root,
    root_path,
)
from reconciler.stores.serving.lock import exclusive
from reconciler.stores.serving.order import SHAPE
from reconciler.stores.serving.preconditions import (
    check_before,
    check_form,
    check_references,
    never_published,
    publications,
)
from reconciler.stores.serving.questions import asked
from reconciler.stores.serving.rebuild import (
    Rebuilt,
    is_rebuild,
    listed_in,
    named_in,
    plan_rebuild,
)
from reconciler.stores.serving.restoring import (
    ServingRestoring,
    begin,
    refuse_full,
    remove_mark,
    restored_mark,
)
from reconciler.stores.serving.session import Session, litter
from reconciler.stores.serving.snapshot import Reader, snapshot

__all__ = ["INTEGRITY", "SHAPE", "ServingStore", "open_store", "scratch"]

INTEGRITY: Final = (
    "catalog.json and latest.alias.json are kept byte for byte and restored last, after every artifact; "
    "what is lost of them between two backups, 'reconciler catalog rebuild' builds from the ledger"
)
"""How what readers find is preserved or rebuilt."""


def scratch(config: StoreConfig, directory: str) -> StoreConfig:
    """The same store in an empty directory."""
    return replace(config, settings={**config.settings, "root": f"file:{directory}/serving", "create": True})


def open_store(config: StoreConfig, surroundings: Surroundings) -> ServingStore:
    """Open a serving store; nothing is created before the first commit.

    Raises:
        InvalidInput: E_STORE_ROOT, E_STORE_IS_BUILD_ROOT.
        Unavailable: E_STORE_MISSING, E_STORE_LINK, E_IO.
    """
    return ServingStore(config, surroundings)


def describe_sources(looks: Sequence[Look], surroundings: Surroundings) -> Iterator[tuple[Look, Content]]:
    """What build roots and packs say of their datasets; no store is opened."""
    from reconciler.stores.serving.describe import describe  # noqa: PLC0415 - only people ask

    return describe(None, "", surroundings.root, looks)


class ServingStore:
    """One serving store on a local directory (see `reconciler.stores.port.Store`)."""

    capabilities = Capabilities(
        serialises_writers=True,
        atomic_units=False,
        deletes_content=False,
        survives_reopen=True,
        collects=True,
        describes=True,
        keeps=True,
        keeps_packets=True,
    )

    def __init__(self, config: StoreConfig, surroundings: Surroundings) -> None:
        self.config = config
        self._surroundings = surroundings
        self._path = root_path(config)
        self._where = self._path
        self._root: int | None = None
        if self._open() is None and not may_create(config):
            raise missing(self._where)

    def revision(self) -> str:
        """The digests of the heads and the name of the newest ledger file, as one digest."""
        root = self._open()
        if root is None:
            return ""
        with store_faults(self._where):
            head, heads = self._ledger(root).head(), head_digests(root, self._where)
        text = " ".join([head, *(f"{name}={digest}" for name, digest in sorted(heads.items()))])
        return sha256_digest(text.encode("utf-8"))

    def snapshot(self, selection: Selection) -> Iterator[Observed]:
        """What is selected, sorted by address; heads are read as they belong together.

        Raises:
            Corrupt: E_CATALOG_MISSING, E_LIVE_CATALOG, E_LIVE_ALIAS, E_LEDGER_CHAIN.
            Unavailable: something cannot be read.
        """
        root = self._open()
        if root is None:
            return
        refuse_unfinished(restored_mark(root, self._where), self._where)
        with store_faults(self._where):
            recorded = self._ledger(root).recorded_heads()
            heads = read_heads(root, self._where, recorded=recorded)
            yield from snapshot(Reader(root, self._where, self.config.name, heads), selection)

    def history(self) -> Iterator[Record]:
        """The ledger, oldest first, its chain checked.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
            Unavailable: E_RESTORE_UNFINISHED.
        """
        root = self._open()
        if root is not None:
            refuse_unfinished(restored_mark(root, self._where), self._where)
            yield from self._ledger(root).records()

    def commit(self, steps: Sequence[Step], run: Run) -> tuple[StepResult, ...]:
        """Do the steps in order and record them (see the port).

        Raises:
            Conflict, Corrupt, Denied, InvalidInput, Unavailable: nothing was written.
            OutcomeUnknown: an unfinished run could not be finished, or the intent may have been written.
        """
        if not steps and not run.claims:
            return ()
        check_form(steps, self._where)
        if self._open() is None:
            self._rehearse(steps)
        with self._held(run.command or "commit") as held:
            self._recover(held)
            end = self._ledger(held.root).end()
            session = self._session(held, end.next_seq)
            session.sweep()
            return transaction.commit(session, end.link, steps, run)

    def recover(self) -> tuple[StepResult, ...] | None:
        """Finish the run that a killed process left open, and remove what it left behind."""
        root = self._open()
        if root is None:
            return None
        with store_faults(self._where):
            if self._ledger(root).end().open_record is None and not litter(root):
                return None
        with self._held("recover") as held:
            return self._recover(held)

    def rebuild(
        self,
        run: Run,
        *,
        wanted: Sequence[DatasetId] = (),
        aliases: Mapping[str, DatasetId] = MappingProxyType({}),
    ) -> Rebuilt:
        """Put a broken catalog or alias aside and write both anew (see `reconciler.stores.serving.rebuild`).

        Args:
            run: what the record says.
            wanted: datasets to list, besides those that the ledger lists.
            aliases: what each alias is to name, by its key; what the ledger says is the default.

        Raises:
            Denied: E_ALIAS_TARGET, an alias would name a dataset that cannot be listed.
            Conflict, Unavailable, OutcomeUnknown: as `commit`.
        """
        if self._open() is None:
            raise missing(self._where)
        with self._held(run.command or "catalog rebuild") as held:
            ledger = self._ledger(held.root)
            record = ledger.end().open_record
            if record is not None:
                self._finish_or_abandon(held, record)
            end = ledger.end()
            session = self._session(held, end.next_seq, recorded={})
            session.sweep()
            state = ledger_state(ledger.records())
            listed = (*listed_in(state), *wanted)
            planned = plan_rebuild(session, self.config.name, listed, aliases, named_in(state))
            if not planned.steps and not planned.broken:
                return Rebuilt(results=(), quarantined=(), left_out=planned.left_out)
            results, aside = transaction.rebuild(session, end.link, planned.steps, run)
            return Rebuilt(results=results, quarantined=aside, left_out=planned.left_out)

    def holdings(self) -> Holdings:
        """Every dataset directory with what keeps it (see `reconciler.stores.serving.collect`).

        Raises:
            LimitExceeded: E_GC_ROOTS.
            Corrupt, Unavailable: something cannot be read.
        """
        root = self._open()
        if root is None:
            return Holdings(0, ())
        with store_faults(self._where):
            recorded = self._ledger(root).recorded_heads()
            heads = read_heads(root, self._where, recorded=recorded)
            return collect.holdings(root, self._where, self.config.name, heads)

    def collect(self, judge: Judge, run: Run) -> Collected:
        """Move what is garbage under the lock to the trash, and delete expired trash (see the port)."""
        if self._open() is None:
            return Collected((), ())
        with self._held(run.command or "gc apply") as held:
            self._recover(held)
            end = self._ledger(held.root).end()
            session = self._session(held, end.next_seq)
            session.sweep()
            return transaction.collect(session, end.link, self.config.name, judge, run)

    def describe(self, looks: Sequence[Look]) -> Iterator[tuple[Look, Content]]:
        """What the manifests of datasets say, of those in the store and of those a source would bring."""
        from reconciler.stores.serving.describe import describe  # noqa: PLC0415 - only people ask

        return describe(self._open(), self._where, self._surroundings.root, looks)

    @contextmanager
    def reading(self, hold: Hold) -> Iterator[ServingReading]:
        """Everything durable, as one reading (see `reconciler.stores.serving.keeping`).

        Raises:
            OutcomeUnknown: E_UNFINISHED.
            Corrupt, Unavailable: it cannot be read.
        """
        root = self._open()
        if root is None:
            raise missing(self._where)
        if hold is Hold.LOCKED:
            with self._held("backup create") as held:
                yield ServingReading(held.root, self._where, self._ledger(held.root), hold)
            return
        refuse_unfinished(restored_mark(root, self._where), self._where)
        yield ServingReading(root, self._where, self._ledger(root), hold)

    @contextmanager
    def restoring(self, backup: Digest) -> Iterator[ServingRestoring]:
        """Take a backup back into this store's empty directory (see `reconciler.stores.serving.restoring`).

        Raises:
            InvalidInput: E_RESTORE_PLACE.
        """
        root = open_root(self._surroundings.root, self._path, self._where)
        if root is None:
            root = create_root(self._surroundings.root, self._path, self._where)
        try:
            with store_faults(self._where):
                if restored_mark(root, self._where) is None:
                    refuse_full(root, self._where)
                make_directory(root, OWN)
                lock = f"{self._where}/{OWN}/lock"
                timeout = self._surroundings.lock_timeout
                with exclusive(root, where=lock, timeout=timeout, command="backup restore"):
                    begin(root, self._where, backup)
                    yield ServingRestoring(root, self._where, self._ledger(root), backup)
        finally:
            os.close(root)

    def restored(self) -> Restored | None:
        """What backup the store was restored from and not proved since."""
        root = self._open()
        return None if root is None else restored_mark(root, self._where)

    def answers(self) -> Answers:
        """Ask the database of every listed dataset what a server asks it."""
        root = self._open()
        if root is None:
            raise missing(self._where)
        recorded = self._ledger(root).recorded_heads()
        return asked(root, self._where, read_heads(root, self._where, recorded=recorded))

    def proved(self) -> None:
        """Take the mark of the restore away."""
        with self._held("recovery drill") as held:
            remove_mark(held.root, self._where)

    def documents(self, seq: int) -> RecordBytes | None:
        """The two documents of a closed record (see the port)."""
        root = self._open()
        if root is None:
            return None
        with store_faults(self._where):
            return self._ledger(root).documents(seq)

    def packet(self, seq: int) -> bytes | None:
        """The packet that is kept for a release (see the port)."""
        root = self._open()
        if root is None:
            return None
        with store_faults(self._where):
            return packet_files.kept_packet(root, seq)

    def keep_packet(self, seq: int, packet: bytes) -> None:
        """Keep a packet, under the lock (see the port)."""
        with self._held("evidence") as held:
            packet_files.keep_packet(held.root, seq, packet, where=self._where)

    def _finish_or_abandon(self, held: _Held, record: Record) -> None:
        """Finish an open run, or close it as diverged where the broken heads do not allow that."""
        try:
            self._recover(held)
        except OutcomeUnknown:
            transaction.abandon(self._session(held, record.seq, recorded={}), record)
        except Corrupt:
            pass  # It was closed as diverged, which is what a rebuild is for.

    def close(self) -> None:
        """Close the root's descriptor."""
        if self._root is not None:
            os.close(self._root)
            self._root = None

    def _open(self) -> int | None:
        if self._root is None:
            self._root = open_root(self._surroundings.root, self._path, self._where)
            if self._root is not None:
                with store_faults(self._where):
                    refuse_build_root(self._root, self._where)
        return self._root

    def _rehearse(self, steps: Sequence[Step]) -> None:
        """Check against a store that does not exist yet, so that a refusal does not create it."""
        with store_faults(self._where):
            check_before(steps, lambda _address, _slots: NOTHING, base="")
            check_references(steps, EMPTY, lambda dataset: never_published(dataset, self._where))
            for publication in publications(steps):
                source.check(
                    self._surroundings.root, publication.location, publication.dataset, publication.wanted
                )

    @contextmanager
    def _held(self, command: str) -> Iterator[_Held]:
        root = self._open()
        if root is None:
            if not may_create(self.config):
                raise missing(self._where)
            root = self._root = create_root(self._surroundings.root, self._path, self._where)
        prepare_own(root, self._where)
        lock = f"{self._where}/{OWN}/lock"
        timeout = self._surroundings.lock_timeout
        with (
            store_faults(self._where),
            exclusive(root, where=lock, timeout=timeout, command=command) as inode,
        ):
            refuse_unfinished(restored_mark(root, self._where), self._where)
            if not self._ledger(root).head():
                probe(root, self._where)
            self._ledger(root).settle()
            yield _Held(root, inode)

    def _recover(self, held: _Held) -> tuple[StepResult, ...] | None:
        """Finish an open run under the lock.

        Raises:
            OutcomeUnknown: its end is still not known.
            Corrupt: E_DIVERGED, a step is neither as before nor as wanted; the run is closed with that.
        """
        record = self._ledger(held.root).end().open_record
        if record is None:
            self._session(held, 0).sweep()
            return None
        rebuilt = is_rebuild(record.steps)
        session = self._session(held, record.seq, recorded={} if rebuilt else None)
        session.sweep(keep=record.seq)
        results = transaction.recover(session, record)
        error = transaction.not_finished(results, self._where)
        if error is not None:
            raise error
        return results

    def _session(self, held: _Held, seq: int, *, recorded: Mapping[str, str] | None = None) -> Session:
        ledger = self._ledger(held.root)
        return Session(
            root=held.root,
            where=self._where,
            base=self._surroundings.root,
            ledger=ledger,
            thresholds=thresholds_from(self._surroundings.governance),
            lock_inode=held.lock_inode,
            lock_timeout=self._surroundings.lock_timeout,
            seq=seq,
            recorded=ledger.recorded_heads() if recorded is None else recorded,
            progress=self._surroundings.progress,
        )

    def _ledger(self, root: int) -> LedgerFiles:
        return LedgerFiles(root, store=self.config.name, identity=self.config.identity, where=self._where)


class _Held(NamedTuple):
    """The root's descriptor and the lock file's inode number, while the lock is held."""

    root: int
    lock_inode: int
