"""Everything that can be asked of a registry: manifests, links, tags, what a reference names, the ledger.

Decides nothing and writes nothing. A question is one consistent reading. What does not exist is None or
empty; what cannot be read is an error. A manifest's bytes are compared with their hash on every read, and
a row whose object is gone is corruption, not absence.

Versions come highest first, by SemVer precedence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

from reconciler.canonical import canonical, sha256_digest
from reconciler.errors import Corrupt, Unavailable
from reconciler.ledger import Record, RecordBytes
from reconciler.model import Address
from reconciler.reference import (
    DEV,
    LATEST,
    DatasetName,
    ManifestHash,
    Reference,
    Revision,
    RevisionKind,
    digest_of,
)
from reconciler.stores.registry import ledger_table
from reconciler.stores.registry import statements as sql
from reconciler.stores.registry.migrate import behind_or_ahead
from reconciler.stores.registry.objects import Objects
from reconciler.stores.registry.session import HEAD, Database, NothingThere, Row, Session
from reconciler.stores.registry.values import (
    LatestRule,
    ManifestEntry,
    RegistryState,
    Resolved,
    Tag,
    Tombstone,
)

_NOWHERE: Final = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a registry is made of.

    Attributes:
        name: the store's name in addresses.
        identity: what ledger records bind.
        database: where rows are.
        objects: where the bytes of manifests are.
        latest: which version `latest` is.
        create: whether the first write may make the tables.
    """

    name: str
    identity: str
    database: Database
    objects: Objects
    latest: LatestRule = LatestRule.STABLE
    create: bool = False


