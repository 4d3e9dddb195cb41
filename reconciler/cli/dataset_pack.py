"""Pack a dataset into one file, verify a pack, unpack one.

A pack is byte-reproducible, so packing again into the same file is a no-op, and packing something else
over it is refused. A pack that is checked without `--expect` or `--desired` is *self-consistent only*:
its parts agree with each other, and nobody said that they are the right ones.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from reconciler.cli.byhand import Operations, add_dataset, add_operation, add_write, dataset_of, open_by_hand
from reconciler.cli.console import Console
from reconciler.cli.dataset_publish import offered_pack, opened_pack, publish_offer
from reconciler.cli.files import Standing, standing
from reconciler.cli.options import add_base, add_output, seconds
from reconciler.cli.protected import load_tree
from reconciler.cli.roots import opened_dataset, opened_root
from reconciler.cli.workspace import open_tree
from reconciler.errors import Corrupt, Denied, Exit, Unavailable, escaped
from reconciler.model import DatasetId, Digest, parse_digest
from reconciler.render.text import plural
from reconciler.stores.serving.pack import PackReport, verify_pack, write_pack
from reconciler.stores.serving.unpack import unpack_build_root


def add_pack(operations: Operations) -> None:
    """Add `dataset pack`, `dataset verify-pack` and `dataset unpack`."""
    packer = add_operation(
        operations,
        "pack",
        pack,
        summary="write one dataset of a build root or store into a pack",
        example="reconciler dataset pack 110/homo_sapiens/GRCh38 --root builds/110 --out 110.tar",
    )
    add_dataset(packer)
    packer.add_argument("--root", metavar="DIR", type=Path, required=True, help="a build root or a store")
    packer.add_argument("--out", metavar="FILE", type=Path, required=True, help="the pack")
    packer.add_argument("--dry-run", action="store_true", help="say what the pack would be, and stop")
    add_output(packer)
    verifier = add_operation(
        operations,
        "verify-pack",
        verify,
        summary="check a pack, and that it carries what is expected",
        example="reconciler dataset verify-pack --pack 110.tar --desired",
    )
    _add_expectation(verifier)
    add_output(verifier)
    unpacker = add_operation(
        operations,
        "unpack",
        unpack,
        summary="check a pack and unpack it, into a new build root or into a store",
        example="reconciler dataset unpack --pack 110.tar --out builds/110",
    )
    _add_expectation(unpacker)
    where = unpacker.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", type=Path, help="the new build root")
    where.add_argument("--store-root", metavar="DIR", help="publish it to the store in this directory")
    unpacker.set_defaults(creates_store=True)
    where.add_argument(
        "--store", metavar="NAME", nargs=1, default=[], help="publish it to a store of stores.yaml"
    )
    unpacker.add_argument(
        "--lock-timeout", metavar="SECONDS", type=seconds, default=60.0, help="(default: 60)"
    )
    add_base(unpacker)
    add_write(unpacker)
    add_output(unpacker)


def _add_expectation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pack", metavar="FILE", type=Path, required=True, help="the pack")
    expected = parser.add_mutually_exclusive_group()
    expected.add_argument("--expect", metavar="DIGEST", help="the manifest's digest that it must carry")
    expected.add_argument(
        "--desired",
        metavar="PATH",
        nargs="?",
        const="desired",
        help="it must carry what the desired state at PATH declares (default: desired)",
    )
    parser.add_argument("--repo", metavar="DIR", help="the git repository (default: the one around here)")
    commit = parser.add_mutually_exclusive_group()
    commit.add_argument("--ref", metavar="REF", help="the commit to read (default: HEAD)")
    commit.add_argument("--worktree", action="store_true", help="read the files as they are on disk")


def pack(args: argparse.Namespace, console: Console) -> Exit:
    """Write one pack, whole or not at all."""
    dataset = dataset_of(args)
    out: Path = args.out
    with (
        opened_root(args.root, "--root") as root,
        opened_dataset(root, dataset, str(args.root)) as place,
        _fresh_file(out) as (stream, name),
    ):
        summary = write_pack(place, stream, dataset=dataset, where=str(args.root))
        status = _placed(out, name, stream, summary.digest, dry_run=args.dry_run)
    document = {
        "schema": "reconciler/dataset-pack/v1",
        "status": status,
        "dataset": str(dataset),
        "out": str(out),
        "digest": summary.digest,
        "size": summary.size,
        "manifest": summary.manifest,
        "files": len(summary.files),
    }
    said = {"done": "packed", "unchanged": "already packed", "dry-run": "dry run, nothing was written"}
    console.answer(
        document,
        lambda: (
            f"{said[status]}: {dataset} in {escaped(str(out), 400)}, {plural(len(summary.files), 'file')}, "
            f"{plural(summary.size, 'byte')}\n"
            f"pack     {summary.digest}\nmanifest {summary.manifest}"
        ),
    )
    return Exit.DONE


@contextmanager
def _fresh_file(out: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside `out`, gone at the end unless it was linked to its place."""
    name = out.parent / f".{out.name}.{secrets.token_hex(8)}.tmp"
    try:
        stream = name.open("xb")
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        with stream:
            yield stream, name
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        name.unlink(missing_ok=True)


