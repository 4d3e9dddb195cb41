"""Changes become requests: few, small enough, and in an order in which nothing names what is missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Address, Change, Step
from reconciler.stores.atproto.order import MOST_BYTES, MOST_WRITES, SHAPE

Sources = dict[Address, str]


def record(kind: str, key: str, **slots: str) -> list[Change]:
    """A record that appears."""
    address = Address("public", kind, key)
    return [Change(address, slot, None, value) for slot, value in {"content": "sha256:1", **slots}.items()]


def gone(kind: str, key: str) -> list[Change]:
    """A record that goes."""
    return [Change(Address("public", kind, key), "content", "sha256:1", None)]


def dataset(number: int, *, size: int = 500) -> tuple[list[Change], Sources]:
    """An entry and its label, and where they come from."""
    entry, label = f"e{number:05}", f"l{99999 - number:05}"
    changes = record("entry", entry, schema="s") + record("label", label, entry=entry)
    cid = "bafyreihltcnuuyqp2jm24aqydpnlj7b6w3ogwrplomrjtg5rifv44mmjey"
    return changes, {
        Address("public", "entry", entry): f"record:{cid}:{size}",
        Address("public", "label", label): f"record:{cid}:200",
    }


def keys(step: Step) -> list[str]:
    """The records of a step, in order."""
    return list(dict.fromkeys(f"{change.address.kind}/{change.address.key}" for change in step.changes))


def many(count: int, *, size: int = 500) -> tuple[list[Change], Sources]:
    """Many datasets."""
    changes: list[Change] = []
    sources: Sources = {}
    for number in range(count):
        more, where = dataset(number, size=size)
        changes += more
        sources |= where
    return changes, sources


def test_nothing_to_do_is_no_step() -> None:
    assert SHAPE.arrange("public", [], {}) == []


def test_promotion_is_one_step_from_schema_to_label() -> None:
    changes, sources = dataset(1)
    (step,) = SHAPE.arrange("public", [*changes, *record("schema", "s")], sources)
    assert keys(step) == ["schema/s", "entry/e00001", "label/l99998"]
    assert (step.id, step.after, dict(step.sources)) == ("commit 1", (), sources)
    assert step.changes[0].slot == "content"


def test_entry_and_its_label_share_a_request_however_many_there_are() -> None:
    steps = SHAPE.arrange("public", *many(1_000))
    for step in steps:
        entries = {key[-5:] for key in keys(step) if key.startswith("entry/")}
        labels = {f"{99999 - int(key[-5:]):05}" for key in keys(step) if key.startswith("label/")}
        assert entries == labels
    assert [step.after for step in steps] == [(), *((step.id,) for step in steps[:-1])]


def test_request_has_at_most_200_writes() -> None:
    changes = [change for number in range(401) for change in gone("label", f"l{number}")]
    assert [len(keys(step)) for step in SHAPE.arrange("public", changes, {})] == [200, 200, 1]


def test_request_stays_below_what_older_servers_take() -> None:
    steps = SHAPE.arrange("public", *many(10, size=40_000))
    assert [len(keys(step)) for step in steps] == [4, 4, 4, 4, 4]


def test_record_that_is_too_large_for_company_goes_alone() -> None:
    steps = SHAPE.arrange("public", *many(2, size=MOST_BYTES))
    assert [keys(step)[0].partition("/")[0] for step in steps] == ["entry", "label", "entry", "label"]


def test_withdrawal_takes_labels_before_entries_before_schemas_and_comes_last() -> None:
    changes = [*gone("schema", "s"), *gone("entry", "e"), *gone("label", "l"), *dataset(1)[0]]
    (step,) = SHAPE.arrange("public", changes, {})
    assert keys(step) == ["entry/e00001", "label/l99998", "label/l", "entry/e", "schema/s"]


@given(st.permutations(many(12)[0]))
def test_order_of_the_changes_does_not_matter(changes: list[Change]) -> None:
    sources = many(12)[1]
    assert SHAPE.arrange("public", changes, sources) == SHAPE.arrange("public", many(12)[0], sources)


@given(st.lists(st.integers(0, 60), unique=True), st.integers(1, 60_000))
def test_every_change_is_in_exactly_one_step(numbers: list[int], size: int) -> None:
    changes = [change for number in numbers for change in dataset(number, size=size)[0]]
    sources = {k: v for number in numbers for k, v in dataset(number, size=size)[1].items()}
    steps = SHAPE.arrange("public", changes, sources)
    done = [change for step in steps for change in step.changes]
    assert sorted(done, key=repr) == sorted(changes, key=repr)
    assert all(len(keys(step)) <= MOST_WRITES for step in steps)


def test_changes_have_names() -> None:
    kinds = ("schema", "entry", "label")
    assert [SHAPE.verb(kind, "content", None, "a") for kind in kinds] == [
        "publish schema",
        "publish entry",
        "label",
    ]
    assert [SHAPE.verb("entry", "content", "a", after) for after in ("b", None)] == ["update", "withdraw"]
