"""Environments of models' requirements.txt: each distinct file is installed once, in the user's cache.

An environment is a virtual environment that also has the packages of the Python in which handlers run otherwise. It is
complete when it has the file ``requirements.INSTALLED``, which is written last; without it, it is made anew. Whoever
makes it, pip included, holds its lock, which ends with the processes that hold it. Whoever uses it holds a shared lock
on that file, whose time is that of the last load: whoever makes an environment deletes those that nobody has used for
``_UNUSED_SECONDS``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import signal
import stat
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any

from emulator.model_server.handlers import requirements
from emulator.model_server.http.response import failure
from emulator.model_server.workers import spawner
from emulator.model_server.workers.spawner import Spawner

_log = logging.getLogger(__name__)
_UNUSED_SECONDS = 30 * 86400.0  # after its last use, an environment is deleted [ours]
_LOCK_SECONDS = 0.2  # between two looks at a lock that somebody else holds
_LAST_LINES = 3  # of what pip says, in the error
_LINE_BYTES = 1 << 20  # of what pip says, at most
_LINE_CHARACTERS = 2000  # of a line in the log and in the error; of a longer one the middle is left out [ours]

# Run by the Python that an environment is made on. The packages of a virtual environment are no packages of a virtual
# environment on it, so their directories are named.
_LOOK = """
import json, site, sys
from importlib.util import find_spec
directories = site.getsitepackages() + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
path, pip = [*filter(None, sys.path)], find_spec("pip") is not None
print(json.dumps({"version": sys.version, "directories": directories, "path": path, "pip": pip}))
"""
_NAME = re.compile(r"[0-9a-f]{24}")  # of an environment's directory, see requirements.fingerprint
_DIRECTORIES_FILE = "zz_localmme.pth"  # the last to be read, so that nothing there comes before what is installed
# By these, pip would install somewhere else than into the environment that it runs in.
_ELSEWHERE = {"PIP_PREFIX", "PIP_PYTHON", "PIP_ROOT", "PIP_TARGET", "PIP_USER"}
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off", "-r")


class Environments:
    """The environments of one server's models, with the processes that fork workers there."""

    def __init__(self, python: str, directory: str | None = None) -> None:
        """``python`` is what the environments are made on; ``directory`` is where, that of ``cache`` by default."""
        self._python, self._directory = os.path.abspath(python), directory
        self._base: dict[str, Any] = {}  # what is known of that Python
        self._making: dict[str, asyncio.Task[None]] = {}
        self._spawners: dict[str, Spawner] = {}
        self._used: dict[str, int] = {}  # the environments in use: a descriptor with the shared lock
        self._loading: list[str | None] = []  # the environments of the models that are being loaded

    @contextlib.asynccontextmanager
    async def spawner_for(self, name: str, model_dir: str) -> AsyncIterator[Spawner | None]:
        """What forks the workers of a model, while it is loaded; None if it has no requirements.txt.

        An environment that is missing is made first, which goes on if this is cancelled. Raises RequestError.
        Spawners that no model needs any more are ended.
        """
        environment = await self._environment_for(name, os.path.abspath(model_dir))
        self._loading.append(environment)
        try:
            for each, other in list(self._spawners.items()):
                if each not in self._loading and not other.is_used:
                    self._drop(each)
            yield self._spawner_in(environment) if environment else None
        finally:
            self._loading.remove(environment)

    async def python_for(self, name: str, model_dir: str) -> str | None:
        """The Python in a model's environment, which is made if it is missing; None if it has no requirements.txt.

        Raises RequestError.
        """
        environment = await self._environment_for(name, os.path.abspath(model_dir))
        return _python_of(environment) if environment else None

    async def stop_installing(self) -> None:
        """End what is being installed; its models cannot be loaded."""
        for making in self._making.values():
            making.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    def close(self) -> None:
        """End the processes that fork workers, and the workers."""
        for environment in list(self._spawners):
            self._drop(environment)
        for environment in list(self._used):
            self._release(environment)

    def _drop(self, environment: str) -> None:
        self._spawners.pop(environment).close()
        self._release(environment)

    def _use(self, environment: str) -> bool:
        """Keep an environment from being deleted; False if it is not complete."""
        if environment not in self._used:
            descriptor = _locked_marker(environment, fcntl.LOCK_SH)
            if descriptor is None:
                return False
            self._used[environment] = descriptor
        os.utime(self._used[environment])
        return requirements.are_installed(environment)

    def _release(self, environment: str) -> None:
        if (descriptor := self._used.pop(environment, None)) is not None:
            os.close(descriptor)

    def _spawner_in(self, environment: str) -> Spawner:
        if environment not in self._spawners:
            python = _python_of(environment)
            try:
                self._spawners[environment] = started = spawner.start_in(python)
            except OSError as error:
                raise failure(f"{python} cannot be run: {error.strerror}. Delete {environment}.") from None
            started.attach(asyncio.get_running_loop(), on_lost=partial(self._drop, environment))
        return self._spawners[environment]

    async def _environment_for(self, name: str, model_dir: str) -> str | None:
        file = requirements.to_install(model_dir)
        if file is None:
            return None
        try:
            environment = await self._environment(name, model_dir, file)
        except OSError as error:
            where = f" ({_shortened(str(error.filename))})" if error.filename else ""
            raise failure(f"There can be no environment for {file}: {error.strerror}{where}.") from None
        _log.info("Model %s runs in %s, made of its %s", name, _python_of(environment), file)
        return environment

    async def _environment(self, name: str, model_dir: str, file: str) -> str:
        """The environment of a file, complete. Raises RequestError and OSError."""
        directory = self._directory = self._directory or cache()
        path = os.path.join(model_dir, file)
        self._base = self._base or await _look(self._python)
        installed = await asyncio.to_thread(_distributions, self._base["path"])
        key = await asyncio.to_thread(requirements.fingerprint, path, self._python, self._base["version"], *installed)
        environment = os.path.join(directory, key)
        if self._use(environment):
            return environment
        self._release(environment)
        if key not in self._making:
            _log.info("%s of model %s is installed for all models with that file. On SageMaker, it is not", file, name)
            self._making[key] = asyncio.create_task(self._make(environment, path))
            self._making[key].add_done_callback(lambda _: self._making.pop(key))
        making = self._making[key]
        await asyncio.wait([making])
        if making.cancelled():
            raise failure(f"{file} is not installed: the server ends.")
        try:
            making.result()
        except _PipFailed as failed:
            raise failure(
                f"{file} cannot be installed. pip says: {failed}. Mend the file, or install what the handler needs "
                f"where handlers run, without --install-requirements: {self._python} -m pip install ..."
            ) from None
        self._use(environment)
        return environment

    async def _make(self, environment: str, file: str) -> None:
        async with _locked(f"{environment}.lock") as lock:
            if requirements.are_installed(environment):
                return
            began = time.monotonic()
            try:
                await self._fill(environment, file, lock)
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, environment, ignore_errors=True)
                raise
            _log.info("Installed in %.1f s, and kept in %s", time.monotonic() - began, environment)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(_delete_unused, os.path.dirname(environment))

    async def _fill(self, environment: str, file: str, lock: int) -> None:
        with open(file, "rb") as opened:
            text = opened.read()
        await _run(lock, self._python, "-m", "venv", "--clear", "--without-pip", environment)
        python = _python_of(environment)
        own, *_ = (await _look(python))["directories"]
        with open(os.path.join(own, _DIRECTORIES_FILE), "w") as directories:
            directories.writelines(f"import site; site.addsitedir({each!r})\n" for each in self._base["directories"])
        if not self._base["pip"]:
            await _run(lock, python, "-m", "ensurepip")
        await _run(lock, python, *_PIP, file, directory=os.path.dirname(file))
        with open(os.path.join(environment, requirements.INSTALLED), "wb") as installed:
            installed.write(text)


