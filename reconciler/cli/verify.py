"""Say whether the stores are what git at a commit, their ledgers and signed evidence say, and prove it.

Reads everything and writes nothing: the ledger's chain, every packet beside it, each declared thing with
its content, and with `--packet` a signed packet that anchors the ledger. With `--server` it asks a live
server whether it has adopted the store's catalog and is ready. The exit code is 8 when anything does not
hold, and 10 when a server is not ready or has not adopted the catalog (yet).

for example:
  reconciler verify --store serving --at main
  reconciler verify --store serving --packet release.tar --key release.pub --deep
  reconciler verify --store serving --server http://127.0.0.1:8080 --wait 60
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.cli.evidence import check_json
from reconciler.cli.keys import add_trust, required_trust
from reconciler.cli.options import add_base, add_output, add_stores, seconds
from reconciler.cli.packet_files import read_contents
from reconciler.cli.packets import all_packets
from reconciler.cli.roots import opened_root
from reconciler.cli.server import Server, parse_server, require_epoch, require_ready
from reconciler.cli.workspace import Opened, Workspace
from reconciler.drift import DriftItem, DriftReport, observe_drift
from reconciler.errors import Corrupt, Exit, InvalidInput, Problem, ReconcilerError, Unavailable
from reconciler.evidence.packet import PACKET, Index, release_name
from reconciler.evidence.trust import Trust
from reconciler.evidence.verification import Check, Expected, verify
from reconciler.model import Depth, Selection
from reconciler.render.evidence import checks_text
from reconciler.render.text import plural
from reconciler.stores.port import adapter, other_packet, packet_keeper
from reconciler.stores.serving.heads import read_catalog

SCHEMA = "reconciler/verify/v1"
_SERVING = "serving"
_PAUSE = 1.0
_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--repo", metavar="DIR", help="the git repository (default: the one around here)")
    parser.add_argument(
        "--at", metavar="COMMIT", help="the commit that the stores must be at (default: HEAD)"
    )
    parser.add_argument(
        "--desired", metavar="PATH", default="desired", help="the desired state (default: desired)"
    )
    add_base(parser)
    add_stores(parser)
    parser.add_argument("--deep", action="store_true", help="re-hash every file, not only manifests")
    parser.add_argument("--packet", metavar="PACKET", type=Path, help="a signed packet of the store's ledger")
    add_trust(parser)
    parser.add_argument("--server", metavar="URL", help="a live server that must have adopted the catalog")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=0.0,
        help="how long to wait for the server (default: 0)",
    )
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Make every check, show all of them, and fail if one does not hold."""
    args.ref, args.worktree = args.at, False
    server = parse_server(args.server) if args.server else None
    trust = required_trust(args) if args.packet else None
    with Workspace.open(args, console) as workspace:
        if (server or trust) and len(workspace.selected) != 1:
            raise InvalidInput.of("E_USAGE", "name the one store", path="--store", fix="give --store NAME")
        checked = []
        for config in workspace.selected:
            one = workspace.opened(config)
            one.require_finished()
            checks = _of_store(args, workspace, one, trust)
            if server:
                checks += _of_server(args, workspace, one, server)
            checked.append((config.name, checks))
        commit = workspace.desired.commit
    return _answer(console, commit, checked)


def _of_server(
    args: argparse.Namespace, workspace: Workspace, one: Opened, server: Server
) -> tuple[Check, ...]:
    """Ask a live server, again and again as long as the arguments let it take."""
    if one.config.kind != _SERVING:
        raise InvalidInput.of("E_STORE_KIND", "only a serving store has a server", got=one.config.kind)
    where = str(one.config.settings["root"]).removeprefix("file:")
    with opened_root(workspace.root / where, one.config.name) as root:
        catalog = read_catalog(root, where)
    until = time.monotonic() + args.wait
    return (
        _checked("ready", lambda: _patiently(lambda: require_ready(server), until)),
        _checked("epoch", lambda: _patiently(lambda: require_epoch(server, catalog), until)),
    )


Checked = list[tuple[str, tuple[Check, ...]]]


def _answer(console: Console, commit: str, checked: Checked) -> Exit:
    whole = all(check.proved for _, checks in checked for check in checks)
    verdict = f"at commit {commit}: {'verified' if whole else 'does NOT verify'}"
    console.answer(
        {
            "schema": SCHEMA,
            "commit": commit,
            "verified": whole,
            "stores": [
                {"store": store, "checks": [check_json(check) for check in checks]}
                for store, checks in checked
            ],
        },
        lambda: "\n".join([*(checks_text(store, checks) for store, checks in checked), verdict]),
    )
    problems = tuple(problem for _, checks in checked for check in checks for problem in check.problems)
    if problems:
        console.problems(problems)
    waiting = {"E_SERVER_READY", "E_SERVER_EPOCH", "E_SERVER_ANSWER", "E_UNREACHABLE"}
    if not whole and {problem.code for problem in problems} <= waiting:
        return Exit.UNAVAILABLE
    return Exit.DONE if whole else Exit.CORRUPT


