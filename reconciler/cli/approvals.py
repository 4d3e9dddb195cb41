"""What an apply was shown before it may begin: a signature over the plan, and approvals of its intent.

Both are compared with keys that somebody else chose: a trust document that the operator names, and the
policy of the protected base. What was approved goes into the ledger as it was signed, so that the packet
of the release carries it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.files import read_file
from reconciler.cli.keys import add_trust, required_trust, trust_given
from reconciler.cli.workspace import Opened, source_date_epoch
from reconciler.errors import InvalidInput
from reconciler.evidence.approval import APPROVAL_SIZE, require_approvals
from reconciler.evidence.envelope import ENVELOPE_LIMIT
from reconciler.evidence.signed_file import SUFFIX, file_signers
from reconciler.evidence.statement import PLAN
from reconciler.evidence.trust import Trust, policy_trust, trust_of
from reconciler.governance import Guards
from reconciler.plan import Plan


@dataclass(frozen=True, slots=True)
class Approved:
    """The owners who approved an intent, and their approvals as they were signed."""

    owners: tuple[str, ...] = ()
    envelopes: tuple[str, ...] = ()


def add_approvals(parser: argparse.ArgumentParser) -> None:
    """Add what an apply can be shown."""
    parser.add_argument(
        "--approval",
        metavar="FILE",
        action="append",
        type=Path,
        default=[],
        help="an owner's approval of the intent, made by 'approve'; may be repeated",
    )
    parser.add_argument(
        "--require-approvals", metavar="N", type=int, default=0, help="how many owners must have approved"
    )
    parser.add_argument(
        "--require-signature", action="store_true", help="refuse a plan that no trusted key has signed"
    )
    parser.add_argument("--pull-request", metavar="TEXT", default="", help="where it was reviewed")
    add_trust(parser)


def check_plan_signature(args: argparse.Namespace, plan: bytes | None) -> None:
    """Refuse a saved plan without a trusted signature, where one is required.

    Args:
        args: what the apply was given.
        plan: the very bytes that will be applied, None where there is no saved plan.

    Raises:
        Corrupt: E_NOT_SIGNED, E_ENVELOPE or E_STATEMENT.
        InvalidInput: E_USAGE, there is no saved plan, or nobody is trusted.
    """
    if not args.require_signature:
        return
    if plan is None:
        raise InvalidInput.of(
            "E_USAGE", "only a saved plan can be signed", path="--require-signature", fix="give PLAN"
        )
    trust = required_trust(args)
    place = Path(f"{args.plan}{SUFFIX}")
    file_signers(
        read_file(place, limit=ENVELOPE_LIMIT),
        plan,
        trust,
        predicate_type=PLAN,
        at=source_date_epoch(),
        where=str(place),
    )


def approved(args: argparse.Namespace, plan: Plan, opened: Mapping[str, Opened], guards: Guards) -> Approved:
    """Who approved the intent of a plan that would be recorded: its changes, and what it would make ours.

    The policy of the protected base decides how many owners must have approved, and by which keys; an
    option may ask for more of them, and names keys only where the policy names none.

    Raises:
        Denied: E_APPROVAL, too few owners.
        Stale: E_APPROVAL_USED or E_APPROVAL_EXPIRED.
        Corrupt: E_ENVELOPE or E_STATEMENT.
        InvalidInput: E_USAGE, nobody is trusted; a file cannot be used.
    """
    wanted = max(args.require_approvals, guards.approvals)
    recorded = any(part.steps or part.adopted or part.protection for part in plan.stores)
    if not recorded or not (wanted or args.approval):
        return Approved()
    given = [(str(path), read_file(path, limit=APPROVAL_SIZE)) for path in args.approval]
    used = (
        text for one in opened.values() for record in one.store.history() for text in record.run.approvals
    )
    owners = require_approvals(
        given, plan.intent, _approvers(args, wanted, guards), now=source_date_epoch(), used=used
    )
    return Approved(owners, tuple(data.decode("utf-8") for _, data in given))


def _approvers(args: argparse.Namespace, wanted: int, guards: Guards) -> Trust:
    """The keys of owners, and how many of them must have approved: one, where nobody says more."""
    if guards.approvals:
        return policy_trust(sorted(guards.approvers), count=wanted, where="approvals of the policy")
    trust = trust_given(args)
    if trust is None:
        raise InvalidInput.of(
            "E_USAGE",
            "whose approvals count is not said",
            path="--approval",
            fix="give --trust FILE, or --key PUBLIC.pem for each owner",
        )
    return trust_of(trust.keys, threshold=max(wanted, 1), where="--require-approvals")
