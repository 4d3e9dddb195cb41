"""The artifact manifest of a dataset: its 47 members, its hashes and its 22 rules (contract 2.4, 2.8).

Decides what a `manifest.json` must say to be published or promoted. The hashes that a manifest states
about itself (identity, artifact hash, evidence bundle) are functions of its other members; they are here
so that the builder of samples, publish and verify all use one definition.

Rules are reported in the order of the contract, each with its number, so that two runs and the reference
agree on what is wrong first. A rule that needs a file (does the database have that sha256?) is not here
but in `verify`. Never opens a file, never fills in what is missing beyond the documented defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from reconciler.canonical import canonical, parse_strict, sha256_hex
from reconciler.errors import InvalidInput, Problem
from reconciler.model import DatasetId
from reconciler.stores.serving.documents import DatasetMembers, convert, dataset_members, id_problem

Count = Annotated[int, Meta(ge=0)]

_HEX64 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_OMITTED_WHEN_EMPTY = ("canonical_feature_counts", "contig_normalization_aliases", "derived_column_origins")
_HASHED = (
    "artifact_version",
    "schema_version",
    "db_schema_version",
    "dataset",
    "checksums",
    "input_hashes",
    "stats",
    "dataset_signature_sha256",
    "canonical_model_schema_version",
    "canonical_query_semantic_sha256",
    "canonical_lineage_sha256",
    "canonical_feature_counts",
    "reference_build_identity_sha256",
    "contig_naming_style",
    "coordinate_system",
    "scientific_prerequisites_status",
    "toolchain_hash",
    "db_hash",
)


class Checksums(Struct, frozen=True, forbid_unknown_fields=True):
    """sha256 of the raw bytes of the four files that the dataset stands on."""

    gff3_sha256: str
    fasta_sha256: str
    fai_sha256: str
    sqlite_sha256: str


class InputHashes(Struct, frozen=True, forbid_unknown_fields=True):
    """What the database was built from; all empty when the member is absent."""

    gff3_sha256: str
    fasta_sha256: str
    fai_sha256: str
    policy_sha256: str


class Stats(Struct, frozen=True, forbid_unknown_fields=True):
    """How many rows the manifest says the database has."""

    gene_count: Count
    transcript_count: Count
    contig_count: Count


class Identity(Struct, frozen=True, forbid_unknown_fields=True):
    """The dataset's identity: fingerprints of its sources, its build and its artifact."""

    release_id: str
    source_fingerprint_sha256: str
    build_fingerprint_sha256: str
    artifact_fingerprint_sha256: str
    canonical_metadata_sha256: str


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `manifest.json`; members that a document leaves out have the defaults of contract 2.4.

    `derived_column_origins` stays unset when absent: the reference then uses a map of its own, so that an
    absent member satisfies rule 19 and an empty one does not.
    """

    manifest_version: str
    db_schema_version: str
    dataset: DatasetMembers
    checksums: Checksums
    stats: Stats
    model_version: str = "v1"
    identity_schema_version: str = "1"
    sharding_plan: Literal["none", "contig", "region_grid"] = "none"
    canonical_model_schema_version: Count = 0
    canonical_feature_counts: dict[str, Count] = {}
    contig_normalization_aliases: dict[str, str] = {}
    derived_column_origins: dict[str, str] | UnsetType = UNSET
    input_hashes: InputHashes = InputHashes("", "", "", "")
    identity: Identity = Identity("", "", "", "", "")
    artifact_version: str = ""
    schema_version: str = ""
    dataset_signature_sha256: str = ""
    db_hash: str = ""
    artifact_hash: str = ""
    schema_evolution_note: str = ""
    ingest_toolchain: str = ""
    ingest_build_hash: str = ""
    toolchain_hash: str = ""
    created_at: str = ""
    qc_report_path: str = ""
    canonical_feature_summary_path: str = ""
    source_gff3_filename: str = ""
    source_fasta_filename: str = ""
    source_fai_filename: str = ""
    source_facts_path: str = ""
    normalized_input_identity_sha256: str = ""
    software_version: str = ""
    config_version: str = ""
    build_policy_version: str = ""
    build_metadata_path: str = ""
    anomaly_summary_path: str = ""
    dataset_stats_path: str = ""
    artifact_inventory_path: str = ""
    evidence_bundle_path: str = ""
    evidence_bundle_sha256: str = ""
    reference_build_identity_sha256: str = ""
    contig_naming_style: str = ""
    coordinate_system: str = ""
    scientific_prerequisites_status: str = ""
    scientific_profile_path: str = ""
    canonical_query_semantic_sha256: str = ""
    canonical_lineage_sha256: str = ""

    @property
    def id(self) -> DatasetId:
        """The dataset that the manifest says it describes."""
        return self.dataset.id


def identity(
    dataset: DatasetId,
    checksums: Checksums,
    *,
    manifest_version: str,
    schema_version: str,
    db_schema_version: str,
) -> Identity:
    """The identity object of a manifest (contract 2.4).

    The source fingerprint covers `checksums`, not `input_hashes`.
    """
    source = _hash(
        {
            "gff3_sha256": checksums.gff3_sha256,
            "fasta_sha256": checksums.fasta_sha256,
            "fai_sha256": checksums.fai_sha256,
        }
    )
    build = _hash(
        {
            "manifest_version": manifest_version,
            "schema_version": schema_version,
            "db_schema_version": db_schema_version,
        }
    )
    return _sealed(str(dataset), source, build, _hash({"sqlite_sha256": checksums.sqlite_sha256}))


def _sealed(release_id: str, source: str, build: str, artifact: str) -> Identity:
    fingerprints = {
        "source_fingerprint_sha256": source,
        "build_fingerprint_sha256": build,
        "artifact_fingerprint_sha256": artifact,
    }
    return Identity(release_id, source, build, artifact, _hash({"release_id": release_id, **fingerprints}))


def recomputed_identity(manifest: Manifest) -> Identity:
    """The identity that the other members of a manifest call for."""
    return identity(
        manifest.id,
        manifest.checksums,
        manifest_version=manifest.manifest_version,
        schema_version=manifest.schema_version,
        db_schema_version=manifest.db_schema_version,
    )


def artifact_hash(manifest: Manifest) -> str:
    """The sha256 of the 18 members that name an artifact (contract 2.4); the server's cache key."""
    return _hash({name: msgspec.to_builtins(getattr(manifest, name)) for name in _HASHED})


