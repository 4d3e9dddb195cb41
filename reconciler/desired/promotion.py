"""`Promotion` documents: the versions of a dataset that are lifted to the repository of an account.

Each version becomes one `Promotion` value: where it comes from, what is said of it, and whether its data
stays where it is. What records follow from it depends on the account and on the source, which only an
open store can tell; so nothing is declared here. A tombstone becomes a `Promotion` without an origin.

A version comes from an entry of an index, pinned by its CID; or from a schema file beside the document and
the URLs of its shards, perhaps with the revision of a registry that they belong to. A revision that moves
(`latest`, `dev`) is refused, because the same commit must always mean the same records.

Documents are collected first; the schema files are read together.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.canonical import parse_strict
from reconciler.desired.draft import Draft, Use
from reconciler.desired.location import relative_path_problem
from reconciler.desired.tree import DIRECTORY, LFS_HEAD, Tree
from reconciler.desired.typed import typed, typed_problems
from reconciler.desired.yaml_guard import Document
from reconciler.errors import InvalidInput, Problem
from reconciler.model import Origin, Place, Promotion, Shard, public_location
from reconciler.reference import DEV, LATEST, Reference
from reconciler.url_secrets import carries_secret

ATPROTO: Final = "atproto"
BUCKET: Final = "bucket"
INDEX: Final = "atdata-index"
REGISTRY: Final = "registry"
LABEL: Final = "label"
SCHEMA_LIMIT: Final = 1_000_000
NAME_LIMIT: Final = 200

_FORMS: Final = (
    frozenset({"index", "entry", "cid"}),
    frozenset({"registry", "schema", "urls"}),
    frozenset({"registry", "store", "schema", "urls"}),
    frozenset({"schema", "urls"}),
)
_FORMS_FIX: Final = "give index, entry and cid; or registry, schema and urls; or schema and urls"


def promoted_name_problem(text: str) -> Problem | None:
    """What is wrong with the name that a dataset is promoted under, or None."""
    if len(text.encode()) > NAME_LIMIT:
        return Problem(
            code="E_RECORD_LIMIT",
            message=f"the name of a dataset has at most {NAME_LIMIT} bytes",
            got=text,
            fix="shorten it",
        )
    if not text or text != text.strip() or any(char in text for char in "/@\n\t"):
        return Problem(
            code="E_PROMOTED_NAME",
            message="readers ask for @ACCOUNT/NAME@VERSION, so a name has no / or @ and no space around it",
            got=text,
            fix="choose another name",
        )
    return None


def add_promotion(document: Document, draft: Draft) -> None:
    """Collect the versions and tombstones of one `Promotion` document."""
    root = document.root
    store, name = _begin(document, draft)
    copy_to = _copy_to(document, draft, store)
    versions: dict[str, Any] = root.get("versions", {})
    places = document.key_places(versions) if versions else []
    for (version, entry), at in zip(versions.items(), places, strict=True):
        place = Place(document.path, *at)
        said = {**root, **entry}
        draft.describe(str(place), entry.get("meta"))
        metadata = entry.get("metadata", {})
        for problem in typed_problems(metadata):
            draft.note(problem, document, ("versions", version, "metadata"))
        _add(
            draft,
            Promotion(
                store=store,
                name=name,
                version=version,
                place=place,
                origin=_origin(document, version, draft),
                metadata=typed(metadata),
                copy_to=copy_to,
                description=said.get("description", ""),
                tags=tuple(said.get("tags", ())),
                license=said.get("license", ""),
            ),
        )
    for index, entry in enumerate(root.get("removed", [])):
        place = Place(document.path, *document.place(("removed", index)))
        draft.describe(str(place), entry.get("meta"))
        withdrawn = Promotion(
            store=store, name=name, version=entry["version"], place=place, reason=entry["reason"]
        )
        _add(draft, withdrawn)


def add_removed_promotion(document: Document, draft: Draft) -> None:
    """Collect the tombstones of a `Promotion` document that is gone."""
    root = document.root
    store, name = _begin(document, draft)
    for index, version in enumerate(root["versions"]):
        place = Place(document.path, *document.place(("versions", index)))
        _add(draft, Promotion(store=store, name=name, version=version, place=place, reason=root["reason"]))


def _begin(document: Document, draft: Draft) -> tuple[str, str]:
    """Note which account and dataset a document is for, and who answers for it."""
    root = document.root
    store, name = str(root["store"]), str(root["name"])
    draft.uses.append(Use(store, ATPROTO, Place(document.path, *document.place(("store",)))))
    draft.scopes.setdefault((store, LABEL), Place(document.path, 1, 1))
    draft.describe(document.path, root.get("meta"))
    draft.note(promoted_name_problem(name), document, ("name",))
    return store, name


def _add(draft: Draft, promotion: Promotion) -> None:
    key = (promotion.store, promotion.name, promotion.version)
    first = draft.promotions.setdefault(key, promotion)
    if first is not promotion:
        draft.refuse(
            "E_DUPLICATE",
            f"the version is named twice, first at {first.place}:{first.place.column}",
            promotion.place,
            got=f"{promotion.name}@{promotion.version}",
            fix="keep one of them",
        )


def _copy_to(document: Document, draft: Draft, store: str) -> str:
    """The store that receives the data; empty where it stays."""
    written = document.root.get("data", "keep")
    if not isinstance(written, dict):
        return ""
    target = str(written["copy"])
    if target != store:
        place = Place(document.path, *document.place(("data", "copy")))
        draft.uses.append(Use(target, BUCKET, place))
    return target


def _origin(document: Document, version: str, draft: Draft) -> Origin:
    """Where a version comes from, in one of the forms that exist."""
    steps = ("versions", version, "from")
    written: dict[str, Any] = document.root["versions"][version]["from"]
    place = Place(document.path, *document.place(steps))
    if frozenset(written) not in _FORMS:
        draft.refuse(
            "E_PROMOTION_FROM",
            "a version comes from one of three things",
            place,
            got=", ".join(sorted(written)),
            fix=_FORMS_FIX,
        )
        return Origin()
    if "index" in written:
        draft.uses.append(
            Use(written["index"], INDEX, Place(document.path, *document.place((*steps, "index"))))
        )
        return Origin(index=written["index"], entry=written["entry"], cid=written["cid"])
    _judge_revision(document, steps, written, draft)
    return Origin(
        registry=written.get("store", ""),
        revision=written.get("registry", ""),
        schema=_schema_path(document, steps, written["schema"], draft),
        urls=tuple(_shards(document, (*steps, "urls"), written["urls"], draft)),
    )


def _judge_revision(
    document: Document, steps: tuple[str, ...], written: Mapping[str, Any], draft: Draft
) -> None:
    text = written.get("registry")
    if text is None:
        return
    place = Place(document.path, *document.place((*steps, "registry")))
    if "store" in written:
        at = Place(document.path, *document.place((*steps, "store")))
        draft.uses.append(Use(written["store"], REGISTRY, at))
    try:
        revision = str(Reference.parse(text).revision)
    except InvalidInput as error:
        problem = error.problems[0]
        draft.refuse(problem.code, problem.message, place, got=problem.got, fix=problem.fix)
        return
    if revision in {LATEST, DEV}:
        draft.refuse(
            "E_REVISION_MOVES",
            "what is promoted is pinned, and this revision moves",
            place,
            got=text,
            fix="write the version or the manifest's hash after @",
        )


def _schema_path(document: Document, steps: tuple[str, ...], text: str, draft: Draft) -> str:
    """The path of a schema file from the repository's root."""
    problem = relative_path_problem(text, "E_SCHEMA_PATH", "a schema file")
    if problem:
        place = Place(document.path, *document.place((*steps, "schema")))
        fix = "name a file beside or below this document"
        draft.refuse(problem.code, problem.message, place, got=problem.got, fix=fix)
        return ""
    path = posixpath.join(posixpath.dirname(document.path), text)
    draft.schema_files.setdefault(path, Place(document.path, *document.place((*steps, "schema"))))
    return path


