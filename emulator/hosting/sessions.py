"""Stateful sessions: models open and close them, and calls of a session go to the instance that has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cachetools import TLRUCache

from emulator.clock import Clock

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

    def open(self, session_id: bytes, instance: I, expires: float) -> None:
        """An instance has that session from now on, until ``expires`` (seconds since 1970)."""
        self._sessions[session_id] = _Session(instance, expires)

    def close(self, session_id: bytes) -> None:
        """The session is over, if there is one of that id."""
        self._sessions.pop(session_id, None)

    def lose(self, instance: Any) -> None:
        """The instance is gone, and its sessions with it."""
        for session_id in [key for key, session in self._sessions.items() if session.instance is instance]:
            self._sessions.pop(session_id, None)
