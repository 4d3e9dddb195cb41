"""Manifests' bytes in an S3-compatible bucket; see `objects` for what an object store promises.

Decides how a bucket is used. The key is the bare hash below the location's prefix. A put creates and never
overwrites; the bucket must honour that condition, which is tried once per handle, before the first put,
on an object of our own (E_STORE_NO_CAS). What was put is read back and compared, also where the store says
that the key is taken: after a lost answer that is our own put. A missing bucket is an error, never an
empty one, and a listing that breaks off is an error, never a short one.

The client library never retries by itself: a repeated create would hide that the first one landed. Tries,
their pauses, and what is looked up between them are decided here.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.errors import InvalidInput, OutcomeUnknown, Unavailable
from reconciler.failpoints import failpoint
from reconciler.reference import ManifestHash
from reconciler.stores.registry.objects import MANIFEST_LIMIT, StoredObject, checked, too_large
from reconciler.stores.registry.s3_access import S3Access
from reconciler.stores.registry.s3_faults import S3Fault, Verdict, judged
from reconciler.stores.serving.durable import store_faults

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3Store

T = TypeVar("T")

TRIES: Final = 6
_PROBE: Final = ".reconciler/probe"
_PROBE_BYTES: Final = b"reconciler asks whether this store honours If-None-Match\n"
_CLOCK: Final = ".reconciler/clock"
_NOWHERE: Final = ".reconciler/nowhere/"
_FIRST_PAUSE: Final = 0.1
_ANSWER_SECONDS: Final = 60
_CONNECT_SECONDS: Final = 10
_LOCATION = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/=-]*))?", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)


def open_s3(location: str, access: S3Access, *, pause: Callable[[float], None] = time.sleep) -> S3Objects:
    """The objects of a bucket; nothing is asked of it yet.

    Args:
        location: `s3://BUCKET/PREFIX`.
        access: how the bucket is reached.
        pause: waits some seconds between two tries.

    Raises:
        InvalidInput: E_STORE_LOCATION.
        Unavailable: E_STORE_DRIVER, the client library is not installed.
    """
    found = _LOCATION.fullmatch(location)
    prefix = (found.group(2) or "").strip("/") if found else ""
    if not found or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        raise InvalidInput.of(
            "E_STORE_LOCATION", "this is not the location of a bucket", fix="write s3://BUCKET/PREFIX"
        )
    return S3Objects(client_of(found.group(1), prefix, access), location, pause)


def client_of(bucket: str, prefix: str, access: S3Access) -> S3Store:
    """The library's client. It reads the environment itself, so all that matters here is said explicitly."""
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise Unavailable.of(
            "E_STORE_DRIVER",
            "the client of S3-compatible stores is not installed",
            fix="install reconciler with its extra: pip install 'reconciler[s3]'",
        ) from error
    endpoint = access.endpoint or f"https://s3.{access.region}.amazonaws.com"

    def credentials() -> S3Credential:
        # A provider, because keys in the configuration would be joined with a token of the environment.
        return {
            "access_key_id": access.key_id,
            "secret_access_key": access.secret,
            "token": access.token or None,
            "expires_at": None,
        }

    return S3Store(
        bucket,
        prefix=prefix or None,
        config={
            "endpoint": endpoint,
            "aws_endpoint_url_s3": endpoint,
            "region": access.region,
            "conditional_put": "etag",
            "skip_signature": False,
            "virtual_hosted_style_request": False,
            "disable_bulk_delete": True,
        },
        credential_provider=credentials,
        client_options={
            "allow_http": access.plain,
            "timeout": timedelta(seconds=_ANSWER_SECONDS),
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        },
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=_ANSWER_SECONDS)},
    )


