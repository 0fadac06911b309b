"""httpx2 for addresses without TLS: its own clients first read all certificates of the system, 45 ms each."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Final

import httpx2

_BELIEVES_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Client: Final = partial(httpx2.Client, verify=_BELIEVES_NOBODY)
request: Final = partial(httpx2.request, verify=_BELIEVES_NOBODY)
get: Final = partial(httpx2.get, verify=_BELIEVES_NOBODY)
post: Final = partial(httpx2.post, verify=_BELIEVES_NOBODY)
stream: Final = partial(httpx2.stream, verify=_BELIEVES_NOBODY)
