"""Names of the registry: what is accepted, what is refused and with which code, and the order of versions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import InvalidInput
from reconciler.reference import (
    DatasetName,
    Reference,
    Revision,
    RevisionKind,
    parse_hash,
    parse_version,
)

HASH = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"


def refused(text: str, *, by: type[DatasetName | Reference | Revision]) -> str:
    """The code with which a text is refused."""
    with pytest.raises(InvalidInput) as caught:
        by.parse(text)
    return caught.value.code


@pytest.mark.parametrize(
    "namespace", ["my_namespace", "my_namespace_123", "__my_namespace_123", "0xabc123", "_"]
)
def test_namespaces_that_are_accepted(namespace: str) -> None:
    assert DatasetName.of(namespace, "a") == (namespace, "a")


@pytest.mark.parametrize(
    "name", ["my_dataset", "my_dataset_123", "__my_dataset_123", "_", "latest", "a" * 128]
)
def test_names_that_are_accepted(name: str) -> None:
    assert DatasetName.of("_", name) == ("_", name)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("my-namespace/a", "E_ID_CHARS"),
        ("my namespace/a", "E_ID_CHARS"),
        ("MyNamespace/a", "E_ID_CHARS"),
        ("data²/a", "E_ID_CHARS"),
        ("a/123dataset", "E_ID_CHARS"),
        ("a/0_my_dataset", "E_ID_CHARS"),
        ("a/data٣", "E_ID_CHARS"),
        ("a/dataⅧ", "E_ID_CHARS"),
        ("a/my-dataset", "E_ID_CHARS"),
        ("a/name\n", "E_ID_CHARS"),
        ("my/namespace/dataset", "E_ID_CHARS"),
        ("/my_dataset", "E_ID_PATH"),
        ("my_namespace/", "E_ID_PATH"),
        ("my_namespace_my_dataset", "E_ID_PATH"),
        ("a/" + "a" * 129, "E_ID_LENGTH"),
    ],
)
def test_datasets_that_are_refused(text: str, code: str) -> None:
    assert refused(text, by=DatasetName) == code


def test_the_first_wrong_character_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"the name holds a character that it may not: '@'"):
        DatasetName.of("_", "my@data#set")
    with pytest.raises(InvalidInput, match=r"the name holds a character that it may not: '1'"):
        DatasetName.of("_", "123")


@pytest.mark.parametrize(
    ("text", "kind", "read"),
    [
        ("latest", RevisionKind.LATEST, "latest"),
        ("dev", RevisionKind.DEV, "dev"),
        ("1.0.0", RevisionKind.VERSION, "1.0.0"),
        ("0.4.10-rc.1+20230502", RevisionKind.VERSION, "0.4.10-rc.1+20230502"),
        (HASH, RevisionKind.HASH, HASH),
        (HASH.upper(), RevisionKind.HASH, HASH),
        ("sha256:" + HASH, RevisionKind.HASH, HASH),
        ("1" * 64, RevisionKind.HASH, "1" * 64),
    ],
)
def test_revisions_that_are_accepted(text: str, kind: RevisionKind, read: str) -> None:
    assert Revision.parse(text) == (kind, read)


@pytest.mark.parametrize(
    "text", ["not-a-valid-revision", "Latest", "DEV", "", "v1.0.0", "1.0", HASH[:63], "1.0.0\n"]
)
def test_revisions_that_are_refused(text: str) -> None:
    assert refused(text, by=Revision) == "E_REVISION"


@pytest.mark.parametrize(
    "text",
    ["my_namespace/my_dataset@1.0.0", "a/b@latest", "a/b@dev", f"a/b@{HASH}", "a/b@0.4.10-rc.1+20230502"],
)
def test_references_that_are_accepted(text: str) -> None:
    assert str(Reference.parse(text)) == text
    assert str(Reference.parse("pkg:amp/" + text)) == text
    assert str(Reference.parse_partial(text)) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("my_namespace/my_dataset", "E_REFERENCE"),
        ("my_namespace_my_dataset@1.0.0", "E_REFERENCE"),
        ("pkg:npm/%40angular/animation@12.3.1", "E_REFERENCE"),
        ("Invalid-Namespace/my_dataset@1.0.0", "E_ID_CHARS"),
        ("my_namespace/Invalid-Name@1.0.0", "E_ID_CHARS"),
        ("my_namespace/my_dataset@not-a-revision", "E_REVISION"),
        ("a/b@1.0.0@dev", "E_REVISION"),
        ("a/b@99999999999999999999.0.0", "E_SEMVER_RANGE"),
    ],
)
def test_references_that_are_refused(text: str, code: str) -> None:
    assert refused(text, by=Reference) == code


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("_/eth_rpc@1.0.0", "_/eth_rpc@1.0.0"),
        ("_/eth_rpc", "_/eth_rpc@latest"),
        ("eth_rpc@1.0.0", "_/eth_rpc@1.0.0"),
        ("eth_rpc", "_/eth_rpc@latest"),
        ("pkg:amp/a/b@dev", "a/b@dev"),
    ],
)
def test_what_a_partial_reference_leaves_out_has_a_default(text: str, full: str) -> None:
    assert str(Reference.parse_partial(text)) == full


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not a valid hash", "E_HASH_LENGTH"),
        (HASH[:-1] + "g", "E_HASH_CHARS"),
        ("sha1:" + HASH, "E_HASH_LENGTH"),
    ],
)
def test_hashes_that_are_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_hash(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("v1.0.0", "E_SEMVER"),
        ("1.0", "E_SEMVER"),
        ("01.0.0", "E_SEMVER"),
        ("1.0.0-01", "E_SEMVER"),
        ("1.0.0 ", "E_SEMVER"),
        ("1.0.0\n", "E_SEMVER"),
        ("１.0.0", "E_SEMVER"),
        ("٣.1.2", "E_SEMVER"),
        ("1.0.0-a..b", "E_SEMVER"),
        ("1.0.0+", "E_SEMVER"),
        ("99999999999999999999.0.0", "E_SEMVER_RANGE"),
        ("0.0.18446744073709551616", "E_SEMVER_RANGE"),
        ("1.0.0-" + "a" * 123, "E_ID_LENGTH"),
    ],
)
def test_versions_that_are_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_version(text)
    assert caught.value.code == code


ORDER = [
    "0.0.0-0",
    "0.0.0",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-99999999999999999999999999",
    "1.0.0--",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.1.0",
    "1.0.0-alpha.beta",
    "1.0.0-alpha-",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.9.0",
    "1.10.0",
    "2.0.0",
    "10.0.0",
    "18446744073709551615.0.0",
]


def test_versions_are_ordered_by_precedence() -> None:
    keys = [parse_version(text).precedence for text in ORDER]
    assert all(low < high for low, high in itertools.combinations(keys, 2))


def test_build_metadata_does_not_order_versions_and_does_not_make_them_equal() -> None:
    plain, built = parse_version("1.0.0-rc.1"), parse_version("1.0.0-rc.1+b")
    assert (plain.precedence == built.precedence, plain == built) == (True, False)


IDENTIFIERS = st.from_regex(r"\A(?:0|[1-9][0-9]{0,25}|[0-9]{0,3}[a-zA-Z-][0-9a-zA-Z-]{0,4})\Z")
VERSIONS = st.builds(
    lambda core, pre: ".".join(map(str, core)) + ("-" + ".".join(pre) if pre else ""),
    st.tuples(*[st.integers(0, 12) | st.integers(0, 2**64 - 1)] * 3),
    st.lists(IDENTIFIERS, max_size=3),
)


@given(VERSIONS, VERSIONS)
def test_the_order_is_the_one_of_the_semver_library(left: str, right: str) -> None:
    import semver  # noqa: PLC0415

    one, other = parse_version(left).precedence, parse_version(right).precedence
    assert (one > other) - (one < other) == semver.Version.parse(left).compare(right)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_a_code(text: str) -> None:
    try:
        reference = Reference.parse_partial(text)
    except InvalidInput:
        return
    assert Reference.parse(str(reference)) == reference
    assert str(reference).isascii()
