"""Promises I32 and I33: a packet follows from its record alone, and no packet that was touched verifies."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.canonical import sha256_digest
from reconciler.evidence.packet import INTENT, OUTCOME, Packet, packet_of
from reconciler.ledger import RecordBytes, Run
from reconciler.model import Change, Step
from reconciler.stores.serving.order import SHAPE
from reconciler.testing.strategies import changes
from tests.unit.evidence.packets import ADA, RUN, documents, packet, proved, signed

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Runs with any text in what people write, by git and by hand."""
    return replace(
        RUN,
        by=draw(st.sampled_from(["git", "hand"])),
        author=draw(TEXT),
        reason=draw(TEXT),
        ticket=draw(TEXT),
        pull_request=draw(TEXT),
        approvers=tuple(draw(st.lists(TEXT, max_size=2))),
        findings=tuple(draw(st.lists(st.tuples(TEXT, TEXT, st.integers(0, 9)), max_size=2))),
    )


@st.composite
def chains(draw: st.DrawFn) -> tuple[Packet, Packet]:
    """The packets of two releases, one after the other."""
    first = documents(run=draw(runs()), steps=stepped(draw(changes())))
    one = packet(first)
    second = documents(
        2, previous=sha256_digest(first.outcome), run=draw(runs()), steps=stepped(draw(changes()))
    )
    return one, packet(second, previous=one.index.root)


def stepped(found: list[Change]) -> tuple[Step, ...]:
    return (Step(id="all", store="serving", unit="catalog", changes=tuple(found)),) if found else ()


@given(chains())
def test_a_packet_is_a_function_of_its_record_and_the_root_before(chain: tuple[Packet, Packet]) -> None:
    one, two = chain
    for made, previous in ((one, None), (two, one.index.root)):
        members = dict(made.members)
        record = documents_of(made)
        again = packet_of(record, previous=previous, shape=SHAPE, where="again")
        assert dict(again.members) == members
    assert two.index.previous == one.index.root


def documents_of(made: Packet) -> RecordBytes:
    return RecordBytes(made.members[INTENT], made.members[OUTCOME])


class Touch(NamedTuple):
    """One edit of a packet: flip a bit, take away, add, or swap with the other packet's."""

    kind: str
    place: float
    bit: int


TOUCHES = st.builds(
    Touch,
    st.sampled_from(["flip", "remove", "add", "swap", "truncate", "append"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 7),
)


@given(chains(), st.floats(0, 1, exclude_max=True), TOUCHES)
@settings(max_examples=200)
def test_no_packet_that_was_touched_verifies(
    chain: tuple[Packet, Packet], which: float, touch: Touch
) -> None:
    one, two = signed(chain[0].members, ADA), signed(chain[1].members, ADA)
    assert proved(one).whole
    assert proved(two).whole
    names = sorted(
        chain[0].members
    )  # the envelope's own JSON is not signed; its payload has tests of its own
    name = names[int(which * len(names))]
    data = one[name]
    at = int(touch.place * len(data))
    touched = dict(one)
    match touch.kind:
        case "flip":
            touched[name] = data[:at] + bytes([data[at] ^ (1 << touch.bit)]) + data[at + 1 :]
        case "remove":
            del touched[name]
        case "add":
            touched[f"{name}{touch.bit}"] = data
        case "swap":
            if two.get(name) in {None, data}:
                return
            touched[name] = two[name]
        case "truncate":
            touched[name] = data[:at]
        case _:
            touched[name] = data + b" "
    assert not proved(touched).whole
