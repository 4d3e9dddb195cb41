"""WebDataset shards, written as real archives."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import msgpack


def archive(members: Mapping[str, bytes]) -> bytes:
    """A tar archive with these files, the same bytes every time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def shard(number: int, samples: int = 2) -> bytes:
    """A shard of samples with an image and a label."""
    members = {
        f"{number:03d}-{n:03d}.msgpack": msgpack.encode({"image": b"\x00" * 8, "label": n})
        for n in range(samples)
    }
    return archive(members)


def write_shards(directory: Path, count: int) -> list[str]:
    """Shards in a directory; returns their hashes."""
    directory.mkdir(parents=True, exist_ok=True)
    hashes = []
    for number in range(count):
        content = shard(number)
        (directory / f"{number}.tar").write_bytes(content)
        hashes.append(hashlib.sha256(content).hexdigest())
    return hashes
