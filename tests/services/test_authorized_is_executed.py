"""What is authorised is what is executed: requests of every service that say things twice, or contradict themselves.

The ASGI applications run in the test's own process. Spies note what access control asked the policies, and which
operation then began, with what, at the last place before its code: tables of operations, moto's dispatch.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import json
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder, run_wsgi_app

from emulator.aws.arn import ACCOUNT_ID, s3_arn, sagemaker_arn
from emulator.aws.asgi import Scope
from emulator.aws.errors import AwsError
from emulator.aws.json_document import MOST_LEVELS, parsed
from emulator.aws.permissions import RequiredPermission
from emulator.aws.request import FORM, AwsRequest
from emulator.aws.service_models import input_shape_name, shape
from emulator.aws.services import MOTO_SERVICES
from emulator.aws.sessions import Sessions
from emulator.clock import Clock
from emulator.console.flask_pages import flask_application
from emulator.containers.contract import StreamedAnswer
from emulator.events import Events
from emulator.gateway.access import access_control
from emulator.gateway.access.access_control import AccessControl, AuthorizedCaller, User
from emulator.gateway.access.iam_policy import Statement
from emulator.gateway.access.patterns import ArnPattern, TextPattern
from emulator.gateway.access.sigv4 import ALGORITHM, Claim, canonical_request, signing_key
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.limits import Limits
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.services.moto_services.app import MotoServicesApp
from emulator.services.moto_services.permissions import GIVE_KEYS
from emulator.services.runtime.app import RuntimeApp
from emulator.services.s3 import app as s3_app
from emulator.services.s3.app import S3App
from emulator.services.s3.call import S3Answer
from emulator.services.s3.operations import OPERATIONS as S3_OPERATIONS
from emulator.services.s3.permissions import ACTIONS as S3_ACTIONS
from emulator.services.sagemaker import app as sagemaker_app
from emulator.services.sagemaker.app import OPERATIONS, SageMakerApp
from emulator.services.sagemaker.permissions import permissions_of
from tests.support.asgi_client import respond
from tests.support.control_plane import ARN, ROLE
from tests.support.generated_requests import Generator
from tests.support.moto_in_process import forget_roles_and_users

REGION, DAY, NOW = "us-east-1", "20260101", 1767268800.0
TIMESTAMP = f"{DAY}T120000Z"
ANYTHING = Statement(True, (TextPattern("*"),), (ArnPattern("*"),))
ADMIN = User("admin", "ADMIN", "secret", statements=(ANYTHING,))
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sent:
    """A request as it goes on the wire, but for its signature."""

    service: str  # signing name
    method: str = "POST"
    path: str = "/"  # encoded
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes = b""

    def with_headers(self, *headers: tuple[str, str], first: bool = False) -> Sent:
        return replace(self, headers=(*headers, *self.headers) if first else (*self.headers, *headers))

    def with_query(self, *pairs: tuple[str, str], first: bool = False) -> Sent:
        return replace(self, query=(*pairs, *self.query) if first else (*self.query, *pairs))

    def scope(self) -> Scope:
        """Signed, over all its headers."""
        hashed = hashlib.sha256(self.body).hexdigest()
        headers = [("host", "localhost"), ("x-amz-date", TIMESTAMP), *self.headers]
        if self.service == "s3":
            headers.append(("x-amz-content-sha256", hashed))
        scope: Scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 1),
            "root_path": "",
            "method": self.method,
            "path": urllib.parse.unquote(self.path),
            "raw_path": self.path.encode(),
            "query_string": urllib.parse.urlencode(self.query).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
        }
        names = tuple(sorted({name for name, _ in headers}))
        claimed = Claim("ADMIN", DAY, REGION, self.service, names, "", TIMESTAMP, None, presigned=False)
        canonical = canonical_request(AwsRequest(scope), claimed, hashed)
        to_sign = f"{ALGORITHM}\n{TIMESTAMP}\n{claimed.scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(signing_key("secret", claimed.scope), to_sign.encode(), "sha256").hex()
        signed = f"Credential=ADMIN/{claimed.scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
        scope["headers"].append((b"authorization", f"{ALGORITHM} {signed}".encode()))
        return scope


@dataclass
class Service:
    """The emulator's applications, and what was seen of one request."""

    dispatch: Any
    asked: list[RequiredPermission] = field(default_factory=list)
    executed: list[Any] = field(default_factory=list)

    async def send(self, sent: Sent, scope: Scope | None = None) -> tuple[int, bytes]:
        """Status and body."""
        self.asked.clear()
        self.executed.clear()
        response = await respond(self.dispatch, scope or sent.scope(), sent.body)
        return response.status, response.body


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("s3")
    for bucket in ("bucket", "other"):
        (root / bucket).mkdir()
    forget_roles_and_users()
    with pytest.MonkeyPatch.context() as patch:
        service = Service(None)
        s3 = S3App(root)

        async def made() -> Gateway:
            sagemaker: Any = SageMakerApp(SimpleNamespace(changing=asyncio.Lock()))  # type: ignore[arg-type]
            engine: Any = SimpleNamespace()
            neighbours = MotoServicesApp(CloudWatchMetrics(), RecentLogLines(), engine, REGION, Sessions(time.time))
            runtime = RuntimeApp(spied_endpoints(service), Limits(), Events(), Clock())
            access = AccessControl([ADMIN], REGION, Limits().body_bytes, lambda: NOW)
            return Gateway(
                runtime, sagemaker, s3, neighbours, nobody, nobody, WebGuard(["*.localhost", "*.amazonaws.com"]), access
            )

        service.dispatch = loop.run_until_complete(made())
        spy_on_the_door(service, patch)
        spy_on_sagemaker(service, patch)
        spy_on_s3(service, patch)
        spy_on_moto(service, patch)
        yield service
        loop.run_until_complete(s3.stop())


