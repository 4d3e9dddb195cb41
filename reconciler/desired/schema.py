"""Which fields a document may have: the schema gate, and its answers in words.

Each kind has one JSON Schema (Draft 2020-12) in `schemas/`, which editors use as well. jsonschema-rs says
yes or no, fast, for every document; only one that it refuses goes to the slower jsonschema library, whose
findings become problems at the line and column of the key or value they are about. A text whose grammar
has error codes of its own (ids, digests) is judged by that grammar.

The schemas use three annotations of ours: `description` is the sentence an error says, `x-code` replaces
its code, `x-grammar` names the grammar that explains it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from reconciler.desired.dataset import dataset_name_problem
from reconciler.desired.location import redacted
from reconciler.desired.promotion import promoted_name_problem
from reconciler.desired.yaml_guard import Document
from reconciler.errors import InvalidInput, Problem
from reconciler.model import dataset_id_problem, digest_problem

API_VERSION: Final = "reconciler/v1"

KINDS: Final[Mapping[str, str]] = {
    "Catalog": "catalog.json",
    "Dataset": "dataset.json",
    "Exception": "exception.json",
    "Pins": "pins.json",
    "Policy": "policy.json",
    "Promotion": "promotion.json",
    "Recovery": "recovery.json",
    "Removed": "removed.json",
    "Stores": "stores.json",
}
"""The kinds of document, and the file of each one's schema."""

_FILES: Final[Mapping[str, str]] = {**KINDS, "PolicyCase": "policy-case.json"}
"""The files of all schemas: a case is a document, and no part of a desired state."""

NONE: Final = "none"

_MOST = 100
"""The problems that are explained of one document: explaining is slow, and nobody reads more."""

_TYPES = {"object": "a mapping", "array": "a list", "string": "text", "integer": "a number"}


def _latest_problem(text: str) -> Problem | None:
    return None if text == NONE else dataset_id_problem(text)


_GRAMMARS: Final[Mapping[str, Callable[[str], Problem | None]]] = {
    "dataset-id": dataset_id_problem,
    "digest": digest_problem,
    "namespace": lambda text: dataset_name_problem(text, "name"),
    "name": lambda text: dataset_name_problem("_", text),
    "latest": _latest_problem,
    "promoted-name": promoted_name_problem,
}


