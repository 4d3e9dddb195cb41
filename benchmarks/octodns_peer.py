"""The closest Python peer on the same job: octoDNS with the same number of records in as many files.

octoDNS reads its wish with `YamlProvider` and plans against a second `YamlProvider`, so that neither side
of it waits for a network. A record stands for a dataset: its name for the id, one TXT value for the
manifest's digest. TXT is the cheaper of the record types that were tried; everything else is octoDNS's
default. Without `--doit` it plans and writes nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Usage, module, run

_CONFIG = """\
---
providers:
  wish:
    class: octodns.provider.yaml.YamlProvider
    directory: {root}/wish
    escaped_semicolons: true
  live:
    class: octodns.provider.yaml.YamlProvider
    directory: {root}/live
    escaped_semicolons: true
zones:
  '*':
    sources: [wish]
    targets: [live]
"""
_NOTHING = "No changes were planned"


def require(python: str) -> None:
    """Refuse to start without the peer.

    Raises:
        SystemExit: octoDNS cannot be imported there.
    """
    asked = subprocess.run((python, "-c", "import octodns.cmds.sync"), check=False, capture_output=True)
    if asked.returncode:
        raise SystemExit(f"octoDNS is not installed for {python}; install the extra 'benchmark'")


def write_zones(root: Path, *, zones: int, records: int) -> None:
    """Write equal zones for both sides; `records` is the number in each zone."""
    (root / "config.yaml").write_text(_CONFIG.format(root=root), "utf-8")
    for side in ("wish", "live"):
        (root / side).mkdir()
        for zone in range(zones):
            lines = ["---\n"]
            for number in range(records):
                value = f"sha256:{zone * records + number:064x}"
                lines.append(f"r{number:04}:\n  ttl: 300\n  type: TXT\n  value: {value}\n")
            (root / side / f"zone{zone:05}.example.yaml").write_text("".join(lines), "utf-8")


def plan(root: Path, *, python: str) -> Usage:
    """One `octodns-sync` without `--doit`, in the Python that has octoDNS.

    Raises:
        SystemExit: octoDNS is not installed there, or it planned a change.
    """
    usage = run(module("octodns.cmds.sync", "--config-file", str(root / "config.yaml"), python=python))
    if _NOTHING not in usage.err:
        raise SystemExit(f"octoDNS did not say '{_NOTHING}':\n{usage.err}")
    return usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the zones from the command line, so that the measuring process stays small."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.octodns_peer", allow_abbrev=False)
    parser.add_argument("root", type=Path)
    parser.add_argument("--zones", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    args = parser.parse_args(arguments)
    write_zones(args.root, zones=args.zones, records=args.records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
