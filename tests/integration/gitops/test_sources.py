"""Stores that cannot take what a source gives."""

from __future__ import annotations

from tests.integration.gitops.conftest import Repository


def test_a_full_store_is_named_and_its_source_is_not_blamed(published: Repository) -> None:
    before = published.store()
    ran = published.run("apply", "--yes", RECONCILER_FAILPOINTS="fs.stage.file.mid=ENOSPC")
    *_, last = ran.err.splitlines()
    assert ran.code == 10
    assert last.startswith("E_IO var/serving: the file system answered: No space left on device")
    assert published.store() == before
