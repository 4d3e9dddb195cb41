"""Calls of XRPC methods on one server: what a query or a procedure's answer means.

Decides which failures allow another try. A query changes nothing, so every doubt allows one, with growing
pauses between the tries; a procedure is sent once, and its caller learns whether it was refused (`Refused`),
never sent (`NotSent`) or may have been done (`NoAnswer`). A server that asks for patience (429, 503) is
given it, as long as it asks for, up to a limit.

What a server says of itself is data: of an error only its name is used, and a message that it wrote is
shown without anything that may be one of our secrets (`Secrets`).

Specification: https://atproto.com/specs/xrpc
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import orjson

from reconciler.errors import LimitExceeded, Unavailable
from reconciler.stores.atproto.connection import Answer, Connection, NoAnswer, NotSent

TRIES: Final = 6
LONGEST_WAIT: Final = 3_700.0
"""The hour after which a budget begins anew, and a little more."""

MOST_WAITS: Final = 8
"""A server that allows 5,000 points in an hour and 35,000 in a day never asks for more hours than this."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 120.0
"""The longest that a query waits because the server asks for it; a commit may wait longer."""

_ANSWER_LIMIT: Final = 8 << 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)
_AGENT: Final = "reconciler"
_SERVER_FAULTS: Final = frozenset({500, 502, 503, 504})
_PATIENCE: Final = frozenset({429, 503})

T = TypeVar("T")
Pause = Callable[[float], None]
Body = Mapping[str, object] | bytes


@dataclass(slots=True)
class Secrets:
    """What must never be shown: passwords and tokens of this process."""

    _known: set[str] = field(default_factory=set, repr=False)

    def add(self, *secrets: str) -> None:
        """Remember something that must not be shown."""
        self._known.update(secret for secret in secrets if secret)

    def hidden(self, text: str) -> str:
        """A text without them."""
        for secret in self._known:
            text = text.replace(secret, "(withheld)")
        return text


@dataclass(eq=False)
class Refused(Exception):
    """The server answered that it does not do what was asked.

    Attributes:
        status: the HTTP status.
        error: the name of the error, as the method's lexicon has it; empty if there is none.
        message: what the server says of it, without secrets.
        wait: for how many seconds the server asks to be left alone; None if it does not ask.
    """

    status: int
    error: str
    message: str = ""
    wait: float | None = None

    @property
    def doubtful(self) -> bool:
        """Whether the request may have been done all the same."""
        return self.status in _SERVER_FAULTS

    def unavailable(self, where: str) -> Unavailable:
        """The error for a caller that can do nothing about it."""
        return Unavailable.of(
            "E_UNREACHABLE" if self.doubtful else "E_PDS_REFUSED",
            f"the server answered {self.status} {self.error}".rstrip(),
            path=where,
            got=self.message or None,
            fix="retry later" if self.doubtful else "look at what the server says",
        )