def evidence_bundle_sha256(dataset: DatasetId, release_id: str, files: Mapping[str, str]) -> str:
    """The hash of an evidence bundle: its files by path with their sha256 (contract 2.8)."""
    return _hash(
        {
            "schema_version": 1,
            "dataset": dataset_members(dataset),
            "release_id": release_id,
            "files": dict(files),
        }
    )


class SourceNames(NamedTuple):
    """The file names that the inputs had before ingest."""

    gff3: str
    fasta: str
    fai: str


def normalized_input_identity(
    hashes: Checksums | InputHashes, names: SourceNames, aliases: Mapping[str, str]
) -> str:
    """The `normalized_input_identity_sha256` of a manifest (contract 2.4)."""
    return _hash(
        {
            "gff3_sha256": hashes.gff3_sha256,
            "fasta_sha256": hashes.fasta_sha256,
            "fai_sha256": hashes.fai_sha256,
            "source_filenames": names._asdict(),
            "contig_normalization_aliases": dict(aliases),
        }
    )


def _hash(document: object) -> str:
    return sha256_hex(canonical(document))


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest; the three maps are left out when empty."""
    document: dict[str, Any] = msgspec.to_builtins(manifest)
    for name in _OMITTED_WHEN_EMPTY:
        if not document.get(name):
            document.pop(name, None)
    return canonical(document)


def parse_manifest(data: bytes, where: str = "manifest.json") -> Manifest:
    """Read a manifest strictly; the 22 rules are `broken_rules`.

    Raises:
        InvalidInput: a code of `documents.decode`, E_SCHEMA_VERSION, E_MANIFEST_TIME, or an id's code.
    """
    document = parse_strict(data, where=where)
    if isinstance(document, dict):
        _check_model_version(document, where)
    manifest = convert(document, Manifest, where=where)
    problem = id_problem(manifest.id, where)
    if problem:
        raise InvalidInput(problem)
    created = manifest.created_at.strip()
    if created and not ("T" in created and created.endswith("Z")):
        raise InvalidInput.of(
            "E_MANIFEST_TIME",
            "created_at is neither empty nor a UTC time",
            path=where,
            got=manifest.created_at,
            fix="write it as 2026-01-31T12:00:00Z, or leave it out",
        )
    return manifest


def _check_model_version(document: Mapping[str, Any], where: str) -> None:
    version = document.get("model_version", "v1")
    if version != "v1":
        raise InvalidInput.of(
            "E_SCHEMA_VERSION",
            "this model version is not supported",
            path=where,
            got=str(version),
            fix="use model_version v1",
        )


def broken_rules(manifest: Manifest) -> Iterator[tuple[int, str]]:
    """The numbers and sentences of the rules that a manifest breaks, in the contract's order (2.4)."""
    yield from _blank_rules(manifest)
    yield from _value_rules(manifest)
    yield from _identity_rules(manifest)


