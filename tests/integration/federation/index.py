"""A local index as atdata keeps it: the same tables, written here row by row, CIDs by another library."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import libipld
from msgspec import msgpack

TABLES = """
CREATE TABLE dataset_entries (cid TEXT PRIMARY KEY, name TEXT NOT NULL, schema_ref TEXT NOT NULL,
  data_urls BLOB NOT NULL, metadata BLOB, legacy_uuid TEXT, created_at TEXT DEFAULT (datetime('now')));
CREATE INDEX idx_entries_name ON dataset_entries(name);
CREATE TABLE schemas (name TEXT NOT NULL, version TEXT NOT NULL, schema_json TEXT NOT NULL,
  created_at TEXT DEFAULT (datetime('now')), PRIMARY KEY (name, version));
CREATE TABLE labels (name TEXT NOT NULL, cid TEXT NOT NULL, version TEXT NOT NULL DEFAULT '',
  description TEXT, created_at TEXT DEFAULT (datetime('now')), PRIMARY KEY (name, version));
CREATE INDEX idx_labels_cid ON labels(cid);
"""
SAMPLE = "atdata://local/schema/Sample@1.0.0"


def sample_schema(name: str = "Sample", version: str = "1.0.0", kind: str = "int") -> dict[str, object]:
    """A local schema with an array, a text and one field of some kind."""
    return {
        "name": name,
        "version": version,
        "fields": [
            {
                "name": "image",
                "fieldType": {"$type": "local#ndarray", "dtype": "float32"},
                "optional": False,
            },
            {
                "name": "label",
                "fieldType": {"$type": "local#primitive", "primitive": kind},
                "optional": False,
            },
            {
                "name": "remarks",
                "fieldType": {"$type": "local#primitive", "primitive": "str"},
                "optional": True,
            },
        ],
        "description": "One sample.",
        "createdAt": "2026-01-02T03:04:05.678901+00:00",
    }


def cid(document: object) -> str:
    """The CID of a document: DAG-CBOR by libipld, sha256, base32."""
    digest = hashlib.sha256(libipld.encode_dag_cbor(document)).digest()
    return "b" + base64.b32encode(b"\x01\x71\x12\x20" + digest).decode().lower().rstrip("=")


@dataclass(frozen=True, slots=True)
class Index:
    """An index in one SQLite file."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> Index:
        """A new index that knows the schema Sample@1.0.0."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(TABLES)
        index = cls(path)
        index.publish_schema(sample_schema())
        return index

    def run(self, statement: str, *values: object) -> None:
        """One statement, committed."""
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(statement, values)

    def publish_schema(self, document: Mapping[str, object]) -> None:
        """Add a schema, or replace it."""
        self.run(
            "INSERT OR REPLACE INTO schemas (name, version, schema_json) VALUES (?, ?, ?)",
            document["name"],
            document["version"],
            json.dumps(document),
        )

    def insert(
        self,
        name: str,
        urls: Sequence[str],
        *,
        schema: str = SAMPLE,
        metadata: Mapping[str, object] | None = None,
        version: str = "",
    ) -> str:
        """Add an entry with a label, as `insert_dataset` does; returns its CID."""
        found = cid({"schema_ref": schema, "data_urls": list(urls)})
        self.run(
            "INSERT OR REPLACE INTO dataset_entries (cid, name, schema_ref, data_urls, metadata) "
            "VALUES (?, ?, ?, ?, ?)",
            found,
            name,
            schema,
            msgpack.encode(list(urls)),
            None if metadata is None else msgpack.encode(metadata),
        )
        self.label(name, found, version)
        return found

    def label(self, name: str, entry: str, version: str) -> None:
        """Move a label."""
        self.run("INSERT OR REPLACE INTO labels (name, cid, version) VALUES (?, ?, ?)", name, entry, version)
