"""Publish a dataset by hand, from a build root or from a pack.

Decides what publishing would mean before anything is written: the store lacks the dataset (*new*), has it
with these very bytes (*published*), has it but lacks files of it (*completes*), or has other bytes under
its id, which is refused (E_IMMUTABLE). A real publish runs every rule and every gate on the staged copy,
and no flag skips them; a dry run runs the same checks on a build root where it stands.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from reconciler.canonical import sha256_digest
from reconciler.cli.byhand import (
    Hand,
    Operations,
    add_dataset,
    add_operation,
    add_store,
    add_write,
    dataset_of,
    open_by_hand,
)
from reconciler.cli.byhand_write import Intention, answer_written, carry_out, slots_of
from reconciler.cli.console import Console
from reconciler.cli.files import Standing, standing
from reconciler.cli.roots import opened_dataset, opened_root, setting_of
from reconciler.errors import Corrupt, Denied, Exit, InvalidInput, Problem, Unavailable
from reconciler.model import Address, Change, DatasetId, Digest, Observed
from reconciler.stores.serving.contents import MADE_BY_STORE, MANIFEST, content_files, dataset_path
from reconciler.stores.serving.files import read_file, sha256_file
from reconciler.stores.serving.gates import check_gates, thresholds_from
from reconciler.stores.serving.manifest import parse_manifest
from reconciler.stores.serving.pack import verify_pack
from reconciler.stores.serving.verification import Setting
from reconciler.stores.serving.verify import check_publishable

SCHEMA = "reconciler/dataset-publish/v1"
_REPAIRED = frozenset({"E_HALF_PUBLISHED"})
"""What publishing the same bytes again repairs."""


class State(Enum):
    """What a store has of an offered dataset."""

    NEW = "new"
    PUBLISHED = "already published"
    COMPLETES = "completes"


_MEANING = {
    State.NEW: "new: the store had nothing of this dataset",
    State.COMPLETES: "completes: the store had this dataset, but not all of its files",
}


_GATES_LATER = "rules and gates judge a pack when it is staged, which a dry run does not do"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A dataset that can be published: where its bytes are, and the hash of each of its files."""

    dataset: DatasetId
    location: str
    manifest: Digest
    files: Mapping[str, str]


def add_publish(operations: Operations) -> None:
    """Add `dataset publish`."""
    parser = add_operation(
        operations,
        "publish",
        publish,
        summary="copy a built dataset into a store, after every check and gate",
        example="reconciler dataset publish 110/homo_sapiens/GRCh38 "
        "--source-root builds/110 --store-root var/serving",
    )
    add_dataset(parser)
    parser.add_argument(
        "--source-root", metavar="DIR", type=Path, required=True, help="the build root, or a pack"
    )
    add_store(parser, creates=True)
    add_write(parser)


def publish(args: argparse.Namespace, console: Console) -> Exit:
    """Publish one dataset."""
    dataset = dataset_of(args)
    with open_by_hand(args, console) as hand:
        offer = offered(args.source_root, dataset, hand)
        publish_offer(args, console, hand, offer, schema=SCHEMA)
    return Exit.DONE


def publish_offer(
    args: argparse.Namespace, console: Console, hand: Hand, offer: Offer, *, schema: str
) -> None:
    """Bring an offered dataset into a store and say what that meant."""
    address = hand.dataset(offer.dataset)
    states: list[State] = []

    def decide(live: Mapping[Address, Observed]) -> Intention:
        state = _state(hand, offer, live.get(address))
        states[:] = [state]
        if args.dry_run and state is not State.PUBLISHED:
            _check_publishable(args, hand, offer)
        before = slots_of(live, address).get("artifact")
        change = Change(address, "artifact", before, offer.manifest)
        return Intention(
            changes=() if state is State.PUBLISHED else (change,),
            said=f"{offer.dataset} is already published with these bytes",
            sources={address: offer.location},
        )

    written = carry_out(args, console, hand, addresses=[address], decide=decide)
    subject = {
        "store": hand.name,
        "dataset": str(offer.dataset),
        "source": offer.location,
        "manifest": offer.manifest,
        "files": len(offer.files),
        "state": states[0].value,
    }
    notes: tuple[str, ...] = () if states[0] is State.PUBLISHED else (_MEANING[states[0]],)
    if args.dry_run and notes and _is_pack(args):
        notes += (_GATES_LATER,)
    answer_written(console, hand, replace(written, notes=notes), schema, subject)


def offered(source: Path, dataset: DatasetId, hand: Hand) -> Offer:
    """What a source holds of a dataset.

    Raises:
        Unavailable: E_SOURCE_MISSING.
        InvalidInput: E_SOURCE_IS_STORE, E_SOURCE_FILE, E_IDENTITY.
        Corrupt: the source is a pack that does not hold.
    """
    if standing(source) is Standing.FILE:
        return offered_pack(source, dataset, hand)
    with _opened_source(source, dataset) as place:
        return _offered_build(place, source, dataset, hand)


def offered_pack(source: Path, dataset: DatasetId | None, hand: Hand, expect: Digest | None = None) -> Offer:
    """What a pack holds, after checking all of it."""
    with opened_pack(source) as stream:
        report = verify_pack(stream, expect=expect, where=str(source))
    if dataset is not None and report.dataset != dataset:
        raise _identity(str(source), report.dataset, dataset)
    return Offer(
        dataset=report.dataset,
        location=location_from(hand.base, source),
        manifest=report.manifest,
        files={item.path: item.sha256 for item in report.files},
    )


