"""The values that flow through the program: addresses, digests, wishes, observations, changes, steps.

An `Address` names one thing in one store and has one string form everywhere: ``STORE/KIND/KEY``. A
store's state maps each address to slots, and a slot to a value; a wish is a `Declaration` of some of
those slots at a place in git. Comparing the two gives `Change` values (one slot, before and after),
which travel in `Step` values: what one store commits together or not at all.

Everything here is immutable. Nothing here reads a clock, a file, an environment or a network.

    >>> Address.parse("serving/dataset/110/homo_sapiens/GRCh38")
    Address(store='serving', kind='dataset', key='110/homo_sapiens/GRCh38')
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NewType

from reconciler.errors import InvalidInput, Problem

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hex digits."""

Value = str | tuple[str, ...]
"""What a slot holds: one text, or an ordered list of texts. An absent slot holds nothing."""

Slots = Mapping[str, Value]

NOTHING: Final[Slots] = MappingProxyType({})
"""The slots of a thing that does not exist."""

STORE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_RELEASE = re.compile(r"[0-9]+", re.ASCII)
_SPECIES = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*", re.ASCII)
_ASSEMBLY = re.compile(r"[A-Za-z0-9._]+", re.ASCII)

RELEASE_LIMIT = 16
NAME_LIMIT = 64
_LEGAL_ID = re.compile(
    r"[0-9]{1,16}/(?=[^/]{1,64}/)[a-z0-9]+(?:_[a-z0-9]+)*/(?!\.{1,2}\Z)[A-Za-z0-9._]{1,64}", re.ASCII
)
"""What `dataset_id_problem` accepts, in one look, because a plan reads very many ids."""
_ID_PARTS = 3
_ID_TEXT = re.compile(r"[A-Za-z0-9._/]*", re.ASCII)


class Address(NamedTuple):
    """The immutable id of one thing in one store; sorts by store, kind, key."""

    store: str
    kind: str
    key: str

    def __str__(self) -> str:
        return f"{self.store}/{self.kind}/{self.key}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read the string form.

        Raises:
            InvalidInput: E_ADDRESS, the text does not have the three parts.
        """
        parts = text.split("/", 2)
        if len(parts) != _ID_PARTS or not all(parts) or not STORE_NAME.fullmatch(parts[0]):
            raise InvalidInput.of(
                "E_ADDRESS", "an address is STORE/KIND/KEY", got=text, fix="for example serving/alias/latest"
            )
        return cls(*parts)


class DatasetId(NamedTuple):
    """Release, species and assembly of a dataset in a serving store (contract 1.3).

    `str()` gives the canonical form ``110/homo_sapiens/GRCh38``; `sort_key` orders releases as numbers.
    """

    release: str
    species: str
    assembly: str

    def __str__(self) -> str:
        return f"{self.release}/{self.species}/{self.assembly}"

    @property
    def scope(self) -> str:
        """Species and assembly: the line of releases that this dataset belongs to."""
        return f"{self.species}/{self.assembly}"

    @property
    def sort_key(self) -> tuple[str, str, int, str]:
        """Orders datasets by line, then by release as a number."""
        return (self.species, self.assembly, int(self.release), self.release)

    @classmethod
    def parse(cls, text: str) -> DatasetId:
        """Read the canonical form, strictly: ASCII, no surrounding space, no dot segments.

        Raises:
            InvalidInput: E_ID_PATH, E_ID_CHARS or E_ID_LENGTH.
        """
        problem = dataset_id_problem(text)
        if problem:
            raise InvalidInput(problem)
        return cls(*text.split("/"))


def dataset_id_problem(text: str) -> Problem | None:
    """What is wrong with the text of a dataset id, or None."""
    return None if _LEGAL_ID.fullmatch(text) else _refused_id(text)


_ID_FIX = "RELEASE/SPECIES/ASSEMBLY, for example 110/homo_sapiens/GRCh38"


def _refused_form(text: str) -> Problem:
    """What is wrong with a text without three usable parts: the first thing a reader would see."""
    longest = RELEASE_LIMIT + 2 * NAME_LIMIT + 2
    if not _ID_TEXT.fullmatch(text):
        code, message = "E_ID_CHARS", "a dataset id is ASCII A-Z a-z 0-9 . _ / only"
    elif len(text) > longest:
        code, message = "E_ID_LENGTH", f"a dataset id has at most {longest} characters"
    else:
        code, message = "E_ID_PATH", "a dataset id has exactly three parts, and none is empty, '.' or '..'"
    return Problem(code=code, message=message, got=text, fix=_ID_FIX)


def _refused_id(text: str) -> Problem | None:
    parts = text.split("/")
    if len(parts) != _ID_PARTS or any(part in {"", ".", ".."} for part in parts):
        return _refused_form(text)
    release, species, assembly = parts
    if not _RELEASE.fullmatch(release):
        return Problem(code="E_ID_CHARS", message="a release is ASCII digits only", got=release, fix=_ID_FIX)
    if not _SPECIES.fullmatch(species):
        return Problem(
            code="E_ID_CHARS",
            message="a species is ASCII a-z 0-9 and single inner underscores only",
            got=species,
            fix=_ID_FIX,
        )
    if not _ASSEMBLY.fullmatch(assembly):
        return Problem(
            code="E_ID_CHARS", message="an assembly is ASCII A-Z a-z 0-9 . _ only", got=assembly, fix=_ID_FIX
        )
    if len(release) > RELEASE_LIMIT or len(species) > NAME_LIMIT or len(assembly) > NAME_LIMIT:
        return Problem(
            code="E_ID_LENGTH",
            message=f"a release has at most {RELEASE_LIMIT} characters, species and assembly {NAME_LIMIT}",
            got=text,
            fix="shorten it",
        )
    return None


def digest_problem(text: str) -> Problem | None:
    """What is wrong with the text of a `sha256:…` digest, or None."""
    if _DIGEST.fullmatch(text):
        return None
    scheme, colon, rest = text.partition(":")
    if not colon:
        code, message = "E_HASH_PREFIX", "a digest starts with sha256:"
    elif scheme != "sha256":
        code, message = "E_HASH_ALG", "sha256 is the only digest algorithm"
    elif not _HEX.fullmatch(rest):
        code, message = "E_HASH_CHARS", "a digest is lower-case hex"
    else:
        code, message = "E_HASH_LENGTH", "a sha256 digest has 64 hex digits"
    return Problem(code=code, message=message, got=text, fix="write sha256: and 64 lower-case hex digits")


def parse_digest(text: str) -> Digest:
    """Read a digest strictly.

    Raises:
        InvalidInput: E_HASH_PREFIX, E_HASH_ALG, E_HASH_CHARS or E_HASH_LENGTH.
    """
    problem = digest_problem(text)
    if problem:
        raise InvalidInput(problem)
    return Digest(text)


class Place(NamedTuple):
    """Where in the desired state something was written; line and column count from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class Declaration(NamedTuple):
    """The wish for one address: the slots that are managed, and where that was written.

    `source` is where the bytes come from if the store lacks them (a build root or a pack, relative to
    the repository root); it is not part of the wish. A slot that is not named is not managed. `NOTHING`
    as slots means that the address must not exist; `reason` is then its tombstone. `protected` says that
    it may not be removed until it says otherwise; None leaves that as it is recorded.
    """

    address: Address
    slots: Slots
    place: Place
    source: str | None = None
    reason: str | None = None
    protected: bool | None = None


