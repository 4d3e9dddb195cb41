"""Asking a live reference server over HTTP what it serves: readiness and the epoch of its catalog.

A serving store's server reads the catalog every 15 to 30 seconds and keeps the last good one. The only remote
proof that it has adopted a catalog is `catalog_epoch`, the struct-order digest of what it parsed, in its
answers to `/v1/genes/count`; `/readyz` says whether it is ready, which an empty catalog is as well
(contract 3.12).

One plain GET each, with limits on time and size; a redirect is an answer, never followed. Nothing that
the server says decides anything but the comparison.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from reconciler.canonical import parse_strict
from reconciler.errors import InvalidInput, Unavailable
from reconciler.model import DatasetId
from reconciler.stores.serving.catalog import Catalog, struct_digest

_TIMEOUT: Final = 15.0
_BODY_LIMIT: Final = 8 << 20
_EPOCH: Final = "catalog_epoch"
_PAGE: Final = 500
"""The most datasets that the server puts into one page."""


class Server(NamedTuple):
    """Where a server answers."""

    scheme: str
    host: str
    port: int | None
    prefix: str

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}{self.prefix}"


class _Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes


def parse_server(text: str) -> Server:
    """Read the address of a server.

    Raises:
        InvalidInput: E_URL_SCHEME, E_URL_SYNTAX or E_SECRET_IN_CONFIG.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidInput.of("E_URL_SYNTAX", "this is not a URL", path="--server") from error
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput.of(
            "E_SECRET_IN_CONFIG", "the address of a server has no user, password or query", path="--server"
        )
    if parts.scheme not in {"http", "https"}:
        raise InvalidInput.of("E_URL_SCHEME", "a server answers http or https", path="--server", got=text)
    if not parts.hostname or not text.isascii() or not text.isprintable() or "\\" in text or " " in text:
        raise InvalidInput.of("E_URL_SYNTAX", "this URL names no host", path="--server", got=text)
    return Server(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


def require_ready(server: Server) -> str:
    """What is proved where `/readyz` says that the server is ready.

    Raises:
        Unavailable: E_SERVER_READY, it is not; E_UNREACHABLE.
    """
    status = _get(server, "/readyz").status
    if status == http.client.OK:
        return f"{server} is ready"
    raise Unavailable.of(
        "E_SERVER_READY",
        f"the server is not ready (status {status})",
        path=f"{server}/readyz",
        fix="look at the server's log: it refuses a catalog that is missing or unsorted",
    )


def require_epoch(server: Server, catalog: Catalog) -> str:
    """What is proved where the server shows the epoch of this very catalog.

    Raises:
        InvalidInput: E_SERVER_EPOCH, the catalog is empty, and no query would show its epoch.
        Unavailable: E_SERVER_EPOCH, it shows another one (yet), or none; E_SERVER_ANSWER; E_UNREACHABLE.
    """
    if not catalog.entries:
        raise InvalidInput.of("E_SERVER_EPOCH", "an empty catalog has no query that would show its epoch")
    wanted = struct_digest(catalog)
    found = _epochs(server, catalog.entries[0].id)
    if found == (wanted,):
        return f"{server} serves this catalog, epoch {wanted}"
    raise Unavailable.of(
        "E_SERVER_EPOCH",
        f"the server has not adopted the catalog with epoch {wanted}",
        path=f"{server}/v1/genes/count",
        got=", ".join(found) or f"no {_EPOCH}",
        fix="a server looks every 15 to 30 seconds: wait for it, then look at its log",
    )


def require_datasets(server: Server, catalog: Catalog) -> str:
    """What is proved where the server lists the datasets of this catalog, and no other.

    Raises:
        Unavailable: E_SERVER_DATASETS, it lists others; E_SERVER_ANSWER; E_UNREACHABLE.
    """
    wanted = {str(entry.id) for entry in catalog.entries}
    found = set(_listed(server))
    if found == wanted:
        return f"{server} lists the {len(wanted)} datasets of this catalog"
    differing = sorted(found ^ wanted)
    raise Unavailable.of(
        "E_SERVER_DATASETS",
        f"the server lists {len(found)} datasets, the catalog {len(wanted)}",
        path=f"{server}/v1/datasets",
        got=", ".join(differing[:5]),
        fix="a server looks every 15 to 30 seconds: wait for it, then look at its log",
    )


def _listed(server: Server) -> Iterator[str]:
    """The ids of `/v1/datasets`, page by page: sorted by id, the last one is the cursor to the next page."""
    last = ""
    while True:
        query = urlencode({"limit": _PAGE, "cursor": last} if last else {"limit": _PAGE})
        page = [one for one in _ids(_json(server, f"/v1/datasets?{query}")) if one > last]
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1]


def _ids(document: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """The ids of every dataset, wherever the server's version puts the entries."""
    if isinstance(document, dict):
        dataset = document.get("dataset")
        if isinstance(dataset, dict) and {"release", "species", "assembly"} <= dataset.keys():
            yield f"{dataset['release']}/{dataset['species']}/{dataset['assembly']}"
            return
        document = list(document.values())
    if isinstance(document, list):
        for value in document:
            yield from _ids(value)


def _epochs(server: Server, dataset: DatasetId) -> tuple[str, ...]:
    """The epochs in the answer to a query of one dataset: one, or none where it does not say."""
    query = urlencode(dataset._asdict())
    return tuple(sorted(set(_members(_json(server, f"/v1/genes/count?{query}")))))


def _json(server: Server, path: str) -> Any:  # noqa: ANN401 - JSON
    """The JSON document that the server answers with."""
    answer = _get(server, path)
    try:
        return parse_strict(answer.body, where=str(server), limit=_BODY_LIMIT)
    except InvalidInput as error:
        raise Unavailable.of(
            "E_SERVER_ANSWER",
            f"the server's answer is no JSON document (status {answer.status})",
            path=f"{server}{path.partition('?')[0]}",
            fix="check that this is the address of a serving server",
        ) from error


def _members(document: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Every text under the name of the epoch, wherever the server's version puts it."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == _EPOCH and isinstance(value, str):
                yield value
            else:
                yield from _members(value)
    elif isinstance(document, list):
        for value in document:
            yield from _members(value)


def _get(server: Server, path: str) -> _Answer:
    kind = http.client.HTTPSConnection if server.scheme == "https" else http.client.HTTPConnection
    connection = kind(server.host, server.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", f"{server.prefix}{path}", headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read(_BODY_LIMIT + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise Unavailable.of(
            "E_UNREACHABLE", f"the server does not answer: {reason}", path=f"{server}{path.partition('?')[0]}"
        ) from error
    finally:
        connection.close()
    if len(body) > _BODY_LIMIT:
        raise Unavailable.of("E_SERVER_ANSWER", "the server's answer is too large", path=f"{server}")
    return _Answer(response.status, body)
