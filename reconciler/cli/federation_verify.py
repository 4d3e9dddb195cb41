"""Whether an account serves exactly what git says: nothing is missing, moved, broken or hidden.

The records are compared as `plan` compares them, byte for byte by their CIDs, and the head that they stand
under must be signed with the key of the account's identity; where that cannot be looked at it is not proved,
which is a warning. Beyond that it asks what other readers get: a label of somebody else with the same name
and version that is newer stands before ours, and readers that look at the newest hundred labels only
(atdata's own client) miss the others. With `--deep` every shard is fetched, its hash compared, and one sample
of it decoded.

A failed check ends with exit code 8, a shard that cannot be fetched with 10. Nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from reconciler.cli.console import Console
from reconciler.cli.promotions import account
from reconciler.cli.workspace import Opened, Workspace
from reconciler.errors import Exit, InvalidInput, Problem, ReconcilerError, Unavailable, escaped
from reconciler.model import Address, Change, Declaration, Shard
from reconciler.stores.atproto.dagcbor import Data
from reconciler.stores.atproto.keys import ENTRY, LABEL, SCHEMA
from reconciler.stores.atproto.order import NAME, OF_SCHEMA, VERSION
from reconciler.stores.atproto.published import (
    SEEN,
    bucket_of,
    labels_by_name,
    newest_by_name,
    out_of_sight,
    shards_of,
)
from reconciler.stores.atproto.repository import Key, Reading
from reconciler.stores.atproto.signature import Verdict
from reconciler.stores.atproto.store import AtprotoStore
from reconciler.stores.bucket.reading import ShardReader, check_hash
from reconciler.stores.bucket.sample import sampled

PASSED: Final = "passed"
FAILED: Final = "failed"
UNKNOWN: Final = "unknown"
WARNING: Final = "warning"


class Check(NamedTuple):
    """One thing that was looked at, and what came of it."""

    name: str
    subject: str
    status: str
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """Its members."""
        return self._asdict()


def verify(args: argparse.Namespace, console: Console) -> Exit:
    """Compare the account with git."""
    with Workspace.open(args, console) as workspace:
        config = workspace.selected[0]
        opened = workspace.opened(config)
        store = account(opened.store)
        checks = [*_records(workspace, opened), _signature(store), *_sight(store, workspace)]
        if args.deep:
            checks += _shards(workspace, store, console)
        document = {
            "schema": "reconciler/federation-verify/v1",
            "store": config.name,
            "did": store.did,
            "commit": workspace.desired.commit,
            "depth": "deep" if args.deep else "heads",
            "checks": [check.to_json() for check in checks],
            "summary": {status: _count(checks, status) for status in (PASSED, FAILED, UNKNOWN, WARNING)},
        }
    console.answer(document, lambda: _text(config.name, checks))
    if _count(checks, FAILED):
        return Exit.CORRUPT
    return Exit.UNAVAILABLE if _count(checks, UNKNOWN) else Exit.DONE


def _count(checks: list[Check], status: str) -> int:
    return sum(check.status == status for check in checks)


def _records(workspace: Workspace, opened: Opened) -> Iterator[Check]:
    """Every declared record is there as declared, and nothing of ours is there besides."""
    name = opened.config.name
    plan = workspace.plan({name: opened}).stores[0]
    changes: dict[Address, list[Change]] = {}
    for change in plan.changes:
        changes.setdefault(change.address, []).append(change)
    for wish in workspace.desired.of_store(name):
        found = changes.pop(wish.address, [])
        what = f"{wish.address.kind} {_called(wish)}"
        yield Check("record", what, FAILED if found else PASSED, _differs(found))
    for address in changes:
        yield Check("record", f"{address.kind} {address.key}", FAILED, "it is ours and not declared any more")


def _called(wish: Declaration) -> str:
    slots = wish.slots
    version = f"@{slots[VERSION]}" if VERSION in slots else ""
    return f"{slots[NAME]}{version}" if NAME in slots else wish.address.key


def _differs(changes: list[Change]) -> str:
    if not changes:
        return ""
    if all(change.before is None for change in changes):
        return "it is missing"
    if all(change.after is None for change in changes):
        return "it is there and must not be"
    return "it is not what git says"


_OF_VERDICT: Final = {Verdict.PROVED: PASSED, Verdict.WRONG: FAILED, Verdict.UNPROVED: WARNING}


def _signature(store: AtprotoStore) -> Check:
    """Whether the account signed what it serves."""
    found = store.proof()
    detail = found.reason if found.verdict is not Verdict.UNPROVED else f"not proved: {found.reason}"
    return Check("signature", store.did, _OF_VERDICT[found.verdict], detail)


def _sight(store: AtprotoStore, workspace: Workspace) -> Iterator[Check]:
    """What readers get for the names that git declares."""
    reading = store.read()
    ours = {
        Key(LABEL, wish.address.key)
        for wish in workspace.desired.of_store(store.config.name)
        if wish.address.kind == LABEL and wish.slots
    }
    first = {of: keys[0] for of, keys in labels_by_name(reading).items() if ours.intersection(keys)}
    for (name, version), key in first.items():
        if key not in ours:
            detail = f"readers get the newer label {key.key} of somebody else"
            yield Check("label", f"{name}@{version}", FAILED, detail)
    names = {name for name, _ in first}
    for name, newest in newest_by_name(reading).items():
        if name in names and newest not in ours.union(first.values()):
            detail = f"readers who ask for no version get the label {newest.key} of somebody else"
            yield Check("label", name, WARNING, detail)
    hidden = sum(Key(LABEL, key) in ours for key in out_of_sight(reading.records.items()))
    if hidden:
        detail = f"atdata's own client looks at the newest {SEEN} labels and does not find {hidden} of ours"
        yield Check("label", store.did, WARNING, detail)


def _shards(workspace: Workspace, store: AtprotoStore, console: Console) -> Iterator[Check]:
    """Every shard of every declared entry."""
    reading = store.read()
    reader = workspace.data.reader(private=store.config.settings.get("allowPrivate") is True)
    for wish in workspace.desired.of_store(store.config.name):
        stored = reading.records.get(Key(ENTRY, wish.address.key))
        if wish.address.kind != ENTRY or not wish.slots or stored is None:
            continue
        shards = shards_of(stored.record, store.account.service, store.did)
        required = _required(reading, stored.slots)
        if (elsewhere := _elsewhere(reader, stored.record)) is not None:
            yield Check("shard", _called(wish), UNKNOWN, elsewhere)
            continue
        for number, shard in enumerate(shards, 1):
            console.note(f"{_called(wish)}: shard {number} of {len(shards)}")
            yield _shard(reader, shard, f"{_called(wish)} {number}/{len(shards)}", required)


def _elsewhere(reader: ShardReader, entry: Mapping[str, Data]) -> str | None:
    """Why shards in a bucket are not fetched: a server that only a record names gets no credentials."""
    bucket, endpoint = bucket_of(entry)
    try:
        if not endpoint or reader.asks(bucket, endpoint):
            return None
    except InvalidInput as error:
        return _said(error.problems[0])
    return f"it names {endpoint}, and no store of kind bucket declares that server for {bucket}"


def _required(reading: Reading, slots: Mapping[str, Any]) -> frozenset[str]:
    """The fields that a sample must have, by the entry's schema."""
    schema = reading.records.get(Key(SCHEMA, str(slots.get(OF_SCHEMA, ""))))
    body = schema.record.get("schema") if schema is not None else None
    required = body.get("required") if isinstance(body, dict) else None
    return frozenset(str(name) for name in required) if isinstance(required, list) else frozenset()


