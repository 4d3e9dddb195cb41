"""What a reviewer is shown of promotions: names, not keys alone."""

from __future__ import annotations

from tests.integration.federation.conftest import World

NAMES = {"d1", "d1@1.0.0", "Sample@1.0.0"}


def lines(text: str) -> list[list[str]]:
    """Sign, verb and name of every change of a plan."""
    words = [line.split() for line in text.splitlines() if line[2:4] in {"+ ", "~ ", "- "}]
    return [[one[0], one[1], *(word for word in one if word in NAMES)] for one in words]


def test_plan_shows_what_is_published_and_which_members_an_edit_changes(world: World) -> None:
    urls, known = ["https://data.example.org/{0..1}.tar"], {"split": "train", "rows": 3}
    entry = world.index.insert("d1", urls, metadata=known)
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {entry}}}\n"
    world.promote("d1", f"{body}license: MIT\n")
    lines_shown = [line.strip() for line in world.ok("plan").out.splitlines()]
    where = "first https://data.example.org/0.tar, last https://data.example.org/1.tar"
    assert f"name d1, license MIT, storage storageHttp, shards 2, {where}" in lines_shown
    world.ok("apply", "--yes")
    edited = f"{body}    metadata: {{rows: {{$integer: 4}}}}\n"
    world.promote("d1", f"{edited}license: CC0-1.0\ndescription: Measurements\n")
    contents = world.ok("plan", "--output", "json").document["contents"]
    changed = {one["address"].split("/")[1]: one["differences"] for one in contents}
    assert (len(changed["entry"]), len(changed["label"])) == (3, 1)
    shown = " ".join(changed["entry"])
    for member in ("description", "MIT", "CC0-1.0", "rows", "3", "4"):
        assert member in shown


def test_plan_names_the_dataset_and_the_type_whose_records_change(world: World) -> None:
    entry = world.index.insert("d1", ["https://data.example.org/1.tar"])
    body = f"versions:\n  1.0.0:\n    from: {{index: index, entry: d1, cid: {entry}}}\n"
    world.promote("d1", body)
    assert lines(world.ok("plan").out) == [
        ["+", "publish", "Sample@1.0.0"],
        ["+", "publish", "d1"],
        ["+", "label", "d1@1.0.0"],
    ]
    assert "`d1@1.0.0`" in world.ok("plan", "--output", "markdown").out
    world.ok("apply", "--yes")
    world.promote("d1", f"{body}description: Measurements\n")
    assert lines(world.ok("plan").out) == [["~", "update", "d1"], ["~", "update", "d1@1.0.0"]]
    world.promote(
        "d1",
        f"{body}description: Measurements\n".replace(
            "versions:", "removed: [{version: 1.0.0, reason: wrong}]\nversions:"
        ).partition("versions:")[0],
    )
    shown = lines(world.run("plan").out)
    assert [one for one in shown if one[0] == "-"][:2] == [
        ["-", "withdraw", "d1@1.0.0"],
        ["-", "withdraw", "d1"],
    ]
