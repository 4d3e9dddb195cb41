"""What a disk may hold after a power loss: a recorder of file-system calls, and the states that they allow.

A killed process loses nothing, because the system still holds what it wrote; only a power loss shows a
missing sync. So the calls that change a directory tree are recorded while the real code runs, and
`Disk` computes from them every tree that may be found after the power went, in this model:

- Bytes of a file that were not synced are there, or none of them, or the first half, or zeros of the
  right length. A sync of the file makes them durable, and nothing else: not its name.
- A name is durable once its own directory was synced. Until then each name of a directory may be as it
  was at any moment since that sync, whatever the other names are: nothing orders them but a sync.
- A rename may leave both names, a directory's too (fsck would drop one; the code must not care which). It
  leaves neither only if the directory of the old name was synced and that of the new one was not, which
  is harsher than journaled file systems are, and so shows where the second sync is missing.
- A removed file whose removal was not synced may come back, with the bytes that were durable.
- Permissions and times are not part of the model, nor the bytes of the lock, which nothing reads.

Every state before a call is also a state after it unless the call is a sync, so the moments right
before each sync and after the last call are enough. Where a moment has more states than asked for, all
states that differ from nothing-persisted or everything-persisted in one place come first, and the rest
is drawn with a fixed seed.
"""

from __future__ import annotations

import math
import os
import random
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

Kind = Literal["create", "mkdir", "write", "sync", "link", "rename", "remove"]
State = Mapping[str, bytes | None]
"""A tree: the bytes of each file by its path, None for each directory."""

SEED = 20240501


class Call(NamedTuple):
    """One call that changes a tree or makes it durable; paths are relative to the watched directory."""

    kind: Kind
    path: str
    other: str = ""
    data: bytes = b""


