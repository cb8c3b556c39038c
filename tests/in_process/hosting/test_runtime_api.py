"""SageMaker Runtime as its clients see it: what boto3 gets for every good and bad call."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws_clients import Refusal, refused
from tests.support.files import archive
from tests.support.scripted_models import Shared, SharedInProcessEmulator, scripted_model, shared

BODY_LIMIT = 26_214_400


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with shared(SharedInProcessEmulator, tmp_path_factory.mktemp("runtime")) as emulator:
        scripted_model(emulator.bucket / "a.tar.gz", "I am a")
        scripted_model(emulator.bucket / "teams" / "blue" / "b.tar.gz", "I am b")
        yield emulator


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Its disk holds 20 MB."""
    with shared(SharedInProcessEmulator, tmp_path_factory.mktemp("small"), "--storage", "20MB") as emulator:
        yield emulator


def invoke_wrongly(emulator: Shared, operation: str = "invoke_endpoint", **request: Any) -> Refusal:
    """Invoke with these members, of which those that are None are left out."""
    request = {"EndpointName": "local", "TargetModel": "a.tar.gz", "Body": b"{}", **request}
    return refused(getattr(emulator.client(), operation), **{k: v for k, v in request.items() if v is not None})


def raw(emulator: Shared, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict, bytes]:
    host = emulator.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    result = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return result


def test_the_answer_is_the_models_own(emulator: Shared) -> None:
    assert emulator.invoke("a.tar.gz")["answer"] == "I am a"
    assert emulator.invoke("teams/blue/b.tar.gz")["answer"] == "I am b"


def test_only_what_the_container_answers_with_2xx_is_an_answer(emulator: Shared) -> None:
    for status in (204, 206, 299, 302, 304):
        scripted_model(emulator.bucket / f"{status}.tar.gz", invoke={"status": status})
    empty = emulator.client().invoke_endpoint(EndpointName="local", TargetModel="204.tar.gz", Body=b"{}")
    assert empty["Body"].read() == b""
    assert [emulator.invoke(f"{status}.tar.gz")["error"] for status in (206, 299)] == ["scripted 206", "scripted 299"]
    for status in (302, 304):
        error = invoke_wrongly(emulator, TargetModel=f"{status}.tar.gz")
        assert (error.status, error.from_the_container) == (424, ("ModelError", status))
        streamed = "/endpoints/local/invocations-response-stream"
        answer = raw(emulator, "POST", streamed, b"{}", X_Amzn_SageMaker_Target_Model=f"{status}.tar.gz")
        assert (answer[0], answer[1]["x-amzn-errortype"]) == (424, "ModelError")


def test_what_a_container_sends_behind_its_answer_reaches_nobody(emulator: Shared) -> None:
    poison = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"
    scripted_model(emulator.bucket / "poison.tar.gz", "I poison", invoke={"behind": poison})
    for _ in range(20):
        assert emulator.invoke("poison.tar.gz")["answer"] == "I poison"
        assert emulator.invoke("a.tar.gz")["answer"] == "I am a"


def test_the_container_gets_the_callers_headers_and_no_others(emulator: Shared) -> None:
    status, _, body = raw(
        emulator,
        "POST",
        "/endpoints/local/invocations",
        b"1,2",
        Content_Type="text/csv; header=present",
        Accept="application/x-npy",
        X_Amzn_SageMaker_Target_Model="a.tar.gz",
        X_Amzn_SageMaker_Custom_Attributes="trace=42, x",
        X_Amzn_SageMaker_Inference_Id="i-1",
        Authorization="AWS4-HMAC-SHA256 secret",
        X_My_Own="1",
    )
    assert status == 200
    answer = json.loads(body)
    seen = {name.lower(): value for name, value in answer["headers"].items()}
    seen.pop("host")
    assert seen == {
        "content-type": "text/csv; header=present",
        "accept": "application/x-npy",
        "x-amzn-sagemaker-target-model": "a.tar.gz",
        "x-amzn-sagemaker-custom-attributes": "trace=42, x",
        "content-length": "3",
    }
    assert answer["target_model"] == "a.tar.gz"


def test_the_containers_name_of_a_model_is_opaque(emulator: Shared) -> None:
    name = emulator.invoke("a.tar.gz")["model_name"]
    assert len(name) == 32 and int(name, 16) >= 0 and "a.tar" not in name


def test_answers_carry_variant_custom_attributes_content_type_and_session(emulator: Shared) -> None:
    headers = {
        "X-Amzn-SageMaker-Custom-Attributes": "cost=3",
        "X-Amzn-SageMaker-New-Session-Id": "s1; Expires=2999-01-01T00:00:00Z",
        "X-Internal": "no one's business",
    }
    cue = {"headers": headers, "content_type": "application/x.mine;v=2", "body": "x", "status": 200}
    model = emulator.model_of("headers", invoke=cue)
    response = emulator.client().invoke_endpoint(EndpointName="local", TargetModel=model, Body=b"")
    assert response["ContentType"] == "application/x.mine;v=2"
    assert response["InvokedProductionVariant"] == "AllTraffic"
    assert response["CustomAttributes"] == "cost=3"
    assert response["NewSessionId"].startswith("s1")
    assert "x-internal" not in response["ResponseMetadata"]["HTTPHeaders"]
    assert response["ResponseMetadata"]["RequestId"]


