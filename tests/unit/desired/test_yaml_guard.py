from __future__ import annotations

import pytest

from reconciler.desired.yaml_guard import MAX_EVENTS, MAX_KEY, MAX_SCALAR, MAX_SIZE, parse
from reconciler.errors import InvalidInput


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse(data, "x.yaml")
    return str(caught.value)


def code(data: bytes) -> str:
    return refusal(data).split(" ", 1)[0].rstrip(":")


def test_a_file_one_byte_over_the_limit_is_refused_and_one_at_the_limit_is_read() -> None:
    line = b"# " + b"x" * 1021 + b"\n"
    whole = line * 1023 + b"a: 1\n"
    full = whole + b"#" * (MAX_SIZE - len(whole))

    assert parse(full, "x.yaml").root == {"a": "1"}
    assert refusal(full + b"#").startswith("E_YAML_SIZE x.yaml: the file is larger than 1 MiB")


def test_a_hundred_thousand_brackets_are_refused_at_the_thirty_third() -> None:
    assert refusal(b"[" * 100_000).startswith("E_YAML_DEPTH x.yaml:1:33: nesting is deeper than 32")
    assert code(b"a: " + b"{a: " * 100_000) == "E_YAML_DEPTH"
    assert code(b"".join(b" " * n + b"a:\n" for n in range(100))) == "E_YAML_DEPTH"


def test_the_deepest_allowed_nesting_is_read() -> None:
    document = parse(b"a: " + b"[" * 31 + b"]" * 31, "x.yaml")
    depth, node = 1, document.root["a"]
    while node:
        depth, node = depth + 1, node[0]

    assert depth + 1 == 32
    assert code(b"a: " + b"[" * 32 + b"]" * 32) == "E_YAML_DEPTH"


def test_a_merge_key_bomb_is_refused_before_anything_is_built() -> None:
    bomb = "a0: &a0 {k: v}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
    )

    assert refusal(bomb.encode()).startswith("E_YAML_ALIAS x.yaml:1:5")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: &x 1\n", "E_YAML_ALIAS x.yaml:1:4"),
        (b"a: *x\n", "E_YAML_ALIAS x.yaml:1:4"),
        (b"&x a: 1\n", "E_YAML_ALIAS x.yaml:1:1"),
        (b"&x\na: 1\n", "E_YAML_ALIAS x.yaml:1:1"),
        (b"*x\n", "E_YAML_ALIAS x.yaml:1:1"),
        (b"a: &x [1]\n", "E_YAML_ALIAS x.yaml:1:4"),
        (b"<<: {a: 1}\n", "E_YAML_MERGE x.yaml:1:1"),
        (b"a: !!binary aGk=\n", "E_YAML_TAG x.yaml:1:4"),
        (b"a: !!python/object/apply:os.system [x]\n", "E_YAML_TAG x.yaml:1:4"),
        (b"a: ! x\n", "E_YAML_TAG x.yaml:1:4"),
        (b"!!map {a: 1}\n", "E_YAML_TAG x.yaml:1:1"),
        (b"!!str a: 1\n", "E_YAML_TAG x.yaml:1:1"),
        (b"%YAML 1.1\n---\na: 1\n", "E_YAML_DIRECTIVE x.yaml:1:1"),
        (b"%TAG ! tag:x,2000:\n---\na: 1\n", "E_YAML_DIRECTIVE x.yaml:1:1"),
        (b"a: 1\n---\nb: 2\n", "E_YAML_MULTI_DOC x.yaml:2:1"),
        (b"- a\n", "E_YAML_ROOT x.yaml:1:1"),
        (b"text\n", "E_YAML_ROOT x.yaml:1:1"),
        (b"", "E_YAML_ROOT x.yaml:"),
        (b"# only a comment\n", "E_YAML_ROOT x.yaml:"),
        (b"? [a]\n: b\n", "E_YAML_KEY x.yaml:1:3"),
        (b"a" * (MAX_KEY + 1) + b": 1\n", "E_YAML_KEY x.yaml:1:1"),
        (b"a: [\n", "E_YAML_SYNTAX x.yaml:2:1"),
        (b"a: b: c\n", "E_YAML_SYNTAX x.yaml:1:5"),
        (b'a: "\\ud800"\n', "E_YAML_SYNTAX x.yaml:1:7"),
        (b"a: " + b"x" * (MAX_SCALAR + 1), "E_YAML_SCALAR x.yaml:1:4"),
        (b"a: " + "é".encode() * (MAX_SCALAR // 2 + 1), "E_YAML_SCALAR x.yaml:1:4"),
        (b"a: [" + b"1, " * MAX_EVENTS + b"]", "E_YAML_EVENTS x.yaml:1:"),
        (b"a: \xff\n", "E_ENCODING x.yaml:1:4"),
        (b"\xef\xbb\xbfa: 1\n", "E_ENCODING x.yaml:1:1"),
        ("a: 1\n".encode("utf-16"), "E_ENCODING x.yaml:1:1"),
        (b'a: "x\\0y"\n', "E_TEXT_CONTROL x.yaml:1:4: U+0000"),
        (b'a: "x\\u202ey"\n', "E_TEXT_CONTROL x.yaml:1:4: U+202E"),
        (b'"a\\u200b": y\n', "E_TEXT_CONTROL x.yaml:1:1: U+200B"),
        ("a: 1\nb: x\u202ey\n".encode(), "E_TEXT_CONTROL x.yaml:2:5: U+202E"),
        ("a: 1 # x\u200by\n".encode(), "E_TEXT_CONTROL x.yaml:1:9: U+200B"),
        (b"a: x\x07y\n", "E_TEXT_CONTROL x.yaml:1:5: U+0007"),
        (b"a: 1\rb: 2\n", "E_TEXT_CONTROL x.yaml:1:5: U+000D"),
    ],
)
def test_what_is_not_plain_data_is_refused_at_its_place(data: bytes, expected: str) -> None:
    assert refusal(data).startswith(expected)


