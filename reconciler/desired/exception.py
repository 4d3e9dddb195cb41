"""`Exception` documents: one thing that policy would not allow, or that is to stay as it is live.

Each has a type, a subject, an owner, a reason and an end. A waiver names its rule, approved deletes their
exact number; nothing else may. It has no effect in the change that brings it, because exceptions are
read from the protected base.

Whether it is expired, used, or for a rule that nobody can waive is not decided here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from reconciler.desired.draft import Draft
from reconciler.desired.yaml_guard import Document
from reconciler.governance import ExceptionType, Exemption
from reconciler.model import Place

_MEMBER_OF = {"rule": ExceptionType.WAIVER, "count": ExceptionType.APPROVED_DELETES}


def add_exception(document: Document, draft: Draft) -> None:
    """Add one `Exception` document to the draft."""
    root: dict[str, Any] = document.root
    kind = ExceptionType(root["type"])
    for name, owner in _MEMBER_OF.items():
        if name in root and kind is not owner:
            place = Place(document.path, *document.place((name,), key=True))
            draft.refuse("E_EXCEPTION", f"only {owner.value} has a {name}", place, fix="remove it")
        elif name not in root and kind is owner:
            place = Place(document.path, *document.place(("type",)))
            draft.refuse("E_REQUIRED", f"{owner.value} needs a {name}", place, fix=f"add {name}:")
    if "rule" in root:
        place = Place(document.path, *document.place(("rule",)))
        draft.rules_named.append((root["rule"], place))
    expires = _seconds(root["expires"])
    if expires is None:
        place = Place(document.path, *document.place(("expires",)))
        draft.refuse("E_PATTERN", "there is no such day or time", place, got=root["expires"])
        return
    draft.exemptions.append(
        Exemption(
            type=kind,
            rule=root.get("rule", ""),
            subject=root["subject"],
            owner=root["owner"],
            reason=root["reason"],
            expires=expires,
            count=int(root.get("count", 0)),
            place=Place(document.path, 1, 1),
        )
    )


def _seconds(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
