"""The list of rules as a whole."""

from __future__ import annotations

from pathlib import Path

from reconciler.policy import RULES
from tests.unit.policy.scenes import facts_of, human, latest, listed, live, mouse, whole

HERE = Path(__file__).parent


def test_every_rule_has_a_test_of_what_it_says() -> None:
    files = [*HERE.glob("test_*.py"), HERE.parent / "core/test_policy.py"]
    text = "".join(file.read_text("utf-8") for file in files)
    assert [rule for rule in RULES if f'"{rule}"' not in text] == []


def test_ordinary_release_needs_nobody_to_say_anything() -> None:
    store = live([human(110), mouse(110)], human(110))
    wishes = [listed(key) for key in (human(110), human(111), mouse(110), mouse(111))]
    facts = whole(facts_of(store, [*wishes, latest(human(111))]))
    assert [finding for rule in RULES.values() for finding in rule(facts)] == []
