"""The emulator's own processes: signals, and what is left when one of them, or all, were killed: nothing."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.container_processes import LARGE_FILE, MARK, extracting, gone, large_archive, marked, starts
from tests.support.emulator_process import Emulator, RunningEmulator
from tests.support.files import files_below
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import SCRIPTED_CONTAINER, Journal, scripted_arguments, scripted_model
from tests.support.waiting import eventually

DEADLY = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


@pytest.fixture
def run(mark: str, start, bucket: Path, journal: Journal) -> Callable[..., Emulator]:
    """As ``scripted``, with the mark in the environment, and without waiting."""

    def run(*arguments: str, **script: Any) -> Emulator:
        return start(*scripted_arguments(bucket, journal, script), *arguments, environment={MARK: mark})

    return run


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


def test_no_signal_makes_a_second_worker_and_ctrl_c_lets_an_invocation_end(
    run, bucket: Path, pool: ThreadPoolExecutor
) -> None:
    scripted_model(bucket / "a", "I am a")
    scripted_model(bucket / "slow", "I am slow", invoke={"delay": 1})
    emulator = run().wait_in_service()
    worker = emulator.worker()
    for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2, signal.SIGWINCH):
        emulator.signal(number)
        assert emulator.invoke("a")["answer"] == "I am a"
        emulator.signal(signal.SIGCHLD)
        assert psutil.Process(emulator.pid).children() == [worker]
    call = pool.submit(emulator.invoke, "slow")
    eventually(lambda: "slow" in emulator.in_memory())
    emulator.signal(signal.SIGINT)
    assert call.result()["answer"] == "I am slow"
    assert emulator.wait() == 0


def test_an_emulator_that_is_still_starting_can_be_stopped(run, mark: str) -> None:
    emulator = run(start={"listen": False})
    eventually(lambda: len(marked(mark)) >= 4, what="master, worker, keeper and container run")
    emulator.signal(signal.SIGINT)
    assert emulator.wait() == 0
    gone(mark)


def test_a_signal_that_comes_before_the_emulator_listens_ends_it(run, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(state / "registry.db", isolation_level=None)) as registry:
        registry.execute("BEGIN EXCLUSIVE")  # the start waits for it
        emulator = run("--state-dir", str(state))
        eventually((state / "logs").exists, what="its worker starts")
        emulator.signal(signal.SIGTERM)
        time.sleep(0.2)
        registry.execute("ROLLBACK")
        assert emulator.wait() == 0
    assert not emulator.errors and not emulator.output


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
    eventually(lambda: not old & {process.pid for process in marked(mark)}, what="the old container is gone")

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
    told = ("Endpoint local is Failed: ", "ended with exit code 4")
    eventually(lambda: all(words in emulator.log for words in told), what="the log tells it")
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


def test_an_emulator_whose_output_no_one_reads_any_more_serves_on(
    bucket: Path, journal: Journal, tmp_path: Path, mark: str
) -> None:
    for name in "ab":
        scripted_model(bucket / name, f"I am {name}", load={"lines": 5})
    emulator = RunningEmulator(tmp_path / "own")
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
        assert process.wait(60) == 0
