"""The registry's methods, one by one, on every engine: what they do, refuse and leave alone."""

from __future__ import annotations

import pytest

from reconciler.canonical import sha256_hex
from reconciler.errors import Conflict, Denied, InvalidInput, Unavailable
from reconciler.reference import DatasetName, ManifestHash
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import BreakGlass, DevMove, Expected, LatestRule, TagsOnUnlink
from tests.integration.registry.world import ETH, RUN, SOLANA, World, content, hash_of, linked, tagged

UNKNOWN = ManifestHash("0" * 64)


def latest(registry: Registry, dataset: DatasetName = ETH) -> str | None:
    """The version that `latest` is, after both ways to ask agree on its manifest."""
    tag = registry.latest_version(dataset)
    assert registry.resolve_latest(dataset) == (tag.hash if tag else None)
    return tag.version if tag else None


def versions(registry: Registry, dataset: DatasetName = ETH) -> list[str]:
    return [tag.version for tag in registry.list_version_tags(dataset)]


def test_a_registry_that_was_not_made_is_empty_and_asking_makes_nothing(world: World) -> None:
    registry = world.open()
    assert registry.list_manifests() == ()
    assert registry.resolve_text("ethereum/mainnet@latest") is None
    assert list(registry.history()) == []
    with pytest.raises(Unavailable) as caught:
        world.open(create=False)
    assert caught.value.code == "E_STORE_MISSING"


def test_a_manifest_is_kept_byte_for_byte(registry: Registry) -> None:
    odd = b'{ "b":1,\r\n"a": 1.0 }\n\n'
    manifest = registry.register_manifest(odd, run=RUN)
    assert manifest == sha256_hex(odd)
    assert registry.get_manifest(manifest) == odd


def test_registering_twice_leaves_one_manifest_and_one_record(registry: Registry) -> None:
    registry.register_manifest(content(1), run=RUN)
    registry.register_manifest(content(1), run=RUN)
    assert [entry.hash for entry in registry.list_manifests()] == [hash_of(1)]
    assert len(list(registry.history())) == 1


def test_a_promised_hash_is_checked_before_anything_is_kept(registry: Registry) -> None:
    with pytest.raises(InvalidInput) as caught:
        registry.register_manifest(content(1), run=RUN, manifest=UNKNOWN)
    assert caught.value.code == "E_MANIFEST_HASH"
    assert registry.list_manifests() == ()


def test_an_unknown_manifest_is_absent_in_every_question(registry: Registry) -> None:
    linked(registry, 1)
    assert registry.get_manifest(UNKNOWN) is None
    assert registry.list_manifest_linked_datasets(UNKNOWN) is None
    assert not registry.is_manifest_linked(ETH, UNKNOWN)
    assert registry.delete_manifest(UNKNOWN, run=RUN).seq is None


def test_linking_moves_dev_as_the_reference_does_unless_it_stays(registry: Registry) -> None:
    one, two = (registry.register_manifest(content(n), run=RUN) for n in (1, 2))
    registry.link_manifest(ETH, one, run=RUN)
    registry.link_manifest(ETH, two, run=RUN)
    assert registry.resolve_dev(ETH) == two
    registry.link_manifest(ETH, one, run=RUN, dev=DevMove.STAYS)
    assert registry.resolve_dev(ETH) == two
    registry.link_manifest(ETH, one, run=RUN)
    assert registry.resolve_dev(ETH) == one
    assert registry.list_links(ETH) == tuple(sorted((one, two)))


def test_linking_what_is_not_registered_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidInput) as caught:
        registry.link_manifest(ETH, UNKNOWN, run=RUN)
    assert caught.value.code == "E_MANIFEST_UNKNOWN"
    assert list(registry.history()) == []


def test_a_tag_names_only_manifests_of_its_dataset(registry: Registry) -> None:
    (manifest,) = linked(registry, 1, dataset=SOLANA)
    with pytest.raises(InvalidInput) as caught:
        registry.set_version_tag(ETH, "1.0.0", manifest, run=RUN)
    assert caught.value.code == "E_NOT_LINKED"


