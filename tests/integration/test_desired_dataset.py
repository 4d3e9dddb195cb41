from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from reconciler.model import NOTHING, Address, Declaration, Meta, Place
from tests.unit.desired.repository import Content, File, Repository, at_commit, refusal

STORES = """apiVersion: reconciler/v1
kind: Stores
stores:
  registry: {kind: registry, database: "sqlite:var/registry.db", objects: file:var/manifests, create: true}
"""
A = "sha256:" + "ab" * 32
B = "sha256:" + "cd" * 32
BYTES = b'{"kind": "evm-rpc",\n  "tables": {}}\n'
BYTES_DIGEST = "sha256:" + hashlib.sha256(BYTES).hexdigest()
YAML = "desired/datasets/mainnet.yaml"
FILE = "desired/datasets/manifests/one.json"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repo")


def dataset(body: str, name: str = "mainnet") -> str:
    head = "apiVersion: reconciler/v1\nkind: Dataset\nstore: registry\nnamespace: ethereum\n"
    return f"{head}name: {name}\n{body}"


def files(body: str, **others: Content) -> dict[str, Content]:
    return {"desired/stores.yaml": STORES, YAML: dataset(body), **others}


def declarations(repository: Repository, body: str, **others: Content) -> dict[str, Declaration]:
    desired = at_commit(repository, {**files(body), **others})
    return {f"{one.address.kind}/{one.address.key}": one for one in desired.declarations}


def refused(repository: Repository, body: str, **others: Content) -> list[str]:
    return refusal(repository, {**files(body), **others})


def test_a_version_declares_its_tag_its_link_and_its_manifest(repository: Repository) -> None:
    found = declarations(repository, f'versions:\n  1.0.0: {{manifest: "{A}"}}\n')

    place = Place(YAML, 7, 3)
    assert found == {
        f"link/ethereum/mainnet@{A}": Declaration(
            Address("registry", "link", f"ethereum/mainnet@{A}"), {"linked": "linked"}, place
        ),
        f"manifest/{A}": Declaration(Address("registry", "manifest", A), {"content": A}, place),
        "tag/ethereum/mainnet@1.0.0": Declaration(
            Address("registry", "tag", "ethereum/mainnet@1.0.0"), {"manifest": A, "yanked": ()}, place
        ),
    }


def test_a_manifest_file_is_named_by_its_exact_bytes_at_the_commit(repository: Repository) -> None:
    oid = {FILE: File("100644", BYTES)}
    desired = at_commit(repository, {**files("versions:\n  1.0.0: {manifest: manifests/one.json}\n"), **oid})

    content = next(one for one in desired.declarations if one.address.kind == "manifest")
    assert (content.address.key, content.source) == (BYTES_DIGEST, FILE)
    assert desired.committed == {FILE}


def test_versions_that_share_a_manifest_share_its_link(repository: Repository) -> None:
    body = (
        f'versions:\n  1.0.0: {{manifest: "{A}"}}\n  1.1.0: {{manifest: "{A}"}}\ndev: {{manifest: "{A}"}}\n'
    )

    assert sorted(declarations(repository, body)) == [
        f"link/ethereum/mainnet@{A}",
        f"manifest/{A}",
        "tag/ethereum/mainnet@1.0.0",
        "tag/ethereum/mainnet@1.1.0",
        "tag/ethereum/mainnet@dev",
    ]


def test_a_file_gives_the_bytes_of_a_manifest_that_another_version_names_by_digest(
    repository: Repository,
) -> None:
    body = f'versions:\n  1.0.0: {{manifest: "{BYTES_DIGEST}"}}\n  1.1.0: {{manifest: manifests/one.json}}\n'

    found = declarations(repository, body, **{FILE: File("100644", BYTES)})

    assert found[f"manifest/{BYTES_DIGEST}"].source == FILE


