"""Finding the datasets that stand in a tree, in address order, with one open directory at a time.

Decides which directories are datasets: `release=R/species=P/assembly=A`, whatever else lies around. Ids
outside the grammar are handed on with what is wrong with them, so that one odd directory does not hide
the rest. The parents are kept open while their children are visited, because opening every path from the
root costs more than reading what is in it.

Follows no link and reads no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from reconciler.errors import Problem, escaped
from reconciler.model import DatasetId, dataset_id_problem
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.durable import directory, store_faults
from reconciler.stores.serving.files import open_dir

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._]{0,63}", re.ASCII)
"""Assemblies that are legal beyond doubt; the others get the full judgement."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Standing(NamedTuple):
    """One dataset directory; `handle` is valid until the next one is asked for."""

    dataset: DatasetId
    handle: int
    problem: Problem | None

    @property
    def key(self) -> str:
        """The dataset's key in addresses; of an illegal id, a printable form."""
        return str(self.dataset) if self.problem is None else escaped(str(self.dataset), 400)


class Places:
    """Opens dataset directories by their ids, cheapest when they come in address order.

    The last release and species directories stay open while datasets below them are asked for.
    """

    __slots__ = ("_of_release", "_of_species", "_release", "_root", "_species", "_where")

    def __init__(self, root: int, where: str) -> None:
        self._root, self._where = root, where
        self._release = self._species = ""
        self._of_release = self._of_species = -1

    def open(self, dataset: DatasetId) -> int | None:
        """A descriptor of the dataset's directory, or None if it is absent; the caller closes it.

        Raises:
            Unavailable: E_STORE_LINK, E_STORE_FILE or E_IO.
        """
        try:
            return os.open(f"assembly={dataset.assembly}", _DIRECTORY, dir_fd=self._parent(dataset))
        except OSError:
            return open_dir(self._root, dataset_path(dataset), self._where)  # says exactly what is there

    def _parent(self, dataset: DatasetId) -> int:
        if dataset.release != self._release:
            self.close()
            self._of_release = os.open(f"release={dataset.release}", _DIRECTORY, dir_fd=self._root)
            self._release = dataset.release
        if dataset.species != self._species:
            self._close_species()
            self._of_species = os.open(f"species={dataset.species}", _DIRECTORY, dir_fd=self._of_release)
            self._species = dataset.species
        return self._of_species

    def _close_species(self) -> None:
        if self._species:
            os.close(self._of_species)
            self._species = ""

    def close(self) -> None:
        """Close the directories that are still open."""
        self._close_species()
        if self._release:
            os.close(self._of_release)
            self._release = ""


def dataset_directories(root: int, where: str) -> Iterator[Standing]:
    """Every dataset directory below the root, sorted by address as far as the ids are legal.

    Raises:
        Unavailable: E_STORE_LINK or E_IO.
    """
    with store_faults(where):
        yield from _walked(root, where)


def _walked(root: int, where: str) -> Iterator[Standing]:
    for release in _names(root, "release="):
        with directory(root, f"release={release}") as of_release:
            for species in _names(of_release, "species="):
                with directory(of_release, f"species={species}") as of_species:
                    yield from _assemblies(of_species, release, species, where)


def _assemblies(of_species: int, release: str, species: str, where: str) -> Iterator[Standing]:
    """One line of the walk: what all its datasets share is judged once."""
    legal = dataset_id_problem(f"{release}/{species}/X") is None
    for assembly in _names(of_species, "assembly="):
        dataset = DatasetId(release, species, assembly)
        plain = legal and _PLAIN.fullmatch(assembly) is not None
        handle = os.open(f"assembly={assembly}", _DIRECTORY, dir_fd=of_species)
        try:
            yield Standing(dataset, handle, None if plain else _problem(dataset, where))
        finally:
            os.close(handle)


def _names(handle: int, prefix: str) -> list[str]:
    """The values of `prefix`, sorted as text, which for legal names is the order of their keys."""
    return sorted(name[len(prefix) :] for name in os.listdir(handle) if name.startswith(prefix))


def _problem(dataset: DatasetId, where: str) -> Problem | None:
    problem = dataset_id_problem(str(dataset))
    if problem is None:
        return None
    return Problem(
        code=problem.code,
        message=problem.message,
        path=where,
        got=str(dataset),
        fix="move this directory out of the store",
    )
