"""What a release claims in the words of SLSA: provenance of its publishes, and the verdict of policy.

Decides which changes are publishes (content that became immutable in the store), what they were made
from, and what a verification summary may honestly say: that the policy of this digest let these steps
pass, with how many findings. No SLSA level is ever claimed.

Fields follow SLSA provenance v1 (`slsa.dev/provenance/v1`) and VSA v1 (`slsa.dev/verification_summary/v1`).
`timeVerified` is required there; it is the record's own time (that of the commit), because a packet
must come out the same however often it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.evidence.statement import PROVENANCE, VERDICT, Statement, Subject
from reconciler.ledger import Record
from reconciler.model import Address, Digest, Outcome, digest_problem, public_location
from reconciler.shape import Shape

BUILD_TYPE: Final = "urn:reconciler:publish:v1"
BUILDER: Final = "urn:reconciler:apply"
VERIFIER: Final = "urn:reconciler:policy"


def publications(record: Record, shape: Shape) -> Iterator[tuple[Address, Digest]]:
    """What a release made immutable: its landed changes from nothing to a digest, in step order."""
    for change in record.applied_changes():
        if (change.address.kind, change.slot) not in shape.permanent or change.before is not None:
            continue
        if isinstance(change.after, str) and digest_problem(change.after) is None:
            yield change.address, Digest(change.after)


def provenance_statement(record: Record, identity: str, release_id: str, shape: Shape) -> Statement | None:
    """SLSA provenance of what a release published, or None where it published nothing."""
    subjects = tuple(Subject(str(address), digest) for address, digest in publications(record, shape))
    if not subjects:
        return None
    run = record.run
    parameters = {"store": identity, "intent": run.intent, "command": run.command, "commit": run.commit}
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {name: value for name, value in parameters.items() if value},
            "internalParameters": {},
            "resolvedDependencies": list(_dependencies(record)),
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"reconciler": run.tool.removeprefix("reconciler ")}},
            "metadata": {"invocationId": release_id},
        },
    }
    return Statement(PROVENANCE, subjects, predicate)


def _dependencies(record: Record) -> Iterator[dict[str, Any]]:
    """The commit, and the sources that landed steps were made from."""
    if _is_commit(record.run.commit):
        yield {"uri": "git+commit", "digest": {"gitCommit": record.run.commit}}
    landed = {r.step for r in record.results or () if r.outcome is Outcome.APPLIED}
    for step in record.steps:
        if step.id in landed:
            for address, source in sorted(step.sources.items()):
                yield {"uri": public_location(source), "name": str(address)}


def _is_commit(text: str) -> bool:
    return len(text) in {40, 64} and not set(text) - set("0123456789abcdef")


def verdict_statement(record: Record, identity: str) -> Statement | None:
    """The verification summary of a release that policy judged, or None for one by hand."""
    run = record.run
    if not run.policy or digest_problem(run.policy) or digest_problem(run.intent):
        return None
    predicate = {
        "verifier": {"id": VERIFIER, "version": {"reconciler": run.tool.removeprefix("reconciler ")}},
        "timeVerified": datetime.fromtimestamp(run.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resourceUri": f"urn:reconciler:store:{identity.partition(' ')[0]}",
        "policy": {
            "uri": "urn:reconciler:policy",
            "digest": {"sha256": run.policy.removeprefix("sha256:")},
        },
        "verificationResult": "PASSED",
        "verifiedLevels": ["RECONCILER_POLICY"],
        "urn:reconciler:findings": [
            {"rule": rule, "severity": severity, "count": count} for rule, severity, count in run.findings
        ],
    }
    return Statement(VERDICT, (Subject("intent", Digest(run.intent)),), predicate)