def test_versions_are_listed_by_precedence_and_never_as_text(registry: Registry) -> None:
    given = ["9.0.0", "1.0.0-rc.1", "10.0.0", "1.10.0", "1.9.0", "1.0.0-alpha", "1.0.0", "1.0.0-rc.10"]
    tagged(registry, dict.fromkeys(given, 1))
    assert versions(registry) == [
        "10.0.0",
        "9.0.0",
        "1.10.0",
        "1.9.0",
        "1.0.0",
        "1.0.0-rc.10",
        "1.0.0-rc.1",
        "1.0.0-alpha",
    ]
    assert latest(registry) == "10.0.0"
    assert [tag.version for tag in registry.list_all_datasets()] == versions(registry)


def test_latest_is_the_highest_stable_version_whatever_the_order_of_tagging(registry: Registry) -> None:
    seen: list[str | None] = []
    for version in ("1.0.0", "3.0.0-rc.1", "2.0.0", "1.5.0", "10.0.0"):
        tagged(registry, {version: int(version[0]) + len(seen)})
        seen.append(latest(registry))
    assert seen == ["1.0.0", "1.0.0", "2.0.0", "2.0.0", "10.0.0"]


def test_without_a_stable_version_there_is_no_latest(registry: Registry) -> None:
    tagged(registry, {"1.0.0-rc.1": 1})
    assert registry.resolve_latest(ETH) is None


def test_the_highest_rule_counts_pre_releases(world: World) -> None:
    registry = world.open(latest=LatestRule.HIGHEST)
    tagged(registry, {"1.0.0": 1, "2.0.0-alpha": 2})
    assert latest(registry) == "2.0.0-alpha"


def test_versions_that_share_a_manifest_do_not_confuse_latest(registry: Registry) -> None:
    tagged(registry, {"2.0.0": 1, "1.0.0": 1, "1.5.0": 2})
    assert latest(registry) == "2.0.0"


def test_deleting_the_highest_version_lowers_latest(registry: Registry) -> None:
    tagged(registry, {"1.0.0": 1, "2.0.0": 2})
    registry.delete_version_tag(ETH, "2.0.0", run=RUN)
    assert latest(registry) == "1.0.0"
    registry.delete_version_tag(ETH, "1.0.0", run=RUN)
    assert latest(registry) is None
    assert registry.delete_version_tag(ETH, "1.0.0", run=RUN).seq is None
    assert registry.list_links(ETH) == tuple(sorted((hash_of(1), hash_of(2))))


def test_a_yanked_version_is_found_by_its_text_and_never_latest(registry: Registry) -> None:
    tagged(registry, {"1.0.0": 1, "2.0.0": 2})
    registry.yank_version(ETH, "2.0.0", yanked=True, run=RUN)
    assert latest(registry) == "1.0.0"
    resolved = registry.resolve_text("ethereum/mainnet@2.0.0")
    assert resolved is not None
    assert (resolved.hash, resolved.yanked) == (hash_of(2), True)
    registry.yank_version(ETH, "2.0.0", yanked=False, run=RUN)
    assert latest(registry) == "2.0.0"


def test_only_versions_that_exist_can_be_yanked(registry: Registry) -> None:
    with pytest.raises(InvalidInput) as caught:
        registry.yank_version(ETH, "2.0.0", yanked=True, run=RUN)
    assert caught.value.code == "E_TAG_MISSING"


def test_a_version_never_moves(registry: Registry) -> None:
    tagged(registry, {"1.0.0": 1})
    linked(registry, 2)
    with pytest.raises(Denied) as caught:
        registry.set_version_tag(ETH, "1.0.0", hash_of(2), run=RUN)
    assert caught.value.code == "E_TAG_IMMUTABLE"
    assert registry.resolve_version(ETH, "1.0.0") == hash_of(1)
    assert registry.set_version_tag(ETH, "1.0.0", hash_of(1), run=RUN).seq is None


