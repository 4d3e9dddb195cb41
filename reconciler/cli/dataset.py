"""Look at datasets and move them, by hand.

`list` and `inspect` say what is there, `validate` and `verify` check one dataset of a build root or a
store, `publish` copies it into a store after every check and gate, and `pack`, `verify-pack` and `unpack`
carry it in one file. Names and flags are the reference's.

Example:
  reconciler dataset list --store-root var/serving
  reconciler dataset verify --deep 110/homo_sapiens/GRCh38 --root builds/110
  reconciler dataset publish 110/homo_sapiens/GRCh38 --source-root builds/110 --store-root var/serving
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.canonical import sha256_digest
from reconciler.cli import dataset_pack, dataset_publish
from reconciler.cli.byhand import (
    Hand,
    Operations,
    add_dataset,
    add_operation,
    add_store,
    dataset_of,
    open_by_hand,
    operations_of,
)
from reconciler.cli.console import Console
from reconciler.cli.options import add_desired, add_output, seconds
from reconciler.cli.roots import opened_dataset, opened_root, setting_of
from reconciler.errors import Corrupt, Exit, InvalidInput
from reconciler.model import DatasetId, Depth, Observed
from reconciler.render.byhand import Fact, Row, checks_text, facts_text, listing_text
from reconciler.stores.serving.contents import MADE_BY_STORE, MANIFEST, content_files, dataset_path
from reconciler.stores.serving.files import file_stat, read_file
from reconciler.stores.serving.gates import thresholds_from
from reconciler.stores.serving.manifest import parse_manifest
from reconciler.stores.serving.verification import Setting, Status
from reconciler.stores.serving.verify import VerifyReport, verify_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    listing = add_operation(
        operations,
        "list",
        list_all,
        summary="list every dataset of a store: published, in the catalog, aliased",
        example="reconciler dataset list --store-root var/serving",
    )
    listing.add_argument("--deep", action="store_true", help="read and hash every file again")
    add_store(listing)
    _add_inspections(operations)
    dataset_publish.add_publish(operations)
    dataset_pack.add_pack(operations)


def _add_inspections(operations: Operations) -> None:
    for name, run, summary in (
        ("inspect", inspect, "say what one dataset is, from its manifest and its files"),
        ("validate", verify, "check one dataset: rules, identity, hashes, database, quality"),
        ("verify", verify, "check one dataset; --deep recomputes everything that can be"),
    ):
        flag = " --deep" if name == "verify" else ""
        parser = add_operation(
            operations,
            name,
            run,
            summary=summary,
            example=f"reconciler dataset {name}{flag} 110/homo_sapiens/GRCh38 --root builds/110",
        )
        add_dataset(parser)
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--root", metavar="DIR", type=Path, help="a build root or a store")
        where.add_argument(
            "--store", metavar="NAME", nargs=1, default=[], help="a store of the repository's stores.yaml"
        )
        add_desired(parser)
        parser.add_argument(
            "--lock-timeout", metavar="SECONDS", type=seconds, default=60.0, help=argparse.SUPPRESS
        )
        parser.set_defaults(deep=False, store_root=None)
        if name == "verify":
            parser.add_argument(
                "--deep", action="store_true", help="also signature, evidence, inventory and every gate"
            )
        add_output(parser)


def list_all(args: argparse.Namespace, console: Console) -> Exit:
    """List every dataset of a store; broken ones are shown and make the exit code 8."""
    depth = Depth.DEEP if args.deep else Depth.MANIFESTS
    with open_by_hand(args, console) as hand:
        seen = list(hand.observe(None, depth).values())
        document, rows = _listing(hand, seen, depth)
    console.answer(document, lambda: listing_text(rows, depth.value))
    broken = [problem for one in seen for problem in one.problems]
    if broken:
        console.problems(tuple(broken))
        return Exit.CORRUPT
    return Exit.DONE


def _listing(hand: Hand, seen: list[Observed], depth: Depth) -> tuple[dict[str, Any], list[Row]]:
    aliases: dict[str, list[str]] = {}
    for one in seen:
        if one.address.kind == "alias":
            aliases.setdefault(str(one.slots.get("dataset")), []).append(one.address.key)
    datasets = [one for one in seen if one.address.kind == "dataset"]
    rows = [
        Row(
            dataset=one.address.key,
            manifest=str(one.slots.get("artifact", "")),
            entry=str(one.slots.get("entry", "")),
            aliases=tuple(aliases.get(one.address.key, ())),
            problems=tuple(problem.code for problem in one.problems),
        )
        for one in datasets
    ]
    document = {
        "schema": "reconciler/dataset-list/v1",
        "store": hand.name,
        "depth": depth.value,
        "datasets": [
            {
                "dataset": row.dataset,
                "published": bool(row.manifest),
                "manifest": row.manifest or None,
                "in_catalog": bool(row.entry),
                "entry": row.entry or None,
                "diffs": list(one.slots.get("diffs", ())),
                "aliases": list(row.aliases),
                "problems": [problem.to_json() for problem in one.problems],
            }
            for row, one in zip(rows, datasets, strict=True)
        ],
    }
    return document, rows


@contextmanager
def _subject(args: argparse.Namespace, console: Console) -> Iterator[tuple[Path, dict[str, bytes]]]:
    """The root that is looked at, and the policy files that hold for it."""
    if args.root is not None:
        yield args.root, {}
        return
    with open_by_hand(args, console) as hand:
        yield hand.root, dict(hand.governance)


def inspect(args: argparse.Namespace, console: Console) -> Exit:
    """Say what one dataset is; hashes are as stated, only the manifest's is computed."""
    dataset = dataset_of(args)
    with (
        _subject(args, console) as (path, _),
        opened_root(path, "--root") as root,
        opened_dataset(root, dataset, str(path)) as place,
    ):
        setting = setting_of(root, place)
        document, facts = _inspected(place, dataset, setting, path)
    console.answer(document, lambda: facts_text(f"{dataset}   ({setting.value} {path})", facts))
    return Exit.DONE