def _shards(
    document: Document, steps: tuple[str | int, ...], written: list[Any], draft: Draft
) -> Iterator[Shard]:
    for index, item in enumerate(written):
        url = item if isinstance(item, str) else item["url"]
        if carries_secret(url):
            draft.refuse(
                "E_SECRET_IN_CONFIG",
                "a committed URL has no password, signature or token in it",
                Place(document.path, *document.place((*steps, index))),
                got=public_location(url),
                fix="name the data without credentials",
            )
        if "://" not in url or url.startswith("file:"):
            problem = relative_path_problem(url, "E_SOURCE_PATH", "a shard on disk")
            draft.note(problem, document, (*steps, index))
        yield Shard(url=url, sha256="" if isinstance(item, str) else item["sha256"])


def check_promotions(draft: Draft, tree: Tree) -> None:
    """Check that every schema file that a document names is there and is one JSON object."""
    if draft.problems or not draft.schema_files:
        return  # paths are safe to join only when nothing is wrong with them
    listing = tree.find(list(draft.schema_files))
    draft.problems += listing.problems
    entries = [entry for entry in listing.entries if entry.mode != DIRECTORY]
    found = {problem.path for problem in listing.problems} | {entry.path for entry in entries}
    for entry, data in tree.read(entries, SCHEMA_LIMIT):
        problem = _schema_file_problem(data, entry.path)
        if problem:
            draft.problems.append(problem)
        draft.committed.add(entry.path)
    for path, place in draft.schema_files.items():
        if path not in found:
            message = "the commit has no such schema file"
            draft.refuse("E_SCHEMA_MISSING", message, place, got=path, fix="commit the file")


def _schema_file_problem(data: bytes, where: str) -> Problem | None:
    if data.startswith(LFS_HEAD):
        fix = "commit the schema itself"
        message = "the file is a Git LFS pointer, not a schema"
        return Problem(code="E_TREE_LFS", message=message, path=where, fix=fix)
    try:
        document = parse_strict(data, where=where, limit=SCHEMA_LIMIT)
    except InvalidInput as error:
        return error.problems[0]
    if isinstance(document, dict):
        return None
    return Problem(code="E_JSON_ROOT", message="a schema is a JSON object", path=where)
