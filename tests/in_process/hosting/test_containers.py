"""Container processes: how they are started, watched, replaced and ended; all in the life of one emulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from emulator.containers.process.environment import is_inherited
from tests.support.container_processes import MARK, container_pid, extracting, gone, large_archive, marked, starts
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive, files_below
from tests.support.scripted_models import SCRIPTED_CONTAINER, Journal, scripted_arguments, scripted_model
from tests.support.waiting import eventually

QUICK = ("--limit", "poll_seconds=0.2", "--limit", "ping_seconds=0.5")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


@pytest.fixture
def run(mark: str, start, bucket: Path, journal: Journal) -> Callable[..., InProcessEmulator]:
    """As ``scripted``, with the mark in the container's environment, and without waiting."""

    def run(*arguments: str, **script: Any) -> InProcessEmulator:
        return start(*scripted_arguments(bucket, journal, script), "--env", f"{MARK}={mark}", *arguments)

    return run


def restarts(emulator: InProcessEmulator) -> int:
    return emulator.container()["restarts"]


def refused(emulator: InProcessEmulator, target_model: str) -> ClientError:
    with pytest.raises(ClientError) as caught:
        emulator.invoke(target_model)
    return caught.value


# Starting


WRITES_ITS_ENVIRONMENT = (
    "import json, os, runpy, sys\n"
    "json.dump({{'environment': dict(os.environ), 'directory': os.getcwd()}}, open({seen!r}, 'w'))\n"
    "runpy.run_path({container!r}, run_name='__main__')\n"
)