async def nobody(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"nothing is there"})


def spy_on_the_door(service: Service, patch: pytest.MonkeyPatch) -> None:
    check = AuthorizedCaller.check

    def spied(self: AuthorizedCaller, ask: RequiredPermission) -> None:
        service.asked.append(ask)
        check(self, ask)

    patch.setattr(access_control.AuthorizedCaller, "check", spied)


def spy_on_sagemaker(service: Service, patch: pytest.MonkeyPatch) -> None:
    def spy(name: str) -> Any:
        async def operation(control_plane: Any, asked: dict[str, Any]) -> dict[str, Any]:
            service.executed.append(("sagemaker", name, asked))
            return {}

        return operation

    patch.setattr(sagemaker_app, "OPERATIONS", {name: spy(name) for name in OPERATIONS})


def spy_on_s3(service: Service, patch: pytest.MonkeyPatch) -> None:
    handler_of = s3_app.handler_of

    def spied(call: Any) -> Any:
        handler_of(call)
        operation = s3_app_operation(call)

        def handler(call: Any) -> S3Answer:
            service.executed.append(("s3", operation, call.bucket, call.key, call.headers.get("x-amz-copy-source")))
            return S3Answer()

        return handler

    patch.setattr(s3_app, "handler_of", spied)


def s3_app_operation(call: Any) -> tuple[str, str, str]:
    """By its handler, which is what runs."""
    from emulator.services.s3.operations import ABSENT, handler_of

    handler = handler_of(call)
    found = [operation for operation, known in S3_OPERATIONS.items() if known is handler]
    level = "object" if call.key else "bucket"
    return next((each for each in found if each[1] == level), (*found, ("GET", "bucket", next(iter(ABSENT))))[0])


async def no_chunks() -> AsyncIterator[bytes]:
    for chunk in ():
        yield chunk


def spied_endpoints(service: Service) -> Any:
    class Endpoints:
        def get(self, name: str) -> Any:
            def variant_for(invocation: Any) -> Any:
                async def invoke(invocation: Any, streamed: bool = False) -> Any:
                    service.executed.append(
                        ("runtime", name, invocation.target_model, invocation.target_container_hostname)
                    )
                    return StreamedAnswer(200, [], chunks=no_chunks())

                return SimpleNamespace(invoke=invoke, name="AllTraffic")

            return SimpleNamespace(variant_for=variant_for)

    return Endpoints()


def spy_on_moto(service: Service, patch: pytest.MonkeyPatch) -> None:
    """After moto has read the request, which is where it would go on to the operation."""
    from moto.core.responses import BaseResponse
    from moto.core.utils import camelcase_to_underscores

    def spied(self: Any) -> Any:
        action = self._get_action()
        service.executed.append((self.service_name, camelcase_to_underscores(action)))
        assert self.get_current_account() == ACCOUNT_ID
        return 200, {}, ""

    patch.setattr(BaseResponse, "call_action", spied)