@cache
def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of one kind of document."""
    text = resources.files("reconciler.desired").joinpath("schemas", _FILES[kind]).read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def _gate(kind: str) -> Callable[[object], bool]:
    import jsonschema_rs  # noqa: PLC0415 - not needed by commands that read no documents

    valid: Callable[[object], bool] = jsonschema_rs.validator_for(schema(kind)).is_valid
    return valid


def checked_kind(document: Document) -> str:
    """The kind of a document that its schema accepts.

    Raises:
        InvalidInput: everything that the schema refuses: E_API_VERSION, E_KIND, E_UNKNOWN_FIELD, E_REQUIRED,
            E_TYPE, E_VALUE, E_PATTERN, E_STORE_KIND, E_STORE_NAME, E_LATEST, or the code of a grammar.
    """
    kind, found = _kind(document)
    if found:
        raise InvalidInput(found)
    if not _gate(kind)(document.root):
        raise InvalidInput(_explained(kind, document))
    return kind


def check_as(document: Document, kind: str) -> None:
    """Refuse a document that is not a valid one of this kind.

    Raises:
        InvalidInput: as `checked_kind`.
    """
    if not _gate(kind)(document.root):
        raise InvalidInput(_explained(kind, document))


def _kind(document: Document) -> tuple[str, list[Problem]]:
    """The kind of a document, or why none can be told."""
    found: list[Problem] = []
    version, kind = (document.root.get(name) for name in ("apiVersion", "kind"))
    for name, value in (("apiVersion", version), ("kind", kind)):
        if value is None:
            found.append(_required(document, (), name))
    if version is not None and version != API_VERSION:
        found.append(
            _problem(
                document,
                ("apiVersion",),
                "E_API_VERSION",
                f"the version is {API_VERSION}",
                got=_shown(version),
            )
        )
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        fix = _nearest(kind, KINDS) if isinstance(kind, str) else ""
        message = f"the kinds are {', '.join(KINDS)}"
        found.append(_problem(document, ("kind",), "E_KIND", message, got=_shown(kind), fix=fix))
    return str(kind), found


def _explained(kind: str, document: Document) -> Iterator[Problem]:
    seen: set[Problem] = set()
    validator = _validator(kind)
    for error in validator.iter_errors(document.root):
        for problem in _worded(error, document):
            if problem not in seen:
                seen.add(problem)
                yield problem
            if len(seen) == _MOST:
                yield Problem(
                    code="E_SCHEMA",
                    message=f"only the first {_MOST} problems of this file are listed",
                    path=document.path,
                )
                return
    if not seen:
        yield Problem(code="E_SCHEMA", message=f"the document is not a valid {kind}", path=document.path)


@cache
def _validator(kind: str) -> Any:  # noqa: ANN401 - a class that jsonschema builds
    from jsonschema import Draft202012Validator, ValidationError  # noqa: PLC0415 - slow to import
    from jsonschema.validators import extend  # noqa: PLC0415 - slow to import

    def whole(_: object, pattern: str, instance: object, __: object) -> Iterator[ValidationError]:
        # Python lets `$` match before a final newline; the gate, rightly, does not.
        if isinstance(instance, str) and not re.search(pattern.removesuffix("$") + r"\Z", instance, re.ASCII):
            yield ValidationError("pattern")

    build: Any = extend
    return build(Draft202012Validator, {"pattern": whole})(schema(kind))


def _worded(error: Any, document: Document) -> Iterator[Problem]:  # noqa: ANN401 - jsonschema's ValidationError
    """One finding of the validator as problems of ours."""
    steps = tuple(error.absolute_path)
    rule = error.validator
    value = error.instance
    about: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    if "propertyNames" in error.absolute_schema_path:
        yield _problem(
            document,
            (*steps, str(value)),
            about.get("x-code", "E_PATTERN"),
            _said(about),
            key=True,
            got=str(value),
        )
    elif rule == "additionalProperties":
        known = about.get("properties", {})
        for name in value:
            if name not in known:
                yield _unknown_field(document, (*steps, name), known)
    elif rule == "required":
        for name in error.validator_value:
            if name not in value:
                yield _required(document, steps, name)
    elif value is None:
        yield _required(document, steps[:-1], str(steps[-1]))
    elif rule == "type":
        wanted = error.validator_value
        names = " or ".join(_TYPES[name] for name in ([wanted] if isinstance(wanted, str) else wanted))
        yield _problem(document, steps, "E_TYPE", f"{names} is expected here", got=_shown(value))
    elif rule in {"minProperties", "minItems"}:
        yield _problem(document, steps, "E_REQUIRED", "at least one entry is needed")
    else:
        yield _value_problem(document, steps, about, value)


def _value_problem(
    document: Document, steps: tuple[str | int, ...], about: Mapping[str, Any], value: object
) -> Problem:
    grammar = _GRAMMARS.get(about.get("x-grammar", ""))
    problem = grammar(value) if grammar and isinstance(value, str) else None
    if problem:
        return _problem(document, steps, problem.code, problem.message, got=problem.got, fix=problem.fix)
    allowed = about.get("enum")
    if allowed is None:
        return _problem(document, steps, about.get("x-code", "E_PATTERN"), _said(about), got=_shown(value))
    choices = [choice for choice in allowed if isinstance(choice, str)]
    message = f"the value is one of {', '.join(choices)}"
    fix = _nearest(value, choices) if isinstance(value, str) else ""
    return _problem(document, steps, about.get("x-code", "E_VALUE"), message, got=_shown(value), fix=fix)


def _said(about: Mapping[str, Any]) -> str:
    text = str(about.get("description", "The value does not fit.")).rstrip(".")
    return "expected: " + text[0].lower() + text[1:]


def _unknown_field(document: Document, steps: tuple[str | int, ...], known: Iterable[str]) -> Problem:
    name = str(steps[-1])
    fix = _nearest(name, known) or f"the fields here are {', '.join(sorted(known))}"
    return _problem(
        document, steps, "E_UNKNOWN_FIELD", "no such field is known here", key=True, got=name, fix=fix
    )


def _required(document: Document, steps: tuple[str | int, ...], name: str) -> Problem:
    """A field that is missing, or that has no value."""
    node = document.root
    for step in steps:
        node = node[step]  # type: ignore[index]
    fix = "give a value, in quotes if it is the word null"
    if isinstance(node, dict) and name in node:
        message, place = f"{name} has no value", document.place((*steps, name), key=True)
    elif isinstance(node, list):
        message, place = "the item has no value", document.place((*steps, int(name)))
    else:
        message, place, fix = f"{name} is missing", document.place(steps), f"add {name}:"
    line, column = place
    return Problem(code="E_REQUIRED", message=message, path=document.path, line=line, column=column, fix=fix)


def _problem(
    document: Document,
    steps: tuple[str | int, ...],
    code: str,
    message: str,
    *,
    key: bool = False,
    got: str | None = None,
    fix: str = "",
) -> Problem:
    line, column = document.place(steps, key=key)
    shown = None if got is None else redacted(got)
    return Problem(
        code=code, message=message, path=document.path, line=line, column=column, got=shown, fix=fix
    )


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name[:64], sorted(known), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return "a list" if isinstance(value, list) else "a mapping"
