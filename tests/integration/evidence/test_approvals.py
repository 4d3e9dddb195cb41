"""Signed plans and approvals: what an apply is shown, what it refuses, and what it records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.evidence.conftest import Keys
from tests.integration.gitops.conftest import Repository
from tests.unit.evidence.packets import ADA

NOW = {"SOURCE_DATE_EPOCH": "1800000000"}
PULL = "https://git.example.org/data/pull/7"


@pytest.fixture
def changed(applied: Repository) -> Repository:
    """The repository with a change that is not applied yet: the alias goes back to 110."""
    applied.edit("desired/catalogs/human.yaml", "latest: 111/", "latest: 110/")
    applied.commit("Go back")
    return applied


def planned(repo: Repository, *words: str) -> str:
    ran = repo.ok("plan", "--out", "plan.json", "--output", "json", *words, **NOW)
    intent: str = ran.document["intent"]
    return intent


def approve(repo: Repository, keys: Keys, owner: str, what: str) -> str:
    repo.ok("approve", what, "--key", keys.private(owner), "--out", f"{owner}.json", **NOW)
    return f"{owner}.json"


def owners(keys: Keys, *names: str) -> list[str]:
    return [word for name in names for word in ("--key", keys.public(name))]


def last_record(repo: Repository) -> dict[str, object]:
    (store,) = repo.ok("history", "--store", "serving", "--output", "json").document["stores"]
    record: dict[str, object] = store["records"][-1]
    return record


def test_an_approved_apply_records_who_approved_and_where(changed: Repository, keys: Keys) -> None:
    intent = planned(changed)
    approvals = [approve(changed, keys, "ada", intent), approve(changed, keys, "bob", "plan.json")]
    changed.ok(
        *("apply", "plan.json", "--require-approvals", "2", *owners(keys, "ada", "bob")),
        *(word for path in approvals for word in ("--approval", path)),
        *("--pull-request", PULL),
        **NOW,
    )
    record = last_record(changed)
    assert (record["intent"], record["pull_request"]) == (intent, PULL)
    assert len(record["approvers"]) == 2  # type: ignore[arg-type] # a list of names
    text = changed.ok("history").out
    assert f"pull request {PULL}" in text
    assert "approved by" in text


def test_the_packet_carries_the_approvals_and_tells_who_gave_them(changed: Repository, keys: Keys) -> None:
    approve(changed, keys, "ada", planned(changed))
    changed.ok("apply", "plan.json", "--approval", "ada.json", *owners(keys, "ada"), **NOW)
    changed.ok("evidence", "collect", "--store", "serving", "--into", "release")
    changed.ok("evidence", "sign", "release", "--key", keys.private("bob"))
    place = changed.root / "release/signing/approvals/01.json"
    assert place.read_bytes() == (changed.root / "ada.json").read_bytes()
    ran = changed.ok("evidence", "verify", "release", *owners(keys, "ada", "bob"), "--output", "json")
    said = {check["name"]: check["said"] for check in ran.document["checks"]}
    assert said["approvals"].startswith("approved by key ")


def refused(repo: Repository, *words: str) -> tuple[int, str]:
    before = repo.store()
    ran = repo.run("apply", *words, **NOW)
    assert repo.store() == before
    return ran.code, ran.error


def test_an_apply_without_enough_approvals_is_denied(changed: Repository, keys: Keys) -> None:
    approve(changed, keys, "ada", planned(changed))
    wanted = ("plan.json", "--require-approvals", "2", *owners(keys, "ada", "bob"))
    assert refused(changed, *wanted) == (4, "E_APPROVAL")
    assert refused(changed, *wanted, "--approval", "ada.json") == (4, "E_APPROVAL")
    assert refused(changed, *wanted, "--approval", "ada.json", "--approval", "ada.json") == (4, "E_APPROVAL")


def test_an_approval_of_what_was_shown_before_is_refused(changed: Repository, keys: Keys) -> None:
    approve(changed, keys, "ada", planned(changed))
    changed.edit("desired/catalogs/human.yaml", "latest: 110/", "latest: none #")
    changed.commit("Something else")
    words = ("--yes", "--approval", "ada.json", *owners(keys, "ada"))
    assert refused(changed, *words) == (8, "E_STATEMENT")


def test_an_approval_works_once(changed: Repository, keys: Keys) -> None:
    """Going back, forth and back again is the same intent; the approval of the first time is spent."""
    approve(changed, keys, "ada", planned(changed))
    words = ("--yes", "--approval", "ada.json", *owners(keys, "ada"))
    changed.ok("apply", *words, **NOW)
    changed.edit("desired/catalogs/human.yaml", "latest: 110/", "latest: 111/")
    changed.commit("Go forth")
    changed.ok("apply", "--yes", **NOW)
    changed.edit("desired/catalogs/human.yaml", "latest: 111/", "latest: 110/")
    changed.commit("Go back again")
    assert refused(changed, *words) == (5, "E_APPROVAL_USED")


def test_approvals_without_a_key_that_counts_are_refused(changed: Repository, keys: Keys) -> None:
    approve(changed, keys, "ada", planned(changed))
    assert refused(changed, "--yes", "--approval", "ada.json") == (3, "E_USAGE")


def test_a_signed_plan_is_applied(changed: Repository, keys: Keys) -> None:
    planned(changed, "--sign-key", keys.private("ada"))
    envelope = json.loads((changed.root / "plan.json.dsse.json").read_bytes())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    changed.ok("evidence", "verify", "plan.json", *owners(keys, "ada"), **NOW)
    changed.ok("apply", "plan.json", "--require-signature", *owners(keys, "ada"), **NOW)


def test_a_plan_is_signed_afterwards_by_another_owner(changed: Repository, keys: Keys) -> None:
    planned(changed, "--sign-key", keys.private("ada"))
    changed.ok("evidence", "sign", "plan.json", "--key", keys.private("bob"))
    both = (*owners(keys, "ada", "bob"), "--threshold", "2")
    changed.ok("apply", "plan.json", "--require-signature", *both, **NOW)


def test_a_plan_without_a_trusted_signature_is_refused(changed: Repository, keys: Keys) -> None:
    planned(changed)
    wanted = ("plan.json", "--require-signature", *owners(keys, "ada"))
    assert refused(changed, *wanted) == (3, "E_FILE")
    changed.ok("evidence", "sign", "plan.json", "--key", keys.private("eve"))
    assert refused(changed, *wanted) == (8, "E_NOT_SIGNED")


def test_a_signature_of_another_plan_is_refused(changed: Repository, keys: Keys) -> None:
    planned(changed, "--sign-key", keys.private("ada"))
    changed.edit("desired/catalogs/human.yaml", "latest: 110/", "latest: none #")
    changed.commit("Something else")
    planned(changed)
    wanted = ("plan.json", "--require-signature", *owners(keys, "ada"))
    assert refused(changed, *wanted) == (8, "E_STATEMENT")


def test_an_approval_is_no_signature_of_a_plan(changed: Repository, keys: Keys) -> None:
    approval = approve(changed, keys, "ada", planned(changed))
    Path(changed.root / "plan.json.dsse.json").write_bytes((changed.root / approval).read_bytes())
    wanted = ("plan.json", "--require-signature", *owners(keys, "ada"))
    assert refused(changed, *wanted) == (8, "E_STATEMENT")


def test_only_a_saved_plan_can_be_signed(changed: Repository, keys: Keys) -> None:
    assert refused(changed, "--yes", "--require-signature", *owners(keys, "ada")) == (3, "E_USAGE")
    assert changed.run("plan", "--sign-key", keys.private("ada")).code == 3


def test_a_report_is_signed_and_verified_like_a_plan(applied: Repository, keys: Keys) -> None:
    (applied.root / "drill.json").write_text('{"schema":"reconciler/drill/v1","whole":true}')
    applied.ok("evidence", "sign", "drill.json", "--key", keys.private("ada"))
    applied.ok("evidence", "verify", "drill.json", *owners(keys, "ada"))
    (applied.root / "drill.json").write_text('{"schema":"reconciler/drill/v1","whole":false}')
    ran = applied.run("evidence", "verify", "drill.json", *owners(keys, "ada"))
    assert (ran.code, ran.error) == (8, "E_STATEMENT")


def test_the_policy_says_whose_approval_counts_and_no_option_says_otherwise(
    changed: Repository, keys: Keys
) -> None:
    policy = changed.root / "desired/policy.yaml"
    owner = f"Ada ed25519:{ADA.public.raw.hex()}"
    policy.write_text(
        f'apiVersion: reconciler/v1\nkind: Policy\napprovals: {{count: 1, keys: ["{owner}"]}}\n'
    )
    changed.commit("Ada approves")
    intent = planned(changed)
    approve(changed, keys, "ada", intent)
    approve(changed, keys, "eve", intent)

    assert refused(changed, "--yes") == (4, "E_APPROVAL")
    eve = ("--approval", "eve.json", *owners(keys, "eve"))
    assert refused(changed, "--yes", *eve) == (4, "E_APPROVAL")
    changed.ok("apply", "--yes", "--approval", "ada.json", **NOW)

    assert last_record(changed)["approvers"] == ["Ada"]