def _shard(reader: ShardReader, shard: Shard, subject: str, required: frozenset[str]) -> Check:
    try:
        found = sampled(reader.pieces(shard.url), where=subject)
        check_hash(shard, found.sha256)
    except Unavailable as error:
        return Check("shard", subject, UNKNOWN, _said(error.problems[0]))
    except ReconcilerError as error:
        status = UNKNOWN if isinstance(error, InvalidInput) and error.code == "E_ENV" else FAILED
        return Check("shard", subject, status, _said(error.problems[0]))
    missing = sorted(required.difference(found.fields)) if found.fields else []
    if missing:
        return Check("shard", subject, FAILED, f"sample {found.key} has no field {missing[0]}")
    hashed = "its hash holds" if shard.sha256 else "no hash is published for it"
    return Check("shard", subject, PASSED, f"{found.size} bytes, {hashed}, sample {found.key} decoded")


def _said(problem: Problem) -> str:
    return f"{problem.code}: {problem.message}"


def _text(store: str, checks: list[Check]) -> str:
    lines = [
        f"  {check.status:<8} {check.name:<7} {escaped(check.subject, 160)}"
        + (f"   {escaped(check.detail, 200)}" if check.detail else "")
        for check in checks
        if check.status != PASSED or check.name == "shard"
    ]
    passed = _count(checks, PASSED)
    failed = _count(checks, FAILED) + _count(checks, UNKNOWN)
    verdict = "serves exactly what git says" if not failed else f"{failed} checks did not pass"
    return "\n".join((*lines, f"{store}: {passed} of {len(checks)} checks passed; {verdict}"))
