"""What a failed request to an S3-compatible store means for the request: try again, look first, or stop.

Decides by the status of the answer, of which the client library tells in the text of its errors only.
Codes that promise that nothing happened (409, 429, 503) allow another try; every other refusal is final;
a server error or a lost connection leaves open what happened, so a write is looked up before anything is
said about it.

Neither the library's text nor the server's goes into a message: both may repeat what was signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from reconciler.errors import Unavailable

_STATUS = re.compile(r"status code: ([1-5][0-9]{2})\b", re.ASCII)
_AGAIN: Final = frozenset({409, 429, 503})
_RIGHTS: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_FULL: Final = 507
_SERVER: Final = 500


class Verdict(Enum):
    """What is known about a request that failed."""

    AGAIN = "nothing happened, and another try is right"
    REFUSED = "nothing happened, and another try would be refused, too"
    UNKNOWN = "it may have happened"


class S3Fault(Exception):
    """A request failed; `status` is 0 if no answer came."""

    def __init__(self, verdict: Verdict, status: int) -> None:
        super().__init__(verdict.value)
        self.verdict = verdict
        self.status = status

    def error(self, where: str) -> Unavailable:
        """The error for people."""
        if self.status in _RIGHTS:
            return Unavailable.of(
                "E_STORE_AUTH",
                "the object store refuses these credentials or rights",
                path=where,
                got=f"status {self.status}",
                fix="check the credentials, the clock, and the rights to read, put, delete and list",
            )
        if self.status == _NOT_FOUND:
            return Unavailable.of(
                "E_STORE_MISSING",
                "there is no such bucket",
                path=where,
                fix="create it, or correct the location",
            )
        return Unavailable.of(
            "E_UNREACHABLE",
            "the object store did not do what it was asked",
            path=where,
            got=f"status {self.status}" if self.status else "no answer",
            fix="check the endpoint and retry later",
        )


@contextmanager
def judged() -> Iterator[None]:
    """Turn whatever the client library throws into an `S3Fault`."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra

    try:
        yield
    except (BaseError, OSError) as error:
        found = _STATUS.search(str(error))
        status = int(found.group(1)) if found else _NOT_FOUND if isinstance(error, FileNotFoundError) else 0
        fault = S3Fault(_verdict(status), status)
    else:
        return
    # Raised out here, so that the library's text does not travel along as its context.
    raise fault


def _verdict(status: int) -> Verdict:
    if status in _AGAIN:
        return Verdict.AGAIN
    if status == 0 or (status >= _SERVER and status != _FULL):
        return Verdict.UNKNOWN
    return Verdict.REFUSED
