"""Asserts in the shipped contract suite show their values, as those in tests do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("reconciler.testing.contract_basics", "reconciler.testing.contract_faults")
