"""Shards as streams, wherever they are: local files, http servers, buckets, blobs of an account.

A shard is named by somebody else's document, so a local one must be a plain file, a web server's address is
checked before it is asked and redirects are not followed, and every stream has a size at which it ends. The
hash and the size are taken while the bytes pass; nothing is held whole.

What is copied or decoded must begin as a tar archive: a path that leads to something else is refused
before any of it leaves the machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from reconciler.errors import Corrupt, InvalidInput, LimitExceeded, Unavailable
from reconciler.model import Shard, StoreConfig, public_location
from reconciler.stores.atproto.connection import Connection, NoAnswer, NotSent, Origin, parse_origin
from reconciler.stores.atproto.shards import is_local, local_path
from reconciler.stores.bucket.s3 import S3Location

SHARD_LIMIT: Final = 1 << 40
_PIECE: Final = 1 << 20
_HEAD: Final = 512
_MAGIC: Final = slice(257, 262)
_CHECKSUM: Final = slice(148, 156)


class Measured(NamedTuple):
    """What the bytes of a shard are: their bare sha256 and how many there are."""

    sha256: str
    size: int


@dataclass(slots=True)
class ShardReader:
    """Reads shards for one command; connections and buckets stay open until its end.

    Attributes:
        root: the directory that relative paths start from.
        variables: the environment, for the credentials of buckets.
        private: whether servers in a private network may be asked.
        buckets: the declared stores of kind `bucket`.
        stack: closes what was opened.
    """

    root: Path
    variables: Mapping[str, str]
    private: bool
    buckets: tuple[StoreConfig, ...]
    stack: ExitStack
    _connections: dict[Origin, Connection] = field(default_factory=dict)
    _locations: dict[str, S3Location] = field(default_factory=dict)

    def pieces(self, url: str, *, limit: int = SHARD_LIMIT) -> Iterator[bytes]:
        """The bytes of a shard, piece by piece.

        Raises:
            InvalidInput: E_SHARD_MISSING, E_SHARD_FORMAT, E_URL_SCHEME, E_URL_PRIVATE, E_URL_SYNTAX.
            LimitExceeded: E_SHARD_SIZE.
            Unavailable: it cannot be read.
        """
        shown, have, head = public_location(url), 0, b""
        for piece in self._raw(url):
            if len(head) < _HEAD:
                head += piece[: _HEAD - len(head)]
                if len(head) == _HEAD:
                    _check_tar(head, shown)
            have += len(piece)
            if have > limit:
                raise LimitExceeded.of("E_SHARD_SIZE", f"the shard is larger than {limit} bytes", got=shown)
            yield piece
        if len(head) < _HEAD:
            _check_tar(head, shown)

    def asks(self, bucket: str, endpoint: str) -> bool:
        """Whether shards in a bucket are read from this server; credentials go nowhere else.

        Raises:
            InvalidInput: E_ENV, there are no credentials.
        """
        return (self._location(bucket).access.endpoint or "") == endpoint

    def measured(self, shard: Shard, *, limit: int = SHARD_LIMIT) -> Measured:
        """The hash and size of a shard, compared with the hash that is known.

        Raises:
            Corrupt: E_SHARD_HASH.
            InvalidInput, LimitExceeded, Unavailable: as `pieces`.
        """
        digest, size = sha256(), 0
        for piece in self.pieces(shard.url, limit=limit):
            digest.update(piece)
            size += len(piece)
        check_hash(shard, digest.hexdigest())
        return Measured(digest.hexdigest(), size)

    def _raw(self, url: str) -> Iterator[bytes]:
        if is_local(url):
            return _local(self.root / local_path(url), public_location(url))
        if url.startswith("s3://"):
            bucket, _, key = url.removeprefix("s3://").partition("/")
            return self._location(bucket).read(key)
        if url.startswith(("https://", "http://")):
            return self._http(url)
        raise InvalidInput.of(
            "E_URL_SCHEME",
            "shards are read from files, http servers and buckets",
            got=public_location(url),
            fix="name one of these",
        )

    def _location(self, bucket: str) -> S3Location:
        if bucket not in self._locations:
            declared = next(
                (one for one in self.buckets if f"{one.settings['root']}/".startswith(f"s3://{bucket}/")),
                None,
            )
            self._locations[bucket] = (
                S3Location.undeclared(bucket, self.variables)
                if declared is None
                else S3Location.of(declared, self.variables)
            )
        return self._locations[bucket]

    def _http(self, url: str) -> Iterator[bytes]:
        parts = urlsplit(url)
        shown = public_location(url)
        origin = parse_origin(f"{parts.scheme}://{parts.netloc}", where=shown, private=self.private)
        if origin not in self._connections:
            self._connections[origin] = Connection(origin, where=shown, private=self.private)
            self.stack.callback(self._connections[origin].close)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            with self._connections[origin].stream(path) as (status, pieces):
                if status in {404, 410}:
                    raise InvalidInput.of("E_SHARD_MISSING", "there is no such shard", got=shown)
                if status != 200:
                    raise Unavailable.of(
                        "E_SHARD_READ",
                        "the server does not give the shard; redirects are not followed",
                        got=f"status {status}",
                        path=shown,
                        fix="name the address that it leads to, or try again later",
                    )
                yield from pieces
        except (NotSent, NoAnswer) as error:
            raise Unavailable.of(
                "E_SHARD_READ", "the shard cannot be read to its end", path=shown, fix="try again"
            ) from error


def check_hash(shard: Shard, found: str) -> None:
    """Compare the hash of what was read with the one that is known.

    Raises:
        Corrupt: E_SHARD_HASH.
    """
    if shard.sha256 and shard.sha256 != found:
        raise Corrupt.of(
            "E_SHARD_HASH",
            "the shard is not what its hash says",
            path=public_location(shard.url),
            got=found,
            fix=f"restore the bytes with the sha256 {shard.sha256}, or publish a new version",
        )


def _local(path: Path, shown: str) -> Iterator[bytes]:
    with _opened(path, shown) as handle:
        while piece := os.read(handle, _PIECE):
            yield piece


@contextmanager
def _opened(path: Path, shown: str) -> Iterator[int]:
    """A plain file, opened; a link, a pipe or a device is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise InvalidInput.of(
            "E_SHARD_MISSING", "there is no such shard", got=shown, fix="correct the path"
        ) from error
    except OSError as error:
        raise Unavailable.of("E_SHARD_READ", f"cannot be read: {error.strerror}", path=shown) from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InvalidInput.of("E_SHARD_FORMAT", "a shard is a plain file", got=shown)
        yield handle
    except OSError as error:
        raise Unavailable.of("E_SHARD_READ", f"cannot be read: {error.strerror}", path=shown) from error
    finally:
        os.close(handle)


def _check_tar(head: bytes, shown: str) -> None:
    """A tar archive begins with a header whose checksum holds (POSIX.1-2017, pax, "ustar")."""
    stated = head[_CHECKSUM].strip(b" \0")
    whole = len(head) == _HEAD and stated.isdigit()
    if whole and head[_MAGIC] in {b"ustar", b"\0" * 5}:
        blanked = head[:148] + b" " * 8 + head[156:]
        if all(byte in b"01234567" for byte in stated) and int(stated, 8) == sum(blanked):
            return
    raise InvalidInput.of("E_SHARD_FORMAT", "a shard is a tar archive", got=shown, fix="name the data itself")
