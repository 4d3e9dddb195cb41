"""Test a policy against written cases, and explain what its rules say.

`policy test` runs every case below a directory: a `case.yaml` that says what the stores hold, what the time
is and which findings it expects, beside the desired state that it is about. No store is opened. The exit
code is 4 when a case finds something else.

`policy explain` says of a rule what it protects and what the policy in force makes of it; of an address, a
store or one finding (RULE:SUBJECT), what was found, on which line, and what would change the answer. What was
found of the scope, the store, the document or the plan that an address is in is about the address as well.

for example:
  reconciler policy test tests/policy
  reconciler policy explain latest-monotonic
  reconciler policy explain serving/alias/latest
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.cli.byhand import add_operation, operations_of
from reconciler.cli.console import Console
from reconciler.cli.files import read_file
from reconciler.cli.options import add_desired, add_output, add_stores
from reconciler.cli.protected import load_tree
from reconciler.cli.workspace import TOOL, Opened, Workspace
from reconciler.desired.case import CASE_FILE, Expected, PolicyCase, read_case
from reconciler.desired.worktree import WorkTree
from reconciler.errors import Exit, InvalidInput
from reconciler.governance import Exemption, Guards, Headroom, instant
from reconciler.ledger import Inventory
from reconciler.model import (
    NOTHING,
    Depth,
    Finding,
    Observed,
    Place,
    Selection,
    StoreConfig,
    merged,
    public_settings,
)
from reconciler.plan import WHOLE_PLAN, Plan, finding_json, verb
from reconciler.policy import FIXED, RULESET, says
from reconciler.policy.actions import action_of
from reconciler.policy.budgets import rooms_of
from reconciler.policy.lines import Touched
from reconciler.policy.settings import settings_of
from reconciler.render.text import finding_line, plural
from reconciler.snapshot import Snapshot, StoreSnapshot

TEST_SCHEMA = "reconciler/policy-test/v1"
EXPLAIN_SCHEMA = "reconciler/policy-explain/v1"
_CASE_LIMIT = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operations."""
    operations = operations_of(parser)
    tested = add_operation(
        operations,
        "test",
        test,
        summary="run cases: given desired state, live state and policy, the findings that are expected",
        example="reconciler policy test tests/policy",
    )
    tested.add_argument(
        "directory", metavar="DIR", nargs="?", type=Path, default=Path("tests/policy"), help="the cases"
    )
    add_output(tested)
    asked = add_operation(
        operations,
        "explain",
        explain,
        summary="say what a rule protects, or what was found about an address and why",
        example="reconciler policy explain serving/alias/latest",
    )
    asked.add_argument("what", metavar="WHAT", help="a rule, RULE:SUBJECT, an address or a store")
    add_desired(asked)
    add_stores(asked)
    add_output(asked)


class Ran(NamedTuple):
    """One case that was run, and what was found otherwise than expected."""

    name: str
    missing: tuple[Expected, ...]
    unexpected: tuple[Expected, ...]

    @property
    def passed(self) -> bool:
        """Whether exactly what is expected was found."""
        return not self.missing and not self.unexpected


def test(args: argparse.Namespace, console: Console) -> Exit:
    """Run every case below a directory."""
    files = sorted(args.directory.rglob(CASE_FILE))
    if not files:
        raise InvalidInput.of(
            "E_FILE", f"no {CASE_FILE} stands below the directory", path="DIR", got=str(args.directory)
        )
    ran = [_ran(file, args.directory, console) for file in files]
    failed = [case for case in ran if not case.passed]
    document = {
        "schema": TEST_SCHEMA,
        "summary": {"passed": len(ran) - len(failed), "failed": len(failed)},
        "cases": [
            {
                "name": case.name,
                "passed": case.passed,
                "missing": [one._asdict() for one in case.missing],
                "unexpected": [one._asdict() for one in case.unexpected],
            }
            for case in ran
        ],
    }
    console.answer(document, lambda: "\n".join(_lines(ran)))
    return Exit.DENIED if failed else Exit.DONE


