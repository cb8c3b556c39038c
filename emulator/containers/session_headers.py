"""Reads the headers by which a container opens and closes stateful sessions.

[dg] "Stateful sessions with Amazon SageMaker AI models": the model makes a session's id and says until when it lasts,
both in a header of its answer, and closes it by another header.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from emulator.containers.http_connection import Answer

OPENED, CLOSED = b"x-amzn-sagemaker-new-session-id", b"x-amzn-sagemaker-closed-session-id"
SESSION_ID = re.compile(rb"[a-zA-Z0-9](-*[a-zA-Z0-9])*")  # [api]
# [api] SageMaker's `NewSessionId` has this form; the model sends it.
_OPENED = re.compile(rb"([a-zA-Z0-9](?:-*[a-zA-Z0-9])*);\s?Expires=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")


def closed_session(answer: Answer) -> bytes | None:
    """The id of the session that the answer closes."""
    return answer.header(CLOSED)


def opened_session(answer: Answer) -> tuple[bytes, float] | None:
    """The id of the session that the answer opens, and when it expires, in seconds since 1970.

    Raises ValueError, with an explanation, when its header is invalid.
    """
    header = answer.header(OPENED)
    if header is None:
        return None
    match = _OPENED.fullmatch(header)
    try:
        if match is not None:
            expires = datetime.strptime(match[2].decode(), "%Y-%m-%dT%H:%M:%SZ")
            return match[1], expires.replace(tzinfo=timezone.utc).timestamp()
    except ValueError:  # such as the 31st of February
        pass
    shown = header[:300].decode("latin-1")
    raise ValueError(
        f"A container opened a session by a header that cannot be read, {shown!r}: no call will be routed to it. "
        "X-Amzn-SageMaker-New-Session-Id takes `ID; Expires=YYYY-MM-DDThh:mm:ssZ`."
    )
