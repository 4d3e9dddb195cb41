"""The keys of records are valid, follow from names alone and meet nobody else's."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from reconciler.stores.atproto.keys import (
    COLLECTIONS,
    ENTRY,
    KEY,
    LABEL,
    content_digest,
    record_key,
    record_source,
    record_uri,
    source_parts,
)

TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")


def test_keys_are_fixed_for_ever() -> None:
    found = {kind: record_key(nsid, "experiment-2024-001", "1.0.0") for kind, nsid in COLLECTIONS.items()}
    assert found == {"schema": "4wdt4iwvqn6aq", "entry": "4wdt4iwvqn6dn", "label": "4wdt4iwvqn6aw"}


@given(st.sampled_from(sorted(COLLECTIONS.values())), st.text(max_size=200), st.text(max_size=50))
def test_every_key_is_a_tid(collection: str, name: str, version: str) -> None:
    key = record_key(collection, name, version)
    assert TID.fullmatch(key)
    assert KEY.fullmatch(key)


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_names_and_versions_do_not_run_into_each_other(a: str, b: str, c: str, d: str) -> None:
    if "\0" in a + b + c + d or (a, b) == (c, d):
        return
    assert record_key(COLLECTIONS[ENTRY], a, b) != record_key(COLLECTIONS[ENTRY], c, d)


def test_entries_and_their_labels_stand_in_one_order() -> None:
    names = [f"dataset-{number}" for number in range(200)]
    by_entry = sorted(names, key=lambda name: record_key(COLLECTIONS[ENTRY], name, "1.0.0"))
    by_label = sorted(names, key=lambda name: record_key(COLLECTIONS[LABEL], name, "1.0.0"))
    assert by_entry == by_label


def test_source_names_a_record_and_its_size() -> None:
    content = bytes.fromhex("a1616101")
    source = record_source(content)
    assert source == "record:bafyreihltcnuuyqp2jm24aqydpnlj7b6w3ogwrplomrjtg5rifv44mmjey:4"
    assert source_parts(source) == ("bafyreihltcnuuyqp2jm24aqydpnlj7b6w3ogwrplomrjtg5rifv44mmjey", 4)
    assert (
        content_digest(content) == "sha256:eb989b4a620fd259ae02181bdab4fc3eb6dc6b45eb7322999bb1416bce318926"
    )


def test_source_of_another_kind_names_no_record() -> None:
    for text in ("", "builds/111.tar", "record:", "record:bafy", "record:x:1"):
        assert source_parts(text) is None


def test_record_refers_to_another_by_account_collection_and_key() -> None:
    assert (
        record_uri("did:plc:a", ENTRY, "4wdt4iwvqn6dn")
        == "at://did:plc:a/science.alt.dataset.entry/4wdt4iwvqn6dn"
    )