@pytest.mark.parametrize("inherit_env", [False, True])
def test_the_container_gets_its_environment_and_the_working_directory_of_serve(
    start, bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inherit_env: bool
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FROM_OUTSIDE", "2")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    seen, script = tmp_path / "seen.json", tmp_path / "container.py"
    script.write_text(WRITES_ITS_ENVIRONMENT.format(seen=str(seen), container=SCRIPTED_CONTAINER.split()[-1]))
    arguments = ["--models", str(bucket), "--command", f"{sys.executable} {script}", "--env", "A=1", "--env", "B=x=y z"]
    emulator = start(*arguments, *["--inherit-env"] * inherit_env).wait_in_service()
    port = int(emulator.container()["address"].rsplit(":", 1)[1])
    environment = json.loads(seen.read_text())["environment"]
    token = environment.pop("AWS_CONTAINER_AUTHORIZATION_TOKEN", None)
    of_a_shell = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    shell = json.loads(subprocess.run(of_a_shell, env=dict(os.environ), capture_output=True, check=True).stdout)
    aws = {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": emulator.url,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{emulator.url}/_localmme/credentials",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    assert environment == {
        **({name: value for name, value in shell.items() if inherit_env or is_inherited(name)}),
        **({} if inherit_env else aws),
        "A": "1",
        "B": "x=y z",
        "no_proxy": "127.0.0.1,localhost",
        "NO_PROXY": "127.0.0.1,localhost",
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_SAFE_PORT_RANGE": f"{port + 1}-{port + 10}",
    }
    assert ("FROM_OUTSIDE" in environment) is ("AWS_PROFILE" in environment) is (token is None) is inherit_env
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


def test_a_container_that_never_passes_the_health_check_makes_serve_fail(run, mark: str) -> None:
    emulator = run("--limit", "startup_seconds=1.5", start={"listen": False})
    assert emulator.wait() != 0
    said = "The primary container for production variant AllTraffic did not pass the ping health check."
    assert said in emulator.log and "accepts no connection" in emulator.log
    assert not emulator.output
    gone(mark)


def test_the_endpoint_is_in_service_once_ping_and_list_pass(run, journal: Journal) -> None:
    emulator = run(ping={"times": 4, "status": 503}, list={"times": 2, "status": 500})
    emulator.wait_in_service()
    assert [entry["status"] for entry in journal.entries("ping")[:7]] == [503] * 4 + [200] * 3
    assert [entry["status"] for entry in journal.entries("list")] == [500, 500, 200]


def test_the_health_page_is_503_until_the_endpoint_is_in_service(run, gate: Path) -> None:
    emulator = run(start={"until": str(gate)})
    eventually(lambda: can_be_reached(emulator), what="it listens")
    assert emulator.health() == 503
    error = refused(emulator, "a")
    assert error.response["Error"]["Code"] == "ServiceUnavailable" and "Creating" in str(error)
    gate.touch()
    emulator.wait_in_service()
    assert emulator.health() == 200


def can_be_reached(emulator: InProcessEmulator) -> bool:
    try:
        return bool(emulator.health())
    except OSError:
        return False


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
    emulator.wait_until_logged("failed 3 health checks in a row")
    eventually(lambda: restarts(emulator) == 1 and emulator.health() == 200)
    assert emulator.invoke("a")["answer"] == "I am a"


def test_a_few_failed_pings_do_not_replace_a_container(run, journal: Journal) -> None:
    limits = ("--limit", "poll_seconds=0.2", "--limit", "unhealthy_pings=3")
    emulator = run(*limits, ping={"times": 4, "status": 500}).wait_in_service()
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
    eventually(lambda: len(starts(journal)) == 6)  # before, a call may still reach the one that is killed, and fail
    assert emulator.invoke("a")["answer"] == "I am a"
    assert emulator.health() == 200
    times = [entry["time"] for entry in starts(journal)]
    assert times[5] - times[4] > 0.8, "0, 0.1, 0.2, 0.4, 0.8 seconds"


def test_models_are_served_while_a_container_is_being_replaced(
    run, bucket: Path, journal: Journal, gate: Path, pool: ThreadPoolExecutor
) -> None:
    scripted_model(bucket / "a", "I am a")
    gate.touch()
    emulator = run(start={"until": str(gate)}).wait_in_service()
    gate.unlink()
    os.kill(container_pid(journal), signal.SIGKILL)
    eventually(lambda: not emulator.container()["healthy"])
    call = pool.submit(emulator.invoke, "a")
    eventually(lambda: emulator.instance()["in_flight"] == 1, what="the call waits for the new one")
    gate.touch()
    assert call.result()["answer"] == "I am a"


def test_a_dead_container_leaves_no_children_and_its_replacement_does_not_wait_for_them(
    run, mark: str, journal: Journal
) -> None:
    emulator = run(start={"children": True}).wait_in_service()
    eventually(lambda: sum(entry.get("event") == "child" for entry in journal.entries()) == 3)
    first = {entry["pid"] for entry in journal.entries() if "event" in entry}
    os.kill(container_pid(journal), signal.SIGKILL)
    eventually(lambda: len(starts(journal)) == 2)
    eventually(lambda: emulator.container()["healthy"])
    eventually(lambda: not first & {process.pid for process in marked(mark)}, what="its children have ended")


# Ending


def test_a_container_that_ignores_sigterm_is_killed_with_all_its_children(run, journal: Journal, mark: str) -> None:
    emulator = run("--limit", "stop_seconds=1", start={"ignore_sigterm": True, "children": True}).wait_in_service()
    eventually(lambda: sum(entry.get("event") == "child" for entry in journal.entries()) == 3)
    assert emulator.stop() == 0
    gone(mark)


# Files


def test_logs_are_shown_and_kept(run, bucket: Path) -> None:
    scripted_model(bucket / "a", load={"lines": 3})
    emulator = run(start={"lines": ["hello from the container"]}).wait_in_service()
    emulator.invoke("a")
    assert emulator.stop() == 0
    kept = "".join(path.read_text() for path in files_below(emulator.state_directory / "logs"))
    for line in ("hello from the container", "line 3"):
        assert line in emulator.log and line in kept


# The embedded server


HANGS = """
import os, time
from pathlib import Path

pid = Path({pid!r})
if not pid.exists():
    pid.write_text(str(os.getpid()))
    time.sleep(1e6)

def model_fn(model_dir): return "loaded"
def predict_fn(data, model): return model
"""


def test_the_process_of_a_load_that_never_ends_goes_when_the_platform_gives_up(
    serve: Callable[..., InProcessEmulator], bucket: Path, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    archive(bucket / "hangs.tar.gz", {"code/inference.py": HANGS.format(pid=str(pid))})
    emulator = serve("--models", str(bucket), "--limit", "load_seconds=5")
    assert "timed out" in str(refused(emulator, "hangs.tar.gz"))
    eventually(lambda: not psutil.pid_exists(int(pid.read_text())))
    assert emulator.invoke("hangs.tar.gz") == "loaded"