@contextmanager
def opened_pack(path: Path) -> Iterator[BinaryIO]:
    """A pack as a stream.

    Raises:
        InvalidInput: E_FILE, there is no such file.
        Unavailable: E_IO.
    """
    if standing(path) is not Standing.FILE:
        raise InvalidInput.of("E_FILE", "there is no such file", path="--pack", got=str(path))
    try:
        stream = path.open("rb")
    except OSError as error:
        raise Unavailable.of("E_IO", f"cannot be read: {error.strerror}", path=str(path)) from error
    with stream:
        yield stream


def location_from(base: Path, source: Path) -> str:
    """A path that was typed here, as seen from where the store's relative locations start."""
    if source.is_absolute() or base.resolve() == Path.cwd():
        return str(source)
    return os.path.relpath(Path.cwd() / source, base.resolve())


@contextmanager
def _opened_source(source: Path, dataset: DatasetId) -> Iterator[int]:
    """The dataset's directory in a build root."""
    if standing(source) is Standing.MISSING:
        raise _missing(source, "there is no such build root or pack")
    with opened_root(source, "--source-root") as root:
        try:
            with opened_dataset(root, dataset, str(source)) as place:
                if setting_of(root, place) is Setting.STORE:
                    raise InvalidInput.of(
                        "E_SOURCE_IS_STORE",
                        "the source is a serving store, not a build root",
                        path="--source-root",
                        got=str(source),
                        fix="name the build root or a pack of the dataset",
                    )
                yield place
        except InvalidInput as error:
            if error.code != "E_DATASET_MISSING":
                raise
            raise _missing(source, f"the source does not hold {dataset}") from error


def _missing(source: Path, message: str) -> Unavailable:
    return Unavailable.of(
        "E_SOURCE_MISSING",
        message,
        path="--source-root",
        got=str(source),
        fix="name the directory that holds release=…, or a pack",
    )


def _offered_build(place: int, source: Path, dataset: DatasetId, hand: Hand) -> Offer:
    where = f"{source}/{dataset_path(dataset)}"
    data = read_file(place, MANIFEST, where=where)
    if data is None:
        raise _missing(source, "the source has no manifest of this dataset")
    named = parse_manifest(data, f"{where}/{MANIFEST}").id
    if named != dataset:
        raise _identity(f"{where}/{MANIFEST}", named, dataset)
    hashes = {path: sha256_file(place, path, where) for path in content_files(place, where)}
    return Offer(
        dataset=dataset,
        location=location_from(hand.base, source),
        manifest=Digest(sha256_digest(data)),
        files={path: found.sha256 for path, found in hashes.items() if found is not None},
    )


def _identity(where: str, named: DatasetId, dataset: DatasetId) -> InvalidInput:
    return InvalidInput.of(
        "E_IDENTITY",
        f"the manifest is not that of {dataset}",
        path=where,
        got=str(named),
        fix="publish it under the id that its manifest names, or rebuild it",
    )


def _state(hand: Hand, offer: Offer, seen: Observed | None) -> State:
    """What the store has of the offer.

    Raises:
        Denied: E_IMMUTABLE, the store has other bytes.
        Corrupt: what stands in the store is broken beyond what publishing repairs.
    """
    if seen is not None and any(problem.code not in _REPAIRED for problem in seen.problems):
        if "artifact" in seen.slots or "entry" not in seen.slots:
            raise Corrupt(seen.problems)
        return State.COMPLETES
    if seen is None or ("artifact" not in seen.slots and not seen.problems):
        return State.NEW
    live = seen.slots.get("artifact")
    if live is None:
        return State.COMPLETES
    where = f"{hand.where}/{dataset_path(offer.dataset)}"
    if live != offer.manifest:
        raise Denied(_immutable(f"{where}/{MANIFEST}", str(live)))
    return _compared(hand, offer, where)


def _compared(hand: Hand, offer: Offer, where: str) -> State:
    missing, other = False, []
    with opened_root(hand.root, "--store-root") as root, opened_dataset(root, offer.dataset, where) as place:
        for path, sha256 in offer.files.items():
            found = sha256_file(place, path, where)
            if found is None:
                missing = True
            elif found.sha256 != sha256:
                other.append(_immutable(f"{where}/{path}", found.sha256))
        missing = missing or any(sha256_file(place, path, where) is None for path in MADE_BY_STORE)
    if other:
        raise Denied(other)
    return State.COMPLETES if missing else State.PUBLISHED


def _immutable(path: str, got: str) -> Problem:
    return Problem(
        code="E_IMMUTABLE",
        message="a published dataset never changes, and this file has other bytes than the source",
        path=path,
        got=got,
        fix="publish the new bytes under a new release",
    )


def _is_pack(args: argparse.Namespace) -> bool:
    source: Path | None = getattr(args, "source_root", None)
    return source is None or standing(source) is Standing.FILE


def _check_publishable(args: argparse.Namespace, hand: Hand, offer: Offer) -> None:
    """Run the rules and gates on a build root, which a real publish runs on the staged copy.

    Raises:
        InvalidInput: the dataset is not valid.
        Denied: E_GATE.
    """
    if _is_pack(args):
        return
    source: Path = args.source_root
    with _opened_source(source, offer.dataset) as place:
        problems = check_publishable(place, offer.dataset)
        if problems:
            raise InvalidInput(problems)
        gates = check_gates(place, offer.dataset, thresholds_from(hand.governance))
    if gates:
        raise Denied(gates)
