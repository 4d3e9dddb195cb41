"""Run by an interpreter that has atdata: reads an account with its client, or fills an index and promotes.

It shares no code with this project. The request comes as JSON on standard input, the answer goes as JSON to
standard output. atdata's modules are loaded by name, because the checks of this project have them nowhere.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def logged_in(request: dict[str, Any]) -> Any:  # noqa: ANN401 - of a library that is not here
    """The reference's client, which finds the account's server where the request says."""
    atmosphere = import_module("atdata.atmosphere")
    atmosphere._pds_endpoint_cache[request["did"]] = request["url"]  # noqa: SLF001 - else it asks plc.directory
    return atmosphere.Atmosphere.login(request["handle"], request["password"], base_url=request["url"])


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Everything that the client makes of some names: entry, metadata, shards and samples."""
    atdata = import_module("atdata")
    client = logged_in(request)
    index = atdata.Index(provider="sqlite", path=Path(request["index"]), atmosphere=client)
    found: dict[str, Any] = {}
    for name in request["names"]:
        reference = f"@{request['handle']}/{name}"
        unversioned, _, version = reference[1:].partition("@")
        entry = index.get_label(f"@{unversioned}", version or None)
        answer: dict[str, Any] = {
            "name": entry.name,
            "urls": list(entry.data_urls),
            "metadata": entry.metadata,
        }
        if request["load"]:
            loaded = atdata.load_dataset(reference, index=index, split="train")
            answer["samples"] = [[sample.label, sample.image.tolist()] for sample in loaded.ordered()]
            answer["type"] = loaded.sample_type.__name__
        found[name] = answer
    return found


def write(request: dict[str, Any]) -> dict[str, Any]:
    """Write one shard of samples, and an index that holds it as a dataset."""
    atdata, numpy = import_module("atdata"), import_module("numpy")
    fields = {"image": import_module("numpy.typing").NDArray, "label": int}
    sample = atdata.packable(type("Sample", (), {"__annotations__": fields, "__doc__": "One sample."}))
    with import_module("webdataset").TarWriter(request["shard"]) as sink:
        for number in range(request["count"]):
            sink.write(sample(image=numpy.array([number, 2.5], dtype="float32"), label=number).as_wds)
    index = atdata.Index(provider="sqlite", path=Path(request["index"]), atmosphere=None)
    reference = index.publish_schema(sample, version="1.0.0")
    entry = index.insert_dataset(
        atdata.Dataset[sample](request["url"]),
        name=request["name"],
        schema_ref=reference,
        metadata=request["metadata"],
    )
    return {"cid": entry.cid}


def promote(request: dict[str, Any]) -> dict[str, Any]:
    """Fill an index, promote every entry of it, and say how long the promotions took."""
    atdata = import_module("atdata")
    client = logged_in(request)
    index = atdata.Index(provider="sqlite", path=Path(request["index"]), atmosphere=client)
    fields = {"label": int, "note": str}
    sample = atdata.packable(type("Sample", (), {"__annotations__": fields, "__doc__": "One sample."}))
    reference = index.publish_schema(sample, version="1.0.0")
    names = [f"{request['prefix']}-{number}" for number in range(request["count"])]
    for name in names:
        dataset = atdata.Dataset[sample](f"https://data.example.org/{name}.tar")
        index.insert_dataset(dataset, name=name, schema_ref=reference, metadata={"split": "train"})
    started = time.perf_counter()
    for name in names:
        index.promote_entry(name)
    return {"seconds": time.perf_counter() - started, "count": len(names)}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    answer = {"read": read, "write": write, "promote": promote}[request["do"]](request)
    json.dump(answer, sys.stdout)
