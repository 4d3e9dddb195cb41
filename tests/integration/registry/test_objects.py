"""Where manifests' bytes are: a directory and an S3 bucket over a socket keep the same promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.errors import Corrupt, InvalidInput, LimitExceeded, OutcomeUnknown, Unavailable
from reconciler.reference import ManifestHash
from reconciler.stores.registry.backend_sqlite import open_sqlite
from reconciler.stores.registry.objects import MANIFEST_LIMIT, LocalObjects, Objects
from reconciler.stores.registry.objects_s3 import open_s3
from tests.integration.registry.world import RUN, World, content, hash_of, tagged
from tests.servers.s3 import BUCKET, Misbehaviour, access, bucket_client, misbehaving, opened, running


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A whole S3 server of this test run."""
    with running() as address:
        yield address


@pytest.fixture(params=["local", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """An empty object store."""
    if request.param == "local":
        return LocalObjects(str(tmp_path / "manifests"))
    return opened(request.getfixturevalue("endpoint"), tmp_path.name)


def damaged(objects: Objects, endpoint: Callable[[], str]) -> None:
    """Put other bytes under the key of manifest 1."""
    if objects.where.startswith("file:"):
        Path(objects.where.removeprefix("file:"), hash_of(1)).write_bytes(b"broken")
        return
    key = f"{objects.where.removeprefix(f's3://{BUCKET}/')}/{hash_of(1)}"
    bucket_client(endpoint()).put_object(Bucket=BUCKET, Key=key, Body=b"broken")


def test_bytes_are_kept_under_their_hash_and_listed(objects: Objects) -> None:
    assert (list(objects.list()), objects.hashes()) == ([], frozenset())
    for number in (1, 2, 2):
        objects.put(hash_of(number), content(number))
    assert [objects.get(hash_of(number)) for number in (1, 2, 3)] == [content(1), content(2), None]
    listed = {found.hash: found.stored_at for found in objects.list()}
    assert listed == {hash_of(number): objects.stored_at(hash_of(number)) for number in (1, 2)}
    assert objects.hashes() == {hash_of(1), hash_of(2)}
    assert (objects.exists(hash_of(1)), objects.exists(hash_of(3))) == (True, False)
    assert objects.stored_at(hash_of(3)) is None


def test_a_deleted_object_is_absent_and_deleting_it_again_is_fine(objects: Objects) -> None:
    objects.put(hash_of(1), content(1))
    objects.delete(hash_of(1))
    objects.delete(hash_of(1))
    assert objects.get(hash_of(1)) is None
    assert list(objects.list()) == []


def test_bytes_are_kept_under_no_other_hash_than_theirs(objects: Objects) -> None:
    with pytest.raises(Corrupt) as caught:
        objects.put(hash_of(1), content(2))
    assert caught.value.code == "E_MANIFEST_HASH"
    assert objects.get(hash_of(1)) is None


def test_other_bytes_under_a_hash_are_corrupt_on_every_touch(
    objects: Objects, request: pytest.FixtureRequest
) -> None:
    objects.put(hash_of(1), content(1))
    damaged(objects, lambda: str(request.getfixturevalue("endpoint")))
    with pytest.raises(Corrupt):
        objects.get(hash_of(1))
    with pytest.raises(Corrupt):
        objects.put(hash_of(1), content(1))


def test_a_manifest_beyond_the_limit_is_refused(objects: Objects) -> None:
    with pytest.raises(LimitExceeded) as caught:
        objects.put(hash_of(1), b" " * (MANIFEST_LIMIT + 1))
    assert caught.value.code == "E_MANIFEST_SIZE"


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    objects = LocalObjects(str(tmp_path))
    (tmp_path / "elsewhere").write_bytes(content(1))
    if kind == "link":
        (tmp_path / hash_of(1)).symlink_to("elsewhere")
    else:
        (tmp_path / hash_of(1)).mkdir()
    for attempt in (
        lambda: objects.get(hash_of(1)),
        lambda: objects.put(hash_of(1), content(1)),
        lambda: list(objects.list()),
        objects.hashes,
    ):
        with pytest.raises(Unavailable) as caught:
            attempt()
        assert caught.value.code == "E_STORE_LINK"


def test_a_missing_bucket_is_an_error_and_not_an_empty_one(endpoint: str) -> None:
    objects = opened(endpoint, "x", bucket="no-such-bucket")
    for attempt in (
        lambda: objects.get(hash_of(1)),
        lambda: objects.stored_at(hash_of(1)),
        lambda: list(objects.list()),
    ):
        with pytest.raises(Unavailable) as caught:
            attempt()
        assert caught.value.code == "E_STORE_MISSING"


def test_a_store_that_ignores_conditions_is_refused_before_anything_is_put() -> None:
    behaviour = Misbehaviour(overwrites=True)
    with misbehaving(behaviour) as address:
        with pytest.raises(Unavailable) as caught:
            opened(address).put(hash_of(1), content(1))
        assert caught.value.code == "E_STORE_NO_CAS"
    assert list(behaviour.objects) == [f"/{BUCKET}/.reconciler/probe"]


def test_a_put_whose_answer_is_lost_is_found_by_looking() -> None:
    with misbehaving(Misbehaviour(silent_puts=True)) as address:
        objects = opened(address)
        objects.put(hash_of(1), content(1))
        assert objects.get(hash_of(1)) == content(1)


def test_a_put_that_did_not_land_is_unavailable() -> None:
    with misbehaving(Misbehaviour(silent_puts=True, keeps=False)) as address:
        with pytest.raises(Unavailable) as caught:
            opened(address).put(hash_of(1), content(1))
        assert caught.value.code == "E_UNREACHABLE"


def test_a_put_that_nobody_can_look_up_is_unknown() -> None:
    behaviour = Misbehaviour(silent_puts=True, silent_reads=True)
    with misbehaving(behaviour) as address, pytest.raises(OutcomeUnknown):
        opened(address).put(hash_of(1), content(1))


def test_no_message_of_a_server_that_is_gone_shows_a_secret() -> None:
    with misbehaving(Misbehaviour()) as address:
        pass
    with pytest.raises(Unavailable) as caught:
        opened(address).get(hash_of(1))
    assert caught.value.code == "E_UNREACHABLE"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "s3://",
        "s3://A/b",
        "http://bucket",
        "s3:bucket",
        "s3://a b/c",
        "s3://bucket/../x",
        "s3://bucket/x?signature=y",
    ],
)
def test_what_is_no_bucket_is_refused(location: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_s3(location, access("http://localhost"))
    assert caught.value.code == "E_STORE_LOCATION"


def test_a_registry_keeps_its_manifests_in_a_bucket(endpoint: str, tmp_path: Path) -> None:
    world = World(
        "sqlite",
        str(tmp_path / "registry.db"),
        lambda wait: open_sqlite(str(tmp_path / "registry.db"), timeout=wait),
        lambda: opened(endpoint, "registry"),
    )
    with world.open() as registry:
        tagged(registry, {"1.0.0": 1})
        loose = registry.register_manifest(content(2), run=RUN)
        registry.delete_manifest(loose, run=RUN)
        assert registry.get_manifest(hash_of(1)) == content(1)
        assert registry.get_manifest(ManifestHash(loose)) is None
        assert [found.hash for found in registry.settings.objects.list()] == [hash_of(1)]
