"""Hypothesis strategies for the values of the program: ids, wishes, whole scenes.

Names come from a small pool, so that wishes meet each other and what others put into a store; the edges
of the grammars come from strategies of their own.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from reconciler.model import Address, Change, Declaration
from reconciler.stores.port import Store
from reconciler.testing.harness import Harness, declared, declared_alias, removed, removed_alias

POOL = tuple(
    f"{release}/{line}"
    for release in (9, 110, 111)
    for line in ("homo_sapiens/GRCh38", "mus_musculus/GRCm39", "danio_rerio/GRCz11")
)
"""Dataset ids; as text 9 is greater than 110."""

FOREIGN = tuple(f"{release}/rattus_norvegicus/mRatBN7.2" for release in (108, 109))
"""Dataset ids that only other writers use."""

DIFFS = ((), ("derived/diff.json",), ("derived/b.json", "derived/a.json"))


class Wish(NamedTuple):
    """A wish without a store: listed datasets with their diffs, removed ones, and what latest names."""

    listed: tuple[tuple[str, tuple[str, ...]], ...]
    latest: str | None

    def declarations(
        self, harness: Harness, store: Store, *, before: Wish | None = None
    ) -> list[Declaration]:
        """The declarations of this wish; what `before` had and this one has not gets a tombstone."""
        wishes = [declared(store, key, harness.build(key), diffs) for key, diffs in self.listed]
        kept = {key for key, _ in self.listed}
        gone = [key for key, _ in (before.listed if before else ()) if key not in kept]
        wishes += [removed(store, key) for key in gone]
        wishes.append(declared_alias(store, self.latest) if self.latest else removed_alias(store))
        return sorted(wishes, key=lambda wish: wish.address)


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """A wish in which latest names a listed dataset or nothing."""
    keys = draw(st.lists(st.sampled_from(POOL), unique=True, max_size=5))
    listed = tuple((key, draw(st.sampled_from(DIFFS))) for key in sorted(keys))
    latest = draw(st.none() | st.sampled_from(keys)) if keys else None
    return Wish(listed, latest)


def dataset_ids() -> st.SearchStrategy[str]:
    """Every legal dataset id, up to the limits of its parts."""
    release = st.from_regex(r"[0-9]{1,16}", fullmatch=True, alphabet=st.characters(codec="ascii"))
    species = st.from_regex(r"[a-z0-9]{1,20}(_[a-z0-9]{1,20}){0,2}", fullmatch=True)
    assembly = st.from_regex(r"[A-Za-z0-9._]{1,64}", fullmatch=True).filter(
        lambda text: text not in {".", ".."}
    )
    return st.tuples(release, species, assembly).map("/".join)


def near_dataset_ids() -> st.SearchStrategy[str]:
    """Texts that look like dataset ids but may hold anything."""
    part = st.text(
        alphabet="./\\%~ \n\t\x00aZ09_-\u00b2\u0663\uff11\u0430\u202e", max_size=6
    ) | st.sampled_from(["110", "homo_sapiens", "GRCh38", "..", ".", ""])
    return st.lists(part, max_size=5).map("/".join) | st.text(max_size=20)


def json_values() -> st.SearchStrategy[object]:
    """The JSON that our documents hold: no floats, ASCII member names, integers below 2^53."""
    name = st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
    text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
    whole = st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
    leaf = st.none() | st.booleans() | whole | text
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(name, inner, max_size=4),
        max_leaves=20,
    )


@st.composite
def changes(draw: st.DrawFn) -> list[Change]:
    """Slot changes of one serving-like store, each (address, slot) at most once."""
    values = st.sampled_from(["listed", "sha256:" + "1" * 64, None])
    found = []
    for key in draw(st.lists(st.sampled_from(POOL), unique=True, max_size=4)):
        for slot in draw(st.lists(st.sampled_from(["artifact", "entry", "diffs"]), unique=True)):
            before, after = draw(st.tuples(values, values).filter(lambda pair: pair[0] != pair[1]))
            found.append(Change(Address("m", "dataset", key), slot, before, after))
    if draw(st.booleans()):
        before, after = draw(st.permutations([None, *POOL[:2]]))[:2]
        found.append(Change(Address("m", "alias", "latest"), "dataset", before, after))
    return found
