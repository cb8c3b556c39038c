"""The commands as a person types them: what they print, and what they say when something is wrong."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import localmme
from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import (
    SCRIPTED_CONTAINER,
    Journal,
    Shared,
    SharedInProcessEmulator,
    scripted_arguments,
    scripted_model,
    shared,
)

HANDLER = "def handle(data, context):\n    return [b'hello']\n"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with shared(SharedInProcessEmulator, tmp_path_factory.mktemp("commands")) as emulator:
        scripted_model(emulator.bucket / "a.tar.gz", "I am a", invoke={"echo": True})
        scripted_model(emulator.bucket / "teams" / "b.tar.gz", "I am b")
        yield emulator


def wrong(*arguments: str, **options: object) -> str:
    """What a command that cannot work says: one line on stderr, and an exit code that is not 0."""
    result = localmme(*arguments, **options)
    assert result.returncode != 0
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--models", "{tmp}/none"], "There is no directory"),
        (["--models", "{tmp}/file"], "is not a directory"),
        (["--models", "{tmp}", "--memory", "lots"], "'lots' is not a size: write 512MB"),
        (["--models", "{tmp}", "--memory", "0"], "--memory must be greater than 0"),
        (["--models", "{tmp}", "--storage", "1.5.5GB"], "is not a size"),
        (["--models", "{tmp}", "--instance-type", "ml.m5.xxlarge"], "ml.m5.xlarge"),
        (["--models", "{tmp}", "--instance-type", "m5.xlarge"], "did you mean ml.m5.xlarge?"),
        (["--models", "{tmp}", "--handler", "{tmp}/none.py"], "There is no handler file"),
        (["--models", "{tmp}", "--handler", "{tmp}/file", "--command", "x"], "exclude each other"),
        (["--models", "{tmp}", "--command", "no-such-program --x"], "There is no program 'no-such-program'"),
        (["--models", "{tmp}", "--command", "{tmp}/file --x"], "/file may not be executed: chmod +x "),
        (["--models", "{tmp}", "--command", "echo 'x"], "Check its quotes"),
        (["--models", "{tmp}", "--command", " "], "--command is empty"),
        (["--models", "{tmp}", "--env", "NOVALUE"], "--env takes NAME=VALUE"),
        (["--models", "{tmp}", "--endpoint-name", "-x-"], "is not an endpoint name"),
        (["--models", "{tmp}", "--limit", "invocation_second=3"], "Similar: invocation_seconds"),
        (["--models", "{tmp}", "--limit", "x=3"], "The limits are invocation_seconds, "),
        (["--models", "{tmp}", "--limit", "invocation_seconds=soon"], "takes a number"),
        (["--models", "{tmp}", "--host", "no.such.host.invalid"], "There is no address"),
        (["--models", "{tmp}", "--port", "0", "--state-dir", "/proc/x"], "cannot be used"),
    ],
    ids=lambda value: " ".join(value[2:4]) if isinstance(value, list) else "",
)
def test_serve_says_in_one_line_what_cannot_work(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "file").touch()
    assert words in wrong("serve", *(word.format(tmp=tmp_path) for word in arguments))


def test_serve_says_that_the_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        line = wrong("serve", "--models", str(tmp_path), "--port", port, "--state-dir", str(tmp_path / "state"))
    assert f"Port {port} of 127.0.0.1 cannot be used" in line
    assert "--port" in line
    assert not (tmp_path / "state").exists()


def test_serve_says_that_the_state_directory_is_taken(emulator: Shared) -> None:
    state = str(emulator.state_directory)
    line = wrong("serve", "--models", str(emulator.bucket), "--port", "0", "--state-dir", state)
    assert "Another emulator uses the state directory" in line
    assert emulator.health() == 200


@pytest.mark.parametrize("option", [["--port", "70000"], ["--max-loaded-models", "0"], ["--nonsense"], []])
def test_serve_explains_its_options_when_one_is_misused(option: list[str]) -> None:
    result = localmme("serve", *option)
    assert result.returncode == 2
    assert "Usage: " in result.stderr and "Error: " in result.stderr


def test_help_names_every_command_and_option() -> None:
    assert all(
        command in localmme("--help").stdout for command in ("serve", "invoke", "models", "env", "ps", "stop", "logs")
    )
    options = (
        "--models --image --handler --command --gpus --s3 --endpoint-name --host --port --instance-type --instances "
        "--memory --storage "
        "--max-loaded-models --workers-per-model --no-cache --reload --env --state-dir --name --detach "
        "--preload --no-preload"
    )
    text = localmme("serve", "--help").stdout
    assert all(option in text for option in options.split())


def test_in_service_is_one_line(emulator: Shared) -> None:
    assert len(emulator.output) == 1
    assert emulator.output[0].startswith(f"Endpoint local is InService at {emulator.url}")


def test_nothing_is_coloured_in_a_pipe(emulator: Shared) -> None:
    localmme("invoke", "none", "--data", "x", "--url", emulator.url)
    result = localmme("models", "--url", emulator.url)
    assert "\x1b" not in emulator.log + result.stdout + result.stderr


@pytest.mark.parametrize("how", ["text", "file", "stdin"])
def test_invoke_takes_its_data_as_text_file_or_stdin(emulator: Shared, tmp_path: Path, how: str) -> None:
    (tmp_path / "request.csv").write_bytes(b"1,2\n")
    data = {"text": "1,2\n", "file": f"@{tmp_path / 'request.csv'}", "stdin": "-"}[how]
    result = localmme("invoke", "a.tar.gz", "--data", data, "--url", emulator.url, input="1,2\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, "1,2\n", "")


def test_invoke_writes_binary_answers_to_a_file(emulator: Shared, tmp_path: Path) -> None:
    body = bytes(range(256))
    (tmp_path / "in").write_bytes(body)
    output = tmp_path / "out"
    result = localmme(
        "invoke", "a.tar.gz", "--data", f"@{tmp_path / 'in'}", "--output", str(output), "--url", emulator.url
    )
    assert (result.returncode, result.stdout) == (0, "")
    assert output.read_bytes() == body


def test_invoke_sends_content_type_and_accept(emulator: Shared) -> None:
    def headers(*arguments: str) -> dict[str, str]:
        result = localmme("invoke", "teams/b.tar.gz", "--url", emulator.url, *arguments)
        return {name.lower(): value for name, value in json.loads(result.stdout)["headers"].items()}

    sent = headers("--data", "x", "--content-type", "text/x-mine", "--accept", "image/png")
    assert (sent["content-type"], sent["accept"]) == ("text/x-mine", "image/png")
    assert headers("--data", '{"a": 1}')["content-type"] == "application/json"
    assert headers("--data", "not json")["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["none.tar.gz", "--data", "x"], "ValidationError: Failed to download model data"),
        (["a.tar.gz", "--data", "x", "--endpoint-name", "other"], "Endpoint other of account"),
        (["a.tar.gz", "--data", "@/no/such/file"], "cannot be read: No such file"),
        (["a.tar.gz", "--data", "x", "--output", "/no/such/file"], "cannot be written"),
    ],
)
def test_invoke_says_in_one_line_what_went_wrong(emulator: Shared, arguments: list[str], words: str) -> None:
    assert words in wrong("invoke", "--url", emulator.url, *arguments)


@pytest.mark.parametrize("command", [["models"], ["invoke", "a", "--data", "x"]])
def test_a_command_without_an_emulator_says_how_to_start_one(command: list[str]) -> None:
    line = wrong(*command, "--url", "http://127.0.0.1:9")
    assert "No emulator answers at http://127.0.0.1:9. Start one with localmme serve" in line


def test_models_lists_what_is_where(emulator: Shared) -> None:
    scripted_model(emulator.bucket / "never" / "invoked.tar.gz")
    scripted_model(emulator.bucket / "once" / "invoked.tar.gz")
    emulator.invoke("once/invoked.tar.gz")
    result = localmme("models", "--json", "--url", emulator.url)
    listed = {model["target_model"]: model for model in json.loads(result.stdout)}
    assert {"never/invoked.tar.gz", "once/invoked.tar.gz"} <= set(listed)
    wanted = {"target_model", "in_s3", "on_disk", "in_memory", "size_bytes", "loads", "invocations"}
    assert all(wanted <= set(model) for model in listed.values())
    once = listed["once/invoked.tar.gz"]
    assert [once[name] for name in ("in_s3", "on_disk", "in_memory", "loads", "invocations")] == [
        True,
        True,
        True,
        1,
        1,
    ]
    never = listed["never/invoked.tar.gz"]
    assert [never[name] for name in ("in_s3", "on_disk", "in_memory", "loads")] == [True, False, False, 0]
    table = localmme("models", "--url", emulator.url).stdout
    assert "once/invoked.tar.gz" in table and "calls" in table


def test_why_and_top_say_what_has_happened(emulator: Shared) -> None:
    scripted_model(emulator.bucket / "told" / "about.tar.gz")
    emulator.invoke("told/about.tar.gz")
    told = localmme("why", "told/about.tar.gz", "--url", emulator.url, check=True).stdout
    assert "loaded in" in told and "It is in memory on i-1, since " in told
    assert "no call had come for it before. It waited " in told.splitlines()[-1]
    assert "Did you mean told/about.tar.gz?" in wrong("why", "told/about", "--url", emulator.url)
    once = localmme("top", "--once", "--url", emulator.url, check=True).stdout
    assert "told/about.tar.gz" in once and "What happened lately" in once
    assert "top needs a terminal; localmme top --once prints tables." in wrong("top", "--url", emulator.url)


def test_top_follows_the_emulator_in_a_terminal_until_q(emulator: Shared) -> None:
    names = ("0.tar.gz", "1.tar.gz")  # the first of all that the tests before have made
    for name in names:
        scripted_model(emulator.bucket / name)
    emulator.invoke(names[0])
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "localmme", "top", "--url", emulator.url]
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    seen = b""

    def read_until(words: str) -> None:
        nonlocal seen
        while words.encode() not in re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", seen):
            seen += os.read(master, 65536)

    try:
        read_until(f"i-1 {names[0]}: loaded in")
        emulator.invoke(names[1])
        read_until(f"i-1 {names[1]}: loaded in")
        os.write(master, b"u")
        read_until(f"Unload {names[0]} from i-1?")
        os.write(master, b"n")
        os.write(master, b"q")
        with contextlib.suppress(OSError):  # the end of the terminal
            while os.read(master, 65536):
                pass
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_models_of_an_unknown_endpoint_names_those_there_are(emulator: Shared) -> None:
    assert "It has: local." in wrong("models", "--url", emulator.url, "--endpoint-name", "other")


def test_the_emulator_is_also_found_by_the_environment(emulator: Shared) -> None:
    result = localmme("models", "--json", env={**os.environ, "AWS_ENDPOINT_URL": emulator.url})
    assert result.returncode == 0
    assert {"a.tar.gz", "teams/b.tar.gz"} <= {model["target_model"] for model in json.loads(result.stdout)}


def no_aws_settings(tmp_path: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**environment, "HOME": str(tmp_path)}


def test_env_gives_boto3_and_the_aws_cli_all_they_need(emulator: Shared, tmp_path: Path) -> None:
    aws = Path(sys.executable).with_name("aws")
    script = f"""
        eval "$({sys.executable} -m localmme env --url {emulator.url})"
        {aws} sagemaker-runtime invoke-endpoint --endpoint-name local --target-model a.tar.gz \\
            --content-type text/csv --body fileb://{tmp_path}/in {tmp_path}/out >{tmp_path}/meta
        {sys.executable} - <<'PYTHON'
