"""Integers and truth values of metadata are what their markers say, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from reconciler.desired.typed import typed, typed_problems


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"rows": {"$integer": "1200"}}, {"rows": 1200}),
        ({"a": [{"$integer": "-1"}, {"$integer": "0"}]}, {"a": [-1, 0]}),
        ({"a": {"b": {"$boolean": "false"}}}, {"a": {"b": False}}),
        ({"a": {"$boolean": "true"}}, {"a": True}),
        ({"a": {"$integer": "9007199254740991"}}, {"a": 9007199254740991}),
        ({"a": "3", "b": "true", "c": "0.5"}, {"a": "3", "b": "true", "c": "0.5"}),
        ({}, {}),
    ],
)
def test_marker_is_its_value_and_text_stays_text(written: object, meant: object) -> None:
    assert (typed(written), list(typed_problems(written))) == (meant, [])


@pytest.mark.parametrize(
    "written",
    [
        {"a": {"$integer": "1.0"}},
        {"a": {"$integer": "007"}},
        {"a": {"$integer": "9007199254740992"}},
        {"a": {"$integer": "١"}},
        {"a": {"$integer": {"b": "1"}}},
        {"a": {"$integer": "1", "unit": "rows"}},
        {"a": [{"$boolean": "yes"}]},
        {"a": {"$boolean": ["true"]}},
    ],
)
def test_marker_that_holds_something_else_is_refused(written: object) -> None:
    (problem,) = typed_problems(written)
    assert problem.code == "E_METADATA_TYPE"
