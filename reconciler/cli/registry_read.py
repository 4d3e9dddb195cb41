"""The questions to a registry: what it keeps, what a dataset links and tags, what a reference means.

Nothing is written. What was asked for by name and does not exist is an error; an empty list is an answer.
Hashes are printed as the registry keeps them: 64 hex digits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reconciler.cli.console import Console
from reconciler.cli.files import replace_file
from reconciler.cli.registry_open import dataset_and_words, dataset_name, opened
from reconciler.errors import Exit, InvalidInput
from reconciler.reference import DEV, LATEST, ManifestHash, Reference, digest_of, parse_hash
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import ManifestEntry, Tag


def resolve(args: argparse.Namespace, console: Console) -> Exit:
    """Answer which manifest a reference means."""
    reference = Reference.parse_partial(args.reference)
    with opened(args, console) as (registry, *_):
        found = registry.resolve(reference)
        version = _version(registry, reference)
    if found is None:
        raise InvalidInput.of(
            "E_REFERENCE_UNKNOWN",
            "the registry has nothing under this reference",
            path=args.store[0],
            got=str(reference),
            fix="see 'reconciler registry tag list'",
        )
    document = {
        "schema": "reconciler/registry-resolve/v1",
        "store": args.store[0],
        "reference": str(reference),
        "namespace": reference.dataset.namespace,
        "name": reference.dataset.name,
        "revision": str(reference.revision),
        "version": version,
        "hash": found.hash,
        "digest": digest_of(found.hash),
        "yanked": found.yanked,
    }
    console.answer(document, lambda: found.hash + ("   yanked" if found.yanked else ""))
    return Exit.DONE


def _version(registry: Registry, reference: Reference) -> str | None:
    """The version that a reference comes down to, if it is one."""
    text = str(reference.revision)
    if text == LATEST:
        tag = registry.latest_version(reference.dataset)
        return tag.version if tag else None
    return text if registry.get_tag(reference.dataset, text) and text != DEV else None


def get_manifest(args: argparse.Namespace, console: Console) -> Exit:
    """Print or save a manifest's bytes, compared with their hash."""
    manifest = parse_hash(args.hash)
    with opened(args, console) as (registry, *_):
        content = registry.get_manifest(manifest)
    if content is None:
        raise _unknown(args, manifest)
    if args.out:
        replace_file(Path(args.out), content)
    elif console.output == "text":
        console.raw(content)
        return Exit.DONE
    document = {
        "schema": "reconciler/registry-manifest/v1",
        "store": args.store[0],
        "hash": manifest,
        "size": len(content),
        "content": None if args.out else content.decode("utf-8", "replace"),
    }
    console.answer(document, lambda: f"{args.out}: {len(content)} bytes of {manifest}")
    return Exit.DONE


def _unknown(args: argparse.Namespace, manifest: ManifestHash) -> InvalidInput:
    return InvalidInput.of(
        "E_MANIFEST_UNKNOWN",
        "the manifest is not registered",
        path=args.store[0],
        got=digest_of(manifest),
        fix="see 'reconciler registry manifest list'",
    )


def list_manifests(args: argparse.Namespace, console: Console) -> Exit:
    """List all manifests."""
    with opened(args, console) as (registry, *_):
        entries = registry.list_manifests()
    return _answer_manifests(args, console, entries)


def list_orphans(args: argparse.Namespace, console: Console) -> Exit:
    """List the manifests that no dataset links."""
    with opened(args, console) as (registry, *_):
        entries = registry.list_orphaned_manifests()
    return _answer_manifests(args, console, entries)


def _answer_manifests(args: argparse.Namespace, console: Console, entries: Iterable[ManifestEntry]) -> Exit:
    rows = [entry._asdict() for entry in entries]
    document = {"schema": "reconciler/registry-manifests/v1", "store": args.store[0], "manifests": rows}
    console.answer(
        document,
        lambda: _lines(
            f"{row['hash']}   {row['datasets']:>5} datasets   {row['size']:>8} bytes" for row in rows
        ),
    )
    return Exit.DONE


def list_datasets(args: argparse.Namespace, console: Console) -> Exit:
    """List the datasets that link a manifest, and the version tags that name it."""
    manifest = parse_hash(args.hash)
    with opened(args, console) as (registry, *_):
        tags = registry.list_manifest_linked_datasets(manifest)
        linking = registry.list_linking_datasets(manifest)
    if tags is None:
        raise _unknown(args, manifest)
    document = {
        "schema": "reconciler/registry-datasets/v1",
        "store": args.store[0],
        "hash": manifest,
        "datasets": [
            {"namespace": tag.dataset.namespace, "name": tag.dataset.name, "version": tag.version}
            for tag in tags
        ],
        "links": [str(dataset) for dataset in linking],
    }
    tagged = {tag.dataset for tag in tags}
    console.answer(
        document,
        lambda: _lines(
            [
                *(f"{tag.dataset}@{tag.version}" for tag in tags),
                *(f"{dataset}   linked, no version" for dataset in linking if dataset not in tagged),
            ]
        ),
    )
    return Exit.DONE


def list_links(args: argparse.Namespace, console: Console) -> Exit:
    """List the manifests that a dataset links."""
    dataset = dataset_name(args.dataset)
    with opened(args, console) as (registry, *_):
        links = registry.list_links(dataset)
    document = {
        "schema": "reconciler/registry-links/v1",
        "store": args.store[0],
        "dataset": str(dataset),
        "links": list(links),
    }
    console.answer(document, lambda: _lines(links))
    return Exit.DONE


def is_linked(args: argparse.Namespace, console: Console) -> Exit:
    """Say whether a dataset links a manifest."""
    dataset, words = dataset_and_words(args, least=1, most=1)
    manifest = parse_hash(words[0])
    with opened(args, console) as (registry, *_):
        linked = registry.is_manifest_linked(dataset, manifest)
    document = {
        "schema": "reconciler/registry-is-linked/v1",
        "store": args.store[0],
        "dataset": str(dataset),
        "hash": manifest,
        "linked": linked,
    }
    console.answer(document, lambda: "linked" if linked else "not linked")
    return Exit.DONE


def list_tags(args: argparse.Namespace, console: Console) -> Exit:
    """List the tags of one dataset, or the versions of all."""
    with opened(args, console) as (registry, *_):
        if args.dataset is None:
            tags = registry.list_all_datasets()
        else:
            tags = registry.list_tags(dataset_name(args.dataset))
    document = {
        "schema": "reconciler/registry-tags/v1",
        "store": args.store[0],
        "tags": [_tag_json(tag) for tag in tags],
    }
    console.answer(document, lambda: _lines(_tag_line(tag) for tag in tags))
    return Exit.DONE


def _tag_json(tag: Tag) -> dict[str, Any]:
    return {
        "namespace": tag.dataset.namespace,
        "name": tag.dataset.name,
        "version": tag.version,
        "hash": tag.hash,
        "yanked": tag.yanked,
        "created_at": tag.created_at,
        "updated_at": tag.updated_at,
    }


def _tag_line(tag: Tag) -> str:
    return f"{tag.dataset}@{tag.version}   {tag.hash}" + ("   yanked" if tag.yanked else "")


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) or "none"
