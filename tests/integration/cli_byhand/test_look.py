"""dataset list, inspect, validate and verify: what is there, and whether it holds."""

from __future__ import annotations

from tests.integration.cli_byhand.conftest import H110, H111, MANIFEST_OF, STORE, Desk


def test_list_shows_published_listed_and_aliased_datasets(desk: Desk) -> None:
    desk.promote(H110)
    desk.latest(H110)
    desk.publish(H111)
    assert desk.unchanged("dataset", "list", *STORE).out == (
        "110/homo_sapiens/GRCh38   published sha256:6f36f030686d…, in catalog, alias latest\n"
        "111/homo_sapiens/GRCh38   published sha256:4f0a4b3ed561…, not in catalog\n"
        "2 datasets, 1 in the catalog   (depth: manifests)\n"
    )


def test_list_as_json(desk: Desk) -> None:
    desk.publish(H110)
    assert desk.unchanged("dataset", "list", *STORE, "--deep", "--output", "json").document == {
        "schema": "reconciler/dataset-list/v1",
        "store": "serving",
        "depth": "deep",
        "datasets": [
            {
                "dataset": H110,
                "published": True,
                "manifest": MANIFEST_OF[H110],
                "in_catalog": False,
                "entry": None,
                "diffs": [],
                "aliases": [],
                "problems": [],
            }
        ],
    }


def test_an_empty_store_lists_nothing(desk: Desk) -> None:
    said = desk.unchanged("dataset", "list", *STORE).out
    assert said == "0 datasets, 0 in the catalog   (depth: manifests)\n"


def test_list_shows_a_broken_dataset_and_ends_with_8(desk: Desk) -> None:
    desk.promote(H110)
    desk.publish(H111)
    (desk.directory(H111) / "derived/manifest.lock").unlink()
    before = desk.tree()
    ran = desk.run("dataset", "list", *STORE)
    assert (ran.code, ran.error) == (8, "E_HALF_PUBLISHED")
    assert "111/homo_sapiens/GRCh38   not published, not in catalog, problem E_HALF_PUBLISHED\n" in ran.out
    assert "110/homo_sapiens/GRCh38   published sha256:6f36f030686d…, in catalog\n" in ran.out
    assert desk.tree() == before


def test_only_deep_sees_a_flipped_bit_of_the_database(desk: Desk) -> None:
    desk.promote(H110)
    database = desk.directory(H110) / "derived/gene_summary.sqlite"
    data = bytearray(database.read_bytes())
    data[-1] ^= 1
    database.write_bytes(data)
    desk.unchanged("dataset", "list", *STORE)
    assert desk.run("dataset", "list", *STORE, "--deep").code == 8


def test_inspect_states_what_the_manifest_says_and_every_file(desk: Desk) -> None:
    build = desk.build(H110)
    document = desk.unchanged("dataset", "inspect", H110, "--root", build, "--output", "json").document
    files = {item["path"]: item["size"] for item in document.pop("files")}
    assert (len(files), files["inputs/genome.fa.bgz"]) == (18, 16850)
    assert document == {
        "schema": "reconciler/dataset-inspect/v1",
        "dataset": H110,
        "manifest_dataset": H110,
        "root": "builds/human-110",
        "setting": "build root",
        "manifest": MANIFEST_OF[H110],
        "artifact": "sha256:9da960f00dc4d9bb95e205e2d2c7a368a26ad997961ea4609ea13062aee9b576",
        "artifact_hash": "535bd4236432e334d8c3c728fa01ce7648642057a3f4c3f9cc9efc46f0b42698",
        "dataset_signature": "30275880727ea250921c9bd7792ea497c0fb7721153206badb8a19d79935a979",
        "genes": 15,
        "transcripts": 15,
        "contigs": 1,
        "artifact_version": "v1",
        "software_version": "0.1.0",
        "created_at": "",
        "contig_naming_style": "plain_numeric",
        "scientific_prerequisites": "complete",
        "sharding_plan": "none",
    }


def test_inspect_counts_the_files_that_a_store_adds(desk: Desk) -> None:
    desk.publish(H110)
    document = desk.ok("dataset", "inspect", H110, "--root", "store", "--output", "json").document
    assert (document["setting"], len(document["files"])) == ("store", 22)


def test_verify_deep_passes_on_a_build_root_and_on_what_was_published(desk: Desk) -> None:
    desk.publish(H110)
    built = desk.unchanged("dataset", "verify", "--deep", H110, "--root", "builds/human-110")
    assert built.out.startswith("110/homo_sapiens/GRCh38   (build root builds/human-110)\n")
    assert built.out.endswith("\n1 not recomputable, 23 passed\n")
    assert "  not recomputable   lock                       a build root has no manifest.lock\n" in built.out
    stored = desk.unchanged("dataset", "verify", "--deep", H110, "--root", "store")
    assert stored.out.startswith("110/homo_sapiens/GRCh38   (store store)\n")
    assert stored.out.endswith("\n27 passed\n")


def test_verify_says_which_form_the_signature_has(desk: Desk) -> None:
    build = desk.build(H110)
    ran = desk.ok("dataset", "verify", "--deep", H110, "--root", build, "--output", "json")
    checks = {check["name"]: (check["status"], check["detail"]) for check in ran.document["checks"]}
    assert checks["signature"] == ("passed", "ingest form")
    assert ran.document["identity"]["release_id"] == H110


def test_validate_and_verify_without_deep_check_the_same(desk: Desk) -> None:
    build = desk.build(H110)
    words = (H110, "--root", build, "--output", "json")
    validated = desk.ok("dataset", "validate", *words).document
    verified = desk.ok("dataset", "verify", *words).document
    assert validated["schema"] == "reconciler/dataset-validate/v1"
    assert verified["schema"] == "reconciler/dataset-verify/v1"
    assert validated["checks"] == verified["checks"]


def test_a_failed_check_is_3_in_a_build_root_and_8_in_a_store(desk: Desk) -> None:
    desk.publish(H110)
    for root, code in (("builds/human-110", 3), ("store", 8)):
        index = desk.directory(H110, root) / "inputs/genome.fa.bgz.fai"
        index.write_bytes(index.read_bytes() + b"x")
        before = desk.tree()
        ran = desk.run("dataset", "verify", H110, "--root", root, "--output", "json")
        assert (ran.code, ran.document["status"]) == (code, "failed")
        assert '"code": "E_FILE_HASH"' in ran.err
        assert desk.tree() == before


def test_what_is_not_there_cannot_be_looked_at(desk: Desk) -> None:
    for operation in ("inspect", "validate", "verify"):
        missing = ("dataset", operation, H110, "--root")
        desk.refused(*missing, "nowhere", code=10, error="E_ROOT_MISSING")
        desk.refused(*missing, "store", code=3, error="E_DATASET_MISSING")


def test_a_root_that_is_a_link_is_refused(desk: Desk) -> None:
    (desk.root / "link").symlink_to(desk.build(H110))
    desk.refused("dataset", "verify", H110, "--root", "link", code=10, error="E_STORE_LINK")