def test_break_glass_moves_a_version_and_latest_follows(registry: Registry) -> None:
    tagged(registry, {"1.0.0": 1})
    linked(registry, 2)
    registry.set_version_tag(ETH, "1.0.0", hash_of(2), run=RUN, break_glass=BreakGlass("wrong chain"))
    assert registry.resolve_version(ETH, "1.0.0") == hash_of(2)
    assert registry.resolve_latest(ETH) == hash_of(2)


def test_versions_that_differ_in_build_metadata_only_conflict(registry: Registry) -> None:
    tagged(registry, {"1.0.0+a": 1})
    with pytest.raises(Conflict) as caught:
        registry.set_version_tag(ETH, "1.0.0+b", hash_of(1), run=RUN)
    assert caught.value.code == "E_VERSION_BUILD"
    assert versions(registry) == ["1.0.0+a"]


def test_a_tag_moves_only_from_what_was_expected(registry: Registry) -> None:
    linked(registry, 1, 2, 3)
    registry.set_dev_tag(ETH, hash_of(1), run=RUN, expect=Expected.NOTHING)
    for expect in (Expected.NOTHING, hash_of(2)):
        with pytest.raises(Conflict) as caught:
            registry.set_dev_tag(ETH, hash_of(3), run=RUN, expect=expect)
        assert caught.value.code == "E_CONFLICT"
    assert registry.resolve_dev(ETH) == hash_of(1)
    registry.set_dev_tag(ETH, hash_of(3), run=RUN, expect=hash_of(1))
    registry.set_dev_tag(ETH, None, run=RUN, expect=hash_of(3))
    assert registry.resolve_dev(ETH) is None
    with pytest.raises(Conflict):
        registry.delete_version_tag(ETH, "1.0.0", run=RUN, expect=hash_of(1))
    registry.set_version_tag(ETH, "1.0.0", hash_of(1), run=RUN, expect=Expected.NOTHING)
    with pytest.raises(Conflict):
        registry.delete_version_tag(ETH, "1.0.0", run=RUN, expect=hash_of(2))
    assert versions(registry) == ["1.0.0"]


@pytest.mark.parametrize("word", ["latest", "dev", "v1.0.0", "1.0"])
def test_only_versions_can_be_tagged_and_deleted_as_versions(registry: Registry, word: str) -> None:
    linked(registry, 1)
    with pytest.raises(InvalidInput):
        registry.set_version_tag(ETH, word, hash_of(1), run=RUN)
    with pytest.raises(InvalidInput):
        registry.delete_version_tag(ETH, word, run=RUN)


def test_one_manifest_is_unlinked_only_when_no_tag_names_it(registry: Registry) -> None:
    tagged(registry, {"1.0.0": 1, "2.0.0": 2})
    registry.link_manifest(ETH, hash_of(2), run=RUN)
    with pytest.raises(Denied) as caught:
        registry.unlink_manifest(ETH, hash_of(2), run=RUN)
    assert [problem.code for problem in caught.value.problems] == ["E_LINK_TAGGED", "E_LINK_TAGGED"]
    registry.unlink_manifest(ETH, hash_of(2), run=RUN, tags=TagsOnUnlink.REMOVE)
    assert registry.list_links(ETH) == (hash_of(1),)
    assert [tag.version for tag in registry.list_tags(ETH)] == ["1.0.0", "latest"]
    assert latest(registry) == "1.0.0"
    assert registry.unlink_manifest(ETH, hash_of(2), run=RUN).seq is None


def test_unlinking_a_dataset_removes_its_tags_and_links_and_keeps_its_manifests(registry: Registry) -> None:
    tagged(registry, {"1.0.0": 1, "2.0.0": 2})
    registry.link_manifest(ETH, hash_of(2), run=RUN)
    tagged(registry, {"1.0.0": 2}, dataset=SOLANA)
    assert registry.unlink_dataset_manifests(ETH, run=RUN) == tuple(sorted((hash_of(1), hash_of(2))))
    assert (registry.list_tags(ETH), registry.list_links(ETH)) == ((), ())
    assert [entry.hash for entry in registry.list_orphaned_manifests()] == [hash_of(1)]
    assert {entry.hash: entry.datasets for entry in registry.list_manifests()} == {
        hash_of(1): 0,
        hash_of(2): 1,
    }
    assert latest(registry, SOLANA) == "1.0.0"
    assert registry.unlink_dataset_manifests(ETH, run=RUN) == ()


