"""The contract suite: what every store adapter must do, told through the port alone.

An adapter joins with a subclass and a fixture::

    class TestMemory(StoreContract):
        @pytest.fixture
        def harness(self) -> Harness:
            return MemoryHarness()

The suite never looks at an adapter's files or tables. Where bytes must not change it compares
fingerprints, which are the harness's bytes of everything except the ledger. Capabilities gate tests,
and a test holds each capability to what the live system really does.
"""

from __future__ import annotations

from reconciler.testing.contract_basics import Reading, Writing
from reconciler.testing.contract_faults import Concurrency, Declared, Failure
from reconciler.testing.contract_keeping import Keeping
from reconciler.testing.contract_packets import Packets


class StoreContract(Reading, Writing, Concurrency, Failure, Packets, Keeping, Declared):
    """Everything that an adapter must pass."""