def test_bodies_pass_through_byte_for_byte_up_to_the_limit(scripted, bucket: Path) -> None:
    scripted_model(bucket / "echo.tar.gz", invoke={"echo": True})
    emulator = scripted()
    former = b"\x00\xff" * (6_291_456 // 2)
    for body in (b"", bytes(range(256)) * 7, former):
        assert emulator.invoke("echo.tar.gz", body, ContentType="application/octet-stream") == body
    assert "25 MB" not in emulator.log
    for body in (former + b"x", b"\x00\xff" * (BODY_LIMIT // 2)):
        assert emulator.invoke("echo.tar.gz", body, ContentType="application/octet-stream") == body
    assert emulator.log.count("A request body has 6,291,457 bytes.") == emulator.log.count("25 MB") == 1


def test_a_body_over_the_limit_is_refused(emulator: Shared) -> None:
    error = invoke_wrongly(emulator, Body=b"x" * (BODY_LIMIT + 1))
    assert (error.code, error.status) == ("413", 413)
    assert error.message == "HTTP content length exceeded 26214400 bytes."


def test_an_answer_over_the_limit_is_a_model_error(emulator: Shared) -> None:
    error = invoke_wrongly(emulator, TargetModel=emulator.model_of("large", invoke={"size": BODY_LIMIT + 1}))
    assert (error.code, error.status) == ("ModelError", 424)
    assert "could not load the entire response body" in error.message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_call_without_target_model_is_refused(emulator: Shared, stream: bool) -> None:
    operation = "invoke_endpoint_with_response_stream" if stream else "invoke_endpoint"
    error = invoke_wrongly(emulator, operation, TargetModel=None)
    assert (error.code, error.status) == ("ValidationError", 400)
    assert "is missing a target model header." in error.message


def test_an_unknown_endpoint_is_refused(emulator: Shared) -> None:
    error = invoke_wrongly(emulator, EndpointName="other")
    assert (error.code, error.status) == ("ValidationError", 400)
    assert "Endpoint other of account 123456789012 not found." in error.message


def test_an_asynchronous_call_is_refused(emulator: Shared) -> None:
    error = invoke_wrongly(
        emulator, "invoke_endpoint_async", TargetModel=None, Body=None, InputLocation="s3://bucket/key"
    )
    assert (error.code, error.status) == ("ValidationError", 400)
    assert "not an asynchronous endpoint" in error.message


@pytest.mark.parametrize(
    "member, value, words",
    [
        ("TargetVariant", "Other", "Variant Other not found"),
        ("TargetContainerHostname", "second", "not configured for direct invocation"),
        ("InferenceComponentName", "part", "has no inference components"),
        ("EnableExplanations", "`true`", "no explanations are computed"),
        ("PrefixAwareId", "p1", "PrefixAwareId is not emulated"),
        ("SessionId", "x" * 257, "length less than or equal to 256"),
        ("InferenceId", "x" * 65, "length less than or equal to 64"),
        ("SessionId", "-x", "regular expression pattern: ^(NEW_SESSION)$|^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"),
        ("SessionId", "never-opened", "Endpoint local has no session never-opened"),
        ("TargetModel", "x" * 1025, "length less than or equal to 1024"),
        ("TargetModel", "maison-\u00e9t\u00e9.tar.gz", r"regular expression pattern: \A\S[\p{Print}]*\z"),
        ("CustomAttributes", "x" * 1025, "length less than or equal to 1024"),
    ],
)
def test_a_member_that_does_not_fit_is_refused(emulator: Shared, member: str, value: str, words: str) -> None:
    error = invoke_wrongly(emulator, **{member: value})
    assert (error.code, error.status) == ("ValidationError", 400)
    assert words in error.message


def test_the_endpoints_own_variant_can_be_named(emulator: Shared) -> None:
    assert emulator.invoke("a.tar.gz", TargetVariant="AllTraffic")["answer"] == "I am a"


@pytest.mark.parametrize(
    "target_model",
    [
        "none.tar.gz",
        "/a.tar.gz",
        "../s3/a.tar.gz",
        "teams/../a.tar.gz",
        "teams",
        "teams/",
        "teams//blue/b.tar.gz",
        "./a",
    ],
)
def test_what_is_no_object_in_s3_is_refused_as_such(emulator: Shared, target_model: str) -> None:
    error = invoke_wrongly(emulator, TargetModel=target_model)
    assert (error.code, error.status) == ("ValidationError", 400)
    assert f"Failed to download model data(bucket: s3, key: {target_model})" in error.message
    assert target_model not in emulator.on_disk()


def tar_bomb(path: Path) -> None:
    archive(path, {"zeros": bytes(40 * 2**20)})


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"this is no gzip"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(archive(path, {"a": b"x" * 100_000}).read_bytes()[:100]),
        lambda path: archive(path, {"../escaped": b"x"}),
        lambda path: archive(path, {"/tmp/localmme-escaped": b"x"}),
        tar_bomb,
    ],
    ids=["text", "empty", "truncated", "dot-dot", "absolute", "bomb"],
)
def test_an_unusable_archive_is_refused_and_leaves_nothing_on_disk(small: Shared, make) -> None:
    make(small.bucket / "a.tar.gz")
    error = invoke_wrongly(small)
    assert (error.code, error.status) == ("ValidationError", 400)
    assert "Failed to extract model data archive a.tar.gz: " in error.message
    models = next((small.state_directory / "instances").rglob("models"))
    assert not list(models.iterdir())
    assert not Path("/tmp/localmme-escaped").exists()


@pytest.mark.parametrize("status, blame", [(400, "client"), (404, "client"), (500, "server"), (503, "server")])
def test_a_failed_answer_of_the_container_is_a_model_error(emulator: Shared, status: int, blame: str) -> None:
    model = emulator.model_of("failing", invoke={"status": status, "body": "it went wrong"})
    error = invoke_wrongly(emulator, TargetModel=model)
    assert (error.code, error.status) == ("ModelError", 424)
    assert error.response["OriginalStatusCode"] == status
    assert error.response["OriginalMessage"] == "it went wrong"
    assert error.response["LogStreamArn"].endswith(":log-group:/aws/sagemaker/Endpoints/local")
    assert f'Received {blame} error ({status}) from primary with message "it went wrong". See https://' in error.message
    assert model in emulator.in_memory()


def test_a_long_failure_is_cut_to_what_the_api_allows(emulator: Shared) -> None:
    model = emulator.model_of("long", invoke={"status": 500, "body": "x" * 100_000})
    error = invoke_wrongly(emulator, TargetModel=model)
    assert len(error.response["OriginalMessage"]) == 2048
    assert len(error.message) <= 2048
    assert "in account 123456789012 for more information." in error.message


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/endpoints/local/invocations", 404),
        ("PUT", "/endpoints/local/invocations", 404),
        ("POST", "/endpoints/local/invocation", 404),
        ("POST", "/endpoints/local", 404),
        ("POST", "/endpoints/local/invocations/more", 404),
    ],
)
def test_a_wrong_method_or_path_is_an_unknown_operation(emulator: Shared, method: str, path: str, status: int) -> None:
    got, headers, body = raw(emulator, method, path)
    assert (got, headers["x-amzn-errortype"]) == (status, "UnknownOperationException")
    assert "POST /endpoints/NAME/invocations" in json.loads(body)["Message"]


