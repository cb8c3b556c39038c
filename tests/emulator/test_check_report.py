"""``localmme check`` as a command: its exit code, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import docker
import psutil
import pytest

from localmme.cli.main import main
from tests.support.checking import run
from tests.support.files import archive
from tests.support.processes import free_port
from tests.support.real_servers.images import Images
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import SCRIPTED_CONTAINER, scripted_model
from tests.support.waiting import eventually

NAMES = [
    *("labels", "entry-point", "architecture", "manifest", "program", "user"),
    *("starts", "connect", "ping", "list-empty", "ping-while-busy", "load"),
    *("load-duplicate", "load-missing", "load-broken", "get", "list", "list-pages", "opaque-names", "invoke"),
    *("invoke-headers", "invoke-content-type", "invoke-binary", "invoke-large", "unknown-model-invoke"),
    *("unknown-model-get", "unknown-model-unload", "unload", "concurrent-loads", "load-while-invoking"),
    *("bind-to-port", "unload-frees-memory", "load-unload-growth", "memory-full", "reload-after-507", "metrics"),
    *("unknown-path", "broken-json", "sigterm", "long-use"),
]
SLOW = {"bind-to-port", "unload-frees-memory", "load-unload-growth", "memory-full", "reload-after-507"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An archive for the scripted container."""
    return scripted_model(tmp_path / "model.tar.gz")