def test_deleting_a_manifest_works_and_takes_its_object(registry: Registry) -> None:
    """The reference's delete fails on every manifest (contract section 9, W1)."""
    registry.register_manifest(content(1), run=RUN)
    assert registry.delete_manifest(hash_of(1), run=RUN).seq == 2
    assert registry.get_manifest(hash_of(1)) is None
    assert not registry.settings.objects.exists(hash_of(1))
    assert registry.list_tombstones() == ()


def test_a_linked_manifest_is_never_deleted(registry: Registry) -> None:
    linked(registry, 1)
    with pytest.raises(Denied) as caught:
        registry.delete_manifest(hash_of(1), run=RUN)
    assert caught.value.code == "E_MANIFEST_LINKED"
    assert registry.get_manifest(hash_of(1)) == content(1)


def test_which_versions_of_which_datasets_name_a_manifest(registry: Registry) -> None:
    tagged(registry, {"1.0.0": 1, "2.0.0": 1, "3.0.0": 2})
    tagged(registry, {"1.0.0": 1}, dataset=SOLANA)
    registry.link_manifest(ETH, hash_of(1), run=RUN)
    tags = registry.list_manifest_linked_datasets(hash_of(1)) or ()
    assert [f"{tag.dataset}@{tag.version}" for tag in tags] == [
        "_/solana@1.0.0",
        "ethereum/mainnet@2.0.0",
        "ethereum/mainnet@1.0.0",
    ]
    assert registry.list_linking_datasets(hash_of(1)) == (SOLANA, ETH)
    linked(registry, 3)
    assert registry.list_manifest_linked_datasets(hash_of(3)) == ()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("ethereum/mainnet", 2),
        ("ethereum/mainnet@latest", 2),
        ("ethereum/mainnet@dev", 1),
        ("ethereum/mainnet@1.0.0", 1),
        (f"ethereum/mainnet@{hash_of(1)}", 1),
        (f"ethereum/mainnet@{hash_of(1).upper()}", 1),
        (f"ethereum/mainnet@sha256:{hash_of(1)}", 1),
        ("pkg:amp/ethereum/mainnet@2.0.0", 2),
        ("solana@1.0.0", 3),
        ("solana", 3),
        ("_/solana", 3),
        ("ethereum/mainnet@3.0.0", None),
        ("solana@dev", None),
        (f"solana@{hash_of(1)}", None),
        (f"ethereum/mainnet@{UNKNOWN}", None),
        ("nothing/here", None),
    ],
)
def test_every_spelling_of_a_reference_resolves(registry: Registry, text: str, number: int | None) -> None:
    tagged(registry, {"1.0.0": 1, "2.0.0": 2})
    registry.link_manifest(ETH, hash_of(1), run=RUN)
    tagged(registry, {"1.0.0": 3}, dataset=SOLANA)
    resolved = registry.resolve_text(text)
    assert (resolved.hash if resolved else None) == (None if number is None else hash_of(number))


def test_every_write_leaves_one_record_and_nothing_else_does(registry: Registry) -> None:
    before = registry.revision()
    tagged(registry, {"1.0.0": 1})
    after = registry.revision()
    registry.set_version_tag(ETH, "1.0.0", hash_of(1), run=RUN)
    registry.list_tags(ETH)
    records = list(registry.history())
    assert [record.seq for record in records] == [1, 2, 3]
    assert [str(change.address) for change in records[2].applied_changes()] == [
        "registry/tag/ethereum/mainnet@1.0.0"
    ]
    assert before != after == registry.revision()


def test_what_one_handle_wrote_another_one_sees(world: World) -> None:
    tagged(world.open(), {"1.0.0": 1})
    other = world.open(create=False)
    assert latest(other) == "1.0.0"
    state = other.state()
    assert [version for _, _, version, _, _ in state.tags] == ["1.0.0", "latest"]
    assert [manifest for _, _, manifest in state.links] == [hash_of(1)]
    assert state.manifests == (hash_of(1),)
