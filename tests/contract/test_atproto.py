"""An account on the PDS that this run starts keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.testing.atproto_harness import AtprotoHarness
from reconciler.testing.contract import StoreContract
from tests.servers import s3
from tests.servers.pds import PdsServer


class BucketHarness(AtprotoHarness):
    """An account whose ledger is below a prefix of a bucket."""

    endpoint = ""

    @property
    def ledger(self) -> str:
        """The prefix."""
        return f"s3://{s3.BUCKET}{self._base}"

    @property
    def variables(self) -> Mapping[str, str]:
        """The server of this run, and credentials that it takes."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": s3.SECRET,
        }

    @contextmanager
    def held(self) -> Iterator[None]:
        """A bucket has no lock."""
        yield


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """An S3 server of this test run."""
    with s3.running() as address:
        yield address


class TestAtproto(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path, pds: PdsServer) -> Iterator[AtprotoHarness]:
        harness = AtprotoHarness(tmp_path, pds)
        yield harness
        harness.close()


class TestAtprotoWithLedgerInBucket(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path, pds: PdsServer, endpoint: str) -> Iterator[AtprotoHarness]:
        BucketHarness.endpoint = endpoint
        harness = BucketHarness(tmp_path, pds)
        yield harness
        harness.close()
