"""Differences of fields, in words."""

from __future__ import annotations

from reconciler.fields import field_differences


def test_each_differing_field_is_named_with_both_values() -> None:
    before = {"actions": ["update"], "before": {"dataset": "a"}, "after": None}
    after = {"actions": ["update"], "before": {"dataset": "b"}, "after": {"dataset": "c"}}
    assert field_differences(before, after) == (
        "after: nothing became {'dataset': 'c'}",
        'before.dataset: "a" became "b"',
    )


def test_equal_values_have_no_differences() -> None:
    assert field_differences({"a": [1, "2"]}, {"a": [1, "2"]}) == ()


def test_keys_that_all_changed_are_still_named_one_by_one() -> None:
    assert field_differences({"a": "1", "b": "2"}, {"c": "3"}) == (
        'a: "1" became nothing',
        'b: "2" became nothing',
        'c: nothing became "3"',
    )


def test_many_differences_are_counted() -> None:
    found = field_differences({str(n): "x" for n in range(20)}, {str(n): "y" for n in range(20)})
    assert len(found) == 9
    assert found[-1] == "12 more fields"


def test_hostile_values_are_escaped() -> None:
    assert field_differences({"a": "x"}, {"a": "\x1b[31m\u202e"}) == ('a: "x" became "\\x1b[31m\\u202e"',)
