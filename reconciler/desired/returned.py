"""The wish for one store as an earlier commit had it, on top of everything else that a later commit says.

What returns are the documents of that store and the manifest files that they name; every other file is that
of the later commit. A thing that the later commit declares and the earlier one did not must leave the
store, and nothing may leave it in silence: such things get a tombstone each, in a document of their own. What
an omitted line leaves unmanaged (`latest` of a catalog, `dev` of a dataset) is written there as it was
recorded.

Pure, but for what it reads of the two trees. Nothing is written: `patch` makes the text that a person, or
`git apply`, puts into place.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.canonical import sha256_hex
from reconciler.desired.tree import FILE, Tree
from reconciler.errors import InvalidInput
from reconciler.model import Address, Declaration, Desired, Promotion, Slots

_LIMIT: Final = 5_000_000
_NONE: Final = "none"
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Returned:
    """What changes in the desired state: new bytes by path, and the paths that go."""

    files: Mapping[str, bytes]
    gone: frozenset[str]

    @property
    def empty(self) -> bool:
        """Whether the wish already is what it was."""
        return not self.files and not self.gone


def returned(
    store: str,
    then: tuple[Tree, Desired],
    now: tuple[Tree, Desired],
    *,
    tombstones: str,
    recorded: Mapping[Address, Slots],
    reason: str,
) -> Returned:
    """What must change for the wish for a store to be again what it was.

    Args:
        store: the store's name.
        then: the earlier tree and its desired state.
        now: the later ones.
        tombstones: the directory of the documents that get what must leave.
        recorded: what the ledger says the store was like then.
        reason: why things leave; each tombstone says it.

    Raises:
        InvalidInput: E_ROLLBACK_EXISTS, that document is there already.
    """
    wanted = _bytes_of(then[0], _paths(store, then[1]))
    present = _bytes_of(now[0], {*_paths(store, now[1]), *wanted})
    documents = {declaration.place.path for declaration in now[1].of_store(store)}
    documents |= {promotion.place.path for promotion in _promotions(store, now[1])}
    files = {path: data for path, data in wanted.items() if present.get(path) != data}
    gone = frozenset(documents - set(wanted))
    leaving = _leaving(then[1].of_store(store), now[1].of_store(store))
    kind = now[1].stores[store].kind
    if kind == "atproto":
        written = _withdrawn(store, _promotions(store, then[1]), _promotions(store, now[1]), reason)
    else:
        write = _catalogs if kind == "serving" else _datasets
        written = write(store, leaving, recorded, reason)
    added = {f"{tombstones}/{name}": text for name, text in written.items()}
    taken = now[0].find(sorted(added)).entries
    if taken:
        raise InvalidInput.of(
            "E_ROLLBACK_EXISTS",
            "the document of a rollback to this release is there already",
            path=taken[0].path,
            fix="take that rollback back in git first",
        )
    files.update((path, text.encode("utf-8")) for path, text in added.items())
    return Returned(files, gone)


def _paths(store: str, desired: Desired) -> set[str]:
    """The documents of a store, and the files of the commit that they name."""
    promotions = _promotions(store, desired)
    paths = {one.place.path for one in promotions}
    paths |= {one.origin.schema for one in promotions if one.origin is not None and one.origin.schema}
    for declaration in desired.of_store(store):
        paths.add(declaration.place.path)
        source = declaration.source
        # What a promotion declares once its account is open comes from a record, which is no file.
        if source is not None and source in desired.committed and not source.startswith("record:"):
            paths.add(source)
    return paths


def _promotions(store: str, desired: Desired) -> list[Promotion]:
    """What is promoted to a store, and what is withdrawn from it."""
    return [one for one in desired.promotions if one.store == store]


def _bytes_of(tree: Tree, paths: Iterable[str]) -> dict[str, bytes]:
    found = tree.find(sorted(paths)).entries
    return {entry.path: data for entry, data in tree.read(found, _LIMIT)}


def _leaving(then: Sequence[Declaration], now: Sequence[Declaration]) -> dict[Address, Slots]:
    """What is wished for now and was no matter then, neither as a wish nor as a tombstone."""
    known = {declaration.address for declaration in then}
    return {one.address: one.slots for one in now if one.slots and one.address not in known}


def _head(kind: str, store: str) -> list[str]:
    return ["apiVersion: reconciler/v1", f"kind: {kind}", f"store: {store}"]


def _catalogs(
    store: str, leaving: Mapping[Address, Slots], recorded: Mapping[Address, Slots], reason: str
) -> dict[str, str]:
    """One document for what leaves a serving store; none if nothing does."""
    lines: list[str] = []
    datasets = sorted(address.key for address in leaving if address.kind == "dataset")
    if datasets:
        lines.append("removed:")
        lines += [f"  - {{id: {json.dumps(key)}, reason: {json.dumps(reason)}}}" for key in datasets]
    latest = Address(store, "alias", "latest")
    if latest in leaving:
        named = recorded.get(latest, {}).get("dataset")
        lines.append(f"latest: {json.dumps(named) if isinstance(named, str) else _NONE}")
    return {"removed.yaml": "\n".join([*_head("Catalog", store), *lines, ""])} if lines else {}


def _datasets(
    store: str, leaving: Mapping[Address, Slots], recorded: Mapping[Address, Slots], reason: str
) -> dict[str, str]:
    """One document for each dataset of a registry that something leaves."""
    tagged = {
        (address.key.partition("@")[0], slots.get("manifest"))
        for address, slots in leaving.items()
        if address.kind == "tag"
    }
    going: dict[str, list[str]] = {}
    for address in sorted(leaving):
        dataset, _, last = address.key.partition("@")
        if address.kind == "tag" and last not in {"dev", "latest"}:
            going.setdefault(dataset, []).append(f"version: {json.dumps(last)}")
        elif address.kind == "link" and (dataset, last) not in tagged:  # no tag implies it
            going.setdefault(dataset, []).append(f"link: {json.dumps(last)}")
        elif last == "dev":
            going.setdefault(dataset, [])
    documents = {}
    for dataset, removed in going.items():
        namespace, _, name = dataset.partition("/")
        lines = _head("Dataset", store)
        lines += [f"namespace: {json.dumps(namespace)}", f"name: {json.dumps(name)}"]
        lines += ["removed:"] if removed else []
        lines += [f"  - {{{what}, reason: {json.dumps(reason)}}}" for what in removed]
        dev = Address(store, "tag", f"{dataset}@dev")
        if dev in leaving:
            held = recorded.get(dev, {}).get("manifest")
            lines.append(
                f"dev: {{manifest: {json.dumps(held)}}}" if isinstance(held, str) else f"dev: {_NONE}"
            )
        documents[f"{namespace}/{name}.yaml"] = "\n".join([*lines, ""])
    return documents


def _withdrawn(
    store: str, then: Sequence[Promotion], now: Sequence[Promotion], reason: str
) -> dict[str, str]:
    """One document for each promoted dataset of which a version leaves an account."""
    known = {(one.name, one.version) for one in then}
    going: dict[str, list[str]] = {}
    for one in now:
        if one.origin is not None and (one.name, one.version) not in known:
            going.setdefault(one.name, []).append(one.version)
    documents = {}
    for name, versions in sorted(going.items()):
        lines = [*_head("Promotion", store), f"name: {json.dumps(name)}", "removed:"]
        lines += [
            f"  - {{version: {json.dumps(version)}, reason: {json.dumps(reason)}}}"
            for version in sorted(versions)
        ]
        file = name if _FILE_NAME.fullmatch(name) else sha256_hex(name.encode())[:16]
        documents[f"{file}.yaml"] = "\n".join([*lines, ""])
    return documents


# As a patch.


def patch(before: Mapping[str, bytes], change: Returned) -> str:
    """The change as a patch that `git apply` takes.

    Args:
        before: the bytes of the files that change or go, where they exist.
        change: what changes.

    Raises:
        InvalidInput: E_ROLLBACK_BINARY, a file is not text.
    """
    return "".join(
        piece
        for path in sorted({*change.files, *change.gone})
        for piece in _diff(path, before.get(path), change.files.get(path))
    )


def _diff(path: str, before: bytes | None, after: bytes | None) -> Iterator[str]:
    yield f"diff --git a/{path} b/{path}\n"
    if before is None:
        yield f"new file mode {FILE}\n"
    if after is None:
        yield f"deleted file mode {FILE}\n"
    old = "/dev/null" if before is None else f"a/{path}"
    new = "/dev/null" if after is None else f"b/{path}"
    lines = difflib.unified_diff(_lines(before, path), _lines(after, path), old, new)
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(data: bytes | None, path: str) -> list[str]:
    try:
        text = (data or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput.of(
            "E_ROLLBACK_BINARY", "a file that changes is not text, and no patch can say how", path=path
        ) from error
    # Only a newline ends a line for git.
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
