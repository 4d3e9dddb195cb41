"""Everything that is refused before the first write.

Decides, from the steps and from what is live under the lock: whether the steps are of the kinds that this
store writes; whether every `before` still holds; whether every dataset that becomes listed is completely
published and promotable (contract 11); whether, after each step, every alias names a listed dataset. What
is to be published is staged and judged here too, because staging is invisible to readers; nothing a reader
sees is touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

from reconciler.errors import Conflict, Corrupt, Denied, InvalidInput, Problem, Unavailable
from reconciler.model import (
    Address,
    Change,
    DatasetId,
    Digest,
    Slots,
    Step,
    Value,
    dataset_id_problem,
    parse_digest,
)
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.files import open_dir
from reconciler.stores.serving.heads import ALIAS_FILE, CATALOG_FILE, Heads
from reconciler.stores.serving.order import (
    ALIAS,
    ARTIFACT,
    BINDING,
    BOUND,
    DATASET,
    DIFFS,
    ENTRY,
    LATEST,
    LISTED,
    NAMED,
)
from reconciler.stores.serving.publish import Publication, check_place, check_staged, seal, stage
from reconciler.stores.serving.publisher_lock import await_publisher
from reconciler.stores.serving.session import Session
from reconciler.stores.serving.verify import check_promotable

_SLOTS: Mapping[str, frozenset[str]] = {
    DATASET: frozenset({ARTIFACT, ENTRY, DIFFS}),
    ALIAS: frozenset({NAMED, BINDING}),
}

_BEARERS: Mapping[str, str] = {DIFFS: ENTRY, BINDING: NAMED}
"""A slot that can only stand where another does."""


def check_form(steps: Sequence[Step], where: str) -> None:
    """Refuse steps that are not one publish, one catalog write or one alias each.

    Raises:
        InvalidInput: E_STEP, or an id's or digest's code.
        Denied: E_IMMUTABLE, E_ARTIFACT_KEPT.
    """
    for step in steps:
        kinds = {(c.address.kind, c.slot == ARTIFACT) for c in step.changes}
        addresses = {c.address for c in step.changes}
        whole = len(kinds) == 1 and (kinds == {(DATASET, False)} or len(addresses) == 1)
        known = all(c.slot in _SLOTS.get(c.address.kind, ()) for c in step.changes)
        twice = len({(c.address, c.slot) for c in step.changes}) != len(step.changes)
        if not whole or not known or twice:
            raise InvalidInput.of(
                "E_STEP", "this step is not one that a serving store can do at once", path=where, got=step.id
            )
        for change in step.changes:
            _check_change(change)


def _check_change(change: Change) -> None:
    address, after = change.address, change.after
    if address.kind == DATASET:
        problem = dataset_id_problem(address.key)
        if problem:
            raise InvalidInput(problem)
    elif address.key != LATEST:
        DatasetId.parse(f"0/{address.key}")
    if change.slot == ARTIFACT:
        _check_artifact(change)
    elif change.slot == NAMED and after is not None:
        dataset = DatasetId.parse(str(after))
        if address.key not in {LATEST, dataset.scope}:
            raise InvalidInput.of(
                "E_ALIAS_SCOPE",
                "an alias of a line names a dataset of that line",
                path=str(address),
                got=str(after),
            )
    elif (change.slot == ENTRY and after not in {LISTED, None}) or (
        change.slot == BINDING and after not in {BOUND, None}
    ):
        raise InvalidInput.of(
            "E_STEP",
            f"a {change.slot} can only become {LISTED if change.slot == ENTRY else BOUND}",
            path=str(address),
            got=str(after),
        )
    elif change.slot == DIFFS and not isinstance(after, tuple | None):
        raise InvalidInput.of("E_STEP", "diffs are a list of paths", path=str(address), got=str(after))


def _check_artifact(change: Change) -> None:
    if change.after is None:
        raise Denied.of(
            "E_ARTIFACT_KEPT",
            "published content is only ever removed by garbage collection",
            path=str(change.address),
            fix="roll the dataset back instead",
        )
    parse_digest(str(change.after))
    if change.before not in {None, change.after}:
        raise Denied.of(
            "E_IMMUTABLE",
            "a published dataset never changes",
            path=str(change.address),
            got=str(change.after),
            fix="publish under a new release",
        )


def check_before(
    steps: Sequence[Step], slots_of: Callable[[Address, frozenset[str]], Slots], *, base: str
) -> None:
    """Compare every `before`, and every `base`, with what is live.

    Args:
        steps: the steps, in order; a later one is compared with what the earlier ones leave.
        slots_of: reads the wanted live slots of an address.
        base: the digest of the live catalog's bytes, empty if there is none.

    Raises:
        Conflict: E_CONFLICT, with every difference.
    """
    wanted: dict[Address, set[str]] = {}
    for step in steps:
        for change in step.changes:
            wanted.setdefault(change.address, set()).add(change.slot)
    live = {
        (address, slot): value
        for address, slots in wanted.items()
        for slot, value in slots_of(address, frozenset(slots)).items()
    }
    problems = list(_differences(steps, live, base))
    if problems:
        raise Conflict(problems)


def _differences(
    steps: Sequence[Step], live: dict[tuple[Address, str], Value], base: str
) -> Iterator[Problem]:
    for step in steps:
        if step.base is not None and step.base != base:
            yield _conflict(step.unit, "the catalog is not the one this was computed from", base)
        for change in step.changes:
            key = (change.address, change.slot)
            if live.get(key) != change.before:
                expected = "absent" if change.before is None else _text(change.before)
                yield _conflict(
                    str(change.address),
                    f"its {change.slot} was expected to be {expected}",
                    _text(live[key]) if key in live else "absent",
                )
        for change in step.changes:
            if change.after is None:
                live.pop((change.address, change.slot), None)
            else:
                live[(change.address, change.slot)] = change.after
        for change in step.changes:
            bearer = _BEARERS.get(change.slot)
            if bearer is not None and change.after is not None and (change.address, bearer) not in live:
                yield _conflict(str(change.address), f"its {bearer} was expected to be there", "absent")


def _text(value: Value) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _conflict(path: str, message: str, got: str) -> Problem:
    return Problem(code="E_CONFLICT", message=message, path=path, got=got, fix="plan again")


def publications(steps: Iterable[Step]) -> Iterator[Publication]:
    """What the steps publish.

    Raises:
        Unavailable: E_SOURCE_MISSING, the store lacks a dataset and nobody says where its bytes are.
    """
    for step in steps:
        for change in step.changes:
            if change.slot == ARTIFACT:
                if change.address not in step.sources:
                    raise Unavailable.of(
                        "E_SOURCE_MISSING",
                        "this dataset was never published, and no source is given",
                        path=str(change.address),
                        fix="give it a source, or publish it by hand",
                    )
                yield Publication(
                    DatasetId.parse(change.address.key),
                    Digest(str(change.after)),
                    step.sources[change.address],
                )


def prepare(session: Session, steps: Sequence[Step], time: int) -> None:
    """Stage and judge everything that is to be published.

    Raises:
        Unavailable, InvalidInput, Denied, Corrupt: a source or what stands in its place is not acceptable.
    """
    for publication in publications(steps):
        session.progress(f"staging {publication.dataset}")
        await_publisher(session.root, publication.dataset, where=session.where, timeout=session.lock_timeout)
        stage(session.root, session.base, session.seq, publication, time)
        check_staged(session.root, session.seq, publication, session.thresholds)
        check_place(session.root, session.seq, publication, session.where)
        seal(session.root, session.seq, publication.dataset)


def check_references(
    steps: Sequence[Step], heads: Heads, judge: Callable[[DatasetId], tuple[Problem, ...]]
) -> None:
    """Follow the steps in order: nothing refers to what is missing, at any instant.

    Args:
        steps: the steps, in order.
        heads: what is live.
        judge: what keeps a dataset that no step publishes from being listed.

    Raises:
        Denied: E_ALIAS_TARGET, an alias would name a dataset that is not listed.
        Conflict: E_NOT_LISTED, diffs would be set where there is no entry.
        InvalidInput, Corrupt: a dataset that would become listed is not promotable.
    """
    named = {key: alias.dataset for key, alias in heads.aliases().items()}
    listed: dict[DatasetId, bool] = {}
    published: set[DatasetId] = set()
    problems: list[Problem] = []
    for step in steps:
        for change in step.changes:
            if change.slot == ARTIFACT:
                published.add(DatasetId.parse(change.address.key))
            elif change.slot == ENTRY:
                dataset = DatasetId.parse(change.address.key)
                listed[dataset] = change.after is not None
                if change.after is not None and dataset not in published:
                    problems += judge(dataset)
            elif change.slot == NAMED and change.after is None:
                named.pop(change.address.key, None)
            elif change.slot == NAMED:
                named[change.address.key] = DatasetId.parse(str(change.after))
        _check_entries(step, listed, heads)
        _check_names(step, named, listed, heads)
    if problems:
        raise Corrupt(problems)


def promotable(session: Session, dataset: DatasetId) -> tuple[Problem, ...]:
    """What keeps a dataset on disk from being listed (contract 11).

    Raises:
        Denied: E_NOT_PUBLISHED, it is not on disk.
    """
    path = dataset_path(dataset)
    handle = open_dir(session.root, path, session.where)
    if handle is None:
        never_published(dataset, session.where)
    try:
        return check_promotable(handle, dataset)
    finally:
        os.close(handle)


def never_published(dataset: DatasetId, where: str) -> NoReturn:
    """Refuse to list a dataset that is not on disk.

    Raises:
        Denied: E_NOT_PUBLISHED.
    """
    raise Denied.of(
        "E_NOT_PUBLISHED",
        "this dataset was never published to this store",
        path=f"{where}/{dataset_path(dataset)}",
        fix="publish it first, or declare its source",
    )


def _check_entries(step: Step, listed: Mapping[DatasetId, bool], heads: Heads) -> None:
    """Refuse diffs of a dataset that is not listed: they stand in its entry."""
    for change in step.changes:
        if change.slot != DIFFS or change.after is None:
            continue
        dataset = DatasetId.parse(change.address.key)
        if not listed.get(dataset, heads.catalog.find(dataset) is not None):
            raise Conflict.of(
                "E_NOT_LISTED",
                "diffs belong to an entry of the catalog, and this dataset has none",
                path=str(change.address),
                fix="plan again",
            )


def _check_names(
    step: Step, named: Mapping[str, DatasetId], listed: Mapping[DatasetId, bool], heads: Heads
) -> None:
    """Refuse a step after which an alias that it touches names something that is not listed."""
    touched = {c.address.key for c in step.changes if c.slot == NAMED}
    removed = {DatasetId.parse(c.address.key) for c in step.changes if c.slot == ENTRY and c.after is None}
    for key, dataset in named.items():
        is_listed = listed.get(dataset, heads.catalog.find(dataset) is not None)
        if is_listed or (key not in touched and dataset not in removed):
            continue
        if key in touched:
            raise Denied.of(
                "E_ALIAS_TARGET",
                f"the alias {key} can only name a dataset that the catalog lists",
                path=ALIAS_FILE,
                got=str(dataset),
                fix="promote it first",
            )
        raise Denied.of(
            "E_ALIAS_TARGET",
            f"the alias {key} names this dataset, so it cannot leave the catalog",
            path=CATALOG_FILE,
            got=str(dataset),
            fix="move or drop the alias first",
        )
