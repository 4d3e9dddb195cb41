"""What the documents read so far add up to.

Documents are added one by one, in the order of their paths; what can only be said of all of them together
(a store that no document declares, an alias to a dataset that none lists) is checked at the end. Nothing
is raised on the way, so that one run reports everything that is wrong. While a document could not be read,
nothing is called missing: it may stand in there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reconciler.desired.yaml_guard import Document
from reconciler.errors import Problem
from reconciler.governance import Exemption, Guards
from reconciler.model import Address, Declaration, Meta, Place, Promotion, Recovery, StoreConfig, Yank
from reconciler.reference import Version


class Use(NamedTuple):
    """A document that names a store, the kind that the store must be of, and where it says so."""

    store: str
    kind: str
    place: Place


class Pin(NamedTuple):
    """One wish of a document for one tag or link; `tag` is empty for a link without a tag.

    A manifest is named by its `digest`, or by the path of its `file` from the repository's root; by neither
    where a version is only withdrawn. `version` is what a version tag says.
    """

    store: str
    dataset: str
    tag: str
    place: Place
    digest: str | None = None
    file: str | None = None
    version: Version | None = None
    yanked: bool = False
    protected: bool | None = None


class Pinned(NamedTuple):
    """What `Pins` documents name: datasets by id, and digests."""

    datasets: set[str]
    digests: set[str]


class Assertion(NamedTuple):
    """A `latest:` line: the version that latest must be, or none."""

    store: str
    dataset: str
    version: str
    place: Place


@dataclass(slots=True)
class Draft:
    """The desired state in the making. Mutable; `reconciler.desired.loader` freezes it.

    `unread` counts the files that could not become part of it. `pins` and `assertions` are what `Dataset`
    documents want; they become declarations when the manifest files are read. `promotions` are the versions
    of `Promotion` documents by store, name and version, `schema_files` the files that they name. `committed`
    are the sources that are files of this very commit. `policies` are the `Policy` documents, of which there
    may be one, and `rules_named` the places where they and the exceptions name a rule.
    """

    stores: dict[str, StoreConfig] = field(default_factory=dict)
    authoritative: set[str] = field(default_factory=set)
    declarations: dict[Address, Declaration] = field(default_factory=dict)
    scopes: dict[tuple[str, str], Place] = field(default_factory=dict)
    metas: dict[str, Meta] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    gone: list[tuple[str, Place]] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    assertions: list[Assertion] = field(default_factory=list)
    explicit_links: dict[Address, Place] = field(default_factory=dict)
    promotions: dict[tuple[str, str, str], Promotion] = field(default_factory=dict)
    schema_files: dict[str, Place] = field(default_factory=dict)
    committed: set[str] = field(default_factory=set)
    yanked: dict[Address, Yank] = field(default_factory=dict)
    policies: list[Guards] = field(default_factory=list)
    exemptions: list[Exemption] = field(default_factory=list)
    rules_named: list[tuple[str, Place]] = field(default_factory=list)
    pinned: Pinned = field(default_factory=lambda: Pinned(set(), set()))
    guarding: dict[str, str] = field(default_factory=dict)
    recoveries: dict[str, Recovery] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: int = 0

    def refuse(self, code: str, message: str, place: Place, *, got: str | None = None, fix: str = "") -> None:
        """Note a problem at a place."""
        self.problems.append(
            Problem(
                code=code,
                message=message,
                path=place.path,
                line=place.line,
                column=place.column,
                got=got,
                fix=fix,
            )
        )

    def note(self, problem: Problem | None, document: Document, steps: Sequence[str | int]) -> None:
        """Note a problem of a value, if there is one, where the value stands."""
        if problem:
            place = Place(document.path, *document.place(steps))
            self.refuse(problem.code, problem.message, place, got=problem.got, fix=problem.fix)

    def declare(self, declaration: Declaration) -> None:
        """Add the wish for one address; a second one for the same address is a problem that names both."""
        first = self.declarations.setdefault(declaration.address, declaration)
        if first is not declaration:
            self.refuse(
                "E_DUPLICATE",
                f"{declaration.address} is declared twice, first at {first.place}:{first.place.column}",
                declaration.place,
                got=declaration.address.key,
                fix="keep one of them",
            )

    def describe(self, where: str, meta: dict[str, Any] | None) -> None:
        """Note who answers for a document or an entry."""
        if meta:
            self.metas[where] = Meta(**meta)

    def withdraw(self, address: Address, entry: dict[str, Any], place: Place) -> None:
        """Note that a release was withdrawn."""
        self.yanked[address] = Yank(
            reason=entry["reason"],
            place=place,
            at=entry.get("at", ""),
            replaced_by=entry.get("replacedBy", ""),
        )


def truth(written: object) -> bool | None:
    """What `true` or `false` says, in YAML's text or an editor's value; None where nothing is written."""
    return None if written is None else written in (True, "true")
