"""Who may call this server: programs of this machine, but not the web pages that its browser shows.

A browser says that a request is a page's, by Origin, Referer or Sec-Fetch-Site. A page whose own name leads to this
machine, which DNS can do at any time, gives itself away by that name in Host.
"""

from __future__ import annotations

import re

from emulator.model_server.http.answer import Refusal
from emulator.model_server.http.connection import Request

_LOCAL = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{0,5})?", re.ASCII | re.IGNORECASE)
_OF_PAGES = {"origin", "referer"}


def check_caller(request: Request) -> None:
    """Raises Refusal for a request of a web page, or for another host than this one."""
    hosts = 0
    for name, value in request.headers:
        lower = name.lower()
        if lower == "host":
            hosts += 1
            if not _LOCAL.fullmatch(value):
                raise _refusal(f"It is for the host {value[:100]!a}, and this server is 127.0.0.1.")
        elif lower in _OF_PAGES or (lower == "sec-fetch-site" and value != "none"):
            raise _refusal(f"A browser says that it is a web page's ({name}).")
    if hosts != 1 or not request.path.startswith("/"):
        raise _refusal("It needs one Host header, and a path.")


def _refusal(why: str) -> Refusal:
    return Refusal(403, "ForbiddenException", f"This server takes no such request. {why}")
