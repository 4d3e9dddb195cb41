"""A registry behind the port: which database and which objects a configuration names, and what is seen there.

Decides how rows become observations, and where the bytes of a new manifest come from: the file at the
planned commit, never the file on disk. Everything of one commit is one transaction with its ledger record,
so no run is ever left open and there is nothing to recover.

A snapshot is one consistent reading of the rows. A manifest whose object is gone, or (deep) is not what its
hash says, is an observation with problems. Reading writes nothing, and nothing is made before the first
commit.

    store = open_store(config, surroundings)
    for seen in store.snapshot(Selection()): ...
    store.registry.resolve_text("ethereum/mainnet@latest")
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from reconciler.contents import Content, Look
from reconciler.errors import Conflict, Corrupt, InvalidInput, Problem, Unavailable
from reconciler.gc import Collected, Holdings, Judge
from reconciler.ledger import Record, RecordBytes, Run
from reconciler.model import (
    NOTHING,
    Address,
    Change,
    Depth,
    Digest,
    Observed,
    Selection,
    Slots,
    Step,
    StepResult,
    StoreConfig,
)
from reconciler.reference import LATEST, ManifestHash, digest_of
from reconciler.stores.keeping import Answers, Hold, Restored
from reconciler.stores.port import Capabilities, Surroundings
from reconciler.stores.registry import collect, keeping
from reconciler.stores.registry.lookup import Settings
from reconciler.stores.registry.objects import Objects
from reconciler.stores.registry.order import (
    CONTENT,
    LINK,
    LINKED,
    MANIFEST,
    NAMED,
    SHAPE,
    TAG,
    TAGS,
    YANKED,
)
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.s3_access import access_of
from reconciler.stores.registry.session import Database
from reconciler.stores.registry.transaction import Contents, named_by
from reconciler.stores.registry.values import BreakGlass, LatestRule, RegistryState, TagRow

__all__ = ["INTEGRITY", "SHAPE", "RegistryStore", "open_database", "open_store", "scratch"]

INTEGRITY: Final = (
    "rows and ledger are kept as of one transaction and restored in one, after every manifest; "
    "latest is derived again from the versions and compared"
)
"""How what readers find is preserved or rebuilt."""


def scratch(config: StoreConfig, directory: str) -> StoreConfig:
    """The same registry in an empty directory: rows do not say which engine they come from."""
    places = {"database": f"sqlite:{directory}/registry.db", "objects": f"file:{directory}/manifests"}
    return replace(config, settings={**config.settings, **places, "create": True})


_PACKAGE: Final = "reconciler.stores.registry"
_LISTED: Final = 64
"""More manifests than this are looked up in one listing of the objects instead of one by one."""


def open_database(config: StoreConfig, surroundings: Surroundings) -> Database:
    """The database that a configuration names; it need not hold a registry yet.

    Raises:
        InvalidInput: E_URL_SCHEME.
        Unavailable: it cannot be used, or its driver is not installed (E_STORE_DRIVER).
    """
    location = str(config.settings["database"])
    scheme, _, path = location.partition(":")
    timeout = surroundings.lock_timeout
    if scheme == "sqlite":
        return _part("backend_sqlite", "").open_sqlite(str(surroundings.root / path), timeout=timeout)  # type: ignore[no-any-return]
    if scheme in {"postgresql", "postgres"}:
        return _part("backend_postgres", "postgres").open_postgres(location, timeout=timeout)  # type: ignore[no-any-return]
    raise _unknown(config, "database", "sqlite:PATH or postgresql://HOST/NAME")


def open_objects(config: StoreConfig, surroundings: Surroundings) -> Objects:
    """The place of manifests' bytes that a configuration names.

    Raises:
        InvalidInput: E_URL_SCHEME, or E_ENV: the credentials of a bucket are not given.
        Unavailable: E_STORE_DRIVER.
    """
    location = str(config.settings["objects"])
    scheme, _, path = location.partition(":")
    if scheme == "file":
        return _part("objects", "").LocalObjects(str(surroundings.root / path))  # type: ignore[no-any-return]
    if scheme == "s3":
        access = access_of(config, surroundings.variables)
        return _part("objects_s3", "s3").open_s3(location, access)  # type: ignore[no-any-return]
    raise _unknown(config, "objects", "file:PATH or s3://BUCKET/PREFIX")


def _part(module: str, extra: str) -> Any:  # noqa: ANN401 - a module
    """One engine's module, imported when it is needed."""
    try:
        return import_module(f"{_PACKAGE}.{module}")
    except ImportError as error:
        raise Unavailable.of(
            "E_STORE_DRIVER",
            "the library for this kind of location is not installed",
            got=error.name,
            fix=f"pip install 'reconciler[{extra}]'",
        ) from error


