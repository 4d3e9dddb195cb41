"""A version that was removed is still the name of what it named: on both engines, by hand and as a step."""

from __future__ import annotations

import pytest

from reconciler.errors import Denied, Unavailable
from reconciler.model import Address, Change, Outcome, Step
from reconciler.reference import DatasetName
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import BreakGlass
from tests.integration.registry.test_tables import execute, without_ledger_columns
from tests.integration.registry.world import ETH, RUN, SOLANA, World, hash_of, linked, tagged

PERMISSION = BreakGlass("wrong bytes", frozenset({Address("registry", "tag", "ethereum/mainnet@1.0.0")}))


def removed(registry: Registry, version: str = "1.0.0", dataset: DatasetName = ETH) -> None:
    """A version that named manifest 1 and is gone; manifest 2 is linked."""
    tagged(registry, {version: 1}, dataset=dataset)
    linked(registry, 2, dataset=dataset)
    registry.delete_version_tag(dataset, version, run=RUN)


def refused(registry: Registry, version: str = "1.0.0", dataset: DatasetName = ETH) -> str:
    """Tag manifest 2, which is denied and writes nothing; what is said of it."""
    before = registry.revision()
    with pytest.raises(Denied) as caught:
        registry.set_version_tag(dataset, version, hash_of(2), run=RUN)
    assert (caught.value.code, registry.revision()) == ("E_TAG_IMMUTABLE", before)
    return str(caught.value)


def test_a_removed_version_is_never_used_for_other_bytes(registry: Registry) -> None:
    removed(registry)
    said = refused(registry)
    assert f"1.0.0 named sha256:{hash_of(1)}" in said
    assert registry.resolve_version(ETH, "1.0.0") is None


def test_a_removed_version_may_name_the_same_bytes_again(registry: Registry) -> None:
    removed(registry)
    registry.set_version_tag(ETH, "1.0.0", hash_of(1), run=RUN)
    assert registry.resolve_latest(ETH) == hash_of(1)
    registry.delete_version_tag(ETH, "1.0.0", run=RUN)
    refused(registry)


def test_a_version_that_differs_only_in_build_metadata_is_the_same_one(registry: Registry) -> None:
    removed(registry, "1.0.0+a")
    assert f"1.0.0+a named sha256:{hash_of(1)}" in refused(registry, "1.0.0+b")


def test_another_dataset_and_dev_are_free(registry: Registry) -> None:
    removed(registry)
    linked(registry, 1, 2, dataset=SOLANA)
    registry.set_version_tag(SOLANA, "1.0.0", hash_of(2), run=RUN)
    for number in (1, None, 2):
        registry.set_dev_tag(ETH, None if number is None else hash_of(number), run=RUN)
    assert registry.resolve_dev(ETH) == hash_of(2)


def test_break_glass_uses_the_name_again_and_what_it_named_last_counts(registry: Registry) -> None:
    removed(registry)
    registry.set_version_tag(ETH, "1.0.0", hash_of(2), run=RUN, break_glass=PERMISSION)
    assert registry.resolve_version(ETH, "1.0.0") == hash_of(2)
    registry.delete_version_tag(ETH, "1.0.0", run=RUN)
    registry.set_version_tag(ETH, "1.0.0", hash_of(2), run=RUN)


def test_the_versions_of_an_unlinked_dataset_are_not_free_either(registry: Registry) -> None:
    tagged(registry, {"1.0.0": 1, "1.1.0": 1})
    registry.unlink_dataset_manifests(ETH, run=RUN)
    linked(registry, 2)
    refused(registry, "1.1.0")


def test_a_planned_step_is_refused_as_well(registry: Registry) -> None:
    removed(registry)
    address = Address("registry", "tag", "ethereum/mainnet@1.0.0")
    change = Change(address, "manifest", None, f"sha256:{hash_of(2)}")
    step = Step(id="transaction", store="registry", unit="registry", changes=(change,))
    with pytest.raises(Denied) as caught:
        registry.commit((step,), RUN)
    assert caught.value.code == "E_TAG_IMMUTABLE"
    (result,) = registry.commit((step,), RUN, break_glass=PERMISSION)
    assert result.outcome is Outcome.APPLIED


def test_a_registry_of_the_first_version_learns_from_its_ledger_what_was_removed(world: World) -> None:
    with world.open() as registry:
        removed(registry)
    for table in ("retired_versions", "reconciler_packets", "registry_restored"):
        execute(world, f"DROP TABLE {table}")
    without_ledger_columns(world)
    execute(world, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(Unavailable) as caught:
        world.open()
    assert (caught.value.code, caught.value.problems[0].fix) == (
        "E_SCHEMA_VERSION",
        "run 'reconciler registry migrate'",
    )
    database = world.database(20.0)
    database.migrate()
    database.close()
    with world.open() as registry:
        refused(registry)
        registry.set_version_tag(ETH, "1.0.0", hash_of(1), run=RUN)
