"""The embedded server keeps SageMaker's contract for containers with a single model."""

from __future__ import annotations

import http.client
import os
import signal
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.model_server_process import COMMAND, Embedded, embedded, in_the_queue, obedient
from tests.support.processes import wait_until_ended
from tests.support.real_servers.container import Answer, Container, started
from tests.support.waiting import eventually

Start = Callable[..., Embedded]
SINGLE = {"SAGEMAKER_MULTI_MODEL": ""}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server with an obedient handler in an archive that has this load.py; it has loaded its model."""
    with ExitStack() as stack:

        def start(*arguments: str, load: str = "", **environment: str) -> Embedded:
            (tmp_path / "load.py").write_text(load)
            (tmp_path / "code").mkdir()
            os.rename(obedient(tmp_path), tmp_path / "code" / "inference.py")
            environment = {**SINGLE, "SM_MODEL_DIR": str(tmp_path), **environment}
            return stack.enter_context(embedded(tmp_path / "server", *arguments, **environment))

        yield start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """One server for the tests that leave it as they found it. It has a handler and no model data."""
    directory = tmp_path_factory.mktemp("single")
    environment = {**SINGLE, "SM_MODEL_DIR": str(directory / "nothing")}
    with embedded(directory, "--handler", obedient(directory), **environment) as server:
        yield server


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that handlers wait for, or that shows how far they came."""
    return tmp_path / "gate"


def invoke(server: Embedded, body: str, headers: Mapping[str, str] = {}) -> Answer:
    return server.container.call("POST", "/invocations", textwrap.dedent(body).encode(), headers)


def running(directory: Path, load: str, stack: ExitStack) -> Container:
    """A server whose model may not be loaded yet, or never will be."""
    (directory / "load.py").write_text(load)
    environment = {**SINGLE, "SM_MODEL_DIR": str(directory)}
    container = started([*COMMAND, "--handler", obedient(directory)], directory / "log", environment)
    return stack.enter_context(container)


def answers(container: Container) -> bool:
    try:
        return bool(container.ping().status)
    except OSError:
        return False


def ended(directory: Path, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    """The exit code of a server that ends by itself, and the lines of its log."""
    with started([*COMMAND, *arguments], directory / "log", {**SINGLE, **environment}) as container:
        code = container.process.wait(60)
    return code, container.log.read_text().splitlines()


# The contract


def test_a_server_is_healthy_once_its_model_is_loaded(tmp_path: Path, gate: Path) -> None:
    with ExitStack() as stack:
        container = running(tmp_path, f"until({str(gate)!r})", stack)
        eventually(lambda: answers(container))
        for method, path in (("GET", "/ping"), ("POST", "/invocations")):
            answer = container.call(method, path, b"return 1")
            assert (answer.status, answer.json()["message"]) == (503, "The model is being loaded.")
        gate.touch()
        container.wait_until_healthy(60)
        assert container.call("POST", "/invocations", b"return 1").body == b"1"


def test_requests_and_answers_are_those_of_a_model_among_many(server: Embedded) -> None:
    answer = invoke(
        server,
        """
        context.set_response_status(418)
        context.set_response_content_type(0, "text/csv")
        context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "c=2")
        return context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes")
        """,
        {"X-Amzn-SageMaker-Custom-Attributes": "c=1"},
    )
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (418, b"c=1", "text/csv")
    assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "c=2"
    assert answer.headers["x-request-id"]


def test_a_generator_is_streamed_chunk_by_chunk(server: Embedded, gate: Path) -> None:
    body = f"def chunks():\n    yield 'one '\n    until({str(gate)!r})\n    yield 'two'\nreturn chunks()"
    connection = http.client.HTTPConnection("127.0.0.1", server.container.port, timeout=60)
    connection.request("POST", "/invocations", body)
    response = connection.getresponse()
    assert response.read(4) == b"one "
    gate.touch()
    assert response.read() == b"two"
    connection.close()


# The model


def test_an_archive_brings_its_handler(start: Start, tmp_path: Path) -> None:
    server = start()
    said = invoke(server, "return [context.model_name, context.system_properties['model_dir'], os.getcwd()]").json()
    assert said == ["model", str(tmp_path), str(tmp_path)]


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    "handler",
    [
        "def handle(data, context): return data and [data[0]['body'].upper()]",
        "class Step:\n"
        "    def initialize(self, context): self.directory = context.system_properties['model_dir']\n"
        "    def handle(self, data, context): return [data[0]['body'].upper()]",
        "def model_fn(model_dir): return None\n"
        "def input_fn(body, content_type): return body\n"
        "def predict_fn(data, model): return data.upper()\n"
        "def output_fn(prediction, accept): return prediction",
    ],
    ids=["function", "class", "toolkit"],
)
def test_a_handler_needs_no_model_data(tmp_path: Path, exists: bool, handler: str) -> None:
    (tmp_path / "step.py").write_text(handler)
    directory = tmp_path / "model"
    if exists:
        directory.mkdir()
    environment = {**SINGLE, "SM_MODEL_DIR": str(directory)}
    with embedded(tmp_path / "server", "--handler", str(tmp_path / "step.py"), **environment) as server:
        assert invoke(server, "text").body == b"TEXT"


