"""Documents of a serving store under Hypothesis: both readers agree, and no bytes give a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import InvalidInput
from reconciler.model import DatasetId
from reconciler.stores.serving.alias import Alias, encode_alias, parse_alias
from reconciler.stores.serving.catalog import (
    EMPTY,
    Catalog,
    Entry,
    Paths,
    encode_catalog,
    entry_of,
    parse_catalog,
    struct_digest,
)
from reconciler.stores.serving.lock_files import Published, encode_lock, parse_lock
from reconciler.stores.serving.manifest import encode_manifest, parse_manifest
from reconciler.stores.serving.shards import parse_shards
from reconciler.stores.serving.signature import merkle_root
from tests.unit.serving.examples import json_bytes, smallest

words = st.text("abz059", min_size=1, max_size=8)
ids = st.builds(
    DatasetId,
    st.text("0123456789", min_size=1, max_size=16),
    st.lists(words, min_size=1, max_size=4).map("_".join),
    st.text("AZaz09._", min_size=1, max_size=16).filter(lambda text: text not in {".", ".."}),
)
text = st.text(min_size=1).filter(lambda value: bool(value.strip()))
entries = st.builds(
    entry_of,
    ids,
    st.none() | st.builds(Paths, text, text),
    st.lists(text, max_size=2),
)
catalogs = st.lists(entries, unique_by=lambda entry: entry.id, max_size=8).map(
    lambda items: EMPTY.edited({item.id: item for item in items})
)


@given(catalogs)
def test_a_written_catalog_reads_back(catalog: Catalog) -> None:
    assert parse_catalog(encode_catalog(catalog)) == catalog


@given(catalogs)
def test_a_catalog_written_by_anybody_reads_the_same(catalog: Catalog) -> None:
    document = json.loads(encode_catalog(catalog))
    assert parse_catalog(json.dumps(document, indent=1, sort_keys=False).encode()) == catalog
    assert parse_catalog(json.dumps(document, ensure_ascii=True).encode()) == catalog


@given(catalogs)
def test_written_bytes_are_what_the_standard_library_calls_sorted_and_compact(catalog: Catalog) -> None:
    data = encode_catalog(catalog)
    again = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert data == again.encode()


@given(catalogs)
def test_the_struct_digest_is_of_the_members_in_declaration_order(catalog: Catalog) -> None:
    rows = []
    for entry in catalog.entries:
        row = {
            "dataset": entry.id._asdict(),
            "manifest_path": entry.manifest_path,
            "sqlite_path": entry.sqlite_path,
        }
        rows.append(row | ({"diff_artifacts": list(entry.diffs)} if entry.diffs else {}))
    document = {"model_version": "v1", "datasets": rows}
    plain = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    assert struct_digest(catalog) == sha256(plain).hexdigest()


@given(catalogs, st.lists(entries, max_size=3), st.lists(ids, max_size=3))
def test_an_edit_changes_what_it_names_and_nothing_else(
    catalog: Catalog, added: list[Entry], removed: list[DatasetId]
) -> None:
    edits: dict[DatasetId, Entry | None] = {entry.id: entry for entry in added}
    edits |= dict.fromkeys([*removed, *(entry.id for entry in catalog.entries[:1])])
    expected = {entry.id: entry for entry in catalog.entries} | edits
    edited = catalog.edited(edits)
    assert {entry.id: entry for entry in edited.entries} == {
        dataset: entry for dataset, entry in expected.items() if entry is not None
    }
    assert parse_catalog(encode_catalog(edited)) == edited


@given(catalogs)
def test_the_order_of_the_catalog_is_the_order_of_addresses(catalog: Catalog) -> None:
    keys = [str(entry.id) for entry in catalog.entries]
    assert keys == sorted(keys)


SEEDS: tuple[tuple[bytes, Callable[[bytes], object]], ...] = (
    (
        encode_catalog(
            EMPTY.with_entry(Entry(DatasetId("110", "homo_sapiens", "GRCh38"), Paths("a", "b"), ("c",)))
        ),
        parse_catalog,
    ),
    (encode_catalog(EMPTY.with_entry(Entry(DatasetId("110", "homo_sapiens", "GRCh38")))), parse_catalog),
    (
        encode_alias(Alias(dataset=DatasetId("110", "a", "b"), catalog_sha256="0" * 64, updated_at="1")),
        parse_alias,
    ),
    (encode_lock(Published("m", "s")), parse_lock),
    (encode_manifest(parse_manifest(json_bytes(smallest()))), parse_manifest),
    (
        json_bytes(
            {
                "dataset": {"release": "1", "species": "a", "assembly": "b"},
                "mode": "contig",
                "shards": [
                    {"shard_id": "a", "seqids": ["1"], "sqlite_path": "a.sqlite", "sqlite_sha256": "0"}
                ],
            }
        ),
        parse_shards,
    ),
)


@given(st.data())
def test_mutated_documents_are_read_or_refused_in_words(data: st.DataObject) -> None:
    seed, read = data.draw(st.sampled_from(SEEDS))
    start = data.draw(st.integers(0, len(seed)))
    end = data.draw(st.integers(start, min(len(seed), start + 8)))
    splice = data.draw(
        st.binary(max_size=6) | st.sampled_from([b'"', b"{", b"]", b"null", b"1e999", b'\\ud800"'])
    )
    mutated = seed[:start] + splice + seed[end:]
    assert all(code.startswith("E_") for code in refusal(read, mutated))


def refusal(read: Callable[[bytes], object], data: bytes) -> list[str]:
    """The codes with which a reader refuses some bytes; none if it reads them."""
    try:
        read(data)
    except InvalidInput as error:
        return [problem.code for problem in error.problems]
    return []


@given(st.lists(st.sampled_from("0123456789abcdef").map(lambda digit: digit * 64), min_size=1, max_size=40))
def test_the_folded_tree_is_the_tree_built_level_by_level(leaves: list[str]) -> None:
    level = list(leaves)
    while len(level) > 1:
        pairs = [(left, right) for left, right in zip(level[::2], [*level[1::2], level[-1]], strict=False)]
        level = [sha256((left + right).encode()).hexdigest() for left, right in pairs]
    assert merkle_root(leaves) == level[0]
