"""The address where a container gets the credentials of its execution role: for its token, and for nobody else."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Mapping
from typing import Any

import pytest

from emulator.aws.request import CREDENTIALS
from emulator.aws.sessions import Sessions
from emulator.gateway.access.access_control import AccessControl, User
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.hosting.execution_roles import ExecutionRoles
from emulator.services.container_credentials.app import ContainerCredentialsApp
from tests.support.asgi_client import Response, http_scope, respond

ROLE = "arn:aws:iam::123456789012:role/execution"


@pytest.fixture
def roles() -> ExecutionRoles:
    return ExecutionRoles(Sessions(time.time), "us-east-1", "http://127.0.0.1:8080")


def call(
    roles: ExecutionRoles, token: str | None, method: str = "GET", more: Mapping[str, str] | None = None
) -> Response:
    """The answer, with access control, which is not for those who have no keys yet."""

    async def nobody(*_: Any) -> None:
        raise AssertionError("this is for the credentials")

    async def any_bucket(_: str) -> bool:
        return True

    nobody.has_bucket = any_bucket  # type: ignore[attr-defined]
    access = AccessControl([User("me", "ME", "secret")], "us-east-1", 1000)
    service = ContainerCredentialsApp(roles)
    gateway = Gateway(nobody, nobody, nobody, nobody, nobody, service, WebGuard(), access)  # type: ignore[arg-type]
    headers = {**({} if token is None else {"authorization": token}), **(more or {})}
    return asyncio.run(respond(gateway, http_scope(method, CREDENTIALS, headers)))


def test_a_container_gets_what_sdks_expect_of_it(roles: ExecutionRoles) -> None:
    response = call(roles, roles.aws_settings(ROLE).token)
    assert response.status == 200 and response.headers["cache-control"] == "no-store"
    document = response.json()
    assert document.keys() == {"RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert document["RoleArn"] == ROLE
    ends = datetime.datetime.fromisoformat(document["Expiration"].replace("Z", "+00:00")).timestamp()
    assert 3500 < ends - time.time() <= 3600


@pytest.mark.parametrize("token", [None, "", "guessed", "Bearer guessed"])
def test_nobody_gets_anything_without_the_token(roles: ExecutionRoles, token: str | None) -> None:
    roles.aws_settings(ROLE)
    response = call(roles, token)
    assert response.status == 401 and response.json()["code"] == "Unauthorized"


def test_a_role_that_sagemaker_may_not_assume_is_named(roles: ExecutionRoles) -> None:
    refusing = ExecutionRoles(Sessions(time.time), "us-east-1", "http://127.0.0.1:8080", lambda _: False)
    response = call(refusing, refusing.aws_settings(ROLE).token)
    assert (response.status, response.json()["code"]) == (400, "AssumeRoleUnauthorizedAccess")
    assert ROLE in response.json()["message"]
    assert call(refusing, "guessed").status == 401


def test_no_web_page_gets_anything_even_with_the_token(roles: ExecutionRoles) -> None:
    token = roles.aws_settings(ROLE).token
    for header in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        assert call(roles, token, more=header).status == 403
    assert call(roles, token).status == 200


def test_credentials_are_only_read(roles: ExecutionRoles) -> None:
    assert call(roles, roles.aws_settings(ROLE).token, "POST").status == 405
