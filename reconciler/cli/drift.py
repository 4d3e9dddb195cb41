"""Compare the live stores with git and with what the last apply left there; nothing is written.

Says of every address whether it is in sync, pending (git moved), drifted (the store moved: missing,
moved, extra), corrupt, unmanaged or unknown. Manifests are re-read; `--deep` re-hashes everything. The
exit code is 8 when something is corrupt, 10 when a store could not be read, and with
`--detailed-exitcode` 2 when something is pending or drifted.

for example:
  reconciler drift --detailed-exitcode
  reconciler drift --deep --output json
"""

from __future__ import annotations

import argparse

from reconciler.cli.console import Console
from reconciler.cli.options import add_desired, add_detailed_exitcode, add_output, add_stores
from reconciler.cli.workspace import Opened, Workspace
from reconciler.drift import DriftReport, observe_drift, unreadable
from reconciler.errors import Corrupt, Exit, OutcomeUnknown, Unavailable
from reconciler.governance import holder
from reconciler.model import Depth, Selection, StoreConfig
from reconciler.render.markdown import drift_markdown
from reconciler.render.text import drift_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_desired(parser)
    add_stores(parser)
    parser.add_argument("--deep", action="store_true", help="re-hash every file, not only manifests")
    add_detailed_exitcode(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Observe every selected store and report."""
    depth = Depth.DEEP if args.deep else Depth.MANIFESTS
    with Workspace.open(args, console) as workspace:
        report = DriftReport(workspace.desired.commit, depth)
        for config in workspace.selected:
            _observe(workspace, config, report, depth)
    console.answer(report.to_json, lambda: drift_text(report), lambda: drift_markdown(report))
    return _exit(report, detailed=args.detailed_exitcode)


def _observe(workspace: Workspace, config: StoreConfig, report: DriftReport, depth: Depth) -> None:
    """Add one store; a store that cannot be read makes its addresses unknown, never absent."""
    try:
        one: Opened = workspace.opened(config)
        one.require_finished()
        seen = list(one.store.snapshot(Selection(depth=depth)))
    except (Unavailable, OutcomeUnknown) as error:
        unreadable(report, workspace.desired.of_store(config.name), error.problems)
        workspace.progress.problems(error.problems)
        return
    except Corrupt as error:
        unreadable(report, workspace.desired.of_store(config.name), error.problems)
        report.summary["corrupt"] += 1
        workspace.progress.problems(error.problems)
        return
    observe_drift(
        report,
        workspace.desired.of_store(config.name),
        seen,
        one.inventory,
        shape=one.shape,
        everything_ours=config.name in workspace.desired.authoritative,
        holder=holder(workspace.protected.guards, workspace.now),
    )


def _exit(report: DriftReport, *, detailed: bool) -> Exit:
    summary = report.summary
    if summary["corrupt"]:
        return Exit.CORRUPT
    if summary["unknown"] or not report.readable:
        return Exit.UNAVAILABLE
    return Exit.CHANGES if detailed and (summary["pending"] or summary["drift"]) else Exit.DONE
