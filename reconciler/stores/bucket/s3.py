"""Objects of an S3-compatible bucket as streams: how a bucket is reached, and one object read or put.

A declared `bucket` store says how its bucket is reached; any other is asked with the standard variables.
Reading streams; a put streams too, in parts where it is large, and what is put is named by its hash, so that
putting it again changes nothing. Faults are judged as for a registry's objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from reconciler.errors import InvalidInput, Unavailable
from reconciler.model import Place, StoreConfig
from reconciler.stores.registry.objects_s3 import client_of
from reconciler.stores.registry.s3_access import S3Access, access_of
from reconciler.stores.registry.s3_faults import S3Fault, judged

if TYPE_CHECKING:
    from obstore.store import S3Store

_LOCATION = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^?#]*))?", re.ASCII)
_PART: Final = 8 << 20


class S3Location:
    """One bucket, below one prefix."""

    def __init__(self, bucket: str, prefix: str, access: S3Access) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.access = access
        self._store: S3Store | None = None

    @classmethod
    def of(cls, config: StoreConfig, variables: Mapping[str, str]) -> S3Location:
        """The location that a store's `root` names.

        Raises:
            InvalidInput: E_STORE_LOCATION, E_ENV, E_URL_PLAIN.
        """
        found = _LOCATION.fullmatch(str(config.settings["root"]))
        if found is None:
            raise InvalidInput.of(
                "E_STORE_LOCATION", "this is not the location of a bucket", fix="write s3://BUCKET/PREFIX"
            )
        return cls(found.group(1), (found.group(2) or "").strip("/"), access_of(config, variables))

    @classmethod
    def undeclared(cls, bucket: str, variables: Mapping[str, str]) -> S3Location:
        """A bucket that no document declares.

        Raises:
            InvalidInput: E_ENV, E_URL_PLAIN.
        """
        settings = {"root": f"s3://{bucket}", "allowPrivate": False}
        config = StoreConfig(
            name=bucket, kind="bucket", settings=settings, place=Place(f"s3://{bucket}", 0, 0)
        )
        return cls.of(config, variables)

    def key(self, name: str) -> str:
        """The key of an object below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, piece by piece.

        Raises:
            InvalidInput: E_SHARD_MISSING.
            Unavailable: it cannot be read.
        """
        import obstore  # noqa: PLC0415 - an extra

        where = f"s3://{self.bucket}/{key}"
        try:
            with judged():
                try:
                    stream = obstore.get(self._client(), key).stream(min_chunk_size=_PART)
                except FileNotFoundError as error:
                    raise InvalidInput.of(
                        "E_SHARD_MISSING", "there is no such shard", got=where, fix="correct the URL"
                    ) from error
                for chunk in stream:
                    yield bytes(chunk)
        except S3Fault as fault:
            raise fault.error(where) from fault

    def size(self, name: str) -> int | None:
        """How large an object below the prefix is; None if there is none.

        Raises:
            Unavailable: the bucket cannot be asked.
        """
        import obstore  # noqa: PLC0415 - an extra

        try:
            with judged():
                try:
                    return int(obstore.head(self._client(), self.key(name))["size"])
                except FileNotFoundError:
                    return None
        except S3Fault as fault:
            raise fault.error(f"s3://{self.bucket}") from fault

    def put(self, name: str, pieces: Iterator[bytes]) -> None:
        """Put an object below the prefix; an error of the pieces leaves nothing behind.

        Raises:
            Unavailable: it may have been put or not; it is named by its content, so it can be put again.
        """
        import obstore  # noqa: PLC0415 - an extra

        faults: list[Exception] = []

        def guarded() -> Iterator[bytes]:
            try:
                yield from pieces
            except Exception as error:
                faults.append(error)
                raise

        try:
            with judged():
                obstore.put(self._client(), self.key(name), guarded(), chunk_size=_PART, use_multipart=True)
        except S3Fault as fault:
            if faults:
                raise faults[0] from fault
            raise fault.error(f"s3://{self.bucket}") from fault

    def _client(self) -> S3Store:
        if self._store is None:
            try:
                self._store = client_of(self.bucket, "", self.access)
            except ImportError as error:
                raise Unavailable.of(
                    "E_STORE_DRIVER",
                    "the client of S3-compatible stores is not installed",
                    fix="pip install 'reconciler[s3]'",
                ) from error
        return self._store
