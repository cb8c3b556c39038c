"""The scripted container keeps the contract, and breaks it exactly as its cues say."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import scripted_container
from tests.support.real_servers.container import Answer, Container, started
from tests.support.waiting import eventually

COMMAND = [sys.executable, str(Path(scripted_container.__file__))]
CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"


@dataclass(frozen=True)
class Stage:
    """Where the scripted containers of one test run."""

    directory: Path
    stack: ExitStack

    def start(self, **script: Any) -> Container:
        """A container with a script, not waited for."""
        environment = {"SCRIPT": json.dumps(script), "SCRIPT_JOURNAL": str(self.directory / "journal")}
        return self.stack.enter_context(started(COMMAND, self.directory / "log", environment))

    def healthy(self, **script: Any) -> Container:
        """A container with a script, ready."""
        container = self.start(**script)
        container.wait_until_healthy()
        return container

    def loaded(self, **script: Any) -> Container:
        """A container with a script and one model, `m`, loaded."""
        container = self.healthy(**script)
        assert container.load("m", self.model("m")).status == 200
        return container

    def model(self, name: str, **script: Any) -> Path:
        """A model's directory, with its own script."""
        directory = self.directory / name / "model"
        directory.mkdir(parents=True)
        (directory / "answer.txt").write_text(f"I am {name}")
        (directory / "script.json").write_text(json.dumps(script))
        return directory

    def journal(self, **wanted: Any) -> list[dict[str, Any]]:
        """The journal's entries that have these values."""
        entries = map(json.loads, (self.directory / "journal").read_text().splitlines())
        return [entry for entry in entries if all(entry.get(key) == value for key, value in wanted.items())]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


def test_without_cues_the_contract_is_kept(stage: Stage) -> None:
    container = stage.healthy()
    directory = stage.model("m")
    assert container.list().json() == {"models": []}
    assert container.get("m").status == 404
    assert container.invoke("m", b"").status == 404
    assert container.load("m", directory).status == 200
    assert container.load("m", directory).status == 409
    assert container.load("n", directory.parent / "nowhere").status == 404
    assert container.list().json() == {"models": [{"modelName": "m", "modelUrl": str(directory)}]}
    assert container.get("m").json() == {"modelName": "m", "modelUrl": str(directory)}
    assert container.unload("m").status == 200
    assert container.unload("m").status == 404
    assert container.list().json() == {"models": []}
    assert container.call("GET", "/elsewhere").status == 404


def test_an_invocation_is_answered_with_what_the_container_saw(stage: Stage) -> None:
    container = stage.loaded()
    answer = container.invoke("m", b"\x00\xff", "text/x", "a/m.tar.gz", {CUSTOM: "c=1"}).json()
    assert (answer["model_name"], answer["target_model"], answer["answer"]) == ("m", "a/m.tar.gz", "I am m")
    assert (answer["body_length"], answer["body"]) == (2, "\x00\xff")
    assert answer["headers"]["Content-Type"] == "text/x"
    assert answer["headers"][CUSTOM] == "c=1"


def test_a_single_model_container_answers_invocations(stage: Stage) -> None:
    assert stage.healthy().call("POST", "/invocations", b"hello").json()["body"] == "hello"


def test_without_many_models_there_is_only_the_one(stage: Stage) -> None:
    directory = stage.model("only", invoke={"environment": True})
    environment = {"SAGEMAKER_MULTI_MODEL": "", "SM_MODEL_DIR": str(directory)}
    container = stage.stack.enter_context(started(COMMAND, stage.directory / "log", environment))
    container.wait_until_healthy()
    answer = container.call("POST", "/invocations", b"hello").json()
    assert (answer["answer"], answer["environment"]["SM_MODEL_DIR"]) == ("I am only", str(directory))
    assert container.list().status == 404


def test_the_journal_can_go_to_the_log(stage: Stage) -> None:
    environment = {"SCRIPT_JOURNAL": "/dev/stdout"}
    container = stage.stack.enter_context(started(COMMAND, stage.directory / "log", environment))
    container.wait_until_healthy()
    assert '"call": "ping"' in container.log.read_text()


def test_one_connection_serves_many_calls_and_chunked_requests(stage: Stage) -> None:
    container = stage.loaded(invoke={"echo": True})
    connection = http.client.HTTPConnection("127.0.0.1", container.port, timeout=60)
    sockets = set()
    for body in (b"plain", iter([b"in ", b"chunks"])):
        connection.request("POST", "/models/m/invoke", body)
        sockets.add(connection.sock)
        assert connection.getresponse().read() in (b"plain", b"in chunks")
    assert len(sockets) == 1


def test_the_journal_has_each_call_before_it_is_answered(stage: Stage) -> None:
    container = stage.loaded()
    began = time.time()
    container.invoke("m", b"12345", target_model="m.tar.gz")
    [entry] = stage.journal(call="invoke")
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", "/models/m/invoke", 200)
    assert (entry["model"], entry["body_length"], entry["in_flight"]) == ("m", 5, 1)
    assert entry["headers"]["X-Amzn-SageMaker-Target-Model"] == "m.tar.gz"
    assert began <= entry["time"] <= time.time()
    assert stage.journal(call="load")[0]["url"].endswith("m/model")
    assert stage.journal(event="start")[0]["pid"] == container.process.pid