def test_a_path_that_is_nothing_says_what_there_is(emulator: Shared) -> None:
    status, _, body = raw(emulator, "GET", "/")
    assert status == 404
    assert "/_localmme/state" in json.loads(body)["Message"]


def test_a_caller_that_hangs_up_harms_no_one(emulator: Shared) -> None:
    host, port = emulator.url.removeprefix("http://").split(":")
    head = (
        b"POST /endpoints/local/invocations HTTP/1.1\r\nHost: localhost\r\nX-Amzn-SageMaker-Target-Model: a.tar.gz\r\n"
    )
    for rest in (b"Content-Length: 100\r\n\r\nabc", b"Content-Length: 2\r\n\r\n{}", b"nonsense\x00", b""):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head + rest)
    assert emulator.invoke("a.tar.gz")["answer"] == "I am a"
    assert emulator.model("a.tar.gz")["in_memory"]


def test_a_chunked_request_body_arrives_whole(emulator: Shared) -> None:
    host = emulator.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(
        "POST",
        "/endpoints/local/invocations",
        iter([b"abc", b"def"]),
        {"X-Amzn-SageMaker-Target-Model": "a.tar.gz", "Content-Type": "text/plain"},
        encode_chunked=True,
    )
    assert json.loads(connection.getresponse().read())["body"] == "abcdef"
    connection.close()


def test_health_and_state_are_there_once_in_service(emulator: Shared) -> None:
    assert emulator.health() == 200
    state = emulator.state()
    assert state["status"] == "InService"
    assert {model["target_model"] for model in state["models"]} >= {"a.tar.gz", "teams/blue/b.tar.gz"}


@pytest.mark.parametrize(
    "path, name",
    [
        ("/endpoints/local/invocations-bidirectional-stream", "InvokeEndpointWithBidirectionalStream"),
        ("/endpoints/local/openai/v1/chat/completions", "The path of OpenAI's API"),
    ],
)
def test_an_operation_that_is_not_emulated_is_named(emulator: Shared, path: str, name: str) -> None:
    status, headers, body = raw(emulator, "POST", path)
    assert (status, headers["x-amzn-errortype"]) == (404, "UnknownOperationException")
    assert json.loads(body)["Message"].startswith(f"{name} is not emulated by localmme.")