def _of_store(
    args: argparse.Namespace, workspace: Workspace, one: Opened, trust: Trust | None
) -> tuple[Check, ...]:
    packets: list[Index] = []
    checks = [
        _checked("ledger", lambda: _ledger(one)),
        _checked("packets", lambda: _packets(one, packets)),
        _checked("live", lambda: _live(workspace, one, Depth.DEEP if args.deep else Depth.MANIFESTS)),
        _checked("release", lambda: _release(workspace, one)),
    ]
    if trust is not None:
        checks.append(_checked("signed", lambda: _anchored(args.packet, trust, one, packets)))
    return tuple(checks)


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, said=look())
    except ReconcilerError as error:
        return Check(name, problems=error.problems)


def _ledger(one: Opened) -> str:
    records = list(one.store.history())
    if not records:
        return "no record yet"
    return f"{plural(len(records), 'record')}, a whole chain to outcome {records[-1].outcome_sha}"


def _packets(one: Opened, packets: list[Index]) -> str:
    """Make every packet from the ledger alone, and compare those that are kept."""
    keeper = packet_keeper(one.store)
    kept = 0
    for packet in all_packets(one):
        packets.append(packet.index)
        data = keeper.packet(packet.index.seq)
        kept += data is not None
        if data is not None and data != packet.members[PACKET]:
            raise other_packet(packet.index.seq, one.config.name)
    root = packets[-1].root if packets else "none"
    return f"{kept} of {len(packets)} kept, each what the ledger gives; root {root}"


def _live(workspace: Workspace, one: Opened, depth: Depth) -> str:
    """Compare everything declared with what is live, and with what the ledger says we left there."""
    report = DriftReport(workspace.desired.commit, depth)
    observe_drift(
        report,
        workspace.desired.of_store(one.config.name),
        one.store.snapshot(Selection(depth=depth)),
        one.inventory,
        shape=one.shape,
        everything_ours=one.config.name in workspace.desired.authoritative,
    )
    wrong = [item for item in report.items if item.verdict not in {"unmanaged", "hold"}]
    if wrong:
        raise Corrupt(problem for item in wrong[:_SHOWN] for problem in _problems(item))
    unmanaged = report.summary["unmanaged"]
    return (
        f"{plural(report.summary['in_sync'], 'declared thing')} as git wants (depth: {depth.value}), "
        f"{unmanaged} unmanaged"
    )


def _problems(item: DriftItem) -> tuple[Problem, ...]:
    what = f" ({item.what})" if item.what else ""
    return item.problems or (
        Problem(
            code="E_NOT_AT_COMMIT",
            message=f"it is not what git wants at this commit: {item.verdict}{what}",
            path=str(item.address),
            fix="look with 'reconciler drift', then apply",
        ),
    )


def _release(workspace: Workspace, one: Opened) -> str:
    """Which release last brought something from git, and whether it was of this commit."""
    applied = [record for record in one.store.history() if record.run.by == "git"]
    if not applied:
        return "nothing was ever applied from git"
    last = applied[-1]
    here = last.run.commit == workspace.desired.commit
    name = release_name(one.config.name, last.seq)
    return f"{name} is of this commit" if here else f"{name}, of commit {last.run.commit[:12]}, left it so"


def _anchored(place: Path, trust: Trust, one: Opened, packets: list[Index]) -> str:
    """A signed packet must be the very one that the live ledger gives; it then vouches for all before it."""
    proof = verify(
        read_contents(place),
        trust,
        shape_of=lambda kind: adapter(kind).SHAPE,
        expected=Expected(store=one.config.name),
    )
    if not proof.whole or proof.index is None:
        raise Corrupt(proof.problems)
    seq = proof.index.seq
    if seq > len(packets) or packets[seq - 1].digest != proof.index.digest:
        raise Corrupt.of(
            "E_EVIDENCE_CHAIN",
            "the ledger of the store is not the one of this signed packet",
            path=str(place),
            got=release_name(one.config.name, seq),
            fix="call a person: the ledger was written anew, or the packet is of another store of this name",
        )
    signers = next(check.said for check in proof.checks if check.name == "signature")
    later = len(packets) - seq
    return f"releases 1 to {seq} {signers}; {later} later not covered"


def _patiently(look: Callable[[], str], until: float) -> str:
    """Look again each second until it holds or the time is over."""
    while True:
        try:
            return look()
        except Unavailable:
            if time.monotonic() >= until:
                raise
            time.sleep(_PAUSE)