def test_an_unload_under_a_running_invocation_shows_in_the_journal(stage: Stage) -> None:
    gate = stage.directory / "gate"
    container = stage.loaded(invoke={"lines": 1, "until": str(gate)})
    caller = threading.Thread(target=container.invoke, args=("m", b""))
    caller.start()
    eventually(lambda: "invoke m line 1" in container.log.read_text(), what="the invocation has begun")
    container.unload("m")
    gate.touch()
    caller.join()
    assert stage.journal(call="unload")[0]["in_flight"] == 1


def ask(container: Container, stage: Stage, call: str) -> int:
    """Make a call about the model `m` and tell its status."""
    calls: dict[str, Callable[[], Answer]] = {
        "list": container.list,
        "get": lambda: container.get("m"),
        "load": lambda: container.load("m", stage.directory / "m" / "model"),
        "invoke": lambda: container.invoke("m", b""),
        "unload": lambda: container.unload("m"),
    }
    return calls[call]().status


@pytest.mark.parametrize("call", ["list", "get", "load", "unload", "invoke"])
def test_a_call_can_fail_for_its_first_times(stage: Stage, call: str) -> None:
    container = stage.healthy(**{call: {"status": 418, "times": 2}})
    stage.model("m")
    if call != "load":
        assert ask(container, stage, "load") == 200
    assert [ask(container, stage, call) for _ in range(3)] == [418, 418, 200]


def test_pings_can_fail_for_their_first_times(stage: Stage) -> None:
    stage.healthy(ping={"status": 503, "times": 2})
    assert [entry["status"] for entry in stage.journal(call="ping")] == [503, 503, 200]


def test_times_are_counted_over_a_restart(stage: Stage) -> None:
    container = stage.healthy()
    directory = stage.model("m", load={"die": 3, "times": 1})
    with pytest.raises(OSError):
        container.load("m", directory)
    assert container.process.wait(60) == 3
    assert stage.healthy().load("m", directory).status == 200
    assert [entry["status"] for entry in stage.journal(call="load")] == ["die", 200]


def test_a_cue_can_wait_for_its_time(stage: Stage) -> None:
    container = stage.healthy(get={"status": 500, "after": 3600}, list={"status": 500, "after": 0.5})
    eventually(lambda: container.list().status == 500)
    assert container.get("m").status == 404


def test_a_bad_model_does_not_disturb_its_neighbours(stage: Stage) -> None:
    container = stage.loaded(invoke={"content_type": "text/x"})
    assert container.load("bad", stage.model("bad", invoke={"status": 500, "body": "boom"})).status == 200
    answer = container.invoke("bad", b"")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (500, b"boom", "text/x")
    assert container.invoke("m", b"").status == 200


def test_cues_for_every_call_hold_beside_those_for_one(stage: Stage) -> None:
    container = stage.loaded(every={"lines": 2}, invoke={"echo": True})
    assert container.invoke("m", b"same").body == b"same"
    assert "invoke m line 1\ninvoke m line 2\n" in container.log.read_text()


def test_calls_can_be_slow_or_never_answered(stage: Stage) -> None:
    container = stage.loaded(unload={"delay": 0.3})
    assert container.load("stuck", stage.model("stuck", invoke={"hang": True})).status == 200
    with pytest.raises(TimeoutError):
        container.invoke("stuck", b"", timeout=0.5)
    began = time.monotonic()
    assert container.unload("m").status == 200
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(("cue", "failure"), [("garbage", http.client.BadStatusLine), ("close", ConnectionError)])
def test_answers_can_be_garbage_or_missing(stage: Stage, cue: str, failure: type[Exception]) -> None:
    container = stage.loaded(list={cue: True}, invoke={cue: True})
    for call in ("list", "invoke"):
        with pytest.raises(failure):
            ask(container, stage, call)
    assert container.ping().status == 200


@pytest.mark.parametrize(("code", "exit_code"), [(7, 7), ("kill", -signal.SIGKILL)])
def test_the_process_can_die_in_a_call(stage: Stage, code: int | str, exit_code: int) -> None:
    container = stage.loaded(invoke={"die": code})
    with pytest.raises(OSError):
        container.invoke("m", b"")
    assert container.process.wait(60) == exit_code
    assert stage.journal(call="invoke")[0]["status"] == "die"


def test_loads_fail_while_too_many_models_are_loaded(stage: Stage) -> None:
    container = stage.healthy(max_models=1)
    first, second = stage.model("first"), stage.model("second")
    assert container.load("first", first).status == 200
    assert container.load("second", second).status == 507
    assert container.get("second").status == 404
    assert container.unload("first").status == 200
    assert container.load("second", second).status == 200


