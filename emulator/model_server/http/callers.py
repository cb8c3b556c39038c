"""Which callers are accepted: programs on this machine, but not web pages in a browser on it.

A browser marks a page's requests by Origin, Referer or Sec-Fetch-Site. A page whose host name resolves to this machine
(DNS rebinding) is recognized by that name in the Host header.
"""

from __future__ import annotations

import re

from emulator.model_server.http.connection import Request
from emulator.model_server.http.response import RequestError

_LOCAL = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{0,5})?", re.ASCII | re.IGNORECASE)
_PAGE_HEADERS = {"origin", "referer"}


def check_caller(request: Request) -> None:
    """Raises RequestError for a web page's request, and for a request to another host."""
    hosts = 0
    for name, value in request.headers:
        lower = name.lower()
        if lower == "host":
            hosts += 1
            if not _LOCAL.fullmatch(value):
                raise _forbidden(f"It is for the host {value[:100]!a}, but this server is 127.0.0.1.")
        elif lower in _PAGE_HEADERS or (lower == "sec-fetch-site" and value != "none"):
            raise _forbidden(f"It comes from a web page: a browser sent {name}.")
    if hosts != 1 or not request.path.startswith("/"):
        raise _forbidden("It must have exactly one Host header, and a path.")


def _forbidden(why: str) -> RequestError:
    return RequestError(403, "ForbiddenException", f"This server does not accept this request. {why}")
