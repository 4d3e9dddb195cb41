"""A bucket behind a proxy that loses, refuses and damages: what is said about a manifest stays true."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import Corrupt, InvalidInput, OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.model import Place, StoreConfig
from reconciler.stores.port import Surroundings
from reconciler.stores.registry.objects import Objects
from reconciler.stores.registry.objects_s3 import TRIES, open_s3
from reconciler.stores.registry.s3_access import S3Access, access_of
from reconciler.stores.registry.store import open_store
from tests.integration.registry.world import content, hash_of
from tests.servers.s3 import BUCKET, SECRET, Fault, Plan, access, bucket_client, faulty, opened, running

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A whole S3 server of these tests."""
    with running() as address:
        yield address


@pytest.fixture
def kept(endpoint: str, tmp_path: Path) -> Callable[[], Mapping[str, bytes]]:
    """What stands below the test's prefix, read by another client."""
    client = bucket_client(endpoint)

    def read() -> Mapping[str, bytes]:
        prefix = f"{tmp_path.name}/"
        found = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {
            item["Key"].removeprefix(prefix): client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            for item in found
            if "/.reconciler/" not in item["Key"]
        }

    return read


ONE = {hash_of(1): content(1)}


def test_another_client_reads_what_was_put_byte_for_byte(
    endpoint: str, tmp_path: Path, kept: Callable[[], Mapping[str, bytes]]
) -> None:
    opened(endpoint, tmp_path.name).put(hash_of(1), content(1))
    assert kept() == ONE


def test_what_another_client_put_is_taken_for_ours_if_its_bytes_are(endpoint: str, tmp_path: Path) -> None:
    client = bucket_client(endpoint)
    client.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{hash_of(1)}", Body=content(1))
    client.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{hash_of(2)}", Body=b"other")
    objects = opened(endpoint, tmp_path.name)
    objects.put(hash_of(1), content(1))
    with pytest.raises(Corrupt) as caught:
        objects.put(hash_of(2), content(2))
    assert caught.value.code == "E_MANIFEST_HASH"


@pytest.mark.parametrize(
    ("plan", "requests"),
    [
        (Plan("PUT", Fault.UNANSWERED), ["PUT", "GET"]),
        (Plan("PUT", Fault.LOST), ["PUT", "GET", "LIST", "PUT", "GET"]),
        (Plan("PUT", 500), ["PUT", "GET", "LIST", "PUT", "GET"]),
        (Plan("PUT", 503, times=2), ["PUT", "PUT", "PUT", "GET"]),
        (Plan("PUT", 429), ["PUT", "PUT", "GET"]),
        (Plan("PUT", 409), ["PUT", "GET", "LIST", "PUT", "GET"]),
        (Plan("PUT", Fault.HALF), ["PUT", "GET"]),
        (Plan("GET", Fault.LOST), ["PUT", "GET", "GET"]),
        (Plan("GET", Fault.HALF), ["PUT", "GET", "GET"]),
        (Plan("GET", 503, times=3), ["PUT", "GET", "GET", "GET", "GET"]),
    ],
    ids=str,
)
def test_a_put_gets_over_a_fault_with_no_request_too_many(
    endpoint: str, tmp_path: Path, kept: Callable[[], Mapping[str, bytes]], plan: Plan, requests: list[str]
) -> None:
    with faulty(endpoint, plan) as proxy:
        opened(proxy.endpoint, tmp_path.name).put(hash_of(1), content(1))
        # An absence is believed after one listing, which fails where the bucket is missing.
        assert proxy.seen == requests
    assert kept() == ONE


@pytest.mark.parametrize("fault", [Fault.LOST, 500, 503, 429])
def test_a_put_that_never_lands_is_unavailable_after_all_tries(
    endpoint: str, tmp_path: Path, kept: Callable[[], Mapping[str, bytes]], fault: Fault | int
) -> None:
    with faulty(endpoint, Plan("PUT", fault, times=100)) as proxy:
        with pytest.raises(Unavailable) as caught:
            opened(proxy.endpoint, tmp_path.name).put(hash_of(1), content(1))
        assert proxy.seen.count("PUT") == TRIES
    assert caught.value.code == "E_UNREACHABLE"
    assert kept() == {}


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.HALF, 500, 503, 403])
def test_a_put_that_cannot_be_looked_up_is_unknown_and_a_second_one_finds_it(
    endpoint: str, tmp_path: Path, kept: Callable[[], Mapping[str, bytes]], fault: Fault | int
) -> None:
    plans = (Plan("PUT", Fault.UNANSWERED), Plan("GET", fault, times=100))
    with faulty(endpoint, *plans) as proxy:
        objects = opened(proxy.endpoint, tmp_path.name)
        with pytest.raises(OutcomeUnknown) as caught:
            objects.put(hash_of(1), content(1))
        assert caught.value.code == "E_OUTCOME_UNKNOWN"
        proxy.plans.clear()
        objects.put(hash_of(1), content(1))
    assert kept() == ONE


