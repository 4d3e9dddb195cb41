"""Reading a commit by its objects: no checkout, no filter, no hook, no network.

A ref comes from a person or a pull request, so it is judged by a grammar first, resolved once to an
object id behind ``--end-of-options``, and never used again: everything later asks for that id. GitPython
serves as a thin wrapper that starts git's plumbing (`rev-parse`, `for-each-ref`, `cat-file`, `ls-tree`) as
`reconciler.desired.plumbing` fences it; its object model, its configuration reader and its porcelain are
never touched. An object that is not there (a shallow or partial clone) is an error, never an absent file.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from reconciler.desired.plumbing import (
    DUBIOUS,
    GitFailed,
    Plumbing,
    missing_object,
    require_version,
    unusable_repository,
)
from reconciler.desired.tree import FILE, Listing, TreeEntry, TreeLimits, TreeRow, checked, found
from reconciler.errors import InvalidInput

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{4,64}", re.ASCII)
_REF = re.compile(
    r"(?!-)[A-Za-z0-9_+#=,%@-][A-Za-z0-9._+#=,%@-]*(?:/(?!-)[A-Za-z0-9_+#=,%@-][A-Za-z0-9._+#=,%@-]*)*"
)
_STEPS = re.compile(r"((?:~[0-9]{0,6}|\^[0-9]{0,2})*)$")
_COMMITTED = re.compile(rb"^committer .*> ([0-9]{1,11}) [+-][0-9]{4}$", re.MULTILINE)
_AUTHOR = re.compile(rb"^author (.*>) [0-9]+ [+-][0-9]{4}$", re.MULTILINE)
_CHUNK = 1 << 16
_ROW_LIMIT = 1 << 20
_ASKED_AT_ONCE = 500


def repository_root(start: Path) -> Path:
    """The root of the repository around a directory (of a bare one: its git directory).

    Raises:
        InvalidInput: E_GIT_REPO, there is none, or git refuses to trust it.
        Unavailable: E_GIT_TOOL.
    """
    if not start.is_dir():
        raise InvalidInput.of(
            "E_GIT_REPO", "the repository is not a directory", path="--repo", got=str(start)
        )
    git = Plumbing(start)
    try:
        bare = git.run("rev-parse", "--is-inside-work-tree").strip() != b"true"
        shown = git.run("rev-parse", "--absolute-git-dir" if bare else "--show-toplevel")
    except GitFailed as failed:
        if DUBIOUS in failed.said:
            message = "git does not trust a repository of another user"
            fix = "run as the user who owns it, or name it as safe.directory in your own git configuration"
        else:
            message, fix = "there is no git repository here", "run inside one, or name it with --repo"
        raise InvalidInput.of("E_GIT_REPO", message, path="--repo", got=str(start), fix=fix) from failed
    return Path(os.fsdecode(shown.removesuffix(b"\n")))


def head_commit(root: Path) -> str | None:
    """The object id that HEAD names, or None in a repository without commits."""
    try:
        return _resolved(Plumbing(root), "HEAD")
    except GitFailed as failed:
        if failed.status == 1:
            return None
        raise unusable_repository(root) from failed


def _resolved(git: Plumbing, name: str) -> str:
    return git.run("rev-parse", "--verify", "--quiet", "--end-of-options", name).decode("ascii").strip()


def open_commit(root: Path, ref: str, *, warn: Callable[[str], None] | None = None) -> CommitTree:
    """The tree of the commit that a ref names.

    Args:
        root: the repository, as `repository_root` gives it.
        ref: HEAD, a branch, a tag, a full ref name or a full object id; `~N` and `^N` may follow.
        warn: told when git is old enough to have known vulnerabilities.

    Raises:
        InvalidInput: E_REF_OPTION, E_REF_CHARS, E_REF_FULL, E_REF_UNKNOWN, E_REF_AMBIGUOUS, E_REF_TYPE,
            E_GIT_REPO, E_GIT_UNBORN, E_GIT_COMMIT or E_GIT_MISSING_OBJECT.
        Unavailable: E_GIT_TOOL, git is missing or older than 2.39.
    """
    name, steps = _judged(ref)
    git = Plumbing(root)
    try:
        require_version(git, warn)
        oid = _commit_of(git, name, steps, ref)
        raw = git.run("cat-file", "commit", oid)
    except GitFailed as failed:
        raise unusable_repository(root) from failed
    head = raw.partition(b"\n\n")[0]
    committed, author = _COMMITTED.search(head), _AUTHOR.search(head)
    if not committed or not author:
        raise InvalidInput.of(
            "E_GIT_COMMIT", "the commit has no usable author and time", path="--ref", got=ref
        )
    return CommitTree(
        commit=oid,
        commit_time=int(committed.group(1)),
        author=author.group(1).decode("utf-8", "replace"),
        git=git,
    )


def _bad_ref(code: str, message: str, ref: str, fix: str) -> InvalidInput:
    return InvalidInput.of(code, message, path="--ref", got=ref, fix=fix)


def _judged(ref: str) -> tuple[str, str]:
    """A ref cut into its name and the steps back from it, by grammar alone."""
    if ref.startswith("-"):
        raise _bad_ref(
            "E_REF_OPTION", "a ref does not start with a dash", ref, "name a branch, tag or commit"
        )
    steps = _STEPS.search(ref)
    back = steps.group(1) if steps else ""
    name = ref.removesuffix(back) if back else ref
    if not _REF.fullmatch(name) or ".." in name or ".lock/" in f"{name}/" or name.endswith("."):
        raise _bad_ref(
            "E_REF_CHARS",
            "a part of a ref is ASCII letters, digits and . _ + # = , % @ -, and starts with no dash or dot",
            ref,
            "name a branch, tag or full object id",
        )
    return ("HEAD" if name == "@" else name), back


def _commit_of(git: Plumbing, name: str, steps: str, ref: str) -> str:
    by_id = _OID.fullmatch(name) is not None
    full = name if name == "HEAD" or by_id else _full_name(git, name, ref)
    try:
        first = _resolved(git, full + steps)
    except GitFailed as failed:
        raise _unresolved(git, full, steps, ref) from failed
    try:
        commit = _resolved(git, f"{first}^{{commit}}")
    except GitFailed as failed:
        _refuse_object(git, first, ref, failed)
    if by_id and commit != first:
        # A branch or tag by name may lead on to a commit; an id must be the commit itself.
        _refuse_object(git, first, ref, None)
    return commit


def _refuse_object(git: Plumbing, oid: str, ref: str, failed: GitFailed | None) -> NoReturn:
    try:
        kind = git.run("cat-file", "-t", oid).decode().strip()
    except GitFailed:
        raise missing_object(oid) from failed
    raise _bad_ref("E_REF_TYPE", f"the object is a {kind}, not a commit", ref, "name a commit") from failed


def _full_name(git: Plumbing, name: str, ref: str) -> str:
    """The one full ref that a name stands for; two of them are an error, because tools pick differently."""
    places = [f"refs/{kind}/{name}" for kind in ("heads", "tags", "remotes")]
    wanted = {name} if name.startswith("refs/") else set(places)
    listed = git.run("for-each-ref", "--format=%(refname)", "--", *sorted(wanted)).decode("utf-8", "replace")
    matches = sorted(wanted.intersection(listed.splitlines()))
    if len(matches) > 1:
        raise _bad_ref(
            "E_REF_AMBIGUOUS", f"the ref stands for {' and '.join(matches)}", ref, "write one of them in full"
        )
    if matches:
        return matches[0]
    if _HEX.fullmatch(name):
        raise _bad_ref(
            "E_REF_FULL", "an object id is given in full, in lower-case hex", ref, "write all 40 digits"
        )
    raise _bad_ref("E_REF_UNKNOWN", "the repository has no such ref", ref, "fetch it, or check the spelling")


def _unresolved(git: Plumbing, full: str, steps: str, ref: str) -> InvalidInput:
    if steps:
        if git.run("rev-parse", "--is-shallow-repository").strip() == b"true":
            return missing_object(ref)
        return _bad_ref("E_REF_UNKNOWN", "the commit has no such ancestor", ref, "check the number")
    if full == "HEAD":
        return _bad_ref(
            "E_GIT_UNBORN", "the repository has no commit yet", ref, "commit the desired state first"
        )
    return missing_object(ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTree:
    """The files of one commit, read as git objects; a `reconciler.desired.tree.Tree`."""

    commit: str
    commit_time: int
    author: str
    git: Plumbing

    def files(self, prefix: str, limits: TreeLimits) -> Listing:
        """Every file below a directory; empty if there is no such directory."""
        rows = self._rows("-r", "-l", paths=(prefix,))
        return checked((row for row in rows if row.path != prefix.encode() or row.mode != FILE), limits)

    def find(self, paths: Sequence[str]) -> Listing:
        """The files and directories among these paths; an absent one is left out."""
        tops = {row.path for row in self._rows(paths=())}
        asked = sorted({path for path in paths if path.split("/", 1)[0].encode() in tops})
        wanted = {path.encode() for path in asked}
        # Without -t a directory is left out when something below it is asked for as well.
        rows = (
            row
            for start in range(0, len(asked), _ASKED_AT_ONCE)
            for row in self._rows("-l", "-t", paths=asked[start : start + _ASKED_AT_ONCE])
        )
        return found({row.path: row for row in rows if row.path in wanted}.values())

    def read(self, entries: Sequence[TreeEntry], limit: int) -> Iterator[tuple[TreeEntry, bytes]]:
        """The bytes of files, in the order asked for, cut off after `limit` + 1 bytes."""
        if not entries:
            return
        with tempfile.TemporaryFile() as asked:
            asked.writelines(entry.oid.encode("ascii") + b"\n" for entry in entries)
            asked.seek(0)
            process = self.git.start("cat-file", "--batch", "--buffer", asked=asked)
            try:
                for entry in entries:
                    yield entry, _blob(process.stdout, entry, limit)
            finally:
                _end(process)

    def _rows(self, *options: str, paths: Sequence[str]) -> Iterator[TreeRow]:
        """The rows of ls-tree, streamed, so that a huge tree is refused before it fills the memory."""
        process = self.git.start("ls-tree", "-z", "--full-tree", *options, self.commit, "--", *paths)
        try:
            rest = b""
            while chunk := process.stdout.read(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\0")
                for line in lines:
                    yield self._row(line)
                if len(rest) > _ROW_LIMIT:
                    raise InvalidInput.of("E_TREE_PATH", "a path of the tree is longer than a megabyte")
            if process.proc.wait() != 0:
                raise missing_object(self.commit)
        finally:
            _end(process)

    @staticmethod
    def _row(line: bytes) -> TreeRow:
        head, _, path = line.partition(b"\t")
        mode, kind, oid, *size = head.decode("ascii").split()
        number = size[0] if size else "0"
        if kind == "blob" and not number.isdigit():
            raise missing_object(oid)
        return TreeRow(mode, path, oid, int(number) if kind == "blob" else 0)


def _blob(stream: IO[bytes], entry: TreeEntry, limit: int) -> bytes:
    head = stream.readline().split()
    if len(head) != 3 or head[1] != b"blob":
        raise missing_object(entry.path)
    size = int(head[2])
    data = stream.read(min(size, limit + 1))
    left = size + 1 - len(data)
    while left:
        passed = stream.read(min(left, _CHUNK))
        if not passed:
            raise missing_object(entry.path)
        left -= len(passed)
    return data


def _end(process: Any) -> None:  # noqa: ANN401 - GitPython's process wrapper
    """Stop a process whose output is not wanted any more, and close its pipes."""
    running = process.proc
    if running is None:
        return
    for pipe in (running.stdout, running.stderr):
        pipe.close()
    if running.poll() is None:
        running.terminate()
    running.wait()
    process.proc = None
