"""A repository and the stores it names, opened for one command.

Puts the edges together: the tree at a commit becomes `Desired`, each store of `stores.yaml` becomes an
open `Store`, and the two become a `Plan` with its findings. Commands ask it for values; it decides
nothing that a pure module could decide. Environment variables that a location names are read here and
nowhere else.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reconciler import __version__
from reconciler.cli.committed import files_of
from reconciler.cli.files import Standing, standing
from reconciler.cli.lineage import lineage
from reconciler.cli.pinned import listed
from reconciler.cli.protected import Protected, load_tree, protect
from reconciler.cli.surveys import ledger_of, surveyed
from reconciler.diff import Difference, compared, difference
from reconciler.errors import InvalidInput, OutcomeUnknown
from reconciler.governance import Base, Chosen, InForce, Pins, holder, instant
from reconciler.ledger import Inventory, Record, Run, inventory
from reconciler.model import Address, Depth, Desired, Selection, StoreConfig
from reconciler.plan import Plan, StorePlan, store_plan
from reconciler.policy import Facts, Purpose, StoreFacts, judge, policy_digest
from reconciler.policy.account import points_headroom
from reconciler.policy.budgets import headroom
from reconciler.policy.lines import followed, touched
from reconciler.shape import Shape
from reconciler.stores.keeping import keeper
from reconciler.stores.port import ADAPTERS, Store, Surroundings, adapter, refuse_lost_records

if TYPE_CHECKING:
    from reconciler.cli.console import Console
    from reconciler.cli.promotion_data import PromotionData
    from reconciler.cli.promotion_sources import PromotionSources
    from reconciler.desired.loader import Loaded
    from reconciler.desired.tree import Tree
    from reconciler.snapshot import Snapshot

TOOL = f"reconciler {__version__}"

_EPOCH = "SOURCE_DATE_EPOCH"
_EPOCH_DIGITS = 12


@dataclass(slots=True)
class Opened:
    """One open store, what its ledger says is ours, and the number of its last record."""

    store: Store
    shape: Shape
    inventory: Inventory
    last: Record | None

    @property
    def config(self) -> StoreConfig:
        """Where it is."""
        return self.store.config

    @property
    def unproved(self) -> str:
        """The digest of the backup that the store was restored from; empty, or once a drill proved it."""
        restored = keeper(self.store).restored() if self.store.capabilities.keeps else None
        return restored.backup if restored else ""

    def require_finished(self) -> None:
        """Refuse to plan over a run that a killed process left open, or a ledger that lost its end.

        Raises:
            OutcomeUnknown: E_UNFINISHED.
            Corrupt: E_LEDGER_CHAIN.
        """
        if self.last is not None and self.last.results is None:
            raise OutcomeUnknown.of(
                "E_UNFINISHED",
                f"run {self.last.seq} of store {self.config.name} was stopped before its end",
                path=self.config.name,
                fix="run 'reconciler apply', which finishes it first",
            )
        refuse_lost_records(self.store, self.last.seq if self.last else 0)


@dataclass
class Workspace:
    """The desired state of one commit and the stores that the command selected."""

    root: Path
    tree: Tree
    desired: Desired
    protected: Protected
    pins: Pins
    now: int
    selected: tuple[StoreConfig, ...]
    lock_timeout: float
    progress: Console
    live: Snapshot | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    records: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls, args: Namespace, console: Console, *, ref: str | None = None, live: Snapshot | None = None
    ) -> Workspace:
        """Read the desired state that the arguments name; with a snapshot, no store will be opened.

        Raises:
            InvalidInput: the desired state is not valid, or a store is not declared.
            Denied: a store is declared only in the change under review.
        """
        root, tree = open_tree(args, console, ref=ref)
        loaded = load_tree(tree, args)
        protected = protect(args, root, tree, loaded)
        desired = protected.over(loaded.desired)
        names = args.store or _in_order(desired)
        for name in names:
            protected.check_store(name)
            if name not in desired.stores:
                raise InvalidInput.of(
                    "E_STORE_UNKNOWN",
                    "no such store is declared",
                    path="--store",
                    got=name,
                    fix=f"one of {', '.join(sorted(desired.stores)) or 'none: stores.yaml names no store'}",
                )
        selected = tuple(_located(desired.stores[name], live) for name in dict.fromkeys(names))
        return cls(
            root=root,
            tree=tree,
            desired=desired,
            protected=protected,
            pins=loaded.pins,
            now=_judged_at(console),
            selected=selected,
            lock_timeout=args.lock_timeout,
            progress=console,
            live=live,
        )

    @classmethod
    def rehearsal(cls, root: Path, tree: Tree, loaded: Loaded, live: Snapshot, console: Console) -> Workspace:
        """A tree that its own guards judge at the time of a snapshot, over stores that nobody opens."""
        commit = Base(commit=tree.commit, tip=tree.commit, chosen=Chosen.PLANNED)
        governance = loaded.desired.governance
        return cls(
            root=root,
            tree=tree,
            desired=loaded.desired,
            protected=Protected(base=commit, guards=loaded.guards, governance=governance, proposal=None),
            pins=loaded.pins,
            now=live.time,
            selected=tuple(_located(config, live) for _, config in sorted(loaded.desired.stores.items())),
            lock_timeout=0,
            progress=console,
            live=live,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def opened(self, config: StoreConfig) -> Opened:
        """Open one store, fold its ledger, and declare what is promoted to it.

        Raises:
            InvalidInput: everything that is wrong with the promotions.
            Unavailable: a source of the promotions cannot be read.
        """
        one = self.by_hand(config)
        self.promote(one)
        return one

    def promote(self, one: Opened) -> None:
        """Declare what is promoted to an open store."""
        if not any(promotion.store == one.config.name for promotion in self.desired.promotions):
            return
        if self.live is not None:
            from reconciler.cli.promotions_live import promoted  # noqa: PLC0415 - only accounts need it

            seen = promoted(self.desired, one.store, one.inventory, self.live, self.surroundings)
            self.desired = seen.desired
            self.records.update(seen.records)
            self.notes += seen.notes
            return
        from reconciler.cli.promotions import resolve_promotions  # noqa: PLC0415 - as above

        self.desired = resolve_promotions(self.desired, one.store, self.sources, self.data, self.records)

    def by_hand(self, config: StoreConfig) -> Opened:
        """Open one store and fold its ledger; what git promotes to it is not looked at."""
        kind = adapter(config.kind)
        if self.live is not None:
            from reconciler.cli.live import stand_in  # noqa: PLC0415 - only without the live stores

            seen = stand_in(self.live, config, kind.SHAPE, self.surroundings)
            return Opened(seen, kind.SHAPE, self.live.of_store(config).inventory, None)
        store = kind.open_store(config, self.surroundings)
        self._stack.callback(store.close)
        one = refreshed(store, kind.SHAPE)
        if one.unproved:
            self.progress.note(
                f"warning: {config.name} was restored from backup {one.unproved}, and no drill proved it; "
                f"run 'reconciler recovery drill --restored --store {config.name}'"
            )
        return one

    @cached_property
    def sources(self) -> PromotionSources:
        """Where promotions come from; each is opened when it is needed."""
        from reconciler.cli.promotion_sources import PromotionSources  # noqa: PLC0415 - as above

        return PromotionSources(self.desired, self._reached, self.surroundings, self._stack)

    @cached_property
    def data(self) -> PromotionData:
        """Where the data of promotions is, or goes."""
        from reconciler.cli.promotion_data import PromotionData  # noqa: PLC0415 - as above

        return PromotionData(self.desired, self._reached, self.surroundings, self._stack, notes=self.notes)

    def _reached(self, config: StoreConfig) -> StoreConfig:
        """Where a store is, with what the environment says of it."""
        return _located(config, self.live)

    def copy_data(self, plan: Plan) -> tuple[str, ...]:
        """Copy what the promotions of a plan want copied, before the records that name the copies.

        Returns:
            What was copied.

        Raises:
            Corrupt: a shard is not what was planned; no record was written.
            InvalidInput, Unavailable: there is no login, or it cannot be copied; no record was written.
        """
        if not self.desired.promotions:
            return ()
        return self.data.copy(change.address for part in plan.stores for change in part.changes)

    @property
    def surroundings(self) -> Surroundings:
        """What an adapter may know of the world."""
        return Surroundings(
            root=self.root,
            governance=self.desired.governance,
            lock_timeout=self.lock_timeout,
            progress=self.progress.note,
            blobs=files_of(self.tree),
            records=self.records,
            variables=os.environ,
        )

    def plan(
        self, opened: Mapping[str, Opened], depth: Depth = Depth.MANIFESTS, purpose: Purpose = Purpose.REVIEW
    ) -> Plan:
        """Compare the wish with the stores and judge the result; nothing is written.

        Raises:
            Corrupt: something declared or owned is broken.
            OutcomeUnknown: E_UNFINISHED.
        """
        parts: list[StorePlan] = []
        facts: list[StoreFacts] = []
        for config in self.selected:
            one = opened[config.name]
            one.require_finished()
            found = self._difference(one, depth)
            part = store_plan(config, one.shape, found, depth=depth)
            parts.append(part)
            known = StoreFacts(
                plan=part,
                difference=found,
                inventory=one.inventory,
                touched=touched(part, found.observed),
                missing_sources=frozenset(self._missing_sources(part)),
                lineage=lineage(self.root, self.desired.commit, one.inventory.commit) if part.steps else None,
            )
            facts.append(surveyed(known, one.store, self._above, None if self.live else ledger_of))
        judged = self.facts(facts, purpose)
        guards = judged.guards
        return Plan(
            stores=tuple(parts),
            commit=self.desired.commit,
            policy=policy_digest(guards),
            tool=TOOL,
            findings=judge(judged, self.protected.proposal).findings,
            notes=(
                *self.notes,
                *(note for one in facts for note in followed(one.plan, one.lines, one.touched)),
            ),
            in_force=InForce(
                base=self.protected.base,
                policy=guards.origin,
                exceptions=tuple(one for one in guards.exceptions if not one.expired(self.now)),
                headroom=(*headroom(judged), *points_headroom(judged)),
            ),
        )

    def facts(self, stores: Iterable[StoreFacts], purpose: Purpose) -> Facts:
        """What rules may know of some stores, by the guards of the protected base.

        Raises:
            InvalidInput: E_PINS, a file that the promotion rules ask for is missing or not of its form.
        """
        guards = self.protected.guards
        pins, manifest_ids = listed(self.tree, self.pins, guards.governance.promotion)
        return Facts(
            desired=self.desired,
            guards=guards,
            stores=tuple(stores),
            pins=pins,
            manifest_ids=manifest_ids,
            now=self.now,
            terms=self.desired.terms,
            purpose=purpose,
        )

    def _difference(self, one: Opened, depth: Depth) -> Difference:
        name = one.config.name
        wishes = self.desired.of_store(name)
        everything = name in self.desired.authoritative
        addresses = None if everything else compared(name, wishes, one.inventory, one.shape)
        seen = one.store.snapshot(Selection(addresses=addresses, depth=depth))
        return difference(
            wishes,
            seen,
            one.inventory,
            shape=one.shape,
            everything_ours=everything,
            holder=holder(self.protected.guards, self.now),
        )

    def _above(self, name: str) -> Store:
        """The store that another one's `promotesFrom` names, to read."""
        return self.opened(_located(self.desired.stores[name], self.live)).store

    def _missing_sources(self, part: StorePlan) -> Iterator[Address]:
        for step in part.steps:
            for address, source in step.sources.items():
                if source not in self.desired.committed and standing(self.root / source) is Standing.MISSING:
                    yield address

    def run_of(self, plan: Plan, saved: str, command: str) -> Run:
        """What the ledger says of an apply of this plan."""
        metas = [meta for meta in self.desired.metas.values() if meta]
        return Run(
            by="git",
            time=self.desired.commit_time,
            tool=TOOL,
            commit=self.desired.commit,
            author=self.desired.author,
            reason="; ".join(dict.fromkeys(meta.reason for meta in metas if meta.reason)),
            owner="; ".join(dict.fromkeys(meta.owner for meta in metas if meta.owner)),
            ticket="; ".join(dict.fromkeys(meta.ticket for meta in metas if meta.ticket)),
            intent=plan.intent,
            plan=saved,
            policy=plan.policy,
            command=command,
            findings=tuple(
                (rule, severity, count)
                for (rule, severity), count in sorted(
                    Counter((finding.rule, finding.severity.value) for finding in plan.findings).items()
                )
            ),
        )


