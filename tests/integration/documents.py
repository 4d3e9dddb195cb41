"""Reading our own Markdown: fenced blocks, tables and links, so that tests can run and compare them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """One fenced block: its language, its text and the line it starts on."""

    language: str
    text: str
    line: int


class Command(NamedTuple):
    """One command of a console block, and what it prints."""

    line: str
    output: str


def page(name: str) -> str:
    """The text of a page, by its path from the repository's root."""
    return (ROOT / name).read_text(encoding="utf-8")


def pages() -> list[str]:
    """Every Markdown page of the repository, as paths from its root."""
    folders = ("docs", "ops", "examples", "benchmarks")
    found = [*ROOT.glob("*.md"), *(path for name in folders for path in (ROOT / name).rglob("*.md"))]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def blocks(name: str, language: str) -> list[Block]:
    """The fenced blocks of one language on a page."""
    text = page(name)
    return [
        Block(match["language"], match["text"], text.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(text)
        if match["language"] == language
    ]


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block: a line after `$ ` (with its continuations), then its output."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, output = part.replace("\\\n", "").partition("\n")
        yield Command(" ".join(line.split()), output.strip("\n"))


def links(name: str) -> list[str]:
    """The targets of a page's links, outside code."""
    return _LINK.findall(_FENCE.sub("", page(name)))


def rows(name: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its header."""
    after = re.split(rf"^#+ {re.escape(heading)}$", page(name), flags=re.MULTILINE)[1]
    lines: list[str] = []
    for line in after.splitlines():
        if line.startswith("|"):
            lines.append(line)
        elif lines:
            break
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines[2:]
    ]


def matches(expected: str, actual: str) -> bool:
    """Whether an output is as the page shows it; `…` on the page stands for any text on one line."""
    pattern = "[^\n]*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, actual) is not None
