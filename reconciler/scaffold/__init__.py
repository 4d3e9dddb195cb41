"""The files of a new repository, as `reconciler init` writes them.

`files/` holds them under the paths that they get. They are templates in one respect only: `@VERSION@` is
the version of this program, and the stores that were not asked for are left out of `desired/stores.yaml`.
What is written is a whole: it validates, and its first plan is empty.

This package decides which files there are. It writes none: `reconciler.cli.init` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from reconciler import __version__

KINDS: Final = ("serving", "registry")
"""The kinds of store that a new repository may begin with."""

_OF_KIND: Final = {"desired/catalogs/": "serving", "desired/datasets/": "registry"}
_STORE_LINE: Final = "  {kind}: "


def scaffold(kinds: frozenset[str]) -> dict[str, bytes]:
    """The files of a new repository by path.

    Args:
        kinds: the kinds of store that it begins with, out of `KINDS`.
    """
    files = {path: entry.read_bytes() for path, entry in _walk(resources.files(__name__) / "files", "")}
    files |= {f"schemas/{entry.name}": entry.read_bytes() for entry in _schemas()}
    wanted = {path: data for path, data in files.items() if _kind_of(path) in {None, *kinds}}
    wanted["desired/stores.yaml"] = _stores(wanted["desired/stores.yaml"].decode(), kinds)
    return {path: data.replace(b"@VERSION@", __version__.encode()) for path, data in sorted(wanted.items())}


def _walk(place: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in place.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        else:
            yield path, entry


def _schemas() -> Iterator[Traversable]:
    """The schemas of documents, for editors: the very files that the loader holds documents against."""
    for entry in (resources.files("reconciler.desired") / "schemas").iterdir():
        if entry.name.endswith(".json"):
            yield entry


def _kind_of(path: str) -> str | None:
    return next((kind for prefix, kind in _OF_KIND.items() if path.startswith(prefix)), None)


def _stores(text: str, kinds: frozenset[str]) -> bytes:
    left = tuple(_STORE_LINE.format(kind=kind) for kind in KINDS if kind not in kinds)
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(left)).encode()
