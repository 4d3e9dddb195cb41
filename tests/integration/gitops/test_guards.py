"""Each guard refuses through the real command line: exit code, sentence, and not one byte written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.model import DatasetId
from reconciler.testing.samples import Stage, minimal_dataset
from tests.integration.command_line import Ran
from tests.integration.gitops.conftest import Repository

NOW = "1772452800"  # 2026-03-02 12:00 UTC, a Monday
HEAD = "apiVersion: reconciler/v1\nkind: {}\n"


def human(release: int) -> str:
    return f"{release}/homo_sapiens/GRCh38"


def lines(number: int) -> list[str]:
    return [f"1/species_{line:03}/GRCx1" for line in range(number)]


@dataclass(slots=True)
class World:
    """A repository with small serving stores; what is declared is published first."""

    repository: Repository
    digests: dict[tuple[str, str], str] = field(default_factory=dict)

    def stores(self, *names: str, **above: str) -> None:
        """Declare stores; `above` says which one each promotes from."""
        text = HEAD.format("Stores") + "stores:\n"
        for name in names:
            path = f", promotesFrom: {above[name]}" if name in above else ""
            text += f"  {name}: {{kind: serving, root: file:var/{name}, create: true{path}}}\n"
        self.write("desired/stores.yaml", text)

    def write(self, path: str, text: str) -> None:
        file = self.repository.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def digest(self, store: str, key: str, *, seed: int = 0) -> str:
        """Publish a dataset behind everybody's back, once."""
        if (store, key) not in self.digests:
            root = self.repository.root / "var" / store
            self.digests[store, key] = minimal_dataset(
                root, DatasetId.parse(key), seed=seed, stage=Stage.PUBLISHED
            )
        return self.digests[store, key]

    def declare(
        self,
        listed: Iterable[str],
        *,
        store: str = "one",
        removed: Sequence[str] = (),
        latest: str | None = None,
        owner: str = "genomics",
        seed: int = 0,
    ) -> None:
        """Write the store's one document and commit it."""
        text = HEAD.format("Catalog") + f"store: {store}\nmeta: {{owner: {owner}}}\n"
        entries = [f'  - {{id: {key}, manifest: "{self.digest(store, key, seed=seed)}"}}\n' for key in listed]
        text += "datasets:\n" + "".join(entries) if entries else "datasets: []\n"
        if removed:
            text += "removed:\n" + "".join(f"  - {{id: {key}, reason: superseded}}\n" for key in removed)
        text += f"latest: {latest}\n" if latest else ""
        self.write(f"desired/catalogs/{store}.yaml", text)
        self.repository.commit(f"Declare {store}")

    def policy(self, **members: object) -> None:
        """Write the policy and commit it."""
        text = HEAD.format("Policy") + "".join(f"{name}: {json.dumps(m)}\n" for name, m in members.items())
        self.write("desired/policy.yaml", text)
        self.repository.commit("Say what may change")

    def governance(self, name: str, **members: object) -> None:
        """Change members of one of this project's own governance files, and commit that."""
        source = Path(__file__).parents[3] / f"ops/datasets/{name}.json"
        document = {**json.loads(source.read_text()), **members}
        self.write(f"ops/datasets/{name}.json", json.dumps(document))
        self.repository.commit(f"Govern by {name}")

    def ok(self, *words: str) -> Ran:
        return self.repository.ok(*words, SOURCE_DATE_EPOCH=NOW)

    def apply(self) -> None:
        self.ok("apply", "--yes")

    def bytes(self) -> Mapping[str, bytes]:
        return self.repository.store("var")

    def refused(self, code: int, *errors: str, at: str = NOW) -> Ran:
        """Plan and apply both refuse with these codes and write nothing."""
        before = self.bytes()
        plan = self.repository.run("plan", "--output", "json", SOURCE_DATE_EPOCH=at)
        assert plan.code == code
        denied = [f["code"] for f in plan.document["findings"] if f["severity"] == "deny"]
        ran = self.repository.run("apply", "--yes", SOURCE_DATE_EPOCH=at)
        assert ran.code == code, ran.err
        said = [line.split(" ", 1)[0].rstrip(":") for line in ran.err.splitlines() if line.startswith("E_")]
        assert (sorted(said), sorted(denied)) == (sorted(errors), sorted(errors))
        assert self.bytes() == before
        return ran


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A repository with one store, and nothing else."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / ".gitignore").write_text("/var/\n")
    repository = Repository(root)
    repository.git("init", "-q", "-b", "main")
    made = World(repository)
    made.stores("one")
    return made