def _in_order(desired: Desired) -> list[str]:
    """The stores that hold something, by name; accounts last, because their records refer to the others."""
    stores = [config for config in desired.stores.values() if config.kind in ADAPTERS]
    return [one.name for one in sorted(stores, key=lambda one: (one.kind == "atproto", one.name))]


def refreshed(store: Store, shape: Shape) -> Opened:
    """Read a store's ledger: what is ours, and its last record."""
    last: list[Record] = []

    def noted() -> Iterator[Record]:
        for record in store.history():
            last[:] = [record]
            yield record

    ours = inventory(noted())
    return Opened(store, shape, ours, last[0] if last else None)


def open_tree(args: Namespace, console: Console, *, ref: str | None = None) -> tuple[Path, Tree]:
    """The repository's root and the tree that the arguments name.

    Raises:
        InvalidInput: there is no repository, or the ref is not a commit.
    """
    from reconciler.desired.git import open_commit, repository_root  # noqa: PLC0415 - GitPython is slow to import
    from reconciler.desired.worktree import open_worktree  # noqa: PLC0415 - as above

    root = repository_root(_start(args.repo))
    if args.worktree:
        return root, open_worktree(root, now=source_date_epoch())
    return root, open_commit(
        root,
        ref or ("HEAD" if args.ref is None else args.ref),
        warn=lambda line: console.note(f"warning: {line}"),
    )


