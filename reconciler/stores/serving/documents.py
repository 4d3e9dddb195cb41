"""Reading the small JSON documents of a serving store into typed values.

Decides that a document is strict JSON (`canonical.parse_strict`), has the members of its type and no
others, and which error a reader gets: what the caller handed in is `InvalidInput` with the code of what
is wrong, what stands in a live store is `Corrupt` with one code for the whole document, because the
next thing to do is not to edit it but to run recovery.

Never opens a file and never repairs what it reads.

    >>> decode(b'{"release":"110","species":"homo_sapiens","assembly":"GRCh38"}', DatasetMembers).id
    DatasetId(release='110', species='homo_sapiens', assembly='GRCh38')
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import msgspec

from reconciler.canonical import parse_strict
from reconciler.errors import Corrupt, InvalidInput, Problem, ReconcilerError
from reconciler.model import DatasetId, dataset_id_problem

DOCUMENT_LIMIT = 5_000_000
"""The largest manifest, alias or sidecar that is read, in bytes."""

T = TypeVar("T")

_MESSAGE = re.compile(r"(?P<text>.*?)(?: - at `(?P<at>.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)


class DatasetMembers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dataset id as JSON spells it: an object of three members (contract 1.3)."""

    release: str
    species: str
    assembly: str

    @property
    def id(self) -> DatasetId:
        """The id as a value; its grammar was checked by whoever decoded it."""
        return DatasetId(self.release, self.species, self.assembly)


def dataset_members(dataset: DatasetId) -> dict[str, str]:
    """The JSON object of a dataset id, in struct order."""
    return {"release": dataset.release, "species": dataset.species, "assembly": dataset.assembly}


def id_problem(dataset: DatasetId, where: str) -> Problem | None:
    """What is wrong with an id that came out of JSON, where the reference checks nothing (contract 8.3)."""
    problem = (
        dataset_id_problem(str(dataset)) if all("/" not in part for part in dataset) else _slashed(dataset)
    )
    return replace(problem, path=where) if problem else None


def _slashed(dataset: DatasetId) -> Problem:
    return Problem(
        code="E_ID_PATH",
        message="a part of a dataset id holds a slash",
        got=next(part for part in dataset if "/" in part),
        fix="write release, species and assembly without path separators",
    )


def decode(data: bytes, kind: type[T], *, where: str = "", limit: int = DOCUMENT_LIMIT) -> T:
    """One document as a typed value.

    Args:
        data: the bytes of the document.
        kind: the msgspec type it must have.
        where: the path that errors name.
        limit: the largest accepted size in bytes.

    Raises:
        InvalidInput: a code of `parse_strict`, or E_UNKNOWN_FIELD, E_REQUIRED, E_TYPE,
            E_SCHEMA_VERSION.
    """
    return convert(parse_strict(data, where=where, limit=limit), kind, where=where)


def convert(document: Any, kind: type[T], *, where: str = "") -> T:  # noqa: ANN401 - JSON
    """A parsed JSON value as a typed value.

    Raises:
        InvalidInput: E_UNKNOWN_FIELD, E_REQUIRED, E_TYPE or E_SCHEMA_VERSION.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(_explained(str(error), where)) from error


def _explained(text: str, where: str) -> Problem:
    parts = _MESSAGE.fullmatch(text)
    message, at = (parts["text"], parts["at"]) if parts else (text, None)
    place = (at or "$").removeprefix("$").lstrip(".")
    inside = f" in {place}" if place else ""
    unknown, missing = _UNKNOWN.fullmatch(message), _MISSING.fullmatch(message)
    if unknown:
        return Problem(
            code="E_UNKNOWN_FIELD",
            message=f"a member is not known{inside}",
            path=where,
            got=unknown[1],
            fix="remove it",
        )
    if missing:
        return Problem(
            code="E_REQUIRED", message=f"the member {missing[1]} is missing{inside}", path=where, fix="add it"
        )
    if place.endswith(("schema_version", "model_version")) and message.startswith("Invalid enum value"):
        return Problem(
            code="E_SCHEMA_VERSION",
            message=f"this version is not supported{inside}",
            path=where,
            got=message.removeprefix("Invalid enum value "),
            fix="use a version that the serving store's contract names",
        )
    return Problem(
        code="E_TYPE",
        message=f"a member has the wrong type{inside}: {message[:1].lower()}{message[1:]}",
        path=where,
        fix="see the serving store's contract for its type",
    )


class Origin(NamedTuple):
    """Where a document came from, and so which error its reader gets.

    `code` replaces the code of every problem; without one they are kept. `error` is the class.
    """

    error: type[ReconcilerError]
    code: str = ""
    fix: str = ""


GIVEN = Origin(InvalidInput)
"""Named by the caller: fix the input."""

LIVE_CATALOG = Origin(Corrupt, "E_LIVE_CATALOG", "run reconciler catalog rebuild")
"""The live `catalog.json`: nothing is planned from it (reliability row M5)."""

LIVE_ALIAS = Origin(Corrupt, "E_LIVE_ALIAS", "run reconciler catalog rebuild")
"""The live `latest.alias.json`."""


def read_as(origin: Origin, read: Callable[[], T]) -> T:
    """Run a reader and give its refusals the class and the code of the document's origin."""
    try:
        return read()
    except InvalidInput as error:
        raise at_origin(origin, error) from error


def at_origin(origin: Origin, error: ReconcilerError) -> ReconcilerError:
    """The same problems as an error of the document's origin."""
    return origin.error(
        replace(problem, code=origin.code or problem.code, fix=origin.fix or problem.fix)
        for problem in error.problems
    )