# Budgets (peers' lesson 4).


def test_nine_of_nine_in_a_small_scope_are_refused(world: World) -> None:
    keys = [human(release) for release in range(101, 110)]
    world.declare([*keys, human(110)])
    world.apply()
    world.declare([human(110)], removed=keys)
    ran = world.refused(9, "E_DELETE_BUDGET")
    assert "the plan would take away 9 of 10, 5 are within the budget" in ran.err


def test_twenty_scopes_that_each_lose_less_than_a_third_are_refused_together(world: World) -> None:
    names = [f"s{number:02}" for number in range(20)]
    world.stores(*names)
    world.policy(budgets={"delete": {"count": 3, "percent": 29, "totalPercent": 10}})
    keys = lines(7)
    for name in names:
        world.declare(keys, store=name)
    world.apply()
    kept = [human(1)]
    for name in names:
        world.declare([*keys[2:], *kept], store=name, removed=keys[:2])
    waived = HEAD.format("Exception") + (
        "type: allow-empty\nsubject: 's*'\nowner: o\nreason: lines go\nexpires: 2099-01-01\n"
    )
    for name in names:
        world.write(f"desired/exceptions/{name}.yaml", waived.replace("'s*'", f"{name}/dataset"))
    world.repository.commit("Lines may end")
    ran = world.refused(9, "E_DELETE_BUDGET")
    assert "the plan would take away 40 of 140 in all scopes, 14 are within the budget" in ran.err


def test_a_number_for_all_scopes_holds_however_little_is_live(world: World) -> None:
    names = ["one", "two", "three"]
    world.stores(*names)
    world.policy(budgets={"delete": {"above": 0, "totalCount": 5, "totalPercent": 0}})
    keys = [human(release) for release in range(101, 106)]
    for name in names:
        world.declare(keys, store=name)
    world.apply()
    for name in names:
        world.declare(keys[2:], store=name, removed=keys[:2])
    ran = world.refused(9, "E_DELETE_BUDGET")
    assert "the plan would take away 6 of 15 in all scopes, 5 are within the budget" in ran.err
    world.declare(keys[1:], store="one", removed=keys[:1])
    world.apply()


def test_a_plan_that_uses_no_budget_says_what_it_might_use(world: World) -> None:
    world.policy(budgets={"delete": {"count": 2}})
    world.declare([human(110)])
    world.apply()
    world.declare([human(110), human(111)])
    said = "budgets: nothing used; in each scope at least delete 2, retarget 5, update 5"
    assert said in world.ok("plan").out.splitlines()
    assert f"- {said}" in world.ok("plan", "--output", "markdown").out.splitlines()


def test_exact_number_is_approved_and_no_other(world: World) -> None:
    keys = [human(release) for release in range(101, 110)]
    world.declare([*keys, human(110)])
    world.apply()
    approval = HEAD.format("Exception") + (
        "type: approved-deletes\nsubject: one/dataset\nowner: genomics\nreason: r\nexpires: 2099-01-01\n"
    )
    world.write("desired/exceptions/deletes.yaml", f"{approval}count: 8\n")
    world.declare([human(110)], removed=keys)
    world.refused(9, "E_DELETE_BUDGET")
    world.write("desired/exceptions/deletes.yaml", f"{approval}count: 9\n")
    world.repository.commit("Approve nine")
    world.apply()
    catalog = json.loads((world.repository.root / "var/one/catalog.json").read_bytes())
    assert [entry["dataset"]["release"] for entry in catalog["datasets"]] == ["110"]


def test_updates_and_moves_have_budgets_of_their_own(world: World) -> None:
    world.declare([human(110), "110/mus_musculus/GRCm39"], latest=human(110))
    world.apply()
    world.policy(budgets={"retarget": {"count": 0, "percent": 0}})
    world.declare([human(110), "110/mus_musculus/GRCm39"], latest="110/mus_musculus/GRCm39")
    world.refused(9, "E_RETARGET_BUDGET")


# Hard stops (lessons 4 and 6).


def test_emptied_tree_is_refused(world: World) -> None:
    world.declare([human(110)])
    world.apply()
    world.declare([])
    world.refused(4, "E_EMPTY_DESIRED", "E_TOMBSTONE", "E_LAST_RELEASE")