def _lines(ran: list[Ran]) -> Iterator[str]:
    for case in ran:
        yield f"{'ok    ' if case.passed else 'FAILED'} {case.name}"
        yield from (f"    missing     {_shown(one)}" for one in case.missing)
        yield from (f"    unexpected  {_shown(one)}" for one in case.unexpected)
    yield f"{sum(case.passed for case in ran)} of {len(ran)} passed"


def _shown(one: Expected) -> str:
    return f"{one.severity.value} {one.rule} {one.subject}"


def _ran(file: Path, top: Path, console: Console) -> Ran:
    case = read_case(read_file(file, limit=_CASE_LIMIT), str(file))
    root = file.parent.absolute()
    tree = WorkTree(commit="case", commit_time=case.now, author="case", root=root)
    loaded = load_tree(tree, argparse.Namespace(desired="desired"))
    live = Snapshot(
        time=case.now,
        tool=TOOL,
        stores=tuple(_store(config, case) for config in loaded.desired.stores.values()),
    )
    with Workspace.rehearsal(root, tree, loaded, live, console) as workspace:
        opened = {config.name: workspace.opened(config) for config in workspace.selected}
        findings = workspace.plan(opened).findings
    found = frozenset(Expected(one.rule, one.severity, one.subject) for one in findings)
    return Ran(
        name=str(file.parent.relative_to(top)),
        missing=tuple(sorted(case.expected - found)),
        unexpected=tuple(sorted(found - case.expected)),
    )


def _store(config: StoreConfig, case: PolicyCase) -> StoreSnapshot:
    things = [thing for thing in case.live if thing.address.store == config.name]
    return StoreSnapshot(
        name=config.name,
        kind=config.kind,
        settings=public_settings(config.settings),
        revision="case",
        depth=Depth.MANIFESTS,
        observed=tuple(Observed(thing.address, thing.slots) for thing in things),
        inventory=Inventory({thing.address: thing.slots for thing in things if thing.ours}),
    )


class Act(NamedTuple):
    """What a plan does to one address: the line that says so, and the budgets that it is counted in."""

    verb: str
    place: Place | None
    counts: str
    rooms: tuple[Headroom, ...]

    def to_json(self) -> dict[str, Any]:
        """Its stable keys; a create and an adoption count as nothing."""
        return {
            "verb": self.verb,
            "path": self.place.path if self.place else "",
            "line": self.place.line if self.place else 0,
            "counts": self.counts,
            "budgets": [room._asdict() for room in self.rooms],
        }


def explain(args: argparse.Namespace, console: Console) -> Exit:
    """Explain one rule, what was found about a subject, or what a plan does to an address."""
    act = None
    with Workspace.open(args, console) as workspace:
        guards, now = workspace.protected.guards, workspace.now
        _require_known(args.what, workspace)
        if args.what in RULESET.known:
            findings: list[Finding] = []
            rules = [args.what]
        else:
            opened = {config.name: workspace.opened(config) for config in workspace.selected}
            plan = workspace.plan(opened)
            act = _act(plan, opened, args.what)
            findings = _asked_about(plan, args.what, act)
            rules = sorted({f.rule for f in findings} | _budget_rules(act))
    document = {
        "schema": EXPLAIN_SCHEMA,
        "what": args.what,
        "action": act.to_json() if act else None,
        "rules": [_rule_json(one, guards, now) for one in rules],
        "findings": [finding_json(finding) for finding in findings],
    }
    console.answer(document, lambda: "\n".join(_explanation(document, findings, args.what, act)))
    return Exit.DONE


def _budget_rules(act: Act | None) -> set[str]:
    return {f"{room.action}-budget" for room in act.rooms} if act else set()


