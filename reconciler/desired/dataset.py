"""`Dataset` documents: the manifests that a registry holds for one dataset, and where its tags point.

Each version becomes the wish for ``tag/ns/name@VERSION`` (slots `manifest`, `yanked`) and implies two
more: that the manifest is registered (``manifest/sha256:…``, slot `content`) and linked to the dataset
(``link/ns/name@sha256:…``, slot `linked`). `dev` and the entries of `links` imply the same. What is implied
needs no tombstone: a link goes with the last tag that named it, a manifest only by garbage collection.

A manifest is named by digest, or as a file beside the document; the file's exact bytes at the same commit
are its identity, so it is read here (strictly, as JSON) before anything can be declared. `latest` follows
from the versions by the store's rule: writing it is an assertion, checked here against what is declared
and again by the plan and the store against what is live.

Documents are collected first and declared together, so that every manifest file is read once.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.canonical import parse_strict, sha256_digest
from reconciler.desired.draft import Assertion, Draft, Named, Pin, Use
from reconciler.desired.location import relative_path_problem
from reconciler.desired.tree import DIRECTORY, LFS_HEAD, Tree
from reconciler.desired.yaml_guard import Document
from reconciler.errors import InvalidInput, Problem
from reconciler.model import NOTHING, Address, Declaration, Place, Value, digest_problem
from reconciler.reference import DEV, LATEST, DatasetName, Version, parse_version

STORE_KIND: Final = "registry"
MANIFEST: Final = "manifest"
LINK: Final = "link"
TAG: Final = "tag"
YANKED: Final = "yanked"
LINKED: Final = "linked"
NONE: Final = "none"
MANIFEST_LIMIT: Final = 5_000_000

_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def dataset_name_problem(namespace: str, name: str) -> Problem | None:
    """What is wrong with a namespace or a name, or None."""
    try:
        DatasetName.of(namespace, name)
    except InvalidInput as error:
        return error.problems[0]
    return None


def add_dataset(document: Document, draft: Draft) -> None:
    """Collect one `Dataset` document; `declare_datasets` makes declarations of it."""
    root = document.root
    store, dataset = _begin(document, draft)
    pins = {pin.tag: pin for pin in _versions(document, draft, store, dataset)}
    for pin in _yanked(document, draft, store, dataset):
        first = pins.get(pin.tag)
        if first is None or pin.manifest is not None or first.yanked:
            draft.pins.append(pin)
        else:
            pins[pin.tag] = Pin(store, dataset, pin.tag, first.manifest, first.place, yanked=True)
    draft.pins += pins.values()
    for index, text in enumerate(root.get("links", [])):
        place = Place(document.path, *document.place(("links", index)))
        named = _named(text, place, document, draft, ("links", index))
        draft.pins.append(Pin(store, dataset, "", named, place))
    _add_removed(document, draft, store, dataset)
    _add_dev(document, draft, store, dataset)
    if LATEST in root:
        place = Place(document.path, *document.place((LATEST,), key=True))
        draft.assertions.append(Assertion(store, dataset, root[LATEST], place))


def add_removed_dataset(document: Document, draft: Draft) -> None:
    """Collect the tombstones of a `Dataset` document that is gone."""
    root = document.root
    store, dataset = _begin(document, draft)
    reason = root["reason"]
    for index, text in enumerate(root["versions"]):
        place = Place(document.path, *document.place(("versions", index)))
        _judge_version(text, place, draft)
        draft.declare(Declaration(Address(store, TAG, f"{dataset}@{text}"), NOTHING, place, reason=reason))
    for index, text in enumerate(root.get("links", [])):
        place = Place(document.path, *document.place(("links", index)))
        draft.declare(Declaration(Address(store, LINK, f"{dataset}@{text}"), NOTHING, place, reason=reason))
    if DEV in root:
        place = Place(document.path, *document.place((DEV,), key=True))
        draft.declare(Declaration(Address(store, TAG, f"{dataset}@{DEV}"), NOTHING, place, reason=reason))


def _begin(document: Document, draft: Draft) -> tuple[str, str]:
    """Note which store and dataset a document is for, and who answers for it."""
    root = document.root
    store, namespace, name = (str(root[key]) for key in ("store", "namespace", "name"))
    place = Place(document.path, *document.place(("store",)))
    draft.uses.append(Use(store, STORE_KIND, place))
    draft.scopes.setdefault((store, TAG), Place(document.path, 1, 1))
    draft.describe(document.path, root.get("meta"))
    draft.note(dataset_name_problem(namespace, name), document, ("name",))
    return store, f"{namespace}/{name}"


def _versions(document: Document, draft: Draft, store: str, dataset: str) -> Iterator[Pin]:
    versions: dict[str, Any] = document.root.get("versions", {})
    places = document.key_places(versions) if versions else []
    for (text, entry), (line, column) in zip(versions.items(), places, strict=True):
        place = Place(document.path, line, column)
        _judge_version(text, place, draft)
        named = _named(entry["manifest"], place, document, draft, ("versions", text, "manifest"))
        if "meta" in entry:
            draft.describe(str(place), entry["meta"])
        yield Pin(store, dataset, text, named, place, yanked=_true(entry.get(YANKED)))


def _yanked(document: Document, draft: Draft, store: str, dataset: str) -> Iterator[Pin]:
    for index, entry in enumerate(document.root.get(YANKED, [])):
        place = Place(document.path, *document.place((YANKED, index)))
        _judge_version(entry["version"], place, draft)
        named = None
        if "manifest" in entry:
            named = _named(entry["manifest"], place, document, draft, (YANKED, index, "manifest"))
        draft.describe(str(place), entry.get("meta") or {"reason": entry["reason"]})
        yield Pin(store, dataset, entry["version"], named, place, yanked=True)


def _add_removed(document: Document, draft: Draft, store: str, dataset: str) -> None:
    for index, entry in enumerate(document.root.get("removed", [])):
        place = Place(document.path, *document.place(("removed", index)))
        draft.describe(str(place), entry.get("meta"))
        if "version" in entry:
            kind, text = TAG, entry["version"]
            _judge_version(text, place, draft)
        else:
            kind, text = LINK, entry["link"]
            draft.note(digest_problem(text), document, ("removed", index, "link"))
        address = Address(store, kind, f"{dataset}@{text}")
        draft.declare(Declaration(address, NOTHING, place, reason=entry["reason"]))


def _add_dev(document: Document, draft: Draft, store: str, dataset: str) -> None:
    written = document.root.get(DEV)
    if written is None:
        return
    place = Place(document.path, *document.place((DEV,), key=True))
    if written == NONE:
        draft.declare(Declaration(Address(store, TAG, f"{dataset}@{DEV}"), NOTHING, place, reason=""))
        return
    draft.describe(str(place), written.get("meta"))
    named = _named(written["manifest"], place, document, draft, (DEV, "manifest"))
    draft.pins.append(Pin(store, dataset, DEV, named, place))


def _true(written: object) -> bool:
    return written in (True, "true")


def _judge_version(text: str, place: Place, draft: Draft) -> Version | None:
    """The version, or None and a problem in the draft."""
    try:
        return parse_version(text)
    except InvalidInput as error:
        problem = error.problems[0]
        draft.refuse(problem.code, problem.message, place, got=problem.got, fix=problem.fix)
        return None


def _named(text: str, place: Place, document: Document, draft: Draft, steps: tuple[str | int, ...]) -> Named:
    """A manifest as it is named; a file's path becomes one from the repository's root."""
    if ":" in text or _HEX.fullmatch(text):
        problem = digest_problem(text)
    else:
        problem = relative_path_problem(text, "E_MANIFEST_PATH", "a manifest")
    if problem:
        fix = (
            problem.fix if problem.code != "E_MANIFEST_PATH" else "name a file beside or below this document"
        )
        exact = Place(document.path, *document.place(steps))
        draft.refuse(problem.code, problem.message, exact, got=problem.got, fix=fix)
    if ":" in text:
        return Named(text, place)
    return Named(posixpath.join(posixpath.dirname(document.path), text), place)


def declare_datasets(draft: Draft, tree: Tree) -> None:
    """Read the manifest files that the documents name, and declare what the documents want."""
    if draft.problems:
        return  # paths and names are safe to join only when nothing is wrong with them
    digests = _digests(draft, tree)
    for pin in draft.pins:
        digest, source = None, None
        if pin.manifest is not None:
            digest = pin.manifest.text
            if pin.manifest.is_file:
                source, digest = digest, digests.get(digest)
            if digest is None:
                continue  # the file's problem is noted
        _declare(pin, digest, source, draft)
    for assertion in draft.assertions:
        _declare_latest(assertion, draft)


def _digests(draft: Draft, tree: Tree) -> dict[str, str]:
    """The digest of every manifest file; a file that is not one is a problem where it is named."""
    files: dict[str, Named] = {}
    for pin in draft.pins:
        if pin.manifest is not None and pin.manifest.is_file:
            files.setdefault(pin.manifest.text, pin.manifest)
    if not files:
        return {}
    listing = tree.find(list(files))
    draft.problems += listing.problems
    refused = {problem.path for problem in listing.problems}
    entries = [entry for entry in listing.entries if entry.mode != DIRECTORY]
    digests: dict[str, str] = {}
    for entry, data in tree.read(entries, MANIFEST_LIMIT):
        problem = manifest_problem(data, entry.path)
        if problem is None:
            digests[entry.path] = sha256_digest(data)
            draft.committed.add(entry.path)
        else:
            refused.add(entry.path)
            draft.problems.append(problem)
    for path, named in files.items():
        if path not in digests and path not in refused:
            message = "the commit has no such manifest file"
            fix = "commit the file, or name a digest that the registry holds"
            draft.refuse("E_MANIFEST_MISSING", message, named.place, got=path, fix=fix)
    return digests


def manifest_problem(data: bytes, where: str) -> Problem | None:
    """What is wrong with the bytes of a manifest, or None: it is one JSON object, read strictly."""
    if data.startswith(LFS_HEAD):
        return Problem(
            code="E_TREE_LFS",
            message="the file is a Git LFS pointer, not a manifest",
            path=where,
            fix="commit the manifest itself",
        )
    try:
        document = parse_strict(data, where=where, limit=MANIFEST_LIMIT)
    except InvalidInput as error:
        return error.problems[0]
    if isinstance(document, dict):
        return None
    return Problem(code="E_JSON_ROOT", message="a manifest is a JSON object", path=where)


def _declare(pin: Pin, digest: str | None, source: str | None, draft: Draft) -> None:
    """Declare a tag or a link, and what it implies."""
    if pin.tag:
        slots: dict[str, Value] = {} if digest is None else {MANIFEST: digest}
        if pin.tag != DEV:
            # An empty list is the wish for an absent slot: a yank by hand of a released version is drift.
            slots[YANKED] = YANKED if pin.yanked else ()
        draft.declare(Declaration(Address(pin.store, TAG, f"{pin.dataset}@{pin.tag}"), slots, pin.place))
    if digest is None:
        return
    link = Address(pin.store, LINK, f"{pin.dataset}@{digest}")
    if not pin.tag:
        first = draft.explicit_links.setdefault(link, pin.place)
        if first is not pin.place:
            message = f"the manifest is linked twice, first at {first}"
            draft.refuse("E_DUPLICATE", message, pin.place, got=digest, fix="keep one of them")
    linked = draft.declarations.get(link)
    if linked is None:
        draft.declarations[link] = Declaration(link, {LINKED: LINKED}, pin.place)
    elif not linked.slots:
        draft.refuse(
            "E_DUPLICATE",
            f"the link is removed at {linked.place} and still needed here",
            pin.place,
            got=link.key,
            fix="drop the tombstone, or the tag that needs the link",
        )
    content = Address(pin.store, MANIFEST, digest)
    known = draft.declarations.get(content)
    if known is None or (known.source is None and source is not None):
        draft.declarations[content] = Declaration(content, {"content": digest}, pin.place, source)


def _declare_latest(assertion: Assertion, draft: Draft) -> None:
    """Declare what latest must be; the rule itself is checked by `check_datasets`."""
    address = Address(assertion.store, TAG, f"{assertion.dataset}@{LATEST}")
    if assertion.version == NONE:
        draft.declare(Declaration(address, NOTHING, assertion.place, reason=""))
        return
    wish = draft.declarations.get(Address(assertion.store, TAG, f"{assertion.dataset}@{assertion.version}"))
    if wish is None or MANIFEST not in wish.slots:
        draft.refuse(
            "E_LATEST",
            "latest is asserted to be a version that no document of the dataset declares",
            assertion.place,
            got=assertion.version,
            fix="list the version, or leave latest out: the store derives it",
        )
        return
    draft.declare(Declaration(address, {MANIFEST: wish.slots[MANIFEST]}, assertion.place))


def check_datasets(draft: Draft) -> None:
    """Check what only all documents together can tell about versions and latest."""
    datasets: dict[tuple[str, str], list[tuple[Version, Declaration]]] = {}
    for address, wish in draft.declarations.items():
        dataset, _, tag = address.key.partition("@")
        if address.kind == TAG and wish.slots and tag not in {DEV, LATEST}:
            version = _judge_version(tag, wish.place, draft)
            if version is not None:
                datasets.setdefault((address.store, dataset), []).append((version, wish))
    for versions in datasets.values():
        _check_builds(versions, draft)
    if draft.problems:
        return
    for assertion in draft.assertions:
        wishes = datasets.get((assertion.store, assertion.dataset), [])
        config = draft.stores.get(assertion.store)
        _check_latest(assertion, wishes, config.settings if config else {}, draft)


def _check_builds(versions: Iterable[tuple[Version, Declaration]], draft: Draft) -> None:
    seen: dict[str, tuple[Version, Declaration]] = {}
    for version, wish in versions:
        first, earlier = seen.setdefault(version.precedence, (version, wish))
        if first is not version:
            draft.refuse(
                "E_VERSION_BUILD",
                f"the version differs from {first} at {earlier.place} only in build metadata",
                wish.place,
                got=version.text,
                fix="keep one of them: neither comes before the other",
            )


def _check_latest(
    assertion: Assertion,
    versions: Iterable[tuple[Version, Declaration]],
    settings: Mapping[str, Any],
    draft: Draft,
) -> None:
    """Compare an assertion with the rule over what is declared."""
    highest = settings.get(LATEST, "stable") == "highest"
    eligible = [
        version
        for version, wish in versions
        if wish.slots.get(YANKED) != YANKED and (highest or not version.prerelease)
    ]
    derived = max(eligible, key=lambda version: version.precedence).text if eligible else NONE
    if derived != assertion.version:
        draft.refuse(
            "E_LATEST",
            f"latest will be {derived} by the store's rule",
            assertion.place,
            got=assertion.version,
            fix=f"write 'latest: {derived}', or leave it out",
        )
