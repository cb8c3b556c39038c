"""Starts ``localmme serve`` as a process of its own, and waits until it is InService."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from emulator.errors import SetupError
from emulator.printable import INDENT
from emulator.private_files import private_directory, private_opener
from emulator.state_directory import EmulatorRecord, StateDirectory
from localmme.pages import page

POLL_SECONDS, LONGEST_POLL_SECONDS = 0.02, 0.25
ANSWER_SECONDS = 5.0  # for one request to an emulator that is still starting; then it is repeated
LAST_LINES = 20  # of the log, in an error
END_MARGIN_SECONDS = 5.0  # beyond the time in which an emulator says that it ends
KILLED_SECONDS = 10.0  # for the processes of one that was killed
# A directory of the user's must not come first on its import path, as with -m: it may hold a queue.py.
PROGRAM = (
    "import sys; sys.path = [*filter(None, sys.path), sys.argv.pop(1)]; "
    "from localmme.cli.main import main; main(prog_name='localmme')"
)


class ServeError(SetupError):
    """An emulator cannot be started, or has ended; the message has its last lines of log."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        """``exit_code`` is its process's."""
        super().__init__(message)
        self.exit_code = exit_code


def launch(arguments: list[str], directory: StateDirectory, stdin: int) -> subprocess.Popen[bytes]:
    """Start ``localmme serve`` in a session of its own; its output goes to the log in its state directory.

    Raises SetupError when the directory cannot be written to, or another emulator lives there.
    """
    there = directory.living_emulator()
    if there is not None:
        raise SetupError(f"The emulator at {there.url} uses {directory.path}. Stop it, or name another directory.")
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1]), "serve", f"--state-dir={directory.path}"]
    try:
        private_directory(directory.path)
        directory.serve_log.unlink(missing_ok=True)
        with open(directory.serve_log, "xb", opener=private_opener) as output:
            # In a session of its own: Ctrl-C is for the program that started it.
            return subprocess.Popen(
                [*command, *arguments], stdin=stdin, stdout=output, stderr=output, start_new_session=True
            )
    except OSError as error:
        raise SetupError(f"An emulator cannot be started in {directory.path}: {error.strerror}.") from None


def wait_in_service(
    process: subprocess.Popen[bytes], directory: StateDirectory, timeout_seconds: float
) -> EmulatorRecord:
    """Wait until it listens, and all endpoints that it starts with are InService. Raises ServeError."""
    deadline = time.monotonic() + timeout_seconds
    pause = POLL_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            words = last_words(directory, f"localmme serve ended with exit code {process.returncode}")
            raise ServeError(words, max(1, process.returncode))  # negative: a signal has ended it
        record = directory.record()
        if record is not None and record.pid == process.pid and _is_in_service(record.url, deadline):
            return record
        time.sleep(pause)
        pause = min(1.1 * pause, LONGEST_POLL_SECONDS)  # an image may take minutes to come
    raise ServeError(last_words(directory, f"The emulator was not InService after {timeout_seconds:g} s"))


def end(pid: int, directory: StateDirectory, ends_within_seconds: float) -> None:
    """Stop the emulator with that master process, by force if it takes longer than it says; wait until it has ended."""
    import psutil

    everything: list[psutil.Process] = []
    servers: list[psutil.Process] = []  # without the containers, which their keepers then end
    with contextlib.suppress(psutil.Error):
        master = psutil.Process(pid)
        servers = [master, *master.children()]
        everything = [master, *master.children(recursive=True)]
        master.terminate()
    if not _wait_gone(everything, directory, ends_within_seconds + END_MARGIN_SECONDS):
        for process in servers:  # the master first, or it would start another worker
            with contextlib.suppress(psutil.Error):
                process.kill()
        _wait_gone(everything, directory, KILLED_SECONDS)


def log_of(directory: StateDirectory) -> str:
    """The log of ``serve``."""
    try:
        return directory.serve_log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def last_words(directory: StateDirectory, otherwise: str) -> str:
    """The error with which ``serve`` ended; else ``otherwise`` and the last lines of its log."""
    lines = log_of(directory).splitlines()[-LAST_LINES:]
    errors = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    if errors:
        first, *others = lines[errors[-1] :]
        return "\n".join([first.removeprefix("Error: "), *(line.removeprefix(INDENT) for line in others)])
    return "\n".join([f"{otherwise}. Its last lines:", *lines]) if lines else f"{otherwise}, and has written nothing."


def _is_in_service(url: str, deadline: float) -> bool:
    seconds = min(ANSWER_SECONDS, max(POLL_SECONDS, deadline - time.monotonic()))
    with contextlib.suppress(OSError):
        return bool(page(url, "health", seconds).get("in_service"))  # while it ends, it answers with an error
    return False


def _wait_gone(processes: list[Any], directory: StateDirectory, seconds: float) -> bool:
    """Whether all processes end within ``seconds``, also a worker whose master has ended."""
    deadline = time.monotonic() + seconds
    while any(map(_runs, processes)) or directory.is_in_use():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _runs(process: Any) -> bool:
    import psutil

    try:
        found: bool = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return found
    except psutil.Error:
        return False
