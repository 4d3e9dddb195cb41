"""Packs made, taken apart and put together again, for the tests beside this module."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from reconciler.errors import Corrupt, ReconcilerError
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving.pack import PackSummary, verify_pack, write_pack
from reconciler.stores.serving.tar_stream import END, Header, header_bytes, padding

ID = DatasetId("110", "homo_sapiens", "GRCh38")
OTHER = Digest("sha256:" + "0" * 64)


def packed(directory: Path, dataset: DatasetId = ID) -> tuple[bytes, PackSummary]:
    out = io.BytesIO()
    handle = os.open(directory, os.O_RDONLY)
    try:
        summary = write_pack(handle, out, dataset=dataset, where="build")
    finally:
        os.close(handle)
    return out.getvalue(), summary


def member(name: str, data: bytes) -> bytes:
    return header_bytes(Header(name, len(data))) + data + padding(len(data))


def archive(members: list[tuple[str, bytes]]) -> bytes:
    return b"".join(member(name, data) for name, data in members) + END


def taken_apart(pack: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(pack), mode="r:") as tar:
        return [(item.name, _content(tar, item)) for item in tar]


def _content(tar: tarfile.TarFile, item: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(item)
    assert file is not None
    return file.read()


def refusal(pack: bytes, error: type[ReconcilerError] = Corrupt, expect: Digest | None = None) -> str:
    with pytest.raises(error) as caught:
        verify_pack(io.BytesIO(pack), expect=expect)
    assert type(caught.value) is error
    return caught.value.code


def with_file(pack: bytes, name: str, data: bytes) -> bytes:
    """The pack with one file replaced, and the index made to agree."""
    parts = dict(taken_apart(pack))
    index = json.loads(parts["pack.json"])
    for item in index["files"]:
        if item["path"] == name:
            item.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    parts["pack.json"] = json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
    parts[name] = data
    return archive(list(parts.items()))
