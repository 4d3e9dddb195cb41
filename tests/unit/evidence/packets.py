"""Small releases, keys and packets that the tests of evidence share; every byte of them is fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from reconciler.canonical import sha256_digest, sha256_hex
from reconciler.evidence.envelope import envelope_bytes, sealed
from reconciler.evidence.keys import PublicKey, SigningKey
from reconciler.evidence.packet import (
    PACKET,
    Packet,
    envelopes_of,
    packet_of,
    read_index,
    release_statement,
)
from reconciler.evidence.trust import Trust, TrustedKey
from reconciler.evidence.verification import KEPT, Contents, Expected, Proof, Seen, verify
from reconciler.ledger import RecordBytes, Run, intent_bytes, outcome_bytes
from reconciler.model import Address, Change, Outcome, Step, StepResult
from reconciler.shape import Shape
from reconciler.stores.serving.order import SHAPE

COMMIT = "c" * 40
MANIFEST = "sha256:" + "1" * 64
INTENT = "sha256:" + "2" * 64
POLICY = "sha256:" + "3" * 64
HUMAN = Address("serving", "dataset", "110/homo_sapiens/GRCh38")
IDENTITY = "serving serving root=file:var/serving"
TIME = 1_700_000_000

RUN = Run(
    by="git",
    time=TIME,
    tool="reconciler 0.1.0",
    commit=COMMIT,
    author="Ada <ada@example.org>",
    reason="first release",
    owner="genomics",
    ticket="DATA-42",
    intent=INTENT,
    policy=POLICY,
    command="reconciler apply",
    pull_request="https://git.example.org/data/pull/7",
    findings=(("tombstone", "warn", 2),),
)
PUBLISH = Step(
    id="publish 110/homo_sapiens/GRCh38",
    store="serving",
    unit="dataset",
    changes=(Change(HUMAN, "artifact", None, MANIFEST),),
    sources={HUMAN: "examples/builds/human-110"},
)
PROMOTE = Step(
    id="promote", store="serving", unit="catalog", changes=(Change(HUMAN, "entry", None, "listed"),)
)


def signing_key(number: int) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return SigningKey(PublicKey(private.public_key().public_bytes_raw()), private)


ADA, BOB, EVE = signing_key(1), signing_key(2), signing_key(3)
ADA_ONLY = Trust((TrustedKey(name="ada", key=ADA.public),))
BOTH = Trust((TrustedKey(name="ada", key=ADA.public), TrustedKey(name="bob", key=BOB.public)), threshold=2)


def documents(
    seq: int = 1,
    *,
    previous: str | None = None,
    run: Run = RUN,
    steps: tuple[Step, ...] = (PUBLISH, PROMOTE),
    identity: str = IDENTITY,
) -> RecordBytes:
    """A closed record all of whose steps landed."""
    intent = intent_bytes(seq=seq, previous=previous, identity=identity, run=run, steps=steps)
    results = [StepResult(step=step.id, outcome=Outcome.APPLIED, receipt=MANIFEST) for step in steps]
    outcome = outcome_bytes(
        seq=seq, intent_sha=sha256_digest(intent), results=results, heads={"catalog": MANIFEST}
    )
    return RecordBytes(intent, outcome)


def packet(record: RecordBytes | None = None, *, previous: str | None = None, shape: Shape = SHAPE) -> Packet:
    return packet_of(record or documents(), previous=previous, shape=shape, where="test")


def second_packet() -> Packet:
    """The packet that follows `packet()`."""
    first = documents()
    record = documents(
        2, previous=sha256_digest(first.outcome), run=replace(RUN, reason="second", intent=POLICY)
    )
    return packet(record, previous=packet(first).index.root)


def signed(members: Mapping[str, bytes], *keys: SigningKey) -> dict[str, bytes]:
    """The members of a packet with the signatures of these keys."""
    index = read_index(members[PACKET], where="test")
    payloads = {
        place: release_statement(index) if member is None else members[member]
        for place, member in envelopes_of(index).items()
    }
    envelopes = {
        place: envelope_bytes(sealed(payload, keys or (ADA,))) for place, payload in payloads.items()
    }
    return {**members, **envelopes}


def contents(members: Mapping[str, bytes]) -> Contents:
    """Members as a reader hands them to verification."""
    return Contents(
        "packet",
        {path: Seen(len(data), sha256_hex(data)) for path, data in members.items()},
        {path: data for path, data in members.items() if path in KEPT},
    )


def proved(
    members: Mapping[str, bytes], trust: Trust = ADA_ONLY, *, expected: Expected | None = None
) -> Proof:
    return verify(contents(members), trust, shape_of=lambda _kind: SHAPE, expected=expected or Expected())


def codes(proof: Proof) -> list[str]:
    """The codes of everything that is wrong, each once."""
    return sorted({problem.code for problem in proof.problems})
