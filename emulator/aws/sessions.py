"""Sessions of roles: the temporary credentials that AssumeRole gives, and those of execution roles."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.aws.arn import ACCOUNT_ID

LETTERS = string.ascii_uppercase + "234567"  # of AWS's ids
MOST_SESSIONS = 10_000  # [ours] that are remembered; then the oldest ones are forgotten
DEFAULT_SECONDS = 3600  # [api] DurationSeconds


@dataclass(frozen=True)
class Session:
    """One session of a role, with its credentials."""

    role_arn: str
    name: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    issued: float  # seconds since 1970
    expires: float
    tags: tuple[tuple[str, str], ...] = ()
    policy: str = ""  # a policy document that limits it to what that allows as well

    @property
    def arn(self) -> str:
        """The assumed role's. [api] It has no path."""
        partition = self.role_arn.split(":")[1]
        return f"arn:{partition}:sts::{ACCOUNT_ID}:assumed-role/{self.role_name}/{self.name}"

    @property
    def role_name(self) -> str:
        return self.role_arn.rpartition("/")[2]

    @property
    def user_id(self) -> str:
        """``aws:userid``: the role's id and the session's name."""
        return f"{role_id(self.role_arn)}:{self.name}"


class Sessions:
    """All sessions of an emulator, by their access keys. They end with the emulator."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` in seconds since 1970."""
        self.clock = clock
        self._by_key: dict[str, Session] = {}

    def open(
        self,
        role_arn: str,
        name: str,
        seconds: float = DEFAULT_SECONDS,
        tags: tuple[tuple[str, str], ...] = (),
        policy: str = "",
    ) -> Session:
        """A new session that lasts so many seconds."""
        now = self.clock()
        session = Session(
            role_arn,
            name,
            "ASIA" + "".join(secrets.choice(LETTERS) for _ in range(16)),
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(180),
            now,
            now + seconds,
            tags,
            policy,
        )
        self._by_key[session.access_key_id] = session
        if len(self._by_key) > MOST_SESSIONS:
            del self._by_key[next(iter(self._by_key))]
        return session

    def get(self, access_key_id: str) -> Session | None:
        """The session with that access key, which may have expired; None if it is unknown."""
        return self._by_key.get(access_key_id)


def role_id(role_arn: str) -> str:
    """The unique id of a role. It depends on its ARN only, so that it is the same after a restart."""
    digest = hashlib.sha256(role_arn.encode()).digest()
    return "AROA" + "".join(LETTERS[byte % len(LETTERS)] for byte in digest[:17])
