"""The packet of a release: the files that prove it, made from its ledger record and nothing else.

Decides what stands in each member and which bytes it has::

    evidence/identity.json            which release of which commit
    evidence/manifest.json            what was published, and every document of the evidence by its hash
    evidence/ledger/intent.json       the record itself: plan, base values, who and why, approvals …
    evidence/ledger/outcome.json      … and what became of each step, with the receipts
    evidence/statements/*.json        SLSA provenance of what was published; the policy's verdict
    provenance.json                   where it comes from and where its parts stand
    signing/approvals/NN.json         the approvals, as they were signed
    signing/checksums.json            the hash of every file above
    packet/packet.json                the index: every member by size and hash, the root, the packet before

and, once it is signed, an envelope in `signing/` for the release and for each of its statements.

`identity.json`, `manifest.json`, `provenance.json`, `checksums.json` and `packet.json` have the names and
members of the serving system's own release evidence (contract 6.1) where those mean something here. What
it lacks is added: hashes in the provenance, one root over everything, and a chain. The hashes point one
way only (record → statements → manifest → provenance → checksums → index), so there is no file that
holds an older hash of its container (contract 8.7 item 60). Signatures are over a statement about the index,
and over each statement in the packet, so that any in-toto tool can use it alone. They stand beside the
members and are none, so a packet can be signed by several people.

Everything is a pure function of the record's two documents and the root of the packet before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from reconciler.canonical import canonical, parse_strict, sha256_digest, sha256_hex
from reconciler.errors import Corrupt, InvalidInput
from reconciler.evidence.claims import provenance_statement, publications, verdict_statement
from reconciler.evidence.statement import RELEASE, Statement, Subject, statement_bytes
from reconciler.ledger import Record, RecordBytes, read_record
from reconciler.model import Digest, digest_problem
from reconciler.shape import Shape

SCHEMA: Final = "reconciler/packet/v1"
MANIFEST_SCHEMA: Final = "reconciler/evidence-manifest/v1"
GENERATED_BY: Final = "reconciler evidence collect"

PACKET: Final = "packet/packet.json"
ENVELOPE: Final = "signing/release.dsse.json"
IDENTITY: Final = "evidence/identity.json"
MANIFEST: Final = "evidence/manifest.json"
INTENT: Final = "evidence/ledger/intent.json"
OUTCOME: Final = "evidence/ledger/outcome.json"
PROVENANCE: Final = "provenance.json"
CHECKSUMS: Final = "signing/checksums.json"
_STATEMENTS: Final = "evidence/statements"
_APPROVALS: Final = "signing/approvals"

_STATEMENT_ENVELOPES: Final = {
    f"{_STATEMENTS}/provenance.json": "signing/provenance.dsse.json",
    f"{_STATEMENTS}/verdict.json": "signing/verdict.dsse.json",
}
ENVELOPES: Final = frozenset({ENVELOPE, *_STATEMENT_ENVELOPES.values()})
"""Where the signatures of a packet stand; none of them is a member."""

STATEMENT_MEMBERS: Final = frozenset(_STATEMENT_ENVELOPES)
"""The members that are signed as they are, besides the index."""

REQUIRED: Final = (MANIFEST, IDENTITY, INTENT, OUTCOME, PROVENANCE, CHECKSUMS)
"""The members that every packet has."""

TOPS: Final = ("evidence", "packet", "provenance.json", "signing")
"""Where a packet's members stand below its directory; anything else there is not part of it."""

_MEMBER: Final = re.compile(rf"{_STATEMENTS}/[a-z]+\.json|{_APPROVALS}/[0-9]{{2}}\.json", re.ASCII)

MEMBER_COUNT_LIMIT: Final = 256
MEMBER_LIMIT: Final = 64 << 20
INDEX_LIMIT: Final = 1 << 20
PACKET_SIZE_LIMIT: Final = 256 << 20


class Item(NamedTuple):
    """One member as the index lists it."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What `packet.json` says: the release, its place in the chain, and every member."""

    store: str
    seq: int
    release_id: str
    intent: str
    outcome: str
    previous: str | None
    items: tuple[Item, ...]
    root: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Packet:
    """All members of a packet by path, the index among them."""

    index: Index
    members: Mapping[str, bytes]


class _Head(Struct, frozen=True):
    seq: int
    previous: str | None
    store: str


_head = Decoder(_Head)


def is_member(path: str) -> bool:
    """Whether a packet may have a file of this name, its signatures included."""
    return path in {*REQUIRED, PACKET, *ENVELOPES} or _MEMBER.fullmatch(path) is not None


def release_name(store: str, seq: int) -> str:
    """How a release is named on the command line: ``serving#7``."""
    return f"{store}#{seq}"