@pytest.mark.parametrize(
    ("status", "code"), [(401, "E_STORE_AUTH"), (403, "E_STORE_AUTH"), (400, "E_UNREACHABLE")]
)
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
def test_a_refusal_is_asked_once_and_its_text_is_not_repeated(
    endpoint: str, tmp_path: Path, method: str, status: int, code: str
) -> None:
    asks: dict[str, Callable[[Objects], object]] = {
        "PUT": lambda objects: objects.put(hash_of(1), content(1)),
        "GET": lambda objects: objects.get(hash_of(1)),
        "HEAD": lambda objects: objects.exists(hash_of(1)),
        "DELETE": lambda objects: objects.delete(hash_of(1)),
    }
    with faulty(endpoint, Plan(method, status, times=100)) as proxy:
        with pytest.raises(Unavailable) as caught:
            asks[method](opened(proxy.endpoint, tmp_path.name))
        assert proxy.seen == [method]
    assert (caught.value.code, caught.value.problems[0].got) == (code, f"status {status}")
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert SECRET not in shown


def test_damaged_bytes_are_corrupt_and_not_asked_for_again(endpoint: str, tmp_path: Path) -> None:
    opened(endpoint, tmp_path.name).put(hash_of(1), content(1))
    with faulty(endpoint, Plan("GET", Fault.OTHER_BYTES)) as proxy:
        with pytest.raises(Corrupt) as caught:
            opened(proxy.endpoint, tmp_path.name).get(hash_of(1))
        assert proxy.seen == ["GET"]
    assert caught.value.code == "E_MANIFEST_HASH"


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.HALF, 500])
def test_a_read_that_fails_is_never_absent(endpoint: str, tmp_path: Path, fault: Fault | int) -> None:
    opened(endpoint, tmp_path.name).put(hash_of(1), content(1))
    plans = (Plan("GET", fault, times=99), Plan("HEAD", 500, times=99), Plan("LIST", fault, times=99))
    with faulty(endpoint, *plans) as proxy:
        objects = opened(proxy.endpoint, tmp_path.name)
        for ask in (objects.get, objects.exists, objects.stored_at):
            with pytest.raises(Unavailable):
                ask(hash_of(1))
        with pytest.raises(Unavailable):
            objects.list()


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        (Fault.UNANSWERED, ["DELETE", "HEAD", "LIST"]),
        (Fault.LOST, ["DELETE", "HEAD", "DELETE"]),
        (500, ["DELETE", "HEAD", "DELETE"]),
        (503, ["DELETE", "DELETE"]),
    ],
)
def test_a_delete_gets_over_a_fault(
    endpoint: str,
    tmp_path: Path,
    kept: Callable[[], Mapping[str, bytes]],
    fault: Fault | int,
    requests: list[str],
) -> None:
    opened(endpoint, tmp_path.name).put(hash_of(1), content(1))
    with faulty(endpoint, Plan("DELETE", fault)) as proxy:
        opened(proxy.endpoint, tmp_path.name).delete(hash_of(1))
        assert proxy.seen == requests
    assert kept() == {}


def test_a_delete_that_cannot_be_looked_up_is_unknown(endpoint: str, tmp_path: Path) -> None:
    plans = (Plan("DELETE", Fault.UNANSWERED), Plan("HEAD", 500, times=100))
    with faulty(endpoint, *plans) as proxy, pytest.raises(OutcomeUnknown):
        opened(proxy.endpoint, tmp_path.name).delete(hash_of(1))


def test_a_listing_has_all_pages_or_is_an_error(endpoint: str, tmp_path: Path) -> None:
    client = bucket_client(endpoint)
    names = {f"{number:064x}" for number in range(1003)}
    for name in names:
        client.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{name}", Body=b"")
    for litter in ("readme.txt", f"deeper/{hash_of(1)}", hash_of(1).upper()):
        client.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{litter}", Body=b"")
    client.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}-next/{hash_of(1)}", Body=b"")
    with faulty(endpoint, Plan("LIST", Fault.HALF, skip=1)) as proxy:
        assert {found.hash for found in opened(proxy.endpoint, tmp_path.name).list()} == names
        assert proxy.seen == ["LIST"] * 4
        proxy.seen.clear()
        proxy.plans[:] = [Plan("LIST", 500, times=100, skip=1)]
        with pytest.raises(Unavailable):
            opened(proxy.endpoint, tmp_path.name).list()


