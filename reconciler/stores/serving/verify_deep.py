"""The checks of `verify --deep`: all that can be recomputed from a dataset's files (contract 3.6, 8.3).

Decides what the row signature, the row counts, the artifact hash, the evidence bundle, the inventory, the
gene index and the publish gates say. The reference's own deep verification cannot succeed on a dataset that
has a transcript; here either form of the signature is accepted, and the report says which it is.

Writes nothing; every file is hashed once, in constant memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET

from reconciler.errors import Problem
from reconciler.stores.serving.artifact_db import (
    RowCounts,
    UnreadableDatabase,
    database,
    database_facts,
    row_counts,
)
from reconciler.stores.serving.canonical_model import recomputed_checks
from reconciler.stores.serving.contents import ARTIFACT, MANIFEST
from reconciler.stores.serving.evidence_bundle import (
    BUNDLE,
    INVENTORY,
    Covered,
    check_bundle,
    check_inventory,
)
from reconciler.stores.serving.files import DatasetFiles, opened
from reconciler.stores.serving.gates import ANOMALIES, QC_REPORT, Thresholds, evidence_gates, manifest_gates
from reconciler.stores.serving.manifest import (
    Manifest,
    SourceNames,
    artifact_hash,
    normalized_input_identity,
)
from reconciler.stores.serving.signature import SignatureForms, signature_forms
from reconciler.stores.serving.verification import (
    Check,
    Setting,
    Status,
    Subject,
    guarded,
    judged,
    missing,
    unconfirmed,
)

GENE_INDEX = "derived/release_gene_index.json"


def deep_checks(subject: Subject, thresholds: Thresholds) -> list[Check]:
    """The deep checks, in a fixed order.

    Raises:
        Unavailable: a file cannot be read.
    """
    return [
        *_database_checks(subject),
        _artifact_hash(subject),
        _input_identity(subject),
        *recomputed_checks(subject),
        _document(subject, "evidence bundle", BUNDLE, check_bundle),
        _document(subject, "inventory", INVENTORY, check_inventory),
        _present(subject, "gene index", GENE_INDEX),
        _origins(subject),
        *_gates(subject, thresholds),
    ]


class _Recomputed(NamedTuple):
    counts: RowCounts
    forms: SignatureForms


def _database_checks(subject: Subject) -> list[Check]:
    """The row counts and the row signature; a database that cannot be read fails both."""
    path = subject.files.path(ARTIFACT)
    with opened(subject.files.dirfd, ARTIFACT, subject.files.where) as handle:
        if handle is None:
            return [judged("row counts", [missing(path)]), judged("signature", [missing(path)])]
        try:
            with database(handle, path) as connection:
                names = database_facts(connection).names
                if not names.issuperset({("table", "gene_summary"), ("table", "transcript_summary")}):
                    return [
                        unconfirmed(name, "its tables are missing") for name in ("row counts", "signature")
                    ]
                found = _Recomputed(row_counts(connection), signature_forms(connection))
        except UnreadableDatabase as error:
            return [judged(name, [error.problem]) for name in ("row counts", "signature")]
    return [_counts(subject, found.counts), _signature(subject, found.forms)]


def _counts(subject: Subject, counts: RowCounts) -> Check:
    stats = subject.manifest.stats
    stated = RowCounts(stats.gene_count, stats.transcript_count)
    if counts == stated:
        return judged("row counts", ())
    problem = Problem(
        code="E_STATS",
        message=f"the manifest states {stated.genes} genes and {stated.transcripts} transcripts",
        path=subject.files.path(ARTIFACT),
        got=f"{counts.genes} genes and {counts.transcripts} transcripts",
        fix="rebuild the dataset",
    )
    return judged("row counts", [problem])


def _signature(subject: Subject, forms: SignatureForms) -> Check:
    name, stated = "signature", subject.manifest.dataset_signature_sha256
    if not stated.strip():
        return unconfirmed(name, "the manifest states none")
    form = forms.form_of(stated)
    if form is not None:
        return Check(name, Status.PASSED, f"{form.value} form")
    if forms.ingest is None:
        return unconfirmed(name, "the tables are not those of schema v4")
    problem = Problem(
        code="E_SIGNATURE",
        message="the rows of the database do not have the signature that the manifest states, in either form",
        path=subject.files.path(MANIFEST),
        got=stated,
        fix="rebuild the dataset",
    )
    return judged(name, [problem])


def _artifact_hash(subject: Subject) -> Check:
    stated, found = subject.manifest.artifact_hash, artifact_hash(subject.manifest)
    if stated == found:
        return judged("artifact hash", ())
    problem = Problem(
        code="E_ARTIFACT_ID",
        message="artifact_hash does not cover the 18 members that it names",
        path=subject.files.path(MANIFEST),
        got=stated,
        fix="rebuild the dataset",
    )
    return judged("artifact hash", [problem])


def _input_identity(subject: Subject) -> Check:
    """What the inputs were before ingest: it covers file names that a manifest may leave out."""
    manifest, name = subject.manifest, "input identity"
    stated = manifest.normalized_input_identity_sha256
    if stated in _input_identities(manifest):
        return judged(name, ())
    return unconfirmed(name, "the manifest's members do not give this hash")


def _input_identities(manifest: Manifest) -> set[str]:
    names = SourceNames(
        manifest.source_gff3_filename, manifest.source_fasta_filename, manifest.source_fai_filename
    )
    aliases = manifest.contig_normalization_aliases
    return {
        normalized_input_identity(hashes, names, aliases)
        for hashes in (manifest.checksums, manifest.input_hashes)
    }


def _document(
    subject: Subject, name: str, relpath: str, check: Callable[[DatasetFiles, bytes, Manifest], Covered]
) -> Check:
    data = subject.files.read(relpath)
    if data is None:
        return _absent(subject, name, (relpath,))
    return guarded(name, lambda: _covered(subject, name, check(subject.files, data, subject.manifest)))


def _covered(subject: Subject, name: str, covered: Covered) -> Check:
    if covered.problems:
        return judged(name, covered.problems)
    if covered.absent:
        return _absent(subject, name, covered.absent)
    return judged(name, (), f"{covered.compared} files")


def _absent(subject: Subject, name: str, paths: tuple[str, ...]) -> Check:
    """Files that a build root must have; a store may have been filled by a publish that leaves them out."""
    if subject.setting is Setting.STORE:
        return unconfirmed(name, f"not published: {', '.join(paths)}")
    return judged(name, [missing(subject.files.path(path)) for path in paths])


def _present(subject: Subject, name: str, relpath: str) -> Check:
    if subject.files.hash(relpath) is None:
        return _absent(subject, name, (relpath,))
    return judged(name, (), "present")


def _origins(subject: Subject) -> Check:
    """Rule 19 refuses an empty map; a map left out is the reference's own, which nothing states."""
    name = "column origins"
    if subject.manifest.derived_column_origins is UNSET:
        return unconfirmed(name, "the manifest leaves derived_column_origins out")
    return judged(name, ())


def _gates(subject: Subject, thresholds: Thresholds) -> list[Check]:
    path, files = subject.files.path(MANIFEST), subject.files
    checks = [judged("manifest gates", tuple(manifest_gates(subject.manifest, thresholds, path)))]
    unpublished = [name for name in (ANOMALIES, QC_REPORT) if files.hash(name) is None]
    if unpublished and subject.setting is Setting.STORE:
        return [*checks, unconfirmed("report gates", f"not published: {', '.join(unpublished)}")]
    return [*checks, judged("report gates", evidence_gates(files, thresholds))]
