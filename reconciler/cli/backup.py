"""Back up stores, verify backups where they are kept, and restore them into an empty place.

A backup holds everything durable of one store as of one moment: what it serves, its ledger, and the settings
that git has for it, never a secret. Bytes are kept under their sha256, so what did not change is not copied
again. What a store holds can be restored only into an empty place; readers see nothing of it before
everything was compared, and the store says that no drill has proved it yet.

Example:
  reconciler backup create --store serving --to file:/backup/serving
  reconciler backup verify --store serving --from file:/backup/serving
  reconciler backup restore --store serving --from file:/backup/serving --into root=file:var/restored
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from reconciler.backup.archive import Archive, Found, chosen, object_bytes
from reconciler.backup.create import Created, Trust, create
from reconciler.backup.document import Backup, broken, is_plain
from reconciler.backup.rehearsal import Rehearsal
from reconciler.backup.restore import Brought, restore
from reconciler.backup.verify import Verified, remember, verify
from reconciler.cli.archives import archive_of, configuration_files
from reconciler.cli.byhand import Operations, add_operation, add_repository, operations_of
from reconciler.cli.console import Console
from reconciler.cli.files import Standing, read_file, replace_file, standing
from reconciler.cli.options import add_output
from reconciler.cli.workspace import TOOL, Workspace, source_date_epoch
from reconciler.errors import Corrupt, Exit, InvalidInput, Unavailable
from reconciler.model import Digest, StoreConfig
from reconciler.stores.keeping import keeper
from reconciler.stores.port import adapter, refuse_lost_records

CREATED_SCHEMA = "reconciler/backup-create/v1"
VERIFIED_SCHEMA = "reconciler/backup-verify/v1"
RESTORED_SCHEMA = "reconciler/backup-restore/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    _add_create(operations)
    _add_verify(operations)
    _add_restore(operations)


def _add_create(operations: Operations) -> None:
    made = add_operation(
        operations,
        "create",
        run_create,
        summary="back a store up, copying what the archive lacks",
        example="reconciler backup create --store serving --to file:/backup/serving",
    )
    _add_store(made)
    made.add_argument("--to", metavar="LOCATION", help="the archive (default: that of the Recovery document)")
    made.add_argument(
        "--deep", action="store_true", help="read every file and every object again, and mend the archive"
    )
    made.add_argument("--verify", action="store_true", help="then verify it where it is kept")
    made.add_argument("--dry-run", action="store_true", help="say what would be copied, and stop")


def _add_verify(operations: Operations) -> None:
    checked = add_operation(
        operations,
        "verify",
        run_verify,
        summary="read everything that a backup needs, and name what is missing or differs",
        example="reconciler backup verify --store serving --from file:/backup/serving",
    )
    _add_store(checked)
    _add_chosen(checked)


def _add_restore(operations: Operations) -> None:
    back = add_operation(
        operations,
        "restore",
        run_restore,
        summary="bring a backup back into an empty place",
        example="reconciler backup restore --store serving --from file:/backup --into root=file:var/restored",
    )
    _add_store(back)
    _add_chosen(back)
    back.add_argument(
        "--into",
        metavar="SETTING=LOCATION",
        action="append",
        default=[],
        help="restore there instead of where the store is declared; env:NAME takes it from a variable",
    )
    back.add_argument(
        "--configuration", metavar="DIR", type=Path, help="bring the configuration files back below this, too"
    )
    back.add_argument("--dry-run", action="store_true", help="say what would come back, and stop")


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", metavar="NAME", nargs=1, required=True, help="a store of the repository's stores.yaml"
    )
    add_repository(parser)
    add_output(parser)


def _add_chosen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        metavar="LOCATION",
        help="the archive (default: that of the Recovery document)",
    )
    parser.add_argument("--backup", metavar="N", type=int, help="the backup's number (default: the newest)")


def run_create(args: argparse.Namespace, console: Console) -> Exit:
    """Back one store up."""
    with Workspace.open(args, console) as workspace:
        config = workspace.selected[0]
        one = workspace.by_hand(config)
        if one.last is None or one.last.results is not None:
            refuse_lost_records(one.store, one.last.seq if one.last else 0)
        store = keeper(one.store)
        with archive_of(workspace, config.name, args.to, "--to") as real:
            archive = cast("Archive", Rehearsal(real)) if args.dry_run else real
            _refuse_inside(workspace, config, real.where)
            with archive.writing():
                trust = Trust.NOTHING if args.deep else Trust.STAMPS
                files = configuration_files(workspace, config.name)
                created = create(archive, store, _draft(workspace, config), trust, files)
            wanted = args.verify and not args.dry_run
            verified = _verified(archive, created.found, console) if wanted else None
    document = _created_json(created, verified)
    console.answer(document, lambda: _created_text(created, verified, archive.where))
    console.problems(created.left_out)
    return _judged(verified)


def _refuse_inside(workspace: Workspace, config: StoreConfig, archive: str) -> None:
    """Refuse an archive below the store that it is to outlive.

    Raises:
        InvalidInput: E_ARCHIVE.
    """
    scheme, _, path = archive.partition(":")
    for value in config.settings.values():
        kind, _, place = str(value).partition(":")
        if scheme == kind == "file":
            store = (workspace.root / place).resolve()
            if (Path.cwd() / path).resolve().is_relative_to(store):
                raise InvalidInput.of(
                    "E_ARCHIVE",
                    "an archive below the store is lost together with it",
                    path="--to",
                    got=path,
                    fix="name a directory elsewhere, best on another machine",
                )


def _draft(workspace: Workspace, config: StoreConfig) -> Backup:
    """What is known of a backup before the store is read: the settings as git has them."""
    return Backup(
        store=config.name,
        kind=config.kind,
        settings=dict(workspace.desired.stores[config.name].settings),
        number=0,
        previous=None,
        time=source_date_epoch(),
        tool=TOOL,
        commit=workspace.desired.commit,
        records=0,
        ledger=None,
        heads={},
        index=Digest(""),
        parts=0,
        size=0,
    )


def run_verify(args: argparse.Namespace, console: Console) -> Exit:
    """Verify one backup."""
    with (
        Workspace.open(args, console) as workspace,
        archive_of(workspace, args.store[0], args.source, "--from") as archive,
    ):
        found = chosen(archive, args.store[0], args.backup)
        verified = _verified(archive, found, console)
    document = {"schema": VERIFIED_SCHEMA, **_found_json(found), "verified": verified.to_json()}
    console.answer(document, lambda: _verified_text(found, verified))
    return _judged(verified)


def _verified(archive: Archive, found: Found, console: Console) -> Verified:
    """Verify, and note it beside the backup; whoever may only read an archive may still verify it."""
    verified = verify(archive, found, time=source_date_epoch(), progress=console.note)
    try:
        with archive.writing():
            remember(archive, found, verified)
    except Unavailable as error:
        console.note(f"warning: the verification is not noted beside the backup: {error}")
    return verified


def _judged(verified: Verified | None) -> Exit:
    if verified is not None and not verified.whole:
        raise Corrupt(verified.problems)
    return Exit.DONE


def run_restore(args: argparse.Namespace, console: Console) -> Exit:
    """Bring one backup back."""
    with (
        Workspace.open(args, console) as workspace,
        archive_of(workspace, args.store[0], args.source, "--from") as archive,
    ):
        config = restored_config(workspace.selected[0], args.into)
        found = chosen(archive, config.name, args.backup)
        if found.backup.kind != config.kind:
            raise InvalidInput.of(
                "E_STORE_KIND",
                "the backup is of a store of another kind",
                path="--store",
                got=found.backup.kind,
            )
        brought = None
        if not args.dry_run:
            kind = adapter(config.kind)
            store = kind.open_store(config, workspace.surroundings)
            try:
                brought = restore(archive, found, keeper(store), console.note)
            finally:
                store.close()
            if args.configuration:
                _bring_configuration(archive, found, args.configuration)
    console.answer(_restored_json(found, brought), lambda: _restored_text(found, brought))
    return Exit.DONE


def _bring_configuration(archive: Archive, found: Found, directory: Path) -> None:
    """Write the configuration files of a backup below a directory; files that stand there must be equal.

    Raises:
        InvalidInput: E_RESTORE_PLACE, another file stands there.
        Corrupt: E_BACKUP_OBJECT or E_BACKUP_DOCUMENT.
    """
    for name, digest in sorted(found.backup.configuration.items()):
        if not is_plain(name):
            raise broken(archive.where, f"names a path that leaves its place: {name[:80]!a}")
        data = object_bytes(archive, Digest(digest), f"configuration file {name}")
        path = directory / name
        if standing(path) is not Standing.MISSING:
            if read_file(path, limit=len(data)) != data:
                raise InvalidInput.of(
                    "E_RESTORE_PLACE",
                    "another file stands where a configuration file comes back",
                    path=str(path),
                    fix="name an empty directory",
                )
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable.of(
                "E_IO", f"cannot be made: {error.strerror}", path=str(path.parent)
            ) from error
        replace_file(path, data)


def restored_config(config: StoreConfig, into: list[str]) -> StoreConfig:
    """Where a backup is restored: as declared, but for the settings that are given.

    Raises:
        InvalidInput: E_USAGE, a setting that this store has not; E_ENV, a variable that is not set.
    """
    settings = {**config.settings, "create": True}
    for text in into:
        name, mark, value = text.partition("=")
        if not mark or name not in config.settings or not isinstance(config.settings[name], str):
            raise InvalidInput.of(
                "E_USAGE",
                "--into takes a location of the store, as SETTING=LOCATION",
                path="--into",
                got=name,
                fix="for example root=file:var/restored",
            )
        settings[name] = _from_variable(value)
    return replace(config, settings=settings)


def _from_variable(value: str) -> str:
    scheme, _, variable = value.partition(":")
    if scheme != "env":
        return value
    if not os.environ.get(variable):
        raise InvalidInput.of(
            "E_ENV",
            "--into names a variable that is not set",
            path="--into",
            got=variable,
            fix=f"set {variable}",
        )
    return os.environ[variable]


# Answers.


def _found_json(found: Found) -> dict[str, Any]:
    backup = found.backup
    return {
        "store": backup.store,
        "number": backup.number,
        "backup": found.digest,
        "time": backup.time,
        "release": backup.release,
        "parts": backup.parts,
        "bytes": backup.size,
    }


def _created_json(created: Created, verified: Verified | None) -> Mapping[str, Any]:
    return {
        "schema": CREATED_SCHEMA,
        **_found_json(created.found),
        "copied": {"objects": created.objects, "bytes": created.size},
        "left_out": [problem.to_json() for problem in created.left_out],
        "verified": None if verified is None else verified.to_json(),
    }


def _created_text(created: Created, verified: Verified | None, location: str) -> str:
    backup = created.found.backup
    lines = [
        f"{backup.name} in {location}: release {backup.release}, {backup.parts} parts, {backup.size} bytes",
        f"copied {created.objects} objects, {created.size} bytes",
        f"backup {created.found.digest}",
    ]
    if verified is not None:
        lines.append(_verified_line(verified))
    return "\n".join(lines)


def _verified_text(found: Found, verified: Verified) -> str:
    return f"{found.backup.name}, release {found.backup.release}, {found.digest}\n{_verified_line(verified)}"


def _verified_line(verified: Verified) -> str:
    read = f"{verified.objects} objects, {verified.size} bytes"
    return (
        f"whole: {read} read"
        if verified.whole
        else f"not whole: {len(verified.problems)} problems, {read} read"
    )


def _restored_json(found: Found, brought: Brought | None) -> dict[str, Any]:
    return {
        "schema": RESTORED_SCHEMA,
        **_found_json(found),
        "restored": None
        if brought is None
        else {"parts": brought.parts, "bytes": brought.size, "found": brought.found},
    }


def _restored_text(found: Found, brought: Brought | None) -> str:
    backup = found.backup
    head = f"{backup.name}, release {backup.release}, {found.digest}"
    if brought is None:
        return f"{head}\nwould restore {backup.parts} parts, {backup.size} bytes"
    again = f", {brought.found} parts were there already" if brought.found else ""
    return (
        f"{head}\nrestored {brought.parts} parts, {brought.size} bytes{again}\n"
        "no drill has proved this store yet: run 'reconciler recovery drill'"
    )