def read_record_bytes(documents: RecordBytes, *, where: str) -> tuple[Record, str]:
    """The closed record in two documents, and the identity of its store.

    Raises:
        Corrupt: E_LEDGER_CHAIN, they are not a record.
    """
    try:
        head = _head.decode(documents.intent)
    except (DecodeError, ValueError) as error:
        raise Corrupt.of("E_LEDGER_CHAIN", "this is not the intent of a ledger record", path=where) from error
    record = read_record(
        seq=head.seq,
        store=head.store.partition(" ")[0],
        previous=head.previous,
        intent=documents.intent,
        outcome=documents.outcome,
        where=where,
    )
    return record, head.store


def packet_of(documents: RecordBytes, *, previous: str | None, shape: Shape, where: str) -> Packet:
    """The packet of one closed record.

    Args:
        documents: the record, as it stands in the ledger.
        previous: the root of the packet before, None for the first record.
        shape: that of the store's kind; says which slots are published content.
        where: how errors name the record.

    Raises:
        Corrupt: E_LEDGER_CHAIN, the documents are not a record.
    """
    record, identity = read_record_bytes(documents, where=where)
    store = identity.partition(" ")[0]
    members = {INTENT: documents.intent, OUTCOME: documents.outcome}
    members |= _statements(record, identity, shape)
    members |= _approvals(record)
    members[IDENTITY] = canonical(_identity(record, store))
    members[MANIFEST] = canonical(_manifest(record, shape, members))
    members[PROVENANCE] = canonical(_provenance(record, store, members))
    members[CHECKSUMS] = canonical(
        {
            "schema_version": 1,
            "generated_by": GENERATED_BY,
            "items": [
                {"path": path, "kind": _kind(path), "sha256": sha256_hex(members[path])}
                for path in sorted(members)
            ],
        }
    )
    members[PACKET] = canonical(_index(record, store, previous, members))
    return Packet(read_index(members[PACKET], where=where), members)


def root_of(packet: bytes, *, where: str) -> str:
    """The root of a packet, from its index alone.

    Raises:
        Corrupt: E_EVIDENCE_PACKET.
    """
    return read_index(packet, where=where).root


def release_statement(index: Index) -> bytes:
    """The statement that is signed for a release: this index, with this root, is the packet of it."""
    return statement_bytes(
        Statement(
            RELEASE,
            (Subject(PACKET, index.digest),),
            {
                "release": release_name(index.store, index.seq),
                "release_id": index.release_id,
                "root": index.root,
                "outcome": index.outcome,
            },
        )
    )


def envelopes_of(index: Index) -> dict[str, str | None]:
    """Where each signature of a packet belongs: envelope → the member that is its payload.

    The payload of the release's own envelope is no member, but `release_statement` of the index.
    """
    listed = {item.path for item in index.items}
    signed = {place: member for member, place in _STATEMENT_ENVELOPES.items() if member in listed}
    return {ENVELOPE: None, **signed}


def _statements(record: Record, identity: str, shape: Shape) -> dict[str, bytes]:
    made = {
        "provenance": provenance_statement(record, identity, release_id(record, identity), shape),
        "verdict": verdict_statement(record, identity),
    }
    return {
        f"{_STATEMENTS}/{name}.json": statement_bytes(statement)
        for name, statement in made.items()
        if statement is not None
    }


def _approvals(record: Record) -> dict[str, bytes]:
    return {
        f"{_APPROVALS}/{number:02d}.json": text.encode("utf-8")
        for number, text in enumerate(record.run.approvals, start=1)
    }


def release_id(record: Record, identity: str) -> str:
    """The reference's release id: the run, and the start of the commit where there is one."""
    store = identity.partition(" ")[0]
    return "-".join(filter(None, (store, str(record.seq), record.run.commit[:12])))


def _identity(record: Record, store: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "release_id": release_id(record, store),
        "git_sha": record.run.commit,
        "governance_version": f"policy@{record.run.policy}" if record.run.policy else "by hand",
    }


def _leaf(path: str, members: Mapping[str, bytes]) -> dict[str, str]:
    return {"path": path, "sha256": sha256_hex(members[path])}


def _manifest(record: Record, shape: Shape, members: Mapping[str, bytes]) -> dict[str, Any]:
    run = record.run
    return {
        "schema": MANIFEST_SCHEMA,
        "schema_version": 1,
        "generated_by": GENERATED_BY,
        "identity_path": IDENTITY,
        "ledger": {"intent": _leaf(INTENT, members), "outcome": _leaf(OUTCOME, members)},
        "statements": [_leaf(path, members) for path in sorted(members) if path.startswith(_STATEMENTS)],
        "signature_artifacts": [
            _leaf(path, members) for path in sorted(members) if path.startswith(_APPROVALS)
        ],
        "dataset_assets": [
            {"address": str(address), "digest": digest} for address, digest in publications(record, shape)
        ],
        "change": {
            "by": run.by,
            "time": run.time,
            "author": run.author,
            "pull_request": run.pull_request,
            "approvers": list(run.approvers),
            "owner": run.owner,
            "reason": run.reason,
            "ticket": run.ticket,
        },
        "heads": dict(record.heads),
    }