def test_every_other_field_becomes_its_declaration(repository: Repository) -> None:
    body = (
        f'versions:\n  1.0.0: {{manifest: "{A}", meta: {{owner: chain team}}}}\n'
        f'  2.0.0: {{manifest: "{A}", yanked: true}}\n'
        f'links: ["{B}"]\n'
        "removed: [{version: 0.9.0, reason: wrong chain id}]\n"
        "yanked: [{version: 0.8.0, reason: too slow}]\n"
        "dev: none\n"
        "latest: 1.0.0\n"
    )

    found = declarations(repository, body)

    slots = {name: dict(one.slots) for name, one in found.items() if one.address.kind != "manifest"}
    assert slots == {
        f"link/ethereum/mainnet@{A}": {"linked": "linked"},
        f"link/ethereum/mainnet@{B}": {"linked": "linked"},
        "tag/ethereum/mainnet@0.8.0": {"yanked": "yanked"},
        "tag/ethereum/mainnet@0.9.0": {},
        "tag/ethereum/mainnet@1.0.0": {"manifest": A, "yanked": ()},
        "tag/ethereum/mainnet@2.0.0": {"manifest": A, "yanked": "yanked"},
        "tag/ethereum/mainnet@dev": {},
        "tag/ethereum/mainnet@latest": {"manifest": A},
    }
    assert found["tag/ethereum/mainnet@0.9.0"].reason == "wrong chain id"


def test_reasons_and_owners_are_kept_at_their_places(repository: Repository) -> None:
    body = (
        f'versions:\n  1.0.0: {{manifest: "{A}", meta: {{owner: chain team}}}}\n'
        "yanked: [{version: 0.8.0, reason: too slow}]\n"
    )

    assert at_commit(repository, files(body)).metas == {
        f"{YAML}:7": Meta(owner="chain team"),
        f"{YAML}:8": Meta(reason="too slow"),
    }


def test_a_listed_version_that_is_also_yanked_is_one_declaration(repository: Repository) -> None:
    body = f'versions:\n  1.0.0: {{manifest: "{A}"}}\nyanked: [{{version: 1.0.0, reason: too slow}}]\n'

    assert declarations(repository, body)["tag/ethereum/mainnet@1.0.0"].slots == {
        "manifest": A,
        "yanked": "yanked",
    }


def test_two_documents_of_one_dataset_are_merged_by_tag(repository: Repository) -> None:
    other = dataset(f'versions:\n  2.0.0: {{manifest: "{A}"}}\nlatest: 2.0.0\n')

    found = declarations(
        repository, f'versions:\n  1.0.0: {{manifest: "{A}"}}\n', **{"desired/datasets/other.yaml": other}
    )

    assert [name for name in sorted(found) if name.startswith("tag/")] == [
        "tag/ethereum/mainnet@1.0.0",
        "tag/ethereum/mainnet@2.0.0",
        "tag/ethereum/mainnet@latest",
    ]


def test_an_omitted_dev_or_latest_is_not_declared(repository: Repository) -> None:
    found = declarations(repository, f'versions:\n  1.0.0: {{manifest: "{A}"}}\n')

    assert "tag/ethereum/mainnet@dev" not in found
    assert "tag/ethereum/mainnet@latest" not in found


