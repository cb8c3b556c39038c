"""``localmme`` as a person types it: in the test's own process, or where that cannot be, in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from emulator.server import gunicorn_app
from localmme.cli.main import main
from tests.support.repository import REPOSITORY

KEPT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def localmme(
    *arguments: str, env: Mapping[str, str] | None = None, input: str = "", check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process: another would take half a second to import everything.

    ``serve`` can be run up to where it would serve; see ``InProcessEmulator`` and ``Emulator`` for more. ``env`` is
    the whole environment.
    """
    out, err = _Output(), _Output()
    environment = mock.patch.dict(os.environ, os.environ if env is None else env, clear=True)
    redirected = (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err))
    not_here = mock.patch.object(gunicorn_app, "serve", side_effect=AssertionError("serves in a process of its own"))
    stdin = mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(input.encode()), encoding="utf-8"))
    with redirected[0], redirected[1], stdin, environment, not_here, _signals_kept(), working_directory(REPOSITORY):
        try:
            main(arguments, prog_name="localmme")
            code: Any = 0
        except SystemExit as error:
            code = error.code
    assert code is None or isinstance(code, int), code
    if check:
        assert not code, err.text()
    return subprocess.CompletedProcess(arguments, code or 0, out.text(), err.text())


def localmme_process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as a process, to its end."""
    command = [sys.executable, "-m", "localmme", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, **options)


class _Output(io.TextIOWrapper):
    """What is written, as text or as bytes."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8", write_through=True)

    def text(self) -> str:
        return self._bytes.getvalue().decode()


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in KEPT_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def working_directory(directory: Path) -> Iterator[None]:
    """Be there, as a process that is started there is."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
