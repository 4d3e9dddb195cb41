"""A registry that tests can open as often as they like, on any engine, and what they write into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.canonical import sha256_hex
from reconciler.ledger import Run
from reconciler.reference import DatasetName, ManifestHash
from reconciler.stores.registry.lookup import Settings
from reconciler.stores.registry.objects import Objects
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.session import Database
from reconciler.stores.registry.values import DevMove, LatestRule

RUN = Run(by="hand", time=1_700_000_000, tool="test", reason="a test")
ETH = DatasetName("ethereum", "mainnet")
SOLANA = DatasetName("_", "solana")


def content(number: int) -> bytes:
    """The bytes of a manifest; equal numbers give equal bytes."""
    return f'{{"kind":"manifest","number":{number}}}'.encode()


def hash_of(number: int) -> ManifestHash:
    """The hash of that manifest."""
    return ManifestHash(sha256_hex(content(number)))


@dataclass(frozen=True, slots=True)
class World:
    """One live registry: how to reach its database and its objects."""

    engine: str
    location: str
    database: Callable[[float], Database]
    objects: Callable[[], Objects]
    opened: list[Registry] = field(default_factory=list)

    def open(
        self, *, latest: LatestRule = LatestRule.STABLE, create: bool = True, timeout: float = 20.0
    ) -> Registry:
        """A new handle, closed when the test ends."""
        registry = Registry(
            Settings(
                name="registry",
                identity="registry registry",
                database=self.database(timeout),
                objects=self.objects(),
                latest=latest,
                create=create,
            )
        )
        self.opened.append(registry)
        return registry


def linked(registry: Registry, *numbers: int, dataset: DatasetName = ETH) -> list[ManifestHash]:
    """Register manifests and link them to a dataset; `dev` stays where it is."""
    manifests = [registry.register_manifest(content(number), run=RUN) for number in numbers]
    for manifest in manifests:
        registry.link_manifest(dataset, manifest, run=RUN, dev=DevMove.STAYS)
    return manifests


def tagged(registry: Registry, versions: dict[str, int], dataset: DatasetName = ETH) -> None:
    """Tag manifests, in this order."""
    for version, number in versions.items():
        (manifest,) = linked(registry, number, dataset=dataset)
        registry.set_version_tag(dataset, version, manifest, run=RUN)