def public_location(location: str) -> str:
    """A location without what may be a secret: the user part and the query of a URL."""
    scheme, mark, rest = location.partition("://")
    if not mark:
        return location
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


_NOT_IDENTITY: Final = frozenset(
    {"create", "credentials", "region", "allowPrivate", "plc", "nameserver", "ledger"}
) | {"pointsPerHour", "pointsPerDay"}
"""Settings that say how a live system is reached or made, not which one it is."""


def public_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that say which live system a store is, without what may be a secret."""
    return {
        name: public_location(str(value)) for name, value in settings.items() if name not in _NOT_IDENTITY
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """One entry of a `Stores` document: where a live system is. Never holds a secret."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    place: Place

    @property
    def identity(self) -> str:
        """What an intent binds: name, kind, location as written and environment."""
        settings = public_settings(self.settings)
        return " ".join([self.name, self.kind, *(f"{key}={settings[key]}" for key in sorted(settings))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Who answers for a document: owner, reason and ticket, as written in its `meta`."""

    owner: str = ""
    reason: str = ""
    ticket: str = ""


class Shard(NamedTuple):
    """One file of a dataset's data, or a pattern of several; `sha256` is bare hex, empty if not known."""

    url: str
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a promoted version comes from.

    Either an entry of an index, pinned by its CID; or a schema file of the commit and the shards, perhaps
    with the revision of a registry that they belong to (`registry` names the store if there are several).
    """

    index: str = ""
    entry: str = ""
    cid: str = ""
    registry: str = ""
    revision: str = ""
    schema: str = ""
    urls: tuple[Shard, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The wish for one version of a dataset in an account's repository.

    Which records it means follows from the account and the source, so it becomes declarations only when
    the stores are open. Without an origin the version is withdrawn, and `reason` is its tombstone. Its data
    stays where it is unless `copy_to` names a store.
    """

    store: str
    name: str
    version: str
    place: Place
    origin: Origin | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    copy_to: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    license: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a document says of data that becomes public: its licence, and the members of its metadata."""

    license: str = ""
    metadata: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Yank:
    """Why a release was withdrawn, since which day (as written), and the key of what replaces it."""

    reason: str
    place: Place
    at: str = ""
    replaced_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How a store comes back after a loss, as declared; what is not declared is empty or None.

    Attributes:
        store: the store's name.
        backup: the archive's `location`, and how a bucket is reached.
        schedule: when backups are made, in words.
        rto: the seconds within which the store is back.
        rpo: the seconds of work that a loss may cost: how old the newest verified backup may be.
        configuration: files of the repository that a backup keeps as well.
        checks: the checks of a drill that prove readiness; all, if none are named.
        place: where it is declared.
    """

    store: str
    backup: Mapping[str, Any]
    schedule: str
    rto: int | None
    rpo: int | None
    configuration: tuple[str, ...]
    checks: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The state wanted at one commit: stores, and declarations sorted by address.

    `scopes` names each managed (store, kind) together with the number of entries its documents list,
    so that an emptied document is seen; `authoritative` names the stores in which everything is ours;
    `committed` are the sources that are files of the commit, read from it and not from the disk; `yanked`
    are the releases that were withdrawn and must not be promoted again, in any store.
    `promotions` become declarations when the stores that they name are open, and `terms` are then those of
    the entries that they publish.
    """

    commit: str
    commit_time: int
    author: str
    stores: Mapping[str, StoreConfig]
    declarations: tuple[Declaration, ...]
    scopes: Mapping[tuple[str, str], Place] = field(default_factory=dict)
    authoritative: frozenset[str] = frozenset()
    metas: Mapping[str, Meta] = field(default_factory=dict)
    governance: Mapping[str, bytes] = field(default_factory=dict)
    committed: frozenset[str] = frozenset()
    yanked: Mapping[Address, Yank] = field(default_factory=dict)
    recoveries: Mapping[str, Recovery] = field(default_factory=dict)
    promotions: tuple[Promotion, ...] = ()
    terms: Mapping[Address, Terms] = field(default_factory=dict)

    def of_store(self, store: str) -> tuple[Declaration, ...]:
        """The declarations of one store, in address order."""
        return tuple(d for d in self.declarations if d.address.store == store)


class Depth(StrEnum):
    """How much of the immutable content an observation re-read; every report states it."""

    HEADS = "heads"
    MANIFESTS = "manifests"
    DEEP = "deep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a snapshot is asked for: these addresses, or everything that the store holds."""

    addresses: AbstractSet[Address] | None = None
    depth: Depth = Depth.MANIFESTS


class Observed(NamedTuple):
    """One address as it was seen. `problems` is empty unless its content is corrupt."""

    address: Address
    slots: Slots
    problems: tuple[Problem, ...] = ()


class Change(NamedTuple):
    """One slot's value before and after; None means that the slot is absent."""

    address: Address
    slot: str
    before: Value | None
    after: Value | None

    @property
    def actions(self) -> tuple[str, ...]:
        """The field's standard words: create, update or delete."""
        if self.before is None:
            return ("create",)
        return ("delete",) if self.after is None else ("update",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The changes that one store commits together or not at all.

    The `before` values are its precondition. `unit` names the store's write unit (one dataset
    directory, the catalog, an alias). `after` lists the ids of the steps that must have landed first.
    `sources` says, for an address whose bytes the store lacks, where they come from. `base`, where
    given, is the digest that the whole unit must have (a replacement of a file computed from it).
    """

    id: str
    store: str
    unit: str
    changes: tuple[Change, ...]
    after: tuple[str, ...] = ()
    sources: Mapping[Address, str] = field(default_factory=dict)
    base: str | None = None


class Outcome(Enum):
    """What became of a step."""

    APPLIED = "applied"
    CONFLICT = "conflict"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DIVERGED = "diverged"
    NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The outcome of one step, with the store's own revision after it (the receipt), or the problems."""

    step: str
    outcome: Outcome
    receipt: str = ""
    problems: tuple[Problem, ...] = ()


class Severity(StrEnum):
    """A finding that denies stops apply; one that warns is shown."""

    DENY = "deny"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a policy rule says of a plan. `code` is the error that apply gives for it."""

    rule: str
    severity: Severity
    subject: str
    message: str
    place: Place | None = None
    code: str = ""
    fix: str = ""


def merged(slots: Slots, changes: Iterable[Change]) -> Slots:
    """The slots after some changes of the same address."""
    result = dict(slots)
    for change in changes:
        if change.after is None:
            result.pop(change.slot, None)
        else:
            result[change.slot] = change.after
    return result
