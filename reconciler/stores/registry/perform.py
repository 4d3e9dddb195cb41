"""Doing the edits of one transaction: compare, refuse, write, derive `latest`.

Decides the order in which rows change, so that a reference never names what is not there: manifests,
links, tags on the way up; then `latest`, derived from all versions of every touched dataset; then links
and manifests on the way down. Everything that may be refused is looked for and named before the statement
that would break on it; the keys of the tables stand behind that for writers that take no lock.

Never commits and never opens a transaction: the caller holds one, and undoes it if this raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from reconciler.errors import Conflict, Denied, InvalidInput, Problem
from reconciler.reference import LATEST, ManifestHash, digest_of
from reconciler.stores.registry import statements as sql
from reconciler.stores.registry.edits import Edits, reused, twins
from reconciler.stores.registry.session import Session
from reconciler.stores.registry.values import LatestRule

PUT_LIMIT: Final = 24 * 60 * 60
"""Seconds between putting bytes and registering them. A collection keeps its tombstones for longer, so that a
registration which waited finds out that what it had put was taken."""

_ABSENT: Final = "absent"


def perform(
    session: Session,
    edits: Edits,
    *,
    rule: LatestRule,
    time: int,
    restore: Callable[[ManifestHash], None],
    put_at: int,
    may_move: Callable[[str], bool],
) -> None:
    """Do the edits.

    Args:
        session: the open transaction; it holds the writer lock.
        edits: what is to change.
        rule: which version `latest` is.
        time: when, in Unix seconds, for links and tags.
        restore: puts an object again that garbage collection may have removed since it was put.
        put_at: the database's time before the first object was put, 0 if that is not known.
        may_move: whether the version with this key may name other bytes than it ever did.

    Raises:
        Conflict: E_CONFLICT or E_VERSION_BUILD.
        Denied: E_TAG_IMMUTABLE, E_LINK_TAGGED or E_MANIFEST_LINKED.
        InvalidInput: E_MANIFEST_UNKNOWN, E_NOT_LINKED or E_TAG_MISSING.
    """
    _load(session, edits)
    _compare(session, edits)
    _register(session, edits, restore, put_at)
    _link(session, edits, time)
    _refuse_reuse(session, edits, may_move)
    _tag(session, edits, time)
    _derive_latest(session, edits, rule, time)
    _unlink(session, edits)
    _unregister(session, edits)


def _load(session: Session, edits: Edits) -> None:
    if edits.manifests:
        session.load("wanted_manifests", edits.manifests)
    if edits.links:
        session.load("wanted_links", edits.links)
    if edits.tags:
        session.load("wanted_tags", edits.tags)
        session.load("wanted_datasets", edits.datasets())


def _moved(path: str, saw: str, is_: str) -> Problem:
    return Problem(
        code="E_CONFLICT",
        path=path,
        message=f"it is not what the plan saw ({saw})",
        got=is_,
        fix="plan again",
    )


def _shown(manifest: str | None) -> str:
    return digest_of(ManifestHash(manifest)) if manifest else _ABSENT


def _compare(session: Session, edits: Edits) -> None:
    problems: list[Problem] = []
    if edits.manifests:
        for manifest, held in session.rows(sql.MOVED_MANIFESTS):
            words = ("registered", _ABSENT) if held else (_ABSENT, "registered")
            problems.append(_moved(digest_of(manifest), *words))
    if edits.links:
        for namespace, name, manifest, held in session.rows(sql.MOVED_LINKS):
            words = ("linked", "not linked") if held else ("not linked", "linked")
            problems.append(_moved(f"{namespace}/{name}@{digest_of(manifest)}", *words))
    if edits.tags:
        for namespace, name, version, moves, saw, is_, was_yanked, yanked in session.rows(sql.MOVED_TAGS):
            place = f"{namespace}/{name}@{version}"
            if moves and (is_ or "") != saw:
                problems.append(_moved(place, _shown(saw), _shown(is_)))
            else:
                words = ("yanked", "not yanked") if was_yanked else ("not yanked", "yanked")
                problems.append(_moved(place, *words if is_ else (words[0], _ABSENT)))
            del yanked
    for claim in edits.latest:
        found = session.rows(sql.TAG_OF, (*claim.dataset, LATEST))
        is_ = found[0][3] if found else ""
        if is_ != claim.before:
            problems.append(_moved(f"{claim.dataset}@{LATEST}", _shown(claim.before), _shown(is_)))
    if problems:
        raise Conflict(problems)


def _register(session: Session, edits: Edits, restore: Callable[[ManifestHash], None], put_at: int) -> None:
    if not any(edit.holds for edit in edits.manifests):
        return
    now = session.now()
    if put_at and now - put_at > PUT_LIMIT:
        raise Conflict.of(
            "E_CONFLICT",
            "between putting the bytes and registering them so much time went by that they may be gone",
            got=f"{now - put_at} s",
            fix="run it again",
        )
    # Under the writer lock no collector deletes objects: what it took since we put it is put again here.
    for (manifest,) in session.rows(sql.BURIED):
        restore(ManifestHash(manifest))
    session.run(sql.UNBURY)
    session.run(sql.REGISTER, (now, now))


def _link(session: Session, edits: Edits, time: int) -> None:
    if not any(edit.holds for edit in edits.links):
        return
    unknown = session.rows(sql.UNKNOWN_MANIFESTS)
    if unknown:
        raise InvalidInput(
            Problem(
                code="E_MANIFEST_UNKNOWN",
                path=f"{namespace}/{name}",
                message="a manifest must be registered before it is linked",
                got=digest_of(manifest),
                fix="register it: reconciler registry manifest register",
            )
            for namespace, name, manifest in unknown
        )
    session.run(sql.LINK, (time,))


def _refuse_reuse(session: Session, edits: Edits, may_move: Callable[[str], bool]) -> None:
    """A version that was removed is still the name of what it named."""
    if not any(edit.new_hash and not edit.old_hash for edit in edits.tags):
        return
    problems = [
        reused(f"{namespace}/{name}@{version}", retired, ManifestHash(named), ManifestHash(manifest))
        for namespace, name, version, manifest, retired, named in session.rows(sql.REUSED)
        if not may_move(f"{namespace}/{name}@{version}")
    ]
    if problems:
        raise Denied(problems)


def _tag(session: Session, edits: Edits, time: int) -> None:
    if not edits.tags:
        return
    unlinked = session.rows(sql.UNLINKED_TAGS)
    if unlinked:
        raise InvalidInput(
            Problem(
                code="E_NOT_LINKED",
                path=f"{namespace}/{name}@{version}",
                message="a tag names only manifests that are linked to its dataset",
                got=digest_of(manifest),
                fix="link it first: reconciler registry link",
            )
            for namespace, name, version, manifest in unlinked
        )
    if any(edit.moves and not edit.new_hash for edit in edits.tags):
        session.run(sql.RETIRE, (time,))
        session.run(sql.UNTAG)
    twin_rows = session.rows(sql.TWINS)
    if twin_rows:
        raise Conflict(
            twins(f"{namespace}/{name}", version, twin) for namespace, name, version, twin in twin_rows
        )
    if any(edit.new_hash for edit in edits.tags):
        session.run(sql.TAG, (time, time))
    if any(edit.marks for edit in edits.tags):
        _yank(session, time)


def _yank(session: Session, time: int) -> None:
    session.run(sql.YANK, (time,))
    missing = session.rows(sql.NOT_YANKED)
    if missing:
        raise InvalidInput(
            Problem(
                code="E_TAG_MISSING",
                path=f"{namespace}/{name}@{version}",
                message="a version that does not exist cannot be yanked",
                fix="tag it first, or leave it out",
            )
            for namespace, name, version in missing
        )


def _derive_latest(session: Session, edits: Edits, rule: LatestRule, time: int) -> None:
    if edits.tags:
        session.run(sql.no_latest(rule))
        session.run(sql.set_latest(rule), (time, time))
    problems = []
    for claim in edits.latest:
        found = session.rows(sql.TAG_OF, (*claim.dataset, LATEST))
        is_ = found[0][3] if found else ""
        if is_ != claim.after:
            problems.append(
                Problem(
                    code="E_LATEST_DERIVED",
                    path=f"{claim.dataset}@{LATEST}",
                    message=f"the rule '{rule}' makes latest {_shown(is_)}, not what the plan says",
                    got=_shown(claim.after),
                    fix="latest is derived from the versions; correct the assertion, or the versions",
                )
            )
    if problems:
        raise Conflict(problems)


def _unlink(session: Session, edits: Edits) -> None:
    if all(edit.holds for edit in edits.links):
        return
    tagged = session.rows(sql.STILL_TAGGED)
    if tagged:
        raise Denied(
            Problem(
                code="E_LINK_TAGGED",
                path=f"{namespace}/{name}",
                message=f"the manifest cannot be unlinked while {version} names it",
                got=digest_of(manifest),
                fix="remove the tag first",
            )
            for namespace, name, manifest, version in tagged
        )
    session.run(sql.UNLINK)


def _unregister(session: Session, edits: Edits) -> None:
    if all(edit.holds for edit in edits.manifests):
        return
    linked = session.rows(sql.LINKED)
    if linked:
        raise Denied(
            Problem(
                code="E_MANIFEST_LINKED",
                path=digest_of(manifest),
                message=f"the manifest cannot be deleted while {namespace}/{name} links it",
                fix="unlink it first",
            )
            for manifest, namespace, name in linked
        )
    session.run(sql.BURY, (session.now(),))
    session.run(sql.UNREGISTER)