class _Recorder:
    """Hands each call on to the system and notes it if it succeeded."""

    def __init__(self, base: Path) -> None:
        self.base = f"{base}/"
        self.calls: list[Call] = []
        self.real: dict[str, Callable[..., Any]] = {}

    def path(self, name: str, at: int) -> str:
        return f"{Path(f'/proc/self/fd/{at}').readlink()}/{name}".removesuffix("/.")

    def note(self, kind: Kind, path: str, other: str = "", data: bytes = b"") -> None:
        if path.startswith(self.base):
            self.calls.append(Call(kind, path.removeprefix(self.base), other.removeprefix(self.base), data))
        elif f"{path}/" == self.base:
            self.calls.append(Call(kind, "", other, data))

    def open(self, name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        creates = bool(flags & os.O_CREAT) and dir_fd is not None
        path = self.path(name, dir_fd) if creates and dir_fd is not None else ""
        fresh = creates and not os.path.lexists(path)
        handle: int = self.real["open"](name, flags, mode, dir_fd=dir_fd)
        if fresh:
            self.note("create", path)
        return handle

    def write(self, handle: int, data: bytes) -> int:
        written: int = self.real["write"](handle, data)
        self.note("write", self.path(".", handle), data=bytes(data[:written]))
        return written

    def fsync(self, handle: int) -> None:
        self.real["fsync"](handle)
        self.note("sync", self.path(".", handle))

    def mkdir(self, name: str, mode: int, *, dir_fd: int) -> None:
        self.real["mkdir"](name, mode, dir_fd=dir_fd)
        self.note("mkdir", self.path(name, dir_fd))

    def link(
        self, one: str, two: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool = True
    ) -> None:
        fds = {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd}
        self.real["link"](one, two, **fds, follow_symlinks=follow_symlinks)
        self.note("link", self.path(one, src_dir_fd), self.path(two, dst_dir_fd))

    def rename(self, one: str, two: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self.real["rename"](one, two, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.note("rename", self.path(one, src_dir_fd), self.path(two, dst_dir_fd))

    def unlink(self, name: str, *, dir_fd: int) -> None:
        self.real["unlink"](name, dir_fd=dir_fd)
        self.note("remove", self.path(name, dir_fd))

    def rmdir(self, name: str, *, dir_fd: int) -> None:
        self.real["rmdir"](name, dir_fd=dir_fd)
        self.note("remove", self.path(name, dir_fd))


@contextmanager
def recorded(base: Path) -> Iterator[list[Call]]:
    """The calls below a directory that this process makes in a block."""
    recorder = _Recorder(base)
    names = ("open", "write", "fsync", "mkdir", "link", "rename", "unlink", "rmdir")
    recorder.real = {name: getattr(os, name) for name in names}
    with ExitStack() as patched:
        for name in names:
            patched.enter_context(patch.object(os, name, getattr(recorder, name)))
        yield recorder.calls


@dataclass(slots=True, eq=False)
class _File:
    data: bytes = b""
    durable: bytes = b""

    def choices(self) -> list[bytes]:
        """The bytes that may be found, those of the last sync first and what was written last."""
        if self.data == self.durable:
            return [self.data]
        torn = (self.durable, bytes(len(self.data)), self.data[: len(self.data) // 2], self.data)
        return list(dict.fromkeys(torn))


@dataclass(slots=True, eq=False)
class _Slot:
    """One name of a directory: what it named since the last sync, each with the time of the call."""

    versions: list[tuple[int, _Directory | _File | None]]

    def now(self) -> _Directory | _File | None:
        return self.versions[-1][1]

    def not_before(self, time: int) -> None:
        while len(self.versions) > 1 and self.versions[1][0] <= time:
            del self.versions[0]


@dataclass(slots=True, eq=False)
class _Directory:
    names: dict[str, _Slot] = field(default_factory=dict)

    def slot(self, name: str) -> _Slot:
        return self.names.setdefault(name, _Slot([(0, None)]))


class _Rename(NamedTuple):
    time: int
    source: _Slot
    goal: _Slot


_Choice = tuple[int, ...]


class Disk:
    """A tree of which some is durable and some is not."""

    def __init__(self, start: State) -> None:
        self._root = _Directory()
        self._renames: list[_Rename] = []
        self._time = 0
        for path, data in sorted(start.items()):
            parent, name = self._parent(path)
            parent.names[name] = _Slot([(0, _Directory() if data is None else _File(data, data))])

    def _find(self, path: str) -> _Directory | _File | None:
        node: _Directory | _File | None = self._root
        for part in path.split("/") if path else ():
            assert isinstance(node, _Directory), path
            node = node.slot(part).now()
        return node

    def _parent(self, path: str) -> tuple[_Directory, str]:
        parent, _, name = path.rpartition("/")
        node = self._find(parent)
        assert isinstance(node, _Directory), path
        return node, name

    def _slot(self, path: str) -> _Slot:
        parent, name = self._parent(path)
        return parent.slot(name)

    def do(self, call: Call) -> None:
        """Take one call in."""
        self._time += 1
        if call.kind == "sync":
            self._sync(self._find(call.path))
        elif call.kind == "write":
            file = self._find(call.path)
            assert isinstance(file, _File), call
            file.data += call.data
        else:
            slot = self._slot(call.path)
            if call.kind == "link":
                self._slot(call.other).versions.append((self._time, slot.now()))
                return
            if call.kind == "rename":
                goal = self._slot(call.other)
                goal.versions.append((self._time, slot.now()))
                self._renames.append(_Rename(self._time, slot, goal))
            made = {"create": _File, "mkdir": _Directory}.get(call.kind)
            slot.versions.append((self._time, made() if made else None))

    def _sync(self, node: _Directory | _File | None) -> None:
        if isinstance(node, _File):
            node.durable = node.data
        elif isinstance(node, _Directory):
            for slot in node.names.values():
                slot.not_before(self._time)

    def is_directory(self, path: str) -> bool:
        """Whether a path names a directory now."""
        return isinstance(self._find(path), _Directory)

    def now(self) -> State:
        """The tree that every process sees: nothing is lost as long as the system runs."""
        return self._tree({})

    def _pending(self) -> list[_Slot | _File]:
        """What may be found in more than one way, as far as any state shows it."""
        seen: dict[int, _Slot | _File | _Directory] = {}
        todo: list[_Slot | _File | _Directory] = [self._root]
        while todo:
            one = todo.pop()
            if id(one) in seen:
                continue
            seen[id(one)] = one
            if isinstance(one, _Directory):
                todo += [one.names[name] for name in sorted(one.names)]
            elif isinstance(one, _Slot):
                todo += [node for _, node in one.versions if node is not None]
        return [
            one
            for one in seen.values()
            if (isinstance(one, _Slot) and len(one.versions) > 1)
            or (isinstance(one, _File) and len(one.choices()) > 1)
        ]

    def states(self, most: int) -> Iterator[State]:
        """Trees that may be found if the power goes now; all of them, if there are not more than `most`."""
        pending = self._pending()
        sizes = [len(one.versions if isinstance(one, _Slot) else one.choices()) for one in pending]
        index = {id(one): position for position, one in enumerate(pending)}
        known = [rename for rename in self._renames if {id(rename.source), id(rename.goal)} & set(index)]
        exhaustive = math.prod(sizes) <= most
        choices = product(*map(range, sizes)) if exhaustive else _sampled(sizes, most)
        for choice in choices:
            chosen = {id(one): number for one, number in zip(pending, choice, strict=True)}
            if all(_possible(rename, chosen) for rename in known):
                yield self._tree(chosen)

    def _tree(self, chosen: Mapping[int, int]) -> State:
        found: dict[str, bytes | None] = {}

        def show(directory: _Directory, prefix: str) -> None:
            for name, slot in directory.names.items():
                node = slot.versions[chosen.get(id(slot), -1)][1]
                if isinstance(node, _File):
                    found[prefix + name] = node.choices()[chosen.get(id(node), -1)]
                elif isinstance(node, _Directory):
                    found[prefix + name] = None
                    show(node, f"{prefix}{name}/")

        show(self._root, "")
        return found


def _possible(rename: _Rename, chosen: Mapping[int, int]) -> bool:
    """Whether the new name stands if the old one has gone, unless that was synced alone."""
    if rename.source.versions[0][0] >= rename.time:
        return True
    old = rename.source.versions[chosen.get(id(rename.source), -1)][0]
    new = rename.goal.versions[chosen.get(id(rename.goal), -1)][0]
    return old < rename.time or new >= rename.time


def _sampled(sizes: Sequence[int], most: int) -> Iterator[_Choice]:
    """The extremes, whatever differs from them in one place, then choices at random."""
    nothing, everything = [0] * len(sizes), [size - 1 for size in sizes]
    chosen = [tuple(nothing), tuple(everything)]
    chosen += [
        (*base[:position], number, *base[position + 1 :])
        for position, size in enumerate(sizes)
        for number in range(size)
        for base in (nothing, everything)
    ]
    draw = random.Random(SEED)  # noqa: S311 - reproducible, not secret
    chosen += [tuple(draw.randrange(size) for size in sizes) for _ in range(most)]
    yield from islice(dict.fromkeys(chosen), most)


def crash_states(disk: Disk, calls: Sequence[Call], most: int) -> Iterator[tuple[int, State]]:
    """Each tree that a power loss during these calls may leave, once, with the number of calls made.

    Args:
        disk: what is there before; it takes the calls in.
        calls: what was recorded.
        most: how many states of one moment are looked at.
    """
    seen: set[frozenset[tuple[str, bytes | None]]] = set()
    for number in range(len(calls) + 1):
        if number == len(calls) or calls[number].kind == "sync":
            for state in disk.states(most):
                key = frozenset(state.items())
                if key not in seen:
                    seen.add(key)
                    yield number, state
        if number < len(calls):
            disk.do(calls[number])


def read_tree(base: Path, top: str) -> State:
    """The tree below one directory of `base`."""
    found: dict[str, bytes | None] = {}
    for path in [base / top, *(base / top).rglob("*")]:
        if os.path.lexists(path):
            is_directory = stat.S_ISDIR(path.lstat().st_mode)
            found[path.relative_to(base).as_posix()] = None if is_directory else path.read_bytes()
    return found


def write_tree(base: Path, state: State) -> None:
    """Build a tree where there is none."""
    for path, data in sorted(state.items()):
        if data is None:
            (base / path).mkdir()
        else:
            (base / path).write_bytes(data)
