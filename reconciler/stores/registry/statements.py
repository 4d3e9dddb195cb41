"""The SQL of the registry, written once for SQLite and PostgreSQL; `?` stands for a value.

Everything that changes rows works on sets: the wanted rows are loaded into temporary tables and joined,
so a hundred thousand tags cost a handful of statements. What compares versions compares `precedence`,
never the version's text.
"""

# ruff: noqa: S608 - statements are put together from constants of this module only
from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXT: Final = "TEXT"
NUMBER: Final = "BIGINT"
FLAG: Final = "BOOLEAN"

TEMPORARY: Final[Mapping[str, Mapping[str, str]]] = {
    "wanted_manifests": {"hash": TEXT, "size": NUMBER, "held": FLAG, "holds": FLAG},
    "wanted_links": {"namespace": TEXT, "name": TEXT, "hash": TEXT, "held": FLAG, "holds": FLAG},
    "wanted_tags": {
        "namespace": TEXT,
        "name": TEXT,
        "version": TEXT,
        "precedence": TEXT,
        "prerelease": FLAG,
        "moves": FLAG,
        "old_hash": TEXT,
        "new_hash": TEXT,
        "marks": FLAG,
        "old_yanked": FLAG,
        "new_yanked": FLAG,
    },
    "wanted_datasets": {"namespace": TEXT, "name": TEXT},
}
"""Temporary tables and their columns. `held` and `holds`: whether the thing is there before and after.
`moves` and `marks`: whether the hash and the yank are to be changed; an absent tag has the hash ''."""


def temporary_tables(*, collation: str, tail: str) -> list[str]:
    """The statements that make the temporary tables of one connection.

    Args:
        collation: what makes text compare by bytes, if anything must.
        tail: what follows the columns.
    """
    return [
        f"CREATE TEMPORARY TABLE {table} ("
        + ", ".join(f"{c} {kind}{collation if kind == TEXT else ''}" for c, kind in columns.items())
        + f"){tail}"
        for table, columns in TEMPORARY.items()
    ]


_SAME_TAG = "t.namespace = w.namespace AND t.name = w.name AND t.version = w.version"
_SAME_LINK = "l.namespace = w.namespace AND l.name = w.name AND l.hash = w.hash"

# What is not as the plan saw it.

MOVED_TAGS: Final = f"""
SELECT w.namespace, w.name, w.version, w.moves, w.old_hash, t.hash, w.old_yanked, t.yanked
FROM wanted_tags w LEFT JOIN dataset_tags t ON {_SAME_TAG}
WHERE (w.moves AND COALESCE(t.hash, '') <> w.old_hash)
   OR (w.marks AND COALESCE(t.yanked, FALSE) <> w.old_yanked)
ORDER BY w.namespace, w.name, w.version
"""
MOVED_LINKS: Final = f"""
SELECT w.namespace, w.name, w.hash, w.held
FROM wanted_links w LEFT JOIN dataset_manifests l ON {_SAME_LINK}
WHERE (l.hash IS NOT NULL) <> w.held
ORDER BY w.namespace, w.name, w.hash
"""
MOVED_MANIFESTS: Final = """
SELECT w.hash, w.held
FROM wanted_manifests w LEFT JOIN manifests m ON m.hash = w.hash
WHERE (m.hash IS NOT NULL) <> w.held
ORDER BY w.hash
"""

# Manifests.

BURIED: Final = """
SELECT w.hash FROM wanted_manifests w JOIN manifest_tombstones s ON s.hash = w.hash
WHERE w.holds ORDER BY w.hash
"""
UNBURY: Final = """
DELETE FROM manifest_tombstones WHERE hash IN (SELECT hash FROM wanted_manifests WHERE holds)
"""
REGISTER: Final = """
INSERT INTO manifests (hash, size, created_at, registered_at)
SELECT w.hash, w.size, CAST(? AS BIGINT), CAST(? AS BIGINT) FROM wanted_manifests w WHERE w.holds
ON CONFLICT (hash) DO UPDATE SET registered_at = excluded.registered_at
"""
RENEW: Final = "UPDATE manifests SET registered_at = ? WHERE hash = ?"
LINKED: Final = """
SELECT w.hash, l.namespace, l.name
FROM wanted_manifests w JOIN dataset_manifests l ON l.hash = w.hash
WHERE NOT w.holds ORDER BY w.hash, l.namespace, l.name
"""
BURY: Final = """
INSERT INTO manifest_tombstones (hash, since, deleted_at)
SELECT w.hash, CAST(? AS BIGINT), CAST(NULL AS BIGINT) FROM wanted_manifests w WHERE NOT w.holds
ON CONFLICT (hash) DO UPDATE SET since = excluded.since, deleted_at = NULL
"""
UNREGISTER: Final = """
DELETE FROM manifests WHERE hash IN (SELECT hash FROM wanted_manifests WHERE NOT holds)
"""