def test_a_duplicate_key_names_both_places() -> None:
    assert refusal(b"a: 1\na: 2\n") == (
        "E_YAML_DUP_KEY x.yaml:2:1: a key is given twice, first at 1:1, again at 2:1; got a"
    )
    assert code(b"x: {b: 1, c: 2, b: 3}\n") == "E_YAML_DUP_KEY"


@pytest.mark.parametrize("twin", ["name: 2", "NAME: 2", "\uff2eame: 2", "'nam\uff45': 2"])
def test_keys_that_look_the_same_collide(twin: str) -> None:
    assert code(f"Name: 1\n{twin}\n".encode()) == "E_YAML_KEY_COLLISION"
    assert code(f"{twin}\nName: 1\n".encode()) == "E_YAML_KEY_COLLISION"


def test_keys_collide_however_many_stand_between_them() -> None:
    many = "".join(f"Key{n}: x\n" for n in range(20_000))

    assert len(parse(many.encode(), "x.yaml").root) == 20_000
    assert refusal(f"{many}key7: x\n".encode()).startswith("E_YAML_KEY_COLLISION x.yaml:20001:1: ")
    assert refusal(f"key7: x\n{many}".encode()).startswith("E_YAML_KEY_COLLISION x.yaml:9:1: ")


@pytest.mark.parametrize(
    "text",
    [
        "1.10",
        "no",
        "NO",
        "off",
        "1:30",
        "2024-01-01",
        "012",
        "1e3",
        "0x1f",
        "true",
        "5" * 5000,
        "1" * 64,
        "=",
        ".inf",
    ],
)
def test_a_scalar_stays_the_text_it_is(text: str) -> None:
    assert parse(f"a: {text}\nb: [{text}]\n".encode(), "x.yaml").root == {"a": text, "b": [text]}


def test_a_key_that_looks_like_a_number_stays_text() -> None:
    assert parse(b"1.10: a\n1.1: b\nno: c\n", "x.yaml").root == {"1.10": "a", "1.1": "b", "no": "c"}


@pytest.mark.parametrize("nothing", ["", "~", "null", "Null", "NULL"])
def test_a_plain_null_is_no_value_and_a_quoted_one_is_text(nothing: str) -> None:
    assert parse(f"a: {nothing}\nb: '{nothing}'\n".encode(), "x.yaml").root == {"a": None, "b": nothing}


def test_line_endings_and_a_missing_final_newline_change_nothing() -> None:
    plain = parse(b"a: 1\nb:\n  - x\n", "x.yaml")
    windows = parse(b"a: 1\r\nb:\r\n  - x", "x.yaml")

    assert plain.root == windows.root == {"a": "1", "b": ["x"]}
    assert plain.place(("b", 0)) == windows.place(("b", 0)) == (3, 5)


def test_places_count_from_one_and_characters_not_bytes() -> None:
    document = parse("é: {b: 1, c: [x, {d: 2}]}\n".encode(), "x.yaml")

    assert document.place(("é",), key=True) == (1, 1)
    assert document.place(("é",)) == (1, 4)
    assert document.place(("é", "c", 1, "d")) == (1, 22)
    assert document.key_places(document.root["é"]) == [(1, 5), (1, 11)]
    assert document.item_places(document.root["é"]["c"]) == [(1, 15), (1, 18)]


def test_a_list_of_a_thousand_entries_is_within_the_limits() -> None:
    data = b"datasets:\n" + b"".join(b"  - {id: %d, manifest: x, source: y}\n" % n for n in range(1000))

    assert len(parse(data, "x.yaml").root["datasets"]) == 1000