def test_a_document_that_went_leaves_its_tombstones(repository: Repository) -> None:
    removed = (
        "apiVersion: reconciler/v1\nkind: Removed\nstore: registry\ndocument: desired/datasets/old.yaml\n"
        "was: Dataset\nreason: moved away\nnamespace: ethereum\nname: sepolia\n"
        f'versions: [1.0.0]\nlinks: ["{A}"]\ndev: none\n'
    )

    found = declarations(repository, "versions: {}\n", **{"desired/gone.yaml": removed})

    assert {name: (one.slots, one.reason) for name, one in found.items()} == {
        f"link/ethereum/sepolia@{A}": (NOTHING, "moved away"),
        "tag/ethereum/sepolia@1.0.0": (NOTHING, "moved away"),
        "tag/ethereum/sepolia@dev": (NOTHING, "moved away"),
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('versions:\n  "1.0": {manifest: a.json}\n', f"E_SEMVER {YAML}:7:3:"),
        ("versions:\n  v1.0.0: {manifest: a.json}\n", f"E_SEMVER {YAML}:7:3:"),
        (
            f'versions:\n  1.0.18446744073709551616: {{manifest: "{A}"}}\n',
            f"E_SEMVER_RANGE {YAML}:7:3:",
        ),
        ("versions:\n  1.0.0: {manifest: a.json}\n", f"E_MANIFEST_MISSING {YAML}:7:3:"),
        ("versions:\n  1.0.0: {manifest: ../a.json}\n", f"E_MANIFEST_PATH {YAML}:7:21:"),
        ("versions:\n  1.0.0: {manifest: /etc/passwd}\n", f"E_MANIFEST_PATH {YAML}:7:21:"),
        (f"versions:\n  1.0.0: {{manifest: {'ab' * 32}}}\n", f"E_HASH_PREFIX {YAML}:7:21:"),
        (f'versions:\n  1.0.0: {{manifest: "md5:{"ab" * 16}"}}\n', f"E_HASH_ALG {YAML}:7:21:"),
        (f'versions:\n  1.0.0: {{manifest: "sha256:{"AB" * 32}"}}\n', f"E_HASH_CHARS {YAML}:7:21:"),
        ("versions:\n  1.0.0: {}\n", f"E_REQUIRED {YAML}:7:10:"),
        (f'versions:\n  1.0.0: {{manifest: "{A}", yank: true}}\n', f"E_UNKNOWN_FIELD {YAML}:7:"),
        ("latest: 1.0.0\n", f"E_LATEST {YAML}:6:1:"),
        (f'versions: {{1.0.0: {{manifest: "{A}"}}}}\nlatest: none\n', f"E_LATEST {YAML}:7:1:"),
        (
            f'versions: {{1.9.0: {{manifest: "{A}"}}, 1.10.0: {{manifest: "{A}"}}}}\nlatest: 1.9.0\n',
            f"E_LATEST {YAML}:7:1: latest will be 1.10.0 by the store's rule",
        ),
        (
            f'versions: {{1.0.0: {{manifest: "{A}"}}, 2.0.0-a: {{manifest: "{A}"}}}}\nlatest: 2.0.0-a\n',
            f"E_LATEST {YAML}:7:1: latest will be 1.0.0 by the store's rule",
        ),
        (
            f'versions:\n  1.0.0+a: {{manifest: "{A}"}}\n  1.0.0+b: {{manifest: "{B}"}}\n',
            f"E_VERSION_BUILD {YAML}:8:3: the version differs from 1.0.0+a at {YAML}:7",
        ),
        (
            f'versions:\n  1.0.0: {{manifest: "{A}"}}\nremoved: [{{version: 1.0.0, reason: wrong}}]\n',
            f"E_DUPLICATE {YAML}:7:3: registry/tag/ethereum/mainnet@1.0.0 is declared twice",
        ),
        (f'links: ["{A}", "{A}"]\n', f"E_DUPLICATE {YAML}:6:"),
        (
            f'versions:\n  1.0.0: {{manifest: "{A}"}}\nremoved: [{{link: "{A}", reason: unused}}]\n',
            f"E_DUPLICATE {YAML}:7:3: the link is removed at {YAML}:8 and still needed here",
        ),
        ("removed: [{reason: wrong}]\n", f"E_PATTERN {YAML}:6:11: expected: a version or a link"),
        ("dev: 1.0.0\n", f"E_PATTERN {YAML}:6:6:"),
    ],
)
def test_a_document_that_cannot_be_meant_is_refused_at_its_place(
    repository: Repository, body: str, expected: str
) -> None:
    found = refused(repository, body)

    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("name", "MainNet", "E_ID_CHARS"),
        ("name", "1inch", "E_ID_CHARS"),
        ("name", "a²", "E_ID_CHARS"),
        ("name", "a" * 129, "E_ID_LENGTH"),
        ("namespace", "my-org", "E_ID_CHARS"),
    ],
)
def test_a_name_outside_the_grammar_is_refused(
    repository: Repository, field: str, text: str, code: str
) -> None:
    document = dataset("versions: {}\n").replace(
        {"name": "name: mainnet", "namespace": "namespace: ethereum"}[field], f"{field}: {text}"
    )

    found = refusal(repository, {"desired/stores.yaml": STORES, YAML: document})

    assert [problem.split()[0] for problem in found] == [code]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"a": 1, "a": 2}', "E_JSON_DUP"),
        (b'{"a": NaN}', "E_JSON_NUMBER"),
        (b'{"a": "\\ud800"}', "E_JSON_TEXT"),
        (b"[" * 100_000, "E_JSON_DEPTH"),
        (b"[]", "E_JSON_ROOT"),
        (b"{", "E_JSON_SYNTAX"),
        (b'{"a": "' + b"x" * 5_000_000 + b'"}', "E_JSON_SIZE"),
        (b"version https://git-lfs.github.com/spec/v1\n", "E_TREE_LFS"),
    ],
    ids=["twice", "number", "text", "depth", "root", "syntax", "size", "lfs"],
)
def test_a_manifest_file_that_two_readers_could_take_for_two_things_is_refused(
    repository: Repository, content: bytes, code: str
) -> None:
    body = "versions:\n  1.0.0: {manifest: manifests/one.json}\n"

    found = refused(repository, body, **{FILE: File("100644", content)})

    assert len(found) == 1
    assert found[0].startswith(f"{code} {FILE}")