class Xrpc:
    """The methods of one server.

    Attributes:
        requests: how many were sent.
        said: the headers of the newest answer; empty where none came.
    """

    def __init__(self, connection: Connection, *, where: str, pause: Pause, secrets: Secrets) -> None:
        self.where = where
        self.requests = 0
        self.said: Mapping[str, str] = {}
        self._connection = connection
        self._pause = pause
        self._secrets = secrets

    @property
    def service(self) -> str:
        """Where the server is."""
        return str(self._connection.origin)

    def query(self, method: str, **parameters: str) -> dict[str, Any]:
        """The JSON that a query answers.

        Raises:
            Refused: the server answers with an error of the method.
            Unavailable: E_UNREACHABLE, E_ANSWER; it cannot be asked.
        """
        return self._json(self.download(method, limit=_ANSWER_LIMIT, **parameters))

    def download(self, method: str, *, limit: int, **parameters: str) -> bytes:
        """The bytes that a query answers.

        Raises:
            Refused: the server answers with an error of the method.
            Unavailable: E_UNREACHABLE, it cannot be asked.
            LimitExceeded: E_ANSWER_SIZE.
        """
        path = f"/xrpc/{method}" + (f"?{urlencode(parameters)}" if parameters else "")
        return self.get(path, limit=limit)

    def get(self, path: str, *, limit: int) -> bytes:
        """The bytes at a path, asked for until there is an answer.

        Raises:
            Refused: the server answers with an error.
            Unavailable: E_UNREACHABLE.
            LimitExceeded: E_ANSWER_SIZE.
        """
        fault: Exception = NoAnswer()
        for turn in range(TRIES):
            wait = _FIRST_PAUSE * 2**turn * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            try:
                return self._answered(self._send("GET", path, {}, None, limit))
            except Refused as refused:
                if refused.status not in _SERVER_FAULTS | _PATIENCE:
                    raise
                fault, wait = refused, max(wait, min(refused.wait or 0.0, _LONGEST_PAUSE))
            except (NoAnswer, NotSent) as silent:
                fault = silent
            if turn < TRIES - 1:
                self._pause(wait)
        if isinstance(fault, Refused):
            raise fault.unavailable(self.where) from fault
        raise self.silent(fault) from fault

    def procedure(
        self,
        method: str,
        body: Body | None = None,
        *,
        token: str | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send a procedure once.

        Raises:
            Refused: the server answers with an error.
            NotSent: it was not sent.
            NoAnswer: it may have been done.
            Unavailable: E_ANSWER, it was done and its answer cannot be read.
        """
        headers = {} if body is None else {"content-type": content_type}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        return self._json(self._answered(self._send("POST", f"/xrpc/{method}", headers, data, _ANSWER_LIMIT)))

    def silent(self, fault: Exception) -> Unavailable:
        """The error for a server that does not answer."""
        return Unavailable.of(
            "E_UNREACHABLE", "the server does not answer", path=self.where, got=str(fault), fix="retry later"
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, limit: int
    ) -> Answer:
        self.requests += 1
        self.said = {}
        sent = {"user-agent": _AGENT, "accept-encoding": "identity", **headers}
        if method == "POST" and body is None:
            sent["content-length"] = "0"
        answer = self._connection.request(method, path, headers=sent, body=body, limit=limit)
        self.said = answer.headers
        return answer

    def _answered(self, answer: Answer) -> bytes:
        if answer.status == 200:
            return answer.body
        error, message = "", ""
        try:
            said = orjson.loads(answer.body)
        except ValueError:
            said = None
        if isinstance(said, dict):
            error, message = str(said.get("error", "")), str(said.get("message", ""))
        if 300 <= answer.status < 400:
            error, message = "Redirect", ""
        raise Refused(
            answer.status,
            error if _NAME.fullmatch(error) else "",
            self._secrets.hidden(message),
            _asked_to_wait(answer),
        )

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            found = orjson.loads(body or b"{}")
        except ValueError as error:
            raise self.unusable("is not JSON") from error
        if not isinstance(found, dict):
            raise self.unusable("is not an object")
        return found

    def unusable(self, what: str) -> Unavailable:
        """The error for an answer that is not what the method's lexicon says."""
        return Unavailable.of(
            "E_ANSWER", f"the server's answer {what}", path=self.where, fix="is this the right server?"
        )


def _asked_to_wait(answer: Answer) -> float | None:
    """What `Retry-After` or `ratelimit-reset` say, in seconds from now."""
    if answer.status not in _PATIENCE:
        return None
    after = answer.headers.get("retry-after", "").strip()
    if after.isdigit() and len(after) < 7:
        return float(after)
    if after:
        try:
            return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
        except ValueError:
            return None
    reset = answer.headers.get("ratelimit-reset", "").strip()
    return max(0.0, int(reset) - time.time()) if reset.isdigit() and len(reset) < 13 else None


def rate_budget(where: str, wait: float | None) -> LimitExceeded:
    """The error for a server that asks for more patience than there is."""
    return LimitExceeded.of(
        "E_RATE_BUDGET",
        "the server takes no more requests of this account for now",
        path=where,
        got=None if wait is None else f"another {wait:.0f} seconds to wait",
        fix="apply again later: it goes on where it stopped",
    )


def patiently(call: Callable[[], T], *, where: str, pause: Pause, progress: Callable[[str], None]) -> T:
    """Make a call that may be made again, and wait where the server asks for it.

    Args:
        call: what is called.
        where: what it concerns, for errors.
        pause: waits some seconds.
        progress: told of every wait.

    Raises:
        LimitExceeded: E_RATE_BUDGET.
        Refused, NotSent, NoAnswer: as the call.
    """
    for _ in range(MOST_WAITS):
        try:
            return call()
        except Refused as refused:
            if refused.status != 429:
                raise
            if refused.wait is None or refused.wait > LONGEST_WAIT:
                raise rate_budget(where, refused.wait) from refused
            progress(f"{where}: the server asks to wait {refused.wait:.0f} s")
            pause(refused.wait)
    raise rate_budget(where, None)
