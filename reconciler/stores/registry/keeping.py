"""What of a registry a backup holds, and taking it back into an empty one.

Durable are the bytes of every registered manifest, the rows of manifests, links, tags, retired versions and
tombstones, and the ledger with its packets. Rows are kept as documents that do not say which engine they come
from: those of a dataset together, those of manifests by the first two digits of their hash. So a backup of
PostgreSQL comes back in SQLite as well, and what no write touched is kept once. `latest` is a row with times
of its own; after a restore it is derived again in the same transaction, and must be what came back.

Rows and ledger are read in one transaction and written in one; before it only objects are there, and
nothing names them. Disposable are objects that no row names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from reconciler.backup.document import Part, Phase
from reconciler.canonical import canonical, parse_strict, sha256_digest
from reconciler.errors import Corrupt, InvalidInput, OutcomeUnknown, Problem, Unavailable
from reconciler.ledger import file_name, protects, read_record
from reconciler.model import Digest
from reconciler.reference import ManifestHash, digest_of
from reconciler.stores.keeping import (
    Answers,
    Chunks,
    Judged,
    Offered,
    OfferedGroup,
    Restored,
    foreign_part,
    whole,
)
from reconciler.stores.registry import statements as sql
from reconciler.stores.registry.objects import Objects
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.session import NoAnswer, Row, Session

_OBJECT: Final = re.compile(r"objects/([0-9a-f]{64})", re.ASCII)
_LEDGER: Final = re.compile(r"ledger/[0-9]{20}\.(?:intent|outcome)\.json", re.ASCII)
_PACKET: Final = re.compile(r"ledger/([0-9]{20})\.packet\.json", re.ASCII)
_MANIFESTS: Final = re.compile(r"rows/manifests/[0-9a-f]{2}\.json", re.ASCII)
_DATASET: Final = re.compile(r"rows/datasets/([a-z0-9_]{1,128})/([a-z0-9_]{1,128})\.json", re.ASCII)
_TOMBSTONES: Final = "rows/tombstones.json"
_RECORDS_IN_GROUP: Final = 500
_ROWS_AT_ONCE: Final = 100
_ROWS_LIMIT: Final = 256 << 20


class RegistryReading:
    """One reading of a registry (see `reconciler.stores.keeping.Reading`)."""

    def __init__(self, registry: Registry) -> None:
        settings = registry.settings
        if settings.database.version() is None:
            raise Unavailable.of(
                "E_STORE_MISSING",
                f"store '{settings.name}' does not exist",
                path=settings.database.where,
                fix="check its location",
            )
        registry.check()
        with settings.database.reading() as session:
            self._manifests = session.rows(sql.KEPT_MANIFESTS)
            self._links = session.rows(sql.KEPT_LINKS)
            self._tags = session.rows(sql.KEPT_TAGS)
            self._retired = session.rows(sql.KEPT_RETIRED)
            self._tombstones = session.rows(sql.KEPT_TOMBSTONES)
            self._ledger = [(bytes(row[1]), bytes(row[2])) for row in session.rows(sql.KEPT_RECORDS)]
            self._packets = {int(row[0]): bytes(row[1]) for row in session.rows(sql.KEPT_PACKETS)}
        self._objects = settings.objects
        self._last = _checked_chain(self._ledger, settings.name, settings.database.where)

    @property
    def records(self) -> int:
        """How many closed records the ledger holds."""
        return len(self._ledger)

    @property
    def ledger(self) -> str | None:
        """The digest of the last outcome."""
        return self._last

    @property
    def heads(self) -> Mapping[str, str]:
        """A registry has no heads beside its rows."""
        return {}

    def settled(self) -> bool:
        """One transaction is one moment."""
        return True

    def groups(self) -> Iterator[OfferedGroup]:
        """Objects, rows, tombstones and the ledger."""
        there = self._objects.hashes()
        for head, rows in _by(self._manifests, lambda row: str(row[0])[:2]).items():
            parts = tuple(_object(self._objects, ManifestHash(row[0]), row[1]) for row in rows)
            gone = tuple(_object_gone(self._objects, row[0]) for row in rows if row[0] not in there)
            yield OfferedGroup(f"objects/{head}", parts, partial(_judged, gone))
            path = f"rows/manifests/{head}.json"
            yield _rows_group(path, {"manifests": [list(row) for row in rows]})
        yield from self._datasets()
        if self._tombstones:
            yield _rows_group(_TOMBSTONES, {"tombstones": [list(row) for row in self._tombstones]})
        for start in range(0, len(self._ledger), _RECORDS_IN_GROUP):
            some = self._ledger[start : start + _RECORDS_IN_GROUP]
            records = tuple(
                part for seq, record in enumerate(some, start + 1) for part in self._record(seq, record)
            )
            yield OfferedGroup(f"ledger/{start + 1:020d}", records, partial(_judged, ()))

    def _record(self, seq: int, record: tuple[bytes, bytes]) -> Iterator[Offered]:
        """The two documents of a record, and its packet if it has one."""
        documents = dict(zip(("intent", "outcome"), record, strict=True))
        if seq in self._packets:
            documents["packet"] = self._packets[seq]
        for part, data in documents.items():
            yield _inline(f"ledger/{file_name(seq, part)}", Phase.LEDGER, data)

    def _datasets(self) -> Iterator[OfferedGroup]:
        links = _by(self._links, lambda row: f"{row[0]}/{row[1]}")
        tags = _by(self._tags, lambda row: f"{row[0]}/{row[1]}")
        retired = _by(self._retired, lambda row: f"{row[0]}/{row[1]}")
        for name in sorted({*links, *tags, *retired}):
            yield _rows_group(
                f"rows/datasets/{name}.json",
                {
                    "links": [list(row[2:]) for row in links.get(name, ())],
                    "tags": [_plain_tag(row[2:]) for row in tags.get(name, ())],
                    "retired": [list(row[2:]) for row in retired.get(name, ())],
                },
            )


def _plain_tag(row: Row) -> list[object]:
    """A tag's columns with truths as truths: SQLite has numbers for them."""
    version, precedence, prerelease, manifest, yanked, *times = row
    return [version, precedence, bool(prerelease), manifest, bool(yanked), *times]


