"""The registry's one kind of write: a transaction that compares, changes, derives, records and commits.

Decides the order around it. Objects are put before it, so a row never names bytes that are not there; the
database's writer lock is held from the first look to the commit; the ledger record is a row of the same
transaction. Under that lock an object that garbage collection took since it was put is put again.

A COMMIT whose answer is lost is looked up in the ledger, under the lock, before anything is said about it:
a writer that holds the lock knows that no other COMMIT is under way. If looking fails too, the outcome is
unknown and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from reconciler.canonical import sha256_hex
from reconciler.errors import Conflict, InvalidInput, OutcomeUnknown, ReconcilerError
from reconciler.ledger import Run
from reconciler.model import Address, Change, Outcome, Step, StepResult
from reconciler.reference import ManifestHash, digest_of
from reconciler.stores.registry import ledger_table
from reconciler.stores.registry import statements as sql
from reconciler.stores.registry.edits import Edits, edits_of, refuse_moves
from reconciler.stores.registry.lookup import Lookup
from reconciler.stores.registry.order import TAG, UNIT
from reconciler.stores.registry.perform import perform
from reconciler.stores.registry.session import NoAnswer, Session
from reconciler.stores.registry.values import BreakGlass, Written

Contents = Callable[[ManifestHash], bytes]
"""Gives the bytes of a manifest that is to be registered."""

_NOTHING_NEW = Written(None, ())


class _Plan(NamedTuple):
    """What one transaction is to do."""

    steps: tuple[Step, ...]
    edits: Edits


class _Nothing(Exception):
    """The transaction has nothing to do; it is undone."""


class Writer(Lookup):
    """The writing half of a registry: planned steps, and changes that are computed under the lock."""

    def migrate(self) -> None:
        """Bring the tables to this program's version, creating them where `create` allows it.

        Raises:
            Unavailable: E_SCHEMA_VERSION, or the database cannot be used.
        """
        self._database.migrate()
        self._made = False
        self.check()

    # Planned writes

    def commit(
        self,
        steps: Sequence[Step],
        run: Run,
        *,
        contents: Contents | None = None,
        break_glass: BreakGlass | None = None,
    ) -> tuple[StepResult, ...]:
        """Do planned steps in one transaction, all or nothing; see `stores.port.Store.commit`.

        Args:
            steps: what to change; an empty sequence adds the record only, if something was adopted.
            run: what the ledger says of it.
            contents: the bytes of the manifests that the steps register.
            break_glass: permission to move version tags.

        Returns:
            One result per step: applied, with the ledger's number as receipt; or unknown, if the answer to
            the COMMIT was lost and looking failed too.

        Raises:
            Conflict: a `before` does not hold, or two versions differ only in build metadata.
            Denied: E_TAG_IMMUTABLE, E_LINK_TAGGED or E_MANIFEST_LINKED.
            InvalidInput: a change has no meaning here, or names what is not there.
            Unavailable, Corrupt: the registry cannot be used.
        """
        if not steps and not run.adopted:
            return ()
        edits = edits_of(change for step in steps for change in step.changes)
        refuse_moves(self._settings.name, edits, break_glass)
        put_at = self.now() if edits.manifests else 0
        contents = self._put_objects(edits, contents)
        try:
            appended = self._transact(
                lambda _: _Plan(tuple(steps), edits), run, contents, put_at=put_at, break_glass=break_glass
            )
        except OutcomeUnknown as error:
            return tuple(
                StepResult(step=step.id, outcome=Outcome.UNKNOWN, problems=error.problems) for step in steps
            )
        return appended.results

    def _put_objects(self, edits: Edits, contents: Contents | None) -> Contents:
        """Put the bytes of new manifests, and note their sizes in the edits."""
        source = contents or self._kept
        for place, edit in enumerate(edits.manifests):
            if edit.holds:
                manifest = ManifestHash(edit.hash)
                content = named_by(manifest, source(manifest))
                self._objects.put(manifest, content)
                edits.manifests[place] = edit._replace(size=len(content))
        return source

    def _kept(self, manifest: ManifestHash) -> bytes:
        content = self._objects.get(manifest)
        if content is None:
            raise InvalidInput.of(
                "E_MANIFEST_CONTENT",
                "the bytes of a manifest that is to be registered are not given",
                got=digest_of(manifest),
                fix="name a file that holds them",
            )
        return content

    # The one transaction

    def _transact(
        self,
        plan: Callable[[Session], _Plan],
        run: Run,
        contents: Contents,
        *,
        put_at: int,
        break_glass: BreakGlass | None,
    ) -> ledger_table.Appended:
        self._make()
        appended: ledger_table.Appended | None = None

        def restore(manifest: ManifestHash) -> None:
            self._objects.put(manifest, contents(manifest))

        def may_move(key: str) -> bool:
            return break_glass is not None and break_glass.covers(Address(self._settings.name, TAG, key))

        try:
            with self._database.writing() as session:
                steps, edits = plan(session)
                perform(
                    session,
                    edits,
                    rule=self._settings.latest,
                    time=run.time,
                    restore=restore,
                    put_at=put_at,
                    may_move=may_move,
                )
                appended = ledger_table.append(
                    session, identity=self._settings.identity, run=run, steps=steps
                )
        except NoAnswer as error:
            if appended is None or not self._landed(appended):
                raise self._lost() from error
        return appended

    def keep_packet(self, seq: int, packet: bytes) -> None:
        """Keep the packet of a release; the same bytes again are fine.

        Raises:
            Corrupt: E_EVIDENCE_KEPT, another one is kept.
            Conflict, Unavailable: nothing was written.
        """
        try:
            with self._database.writing() as session:
                ledger_table.keep_packet(session, seq, packet, where=self._database.where)
        except NoAnswer as error:
            raise self._lost() from error

    def _make(self) -> None:
        self.check()
        if not self._made:
            self.migrate()

    def _landed(self, appended: ledger_table.Appended) -> bool:
        """Whether our record stands in the ledger; the writer lock proves that no COMMIT is under way.

        Raises:
            OutcomeUnknown: looking failed, too.
        """
        try:
            with self._database.writing() as session:
                found = session.rows(sql.RECORD, (appended.seq,))
        except (ReconcilerError, NoAnswer) as error:
            raise OutcomeUnknown.of(
                "E_OUTCOME_UNKNOWN",
                "the answer to a commit was lost, and the registry cannot be read",
                path=self._database.where,
                fix="plan again when it answers; the ledger says whether the commit landed",
            ) from error
        return bool(found) and bytes(found[0][0]) == appended.intent

    def _lost(self) -> Conflict:
        return Conflict.of(
            "E_CONFLICT",
            "the connection broke at the commit, and the registry says that nothing was written",
            path=self._database.where,
            fix="plan again",
        )

    def _by_hand(
        self,
        step_id: str,
        changes: Callable[[Session], Iterable[Change]],
        run: Run,
        contents: Contents | None = None,
        *,
        put_at: int = 0,
        break_glass: BreakGlass | None = None,
    ) -> Written:
        """Make changes that are computed under the writer lock, as one step."""
        made: list[Change] = []

        def plan(session: Session) -> _Plan:
            made[:] = changes(session)
            if not made:
                raise _Nothing
            step = Step(id=step_id, store=self._settings.name, unit=UNIT, changes=tuple(made))
            edits = edits_of(made)
            for place, edit in enumerate(edits.manifests):
                if edit.holds:
                    size = len((contents or self._kept)(ManifestHash(edit.hash)))
                    edits.manifests[place] = edit._replace(size=size)
            return _Plan((step,), edits)

        try:
            appended = self._transact(
                plan, run, contents or self._kept, put_at=put_at, break_glass=break_glass
            )
        except _Nothing:
            return _NOTHING_NEW
        return Written(appended.seq, tuple(made))


def named_by(manifest: ManifestHash, content: bytes) -> bytes:
    """The bytes, if they are those of the promised hash."""
    found = sha256_hex(content)
    if found != manifest:
        raise InvalidInput.of(
            "E_MANIFEST_HASH",
            f"the bytes of the manifest are not those of {digest_of(manifest)}",
            got=digest_of(ManifestHash(found)),
            fix="give the file that has this hash, or the hash of this file",
        )
    return content