# Requests that are right

NAMED = {
    "ModelName": "shapes", "EndpointConfigName": "shapes", "EndpointName": "shapes", "NameContains": "shape",
    "VariantName": "shapes", "ResourceArn": f"{ARN}:model/shapes", "ExecutionRoleArn": ROLE, "Image": "any",
    "ModelDataUrl": "s3://bucket/models/", "InstanceType": "ml.m5.large",
}  # fmt: skip


def sagemaker_request(operation: str, document: bytes) -> Sent:
    headers = (("content-type", "application/x-amz-json-1.1"), ("x-amz-target", f"SageMaker.{operation}"))
    return Sent("sagemaker", headers=headers, body=document)


def document_of(operation: str) -> dict[str, Any]:
    generator = Generator(NAMED, lambda of, member: member in ("PrimaryContainer", "ExecutionRoleArn", "Tags"))
    return generator.value(shape(input_shape_name(operation)))


def moto_request(service: str, operation: str, **parameters: str) -> Sent:
    if service in ("ecr", "logs"):
        target = f"{MOTO_SERVICES[service].target_prefix}.{operation}"
        headers = (("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target))
        return Sent(service, headers=headers, body=json.dumps(parameters).encode())
    body = urllib.parse.urlencode({"Action": operation, "Version": "2010-05-08", **parameters}).encode()
    return Sent(service, headers=(("content-type", FORM),), body=body)


def s3_request(operation: tuple[str, str, str]) -> Sent:
    method, level, named = operation
    path = {"service": "/", "bucket": "/bucket", "object": "/bucket/key"}[level]
    words = {"list-type": "2", "uploadId": "1"}
    query = tuple((word, words.get(word, "")) for word in named.split() if word != "copy")
    headers = (("x-amz-copy-source", "/other/source"),) if named.endswith("copy") else ()
    return Sent("s3", method, path, query, headers)


RIGHT = [
    *(sagemaker_request(operation, json.dumps(document_of(operation)).encode()) for operation in OPERATIONS),
    *(s3_request(operation) for operation in S3_OPERATIONS),
    *(
        Sent("sagemaker", path=f"/endpoints/Name/{operation}",
             headers=(("x-amzn-sagemaker-target-model", "a/m.tar.gz"),
                      ("x-amzn-sagemaker-target-container-hostname", "first")))
        for operation in ("invocations", "invocations-response-stream")
    ),
    moto_request("iam", "ListUsers"), moto_request("iam", "GetUser", UserName="me"),
    moto_request("sts", "GetCallerIdentity"), moto_request("ecr", "DescribeRepositories"),
    moto_request("logs", "DescribeLogGroups", logGroupNamePrefix="a"), moto_request("monitoring", "ListMetrics"),
    moto_request("monitoring", "DescribeAlarms", AlarmNamePrefix="a"),
]  # fmt: skip


@pytest.mark.parametrize("right", RIGHT, ids=lambda sent: f"{sent.service}-{sent.method}-{sent.path}")
def test_what_is_said_once_is_executed(service: Service, loop: asyncio.AbstractEventLoop, right: Sent) -> None:
    status, body = loop.run_until_complete(service.send(right))
    assert (status, len(service.executed)) == (200, 1), body
    assert agrees(service)


# Requests that are not

SAGEMAKER_WORDS = st.sampled_from([
    '"ModelName":"other"', '"ModelName":null', '"EndpointName":"other"', '"EndpointConfigName":null',
    '"ExecutionRoleArn":null', '"ProductionVariants":[]', '"ProductionVariants":null', '"ResourceArn":"arn:other"',
    '"Tags":[{"Key":"a","Key":"b","Value":"c"}]', '"InstanceType":"ml.p4d.24xlarge"', '"\\u004dodelName":"other"',
])  # fmt: skip
OTHER_HEADERS = st.sampled_from([
    ("x-amz-target", "SageMaker.DeleteModel"), ("x-amz-target", "Logs_20140328.FilterLogEvents"),
    ("x-amz-target", "SageMaker.X.DeleteModel"), ("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.TagResource"),
    ("content-type", FORM), ("content-type", "application/x-amz-json-1.1"), ("content-type", "multipart/form-data"),
    ("content-encoding", "gzip"), ("smithy-protocol", "rpc-v2-cbor"), ("x-moto-account-id", "999999999999"),
    ("x-amzn-sagemaker-target-model", "b/m.tar.gz"), ("x-amzn-sagemaker-target-container-hostname", "second"),
    ("x-amz-copy-source", "/bucket/secret"), ("x-amz-copy-source", "/other/source"), ("x-amz-tagging", "a=b"),
    ("host", "other.localhost"), ("host", "other.s3.amazonaws.com"),
    ("authorization", f"{ALGORITHM} Credential=ADMIN/{DAY}/{REGION}/ecr/aws4_request, SignedHeaders=a, Signature=b"),
    ("user-agent", "region/eu-west-9"),
])  # fmt: skip
OTHER_PAIRS = st.sampled_from([
    ("Action", "CreateUser"), ("Action", "ListUsers"), ("Action", "AssumeRole"), ("Version", "1"),
    ("UserName", "you"),
    ("acl", ""), ("tagging", ""), ("delete", ""), ("uploads", ""), ("list-type", "2"), ("uploadId", "2"),
    ("policy", ""),
    ("x-amz-copy-source", "/bucket/secret"), ("X-amz-copy-source", "/other/source"), ("attributes", ""),
    ("X-Amz-Credential", f"ADMIN/{DAY}/{REGION}/iam/aws4_request"), ("X-Amz-Signature", "a"),
])  # fmt: skip
OTHER_PATHS = st.sampled_from([
    "/endpoints/Name/invocations", "/endpoints/%4eame/invocations", "/endpoints/a%2Finvocations/invocations",
    "/service/GraniteServiceVersion20100801/operation/DeleteAlarms", "/bucket/key", "/bucket/%6bey", "/other//key",
    "/bucket/a%2fb", "//", "/_localmme/state",
])  # fmt: skip


@st.composite
def changed(draw: st.DrawFn) -> Sent:
    """A request that is right, with up to three things added that may contradict it."""
    sent = draw(st.sampled_from(RIGHT))
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["header", "query", "form", "member", "text", "path", "method", "gzip", "again"]))
        first = draw(st.booleans())
        if kind == "header":
            sent = sent.with_headers(draw(OTHER_HEADERS), first=first)
        elif kind == "query":
            sent = sent.with_query(draw(OTHER_PAIRS), first=first)
        elif kind == "form":
            pair = urllib.parse.urlencode([draw(OTHER_PAIRS)]).encode()
            sent = replace(sent, body=pair + b"&" + sent.body if first else sent.body + b"&" + pair)
        elif kind == "member" and sent.body.startswith(b"{"):
            word, at = draw(SAGEMAKER_WORDS).encode(), draw(st.integers(0, sent.body.count(b"{") - 1))
            pieces = sent.body.split(b"{")
            comma = b"" if pieces[at + 1].startswith(b"}") else b","
            pieces[at + 1] = word + comma + pieces[at + 1]
            body = b"{".join(pieces)
            sent = replace(sent, body=body if first else body[:-1] + b"," + word + b"}")
        elif kind == "text" and sent.body.startswith(b"{"):
            comma = b"" if sent.body == b"{}" else b","
            sent = replace(sent, body=b'{"limit":"&Action=FilterLogEvents&logGroupName=x&"' + comma + sent.body[1:])
        elif kind == "path":
            sent = replace(sent, path=draw(OTHER_PATHS))
        elif kind == "method":
            sent = replace(sent, method=draw(st.sampled_from(["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD"])))
        elif kind == "gzip":
            sent = replace(sent, body=gzip.compress(sent.body, mtime=0)).with_headers(("content-encoding", "gzip"))
        elif kind == "again" and sent.headers:
            name, value = draw(st.sampled_from(sent.headers))
            sent = sent.with_headers((name, draw(st.sampled_from([value, "", "other"]))), first=first)
    return sent


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=changed())
def test_what_was_authorised_is_what_is_executed(service: Service, loop: asyncio.AbstractEventLoop, sent: Sent) -> None:
    status, _ = loop.run_until_complete(service.send(sent))
    assert len(service.executed) <= 1
    assert not service.executed or agrees(service), (service.asked, service.executed)
    assert service.executed or status != 200
    assert status < 500 or status == 501