def test_a_manifest_that_is_a_link_is_refused(repository: Repository) -> None:
    body = "versions:\n  1.0.0: {manifest: manifests/one.json}\n"

    found = refused(repository, body, **{FILE: File("120000", b"/etc/passwd")})

    assert {problem.split()[0] for problem in found} == {"E_TREE_MODE"}


def test_the_highest_rule_lets_a_pre_release_be_latest(repository: Repository) -> None:
    body = f'versions: {{1.0.0: {{manifest: "{A}"}}, 2.0.0-rc.1: {{manifest: "{B}"}}}}\nlatest: 2.0.0-rc.1\n'
    stores = STORES.replace("create: true", "latest: highest")

    desired = at_commit(repository, {"desired/stores.yaml": stores, YAML: dataset(body)})

    latest = next(one for one in desired.declarations if one.address.key == "ethereum/mainnet@latest")
    assert latest.slots == {"manifest": B}


@pytest.mark.parametrize(
    ("database", "objects", "code"),
    [
        ("mysql://db/x", "file:var/m", "E_URL_SCHEME"),
        ("postgresql://me:secret@db/x", "file:var/m", "E_SECRET_IN_CONFIG"),
        ("postgresql://db/x?password=secret", "file:var/m", "E_SECRET_IN_CONFIG"),
        ("sqlite:", "file:var/m", "E_URL_SYNTAX"),
        ("sqlite:var/r.db", "gs://bucket", "E_URL_SCHEME"),
        ("sqlite:var/r.db", "s3://", "E_URL_SYNTAX"),
        ("sqlite:var/r.db", "s3://bucket/x?signature=secret", "E_SECRET_IN_CONFIG"),
    ],
)
def test_a_location_of_a_registry_is_judged_and_no_secret_is_repeated(
    repository: Repository, database: str, objects: str, code: str
) -> None:
    stores = (
        "apiVersion: reconciler/v1\nkind: Stores\nstores:\n"
        f'  registry: {{kind: registry, database: "{database}", objects: "{objects}"}}\n'
    )

    (found,) = refusal(repository, {"desired/stores.yaml": stores})

    assert found.startswith(f"{code} desired/stores.yaml:4:")
    assert "secret" not in found.partition("got ")[2].partition(";")[0]
