"""The changes of a registry by hand: register, link, tag, yank, the reverse of each, and migrate.

Each operation calls one method of the registry, which compares, changes, derives latest and records in one
transaction. A dry run does the same in a transaction that is undone, so it refuses what the write would
refuse. What is there already is left as it is and says so.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reconciler.cli.byhand_policy import Target, refuse_denied
from reconciler.cli.console import Console
from reconciler.cli.files import read_file
from reconciler.cli.packets import keep_packets
from reconciler.cli.registry_open import OpenRegistry, dataset_and_words, expected_tag, located, opened
from reconciler.cli.workspace import TOOL, Opened, source_date_epoch
from reconciler.errors import Denied, Exit, InvalidInput
from reconciler.ledger import Inventory, Run
from reconciler.model import NOTHING, Address, Outcome, Slots, Step, StepResult
from reconciler.reference import DEV, LATEST, DatasetName, ManifestHash, digest_of, parse_hash
from reconciler.render.byhand import Written as Shown
from reconciler.render.byhand import written_text
from reconciler.stores.registry.edits import link_change, manifest_change, tag_change
from reconciler.stores.registry.order import NAMED, SHAPE, STEP_ID, TAG, UNIT, YANKED, tag_of
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import DevMove, TagsOnUnlink, Written

MANIFEST_LIMIT = 5_000_000

Act = Callable[[Registry, Run], Written]


def register(args: argparse.Namespace, console: Console) -> Exit:
    """Keep a manifest byte for byte."""
    from reconciler.desired.dataset import manifest_problem  # noqa: PLC0415 - reads YAML libraries

    content = read_file(Path(args.path), limit=MANIFEST_LIMIT)
    problem = manifest_problem(content, args.path)
    if problem:
        raise InvalidInput(problem)
    promised = parse_hash(args.hash) if args.hash else None
    found: list[ManifestHash] = []

    def act(registry: Registry, run: Run) -> Written:
        from reconciler.canonical import sha256_hex  # noqa: PLC0415 - as above

        known = registry.has_manifest(ManifestHash(sha256_hex(content)))
        found[:] = [registry.register_manifest(content, run=run, manifest=promised)]
        if known:
            return Written(None, ())
        change = manifest_change(registry.settings.name, found[0], held=False, holds=True)
        return Written(None, (change,))

    said = "the manifest is registered"
    return _write(args, console, act, said, lambda: {"hash": found[0], "size": len(content)}, args.path)


def delete_manifest(args: argparse.Namespace, console: Console) -> Exit:
    """Delete a manifest that no dataset links."""
    manifest = parse_hash(args.hash)

    def act(registry: Registry, run: Run) -> Written:
        return registry.delete_manifest(manifest, run=run)

    return _write(args, console, act, "the manifest is not registered", lambda: {"hash": manifest}, manifest)


def link(args: argparse.Namespace, console: Console) -> Exit:
    """Let a dataset use a manifest."""
    dataset, words = dataset_and_words(args, least=1, most=1)
    manifest = parse_hash(words[0])
    dev = DevMove.STAYS if args.keep_dev else DevMove.TO_LINKED

    def act(registry: Registry, run: Run) -> Written:
        return registry.link_manifest(dataset, manifest, run=run, dev=dev)

    words = [str(dataset), manifest, *(["--keep-dev"] if args.keep_dev else [])]
    return _write(args, console, act, "it is linked", lambda: _subject(dataset, hash=manifest), *words)


def unlink(args: argparse.Namespace, console: Console) -> Exit:
    """Take one manifest, or all of them, from a dataset."""
    dataset, words = dataset_and_words(args, least=0, most=1)
    if not words:
        return _unlink_all(args, console, dataset)
    manifest = parse_hash(words[0])
    tags = TagsOnUnlink.REMOVE if args.remove_tags else TagsOnUnlink.REFUSE

    def act(registry: Registry, run: Run) -> Written:
        return registry.unlink_manifest(dataset, manifest, run=run, tags=tags)

    words = [str(dataset), manifest, *(["--remove-tags"] if args.remove_tags else [])]
    return _write(args, console, act, "it is not linked", lambda: _subject(dataset, hash=manifest), *words)


def _unlink_all(args: argparse.Namespace, console: Console, dataset: DatasetName) -> Exit:
    unlinked: list[ManifestHash] = []

    def act(registry: Registry, run: Run) -> Written:
        store = registry.settings.name
        tags = [tag for tag in registry.list_tags(dataset) if tag.version != LATEST]
        unlinked[:] = registry.unlink_dataset_manifests(dataset, run=run)
        untagged = (tag_change(store, dataset, tag.version, tag.hash, None) for tag in tags)
        links = (link_change(store, dataset, manifest, held=True, holds=False) for manifest in unlinked)
        return Written(None, (*untagged, *links) if unlinked else ())

    said = "the dataset links no manifest"
    return _write(args, console, act, said, lambda: _subject(dataset, unlinked=unlinked), str(dataset))


def set_tag(args: argparse.Namespace, console: Console) -> Exit:
    """Point a version, or dev, at a linked manifest."""
    dataset, (version, text) = dataset_and_words(args, least=2, most=2)
    manifest, expect = parse_hash(text), expected_tag(args.expect)
    _refuse_latest(version)

    def act(registry: Registry, run: Run) -> Written:
        if version == DEV:
            return registry.set_dev_tag(dataset, manifest, run=run, expect=expect)
        return registry.set_version_tag(dataset, version, manifest, run=run, expect=expect)

    words = [f"{dataset}@{version}", manifest, *_expected(args)]
    subject = _subject(dataset, version=version, hash=manifest)
    return _write(args, console, act, "the tag names it", lambda: subject, *words)


def delete_tag(args: argparse.Namespace, console: Console) -> Exit:
    """Remove a version, or dev."""
    dataset, (version,) = dataset_and_words(args, least=1, most=1)
    expect = expected_tag(args.expect)
    _refuse_latest(version)

    def act(registry: Registry, run: Run) -> Written:
        if version == DEV:
            return registry.set_dev_tag(dataset, None, run=run, expect=expect)
        return registry.delete_version_tag(dataset, version, run=run, expect=expect)

    words = [f"{dataset}@{version}", *_expected(args)]
    subject = _subject(dataset, version=version)
    return _write(args, console, act, "there is no such tag", lambda: subject, *words)


def yank(args: argparse.Namespace, console: Console) -> Exit:
    """Keep a version for those who ask for it by its exact text."""
    return _mark(args, console, "it is yanked", yanked=True)


def unyank(args: argparse.Namespace, console: Console) -> Exit:
    """Take a yank back."""
    return _mark(args, console, "it is not yanked", yanked=False)


def _mark(args: argparse.Namespace, console: Console, said: str, *, yanked: bool) -> Exit:
    dataset, (version,) = dataset_and_words(args, least=1, most=1)

    def act(registry: Registry, run: Run) -> Written:
        return registry.yank_version(dataset, version, yanked=yanked, run=run)

    subject = _subject(dataset, version=version)
    return _write(args, console, act, said, lambda: subject, f"{dataset}@{version}")


def migrate(args: argparse.Namespace, console: Console) -> Exit:
    """Make the tables, or bring them up to date."""
    from reconciler.stores.registry.session import HEAD  # noqa: PLC0415 - the database drivers
    from reconciler.stores.registry.store import open_database  # noqa: PLC0415 - as above

    with located(args, console) as (config, workspace):
        database = open_database(config, workspace.surroundings)
        try:
            before = database.version()
            if not args.dry_run:
                database.migrate()
        finally:
            database.close()
    status = "dry-run" if args.dry_run else "unchanged" if before == HEAD else "done"
    document = {
        "schema": "reconciler/registry-migrate/v1",
        "store": config.name,
        "status": status,
        "before": before,
        "after": HEAD,
    }
    arrow = f"tables at version {HEAD}" if before == HEAD else f"tables {before or 'absent'} → {HEAD}"
    console.answer(document, lambda: f"{config.name}: {arrow}" + (" (dry run)" if args.dry_run else ""))
    return Exit.DONE


def _refuse_latest(version: str) -> None:
    if version == LATEST:
        raise Denied.of(
            "E_LATEST_DERIVED",
            "latest follows from the versions and is never set by hand",
            got=version,
            fix="tag, yank or delete a version",
        )


def _subject(dataset: DatasetName, **more: object) -> dict[str, Any]:
    return {"dataset": str(dataset), **more}


def _expected(args: argparse.Namespace) -> list[str]:
    return ["--expect", args.expect] if args.expect else []


def _write(
    args: argparse.Namespace,
    console: Console,
    act: Act,
    said: str,
    subject: Callable[[], dict[str, Any]],
    *words: str,
) -> Exit:
    """Do one operation, or rehearse it, and say what it changed."""
    command = shlex.join(
        ["reconciler", "registry", *args.full_name.split(), *words, "--store", args.store[0]]
    )
    run = Run(by="hand", time=source_date_epoch(), tool=TOOL, reason=args.reason, command=command)
    with opened(args, console) as one:
        _refuse_denied(one, act, run)
        if args.dry_run:
            written = _rehearse(one.registry, act, run)
        else:
            written = act(one.registry, run)
            _keep_packets(one, console)
    status = "dry-run" if args.dry_run else "done" if written.changes else "unchanged"
    document = {
        "schema": "reconciler/registry-write/v1",
        "store": args.store[0],
        **subject(),
        "status": status,
        "changes": [
            {
                "address": str(change.address),
                "verb": SHAPE.verb(change.address.kind, change.slot, change.before, change.after),
                "slot": change.slot,
                "before": change.before,
                "after": change.after,
            }
            for change in written.changes
        ],
    }
    console.answer(document, lambda: written_text(SHAPE, _shown(written, status, said, args.store[0])))
    return Exit.DONE


def _keep_packets(one: OpenRegistry, console: Console) -> None:
    """Write the packet of what was done, and any that a killed run left out."""
    keep_packets(Opened(one.store, SHAPE, Inventory({}), None), console, one.registry.last_record)


def _refuse_denied(one: OpenRegistry, act: Act, run: Run) -> None:
    """Refuse what policy, or the protection in the ledger, denies of the changes that would be made.

    Raises:
        Denied: what the policy says.
    """
    registry = one.registry
    changes = _rehearse(registry, act, run).changes
    live = {change.address: _slots(registry, change.address) for change in changes}
    step = Step(id=STEP_ID, store=registry.settings.name, unit=UNIT, changes=changes)
    target = Target(one.workspace.selected[0], SHAPE, Inventory({}, registry.protected()))
    refuse_denied(one.workspace, target, (step,) if changes else (), live)


def _slots(registry: Registry, address: Address) -> Slots:
    """What a tag names now; of anything else no policy asks by hand."""
    if address.kind != TAG:
        return NOTHING
    dataset, version = tag_of(address.key)
    tag = registry.get_tag(DatasetName.parse(dataset), version)
    if tag is None:
        return NOTHING
    slots = {NAMED: digest_of(tag.hash)}
    return {**slots, YANKED: YANKED} if tag.yanked else slots


def _rehearse(registry: Registry, act: Act, run: Run) -> Written:
    from reconciler.stores.registry.rehearsal import rehearsed  # noqa: PLC0415 - only dry runs need it

    with rehearsed(registry) as stage:
        return act(stage, run)


def _shown(written: Written, status: str, said: str, store: str) -> Shown:
    if not written.changes:
        return Shown(status=status, said=said, steps=(), results=())
    step = Step(id=STEP_ID, store=store, unit=UNIT, changes=written.changes)
    result = StepResult(step=step.id, outcome=Outcome.APPLIED, receipt=str(written.seq or ""))
    return Shown(status=status, said=said, steps=(step,), results=(result,))
