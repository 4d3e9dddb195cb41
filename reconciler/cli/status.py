"""Say how far each dataset is, and which command closes each gap.

For every dataset that is declared or stands in a store: declared in git, built (its source is there and
has the declared manifest), published, hash-true, in the catalog, aliased. With `--store-root` there is no
repository, so declared and built are unknown (built is known with `--source-root`). Nothing is written.

Example:
  reconciler status
  reconciler status 110/homo_sapiens/GRCh38 --deep
  reconciler status --store-root var/serving
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.canonical import sha256_digest
from reconciler.cli.byhand import SERVING, Hand, add_dataset, dataset_of, live_digest, open_by_hand
from reconciler.cli.console import Console
from reconciler.cli.dataset_publish import opened_pack
from reconciler.cli.files import Standing, standing
from reconciler.cli.options import add_desired, add_output, seconds
from reconciler.cli.roots import opened_dataset, opened_root
from reconciler.cli.workspace import Workspace
from reconciler.errors import Exit, Problem, ReconcilerError
from reconciler.model import NOTHING, Address, DatasetId, Declaration, Depth, Observed, Slots
from reconciler.render.byhand import Answer, Gap, StatusRow, StoreRow, status_text
from reconciler.stores.serving.contents import MANIFEST
from reconciler.stores.serving.files import read_file
from reconciler.stores.serving.tar_stream import members

SCHEMA = "reconciler/status/v1"

_ABSENT = frozenset({"E_ARTIFACT_MISSING"})
_PUBLISHABLE = _ABSENT | {"E_HALF_PUBLISHED"}
"""Problems that publishing the same bytes again repairs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_dataset(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--store-root", metavar="DIR", help="a serving store's directory")
    parser.set_defaults(creates_store=False)
    where.add_argument(
        "--store", metavar="NAME", action="append", default=[], help="only this store; may be repeated"
    )
    parser.add_argument(
        "--source-root", metavar="DIR", help="with --store-root: the build root or pack to compare with"
    )
    add_desired(parser)
    parser.add_argument("--deep", action="store_true", help="read and hash every file again")
    parser.add_argument(
        "--lock-timeout", metavar="SECONDS", type=seconds, default=60.0, help=argparse.SUPPRESS
    )
    add_output(parser)
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """One store as status sees it: what is declared and what stands there."""

    hand: Hand
    wishes: Mapping[Address, Declaration] | None
    live: Mapping[Address, Observed]
    only: DatasetId | None
    source: str | None
    aliases: tuple[Address, ...]

    @classmethod
    def of(
        cls,
        hand: Hand,
        wishes: Mapping[Address, Declaration] | None,
        live: Mapping[Address, Observed],
        *,
        only: DatasetId | None,
        source: str | None = None,
    ) -> _View:
        """The view, with the addresses of its few aliases apart from those of its many datasets."""
        aliases = sorted(address for address in {*live, *(wishes or {})} if address.kind == "alias")
        return cls(hand=hand, wishes=wishes, live=live, only=only, source=source, aliases=tuple(aliases))

    @property
    def option(self) -> str:
        """The option that names this store in a command line."""
        return f"--store {self.hand.name}" if self.wishes is not None else f"--store-root {self.hand.where}"

    def wish(self, address: Address) -> Declaration | None:
        """What is declared of an address."""
        return None if self.wishes is None else self.wishes.get(address)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Observe, compare, show; broken content makes the exit code 8."""
    only = dataset_of(args) if args.id is not None or args.release is not None else None
    depth = Depth.DEEP if args.deep else Depth.MANIFESTS
    stores: list[StoreRow] = []
    rows: list[StatusRow] = []
    problems: list[Problem] = []
    for view in _views(args, console, only, depth):
        stores.append(_store_row(view))
        for address in _datasets(view):
            rows.append(_row(view, address))
            if address in view.live:
                problems += view.live[address].problems
    console.answer(lambda: _document(stores, rows, depth), lambda: status_text(stores, rows, depth.value))
    if problems:
        console.problems(tuple(problems))
        return Exit.CORRUPT
    return Exit.DONE


def _views(
    args: argparse.Namespace, console: Console, only: DatasetId | None, depth: Depth
) -> Iterator[_View]:
    if args.store_root is not None:
        with open_by_hand(args, console) as hand:
            live = hand.observe(_wanted(hand, only), depth)
            yield _View.of(hand, None, live, only=only, source=args.source_root)
        return
    with Workspace.open(args, console) as workspace:
        for config in workspace.selected:
            if config.kind != SERVING:
                continue
            hand = Hand(workspace.opened(config), workspace.root, workspace)
            wishes = {wish.address: wish for wish in workspace.desired.of_store(config.name)}
            live = hand.observe(_wanted(hand, only), depth)
            yield _View.of(hand, wishes, live, only=only)


def _wanted(hand: Hand, only: DatasetId | None) -> list[Address] | None:
    return None if only is None else [hand.dataset(only), hand.alias(), hand.alias(only.scope)]


def _datasets(view: _View) -> list[Address]:
    if view.only is not None:
        return [view.hand.dataset(view.only)]
    known = {*view.live, *(view.wishes or {})}
    return sorted(address for address in known if address.kind == "dataset")


def _store_row(view: _View) -> StoreRow:
    last = view.hand.opened.last
    return StoreRow(
        name=view.hand.name,
        root=view.hand.where,
        records=0 if last is None else last.seq,
        unfinished=last is not None and last.results is None,
        catalog=live_digest(view.hand),
        unproved=view.hand.opened.unproved,
    )


def _row(view: _View, address: Address) -> StatusRow:
    wish = view.wish(address)
    seen = view.live.get(address)
    slots = NOTHING if seen is None else seen.slots
    aliases = tuple(
        alias.key
        for alias in view.aliases
        if alias in view.live and view.live[alias].slots.get("dataset") == address.key
    )
    published = Answer.of("artifact" in slots)
    codes = frozenset() if seen is None else frozenset(problem.code for problem in seen.problems)
    row = StatusRow(
        store=view.hand.name,
        dataset=address.key,
        declared=Answer.UNKNOWN if view.wishes is None else Answer.of(wish is not None and bool(wish.slots)),
        built=_built(view, address, wish),
        published=published,
        hash_true=Answer.NO if codes - _ABSENT else published if "artifact" in slots else Answer.UNKNOWN,
        in_catalog=Answer.of("entry" in slots),
        aliases=aliases,
        place="" if wish is None else str(wish.place),
        manifest=str(slots.get("artifact", "")),
        problems=() if seen is None else seen.problems,
        gaps=(),
    )
    return row.with_gaps(_gaps(view, address, row, slots))


def _built(view: _View, address: Address, wish: Declaration | None) -> Answer:
    """Whether the bytes that are declared, or published, stand in the source."""
    source = view.source if wish is None else wish.source
    seen = view.live.get(address)
    wanted = wish.slots.get("artifact") if wish is not None else seen and seen.slots.get("artifact")
    if source is None or not isinstance(wanted, str):
        return Answer.UNKNOWN
    path = view.hand.base / source
    try:
        is_pack = standing(path) is Standing.FILE
        data = _packed_manifest(path) if is_pack else _built_manifest(path, address.key)
    except ReconcilerError:
        return Answer.NO
    return Answer.of(data is not None and sha256_digest(data) == wanted)


def _packed_manifest(path: Path) -> bytes:
    """The manifest of a pack, its first member."""
    with opened_pack(path) as stream:
        return b"".join(next(members(stream, str(path))).chunks())


def _built_manifest(path: Path, dataset: str) -> bytes | None:
    with (
        opened_root(path, "--source-root") as root,
        opened_dataset(root, DatasetId.parse(dataset), str(path)) as place,
    ):
        return read_file(place, MANIFEST)


def _gaps(view: _View, address: Address, row: StatusRow, slots: Slots) -> Iterable[Gap]:
    """What is not as it should be, and the command that closes it."""
    wish, option, dataset = view.wish(address), view.option, address.key
    apply = f"reconciler apply --store {view.hand.name}"
    if row.published is Answer.NO and all(problem.code in _PUBLISHABLE for problem in row.problems):
        if wish is not None and wish.source is not None:
            yield Gap("published", apply)
        elif wish is None or wish.slots:
            source = view.source or "DIR"
            yield Gap("published", f"reconciler dataset publish {dataset} --source-root {source} {option}")
    elif row.hash_true is Answer.NO:
        where = option if view.wishes is not None else f"--root {view.hand.where}"
        yield Gap("hash-true", f"reconciler dataset verify {dataset} --deep {where}")
    elif wish is None and row.in_catalog is Answer.NO:
        yield Gap("in catalog", f"reconciler catalog promote {dataset} {option}")
    if wish is not None:
        yield from _declared_gaps(view, wish, slots, apply)
    elif row.in_catalog is Answer.YES and not row.aliases and view.only is not None:
        yield Gap("aliased", f"reconciler catalog latest-alias-update {dataset} {option}")


def _declared_gaps(view: _View, wish: Declaration, slots: Slots, apply: str) -> Iterable[Gap]:
    """Where git and the store differ; the artifact is judged before."""
    wanted = wish.slots or dict.fromkeys(("entry", "diffs"))
    if any(value != slots.get(slot) for slot, value in wanted.items() if slot != "artifact"):
        yield Gap("in catalog", apply)
    for alias in view.aliases:
        declared, live = view.wish(alias), view.live.get(alias)
        named = None if live is None else live.slots.get("dataset")
        if declared is None or declared.slots.get("dataset") == named:
            continue
        if wish.address.key in {declared.slots.get("dataset"), named}:
            yield Gap("aliased", apply)


def _document(stores: Iterable[StoreRow], rows: Iterable[StatusRow], depth: Depth) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "depth": depth.value,
        "stores": [
            {
                "store": store.name,
                "root": store.root,
                "records": store.records,
                "unfinished_run": store.unfinished,
                "catalog": store.catalog or None,
                "unproved_backup": store.unproved or None,
            }
            for store in stores
        ],
        "datasets": [
            {
                "store": row.store,
                "dataset": row.dataset,
                "declared": row.declared.value,
                "built": row.built.value,
                "published": row.published.value,
                "hash_true": row.hash_true.value,
                "in_catalog": row.in_catalog.value,
                "aliases": list(row.aliases),
                "manifest": row.manifest or None,
                "place": row.place or None,
                "gaps": [{"what": gap.what, "command": gap.command} for gap in row.gaps],
                "problems": [problem.to_json() for problem in row.problems],
            }
            for row in rows
        ],
    }