def _unknown(config: StoreConfig, setting: str, forms: str) -> InvalidInput:
    # The location itself may come from the environment and hold a secret, so it is not repeated.
    return InvalidInput.of(
        "E_URL_SCHEME",
        f"the {setting} of a registry is {forms}",
        path=config.place.path,
        line=config.place.line,
        fix="correct it",
    )


def open_store(config: StoreConfig, surroundings: Surroundings) -> RegistryStore:
    """Open a registry; nothing is created before the first commit.

    Raises:
        InvalidInput: a location is not one, or E_ENV: the credentials of a bucket are not given.
        Unavailable: E_STORE_MISSING, E_SCHEMA_VERSION, or the database cannot be used.
    """
    settings = Settings(
        name=config.name,
        identity=config.identity,
        database=open_database(config, surroundings),
        objects=open_objects(config, surroundings),
        latest=LatestRule(config.settings.get("latest", "stable")),
        create=config.settings.get("create") in {True, "true"},
    )
    return RegistryStore(config, surroundings, Registry(settings))


def _break_glass(run: Run) -> BreakGlass | None:
    """The permission to move version tags that a run brings."""
    if not run.break_glass:
        return None
    reasons = dict.fromkeys(why for _, why in run.break_glass)
    return BreakGlass("; ".join(reasons), frozenset(address for address, _ in run.break_glass))


def describe_sources(looks: Sequence[Look], surroundings: Surroundings) -> Iterator[tuple[Look, Content]]:
    """What files of the planned commit say of their manifests; no registry is opened."""
    from reconciler.stores.registry.describe import describe  # noqa: PLC0415 - only people ask

    return describe(looks, lambda look: next(iter(surroundings.blobs([look.source])))[1])


