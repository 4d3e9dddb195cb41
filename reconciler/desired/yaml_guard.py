"""YAML as data and nothing else: a strict reader over parser events.

Reads exactly one document per file into dictionaries, lists and text, and remembers where everything
stood. Scalars stay text (``1.10`` is never a number, ``no`` never a boolean); only a plain scalar that is
empty, ``~`` or ``null`` becomes None, which no schema of ours accepts. Anchors, aliases, merge keys, tags,
directives, duplicate keys and further documents are refused.

The guard looks at events before anything is built, so that neither a deep document nor an alias bomb is
ever constructed: bytes and text first, then depth, number and size as the events come. The events come
from libyaml, which does not recurse; PyYAML's own scanner serves where libyaml was not built in.

    >>> parse(b"a: [1.10, no]", "x.yaml").root
    {'a': ['1.10', 'no']}
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from reconciler.errors import InvalidInput, forbidden_character

MAX_SIZE: Final = 1024 * 1024
MAX_DEPTH: Final = 32
MAX_EVENTS: Final = 100_000
MAX_SCALAR: Final = 64 * 1024
MAX_KEY: Final = 256

Tree = Any
"""A value of the document: text, None, a list or a dictionary with text keys."""

_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its events are used. PyYAML has the first one where it was built with libyaml."""

