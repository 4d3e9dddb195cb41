"""The closest peer of a version tag: an alias in MLflow's model registry, kept in SQLite.

Its store is called directly, as its own tracking server does, so that nothing but the registry is measured:
no HTTP, no client. Model and version stand before the clock starts; each alias is new and is one call, which
is one transaction. Everything else is MLflow's default. It runs in the Python that has MLflow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import Usage, module, run

_MODULE = "mlflow.store.model_registry.sqlalchemy_store"
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


class Aliases(NamedTuple):
    """What setting the aliases cost, and what the whole process did."""

    cpu: float
    wall: float
    process: Usage


def require(python: str) -> None:
    """Refuse to start without the peer.

    Raises:
        SystemExit: MLflow cannot be imported there.
    """
    environment = {**os.environ, **_QUIET}
    asked = subprocess.run(
        (python, "-c", f"import {_MODULE}"), check=False, capture_output=True, env=environment
    )
    if asked.returncode:
        raise SystemExit(f"MLflow is not installed for {python}; install the extra 'benchmark'")


def set_aliases(database: Path, count: int, *, python: str) -> Aliases:
    """Set new aliases in a database that is made for it."""
    usage = run(module("benchmarks.mlflow_peer", str(database), f"--count={count}", python=python))
    spent = json.loads(usage.out.splitlines()[-1])
    return Aliases(spent["cpu"], spent["wall"], usage)


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the aliases, in the process that is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mlflow_peer", allow_abbrev=False)
    parser.add_argument("database", type=Path)
    parser.add_argument("--count", type=int, required=True)
    args = parser.parse_args(arguments)
    os.environ.update(_QUIET)
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415 - the peer's Python

    store = SqlAlchemyStore(f"sqlite:///{args.database.resolve()}")
    store.create_registered_model("model")
    store.create_model_version("model", "file:/nowhere", None)
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(args.count):
        store.set_registered_model_alias("model", f"v1-{number}-0", "1")
    print(json.dumps({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
