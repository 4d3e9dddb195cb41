"""What a reviewer sees of a change: the comment, the annotations, the text, each as its file says."""

from __future__ import annotations

import json

from tests.integration.gitops.changes import check_golden, lose_human_110, step_forward
from tests.integration.gitops.conftest import Repository
from tests.integration.sarif_shape import check_sarif


def test_comment_shows_removals_first_then_moves_then_additions(published: Repository) -> None:
    step_forward(published)
    check_golden("plan.md", published.ok("plan", "--output", "markdown").out)
    check_golden("plan.txt", published.ok("plan").out)


def test_comment_about_a_denied_plan_names_rule_fix_and_place(applied: Repository) -> None:
    lose_human_110(applied)
    ran = applied.run("plan", "--output", "markdown")
    assert ran.code == 4
    check_golden("denied.md", ran.out)


def test_comment_about_nothing_still_has_its_marker(applied: Repository) -> None:
    check_golden("nothing.md", applied.ok("plan", "--output", "markdown").out)


def test_equal_plans_give_an_equal_comment_and_other_plans_another_digest(applied: Repository) -> None:
    first = applied.ok("plan", "--output", "markdown", SOURCE_DATE_EPOCH="1770000000").out
    again = applied.ok("plan", "--output", "markdown", SOURCE_DATE_EPOCH="1770099999").out
    lose_human_110(applied)
    other = applied.run("plan", "--output", "markdown").out
    assert again == first
    assert other.splitlines()[0] == first.splitlines()[0] == "<!-- reconciler:plan -->"
    assert other.splitlines()[1] != first.splitlines()[1]


def test_comments_about_different_stores_have_different_markers(applied: Repository) -> None:
    out = applied.ok("plan", "--store", "serving", "--output", "markdown").out
    assert out.startswith("<!-- reconciler:plan serving -->\n")


def test_finding_is_annotated_where_the_store_is_declared_when_its_line_is_gone(
    applied: Repository,
) -> None:
    lose_human_110(applied)
    ran = applied.run("plan", "--output", "sarif")
    assert ran.code == 4
    check_sarif(ran.document)
    (result,) = ran.document["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("removal-needs-tombstone", "error")
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "desired/stores.yaml", "uriBaseId": "SRCROOT"},
        "region": {"startLine": 5, "startColumn": 3},
    }


def test_finding_is_annotated_on_the_line_that_declares_its_subject(repository: Repository) -> None:
    document = repository.run("plan", "--output", "sarif").document
    check_sarif(document)
    (result,) = document["runs"][0]["results"]
    assert result["ruleId"] == "dataset-published"
    location = result["locations"][0]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "desired/catalogs/mouse.yaml"
    assert location["physicalLocation"]["region"]["startLine"] == 8
    assert location["logicalLocations"] == [{"fullyQualifiedName": "serving/dataset/110/mus_musculus/GRCm39"}]


def test_every_rule_is_described_by_the_sentence_that_says_what_it_protects(repository: Repository) -> None:
    driver = repository.run("plan", "--output", "sarif").document["runs"][0]["tool"]["driver"]
    described = {rule["id"]: rule["shortDescription"]["text"] for rule in driver["rules"]}
    assert described["artifact-immutable"] == "A published dataset's manifest digest is never replaced."
    assert [rule for rule, text in described.items() if text == rule] == []


def test_input_errors_are_annotated_on_their_lines(applied: Repository) -> None:
    applied.edit("desired/catalogs/human.yaml", "latest: 111/homo_sapiens", "latest: 111/Homo")
    applied.edit("desired/catalogs/mouse.yaml", "store: serving", "store: [serving]")
    applied.commit("Break two files")
    ran = applied.run("validate", "--output", "sarif")
    assert ran.code == 3
    document = ran.document
    check_sarif(document)
    results = document["runs"][0]["results"]
    places = [r["locations"][0]["physicalLocation"] for r in results]
    assert sorted((p["artifactLocation"]["uri"], p["region"]["startLine"]) for p in places) == [
        ("desired/catalogs/human.yaml", 13),
        ("desired/catalogs/mouse.yaml", 5),
    ]
    assert {line.split(" ", 1)[0] for line in ran.err.splitlines()} == {r["ruleId"] for r in results}


def test_valid_input_and_an_option_that_is_wrong_are_sarif_too(applied: Repository) -> None:
    valid = applied.ok("validate", "--output", "sarif").document
    check_sarif(valid)
    assert valid["runs"][0]["results"] == []
    gone = applied.run("plan", "--ref", "gone", "--output", "sarif")
    assert gone.code == 3
    check_sarif(gone.document)
    (invocation,) = gone.document["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [note["descriptor"]["id"] for note in invocation["toolExecutionNotifications"]] == [
        "E_REF_UNKNOWN"
    ]
    assert json.loads(gone.out) == gone.document
