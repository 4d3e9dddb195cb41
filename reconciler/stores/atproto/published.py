"""Published records read back: which shards an entry names, which label a reader of a name gets.

An entry may have been written by anybody, so what does not have the form of its lexicon names no shards.
Readers other than ours ask for the newest hundred labels, by record key from the end, and take the one that
was created last (contract A3); so a label of somebody else can stand before ours, and one can be out of
their sight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from reconciler.model import Shard
from reconciler.stores.atproto.dagcbor import Data, Link
from reconciler.stores.atproto.keys import LABEL
from reconciler.stores.atproto.lexicon import STORAGE_BLOBS, STORAGE_EXTERNAL, STORAGE_HTTP, STORAGE_S3
from reconciler.stores.atproto.repository import Key, Reading, Stored

SEEN: Final = 100
"""How many labels atdata's own client looks at."""


def shards_of(entry: Mapping[str, Data], service: str, did: str) -> tuple[Shard, ...]:
    """The shards that an entry names, each with its hash where the entry states one.

    Args:
        entry: the record.
        service: the account's server, which gives its blobs.
        did: the account.
    """
    storage = entry.get("storage")
    if not isinstance(storage, dict):
        return ()
    kind = storage.get("$type")
    if kind == STORAGE_HTTP:
        return tuple(
            Shard(url, _sha256(one)) for one in _maps(storage, "shards") for url in _texts(one, "url")
        )
    if kind == STORAGE_S3:
        return tuple(
            Shard(f"s3://{bucket}/{key}", _sha256(one))
            for bucket in _texts(storage, "bucket")
            for one in _maps(storage, "shards")
            for key in _texts(one, "key")
        )
    if kind == STORAGE_BLOBS:
        return tuple(
            Shard(_blob_url(service, did, link.cid), _sha256(one))
            for one in _maps(storage, "blobs")
            for link in _links(one)
        )
    if kind == STORAGE_EXTERNAL:
        urls = storage.get("urls")
        return tuple(Shard(url) for url in (urls if isinstance(urls, list) else ()) if isinstance(url, str))
    return ()


def bucket_of(entry: Mapping[str, Data]) -> tuple[str, str]:
    """The bucket of an entry in S3, and the server that it names for it; empty for other storage."""
    storage = entry.get("storage")
    if not isinstance(storage, dict) or storage.get("$type") != STORAGE_S3:
        return "", ""
    bucket, endpoint = storage.get("bucket"), storage.get("endpoint")
    return (bucket if isinstance(bucket, str) else "", endpoint if isinstance(endpoint, str) else "")


def _maps(of: Mapping[str, Data], name: str) -> Iterator[dict[str, Data]]:
    items = of.get(name)
    return (item for item in items if isinstance(item, dict)) if isinstance(items, list) else iter(())


def _texts(of: Mapping[str, Data], name: str) -> Iterator[str]:
    value = of.get(name)
    if isinstance(value, str):
        yield value


def _links(of: Mapping[str, Data]) -> Iterator[Link]:
    blob = of.get("blob")
    link = blob.get("ref") if isinstance(blob, dict) else None
    if isinstance(link, Link):
        yield link


def _sha256(of: Mapping[str, Data]) -> str:
    """The hash that a checksum states; empty for none and for another algorithm."""
    stated = of.get("checksum")
    if not isinstance(stated, dict) or stated.get("algorithm") != "sha256":
        return ""
    digest = stated.get("digest")
    return digest if isinstance(digest, str) else ""


def _blob_url(service: str, did: str, cid: str) -> str:
    return f"{service}/xrpc/com.atproto.sync.getBlob?did={quote(did, safe=':')}&cid={cid}"


def labels_by_name(reading: Reading) -> Mapping[tuple[str, str], tuple[Key, ...]]:
    """The keys of all labels by name and version, the one that readers take first."""
    found: dict[tuple[str, str], list[tuple[str, Key]]] = {}
    for key, stored in reading.records.items():
        name, version = stored.slots.get("name"), stored.slots.get("version", "")
        if key.kind == LABEL and isinstance(name, str) and isinstance(version, str):
            found.setdefault((name, version), []).append((stored.created or "", key))
    return {of: tuple(key for _, key in sorted(keys, reverse=True)) for of, keys in found.items()}


def newest_by_name(reading: Reading) -> Mapping[str, Key]:
    """The label that a reader of each name gets who asks for no version."""
    found: dict[str, tuple[str, Key]] = {}
    for (name, _), (first, *_) in labels_by_name(reading).items():
        newest = (reading.records[first].created or "", first)
        found[name] = max(newest, found.get(name, newest))
    return {name: key for name, (_, key) in found.items()}


def out_of_sight(records: Iterable[tuple[Key, Stored]]) -> frozenset[str]:
    """The keys of the labels that a reader of the newest hundred does not see."""
    keys = sorted((key.key for key, _ in records if key.kind == LABEL), reverse=True)
    return frozenset(keys[SEEN:])