def agrees(service: Service) -> bool:
    """Whether what the policies were asked is what began, worked out of what began."""
    [(kind, *what)] = service.executed
    asked = service.asked
    if kind == "sagemaker":
        return asked == permissions_of(*what, REGION)
    if kind == "runtime":
        name, model, hostname = what
        context = {"sagemaker:targetmodel": model, "sagemaker:targetcontainerhostname": hostname}
        [ask] = asked
        return ask.resource == sagemaker_arn(REGION, "endpoint", name) and {
            key: value for key, value in context.items() if value
        } == {key: value[0] for key, value in ask.context.items()}
    if kind == "s3":
        operation, bucket, key, copied = what
        names = S3_ACTIONS.get(operation, ())
        actions = [ask.action for ask in asked]
        reads = [ask.resource for ask in asked if ask.action == "s3:GetObject"]
        where = s3_arn(REGION, bucket, key) if bucket else "*"
        assert all(f"s3:{name}" in actions for name in names)
        assert all(ask.resource == where for ask in asked if ask.action != "s3:GetObject")
        return not operation[2].endswith("copy") or s3_arn(REGION, *copied.strip("/").split("/", 1)) in reads
    [action] = what
    actions = [f"{kind}:{action.replace('_', '')}"] if action != "get_caller_identity" else []
    return [ask.action.lower() for ask in asked] == actions


