"""What a verification is made of: the dataset under it, and checks with what they found.

A check passed, failed or could not be recomputed. The last is never a pass: a file that was not published or
a hash that nothing states cannot be confirmed, and a report says so in words.

Values only; the checks themselves are in `verify`, `canonical_model` and `verify_deep`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from reconciler.errors import InvalidInput, LimitExceeded, Problem
from reconciler.model import DatasetId
from reconciler.stores.serving.files import DatasetFiles
from reconciler.stores.serving.manifest import Manifest


class Status(StrEnum):
    """What a check found; what could not be recomputed was not confirmed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RECOMPUTABLE = "not_recomputable"


class Setting(StrEnum):
    """Where a dataset stands: only in a store must it have been published completely."""

    BUILD_ROOT = "build root"
    STORE = "store"


class Check(NamedTuple):
    """One check: its name, what it found, in a few words, and its problems if it failed."""

    name: str
    status: Status
    detail: str = ""
    problems: tuple[Problem, ...] = ()


def judged(name: str, problems: Iterable[Problem], detail: str = "") -> Check:
    """A check that failed if there are problems, and passed otherwise."""
    found = tuple(problems)
    return Check(name, Status.FAILED if found else Status.PASSED, detail, found)


def unconfirmed(name: str, detail: str) -> Check:
    """A check that could not be recomputed, and why."""
    return Check(name, Status.NOT_RECOMPUTABLE, detail)


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """A check whose document may be unreadable as JSON, or too large: that is what it found."""
    try:
        return check()
    except (InvalidInput, LimitExceeded) as error:
        return judged(name, error.problems)


class Subject(NamedTuple):
    """The dataset under verification: its files, id, place and parsed manifest."""

    files: DatasetFiles
    dataset: DatasetId
    setting: Setting
    manifest: Manifest
    manifest_bytes: bytes


def other_dataset(stated: DatasetId, dataset: DatasetId, path: str) -> tuple[Problem, ...]:
    """A document that is of another dataset than the one it stands beside."""
    if stated == dataset:
        return ()
    return (
        Problem(
            code="E_IDENTITY",
            message=f"the document is of another dataset than {dataset}",
            path=path,
            got=str(stated),
            fix="restore the document that was published",
        ),
    )


def missing(path: str) -> Problem:
    """A file that must be there is not."""
    return Problem(
        code="E_FILE_MISSING", message="the file is missing", path=path, fix="build or publish it again"
    )


def differs(path: str, stated_by: str, got: str) -> Problem:
    """A file has other bytes than a document states."""
    return Problem(
        code="E_FILE_HASH",
        message=f"the file has other bytes than {stated_by} states",
        path=path,
        got=got,
        fix="restore the file",
    )
