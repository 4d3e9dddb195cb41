"""What an account publishes: every label with the entry, schema and storage behind it, whoever made it.

The whole repository is read, so nothing is left out however many labels there are. Nothing is written and
nobody logs in.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from reconciler.cli.console import Console
from reconciler.cli.federation_open import OpenAccount, open_account
from reconciler.errors import Exit, escaped
from reconciler.model import Address
from reconciler.stores.atproto.keys import ENTRY, LABEL, SCHEMA, record_uri
from reconciler.stores.atproto.order import NAME, NAMED_ENTRY, OF_SCHEMA, VERSION
from reconciler.stores.atproto.published import shards_of
from reconciler.stores.atproto.repository import Key, Reading, Stored


def list_labels(args: argparse.Namespace, console: Console) -> Exit:
    """List the account's labels, and the entries that have none."""
    with open_account(args, console) as one:
        rows = [row for row in _rows(one) if args.name in {None, row["name"]}]
        document = {
            "schema": "reconciler/federation-list/v1",
            "store": one.name,
            "did": one.store.did,
            "labels": rows,
        }
    console.answer(document, lambda: "\n".join(_line(row) for row in rows) or "nothing is published")
    return Exit.DONE


def _rows(one: OpenAccount) -> Iterator[dict[str, Any]]:
    reading = one.store.read()
    labelled: set[object] = set()
    for (kind, key), stored in sorted(reading.records.items(), key=_by_name):
        if kind == LABEL:
            entry = stored.slots.get(NAMED_ENTRY)
            labelled.add(entry)
            yield _row(one, reading, Key(LABEL, key), stored, str(entry or ""))
    for (kind, key), stored in sorted(reading.records.items(), key=_by_name):
        if kind == ENTRY and key not in labelled:
            yield _row(one, reading, Key(ENTRY, key), stored, key)


def _by_name(item: tuple[Key, Stored]) -> tuple[str, str, Key]:
    key, stored = item
    return (str(stored.slots.get(NAME, "")), str(stored.slots.get(VERSION, "")), key)


def _row(one: OpenAccount, reading: Reading, key: Key, stored: Stored, entry: str) -> dict[str, Any]:
    found = reading.records.get(Key(ENTRY, entry))
    schema = str(found.slots.get(OF_SCHEMA, "")) if found is not None else ""
    published = reading.records.get(Key(SCHEMA, schema))
    slots = published.slots if published is not None else {}
    storage = found.record.get("storage") if found is not None else None
    return {
        "name": stored.slots.get(NAME, ""),
        "version": stored.slots.get(VERSION, ""),
        "kind": key.kind,
        "key": key.key,
        "cid": stored.cid,
        "entry": record_uri(one.store.did, ENTRY, entry) if found is not None else entry,
        "schema": f"{slots[NAME]}@{slots[VERSION]}" if slots.keys() >= {NAME, VERSION} else schema,
        "storage": str(storage.get("$type", "")).rpartition(".")[2] if isinstance(storage, dict) else "",
        "shards": len(shards_of(found.record, "", "")) if found is not None else 0,
        "createdAt": stored.created or "",
        "managed": one.opened.inventory.owns(Address(one.name, key.kind, key.key)),
        "problems": [problem.to_json() for problem in stored.problems],
    }


def _line(row: dict[str, Any]) -> str:
    name = f"{row['name']}@{row['version']}" if row["version"] else str(row["name"])
    said = "" if row["managed"] else "   unmanaged"
    if row["kind"] == ENTRY:
        said += "   no label"
    elif not row["storage"]:
        said += "   names no entry of this account with data that can be read"
    if row["problems"]:
        said += "   broken"
    shards = f"{row['shards']} {row['storage']}" if row["storage"] else "-"
    return f"{escaped(name, 120):<40} {escaped(str(row['schema']), 60):<24} {escaped(shards, 40)}{said}"
