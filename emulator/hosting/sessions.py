"""Stateful sessions: a container opens and closes them, and calls of a session go to the instance that has it.

[dg] "Stateful sessions with Amazon SageMaker AI models": a caller asks for one with ``SessionId=NEW_SESSION``; the
model makes the id and says until when it lasts, both in a header of its answer, and closes it by another header.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from cachetools import TLRUCache

from emulator.clock import Clock

OPENED, CLOSED = b"x-amzn-sagemaker-new-session-id", b"x-amzn-sagemaker-closed-session-id"
SESSION_ID = re.compile(rb"[a-zA-Z0-9](-*[a-zA-Z0-9])*")  # [api]
# [api] SageMaker's `NewSessionId` has this form; the model sends it.
_OPENED = re.compile(rb"([a-zA-Z0-9](?:-*[a-zA-Z0-9])*);\s?Expires=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
MOST_SESSIONS = 10_000  # [ours] of a variant; the one that was used longest ago is forgotten for a further one
I = TypeVar("I")  # noqa: E741 - an instance


@dataclass(frozen=True)
class _Session(Generic[I]):
    instance: I
    expires: float  # seconds since 1970


class Sessions(Generic[I]):
    """The sessions of a variant, and which of its instances has each."""

    def __init__(self, clock: Clock, most: int = MOST_SESSIONS) -> None:
        self._sessions: TLRUCache[bytes, _Session[I]] = TLRUCache(
            most, lambda _, session, now: session.expires, clock.now
        )

    def __len__(self) -> int:
        return len(self._sessions)

    def instance(self, session_id: bytes) -> I | None:
        """Which instance has a session; None if it was never opened, was closed, or has expired."""
        session = self._sessions.get(session_id)
        return session.instance if session is not None else None

    def answered(self, header: Callable[[bytes], bytes | None], instance: I) -> bool:
        """Take note of what the headers of an instance's answer say of sessions. False if that cannot be read."""
        closed, opened = header(CLOSED), header(OPENED)
        if closed is not None:
            self._sessions.pop(closed, None)
        if opened is None:
            return True
        match = _OPENED.fullmatch(opened)
        expires = _time(match[2].decode()) if match is not None else None
        if match is None or expires is None:
            return False
        self._sessions[match[1]] = _Session(instance, expires)
        return True

    def lose(self, instance: Any) -> None:
        """The instance is gone, and its sessions with it."""
        for session_id in [key for key, session in self._sessions.items() if session.instance is instance]:
            self._sessions.pop(session_id, None)


def _time(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
