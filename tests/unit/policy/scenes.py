"""Plans of memory stores and registries, with everything that rules may know of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from reconciler.canonical import sha256_digest
from reconciler.cli.surveys import surveyed
from reconciler.diff import Difference, difference
from reconciler.governance import Governance, Guards, Pins
from reconciler.ledger import Inventory, inventory
from reconciler.model import (
    NOTHING,
    Address,
    Declaration,
    Depth,
    Desired,
    Finding,
    Meta,
    Observed,
    Place,
    Selection,
    Slots,
    StoreConfig,
    Yank,
)
from reconciler.plan import StorePlan, store_plan
from reconciler.policy import RULES, Facts, StoreFacts
from reconciler.policy.lines import touched
from reconciler.stores.memory import SHAPE, forget, memory_state, open_store
from reconciler.stores.memory_contents import Alias, Contents, Entry
from reconciler.stores.port import Store
from reconciler.stores.registry.order import SHAPE as REGISTRY

_NAMES = count(1)
NOW = 1_800_000_000


def human(release: int) -> str:
    return f"{release}/homo_sapiens/GRCh38"


def mouse(release: int) -> str:
    return f"{release}/mus_musculus/GRCm39"


def at(key: str, store: str = "m") -> Address:
    return Address(store, "dataset", key)


def digest_of(key: str) -> str:
    return sha256_digest(key.encode())


def listed(key: str, *, store: str = "m", digest: str = "", path: str = "catalog.yaml") -> Declaration:
    slots: Slots = {"artifact": digest or digest_of(key), "entry": "listed"}
    return Declaration(at(key, store), slots, Place(path, 7, 1), source=f"builds/{key}")


def gone(key: str, *, store: str = "m") -> Declaration:
    return Declaration(at(key, store), NOTHING, Place("catalog.yaml", 9, 1), reason="superseded")


def latest(key: str, *, store: str = "m", alias: str = "latest") -> Declaration:
    slots: Slots = {"dataset": key, "binding": "catalog"}
    return Declaration(Address(store, "alias", alias), slots, Place("catalog.yaml", 3, 1))


def live(
    keys: Iterable[str], pointing: str | None = None, *, name: str = "m", upstream: str | None = None
) -> Store:
    """A memory store in which these datasets are listed and `latest` names one of them."""
    state = f"scene-{next(_NAMES)}"
    forget(state)
    datasets = sorted(keys)
    catalog = {key: Entry("listed") for key in datasets}
    contents = Contents(published={key: digest_of(key) for key in datasets}, catalog=catalog)
    aliases = {"latest": Alias(pointing, contents.catalog_digest())} if pointing else {}
    memory_state(state).contents = replace(contents, aliases=aliases)
    settings: dict[str, str] = {"name": state}
    if upstream:
        settings["promotesFrom"] = upstream
    config = StoreConfig(name=name, kind="memory", settings=settings, place=Place("stores.yaml", 1, 1))
    return open_store(config)


def _ours(store: Store, others: frozenset[str]) -> Inventory:
    recorded = dict(inventory(store.history()).recorded)
    for sight in store.snapshot(Selection()):
        if sight.address.key not in others:
            recorded.setdefault(sight.address, sight.slots)
    return Inventory(recorded)


def _known(plan: StorePlan, found: Difference, ours: Inventory) -> StoreFacts:
    return StoreFacts(plan=plan, difference=found, inventory=ours, touched=touched(plan, found.observed))


def facts_of(
    store: Store, wishes: Sequence[Declaration], *, others: Iterable[str] = (), above: Store | None = None
) -> StoreFacts:
    """One store's part of a plan; everything live is ours but the `others`."""
    ordered = sorted(wishes, key=lambda wish: wish.address)
    ours = _ours(store, frozenset(others))
    found = difference(ordered, store.snapshot(Selection()), ours, shape=SHAPE, everything_ours=False)
    plan = store_plan(store.config, SHAPE, found, depth=Depth.MANIFESTS)

    def opened(name: str) -> Store:
        assert above is not None
        assert name == above.config.name
        return above

    return surveyed(_known(plan, found, ours), store, opened)


def whole(
    *stores: StoreFacts,
    guards: Guards | None = None,
    pins: Iterable[str] = (),
    manifest_ids: Iterable[str] = (),
    wishes: Iterable[Declaration] = (),
    metas: Mapping[str, Meta] | None = None,
    yanked: Mapping[Address, Yank] | None = None,
    now: int = NOW,
) -> Facts:
    """The facts of a whole plan."""
    desired = Desired(
        commit="c" * 40,
        commit_time=1,
        author="a",
        stores={},
        declarations=tuple(wishes),
        metas=metas or {},
        yanked=yanked or {},
    )
    return Facts(
        desired=desired,
        guards=guards or Guards(),
        stores=stores,
        pins=Pins(datasets=frozenset(pins)),
        manifest_ids=frozenset(manifest_ids),
        now=now,
    )


def governed(governance: Governance) -> Guards:
    return Guards(governance=governance)


def said(rule: str, facts: Facts) -> list[tuple[str, str, str]]:
    """What a rule says: severity, subject, code."""
    return [(f.severity.value, f.subject, f.code) for f in RULES[rule](facts)]


def only(rule: str, facts: Facts) -> Finding:
    """The one finding of a rule."""
    [finding] = RULES[rule](facts)
    return finding


# A registry, without one behind it: what a rule sees of it is values alone.


def tag(version: str, dataset: str = "eth/main", store: str = "r") -> Address:
    return Address(store, "tag", f"{dataset}@{version}")


def manifest(number: int) -> str:
    return "sha256:" + f"{number:064x}"


def tagged(version: str, number: int, **slots: str) -> Declaration:
    return Declaration(tag(version), {"manifest": manifest(number), **slots}, Place("eth.yaml", 5, 1))


def untagged(version: str) -> Declaration:
    return Declaration(tag(version), NOTHING, Place("eth.yaml", 8, 1), reason="wrong chain")


def registry_facts(
    tags: Mapping[str, int],
    wishes: Sequence[Declaration],
    *,
    yanked: Iterable[str] = (),
    others: Iterable[str] = (),
    rule: str = "stable",
) -> StoreFacts:
    """The plan of a registry that holds these tags of one dataset, by version; all ours but the `others`."""
    settings = {"database": "sqlite:r.db", "objects": "file:r", "latest": rule}
    config = StoreConfig(name="r", kind="registry", settings=settings, place=Place("stores.yaml", 2, 1))
    held: dict[Address, Slots] = {}
    for version, number in tags.items():
        digest = manifest(number)
        held[tag(version)] = {"manifest": digest, **({"yanked": "yanked"} if version in yanked else {})}
        held[Address("r", "manifest", digest)] = {"content": digest}
        held[Address("r", "link", f"eth/main@{digest}")] = {"linked": "linked"}
    sights = [Observed(address, held[address]) for address in sorted(held)]
    mine = set(tags) - {"latest", *others}
    ours = Inventory({tag(version): held[tag(version)] for version in sorted(mine)})
    ordered = sorted(wishes, key=lambda wish: wish.address)
    found = difference(ordered, sights, ours, shape=REGISTRY, everything_ours=False)
    plan = store_plan(config, REGISTRY, found, depth=Depth.MANIFESTS)
    counts = {"tag": len(tags) - ("latest" in tags), "link": len(tags)}
    return replace(_known(plan, found, ours), survey=held, live_counts=counts)