_SURELY_SHORT = MAX_SCALAR // 4
"""A text of so many characters fits into the limit, whatever they are."""
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_PLAIN_KEY = re.compile(r"[a-z0-9._/+-]{1,256}", re.ASCII)
"""Keys of these characters are their own folded form, and nothing about them needs another look."""
_ASCII_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_NO_CONTROL = bytes({*range(0x20, 0x100), *b"\t\n"} - {0x7F})
"""Taking these bytes away leaves what the expression above must look at, and costs far less."""
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True, slots=True)
class Document:
    """A document and where its parts stand.

    `marks` holds, by the identity of a container, the parser's marks of its items: one for each item of a
    list, two (key and value) for each entry of a mapping.
    """

    path: str
    root: dict[str, Tree]
    marks: dict[int, list[Any]]

    def item_places(self, items: list[Tree]) -> list[tuple[int, int]]:
        """Line and column of every item of a list of this document."""
        return [_position_of(mark) for mark in self.marks[id(items)]]

    def key_places(self, mapping: dict[str, Tree]) -> list[tuple[int, int]]:
        """Line and column of every key of a mapping of this document, in its order."""
        return [_position_of(mark) for mark in self.marks[id(mapping)][::2]]

    def place(self, steps: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value (or its key) that a path of keys and indexes leads to."""
        node: Tree = self.root
        mark = None
        for step in steps:
            marks = self.marks[id(node)]
            if isinstance(node, list) and isinstance(step, int):
                mark = marks[step]
                node = node[step]
            else:
                index = list(node).index(str(step)) * 2
                mark = marks[index if key else index + 1]
                node = node[str(step)]
        return _position_of(mark)


def _position_of(mark: Any) -> tuple[int, int]:  # noqa: ANN401 - PyYAML's mark, None for the root
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def parse(data: bytes, path: str) -> Document:
    """Read one document strictly.

    Args:
        data: the file's bytes.
        path: what errors name.

    Raises:
        InvalidInput: E_YAML_SIZE, E_ENCODING, E_TEXT_CONTROL, E_YAML_SYNTAX, E_YAML_DEPTH, E_YAML_EVENTS,
            E_YAML_SCALAR, E_YAML_KEY, E_YAML_ALIAS, E_YAML_MERGE, E_YAML_TAG, E_YAML_DIRECTIVE,
            E_YAML_DUP_KEY, E_YAML_KEY_COLLISION, E_YAML_MULTI_DOC or E_YAML_ROOT.
    """
    _check_bytes(data, path)
    # An escape can hide a character that the text does not show.
    reader = _Reader(path, escapes=b"\\" in data)
    parser = _PARSER(data)
    try:
        return reader.read(parser.get_event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidInput.of(
            "E_YAML_SYNTAX",
            f"not YAML: {error.problem or error.context}",
            path=path,
            line=mark.line + 1 if mark else 0,
            column=mark.column + 1 if mark else 0,
        ) from error
    except yaml.YAMLError as error:
        raise InvalidInput.of("E_YAML_SYNTAX", "not YAML: a character is not allowed", path=path) from error
    finally:
        parser.dispose()


def _check_bytes(data: bytes, path: str) -> None:
    if len(data) > MAX_SIZE:
        raise InvalidInput.of(
            "E_YAML_SIZE", "the file is larger than 1 MiB", path=path, fix="split it; documents are merged"
        )
    fix = "save the file as UTF-8 without a byte order mark"
    if data.startswith(_BOMS):
        raise InvalidInput.of(
            "E_ENCODING", "UTF-8 without BOM is required", path=path, line=1, column=1, fix=fix
        )
    control = _ASCII_CONTROL.search(data) if data.translate(None, _NO_CONTROL) else None
    if control:
        line, column = _position(data, control.start())
        _refuse_control(chr(data[control.start()]), path, line, column)
    if data.isascii():
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _position(data, error.start)
        raise InvalidInput.of(
            "E_ENCODING", "UTF-8 without BOM is required", path=path, line=line, column=column, fix=fix
        ) from error
    for char in set(text):
        if not char.isascii() and forbidden_character(char):
            first = min(
                text.index(other) for other in set(text) if not other.isascii() and forbidden_character(other)
            )
            line = text.count("\n", 0, first) + 1
            _refuse_control(text[first], path, line, first - text.rfind("\n", 0, first))


def _position(data: bytes, at: int) -> tuple[int, int]:
    return data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)


def _refuse_control(char: str, path: str, line: int, column: int) -> NoReturn:
    raise InvalidInput.of(
        "E_TEXT_CONTROL",
        f"U+{ord(char):04X} is not allowed: it cannot be seen in review",
        path=path,
        line=line,
        column=column,
        fix="remove the character",
    )


class _Reader:
    """Builds one document from events, and refuses the first thing that is not plain data."""

    __slots__ = ("_escapes", "_marks", "_path")

    def __init__(self, path: str, *, escapes: bool) -> None:
        self._path = path
        self._escapes = escapes
        self._marks: dict[int, list[Any]] = {}

    def read(self, get_event: Callable[[], Any]) -> Document:
        get_event()  # the stream's start
        start = get_event()
        if not isinstance(start, DocumentStartEvent):
            self._refuse("E_YAML_ROOT", "the file holds no document", None)
        if start.version or start.tags:
            self._refuse("E_YAML_DIRECTIVE", "directives are not allowed", start)
        first = get_event()
        if isinstance(first, AliasEvent):
            self._refuse_alias(first)
        self._check_node(first)
        if isinstance(first, SequenceStartEvent):
            self._build(get_event, [])  # a hostile list is refused for what it is
        if not isinstance(first, MappingStartEvent):
            self._refuse("E_YAML_ROOT", "a document is a mapping of fields", first)
        root: dict[str, Tree] = {}
        self._build(get_event, root)
        end = get_event()
        if not isinstance(end, DocumentEndEvent):
            self._refuse("E_YAML_SYNTAX", "the document goes on after its end", end)
        after = get_event()
        if isinstance(after, DocumentStartEvent):
            self._refuse(
                "E_YAML_MULTI_DOC", "a file holds one document", after, fix="write one file for each"
            )
        return Document(self._path, root, self._marks)

    def _build(self, get_event: Callable[[], Any], root: Any) -> None:  # noqa: ANN401, PLR0912 - the hot loop, kept flat
        """Fill the root container from the events up to its end."""
        node: Any = root
        is_map = isinstance(root, dict)
        key: str | None = None
        marks: list[Any] = []
        self._marks[id(root)] = marks
        folds: dict[str, str] | None = None  # the folded keys of this mapping, once one differs from its own
        stack: list[tuple[Any, bool, list[Any], dict[str, str] | None]] = []
        plain_key, escapes = _PLAIN_KEY.fullmatch, self._escapes
        event: Any = None
        for event in islice(iter(get_event, None), MAX_EVENTS):
            kind = event.__class__
            if kind is ScalarEvent:
                if event.anchor is not None or event.tag is not None:
                    self._check_node(event)
                marks.append(event.start_mark)
                text: str = event.value
                if is_map and key is None:
                    if folds is None and text not in node and plain_key(text):
                        key = text
                    else:
                        key, folds = self._key(event, node, folds)
                    continue
                plain = text not in _NULLS and len(text) <= _SURELY_SHORT and not escapes
                value = text if plain else self._value(event)
                if is_map:
                    node[key] = value
                    key = None
                else:
                    node.append(value)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._check_start(event, len(stack), is_key=is_map and key is None)
                marks.append(event.start_mark)
                child: Any = {} if kind is MappingStartEvent else []
                if is_map:
                    node[key] = child
                else:
                    node.append(child)
                stack.append((node, is_map, marks, folds))
                node, is_map, key, marks, folds = child, kind is MappingStartEvent, None, [], None
                self._marks[id(child)] = marks
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                if not stack:
                    return
                node, is_map, marks, folds = stack.pop()
                key = None
            else:
                self._refuse_alias(event)
        self._refuse("E_YAML_EVENTS", f"the file has more than {MAX_EVENTS} keys, values and brackets", event)

    def _value(self, event: Any) -> str | None:  # noqa: ANN401 - PyYAML's event
        """What a scalar says; nothing where it is one of YAML's words for that."""
        if event.value in _NULLS and event.style in {None, ""}:
            return None
        self._check_scalar(event)
        text: str = event.value
        return text

    def _key(
        self,
        event: Any,  # noqa: ANN401 - PyYAML's event
        node: dict[str, Tree],
        folds: dict[str, str] | None,
    ) -> tuple[str, dict[str, str] | None]:
        """The key, and the folded keys of its mapping where one of them is not its own folded form."""
        key: str = event.value
        if key in node:
            first = _position_of(self._marks[id(node)][list(node).index(key) * 2])
            again = event.start_mark
            where = f"first at {first[0]}:{first[1]}, again at {again.line + 1}:{again.column + 1}"
            self._refuse("E_YAML_DUP_KEY", f"a key is given twice, {where}", event, got=key)
        if key == "<<" and event.style in {None, ""}:
            self._refuse("E_YAML_MERGE", "merge keys are not allowed", event, fix="write the fields out")
        if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY:
            self._refuse("E_YAML_KEY", f"a key has at most {MAX_KEY} bytes", event)
        self._check_scalar(event)
        folded = _folded(key)
        if folded == key and folds is None:
            return key, None
        if folds is None:
            # Keys equal to their folded form cannot collide with each other; only now is one there that can.
            folds = {_folded(other): other for other in node}
        twin = folds.setdefault(folded, key)
        if twin != key:
            self._refuse("E_YAML_KEY_COLLISION", f"the key is too like {twin!a}", event, got=key)
        return key, folds

    def _check_scalar(self, event: Any) -> None:  # noqa: ANN401 - PyYAML's event
        if len(event.value) > MAX_SCALAR or len(event.value.encode("utf-8", "surrogatepass")) > MAX_SCALAR:
            self._refuse("E_YAML_SCALAR", "a text has at most 64 KiB", event)
        char = forbidden_character(event.value)
        if char:
            _refuse_control(char, self._path, event.start_mark.line + 1, event.start_mark.column + 1)

    def _check_start(self, event: Any, depth: int, *, is_key: bool) -> None:  # noqa: ANN401 - PyYAML's event
        if event.anchor is not None or event.tag is not None:
            self._check_node(event)
        if is_key:
            self._refuse("E_YAML_KEY", "a key is text", event)
        if depth + 2 > MAX_DEPTH:
            self._refuse(
                "E_YAML_DEPTH", f"nesting is deeper than {MAX_DEPTH}", event, fix="flatten the document"
            )

    def _check_node(self, event: Any) -> None:  # noqa: ANN401 - PyYAML's event
        if event.anchor is not None:
            self._refuse_alias(event)
        if event.tag is not None:
            self._refuse(
                "E_YAML_TAG", "tags are not allowed", event, got=str(event.tag), fix="remove the tag"
            )

    def _refuse_alias(self, event: Any) -> NoReturn:  # noqa: ANN401 - PyYAML's event
        self._refuse("E_YAML_ALIAS", "anchors and aliases are not allowed", event, fix="write the value out")

    def _refuse(
        self,
        code: str,
        message: str,
        event: Any,  # noqa: ANN401 - PyYAML's event
        *,
        got: str | None = None,
        fix: str = "",
    ) -> NoReturn:
        mark = event.start_mark if event is not None else None
        raise InvalidInput.of(
            code,
            message,
            path=self._path,
            line=mark.line + 1 if mark else 0,
            column=mark.column + 1 if mark else 0,
            got=got,
            fix=fix,
        )


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
