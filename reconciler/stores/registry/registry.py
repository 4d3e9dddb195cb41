"""The registry as a library: what is registered, linked and tagged changes here, in single transactions.

Every write is one transaction under the registry's writer lock (`transaction.Writer`): compare what is
there, change it, derive `latest` from all versions of the dataset, add the ledger record, commit. A write
that changes nothing writes no record.

    registry = Registry(Settings(name="registry", identity=…, database=open_sqlite(path, timeout=10),
                                 objects=LocalObjects(directory), create=True))
    manifest = registry.register_manifest(content, run=run)
    registry.link_manifest(dataset, manifest, run=run)
    registry.set_version_tag(dataset, "1.0.0", manifest, run=run)
    registry.resolve_text("ethereum/mainnet@latest")

`commit` does the same for steps that were planned; the methods by name are for operations by hand. This
module never asks who may write, reads no clock and decides no policy.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.canonical import sha256_hex
from reconciler.errors import (
    Conflict,
    Denied,
    InvalidInput,
    Problem,
)
from reconciler.failpoints import failpoint
from reconciler.ledger import Run
from reconciler.model import Change
from reconciler.reference import (
    DEV,
    LATEST,
    DatasetName,
    ManifestHash,
    digest_of,
    parse_version,
)
from reconciler.stores.registry import statements as sql
from reconciler.stores.registry.edits import (
    immutable,
    link_change,
    manifest_change,
    object_change,
    tag_change,
    yank_change,
)
from reconciler.stores.registry.session import NoAnswer, Session
from reconciler.stores.registry.transaction import Writer, named_by
from reconciler.stores.registry.values import (
    BreakGlass,
    DevMove,
    Expected,
    ExpectedTag,
    TagsOnUnlink,
    Written,
)


class Registry(Writer):
    """A dataset registry: reading is `lookup.Lookup`, planned writing `transaction.Writer`."""

    # Manifests

    def register_manifest(
        self, content: bytes, *, run: Run, manifest: ManifestHash | None = None
    ) -> ManifestHash:
        """Keep a manifest byte for byte; a second time it only becomes as young as the first time.

        Args:
            content: its exact bytes.
            run: what the ledger says of it.
            manifest: the hash it must have, if one was promised.

        Raises:
            InvalidInput: E_MANIFEST_HASH, the bytes are not those of the promised hash.
            LimitExceeded: E_MANIFEST_SIZE.
        """
        found = ManifestHash(sha256_hex(content))
        named_by(manifest or found, content)
        self._make()
        put_at = self.now()
        self._objects.put(found, content)

        def changes(session: Session) -> list[Change]:
            if session.rows(sql.MANIFEST, (found,)):
                return []
            return [manifest_change(self._settings.name, found, held=False, holds=True)]

        step_id = f"register {digest_of(found)}"
        while self._by_hand(step_id, changes, run, lambda _: content, put_at=put_at).seq is None:
            if self._renewed(found):
                break  # else it was collected since it was found there
        return found

    def _renewed(self, manifest: ManifestHash) -> bool:
        """Make a registered manifest young again, so that its link may take its time; False if it is gone."""
        try:
            with self._database.writing() as session:
                return session.run(sql.RENEW, (session.now(), manifest)) > 0
        except NoAnswer as error:
            raise self._lost() from error

    def delete_manifest(self, manifest: ManifestHash, *, run: Run) -> Written:
        """Delete a manifest that no dataset links, row first, then object; an unknown one is fine.

        Raises:
            Denied: E_MANIFEST_LINKED.
        """

        def changes(session: Session) -> list[Change]:
            if not session.rows(sql.MANIFEST, (manifest,)):
                return []
            return [manifest_change(self._settings.name, manifest, held=True, holds=False)]

        written = self._by_hand(f"delete manifest {digest_of(manifest)}", changes, run)
        self.delete_buried(manifest)
        return written

    def collect_manifests(self, manifests: Iterable[ManifestHash], *, grace: int, run: Run) -> Written:
        """Remove the rows of manifests that are orphaned still and older than the grace period.

        Whoever was linked or registered again since it was listed is left alone. The objects stay until
        `delete_buried`.

        Args:
            manifests: what a plan found to be orphaned.
            grace: seconds, by the database's clock, since the last registration.
            run: what the ledger says of it.
        """
        wanted = frozenset(manifests)

        def changes(session: Session) -> list[Change]:
            limit = session.now() - grace
            return [
                manifest_change(self._settings.name, ManifestHash(row[0]), held=True, holds=False)
                for row in session.rows(sql.ORPHANS)
                if row[0] in wanted and row[3] <= limit
            ]

        return self._by_hand("collect manifests", changes, run)

    def bury_objects(self, manifests: Iterable[ManifestHash], *, before: int, run: Run) -> Written:
        """Give every object that no row names a tombstone, so that `delete_buried` removes it.

        An object is put before its row, so a registration may be under way that found it there. The
        tombstone makes that one put it again, in whatever order the two happen.

        Args:
            manifests: the objects that a plan found without a row.
            before: what the object store took in since then, by its own clock, is left alone.
            run: what the ledger says of it.
        """
        wanted = sorted(set(manifests))

        def changes(session: Session) -> list[Change]:
            named = {row[0] for row in session.rows(sql.HASHES)} | {
                row[0] for row in session.rows(sql.PENDING)
            }
            times = ((one, self._objects.stored_at(one)) for one in wanted if one not in named)
            return [
                object_change(self._settings.name, one)
                for one, stored_at in times
                if stored_at is not None and stored_at < before
            ]

        return self._by_hand("collect objects", changes, run)

    def forget_tombstones(self, *, grace: int) -> tuple[ManifestHash, ...]:
        """Remove the tombstones of objects that were deleted longer ago than the grace period."""
        try:
            with self._database.writing() as session:
                limit = (session.now() - grace,)
                forgotten = session.rows(sql.FORGOTTEN, limit)
                session.run(sql.FORGET, limit)
        except NoAnswer:
            return ()  # they stand, or they do not: the next collection looks again
        return tuple(ManifestHash(row[0]) for row in forgotten)

    def delete_buried(self, manifest: ManifestHash) -> bool:
        """Delete the object of a manifest whose row is gone; False if it is not buried (any more).

        The writer lock is held meanwhile, and a registration digs a manifest up under the same lock: so
        either the object goes before it is put again, or it stays.
        """
        self.check()
        if not self._made:
            return False
        try:
            with self._database.writing() as session:
                if not session.rows(sql.TOMBSTONE, (manifest,)):
                    return False
                failpoint("reg.object.delete")
                self._objects.delete(manifest)
                session.run(sql.DELETED, (session.now(), manifest))
        except NoAnswer:
            return False  # the tombstone stands, or it does not: the next collection looks again
        return True

    # Links

    def link_manifest(
        self,
        dataset: DatasetName,
        manifest: ManifestHash,
        *,
        run: Run,
        dev: DevMove = DevMove.TO_LINKED,
    ) -> Written:
        """Link a manifest to a dataset, which comes to exist by it; `dev` follows unless it stays.

        Raises:
            InvalidInput: E_MANIFEST_UNKNOWN.
        """

        def changes(session: Session) -> list[Change]:
            store, made = self._settings.name, []
            if not session.rows(sql.IS_LINKED, (*dataset, manifest)):
                made.append(link_change(store, dataset, manifest, held=False, holds=True))
            before = _tagged(session, dataset, DEV)
            if dev is DevMove.TO_LINKED and before != manifest:
                made.append(tag_change(store, dataset, DEV, before, manifest))
            return made

        return self._by_hand(f"link {dataset}@{digest_of(manifest)}", changes, run)

    def unlink_manifest(
        self,
        dataset: DatasetName,
        manifest: ManifestHash,
        *,
        run: Run,
        tags: TagsOnUnlink = TagsOnUnlink.REFUSE,
    ) -> Written:
        """Unlink one manifest from a dataset; one that is not linked is fine.

        Raises:
            Denied: E_LINK_TAGGED, tags name it and are not to be removed.
        """

        def changes(session: Session) -> list[Change]:
            if not session.rows(sql.IS_LINKED, (*dataset, manifest)):
                return []
            made = self._untagged(session, dataset, manifest) if tags is TagsOnUnlink.REMOVE else []
            return [*made, link_change(self._settings.name, dataset, manifest, held=True, holds=False)]

        return self._by_hand(f"unlink {dataset}@{digest_of(manifest)}", changes, run)

    def _untagged(
        self, session: Session, dataset: DatasetName, manifest: ManifestHash | None
    ) -> list[Change]:
        return [
            tag_change(self._settings.name, dataset, row[2], ManifestHash(row[3]), None)
            for row in session.rows(sql.TAGS_OF, dataset)
            if row[2] != LATEST and manifest in (None, row[3])
        ]

    def unlink_dataset_manifests(self, dataset: DatasetName, *, run: Run) -> tuple[ManifestHash, ...]:
        """Remove all tags and links of a dataset; the manifests that it linked, by hash."""
        unlinked: list[ManifestHash] = []

        def changes(session: Session) -> list[Change]:
            unlinked[:] = [ManifestHash(row[0]) for row in session.rows(sql.LINKS, dataset)]
            return [
                *self._untagged(session, dataset, None),
                *(link_change(self._settings.name, dataset, m, held=True, holds=False) for m in unlinked),
            ]

        self._by_hand(f"unlink {dataset}", changes, run)
        return tuple(unlinked)

    # Tags

    def set_version_tag(
        self,
        dataset: DatasetName,
        version: str,
        manifest: ManifestHash,
        *,
        run: Run,
        expect: ExpectedTag = Expected.ANYTHING,
        break_glass: BreakGlass | None = None,
    ) -> Written:
        """Tag a linked manifest with a version; the same again is fine, another manifest is refused.

        Args:
            dataset: whose version it is.
            version: SemVer.
            manifest: what it names.
            run: what the ledger says of it.
            expect: what the tag must name now, or that it must not exist.
            break_glass: permission to move a version that exists, or to use the name of a removed one.

        Raises:
            Conflict: E_CONFLICT, `expect` does not hold; E_VERSION_BUILD.
            Denied: E_TAG_IMMUTABLE.
            InvalidInput: E_NOT_LINKED, E_SEMVER and others.
        """
        parse_version(version)

        def changes(session: Session) -> list[Change]:
            before = _expected(session, dataset, version, expect)
            if before == manifest:
                return []
            change = tag_change(self._settings.name, dataset, version, before, manifest)
            if before is not None and (break_glass is None or not break_glass.covers(change.address)):
                raise Denied(immutable(f"{dataset}@{version}", before, manifest))
            return [change]

        return self._by_hand(f"tag {dataset}@{version}", changes, run, break_glass=break_glass)

    def set_dev_tag(
        self,
        dataset: DatasetName,
        manifest: ManifestHash | None,
        *,
        run: Run,
        expect: ExpectedTag = Expected.ANYTHING,
    ) -> Written:
        """Point `dev` at a linked manifest, or remove it.

        Raises:
            Conflict: E_CONFLICT, `expect` does not hold.
            InvalidInput: E_NOT_LINKED.
        """

        def changes(session: Session) -> list[Change]:
            before = _expected(session, dataset, DEV, expect)
            return (
                []
                if before == manifest
                else [tag_change(self._settings.name, dataset, DEV, before, manifest)]
            )

        return self._by_hand(f"{'untag' if manifest is None else 'tag'} {dataset}@{DEV}", changes, run)

    def delete_version_tag(
        self,
        dataset: DatasetName,
        version: str,
        *,
        run: Run,
        expect: ExpectedTag = Expected.ANYTHING,
    ) -> Written:
        """Remove a version; `latest` follows; one that does not exist is fine.

        Raises:
            Conflict: E_CONFLICT, `expect` does not hold.
            InvalidInput: `latest` and `dev` are no versions.
        """
        parse_version(version)

        def changes(session: Session) -> list[Change]:
            before = _expected(session, dataset, version, expect)
            return [] if before is None else [tag_change(self._settings.name, dataset, version, before, None)]

        return self._by_hand(f"untag {dataset}@{version}", changes, run)

    def yank_version(self, dataset: DatasetName, version: str, *, yanked: bool, run: Run) -> Written:
        """Yank a version, or take that back: yanked, it is found by its exact text and is never `latest`.

        Raises:
            InvalidInput: E_TAG_MISSING.
        """
        parse_version(version)

        def changes(session: Session) -> list[Change]:
            found = session.rows(sql.TAG_OF, (*dataset, version))
            if not found:
                raise InvalidInput.of(
                    "E_TAG_MISSING",
                    "there is no such version",
                    path=f"{dataset}@{version}",
                    fix="tag it first",
                )
            before = bool(found[0][4])
            if before == yanked:
                return []
            return [yank_change(self._settings.name, dataset, version, before=before, after=yanked)]

        return self._by_hand(f"{'yank' if yanked else 'unyank'} {dataset}@{version}", changes, run)


def _tagged(session: Session, dataset: DatasetName, version: str) -> ManifestHash | None:
    found = session.rows(sql.TAG_OF, (*dataset, version))
    return ManifestHash(found[0][3]) if found else None


def _expected(
    session: Session, dataset: DatasetName, version: str, expect: ExpectedTag
) -> ManifestHash | None:
    """What a tag names now, if that is what was expected."""
    found = _tagged(session, dataset, version)
    wanted = None if expect is Expected.NOTHING else expect
    if expect is not Expected.ANYTHING and wanted != found:
        raise Conflict(
            Problem(
                code="E_CONFLICT",
                path=f"{dataset}@{version}",
                message="the tag is not what was expected "
                + ("(that it does not exist)" if wanted is None else f"({wanted})"),
                got=found or "absent",
                fix="look at it, then decide again",
            )
        )
    return found
