"""From what a live store holds to the documents that would declare it: the way in for a store that exists.

Only what a document can say is written, and only what nobody declares yet. What git decides by a rule of
its own is left out: `latest` of a registry is derived, a link that a tag uses goes without saying, and a
dataset that is published but not listed is nobody's wish. What a document cannot say as it is live (an
entry of a catalog at another place, an alias that is bound to nothing) is left, with the reason.

Nothing here reads a store or writes a file: observations come in, texts go out, equal for equal input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from reconciler.desired.catalog import ALIAS, DATASET, DEFAULT, LATEST
from reconciler.errors import InvalidInput
from reconciler.model import Address, Observed, Slots, StoreConfig, Value
from reconciler.reference import DEV
from reconciler.reference import LATEST as LATEST_TAG

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*", re.ASCII)
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
NO_FILES: Final[Mapping[str, str]] = MappingProxyType({})
_NUMBER: Final = re.compile(r"[0-9_.+eE-]+", re.ASCII)


@dataclass(slots=True)
class Transcript:
    """Documents by path below the directory they are meant for, and what was left out with the reason.

    `manifests` says for a digest where a document finds its bytes; without that it names the digest.
    """

    files: dict[str, str] = field(default_factory=dict)
    declared: int = 0
    left: list[tuple[Address, str]] = field(default_factory=list)
    manifests: Mapping[str, str] = field(default_factory=dict)

    def manifest(self, digest: Value) -> str:
        """A manifest as a document names it, quoted."""
        return json.dumps(self.manifests.get(str(digest), digest))


def transcribe(
    config: StoreConfig,
    observations: Iterable[Observed],
    declared: Iterable[Address],
    *,
    manifests: Mapping[str, str] = NO_FILES,
) -> Transcript:
    """Write the documents that declare what is live in a store and not declared yet.

    Args:
        config: the store; its kind decides the kind of document.
        observations: everything in it, sorted by address.
        declared: addresses that documents declare already.
        manifests: for a digest whose bytes come along as a file: its path, relative to the document.

    Raises:
        InvalidInput: E_STORE_KIND, no document can declare what is in this kind of store.
    """
    if config.kind not in _KINDS:
        raise InvalidInput.of(
            "E_STORE_KIND",
            "nothing can be imported from this kind of store",
            got=config.kind,
            fix=f"name a store of kind {' or '.join(_KINDS)}",
        )
    known = frozenset(declared)
    result = Transcript(manifests=manifests)
    live: dict[Address, Slots] = {}
    for seen in observations:
        if seen.problems:
            result.left.append((seen.address, seen.problems[0].message))
        elif seen.address not in known:
            live[seen.address] = seen.slots
    _KINDS[config.kind](config.name, live, known, result)
    return result


def _scalar(text: str) -> str:
    """A text that every YAML reader takes for this very text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not _NUMBER.fullmatch(text):
        return text
    return json.dumps(text)


def _head(kind: str, store: str) -> list[str]:
    return [
        f"# What store {store} held when 'reconciler import' looked.",
        "apiVersion: reconciler/v1",
        f"kind: {kind}",
        f"store: {store}",
    ]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _serving(
    store: str, live: Mapping[Address, Slots], known: frozenset[Address], result: Transcript
) -> None:
    """One `Catalog` document: every listed dataset, and the aliases that name one."""
    listed: list[str] = []
    named = {address.key for address in known if address.kind == DATASET}
    for address, slots in live.items():
        if address.kind != DATASET:
            continue
        if slots.get("entry") is None:
            result.left.append((address, "it is published, but no catalog lists it"))
        elif slots["entry"] != "listed" or "artifact" not in slots:
            result.left.append((address, f"the catalog has it as {slots['entry']}"))
        else:
            listed.append(_entry(address.key, slots))
            named.add(address.key)
            result.declared += 1
    aliases = dict(_aliases(live, named, result))
    result.declared += len(aliases)
    if not listed and not aliases:
        return
    lines = _head("Catalog", store)
    lines += ["datasets:", *listed] if listed else []
    if set(aliases) == {LATEST}:
        lines.append(f"latest: {_scalar(aliases[LATEST])}")
    elif aliases:
        lines.append("latest:")
        lines += [
            f"  {DEFAULT if key == LATEST else key}: {_scalar(aliases[key])}" for key in sorted(aliases)
        ]
    result.files[f"{store}.yaml"] = _text(lines)


def _entry(key: str, slots: Slots) -> str:
    diffs = slots.get("diffs")
    more = f", diffs: {json.dumps(list(diffs))}" if isinstance(diffs, tuple) and diffs else ""
    return f"  - {{id: {_scalar(key)}, manifest: {json.dumps(slots['artifact'])}{more}}}"


def _aliases(live: Mapping[Address, Slots], named: set[str], result: Transcript) -> Iterator[tuple[str, str]]:
    for address, slots in live.items():
        if address.kind != ALIAS:
            continue
        dataset = slots.get("dataset")
        if not isinstance(dataset, str) or dataset not in named:
            result.left.append((address, f"it names {dataset}, which the catalog does not list"))
        elif slots.get("binding") != "catalog":
            result.left.append((address, "it is not bound to the catalog that is live"))
        else:
            yield address.key, dataset


def _registry(
    store: str, live: Mapping[Address, Slots], known: frozenset[Address], result: Transcript
) -> None:
    """One `Dataset` document for each dataset: versions, `dev`, and links that no tag uses."""
    datasets: dict[str, dict[str, Slots]] = {}
    links: dict[str, list[str]] = {}
    tagged: set[tuple[str, Value | None]] = set()
    for address, slots in live.items():
        dataset, _, last = address.key.rpartition("@")
        if address.kind == "tag" and last != LATEST_TAG:
            datasets.setdefault(dataset, {})[last] = slots
            tagged.add((dataset, slots.get("manifest")))
            result.declared += 1
    for address in known:
        if address.kind == "link":
            dataset, _, last = address.key.rpartition("@")
            tagged.add((dataset, last))
    for address in live:
        dataset, _, last = address.key.rpartition("@")
        if address.kind == "link" and (dataset, last) not in tagged:
            links.setdefault(dataset, []).append(last)
            result.declared += 1
    for dataset in sorted({*datasets, *links}):
        lines = _dataset(store, dataset, datasets.get(dataset, {}), links.get(dataset, []), result)
        result.files[f"{store}/{dataset}.yaml"] = _text(lines)


def _dataset(
    store: str, dataset: str, tags: Mapping[str, Slots], links: Iterable[str], result: Transcript
) -> list[str]:
    namespace, _, name = dataset.partition("/")
    lines = [*_head("Dataset", store), f"namespace: {_scalar(namespace)}", f"name: {_scalar(name)}"]
    versions = {tag: slots for tag, slots in tags.items() if tag != DEV}
    if versions:
        lines.append("versions:")
        for tag, slots in versions.items():
            yanked = ", yanked: true" if slots.get("yanked") else ""
            lines.append(f"  {json.dumps(tag)}: {{manifest: {result.manifest(slots['manifest'])}{yanked}}}")
    written = [f"  - {result.manifest(digest)}" for digest in links]
    lines += ["links:", *written] if written else []
    if DEV in tags:
        lines.append(f"dev: {{manifest: {result.manifest(tags[DEV]['manifest'])}}}")
    return lines


_KINDS: Final[
    Mapping[str, Callable[[str, Mapping[Address, Slots], frozenset[Address], Transcript], None]]
] = {"registry": _registry, "serving": _serving}
"""For each kind of store: what writes its documents."""