def _inspected(
    place: int, dataset: DatasetId, setting: Setting, path: Path
) -> tuple[dict[str, Any], list[Fact]]:
    where = f"{path}/{dataset_path(dataset)}"
    data = read_file(place, MANIFEST, where=where)
    if data is None:
        raise InvalidInput.of(
            "E_NOT_PUBLISHED", "there is no manifest", path=f"{where}/{MANIFEST}", fix="build or publish it"
        )
    manifest, digest = parse_manifest(data, f"{where}/{MANIFEST}"), sha256_digest(data)
    names = [*content_files(place, where), *sorted(MADE_BY_STORE)]
    seen = ((name, file_stat(place, name, where)) for name in names)
    sizes = {name: found.st_size for name, found in seen if found is not None}
    stated = {
        "manifest": digest,
        "artifact": f"sha256:{manifest.checksums.sqlite_sha256}",
        "artifact_hash": manifest.artifact_hash,
        "dataset_signature": manifest.dataset_signature_sha256,
        "genes": manifest.stats.gene_count,
        "transcripts": manifest.stats.transcript_count,
        "contigs": manifest.stats.contig_count,
        "artifact_version": manifest.artifact_version,
        "software_version": manifest.software_version,
        "created_at": manifest.created_at,
        "contig_naming_style": manifest.contig_naming_style,
        "scientific_prerequisites": manifest.scientific_prerequisites_status,
        "sharding_plan": manifest.sharding_plan,
    }
    document: dict[str, Any] = {
        "schema": "reconciler/dataset-inspect/v1",
        "dataset": str(dataset),
        "manifest_dataset": str(manifest.id),
        "root": str(path),
        "setting": setting.value,
        **stated,
        "files": [{"path": name, "size": size} for name, size in sorted(sizes.items())],
    }
    facts = [Fact(name.replace("_", " "), str(value)) for name, value in stated.items() if value != ""]
    if manifest.id != dataset:
        facts.insert(0, Fact("manifest names", str(manifest.id)))
    facts += [Fact("file", f"{size:>12}  {name}") for name, size in sorted(sizes.items())]
    return document, facts


def verify(args: argparse.Namespace, console: Console) -> Exit:
    """Check one dataset and report every check.

    Raises:
        InvalidInput: a build root fails a check.
        Corrupt: a dataset of a store fails a check.
    """
    dataset = dataset_of(args)
    with (
        _subject(args, console) as (path, governance),
        opened_root(path, "--root") as root,
        opened_dataset(root, dataset, str(path)) as place,
    ):
        setting = setting_of(root, place)
        report = verify_dataset(
            place,
            dataset,
            deep=args.deep,
            thresholds=thresholds_from(governance),
            store=setting is Setting.STORE,
        )
    console.answer(
        lambda: _verified(report, path, args.operation),
        lambda: checks_text(
            f"{dataset}   ({setting.value} {path})",
            [(check.name, check.status.value, check.detail) for check in report.checks],
        ),
    )
    if report.problems:
        raise (Corrupt if setting is Setting.STORE else InvalidInput)(report.problems)
    return Exit.DONE


def _verified(report: VerifyReport, path: Path, operation: str) -> dict[str, Any]:
    manifest = report.manifest
    return {
        "schema": f"reconciler/dataset-{operation}/v1",
        "dataset": str(report.dataset),
        "root": str(path),
        "setting": report.setting.value,
        "deep": report.deep,
        "status": "failed" if report.problems else "ok",
        "manifest": report.digest,
        "identity": None
        if manifest is None
        else {
            "release_id": manifest.identity.release_id,
            "canonical_metadata_sha256": manifest.identity.canonical_metadata_sha256,
            "canonical_query_semantic_sha256": manifest.canonical_query_semantic_sha256,
            "canonical_lineage_sha256": manifest.canonical_lineage_sha256,
        },
        "checks": [
            {
                "name": check.name,
                "status": check.status.value,
                "detail": check.detail,
                "problems": [problem.to_json() for problem in check.problems],
            }
            for check in report.checks
        ],
        "not_recomputable": sum(check.status is Status.NOT_RECOMPUTABLE for check in report.checks),
    }
