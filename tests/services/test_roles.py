"""Roles with ``--access``: who may assume them, and what their sessions may do."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from emulator.aws.asgi import send_answer
from emulator.aws.sessions import Sessions
from emulator.gateway.access.access_control import AccessControl
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.hosting.execution_roles import ExecutionRoles, RoleNotAssumed
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.services.moto_services.app import MotoServicesApp
from localmme.access_file import read
from tests.support.asgi_client import Response, respond
from tests.support.moto_in_process import forget_roles_and_users
from tests.support.signed_requests import signed_scope

ACCOUNT = "123456789012"
ROLES = f"arn:aws:iam::{ACCOUNT}:role"
FORM = "application/x-www-form-urlencoded"
NAMESPACE = "{https://sts.amazonaws.com/doc/2011-06-15/}"
INVOKE = "sagemaker:InvokeEndpoint"


def trust(**principal: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": principal, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    return {"Version": "2012-10-17", "Statement": [statement]}


def role(name: str, trusted: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"RoleName": name, "AssumeRolePolicyDocument": trusted, **more}


def user(name: str, *allowed: str) -> dict[str, Any]:
    statements = [{"Effect": "Allow", "Action": allowed[:1], "Resource": list(allowed[1:])}] if allowed else []
    return {
        "UserName": name,
        "AccessKeyId": name.upper(),
        "SecretAccessKey": f"secret of {name}",
        "Statement": statements,
    }


OF_A_TENANT = {
    "Effect": "Allow",
    "Action": INVOKE,
    "Resource": "*",
    "Condition": {"StringLike": {"sagemaker:TargetModel": "${aws:PrincipalTag/TenantID}/*"}},
}
ALL_MODELS = {"Effect": "Allow", "Action": INVOKE, "Resource": "*"}
IF_EXTERNAL_ID = {"StringEquals": {"sts:ExternalId": "open sesame"}}
FILE = {
    "Users": [
        user("named"),
        user("allowed", "sts:AssumeRole", f"{ROLES}/of-account", f"{ROLES}/of-named", f"{ROLES}/denying"),
        user("stranger"),
    ],
    "Roles": [
        role(
            "of-named", trust(AWS=f"arn:aws:iam::{ACCOUNT}:user/named"), Statement=ALL_MODELS, MaxSessionDuration=7200
        ),
        role("of-account", trust(AWS=f"arn:aws:iam::{ACCOUNT}:root"), Statement=ALL_MODELS),
        role("tenant", trust(AWS=f"arn:aws:iam::{ACCOUNT}:user/named"), Statement=OF_A_TENANT, Tags={"TenantID": "a"}),
        role("execution", trust(Service="sagemaker.amazonaws.com"), Path="/service-role/"),
        role(
            "external",
            {"Statement": {**trust(AWS="*")["Statement"][0], "Condition": IF_EXTERNAL_ID}},
        ),
        role(
            "denying",
            {
                "Statement": [
                    *trust(AWS=ACCOUNT)["Statement"],
                    {**trust(AWS=f"arn:aws:iam::{ACCOUNT}:user/allowed")["Statement"][0], "Effect": "Deny"},
                ]
            },
        ),
        role("chained", trust(AWS=f"{ROLES}/of-named"), MaxSessionDuration=43200),
    ],
}


@dataclass
class Keys:
    id: str
    secret: str
    token: str | None = None


@dataclass
class Emulator:
    """STS and InvokeEndpoint behind access control."""

    directory: Path
    now: float = 0.0
    gateway: Gateway = field(init=False)

    def __post_init__(self) -> None:
        forget_roles_and_users()
        self.now = time.time()
        self.sessions = Sessions(lambda: self.now)
        (self.directory / "access.yaml").write_text(yaml.safe_dump(FILE))
        users, roles = read(self.directory / "access.yaml")
        self.access = AccessControl(users, "us-east-1", 1000, time.time, roles=roles, sessions=self.sessions)
        engine: Any = SimpleNamespace()
        services = MotoServicesApp(CloudWatchMetrics(), RecentLogLines(), engine, "us-east-1", self.sessions)

        async def other(request: Any, receive: Any, send: Any) -> None:
            await send_answer(send, 200, [], b"served")

        self.gateway = Gateway(other, other, None, services, other, other, WebGuard(), self.access)  # type: ignore[arg-type]

    def sts(self, keys: Keys, action: str, **parameters: Any) -> Response:
        body = urllib.parse.urlencode({"Action": action, "Version": "2011-06-15", **parameters}).encode()
        return self.send(keys, "sts", "/", {"content-type": FORM}, body)

    def assume(self, keys: Keys, role_name: str, **parameters: Any) -> Keys:
        response = self.sts(keys, "AssumeRole", RoleArn=f"{ROLES}/{role_name}", RoleSessionName="me", **parameters)
        assert response.status == 200, response.body
        found = ElementTree.fromstring(response.body).find(f".//{NAMESPACE}Credentials")
        assert found is not None
        return Keys(
            *(found.findtext(NAMESPACE + name) or "" for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
        )

    def invoke(self, keys: Keys, target_model: str) -> Response:
        headers = {"x-amzn-sagemaker-target-model": target_model}
        return self.send(keys, "sagemaker", "/endpoints/e/invocations", headers, b"{}")

    def send(self, keys: Keys, service: str, path: str, headers: dict[str, str], body: bytes) -> Response:
        scope = signed_scope((keys.id, keys.secret, keys.token), service, "us-east-1", "POST", path, headers, body)
        return asyncio.run(respond(self.gateway, scope, body))


@pytest.fixture
def emulator(tmp_path: Path) -> Emulator:
    return Emulator(tmp_path)


def keys_of(name: str) -> Keys:
    return Keys(name.upper(), f"secret of {name}")


NAMED, ALLOWED, STRANGER = keys_of("named"), keys_of("allowed"), keys_of("stranger")
MAY = [(NAMED, "of-named"), (ALLOWED, "of-account"), (NAMED, "tenant")]
MAY_NOT = [
    (STRANGER, "of-named"),  # the role does not trust it
    (ALLOWED, "of-named"),  # its own policies are not enough
    (NAMED, "of-account"),  # the account is trusted, but its own policies do not allow it
    (ALLOWED, "denying"),
    (NAMED, "service-role/execution"),  # for SageMaker only
    (ALLOWED, "unheard-of"),
]


@pytest.mark.parametrize(("keys", "name"), MAY)
def test_a_role_is_assumed_by_whom_it_trusts(emulator: Emulator, keys: Keys, name: str) -> None:
    session = emulator.assume(keys, name)
    assert session.id.startswith("ASIA") and session.token
    who = emulator.sts(session, "GetCallerIdentity")
    assert f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/me" in who.body.decode()


@pytest.mark.parametrize(("keys", "name"), MAY_NOT)
def test_nobody_else_assumes_it(emulator: Emulator, keys: Keys, name: str) -> None:
    response = emulator.sts(keys, "AssumeRole", RoleArn=f"{ROLES}/{name}", RoleSessionName="me")
    assert response.status == 403 and b"<Code>AccessDenied</Code>" in response.body
    assert b"is not authorized to perform: sts:AssumeRole on resource:" in response.body


def test_an_external_id_may_be_required(emulator: Emulator) -> None:
    emulator.assume(STRANGER, "external", ExternalId="open sesame")
    wrong = {"RoleArn": f"{ROLES}/external", "RoleSessionName": "me"}
    assert emulator.sts(STRANGER, "AssumeRole", **wrong).status == 403
    assert emulator.sts(STRANGER, "AssumeRole", **wrong, ExternalId="sesame").status == 403


def test_a_session_has_the_roles_permissions_and_its_tags_decide_which_models_it_may_invoke(emulator: Emulator) -> None:
    assert emulator.invoke(NAMED, "a/model.tar.gz").status == 403
    of_the_role = emulator.assume(NAMED, "tenant")
    tags = {"Tags.member.1.Key": "TenantID", "Tags.member.1.Value": "b"}
    of_the_session = emulator.assume(NAMED, "tenant", **tags)
    for session, own, other in ((of_the_role, "a", "b"), (of_the_session, "b", "a")):
        assert emulator.invoke(session, f"{own}/model.tar.gz").status == 200
        refused = emulator.invoke(session, f"{other}/model.tar.gz")
        assert refused.status == 403
        assert f"User: arn:aws:sts::{ACCOUNT}:assumed-role/tenant/me is not authorized" in refused.json()["Message"]


def test_a_sessions_own_policy_can_only_limit_it(emulator: Emulator) -> None:
    only_a = {**ALL_MODELS, "Condition": {"StringLike": {"sagemaker:TargetModel": "a/*"}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [only_a, {**ALL_MODELS, "Action": "s3:*"}]})
    session = emulator.assume(NAMED, "of-named", Policy=policy)
    assert emulator.invoke(session, "a/model.tar.gz").status == 200
    assert emulator.invoke(session, "b/model.tar.gz").status == 403
    assert emulator.send(session, "s3", "/", {}, b"").status == 403
    broken = emulator.sts(NAMED, "AssumeRole", RoleArn=f"{ROLES}/of-named", RoleSessionName="me", Policy="{]")
    assert broken.status == 400 and b"MalformedPolicyDocument" in broken.body


def test_session_credentials_expire(emulator: Emulator) -> None:
    emulator.now -= 890
    session = emulator.assume(NAMED, "of-named", DurationSeconds=900)
    assert emulator.invoke(session, "a").status == 200
    emulator.now -= 10
    session = emulator.assume(NAMED, "of-named", DurationSeconds=900)
    refused = emulator.invoke(session, "a")
    assert refused.status == 403 and b"The security token included in the request is expired" in refused.body
    assert b"<Code>ExpiredToken</Code>" in emulator.sts(session, "GetCallerIdentity").body


def test_the_session_token_is_part_of_the_credentials(emulator: Emulator) -> None:
    session, other = emulator.assume(NAMED, "of-named"), emulator.assume(NAMED, "of-named")
    for token in (None, other.token, "", session.token + "a" if session.token else ""):
        assert emulator.invoke(Keys(session.id, session.secret, token), "a").status == 403
    assert emulator.invoke(Keys(session.id, other.secret, session.token), "a").status == 403
    assert emulator.invoke(session, "a").status == 200


@pytest.mark.parametrize(
    ("name", "parameters", "code"),
    [
        ("of-named", {"DurationSeconds": 7201}, "ValidationError"),
        ("of-named", {"DurationSeconds": 60}, "ValidationError"),
        ("of-named", {"DurationSeconds": "long"}, "ValidationError"),
        ("of-named", {"RoleSessionName": "a b"}, "ValidationError"),
        ("of-named", {"PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}, "NotImplemented"),
        ("of-named", {"Tags.member.1.Value": "no key"}, "ValidationError"),
    ],
)
def test_invalid_parameters_are_refused(emulator: Emulator, name: str, parameters: dict[str, Any], code: str) -> None:
    given = {"RoleArn": f"{ROLES}/{name}", "RoleSessionName": "me", **parameters}
    response = emulator.sts(NAMED, "AssumeRole", **given)
    assert f"<Code>{code}</Code>" in response.body.decode()


def test_a_session_assumes_another_role_for_an_hour_at_most(emulator: Emulator) -> None:
    session = emulator.assume(NAMED, "of-named", DurationSeconds=7200)
    emulator.assume(session, "chained")
    parameters = {"RoleArn": f"{ROLES}/chained", "RoleSessionName": "me", "DurationSeconds": 3601}
    assert b"role chaining" in emulator.sts(session, "AssumeRole", **parameters).body
    assert emulator.sts(NAMED, "AssumeRole", **parameters).status == 403


def test_a_container_gets_credentials_of_a_role_that_trusts_sagemaker(emulator: Emulator) -> None:
    roles = ExecutionRoles(emulator.sessions, "us-east-1", "http://127.0.0.1", emulator.access.may_assume)
    session = roles.session(roles.aws_settings(f"{ROLES}/service-role/execution").token)
    assert session is not None
    keys = Keys(session.access_key_id, session.secret_access_key, session.token)
    assert "assumed-role/execution/SageMaker" in emulator.sts(keys, "GetCallerIdentity").body.decode()
    assert emulator.invoke(keys, "a").status == 403  # the role allows nothing
    for name in ("of-named", "unheard-of"):
        with pytest.raises(RoleNotAssumed, match=f"role/{name}"):
            roles.session(roles.aws_settings(f"{ROLES}/{name}").token)
