"""An ATProto repository behind the port: which account a configuration names, and what is seen there.

Reading asks the account's own server and needs no credentials: it gives the whole repository, or what moved
since the last reading. Every record of our three collections is observed, whoever wrote it.

    store = open_store(config, surroundings)
    for seen in store.snapshot(Selection()): ...
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Final

from reconciler.canonical import sha256_digest
from reconciler.contents import Content, Look
from reconciler.errors import Conflict, InvalidInput, Unavailable
from reconciler.ledger import Record, RecordBytes, Run, file_name
from reconciler.model import Address, Depth, Digest, Observed, Selection, Step, StepResult, StoreConfig
from reconciler.points import allowance_of
from reconciler.stores.atproto import dns, keeping, restoring, transaction
from reconciler.stores.atproto.budget import Budget
from reconciler.stores.atproto.connection import Connection, NoAnswer, NotSent, parse_origin
from reconciler.stores.atproto.dagcbor import Data, Malformed, from_json
from reconciler.stores.atproto.describe import described
from reconciler.stores.atproto.identity import PLC_DIRECTORY, Account, did_document, resolved
from reconciler.stores.atproto.journal import Held, Kept, NumberTaken, open_journal
from reconciler.stores.atproto.login import Login
from reconciler.stores.atproto.order import SHAPE
from reconciler.stores.atproto.preconditions import check_form
from reconciler.stores.atproto.repository import Reading, Repository
from reconciler.stores.atproto.signature import Proof, Verdict, proof_of
from reconciler.stores.atproto.writes import Wishes
from reconciler.stores.atproto.xrpc import Pause, Refused, Secrets, Xrpc, patiently
from reconciler.stores.keeping import Answers, Hold, Restored, refuse_unfinished
from reconciler.stores.port import Capabilities, Surroundings, other_packet
from reconciler.stores.serving.durable import PACKET_MOMENTS

_DOCUMENTS: Final = ("intent", "outcome")
_RACES: Final = 32
"""How often a run without a lock begins again because another took its number."""

INTEGRITY: Final = (
    "records are kept as the bytes that their CIDs name and put back at the same keys of the same account, "
    "blobs first and labels last; what is lost of them between backups, 'reconciler apply' publishes again"
)
"""How what readers find is preserved or rebuilt."""

__all__ = ["INTEGRITY", "SHAPE", "AtprotoStore", "open_store", "scratch"]


def open_store(config: StoreConfig, surroundings: Surroundings, *, pause: Pause = time.sleep) -> AtprotoStore:
    """Open the repository of an account; nothing is asked of its server yet.

    Args:
        config: where it is.
        surroundings: what it may know of the world.
        pause: waits some seconds between two tries.

    Raises:
        InvalidInput: E_URL_SYNTAX, E_URL_PLAIN.
    """
    if "scratch" in config.settings:
        from reconciler.stores.atproto.scratch import ScratchStore  # noqa: PLC0415 - only a drill has one

        return ScratchStore(config, surroundings, pause)
    return AtprotoStore(config, surroundings, pause)


def scratch(config: StoreConfig, directory: str) -> StoreConfig:
    """The same account in an empty directory, without a server (see `reconciler.stores.atproto.scratch`)."""
    settings = {**config.settings, "scratch": f"{directory}/account", "ledger": f"file:{directory}/ledger"}
    return replace(config, settings=settings)


class AtprotoStore:
    """One account's repository (see `reconciler.stores.port.Store`)."""

    def __init__(self, config: StoreConfig, surroundings: Surroundings, pause: Pause) -> None:
        self.config = config
        self._surroundings = surroundings
        self._pause = pause
        self._secrets = Secrets()
        self._journal = open_journal(config, surroundings, pause)
        self._where = str(config.place)
        self._private = config.settings.get("allowPrivate") in {True, "true"}
        service = config.settings.get("service")
        if service is not None:
            parse_origin(str(service), where=self._where, private=self._private)

    @property
    def capabilities(self) -> Capabilities:
        """What an account can do; writers wait for each other where the ledger has a lock."""
        return Capabilities(
            serialises_writers=self._journal.serialises_writers,
            atomic_units=False,
            deletes_content=True,
            survives_reopen=True,
            describes=True,
            keeps=True,
            keeps_packets=True,
        )

    @cached_property
    def account(self) -> Account:
        """The account and its server.

        Raises:
            InvalidInput: E_ACCOUNT, nobody knows it.
            Unavailable: a server cannot be asked.
        """
        settings = self.config.settings
        service = settings.get("service")
        return resolved(
            str(settings["identity"]),
            service=None if service is None else str(service),
            plc=str(settings.get("plc", PLC_DIRECTORY)),
            connect=self._connect,
            texts=self._texts,
            where=self._where,
        )

    @property
    def did(self) -> str:
        """The account's DID."""
        return self.account.did

    @cached_property
    def _xrpc(self) -> Xrpc:
        return self._connect(self.account.service, self._where)

    @cached_property
    def _repository(self) -> Repository:
        repository = Repository(self._xrpc, self.did)
        kept = self._journal.kept(Kept.READING)
        if kept:
            repository.begin_with(kept)
        return repository

    @cached_property
    def budget(self) -> Budget:
        """What the server lets the account still spend, as far as it said so."""
        return Budget(self._journal.kept(Kept.BUDGET))

    def _connect(self, service: str, where: str) -> Xrpc:
        origin = parse_origin(service, where=where, private=self._private)
        connection = Connection(origin, where=str(origin), private=self._private)
        return Xrpc(connection, where=str(origin), pause=self._pause, secrets=self._secrets)

    def _texts(self, name: str) -> tuple[str, ...]:
        written = self.config.settings.get("nameserver")
        servers = dns.configured() if written is None else (dns.nameserver(str(written)),)
        return dns.texts(name, servers, where=self._where)

    def read(self) -> Reading:
        """Everything of our collections, as of the newest commit.

        Raises:
            Unavailable: the server cannot be asked, or does not have the account.
            Corrupt: E_REPOSITORY.
        """
        return self._repository.read()

    def proof(self) -> Proof:
        """Whether the account signed what is read of it, by the key that its identity names.

        Raises:
            Unavailable, Corrupt: as `read`.
        """
        self.read()
        plc = str(self.config.settings.get("plc", PLC_DIRECTORY))
        try:
            document = did_document(self.did, plc, self._connect, self._where)
        except (InvalidInput, Unavailable) as error:
            return Proof(Verdict.UNPROVED, f"the account's identity cannot be read: {error.code}")
        return proof_of(self._repository.commit(), document)

    def kept(self) -> bytes:
        """The last reading as bytes, from which a plan can be made elsewhere (`published_account`)."""
        return self._repository.kept()

    def describe(self, looks: Sequence[Look]) -> Iterator[tuple[Look, Content]]:
        """What is inside of records, of those that stand and of those that would be written."""
        return described(looks, self.read, self._surroundings.records)

    def revision(self) -> str:
        """The newest commit and the ledger's newest document, as one digest."""
        text = f"{self._repository.head().cid} {self._journal.head()}"
        return sha256_digest(text.encode("ascii"))

    def snapshot(self, selection: Selection) -> Iterator[Observed]:
        """What is selected, sorted by address, as of one commit.

        Raises:
            Unavailable: the server cannot be asked, or does not have the account.
            Corrupt: E_REPOSITORY.
        """
        self._refuse_unfinished()
        name, wanted = self.config.name, selection.addresses
        reading = self._repository.read_anew() if selection.depth is Depth.DEEP else self.read()
        for (kind, key), record in sorted(reading.records.items()):
            address = Address(name, kind, key)
            if wanted is None or address in wanted:
                yield Observed(address, record.slots, record.problems)

    def history(self) -> Iterator[Record]:
        """The ledger, oldest first, its chain checked.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
            Unavailable: E_RESTORE_UNFINISHED.
        """
        self._refuse_unfinished()
        return self._journal.records()

    def commit(self, steps: Sequence[Step], run: Run) -> tuple[StepResult, ...]:
        """Do the steps in order and record them (see the port).

        Raises:
            Conflict, Corrupt, Denied, InvalidInput, LimitExceeded, Unavailable: nothing was written.
            OutcomeUnknown: an unfinished run could not be finished, or the intent may have been written.
        """
        if not steps and not run.adopted:
            return ()
        wishes = Wishes(self.did, self._surroundings.records)
        check_form(steps, wishes)
        if not self._journal.head():
            # A refusal makes no ledger.
            transaction.check(self._session(None, wishes), steps)
        for _ in range(_RACES):
            results = self._commit(steps, run, wishes)
            if results is not None:
                self._keep()
                return results
        raise Conflict.of(
            "E_LOCKED",
            "other runs take every number of the ledger first",
            path=self._where,
            fix="wait for them",
        )

    def _commit(self, steps: Sequence[Step], run: Run, wishes: Wishes) -> tuple[StepResult, ...] | None:
        """Commit; None where another run had to be finished, or was faster, so that it must begin again."""
        with self._journal.held(run.command or "commit") as held:
            self._refuse_unfinished()
            session = self._session(held, wishes)
            if held.end.open_record is not None:
                transaction.recover(session, held.end.open_record)
                return None
            try:
                return transaction.commit(session, held.end.next_seq, held.end.link, steps, run)
            except NumberTaken:
                return None

    def recover(self) -> tuple[StepResult, ...] | None:
        """Finish the run that a killed process left open; None if there is none.

        Raises:
            OutcomeUnknown: its end is still not known.
            Corrupt: E_DIVERGED; the run is closed with that.
        """
        if self._journal.open_record() is None and not self._journal.litter():
            return None
        with self._journal.held("recover") as held:
            self._refuse_unfinished()
            if held.end.open_record is None:
                return None  # whoever held it has finished it meanwhile
            session = self._session(held, Wishes(self.did, self._surroundings.records))
            return transaction.recover(session, held.end.open_record)

    def log_in(self) -> None:
        """Log in now, so that a missing or wrong password is known before anything is done.

        Raises:
            InvalidInput: E_ENV, there are no credentials.
            Unavailable: E_AUTH, the server does not take them; or it cannot be asked.
        """
        self._login.require()

    def upload(self, content: bytes, media_type: str) -> Data:
        """Put a blob on the account's server; it stays only if a record refers to it soon.

        Args:
            content: its bytes.
            media_type: what they are, such as application/x-tar.

        Returns:
            The reference that a record holds.

        Raises:
            InvalidInput: E_ENV, there are no credentials.
            Unavailable: the server refuses it or cannot be asked; a blob may be put again at any time.
            LimitExceeded: E_RATE_BUDGET, the server asks for more patience than there is.
        """
        method = "com.atproto.repo.uploadBlob"
        try:
            answer = patiently(
                lambda: self._login.authorised(
                    lambda token: self._xrpc.procedure(method, content, token=token, content_type=media_type)
                ),
                where=self._where,
                pause=self._pause,
                progress=self._surroundings.progress,
            )
        except Refused as refused:
            raise refused.unavailable(self._where) from refused
        except (NotSent, NoAnswer) as silent:
            raise self._xrpc.silent(silent) from silent
        try:
            return from_json(answer["blob"])
        except (KeyError, Malformed) as error:
            raise self._xrpc.unusable("names no blob") from error

    # Evidence: packets beside the ledger

    def documents(self, seq: int) -> RecordBytes | None:
        """The two documents of a closed record (see the port)."""
        if seq < 1:
            return None
        intent, outcome = (self._journal.read(f"ledger/{file_name(seq, one)}") for one in _DOCUMENTS)
        return None if intent is None or outcome is None else RecordBytes(intent, outcome)

    def packet(self, seq: int) -> bytes | None:
        """The packet that is kept for a release (see the port)."""
        return self._journal.read(f"{keeping.PACKETS}/{file_name(seq, 'packet')}")

    def keep_packet(self, seq: int, packet: bytes) -> None:
        """Keep a packet beside the ledger (see the port)."""
        name = f"{keeping.PACKETS}/{file_name(seq, 'packet')}"
        with self._journal.beside("evidence") as beside:
            self._refuse_unfinished()
            put = beside.create(name, packet, PACKET_MOMENTS)
        if not put and self._journal.read(name) != packet:
            raise other_packet(seq, f"{self.config.settings['ledger']}: {name}")

    # Backups (see `reconciler.stores.atproto.keeping` and `restoring`)

    @contextmanager
    def reading(self, hold: Hold) -> Iterator[keeping.AccountReading]:
        """Everything durable, the records as of one commit.

        Raises:
            OutcomeUnknown: E_UNFINISHED.
            Corrupt, Unavailable: it cannot be read.
        """
        locked = self._journal.beside("backup create") if hold is Hold.LOCKED else nullcontext()
        with locked:
            self._refuse_unfinished()
            yield keeping.AccountReading(self.did, self.read, self._xrpc, self._journal, hold)

    @contextmanager
    def restoring(self, backup: Digest) -> Iterator[restoring.AccountRestoring]:
        """Take a backup back into this account, which lost what it held.

        Raises:
            InvalidInput: E_RESTORE_PLACE.
        """
        with self._journal.beside("backup restore") as beside:
            place = restoring.Place(
                repository=lambda: self._repository,
                xrpc=self._xrpc,
                login=lambda: self._login,
                journal=self._journal,
                beside=beside,
                claim=self._claim,
                upload=self.upload,
                budget=self.budget,
                pause=self._pause,
                progress=self._surroundings.progress,
                where=self._where,
            )
            yield restoring.begin(place, backup)

    def restored(self) -> Restored | None:
        """What backup the account was restored from and not proved since."""
        return restoring.restored_mark(self._journal, self._where)

    def answers(self) -> Answers:
        """Follow every label, and read every blob (see `reconciler.stores.atproto.keeping.asked`)."""
        return keeping.asked(self.did, self.read(), self._xrpc)

    def proved(self) -> None:
        """Take the mark of the restore away."""
        with self._journal.beside("recovery drill") as beside:
            restoring.remove_mark(beside)

    def _claim(self, did: str) -> None:
        """Refuse the backup of another account."""
        if did != self.did:
            raise restoring.another_account(did, self._where, self.did)

    def _refuse_unfinished(self) -> None:
        refuse_unfinished(self.restored(), self._where)

    def close(self) -> None:
        """Close the connection and the ledger."""
        if "_xrpc" in self.__dict__:
            self._xrpc.close()
        self._journal.close()

    @cached_property
    def _login(self) -> Login:
        variables = self._surroundings.variables
        return Login(self.config, variables, did=self.did, xrpc=self._xrpc, secrets=self._secrets)

    def _session(self, held: Held | None, wishes: Wishes) -> transaction.Session:
        return transaction.Session(
            repository=self._repository,
            xrpc=self._xrpc,
            login=self._login,
            wishes=wishes,
            held=held,
            pause=self._pause,
            progress=self._surroundings.progress,
            most=allowance_of(self.config).day,
            budget=self.budget,
            reading=self.read(),
            where=self._where,
        )

    def _keep(self) -> None:
        self._journal.keep(Kept.READING, self._repository.kept())
        self._journal.keep(Kept.BUDGET, self.budget.kept())
