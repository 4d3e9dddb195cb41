"""Handles and DIDs lead to the account that they name, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import pytest

from reconciler.errors import ReconcilerError
from reconciler.stores.atproto.connection import Answer, Connection, Origin
from reconciler.stores.atproto.identity import DID, HANDLE, PLC_DIRECTORY, resolved
from reconciler.stores.atproto.xrpc import Secrets, Xrpc

PLC = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
WEB = "did:web:data.example.org"
PDS = "https://pds.example.org"
WHERE = "desired/stores.yaml:7"
Pages = Mapping[str, object]


def document(did: str = PLC, service: object = None, names: object = None) -> dict[str, object]:
    """A DID document."""
    offered = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": PDS}
    return {
        "id": did,
        "alsoKnownAs": ["at://data.example.org"] if names is None else names,
        "service": [offered] if service is None else service,
    }


class _Canned(Connection):
    """Pages by their URL, instead of the internet."""

    def __init__(self, origin: Origin, pages: Pages) -> None:
        super().__init__(origin, where=WHERE, private=False)
        self._pages = pages

    def request(self, method: str, path: str, **_more: object) -> Answer:
        """The page, or 404."""
        assert method == "GET"
        page = self._pages.get(f"{self.origin}{path}")
        if page is None:
            return Answer(404, {}, b"")
        if isinstance(page, int):
            return Answer(page, {}, b"{}")
        return Answer(200, {}, page if isinstance(page, bytes) else orjson.dumps(page))


def found(
    identity: str, pages: Pages, service: str | None = None, names: Mapping[str, list[str]] | None = None
) -> tuple[str, str]:
    """What an identity leads to where the internet has these pages, and DNS these TXT records."""

    def connect(location: str, _where: str) -> Xrpc:
        scheme, _, host = location.partition("://")
        connection = _Canned(Origin(scheme, host, 443), pages)
        return Xrpc(connection, where=location, pause=lambda _seconds: None, secrets=Secrets())

    def texts(name: str) -> list[str]:
        return (names or {}).get(name, [])

    return resolved(identity, service=service, plc=PLC_DIRECTORY, connect=connect, texts=texts, where=WHERE)


PLC_PAGE = f"https://plc.directory/{PLC}"
WEB_PAGE = "https://data.example.org/.well-known/did.json"
HANDLE_PAGE = "https://data.example.org/.well-known/atproto-did"
ASKED = f"{PDS}/xrpc/com.atproto.identity.resolveHandle?handle=data.example.org"


@pytest.mark.parametrize(
    ("identity", "pages", "service", "expected"),
    [
        pytest.param(PLC, {}, PDS, (PLC, PDS), id="a DID and a server need nobody"),
        pytest.param(PLC, {PLC_PAGE: document()}, None, (PLC, PDS), id="did:plc"),
        pytest.param(WEB, {WEB_PAGE: document(WEB)}, None, (WEB, PDS), id="did:web"),
        pytest.param("data.example.org", {ASKED: {"did": PLC}}, PDS, (PLC, PDS), id="handle at its server"),
        pytest.param("Data.Example.ORG", {ASKED: {"did": PLC}}, PDS, (PLC, PDS), id="handle in capitals"),
        pytest.param(
            "data.example.org",
            {HANDLE_PAGE: f"{PLC}\n".encode(), PLC_PAGE: document()},
            None,
            (PLC, PDS),
            id="handle at its own host",
        ),
    ],
)
def test_identity_leads_to_its_account(
    identity: str, pages: Pages, service: str | None, expected: tuple[str, str]
) -> None:
    assert found(identity, pages, service) == expected


@pytest.mark.parametrize(
    ("identity", "pages", "service"),
    [
        pytest.param(PLC, {}, None, id="a DID that nobody knows"),
        pytest.param(PLC, {PLC_PAGE: 410}, None, id="a DID that was given up"),
        pytest.param(PLC, {PLC_PAGE: document(WEB)}, None, id="the document of another DID"),
        pytest.param(PLC, {PLC_PAGE: b"<html>"}, None, id="no document at all"),
        pytest.param(PLC, {PLC_PAGE: document(service=[])}, None, id="no server"),
        pytest.param(PLC, {PLC_PAGE: document(service="https://evil")}, None, id="servers that are no list"),
        pytest.param(
            PLC,
            {PLC_PAGE: document(service=[{"id": "#atproto_labeler", "type": "AtprotoLabeler"}])},
            None,
            id="another kind of server",
        ),
        pytest.param("data.example.org", {}, None, id="a handle that nobody knows"),
        pytest.param("data.example.org", {ASKED: 400}, PDS, id="a handle that the server does not know"),
        pytest.param("data.example.org", {ASKED: {"did": "did:evil:1"}}, PDS, id="a DID of another method"),
        pytest.param("data.example.org", {ASKED: {}}, PDS, id="an answer without a DID"),
        pytest.param("data.example.org", {HANDLE_PAGE: b"<html>"}, None, id="a page that is no DID"),
        pytest.param(
            "data.example.org",
            {HANDLE_PAGE: PLC.encode(), PLC_PAGE: document(names=["at://other.example.org"])},
            None,
            id="an account that calls itself otherwise",
        ),
        pytest.param(
            "data.example.org",
            {HANDLE_PAGE: PLC.encode(), PLC_PAGE: document(names="at://data.example.org")},
            None,
            id="names that are no list",
        ),
        pytest.param("localhost", {}, None, id="a name without a dot"),
        pytest.param("data.example.org/../x", {}, None, id="a path"),
        pytest.param("did:plc:short", {}, None, id="a DID that is too short"),
        pytest.param("did:web:a/../b", {}, None, id="a DID with a path"),
        pytest.param("data..org", {}, None, id="an empty part"),
        pytest.param("127.0.0.1", {}, None, id="an address"),
    ],
)
def test_identity_that_nobody_can_prove_leads_nowhere(
    identity: str, pages: Pages, service: str | None
) -> None:
    with pytest.raises(ReconcilerError) as refused:
        found(identity, pages, service)
    assert refused.value.code == "E_ACCOUNT"


STATED = "_atproto.data.example.org"


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([f"did={PLC}"], id="one record"),
        pytest.param(["v=spf1 -all", f"did={PLC}", "did:plc:elsewhere"], id="beside records of other kinds"),
        pytest.param([f"did={PLC}", f"did={PLC}"], id="the same twice"),
    ],
)
def test_handle_leads_to_the_account_that_dns_names(texts: list[str]) -> None:
    other = {HANDLE_PAGE: b"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", PLC_PAGE: document()}
    assert found("Data.Example.org", other, names={STATED: texts}) == (PLC, PDS)


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        pytest.param([f"did={PLC}", f"did={WEB}"], None, id="two accounts"),
        pytest.param(["did=did:evil:1"], None, id="a DID of another method"),
        pytest.param([f"did={PLC}"], ["at://other.example.org"], id="an account that calls itself otherwise"),
    ],
)
def test_dns_that_proves_nothing_leads_nowhere_whatever_the_host_says(
    texts: list[str], names: list[str] | None
) -> None:
    pages = {HANDLE_PAGE: WEB.encode(), WEB_PAGE: document(WEB), PLC_PAGE: document(names=names)}
    with pytest.raises(ReconcilerError) as refused:
        found("data.example.org", pages, names={STATED: texts})
    assert refused.value.code == "E_ACCOUNT"


def test_server_that_fails_is_not_an_identity_that_nobody_knows() -> None:
    with pytest.raises(ReconcilerError) as refused:
        found("data.example.org", {ASKED: 502}, PDS)
    assert refused.value.code == "E_UNREACHABLE"


def test_forms_of_identities() -> None:
    assert DID.fullmatch("did:web:localhost%3A8080")
    assert not DID.fullmatch("did:web:localhost:8080")
    assert HANDLE.fullmatch("a.b")
    assert not HANDLE.fullmatch(f"{'a' * 64}.org")
