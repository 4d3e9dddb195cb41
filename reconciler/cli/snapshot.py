"""Write down what the stores hold, for planning where no credentials may be; nothing is written to a store.

The file holds every address of the selected stores, what is ours, and which store, revision and depth that
was seen at; it holds no secret. `plan --live FILE` plans from it. A store whose ledger has an open run, or
that moves while it is read three times over, is not written down.

for example:
  reconciler snapshot --out live.json
  reconciler plan --live live.json --output markdown
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reconciler.canonical import canonical
from reconciler.cli.console import Console
from reconciler.cli.files import read_file, replace_file
from reconciler.cli.options import add_desired, add_output, add_stores
from reconciler.cli.workspace import TOOL, Opened, Workspace, refreshed, source_date_epoch
from reconciler.contents import Content, comparable, notable
from reconciler.errors import Exit, Unavailable
from reconciler.model import Depth, Observed, Selection, StoreConfig, public_settings
from reconciler.render.text import plural
from reconciler.snapshot import SNAPSHOT_LIMIT, Advisory, Snapshot, StoreSnapshot, read_snapshot
from reconciler.stores.port import describer

_TRIES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_desired(parser)
    add_stores(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the snapshot here")
    parser.add_argument("--deep", action="store_true", help="re-hash every artifact, not only manifests")
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Read every selected store and write down what it holds."""
    depth = Depth.DEEP if args.deep else Depth.MANIFESTS
    with Workspace.open(args, console) as workspace:
        stores = tuple(_taken(workspace, config, depth) for config in workspace.selected)
    taken = Snapshot(time=source_date_epoch(), tool=TOOL, stores=stores)
    if args.out:
        replace_file(args.out, canonical(taken.to_json()))
    console.answer(taken.to_json, lambda: _text(taken, args.out))
    return Exit.DONE


def _taken(workspace: Workspace, config: StoreConfig, depth: Depth) -> StoreSnapshot:
    """One store at one revision.

    Raises:
        OutcomeUnknown: E_UNFINISHED.
        Unavailable: E_SNAPSHOT_MOVED.
    """
    one = workspace.by_hand(config)  # what is promoted to it is no part of what it holds
    for _ in range(_TRIES):
        revision = one.store.revision()
        one = refreshed(one.store, one.shape)
        one.require_finished()
        observed = tuple(one.store.snapshot(Selection(depth=depth)))
        if one.store.revision() == revision:
            return StoreSnapshot(
                name=config.name,
                kind=config.kind,
                settings=public_settings(config.settings),
                revision=revision,
                depth=depth,
                observed=observed,
                inventory=one.inventory,
                contents=_contents(one, observed),
                reading=_reading(one),
            )
    raise Unavailable.of(
        "E_SNAPSHOT_MOVED",
        f"the store moved each of {_TRIES} times that it was read",
        path=config.name,
        fix="take the snapshot again when no apply is running",
    )


def _reading(one: Opened) -> bytes:
    """What promotions to an account are planned from; other stores need nothing but their addresses."""
    if one.config.kind != "atproto":
        return b""
    from reconciler.cli.promotions import account  # noqa: PLC0415 - only accounts need it

    return account(one.store).kept()


def _contents(one: Opened, observed: Sequence[Observed]) -> tuple[Content, ...]:
    """What a later change may be shown beside; what cannot be looked into is left out."""
    looker = describer(one.store)
    if looker is None:
        return ()
    found = (comparable(content) for _, content in looker.describe(notable(one.shape, observed)))
    return tuple(content for content in found if not content.problems)


def _text(taken: Snapshot, out: Path | None) -> str:
    lines = [
        f"{store.name}  {plural(len(store.observed), 'address')}, {len(store.inventory.recorded)} recorded   "
        f"(depth: {store.depth.value})"
        for store in taken.stores
    ]
    place = f" in {out}" if out else ", not written: --out names no file"
    return "\n".join([*lines, f"snapshot {taken.digest}{place}"])


def read_live(path: Path) -> Snapshot:
    """The snapshot that `--live` names.

    Raises:
        InvalidInput: it cannot be used.
        Corrupt: E_SNAPSHOT_DIGEST.
    """
    return read_snapshot(read_file(path, limit=SNAPSHOT_LIMIT), where=str(path))


def advisory(live: Snapshot) -> Advisory:
    """What a plan from this snapshot says of itself."""
    return Advisory(snapshot=live.digest, time=live.time, age=max(0, source_date_epoch() - live.time))