# Links.

UNKNOWN_MANIFESTS: Final = """
SELECT w.namespace, w.name, w.hash
FROM wanted_links w LEFT JOIN manifests m ON m.hash = w.hash
WHERE w.holds AND m.hash IS NULL ORDER BY w.namespace, w.name, w.hash
"""
LINK: Final = """
INSERT INTO dataset_manifests (namespace, name, hash, created_at)
SELECT w.namespace, w.name, w.hash, CAST(? AS BIGINT) FROM wanted_links w WHERE w.holds
ORDER BY w.namespace, w.name, w.hash
ON CONFLICT (namespace, name, hash) DO NOTHING
"""
STILL_TAGGED: Final = """
SELECT w.namespace, w.name, w.hash, t.version
FROM wanted_links w
JOIN dataset_tags t ON t.namespace = w.namespace AND t.name = w.name AND t.hash = w.hash
WHERE NOT w.holds AND t.version <> 'latest' ORDER BY w.namespace, w.name, t.version
"""
UNLINK: Final = """
DELETE FROM dataset_manifests WHERE (namespace, name, hash) IN
    (SELECT namespace, name, hash FROM wanted_links WHERE NOT holds)
"""

# Tags.

UNLINKED_TAGS: Final = """
SELECT w.namespace, w.name, w.version, w.new_hash
FROM wanted_tags w LEFT JOIN dataset_manifests l
    ON l.namespace = w.namespace AND l.name = w.name AND l.hash = w.new_hash
WHERE w.moves AND w.new_hash <> '' AND l.hash IS NULL
ORDER BY w.namespace, w.name, w.version
"""
REUSED: Final = """
SELECT w.namespace, w.name, w.version, w.new_hash, r.version, r.hash
FROM wanted_tags w JOIN retired_versions r
    ON r.namespace = w.namespace AND r.name = w.name AND r.precedence = w.precedence
WHERE w.moves AND w.old_hash = '' AND w.new_hash <> '' AND r.hash <> w.new_hash
ORDER BY w.namespace, w.name, w.version
"""
RETIRE: Final = f"""
INSERT INTO retired_versions (namespace, name, precedence, version, hash, retired_at)
SELECT t.namespace, t.name, t.precedence, t.version, t.hash, CAST(? AS BIGINT)
FROM wanted_tags w JOIN dataset_tags t ON {_SAME_TAG}
WHERE w.moves AND w.new_hash = '' AND t.precedence IS NOT NULL
ON CONFLICT (namespace, name, precedence)
DO UPDATE SET version = excluded.version, hash = excluded.hash, retired_at = excluded.retired_at
"""
UNTAG: Final = """
DELETE FROM dataset_tags WHERE (namespace, name, version) IN
    (SELECT namespace, name, version FROM wanted_tags WHERE moves AND new_hash = '')
"""
TWINS: Final = """
SELECT w.namespace, w.name, w.version, t.version
FROM wanted_tags w
JOIN dataset_tags t
    ON t.namespace = w.namespace AND t.name = w.name
    AND t.precedence = w.precedence AND t.version <> w.version
WHERE w.moves AND w.new_hash <> '' AND w.precedence IS NOT NULL
ORDER BY w.namespace, w.name, w.version
"""
TAG: Final = """
INSERT INTO dataset_tags
    (namespace, name, version, precedence, prerelease, hash, yanked, created_at, updated_at)
SELECT w.namespace, w.name, w.version, w.precedence, w.prerelease, w.new_hash,
    w.marks AND w.new_yanked, CAST(? AS BIGINT), CAST(? AS BIGINT)
FROM wanted_tags w WHERE w.moves AND w.new_hash <> ''
ORDER BY w.namespace, w.name, w.version
ON CONFLICT (namespace, name, version)
DO UPDATE SET hash = excluded.hash, updated_at = excluded.updated_at
"""
YANK: Final = """
UPDATE dataset_tags SET yanked = w.new_yanked, updated_at = ?
FROM wanted_tags w
WHERE w.marks AND w.version = dataset_tags.version AND w.name = dataset_tags.name
    AND w.namespace = dataset_tags.namespace AND w.new_yanked <> dataset_tags.yanked
"""
NOT_YANKED: Final = f"""
SELECT w.namespace, w.name, w.version
FROM wanted_tags w LEFT JOIN dataset_tags t ON {_SAME_TAG}
WHERE w.marks AND w.new_yanked AND t.hash IS NULL
ORDER BY w.namespace, w.name, w.version
"""