def test_list_names_every_check_with_its_sentence() -> None:
    done = run("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == NAMES
    assert "$SAGEMAKER_BIND_TO_PORT when that is set. (SageMaker developer guide)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give a model that the container can load: --model model.tar.gz."),
        (["--model", "missing.tar.gz"], "There is no model archive missing.tar.gz."),
        (["--only", "load-dupliacte"], "There is no check 'load-dupliacte'. Similar: load-duplicate"),
        (["--only", "load", "--fast"], "--only and --fast exclude each other"),
        (["--model", "README.md"], "README.md cannot be extracted: It is not compressed with gzip."),
        (["--model", "README.md", "--image", "a", "--url", "b"], "exclude each other"),
        (["--model", "README.md", "--url", "https://host"], "https://host is not the address of a container"),
        (["--model", "README.md", "--command", "no-such-program"], "There is no program 'no-such-program' to run."),
        (["--model", "README.md", "--memory", "much"], "'much' is not a size"),
        (["--model", "README.md", "--env", "novalue"], "--env takes NAME=VALUE"),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_good_container_has_exit_code_0(model: Path) -> None:
    done = run("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "ping,load,unload", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["checks"]
    assert [(each["name"], each["verdict"]) for each in found] == [(n, "pass") for n in ("ping", "load", "unload")]


def test_a_failed_check_has_exit_code_1_and_all_that_is_needed_to_understand_it(model: Path, tmp_path: Path) -> None:
    done = run(
        *("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "load-duplicate,get,unload"),
        *("--json", "--junit", str(tmp_path / "junit.xml")),
        *("--env", 'SCRIPT={"get": {"status": 418, "body": "teapot"}}'),
    )
    assert done.returncode == 1
    found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert found["get"]["verdict"] == "fail"
    assert found["get"]["sent"].startswith("GET /models/")
    assert found["get"]["received"].startswith("418 application/json teapot")
    assert "modelUrl" in found["get"]["contract"]
    assert (tmp_path / "junit.xml").is_file()


def test_a_container_that_dies_fails_its_check_with_its_log_and_is_started_again(model: Path) -> None:
    done = run(
        *("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "ping,unknown-model-get,list-empty,unload"),
        "--json",
        *("--env", 'SCRIPT={"get": {"lines": 3, "die": 7, "times": 1}}'),
    )
    found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    dead = found["unknown-model-get"]
    assert dead["verdict"] == "fail"
    assert "The container ended with exit code 7." in dead["detail"]
    assert "line 3" in dead["detail"]
    assert found["list-empty"]["verdict"] == "pass"  # by the next run


def test_one_that_does_not_start_fails_the_first_check_that_needs_it(model: Path) -> None:
    done = run(
        *("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "load,get"),
        *("--env", 'SCRIPT={"start": {"exit": 3, "lines": ["no licence"]}}'),
    )
    assert done.returncode == 1
    assert re.search(r"(?m)^fail +load \(.*ended with exit code 3", done.stdout)
    assert "no licence" in done.stdout
    assert re.search(r"(?m)^skipped +get: The container did not start", done.stdout)


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[str]:
    """A healthy container that somebody else has started; its URL."""
    environment = {**os.environ, "SAGEMAKER_BIND_TO_PORT": str(free_port()), "SAGEMAKER_MULTI_MODEL": "true"}
    environment["SCRIPT_JOURNAL"] = str(tmp_path / "journal")
    server = subprocess.Popen(SCRIPTED_CONTAINER.split(), env=environment)
    try:
        eventually((tmp_path / "journal").exists)
        journal = eventually((tmp_path / "journal").read_text)
        yield f"http://127.0.0.1:{json.loads(journal.splitlines()[0])['port']}"
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()


def test_another_container_is_not_taken_for_one_that_does_not_listen(bystander: str, model: Path) -> None:
    done = run(
        *("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "load", "--timeout", "2"),
        *("--env", 'SCRIPT={"start": {"listen": 3600}}'),
    )
    assert re.search(r"(?m)^fail +load \(.*not answered with 200 within 2 s", done.stdout), (bystander, done.stdout)


def test_a_container_that_runs_already_is_checked_and_left_running(bystander: str, model: Path) -> None:
    done = run(
        *("--url", bystander, "--model", str(model), "--only", "starts,load,unload,load-unload-growth,sigterm"),
        "--json",
    )
    verdicts = {each["name"]: each["verdict"] for each in json.loads(done.stdout)["checks"]}
    assert verdicts == {
        **dict.fromkeys(["load", "unload"], "pass"),
        **dict.fromkeys(["starts", "load-unload-growth", "sigterm"], "skipped"),
    }


@pytest.mark.parametrize("timeout", [["--timeout", "0.5"], []], ids=["given", "shorter than of one that is started"])
def test_nothing_at_the_url_is_exit_code_2(timeout: list[str], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localmme.check.command.RUNNING_STARTUP_SECONDS", 0.5)
    done = run("--url", f"http://127.0.0.1:{free_port()}", "--model", str(model), *timeout)
    assert done.returncode == 2
    assert "No healthy container answers at http://127.0.0.1:" in done.stderr


def test_a_mistake_in_a_check_is_no_verdict_on_the_container(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def mistaken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("localmme.check.command.Runner.run", mistaken)
    with pytest.raises(SystemExit) as ended:
        main(["check", "--command", SCRIPTED_CONTAINER, "--model", str(model)])
    assert ended.value.code == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended_in_the_middle(number: int, tmp_path: Path) -> None:
    slow = archive(tmp_path / "slow.tar.gz", {"script.json": '{"load": {"hang": true}}'})
    arguments = ["--command", SCRIPTED_CONTAINER, "--model", str(slow), "--only", "ping,load,get", "--json"]
    arguments += ["--junit", str(tmp_path / "junit.xml")]
    state = tmp_path / "state"
    journal = tmp_path / "journal"
    arguments += ["--env", f"SCRIPT_JOURNAL={journal}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "localmme", "check", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    eventually(lambda: journal.exists() and '"hang"' in journal.read_text(), what="it loads")
    below = psutil.Process(process.pid).children(recursive=True)
    assert below
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert (process.returncode, errors) == (128 + number, b"Interrupted; nothing is left running.\n")
        told = json.loads(output)
        assert told["interrupted"] is True
        assert [(each["name"], each["verdict"]) for each in told["checks"]] == [("ping", "pass")]
        [suite] = ElementTree.parse(tmp_path / "junit.xml").getroot()
        assert suite.get("tests") == "1"
    eventually(lambda: not any(process.is_running() and process.status() != "zombie" for process in below))
    eventually(lambda: not list(state.glob("localmme/.checks/check-*")))


@pytest.mark.docker
def test_the_container_of_a_killed_check_is_removed_by_the_next(
    engine: docker.DockerClient, images: Images, tmp_path: Path
) -> None:
    slow = archive(tmp_path / "slow.tar.gz", {"script.json": '{"load": {"delay": 60}}'})
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}

    def ours() -> list[str]:
        there = engine.containers.list(all=True, ignore_removed=True)
        labels = [each.labels.get("localmme.owner", "") for each in there]
        return [owner for owner in labels if owner.startswith(str(tmp_path))]

    arguments = ["--image", images.scripted(), "--model", str(slow), "--only", "load"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "localmme", "check", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )
    try:
        eventually(ours)
    finally:
        killed.kill()
        killed.wait()
    done = run("--command", SCRIPTED_CONTAINER, "--model", str(slow), "--only", "ping", **environment)
    assert done.returncode == 0, done.stderr
    eventually(lambda: ours() == [])
    assert not list(tmp_path.glob("state/localmme/.checks/check-*"))
