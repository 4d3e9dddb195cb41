"""A tree with some files that nobody has written yet: what the desired state would be with them.

Used to plan with a change before it is written or committed: files that are added, files that are other
than they were, and files that are gone. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.desired.tree import FILE, Listing, Tree, TreeEntry, TreeLimits
from reconciler.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Overlay:
    """A tree, files by path that are added or replaced, and paths that are gone.

    It is a `reconciler.desired.tree.Tree` itself.
    """

    below: Tree
    added: Mapping[str, bytes]
    gone: frozenset[str] = frozenset()

    @classmethod
    def adding(cls, below: Tree, added: Mapping[str, bytes]) -> Overlay:
        """Add files to a tree, and replace none.

        Raises:
            InvalidInput: E_FILE_EXISTS, one of them is there already.
        """
        there = below.find(sorted(added))
        taken = [entry.path for entry in there.entries] + [problem.path for problem in there.problems]
        if taken:
            raise InvalidInput.of(
                "E_FILE_EXISTS",
                "the file is there already; nothing is ever overwritten",
                path=taken[0],
                fix="name another directory with --into, or move the file away",
            )
        return cls(below, added)

    @property
    def commit(self) -> str:
        """That of the tree below: the added files are in no commit."""
        return self.below.commit

    @property
    def commit_time(self) -> int:
        """That of the tree below."""
        return self.below.commit_time

    @property
    def author(self) -> str:
        """That of the tree below."""
        return self.below.author

    def files(self, prefix: str, limits: TreeLimits) -> Listing:
        """Every file below a directory, as it would be."""
        listing = self.below.files(prefix, limits)
        stay = [entry for entry in listing.entries if not self._changed(entry.path)]
        inside = [self._entry(path) for path in self.added if path.startswith(f"{prefix}/")]
        return Listing(tuple(sorted([*stay, *inside])), listing.problems)

    def find(self, paths: Sequence[str]) -> Listing:
        """The files and directories among these paths, as they would be."""
        listing = self.below.find([path for path in paths if not self._changed(path)])
        wanted = [self._entry(path) for path in sorted(set(paths)) if path in self.added]
        return Listing(tuple(sorted([*listing.entries, *wanted])), listing.problems)

    def read(self, entries: Sequence[TreeEntry], limit: int) -> Iterator[tuple[TreeEntry, bytes]]:
        """The bytes of files, in the order asked for, cut off after `limit` + 1 bytes."""
        below = self.below.read([entry for entry in entries if entry.path not in self.added], limit)
        for entry in entries:
            if entry.path in self.added:
                yield entry, self.added[entry.path][: limit + 1]
            else:
                yield next(below)

    def _changed(self, path: str) -> bool:
        return path in self.added or path in self.gone

    def _entry(self, path: str) -> TreeEntry:
        return TreeEntry(path, FILE, "", len(self.added[path]))
