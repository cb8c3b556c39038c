"""The credentials of a container's execution role, an ASGI application: JSON, for the token that the container has."""

from __future__ import annotations

import datetime
import json

from emulator.aws.asgi import Receive, Send, send_answer
from emulator.aws.request import AwsRequest
from emulator.aws.sessions import Session
from emulator.hosting.execution_roles import ExecutionRoles, RoleNotAssumed

HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class ContainerCredentialsApp:
    """Answers a GET with the container's token, and nothing else. [api] The form is that of Amazon ECS."""

    def __init__(self, roles: ExecutionRoles) -> None:
        self._roles = roles

    async def __call__(self, request: AwsRequest, receive: Receive, send: Send) -> None:
        if request.method != "GET":
            await _refuse(send, 405, "MethodNotAllowed", "Credentials are read with GET.")
            return
        try:
            session = self._roles.session(request.header(b"authorization"))
        except RoleNotAssumed as error:
            await _refuse(send, 400, "AssumeRoleUnauthorizedAccess", str(error))
            return
        if session is None:
            await _refuse(send, 401, "Unauthorized", "This needs the token of a container that is running.")
        else:
            await send_answer(send, 200, [*HEADERS], json.dumps(_credentials(session)).encode())


def _credentials(session: Session) -> dict[str, str]:
    expires = datetime.datetime.fromtimestamp(session.expires, datetime.timezone.utc)
    return {
        "RoleArn": session.role_arn,
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.token,
        "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    await send_answer(send, status, [*HEADERS], json.dumps({"code": code, "message": message}).encode())