def _provenance(record: Record, store: str, members: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "generated_by": GENERATED_BY,
        **{name: value for name, value in _identity(record, store).items() if name != "schema_version"},
        "tool": record.run.tool,
        "intent": record.run.intent,
        "plan": record.run.plan,
        "policy": record.run.policy,
        "evidence_manifest_path": MANIFEST,
        "evidence_manifest_sha256": sha256_hex(members[MANIFEST]),
        "checksum_list_path": CHECKSUMS,
    }


def _kind(path: str) -> str:
    """What a member is, as the list of checksums says it."""
    if path.startswith(_STATEMENTS):
        return "statement"
    if path.startswith(_APPROVALS):
        return "approval"
    return {INTENT: "ledger-intent", OUTCOME: "ledger-outcome"}.get(
        path, path.rpartition("/")[2].removesuffix(".json")
    )


def _index(record: Record, store: str, previous: str | None, members: Mapping[str, bytes]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": 1,
        "generated_by": GENERATED_BY,
        "evidence_root": "evidence",
        "required_minimum": list(REQUIRED),
        "store": store,
        "seq": record.seq,
        "release_id": release_id(record, store),
        "ledger": {"intent": record.intent_sha, "outcome": record.outcome_sha},
        "previous": previous,
        "items": [
            {"path": path, "sha256": sha256_hex(members[path]), "bytes": len(members[path])}
            for path in sorted(members)
        ],
    }
    return {**document, "root": sha256_digest(canonical(document))}


class _ItemMembers(Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    sha256: str
    bytes: int


class _LedgerMembers(Struct, frozen=True, forbid_unknown_fields=True):
    intent: str
    outcome: str


class _IndexMembers(Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    schema_version: int
    generated_by: str
    evidence_root: str
    required_minimum: tuple[str, ...]
    store: str
    seq: int
    release_id: str
    ledger: _LedgerMembers
    previous: str | None
    items: tuple[_ItemMembers, ...]
    root: str


_index_decoder = Decoder(_IndexMembers)


def read_index(data: bytes, *, where: str) -> Index:
    """Decode `packet.json`: canonical bytes, its root over everything in it, its members in order.

    Raises:
        Corrupt: E_EVIDENCE_PACKET.
    """
    try:
        document = parse_strict(data, where=where, limit=INDEX_LIMIT)
        members = _index_decoder.decode(data)
    except (DecodeError, ValueError, InvalidInput) as error:
        raise _broken("it cannot be read as one", where) from error
    if members.schema != SCHEMA or members.schema_version != 1 or canonical(document) != data:
        raise _broken(f"it is not the canonical form of {SCHEMA}", where)
    rest = {name: value for name, value in document.items() if name != "root"}
    if sha256_digest(canonical(rest)) != members.root:
        raise _broken("its root is not over what it lists", where)
    _check_items(members, where)
    return Index(
        store=members.store,
        seq=members.seq,
        release_id=members.release_id,
        intent=members.ledger.intent,
        outcome=members.ledger.outcome,
        previous=members.previous,
        items=tuple(Item(item.path, item.sha256, item.bytes) for item in members.items),
        root=members.root,
        digest=Digest(sha256_digest(data)),
    )


def _check_items(members: _IndexMembers, where: str) -> None:
    paths = [item.path for item in members.items]
    if paths != sorted(set(paths)) or len(paths) > MEMBER_COUNT_LIMIT:
        raise _broken("its members are not sorted, or one is listed twice", where)
    missing = sorted({*REQUIRED} - {*paths})
    if missing or list(members.required_minimum) != list(REQUIRED):
        raise _broken("it lacks a member that every packet has", where, *missing)
    if not ENVELOPES.isdisjoint(paths) or PACKET in paths:
        raise _broken("it lists itself or its signatures", where)
    for item in members.items:
        if digest_problem(f"sha256:{item.sha256}") or not 0 <= item.bytes <= MEMBER_LIMIT:
            raise _broken("a member has no usable hash or size", where, item.path)


def _broken(message: str, where: str, *got: str) -> Corrupt:
    return Corrupt.of(
        "E_EVIDENCE_PACKET",
        f"this is not the index of a packet: {message}",
        path=where,
        got=", ".join(got) or None,
        fix="collect the release again with 'reconciler evidence collect'",
    )


def limits_of(paths: Sequence[tuple[str, int]]) -> str | None:
    """Which limit of a packet some members with their sizes pass, or None."""
    if len(paths) > MEMBER_COUNT_LIMIT:
        return f"a packet has at most {MEMBER_COUNT_LIMIT} members"
    if any(size > MEMBER_LIMIT for _, size in paths):
        return f"a member has at most {MEMBER_LIMIT} bytes"
    if sum(size for _, size in paths) > PACKET_SIZE_LIMIT:
        return f"a packet has at most {PACKET_SIZE_LIMIT} bytes"
    return None