import boto3
client = boto3.client("sagemaker-runtime")
print(client.invoke_endpoint(EndpointName="local", TargetModel="a.tar.gz", Body=b"3,4")["Body"].read().decode())
PYTHON
    """
    (tmp_path / "in").write_text("1,2")
    environment = no_aws_settings(tmp_path)
    result = subprocess.run(["bash", "-ec", script], cwd=REPOSITORY, capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == "3,4", result.stderr
    assert (tmp_path / "out").read_text() == "1,2"
    assert json.loads((tmp_path / "meta").read_text())["InvokedProductionVariant"] == "AllTraffic"


def test_the_aws_cli_shows_the_emulators_errors(emulator: Shared, tmp_path: Path) -> None:
    aws = str(Path(sys.executable).with_name("aws"))
    command = [aws, "sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "local", "--target-model", "none"]
    environment = {**no_aws_settings(tmp_path), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    environment |= {"AWS_ENDPOINT_URL": emulator.url, "AWS_DEFAULT_REGION": "us-east-1"}
    command += ["--body", "fileb:///dev/null", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode != 0
    assert "(ValidationError) when calling the InvokeEndpoint operation: Failed to download" in result.stderr


def test_serve_in_a_terminal_shows_what_it_waits_for(bucket: Path, tmp_path: Path) -> None:
    scripted_model(bucket / "slow.tar.gz", load={"delay": 1.5})
    master, terminal = pty.openpty()
    script = json.dumps({"start": {"listen": 1.5}})
    command = [sys.executable, "-m", "localmme", "serve", "--models", str(bucket), "--port", "0"]
    command += ["--command", SCRIPTED_CONTAINER, "--env", f"SCRIPT={script}", "--state-dir", str(tmp_path / "state")]
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)

    seen = b""

    def read_until(words: bytes) -> None:
        nonlocal seen
        while words not in seen:
            seen += os.read(master, 4096)

    read_until(b"Endpoint local is Creating")
    while not (in_service := re.search(rb"InService at (\S+) \(", seen)):
        seen += os.read(master, 4096)
    url = in_service[1].decode()
    invoked = subprocess.Popen(
        [sys.executable, "-m", "localmme", "invoke", "slow.tar.gz", "--data", "x", "--url", url],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
    )
    read_until(b"Loading slow.tar.gz")
    read_until(b"loaded     slow.tar.gz")
    assert invoked.wait(60) == 0
    process.terminate()
    assert process.wait(60) == 0
    os.close(master)


def test_serve_says_when_it_cannot_write_its_files(bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "logs").touch()
    emulator = InProcessEmulator("--models", str(bucket), state=tmp_path / "state")
    assert emulator.wait() == 3
    assert "The emulator cannot start: " in emulator.log and "logs" in emulator.log


def test_a_region_of_the_user_shows_in_the_log_address(
    bucket: Path, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    scripted_model(bucket / "a.tar.gz", invoke={"status": 500})
    with in_process_emulators(tmp_path) as start:
        emulator = start(*scripted_arguments(bucket, journal, {})).wait_in_service()
        with pytest.raises(emulator.client().exceptions.ModelError, match="https://eu-central-1.console"):
            emulator.invoke("a.tar.gz")