# `latest`, from all versions of the touched datasets.

# One walk down an index for each dataset, however many versions it has.
_HIGHEST = """
SELECT w.namespace, w.name, (
    SELECT t.hash FROM dataset_tags t
    WHERE t.namespace = w.namespace AND t.name = w.name
        AND t.precedence IS NOT NULL AND NOT t.yanked {rule}
    ORDER BY t.precedence DESC LIMIT 1
) AS hash
FROM wanted_datasets w
"""
RULES: Final[Mapping[str, str]] = {"stable": "AND NOT t.prerelease", "highest": ""}


def no_latest(rule: str) -> str:
    """Removes `latest` where no version may be it any more."""
    return f"""
DELETE FROM dataset_tags WHERE version = 'latest' AND (namespace, name) IN (
    SELECT b.namespace, b.name FROM ({_HIGHEST.format(rule=RULES[rule])}) b WHERE b.hash IS NULL)
"""


def set_latest(rule: str) -> str:
    """Points `latest` at the manifest of the highest version that may be it; takes the time twice."""
    return f"""
INSERT INTO dataset_tags
    (namespace, name, version, precedence, prerelease, hash, yanked, created_at, updated_at)
SELECT b.namespace, b.name, 'latest', CAST(NULL AS TEXT), FALSE, b.hash, FALSE,
    CAST(? AS BIGINT), CAST(? AS BIGINT)
FROM ({_HIGHEST.format(rule=RULES[rule])}) b
WHERE b.hash IS NOT NULL ORDER BY b.namespace, b.name
ON CONFLICT (namespace, name, version)
DO UPDATE SET hash = excluded.hash, updated_at = excluded.updated_at WHERE dataset_tags.hash <> excluded.hash
"""


# Readings.

ALL_MANIFESTS: Final = """
SELECT m.hash, m.size, m.created_at, m.registered_at, COUNT(l.hash)
FROM manifests m LEFT JOIN dataset_manifests l ON l.hash = m.hash
GROUP BY m.hash, m.size, m.created_at, m.registered_at ORDER BY m.hash
"""
ORPHANS: Final = """
SELECT m.hash, m.size, m.created_at, m.registered_at, 0 FROM manifests m
WHERE NOT EXISTS (SELECT 1 FROM dataset_manifests l WHERE l.hash = m.hash) ORDER BY m.hash
"""
MANIFEST: Final = "SELECT size FROM manifests WHERE hash = ?"
IS_LINKED: Final = "SELECT 1 FROM dataset_manifests WHERE namespace = ? AND name = ? AND hash = ?"
LINKS: Final = "SELECT hash FROM dataset_manifests WHERE namespace = ? AND name = ? ORDER BY hash"
ALL_LINKS: Final = "SELECT namespace, name, hash FROM dataset_manifests ORDER BY namespace, name, hash"
DATASETS_OF: Final = "SELECT namespace, name FROM dataset_manifests WHERE hash = ? ORDER BY namespace, name"

