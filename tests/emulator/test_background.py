"""Emulators in the background: ``serve --detach``, ``--name``, ``ps``, ``stop``, ``logs``, and what shells complete."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from localmme import serve_process
from tests.support.command_line import localmme, localmme_process
from tests.support.files import archive
from tests.support.leftovers import Leftovers
from tests.support.processes import free_port, named, wait_until_ended
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import SCRIPTED_CONTAINER
from tests.support.waiting import eventually

HANDLER = "def handle(data, context):\n    print('the handler was called')\n    return [b'hello']\n"
COMMAND = [sys.executable, "-m", "localmme"]


@pytest.fixture(autouse=True)
def _stops_everything(leftovers: Leftovers) -> Iterator[None]:
    yield
    localmme("stop", "--all")


@pytest.fixture
def served(tmp_path: Path, bucket: Path) -> list[str]:
    """Arguments of ``serve``, for a handler and one model."""
    archive(bucket / "a.tar.gz", {"weights": "1"})
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER)
    return ["--models", str(bucket), "--handler", str(handler)]


@pytest.fixture
def empty(bucket: Path) -> list[str]:
    """Arguments of ``serve``, for an account with nothing in it."""
    return ["--no-endpoint", "--s3", str(bucket)]


@pytest.fixture
def states(tmp_path: Path) -> Path:
    """Where the state directories of named emulators are."""
    return tmp_path / "state" / "localmme"


def done(*arguments: str) -> str:
    """What a command printed that worked."""
    result = localmme(*arguments)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def wrong(*arguments: str) -> str:
    """The last line of what a command says that did not work."""
    result = localmme(*arguments)
    assert result.returncode != 0 and result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


def running() -> list[dict[str, Any]]:
    return json.loads(done("ps", "--json"))


# Start, list, stop


def test_a_detached_emulator_is_found_by_its_name(served: list[str], leftovers: Leftovers, states: Path) -> None:
    before = time.time() - 2  # a process's time of creation is counted from a whole second
    line = done("serve", "--detach", "--name", "houses", *served)
    [emulator] = running()
    assert line == f"houses is InService at {emulator['url']}\n"
    assert emulator["name"] == "houses"
    assert emulator["endpoints"] == [{"endpoint_name": "local", "status": "InService"}]
    assert psutil.pid_exists(emulator["pid"])
    assert Path(emulator["state_directory"]) == states / "houses"
    assert before < psutil.Process(emulator["pid"]).create_time() < time.time()
    table = done("ps")
    assert all(word in table for word in ("houses", emulator["url"], "local InService", emulator["since"][:16] + "Z"))

    assert done("invoke", "--name", "houses", "a.tar.gz", "--data", "x") == "hello"
    assert "a.tar.gz" in done("models", "--name", "houses")
    assert f"AWS_ENDPOINT_URL={emulator['url']}" in done("env", "--name", "houses")
    eventually(lambda: "the handler was called" in done("logs", "--name", "houses"))

    assert done("stop") == "houses is stopped\n"
    assert leftovers.processes() == []
    assert running() == []
    assert "No emulator is running" in done("ps")


def test_options_reach_a_detached_emulator(bucket: Path, states: Path) -> None:
    served = ["--models", str(bucket), "--command", SCRIPTED_CONTAINER]
    options = ["--endpoint-name", "houses", "--no-cache", "--env", "A=1 2", "--env", "B=--detach", "--instances", "2"]
    done("serve", "--detach", "--name", "one", *served, *options)
    assert running()[0]["endpoints"][0]["endpoint_name"] == "houses"
    words = psutil.Process(running()[0]["pid"]).cmdline()
    assert {"--env=A=1 2", "--env=B=--detach", "--no-cache", "--instances=2"} <= set(words)
    assert "--detach" not in words and f"--state-dir={states / 'one'}" in words


def test_an_endpoint_file_is_served_detached(bucket: Path, tmp_path: Path) -> None:
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
    done("serve", str(file), "--detach", "--name", "file")
    assert running()[0]["endpoints"] == [{"endpoint_name": "mine", "status": "InService"}]


def test_a_name_keeps_its_port_if_that_is_free(empty: list[str], states: Path) -> None:
    port = str(free_port())  # one that the system gives to no connection meanwhile
    done("serve", "--detach", "--name", "houses", "--port", port, *empty)
    url = running()[0]["url"]
    done("stop")
    assert "There is no directory none" in wrong("serve", "--detach", "--name", "houses", "--models", "none")
    assert (states / "houses" / "registry.db").exists(), "a start that fails leaves what was there before"
    done("serve", "--detach", "--name", "houses", *empty)
    (before,) = running()
    assert before["url"] == url
    master = psutil.Process(before["pid"])
    master.kill()
    wait_until_ended([master])
    done("serve", "--detach", "--name", "houses", *empty)
    (after,) = running()
    assert after["url"] == url and after["pid"] != before["pid"], "at once, also after a kill of the master"
    done("stop")
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
        done("serve", "--detach", "--name", "houses", *empty)
        assert running()[0]["url"] != url


def test_of_several_it_has_to_be_said_which_and_without_a_name_the_port_is_the_name(
    empty: list[str], leftovers: Leftovers
) -> None:
    port = str(free_port())
    done("serve", "--detach", "--name", "one", *empty)
    done("serve", "--detach", "--port", port, *empty)
    for command in ("stop", "logs"):
        assert wrong(command) == f"Error: Running: {port}, one. Say which, with --name."
    assert wrong("models", "--name", "three") == f"Error: No emulator three is running. Running: {port}, one."
    assert done("stop", "--name", "one") == "one is stopped\n"
    assert [emulator["name"] for emulator in running()] == [port]
    done("serve", "--detach", "--name", "one", *empty)
    assert done("stop", "--all") == f"{port} is stopped\none is stopped\n"
    assert leftovers.processes() == []


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["serve", "--models", ".", "--name", "a/b"], "'a/b' is not a name"),
        (["serve", "--models", ".", "--name", "a", "--state-dir", "x"], "--name and --state-dir exclude each other"),
        (["serve", "--models", ".", "--detach", "--port", "0"], "needs a --name"),
        (["serve", "--models", ".", "--detach", "--name", "a", "--limit", "x=1"], "There is no limit 'x'"),
        (["models", "--name", "a", "--url", "http://127.0.0.1:1"], "--name and --url exclude each other"),
        (["stop", "--name", "a", "--all"], "--name and --all exclude each other"),
        (["stop"], "No emulator is running. Start one with localmme serve --detach."),
        (["logs", "--name", "a"], "There is no emulator a, and no log of one"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(
    arguments: list[str], words: str, leftovers: Leftovers, states: Path
) -> None:
    assert words in wrong(*arguments)
    assert leftovers.processes() == []
    assert not states.exists() or list(states.iterdir()) == []


def test_a_name_in_use_is_not_served_again_and_ctrl_c_ends_the_following_of_its_log(empty: list[str]) -> None:
    done("serve", "--detach", "--name", "houses", *empty)
    url = running()[0]["url"]
    assert f"The emulator at {url} uses " in wrong("serve", "--detach", "--name", "houses", *empty)
    assert "is ready at" in done("logs")
    assert "Another emulator uses the state directory" in wrong("serve", "--name", "houses", *empty)
    with subprocess.Popen([*COMMAND, "logs", "-f"], cwd=REPOSITORY, stdout=-1, stderr=-1, text=True) as following:
        assert following.stdout is not None and following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.communicate(timeout=60)[1] == ""
        assert following.returncode == 0
    assert [emulator["url"] for emulator in running()] == [url]


def test_a_detached_one_that_cannot_be_fails_with_the_exit_code_of_serve_and_leaves_nothing(
    bucket: Path, leftovers: Leftovers, states: Path
) -> None:
    failing = ("serve", "--models", str(bucket), "--command", "false", "--port", "0", "--name", "a")
    detached = localmme(*failing, "--detach")
    assert leftovers.processes() == [] and list(states.iterdir()) == []
    attached = localmme_process(*failing)
    assert attached.returncode == detached.returncode == 3
    assert attached.stderr.splitlines()[-1] == detached.stderr.splitlines()[-1]
    assert "exit code 1" in attached.stderr


def test_ctrl_c_while_it_is_detached_leaves_nothing(bucket: Path, leftovers: Leftovers, states: Path) -> None:
    slow = ["--models", str(bucket), "--command", "sleep 100", "--limit", "stop_seconds=1"]
    starting = subprocess.Popen([*COMMAND, "serve", "--detach", "--name", "slow", *slow], cwd=REPOSITORY, stderr=-1)
    eventually(lambda: named(leftovers.processes(), "sleep"), what="the container")
    starting.send_signal(signal.SIGINT)
    starting.communicate(timeout=60)
    assert starting.returncode == 1
    leftovers.are_gone()
    assert list(states.iterdir()) == []


def test_one_that_was_killed_is_not_listed(served: list[str], empty: list[str], leftovers: Leftovers) -> None:
    done("serve", "--detach", "--name", "houses", *served)
    master = psutil.Process(running()[0]["pid"])
    for process in [master, *master.children()]:
        process.kill()
    leftovers.are_gone()
    assert running() == []
    assert "No emulator houses is running" in wrong("stop", "--name", "houses")
    done("serve", "--detach", "--name", "houses", *empty)


def test_one_that_does_not_end_is_killed(served: list[str], leftovers: Leftovers, states: Path) -> None:
    done("serve", "--detach", "--name", "stuck", *served, "--limit", "stop_seconds=0.1")
    record = states / "stuck" / "emulator.json"
    patience = 1 - serve_process.END_MARGIN_SECONDS
    record.write_text(json.dumps({**json.loads(record.read_text()), "ends_within_seconds": patience}))
    master = psutil.Process(running()[0]["pid"])
    for process in [master, *master.children()]:
        process.suspend()
    assert done("stop") == "stuck is stopped\n"
    assert leftovers.processes() == []


# Logs


def test_logs_are_followed_until_the_emulator_ends(served: list[str]) -> None:
    done("serve", "--detach", "--name", "houses", *served)
    with subprocess.Popen([*COMMAND, "logs", "-f"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        lines = iter(following.stdout.readline, "")
        assert any("is InService" in line for line in lines)
        done("invoke", "--name", "houses", "a.tar.gz", "--data", "x")
        assert [next(line for line in lines if word in line) for word in ("downloaded", "loaded ", "called")]
        assert following.poll() is None
        done("stop")
        assert following.wait(60) == 0


def test_logs_of_one_container_are_its_own_lines(served: list[str]) -> None:
    done("serve", "--detach", "--name", "houses", "--instances", "2", *served)
    done("invoke", "--name", "houses", "a.tar.gz", "--data", "x")
    # at the load and at the invocation
    eventually(lambda: done("logs", "primary").count("the handler was called") == 2, what="all lines are there")
    whole, both = done("logs"), done("logs", "primary")
    assert "is InService" in whole and "is InService" not in both
    instances = sorted({line.split(" | ")[0] for line in both.splitlines()})
    assert len(instances) == 2 and all(place.startswith("local/") for place in instances)
    endpoint, _, instance, _ = instances[0].split("/")
    assert done("logs", instance).splitlines()[0].startswith("Listening on ")
    assert done("logs", "--endpoint-name", endpoint) == both
    assert wrong("logs", "--endpoint-name", "other") == "Error: Emulator houses has no endpoint other. It has: local."
    done("stop")
    assert done("logs", "--name", "houses").startswith(whole)


def test_one_in_a_terminal_has_a_name_too_and_its_logs_are_its_containers(served: list[str], empty: list[str]) -> None:
    done("serve", "--detach", "--name", "mine", *empty)  # whose log is not taken for this one's
    done("stop")
    in_terminal = [*COMMAND, "serve", "--name", "mine", *served]
    with subprocess.Popen(in_terminal, cwd=REPOSITORY, stdout=-1, stderr=-1) as serving:
        eventually(lambda: running() and running()[0]["endpoints"][0]["status"] == "InService", what="InService")
        assert "is InService" not in done("logs")
        assert "Listening on" in done("logs")
        assert done("invoke", "--name", "mine", "a.tar.gz", "--data", "x") == "hello"
        assert done("stop", "--name", "mine") == "mine is stopped\n"
        assert serving.wait(60) == 0


# Completion


def completed(*words: str) -> list[str]:
    """What a shell is told after these words, the last of which is not complete."""
    variables = {
        "_LOCALMME_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["localmme", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return [line.partition(",")[2] for line in localmme(env={**os.environ, **variables}).stdout.split()]


def test_commands_names_and_models_are_completed(served: list[str], bucket: Path) -> None:
    archive(bucket / "europe" / "lisbon.tar.gz", {"weights": "1"})
    assert completed("st") == ["state", "stop"]
    assert completed("stop", "--name", "") == []
    assert completed("invoke", "--url", "http://127.0.0.1:9", "a") == []
    done("serve", "--detach", "--name", "houses", *served)
    assert completed("logs", "--name", "ho") == ["houses"]
    assert completed("invoke", "--name", "houses", "europe/l") == ["europe/lisbon.tar.gz"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_localmme(shell: str) -> None:
    assert f"_LOCALMME_COMPLETE={shell}_complete" in done("completion", shell)


def test_bash_completes(served: list[str], tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(done("completion", "bash"))
    program = tmp_path / "localmme"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.append({str(REPOSITORY)!r})\n"
        "from localmme.cli.main import main\nmain(prog_name='localmme')\n"
    )
    program.chmod(0o755)
    ask = f"""
        source {script}
        PATH={tmp_path}:$PATH COMP_WORDS=(localmme co) COMP_CWORD=1
        _localmme_completion localmme
        echo "${{COMPREPLY[@]}}"
    """
    assert subprocess.check_output(["bash", "-c", ask], text=True) == "completion\n"