# What has bypassed a policy once

DELETE_MODEL = sagemaker_request("DeleteModel", b'{"ModelName":"a"}')
LIST_USERS = moto_request("iam", "ListUsers")
DESCRIBE = moto_request("logs", "DescribeLogGroups")
INVOKE = next(sent for sent in RIGHT if sent.path.endswith("/invocations"))


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (replace(DELETE_MODEL, body=b'{"ModelName":"prod-m","ModelName":null}'), b"member ModelName more than once"),
        (replace(DELETE_MODEL, body=b'{"ModelName":"a","x":{"y":1,"y":1}}'), b"member y more than once"),
        (replace(DELETE_MODEL, body=b"[" * 100_000), b"not JSON"),
        (replace(DELETE_MODEL, body=b'{"x":' * 500 + b"1" + b"}" * 500), b"levels"),
        (replace(DESCRIBE, body=b'{"x":' * 500 + b"1" + b"}" * 500), b"levels"),
        (replace(DESCRIBE, body=b"1" * 5000), b"not JSON"),
        (DELETE_MODEL.with_headers(("x-amz-target", "SageMaker.ListModels")), b"header x-amz-target"),
        (DELETE_MODEL.with_headers(("x-amz-target", "SageMaker.ListModels"), first=True), b"header x-amz-target"),
        (DESCRIBE.with_headers(("x-amz-target", "Logs_20140328.FilterLogEvents")), b"header x-amz-target"),
        (DESCRIBE.with_query(("Action", "FilterLogEvents")), b"as Action"),
        (replace(DESCRIBE, service="ecr"), b"names an operation of logs"),
        (replace(DELETE_MODEL, service="iam"), b"names an operation of sagemaker"),
        (replace(INVOKE, headers=(*INVOKE.headers, ("x-amz-target", "SageMaker.DeleteModel"))), b"Runtime"),
        (LIST_USERS.with_query(("Action", "CreateUser")), b"in the query of the URL and in the body"),
        (LIST_USERS.with_query(("Action", "ListUsers")), b"in the query of the URL and in the body"),
        (replace(LIST_USERS, body=LIST_USERS.body + b"&Action=CreateUser"), b"Action more than once"),
        (replace(LIST_USERS, body=LIST_USERS.body + b"&%41ction=CreateUser"), b"Action more than once"),
        (replace(LIST_USERS, body=b"Action=create_user&UserName=me"), b"not valid for this web service"),
        (replace(LIST_USERS, method="OPTIONS"), b"cannot be called with OPTIONS"),
        (INVOKE.with_headers(("x-amzn-sagemaker-target-model", "b/m.tar.gz")), b"more than once"),
        (INVOKE.with_headers(("host", "b")), b"one Host header"),
        (INVOKE.with_headers(("authorization", f"{ALGORITHM} Credential=A/b/c/iam/d")), b"header authorization"),
        (Sent("s3", "GET", "/bucket", (("acl", ""), ("tagging", ""))), b"Conflicting query string parameters: acl, "),
        (Sent("s3", "GET", "/bucket", (("prefix", "a"), ("prefix", "b"))), b"prefix more than once"),
        (Sent("s3", "GET", "/bucket", (("X-Amz-Signature", "a"),)), b"Only one auth mechanism allowed"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused(
    service: Service, loop: asyncio.AbstractEventLoop, sent: Sent, told: bytes
) -> None:
    for access in (service.dispatch._access, None):  # AWS refuses it as well, whoever may do what
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service.dispatch, "_access", access)
            status, body = loop.run_until_complete(service.send(sent))
        assert (status, told in body) == (400, True), body
        assert (service.asked, service.executed) == ([], [])


