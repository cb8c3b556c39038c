"""A server, and an emulator, whose handler cannot be used does not start, and says why."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.command_line import localmme_process
from tests.support.model_server_process import COMMAND


def test_a_server_does_not_start_with_a_handler_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import os\n\ndef settings():\n    import mxnet\n\nsettings()\n")
    command = [*COMMAND, "--handler", str(tmp_path / "bad.py")]
    environment = {**os.environ, "SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": "0"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 1
    lines = ended.stderr.splitlines()
    # The handler's own frames, and none of the server's.
    assert lines[0].endswith("bad.py cannot be imported")
    frames = [line.split(", in ")[1] for line in lines if line.startswith("  File ")]
    assert frames == ["<module>", "settings"] and "styles.py" not in ended.stderr
    assert lines[-1].startswith("The handler cannot be used: ModuleNotFoundError: No module named 'mxnet'. ")


def test_what_is_no_exception_of_the_handlers_is_said_once_and_without_a_class_of_ours(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def input_handler(data, context): ...\n")
    command = [*COMMAND, "--handler", str(tmp_path / "bad.py")]
    environment = {**os.environ, "SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": "0"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    [line] = ended.stderr.splitlines()
    assert line.startswith("The handler cannot be used: ") and "has no function handle(data, context)" in line


def test_a_handler_that_ends_its_process_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import sys\nsys.exit(4)\n")
    command = [*COMMAND, "--handler", str(tmp_path / "bad.py")]
    environment = {**os.environ, "SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": "0"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    expected = "The handler cannot be used: The worker process died while importing the handler: exit code 4"
    assert (ended.returncode, ended.stderr.strip()) == (1, expected)


def test_serve_fails_with_the_handlers_own_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def handle(data, context)\n    pass\n")
    arguments = ("--models", str(tmp_path), "--handler", str(tmp_path / "bad.py"), "--port", "0")
    result = localmme_process("serve", *arguments, "--state-dir", str(tmp_path / "state"))
    assert result.returncode == 3 and result.stdout == ""
    error = result.stderr[result.stderr.index("Error: ") :]
    assert "did not pass the ping health check" in error and 'bad.py", line 1\n' in error
    assert error.splitlines()[-1].endswith("The handler cannot be used: SyntaxError: expected ':' (bad.py, line 1)")
