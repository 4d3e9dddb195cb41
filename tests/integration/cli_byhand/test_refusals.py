"""Wrong uses and hostile input: one clear error each, the right exit code, and nothing written."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from tests.integration.cli_byhand.conftest import H110, H111, STORE, Desk

IDS = [
    ("../x", "E_ID_PATH"),
    ("a/../b", "E_ID_PATH"),
    ("/abs", "E_ID_PATH"),
    ("a//b", "E_ID_PATH"),
    ("./a", "E_ID_PATH"),
    ("", "E_ID_PATH"),
    ("110/homo_sapiens/..", "E_ID_PATH"),
    ("110/homo_sapiens/GRCh38/x", "E_ID_PATH"),
    ("110/%2e%2e%2f/GRCh38", "E_ID_CHARS"),
    ("110/data²/GRCh38", "E_ID_CHARS"),
    ("110/data٣/GRCh38", "E_ID_CHARS"),
    ("١١٠/homo_sapiens/GRCh38", "E_ID_CHARS"),
    ("110/café/GRCh38", "E_ID_CHARS"),
    ("110/cafe\u0301/GRCh38", "E_ID_CHARS"),
    ("110/hom\u043e_sapiens/GRCh38", "E_ID_CHARS"),
    ("110/HOMO_SAPIENS/GRCh38", "E_ID_CHARS"),
    ("110/homo_sapiens/GRCh38\n", "E_ID_CHARS"),
    (" 110/homo_sapiens/GRCh38", "E_ID_CHARS"),
    ("110/homo_sapiens/\u202eGRCh38", "E_ID_CHARS"),
    (f"110/{'a' * 300}/GRCh38", "E_ID_LENGTH"),
    (f"{'1' * 17}/homo_sapiens/GRCh38", "E_ID_LENGTH"),
]
COMMANDS = [
    ("dataset", "inspect", "--root", "nowhere"),
    ("dataset", "validate", "--root", "nowhere"),
    ("dataset", "verify", "--root", "nowhere"),
    ("dataset", "publish", "--source-root", "nowhere", "--store-root", "nowhere"),
    ("dataset", "pack", "--root", "nowhere", "--out", "nowhere/x.tar"),
    ("catalog", "promote", "--store-root", "nowhere"),
    ("catalog", "rollback", "--store-root", "nowhere"),
    ("catalog", "latest-alias-update", "--store-root", "nowhere"),
    ("status", "--store-root", "nowhere"),
]


@pytest.mark.parametrize(("text", "error"), IDS)
def test_an_id_is_refused_before_any_file_is_touched(desk: Desk, text: str, error: str) -> None:
    for words in COMMANDS:
        ran = desk.refused(*words, text, code=3, error=error)
        assert text.isascii() or text not in ran.err


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--release", "110", "--species", "../..", "--assembly", "GRCh38"), "E_ID_PATH"),
        (("--release", "110", "--species", "homo_sapiens", "--assembly", ".."), "E_ID_PATH"),
        (("--release", "", "--species", "homo_sapiens", "--assembly", "GRCh38"), "E_ID_PATH"),
        (("--release", "11O", "--species", "homo_sapiens", "--assembly", "GRCh38"), "E_ID_CHARS"),
        (("--release", "110", "--species", "homo_sapiens"), "E_USAGE"),
        (("--release", "110", "--species", "homo_sapiens", "--assembly", "GRCh38", H110), "E_USAGE"),
        ((), "E_USAGE"),
    ],
)
def test_the_three_flags_are_checked_as_strictly(desk: Desk, flags: tuple[str, ...], error: str) -> None:
    for words in COMMANDS[:-1]:
        desk.refused(*words, *flags, code=3, error=error)


def test_the_second_id_of_a_command_is_checked_as_strictly(desk: Desk) -> None:
    rollback = ("catalog", "rollback", H110, "--store-root", "nowhere", "--move-alias-to")
    desk.refused(*rollback, "../x", code=3, error="E_ID_PATH")
    for reference, error in (("x/../y", "E_ID_PATH"), ("../y", "E_ID_PATH"), ("A/b", "E_ID_CHARS")):
        desk.refused("catalog", "resolve", reference, "--store-root", "store", code=3, error=error)


def test_a_store_must_be_named_once(desk: Desk) -> None:
    desk.refused("catalog", "promote", H110, code=3, error="E_USAGE")
    desk.refused("catalog", "promote", H110, *STORE, "--store", "serving", code=3, error="E_USAGE")
    desk.refused("dataset", "lis", *STORE, code=3, error="E_USAGE")
    desk.refused("dataset", code=3, error="E_USAGE")


def test_promote_refuses_what_was_never_published(desk: Desk) -> None:
    ran = desk.refused("catalog", "promote", H110, *STORE, code=4, error="E_NOT_PUBLISHED")
    assert ran.err == (
        f"E_NOT_PUBLISHED store: the dataset was never published to this store; got {H110}; fix: "
        f"run 'reconciler dataset publish {H110} --store-root store --source-root DIR' first\n"
    )


def test_the_alias_refuses_what_was_never_promoted(desk: Desk) -> None:
    desk.publish(H110)
    ran = desk.refused("catalog", "latest-alias-update", H110, *STORE, code=4, error="E_NOT_PROMOTED")
    assert ran.err == (
        f"E_NOT_PROMOTED store: an alias may only name a dataset that the catalog lists; got {H110}; "
        f"fix: run 'reconciler catalog promote {H110}' first\n"
    )


def test_errors_as_json_stand_alone_on_standard_error(desk: Desk) -> None:
    before = desk.tree()
    ran = desk.run("catalog", "promote", H110, *STORE, "--output", "json")
    errors = json.loads(ran.err)
    assert (ran.code, ran.out, errors["schema"]) == (4, "", "reconciler/errors/v1")
    assert [error["code"] for error in errors["errors"]] == ["E_NOT_PUBLISHED"]
    assert desk.tree() == before


READERS_AND_WRITERS = [
    ("dataset", "list", *STORE),
    ("status", *STORE),
    ("catalog", "resolve", *STORE),
    ("catalog", "promote", H111, *STORE),
    ("catalog", "rollback", H110, *STORE),
    ("catalog", "latest-alias-update", H110, *STORE),
    ("catalog", "publish", "--catalog", "good.json", *STORE),
]


def live_catalogs() -> dict[str, bytes]:
    """Catalogs that no honest writer leaves behind, made from entries of two releases."""

    def entry(release: str) -> dict[str, object]:
        base = f"release={release}/species=homo_sapiens/assembly=GRCh38/derived"
        return {
            "dataset": {"release": release, "species": "homo_sapiens", "assembly": "GRCh38"},
            "manifest_path": f"{base}/manifest.json",
            "sqlite_path": f"{base}/gene_summary.sqlite",
        }

    def catalog(**members: object) -> bytes:
        return json.dumps({"model_version": "v1", **members}).encode()

    whole = catalog(datasets=[entry("110")])
    return {
        "empty": b"",
        "torn": whole[: len(whole) // 2],
        "unsorted": catalog(datasets=[entry("111"), entry("110")]),
        "repeated": catalog(datasets=[entry("110"), entry("110")]),
        "unknown member": catalog(datasets=[entry("110")], extra=1),
        "unknown member of an entry": catalog(datasets=[entry("110") | {"extra": 1}]),
        "repeated member": whole.replace(b'{"model_version"', b'{"datasets": [], "model_version"', 1),
        "other version": catalog(datasets=[entry("110")], model_version="v2"),
        "id outside the grammar": catalog(datasets=[entry("../../x")]),
        "blank path": catalog(datasets=[entry("110") | {"sqlite_path": " "}]),
        "not a number": whole.replace(b'"v1"', b"NaN"),
        "lone surrogate": whole.replace(b'"v1"', b'"\\ud800"'),
        "deep": b"[" * 100_000,
        "not UTF-8": b"\xff\xfe" + whole,
        "two documents": whole + whole,
    }


@pytest.mark.parametrize("data", live_catalogs().values(), ids=live_catalogs().keys())
def test_a_broken_live_catalog_is_never_read_as_something_else(desk: Desk, data: bytes) -> None:
    desk.promote(H110)
    desk.latest(H110)
    desk.publish(H111)
    live = desk.root / "store/catalog.json"
    (desk.root / "good.json").write_bytes(live.read_bytes())
    live.write_bytes(data)
    for words in READERS_AND_WRITERS:
        ran = desk.refused(*words, code=8, error="E_LIVE_CATALOG")
        assert "catalog rebuild" in ran.err


def test_a_catalog_that_the_ledger_recorded_and_that_is_gone_is_no_empty_catalog(desk: Desk) -> None:
    desk.promote(H110)
    desk.publish(H111)
    live = desk.root / "store/catalog.json"
    (desk.root / "good.json").write_bytes(live.read_bytes())
    live.unlink()
    for words in READERS_AND_WRITERS:
        ran = desk.refused(*words, code=8, error="E_CATALOG_MISSING")
        assert "catalog rebuild" in ran.err


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"alias":"latest"}'])
def test_a_broken_alias_is_an_error(desk: Desk, data: bytes) -> None:
    desk.promote(H110)
    desk.latest(H110)
    desk.publish(H111)
    (desk.root / "good.json").write_bytes((desk.root / "store/catalog.json").read_bytes())
    (desk.root / "store/latest.alias.json").write_bytes(data)
    for words in READERS_AND_WRITERS:
        desk.refused(*words, code=8, error="E_LIVE_ALIAS")


@pytest.mark.parametrize("name", ["catalog.json", "latest.alias.json"])
def test_a_link_in_the_place_of_a_head_is_refused(desk: Desk, name: str) -> None:
    desk.promote(H110)
    desk.latest(H110)
    head = desk.root / "store" / name
    outside = desk.root / f"outside-{name}"
    head.rename(outside)
    head.symlink_to(outside)
    desk.refused("catalog", "rollback", H110, *STORE, "--drop-alias", code=10, error="E_STORE_LINK")


def test_a_broken_ledger_stops_every_command(desk: Desk) -> None:
    desk.promote(H110)
    (desk.root / f"store/.reconciler/ledger/{1:020d}.outcome.json").unlink()
    desk.refused("catalog", "rollback", H110, *STORE, code=8, error="E_LEDGER_CHAIN")
    desk.refused("status", *STORE, code=8, error="E_LEDGER_CHAIN")


def test_a_store_that_is_a_file_is_refused(desk: Desk) -> None:
    Path("file").write_text("x")
    ran = desk.run("dataset", "list", "--store-root", "file")
    assert (ran.code, ran.out) == (10, "")


LONG = "x" * 5000


@pytest.mark.parametrize(
    "words",
    [
        ("dataset", "list", "--store-root", LONG),
        ("dataset", "verify", H110, "--root", LONG),
        ("dataset", "publish", H110, "--source-root", LONG, *STORE),
        ("dataset", "publish", H110, "--source-root", "store", "--store-root", LONG),
        ("dataset", "pack", H110, "--root", LONG, "--out", "x.tar"),
        ("dataset", "verify-pack", "--pack", LONG),
        ("dataset", "unpack", "--pack", LONG, "--out", "x"),
        ("catalog", "validate", LONG),
        ("catalog", "publish", "--catalog", LONG, *STORE),
        ("catalog", "promote", H110, "--store-root", LONG),
        ("catalog", "rebuild", "--store-root", LONG),
        ("status", "--store-root", LONG),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_a_name_that_no_file_can_have_is_unavailable_and_no_bug(desk: Desk, words: tuple[str, ...]) -> None:
    before = desk.tree()
    assert desk.run(*words).code == 10
    assert desk.tree() == before


def test_an_argument_that_is_not_utf_8_is_refused(desk: Desk) -> None:
    for words in (("dataset", "list", "--store-root", "\udcff"), ("catalog", "validate", "\udcff.json")):
        desk.refused(*words, code=3, error="E_ENCODING")


def test_names_are_shown_with_their_control_characters_escaped(desk: Desk) -> None:
    odd = desk.root / "odd\n\x1b[31m.json"
    odd.write_bytes(b'{"datasets":[],"model_version":"v1"}')
    assert desk.ok("catalog", "validate", odd.name).out.splitlines()[0] == (
        "odd\\n\\x1b[31m.json: 0 entries, canonical"
    )


def test_a_held_lock_is_waited_for_and_then_a_conflict_that_names_the_holder(desk: Desk) -> None:
    desk.promote(H110)
    desk.publish(H111)
    lock = desk.root / "store/.reconciler/lock"
    with lock.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        words = ("catalog", "promote", H111, *STORE, "--lock-timeout", "0.1")
        desk.refused(*words, code=6, error="E_LOCKED")
        desk.unchanged("catalog", "resolve", H110, *STORE)
    desk.ok(*words)