class RegistryStore:
    """One registry (see `reconciler.stores.port.Store`)."""

    capabilities = Capabilities(
        serialises_writers=True,
        atomic_units=True,
        deletes_content=True,
        survives_reopen=True,
        collects=True,
        describes=True,
        keeps=True,
        keeps_packets=True,
    )

    def __init__(self, config: StoreConfig, surroundings: Surroundings, registry: Registry) -> None:
        self.config = config
        self.registry = registry
        self._surroundings = surroundings

    def revision(self) -> str:
        """A token over the rows and the ledger's head."""
        return self.registry.revision()

    def snapshot(self, selection: Selection) -> Iterator[Observed]:
        """What is selected, sorted by address, from one reading.

        Raises:
            Unavailable: the database or the objects cannot be read.
        """
        return self._observed(self.registry.state(), selection)

    def history(self) -> Iterator[Record]:
        """The ledger, oldest first, its chain checked.

        Raises:
            Corrupt: E_LEDGER_CHAIN.
        """
        return self.registry.history()

    def commit(self, steps: Sequence[Step], run: Run) -> tuple[StepResult, ...]:
        """Do the steps in one transaction and record them (see the port).

        Raises:
            Conflict, Corrupt, Denied, InvalidInput, Unavailable: no row was written.
        """
        changes = _changes(steps)
        sources = {address: source for step in steps for address, source in step.sources.items()}
        self._check_base(steps)
        if any(change.after is not None and _is_checked_first(change) for change in changes):
            # Objects are put before the transaction: a plan that cannot be done must not put any.
            self._check_before(changes)
            self._check_contents(changes, sources)
        return self.registry.commit(
            steps,
            run,
            contents=self._contents(sources) if sources else None,
            break_glass=_break_glass(run),
        )

    def recover(self) -> None:
        """Nothing: a killed transaction leaves nothing behind."""
        return

    def close(self) -> None:
        """Let go of the connections."""
        self.registry.close()

    # Evidence

    def documents(self, seq: int) -> RecordBytes | None:
        """The two documents of a record (see the port)."""
        return self.registry.documents(seq)

    def packet(self, seq: int) -> bytes | None:
        """The packet that is kept for a release (see the port)."""
        return self.registry.packet(seq)

    def keep_packet(self, seq: int, packet: bytes) -> None:
        """Keep a packet in a row of its own (see the port)."""
        self.registry.keep_packet(seq, packet)

    # Garbage collection

    def holdings(self) -> Holdings:
        """Every manifest with what keeps it (see `reconciler.stores.registry.collect`)."""
        return collect.holdings(self.registry)

    def collect(self, judge: Judge, run: Run) -> Collected:
        """Remove the manifests that are garbage under the lock, and the objects of those buried."""
        return collect.collect(self.registry, judge, run)

    def describe(self, looks: Sequence[Look]) -> Iterator[tuple[Look, Content]]:
        """What is inside of manifests, of those registered and of those the planned commit would bring."""
        from reconciler.stores.registry.describe import describe  # noqa: PLC0415 - only people ask

        def content(look: Look) -> bytes:
            manifest = ManifestHash(look.address.key[-64:])
            return self._contents({look.address: look.source} if look.source else {})(manifest)

        return describe(looks, content)

    # Backups (see `reconciler.stores.registry.keeping`)

    @contextmanager
    def reading(self, _hold: Hold) -> Iterator[keeping.RegistryReading]:
        """Everything durable, read in one transaction."""
        yield keeping.RegistryReading(self.registry)

    @contextmanager
    def restoring(self, backup: Digest) -> Iterator[keeping.RegistryRestoring]:
        """Take a backup back into an empty database and empty objects."""
        yield keeping.RegistryRestoring(self.registry, backup)

    def restored(self) -> Restored | None:
        """What backup the registry was restored from and not proved since."""
        return keeping.restored(self.registry)

    def answers(self) -> Answers:
        """Resolve every tag, and read the manifest that it names."""
        return keeping.asked(self.registry)

    def proved(self) -> None:
        """Take the mark of the restore away."""
        keeping.proved(self.registry)

    # Observing

    def _observed(self, state: RegistryState, selection: Selection) -> Iterator[Observed]:
        """The things of one reading, with what is wrong with the objects of manifests."""
        objects, depth = self.registry.settings.objects, selection.depth
        kept = self._listed(state, selection)

        def problems(manifest: ManifestHash) -> tuple[Problem, ...]:
            if depth is Depth.HEADS or manifest in kept:
                return ()
            return _object_problems(objects, manifest, depth)

        return _things(self.config.name, state, selection.addresses, problems)

    def _listed(self, state: RegistryState, selection: Selection) -> AbstractSet[str]:
        """The objects that are there, where so many are asked for that one listing costs less."""
        name, wanted = self.config.name, selection.addresses
        if selection.depth is not Depth.MANIFESTS:
            return frozenset()
        asked = (one for one in state.manifests if wanted is None or _manifest(name, one) in wanted)
        if next(islice(asked, _LISTED, None), None) is None:
            return frozenset()
        return self.registry.settings.objects.hashes()

    # Writing

    def _check_base(self, steps: Sequence[Step]) -> None:
        """A step that was computed from the whole registry needs it unchanged.

        Raises:
            Conflict: E_CONFLICT.
        """
        bases = {step.base for step in steps if step.base is not None}
        if bases and bases != {self.registry.revision()}:
            raise Conflict.of("E_CONFLICT", "the registry moved", path=self.config.name, fix="plan again")

    def _check_before(self, changes: Sequence[Change]) -> None:
        """Compare every `before` with what is there now; a yank also hangs on the version that it is for.

        Raises:
            Conflict: E_CONFLICT.
        """
        addresses = frozenset(change.address for change in changes)
        selection = Selection(addresses=addresses, depth=Depth.HEADS)
        live = {seen.address: seen.slots for seen in self.snapshot(selection)}
        problems = [
            Problem(
                code="E_CONFLICT",
                path=str(change.address),
                message=f"its {change.slot} is not what the plan saw ({change.before or 'absent'})",
                got=str(seen or "absent"),
                fix="plan again",
            )
            for change in changes
            if (seen := live.get(change.address, NOTHING).get(change.slot)) != change.before
        ]
        tagged = {change.address for change in changes if change.slot == NAMED and change.after is not None}
        problems += [
            Problem(
                code="E_CONFLICT",
                path=str(change.address),
                message="the version that is to be yanked is not there (any more)",
                got="absent",
                fix="plan again",
            )
            for change in changes
            if change.slot == YANKED
            and change.after is not None
            and NAMED not in live.get(change.address, NOTHING)
            and change.address not in tagged
        ]
        if problems:
            raise Conflict(problems)

    def _check_contents(self, changes: Sequence[Change], sources: Mapping[Address, str]) -> None:
        """Read the bytes of every manifest that is registered or linked, and compare them with its hash.

        Raises:
            InvalidInput: E_MANIFEST_CONTENT or E_MANIFEST_HASH, a source does not give them.
            Corrupt: E_MANIFEST_HASH or E_MANIFEST_OBJECT, the objects do not.
        """
        objects = self.registry.settings.objects
        contents = self._contents(sources)
        registered = {c.address.key for c in changes if c.address.kind == MANIFEST and c.after is not None}
        for digest in sorted(registered):
            named_by(ManifestHash(digest[-64:]), contents(ManifestHash(digest[-64:])))
        linked = {c.address.key[-71:] for c in changes if c.address.kind == LINK and c.after is not None}
        for digest in sorted(linked - registered):
            problems = _object_problems(objects, ManifestHash(digest[-64:]), Depth.DEEP)
            if problems and self.registry.has_manifest(ManifestHash(digest[-64:])):
                raise Corrupt(problems)

    def _contents(self, sources: Mapping[Address, str]) -> Contents:
        """Gives the bytes of manifests from the planned commit, streamed in the order of their hashes."""
        paths = {ManifestHash(address.key[-64:]): source for address, source in sorted(sources.items())}
        objects = self.registry.settings.objects
        stream = zip(paths, self._surroundings.blobs(list(paths.values())), strict=True)

        def contents(manifest: ManifestHash) -> bytes:
            if manifest in paths:
                for found, (_, content) in stream:
                    if found == manifest:
                        return content
                return next(iter(self._surroundings.blobs([paths[manifest]])))[1]
            kept = objects.get(manifest)
            if kept is None:
                raise InvalidInput.of(
                    "E_MANIFEST_CONTENT",
                    "no file of the commit holds the bytes of this manifest",
                    got=digest_of(manifest),
                    fix="name its file in the Dataset document",
                )
            return kept

        return contents


