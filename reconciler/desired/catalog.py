"""`Catalog` and `Removed` documents: what a serving store may discover, and what must leave it.

Each listed dataset becomes the wish for ``dataset/R/P/A``: the slot `artifact` is the digest of its
manifest, the slot `entry` says that the catalog lists it. A tombstone is the wish that nothing stands
there: the entry goes, while the published artifacts stay until garbage collection. `latest` becomes the
wish for ``alias/latest`` (and ``alias/SPECIES/ASSEMBLY``), and is not managed where it is not written.

Several documents may name one store; they are merged by address. Nothing here reads a file.
"""

from __future__ import annotations

from typing import Any, Final

from reconciler.desired.draft import Draft, Use, truth
from reconciler.desired.location import relative_path_problem, source_problem
from reconciler.desired.schema import NONE
from reconciler.desired.yaml_guard import Document
from reconciler.model import NOTHING, Address, Declaration, Place, Slots, Value, dataset_id_problem

STORE_KIND: Final = "serving"
DATASET: Final = "dataset"
ALIAS: Final = "alias"
LATEST: Final = "latest"
DEFAULT: Final = "default"


def add_catalog(document: Document, draft: Draft) -> None:
    """Add one `Catalog` document to the draft."""
    root = document.root
    store = _begin(document, draft)
    datasets = root.get("datasets", [])
    places = document.item_places(datasets) if datasets else []
    for index, (entry, at) in enumerate(zip(datasets, places, strict=True)):
        place = Place(document.path, *at)
        draft.note(dataset_id_problem(entry["id"]), document, ("datasets", index, "id"))
        source = entry.get("source")
        if source is not None:
            draft.note(source_problem(source), document, ("datasets", index, "source"))
        slots: dict[str, Value] = {"artifact": entry["manifest"], "entry": "listed"}
        if "diffs" in entry:
            slots["diffs"] = _diffs(entry["diffs"], index, document, draft)
        address = Address(store, DATASET, entry["id"])
        draft.declare(Declaration(address, slots, place, source, protected=truth(entry.get("protected"))))
        if "meta" in entry:
            draft.describe(str(place), entry["meta"])
    for index, entry in enumerate(root.get("removed", [])):
        place = Place(document.path, *document.place(("removed", index)))
        draft.note(dataset_id_problem(entry["id"]), document, ("removed", index, "id"))
        address = Address(store, DATASET, entry["id"])
        draft.declare(Declaration(address, NOTHING, place, reason=entry["reason"]))
        draft.describe(str(place), entry.get("meta"))
    _add_yanked(store, document, draft)
    if LATEST in root:
        _add_latest(root[LATEST], store, document, draft)


def _add_yanked(store: str, document: Document, draft: Draft) -> None:
    """A withdrawn dataset is not listed any more, and nobody may list it again."""
    for index, entry in enumerate(document.root.get("yanked", [])):
        place = Place(document.path, *document.place(("yanked", index)))
        for name in ("id", "replacedBy"):
            if name in entry:
                draft.note(dataset_id_problem(entry[name]), document, ("yanked", index, name))
        if entry["id"] == entry.get("replacedBy"):
            draft.refuse("E_YANKED", "a withdrawn dataset does not replace itself", place, got=entry["id"])
        address = Address(store, DATASET, entry["id"])
        draft.declare(Declaration(address, NOTHING, place, reason=f"yanked: {entry['reason']}"))
        draft.withdraw(address, entry, place)
        draft.describe(str(place), entry.get("meta"))


def add_removed_catalog(document: Document, draft: Draft) -> None:
    """Add the tombstones of a `Catalog` document that is gone."""
    root = document.root
    store = _begin(document, draft)
    for index, text in enumerate(root["datasets"]):
        draft.note(dataset_id_problem(text), document, ("datasets", index))
        place = Place(document.path, *document.place(("datasets", index)))
        draft.declare(Declaration(Address(store, DATASET, text), NOTHING, place, reason=root["reason"]))
    if LATEST in root:
        place = Place(document.path, *document.place((LATEST,), key=True))
        draft.declare(Declaration(Address(store, ALIAS, LATEST), NOTHING, place, reason=root["reason"]))


def _begin(document: Document, draft: Draft) -> str:
    """Note which store a document is for, and who answers for it."""
    store = str(document.root["store"])
    place = Place(document.path, *document.place(("store",)))
    draft.uses.append(Use(store, STORE_KIND, place))
    draft.scopes.setdefault((store, DATASET), Place(document.path, 1, 1))
    draft.describe(document.path, document.root.get("meta"))
    return store


def _diffs(written: list[str], index: int, document: Document, draft: Draft) -> tuple[str, ...]:
    seen: set[str] = set()
    for number, path in enumerate(written):
        steps = ("datasets", index, "diffs", number)
        draft.note(relative_path_problem(path, "E_DIFF_PATH", "a diff"), document, steps)
        if path in seen:
            draft.refuse(
                "E_DUPLICATE",
                "the diff is listed twice",
                Place(document.path, *document.place(steps)),
                got=path,
            )
        seen.add(path)
    return tuple(written)


def _add_latest(written: str | dict[str, Any], store: str, document: Document, draft: Draft) -> None:
    if isinstance(written, str):
        place = Place(document.path, *document.place((LATEST,), key=True))
        draft.declare(
            Declaration(Address(store, ALIAS, LATEST), _alias(written), place, reason=_why(written))
        )
        return
    for (scope, text), at in zip(written.items(), document.key_places(written), strict=True):
        place = Place(document.path, *at)
        if scope == DEFAULT:
            key = LATEST
        else:
            key = scope
            if text != NONE and text.partition("/")[2] != scope:
                draft.refuse("E_LATEST", f"the dataset is not one of {scope}", place, got=text)
        draft.declare(Declaration(Address(store, ALIAS, key), _alias(text), place, reason=_why(text)))


def _alias(written: str) -> Slots:
    return NOTHING if written == NONE else {"dataset": written, "binding": "catalog"}


def _why(written: str) -> str | None:
    return "" if written == NONE else None


def check_catalogs(draft: Draft) -> None:
    """Check what only all documents together can tell about datasets and aliases."""
    folded: dict[tuple[str, str], Declaration] = {}
    for address, declaration in draft.declarations.items():
        if not declaration.slots or address.kind not in {DATASET, ALIAS}:
            continue
        if address.kind == ALIAS:
            _check_alias(declaration, draft)
            continue
        first = folded.setdefault((address.store, address.key.casefold()), declaration)
        if first is not declaration:
            draft.refuse(
                "E_ID_CASE_COLLISION",
                f"the id differs from {first.address.key} at {first.place} only in letter case",
                declaration.place,
                got=address.key,
                fix="keep one of them",
            )


def _check_alias(declaration: Declaration, draft: Draft) -> None:
    dataset = str(declaration.slots["dataset"])
    problem = dataset_id_problem(dataset)
    if problem:
        draft.refuse(problem.code, problem.message, declaration.place, got=problem.got, fix=problem.fix)
        return
    wanted = draft.declarations.get(Address(declaration.address.store, DATASET, dataset))
    if (wanted is None and not draft.unread) or (wanted is not None and not wanted.slots):
        draft.refuse(
            "E_LATEST",
            "latest names a dataset that is not among the datasets of this store",
            declaration.place,
            got=dataset,
            fix="list the dataset, or point latest at a listed one",
        )