def _python_of(environment: str) -> str:
    return os.path.join(environment, "bin", "python")


def _locked_marker(environment: str, kind: int) -> int | None:
    """A descriptor of the file that says that an environment is complete, with a lock; None if there can be none."""
    try:
        descriptor = os.open(os.path.join(environment, requirements.INSTALLED), os.O_RDONLY)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # it was not deleted meanwhile
            return descriptor
    os.close(descriptor)
    return None


def _delete_unused(directory: str) -> None:
    """Delete the environments that nobody uses, and nobody has used for long. What cannot be deleted stays."""
    for name in filter(_NAME.fullmatch, os.listdir(directory)):
        environment = os.path.join(directory, name)
        marker = os.path.join(environment, requirements.INSTALLED)
        with contextlib.suppress(OSError), open(f"{environment}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            complete = os.path.exists(marker)
            descriptor = _locked_marker(environment, fcntl.LOCK_EX) if complete else None
            try:
                unused = time.time() - os.stat(marker if complete else environment).st_mtime
                if unused > _UNUSED_SECONDS and complete == (descriptor is not None):
                    if complete:
                        os.unlink(marker)  # from now on, it is incomplete
                    shutil.rmtree(environment)
                    _log.info("Deleted %s, which was last used %d days ago", environment, unused // 86400)
            finally:
                if descriptor is not None:
                    os.close(descriptor)


def cache() -> str:
    """Where environments are kept, a directory for this user alone. Raises OSError and RequestError."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    directory = os.path.join(base, "localmme", "environments")
    if not os.path.isabs(directory):
        raise failure(f"There is no directory for environments: {directory}. Set HOME or XDG_CACHE_HOME.")
    os.makedirs(directory, 0o700, exist_ok=True)
    found = os.lstat(directory)
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise failure(f"{directory} is not this user's own directory. Set XDG_CACHE_HOME to one that is.")
    os.chmod(directory, 0o700)
    return directory


class _PipFailed(Exception):
    """The end of what a command said that failed, in one line."""


@contextlib.asynccontextmanager
async def _locked(path: str) -> AsyncIterator[int]:
    """A file, opened, that nobody else has locked meanwhile."""
    with open(path, "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # by another emulator, or by what is left of one
                await asyncio.sleep(_LOCK_SECONDS)
        yield file.fileno()


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS else f"{line[: _LINE_CHARACTERS - 103]}...{line[-100:]}"


async def _look(python: str) -> dict[str, Any]:
    """What ``_LOOK`` sees in a Python. Raises RequestError and OSError."""
    process = await asyncio.create_subprocess_exec(
        python, "-c", _LOOK, cwd="/", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise failure(f"{python} does not work: exit code {process.returncode}. Its output is in the log.")
    try:
        seen: dict[str, Any] = json.loads(output.splitlines()[-1])  # a program in front of it may say something as well
    except (ValueError, IndexError):
        raise failure(f"{python} does not work: it does not run what follows -c.") from None
    return seen


def _distributions(path: Iterable[str]) -> list[str]:
    """What is installed in these directories: names with versions. What pip finds there, it does not install again."""
    found = []
    for directory in path:
        with contextlib.suppress(OSError):
            found += [name for name in os.listdir(directory) if name.endswith((".dist-info", ".egg-info"))]
    return sorted(found)


async def _run(lock: int, *command: str, directory: str = "/") -> None:
    """Run a command that holds the lock as well, and log what it says. Raises _PipFailed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={**{name: value for name, value in os.environ.items() if name not in _ELSEWHERE}, "PIP_USER": "0"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_BYTES,
        pass_fds=[lock],
        start_new_session=True,
    )
    assert process.stdout is not None
    lines: deque[str] = deque(maxlen=100)
    try:
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # it is longer than that, and dropped
                continue
            if not line:
                break
            lines.append(_shortened(line.decode(errors="replace").strip()))
            _log.info("pip: %s", lines[-1])
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code:
        errors = [line for line in lines if line.startswith("ERROR: ")]
        last = (errors or [line for line in lines if line] or [f"exit code {code}"])[-_LAST_LINES:]
        raise _PipFailed(" ".join(line.removeprefix("ERROR: ").rstrip(".") for line in last))
