"""The registry's names: datasets, versions, manifest hashes, revisions and references to them.

Decides which texts name something (contract section 1, with its loopholes closed) and how versions are
ordered. Never asks a registry whether the thing exists.

- A namespace is `[a-z0-9_]+`, a name `[a-z_][a-z0-9_]*`: ASCII only, at most 128 characters.
- A version is SemVer 2.0, strictly. It is ordered by precedence, which ignores build metadata: two
  versions that differ only there are one place in the order, and the registry lets one of them in.
- A manifest hash is 64 hex digits, written in lower case whatever was read; `sha256:` may precede it.
- A revision is `latest`, `dev`, a hash or a version, tried in this order.
- A reference is `ns/name@revision`, also as `pkg:amp/ns/name@revision`; in a partial one the namespace
  may be missing (then it is `_`) and the revision too (then it is `latest`).

    >>> str(Reference.parse("pkg:amp/ethereum/mainnet@1.0.0"))
    'ethereum/mainnet@1.0.0'
    >>> parse_version("1.0.0-rc.2").precedence < parse_version("1.0.0-rc.10").precedence
    True
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, NewType

from reconciler.errors import InvalidInput
from reconciler.model import Digest

ManifestHash = NewType("ManifestHash", str)
"""64 lower-case hex digits: the sha256 of a manifest's exact bytes."""

LATEST: Final = "latest"
DEV: Final = "dev"
GLOBAL_NAMESPACE: Final = "_"
NAME_LIMIT: Final = 128
VERSION_LIMIT: Final = 128

_PURL: Final = "pkg:amp/"
_PURL_SCHEME: Final = "pkg:"
_DIGEST: Final = "sha256:"
_HASH_LENGTH: Final = 64
_U64: Final = 2**64
_NAMESPACE = re.compile(r"[a-z0-9_]+", re.ASCII)
_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_HASH = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_NOT_HEX = re.compile(r"[^0-9a-fA-F]")


def _characters(what: str, text: str, allowed: re.Pattern[str], rule: str) -> None:
    if not text:
        raise InvalidInput.of("E_ID_PATH", f"the {what} is empty", got=text, fix=rule)
    if not allowed.fullmatch(text):
        wrong = next((c for c in text if not allowed.fullmatch("a" + c)), text[0])
        raise InvalidInput.of(
            "E_ID_CHARS", f"the {what} holds a character that it may not: {wrong!a}", got=text, fix=rule
        )
    if len(text) > NAME_LIMIT:
        raise InvalidInput.of(
            "E_ID_LENGTH", f"the {what} has more than {NAME_LIMIT} characters", got=text, fix="shorten it"
        )