def _unwritable(out: Path, error: OSError) -> Unavailable:
    return Unavailable.of(
        "E_OUT_WRITE",
        f"cannot be written: {os.strerror(error.errno or 0)}",
        path=str(out),
        fix="check that the directory exists, its rights and the free space",
    )


def _placed(out: Path, name: Path, stream: BinaryIO, digest: Digest, *, dry_run: bool) -> str:
    """Give the finished file its name, unless other bytes have it already."""
    stream.flush()
    os.fsync(stream.fileno())
    if not dry_run:
        try:
            out.hardlink_to(name)
        except FileExistsError:
            pass
        else:
            _sync(out.parent)
            return "done"
    elif standing(out) is Standing.MISSING:
        return "dry-run"
    if standing(out) is not Standing.FILE or _digest_of(out) != digest:
        raise Denied.of(
            "E_OUT_EXISTS",
            "another file has this name already",
            path=str(out),
            fix="remove it, or write the pack elsewhere",
        )
    return "unchanged"


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as stream:
        return Digest(f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}")


def verify(args: argparse.Namespace, console: Console) -> Exit:
    """Check a pack."""
    report = _checked(args, console)
    console.answer(
        {"schema": "reconciler/dataset-verify-pack/v1", "status": "ok", **_report_json(args, report)},
        lambda: _report_text(args, report),
    )
    return Exit.DONE


def _checked(args: argparse.Namespace, console: Console) -> PackReport:
    """Read the pack once, against what is expected of it."""
    expect = parse_digest(args.expect) if args.expect is not None else None
    declared = _declared(args, console) if args.desired is not None else None
    with opened_pack(args.pack) as stream:
        report = verify_pack(stream, expect=expect, where=str(args.pack))
    if declared is None:
        return report
    wanted = declared.get(report.dataset)
    if wanted is None:
        raise Denied.of(
            "E_NOT_DECLARED",
            "the desired state declares no such dataset",
            path=str(args.pack),
            got=str(report.dataset),
            fix="declare it, or give the manifest's digest with --expect",
        )
    if report.manifest not in wanted:
        raise Corrupt.of(
            "E_PACK_EXPECT",
            "the pack carries another manifest than the desired state declares",
            path=str(args.pack),
            got=report.manifest,
            fix="get the right pack; never promote this one",
        )
    return replace(report, expected=True)


def _declared(args: argparse.Namespace, console: Console) -> dict[DatasetId, frozenset[str]]:
    """The manifest digests that the desired state declares for each dataset."""
    _, tree = open_tree(args, console)
    desired = load_tree(tree, args).desired
    found: dict[DatasetId, frozenset[str]] = {}
    for wish in desired.declarations:
        digest = wish.slots.get("artifact")
        if wish.address.kind == "dataset" and isinstance(digest, str):
            dataset = DatasetId.parse(wish.address.key)
            found[dataset] = found.get(dataset, frozenset()) | {digest}
    return found


def unpack(args: argparse.Namespace, console: Console) -> Exit:
    """Check a pack, then make it a build root or publish it."""
    report = _checked(args, console)
    if args.out is None:
        args.desired = args.desired or "desired"
        with open_by_hand(args, console) as hand:
            offer = offered_pack(args.pack, report.dataset, hand, report.manifest)
            console.note(f"{escaped(str(args.pack), 400)}: {report.trust}")
            publish_offer(args, console, hand, offer, schema="reconciler/dataset-unpack/v1")
        return Exit.DONE
    if not args.dry_run:
        _into_build_root(args, report)
    status = "dry-run" if args.dry_run else "done"
    document = {
        "schema": "reconciler/dataset-unpack/v1",
        "status": status,
        "out": str(args.out),
        **_report_json(args, report),
    }
    said = "dry run, nothing was written" if args.dry_run else f"unpacked into {escaped(str(args.out), 400)}"
    console.answer(document, lambda: f"{_report_text(args, report)}\n{said}")
    return Exit.DONE


def _into_build_root(args: argparse.Namespace, report: PackReport) -> None:
    with opened_pack(args.pack) as stream:
        unpack_build_root(
            stream, args.out, expect=report.manifest, dataset=report.dataset, where=str(args.pack)
        )


def _report_json(args: argparse.Namespace, report: PackReport) -> dict[str, object]:
    return {
        "pack": str(args.pack),
        "dataset": str(report.dataset),
        "manifest": report.manifest,
        "trust": "expected" if report.expected else "self-consistent only",
        "by_reference": report.by_reference,
        "files": [item._asdict() for item in report.files],
    }


def _report_text(args: argparse.Namespace, report: PackReport) -> str:
    origin = ", written by the reference" if report.by_reference else ""
    pack, files = escaped(str(args.pack), 400), plural(len(report.files), "file")
    return f"{pack}: {report.dataset}, {files}{origin}; {report.trust}\nmanifest {report.manifest}"
