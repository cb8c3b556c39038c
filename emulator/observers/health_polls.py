"""The lines that servers write of the platform's health polls, so that they do not flood what people read."""

from __future__ import annotations

import re

# Of Multi Model Server, TorchServe, DJL Serving, uvicorn, gunicorn, Flask, nginx: who, "the request", the status, and
# then sizes, times and quoted headers. A poll that failed is of interest, and so is all else that a line may say.
_POLL = re.compile(
    r'[^"]*"GET (?:/ping|/models)(?:\?[^\s"]*)? HTTP/\d(?:\.\d)?" 2\d\d'
    r'(?:\s+(?:OK|-|[\d.,]+\s?(?:ms|us|µs|s)?|"[^"]*"))*\s*'
)


def is_health_poll(line: str) -> bool:
    """Whether it is the line of an access log about a health poll that went well."""
    return '"GET /' in line and _POLL.fullmatch(line) is not None
