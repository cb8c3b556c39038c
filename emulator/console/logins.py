"""Browsers that look at the pages for a user, where access is controlled: a browser cannot sign its requests.

Who signs a request with the user's keys gets a code, once and for a minute, which a browser changes into a session.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from emulator.aws.request import PAGES, AwsRequest

CODE_SECONDS = 60.0  # [ours]
SESSION_SECONDS = 12 * 3600  # [ours]
MOST_KEPT = 1_000  # [ours] of codes, and of sessions; then the oldest is dropped


class Logins:
    """Codes and sessions of one run of the emulator, with whose access key each is. Secrets are kept as hashes."""

    def __init__(self, port: int, elapsed: Callable[[], float]) -> None:
        """``port`` is the emulator's, since cookies are the same for all ports of a host."""
        self.cookie_name = f"localmme-{port}"
        self._elapsed = elapsed
        self._codes: dict[str, tuple[str, float]] = {}  # by hash: the access key, and until when it is good
        self._sessions: dict[str, tuple[str, float]] = {}

    def new_code(self, access_key_id: str) -> str:
        """What one browser can log in with, soon."""
        return self._add(self._codes, access_key_id, CODE_SECONDS)

    def cookie_for(self, code: str) -> str | None:
        """The Set-Cookie header of the session that a code is good for; None if it is not, or has been used."""
        access_key_id = self._valid(self._codes, code)
        self._codes.pop(_hash(code), None)
        if access_key_id is None:
            return None
        session = self._add(self._sessions, access_key_id, SESSION_SECONDS)
        return f"{self.cookie_name}={session}; Path={PAGES}; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict"

    def access_key_id(self, request: AwsRequest) -> str | None:
        """Of the user for whom the browser that sends this has logged in; None if it has not, or long ago."""
        for cookie in request.header(b"cookie").split(";"):  # also of other programs on this host, in any form
            name, _, value = cookie.strip().partition("=")
            if name == self.cookie_name:
                return self._valid(self._sessions, value)
        return None

    def _add(self, kept: dict[str, tuple[str, float]], access_key_id: str, seconds: float) -> str:
        secret = secrets.token_urlsafe(32)
        kept[_hash(secret)] = access_key_id, self._elapsed() + seconds
        if len(kept) > MOST_KEPT:
            del kept[next(iter(kept))]
        return secret

    def _valid(self, kept: dict[str, tuple[str, float]], secret: str) -> str | None:
        access_key_id, until = kept.get(_hash(secret), (None, 0.0))
        return access_key_id if self._elapsed() < until else None


def _hash(secret: str) -> str:
    # It is looked up by its hash: how long that takes says nothing of it.
    return hashlib.sha256(secret.encode()).hexdigest()
