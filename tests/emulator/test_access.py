"""Access control as callers meet it: boto3 and the AWS CLI sign, an emulator verifies and decides."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
import yaml
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from tests.support.aws_clients import refused
from tests.support.command_line import localmme
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.emulator_process import RunningEmulator
from tests.support.files import files_below
from tests.support.scripted_models import Journal, scripted_arguments, scripted_model

MEGABYTE = 1 << 20
ACCOUNT = "123456789012"
ENDPOINT = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/local"
SECRETS = {
    name: f"secret-access-key-of-{name}"
    for name in ("tenant-a", "tenant-b", "admin", "blocked", "temporary", "builder", "watcher")
}
TOKEN = "session-token-of-temporary"


def allow(action: Any, resource: Any = "*", **condition: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


OF_A_TENANT = [
    allow("sagemaker:InvokeEndpoint*", ENDPOINT, StringLike={"sagemaker:TargetModel": "${aws:PrincipalTag/tenant}/*"}),
    allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
          "arn:aws:s3:::models/${aws:PrincipalTag/tenant}/*"),
    allow("s3:ListBucket", "arn:aws:s3:::models", StringLike={"s3:prefix": "${aws:PrincipalTag/tenant}/*"}),
]  # fmt: skip
DENY = {"Effect": "Deny", "Action": "*", "Resource": "*"}
USERS = {
    "Users": [
        {"UserName": name, "AccessKeyId": f"KEY{name.upper().replace('-', '')}", "SecretAccessKey": SECRETS[name],
         "Tags": {"tenant": name}, "Statement": statements, **({"SessionToken": TOKEN} if name == "temporary" else {})}
        for name, statements in {
            "tenant-a": OF_A_TENANT, "tenant-b": OF_A_TENANT, "admin": [allow("*")], "blocked": [allow("*"), DENY],
            "watcher": [allow("localmme:Get*")],
            "temporary": [allow("sagemaker:InvokeEndpoint", ENDPOINT)],
            "builder": [allow("sagemaker:*", f"arn:aws:sagemaker:*:*:{kind}/mine") for kind in ("endpoint", "model")],
        }.items()
    ]
}  # fmt: skip


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    directory = tmp_path_factory.mktemp("access")
    for tenant in ("tenant-a", "tenant-b"):
        scripted_model(directory / "models" / tenant / "m.tar.gz", tenant)
    (directory / "s3" / "models").mkdir(parents=True)
    (directory / "access.yaml").write_text(yaml.safe_dump(USERS))
    arguments = scripted_arguments(directory / "models", Journal(directory / "journal"), {})
    options = ["--access", str(directory / "access.yaml"), "--s3", str(directory / "s3")]
    emulator = InProcessEmulator(*arguments, *options, state=directory / "state")
    yield emulator.wait_in_service()
    shown = [emulator.log, *emulator.output]
    shown.append(page(emulator, "state", "watcher")[1].decode())
    shown += [path.read_text(errors="replace") for path in files_below(directory / "state")]
    emulator.stop()
    assert not [text for text in shown for secret in (*SECRETS.values(), TOKEN) if secret in text]


def client(emulator: RunningEmulator, service: str, user: str, **settings: Any) -> Any:
    keys = {"access_key": f"KEY{user.upper().replace('-', '')}", "secret_key": SECRETS.get(user, "any")}
    return emulator.client_of(service, **{**keys, **settings})


def invoke(emulator: RunningEmulator, user: str, model: str, body: bytes = b"{}", **settings: Any) -> Any:
    answer = client(emulator, "sagemaker-runtime", user, **settings).invoke_endpoint(
        EndpointName="local", TargetModel=model, Body=body, ContentType="application/json"
    )
    return answer["Body"].read()


def refusal(call: Callable[..., Any], *arguments: Any, **settings: Any) -> tuple[int, str, str]:
    """Status, code and message."""
    answer = refused(call, *arguments, **settings)
    return answer.status, answer.code, answer.message


# Who may what


def test_a_tenant_invokes_its_own_models_only(emulator: RunningEmulator) -> None:
    for tenant, other in (("tenant-a", "tenant-b"), ("tenant-b", "tenant-a")):
        assert tenant.encode() in invoke(emulator, tenant, f"{tenant}/m.tar.gz")
        assert refusal(invoke, emulator, tenant, f"{other}/m.tar.gz") == (
            403,
            "AccessDeniedException",
            f"User: arn:aws:iam::{ACCOUNT}:user/{tenant} is not authorized to perform: sagemaker:InvokeEndpoint on "
            f"resource: {ENDPOINT} because no identity-based policy allows the sagemaker:InvokeEndpoint action",
        )


def test_no_spelling_of_a_model_leads_to_another_tenant_s(emulator: RunningEmulator) -> None:
    for name in (
        "tenant-a/../tenant-b/m.tar.gz",
        "tenant-a//../tenant-b/m.tar.gz",
        "tenant-a/%2e%2e/tenant-b/m.tar.gz",
    ):
        assert refusal(invoke, emulator, "tenant-a", name)[:2] == (400, "ValidationError"), name


def test_streams_and_asynchronous_invocations_have_actions_of_their_own(emulator: RunningEmulator) -> None:
    temporary = client(emulator, "sagemaker-runtime", "temporary", session_token=TOKEN)
    temporary.invoke_endpoint(EndpointName="LOCAL".lower(), TargetModel="tenant-a/m.tar.gz", Body=b"{}")
    for call, arguments, action in (
        (temporary.invoke_endpoint_with_response_stream, {"Body": b"{}"}, "InvokeEndpointWithResponseStream"),
        (temporary.invoke_endpoint_async, {"InputLocation": "s3://b/k"}, "InvokeEndpointAsync"),
    ):
        status, code, message = refusal(call, EndpointName="local", **arguments)
        assert (status, code, f"perform: sagemaker:{action} on" in message) == (403, "AccessDeniedException", True)


def test_an_explicit_deny_is_told_as_one(emulator: RunningEmulator) -> None:
    status, code, message = refusal(invoke, emulator, "blocked", "tenant-a/m.tar.gz")
    assert (status, code) == (403, "AccessDeniedException")
    assert message.endswith(f"resource: {ENDPOINT} with an explicit deny in an identity-based policy")


def test_a_policy_is_asked_before_the_endpoint(emulator: RunningEmulator) -> None:
    def of_another(user: str) -> Any:
        return client(emulator, "sagemaker-runtime", user).invoke_endpoint(EndpointName="Other", Body=b"")

    status, code, message = refusal(of_another, "tenant-a")
    assert (status, code, "endpoint/other because" in message) == (403, "AccessDeniedException", True)
    assert refusal(of_another, "admin")[:2] == (400, "ValidationError")


def page(
    emulator: RunningEmulator, name: str, user: str, method: str = "GET", service: str = "localmme"
) -> tuple[int, bytes]:
    request = AWSRequest(method, f"{emulator.url}/_localmme/{name}")
    if user:
        keys = Credentials(f"KEY{user.upper().replace('-', '')}", SECRETS[user])
        SigV4Auth(keys, service, "us-east-1").add_auth(request)
    return raw(request)


def test_the_emulator_s_own_pages_are_asked_for_like_other_things(emulator: RunningEmulator) -> None:
    assert page(emulator, "health", "")[0] == 200
    status, body = page(emulator, "state", "watcher")
    assert (status, [each["endpoint_name"] for each in json.loads(body)["endpoints"]]) == (200, ["local"])
    refusals = {
        "": b"Missing Authentication Token",
        "tenant-a": b"perform: localmme:GetState",
        "blocked": b"explicit deny",
    }
    for user, told in refusals.items():
        status, body = page(emulator, "state", user)
        assert (status, told in body, b"models" in body) == (403, True, False)
    assert b"localmme:DeleteState" in page(emulator, "state", "watcher", "DELETE")[1]
    for service in ("sagemaker", "ecr"):
        assert b"correct service: 'localmme'" in page(emulator, "state", "admin", service=service)[1]


def test_curl_signs_for_prometheus_which_cannot(emulator: RunningEmulator) -> None:
    address = f"{emulator.url}/_localmme/metrics"
    signed = ["--aws-sigv4", "aws:amz:us-east-1:localmme", "--user", f"KEYWATCHER:{SECRETS['watcher']}"]
    for words, status, told in ((signed, "200", "localmme_build_info{"), ([], "403", "Missing Authentication Token")):
        command = ["curl", "--silent", "--write-out", "%{http_code}", *words, address]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert (answer[-3:], told in answer) == (status, True), answer


def test_commands_show_the_state_to_whom_it_is_allowed(emulator: RunningEmulator) -> None:
    def models(user: str) -> subprocess.CompletedProcess[str]:
        keys = {
            "AWS_ACCESS_KEY_ID": f"KEY{user.upper().replace('-', '')}",
            "AWS_SECRET_ACCESS_KEY": SECRETS.get(user, ""),
        }
        settings = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, **(keys if user else {})}
        return localmme("models", "--url", emulator.url, env={**os.environ, **settings})

    assert "tenant-a/m.tar.gz" in models("watcher").stdout
    for user, told in (
        ("tenant-a", "not authorized to perform: localmme:GetState"),
        ("", "Missing Authentication Token"),
    ):
        ended = models(user)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert told in ended.stderr and "action localmme:GetState" in ended.stderr


# Whose request it is


def test_credentials_have_to_be_known_and_right(emulator: RunningEmulator) -> None:
    model = "tenant-a/m.tar.gz"
    status, code, message = refusal(invoke, emulator, "tenant-a", model, secret_key="other")
    assert (status, code) == (403, "InvalidSignatureException")
    assert message.startswith("The request signature we calculated does not match the signature you provided.")
    invalid = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    assert refusal(invoke, emulator, "nobody", model) == invalid
    assert refusal(invoke, emulator, "tenant-a", model, session_token="any") == invalid
    assert refusal(invoke, emulator, "temporary", model) == invalid
    assert refusal(invoke, emulator, "temporary", model, session_token="any") == invalid
    missing = (403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    assert refusal(invoke, emulator, "tenant-a", model, signature_version=UNSIGNED) == missing


def test_a_request_is_signed_for_its_service_and_region(emulator: RunningEmulator) -> None:
    status, code, message = refusal(invoke, emulator, "admin", "tenant-a/m.tar.gz", region="eu-west-1")
    assert (status, code, "not 'eu-west-1'" in message) == (403, "InvalidSignatureException", True)
    request = AWSRequest("POST", f"{emulator.url}/endpoints/local/invocations", data=b"{}")
    S3SigV4Auth(Credentials("KEYADMIN", SECRETS["admin"]), "s3", "us-east-1").add_auth(request)
    assert b"scoped to correct service: 'sagemaker'" in raw(request)[1]


@pytest.mark.parametrize(
    ("minutes", "told"), [(-16, "Signature expired: "), (16, "Signature not yet current: "), (-14, ""), (14, "")]
)
def test_a_signature_is_good_for_a_quarter_of_an_hour(
    emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch, minutes: int, told: str
) -> None:
    skewed = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: skewed)
    s3 = client(emulator, "s3", "admin")
    if not told:
        assert invoke(emulator, "tenant-a", "tenant-a/m.tar.gz")
        assert s3.list_buckets()["Buckets"]
        return
    status, code, message = refusal(invoke, emulator, "tenant-a", "tenant-a/m.tar.gz")
    assert (status, code, message.startswith(told)) == (403, "InvalidSignatureException", True)
    assert f"{skewed:%Y%m%dT%H%M%SZ}" in message and " 15 min.)" in message
    assert refusal(s3.list_buckets)[:2] == (403, "RequestTimeTooSkewed")


def tampering(runtime: Any, change: Callable[[Any], None]) -> Any:
    runtime.meta.events.register("before-send.*", lambda request, **_: change(request))
    return runtime


def test_a_request_that_was_changed_on_its_way_is_refused(emulator: RunningEmulator) -> None:
    def body(request: Any) -> None:
        request.body = request.body.replace(b"1", b"2")

    def model(request: Any) -> None:
        request.headers["X-Amzn-SageMaker-Target-Model"] = "tenant-a/other.tar.gz"

    def path(request: Any) -> None:
        request.url = request.url.replace("/local/", "/loca%6c/")

    def added(request: Any) -> None:
        request.headers["X-Amz-Meta-Added"] = "1"

    for change, told in ((body, "does not match"), (model, "does not match"), (path, "does not match"),
                         (added, "'x-amz-meta-added' must be a 'SignedHeader'")):  # fmt: skip
        runtime = tampering(client(emulator, "sagemaker-runtime", "tenant-a"), change)
        arguments = {"EndpointName": "local", "TargetModel": "tenant-a/m.tar.gz", "Body": b"[1]"}
        status, code, message = refusal(runtime.invoke_endpoint, **arguments)
        assert (status, code, told in message) == (403, "InvalidSignatureException", True), change


def raw(request: Any) -> tuple[int, bytes]:
    """Send what was signed, or anything like it; status and body."""
    prepared = request.prepare()
    headers = dict(prepared.headers.items())
    sent = urllib.request.Request(prepared.url, prepared.body, headers, method=prepared.method)
    try:
        with urllib.request.urlopen(sent) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize(
    ("authorization", "told"),
    [
        ("Bearer token", b"not supported. Please use AWS4-HMAC-SHA256"),
        ("AWS key:signature", b"not supported. Please use AWS4-HMAC-SHA256"),
        ("AWS4-HMAC-SHA256 Credential=a/b", b"requires 'Signature' parameter"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", b"requires 'X-Amz-Date' parameter"),
        ("", b"Missing Authentication Token"),
    ],
)
def test_half_a_signature_is_told_as_that(emulator: RunningEmulator, authorization: str, told: bytes) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    request = AWSRequest("POST", f"{emulator.url}/endpoints/local/invocations", headers=headers, data=b"{}")
    status, body = raw(request)
    assert (status in (400, 403), told in body) == (True, True), body


def test_names_and_attributes_beyond_ascii_are_verified(emulator: RunningEmulator) -> None:
    runtime = client(emulator, "sagemaker-runtime", "admin")
    arguments = {"EndpointName": "local", "TargetModel": "tenant-a/m.tar.gz", "Body": b"{}"}
    runtime.invoke_endpoint(**arguments, CustomAttributes="  two  spaces,  and a   tab\t")
    runtime.invoke_endpoint(EndpointName="local", TargetModel="tenant-a/m.tar.gz", Body=b"")
    assert (
        refusal(runtime.invoke_endpoint, **{**arguments, "TargetModel": "tenant-ä/m ü.tar.gz"})[1] == "ValidationError"
    )


def test_long_bodies_are_verified_and_too_long_ones_told_as_ever(emulator: RunningEmulator) -> None:
    assert invoke(emulator, "tenant-a", "tenant-a/m.tar.gz", os.urandom(5 * MEGABYTE))
    for size in (26_214_401, 27 * MEGABYTE):
        refused = refusal(invoke, emulator, "tenant-a", "tenant-a/m.tar.gz", bytes(size))
        assert refused == (413, "413", "HTTP content length exceeded 26214400 bytes.")


# Other services


@pytest.mark.parametrize(
    ("service", "call", "arguments", "action", "resource", "status", "denied", "mismatch", "unknown"),
    [
        ("sagemaker", "create_endpoint", {"EndpointName": "New", "EndpointConfigName": "C"}, "sagemaker:CreateEndpoint",
         f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/new", 400,
         "AccessDeniedException", "InvalidSignatureException", "UnrecognizedClientException"),
        ("sagemaker", "list_models", {}, "sagemaker:ListModels", "*", 400,
         "AccessDeniedException", "InvalidSignatureException", "UnrecognizedClientException"),
        ("ecr", "describe_repositories", {}, "ecr:DescribeRepositories", "*", 400,
         "AccessDeniedException", "InvalidSignatureException", "UnrecognizedClientException"),
        ("logs", "describe_log_groups", {}, "logs:DescribeLogGroups", "*", 400,
         "AccessDeniedException", "InvalidSignatureException", "UnrecognizedClientException"),
        ("cloudwatch", "list_metrics", {}, "cloudwatch:ListMetrics", "*", 400,
         "AccessDeniedException", "InvalidSignatureException", "UnrecognizedClientException"),
        ("iam", "list_users", {}, "iam:ListUsers", "*", 403,
         "AccessDenied", "SignatureDoesNotMatch", "InvalidClientTokenId"),
        ("sts", "get_caller_identity", {}, "", "", 403, "", "SignatureDoesNotMatch", "InvalidClientTokenId"),
    ],
)  # fmt: skip
def test_every_protocol_is_refused_in_its_own_form(
    emulator: RunningEmulator, service: str, call: str, arguments: dict[str, str], action: str, resource: str,
    status: int, denied: str, mismatch: str, unknown: str,
) -> None:  # fmt: skip
    def called(user: str, **settings: Any) -> Any:
        return getattr(client(emulator, service, user, **settings), call)(**arguments)

    assert refusal(called, "tenant-a", secret_key="x")[:2] == (status, mismatch)
    assert refusal(called, "nobody")[:2] == (status, unknown)
    if denied:
        told = f"user/tenant-a is not authorized to perform: {action} on resource: {resource} because"
        assert refusal(called, "tenant-a")[:2] == (status, denied)
        assert told in refusal(called, "tenant-a")[2]
    try:
        called("admin")
    except (ClientError, ResponseParserError) as error:  # admitted: what it is then is not access control's
        assert not any(code in str(error) for code in (mismatch, unknown, "AccessDenied"))


def test_sts_and_iam_know_the_user(emulator: RunningEmulator) -> None:
    for user in ("tenant-a", "tenant-b"):
        assert client(emulator, "sts", user).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/{user}"
    assert client(emulator, "iam", "admin").get_user()["User"]["UserName"] == "admin"


def test_the_control_plane_asks_for_every_resource_and_for_the_role(emulator: RunningEmulator) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/hosting"
    container = {"Image": "any", "ModelDataUrl": "s3://b/m.tar.gz"}
    calls = [
        ("create_endpoint", {"EndpointName": "Mine", "EndpointConfigName": "C"}, "endpoint-config/c"),
        (
            "create_model",
            {"ModelName": "Mine", "ExecutionRoleArn": role, "PrimaryContainer": container},
            "role/hosting",
        ),
        ("delete_endpoint", {"EndpointName": "Other"}, "endpoint/other"),
    ]
    builder = client(emulator, "sagemaker", "builder")
    for call, arguments, resource in calls:
        status, code, message = refusal(getattr(builder, call), **arguments)
        assert (status, code) == (400, "AccessDeniedException")
        assert f"{resource} because" in message
    status, code, _ = refusal(builder.delete_endpoint, EndpointName="Mine")
    assert (status, code) == (400, "ValidationException")  # allowed, but there is none


# S3


def test_a_tenant_has_its_own_part_of_a_bucket(emulator: RunningEmulator) -> None:
    a, b = (client(emulator, "s3", tenant) for tenant in ("tenant-a", "tenant-b"))
    for key in ("tenant-a/own/ü b+c~(1)*.txt", "tenant-a/own/x=1&y;z'%41", "tenant-a/own/plain"):
        a.put_object(Bucket="models", Key=key, Body=b"mine", Metadata={"who": "a  b"})
        assert a.get_object(Bucket="models", Key=key)["Body"].read() == b"mine"
        assert refusal(b.get_object, Bucket="models", Key=key) == (
            403,
            "AccessDenied",
            f"User: arn:aws:iam::{ACCOUNT}:user/tenant-b is not authorized to perform: s3:GetObject on resource: "
            f'"arn:aws:s3:::models/{key}" because no identity-based policy allows the s3:GetObject action',
        )
        assert refusal(b.head_object, Bucket="models", Key=key)[:2] == (403, "403")
        assert refusal(b.put_object, Bucket="models", Key=key, Body=bytes(3 * MEGABYTE))[:2] == (403, "AccessDenied")
    assert len(a.list_objects_v2(Bucket="models", Prefix="tenant-a/own/")["Contents"]) == 3
    for prefix in ("", "tenant-b/"):
        assert refusal(a.list_objects_v2, Bucket="models", Prefix=prefix)[:2] == (403, "AccessDenied")
    assert refusal(a.list_buckets)[1] == refusal(a.create_bucket, Bucket="mine-too")[1] == "AccessDenied"
    assert refusal(a.get_bucket_policy, Bucket="models")[1] == "AccessDenied"
    assert refusal(client(emulator, "s3", "admin").get_bucket_policy, Bucket="models")[1] == "NoSuchBucketPolicy"


def test_s3_s_own_codes(emulator: RunningEmulator) -> None:
    def listed(user: str, **settings: Any) -> Any:
        return client(emulator, "s3", user, **settings).list_objects_v2(Bucket="models")

    assert refusal(listed, "admin", secret_key="x")[:2] == (403, "SignatureDoesNotMatch")
    assert refusal(listed, "nobody")[:2] == (403, "InvalidAccessKeyId")
    assert refusal(listed, "admin", session_token="any")[:2] == (403, "InvalidToken")
    assert refusal(listed, "admin", signature_version=UNSIGNED) == (403, "AccessDenied", "Access Denied")
    assert refusal(listed, "admin", signature_version="s3")[:2] == (400, "InvalidRequest")
    assert listed("admin", region="eu-west-1")


def test_what_is_copied_has_to_be_readable(emulator: RunningEmulator) -> None:
    a, admin = (client(emulator, "s3", user) for user in ("tenant-a", "admin"))
    admin.put_object(Bucket="models", Key="tenant-b/secret", Body=b"secret")
    source = {"Bucket": "models", "Key": "tenant-b/secret"}
    copy = {"Bucket": "models", "Key": "tenant-a/copy", "CopySource": source}
    assert refusal(a.copy_object, **copy)[:2] == (403, "AccessDenied")
    # S3 takes such headers from the query of a presigned URL as well.
    signing = client(emulator, "s3", "tenant-a", signature_version="s3v4")
    url = signing.generate_presigned_url("copy_object", copy)
    assert http("PUT", url, {"x-amz-copy-source": "models/tenant-b/secret"})[0] == 403
    in_query = presigned(emulator, "PUT", "/models/tenant-a/copy?x-amz-copy-source=models%2Ftenant-b%2Fsecret")
    assert http("PUT", in_query)[0] == 403
    a.put_object(Bucket="models", Key="tenant-a/one", Body=b"1")
    a.copy_object(**{**copy, "CopySource": "models/tenant-a/one"})
    assert a.get_object(Bucket="models", Key="tenant-a/copy")["Body"].read() == b"1"


def test_each_key_of_a_deletion_is_asked_for(emulator: RunningEmulator) -> None:
    admin = client(emulator, "s3", "admin")
    keys = ["tenant-a/gone", "tenant-b/stays"]
    for key in keys:
        admin.put_object(Bucket="models", Key=key, Body=b"")
    answer = client(emulator, "s3", "tenant-a").delete_objects(
        Bucket="models", Delete={"Objects": [{"Key": key} for key in keys]}
    )
    assert [one["Key"] for one in answer["Deleted"]] == ["tenant-a/gone"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("tenant-b/stays", "AccessDenied")]
    assert admin.head_object(Bucket="models", Key="tenant-b/stays")


def http(method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> tuple[int, bytes]:
    return raw(AWSRequest(method, url, headers=headers or {}, data=body))


def presigned(emulator: RunningEmulator, method: str, path: str) -> str:
    request = AWSRequest(method, emulator.url + path)
    signer = botocore.auth.S3SigV4QueryAuth(
        Credentials("KEYTENANTA", SECRETS["tenant-a"]), "s3", "us-east-1", expires=60
    )
    signer.add_auth(request)
    return request.url


def test_presigned_urls_are_good_for_what_was_signed(
    emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = client(emulator, "s3", "tenant-a", signature_version="s3v4")
    mine, yours = ({"Bucket": "models", "Key": f"{tenant}/ü p"} for tenant in ("tenant-a", "tenant-b"))
    assert http("PUT", a.generate_presigned_url("put_object", mine), body=b"by url")[0] == 200
    url = a.generate_presigned_url("get_object", mine)
    assert http("GET", url) == (200, b"by url")
    assert http("PUT", url, body=b"x")[0] == 403
    assert http("GET", url.replace("tenant-a", "tenant-b"))[0] == 403
    assert http("GET", url.replace("X-Amz-Expires=3600", "X-Amz-Expires=3601"))[0] == 403
    assert http("GET", url + "&versionId=null")[0] == 403
    assert b"AccessDenied" in http("GET", a.generate_presigned_url("get_object", yours))[1]
    temporary = client(emulator, "s3", "temporary", session_token=TOKEN, signature_version="s3v4")
    assert b"user/temporary is not" in http("GET", temporary.generate_presigned_url("get_object", mine))[1]
    earlier = datetime.now(timezone.utc) - timedelta(seconds=61)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: earlier)
    assert b"Request has expired" in http("GET", a.generate_presigned_url("get_object", mine, ExpiresIn=60))[1]
    assert http("GET", a.generate_presigned_url("get_object", mine, ExpiresIn=600)) == (200, b"by url")


def test_uploads_in_parts(emulator: RunningEmulator) -> None:
    a, data = client(emulator, "s3", "tenant-a"), os.urandom(12 * MEGABYTE)
    parts = TransferConfig(multipart_threshold=5 * MEGABYTE, multipart_chunksize=5 * MEGABYTE)
    a.upload_fileobj(io.BytesIO(data), "models", "tenant-a/large", Config=parts)
    target = io.BytesIO()
    a.download_fileobj("models", "tenant-a/large", target, Config=parts)
    assert target.getvalue() == data
    with pytest.raises(Exception, match="AccessDenied"):
        a.upload_fileobj(io.BytesIO(data), "models", "tenant-b/large", Config=parts)


def test_data_that_was_changed_on_its_way_is_not_kept(emulator: RunningEmulator) -> None:
    def changed(request: Any) -> None:
        request.body = io.BytesIO(b"forged")

    no_checksum = {"request_checksum_calculation": "when_required"}
    a = tampering(client(emulator, "s3", "tenant-a", **no_checksum), changed)
    code = refusal(a.put_object, Bucket="models", Key="tenant-a/forged", Body=b"honest")[1]
    assert code == "XAmzContentSHA256Mismatch"
    unread = client(emulator, "s3", "admin").head_object
    assert refusal(unread, Bucket="models", Key="tenant-a/forged")[0] == 404


@pytest.mark.parametrize("has_trailer", [True, False])
def test_the_signatures_of_chunks_are_verified(emulator: RunningEmulator, has_trailer: bool) -> None:
    signed = ChunkedUpload(emulator, f"/models/tenant-a/chunked-{has_trailer}", has_trailer)
    assert signed.put([b"a" * 70_000, b"b" * 70_000, b"end"])[0] == 200
    stored = client(emulator, "s3", "tenant-a").get_object(Bucket="models", Key=f"tenant-a/chunked-{has_trailer}")
    assert stored["Body"].read() == b"a" * 70_000 + b"b" * 70_000 + b"end"

    forged = ChunkedUpload(emulator, "/models/tenant-a/forged-chunks", has_trailer)
    changes = [(b"bbb", b"bxb"), (b"chunk-signature=", b"chunk-signature=0"), (b";chunk-signature=", b";other=")]
    changes += [(b"x-amz-trailer-signature:", b"x-amz-trailer-signature:0")] if has_trailer else []
    for old, new in changes:
        status, body = forged.put([b"aaa", b"bbb"], old, new)
        assert (status, b"SignatureDoesNotMatch" in body) == (403, True), (old, body)
    assert refusal(client(emulator, "s3", "admin").head_object, Bucket="models", Key="tenant-a/forged-chunks")[0] == 404


class ChunkedUpload:
    """An aws-chunked upload, signed with botocore's signer, chunk by chunk as S3's API reference has it."""

    def __init__(self, emulator: RunningEmulator, path: str, has_trailer: bool) -> None:
        self.url = emulator.url + path
        self.has_trailer = has_trailer

    def put(self, chunks: list[bytes], old: bytes = b"", new: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer; ``old`` becomes ``new`` in what was signed."""
        headers = {
            "Content-Encoding": "aws-chunked",
            "X-Amz-Decoded-Content-Length": str(sum(map(len, chunks))),
            **({"X-Amz-Trailer": "x-amz-checksum-crc32"} if self.has_trailer else {}),
        }
        request = AWSRequest("PUT", self.url, headers=headers)
        signer = S3SigV4Auth(Credentials("KEYTENANTA", SECRETS["tenant-a"]), "s3", "us-east-1")
        kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if self.has_trailer else "")
        signer.payload = lambda _: kind  # type: ignore[method-assign]
        signer.add_auth(request)
        about = f"{request.context['timestamp']}\n{signer.credential_scope(request)}\n"
        signature = request.headers["Authorization"].partition("Signature=")[2]
        body, empty = b"", sha256(b"").hexdigest()
        for chunk in [*chunks, b""]:
            text = f"AWS4-HMAC-SHA256-PAYLOAD\n{about}{signature}\n{empty}\n{sha256(chunk).hexdigest()}"
            signature = signer.signature(text, request)
            body += b"%x;chunk-signature=%s\r\n%s" % (len(chunk), signature.encode(), chunk + b"\r\n" if chunk else b"")
        if self.has_trailer:
            trailer = f"x-amz-checksum-crc32:{crc32(b''.join(chunks))}"
            hashed = sha256(trailer.encode() + b"\n").hexdigest()
            text = f"AWS4-HMAC-SHA256-TRAILER\n{about}{signature}\n{hashed}"
            body += f"{trailer}\r\nx-amz-trailer-signature:{signer.signature(text, request)}\r\n".encode()
        body += b"\r\n"
        assert old in body
        return http("PUT", self.url, dict(request.headers.items()), body.replace(old, new, 1) if old else body)


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def test_the_aws_cli_is_let_in_and_kept_out(emulator: RunningEmulator, tmp_path: Path) -> None:
    def aws(user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "AWS_ENDPOINT_URL": emulator.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull,
            "AWS_ACCESS_KEY_ID": f"KEY{user.upper().replace('-', '')}", "AWS_SECRET_ACCESS_KEY": SECRETS[user],
        }  # fmt: skip
        command = [str(Path(sys.executable).with_name("aws")), *arguments]
        return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60)

    data = tmp_path / "data"
    data.write_bytes(os.urandom(9 * MEGABYTE))
    assert aws("tenant-a", "s3", "cp", str(data), "s3://models/tenant-a/from cli").returncode == 0
    assert aws("tenant-a", "s3", "cp", "s3://models/tenant-a/from cli", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == data.read_bytes()
    assert "AccessDenied" in aws("tenant-b", "s3", "cp", str(data), "s3://models/tenant-a/x").stderr
    invocation = ["sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "local", "--body", "e30=",
                  "--target-model", "tenant-a/m.tar.gz", str(tmp_path / "answer")]  # fmt: skip
    assert aws("tenant-a", *invocation).returncode == 0
    assert "(AccessDeniedException)" in aws("tenant-b", *invocation).stderr


def test_a_file_that_cannot_be_used_ends_serve_before_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    path.write_text("Users:\n- {UserName: u, AccessKeyId: K, SecretAccessKey: s, Statement: {Effect: Perhaps}}\n")
    (tmp_path / "models").mkdir()
    arguments = ("--models", str(tmp_path / "models"), "--access", str(path), "--state-dir", str(tmp_path / "state"))
    ended = localmme("serve", "--port", "0", *arguments)
    assert ended.returncode == 1
    assert f"{path}:2: Statement.Effect: must be Allow or Deny" in ended.stderr