@pytest.mark.parametrize(
    "load, reason",
    [
        ("raise ValueError('no such weights')", "ValueError: no such weights"),
        ("raise MemoryError('too big')", "MemoryError: too big"),
        ("os._exit(5)", "The worker process died while loading the model: exit code 5"),
    ],
)
def test_a_server_whose_model_does_not_load_says_why_and_ends(tmp_path: Path, load: str, reason: str) -> None:
    (tmp_path / "load.py").write_text(load)
    code, log = ended(tmp_path, "--handler", obedient(tmp_path), SM_MODEL_DIR=str(tmp_path))
    assert code == 1 and log[-1].startswith(f"The model could not be loaded: {reason}")
    assert "Traceback (most recent call last):" in log or "exit" in reason


def test_a_server_with_neither_handler_nor_model_says_where_it_looked(tmp_path: Path) -> None:
    code, log = ended(tmp_path, SAGEMAKER_MULTI_MODEL="false", SM_MODEL_DIR="")
    assert code == 1
    assert log[-1].startswith(
        "The model could not be loaded: /opt/ml/model has neither code/inference.py nor inference.py."
    )


# Its workers


def test_a_server_ends_when_its_worker_dies_and_all_who_wait_are_told(start: Start, gate: Path) -> None:
    server = start()
    began = gate.with_name("began")
    first = server.start(invoke, server, f"Path({str(began)!r}).touch(); until({str(gate)!r}); os._exit(3)")
    eventually(began.exists)
    queued = [server.start(invoke, server, "return 1") for _ in range(3)]
    in_the_queue(server, 3)
    processes = server.processes()
    gate.touch()
    assert server.container.process.wait(60) == 1
    wait_until_ended(processes)
    answer = first.result()
    assert (answer.status, answer.json()["message"]) == (500, "The worker process of the model died: exit code 3")
    assert [invocation.result().status for invocation in queued] == [503] * 3
    assert server.log().splitlines()[-1] == "No worker process of the model is left"


def test_a_server_ends_when_its_handler_never_answers(start: Start) -> None:
    server = start("--invocation-seconds", "0.5")
    answer = invoke(server, "while True: pass")
    assert answer.status == 500 and "had not begun its response within 0.5 s" in answer.json()["message"]
    assert server.container.process.wait(60) == 1


def test_a_server_ends_when_its_idle_worker_dies(start: Start) -> None:
    server = start()
    os.kill(invoke(server, "return os.getpid()").json(), signal.SIGKILL)
    assert server.container.process.wait(60) == 1


# The end


def test_sigterm_lets_invocations_under_way_finish(start: Start, gate: Path) -> None:
    server = start()
    began = gate.with_name("began")
    invocation = server.start(invoke, server, f"Path({str(began)!r}).touch(); until({str(gate)!r}); return 1")
    eventually(began.exists)
    server.container.process.terminate()
    eventually(lambda: not answers(server.container))
    gate.touch()
    assert invocation.result().body == b"1"
    assert server.container.process.wait(60) == 0


def test_sigterm_stops_a_load_under_way(tmp_path: Path, gate: Path) -> None:
    with ExitStack() as stack:
        container = running(tmp_path, f"Path({str(gate)!r}).touch(); time.sleep(3600)", stack)
        eventually(gate.exists)
        processes = psutil.Process(container.process.pid).children(recursive=True)
        container.process.terminate()
        assert container.process.wait(60) == 0
        wait_until_ended(processes)
        assert "could not be loaded" not in container.log.read_text()