def test_pauses_grow_and_end_with_the_last_try(endpoint: str) -> None:
    pauses: list[float] = []
    with faulty(endpoint, Plan("HEAD", 503, times=100)) as proxy:
        objects = open_s3(f"s3://{BUCKET}", access(proxy.endpoint), pause=pauses.append)
        with pytest.raises(Unavailable):
            objects.exists(hash_of(1))
    assert len(pauses) == TRIES - 1
    assert pauses == sorted(pauses)
    assert sum(pauses) < 4


def registry(settings: Mapping[str, Any]) -> StoreConfig:
    given = {"database": "sqlite:r.db", "objects": f"s3://{BUCKET}/x", "create": True} | dict(settings)
    return StoreConfig(name="main", kind="registry", settings=given, place=Place("stores.yaml", 4, 3))


def test_named_variables_win_over_the_standard_ones_and_bring_no_foreign_token() -> None:
    settings = {
        "endpoint": "https://s3.example.org:9000/",
        "region": "eu-central-1",
        "credentials": {"accessKeyId": {"env": "OUR_ID"}, "secretAccessKey": {"env": "OUR_KEY"}},
    }
    variables = {"OUR_ID": "id", "OUR_KEY": "key", "AWS_SESSION_TOKEN": "foreign", "AWS_REGION": "x", **KEYS}
    found = access_of(registry(settings), variables)
    assert (found.key_id, found.secret, found.token) == ("id", "key", "")
    assert (found.endpoint, found.region) == ("https://s3.example.org:9000", "eu-central-1")


def test_without_settings_the_variables_of_every_client_count() -> None:
    variables = {
        **KEYS,
        "AWS_SESSION_TOKEN": "session",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "https://general.example.org",
        "AWS_ENDPOINT_URL_S3": "https://s3.example.org",
    }
    assert access_of(registry({}), variables) == S3Access(
        key_id="test",
        secret=SECRET,
        token="session",  # noqa: S106
        endpoint="https://s3.example.org",
        region="eu-west-1",
    )
    assert access_of(registry({}), KEYS) == S3Access(key_id="test", secret=SECRET)


@pytest.mark.parametrize(
    ("settings", "variables", "code"),
    [
        ({}, {}, "E_ENV"),
        ({}, {"AWS_ACCESS_KEY_ID": "test"}, "E_ENV"),
        ({}, {**KEYS, "AWS_SECRET_ACCESS_KEY": f"{SECRET}\n"}, "E_ENV"),
        ({}, {**KEYS, "AWS_REGION": "Not A Region"}, "E_ENV"),
        ({"endpoint": "http://s3.example.org"}, KEYS, "E_URL_PLAIN"),
        ({}, {**KEYS, "AWS_ENDPOINT_URL": "http://s3.example.org"}, "E_URL_PLAIN"),
        (
            {"allowPrivate": True},
            {**KEYS, "AWS_ENDPOINT_URL": f"http://me:{SECRET}@host"},
            "E_STORE_LOCATION",
        ),
        ({"endpoint": "ftp://host"}, KEYS, "E_STORE_LOCATION"),
    ],
)
def test_what_a_bucket_is_not_reached_with_is_refused_without_a_secret(
    settings: Mapping[str, Any], variables: Mapping[str, str], code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        access_of(registry(settings), variables)
    assert caught.value.code == code
    assert SECRET not in str(caught.value)
    assert "stores.yaml:4" in str(caught.value)


def test_credentials_do_not_show_in_a_repr() -> None:
    shown = repr(S3Access(key_id="canary-id", secret=SECRET, token="canary-token"))  # noqa: S106
    assert "canary" not in shown


def test_the_identity_of_a_store_has_no_way_to_reach_it() -> None:
    credentials = {"accessKeyId": {"env": "OUR_ID"}, "secretAccessKey": {"env": "OUR_KEY"}}
    named = registry({"credentials": credentials, "region": "eu-west-1", "allowPrivate": True})
    assert named.identity == registry({}).identity


def test_a_store_opens_its_bucket_with_the_variables_it_was_given_and_no_others(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_SKIP_SIGNATURE": "true"}.items():
        monkeypatch.setitem(os.environ, name, value)
    config = registry(
        {"endpoint": endpoint, "allowPrivate": True, "objects": f"s3://{BUCKET}/{tmp_path.name}"}
    )
    with pytest.raises(ReconcilerError) as caught:
        open_store(config, Surroundings(root=tmp_path))
    assert caught.value.code == "E_ENV"
    store = open_store(config, Surroundings(root=tmp_path, variables=KEYS))
    try:
        store.registry.settings.objects.put(hash_of(1), content(1))
        assert store.registry.settings.objects.get(hash_of(1)) == content(1)
    finally:
        store.close()
