"""Container processes: how they are started, watched, replaced and ended, and what is left of them: nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.support.emulator_process import Emulator
from tests.support.files import archive, files_below
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import SCRIPTED_CONTAINER, Journal, scripted_arguments, scripted_model
from tests.support.waiting import eventually

MARK = "LOCALMME_TEST_MARK"
QUICK = ("--limit", "poll_seconds=0.2", "--limit", "ping_seconds=0.5")
LARGE_FILE = bytes(40 * 2**20)
DEADLY = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


@pytest.fixture
def mark() -> Iterator[str]:
    """In the environment of every process of the test's emulators, whatever becomes of its parents.

    After the test none may be left.
    """
    mark = uuid.uuid4().hex
    yield mark
    try:
        gone(mark)
    finally:
        for process in marked(mark):
            with contextlib.suppress(psutil.Error):
                process.kill()


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture
def run(mark: str, start, bucket: Path, journal: Journal) -> Callable[..., Emulator]:
    """As ``scripted``, with the mark in the environment, and without waiting."""

    def run(*arguments: str, **script: Any) -> Emulator:
        return start(*scripted_arguments(bucket, journal, script), *arguments, environment={MARK: mark})

    return run


def gone(mark: str) -> None:
    eventually(lambda: not marked(mark), 20, f"no process is left: {marked(mark)}")


def container_pid(journal: Journal) -> int:
    return starts(journal)[-1]["pid"]


def starts(journal: Journal) -> list[dict[str, Any]]:
    return [entry for entry in journal.entries() if entry.get("event") == "start"]


def restarts(emulator: Emulator) -> int:
    return emulator.container()["restarts"]


def refused(emulator: Emulator, target_model: str) -> ClientError:
    with pytest.raises(ClientError) as caught:
        emulator.invoke(target_model)
    return caught.value


# Starting


def test_the_container_gets_its_environment_and_the_working_directory_of_serve(
    start, bucket: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen.json"
    script = tmp_path / "container.py"
    script.write_text(
        "import json, os, runpy, sys\n"
        f"json.dump({{'environment': dict(os.environ), 'directory': os.getcwd()}}, open({str(seen)!r}, 'w'))\n"
        f"runpy.run_path({SCRIPTED_CONTAINER.split()[1]!r}, run_name='__main__')\n"
    )
    arguments = ["--models", str(bucket), "--command", f"{sys.executable} {script}", "--env", "A=1", "--env", "B=x=y z"]
    emulator = start(*arguments, environment={"FROM_OUTSIDE": "2"}).wait_in_service()
    port = int(emulator.container()["address"].rsplit(":", 1)[1])
    of_a_shell = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    shell = subprocess.run(of_a_shell, env={**os.environ, "FROM_OUTSIDE": "2"}, capture_output=True, check=True)
    assert json.loads(seen.read_text())["environment"] == {
        **json.loads(shell.stdout),
        "A": "1",
        "B": "x=y z",
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_SAFE_PORT_RANGE": f"{port + 1}-{port + 10}",
    }
    assert json.loads(seen.read_text())["directory"] == os.getcwd()


def test_what_is_meant_for_the_containers_python_does_not_touch_the_emulators_own(
    scripted, bucket: Path, tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "psutil.py").write_text("raise SystemExit('not for the emulator')")
    scripted_model(bucket / "a", "I am a")
    emulator = scripted("--env", f"PYTHONPATH={hostile}")
    assert emulator.invoke("a")["answer"] == "I am a"
    assert emulator.instance()["memory"]["used_bytes"] > 0


def test_a_container_that_ends_before_it_is_healthy_makes_serve_fail_with_its_last_words(run, mark: str) -> None:
    emulator = run(start={"exit": 7, "lines": [f"line {n}" for n in range(30)] + ["no GPU here"]})
    assert emulator.wait() != 0
    assert "exit code 7" in emulator.log
    last = emulator.log[emulator.log.index("exit code 7") :]
    assert "no GPU here" in last and "line 29" in last and "line 5\n" not in last
    assert not emulator.output
    gone(mark)


def test_a_container_that_ends_without_a_word_makes_serve_fail(start, bucket: Path) -> None:
    emulator = start("--models", str(bucket), "--command", "false")
    assert emulator.wait() != 0
    assert "exit code 1" in emulator.log and "wrote nothing to its log" in emulator.log


def test_a_program_that_cannot_be_run_makes_serve_fail(start, bucket: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF not really")
    program.chmod(0o755)
    emulator = start("--models", str(bucket), "--command", str(program))
    assert emulator.wait() != 0
    assert "cannot be run" in emulator.log


@pytest.mark.parametrize(
    "script, words",
    [
        ({"start": {"listen": False}}, "accepts no connection"),
        ({"ping": {"hang": True}}, "no answer within"),
        ({"ping": {"status": 500}}, "GET /ping answered 500"),
        ({"list": {"status": 404}}, "GET /models answered 404"),
    ],
    ids=["never listens", "ping hangs", "ping 500", "list 404"],
)
def test_a_container_that_never_passes_the_health_check_makes_serve_fail(
    run, mark: str, script: dict[str, Any], words: str
) -> None:
    emulator = run("--limit", "startup_seconds=1.5", "--limit", "ping_seconds=0.5", **script)
    assert emulator.wait() != 0
    said = "The primary container for production variant AllTraffic did not pass the ping health check."
    assert said in emulator.log and words in emulator.log
    assert not emulator.output
    gone(mark)


def test_the_endpoint_is_in_service_once_ping_and_list_pass(run, journal: Journal) -> None:
    emulator = run(ping={"times": 4, "status": 503}, list={"times": 2, "status": 500})
    emulator.wait_in_service()
    assert [entry["status"] for entry in journal.entries("ping")[:7]] == [503] * 4 + [200] * 3
    assert [entry["status"] for entry in journal.entries("list")] == [500, 500, 200]


def test_the_health_page_is_503_until_the_endpoint_is_in_service(start, bucket: Path, journal: Journal) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    emulator = start(*scripted_arguments(bucket, journal, {"start": {"listen": 2}}), "--port", str(port))
    emulator.url = f"http://127.0.0.1:{port}"

    def health() -> int:
        try:
            return emulator.health()
        except OSError:
            return 0

    eventually(health, what="it listens")
    assert health() == 503
    error = refused(emulator, "a")
    assert error.response["Error"]["Code"] == "ServiceUnavailable" and "Creating" in str(error)
    emulator.wait_in_service()
    assert health() == 200


# Dying and hanging


def test_a_container_that_dies_while_idle_is_replaced_and_its_models_load_again(
    run, bucket: Path, journal: Journal
) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = run().wait_in_service()
    emulator.invoke("a")
    os.kill(container_pid(journal), signal.SIGKILL)
    eventually(lambda: len(starts(journal)) == 2)
    assert emulator.invoke("a")["answer"] == "I am a"
    model = emulator.model("a")
    assert (restarts(emulator), model["downloads"], model["loads"]) == (1, 1, 2)
    assert "signal SIGKILL" in emulator.log


@pytest.mark.parametrize("call", ["load", "invoke"])
def test_a_container_that_dies_in_a_call_fails_it_and_answers_the_next(
    run, bucket: Path, pool: ThreadPoolExecutor, call: str
) -> None:
    scripted_model(bucket / "slow", invoke={"times": 1, "delay": 30})
    scripted_model(bucket / "a", "I am a", **{call: {"times": 1, "delay": 0.5, "die": "kill"}})
    emulator = run().wait_in_service()
    bystander = pool.submit(refused, emulator, "slow")
    eventually(lambda: emulator.in_memory() == {"slow"})
    error = refused(emulator, "a")
    assert error.response["Error"]["Code"] == "ModelError" and error.response["OriginalStatusCode"] == 0
    assert bystander.result().response["Error"]["Code"] == "ModelError"
    eventually(lambda: restarts(emulator) == 1)
    assert emulator.invoke("a")["answer"] == "I am a"
    assert restarts(emulator) == 1
    assert not emulator.instance()["memory"]["unloading"]


def test_a_download_under_way_when_the_container_dies_is_not_lost(
    run, bucket: Path, journal: Journal, pool: ThreadPoolExecutor
) -> None:
    large_archive(bucket / "large")
    emulator = run().wait_in_service()
    calls = [pool.submit(emulator.invoke, "large") for _ in range(3)]
    eventually(lambda: extracting(emulator))
    os.kill(container_pid(journal), signal.SIGKILL)
    for call in calls:
        with pytest.raises(ClientError):
            call.result()
    assert emulator.invoke("large")["answer"] == "I am large"
    assert emulator.model("large")["downloads"] == 1


def test_a_container_that_hangs_is_replaced(run, bucket: Path, journal: Journal) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = run(*QUICK, "--limit", "unhealthy_pings=3", "--limit", "stop_seconds=1").wait_in_service()
    os.kill(container_pid(journal), signal.SIGSTOP)
    eventually(lambda: "failed 3 health checks in a row" in emulator.log)
    eventually(lambda: restarts(emulator) == 1 and emulator.health() == 200)
    assert emulator.invoke("a")["answer"] == "I am a"


def test_a_few_failed_pings_do_not_replace_a_container(run, journal: Journal) -> None:
    emulator = run(*QUICK, "--limit", "unhealthy_pings=3", ping={"times": 4, "status": 500}).wait_in_service()
    eventually(lambda: len(journal.entries("ping")) > 8)
    assert restarts(emulator) == 0 and len(starts(journal)) == 1


def test_a_container_that_keeps_dying_is_restarted_with_pauses_and_recovers(
    run, bucket: Path, journal: Journal
) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = run("--limit", "poll_seconds=0.1").wait_in_service()
    for life in range(1, 6):
        eventually(lambda life=life: len(starts(journal)) == life)
        os.kill(container_pid(journal), signal.SIGKILL)
    assert emulator.invoke("a")["answer"] == "I am a"
    assert emulator.health() == 200
    times = [entry["time"] for entry in starts(journal)]
    assert times[5] - times[4] > 0.8, "0, 0.1, 0.2, 0.4, 0.8 seconds"


def test_models_are_served_while_a_container_is_being_replaced(run, bucket: Path, journal: Journal) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = run(start={"listen": 1}).wait_in_service()
    os.kill(container_pid(journal), signal.SIGKILL)
    eventually(lambda: not emulator.container()["healthy"])
    assert emulator.invoke("a")["answer"] == "I am a", "the call waits for the new one"


def test_a_dead_container_leaves_no_children_and_its_replacement_does_not_wait_for_them(
    run, mark: str, journal: Journal
) -> None:
    emulator = run(start={"children": True}).wait_in_service()
    first = {entry["pid"] for entry in journal.entries() if "event" in entry}
    os.kill(container_pid(journal), signal.SIGKILL)
    eventually(lambda: len(starts(journal)) == 2, 15)
    eventually(lambda: emulator.container()["healthy"])
    assert not first & {process.pid for process in marked(mark)}


# Ending


@pytest.mark.parametrize("number", DEADLY, ids=[number.name for number in DEADLY])
def test_a_signal_ends_the_emulator_and_its_container_gets_sigterm(
    run, bucket: Path, journal: Journal, mark: str, number: int
) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = run().wait_in_service()
    emulator.invoke("a")
    emulator.signal(number)
    assert emulator.wait() == 0
    assert [entry["event"] for entry in journal.entries() if "event" in entry] == ["start", "sigterm"]
    assert not (emulator.state_directory / "instances").exists()
    assert "Traceback" not in emulator.log and "Task was destroyed" not in emulator.log
    gone(mark)


def test_a_container_that_ignores_sigterm_is_killed_with_all_its_children(run, journal: Journal, mark: str) -> None:
    emulator = run("--limit", "stop_seconds=1", start={"ignore_sigterm": True, "children": True}).wait_in_service()
    eventually(lambda: sum(entry.get("event") == "child" for entry in journal.entries()) == 3)
    emulator.signal(signal.SIGTERM)
    assert emulator.wait() == 0
    gone(mark)


def test_a_terminal_that_closes_ends_the_emulator(run, bucket: Path) -> None:
    emulator = run().wait_in_service()
    processes = emulator.processes()
    for process in processes[:2]:
        process.send_signal(signal.SIGHUP)
    assert emulator.wait() == 0
    eventually(lambda: not any(process.is_running() for process in processes))


def test_with_nohup_a_terminal_that_closes_ends_nothing(run, bucket: Path) -> None:
    scripted_model(bucket / "a", "I am a")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        emulator = run().wait_in_service()
    finally:
        signal.signal(signal.SIGHUP, before)
    for process in emulator.processes()[:2]:
        process.send_signal(signal.SIGHUP)
    assert emulator.invoke("a")["answer"] == "I am a"


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2, signal.SIGWINCH])
def test_no_signal_makes_a_second_worker(run, bucket: Path, number: signal.Signals) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = run().wait_in_service()
    worker = emulator.worker()
    emulator.signal(number)
    assert emulator.invoke("a")["answer"] == "I am a"
    emulator.signal(signal.SIGCHLD)
    assert psutil.Process(emulator.pid).children() == [worker]


def test_ctrl_c_lets_an_invocation_end(run, bucket: Path, pool: ThreadPoolExecutor) -> None:
    scripted_model(bucket / "a", "I am a", invoke={"delay": 2})
    emulator = run().wait_in_service()
    call = pool.submit(emulator.invoke, "a")
    eventually(emulator.in_memory)
    emulator.signal(signal.SIGINT)
    assert call.result()["answer"] == "I am a"
    assert emulator.wait() == 0


def test_an_emulator_that_is_still_starting_can_be_stopped(run, mark: str) -> None:
    emulator = run(start={"listen": False})
    eventually(lambda: len(marked(mark)) >= 4, what="master, worker, keeper and container run")
    emulator.signal(signal.SIGINT)
    assert emulator.wait() == 0
    gone(mark)


def kill_the_worker(emulator: Emulator) -> None:
    emulator.worker().kill()


def kill_the_master(emulator: Emulator) -> None:
    emulator.signal(signal.SIGKILL)


def kill_both(emulator: Emulator) -> None:
    worker = emulator.worker()
    emulator.signal(signal.SIGKILL)
    worker.kill()


def kill_the_keeper(emulator: Emulator) -> None:
    emulator.worker().children()[0].kill()


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
        return True


@pytest.mark.parametrize("kill", [kill_the_master, kill_both])
def test_nothing_outlives_an_emulator_that_is_killed(
    run, bucket: Path, journal: Journal, mark: str, kill: Callable[[Emulator], None]
) -> None:
    scripted_model(bucket / "a")
    stubborn = {"children": True, "ignore_sigterm": True}
    emulator = run("--limit", "stop_seconds=2", start=stubborn).wait_in_service()
    emulator.invoke("a")
    eventually(lambda: sum(entry.get("event") == "child" for entry in journal.entries()) == 3)
    kill(emulator)
    gone(mark)
    instances = emulator.state_directory / "instances"
    assert not files_below(instances)
    assert port_is_free(int(emulator.url.rsplit(":", 1)[1]))


@pytest.mark.parametrize("kill", [kill_the_worker, kill_the_keeper])
def test_an_emulator_that_loses_a_part_replaces_it_and_leaves_nothing_of_the_old_one(
    run, bucket: Path, journal: Journal, mark: str, kill: Callable[[Emulator], None]
) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = run(start={"children": True}).wait_in_service()
    emulator.invoke("a")
    eventually(lambda: sum(entry.get("event") == "child" for entry in journal.entries()) == 3)
    old = {entry["pid"] for entry in journal.entries() if "event" in entry}
    kill(emulator)
    eventually(lambda: not old & {process.pid for process in marked(mark)}, 20, "the old container is gone")

    def answer() -> Any:
        try:
            return emulator.invoke("a")["answer"]
        except Exception:  # there is no one for a moment
            return None

    assert eventually(answer) == "I am a"
    assert emulator.stop() == 0
    gone(mark)


def test_when_the_worker_is_killed_a_container_that_dies_once_more_or_for_ever_takes_nothing_with_it(
    mark: str, start, bucket: Path, journal: Journal, tmp_path: Path
) -> None:
    scripted_model(bucket / "a", "I am a")
    once, always = tmp_path / "once", tmp_path / "always"
    script = f'if test -e {always}; then exit 4; fi; if test -e {once}; then rm {once}; exit 3; fi; exec "$@"'
    words = ["sh", "-c", script, "sh", *SCRIPTED_CONTAINER.split()]
    arguments = scripted_arguments(bucket, journal, {})
    arguments[arguments.index("--command") + 1] = shlex.join(words)
    emulator = start(*arguments, environment={MARK: mark}).wait_in_service()
    once.touch()
    emulator.worker().kill()
    eventually(lambda: not once.exists() and len(starts(journal)) == 2 and emulator.health() == 200)
    assert emulator.invoke("a")["answer"] == "I am a"
    always.touch()
    emulator.worker().kill()
    eventually(lambda: "Endpoint local is Failed: " in emulator.log, what="the log tells it")
    assert "ended with exit code 4" in emulator.log
    assert emulator.client_of("s3").list_buckets()["Buckets"] == []
    assert emulator.client_of("sagemaker").describe_endpoint(EndpointName="local")["EndpointStatus"] == "Failed"
    assert emulator.stop() == 0


def test_of_a_container_whose_keeper_was_killed_no_zombie_is_left(run, journal: Journal) -> None:
    emulator = run().wait_in_service()
    kill_the_keeper(emulator)
    eventually(lambda: len(starts(journal)) == 2 and emulator.container()["healthy"])
    below = emulator.worker().children(recursive=True)
    assert [process for process in below if process.status() == psutil.STATUS_ZOMBIE] == []


# Files


def test_logs_are_shown_and_kept(run, bucket: Path) -> None:
    scripted_model(bucket / "a", load={"lines": 3})
    emulator = run(start={"lines": ["hello from the container"]}).wait_in_service()
    emulator.invoke("a")
    assert emulator.stop() == 0
    kept = "".join(path.read_text() for path in files_below(emulator.state_directory / "logs"))
    for line in ("hello from the container", "line 3"):
        assert line in emulator.log and line in kept


def large_archive(path: Path) -> None:
    """One that takes a while to extract."""
    archive(path, {**{f"weights-{n}": LARGE_FILE for n in range(8)}, "answer.txt": f"I am {path.name}"})


def extracting(emulator: Emulator) -> bool:
    return any((emulator.state_directory / "instances").glob("**/.extracting-*/weights-1"))


def test_a_model_half_extracted_when_the_emulator_was_killed_is_extracted_anew(
    bucket: Path, journal: Journal, tmp_path: Path, pool: ThreadPoolExecutor, mark: str, run
) -> None:
    large_archive(bucket / "large")
    state = tmp_path / "state"
    arguments = scripted_arguments(bucket, journal, {})
    emulator = Emulator(*arguments, state=state, environment={MARK: mark}).wait_in_service()
    try:
        call = pool.submit(emulator.invoke, "large")
        eventually(lambda: extracting(emulator))
        kill_both(emulator)
        with pytest.raises(Exception):  # noqa: B017 - whatever boto3 makes of a dead server
            call.result()
        gone(mark)
    finally:
        emulator.stop()
    emulator = Emulator(*arguments, state=state, environment={MARK: mark}).wait_in_service()
    try:
        assert emulator.invoke("large")["answer"] == "I am large"
        model = emulator.model("large")
        assert model["size_on_disk_bytes"] == 8 * len(LARGE_FILE) + len("I am large")
        stored = sum(path.stat().st_size for path in (state / "instances").rglob("*") if path.is_file())
        assert stored == model["size_on_disk_bytes"]
    finally:
        assert emulator.stop() == 0
    assert not (state / "instances").exists()


def test_a_second_emulator_on_the_same_state_directory_is_refused(run, bucket: Path, journal: Journal) -> None:
    emulator = run().wait_in_service()
    second = Emulator(*scripted_arguments(bucket, journal, {}), state=emulator.state_directory)
    assert second.wait() == 1
    assert "Another emulator uses the state directory" in second.log
    assert len(second.errors) == 1 and not second.output


def test_an_emulator_whose_output_no_one_reads_any_more_serves_on(
    run, bucket: Path, journal: Journal, tmp_path: Path, mark: str
) -> None:
    for name in "ab":
        scripted_model(bucket / name, f"I am {name}", load={"lines": 5})
    emulator = run().wait_in_service()
    serve = [sys.executable, "-m", "localmme", "serve", "--port", "0", "--state-dir", str(tmp_path / "own")]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    arguments = [*serve, "--max-loaded-models", "1", *scripted_arguments(bucket, journal, {})]
    with subprocess.Popen(arguments, cwd=REPOSITORY, env={**os.environ, MARK: mark}, **pipe) as process:
        emulator.url = process.stdout.readline().split(" at ")[1].split()[0]
        process.stdout.close()
        process.stderr.close()
        try:
            for name in "aba":
                assert emulator.invoke(name)["answer"] == f"I am {name}"
        finally:
            process.terminate()
        assert process.wait(30) == 0
