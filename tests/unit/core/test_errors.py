"""Errors: one form, one exit code per class, nothing that a terminal would obey."""

from __future__ import annotations

import pytest

from reconciler import errors
from reconciler.errors import InvalidInput, Problem, ReconcilerError, escaped, forbidden_character

CLASSES = {
    errors.InvalidInput: 3,
    errors.Denied: 4,
    errors.Stale: 5,
    errors.Conflict: 6,
    errors.OutcomeUnknown: 7,
    errors.Corrupt: 8,
    errors.LimitExceeded: 9,
    errors.Unavailable: 10,
    errors.PartlyApplied: 11,
}


def test_every_error_class_has_its_documented_exit_code() -> None:
    assert {cls: int(cls.exit_code) for cls in ReconcilerError.__subclasses__()} == CLASSES


def test_exit_codes_are_those_of_the_command_line_and_no_others() -> None:
    assert [int(code) for code in errors.Exit] == [*range(12), 130, 143]


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(code="E_X", message="it broke"), "E_X: it broke"),
        (Problem(code="E_X", message="it broke", path="a.yaml"), "E_X a.yaml: it broke"),
        (Problem(code="E_X", message="it broke", path="a.yaml", line=3), "E_X a.yaml:3: it broke"),
        (
            Problem(code="E_X", message="it broke", path="a.yaml", line=3, column=7, got="b", fix="write c"),
            "E_X a.yaml:3:7: it broke; got b; fix: write c",
        ),
        (Problem(code="E_X", message="it broke", line=3), "E_X: it broke"),
        (Problem(code="E_X", message="it broke", got=""), "E_X: it broke; got "),
    ],
)
def test_text_form_of_a_problem(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_error_shows_each_problem_on_its_own_line_and_takes_the_first_code() -> None:
    error = InvalidInput([Problem(code="E_A", message="one"), Problem(code="E_B", message="two")])
    assert (str(error), error.code) == ("E_A: one\nE_B: two", "E_A")


def test_json_form_has_the_stable_keys() -> None:
    problem = Problem(code="E_A", message="one", path="a\nb", line=1, column=2, got="\x1b[31m", fix="f")
    assert problem.to_json() == {
        "code": "E_A",
        "path": "a\\nb",
        "line": 1,
        "column": 2,
        "message": "one",
        "got": "\\x1b[31m",
        "fix": "f",
    }


def test_absent_got_is_null_and_an_empty_one_is_not() -> None:
    assert Problem(code="E", message="m").to_json()["got"] is None
    assert Problem(code="E", message="m", got="").to_json()["got"] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain text", "plain text"),
        ("a\\b", "a\\b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("line\nbreak\r", "line\\nbreak\\r"),
        ("caf\u00e9", "caf\\xe9"),
        ("\u202etxt", "\\u202etxt"),
        ("\udc80", "\\udc80"),
        ("\U0001f600", "\\U0001f600"),
    ],
)
def test_text_of_unknown_origin_is_escaped(value: str, text: str) -> None:
    assert escaped(value) == text


def test_long_text_is_cut_to_the_limit() -> None:
    assert escaped("x" * 100) == "x" * 79 + "…"
    assert len(escaped("\u202e" * 100, limit=20)) == 20


@pytest.mark.parametrize(
    "char", ["\x00", "\x1b", "\r", "\x7f", "\u202e", "\u200b", "\ufeff", "\u2028", "\ud800"]
)
def test_invisible_characters_are_found(char: str) -> None:
    assert forbidden_character(f"text{char}more") == char


@pytest.mark.parametrize("text", ["", "plain", "two\nlines\t", "caf\u00e9", "日本", "\U0001f600"])
def test_visible_text_is_left_alone(text: str) -> None:
    assert forbidden_character(text) is None
