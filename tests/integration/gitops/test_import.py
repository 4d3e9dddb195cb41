"""`import`: what a live store holds becomes documents whose plan is empty."""

from __future__ import annotations

import shutil

from tests.integration.command_line import PROJECT
from tests.integration.gitops.conftest import Repository

CATALOG = (PROJECT / "tests/golden/imported_catalog.yaml").read_text()


def undeclared(repository: Repository) -> Repository:
    """The same store, as somebody finds it who has no document for it yet."""
    repository.git("rm", "-q", "-r", "desired/catalogs")
    for place in ("ledger", "evidence"):
        shutil.rmtree(repository.root / "var/serving/.reconciler" / place)
    repository.commit("Only the store is declared")
    return repository


def test_a_serving_store_becomes_one_catalog_document_whose_plan_is_empty(applied: Repository) -> None:
    found = undeclared(applied)
    before = found.store()

    ran = found.ok("import", "--store", "serving", "--into", "desired/catalogs")

    assert (found.root / "desired/catalogs/serving.yaml").read_text() == CATALOG
    assert ran.out.splitlines()[-1] == (
        "wrote 1 file for 5 addresses; the plan with them is empty, adopted: 5"
    )
    assert found.store() == before
    found.commit("Import the store")
    assert found.ok("plan", "--store", "serving", "--output", "json").document["summary"] == {
        "create": 0,
        "update": 0,
        "delete": 0,
        "noop": 5,
        "adopted": 5,
    }


def test_without_into_the_documents_are_printed_and_nothing_is_written(applied: Repository) -> None:
    found = undeclared(applied)

    ran = found.ok("import", "--store", "serving", "--output", "json").document

    assert ran["files"] == [{"path": "desired/imported/serving.yaml", "text": CATALOG}]
    assert ran["written"] is False
    assert found.git("status", "--porcelain") == ""


def test_what_is_declared_already_is_not_declared_again(applied: Repository) -> None:
    ran = applied.ok("import", "--store", "serving")

    assert ran.out == "nothing to import: everything that can be declared is declared\n"


def test_a_dataset_that_no_catalog_lists_is_left_with_the_reason(published: Repository) -> None:
    published.git("rm", "-q", "desired/catalogs/mouse.yaml", "desired/catalogs/human.yaml")
    published.commit("Only the store is declared")

    ran = published.ok("import", "--store", "serving")

    assert ran.out.splitlines()[0] == (
        "left: serving/dataset/110/mus_musculus/GRCm39: it is published, but no catalog lists it"
    )


def test_an_imported_document_never_replaces_a_file(applied: Repository) -> None:
    found = undeclared(applied)
    (found.root / "desired/imported").mkdir()
    taken = found.root / "desired/imported/serving.yaml"
    taken.write_text("apiVersion: reconciler/v1\nkind: Catalog\nstore: serving\n")

    ran = found.run("import", "--store", "serving", "--into", "desired/imported")

    assert (ran.code, ran.error) == (3, "E_FILE_EXISTS")
    assert taken.read_text() == "apiVersion: reconciler/v1\nkind: Catalog\nstore: serving\n"


def test_a_directory_outside_the_desired_state_is_refused(applied: Repository) -> None:
    ran = applied.run("import", "--store", "serving", "--into", "elsewhere")

    assert (ran.code, ran.error) == (3, "E_DESIRED_PATH")


def test_a_link_on_the_way_is_refused(applied: Repository) -> None:
    found = undeclared(applied)
    (found.root / "outside").mkdir()
    (found.root / "desired/imported").symlink_to("../outside")

    ran = found.run("import", "--store", "serving", "--into", "desired/imported")

    assert ran.code == 3
    assert list((found.root / "outside").iterdir()) == []
