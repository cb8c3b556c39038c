"""The execution roles of containers: each container gets the credentials of its own, by a token that only it has."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from emulator.aws.arn import iam_arn
from emulator.aws.permissions import Context, RequiredPermission
from emulator.aws.sessions import DEFAULT_SECONDS, Session, Sessions
from emulator.containers.aws_settings import AwsSettings
from emulator.errors import EmulatorError

DEFAULT_ROLE = "localmme"  # [ours] the name of the role of models that name none
SESSION_NAME = "SageMaker"  # [reports] of a session of an execution role
RENEWED_BEFORE_SECONDS = DEFAULT_SECONDS / 2  # [ours] SDKs fetch new ones 15 minutes before the end
# Whether the policies of the role with this ARN allow something.
Allows = Callable[[str, RequiredPermission], bool]


class RoleNotAssumed(EmulatorError):
    """There is no such role, or it does not trust SageMaker."""


class ExecutionRoles:
    """Which container has which role."""

    def __init__(
        self,
        sessions: Sessions,
        region: str,
        url: str,
        may_assume: Callable[[str], bool] = lambda _: True,
        allows: Allows = lambda *_: True,
    ) -> None:
        """``url`` is the emulator's, for processes of this machine; ``may_assume`` says whether SageMaker may assume a
        role, ``allows`` what it may then do."""
        self._sessions, self._region, self._url = sessions, region, url
        self._may_assume, self._allows = may_assume, allows
        self._roles: dict[bytes, str] = {}  # by a hash of the token, so that a wrong one is not compared with it
        self._opened: dict[bytes, Session] = {}

    def arn(self, role_arn: str) -> str:
        """The execution role with this ARN, or the default one if it is empty."""
        return role_arn or iam_arn(self._region, "role", DEFAULT_ROLE)

    def allows(self, role_arn: str, action: str, resource: str, context: Context) -> bool:
        """Whether SageMaker may do this with the role; ``context`` are the request's condition keys."""
        role_arn = self.arn(role_arn)
        return self._may_assume(role_arn) and self._allows(role_arn, RequiredPermission(action, resource, context))

    def aws_settings(self, role_arn: str) -> AwsSettings:
        """How a new container with this execution role, or the default one, calls AWS. ``withdraw`` ends it."""
        token = secrets.token_urlsafe(32)
        self._roles[_hashed(token)] = self.arn(role_arn)
        return AwsSettings(self._region, self._url, token)

    def withdraw(self, settings: AwsSettings) -> None:
        """The container has gone: its token is worth nothing any more."""
        token = _hashed(settings.token)
        self._roles.pop(token, None)
        self._opened.pop(token, None)

    def session(self, token: str) -> Session | None:
        """A session of the role of the container with this token, which lasts a while; None for any other token.

        Raises RoleNotAssumed.
        """
        hashed = _hashed(token)
        role_arn = self._roles.get(hashed)
        if role_arn is None:
            return None
        if not self._may_assume(role_arn):
            raise RoleNotAssumed(
                f"SageMaker may not assume the execution role {role_arn}: the access file has no such role, or its "
                "AssumeRolePolicyDocument does not name the service sagemaker.amazonaws.com."
            )
        session = self._opened.get(hashed)
        if session is None or session.expires - self._sessions.clock() < RENEWED_BEFORE_SECONDS:
            session = self._opened[hashed] = self._sessions.open(role_arn, SESSION_NAME)
        return session


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
