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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from reconciler.canonical import parse_strict, sha256_digest
from reconciler.desired.draft import Assertion, Draft, Pin, Use, truth
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
PROTECTED: Final = "protected"
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
        if first is None or pin.digest is not None or pin.file is not None or first.yanked:
            draft.pins.append(pin)
        else:
            shielded = first.protected if pin.protected is None else pin.protected
            pins[pin.tag] = first._replace(yanked=True, protected=shielded)
    draft.pins += pins.values()
    for index, text in enumerate(root.get("links", [])):
        place = Place(document.path, *document.place(("links", index)))
        digest, file = _named(text, document, draft, ("links", index))
        draft.pins.append(Pin(store, dataset, "", place, digest, file))
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
        version = _judge_version(text, place, draft)
        digest, file = entry["manifest"], None
        if digest_problem(digest) is not None:  # a file's path, or a mistake
            digest, file = _named(digest, document, draft, ("versions", text, "manifest"))
        if len(entry) == 1:  # nearly every version of a large dataset is its manifest alone
            yield Pin(store, dataset, text, place, digest, file, version)
            continue
        if "meta" in entry:
            draft.describe(str(place), entry["meta"])
        withdrawn, shielded = bool(truth(entry.get(YANKED))), truth(entry.get(PROTECTED))
        yield Pin(store, dataset, text, place, digest, file, version, withdrawn, shielded)


def _yanked(document: Document, draft: Draft, store: str, dataset: str) -> Iterator[Pin]:
    for index, entry in enumerate(document.root.get(YANKED, [])):
        place = Place(document.path, *document.place((YANKED, index)))
        version = _judge_version(entry["version"], place, draft)
        digest, file = None, None
        if "manifest" in entry:
            digest, file = _named(entry["manifest"], document, draft, (YANKED, index, "manifest"))
        draft.describe(str(place), entry.get("meta") or {"reason": entry["reason"]})
        draft.withdraw(Address(store, TAG, f"{dataset}@{entry['version']}"), entry, place)
        shielded = truth(entry.get(PROTECTED))
        yield Pin(store, dataset, entry["version"], place, digest, file, version, True, shielded)


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
    digest, file = _named(written["manifest"], document, draft, (DEV, "manifest"))
    draft.pins.append(Pin(store, dataset, DEV, place, digest, file))


def _judge_version(text: str, place: Place, draft: Draft) -> Version | None:
    """The version, or None and a problem in the draft."""
    try:
        return parse_version(text)
    except InvalidInput as error:
        problem = error.problems[0]
        draft.refuse(problem.code, problem.message, place, got=problem.got, fix=problem.fix)
        return None


def _named(
    text: str, document: Document, draft: Draft, steps: tuple[str | int, ...]
) -> tuple[str | None, str | None]:
    """The digest of a manifest as it is named, or its file's path from the repository's root."""
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
        return text, None
    return None, posixpath.join(posixpath.dirname(document.path), text)


def declare_datasets(draft: Draft, tree: Tree) -> None:
    """Read the manifest files that the documents name, and declare what the documents want."""
    if draft.problems:
        return  # paths and names are safe to join only when nothing is wrong with them
    digests = _digests(draft, tree)
    implied: set[tuple[str, str, str]] = set()
    for pin in draft.pins:
        digest = pin.digest if pin.file is None else digests.get(pin.file)
        if digest is None and pin.file is not None:
            continue  # the file's problem is noted
        _declare(pin, digest, draft, implied)
    for assertion in draft.assertions:
        _declare_latest(assertion, draft)


def _digests(draft: Draft, tree: Tree) -> dict[str, str]:
    """The digest of every manifest file; a file that is not one is a problem where it is named."""
    files: dict[str, Place] = {}
    for pin in draft.pins:
        if pin.file is not None:
            files.setdefault(pin.file, pin.place)
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
    for path, place in files.items():
        if path not in digests and path not in refused:
            message = "the commit has no such manifest file"
            fix = "commit the file, or name a digest that the registry holds"
            draft.refuse("E_MANIFEST_MISSING", message, place, got=path, fix=fix)
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


def _declare(pin: Pin, digest: str | None, draft: Draft, implied: set[tuple[str, str, str]]) -> None:
    """Declare a tag or a link, and what it implies; `implied` is what earlier tags did already."""
    store, dataset, tag, place, _, file, _, yanked, protected = pin
    if tag:
        slots: dict[str, Value] = {} if digest is None else {MANIFEST: digest}
        if tag != DEV:
            # An empty list is the wish for an absent slot: a yank by hand of a released version is drift.
            slots[YANKED] = YANKED if yanked else ()
        address = Address(store, TAG, f"{dataset}@{tag}")
        draft.declare(Declaration(address, slots, place, None, None, protected))
    if digest is None:
        return
    known = store, dataset, digest
    if known in implied and tag and file is None:
        return  # nearly every version of a dataset that names one manifest again and again
    _declare_implied(pin, digest, draft)
    if not draft.problems:
        implied.add(known)


def _declare_implied(pin: Pin, digest: str, draft: Draft) -> None:
    """Declare the link and the manifest that a tag or a link needs."""
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
    if known is None or (known.source is None and pin.file is not None):
        draft.declarations[content] = Declaration(content, {"content": digest}, pin.place, pin.file)


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
    datasets: dict[tuple[str, str], list[tuple[Version, Pin]]] = {}
    for pin in draft.pins:
        if pin.version is not None:
            datasets.setdefault((pin.store, pin.dataset), []).append((pin.version, pin))
    for versions in datasets.values():
        _check_builds(versions, draft)
    if draft.problems:
        return
    for assertion in draft.assertions:
        wishes = datasets.get((assertion.store, assertion.dataset), [])
        config = draft.stores.get(assertion.store)
        _check_latest(assertion, wishes, config.settings if config else {}, draft)


def _check_builds(versions: Sequence[tuple[Version, Pin]], draft: Draft) -> None:
    if len({version.precedence for version, _ in versions}) == len(versions):
        return
    seen: dict[str, tuple[Version, Pin]] = {}
    for version, pin in versions:
        first, earlier = seen.setdefault(version.precedence, (version, pin))
        if first.text != version.text:
            draft.refuse(
                "E_VERSION_BUILD",
                f"the version differs from {first} at {earlier.place} only in build metadata",
                pin.place,
                got=version.text,
                fix="keep one of them: neither comes before the other",
            )


def _check_latest(
    assertion: Assertion,
    versions: Iterable[tuple[Version, Pin]],
    settings: Mapping[str, Any],
    draft: Draft,
) -> None:
    """Compare an assertion with the rule over what is declared."""
    highest = settings.get(LATEST, "stable") == "highest"
    eligible = [
        version for version, pin in versions if not pin.yanked and (highest or not version.prerelease)
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