def _by(rows: Iterable[Row], key: Any) -> dict[str, list[Row]]:  # noqa: ANN401 - a function of a row
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _checked_chain(records: Sequence[tuple[bytes, bytes]], store: str, where: str) -> str | None:
    """The digest of the last outcome of a chain that holds.

    Raises:
        Corrupt: E_LEDGER_CHAIN.
    """
    previous: str | None = None
    for seq, (intent, outcome) in enumerate(records, start=1):
        record = read_record(
            seq=seq, store=store, previous=previous, intent=intent, outcome=outcome, where=where
        )
        previous = record.outcome_sha
    return previous


def _judged(problems: tuple[Problem, ...], _digests: Mapping[str, Digest]) -> Judged:
    return Judged(problems)


def _object(objects: Objects, manifest: ManifestHash, size: int) -> Offered:
    chunks = partial(_content, objects, manifest)
    return Offered(f"objects/{manifest}", Phase.CONTENT, size, "", Digest(digest_of(manifest)), chunks)


def _content(objects: Objects, manifest: ManifestHash) -> Iterator[bytes]:
    content = objects.get(manifest)
    if content is None:
        raise Corrupt(_object_gone(objects, manifest))
    yield content


def _object_gone(objects: Objects, manifest: str) -> Problem:
    return Problem(
        code="E_MANIFEST_OBJECT",
        message="the manifest is registered, and its object is gone",
        path=objects.where,
        got=f"sha256:{manifest}",
        fix="register the same bytes again, or restore the object from an earlier backup",
    )


def _rows_group(path: str, rows: Mapping[str, Any]) -> OfferedGroup:
    data = canonical(rows)
    return OfferedGroup(
        path.removesuffix(".json"), (_inline(path, Phase.CATALOG, data),), partial(_judged, ())
    )


def _inline(path: str, phase: Phase, data: bytes) -> Offered:
    return Offered(path, phase, len(data), "", Digest(sha256_digest(data)), lambda: iter((data,)))


