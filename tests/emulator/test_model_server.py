"""The embedded server keeps SageMaker's contract for multi-model containers, whatever its handlers do."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.model_server_process import COMMAND, Embedded, embedded, in_the_queue, obedient
from tests.support.processes import free_port, wait_until_ended
from tests.support.real_servers.container import started
from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually

Start = Callable[..., Embedded]
CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server whose handler does as it is told."""
    with ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> Embedded:
            handler = ["--handler", obedient(tmp_path)]
            return stack.enter_context(embedded(tmp_path / "server", *handler, *arguments, **environment))

        yield start


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """One server for the tests that leave it as they found it."""
    directory = tmp_path_factory.mktemp("embedded")
    with embedded(directory, "--handler", obedient(directory)) as server:
        yield server


@pytest.fixture
def server(shared: Embedded) -> Iterator[Embedded]:
    yield shared
    for name in shared.names():
        shared.container.unload(name)
    eventually(lambda: not shared.workers())


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that handlers wait for, or that shows how far they came."""
    return tmp_path / "gate"


def kind(body: bytes) -> str:
    return json.loads(body)["type"]


def message(body: bytes) -> str:
    return json.loads(body)["message"]


def streamed(server: Embedded, name: str, body: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Invoke a model and return when the answer's head is there."""
    connection = http.client.HTTPConnection("127.0.0.1", server.container.port, timeout=60)
    connection.request("POST", f"/models/{name}/invoke", body, {"Content-Type": "text/x-python"})
    return connection, connection.getresponse()


def in_directory(directory: Path) -> list[str]:
    """The server's command, from a working directory."""
    return ["sh", "-c", f"cd '{directory}' && exec {' '.join(COMMAND)}"]


def talk(server: Embedded, said: bytes) -> bytes:
    """Say something on a raw connection, and hear what comes until the server closes it."""
    with socket.create_connection(("127.0.0.1", server.container.port), 20) as connection:
        connection.sendall(said)
        heard = b""
        while piece := connection.recv(65536):
            heard += piece
    return heard


# The contract


def test_a_model_is_loaded_listed_found_invoked_and_unloaded(server: Embedded) -> None:
    directory = server.model("m")
    described = {"modelName": "m", "modelUrl": str(directory)}
    assert server.container.list().json() == {"models": []}
    assert server.container.load("m", directory).status == 200
    assert server.container.list().json() == {"models": [described]}
    assert server.container.get("m").json() == described
    assert server.invoke("m", "return 'hello'").body == b"hello"
    assert server.container.unload("m").status == 200
    assert server.container.list().json() == {"models": []}
    assert server.container.invoke("m", b"").status == 404


@pytest.mark.parametrize(
    "said",
    [
        b"\r\n\r\n\r\n",
        b"hello?\r\n\r\n",
        b"GET /ping HTTP/9.9\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /models HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /models HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
        b"POST /models HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        bytes(range(256)) * 16,
    ],
)
def test_what_is_not_http_is_refused_and_does_no_harm(server: Embedded, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.container.port), 20) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        heard = connection.recv(65536)
    assert not heard or heard.startswith(b"HTTP/1.1 400 ")
    assert server.container.ping().status == 200


def test_a_body_that_is_far_too_large_is_refused_before_it_is_sent(server: Embedded) -> None:
    heard = talk(server, b"POST /models/m/invoke HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 413 ")


def test_a_models_directory_may_be_relative_to_the_servers(tmp_path: Path) -> None:
    (tmp_path / "relative").mkdir()
    (tmp_path / "relative" / "inference.py").write_text("def handle(data, context): return ['found']")
    with started(in_directory(tmp_path), tmp_path / "log", {"PYTHONPATH": str(REPOSITORY)}) as container:
        container.wait_until_healthy(60)
        assert container.load("m", Path("relative")).status == 200
        assert container.invoke("m", b"").body == b"found"


