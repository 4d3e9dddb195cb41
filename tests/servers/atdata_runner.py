"""The real client of atdata, in an environment of its own: it needs a newer Python than this project.

The first call of a user installs it into the user's cache directory. `RECONCILER_ATDATA_PYTHON` names an
interpreter that has it already. Where there is no interpreter that is new enough, `python()` is None, and
whoever asks says so.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, cast

VERSION = "0.7.0b1"
_NEWEST, _OLDEST = 14, 12
_SCRIPT = Path(__file__).with_name("atdata_client.py")


@cache
def python() -> Path | None:
    """An interpreter that has atdata; None where none is new enough."""
    named = os.environ.get("RECONCILER_ATDATA_PYTHON")
    if named:
        return Path(named)
    base = interpreter()
    return None if base is None else _installed(base)


def interpreter() -> Path | None:
    """A Python that is new enough for atdata."""
    if sys.version_info >= (3, _OLDEST):
        return Path(sys.executable)
    for minor in range(_OLDEST, _NEWEST + 1):
        on_path = shutil.which(f"python3.{minor}")
        built = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        for found in (*([Path(on_path)] if on_path else []), *built):
            # A shim stands for an interpreter that may not be chosen here.
            if subprocess.run([found, "--version"], check=False, capture_output=True).returncode == 0:
                return found
    return None


def _installed(base: Path) -> Path:
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reconciler-tests"
    cache_home.mkdir(parents=True, exist_ok=True)
    place, half = cache_home / f"atdata-{VERSION}", cache_home / f"atdata-{VERSION}.half"
    with (cache_home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place / "installed"
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            _run([str(base), "-m", "venv", str(place)])
            _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", f"atdata=={VERSION}"])
            done.touch()
        shutil.rmtree(half, ignore_errors=True)
    return place / "bin" / "python"


def _run(words: list[str]) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{words}: {done.stdout}{done.stderr}")


def asked(python_path: Path, **request: object) -> dict[str, Any]:
    """What the client answers to a request of `atdata_client`."""
    done = subprocess.run(
        [python_path, "-P", "-W", "ignore", _SCRIPT],
        input=json.dumps(request),
        env={"PATH": os.environ["PATH"], "HOME": str(Path(str(request["index"])).parent)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(f"atdata failed:\n{done.stdout}\n{done.stderr}")
    return cast("dict[str, Any]", json.loads(done.stdout.splitlines()[-1]))
