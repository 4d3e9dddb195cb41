"""Which account a store means, and which server holds it: handles and DIDs, resolved.

A store names its account by a DID or a handle. A DID never changes and is taken as it is. A handle is
asked of the configured server, which is trusted with the account anyway. Where no server is configured its
owner says which DID it is, in DNS (a TXT record at `_atproto.HANDLE`) or, if there is none, at the handle's
own host (`/.well-known/atproto-did`); and the DID document must name the handle back, because anybody can
claim a DID. The document also says where the account's server is: a location that a stranger wrote, so it
is held to the rules of `reconciler.stores.atproto.connection`.

DNS that says two things says nothing, and DNS that cannot be asked is an error, not a missing record: else
whoever disturbs one way would decide that the other is asked.

Specification: https://atproto.com/specs/handle and https://atproto.com/specs/did
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import orjson

from reconciler.errors import InvalidInput, Unavailable
from reconciler.stores.atproto.xrpc import Refused, Xrpc

PLC_DIRECTORY: Final = "https://plc.directory"
_DOCUMENT_LIMIT: Final = 1 << 20

DID = re.compile(r"did:(?:plc:[a-z2-7]{24}|web:[A-Za-z0-9.-]{1,253}(?:%3A[0-9]{1,5})?)", re.ASCII)
HANDLE = re.compile(
    r"(?=.{3,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
    re.ASCII,
)

Connect = Callable[[str, str], Xrpc]
"""Gives a client for the server at a location; the second text names who wrote the location, for errors."""

Texts = Callable[[str], Sequence[str]]
"""Gives the TXT records of a name; none if it has none."""


class Account(NamedTuple):
    """An account and the location of its server."""

    did: str
    service: str


def resolved(
    identity: str, *, service: str | None, plc: str, connect: Connect, texts: Texts, where: str
) -> Account:
    """Find the account.

    Args:
        identity: a DID or a handle.
        service: the configured server, if there is one.
        plc: the directory of `did:plc` documents.
        connect: how to ask a server.
        texts: how to ask DNS.
        where: what names the account, for errors.

    Raises:
        InvalidInput: E_ACCOUNT, it is neither a DID nor a handle, or nobody knows it.
        Unavailable: a server cannot be asked.
    """
    if DID.fullmatch(identity):
        if service is not None:
            return Account(identity, service)
        return Account(identity, _server(did_document(identity, plc, connect, where), where))
    if not HANDLE.fullmatch(identity):
        raise _unknown("the identity of an account is a DID or a handle", identity, where)
    handle = identity.lower()
    if service is not None:
        return Account(_asked(handle, connect(service, where), where), service)
    did = _named(handle, texts, where) or _claimed(handle, connect, where)
    document = did_document(did, plc, connect, where)
    names = document.get("alsoKnownAs")
    if not isinstance(names, list) or f"at://{handle}" not in names:
        raise _unknown("the account that this handle claims does not call itself so", handle, where)
    return Account(did, _server(document, where))


def _asked(handle: str, server: Xrpc, where: str) -> str:
    """The DID that the configured server knows for a handle."""
    try:
        did = server.query("com.atproto.identity.resolveHandle", handle=handle).get("did")
    except Refused as refused:
        if refused.status == 400:
            raise _unknown("the server does not know this handle", handle, where) from refused
        raise refused.unavailable(where) from refused
    finally:
        server.close()
    return _checked(did, handle, where)


def _named(handle: str, texts: Texts, where: str) -> str:
    """The DID that DNS states for the handle; empty if it states none."""
    prefix = "did="
    found = {
        text.removeprefix(prefix).strip() for text in texts(f"_atproto.{handle}") if text.startswith(prefix)
    }
    if len(found) > 1:
        raise _unknown("DNS names several accounts for this handle", handle, where)
    return _checked(found.pop(), handle, where) if found else ""


def _claimed(handle: str, connect: Connect, where: str) -> str:
    """The DID that the handle's own host states."""
    text = _fetched(f"https://{handle}", "/.well-known/atproto-did", connect, handle, where)
    return _checked(text.decode("ascii", "replace").strip(), handle, where)


def _checked(did: object, handle: str, where: str) -> str:
    if not isinstance(did, str) or not DID.fullmatch(did):
        raise _unknown("the handle leads to something that is not a DID", handle, where)
    return did


def did_document(did: str, plc: str, connect: Connect, where: str) -> dict[str, Any]:
    """The document of a DID.

    Raises:
        InvalidInput: E_ACCOUNT, nobody knows it, or what is given is not its document.
        Unavailable: whoever has it cannot be asked.
    """
    if did.startswith("did:plc:"):
        data = _fetched(plc, f"/{did}", connect, did, where)
    else:
        data = _fetched(
            f"https://{unquote(did.removeprefix('did:web:'))}", "/.well-known/did.json", connect, did, where
        )
    try:
        found = orjson.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("id") != did:
        raise _unknown("the document of this DID is not one of it", did, where)
    return found


def _fetched(origin: str, path: str, connect: Connect, what: str, where: str) -> bytes:
    client = connect(origin, where)
    try:
        return client.get(path, limit=_DOCUMENT_LIMIT)
    except Refused as refused:
        if refused.status in {404, 410}:
            raise _unknown("nobody knows this identity", what, where) from refused
        raise refused.unavailable(where) from refused
    finally:
        client.close()


def _server(document: dict[str, Any], where: str) -> str:
    """Where the document says that the account is held."""
    services = document.get("service")
    for service in services if isinstance(services, list) else ():
        if isinstance(service, dict) and str(service.get("id", "")).endswith("#atproto_pds"):
            endpoint = service.get("serviceEndpoint")
            if service.get("type") == "AtprotoPersonalDataServer" and isinstance(endpoint, str):
                return endpoint
    raise Unavailable.of(
        "E_ACCOUNT",
        "the account's document names no server",
        path=where,
        fix="name the server: service: https://…",
    )


def _unknown(message: str, got: str, where: str) -> InvalidInput:
    return InvalidInput.of("E_ACCOUNT", message, path=where, got=got, fix="correct the store's identity")
