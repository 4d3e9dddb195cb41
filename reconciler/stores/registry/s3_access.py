"""How a bucket is reached: endpoint, region and credentials, as a store's settings and the CLI give them.

Decides which variables count: those that the settings name, else the ones that every S3 client knows
(`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_DEFAULT_REGION`,
`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`). They arrive through `Surroundings`; nothing here reads the
environment. An endpoint without TLS needs `allowPrivate: true`.

Credentials are never part of a store's identity, of a message or of a `repr`. Roles of machines and
containers are not asked for: a run has the credentials that it was given, or none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler.errors import InvalidInput
from reconciler.model import StoreConfig

_ENDPOINT = re.compile(r"(https?)://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
_VALUE = re.compile(r"[\x21-\x7e]{1,8192}", re.ASCII)
_DEFAULT_REGION: Final = "us-east-1"
_KEY_ID: Final = ("accessKeyId", "AWS_ACCESS_KEY_ID")
_SECRET: Final = ("secretAccessKey", "AWS_SECRET_ACCESS_KEY")
_TOKEN: Final = ("sessionToken", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """Where a bucket's server is and who asks.

    Attributes:
        endpoint: the server; None for the one that AWS has for the region.
        region: the region that requests are signed for.
        key_id: the id of the access key.
        secret: the access key.
        token: the token of a session; empty if there is none.
    """

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    endpoint: str | None = None
    region: str = _DEFAULT_REGION

    @property
    def plain(self) -> bool:
        """Whether the server is asked without TLS."""
        return self.endpoint is not None and self.endpoint.startswith("http:")


def access_of(config: StoreConfig, variables: Mapping[str, str]) -> S3Access:
    """How the bucket of a registry is reached.

    Args:
        config: the store; a setting of its `credentials` names a variable.
        variables: the environment of whoever runs.

    Raises:
        InvalidInput: E_ENV, a variable is missing or not usable; E_STORE_LOCATION, this is no endpoint;
            E_URL_PLAIN, the endpoint has no TLS.
    """
    return S3Access(
        key_id=_credential(config, variables, _KEY_ID),
        secret=_credential(config, variables, _SECRET),
        token=_token(config, variables),
        endpoint=_endpoint(config, variables),
        region=_region(config, variables),
    )


def _token(config: StoreConfig, variables: Mapping[str, str]) -> str:
    """The session's token; a standard one belongs to standard keys only."""
    credentials = config.settings.get("credentials")
    if (_TOKEN[0] in credentials) if credentials else variables.get(_TOKEN[1]):
        return _credential(config, variables, _TOKEN)
    return ""


def _credential(config: StoreConfig, variables: Mapping[str, str], part: tuple[str, str]) -> str:
    setting, standard = part
    credentials = config.settings.get("credentials")
    variable: str = credentials[setting]["env"] if credentials else standard
    value = variables.get(variable, "")
    if not value:
        raise InvalidInput.of(
            "E_ENV",
            f"store {config.name} takes the {setting} of its objects from a variable that is not set",
            path=config.place.path,
            line=config.place.line,
            got=variable,
            fix=f"set {variable}, or name another variable in its credentials",
        )
    if not _VALUE.fullmatch(value):
        raise InvalidInput.of(
            "E_ENV",
            f"the {setting} that store {config.name} takes from a variable has spaces or other characters "
            "that no such value has",
            path=config.place.path,
            line=config.place.line,
            got=variable,
            fix=f"set {variable} without spaces and line ends",
        )
    return value


def _endpoint(config: StoreConfig, variables: Mapping[str, str]) -> str | None:
    written = _first(config, variables, "endpoint", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    if not written:
        return None
    found = _ENDPOINT.fullmatch(written)
    if not found:
        # It may come from the environment and hold a secret, so it is not repeated.
        raise InvalidInput.of(
            "E_STORE_LOCATION",
            "the endpoint of an object store is a scheme, a host and perhaps a port",
            path=config.place.path,
            line=config.place.line,
            fix="write https://HOST:PORT",
        )
    if found.group(1) == "http" and config.settings.get("allowPrivate") is not True:
        raise InvalidInput.of(
            "E_URL_PLAIN",
            "the endpoint of the object store has no TLS, so everybody on the way can change what is read",
            path=config.place.path,
            line=config.place.line,
            fix="use https://, or allowPrivate: true in a network of your own",
        )
    return written.removesuffix("/")


def _region(config: StoreConfig, variables: Mapping[str, str]) -> str:
    region = _first(config, variables, "region", ("AWS_REGION", "AWS_DEFAULT_REGION")) or _DEFAULT_REGION
    if not _REGION.fullmatch(region):
        raise InvalidInput.of(
            "E_ENV",
            "the region of an object store has at most 64 of a-z 0-9 -",
            path=config.place.path,
            line=config.place.line,
            got=region,
            fix="for example eu-central-1",
        )
    return region


def _first(
    config: StoreConfig, variables: Mapping[str, str], setting: str, standard: Sequence[str]
) -> str | None:
    """The setting, else the first standard variable that is set."""
    written = config.settings.get(setting)
    return (
        str(written) if written else next((variables[name] for name in standard if variables.get(name)), None)
    )
