"""Manifests' bytes in an S3-compatible bucket; see `objects` for what an object store promises.

Decides how a bucket is used. The key is the bare hash below the location's prefix. A put creates and never
overwrites; the bucket must honour that condition, which is tried once per handle, before the first put,
on an object of our own (E_STORE_NO_CAS). Bytes are compared with their hash on every read. A put without
an answer is looked up before anything is said about it. A missing bucket is an error, never an empty one.

Endpoint, region and credentials come from the environment variables that every S3 client knows; the client
library reads them, and no message repeats them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from reconciler.errors import InvalidInput, OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.failpoints import failpoint
from reconciler.stores.registry.objects import MANIFEST_LIMIT, StoredObject, checked, too_large
from reconciler.stores.registry.reference import ManifestHash

if TYPE_CHECKING:
    from obstore.store import S3Store

_PROBE: Final = ".reconciler/probe"
_PROBE_BYTES: Final = b"reconciler asks whether this store honours If-None-Match\n"
_NOWHERE: Final = ".reconciler/nowhere/"
_RETRIES: Final = 3
_RETRY_SECONDS: Final = 30
_LOCATION = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)


def open_s3(location: str, options: Mapping[str, str] | None = None) -> S3Objects:
    """The objects of a bucket; nothing is asked of it yet.

    Args:
        location: `s3://BUCKET/PREFIX`.
        options: settings of the client that override the environment's.

    Raises:
        InvalidInput: E_STORE_LOCATION.
        Unavailable: E_STORE_DRIVER, the client library is not installed.
    """
    found = _LOCATION.fullmatch(location)
    if not found:
        raise InvalidInput.of(
            "E_STORE_LOCATION", "this is not the location of a bucket", fix="write s3://BUCKET/PREFIX"
        )
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise Unavailable.of(
            "E_STORE_DRIVER",
            "the client of S3-compatible stores is not installed",
            fix="install reconciler with its extra: pip install 'reconciler[s3]'",
        ) from error
    store = S3Store(
        found.group(1),
        prefix=(found.group(2) or "").strip("/") or None,
        config=cast("Any", dict(options or {})),
        retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
    )
    return S3Objects(store, location)


class S3Objects:
    """Objects of one bucket below one prefix."""

    def __init__(self, store: S3Store, where: str) -> None:
        self._store = store
        self._where = where
        self._stands = False
        self._conditional = False

    @property
    def where(self) -> str:
        """Its place, for errors."""
        return self._where

    def put(self, manifest: ManifestHash, content: bytes) -> None:
        """Create the object; one with the same bytes is fine."""
        if len(content) > MANIFEST_LIMIT:
            raise too_large(len(content), self._where)
        checked(manifest, content, self._where)
        self._require_conditions()
        try:
            with self._faults():
                failpoint("reg.object.before")
                if self._create(manifest, content):
                    failpoint("reg.object.link.after")
                    return
        except Unavailable as fault:
            self._look_up(manifest, fault)
            return
        if self.get(manifest) is None:  # somebody created it and removed it meanwhile
            raise Unavailable.of(
                "E_IO", "the object was removed while it was put", path=self._where, fix="retry"
            )

    def _create(self, key: str, content: bytes) -> bool:
        """Put if absent; False if there is such an object."""
        import obstore  # noqa: PLC0415 - an extra
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        try:
            # A multipart upload would not carry the condition.
            obstore.put(self._store, key, content, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def _look_up(self, manifest: ManifestHash, fault: Unavailable) -> None:
        """Find out what became of a put that failed or was not answered.

        Raises:
            Unavailable: the fault, if nothing was written.
            OutcomeUnknown: looking failed, too.
        """
        try:
            landed = self.get(manifest) is not None
        except Unavailable as error:
            raise OutcomeUnknown.of(
                "E_OUTCOME_UNKNOWN",
                "the answer to a put was lost, and the object store cannot be read",
                path=self._where,
                fix="run it again when the store answers; a manifest is only ever put once",
            ) from error
        if not landed:
            raise fault

    def _require_conditions(self) -> None:
        if self._conditional:
            return
        with self._faults():
            self._create(_PROBE, _PROBE_BYTES)
            if self._create(_PROBE, _PROBE_BYTES):
                raise Unavailable.of(
                    "E_STORE_NO_CAS",
                    "the object store overwrites although it was asked to create only",
                    path=self._where,
                    fix="use a store that honours If-None-Match, or a newer release of this one",
                )
        self._conditional = True

    def get(self, manifest: ManifestHash) -> bytes | None:
        """The bytes, compared with their hash; None if there is no such object."""
        import obstore  # noqa: PLC0415 - an extra

        with self._faults():
            try:
                content = bytes(obstore.get(self._store, manifest).bytes())
            except self._absent():
                self._require_bucket()
                return None
        return checked(manifest, content, f"{self._where}/{manifest}")

    def exists(self, manifest: ManifestHash) -> bool:
        """Whether an object stands under the key."""
        return self.stored_at(manifest) is not None

    def stored_at(self, manifest: ManifestHash) -> int | None:
        """The object's time, by the store's clock."""
        import obstore  # noqa: PLC0415 - an extra

        with self._faults():
            try:
                return int(obstore.head(self._store, manifest)["last_modified"].timestamp())
            except self._absent():
                self._require_bucket()
                return None

    def delete(self, manifest: ManifestHash) -> None:
        """Remove an object; that it is gone already is fine."""
        import obstore  # noqa: PLC0415 - an extra

        with self._faults():
            try:
                obstore.delete(self._store, manifest)
            except self._absent():
                self._require_bucket()

    def list(self) -> Iterator[StoredObject]:
        """All objects that are named by a hash; a listing that breaks off is an error."""
        import obstore  # noqa: PLC0415 - an extra

        with self._faults():
            self._require_bucket()
            found = [
                StoredObject(ManifestHash(meta["path"]), int(meta["last_modified"].timestamp()))
                for page in obstore.list(self._store)
                for meta in page
                if _KEY.fullmatch(meta["path"])
            ]
        return iter(found)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _absent(self) -> tuple[type[BaseException], ...]:
        from obstore.exceptions import NotFoundError  # noqa: PLC0415 - an extra

        return (FileNotFoundError, NotFoundError)

    def _require_bucket(self) -> None:
        """A missing bucket answers like a missing object, so an absence is believed only after this."""
        import obstore  # noqa: PLC0415 - an extra
        from obstore.exceptions import BaseError  # noqa: PLC0415

        if self._stands:
            return
        try:
            obstore.list_with_delimiter(self._store, _NOWHERE)
        except (BaseError, OSError) as error:
            raise Unavailable.of(
                "E_STORE_MISSING",
                "there is no such bucket, or it may not be listed",
                path=self._where,
                fix="create it, correct the location, or grant the right to list it",
            ) from error
        self._stands = True

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn whatever the client throws into an error of ours; its own prose may hold secrets."""
        from obstore.exceptions import (  # noqa: PLC0415 - an extra
            BaseError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        try:
            yield
        except ReconcilerError:
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise Unavailable.of(
                "E_STORE_AUTH",
                "the object store refuses these credentials or rights",
                path=self._where,
                fix="check the credentials in the environment",
            ) from error
        except (BaseError, OSError) as error:
            raise Unavailable.of(
                "E_UNREACHABLE",
                f"the object store did not do it: {type(error).__name__}",
                path=self._where,
                fix="check the endpoint and retry later",
            ) from error