def _is_checked_first(change: Change) -> bool:
    return change.address.kind in {MANIFEST, LINK} or change.slot == YANKED


def _changes(steps: Sequence[Step]) -> list[Change]:
    return [change for step in steps for change in step.changes]


def _things(
    store: str,
    state: RegistryState,
    wanted: AbstractSet[Address] | None,
    problems: Callable[[ManifestHash], tuple[Problem, ...]],
) -> Iterator[Observed]:
    """What the rows say of the addresses that are wanted, sorted by address: links, manifests, tags.

    A slot is made when it is asked for: there may be very many, and each is looked at once. `problems` says
    what is wrong with the object of a manifest.
    """
    users: dict[tuple[str, str, ManifestHash], list[str]] = defaultdict(list)
    tags: list[tuple[str, TagRow]] = []
    for tag in state.tags:
        namespace, name, version, manifest, _ = tag
        key = f"{namespace}/{name}@{version}"
        tags.append((key, tag))
        if version != LATEST:
            users[namespace, name, manifest].append(key)
    links = [(f"{row[0]}/{row[1]}@{digest_of(row[2])}", row) for row in state.links]
    for key, link in sorted(links, key=itemgetter(0)):
        address = Address(store, LINK, key)
        if wanted is None or address in wanted:
            names = users.get(link)
            of_link: Slots = {LINKED: LINKED, TAGS: tuple(sorted(names))} if names else {LINKED: LINKED}
            yield Observed(address, of_link)
    for one in sorted(state.manifests):
        address = _manifest(store, one)
        if wanted is None or address in wanted:
            yield Observed(address, {CONTENT: address.key}, problems(one))
    for key, (_, _, _, named, yanked) in sorted(tags, key=itemgetter(0)):
        address = Address(store, TAG, key)
        if wanted is None or address in wanted:
            digest = digest_of(named)
            yield Observed(address, {NAMED: digest, YANKED: YANKED} if yanked else {NAMED: digest})


def _manifest(store: str, manifest: ManifestHash) -> Address:
    return Address(store, MANIFEST, digest_of(manifest))


def _object_problems(objects: Objects, manifest: ManifestHash, depth: Depth) -> tuple[Problem, ...]:
    """What is wrong with the object of a registered manifest."""
    try:
        there = objects.get(manifest) is not None if depth is Depth.DEEP else objects.exists(manifest)
    except Corrupt as error:
        return error.problems
    if there:
        return ()
    return (
        Problem(
            code="E_MANIFEST_OBJECT",
            path=objects.where,
            message="the manifest is registered, and its object is gone",
            got=digest_of(manifest),
            fix="register the same bytes again, or restore the object from a backup",
        ),
    )