def test_document_that_disappears_is_refused(world: World) -> None:
    world.declare([human(110), human(111)])
    world.apply()
    (world.repository.root / "desired/catalogs/one.yaml").unlink()
    world.repository.commit("Clean up")
    world.refused(4, "E_TOMBSTONE", "E_TOMBSTONE", "E_LAST_RELEASE")


def test_last_release_of_a_line_is_kept(world: World) -> None:
    world.declare([human(110), "110/mus_musculus/GRCm39"])
    world.apply()
    world.declare([human(110)], removed=["110/mus_musculus/GRCm39"])
    world.refused(4, "E_LAST_RELEASE")


# Movement.


def test_latest_is_not_lowered_beside_a_higher_release(world: World) -> None:
    world.declare([human(99), human(110)], latest=human(110))
    world.apply()
    world.declare([human(99), human(110)], latest=human(99))
    world.refused(4, "E_LATEST_LOWERED")


def test_release_that_somebody_promoted_by_hand_counts_for_latest(world: World) -> None:
    world.declare([human(110)], latest=human(110))
    world.apply()
    world.digest("one", human(112))
    world.ok(
        *("catalog", "promote", "--store-root", "var/one"),
        *("--release", "112", "--species", "homo_sapiens", "--assembly", "GRCh38"),
    )
    world.declare([human(110), human(111)], latest=human(111))
    world.refused(4, "E_LATEST_LOWERED")


def deep_rollback(world: World) -> None:
    keys = [human(release) for release in range(101, 106)]
    world.governance("rollback-policy", max_rollback_depth=3)
    world.declare(keys, latest=keys[-1])
    world.apply()
    world.declare(keys[:1], removed=keys[1:], latest=keys[0])


def test_rollback_deeper_than_the_policy_is_refused(world: World) -> None:
    deep_rollback(world)
    ran = world.refused(4, "E_ROLLBACK_DEPTH")
    assert "by 4 releases where at most 3 are allowed" in ran.err


def test_rollback_to_bytes_that_changed_is_refused(world: World) -> None:
    world.declare([human(110), human(111)], latest=human(111))
    world.apply()
    # The chain of manifest and lock holds; only the database's own bytes tell.
    [database] = (world.repository.root / "var/one/release=110").rglob("gene_summary.sqlite")
    database.chmod(0o644)
    data = bytearray(database.read_bytes())
    data[-1] ^= 1
    database.write_bytes(data)
    world.declare([human(110)], removed=[human(111)], latest=human(110))
    world.refused(4, "E_ROLLBACK_TARGET")


def test_release_lines_of_the_freeze_policy_stay(world: World) -> None:
    world.governance("freeze-policy")
    world.declare([human(110), human(111)], latest=human(111))
    world.apply()
    world.declare([human(110)], removed=[human(111)], latest=human(110))
    world.refused(4, "E_RETENTION")


# Promotion.


def test_what_manifest_and_pins_do_not_name_is_not_promoted(world: World) -> None:
    world.governance("promotion-rules")
    world.write("ops/inventory/pins.yaml", f'schema_version: 1\ndataset_ids: ["{human(110)}"]\n')
    manifest = {"schema_version": 1, "datasets": [{"name": "a", "id": human(111), "kind": "real"}]}
    world.write("ops/datasets/manifest.json", json.dumps(manifest))
    world.declare([human(110), human(111)])
    world.refused(4, "E_PROMOTION_MANIFEST", "E_PROMOTION_PINS")


def test_release_does_not_return_with_other_bytes(world: World) -> None:
    world.declare([human(110), human(111)])
    world.apply()
    world.declare([human(111)], removed=[human(110)])
    world.apply()
    # As a collection leaves it: the directory is gone, and other bytes are published under its id.
    directory = world.repository.root / "var/one/release=110"
    directory.rename(world.repository.root / "var/gone")
    del world.digests["one", human(110)]
    world.declare([human(110), human(111)], seed=7)
    ran = world.repository.run("apply", "--yes", SOURCE_DATE_EPOCH=NOW)
    assert (ran.code, "E_APPEND_ONLY" in ran.err) == (4, True)


def test_yanked_release_is_promoted_nowhere(world: World) -> None:
    world.stores("one", "two")
    world.declare([human(110), human(111)], store="two")
    world.ok("apply", "--yes", "--store", "two")
    world.declare([human(110)], store="one")
    path = "desired/catalogs/one.yaml"
    text = (world.repository.root / path).read_text()
    yank = f"yanked:\n  - {{id: {human(112)}, reason: wrong contigs, at: 2026-03-01}}\n"
    world.write(path, text + yank)
    world.declare([human(110), human(111), human(112)], store="two")
    world.refused(4, "E_YANKED")