class Lookup:
    """The reading half of a registry; `registry.Registry` adds the writing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = settings.database
        self._objects = settings.objects
        self._made = False
        try:
            self.check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings(self) -> Settings:
        """What it is made of."""
        return self._settings

    def check(self) -> None:
        """Look whether the tables are there and those that this program is written for.

        Raises:
            Unavailable: E_STORE_MISSING, E_SCHEMA_VERSION, or the database cannot be used.
        """
        if self._made:
            return
        version = self._database.version()
        if version is None:
            if not self._settings.create:
                raise Unavailable.of(
                    "E_STORE_MISSING",
                    f"store '{self._settings.name}' does not exist",
                    path=self._database.where,
                    fix="check its location, run 'reconciler registry migrate', or declare 'create: true'",
                )
            return
        if version != HEAD:
            raise behind_or_ahead(version, self._database.where)
        self._made = True

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        self.check()
        if not self._made:
            yield NothingThere()
            return
        with self._database.reading() as session:
            yield session

    def close(self) -> None:
        """Let go of everything that is held."""
        self._database.close()
        self._objects.close()

    def revision(self) -> str:
        """A cheap token: equal tokens mean that no row was changed."""
        with self._reading() as session:
            end = ledger_table.head(session)
        rows = self._database.revision() if self._made else _NOWHERE
        return sha256_digest(canonical([end.seq, end.link, rows]))

    def now(self) -> int:
        """The database's own clock, in Unix seconds; 0 where there is no registry yet."""
        with self._reading() as session:
            return session.now()

    # Manifests

    def get_manifest(self, manifest: ManifestHash) -> bytes | None:
        """The exact bytes that were registered, compared with their hash; None if it is not registered.

        Raises:
            Corrupt: E_MANIFEST_HASH or E_MANIFEST_OBJECT.
        """
        if not self.has_manifest(manifest):
            return None
        content = self._objects.get(manifest)
        if content is None and self.has_manifest(manifest):  # not collected between the two looks
            raise Corrupt.of(
                "E_MANIFEST_OBJECT",
                "the manifest is registered, and its object is gone",
                path=self._objects.where,
                got=digest_of(manifest),
                fix="register the same bytes again, or restore the object from a backup",
            )
        return content

    def has_manifest(self, manifest: ManifestHash) -> bool:
        """Whether the manifest is registered; its object is not looked at."""
        with self._reading() as session:
            return bool(session.rows(sql.MANIFEST, (manifest,)))

    def list_manifests(self) -> tuple[ManifestEntry, ...]:
        """All manifests with the number of datasets that link each, by hash."""
        with self._reading() as session:
            return tuple(ManifestEntry(*row) for row in session.rows(sql.ALL_MANIFESTS))

    def list_orphaned_manifests(self) -> tuple[ManifestEntry, ...]:
        """The manifests that no dataset links, by hash."""
        with self._reading() as session:
            return tuple(ManifestEntry(*row) for row in session.rows(sql.ORPHANS))

    def list_manifest_linked_datasets(self, manifest: ManifestHash) -> tuple[Tag, ...] | None:
        """The version tags of all datasets that name the manifest; None if it is not registered."""
        with self._reading() as session:
            if not session.rows(sql.MANIFEST, (manifest,)):
                return None
            return tuple(_tag(row) for row in session.rows(sql.VERSIONS_OF_MANIFEST, (manifest,)))

    # Links

    def is_manifest_linked(self, dataset: DatasetName, manifest: ManifestHash) -> bool:
        """Whether the dataset links the manifest."""
        with self._reading() as session:
            return bool(session.rows(sql.IS_LINKED, (*dataset, manifest)))

    def list_links(self, dataset: DatasetName) -> tuple[ManifestHash, ...]:
        """The manifests that a dataset links, by hash."""
        with self._reading() as session:
            return tuple(ManifestHash(row[0]) for row in session.rows(sql.LINKS, dataset))

    def list_linking_datasets(self, manifest: ManifestHash) -> tuple[DatasetName, ...]:
        """The datasets that link a manifest, tagged or not."""
        with self._reading() as session:
            return tuple(DatasetName(*row) for row in session.rows(sql.DATASETS_OF, (manifest,)))

    # Tags

    def list_version_tags(self, dataset: DatasetName) -> tuple[Tag, ...]:
        """The versions of a dataset, highest first; empty for a dataset that does not exist."""
        return tuple(tag for tag in self.list_tags(dataset) if tag.version not in (LATEST, DEV))

    def list_tags(self, dataset: DatasetName) -> tuple[Tag, ...]:
        """The versions of a dataset, highest first, then `latest` and `dev` where they exist."""
        with self._reading() as session:
            tags = [_tag(row) for row in session.rows(sql.TAGS_OF, dataset)]
        return tuple(sorted(tags, key=lambda tag: tag.version in (LATEST, DEV)))

    def list_all_datasets(self) -> tuple[Tag, ...]:
        """The versions of all datasets: by dataset, highest first."""
        with self._reading() as session:
            return tuple(_tag(row) for row in session.rows(sql.VERSIONS))

    def get_tag(self, dataset: DatasetName, version: str) -> Tag | None:
        """One tag: a version as it was written, `dev` or `latest`."""
        with self._reading() as session:
            return _one(session, dataset, version)

    def latest_version(self, dataset: DatasetName) -> Tag | None:
        """The version that `latest` stands for."""
        with self._reading() as session:
            rows = session.rows(sql.TAGS_OF, dataset)
            prereleases = self._settings.latest is LatestRule.HIGHEST
            versions = (_tag(row) for row in rows if row[2] not in (LATEST, DEV))
            return next(
                (
                    tag
                    for tag in versions
                    if not tag.yanked and (prereleases or not _is_prerelease(tag.version))
                ),
                None,
            )

    # Resolving

    def resolve(self, reference: Reference) -> Resolved | None:
        """The manifest that a reference names; None if there is none.

        A hash is resolved only within a dataset that links it. A yanked version is resolved by its exact
        text, and so says the answer.
        """
        dataset, revision = reference
        with self._reading() as session:
            if revision.kind is RevisionKind.HASH:
                manifest = ManifestHash(revision.text)
                found = session.rows(sql.IS_LINKED, (*dataset, manifest))
                return Resolved(reference, manifest, yanked=False) if found else None
            tag = _one(session, dataset, revision.text)
        return Resolved(reference, tag.hash, yanked=tag.yanked) if tag else None

    def resolve_text(self, text: str) -> Resolved | None:
        """As `resolve`, for any spelling of a reference: full, partial or a package URL.

        Raises:
            InvalidInput: it is no reference.
        """
        return self.resolve(Reference.parse_partial(text))

    def resolve_latest(self, dataset: DatasetName) -> ManifestHash | None:
        """The manifest of the highest version that may be `latest`."""
        return self._hash(dataset, LATEST)

    def resolve_dev(self, dataset: DatasetName) -> ManifestHash | None:
        """The manifest that `dev` names."""
        return self._hash(dataset, DEV)

    def resolve_version(self, dataset: DatasetName, version: str) -> ManifestHash | None:
        """The manifest of a version, yanked or not.

        Raises:
            InvalidInput: E_REVISION and others, this is no version.
        """
        return self._hash(dataset, Revision.parse(version).text)

    def _hash(self, dataset: DatasetName, version: str) -> ManifestHash | None:
        tag = self.get_tag(dataset, version)
        return tag.hash if tag else None

    # Everything

    def state(self) -> RegistryState:
        """Everything that the registry names, from one reading, in byte order."""
        with self._reading() as session:
            manifests = session.rows(sql.HASHES)
            links = session.rows(sql.ALL_LINKS)
            tags = session.rows(sql.ALL_TAGS)
        return RegistryState(tuple(row[0] for row in manifests), tuple(links), tuple(tags))

    def history(self) -> Iterator[Record]:
        """The ledger, oldest first, its chain checked.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        after, previous = 0, None
        while True:
            with self._reading() as session:
                records = list(
                    ledger_table.page(
                        session,
                        after=after,
                        previous=previous,
                        store=self._settings.name,
                        where=self._database.where,
                    )
                )
            if not records:
                return
            yield from records
            after, previous = records[-1].seq, records[-1].outcome_sha

    def protected(self) -> frozenset[Address]:
        """What the ledger protects; the cost follows the records that say so.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        with self._reading() as session:
            return ledger_table.protected(session, where=self._database.where)

    def last_record(self) -> int:
        """The number of the last record of the ledger; 0 if there is none."""
        with self._reading() as session:
            return ledger_table.head(session).seq

    def documents(self, seq: int) -> RecordBytes | None:
        """The two documents of a record, as they stand in the ledger."""
        with self._reading() as session:
            return ledger_table.documents(session, seq)

    def packet(self, seq: int) -> bytes | None:
        """The packet that is kept for a release."""
        with self._reading() as session:
            return ledger_table.packet(session, seq)

    def list_tombstones(self) -> tuple[Tombstone, ...]:
        """The manifests whose objects are still to be deleted."""
        with self._reading() as session:
            return tuple(Tombstone(ManifestHash(row[0]), row[1]) for row in session.rows(sql.PENDING))

    def list_forgotten(self, *, grace: int) -> tuple[ManifestHash, ...]:
        """The manifests whose objects were deleted longer ago than the grace period."""
        with self._reading() as session:
            rows = session.rows(sql.FORGOTTEN, (session.now() - grace,))
        return tuple(ManifestHash(row[0]) for row in rows)


def _tag(row: Row) -> Tag:
    namespace, name, version, manifest, yanked, created_at, updated_at = row
    return Tag(
        DatasetName(namespace, name), version, ManifestHash(manifest), bool(yanked), created_at, updated_at
    )


def _one(session: Session, dataset: DatasetName, version: str) -> Tag | None:
    rows = session.rows(sql.TAG_OF, (*dataset, version))
    return _tag(rows[0]) if rows else None


def _is_prerelease(version: str) -> bool:
    return "-" in version.partition("+")[0]