def test_model_names_may_hold_any_character(server: Embedded) -> None:
    directory = server.model("odd")
    odd = "a/b c?d%e#ü☃"
    assert server.container.load(odd, directory).status == 200
    encoded = "a%2Fb%20c%3Fd%25e%23%C3%BC%E2%98%83"
    assert server.container.get(encoded).json()["modelName"] == odd
    assert server.invoke(encoded, "return context.model_name").body.decode() == odd
    assert server.container.unload(encoded).status == 200


# Loading


def test_running_out_of_memory_while_loading_is_507_and_leaves_nothing(server: Embedded, gate: Path) -> None:
    load = f"if not os.path.exists({str(gate)!r}): raise MemoryError('too big')"
    answer = server.load("m", load)
    assert answer.status == 507 and message(answer.body).startswith("MemoryError: too big (obedient.py, line ")
    assert server.names() == [] and not server.workers()
    assert server.container.unload("m").status == 404
    gate.touch()
    assert server.load("m", load).status == 200


def test_an_exception_while_loading_is_500_with_its_text_and_leaves_nothing(server: Embedded) -> None:
    answer = server.load("m", "raise ValueError('no such weights')")
    assert answer.status == 500 and message(answer.body).startswith("ValueError: no such weights (obedient.py, line ")
    assert "Traceback (most recent call last)" in server.log()
    assert "\nValueError: no such weights\n" in server.log()
    assert server.names() == [] and not server.workers()
    assert server.load("m").status == 200