def test_a_failed_model_can_stay_registered(stage: Stage) -> None:
    container = stage.healthy()
    directory = stage.model("m", load={"status": 507, "keep": True, "times": 1})
    assert [ask(container, stage, call) for call in ("load", "load", "get", "invoke")] == [507, 409, 200, 503]
    assert len(container.list().json()["models"]) == 1
    assert container.unload("m").status == 200
    assert container.load("m", directory).status == 200
    assert container.invoke("m", b"").status == 200


def test_models_are_listed_in_pages(stage: Stage) -> None:
    container = stage.healthy(list={"page_size": 2})
    for name in ("a", "b", "c"):
        container.load(name, stage.model(name))
    first = container.list().json()
    second = container.call("GET", f"/models?next_page_token={first['nextPageToken']}").json()
    assert [model["modelName"] for model in first["models"] + second["models"]] == ["a", "b", "c"]
    assert "nextPageToken" not in second


def test_a_model_can_be_forgotten(stage: Stage) -> None:
    container = stage.loaded(invoke={"forget": True, "times": 1})
    assert [ask(container, stage, call) for call in ("invoke", "get", "load", "invoke")] == [404, 404, 200, 200]


def test_answers_can_have_any_header_type_and_size(stage: Stage) -> None:
    container = stage.loaded(
        invoke={"headers": {CUSTOM: "trace=1"}, "content_type": "application/x", "size": 3_000_000}
    )
    answer = container.invoke("m", b"")
    assert (answer.headers[CUSTOM], answer.headers["Content-Type"]) == ("trace=1", "application/x")
    assert answer.body == b"x" * 3_000_000


def test_an_answer_can_break_off(stage: Stage) -> None:
    container = stage.loaded(invoke={"truncate": True, "body": "half"})
    with pytest.raises(http.client.IncompleteRead) as broken:
        container.invoke("m", b"")
    assert broken.value.partial == b"half"


def test_chunks_come_one_by_one(stage: Stage) -> None:
    gate = stage.directory / "gate"
    cue = {"chunks": ["a", "bb", "ccc"], "chunk_until": str(gate), "chunk_delay": 0.1}
    container = stage.loaded(invoke=cue)
    connection = http.client.HTTPConnection("127.0.0.1", container.port, timeout=60)
    began = time.monotonic()  # the container waits as soon as the first chunk is sent, not when it is read here
    connection.request("POST", "/models/m/invoke", b"")
    response = connection.getresponse()
    assert response.read1(100) == b"a"
    gate.touch()
    assert response.read() == b"bbccc"
    assert time.monotonic() - began >= 0.2


def test_a_stream_can_break_off(stage: Stage) -> None:
    container = stage.loaded(invoke={"chunks": ["a", "b", "c"], "break_after": 2})
    with pytest.raises(http.client.IncompleteRead) as broken:
        container.invoke("m", b"")
    assert broken.value.partial == b"ab"


def test_a_container_can_end_at_once_with_a_message(stage: Stage) -> None:
    container = stage.start(start={"exit": 4, "lines": ["no", "luck"]})
    assert container.process.wait(60) == 4
    assert container.log.read_text() == "no\nluck\n"


def test_a_container_can_listen_late_or_never(stage: Stage) -> None:
    began = time.monotonic()
    stage.healthy(start={"listen": 0.6})
    assert time.monotonic() - began >= 0.6
    with pytest.raises(RuntimeError):
        stage.start(start={"listen": False}).wait_until_healthy(0.3)
    gate = stage.directory / "gate"
    late = stage.start(start={"until": str(gate)})
    with pytest.raises(RuntimeError):
        late.wait_until_healthy(0.3)
    gate.touch()
    late.wait_until_healthy()


def test_sigterm_ends_a_container_unless_it_ignores_it(stage: Stage) -> None:
    polite = stage.healthy()
    polite.process.terminate()
    assert polite.process.wait(60) == 0
    stubborn = stage.healthy(start={"ignore_sigterm": True})
    stubborn.process.terminate()
    pids = [polite.process.pid, stubborn.process.pid]
    eventually(lambda: [entry["pid"] for entry in stage.journal(event="sigterm")] == pids)
    assert stubborn.ping().status == 200
    stubborn.process.kill()


def test_children_outlive_their_container(stage: Stage) -> None:
    container = stage.healthy(start={"children": True})
    eventually(lambda: len(stage.journal(event="child")) == 3)
    children = {entry["kind"]: psutil.Process(entry["pid"]) for entry in stage.journal(event="child")}
    try:
        assert set(children) == {"group", "session", "orphan"}
        assert children["orphan"].ppid() != container.process.pid
        assert os.getsid(children["session"].pid) != os.getsid(container.process.pid)
        assert os.getpgid(children["group"].pid) == container.process.pid
        for process in (*children.values(), container.process):
            process.terminate()
        container.process.wait(60)
        assert all(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children.values())
    finally:
        for child in children.values():
            child.kill()


def test_a_model_takes_memory_until_it_is_unloaded(stage: Stage) -> None:
    container = stage.healthy()
    memory = psutil.Process(container.process.pid).memory_info
    before = memory().rss
    container.load("big", stage.model("big", load={"megabytes": 100}))
    assert memory().rss - before > 90 * 2**20
    container.unload("big")
    assert memory().rss - before < 20 * 2**20
