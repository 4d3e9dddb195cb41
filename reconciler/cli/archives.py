"""Which archive a command means: the one that is named, or the one that the store's `Recovery` declares.

A location on the command line starts from the current directory, one of a document from the repository's
root. The files that a `Recovery` names as configuration are read from the commit, and refused where a line
of them looks like a secret: an archive is no place for one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.archives.location import opened_archive
from reconciler.backup.archive import Archive
from reconciler.cli.workspace import Workspace
from reconciler.errors import InvalidInput
from reconciler.model import Place, Recovery

_SECRET = re.compile(rb"(?im)^.*?(?:PASSWORD|TOKEN|SECRET|API_KEY)[\"']?\s*[=:]\s*[\"']?[^\s\"'{\[$<]")
_BEARER = re.compile(rb"(?i)authorization:\s*bearer\s+[^\s<\[]")
_FILE_LIMIT = 5_000_000


@contextmanager
def archive_of(workspace: Workspace, store: str, location: str | None, option: str) -> Iterator[Archive]:
    """The archive of a store.

    Args:
        workspace: the repository.
        store: the store's name.
        location: what the command line names; None if it names nothing.
        option: the option that could have.

    Raises:
        InvalidInput: E_USAGE, neither names one; E_ENV, a variable is not set.
    """
    surroundings = workspace.surroundings
    recovery = workspace.desired.recoveries.get(store)
    if location is not None:
        surroundings = replace(surroundings, root=Path.cwd())
    elif recovery is None or not recovery.backup:
        raise InvalidInput.of(
            "E_USAGE",
            f"no archive is named, and no Recovery document names one for store {store}",
            path=option,
            fix=f"give {option} LOCATION, or declare it",
        )
    settings = {} if recovery is None else _located(recovery)
    place = Place(option, 0, 0) if recovery is None else recovery.place
    where = settings["location"] if location is None else location
    with opened_archive(where, settings, place, surroundings) as archive:
        yield archive


def _located(recovery: Recovery) -> Mapping[str, Any]:
    """The settings of an archive with the values of their variables; credentials stay names."""
    settings = {}
    for name, value in recovery.backup.items():
        if not isinstance(value, dict) or "env" not in value:
            settings[name] = value
            continue
        variable = value["env"]
        if not os.environ.get(variable):
            raise InvalidInput.of(
                "E_ENV",
                f"the archive of store {recovery.store} takes its {name} from a variable that is not set",
                path=recovery.place.path,
                line=recovery.place.line,
                got=variable,
                fix=f"set {variable}",
            )
        settings[name] = os.environ[variable]
    return settings


def configuration_files(workspace: Workspace, store: str) -> Mapping[str, bytes]:
    """The configuration files of a store's recovery, from the commit.

    Raises:
        InvalidInput: E_RECOVERY_PATH, the commit has no such file; E_SECRET_IN_CONFIG.
    """
    recovery = workspace.desired.recoveries.get(store)
    wanted = recovery.configuration if recovery is not None else ()
    if recovery is None or not wanted:
        return {}
    listing = workspace.tree.find(wanted)
    if listing.problems:
        raise InvalidInput(listing.problems)
    files = {entry.path: data for entry, data in workspace.tree.read(listing.entries, _FILE_LIMIT)}
    for path in wanted:
        if path not in files:
            raise InvalidInput.of(
                "E_RECOVERY_PATH",
                "the commit has no such configuration file",
                path=recovery.place.path,
                line=recovery.place.line,
                got=path,
                fix="correct the path",
            )
        found = _SECRET.search(files[path]) or _BEARER.search(files[path])
        if found is not None:
            raise InvalidInput.of(
                "E_SECRET_IN_CONFIG",
                "a line of this configuration file looks like a secret, and is kept nowhere",
                path=path,
                line=files[path].count(b"\n", 0, found.end()) + 1,
                fix="take it from a variable instead",
            )
    return files
