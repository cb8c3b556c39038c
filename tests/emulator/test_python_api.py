"""``localmme.serve``: what a program gets from it, and that nothing is left of it, however the program ends."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import psutil
import pytest
from botocore.exceptions import ClientError, UnknownServiceError

import localmme
from tests.support.files import archive
from tests.support.leftovers import MARK, Leftovers
from tests.support.processes import named
from tests.support.real_servers.images import Images
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import SCRIPTED_CONTAINER
from tests.support.waiting import eventually

HANDLER = """
def handle(data, context):
    print("the handler was called")
    return [b"hello from here"]
"""
KILLS = 4


@pytest.fixture(autouse=True)
def _leaves_nothing(leftovers: Leftovers) -> Iterator[None]:
    yield
    assert leftovers.directories() == []


@pytest.fixture
def arguments(tmp_path: Path, bucket: Path) -> dict[str, Any]:
    """Of ``serve``, for a handler and one model."""
    archive(bucket / "a.tar.gz", {"weights": "1"})
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER)
    return {"models": bucket, "handler": handler}


@pytest.fixture
def empty(bucket: Path) -> dict[str, Any]:
    """Of ``serve``, for an account with nothing in it: no container has to start."""
    return {"endpoint": False, "s3": bucket}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[localmme.Emulator]:
    """One for tests that only look at it."""
    directory = tmp_path_factory.mktemp("shared")
    archive(directory / "s3" / "a.tar.gz", {"weights": "1"})
    (directory / "handler.py").write_text(HANDLER)
    with localmme.serve(
        models=directory / "s3", handler=directory / "handler.py", state_dir=directory / "state"
    ) as emulator:
        yield emulator


def program(text: str, *words: str | Path) -> subprocess.Popen[str]:
    """A program of its own that has imported localmme."""
    source = "import os, sys, localmme\n" + textwrap.dedent(text)
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, words)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )


def refuses_connections(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) != 0


# What there is


def test_a_served_model_is_invoked_and_seen(arguments: dict[str, Any]) -> None:
    with localmme.serve(**arguments) as emulator:
        assert emulator.is_running
        assert emulator.endpoint_name == "local"
        assert [model["in_memory"] for model in emulator.models()] == [False]
        assert emulator.invoke("a.tar.gz", b"{}", ContentType="application/json") == b"hello from here"
        state = emulator.wait_until(lambda state: state["endpoints"][0]["models"][0]["in_memory"])
        assert state["url"] == emulator.url
        assert emulator.models()[0]["invocations"] == 1
        eventually(lambda: "the handler was called" in emulator.logs())
        assert emulator.url in repr(emulator)
    assert not emulator.is_running
    assert refuses_connections(emulator.url)
    assert "Endpoint local is InService" in emulator.logs() and "the handler was called" in emulator.logs()
    emulator.stop()  # twice is once
    with pytest.raises(localmme.ServeError, match="was stopped"):
        emulator.state()
    with pytest.raises(localmme.ServeError, match="was stopped"):
        emulator.wait_until(lambda state: True)


def test_the_arguments_are_those_of_serve(bucket: Path, tmp_path: Path) -> None:
    archive(bucket / "a.tar.gz", {"answer.txt": "a"})
    with localmme.serve(
        models=str(bucket),
        command=SCRIPTED_CONTAINER.split(),
        endpoint_name="houses",
        instances=2,
        memory="1GiB",
        max_loaded_models=3,
        cache=False,
        env={"SCRIPT": json.dumps({"invoke": {"environment": True}}), "GREETING": "=a b"},
        limits={"invocation_seconds": 7},
        state_dir=tmp_path / "mine",
    ) as emulator:
        assert emulator.endpoint_name == "houses"
        [variant] = emulator.state()["endpoints"][0]["variants"]
        assert len(variant["instances"]) == 2
        answer = json.loads(emulator.invoke("a.tar.gz", "{}"))
        assert answer["environment"]["GREETING"] == "=a b"
    assert emulator.state_directory == tmp_path / "mine" and emulator.state_directory.is_dir()


def test_an_endpoint_file_is_served(bucket: Path, tmp_path: Path) -> None:
    archive(bucket / "a.tar.gz", {"answer.txt": "a"})
    file = tmp_path / "endpoint.yaml"
    file.write_text(
        f"""
        Models:
        - ModelName: houses
          PrimaryContainer: {{Image: "command:{SCRIPTED_CONTAINER}", ModelDataUrl: s3, Mode: MultiModel}}
        EndpointConfigs:
        - EndpointConfigName: houses
          ProductionVariants: [{{VariantName: all, ModelName: houses, InitialInstanceCount: 1}}]
        Endpoints:
        - {{EndpointName: mine, EndpointConfigName: houses}}
        """
    )
    with localmme.serve(file) as emulator:
        assert emulator.endpoint_name == "mine"
        assert json.loads(emulator.invoke("a.tar.gz", b""))["answer"] == "a"


def test_without_an_endpoint_there_is_the_api(bucket: Path) -> None:
    with localmme.serve(endpoint=False, s3=bucket) as emulator:
        assert emulator.models() == []
        with pytest.raises(localmme.ServeError, match="has no endpoint"):
            emulator.invoke("a.tar.gz", b"")
        emulator.client("s3").create_bucket(Bucket="models")
        assert (bucket / "models").is_dir()
        assert emulator.client("sagemaker").list_endpoints()["Endpoints"] == []


def test_the_users_own_aws_settings_and_files_do_not_count(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("queue.py").write_text("raise RuntimeError('a file of the user, not the module')")
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:9\nuse_fips_endpoint = true\n")
    nowhere = "http://127.0.0.1:9"
    for name, value in {
        "AWS_CONFIG_FILE": str(config),
        "AWS_PROFILE": "no-such-profile",
        "AWS_ACCESS_KEY_ID": "AKIAOWNOWNOWNOWNOWN0",
        "AWS_SECRET_ACCESS_KEY": "mine",
        "AWS_SESSION_TOKEN": "mine",
        "AWS_ENDPOINT_URL": nowhere,
        "AWS_ENDPOINT_URL_S3": nowhere,
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "9",
        "HTTP_PROXY": nowhere,
        "http_proxy": nowhere,
        "no_proxy": "",
        "NO_PROXY": "",
    }.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with localmme.serve(**arguments | {"models": "s3"}) as emulator:
        assert emulator.invoke("a.tar.gz", b"") == b"hello from here"
        s3 = emulator.client("s3")
        assert s3.list_buckets()["Buckets"] == []
        assert s3.meta.region_name == "us-east-1"
        signed = s3.generate_presigned_url("list_buckets")
        assert "AKIAOWN" not in signed and "Token" not in signed
        environment = emulator.environment()
    assert os.environ == before
    assert environment["AWS_ENDPOINT_URL"] == emulator.url
    assert environment["AWS_ACCESS_KEY_ID"] == "localmme" and environment["AWS_SESSION_TOKEN"] == ""
    assert environment["no_proxy"].startswith("127.0.0.1")


def test_another_process_reaches_it_by_its_environment(shared: localmme.Emulator) -> None:
    code = (
        "import boto3; print(boto3.client('sagemaker-runtime').invoke_endpoint("
        "EndpointName='local', TargetModel='a.tar.gz', Body=b'')['Body'].read().decode())"
    )
    environment = {**os.environ, **shared.environment()}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert answer.stdout == "hello from here\n", answer.stderr


def test_a_clients_own_arguments_go_first(shared: localmme.Emulator) -> None:
    from botocore.config import Config

    client = shared.client("s3", region_name="eu-west-1", config=Config(read_timeout=3))
    assert client.meta.region_name == "eu-west-1"
    assert client.meta.config.read_timeout == 3
    assert client.meta.endpoint_url == shared.url
    with pytest.raises(UnknownServiceError):
        shared.client("no-such-service")


def test_an_invocation_that_is_refused_raises_botos_error(shared: localmme.Emulator) -> None:
    with pytest.raises(ClientError) as error:
        shared.invoke("none.tar.gz", b"")
    assert error.value.response["Error"]["Code"] == "ValidationError"


def test_what_is_never_true_is_an_error_with_the_last_state(shared: localmme.Emulator) -> None:
    with pytest.raises(TimeoutError, match=r"within 0.2 s.*'a\.tar\.gz'"):
        shared.wait_until(lambda state: False, timeout_seconds=0.2)


def test_an_emulator_that_has_died_says_what_it_wrote_last(empty: dict[str, Any]) -> None:
    with localmme.serve(**empty) as emulator:
        emulator._process.kill()
        eventually(lambda: not emulator.is_running)
        with pytest.raises(localmme.ServeError, match="has ended. Its last lines:\n(.*\n)*.*is ready at"):
            emulator.wait_until(lambda state: False)


def test_the_command_line_does_not_import_what_only_the_api_needs() -> None:
    code = (
        "import sys, localmme, localmme.cli.main; print([m for m in ('boto3', 'psutil', 'docker') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=REPOSITORY, text=True) == "[]\n"
    assert {"Emulator", "ServeError", "serve"} <= set(dir(localmme))
    with pytest.raises(AttributeError, match="no attribute 'server'"):
        localmme.server  # noqa: B018


# Several, and where


def test_several_at_once_each_have_a_port_and_a_directory_and_outlive_their_threads(empty: dict[str, Any]) -> None:
    with ThreadPoolExecutor(2) as pool:
        emulators = list(pool.map(lambda _: localmme.serve(**empty), range(2)))
    with emulators[0], emulators[1]:
        time.sleep(0.5)  # longer than an emulator takes to see that its program has gone
        assert len({emulator.url for emulator in emulators}) == 2
        assert len({emulator.state_directory for emulator in emulators}) == 2
        emulators[0].stop()
        assert emulators[1].state()["url"] == emulators[1].url


# How it ends


def test_its_directory_is_in_use_until_a_body_that_raises_stops_it(empty: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), localmme.serve(**empty, state_dir=tmp_path / "mine") as emulator:
        with pytest.raises(Exception, match=f"The emulator at {emulator.url} uses .*/mine"):
            localmme.serve(**empty, state_dir=tmp_path / "mine")
        _ = 1 / 0
    assert refuses_connections(emulator.url)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"models": "no/such/directory"}, r"^There is no directory no/such/directory\. Make it"),
        ({"command": "false", "handler": None}, "ended with exit code 1 before it was healthy"),
        ({"startup_timeout_seconds": 0.01}, r"^The emulator was not InService after 0\.01 s"),
    ],
)
def test_what_cannot_be_served_is_an_error_that_says_why(
    arguments: dict[str, Any],
    leftovers: Leftovers,
    wrong: dict[str, Any],
    words: str,
) -> None:
    with pytest.raises(localmme.ServeError, match=words):
        localmme.serve(**arguments | wrong)
    leftovers.are_gone()


def test_ctrl_c_while_it_starts_ends_it(bucket: Path, leftovers: Leftovers) -> None:
    starting = program(
        """
        try:
            localmme.serve(models=sys.argv[1], command="sleep 100", limits={"stop_seconds": 1})
        except KeyboardInterrupt:
            sys.exit(7)
        """,
        bucket,
    )
    eventually(lambda: named(leftovers.processes(), "sleep"), what="the container")
    starting.send_signal(signal.SIGINT)
    assert starting.wait(60) == 7
    assert leftovers.processes() == []


def test_what_is_no_longer_waited_for_ends_nevertheless(bucket: Path, leftovers: Leftovers) -> None:
    impatient = program(
        """
        import json, signal, threading
        script = json.dumps({"start": {"ignore_sigterm": True}})
        emulator = localmme.serve(
            models=sys.argv[1], command=sys.argv[2], env={"SCRIPT": script}, limits={"stop_seconds": 2}
        )
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            emulator.stop()
        except KeyboardInterrupt:
            print(emulator.is_running, flush=True)
            os._exit(0)
        """,
        bucket,
        SCRIPTED_CONTAINER,
    )
    assert impatient.communicate(timeout=60)[0] == "True\n"
    leftovers.are_gone()


def test_a_program_that_ends_stops_what_it_did_not_stop(arguments: dict[str, Any], leftovers: Leftovers) -> None:
    ending = program("localmme.serve(models=sys.argv[1], handler=sys.argv[2])", *arguments.values())
    assert ending.wait(60) == 0
    assert leftovers.processes() == []


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)", "os.abort()"])
def test_an_interpreter_that_dies_ends_its_emulators(bucket: Path, leftovers: Leftovers, end: str) -> None:
    dying = program(
        f"""
        print(localmme.serve(endpoint=False, s3=sys.argv[1]).url, flush=True)
        {end}
        """,
        bucket,
    )
    output, _ = dying.communicate(timeout=60)
    leftovers.are_gone()
    assert refuses_connections(output.strip())


def test_a_fork_that_lives_longer_does_not_keep_it_alive(bucket: Path, leftovers: Leftovers) -> None:
    dying = program(
        """
        import subprocess, time
        with localmme.serve(endpoint=False, s3=sys.argv[1]) as emulator:
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
            stopped, tell = os.pipe()
            if os.fork() == 0:
                emulator.stop()  # not its own
                sys.stdout.close()
                os.close(tell)
                time.sleep(100)
            os.close(tell)
            os.read(stopped, 1)  # until then, the fork keeps the directory
            print(emulator.state()["url"] == emulator.url, flush=True)
            os.kill(os.getpid(), 9)
        """,
        bucket,
    )
    assert dying.stdout is not None and dying.stdout.readline() == "True\n"
    dying.wait(60)
    own = eventually(lambda: (own := leftovers.processes()) and len(own) == 2 and own, what="only the children live")
    for process in own:
        process.kill()


def test_a_fork_may_leave_the_with_statement(bucket: Path) -> None:
    forking = program(
        """
        with localmme.serve(endpoint=False, s3=sys.argv[1]) as emulator:
            forked = os.fork()
            if forked:
                os.waitpid(forked, 0)
                print(emulator.state()["url"] == emulator.url, flush=True)
        """,
        bucket,
    )
    assert forking.communicate(timeout=60)[0] == "True\n"


def test_killed_at_any_moment_a_program_leaves_nothing(
    arguments: dict[str, Any], empty: dict[str, Any], leftovers: Leftovers
) -> None:
    script = """
        with localmme.serve(models=sys.argv[1], handler=sys.argv[2]) as emulator:
            print(emulator.url, flush=True)
            emulator.invoke("a.tar.gz", b"")
    """
    started = time.monotonic()
    assert program(script, *arguments.values()).wait(60) == 0
    whole = (time.monotonic() - started) * 1.5  # as they are all started at once
    moments = [whole * (turn + random.random()) / KILLS for turn in range(KILLS)]
    started = time.monotonic()
    dying = [program(script, *arguments.values()) for _ in moments]
    for moment, each in zip(moments, dying, strict=True):
        time.sleep(max(0.0, started + moment - time.monotonic()))
        each.kill()
    urls = [url for each in dying for url in each.communicate()[0].split()]
    leftovers.are_gone()
    assert all(map(refuses_connections, urls)), moments
    localmme.serve(**empty).stop()
    assert leftovers.directories() == []


def test_what_was_killed_together_with_its_program_is_removed_at_the_next_start(
    arguments: dict[str, Any], empty: dict[str, Any], leftovers: Leftovers
) -> None:
    dying = program(
        """
        import time
        with localmme.serve(models=sys.argv[1], handler=sys.argv[2]) as emulator:
            emulator.invoke("a.tar.gz", b"")
            print("ready", flush=True)
            time.sleep(100)
        """,
        *arguments.values(),
    )
    assert dying.stdout is not None and dying.stdout.readline() == "ready\n"
    with localmme.serve(**empty) as neighbour:
        everything = [psutil.Process(dying.pid), *psutil.Process(dying.pid).children(recursive=True)]
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended with the one before it
                process.kill()
        dying.wait()
        psutil.wait_procs(everything)
        assert len(leftovers.directories()) == 2
        localmme.serve(**empty).stop()
        assert leftovers.directories() == [neighbour.state_directory]
        assert neighbour.state()["url"] == neighbour.url


@pytest.mark.docker
def test_no_container_is_left_of_programs_that_were_killed(
    images: Images,
    engine: Any,
    arguments: dict[str, Any],
    leftovers: Leftovers,
) -> None:
    def containers() -> list[Any]:
        labelled = engine.containers.list(all=True, ignore_removed=True, filters={"label": "localmme.owner"})
        return [each for each in labelled if each.labels["localmme.owner"].startswith(str(leftovers.temporary))]

    script = """
        import time
        emulator = localmme.serve(models=sys.argv[1], image=sys.argv[2])
        print("ready", flush=True)
        time.sleep(100)
    """
    first, second = (program(script, arguments["models"], images.scripted()) for _ in range(2))
    for each in (first, second):
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    assert len(containers()) == 2
    first.kill()
    eventually(lambda: len(containers()) == 1, what="the first one's container is gone")
    for process in [*psutil.Process(second.pid).children(recursive=True), psutil.Process(second.pid)]:
        process.kill()
    for each in (first, second):
        each.communicate()
    leftovers.are_gone()
    localmme.serve(**arguments).stop()
    eventually(lambda: containers() == [])


def test_a_mark_tells_the_tests_processes_from_others(leftovers: Leftovers) -> None:
    with subprocess.Popen(["sleep", "100"]) as sleeping:
        assert [process.pid for process in leftovers.processes()] == [sleeping.pid]
        assert re.fullmatch("[0-9a-f]{32}", os.environ[MARK])
        sleeping.kill()


@pytest.mark.parametrize(
    "body, more, sent",
    [
        ('{"rooms": 3}', {}, "application/json"),
        (b"[3, 80]", {}, "application/json"),
        (b"3,80", {"ContentType": "text/csv"}, "text/csv"),
        (b"\x93NUMPY", {}, "application/octet-stream"),
    ],
)
def test_the_content_type_is_told_from_the_body(body: bytes | str, more: dict[str, str], sent: str) -> None:
    emulator = object.__new__(localmme.Emulator)  # with nothing behind it
    emulator._runtime = mock.MagicMock()
    emulator.invoke("a.tar.gz", body, EndpointName="local", **more)
    assert emulator._runtime.invoke_endpoint.call_args.kwargs["ContentType"] == sent


def test_a_program_sees_the_calls_that_it_has_made_and_makes_them_fail(tmp_path: Path) -> None:
    (tmp_path / "stub.yaml").write_text("Answers: [{TargetModel: 'a/*', Json: {model: '${TargetModel}'}}]")
    with localmme.serve(stub=tmp_path / "stub.yaml") as emulator:
        emulator.invoke("a/1", b'{"n": 1}', CustomAttributes="trace=1")
        with emulator.fault("ThrottlingException", times=2, model="a/*"), pytest.raises(ClientError, match="Throttl"):
            emulator.invoke("a/2", b"2")
        emulator.invoke("a/3", b"3")  # the fault was for another one, and is cleared
        first, second, third = emulator.calls()
        assert first.json() == {"n": 1} and first.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"
        assert (first.endpoint_name, first.target_model, first.status, first.error_code) == ("local", "a/1", 200, "")
        assert (second.error_code, second.fault, second.body) == (
            "ThrottlingException",
            "answered ThrottlingException",
            b"2",
        )
        assert emulator.calls(model="a/[23]") == [second, third] == emulator.calls(since=first.sequence)
        assert emulator.calls(endpoint="other") == []
        emulator.invoke("a/4", bytes(9 * 2**20))
        [large] = emulator.calls(model="a/4")
        with pytest.raises(LookupError, match="9,437,184 bytes"):
            large.body  # noqa: B018
        emulator.clear_calls()
        assert emulator.calls() == []
        emulator.fault("Latency", seconds=60)
        emulator.clear_faults()
        emulator.invoke("a/5", b"5")
        with pytest.raises(localmme.python_api.SetupError, match="did you mean ModelError"):
            emulator.fault("ModelErorr")