class DatasetName(NamedTuple):
    """A dataset of the registry: namespace and name; `str()` gives ``ns/name``."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, namespace: str, name: str) -> DatasetName:
        """A dataset from its two parts.

        Raises:
            InvalidInput: E_ID_PATH, E_ID_CHARS or E_ID_LENGTH.
        """
        _characters("namespace", namespace, _NAMESPACE, "ASCII a-z, 0-9 and _ only")
        _characters("name", name, _NAME, "ASCII a-z, 0-9 and _ only, no digit first")
        return cls(namespace, name)

    @classmethod
    def parse(cls, text: str) -> DatasetName:
        """Read ``ns/name``, split at the first slash.

        Raises:
            InvalidInput: E_ID_PATH, E_ID_CHARS or E_ID_LENGTH.
        """
        namespace, slash, name = text.partition("/")
        if not slash:
            raise InvalidInput.of(
                "E_ID_PATH",
                "no slash stands between namespace and name",
                got=text,
                fix="write NAMESPACE/NAME",
            )
        return cls.of(namespace, name)


@dataclass(frozen=True, slots=True)
class Version:
    """A SemVer version; equal only if the texts are.

    Attributes:
        text: as it was written.
        precedence: a text whose byte order is SemVer's precedence; equal for versions that differ only in
            build metadata.
        prerelease: whether it is a pre-release.
    """

    text: str
    precedence: str
    prerelease: bool

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=1 << 16)
def parse_version(text: str) -> Version:
    """Read a version strictly: three numbers, no leading zeros, no `v`, no space.

    Raises:
        InvalidInput: E_SEMVER, E_SEMVER_RANGE or E_ID_LENGTH.
    """
    if len(text) > VERSION_LIMIT:
        raise InvalidInput.of(
            "E_ID_LENGTH", f"a version has more than {VERSION_LIMIT} characters", got=text, fix="shorten it"
        )
    # The library's digits are those of Unicode, so what is not ASCII never reaches it.
    parsed = _semver(text) if text.isascii() else None
    if parsed is None:
        raise InvalidInput.of(
            "E_SEMVER",
            "a version is MAJOR.MINOR.PATCH with optional -pre-release and +build (SemVer 2.0)",
            got=text,
            fix='three numbers without leading zeros, for example "1.10.0"',
        )
    numbers, prerelease = parsed
    if max(numbers) >= _U64:
        raise InvalidInput.of(
            "E_SEMVER_RANGE",
            "a number of this version does not fit into 64 bits",
            got=text,
            fix="choose a smaller one",
        )
    core = "".join(_number_key(number) for number in numbers)
    return Version(text, core + _prerelease_key(prerelease), bool(prerelease))


def _semver(text: str) -> tuple[tuple[int, int, int], str] | None:
    import semver  # noqa: PLC0415 - only those who read versions pay for it

    try:
        parsed = semver.Version.parse(text)
    except ValueError:
        return None
    return (parsed.major, parsed.minor, parsed.patch), parsed.prerelease or ""


def _number_key(number: int) -> str:
    """A text ordered as 64-bit numbers are: a letter for the number of digits, then the digits."""
    digits = str(number)
    return chr(ord("@") + len(digits)) + digits


def _prerelease_key(prerelease: str) -> str:
    """A text ordered as SemVer orders pre-releases.

    A release comes after all its pre-releases. Identifiers are joined by a space, which is below every
    character they may hold, so fewer of them come first. A numeric one is preceded by its length, so that
    numbers of any size compare as numbers, and by a character that puts it before the alphanumeric ones.
    """
    if not prerelease:
        return "1"
    keys = (f"0{len(part):03d}{part}" if part.isdigit() else f"1{part}" for part in prerelease.split("."))
    return "0" + " ".join(keys)


def parse_hash(text: str) -> ManifestHash:
    """Read a manifest hash, with or without `sha256:` before it; upper case becomes lower case.

    Raises:
        InvalidInput: E_HASH_LENGTH or E_HASH_CHARS.
    """
    digits = text.removeprefix(_DIGEST)
    if _HASH.fullmatch(digits):
        return ManifestHash(digits.lower())
    fix = f"{_HASH_LENGTH} hex digits, as 'reconciler registry manifest list' prints them"
    if len(digits) != _HASH_LENGTH:
        message = f"a manifest hash has {_HASH_LENGTH} hex digits, this has {len(digits)} characters"
        raise InvalidInput.of("E_HASH_LENGTH", message, got=text, fix=fix)
    wrong = _NOT_HEX.search(digits)
    place = wrong.start() if wrong else 0
    raise InvalidInput.of(
        "E_HASH_CHARS", f"character {place + 1} of the manifest hash is no hex digit", got=text, fix=fix
    )


def digest_of(manifest: ManifestHash) -> Digest:
    """The hash as plans and documents spell it: `sha256:` and the digits."""
    return Digest(_DIGEST + manifest)


class RevisionKind(StrEnum):
    """What a revision names."""

    LATEST = LATEST
    DEV = DEV
    HASH = "hash"
    VERSION = "version"


class Revision(NamedTuple):
    """Which manifest of a dataset is meant; `str()` gives it as references spell it."""

    kind: RevisionKind
    text: str

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> Revision:
        """Read `latest`, `dev`, a hash or a version, tried in this order; case matters.

        Raises:
            InvalidInput: E_REVISION, E_SEMVER_RANGE or E_ID_LENGTH.
        """
        if text in (LATEST, DEV):
            return cls(RevisionKind(text), text)
        if _HASH.fullmatch(text.removeprefix(_DIGEST)):
            return cls(RevisionKind.HASH, parse_hash(text))
        try:
            return cls(RevisionKind.VERSION, parse_version(text).text)
        except InvalidInput as error:
            if error.code != "E_SEMVER":
                raise
        raise InvalidInput.of(
            "E_REVISION",
            "a revision is latest, dev, a version or a manifest hash",
            got=text,
            fix="for example latest, 1.0.0 or 64 hex digits",
        )


LATEST_REVISION: Final = Revision(RevisionKind.LATEST, LATEST)
DEV_REVISION: Final = Revision(RevisionKind.DEV, DEV)


class Reference(NamedTuple):
    """One revision of one dataset; `str()` gives ``ns/name@revision``."""

    dataset: DatasetName
    revision: Revision

    def __str__(self) -> str:
        return f"{self.dataset}@{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a full reference, plain or as a package URL; split at the first `@`, then the first `/`.

        Raises:
            InvalidInput: E_REFERENCE names the part that is missing; the codes of the parts otherwise.
        """
        dataset, at, revision = _without_scheme(text).partition("@")
        if not at:
            raise InvalidInput.of(
                "E_REFERENCE",
                "the reference has no revision: no @ stands in it",
                got=text,
                fix="NAMESPACE/NAME@REVISION, for example ethereum/mainnet@latest",
            )
        if "/" not in dataset:
            raise InvalidInput.of(
                "E_REFERENCE",
                "the reference has no namespace: no / stands before the @",
                got=text,
                fix="NAMESPACE/NAME@REVISION; the global namespace is _",
            )
        return cls(DatasetName.parse(dataset), Revision.parse(revision))

    @classmethod
    def parse_partial(cls, text: str) -> Reference:
        """Read a reference in which namespace and revision may be missing; they are then `_` and `latest`.

        Raises:
            InvalidInput: as `parse`.
        """
        if text.startswith(_PURL_SCHEME):
            return cls.parse(text)
        dataset, at, revision_text = text.partition("@")
        revision = Revision.parse(revision_text) if at else LATEST_REVISION
        namespace, slash, name = dataset.partition("/")
        if not slash:
            namespace, name = GLOBAL_NAMESPACE, dataset
        return cls(DatasetName.of(namespace, name), revision)


def _without_scheme(text: str) -> str:
    if text.startswith(_PURL):
        return text[len(_PURL) :]
    if text.startswith(_PURL_SCHEME):
        raise InvalidInput.of(
            "E_REFERENCE",
            "the package URL is not of this registry's type",
            got=text,
            fix="pkg:amp/NAMESPACE/NAME@REVISION",
        )
    return text