def rule_problems(manifest: Manifest, where: str = "manifest.json") -> tuple[Problem, ...]:
    """Every broken rule as a problem, in order."""
    return tuple(
        Problem(
            code="E_MANIFEST_RULE", message=f"rule {number}: {text}", path=where, fix="rebuild the dataset"
        )
        for number, text in sorted(broken_rules(manifest))
    )


def check_rules(manifest: Manifest, where: str = "manifest.json") -> None:
    """Refuse a manifest that breaks any of the 22 rules.

    Raises:
        InvalidInput: E_MANIFEST_RULE, once for each broken rule.
    """
    problems = rule_problems(manifest, where)
    if problems:
        raise InvalidInput(problems)


_NON_BLANK: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ("artifact_version",)),
    (2, ("schema_version",)),
    (3, ("identity_schema_version",)),
    (4, ("manifest_version",)),
    (5, ("db_schema_version",)),
    (10, ("toolchain_hash",)),
    (11, ("source_facts_path", "normalized_input_identity_sha256")),
    (12, ("software_version", "config_version", "build_policy_version")),
    (
        13,
        (
            "build_metadata_path",
            "anomaly_summary_path",
            "dataset_stats_path",
            "artifact_inventory_path",
            "evidence_bundle_path",
            "evidence_bundle_sha256",
        ),
    ),
    (14, ("db_hash",)),
    (15, ("artifact_hash",)),
)


def _blank_rules(manifest: Manifest) -> Iterator[tuple[int, str]]:
    for number, names in _NON_BLANK:
        blank = [name for name in names if not getattr(manifest, name).strip()]
        if blank:
            yield number, f"{' and '.join(blank)} must not be blank"
    blank = [
        name for name, value in msgspec.structs.asdict(manifest.input_hashes).items() if not value.strip()
    ]
    if blank:
        yield 9, f"input_hashes {' and '.join(blank)} must not be blank"
    hashes = (manifest.canonical_query_semantic_sha256, manifest.canonical_lineage_sha256)
    if manifest.canonical_model_schema_version > 0 and not all(value.strip() for value in hashes):
        yield 16, "a canonical model needs both of its hashes"


def _value_rules(manifest: Manifest) -> Iterator[tuple[int, str]]:
    if manifest.manifest_version != manifest.schema_version:
        yield 6, "manifest_version is not schema_version"
    if manifest.schema_version != manifest.db_schema_version:
        yield 7, "schema_version is not db_schema_version"
    if manifest.identity_schema_version != "1":
        yield 8, "identity_schema_version must be 1"
    if manifest.db_hash != manifest.checksums.sqlite_sha256:
        yield 17, "db_hash is not checksums.sqlite_sha256"
    if manifest.stats.gene_count == 0:
        yield 18, "stats.gene_count must not be zero"
    if not isinstance(manifest.derived_column_origins, UnsetType) and not manifest.derived_column_origins:
        yield 19, "derived_column_origins must not be empty"


def _identity_rules(manifest: Manifest) -> Iterator[tuple[int, str]]:
    stated = manifest.identity
    prints = (
        stated.source_fingerprint_sha256,
        stated.build_fingerprint_sha256,
        stated.artifact_fingerprint_sha256,
    )
    if not stated.release_id.strip():
        yield 20, "identity.release_id must not be blank"
    elif not all(_HEX64.fullmatch(value) for value in (*prints, stated.canonical_metadata_sha256)):
        yield 20, "an identity fingerprint is not 64 hex digits"
    elif stated.canonical_metadata_sha256 != _sealed(stated.release_id, *prints).canonical_metadata_sha256:
        yield 20, "identity.canonical_metadata_sha256 does not cover the other identity members"
    if stated.release_id != str(manifest.id):
        yield 21, "identity.release_id is not the dataset"
    if stated != recomputed_identity(manifest):
        yield 22, "the identity is not the one that checksums, versions and dataset give"
