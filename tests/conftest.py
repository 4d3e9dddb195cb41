"""Asserts in the shipped contract suite show their values, and no example has a deadline."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.atdata_runner import interpreter
from tests.servers.pds import PdsServer, running

pytest.register_assert_rewrite(
    "reconciler.testing.contract_basics",
    "reconciler.testing.contract_faults",
    "reconciler.testing.contract_packets",
)

# How long an example takes depends on the machine and on what else it does; no test asserts a time.
settings.register_profile("reconciler", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reconciler")


def pytest_report_header() -> str:
    """Which Python the interoperability tests run atdata's own client with."""
    return f"atdata's client: {interpreter() or 'no Python 3.12 or newer is here, so it is not asked'}"


@pytest.fixture(scope="session")
def pds() -> Iterator[PdsServer]:
    """A PDS of this test run; its rate limits are off."""
    with running() as server:
        yield server