class RegistryRestoring:
    """An empty registry that takes a backup back (see `reconciler.stores.keeping.Restoring`)."""

    def __init__(self, registry: Registry, backup: Digest) -> None:
        self._registry, self._backup = registry, backup
        self._settings = registry.settings
        self._objects: set[str] = set()
        self._rows: dict[str, bytes] = {}
        if registry.settings.database.version() is not None:
            registry.check()
            with registry.settings.database.reading() as session:
                refuse_rows(session, self._settings.database.where)

    def holds(self, part: Part) -> bool:
        """Whether the object is there; rows are all put at once."""
        found = _OBJECT.fullmatch(part.path)
        if found is None:
            return False
        self._objects.add(found.group(1))
        return self._settings.objects.get(ManifestHash(found.group(1))) is not None

    def put(self, part: Part, chunks: Chunks) -> None:
        """Put an object, or keep rows and records for the end."""
        data = whole(part, chunks)
        found = _OBJECT.fullmatch(part.path)
        if found is None:
            if part.path != _TOMBSTONES and not any(
                form.fullmatch(part.path) for form in (_LEDGER, _PACKET, _MANIFESTS, _DATASET)
            ):
                raise _foreign(part.path)
            self._rows[part.path] = data
        elif digest_of(ManifestHash(found.group(1))) != part.digest:
            raise _foreign(part.path)
        else:
            self._settings.objects.put(ManifestHash(found.group(1)), data)

    def rebuild(self, part: Part) -> None:
        """Never called: nothing of a registry is kept by its digest alone."""
        raise _foreign(part.path)

    def check(self) -> None:
        """No other object stands there, and the ledger's chain holds."""
        odd = min(self._settings.objects.hashes() - self._objects, default=None)
        if odd is not None:
            raise InvalidInput.of(
                "E_RESTORE_PLACE",
                "a backup is restored into an empty place only",
                path=self._settings.objects.where,
                got=odd,
                fix="name an empty place for the objects",
            )
        _checked_chain(self._records(), self._settings.name, self._settings.database.where)

    def finish(self) -> None:
        """Write rows, ledger and mark in one transaction; `latest` is derived again and compared.

        Raises:
            Corrupt: E_RESTORE_REBUILT or E_BACKUP_DOCUMENT; no row was written.
            OutcomeUnknown: the answer to the COMMIT was lost; looking at the store tells.
        """
        self._settings.database.migrate()
        self._registry.check()
        try:
            with self._settings.database.writing() as session:
                refuse_rows(session, self._settings.database.where)
                self._write(session)
        except NoAnswer as error:
            raise OutcomeUnknown.of(
                "E_OUTCOME_UNKNOWN",
                "whether the rows were written is not known: the connection broke at the end",
                path=self._settings.database.where,
                fix="look with 'reconciler history'; where nothing is there, run the restore again",
            ) from error

    def _records(self) -> list[tuple[bytes, bytes]]:
        count = sum(path.endswith(".outcome.json") for path in self._rows)
        try:
            return [
                (
                    self._rows[f"ledger/{file_name(seq, 'intent')}"],
                    self._rows[f"ledger/{file_name(seq, 'outcome')}"],
                )
                for seq in range(1, count + 1)
            ]
        except KeyError as error:
            raise Corrupt.of(
                "E_LEDGER_CHAIN",
                "a record of the ledger is not in the backup",
                path=str(error.args[0]),
                fix="use another backup",
            ) from error

    def _kept_packets(self) -> list[tuple[int, bytes]]:
        found = ((_PACKET.fullmatch(path), data) for path, data in sorted(self._rows.items()))
        return [(int(match.group(1)), data) for match, data in found if match is not None]

    def _write(self, session: Session) -> None:
        rows = self._decoded()
        _insert(session, "manifests", 4, rows.manifests)
        _insert(session, "dataset_manifests", 4, rows.links)
        _insert(session, "dataset_tags", 9, rows.tags)
        _insert(session, "retired_versions", 6, rows.retired)
        _insert(session, "manifest_tombstones", 3, rows.tombstones)
        # What was restored stands here since now: a backup does not say since when it stood elsewhere.
        now = session.now()
        records = [
            (seq, *record, now, protects(record[0])) for seq, record in enumerate(self._records(), start=1)
        ]
        _insert(session, "reconciler_ledger", 5, records)
        _insert(session, "reconciler_packets", 2, self._kept_packets())
        session.load("wanted_datasets", rows.datasets)
        rule = self._settings.latest.value
        if session.run(sql.no_latest(rule)) or session.run(sql.set_latest(rule), (0, 0)):
            raise Corrupt.of(
                "E_RESTORE_REBUILT",
                "latest, derived from the restored versions, is not what it was",
                path=self._settings.database.where,
                fix="check that the store declares the same rule for latest, or restore another backup",
            )
        session.run(sql.MARK_RESTORED, (self._backup,))

    def _decoded(self) -> _Rows:
        """The rows that the parts hold.

        Raises:
            Corrupt: E_BACKUP_DOCUMENT.
        """
        found = _Rows([], [], [], [], [], [])
        for path, data in sorted(self._rows.items()):
            if path.startswith("ledger/"):
                continue
            try:
                rows = parse_strict(data, where=path, limit=_ROWS_LIMIT)
                found.manifests.extend(tuple(row) for row in rows.get("manifests", ()))
                found.tombstones.extend(tuple(row) for row in rows.get("tombstones", ()))
                dataset = _DATASET.fullmatch(path)
                if dataset is not None:
                    name = (dataset.group(1), dataset.group(2))
                    found.datasets.append(name)
                    found.links.extend((*name, *row) for row in rows["links"])
                    found.tags.extend((*name, *row) for row in rows["tags"])
                    found.retired.extend((*name, *row) for row in rows["retired"])
            except (InvalidInput, KeyError, TypeError, AttributeError) as error:
                raise _foreign(path) from error
        return found


