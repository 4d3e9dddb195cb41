"""The changes of an account by hand: promote one version, withdraw one version.

Both decide with the rules of documents and commit through the port, so lexicons, lock, ledger, retries and
recovery are those of `apply`. Before anything is written the operation says what it found: entry, schema,
shards by their URLs, login and cost; a dry run stops there. Data that is to be copied is copied before the
records that name it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from reconciler.cli.byhand import Hand
from reconciler.cli.byhand_write import (
    Decide,
    Intention,
    answer_written,
    carry_out,
    changes_to,
    slots_of,
)
from reconciler.cli.console import Console
from reconciler.cli.federation_open import (
    COMMAND_LINE,
    OpenAccount,
    Wanted,
    check_version,
    open_account,
    wanted,
)
from reconciler.cli.promotion_data import entry_key
from reconciler.cli.promotions import publisher_of
from reconciler.errors import Denied, Exit, InvalidInput
from reconciler.governance import instant
from reconciler.model import Address, Change, Declaration, Observed, Promotion, public_location
from reconciler.points import allowance_of, points_of
from reconciler.render.text import plural
from reconciler.stores.atproto.budget import HOUR
from reconciler.stores.atproto.dagcbor import Data
from reconciler.stores.atproto.keys import COLLECTIONS, ENTRY, LABEL, SCHEMA, record_key, record_uri
from reconciler.stores.atproto.order import ENTRIES
from reconciler.stores.atproto.repository import Key, Reading
from reconciler.stores.atproto.resolution import Resolution, placed, resolved
from reconciler.stores.atproto.sample_schema import fragile_fields
from reconciler.stores.atproto.shards import storage_of

_LISTED: Final = 20


class _Decided(NamedTuple):
    """Which records an operation is about, and what it does with what stands there."""

    addresses: tuple[Address, ...]
    decide: Decide


def promote(args: argparse.Namespace, console: Console) -> Exit:
    """Publish one version."""
    with open_account(args, console) as one:
        want, reading = wanted(args, one), one.store.read()
        try:
            source = one.workspace.data.placed(want.promotion, want.source, one.store, reading)
        except InvalidInput as error:
            raise InvalidInput(placed(error.problems, COMMAND_LINE)) from error
        want = replace(want, source=source)
        found = resolved([(want.promotion, source)], publisher_of(one.store.did, reading))
        one.workspace.records.update(found.records)
        desired = one.workspace.desired  # policy judges what is said here, as it would judge a document
        one.workspace.desired = replace(desired, terms={**desired.terms, **found.terms})
        _check_assumed(want, reading)

        def decide(live: Mapping[Address, Observed]) -> Intention:
            changes = tuple(_towards(found.declarations.values(), live))
            notes = tuple(_preflight(one, want, changes))
            if changes:
                one.store.log_in()
                if not args.dry_run:
                    notes = _told(console, notes)
                    one.workspace.data.copy(change.address for change in changes)
            return Intention(
                changes=changes, said="it is published", sources=_sources(found, changes), notes=notes
            )

        _carry_out(console, args, one, want.promotion, _Decided(tuple(found.declarations), decide))
    return Exit.DONE


def withdraw(args: argparse.Namespace, console: Console) -> Exit:
    """Take one version from the account."""
    name, at, version = args.reference.rpartition("@")
    if not at or not name:
        raise InvalidInput.of("E_USAGE", "name one version", got=args.reference, fix="write NAME@VERSION")
    check_version(version)
    with open_account(args, console) as one:
        promotion = Promotion(
            store=one.name, name=name, version=version, place=COMMAND_LINE, reason=args.reason or "by hand"
        )
        reading = one.store.read()
        found = resolved([(promotion, None)], publisher_of(one.store.did, reading))

        def decide(live: Mapping[Address, Observed]) -> Intention:
            changes = tuple(_towards(found.declarations.values(), live))
            if changes:
                one.store.log_in()
            notes = tuple(_left(reading, name, version))
            return Intention(changes=changes, said="no such version was promoted", notes=notes)

        _carry_out(console, args, one, promotion, _Decided(tuple(found.declarations), decide))
    return Exit.DONE


def _carry_out(
    console: Console, args: argparse.Namespace, one: OpenAccount, promotion: Promotion, plan: _Decided
) -> None:
    hand = Hand(one.opened, one.workspace.root, one.workspace)
    written = carry_out(args, console, hand, addresses=plan.addresses, decide=plan.decide)
    subject = {
        "store": one.name,
        "did": one.store.did,
        "name": promotion.name,
        "version": promotion.version,
        "uri": record_uri(one.store.did, ENTRY, entry_key(promotion)),
    }
    answer_written(console, hand, written, "reconciler/federation-write/v1", subject)


def _towards(wishes: Iterable[Declaration], live: Mapping[Address, Observed]) -> Iterator[Change]:
    """The changes that give every address what is wished of it."""
    for wish in wishes:
        slots = slots_of(live, wish.address)
        if wish.slots:
            yield from changes_to(wish.address, slots, wish.slots)
        else:
            yield from (
                Change(wish.address, slot, slots[slot], None) for slot in sorted(slots) if slot != ENTRIES
            )


def _sources(found: Resolution, changes: Iterable[Change]) -> dict[Address, str]:
    wishes = (found.declarations[change.address] for change in changes)
    return {wish.address: wish.source for wish in wishes if wish.source is not None}


def _check_assumed(want: Wanted, reading: Reading) -> None:
    """A version that nobody named must not replace one that comes from something else.

    Raises:
        Denied: E_PROMOTED_EXISTS.
    """
    stored = reading.records.get(Key(ENTRY, entry_key(want.promotion)))
    if want.assumed and stored is not None and not _same_origin(want, stored.record):
        raise Denied.of(
            "E_PROMOTED_EXISTS",
            f"version {want.promotion.version} of it comes from something else, and no version was named",
            path="--version",
            got=want.promotion.name,
            fix="give --version: a new one, or this one to replace it",
        )


def _same_origin(want: Wanted, live: Mapping[str, Data]) -> bool:
    """Whether a live entry comes from what is promoted: the same entry or revision, else the same shards."""
    about, source = live.get("contentMetadata"), want.source
    before = about.get("source", {}) if isinstance(about, dict) else {}
    if before != dict(source.provenance):
        return False
    storage = source.storage or storage_of(source.shards, where="")
    return want.entry is not None or live.get("storage") == storage


def _told(console: Console, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Tell people at once, before anything is written; what is left for the answer."""
    if console.output == "json":
        return notes
    for note in notes:
        console.note(f"note: {note}")
    return ()


