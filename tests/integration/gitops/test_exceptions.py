"""Exceptions: narrow, owned, dated, and never a way around what protects readers."""

from __future__ import annotations

import json

import pytest

from tests.integration.gitops.conftest import Repository

HEAD = "apiVersion: reconciler/v1\nkind: Exception\n"


def exception(repository: Repository, **members: str) -> None:
    """Commit one exception, in force unless its members say otherwise."""
    known = {"owner": "genomics", "reason": "because", "expires": "2099-01-01", **members}
    text = HEAD + "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in known.items())
    file = repository.root / "desired/exceptions/one.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    repository.commit("Except")


def findings(repository: Repository, *words: str) -> list[tuple[str, str]]:
    document = json.loads(repository.run("plan", "--output", "json", *words).out)
    return [(f["rule"], f["severity"]) for f in document["findings"]]


def test_a_hold_keeps_what_is_live_and_says_so(applied: Repository) -> None:
    exception(applied, type="hold", subject="serving/alias/latest")
    assert findings(applied) == [("exception-unused", "warn")]
    applied.edit("desired/catalogs/human.yaml", "latest: 111", "latest: 110")
    applied.commit("Move latest back")
    before = applied.store()
    ran = applied.ok("plan", "--output", "json")
    assert (ran.document["steps"], ran.document["held"]) == ([], ["serving/alias/latest"])
    assert [(f["rule"], f["subject"]) for f in ran.document["findings"]] == [("hold", "serving/alias/latest")]
    applied.ok("apply", "--yes")
    assert applied.store() == before
    drift = applied.ok("drift", "--output", "json").document
    (item,) = [item for item in drift["items"] if item["verdict"] == "hold"]
    assert (item["address"], item["hold"]["owner"], item["hold"]["reason"]) == (
        "serving/alias/latest",
        "genomics",
        "because",
    )
    assert (drift["summary"]["hold"], drift["summary"]["pending"]) == (1, 0)


def test_a_suspension_keeps_a_whole_store(applied: Repository) -> None:
    applied.edit("desired/catalogs/human.yaml", "latest: 111", "latest: 110")
    exception(applied, type="suspension", subject="serving")
    assert findings(applied) == [("suspension", "warn")]
    assert applied.ok("plan", "--output", "json").document["steps"] == []


def test_an_expired_hold_holds_nothing_and_is_named(applied: Repository) -> None:
    applied.edit("desired/catalogs/human.yaml", "latest: 111", "latest: 110")
    exception(applied, type="hold", subject="serving/alias/latest", expires="2026-01-01T00:00:00Z")
    rules = findings(applied)
    assert ("exception-expired", "warn") in rules
    assert ("hold", "warn") not in rules
    assert applied.run("plan", "--output", "json").document["held"] == []


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"type": "waiver", "subject": "serving"}, "E_REQUIRED"),
        ({"type": "waiver", "subject": "serving", "rule": "no-such-rule"}, "E_RULE_UNKNOWN"),
        ({"type": "waiver", "subject": "serving", "rule": "artifact-immutable"}, "E_RULE_FIXED"),
        ({"type": "waiver", "subject": "serving", "rule": "delete-budget"}, "E_RULE_FIXED"),
        ({"type": "hold", "subject": "serving", "rule": "alias-target"}, "E_EXCEPTION"),
        ({"type": "hold", "subject": "Serving"}, "E_PATTERN"),
        ({"type": "hold", "subject": "serving*"}, "E_PATTERN"),
        ({"type": "hold", "subject": "serving", "expires": "tomorrow"}, "E_PATTERN"),
        ({"type": "hold", "subject": "serving", "expires": "2026-13-01"}, "E_PATTERN"),
        ({"type": "approved-deletes", "subject": "serving"}, "E_REQUIRED"),
        ({"type": "approved-deletes", "subject": "serving", "count": "0"}, "E_PATTERN"),
        ({"type": "force", "subject": "serving"}, "E_VALUE"),
    ],
)
def test_an_exception_that_says_too_little_or_too_much_is_refused(
    repository: Repository, members: dict[str, str], error: str
) -> None:
    exception(repository, **members)
    ran = repository.run("validate")
    assert (ran.code, ran.error) == (3, error)
    assert "desired/exceptions/one.yaml:" in ran.err


def test_what_protects_readers_is_not_lowered(repository: Repository) -> None:
    policy = repository.root / "desired/policy.yaml"
    policy.write_text(
        "apiVersion: reconciler/v1\nkind: Policy\nseverities: {alias-target: warn, sorce-reachable: deny}\n"
    )
    repository.commit("Lower a rule")
    ran = repository.run("validate", "--output", "json")
    errors = json.loads(ran.err.splitlines()[-1])["errors"]
    assert [(e["code"], e["line"], e["column"], e["fix"]) for e in errors] == [
        ("E_RULE_FIXED", 3, 14, "remove the line"),
        ("E_RULE_UNKNOWN", 3, 34, 'did you mean "source-reachable"?'),
    ]
