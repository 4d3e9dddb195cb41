"""`Recovery` documents: where the backups of a store are, how often they are made, and what is promised.

Only the form is judged here, and that a store has one such document. What a document leaves out is valid:
`recovery plan` says which question it leaves without an answer.
"""

from __future__ import annotations

from typing import Final

from reconciler.desired.draft import Draft
from reconciler.desired.location import endpoint_problem, objects_problem, relative_path_problem
from reconciler.desired.yaml_guard import Document
from reconciler.model import Place, Recovery

_SECONDS: Final = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}


def add_recovery(document: Document, draft: Draft) -> None:
    """Add how one store comes back to the draft."""
    root = document.root
    draft.describe(document.path, root.get("meta"))
    place = Place(document.path, *document.place(("store",)))
    store, backup = root["store"], root.get("backup", {})
    for setting, judge in (("location", objects_problem), ("endpoint", endpoint_problem)):
        value = backup.get(setting)
        if isinstance(value, str):
            draft.note(judge(value), document, ("backup", setting))
    for index, path in enumerate(root.get("configuration", ())):
        problem = relative_path_problem(path, "E_RECOVERY_PATH", "a configuration file")
        draft.note(problem, document, ("configuration", index))
    if store in draft.recoveries:
        first = draft.recoveries[store].place
        message = f"the store's recovery is declared twice, first at {first}"
        draft.refuse("E_DUPLICATE", message, place, got=store, fix="keep one of them")
        return
    settings = dict(backup)
    if "allowPrivate" in settings:
        settings["allowPrivate"] = settings["allowPrivate"] in {True, "true"}
    draft.recoveries[store] = Recovery(
        store=store,
        backup=settings,
        schedule=root.get("schedule", ""),
        rto=_seconds(root.get("rto")),
        rpo=_seconds(root.get("rpo")),
        configuration=tuple(root.get("configuration", ())),
        checks=tuple(root.get("checks", ())),
        place=place,
    )


def check_recoveries(draft: Draft) -> None:
    """Every store that comes back is a store that is declared."""
    for store, recovery in draft.recoveries.items():
        if store not in draft.stores and not draft.unread:
            draft.refuse(
                "E_STORE_UNKNOWN",
                "no document declares this store",
                recovery.place,
                got=store,
                fix="declare it in a Stores document",
            )


def _seconds(text: str | None) -> int | None:
    return None if text is None else int(text[:-1]) * _SECONDS[text[-1]]
