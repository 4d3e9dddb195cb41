"""Logging in: an app password or a session string from one named variable becomes tokens in memory.

`credentials: {env: VARIABLE}` names the variable; nothing else is ever looked at. Its value is an app
password, or a session string as the public clients export it (`handle:::did:::access:::refresh`, perhaps
with the server behind). The tokens belong to the configured account or are not used. They are sent to the
account's own server only, and are refreshed when the server says that they have expired.

Neither the value nor a token is part of an error, a `repr`, a file or a process's arguments: `Secrets`
takes them out of everything that a server says. A refreshed session string is not written anywhere, so a
string serves until its refresh token ends; a machine should have an app password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from reconciler.errors import InvalidInput, Unavailable
from reconciler.model import StoreConfig
from reconciler.stores.atproto.connection import NoAnswer, NotSent
from reconciler.stores.atproto.xrpc import Refused, Secrets, Xrpc, rate_budget

T = TypeVar("T")

_SEPARATOR: Final = ":::"
_SESSION_PARTS: Final = (4, 5)
_EXPIRED: Final = frozenset({"ExpiredToken", "InvalidToken"})
_CREATE: Final = "com.atproto.server.createSession"
_REFRESH: Final = "com.atproto.server.refreshSession"


@dataclass(slots=True)
class _Tokens:
    access: str = field(repr=False)
    refresh: str = field(repr=False)


class Login:
    """The right to write into one account's repository, got when it is first needed."""

    def __init__(
        self, config: StoreConfig, variables: Mapping[str, str], *, did: str, xrpc: Xrpc, secrets: Secrets
    ) -> None:
        self._config = config
        self._variables = variables
        self._did = did
        self._xrpc = xrpc
        self._secrets = secrets
        self._tokens: _Tokens | None = None

    def require(self) -> None:
        """Log in, if that has not happened.

        Raises:
            InvalidInput: E_ENV, there are no credentials.
            Unavailable: E_AUTH, the server does not take them; or it cannot be asked.
            LimitExceeded: E_RATE_BUDGET, there were too many logins.
        """
        if self._tokens is None:
            self._tokens = self._first()

    def authorised(self, call: Callable[[str], T]) -> T:
        """Make a call with a token; once more with a new one if the server says that it has expired.

        Args:
            call: makes the call with the token that it is given.

        Raises:
            Refused, NotSent, NoAnswer: as the call.
            Unavailable: E_AUTH.
        """
        self.require()
        assert self._tokens is not None  # noqa: S101 - what `require` is for
        try:
            return call(self._tokens.access)
        except Refused as refused:
            if refused.error not in _EXPIRED:
                raise self._not_ours(refused) from refused
        self._tokens = self._again(self._tokens)
        try:
            return call(self._tokens.access)
        except Refused as refused:
            raise self._not_ours(refused) from refused

    def _not_ours(self, refused: Refused) -> Exception:
        return self._refused(refused.error) if refused.status in {401, 403} else refused

    def _first(self) -> _Tokens:
        value = self._value()
        self._secrets.add(value)
        parts = value.split(_SEPARATOR)
        if len(parts) in _SESSION_PARTS:
            self._secrets.add(parts[2], parts[3])
            if parts[1] != self._did:
                raise self._other()
            return _Tokens(parts[2], parts[3])
        return self._taken(self._asked(_CREATE, {"identifier": self._did, "password": value}, token=None))

    def _again(self, tokens: _Tokens) -> _Tokens:
        return self._taken(self._asked(_REFRESH, None, token=tokens.refresh))

    def _asked(self, method: str, body: Mapping[str, object] | None, *, token: str | None) -> dict[str, Any]:
        try:
            return self._xrpc.procedure(method, body, token=token)
        except Refused as refused:
            if refused.status == 429:
                raise rate_budget(self._xrpc.where, refused.wait) from refused
            if refused.doubtful:
                raise refused.unavailable(self._xrpc.where) from refused
            raise self._refused(refused.error) from refused
        except (NotSent, NoAnswer) as silent:
            raise self._xrpc.silent(silent) from silent

    def _taken(self, answer: Mapping[str, Any]) -> _Tokens:
        access, refresh = answer.get("accessJwt"), answer.get("refreshJwt")
        if not isinstance(access, str) or not isinstance(refresh, str):
            raise self._xrpc.unusable("gives no session")
        self._secrets.add(access, refresh)
        if answer.get("did") != self._did:
            raise self._other()
        return _Tokens(access, refresh)

    def _value(self) -> str:
        written = self._config.settings.get("credentials")
        variable = written.get("env") if isinstance(written, Mapping) else None
        value = self._variables.get(variable, "") if isinstance(variable, str) else ""
        if not value:
            raise InvalidInput.of(
                "E_ENV",
                f"writing to store {self._config.name} needs a login"
                + ("" if variable else ", and the document names no variable for it"),
                path=self._config.place.path,
                line=self._config.place.line,
                got=variable,
                fix=f"set {variable} to an app password" if variable else "credentials: {env: VARIABLE}",
            )
        return value

    def _refused(self, error: str) -> Unavailable:
        return Unavailable.of(
            "E_AUTH",
            "the server does not take the password or session of this account",
            path=self._xrpc.where,
            got=error or None,
            fix="make a new app password, and set the variable to it",
        )

    def _other(self) -> Unavailable:
        return Unavailable.of(
            "E_AUTH",
            "the password or session is that of another account",
            path=self._xrpc.where,
            got=self._did,
            fix="set the variable to a password of this account",
        )