def _preflight(one: OpenAccount, want: Wanted, changes: tuple[Change, ...]) -> Iterator[str]:
    """What was found before anything is written."""
    source, promotion = want.source, want.promotion
    if want.entry is not None:
        yield f"entry {want.entry.name}, {want.entry.cid}"
    schema = "@".join(str(source.schema[part]) for part in ("name", "version"))
    creates = any(change.address.kind == SCHEMA and change.before is None for change in changes)
    yield f"schema {schema} is published with it" if creates else f"schema {schema} stands there already"
    fragile = fragile_fields(source.schema)
    if fragile:
        yield (
            f"atdata's own client cannot load this schema: the optional field {fragile[0]} comes before a "
            "required one in the order that servers give"
        )
    copies = one.workspace.data.copies.get(Address(one.name, ENTRY, entry_key(promotion)), ())
    where = f"copied to {promotion.copy_to}" if promotion.copy_to else "left where the data is"
    yield f"{plural(len(source.shards), 'shard')} {where}" + (
        f", {sum(copy.measured.size for copy in copies)} bytes" if copies else ""
    )
    for shard in source.shards[:_LISTED]:
        yield f"shard {public_location(shard.url)}"
    if len(source.shards) > _LISTED:
        yield f"and {plural(len(source.shards) - _LISTED, 'more shard')}"
    if changes:
        allowed = allowance_of(one.store.config)
        cost = points_of(changes)
        yield f"login as {one.store.did}"
        yield f"the writes cost {cost} points of the {allowed.hour} of an hour and the {allowed.day} of a day"
        for seconds, left in one.store.budget.left(one.workspace.now).items():
            until = instant(left.reset)
            yield f"of {seconds // HOUR} h the server said that {left.points} points are left until {until}"


def _left(reading: Reading, name: str, version: str) -> Iterator[str]:
    """Labels of the same name and version that are not ours to take."""
    own = record_key(COLLECTIONS[LABEL], name, version)
    for (kind, key), stored in reading.records.items():
        named = stored.slots.get("name") == name and stored.slots.get("version") == version
        if kind == LABEL and named and key != own:
            yield f"another label {name}@{version} stands there as {key}; it was not promoted from here"