def test_environment_path_and_soak_are_kept(world: World) -> None:
    world.stores("one", "prod", prod="one")
    world.policy(soak={"prod": "1h"})
    world.declare([human(110)], store="prod")
    world.refused(4, "E_ENVIRONMENT_PATH")

    world.declare([human(110)], store="one")
    world.ok("apply", "--yes", "--store", "one")
    [outcome] = (world.repository.root / "var/one/.reconciler/ledger").glob("*.outcome.json")
    landed = int(outcome.stat().st_mtime)
    early = world.refused(4, "E_SOAK", at=str(landed + 3599))
    assert "it must stand in one for 3600 seconds" in early.err
    world.ok("snapshot", "--out", "live.json")
    advisory = world.ok("plan", "--live", "live.json", "--output", "json").document["findings"]
    assert [(f["severity"], f["code"]) for f in advisory] == [("warn", "E_SOAK")]
    world.repository.ok("apply", "--yes", SOURCE_DATE_EPOCH=str(landed + 3600))
    assert world.repository.ok("plan", SOURCE_DATE_EPOCH=NOW).out.startswith("nothing to do")


def test_other_bytes_than_before_are_not_promoted(world: World) -> None:
    world.stores("one", "prod", prod="one")
    world.declare([human(110)], store="one")
    world.apply()
    world.declare([human(110)], store="prod", seed=3)
    world.refused(4, "E_ENVIRONMENT_PATH")


# People and time.


def test_freeze_refuses_and_says_when_it_reopens(world: World) -> None:
    freeze = {"name": "start of the week", "reason": "the portal moves", "timezone": "Europe/Berlin"}
    world.policy(freezes=[{**freeze, "days": ["mon"], "opens": "08:00", "closes": "18:00"}])
    world.declare([human(110)])
    ran = world.refused(4, "E_FREEZE")
    assert "it reopens at 2026-03-02 18:00 Europe/Berlin" in ran.err
    world.repository.ok("apply", "--yes", SOURCE_DATE_EPOCH=str(int(NOW) + 6 * 3600))


def test_a_time_that_is_not_the_clocks_is_said(world: World) -> None:
    world.declare([human(110)])
    warning = "warning: SOURCE_DATE_EPOCH is set: windows, expiries and soak times are judged at"
    assert f"{warning} 2026-03-02T12:00:00Z" in world.ok("apply", "--yes").err.splitlines()
    assert warning not in world.repository.ok("plan").err


def test_document_needs_an_owner_of_its_path(world: World) -> None:
    world.policy(owners=[{"path": "desired/catalogs/*", "owners": ["genomics"]}])
    world.declare([human(110)], owner="somebody")
    ran = world.refused(4, "E_OWNERS")
    assert "its owner is somebody" in ran.err
    world.declare([human(110)])
    world.apply()


def test_protected_release_is_kept(world: World) -> None:
    world.policy(protected=["one/dataset/110/*"])
    world.declare([human(110), human(111)])
    world.apply()
    world.declare([human(111)], removed=[human(110)])
    world.refused(4, "E_PROTECTED")


# What cannot be read is never empty (lesson 5).


def test_failed_read_that_looks_empty_deletes_nothing(world: World) -> None:
    world.declare([human(110), human(111)], latest=human(111))
    world.apply()
    root = world.repository.root / "var/one"
    (root / "catalog.json").rename(root / "catalog.away")
    before = world.bytes()
    for command in (("plan",), ("apply", "--yes"), ("drift",)):
        ran = world.repository.run(*command, SOURCE_DATE_EPOCH=NOW)
        assert (ran.code, ran.error) == (8, "E_CATALOG_MISSING")
    assert world.bytes() == before


# The record.


def test_check_of_the_record_finds_nothing_in_what_we_did(world: World) -> None:
    world.declare([human(110)], latest=human(110))
    world.apply()
    world.declare([human(110), human(111)], latest=human(111))
    world.apply()
    world.declare([human(110)], removed=[human(111)], latest=human(110))
    world.apply()
    ran = world.ok("history", "--check")
    assert "one: at no moment could a reader meet a name that led to nothing" in ran.err