class _Rows(NamedTuple):
    """The rows of a registry, by their tables, and the datasets that have any."""

    manifests: list[Row]
    links: list[Row]
    tags: list[Row]
    retired: list[Row]
    tombstones: list[Row]
    datasets: list[tuple[str, str]]


def _foreign(path: str) -> Corrupt:
    return foreign_part(path, "a registry")


def refuse_rows(session: Session, where: str) -> None:
    """Refuse a registry that holds any row.

    Raises:
        InvalidInput: E_RESTORE_PLACE.
    """
    if any(session.rows(statement) for statement in sql.ANY_ROW):
        raise InvalidInput.of(
            "E_RESTORE_PLACE",
            "a backup is restored into an empty place only",
            path=where,
            got="a registry with rows",
            fix="name an empty database (or schema)",
        )


def _insert(session: Session, table: str, columns: int, rows: Sequence[Sequence[object]]) -> None:
    one = f"({', '.join('?' * columns)})"
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        if any(len(row) != columns for row in some):
            raise _foreign(f"rows of {table}")
        values = [value for row in some for value in row]
        statement = f"INSERT INTO {table} VALUES {', '.join([one] * len(some))}"  # noqa: S608 - names of ours
        session.run(statement, values)


def restored(registry: Registry) -> Restored | None:
    """What backup the registry was restored from and not proved since."""
    database = registry.settings.database
    if database.version() is None:
        return None
    with database.reading() as session:
        found = session.rows(sql.RESTORED)
    return Restored(Digest(found[0][0]), finished=True) if found else None


def proved(registry: Registry) -> None:
    """A drill proved the registry: take the mark away."""
    with suppress(NoAnswer), registry.settings.database.writing() as session:
        session.run(sql.PROVED)


def asked(registry: Registry) -> Answers:
    """Resolve every tag as readers do, and read the manifest that it names; each manifest once."""
    problems: list[Problem] = []
    read: dict[ManifestHash, bool] = {}
    tags = registry.state().tags
    for namespace, name, version, named, _ in tags:
        reference = f"{namespace}/{name}@{version}"
        resolved = registry.resolve_text(reference)
        if resolved is None or resolved.hash != named:
            problems.append(
                Problem(code="E_REFERENCE_UNKNOWN", message="the tag does not resolve", path=reference)
            )
        elif resolved.hash not in read:
            try:
                read[resolved.hash] = registry.get_manifest(resolved.hash) is not None
            except Corrupt as error:
                problems += error.problems
                read[resolved.hash] = False
    return Answers(
        len(tags) + len(read), "every tag resolved, and the manifest it names read", tuple(problems)
    )
