"""Canonical JSON: exact bytes, and readers that cannot disagree."""

from __future__ import annotations

import pytest

from reconciler.canonical import canonical, parse_strict, sha256_digest, sha256_hex, struct_order
from reconciler.errors import InvalidInput

EMPTY_SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_members_are_sorted_compact_and_without_a_newline() -> None:
    document = {"b": [1, None, True], "a": {"d": "x", "c": ""}}
    assert canonical(document) == b'{"a":{"c":"","d":"x"},"b":[1,null,true]}'


def test_struct_order_keeps_the_order_of_the_members() -> None:
    assert struct_order({"b": 1, "a": 2}) == b'{"b":1,"a":2}'


def test_text_is_written_as_utf_8_and_controls_as_escapes() -> None:
    assert canonical({"é": "\n\x1f"}) == '{"é":"\\n\\u001f"}'.encode()


def test_digest_and_bare_hash_of_the_same_bytes() -> None:
    assert (sha256_digest(b""), sha256_hex(b"")) == (f"sha256:{EMPTY_SHA}", EMPTY_SHA)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a":1,"a":1}', "E_JSON_DUP"),
        ('{"x":{"a":1,"\\u0061":2}}', "E_JSON_DUP"),
        ("NaN", "E_JSON_NUMBER"),
        ("[-Infinity]", "E_JSON_NUMBER"),
        ("1e400", "E_JSON_NUMBER"),
        ("-1e400", "E_JSON_NUMBER"),
        ("9007199254740993", "E_JSON_NUMBER"),
        ("1" * 5000, "E_JSON_NUMBER"),
        ('"\\ud800"', "E_JSON_TEXT"),
        ('{"\\udfff":1}', "E_JSON_TEXT"),
        ("[" * 65 + "]" * 65, "E_JSON_DEPTH"),
        ("[" * 100_000, "E_JSON_DEPTH"),
        ('{"a":' * 100_000, "E_JSON_DEPTH"),
        ("", "E_JSON_SYNTAX"),
        ("{} {}", "E_JSON_SYNTAX"),
        ('{"a":1,}', "E_JSON_SYNTAX"),
        ("{'a':1}", "E_JSON_SYNTAX"),
        ("01", "E_JSON_SYNTAX"),
        ('"\n"', "E_JSON_SYNTAX"),
        ("\ufeff{}", "E_JSON_SYNTAX"),
    ],
)
def test_documents_that_readers_disagree_on_are_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_strict(text.encode(), where="plan.json")
    assert (refused.value.code, refused.value.problems[0].path) == (code, "plan.json")


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_strict(b'"\xff"')
    assert refused.value.code == "E_ENCODING"


def test_document_beyond_its_size_limit_is_refused_unread() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_strict(b"[[[[", limit=3)
    assert refused.value.code == "E_JSON_SIZE"


def test_syntax_error_names_line_and_column() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_strict(b'{\n "a": }', where="x.json")
    assert str(refused.value) == "E_JSON_SYNTAX x.json:2:7: not JSON: Expecting value"


def test_nesting_at_the_limit_is_read() -> None:
    assert parse_strict(b"[" * 64 + b"]" * 64)


def test_brackets_inside_texts_are_not_nesting() -> None:
    text = "[{" * 1000 + '\\"'
    assert parse_strict(f'["{text}"]'.encode()) == [text.replace('\\"', '"')]


def test_open_text_full_of_escaped_quotes_is_refused_in_one_pass() -> None:
    # A second look at every quote would take hours.
    with pytest.raises(InvalidInput) as refused:
        parse_strict(b"[" + b"[]," * 65 + b'"' + b'\\"' * 1_000_000)
    assert refused.value.code == "E_JSON_SYNTAX"


@pytest.mark.parametrize("number", [2**53, -(2**53), 0])
def test_integers_up_to_the_limit_are_read(number: int) -> None:
    assert parse_strict(str(number).encode()) == number


def test_surrogate_pair_is_one_character() -> None:
    assert parse_strict(b'"\\ud83d\\ude00"') == "\U0001f600"
