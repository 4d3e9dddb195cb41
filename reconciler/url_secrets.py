"""Whether a URL carries a secret: a user part, or a query with a signature, a token or a key in it.

Such a URL must not be committed, published or shown. Names of query parameters are judged, not their values:
presigned URLs of the known clouds, and whatever calls itself a token, a key or a password. A query that only
asks for something (`?download=1`) carries none.

    >>> carries_secret("https://data.example.org/1.tar?X-Amz-Signature=0f")
    True
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

_SECRET: Final = re.compile(
    r"(?:^|[-_.])(?:sig|signature|token|credential|secret|password|passwd|pwd|auth|authorization|api-?key|"
    r"accesskey|access-?key-?id|awsaccesskeyid|googleaccessid|key|session|jwt)(?:$|[-_.])",
    re.ASCII | re.IGNORECASE,
)


def carries_secret(url: str) -> bool:
    """Whether a URL has a user part, or a parameter that is named like a secret."""
    host = re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0]
    query = url.partition("?")[2].partition("#")[0]
    return "@" in host or any(_SECRET.search(name) for name, _ in parse_qsl(query, keep_blank_values=True))