def _start(repo: str | None) -> Path:
    """Where to look for the repository.

    Raises:
        InvalidInput: E_GIT_REPO, the option is empty: a variable that is not set must not mean "here".
    """
    if repo == "":
        raise InvalidInput.of(
            "E_GIT_REPO", "the option names no directory", path="--repo", got=repo, fix="name the repository"
        )
    return Path.cwd() if repo is None else Path(repo)


def _judged_at(console: Console) -> int:
    """The moment of the run; one that is not the clock's is said, because it moves windows and expiries."""
    now = source_date_epoch()
    if _EPOCH in os.environ:
        console.note(
            f"warning: {_EPOCH} is set: windows, expiries and soak times are judged at {instant(now)}"
        )
    return now


def source_date_epoch() -> int:
    """Unix seconds for what has no commit time: SOURCE_DATE_EPOCH, else the clock.

    Raises:
        InvalidInput: E_ENV, the variable is not a number of at most twelve digits.
    """
    import time  # noqa: PLC0415 - the one place that reads the clock

    text = os.environ.get(_EPOCH)
    if text is None:
        return int(time.time())
    if not text.isascii() or not text.isdigit() or len(text) > _EPOCH_DIGITS:
        raise InvalidInput.of(
            "E_ENV",
            f"{_EPOCH} is not a number of seconds with at most {_EPOCH_DIGITS} digits",
            got=text,
            fix="set it to unix seconds, or unset it",
        )
    return int(text)


def _located(config: StoreConfig, live: Snapshot | None) -> StoreConfig:
    """Fill in the settings that name an environment variable; credentials are left to the adapter.

    Where a snapshot stands in for the stores, it says what the variables hold.
    """
    settings: dict[str, Any] = {}
    if live is not None:
        known = live.of_store(config).settings
        return replace(
            config,
            settings={
                name: known.get(name, "") if isinstance(value, Mapping) else value
                for name, value in config.settings.items()
            },
        )
    for name, value in config.settings.items():
        if isinstance(value, Mapping) and "env" in value and name != "credentials":
            variable = value["env"]
            if not os.environ.get(variable):
                raise InvalidInput.of(
                    "E_ENV",
                    f"store {config.name} takes its {name} from a variable that is not set",
                    path=config.place.path,
                    line=config.place.line,
                    got=variable,
                    fix=f"set {variable}",
                )
            settings[name] = os.environ[variable]
        else:
            settings[name] = value
    return replace(config, settings=settings)
