"""Approve what a plan would do: sign its intent with an owner's key.

The intent covers the steps, the values that they start from, the stores and the policy, so an approval
holds for exactly what was shown and for nothing else. It is good for seven days and works once. Policy says
how many owners must have approved; `apply --approval FILE` shows it their approvals.

for example:
  reconciler approve sha256:9f02… --key env:ADA_KEY --out ada.approval.json
  reconciler approve plan.json --key ada.key --out ada.approval.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.cli.files import read_file, replace_file
from reconciler.cli.keys import add_signing_key, signing_keys
from reconciler.cli.options import add_output
from reconciler.cli.workspace import source_date_epoch
from reconciler.errors import Exit
from reconciler.evidence.approval import LIFETIME, approval_statement
from reconciler.evidence.envelope import envelope_bytes, sealed
from reconciler.plan import PLAN_LIMIT, read_saved

SCHEMA = "reconciler/approve/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("intent", metavar="INTENT", help="the intent that a plan shows, or the saved plan")
    add_signing_key(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="where the approval is written"
    )
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, console: Console) -> Exit:
    """Sign the intent."""
    keys = signing_keys(args.key)
    intent = _intent(args.intent)
    issued = source_date_epoch()
    envelope = sealed(approval_statement(intent, issued=issued), keys)
    replace_file(args.out, envelope_bytes(envelope))
    console.answer(
        {
            "schema": SCHEMA,
            "intent": intent,
            "issued": issued,
            "expires": issued + LIFETIME,
            "keyids": [signature.keyid for signature in envelope.signatures],
            "out": str(args.out),
        },
        lambda: f"approved {intent}\n{args.out}: give it to 'reconciler apply --approval', within seven days",
    )
    return Exit.DONE


def _intent(text: str) -> str:
    if text.startswith("sha256:"):
        return text
    return read_saved(read_file(Path(text), limit=PLAN_LIMIT), where=text).intent