def _act(plan: Plan, opened: Mapping[str, Opened], what: str) -> Act | None:
    """What the plan does to the address that is asked about; None where it does nothing to it."""
    for part in plan.stores:
        changes = [change for change in part.changes if str(change.address) == what]
        if not changes:
            continue
        address = changes[0].address
        store = opened[address.store].store
        sights = store.snapshot(Selection(addresses=frozenset({address})))
        live = next((sight.slots for sight in sights), NOTHING)
        counts = action_of(part.shape, address, Touched(live, merged(live, changes)))
        room = plan.in_force.headroom if plan.in_force else ()
        rooms = tuple(rooms_of(address, counts, room)) if counts else ()
        return Act(verb(part.shape, changes), part.places.get(address), counts or "", rooms)
    return None


def _asked_about(plan: Plan, what: str, act: Act | None) -> list[Finding]:
    rule, _, subject = what.partition(":")
    if rule in RULESET.known and subject:
        return [f for f in plan.findings if (f.rule, f.subject) == (rule, subject)]
    document = act.place.path if act and act.place else ""
    return [f for f in plan.findings if _about(f, what) or (document and f.subject == document)]


def _about(finding: Finding, what: str) -> bool:
    """Whether a finding is about a thing, about something in it, or about what it is in."""
    subject = finding.subject
    return subject in {what, WHOLE_PLAN} or subject.startswith(f"{what}/") or what.startswith(f"{subject}/")


def _require_known(what: str, workspace: Workspace) -> None:
    """Refuse what is neither a rule nor in a declared store: a misspelt rule is not an address."""
    head = what.partition(":")[0]
    if head not in RULESET.known and what.partition("/")[0] not in workspace.desired.stores:
        raise InvalidInput.of(
            "E_RULE_UNKNOWN",
            "this is no rule, and no address of a declared store",
            path="WHAT",
            got=what,
            fix="a rule of docs/policy.md, RULE:SUBJECT, an address or a store",
        )


def _rule_json(rule: str, guards: Guards, now: int) -> Mapping[str, Any]:
    severity = guards.severities.get(rule)
    return {
        "rule": rule,
        "says": says(rule),
        "fixed": rule in FIXED,
        "severity": "" if severity is None or rule in FIXED else severity.value,
        "policy": guards.origin,
        "data": list(settings_of(rule, guards)),
        "waivers": [_waiver(one) for one in guards.exceptions if one.rule == rule and not one.expired(now)],
    }


def _waiver(one: Exemption) -> dict[str, str]:
    return {"subject": one.subject, "owner": one.owner, "expires": instant(one.expires), "reason": one.reason}


def _explanation(
    document: Mapping[str, Any], findings: list[Finding], what: str, act: Act | None
) -> Iterator[str]:
    if act:
        yield from _told(what, act)
    elif not document["rules"]:
        yield f"{what}: no rule has anything to say about it"
    for rule in document["rules"]:
        yield f"{rule['rule']}: {rule['says']}"
        if rule["fixed"]:
            yield "  no policy lowers it and no waiver covers it"
        elif rule["severity"]:
            yield f"  {rule['policy']} makes every finding of it: {rule['severity']}"
        yield from (f"  judges by  {line}" for line in rule["data"])
        yield from (
            f"  waived for {one['subject']} by {one['owner']} until {one['expires']}: {one['reason']}"
            for one in rule["waivers"]
        )
    yield from (finding_line(finding) for finding in findings)
    if findings:
        yield f"{plural(len(findings), 'finding')}; 'fix' says what would change the answer"
    elif act:
        yield "no rule denies it or warns of it"


def _told(what: str, act: Act) -> Iterator[str]:
    place = f", as {act.place} says" if act.place else ""
    yield f"{what}: {act.verb}{place}"
    if not act.counts:
        yield "  counted in no budget: what appears is free"
    for room in act.rooms:
        left = room.allowed - room.used
        more = f"{left} more would be within the budget" if left >= 0 else f"{-left} fewer would be"
        yield f"  counted as {act.counts} in {room.scope}: {room.used} of {room.allowed}; {more}"
