"""Where promotions come from, read for one command: indexes, registries and files of the commit.

Each source is opened when the first promotion needs it and stays open until the command ends. What is read
is a `Source`; what follows from it is decided elsewhere. The manifest that a registry's revision means is
taken from the same desired state where that declares it, so that a tag and its promotion may come in one
change; else from the registry as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.canonical import parse_strict
from reconciler.desired.promotion import SCHEMA_LIMIT
from reconciler.errors import InvalidInput, Problem
from reconciler.model import Desired, Origin, Promotion, Shard, StoreConfig, Value
from reconciler.reference import Reference
from reconciler.stores.atdata_index import AtdataIndex, IndexEntry, open_index
from reconciler.stores.atproto.dagcbor import Record
from reconciler.stores.atproto.metadata import CHECKSUMS
from reconciler.stores.atproto.resolution import Source, placed
from reconciler.stores.atproto.sample_schema import schema_record
from reconciler.stores.atproto.shards import all_expanded
from reconciler.stores.port import Surroundings

if TYPE_CHECKING:
    from reconciler.stores.registry.registry import Registry

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TAG = "tag"
_MANIFEST = "manifest"
_REGISTRY = "registry"


@dataclass(slots=True)
class PromotionSources:
    """The sources that the promotions of one desired state name, opened as they are needed.

    `resolve` gives the manifest of a registry's revision where the registry itself is not to be opened.
    """

    desired: Desired
    locate: Callable[[StoreConfig], StoreConfig]
    surroundings: Surroundings
    stack: ExitStack
    resolve: Callable[[str, Reference], Value | None] | None = None
    _indexes: dict[str, AtdataIndex] = field(default_factory=dict)
    _registries: dict[str, Registry] = field(default_factory=dict)
    _schemas: dict[str, Record] = field(default_factory=dict)
    _tags: dict[str, dict[str, Value]] = field(default_factory=dict)

    def read_all(
        self, promotions: Sequence[Promotion], problems: list[Problem]
    ) -> Iterator[tuple[Promotion, Source | None]]:
        """Every promotion with its source; None for a version that is withdrawn.

        Args:
            promotions: what is wanted.
            problems: gets what is wrong with a source; such a promotion is left out.

        Raises:
            Unavailable, Corrupt: a source cannot be read.
        """
        self.read_schemas(promotions, problems)
        for promotion in promotions:
            if promotion.origin is None:
                yield promotion, None
                continue
            try:
                source = self.read(promotion.origin)
            except InvalidInput as error:
                problems += placed(error.problems, promotion.place)
            else:
                if source is not None:
                    yield promotion, source

    def read(self, origin: Origin) -> Source | None:
        """What a version comes from; None if its schema file is not one."""
        if origin.index:
            index = self.index(origin.index)
            return self.entry_source(origin.index, index.pinned(origin.entry, origin.cid))
        if origin.schema not in self._schemas:
            return None
        return Source(
            schema=self._schemas[origin.schema],
            shards=all_expanded(origin.urls, where=""),
            provenance=self.revision(origin) if origin.revision else {},
        )

    def entry_source(self, index: str, entry: IndexEntry) -> Source:
        """What an entry of an index holds."""
        where = f"{index}: {entry.schema_ref}"
        if where not in self._schemas:
            document = self.index(index).schema(entry.schema_ref)
            self._schemas[where] = schema_record(document, where=where)
        shards = all_expanded((Shard(url=url) for url in entry.urls), where="")
        return Source(
            schema=self._schemas[where],
            shards=tuple(_hashed(shards, entry.metadata.get(CHECKSUMS))),
            metadata=entry.metadata,
            provenance={"entryCid": entry.cid},
        )

    def index(self, name: str) -> AtdataIndex:
        """An index, opened.

        Raises:
            InvalidInput: E_STORE_UNKNOWN, E_STORE_KIND.
            Unavailable: E_INDEX.
        """
        if name not in self._indexes:
            config = self._config(name, "atdata-index")
            path = Path(self.surroundings.root, str(config.settings["path"]))
            self._indexes[name] = self.stack.enter_context(open_index(path, str(config.settings["path"])))
        return self._indexes[name]

    def _config(self, name: str, kind: str) -> StoreConfig:
        config = self.desired.stores.get(name)
        if config is None:
            raise InvalidInput.of("E_STORE_UNKNOWN", "no such store is declared", got=name)
        if config.kind != kind:
            raise InvalidInput.of("E_STORE_KIND", f"this must be a store of kind {kind}", got=name)
        return self.locate(config)

    def read_schemas(self, promotions: Sequence[Promotion], problems: list[Problem]) -> None:
        """Read the schema files of the commit, each once."""
        paths = {one.origin.schema for one in promotions if one.origin is not None and one.origin.schema}
        for path, data in self.surroundings.blobs(sorted(paths)):
            document: dict[str, Any] = parse_strict(data, where=path, limit=SCHEMA_LIMIT)
            try:
                self._schemas[path] = schema_record(document, where=path)
            except InvalidInput as error:
                problems += error.problems

    def revision(self, origin: Origin) -> Mapping[str, str]:
        """What pins a revision of a registry."""
        reference = Reference.parse(origin.revision)
        store = origin.registry or self._only_registry(origin.revision)
        manifest = self._declared(store).get(str(reference))
        if manifest is None:
            manifest = self._resolved(store, reference)
            if manifest is None:
                raise InvalidInput.of(
                    "E_REVISION_UNKNOWN",
                    f"registry {store} has no such revision",
                    got=origin.revision,
                    fix="tag it first, or name a revision that is there",
                )
        return {"dataset": str(reference), "manifest": str(manifest)}

    def _resolved(self, store: str, reference: Reference) -> Value | None:
        if self.resolve is not None:
            return self.resolve(store, reference)
        found = self._registry(store).resolve(reference)
        return None if found is None else f"sha256:{found.hash}"

    def _declared(self, store: str) -> Mapping[str, Value]:
        """The manifests that the desired state gives the tags of a registry."""
        if store not in self._tags:
            self._tags[store] = {
                one.address.key: one.slots[_MANIFEST]
                for one in self.desired.of_store(store)
                if one.address.kind == _TAG and _MANIFEST in one.slots
            }
        return self._tags[store]

    def _only_registry(self, revision: str) -> str:
        names = sorted(name for name, config in self.desired.stores.items() if config.kind == _REGISTRY)
        if len(names) != 1:
            raise InvalidInput.of(
                "E_STORE_UNKNOWN",
                f"{len(names) or 'no'} registries are declared, so it does not say which one is meant",
                got=revision,
                fix="add store: NAME beside it",
            )
        return names[0]

    def _registry(self, name: str) -> Registry:
        if name not in self._registries:
            from reconciler.stores.registry.store import open_store  # noqa: PLC0415 - the database drivers

            store = open_store(self._config(name, _REGISTRY), self.surroundings)
            self.stack.callback(store.close)
            self._registries[name] = store.registry
        return self._registries[name]


def _hashed(shards: Sequence[Shard], known: object) -> Iterator[Shard]:
    """Shards with the hashes that an index keeps, by URL or by an end of it that no other shard has."""
    hashes = known if isinstance(known, dict) else {}
    by_name: dict[str, list[str]] = {}
    for path in hashes:
        by_name.setdefault(str(path).rpartition("/")[2], []).append(str(path))
    paths = [_named(shard.url, by_name.get(shard.url.rpartition("/")[2], ())) for shard in shards]
    count = Counter(paths)
    for shard, path in zip(shards, paths, strict=True):
        found = hashes.get(path) if count[path] == 1 else None
        yield shard._replace(sha256=found) if isinstance(found, str) and _SHA256.fullmatch(found) else shard


def _named(url: str, paths: Sequence[str]) -> str:
    """The path that names a shard: its whole URL, else an end of it."""
    return url if url in paths else next((path for path in paths if url.endswith(f"/{path}")), "")