class S3Objects:
    """Objects of one bucket below one prefix."""

    def __init__(self, store: S3Store, where: str, pause: Callable[[float], None]) -> None:
        self._store = store
        self._where = where
        self._pause = pause
        self._stands = False
        self._conditional = False

    @property
    def where(self) -> str:
        """Its place, for errors."""
        return self._where

    def put(self, manifest: ManifestHash, content: bytes) -> None:
        """Create the object and read it back; one with the same bytes is fine."""
        if len(content) > MANIFEST_LIMIT:
            raise too_large(len(content), self._where)
        checked(manifest, content, self._where)
        self._require_conditions()

        def create() -> bool:
            self._create(manifest, content)
            return False  # created or taken: only its bytes tell

        with store_faults(self._where):
            failpoint("reg.object.before")
        self._write(create, lambda: self.get(manifest) is not None)
        with store_faults(self._where):
            failpoint("reg.object.link.after")

    def get(self, manifest: ManifestHash) -> bytes | None:
        """The bytes, compared with their hash; None if there is no such object."""
        content = self._read(lambda: self._content(manifest))
        if content is None:
            self._require_bucket()
            return None
        return checked(manifest, content, f"{self._where}/{manifest}")

    def exists(self, manifest: ManifestHash) -> bool:
        """Whether an object stands under the key."""
        return self.stored_at(manifest) is not None

    def stored_at(self, manifest: ManifestHash) -> int | None:
        """The object's time, by the store's clock."""
        stored_at = self._read(lambda: self._time(manifest))
        if stored_at is None:
            self._require_bucket()
        return stored_at

    def delete(self, manifest: ManifestHash) -> None:
        """Remove an object; that it is gone already is fine."""
        self._write(lambda: self._remove(manifest), lambda: not self.exists(manifest))

    def list(self) -> Iterator[StoredObject]:
        """All objects that are named by a hash, from every page."""
        return iter(self._read(self._listed))

    def hashes(self) -> frozenset[ManifestHash]:
        """The keys of all objects that are named by a hash."""
        return frozenset(stored.hash for stored in self.list())

    def now(self) -> int:
        """The time that the bucket gives an object of ours that is put now: it says it in no other way."""

        def put() -> bool:
            self._overwrite(_CLOCK)
            return True

        self._write(put, lambda: False)
        found = self._read(lambda: self._time(_CLOCK))
        if found is None:
            raise self._unavailable(None)
        return found

    def litter(self, grace: int) -> tuple[str, ...]:  # noqa: ARG002 - the port's
        """Nothing: a put lands whole or not at all."""
        return ()

    def remove_litter(self, name: str) -> None:
        """Never called: there is none."""
        raise NotImplementedError(name)

    def close(self) -> None:
        """Nothing is held between calls."""

    # One request each; a failure is an S3Fault

    def _create(self, key: str, content: bytes) -> bool:
        """Put if absent; False if there is such an object, or somebody is putting it."""
        import obstore  # noqa: PLC0415 - an extra
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        with judged():
            try:
                # A multipart upload would not carry the condition.
                obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def _overwrite(self, key: str) -> None:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            obstore.put(self._store, key, b"", use_multipart=False)

    def _content(self, manifest: ManifestHash) -> bytes | None:
        import obstore  # noqa: PLC0415 - an extra

        content = bytearray()
        with judged():
            try:
                for chunk in obstore.get(self._store, manifest).stream():
                    content += chunk
                    if len(content) > MANIFEST_LIMIT:
                        break  # whatever it is, it is no manifest
            except FileNotFoundError:
                return None
        return bytes(content)

    def _time(self, key: str) -> int | None:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            try:
                return int(obstore.head(self._store, key)["last_modified"].timestamp())
            except FileNotFoundError:
                return None

    def _remove(self, manifest: ManifestHash) -> bool:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            try:
                obstore.delete(self._store, manifest)
            except FileNotFoundError:
                return False  # the object or the bucket: looking tells
        return True

    def _listed(self) -> tuple[StoredObject, ...]:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            return tuple(
                StoredObject(ManifestHash(meta["path"]), meta["size"], int(meta["last_modified"].timestamp()))
                for page in obstore.list(self._store)
                for meta in page
                if _KEY.fullmatch(meta["path"])
            )

    def _empty_listing(self) -> None:
        import obstore  # noqa: PLC0415 - an extra

        with judged():
            obstore.list_with_delimiter(self._store, _NOWHERE)

    # Tries

    def _read(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer; reading changes nothing, so every doubt allows another try.

        Raises:
            Unavailable: no answer after all tries, or a refusal.
        """
        fault = None
        for _ in self._tries():
            try:
                return ask()
            except S3Fault as found:
                fault = found
                if found.verdict is Verdict.REFUSED:
                    break
        raise self._unavailable(fault)

    def _write(self, write: Callable[[], bool], landed: Callable[[], bool]) -> None:
        """Write until it is certain that it landed.

        Args:
            write: true if the answer leaves no doubt.
            landed: looks whether what was to be written is there.

        Raises:
            Unavailable: looking showed that nothing was written.
            OutcomeUnknown: looking failed, too.
        """
        fault = None
        for _ in self._tries():
            try:
                if write():
                    return
                fault = None
            except S3Fault as found:
                fault = found
                if found.verdict is Verdict.REFUSED:
                    break
                if found.verdict is Verdict.AGAIN:
                    continue
            if self._looked_up(landed):
                return
        raise self._unavailable(fault)

    def _looked_up(self, landed: Callable[[], bool]) -> bool:
        try:
            return landed()
        except Unavailable as error:
            raise OutcomeUnknown.of(
                "E_OUTCOME_UNKNOWN",
                "whether a write to the object store landed is not known, and the store cannot be read",
                path=self._where,
                got=error.code,
                fix="run it again when the store answers; a manifest is only ever put once",
            ) from error

    def _tries(self) -> Iterator[None]:
        """One turn for each try, with growing pauses in between that no two processes share."""
        yield
        for turn in range(TRIES - 1):
            self._pause(_FIRST_PAUSE * 2**turn * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            yield

    def _unavailable(self, fault: S3Fault | None) -> Unavailable:
        if fault is not None:
            return fault.error(self._where)
        return Unavailable.of(
            "E_IO",
            "the object store has nothing under a key that it was given",
            path=self._where,
            fix="retry",
        )

    # What the store must be

    def _require_conditions(self) -> None:
        if self._conditional:
            return
        self._read(lambda: self._create(_PROBE, _PROBE_BYTES))
        if self._read(lambda: self._create(_PROBE, _PROBE_BYTES)):
            raise Unavailable.of(
                "E_STORE_NO_CAS",
                "the object store overwrites although it was asked to create only",
                path=self._where,
                fix="use a store that honours If-None-Match, or a newer release of this one",
            )
        self._conditional = True

    def _require_bucket(self) -> None:
        """A missing bucket answers like a missing object, so an absence is believed only after this."""
        if not self._stands:
            self._read(self._empty_listing)
            self._stands = True
