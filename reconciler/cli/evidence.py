"""The evidence of a release: collect it into files, sign it, bundle it, and verify it offline.

A release is one closed record of a store's ledger. `collect` writes its packet, the same bytes every
time; `sign` adds the signature of one or more keys; `bundle` makes one reproducible tar of it; `verify`
needs nothing but the packet and the public keys that count, and says in one screen what is proved.

for example:
  reconciler evidence collect --release serving#7 --into ops/release
  reconciler evidence sign ops/release --key env:RELEASE_KEY
  reconciler evidence bundle ops/release --out release.tar
  reconciler evidence verify release.tar --key release.pub
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.canonical import sha256_digest, sha256_hex
from reconciler.cli.byhand import Operations, add_operation, operations_of
from reconciler.cli.console import Console
from reconciler.cli.files import Standing, read_file, replace_file, standing
from reconciler.cli.keys import add_signing_key, add_trust, required_trust, signing_keys, with_signatures
from reconciler.cli.options import add_desired, add_output, add_stores
from reconciler.cli.packet_files import bundle_bytes, read_contents, write_packet
from reconciler.cli.packets import keep_packets, last_release, packet_at
from reconciler.cli.workspace import Workspace, source_date_epoch
from reconciler.errors import Corrupt, Exit, InvalidInput, Problem
from reconciler.evidence.envelope import ENVELOPE_LIMIT, envelope_bytes
from reconciler.evidence.packet import (
    INDEX_LIMIT,
    MEMBER_LIMIT,
    PACKET,
    Index,
    Packet,
    envelopes_of,
    read_index,
    release_name,
    release_statement,
)
from reconciler.evidence.reference_packet import judged
from reconciler.evidence.signed_file import SUFFIX, file_signers, file_statement, kind_of
from reconciler.evidence.trust import Trust
from reconciler.evidence.verification import Check, Expected, Proof, verify
from reconciler.governance import instant
from reconciler.plan import PLAN_LIMIT
from reconciler.render.evidence import proof_text, record_json
from reconciler.render.text import plural
from reconciler.stores.port import adapter

if TYPE_CHECKING:
    from reconciler.backup.recovery import Drilled

COLLECT_SCHEMA = "reconciler/evidence-collect/v1"
SIGN_SCHEMA = "reconciler/evidence-sign/v1"
BUNDLE_SCHEMA = "reconciler/evidence-bundle/v1"
VERIFY_SCHEMA = "reconciler/evidence-verify/v1"
_RELEASE = re.compile(r"([a-z][a-z0-9_-]{0,62})#([1-9][0-9]{0,18})", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    _add_collect(operations)
    _add_sign(operations)
    _add_bundle(operations)
    _add_verify(operations)


def _add_collect(operations: Operations) -> None:
    collected = add_operation(
        operations,
        "collect",
        collect,
        summary="write the packet of a release into a directory",
        example="reconciler evidence collect --release serving#7 --into ops/release",
    )
    add_desired(collected)
    add_stores(collected)
    collected.add_argument(
        "--release", metavar="STORE#N", help="the release; default: the newest of the one --store"
    )
    collected.add_argument("--into", metavar="DIR", type=Path, required=True, help="where the files go")
    collected.add_argument("--dry-run", action="store_true", help="say what would be written, and stop")
    add_output(collected)


def _add_sign(operations: Operations) -> None:
    signed = add_operation(
        operations,
        "sign",
        sign,
        summary="sign a packet, a saved plan or a report, beside the signatures that it has",
        example="reconciler evidence sign ops/release --key env:RELEASE_KEY",
    )
    signed.add_argument("packet", metavar="PACKET", type=Path, help="the directory of a packet, or one file")
    add_signing_key(signed)
    signed.add_argument("--dry-run", action="store_true", help="say what would be written, and stop")
    add_output(signed)


def _add_bundle(operations: Operations) -> None:
    bundled = add_operation(
        operations,
        "bundle",
        bundle,
        summary="make one tar of a packet, equal every time",
        example="reconciler evidence bundle ops/release --out release.tar",
    )
    bundled.add_argument("packet", metavar="PACKET", type=Path, help="the directory of a packet")
    bundled.add_argument("--out", metavar="FILE", type=Path, required=True, help="the tar to write")
    bundled.add_argument("--dry-run", action="store_true", help="say what would be written, and stop")
    add_output(bundled)


def _add_verify(operations: Operations) -> None:
    verified = add_operation(
        operations,
        "verify",
        verify_packet,
        summary="say what a packet proves; needs no store, no repository and no network",
        example="reconciler evidence verify release.tar --key release.pub",
    )
    verified.add_argument(
        "packet", metavar="PACKET", type=Path, help="a directory, a bundle, or a signed file"
    )
    add_trust(verified)
    verified.add_argument("--release", metavar="STORE#N", help="the release that it must be")
    verified.add_argument("--previous", metavar="ROOT", help="the root of the packet that it must follow")
    add_output(verified)


def collect(args: argparse.Namespace, console: Console) -> Exit:
    """Make the packet from the ledger, and write it."""
    store, seq = parse_release(args.release) if args.release else (None, None)
    if store is not None:
        args.store = [store]
    with Workspace.open(args, console) as workspace:
        if len(workspace.selected) != 1:
            raise InvalidInput.of(
                "E_USAGE", "name one release", path="--release", fix="give --release STORE#N, or one --store"
            )
        one = workspace.opened(workspace.selected[0])
        one.require_finished()
        packet = packet_at(one, last_release(one) if seq is None else seq)
        if not args.dry_run:
            keep_packets(one, console)
    if not args.dry_run:
        write_packet(args.into, packet.members)
    console.answer(
        {"schema": COLLECT_SCHEMA, **_packet_json(packet), "into": str(args.into)},
        lambda: (
            f"{release_name(packet.index.store, packet.index.seq)}: {len(packet.members)} files "
            f"in {args.into}\nroot {packet.index.root}"
        ),
    )
    return Exit.DONE


def parse_release(text: str) -> tuple[str, int]:
    """Store and number of a release's name.

    Raises:
        InvalidInput: E_RELEASE.
    """
    match = _RELEASE.fullmatch(text)
    if match is None:
        raise InvalidInput.of(
            "E_RELEASE", "a release is named STORE#N", got=text, fix="for example serving#7"
        )
    return match[1], int(match[2])


def _packet_json(packet: Packet) -> dict[str, Any]:
    index = packet.index
    return {
        "release": release_name(index.store, index.seq),
        "release_id": index.release_id,
        "root": index.root,
        "previous": index.previous,
        "files": sorted(packet.members),
    }


def sign(args: argparse.Namespace, console: Console) -> Exit:
    """Sign a packet or one file; signatures of the same statement that stand there stay."""
    keys = signing_keys(args.key)
    if standing(args.packet) is Standing.FILE:
        data = read_file(args.packet, limit=PLAN_LIMIT)
        digest = sha256_digest(data)
        statement = file_statement(data, name=args.packet.name, where=str(args.packet))
        statements = {Path(f"{args.packet}{SUFFIX}"): statement}
    else:
        where = args.packet / PACKET
        index = read_index(read_file(where, limit=INDEX_LIMIT), where=str(where))
        digest = index.digest
        statements = _statements(args.packet, index)
    envelopes = {place: with_signatures(place, payload, keys) for place, payload in statements.items()}
    if not args.dry_run:
        for place, envelope in envelopes.items():
            replace_file(place, envelope_bytes(envelope))
    keyids = sorted({signature.keyid for one in envelopes.values() for signature in one.signatures})
    console.answer(
        {
            "schema": SIGN_SCHEMA,
            "digest": digest,
            "envelopes": [str(place) for place in envelopes],
            "keyids": keyids,
        },
        lambda: "\n".join(
            [
                *(f"{place}: {plural(len(one.signatures), 'signature')}" for place, one in envelopes.items()),
                digest,
            ]
        ),
    )
    return Exit.DONE


def _statements(place: Path, index: Index) -> dict[Path, bytes]:
    """What is signed in a packet, by the file of its envelope; the release's own comes last.

    Raises:
        Corrupt: E_EVIDENCE_MEMBER, a statement in it is not the one that the index lists.
    """
    listed = {item.path: item.sha256 for item in index.items}
    statements = {}
    for envelope, member in reversed(envelopes_of(index).items()):
        if member is None:
            statements[place / envelope] = release_statement(index)
            continue
        data = read_file(place / member, limit=MEMBER_LIMIT)
        if sha256_hex(data) != listed[member]:
            raise Corrupt.of(
                "E_EVIDENCE_MEMBER",
                "a member has other bytes than the index lists",
                path=str(place / member),
                fix="collect the release again with 'reconciler evidence collect'",
            )
        statements[place / envelope] = data
    return statements


def bundle(args: argparse.Namespace, console: Console) -> Exit:
    """Write the members of a packet as one tar."""
    data = b"".join(bundle_bytes(args.packet))
    if not args.dry_run:
        replace_file(args.out, data)
    digest = sha256_digest(data)
    console.answer(
        {"schema": BUNDLE_SCHEMA, "out": str(args.out), "digest": digest, "bytes": len(data)},
        lambda: f"{args.out}: {len(data)} bytes, {digest}",
    )
    return Exit.DONE


def verify_packet(args: argparse.Namespace, console: Console) -> Exit:
    """Hold a packet or a signed file against the keys that count; everything that is wrong is said."""
    trust = required_trust(args)
    place = Path(f"{args.packet}{SUFFIX}")
    if standing(place) is Standing.FILE:
        return _verify_file(args, console, trust, place)
    store, seq = parse_release(args.release) if args.release else (None, None)
    expected = Expected(store=store, seq=seq, previous=args.previous)
    contents = read_contents(args.packet)
    proof = judged(contents) or verify(
        contents, trust, shape_of=lambda kind: adapter(kind).SHAPE, expected=expected
    )
    console.answer(lambda: proof_json(proof), lambda: proof_text(proof, str(args.packet)))
    if proof.problems:
        console.problems(proof.problems)
    return Exit.DONE if proof.whole else Exit.CORRUPT


def _verify_file(args: argparse.Namespace, console: Console, trust: Trust, place: Path) -> Exit:
    """A plan or a report, with the envelope that stands beside it; a drill says what it proved, too.

    Keys are judged at the time of the drill, so that its report outlives the rotation of a key.
    """
    from reconciler.backup.drill import read_drilled  # noqa: PLC0415 - only reports need it

    data = read_file(args.packet, limit=PLAN_LIMIT)
    drilled = read_drilled(data, where=str(args.packet))
    if args.previous or (args.release and drilled is None):
        raise InvalidInput.of("E_USAGE", "a signed file is no packet of a release", path=str(args.packet))
    kind = kind_of(data, where=str(args.packet))
    envelope = read_file(place, limit=ENVELOPE_LIMIT)
    now = source_date_epoch() if drilled is None else drilled.time
    signers = file_signers(envelope, data, trust, predicate_type=kind, at=now, where=str(place))
    said = f"signed by {', '.join(signers)} (threshold {trust.threshold})"
    checks = [Check("signature", said)]
    if drilled is not None:
        checks.append(_drill_check(drilled, args.release, str(args.packet)))
    proof = Proof(index=None, record=None, checks=tuple(checks))
    console.answer(lambda: proof_json(proof), lambda: proof_text(proof, str(args.packet)))
    console.problems(proof.problems)
    return Exit.DONE if proof.whole else Exit.CORRUPT


def _drill_check(drilled: Drilled, release: str | None, where: str) -> Check:
    """What a signed drill proved, and of which release."""
    counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(Counter(drilled.verdicts).items()))
    said = f"{drilled.release} from backup {drilled.number}, at {instant(drilled.time)}: {counted}"
    problems = []
    if release is not None and release != drilled.release:
        problems.append(
            Problem(
                code="E_EVIDENCE_RELEASE",
                message=f"this is the drill of another release than {release}",
                path=where,
                got=drilled.release,
                fix="give the report of the release that was asked for",
            )
        )
    if not drilled.proved:
        problems.append(
            Problem(
                code="E_DRILL_FAILED",
                message="the report is as it was signed, and says that the drill failed",
                path=where,
                got=counted,
                fix="mend what the checks of the report name, and run 'reconciler recovery drill' again",
            )
        )
    return Check("drill", said, tuple(problems))


def proof_json(proof: Proof) -> dict[str, Any]:
    """The stable keys of a proof."""
    return {
        "schema": VERIFY_SCHEMA,
        "verified": proof.whole,
        "release": release_name(proof.index.store, proof.index.seq) if proof.index else None,
        "root": proof.index.root if proof.index else None,
        "record": record_json(proof),
        "checks": [check_json(check) for check in proof.checks],
    }


def check_json(check: Check) -> dict[str, Any]:
    """The stable keys of a check."""
    return {
        "name": check.name,
        "proved": check.proved,
        "said": check.said,
        "problems": [problem.to_json() for problem in check.problems],
    }
