"""The shards of a dataset: which URLs a pattern names, whether they may be public, and the storage they form.

A record lists every shard by itself, so patterns are expanded as WebDataset does: `{000..009}`, `{a,b}`,
also nested. Whatever stands in a record can be read by everybody for ever. So data that stays where it is
must be at a public address: https (http and private hosts only where the account's store has
`allowPrivate`), or an S3 bucket; without a user part and without a signature in the query. A local path is
refused: it must be copied.

The host is judged as it is written here; who fetches judges the address that it resolves to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from reconciler.errors import InvalidInput, Problem
from reconciler.model import Shard, public_location
from reconciler.stores.atproto.dagcbor import Data, Record
from reconciler.stores.atproto.lexicon import STORAGE_HTTP, STORAGE_S3
from reconciler.url_secrets import carries_secret

MOST: Final = 10_000
"""The shards of one dataset: about as many as fit into a record."""

_RANGE = re.compile(r"(-?[0-9]{1,9})\.\.(-?[0-9]{1,9})(?:\.\.(-?[0-9]{1,9}))?", re.ASCII)
_LETTERS = re.compile(r"([a-z])\.\.([a-z])|([A-Z])\.\.([A-Z])", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)
_NUMERIC_HOST = re.compile(
    r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*\.?", re.ASCII | re.IGNORECASE
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", re.ASCII)
_LOCAL_NAMES: Final = ("localhost", ".localhost", ".local", ".internal")


def expanded(pattern: str, *, where: str = "") -> tuple[str, ...]:
    """Every URL that a pattern names, in order; a text without braces names itself.

    Raises:
        InvalidInput: E_URL_PATTERN, a brace is not closed, or there are more than 10,000.
    """
    found: list[str] = []
    for url in _expanded(pattern, where, 0):
        found.append(url)
        if len(found) > MOST:
            raise InvalidInput.of(
                "E_URL_PATTERN", f"a pattern names more than {MOST} shards", path=where, got=pattern
            )
    return tuple(found)


def _expanded(pattern: str, where: str, depth: int) -> Iterator[str]:
    start = pattern.find("{")
    if start < 0:
        yield pattern
        return
    end = _closing(pattern, start)
    if end < 0 or depth > 8:
        raise InvalidInput.of(
            "E_URL_PATTERN",
            "a brace is not closed, or braces stand too deep",
            path=where,
            got=pattern,
            fix="write {000..009} or {a,b}",
        )
    head, body, tail = pattern[:start], pattern[start + 1 : end], pattern[end + 1 :]
    for middle in _choices(body, where, depth + 1):
        for rest in _expanded(tail, where, depth):
            yield f"{head}{middle}{rest}"


def _closing(pattern: str, start: int) -> int:
    depth = 0
    for at in range(start, len(pattern)):
        depth += (pattern[at] == "{") - (pattern[at] == "}")
        if not depth:
            return at
    return -1


def _choices(body: str, where: str, depth: int) -> Iterator[str]:
    """What one pair of braces stands for."""
    numbers = _RANGE.fullmatch(body)
    letters = _LETTERS.fullmatch(body)
    if numbers:
        first, last, step = numbers.group(1), numbers.group(2), int(numbers.group(3) or 1)
        padded = first.lstrip("-").startswith("0") or last.lstrip("-").startswith("0")
        width = max(len(first), len(last)) if padded else 0
        way = max(abs(step), 1) if int(first) <= int(last) else -max(abs(step), 1)
        for number in range(int(first), int(last) + (1 if way > 0 else -1), way):
            yield f"{number:0{width}d}"
    elif letters:
        a, b = (ord(letter) for letter in letters.groups() if letter)
        yield from (chr(code) for code in range(a, b + (1 if a <= b else -1), 1 if a <= b else -1))
    elif "," in body:
        for part in _parts(body):
            yield from _expanded(part, where, depth)
    else:
        yield f"{{{body}}}"


def _parts(body: str) -> list[str]:
    """The alternatives of a list, cut at the commas outside inner braces."""
    parts, depth = [""], 0
    for char in body:
        depth += (char == "{") - (char == "}")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def is_local(url: str) -> bool:
    """Whether a URL is a path of this machine."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> str:
    """The path that a local URL names."""
    return url.removeprefix("file://")


