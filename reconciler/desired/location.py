"""Locations written in git: what may stand there, and that no secret does.

A location in a `Stores` document says where a live system is; a `source` says where a dataset's bytes
come from. Both are committed and shown in reviews, so a URL with a user part, a query or a fragment (where
passwords, tokens and presigned signatures travel) is refused, and the message never repeats it.

Only the text is judged: nothing is opened, decoded or resolved.
"""

from __future__ import annotations

import re
from typing import Final

from reconciler.errors import Problem

FILE_SCHEME: Final = "file"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.ASCII | re.DOTALL)
_SECRET = re.compile(r"(?://)?[^/]*@|.*[?#]", re.DOTALL)
_BUCKET = re.compile(r"//[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9!_.*'()/=-]*)?", re.ASCII)
_ENDPOINT = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?", re.ASCII)
_BASE = re.compile(_ENDPOINT.pattern.removesuffix("/?") + r"(?:/[A-Za-z0-9._~/-]*)?", re.ASCII)
_WITHHELD = "(withheld)"


def redacted(text: str) -> str:
    """A text for an error message, without what may be a secret."""
    scheme = _SCHEME.fullmatch(text)
    if not scheme or not _SECRET.match(scheme.group(2)):
        return text
    return f"{scheme.group(1)}:{_WITHHELD}"


def _secret_problem(text: str) -> Problem | None:
    scheme = _SCHEME.fullmatch(text)
    if not scheme or not _SECRET.match(scheme.group(2)):
        return None
    return Problem(
        code="E_SECRET_IN_CONFIG",
        message="a committed location has no user part, query or fragment, where secrets travel",
        got=redacted(text),
        fix="write {env: VARIABLE}, or leave the credentials to the environment",
    )


def root_problem(text: str) -> Problem | None:
    """What is wrong with the root of a file-tree store, or None."""
    secret = _secret_problem(text)
    if secret:
        return secret
    scheme = _SCHEME.fullmatch(text)
    if not scheme or scheme.group(1) != FILE_SCHEME:
        return Problem(
            code="E_URL_SCHEME",
            message="a root is a directory, written file:PATH; other kinds of storage are not supported yet",
            got=text,
            fix="for example file:var/serving",
        )
    path = scheme.group(2)
    if path.startswith("//") and not path.startswith("///"):
        return Problem(
            code="E_URL_HOST", message="a file location has no host", got=text, fix="write file:PATH"
        )
    if not path.strip("/") or "\\" in path:
        return Problem(
            code="E_URL_SYNTAX", message="a file location names a directory", got=text, fix="write file:PATH"
        )
    return None


def database_problem(text: str) -> Problem | None:
    """What is wrong with the database of a registry, or None."""
    secret = _secret_problem(text)
    if secret:
        return secret
    scheme = _SCHEME.fullmatch(text)
    name, rest = scheme.groups() if scheme else ("", "")
    if name == "postgresql" and rest.startswith("//") and "\\" not in rest:
        return None
    if name != "sqlite":
        return Problem(
            code="E_URL_SCHEME",
            message="a registry's database is sqlite:PATH or postgresql://HOST/NAME",
            got=text,
            fix="for example sqlite:var/registry.db",
        )
    if not rest.strip("/") or rest.endswith("/") or rest.startswith("//") or "\\" in rest:
        return Problem(
            code="E_URL_SYNTAX", message="a SQLite database is one file", got=text, fix="write sqlite:PATH"
        )
    return None


def objects_problem(text: str) -> Problem | None:
    """What is wrong with where a registry keeps its manifests' bytes, or None."""
    return _directory_or_bucket_problem(text, "a registry's manifests are kept in", "file:var/manifests")


def ledger_problem(text: str) -> Problem | None:
    """What is wrong with where the ledger of a remote account is kept, or None."""
    return _directory_or_bucket_problem(text, "the ledger of an account is kept in", "file:var/public")


def bucket_problem(text: str) -> Problem | None:
    """What is wrong with where copies of data go, or None."""
    return _directory_or_bucket_problem(text, "copies of data go to", "s3://datasets/public")


def _directory_or_bucket_problem(text: str, what: str, example: str) -> Problem | None:
    secret = _secret_problem(text)
    if secret:
        return secret
    scheme = _SCHEME.fullmatch(text)
    name, rest = scheme.groups() if scheme else ("", "")
    if name == FILE_SCHEME:
        return root_problem(text)
    if name != "s3":
        return Problem(
            code="E_URL_SCHEME",
            message=f"{what} file:PATH or s3://BUCKET/PREFIX",
            got=text,
            fix=f"for example {example}",
        )
    if not _BUCKET.fullmatch(rest) or any(
        part in {"", ".", ".."} for part in rest[2:].rstrip("/").split("/")
    ):
        return Problem(
            code="E_URL_SYNTAX",
            message="an S3 location names a bucket, and perhaps a prefix",
            got=text,
            fix="write s3://BUCKET/PREFIX",
        )
    return None


def index_problem(text: str) -> Problem | None:
    """What is wrong with the path of a local index, or None."""
    secret = _secret_problem(text)
    if secret:
        return secret
    if _SCHEME.fullmatch(text) or "\\" in text or not text.strip("/") or text.endswith("/"):
        return Problem(
            code="E_URL_SYNTAX",
            message="a local index is one file",
            got=text,
            fix="write its path, for example var/index.db",
        )
    return None


def endpoint_problem(text: str) -> Problem | None:
    """What is wrong with the server of a bucket, or None; whether it needs TLS is decided on opening."""
    secret = _secret_problem(text)
    if secret:
        return secret
    if not _ENDPOINT.fullmatch(text):
        return Problem(
            code="E_URL_SYNTAX",
            message="an endpoint is a scheme, a host and perhaps a port",
            got=text,
            fix="write https://HOST:PORT, or {env: VARIABLE}",
        )
    return None


def base_problem(text: str) -> Problem | None:
    """What is wrong with the URL below which readers find copies of data, or None."""
    secret = _secret_problem(text)
    if secret:
        return secret
    if not _BASE.fullmatch(text):
        return Problem(
            code="E_URL_SYNTAX",
            message="readers find copies below a URL: a scheme, a host and perhaps a path",
            got=text,
            fix="write https://HOST/PATH, or {env: VARIABLE}",
        )
    return None


def source_problem(text: str) -> Problem | None:
    """What is wrong with where a dataset's bytes come from, or None."""
    secret = _secret_problem(text)
    if secret:
        return secret
    if _SCHEME.fullmatch(text):
        return Problem(
            code="E_SOURCE_SCHEME",
            message="a source is a path; object-store sources are not supported yet",
            got=text,
            fix="name a build root or a pack, relative to the repository's root",
        )
    return relative_path_problem(text, "E_SOURCE_PATH", "a source")


def relative_path_problem(text: str, code: str, what: str) -> Problem | None:
    """What is wrong with a path that must stay below the place it starts from, or None."""
    parts = text.removesuffix("/").split("/")
    if "\\" in text or "\n" in text or "\t" in text or any(part in {"", ".", ".."} for part in parts):
        return Problem(
            code=code,
            message=f"{what} is a relative path without dot segments, empty parts or backslashes",
            got=text,
            fix="name it from the repository's root",
        )
    return None
