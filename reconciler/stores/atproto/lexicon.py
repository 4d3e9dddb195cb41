"""The lexicons of the records that promotion writes, and the check of every record against them.

Decides whether a record may be published: its fields, their types and limits, and the data model of
ATProto beneath them (no floats, no integer beyond 2^53, text that is UTF-8). `lexicons.json` states the
rules of `science.alt.dataset.*` in the lexicon language, in the compact form that this module reads; a
test compares them with the published lexicons. As the lexicon language has it, the `maxLength` of a text
and of bytes counts bytes, unknown fields are allowed, and an open union takes members that nobody here
knows.

A server that does not know a lexicon checks nothing, so what leaves here unchecked is public for good.
All problems of a record are found in one pass. Nothing here asks a server.

    >>> problems_of({"$type": "science.alt.dataset.label", "name": 1}, where="a.yaml")[0].code
    'E_RECORD_TYPE'
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

from reconciler.errors import Problem
from reconciler.stores.atproto.dagcbor import Link

SCHEMA: Final = "science.alt.dataset.schema"
ENTRY: Final = "science.alt.dataset.entry"
LABEL: Final = "science.alt.dataset.label"
STORAGE_HTTP: Final = "science.alt.dataset.storageHttp"
STORAGE_S3: Final = "science.alt.dataset.storageS3"
STORAGE_BLOBS: Final = "science.alt.dataset.storageBlobs"
STORAGE_EXTERNAL: Final = "science.alt.dataset.storageExternal"
"""An older form, which is read and never written."""

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 32
BLOB_LIMIT: Final = 52_428_800
METADATA_LIMIT: Final = 100_000

_DATETIME = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,20})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII,
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,80}:[!-~]+", re.ASCII)
_DID = r"did:[a-z]+:[A-Za-z0-9._:%-]{1,2000}"
_NAME = r"[A-Za-z](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?"
_HANDLE = rf"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,62}}[A-Za-z0-9])?\.)+{_NAME}"
_NSID = rf"{_NAME}(?:\.{_NAME})+"
_AT_URI = re.compile(rf"at://(?:{_DID}|{_HANDLE})(?:/{_NSID}(?:/[A-Za-z0-9._~:-]{{1,512}})?)?", re.ASCII)

_FORMATS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "at-uri": (_AT_URI, "an address such as at://did:plc:…/collection/key"),
    "datetime": (_DATETIME, "a time such as 2026-01-02T03:04:05Z"),
    "uri": (_URI, "a URL without spaces and control characters"),
}

Definition = Mapping[str, Any]
"""One definition of a lexicon: JSON, in the lexicon language."""


@cache
def lexicons() -> Mapping[str, Mapping[str, Definition]]:
    """The definitions of every lexicon by its id."""
    text = resources.files("reconciler.stores.atproto").joinpath("lexicons.json").read_text("utf-8")
    loaded: dict[str, dict[str, Definition]] = json.loads(text)
    return loaded


def problems_of(
    record: Mapping[str, Any],
    *,
    where: str,
    known: Mapping[str, Mapping[str, Definition]] | None = None,
) -> tuple[Problem, ...]:
    """Everything that keeps a record from being published.

    Args:
        record: in the data model: text, integers, truth values, bytes, links, lists and mappings.
        where: the place that problems name.
        known: the definitions to hold it against; by default those that are shipped.

    Returns:
        Problems with E_RECORD_TYPE, E_RECORD_LIMIT, E_RECORD_FIELD or E_RECORD_FORMAT.
    """
    definitions = lexicons() if known is None else known
    found = list(_unfit(record, "", where, 0))
    if found:
        return tuple(found)
    collection = record.get("$type")
    if not isinstance(collection, str) or collection not in definitions:
        return (Problem(code="E_RECORD_FIELD", message="the record is of no known collection", path=where),)
    check = _Check(definitions, where)
    check.walk(definitions[collection]["main"]["record"], record, collection, "")
    return tuple(check.found)


def value_problems(value: object, *, where: str, name: str = "") -> tuple[Problem, ...]:
    """What keeps a value from being part of any record, whatever its lexicon says."""
    return tuple(_unfit(value, name, where, 0))


def _unfit(value: Any, name: str, where: str, depth: int) -> Iterator[Problem]:  # noqa: ANN401 - any value
    """What the data model cannot hold; nearly every value of nearly every record is plain."""
    kind = type(value)
    if kind is str:
        if not value.isascii() and not _encodes(value):
            yield _problem("E_RECORD_TYPE", name, "a text holds half of a surrogate pair", where)
    elif kind is dict or kind is list:
        if depth > MAX_DEPTH:
            yield _problem("E_RECORD_LIMIT", name, f"nesting is deeper than {MAX_DEPTH}", where)
        elif kind is dict:
            yield from _unfit_members(value, name, where, depth)
        else:
            for index, item in enumerate(value):
                yield from _unfit(item, f"{name}[{index}]", where, depth + 1)
    elif kind is int:
        if abs(value) > MAX_INTEGER:
            yield _problem("E_RECORD_LIMIT", name, "an integer is beyond 2^53", where, got=str(value))
    elif kind is float:
        fix = "write it as text, or scale it to an integer"
        yield _problem("E_RECORD_TYPE", name, "a record cannot hold a float", where, got=str(value), fix=fix)
    elif kind not in _PLAIN:
        message = "a record cannot hold a value of this type"
        yield _problem("E_RECORD_TYPE", name, message, where, got=kind.__name__)


_PLAIN: Final = frozenset({bool, bytes, Link, type(None)})


def _unfit_members(value: Mapping[object, object], name: str, where: str, depth: int) -> Iterator[Problem]:
    for key, item in value.items():
        if not isinstance(key, str) or not _encodes(key):
            yield _problem("E_RECORD_TYPE", name, "a key is not text", where, got=ascii(key))
        elif type(item) is not str or not item.isascii():  # a plain text costs no call
            yield from _unfit(item, f"{name}.{key}" if name else key, where, depth + 1)


def _encodes(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _problem(
    code: str, name: str, message: str, where: str, *, got: str | None = None, fix: str = ""
) -> Problem:
    return Problem(code=code, message=f"{name}: {message}" if name else message, path=where, got=got, fix=fix)


_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "string": ((str,), "text"),
    "integer": ((int,), "an integer"),
    "boolean": ((bool,), "true or false"),
    "bytes": ((bytes,), "bytes"),
    "array": ((list, tuple), "a list"),
    "object": ((Mapping,), "a mapping"),
    "unknown": ((Mapping,), "a mapping"),
    "union": ((Mapping,), "a mapping"),
    "blob": ((Mapping,), "a blob"),
}
"""For each type of a definition: the values that it takes, and how it is called."""


@dataclass(slots=True)
class _Check:
    """One pass over one record; what is wrong is collected."""

    definitions: Mapping[str, Mapping[str, Definition]]
    where: str
    found: list[Problem] = field(default_factory=list)

    def refuse(self, code: str, name: str, message: str, got: object = None) -> None:
        shown = None if got is None else str(got)
        self.found.append(_problem(code, name, message, self.where, got=shown))

    def walk(self, rule: Definition, value: Any, lexicon: str, name: str) -> None:  # noqa: ANN401 - JSON
        """Hold a value against a definition that stands in a lexicon."""
        kind = rule["type"]
        if kind == "ref":
            self.walk_ref(rule["ref"], value, lexicon, name)
            return
        types, called = _KINDS[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and kind == "integer"):
            self.refuse("E_RECORD_TYPE", name, f"{called} is expected here", type(value).__name__)
            return
        judge = _JUDGES.get(kind)
        if judge:
            judge(self, rule, value, lexicon, name)

    def walk_ref(self, ref: str, value: Any, lexicon: str, name: str) -> None:  # noqa: ANN401 - JSON
        """Hold a value against the definition that a reference names: `ID`, `ID#NAME` or `#NAME`."""
        other, _, part = ref.partition("#")
        home = other or lexicon
        self.walk(self.definitions[home][part or "main"], value, home, name)


def _judge_object(check: _Check, rule: Definition, value: Mapping[str, Any], lexicon: str, name: str) -> None:
    for key in rule.get("required", ()):
        if key not in value:
            check.refuse("E_RECORD_FIELD", name, f"the field {key} is missing")
    for key, about in rule.get("properties", {}).items():
        if key in value:
            check.walk(about, value[key], lexicon, f"{name}.{key}" if name else key)


def _judge_string(check: _Check, rule: Definition, value: str, _: str, name: str) -> None:
    limit = rule.get("maxLength")
    size = len(value.encode())
    if limit is not None and size > limit:
        check.refuse("E_RECORD_LIMIT", name, f"the text has {size} bytes, and at most {limit} are allowed")
    elif "const" in rule and value != rule["const"]:
        check.refuse("E_RECORD_FIELD", name, f"the text is {rule['const']}", value)
    elif "pattern" in rule and not re.fullmatch(rule["pattern"], value, re.ASCII):
        check.refuse("E_RECORD_FORMAT", name, "the text is not of the form that is expected here", value)
    elif "format" in rule:
        form, called = _FORMATS[rule["format"]]
        if not form.fullmatch(value):
            check.refuse("E_RECORD_FORMAT", name, f"expected: {called}", value)


def _judge_bytes(check: _Check, rule: Definition, value: bytes, _: str, name: str) -> None:
    limit = rule.get("maxLength", len(value))
    if len(value) > limit:
        check.refuse("E_RECORD_LIMIT", name, f"there are {len(value)} bytes, and at most {limit} are allowed")


def _judge_integer(check: _Check, rule: Definition, value: int, _: str, name: str) -> None:
    if value < rule.get("minimum", value):
        check.refuse("E_RECORD_LIMIT", name, f"the least is {rule['minimum']}", value)


def _judge_array(check: _Check, rule: Definition, value: Sequence[Any], lexicon: str, name: str) -> None:
    least, most = rule.get("minLength", 0), rule.get("maxLength", len(value))
    if not least <= len(value) <= most:
        bound = f"at most {most}" if len(value) > most else f"at least {least}"
        check.refuse("E_RECORD_LIMIT", name, f"the list has {len(value)} items, and {bound} is the rule")
    for index, item in enumerate(value):
        check.walk(rule["items"], item, lexicon, f"{name}[{index}]")


def _judge_union(check: _Check, rule: Definition, value: Mapping[str, Any], lexicon: str, name: str) -> None:
    kind = value.get("$type")
    refs = {ref if ref.partition("#")[0] else f"{lexicon}{ref}": ref for ref in rule["refs"]}
    if kind in refs:
        check.walk_ref(refs[kind], value, lexicon, name)
    elif not isinstance(kind, str) or rule.get("closed"):
        check.refuse("E_RECORD_FIELD", name, f"its $type is one of {', '.join(refs)}", kind)


def _judge_blob(check: _Check, rule: Definition, value: Mapping[str, Any], _: str, name: str) -> None:
    media, size = value.get("mimeType"), value.get("size")
    if value.get("$type") != "blob" or "ref" not in value or not isinstance(size, int):
        check.refuse("E_RECORD_FIELD", name, "a blob has $type, ref, mimeType and size")
    elif media not in rule.get("accept", (media,)):
        check.refuse("E_RECORD_FIELD", name, f"a blob here is {', '.join(rule['accept'])}", media)
    elif size > rule.get("maxSize", size):
        check.refuse(
            "E_RECORD_LIMIT", name, f"the blob has {size} bytes, at most {rule['maxSize']} are allowed"
        )


_JUDGES: Final[Mapping[str, Callable[[_Check, Definition, Any, str, str], None]]] = {
    "array": _judge_array,
    "blob": _judge_blob,
    "bytes": _judge_bytes,
    "integer": _judge_integer,
    "object": _judge_object,
    "string": _judge_string,
    "union": _judge_union,
}