def public_problem(url: str, *, allow_private: bool, where: str) -> Problem | None:
    """What keeps a URL out of a public record, or None.

    Args:
        url: of one shard.
        allow_private: whether the account's store is in a network of its own.
        where: the place that the problem names.
    """
    if is_local(url):
        return Problem(
            code="E_URL_PRIVATE",
            message="a path of this machine would be made public, and nobody else could read the data",
            path=where,
            got=url,
            fix="copy the data: 'data: {copy: STORE}' or --copy-to STORE",
        )
    if carries_secret(url):
        return Problem(
            code="E_URL_CREDENTIALS",
            message="the URL carries a password or a signature, which would be made public",
            path=where,
            got=public_location(url),
            fix="name the data without credentials, or copy it",
        )
    scheme = url.partition("://")[0]
    if scheme == "s3":
        return _s3_problem(url, where)
    if scheme not in {"https", "http"} or (scheme == "http" and not allow_private):
        return Problem(
            code="E_URL_SCHEME",
            message="published data is at https:// or s3://",
            path=where,
            got=public_location(url),
            fix="serve it there, or copy it",
        )
    return _http_problem(url, allow_private=allow_private, where=where)


def _http_problem(url: str, *, allow_private: bool, where: str) -> Problem | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or "\\" in url or "#" in url or not _VISIBLE.fullmatch(url) or "%" in parts.netloc:
        return Problem(
            code="E_URL_SYNTAX",
            message="the URL is not one that every reader takes for the same",
            path=where,
            got=public_location(url),
            fix="write scheme, host and path without fragments, backslashes and spaces",
        )
    if not allow_private and _private(host):
        return Problem(
            code="E_URL_PRIVATE",
            message="the host is not a public one, so nobody else could read the data",
            path=where,
            got=public_location(url),
            fix="serve the data publicly, or copy it",
        )
    return None


def _private(host: str) -> bool:
    """Whether a host, as it is written, is not a public one."""
    if host.endswith(_LOCAL_NAMES) or ("." not in host.rstrip(".") and ":" not in host):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return _NUMERIC_HOST.fullmatch(host) is not None  # resolvers read 127.1 and 0x7f.1 as addresses


def _s3_problem(url: str, where: str) -> Problem | None:
    bucket, slash, key = url.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket) or not slash or not key or not _VISIBLE.fullmatch(key):
        return Problem(
            code="E_URL_SYNTAX",
            message="an object is named s3://BUCKET/KEY",
            path=where,
            got=public_location(url),
            fix="write s3://BUCKET/KEY",
        )
    return None


def checksum(sha256: str) -> Record:
    """The checksum of a shard as a record states it; `none` where nobody knows it."""
    return {"algorithm": "sha256" if sha256 else "none", "digest": sha256}


def storage_of(shards: Sequence[Shard], *, where: str) -> Record:
    """The storage of shards that are at public URLs.

    Raises:
        InvalidInput: E_URL_MIXED, one record cannot name them all; E_DATA_URLS, there is none.
    """
    if not shards:
        raise InvalidInput.of(
            "E_DATA_URLS", "the dataset has no data URLs", path=where, fix="name its shards"
        )
    buckets = {_bucket(shard.url) for shard in shards}
    if len(buckets) > 1:
        raise InvalidInput.of(
            "E_URL_MIXED",
            "the shards are not all at http addresses, or all in one bucket",
            path=where,
            got=", ".join(sorted(bucket or "http" for bucket in buckets)),
            fix="copy them to one place",
        )
    (bucket,) = buckets
    if not bucket:
        listed: list[Data] = [{"url": one.url, "checksum": checksum(one.sha256)} for one in shards]
        return {"$type": STORAGE_HTTP, "shards": listed}
    keys: list[Data] = [
        {"key": one.url.removeprefix(f"s3://{bucket}/"), "checksum": checksum(one.sha256)} for one in shards
    ]
    return {"$type": STORAGE_S3, "bucket": bucket, "shards": keys}


def _bucket(url: str) -> str:
    return url.removeprefix("s3://").partition("/")[0] if url.startswith("s3://") else ""


def all_expanded(shards: Iterable[Shard], *, where: str) -> tuple[Shard, ...]:
    """Every shard by itself; a pattern with a hash of its own is refused.

    Raises:
        InvalidInput: E_URL_PATTERN.
    """
    found: list[Shard] = []
    for shard in shards:
        urls = expanded(shard.url, where=where)
        if shard.sha256 and len(urls) > 1:
            raise InvalidInput.of(
                "E_URL_PATTERN",
                "one hash stands beside a pattern that names several shards",
                path=where,
                got=shard.url,
                fix="list the shards one by one, each with its hash",
            )
        found += (Shard(url=url, sha256=shard.sha256) for url in urls)
        if len(found) > MOST:
            raise InvalidInput.of("E_URL_PATTERN", f"a dataset has at most {MOST} shards", path=where)
    return tuple(found)