@pytest.mark.parametrize("name", ["Credential", "xCredential", "x=Credential"])
def test_a_second_credential_is_refused(service: Service, loop: asyncio.AbstractEventLoop, name: str) -> None:
    # Whose signature is verified, and as whom and in which region the call is made, would be two things.
    scope = LIST_USERS.scope()
    key, value = scope["headers"][-1]
    other = f"{ALGORITHM} {name}=OTHER/{DAY}/eu-west-1/iam/aws4_request, ".encode()
    scope["headers"][-1] = key, value.replace(f"{ALGORITHM} ".encode(), other)
    status, body = loop.run_until_complete(service.send(LIST_USERS, scope))
    assert (status, b"Credential more than once" in body, service.executed) == (400, True, [])


@pytest.mark.parametrize("path", ["//_localmme/state", "///_localmme/state", "/_localmme//state", "/_localmme/state/"])
def test_the_state_has_one_path(path: str) -> None:
    # Of another one, nobody would be asked whether it may be seen.
    async def state() -> dict[str, Any]:
        return {"seen": True}

    nobody: Any = None
    loop = asyncio.new_event_loop()
    pages = flask_application(lambda: True, state, nobody, REGION, loop)
    environment = {**EnvironBuilder().get_environ(), "PATH_INFO": path}
    loop.close()  # whoever asked it would fail
    body, status, _ = run_wsgi_app(pages, environment)
    assert (status, b"Nothing is served here" in b"".join(body)) == ("404 NOT FOUND", True)


def test_text_in_a_document_is_no_parameter_for_moto(service: Service, loop: asyncio.AbstractEventLoop) -> None:
    sent = replace(DESCRIBE, body=b'{"logGroupNamePrefix":"&Action=FilterLogEvents&logGroupName=x&"}')
    loop.run_until_complete(service.send(sent))
    assert service.executed == [("logs", "describe_log_groups")]
    assert [ask.action for ask in service.asked] == ["logs:DescribeLogGroups"]


def test_compressed_metrics_are_read(service: Service, loop: asyncio.AbstractEventLoop) -> None:
    """boto3 compresses those from 10 kB."""
    body = urllib.parse.urlencode({"Action": "PutMetricData", "Namespace": "a", "Version": "2010-08-01"}).encode()
    sent = Sent("monitoring", headers=(("content-type", FORM), ("content-encoding", "gzip")), body=gzip.compress(body))
    assert loop.run_until_complete(service.send(sent))[0] == 200
    assert [ask.action for ask in service.asked] == ["cloudwatch:PutMetricData"]
    for broken in (sent.body[:-9], b"", bytes(40)):
        assert loop.run_until_complete(service.send(replace(sent, body=broken)))[0] == 400


@pytest.mark.parametrize("operation", sorted(GIVE_KEYS))
def test_no_keys_are_given_that_nobody_would_know(
    service: Service, loop: asyncio.AbstractEventLoop, operation: str
) -> None:
    sent = moto_request("sts", operation)
    unsigned = {**sent.scope(), "headers": [(b"host", b"localhost"), (b"content-type", FORM.encode())]}
    for scope in (None, unsigned):
        status, body = loop.run_until_complete(service.send(sent, scope))
        assert (status, b"could not be used" in body, b"<Code>AccessDenied</Code>" in body) == (403, True, True)
    assert service.executed == []


@pytest.mark.parametrize("body", [b'{"a":1,"a":1}', b'[{"a":{"b":1,"c":2,"b":1}}]', b"{", b'"\\ud800"', b"\xff"])
def test_what_is_no_document_is_told(body: bytes) -> None:
    with pytest.raises(AwsError):
        parsed(body)


def test_a_document_has_its_levels_and_no_null_members() -> None:
    assert parsed(b'{"a":null,"b":[null,{"c":null}]}') == {"b": [None, {}]}
    assert parsed(b"") == {}
    assert parsed(b"[" * MOST_LEVELS + b"]" * MOST_LEVELS)
    with pytest.raises(AwsError):
        parsed(b"[" * (MOST_LEVELS + 1) + b"]" * (MOST_LEVELS + 1))
