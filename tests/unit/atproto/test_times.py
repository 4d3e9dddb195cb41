"""The label that a reader gets who asks for no version is the one that was created last, as text."""

from __future__ import annotations

import pytest

from reconciler.model import Address, Change, Step
from reconciler.stores.atproto.repository import Head, Key, Reading, Stored
from reconciler.stores.atproto.times import times_of

RUN = 1_767_323_045  # 2026-01-02T03:04:05Z


def made(*versions: str) -> list[Step]:
    """One step for each version of d1, which makes its label."""
    return [
        Step(
            id=f"commit {number}",
            store="public",
            unit="repository",
            changes=tuple(
                Change(Address("public", "label", version), slot, None, value)
                for slot, value in (("content", "sha256:1"), ("name", "d1"), ("version", version))
            ),
        )
        for number, version in enumerate(versions)
    ]


def standing(created: str, key: str = "theirs", name: str = "d1") -> Reading:
    """What stands: one label."""
    stored = Stored("bafy", {"createdAt": created}, {"name": name})
    return Reading(Head("", ""), {Key("label", key): stored})


def time_of(version: str, steps: list[Step], reading: Reading) -> str:
    """When the label of a version says that it was created."""
    times = times_of(RUN, steps)
    return times.created(Key("label", version), {"name": "d1"}, times.newest(reading, ["d1"]))


def test_versions_of_one_run_follow_each_other_whatever_step_makes_them() -> None:
    versions = ["2.0.0", "1.10.0", "3.0.0-rc.1", "latest", "1.9.0"]
    steps, nothing = made(*versions), Reading(Head("", ""), {})
    assert sorted(versions, key=lambda version: time_of(version, steps, nothing)) == [
        "latest",
        "3.0.0-rc.1",
        "1.9.0",
        "1.10.0",
        "2.0.0",
    ]
    assert time_of("latest", steps, nothing) == "2026-01-02T03:04:05.000Z"


@pytest.mark.parametrize(
    ("created", "ours"),
    [
        ("2020-01-02T03:04:05.678901+00:00", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.678901+00:00", "2026-01-02T03:04:05.679Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:06.000Z"),
        ("2026-01-02T04:04:05.999+01:00", "2026-01-02T03:04:06.000Z"),
        ("2030-01-01T00:00:00.000Z", "2026-01-02T03:04:05.000Z"),
        ("9999-12-31T23:59:59.999-23:00", "2026-01-02T03:04:05.000Z"),
        ("yesterday", "2026-01-02T03:04:05.000Z"),
        ("", "2026-01-02T03:04:05.000Z"),
    ],
)
def test_label_comes_after_the_newest_of_its_name_but_not_into_the_future(created: str, ours: str) -> None:
    assert time_of("1.0.0", made("1.0.0"), standing(created)) == ours


def test_labels_of_other_names_and_of_the_same_run_move_nothing() -> None:
    late, steps = "2026-01-02T03:04:05.500Z", made("1.0.0", "2.0.0")
    assert time_of("1.0.0", steps, standing(late, name="d2")) == "2026-01-02T03:04:05.000Z"
    assert time_of("2.0.0", steps, standing(late, key="1.0.0")) == "2026-01-02T03:04:05.001Z"


def test_entries_and_schemas_have_the_time_of_the_run() -> None:
    times = times_of(RUN, made("1.0.0"))
    newest = times.newest(standing("2026-01-02T03:04:05.500Z"), ["d1"])
    assert times.created(Key("entry", "e"), {"name": "d1"}, newest) == "2026-01-02T03:04:05.000Z"