@pytest.mark.parametrize(
    "death, status, reason",
    [
        ("os._exit(5)", 500, "exit code 5"),
        ("sys.exit(6)", 500, "exit code 6"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 500, "signal SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 507, "signal SIGKILL"),
        ("os._exit(137)", 507, "exit code 137"),
    ],
)
def test_a_worker_that_dies_while_loading_is_named_and_leaves_nothing(
    server: Embedded, death: str, status: int, reason: str
) -> None:
    answer = server.load("m", death)
    assert (answer.status, message(answer.body)) == (
        status,
        f"The worker process died while loading the model: {reason}",
    )
    assert server.names() == [] and not server.workers()


def test_running_out_of_another_resource_is_507_and_passes(tmp_path: Path) -> None:
    few_files = f"ulimit -n 24; exec {' '.join([*COMMAND, '--handler', obedient(tmp_path)])}"
    with started(["sh", "-c", few_files], tmp_path / "log") as container:
        container.wait_until_healthy(60)
        (tmp_path / "m").mkdir()
        statuses = []
        while 507 not in statuses:
            answer = container.load(f"m{len(statuses)}", tmp_path / "m")
            statuses.append(answer.status)
        assert message(answer.body) == "No process can be started for the model: Too many open files"
        assert statuses[:-1] == [200] * (len(statuses) - 1)
        assert container.unload("m0").status == 200
        assert container.load("again", tmp_path / "m").status == 200


def test_a_load_goes_on_when_its_caller_leaves(server: Embedded, gate: Path) -> None:
    directory = server.model("m", f"until({str(gate)!r})")
    order = json.dumps({"model_name": "m", "url": str(directory)}).encode()
    with socket.create_connection(("127.0.0.1", server.container.port)) as connection:
        connection.sendall(
            b"POST /models HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(order), order)
        )
        eventually(server.workers)
    gate.touch()
    eventually(lambda: server.names() == ["m"])


def test_while_models_load_and_work_everything_else_is_answered(server: Embedded, gate: Path) -> None:
    server.loaded("idle")
    server.loaded("busy")
    invocation = server.start(server.run, "busy", f"until({str(gate)!r})")
    load = server.start(server.load, "loading", f"until({str(gate)!r})")
    eventually(lambda: len(server.workers()) == 3)
    assert server.container.ping().status == 200
    assert server.names() == ["busy", "idle"]
    assert server.run("idle", "return 1") == 1
    assert not invocation.done() and not load.done()
    gate.touch()
    invocation.result()
    assert load.result().status == 200


# Unloading


def test_an_unload_is_answered_when_the_process_is_gone(server: Embedded) -> None:
    server.loaded("m")
    pid = server.pid_of("m")
    assert psutil.pid_exists(pid)
    assert server.container.unload("m").status == 200
    assert not psutil.pid_exists(pid)


def test_a_worker_that_is_let_go_runs_its_exit_functions(server: Embedded, gate: Path) -> None:
    server.loaded("m", f"import atexit, pathlib; atexit.register(pathlib.Path({str(gate)!r}).touch)")
    server.container.unload("m")
    assert gate.exists()


def test_a_worker_that_will_not_leave_is_killed(server: Embedded) -> None:
    server.loaded("m", "import threading; threading.Thread(target=time.sleep, args=[3600]).start()")
    pid = server.pid_of("m")
    assert server.container.unload("m").status == 200
    assert not psutil.pid_exists(pid)


def test_an_unload_lets_invocations_under_way_finish_and_takes_no_new_ones(server: Embedded, gate: Path) -> None:
    server.loaded("m")
    running = gate.with_name("running")
    first = server.start(server.run, "m", f"Path({str(running)!r}).touch(); until({str(gate)!r}); return 1")
    eventually(running.exists)
    queued = server.start(server.run, "m", "return 2")
    in_the_queue(server, 1)
    unload = server.start(server.container.unload, "m")
    eventually(lambda: server.names() == [])
    assert server.invoke("m").status == 404
    assert server.load("m").status == 409
    again = server.start(server.container.unload, "m")
    assert not unload.done()
    gate.touch()
    assert (first.result(), queued.result()) == (1, 2)
    assert (unload.result().status, again.result().status) == (200, 200)


def test_an_unload_cuts_off_what_takes_longer_than_the_grace(start: Start, gate: Path) -> None:
    server = start("--grace-seconds", "0.1")
    server.loaded("m")
    running = gate.with_name("running")
    invocation = server.start(server.invoke, "m", f"Path({str(running)!r}).touch(); time.sleep(3600)")
    eventually(running.exists)
    queued = server.start(server.invoke, "m", "return 1")
    assert server.container.unload("m").status == 200
    assert (invocation.result().status, queued.result().status) == (500, 404)
    assert not server.workers()


def test_an_unload_stops_a_load_under_way(server: Embedded) -> None:
    load = server.start(server.load, "m", "time.sleep(3600)")
    eventually(server.workers)
    assert server.container.unload("m").status == 200
    assert not server.workers()
    answer = load.result()
    assert (answer.status, message(answer.body)) == (500, "Model m was unloaded while it was being loaded.")
    assert server.load("m").status == 200


# Workers


def test_one_worker_answers_first_come_first_served(server: Embedded, gate: Path) -> None:
    server.loaded("m")
    running = gate.with_name("running")
    first = server.start(server.run, "m", f"Path({str(running)!r}).touch(); until({str(gate)!r}); order = []")
    eventually(running.exists)
    rest = []
    for number in range(5):
        rest.append(server.start(server.run, "m", f"seen = globals().setdefault('seen', []); seen.append({number})"))
        in_the_queue(server, number + 1)
    gate.touch()
    for invocation in (first, *rest):
        invocation.result()
    assert server.run("m", "return seen") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("option", [("--workers-per-model", "2"), ()])
def test_the_workers_of_a_model_share_its_invocations(start: Start, option: tuple[str, ...], tmp_path: Path) -> None:
    server = start(*option) if option else start(SAGEMAKER_MODEL_SERVER_WORKERS="2")
    server.loaded("m")
    assert len(server.workers()) == 2
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    one = server.start(server.run, "m", f"Path({here!r}).touch(); until({there!r}); return os.getpid()")
    two = server.start(server.run, "m", f"Path({there!r}).touch(); until({here!r}); return os.getpid()")
    assert one.result() != two.result()


def test_a_handler_that_raises_is_500_and_its_worker_lives_on(server: Embedded) -> None:
    server.loaded("m")
    pid = server.pid_of("m")
    answer = server.invoke("m", "raise KeyError('left')")
    assert (answer.status, kind(answer.body)) == (500, "InternalServerException")
    assert message(answer.body).startswith("KeyError: 'left' (obedient.py, line ")
    assert "Traceback (most recent call last)" in server.log()
    assert "\nKeyError: 'left'\n" in server.log()
    assert server.pid_of("m") == pid


def test_running_out_of_memory_in_an_invocation_is_507_and_the_model_stays(server: Embedded) -> None:
    server.loaded("m")
    assert server.invoke("m", "raise MemoryError()").status == 507
    assert server.run("m", "return 1") == 1


@pytest.mark.parametrize(
    "death, reason",
    [
        ("os._exit(3)", "exit code 3"),
        ("sys.exit(0)", "exit code 0"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL"),
    ],
)
def test_a_worker_that_dies_is_named_and_its_model_is_no_longer_loaded(
    server: Embedded, death: str, reason: str
) -> None:
    server.loaded("m")
    answer = server.invoke("m", death)
    assert (answer.status, message(answer.body)) == (500, f"The worker process of the model died: {reason}")
    assert server.invoke("m").status == 404
    assert server.names() == []
    assert server.load("m").status == 200


def test_a_handler_that_never_answers_is_killed_and_the_model_can_be_loaded_again(start: Start) -> None:
    server = start("--invocation-seconds", "2")
    server.loaded("m")
    answer = server.invoke("m", "time.sleep(3600)")
    reason = (
        "it was killed because it had not begun its response within 2 s, the limit "
        "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS"
    )
    assert (answer.status, message(answer.body)) == (500, f"The worker process of the model died: {reason}")
    assert "Killing a worker that has not begun its response for 2 s" in server.container.log.read_text()
    assert server.invoke("m").status == 404
    assert server.load("m").status == 200
    assert server.invoke("m", "return 1").status == 200


def test_a_worker_that_dies_while_idle_takes_its_model_along(server: Embedded) -> None:
    server.loaded("m")
    os.kill(server.pid_of("m"), signal.SIGKILL)
    eventually(lambda: server.names() == [])
    assert server.invoke("m").status == 404


def test_a_worker_that_loses_its_connection_is_ended(server: Embedded) -> None:
    server.loaded("m")
    answer = server.invoke("m", "os.closerange(3, 100); time.sleep(3600)")
    assert (answer.status, server.invoke("m").status) == (500, 404)


def test_a_worker_works_in_the_models_directory_with_nothing_to_read_and_writes_to_the_log(server: Embedded) -> None:
    directory = server.model("m")
    server.container.load("m", directory)
    assert server.invoke("m", "return os.getcwd()").body.decode() == str(directory)
    assert server.invoke("m", "return repr(sys.stdin.read())").body == b"''"
    server.run("m", "import logging; print('printed ☃'); print('wrong', file=sys.stderr); logging.info('logged')")
    assert {"printed ☃", "wrong", "logged"} <= set(server.log().splitlines())


def test_a_worker_gets_the_servers_environment_and_one_thread_for_its_arithmetic(start: Start) -> None:
    server = start(FLAVOUR="vanilla")
    server.loaded("m")
    assert server.run("m", "return [os.environ.get('FLAVOUR'), os.environ['OMP_NUM_THREADS']]") == ["vanilla", "1"]


def test_each_model_has_modules_of_its_own_and_numpy_only_if_it_imports_it(server: Embedded) -> None:
    for word in ("one", "two"):
        server.loaded(word, settings=f"WORD = {word!r}")
    answers = [
        server.run(name, "import settings; return [settings.WORD, 'numpy' in sys.modules]") for name in ("one", "two")
    ]
    assert answers == [["one", False], ["two", False]]


def test_workers_ignore_sigint_and_end_by_sigterm(server: Embedded) -> None:
    server.loaded("m")
    pid = server.pid_of("m")
    os.kill(pid, signal.SIGINT)
    assert server.pid_of("m") == pid
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: server.names() == [])


# Requests and answers


def test_the_headers_of_the_request_reach_the_handler_as_they_came(server: Embedded) -> None:
    server.loaded("m")
    headers = {
        "Accept": "text/csv",
        CUSTOM: "c=1",
        "X-Amzn-SageMaker-Target-Model": "a/b.tar.gz",
        "x-LOWER-Upper": "1",
    }
    answer = server.invoke("m", "return context.get_all_request_header(0)", headers=headers)
    assert {**headers, "Content-Type": "text/x-python"}.items() <= answer.json().items()


def test_the_headers_and_the_status_of_the_answer_are_the_handlers(server: Embedded) -> None:
    server.loaded("m")
    answer = server.invoke(
        "m",
        f"""
        context.set_response_status(418, "I am a teapot")
        context.set_response_content_type(0, "text/plain")
        context.set_response_header(0, {CUSTOM!r}, "c=2")
        context.set_response_header(0, "Content-Length", "1000")
        context.set_response_header(0, "X-Split", "a\\r\\nb")
        return "short and stout"
        """,
    )
    assert (answer.status, answer.body) == (418, b"short and stout")
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers[CUSTOM] == "c=2"
    assert answer.headers["X-Split"] == "a  b"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("status", [0, 100, 199, 600, 1000])
def test_a_status_that_is_none_is_refused(server: Embedded, status: int) -> None:
    server.loaded("m")
    assert server.invoke("m", f"context.set_response_status({status}); return 'x'").status == 503
    assert server.run("m", "return 1") == 1


def test_an_answer_without_content_has_no_body(server: Embedded) -> None:
    server.loaded("m")
    for body in ("'text'", "iter(['text'])"):
        said = f"context.set_response_status(204); return {body}".encode()
        request = b"POST /models/m/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
            len(said),
            said,
        )
        heard = talk(server, request + b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
        first, _, rest = heard.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 204 No Content")
        assert b"content-length" not in first.lower()
        assert rest.startswith(b"HTTP/1.1 200 OK")


def test_large_bodies_pass_both_ways(server: Embedded) -> None:
    echo = "def handle(data, context): return data and [data[0]['body']]"
    with embedded(server.directory / "echo") as other:
        other.loaded("m", inference=echo)
        body = os.urandom(6 << 20)
        assert other.invoke("m", body).body == body
        assert other.invoke("m", b"").body == b""


def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(server: Embedded) -> None:
    server.loaded("m")
    requests = b""
    for number in range(50):
        body = b"return %d" % number
        requests += b"POST /models/m/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )
    heard = talk(server, requests + b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    bodies = [answer.rpartition(b"\r\n\r\n")[2] for answer in heard.split(b"HTTP/1.1 200")[1:]]
    assert bodies[:-1] == [b"%d" % number for number in range(50)]
    assert b"Healthy" in bodies[-1]


def test_the_server_speaks_the_rest_of_http(server: Embedded) -> None:
    server.loaded("m")
    chunked = (
        b"POST /models/m/invoke HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n7\r\nreturn \r\n2\r\n42\r\n0\r\n\r\n"
    )
    heard = talk(server, chunked)
    assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert heard.endswith(b"\r\n\r\n42")
    assert b"Healthy" in talk(server, b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert talk(server, b"HEAD /ping HTTP/1.0\r\nHost: localhost\r\n\r\n").endswith(b"\r\n\r\n")
    upgrade = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"
    assert b"Healthy" in talk(server, upgrade)


# Streams


def test_a_generator_is_streamed_chunk_by_chunk(server: Embedded, gate: Path) -> None:
    server.loaded("m")
    connection, response = streamed(
        server,
        "m",
        f"""
        def chunks():
            context.set_response_content_type(0, "text/plain")
            yield "one "
            yield ""
            until({str(gate)!r})
            yield b"two "
            yield bytearray(b"three")
        return chunks()""".replace("\n        ", "\n"),
    )
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert response.headers["Content-Type"] == "text/plain"
    assert response.read(4) == b"one "
    gate.touch()
    assert response.read() == b"two three"
    connection.request("GET", "/ping")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_generator_that_fails_before_its_first_piece_is_500(server: Embedded) -> None:
    server.loaded("m")
    answer = server.invoke("m", "return (1 / 0 for _ in range(3))")
    assert (answer.status, message(answer.body)) == (500, "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("end", ["raise ValueError('broke off')", "os._exit(1)", "yield 1"])
def test_a_stream_that_breaks_off_ends_the_connection(server: Embedded, end: str) -> None:
    server.loaded("m")
    connection, response = streamed(server, "m", f"def chunks():\n    yield 'whole '\n    {end}\nreturn chunks()")
    with pytest.raises(http.client.IncompleteRead) as broken:
        response.read()
    assert broken.value.partial == b"whole "
    connection.close()
    eventually(lambda: "broke off" in server.log())
    assert server.invoke("m", "return 1").status == (404 if "exit" in end else 200)


def test_a_stream_ends_with_the_connection_for_a_caller_that_knows_no_chunks(server: Embedded) -> None:
    server.loaded("m")
    body = b"return iter(['a', 'b'])"
    heard = talk(
        server, b"POST /models/m/invoke HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    assert heard.endswith(b"\r\n\r\nab")


def test_a_stream_that_nobody_reads_any_more_stops_its_handler(server: Embedded, gate: Path) -> None:
    server.loaded("m")
    connection, response = streamed(
        server,
        "m",
        f"""
def chunks():
    try:
        while True:
            yield b"x" * 10000
    finally:
        Path({str(gate)!r}).touch()
return chunks()""",
    )
    assert response.read(10) == b"x" * 10
    response.close()
    connection.close()
    eventually(gate.exists)
    assert server.run("m", "return 1") == 1


def test_a_slow_reader_holds_back_the_handler_not_the_server(server: Embedded, gate: Path) -> None:
    server.loaded("m")
    before = psutil.Process(server.pid).memory_info().rss
    connection, response = streamed(
        server,
        "m",
        f"""
def chunks():
    for _ in range(300):
        yield b"x" * 1_000_000
    Path({str(gate)!r}).touch()
return chunks()""",
    )
    assert response.read(10) == b"x" * 10
    assert not gate.exists()
    assert psutil.Process(server.pid).memory_info().rss - before < 100_000_000
    assert sum(len(piece) for piece in iter(lambda: response.read(1 << 20), b"")) == 300_000_000 - 10
    connection.close()
    eventually(gate.exists)


# The end


def test_sigterm_ends_an_idle_server_with_its_workers(start: Start) -> None:
    server = start()
    for name in "abc":
        server.loaded(name)
    processes = server.processes()
    kept = http.client.HTTPConnection("127.0.0.1", server.container.port)
    kept.request("GET", "/ping")
    kept.getresponse().read()
    server.container.process.terminate()
    assert server.container.process.wait(60) == 0
    wait_until_ended(processes)
    kept.close()


def test_sigterm_lets_invocations_under_way_finish(start: Start, gate: Path) -> None:
    server = start()
    server.loaded("m")
    running = gate.with_name("running")
    invocation = server.start(server.run, "m", f"Path({str(running)!r}).touch(); until({str(gate)!r}); return 1")
    eventually(running.exists)
    server.container.process.terminate()

    def refuses() -> bool:
        try:
            server.container.ping()
        except OSError:
            return True
        return False

    eventually(refuses)
    gate.touch()
    assert invocation.result() == 1
    assert server.container.process.wait(60) == 0


def test_sigterm_stops_what_takes_too_long_and_what_is_loading(start: Start, gate: Path) -> None:
    server = start("--grace-seconds", "0.1")
    server.loaded("m")
    invocation = server.start(server.invoke, "m", f"Path({str(gate)!r}).touch(); time.sleep(3600)")
    eventually(gate.exists)
    load = server.start(server.load, "n", "time.sleep(3600)")
    eventually(lambda: len(server.workers()) == 2)
    server.container.process.terminate()
    assert server.container.process.wait(60) == 0
    assert (invocation.result().status, load.result().status) == (500, 500)


@pytest.mark.parametrize("busy", ["time.sleep(3600)", "sum(range(10 ** 12))"])
def test_when_the_server_is_killed_nothing_is_left_not_even_a_busy_worker(start: Start, busy: str, gate: Path) -> None:
    server = start()
    server.loaded("idle")
    server.loaded("busy")
    invocation = server.start(server.invoke, "busy", f"Path({str(gate)!r}).touch(); {busy}")
    load = server.start(server.load, "loading", "time.sleep(3600)")
    eventually(gate.exists)
    eventually(lambda: len(server.workers()) == 3)
    processes = server.processes()
    server.container.process.kill()
    wait_until_ended(processes)
    assert invocation.exception() and load.exception()


def test_when_the_spawner_is_killed_the_server_ends_with_its_workers(start: Start) -> None:
    server = start()
    server.loaded("m")
    processes = server.processes()
    (spawner,) = psutil.Process(server.pid).children()
    spawner.kill()
    assert server.container.process.wait(60) == 1
    wait_until_ended(processes)


# The command line


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    port = {"SAGEMAKER_BIND_TO_PORT": str(free_port())}
    environment = {**os.environ, **port, **environment}
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "arguments, environment, complaint",
    [
        (["--handler", "nowhere.py"], {}, "there is no file nowhere.py"),
        (["--handler", "nowhere.py:handle"], {}, "there is no file nowhere.py"),
        (["--workers-per-model", "0"], {}, "'0' is not a number of processes"),
        ([], {"SAGEMAKER_MODEL_SERVER_WORKERS": "many"}, "'many' is not a number of processes"),
        ([], {"SAGEMAKER_BIND_TO_PORT": "http"}, "SAGEMAKER_BIND_TO_PORT must be a port number, not 'http'"),
        ([], {"LOCALMME_TOOLKIT": "keras"}, "LOCALMME_TOOLKIT must be auto or one of inference, pytorch,"),
    ],
)
def test_arguments_that_make_no_sense_are_named(
    arguments: list[str], environment: dict[str, str], complaint: str
) -> None:
    ended = run(*arguments, **environment)
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(SAGEMAKER_BIND_TO_PORT=str(port))
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_modules_in_the_working_directory_do_not_get_in_the_way(tmp_path: Path) -> None:
    for module in ("queue", "http", "json", "inspect", "email", "uvloop"):
        (tmp_path / f"{module}.py").write_text("raise RuntimeError('not the one that was meant')")
    with started(in_directory(tmp_path), tmp_path / "log", {"PYTHONPATH": str(REPOSITORY)}) as container:
        container.wait_until_healthy(60)


def test_nothing_heavy_is_imported() -> None:
    script = "import sys, emulator.model_server.__main__, emulator.model_server.run; print(*sys.modules)"
    modules = set(subprocess.check_output([sys.executable, "-c", script], text=True).split())
    assert "emulator.model_server.http.connection" in modules
    assert not modules & {"numpy", "scipy", "boto3", "botocore", "flask", "gunicorn", "aiohttp", "requests", "click"}


def test_handlers_run_in_another_python_without_the_servers_libraries(start: Start, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    [packages] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "only_there.py").write_text("WHERE = 'there'")
    python = str(tmp_path / "venv" / "bin" / "python")
    server = start("--python", python)
    assert f"Handlers run in {python}" in server.container.log.read_text()
    body = """
        import importlib.util
        import only_there
        return [only_there.WHERE, sys.prefix, importlib.util.find_spec("httptools") is None, "" in sys.path]
    """
    for name in ("one", "other"):  # the second may be forked from what the first has imported
        assert server.run(server.loaded(name), body) == ["there", str(tmp_path / "venv"), True, False]
    missing = server.load("missing", load="import torch")
    assert f"Install there: {python} -m pip install torch" in json.loads(missing.body)["message"]


def test_a_python_that_cannot_be_run_ends_the_server(tmp_path: Path) -> None:
    command = [*COMMAND, "--python", str(tmp_path / "none")]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert f"{tmp_path}/none cannot be run: No such file or directory" in run.stderr
