"""Values of metadata that are not text: integers and truth values, written so that nobody can mistake them.

A scalar of a document is text, whatever it looks like, so that `1.10` stays a version. Metadata of an
account may hold more, as its lexicon admits it: integers below 2^53 and truth values. They are written as a
map of one key, which no quoting changes:

    metadata: {split: train, rows: {$integer: 1200}, shuffled: {$boolean: true}}

There is no float among them: ATProto has none, so `0.5` is published as the text that was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.errors import Problem

_INTEGER: Final = "$integer"
_BOOLEAN: Final = "$boolean"
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,15}", re.ASCII)
_MOST: Final = 2**53 - 1
_TRUTHS: Final[Mapping[str, bool]] = {"true": True, "false": False}


def typed(value: Any) -> Any:  # noqa: ANN401 - a tree of text, lists and maps
    """The tree with what its markers mean; one that `typed_problems` refuses is left as it is."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == _INTEGER and _is_integer(inner):
            return int(inner)
        if key == _BOOLEAN and isinstance(inner, str) and inner in _TRUTHS:
            return _TRUTHS[inner]
    return {key: typed(item) for key, item in value.items()}


def typed_problems(value: object) -> Iterator[Problem]:
    """What is wrong with the markers in a tree."""
    if isinstance(value, list):
        for item in value:
            yield from typed_problems(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in {_INTEGER, _BOOLEAN}:
                yield from typed_problems(item)
                continue
            if len(value) > 1 or (key == _INTEGER and not _is_integer(item)):
                yield _problem("this is an integer below 2^53, alone in its map", item, "{$integer: 3}")
            elif key == _BOOLEAN and not (isinstance(item, str) and item in _TRUTHS):
                yield _problem("this is true or false, alone in its map", item, "{$boolean: true}")


def _is_integer(value: object) -> bool:
    return isinstance(value, str) and bool(_NUMBER.fullmatch(value)) and abs(int(value)) <= _MOST


def _problem(message: str, got: object, example: str) -> Problem:
    return Problem(
        code="E_METADATA_TYPE", message=message, got=str(got), fix=f"write it as {example}, or as text"
    )
