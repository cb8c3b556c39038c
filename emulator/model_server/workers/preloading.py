"""Prepares a spawner: it imports modules, which its workers then have in common, and makes sure that it may fork.

A module is not fit for that if importing it leaves something that a fork does not copy, such as a thread, or that
processes must not share, such as a socket. The server then gives up this spawner, and begins another one without that
module. This module runs in the spawner; ``preloader`` is the server's side.

===========  ==================  ================================================================
kind         goes to             means
===========  ==================  ================================================================
``PRELOAD``  the spawner         import these: ``imports``, with the variables ``environment``
``BEGUN``    the server          the next module is being imported: ``module``
``UNFIT``    the server          the last module is not fit, and the spawner ends: ``reason``
``READY``    the server          all is imported: ``failed``, by module; ``modules``, all that are new
===========  ==================  ================================================================
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import Any, cast

from emulator.model_server.handlers.imports import Import, library_directories
from emulator.model_server.http.response import describe
from emulator.model_server.workers import frames, log
from emulator.model_server.workers.recording import Recording

PRELOAD, BEGUN, UNFIT, READY = b"P", b"B", b"U", b"Y"
_HARMLESS_FILES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_THREADS_END_SECONDS = 1.0  # for threads that end with a fork, or soon after an import


class _Unfit(Exception):
    """A module's import has left something that cannot be forked; the message says what."""


def prepare(connection: socket.socket) -> bool:
    """Import what the server sends over ``connection``. Returns False if this process must not fork workers."""
    # Not closed: the socket stays open for the spawner's messages, none of which comes before READY.
    incoming = cast(BufferedReader, connection.makefile("rb", 65536))
    request = frames.read(incoming)
    if request is None:
        return False
    try:
        ready = _import_all(connection, **request.fields)
    except _Unfit as unfit:
        fields = {"reason": str(unfit)}
        connection.sendall(frames.head(UNFIT, fields))
        return False
    except OSError:  # the server has gone
        return False
    connection.sendall(frames.head(READY, ready))
    return True


def prepare_process() -> None:
    """Prepare this process for handlers and their libraries, as Multi Model Server prepares a worker."""
    log.start()
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _import_all(
    connection: socket.socket, imports: list[tuple[str, list[str]]], environment: dict[str, str], chosen: bool
) -> dict[str, Any]:
    """What READY says. ``chosen``: a user has chosen the modules, which may be from anywhere."""
    Recording.is_preloaded = not chosen
    prepare_process()
    os.environ.update(environment)
    directories = library_directories()
    failed: dict[str, str] = {}
    known = set(sys.modules)
    before = _traces()
    for module, names in itertools.chain.from_iterable(_steps(*each) for each in imports):
        if module in sys.modules and not names:
            continue
        if not chosen and not _is_in_library(module, directories):
            continue
        connection.sendall(frames.head(BEGUN, {"module": module}))
        try:
            __import__(module, fromlist=names)
        except BaseException as error:  # SystemExit as well
            failed[module] = describe(error)
        _check_fit(before)
    new = [name for name, module in sys.modules.items() if name not in known and getattr(module, "__spec__", None)]
    return {"failed": failed, "modules": new}


def _steps(module: str, names: Sequence[str]) -> Iterator[Import]:
    """The imports that one consists of: a package goes before what is in it."""
    parts = module.split(".")
    yield from (Import(".".join(parts[:count])) for count in range(1, len(parts) + 1))
    yield Import(module, names)


def _is_in_library(module: str, directories: tuple[str, ...]) -> bool:
    top = module.partition(".")[0]
    if top in sys.modules:
        return True
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and spec.origin.startswith(directories)


def _traces() -> tuple[set[str], list[Any]]:
    return _open_files(), _signal_handlers()


def _check_fit(before: tuple[set[str], list[Any]]) -> None:
    """Raises _Unfit when there is more in this process than modules."""
    files, handlers = before
    opened = sorted(name for name in _open_files() - files if name not in _HARMLESS_FILES)
    if any(name.startswith("/dev/nvidia") for name in opened):
        raise _Unfit("initializes CUDA, which does not survive a fork")
    sockets = [name for name in opened if name.startswith("socket:")]
    if sockets:
        raise _Unfit("opens a socket")
    if opened:
        raise _Unfit(f"leaves a file open ({opened[0]})")
    if _has_children():
        raise _Unfit("starts a process")
    if _signal_handlers() != handlers:
        raise _Unfit("installs a signal handler")
    if _has_threads():
        raise _Unfit("starts a thread")


def _open_files() -> set[str]:
    """What this process has open, as Linux names it; by number where that is not known."""
    found = set()
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            numbers = os.listdir(directory)
        except OSError:
            continue
        for number in numbers:
            try:
                os.fstat(int(number))
                found.add(os.readlink(f"/proc/self/fd/{number}") if directory.startswith("/proc") else number)
            except OSError:  # the one that the list was read with
                continue
        break
    return found


def _signal_handlers() -> list[Any]:
    return [signal.getsignal(number) for number in sorted(signal.valid_signals())]


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass  # it has ended
    except ChildProcessError:
        return False
    return True


def _has_threads() -> bool:
    """Whether there are threads that a fork loses. Those of OpenBLAS end before a fork, and begin anew when needed."""
    if _thread_count() == 1:
        return False
    if threading.active_count() > 1:
        return True
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + _THREADS_END_SECONDS
    while _thread_count() > 1:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.01)
    return False


def _thread_count() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()
