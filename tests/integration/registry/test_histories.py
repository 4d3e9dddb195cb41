"""Random histories of a dataset against a model in a few lines: what stands, and what is `latest`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
import semver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import Conflict, Denied, InvalidInput, ReconcilerError
from reconciler.reference import DatasetName, ManifestHash
from reconciler.stores.registry.backend_sqlite import open_sqlite
from reconciler.stores.registry.objects import LocalObjects
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.values import BreakGlass, LatestRule, TagsOnUnlink
from tests.integration.registry.world import RUN, World, hash_of, linked

MANIFESTS = 3
VERSIONS = [
    "0.9.0",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.0+build",
    "1.9.0",
    "1.10.0",
    "2.0.0-alpha",
    "2.0.0",
    "10.0.0",
]
_DATASETS = count()

Act = tuple[str, str, int]
ACTS = st.tuples(
    st.sampled_from(["tag", "move", "untag", "yank", "unyank", "unlink", "link"]),
    st.sampled_from(VERSIONS),
    st.integers(0, MANIFESTS - 1),
)


@dataclass(slots=True)
class Model:
    """What a dataset holds after a history, told as plainly as possible."""

    links: set[int] = field(default_factory=lambda: set(range(MANIFESTS)))
    tags: dict[str, int] = field(default_factory=dict)
    yanked: set[str] = field(default_factory=set)
    retired: dict[str, int] = field(default_factory=dict)

    def twin(self, version: str) -> bool:
        new = semver.Version.parse(version)
        return any(semver.Version.parse(old).compare(new) == 0 and old != version for old in self.tags)

    def latest(self, rule: LatestRule) -> int | None:
        candidates = [
            version
            for version in self.tags
            if version not in self.yanked and (rule is LatestRule.HIGHEST or "-" not in version.split("+")[0])
        ]
        return self.tags[max(candidates, key=semver.Version.parse)] if candidates else None

    def remove(self, version: str) -> None:
        self.retired[version.split("+", maxsplit=1)[0]] = self.tags.pop(version)
        self.yanked.discard(version)

    def act(self, verb: str, version: str, number: int) -> type[ReconcilerError] | None:
        """Do it; what must be raised instead, if it may not be done."""
        if verb in ("tag", "move"):
            return self._tag(verb, version, number)
        if verb == "untag":
            if version in self.tags:
                self.remove(version)
        elif verb in ("yank", "unyank"):
            if version not in self.tags:
                return InvalidInput
            (self.yanked.add if verb == "yank" else self.yanked.discard)(version)
        elif verb == "link":
            self.links.add(number)
        else:
            self.links.discard(number)
            for gone in [v for v, named in self.tags.items() if named == number]:
                self.remove(gone)
        return None

    def _tag(self, verb: str, version: str, number: int) -> type[ReconcilerError] | None:
        if self.tags.get(version) == number:
            return None
        was = self.tags.get(version, self.retired.get(version.split("+", maxsplit=1)[0], number))
        if was != number and verb == "tag":
            return Denied
        if number not in self.links:
            return InvalidInput
        if self.twin(version):
            return Conflict
        self.tags[version] = number
        return None


def do(registry: Registry, dataset: DatasetName, act: Act) -> None:
    verb, version, number = act
    manifest = hash_of(number)
    if verb == "tag":
        registry.set_version_tag(dataset, version, manifest, run=RUN)
    elif verb == "move":
        permission = BreakGlass("a test")
        registry.set_version_tag(dataset, version, manifest, run=RUN, break_glass=permission)
    elif verb == "untag":
        registry.delete_version_tag(dataset, version, run=RUN)
    elif verb in ("yank", "unyank"):
        registry.yank_version(dataset, version, yanked=verb == "yank", run=RUN)
    elif verb == "link":
        registry.link_manifest(dataset, manifest, run=RUN)
    else:
        registry.unlink_manifest(dataset, manifest, run=RUN, tags=TagsOnUnlink.REMOVE)


def named(manifest: ManifestHash | None) -> int | None:
    return next((number for number in range(MANIFESTS) if hash_of(number) == manifest), None)


@pytest.fixture(scope="module", params=list(LatestRule))
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    base: Path = tmp_path_factory.mktemp("histories")
    world = World(
        "sqlite",
        str(base / "registry.db"),
        lambda wait: open_sqlite(str(base / "registry.db"), timeout=wait),
        lambda: LocalObjects(str(base / "manifests")),
    )
    with world.open(latest=request.param) as opened:
        yield opened


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=14))
def test_every_history_leaves_what_the_model_says(registry: Registry, acts: list[Act]) -> None:
    dataset = DatasetName("history", f"n{next(_DATASETS)}")
    linked(registry, *range(MANIFESTS), dataset=dataset)
    model = Model()
    for act in acts:
        refusal = model.act(*act)
        if refusal is None:
            do(registry, dataset, act)
        else:
            with pytest.raises(refusal):
                do(registry, dataset, act)
        versions = registry.list_version_tags(dataset)
        assert {tag.version: named(tag.hash) for tag in versions} == model.tags
        assert {tag.version for tag in versions if tag.yanked} == model.yanked
        ordered = [semver.Version.parse(tag.version) for tag in versions]
        assert ordered == sorted(ordered, reverse=True)
        assert named(registry.resolve_latest(dataset)) == model.latest(registry.settings.latest)