_TAG_COLUMNS = "namespace, name, version, hash, yanked, created_at, updated_at"
TAG_OF: Final = f"SELECT {_TAG_COLUMNS} FROM dataset_tags WHERE namespace = ? AND name = ? AND version = ?"
TAGS_OF: Final = f"""
SELECT {_TAG_COLUMNS} FROM dataset_tags
WHERE namespace = ? AND name = ? ORDER BY precedence DESC, version DESC
"""
VERSIONS_OF_MANIFEST: Final = """
SELECT t.namespace, t.name, t.version, t.hash, t.yanked, t.created_at, t.updated_at
FROM dataset_manifests l
JOIN dataset_tags t ON t.namespace = l.namespace AND t.name = l.name AND t.hash = l.hash
WHERE l.hash = ? AND t.precedence IS NOT NULL ORDER BY t.namespace, t.name, t.precedence DESC
"""
VERSIONS: Final = f"""
SELECT {_TAG_COLUMNS} FROM dataset_tags
WHERE precedence IS NOT NULL ORDER BY namespace, name, precedence DESC
"""
ALL_TAGS: Final = """
SELECT namespace, name, version, hash, yanked FROM dataset_tags ORDER BY namespace, name, version
"""

# The ledger.

LAST_RECORD: Final = "SELECT seq, outcome FROM reconciler_ledger ORDER BY seq DESC LIMIT 1"
RECORD: Final = "SELECT intent, outcome FROM reconciler_ledger WHERE seq = ?"
RECORDS: Final = """
SELECT seq, intent, outcome, closed_at FROM reconciler_ledger WHERE seq > ? ORDER BY seq LIMIT ?
"""
APPEND: Final = """
INSERT INTO reconciler_ledger (seq, intent, outcome, closed_at, protects) VALUES (?, ?, ?, ?, ?)
"""
PROTECTING: Final = "SELECT seq, intent FROM reconciler_ledger WHERE protects ORDER BY seq"
PACKET: Final = "SELECT packet FROM reconciler_packets WHERE seq = ?"
KEEP_PACKET: Final = "INSERT INTO reconciler_packets (seq, packet) VALUES (?, ?)"

# Backups: every row as it stands, in the order of the table's columns.

KEPT_MANIFESTS: Final = "SELECT hash, size, created_at, registered_at FROM manifests ORDER BY hash"
KEPT_LINKS: Final = (
    "SELECT namespace, name, hash, created_at FROM dataset_manifests ORDER BY namespace, name, hash"
)
KEPT_TAGS: Final = """
SELECT namespace, name, version, precedence, prerelease, hash, yanked, created_at, updated_at
FROM dataset_tags ORDER BY namespace, name, version
"""
KEPT_RETIRED: Final = """
SELECT namespace, name, precedence, version, hash, retired_at
FROM retired_versions ORDER BY namespace, name, precedence
"""
KEPT_TOMBSTONES: Final = "SELECT hash, since, deleted_at FROM manifest_tombstones ORDER BY hash"
KEPT_RECORDS: Final = "SELECT seq, intent, outcome FROM reconciler_ledger ORDER BY seq"
KEPT_PACKETS: Final = "SELECT seq, packet FROM reconciler_packets ORDER BY seq"
ANY_ROW: Final = tuple(
    f"SELECT 1 FROM {table} LIMIT 1"
    for table in (
        "manifests",
        "dataset_manifests",
        "dataset_tags",
        "retired_versions",
        "manifest_tombstones",
        "reconciler_ledger",
    )
)
MARK_RESTORED: Final = "INSERT INTO registry_restored (backup) VALUES (?)"
RESTORED: Final = "SELECT backup FROM registry_restored"
PROVED: Final = "DELETE FROM registry_restored"

# Garbage collection.

PENDING: Final = "SELECT hash, since FROM manifest_tombstones WHERE deleted_at IS NULL ORDER BY hash"
TOMBSTONE: Final = "SELECT since FROM manifest_tombstones WHERE hash = ? AND deleted_at IS NULL"
DELETED: Final = "UPDATE manifest_tombstones SET deleted_at = ? WHERE hash = ?"
FORGOTTEN: Final = "SELECT hash FROM manifest_tombstones WHERE deleted_at < ? ORDER BY hash"
FORGET: Final = "DELETE FROM manifest_tombstones WHERE deleted_at < ?"
HASHES: Final = "SELECT hash FROM manifests ORDER BY hash"
