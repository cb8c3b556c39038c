"""Runs the entry point of a job as SageMaker's training toolkit does.

    python -m emulator.jobs.script_mode PYTHON

``SAGEMAKER_BASE_DIR`` stands for ``/opt/ml``; the code is in it. The entry point's output is passed on line by line. If
it fails, the file ``output/failure`` says why.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO

from emulator.jobs.script_mode.entry_point import EntryPointError, command, is_package
from emulator.jobs.script_mode.script_failure import ErrorLines, failure_message
from emulator.jobs.script_mode.toolkit_environment import ToolkitEnvironment

INSTALL = "LOCALMME_INSTALL_REQUIREMENTS"  # as of handlers
FAILED = 1  # the exit code of the toolkit, whatever that of the entry point is


def main() -> int:
    [python] = sys.argv[1:]
    for number in (signal.SIGTERM, signal.SIGINT):  # they are for the entry point, which gets them as well
        signal.signal(number, lambda *_: None)
    base = os.environ["SAGEMAKER_BASE_DIR"]
    toolkit = ToolkitEnvironment(base, os.environ)
    code = os.path.join(base, "code")
    try:
        words = command(_with_requirements(base, python), code, toolkit.entry_point, toolkit.arguments())
    except EntryPointError as error:
        return _failed(base, str(error))
    if is_package(code):
        say("WARNING", "setup.py is not run here: the package is imported from its directory.")
    path = os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))
    own = {"PYTHONUNBUFFERED": "TRUE", **os.environ, **toolkit.variables(), "PYTHONPATH": path}
    say("INFO", f"Invoking script with the following command:\n\n{' '.join(words)}\n\n")
    streams = ErrorLines(), ErrorLines()
    try:
        status = _run(words, code, own, streams)
    except OSError as error:
        return _failed(base, f"{words[0]} cannot be run: {error.strerror}")
    if status:
        return _failed(base, failure_message(words, status, streams))
    say("INFO", "Reporting training SUCCESS")
    return 0


def say(level: str, text: str) -> None:
    """A line of log in the toolkit's form."""
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))},{int(now % 1 * 1000):03}"
    print(f"{stamp} sagemaker-training-toolkit {level:<8} {text}", file=sys.stderr, flush=True)


def _run(words: list[str], code: str, environment: dict[str, str], streams: tuple[ErrorLines, ErrorLines]) -> int:
    """Run a command until its output has ended; its exit code. Raises OSError."""
    process = subprocess.Popen(words, cwd=code, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    passing = [
        threading.Thread(target=_pass_on, args=(source, errors))
        for source, errors in zip((process.stdout, process.stderr), streams, strict=True)
    ]
    for thread in passing:
        thread.start()
    for thread in passing:
        thread.join()
    return process.wait()


def _pass_on(source: IO[bytes], errors: ErrorLines) -> None:
    for line in iter(lambda: source.readline(65536), b""):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        errors.take(line.decode("utf-8", "replace"))


def _with_requirements(base: str, python: str) -> str:
    """The Python in which the entry point runs: that of an environment for its requirements.txt, if that is wanted.

    Raises EntryPointError when it cannot be made.
    """
    if not os.path.exists(os.path.join(base, "code", "requirements.txt")):
        return python
    if os.environ.get(INSTALL) != "true":
        say("WARNING", f"requirements.txt is not installed here: {INSTALL}=true in the environment installs it.")
        return python
    import asyncio

    from emulator.model_server.http.response import RequestError
    from emulator.model_server.workers.environments import Environments

    say("INFO", "Installing dependencies from requirements.txt")
    try:
        return asyncio.run(Environments(python).python_for("of the job", base)) or python
    except RequestError as error:
        raise EntryPointError(f"InstallRequirementsError:\n{error}") from None


def _failed(base: str, message: str) -> int:
    say("ERROR", "Reporting training FAILURE")
    say("ERROR", message)
    failure = os.path.join(base, "output", "failure")
    if not os.path.exists(failure):  # the entry point may have written it
        with open(failure, "w", encoding="utf-8") as file:
            file.write(message)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
