"""``localmme call``: loads a model with its handler and invokes it once, in this process, without a server."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import responses
from pathlib import Path
from typing import Any, BinaryIO

import click

from emulator.archives.extraction import extract
from emulator.errors import ArchiveError, SetupError
from emulator.hosting.storage_sizes import SINGLE_MODEL_GIB
from emulator.limits import Limits
from emulator.model_server.handlers import styles
from emulator.model_server.handlers.packages import explain
from emulator.model_server.handlers.service import Service, as_chunk
from emulator.model_server.http.response import HandlerError, Response
from emulator.model_server.workers import log, worker
from emulator.sizes import GIB, format_size
from localmme.check.working_directory import working_directory
from localmme.cli.answer import write

PROFILED_FUNCTIONS = 25  # that are shown, those that took longest
RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of getrusage's ru_maxrss


@dataclass(frozen=True)
class Call:
    """A model, its handler (``FILE`` or ``FILE:NAME``; None: the one in the archive), and the request to it."""

    model: str
    handler: str | None
    body: bytes
    content_type: str
    accept: str | None


def run(call: Call, *, output: str | None, debugger: bool, profile: bool) -> int:
    """Load the model and invoke it. Returns the exit code: 0, or 1 if the handler failed.

    The answer goes to ``output`` or standard output, and everything else to standard error: what the handler prints,
    the traceback of what it raises, times and memory. With ``debugger``, pdb opens where it raised. With ``profile``,
    the functions that took longest follow. Raises SetupError when there is no such model or handler.
    """
    handler = _absolute(call.handler)
    output = os.path.abspath(output) if output else None
    with (
        _directory_of(call.model) as directory,
        _printing_to_stderr() as stdout,
        _debugging(debugger),
        _profiling(profile),
    ):
        service, loading = _loaded(call, handler, directory)
        return 1 if service is None else _invoked(service, call, output, stdout, loading)


def _absolute(handler: str | None) -> str | None:
    """The handler, whatever the working directory becomes."""
    if handler is None:
        return None
    file, name = styles.split(handler)
    if not os.path.isfile(file):
        raise SetupError(f"There is no handler file {file}.")
    return f"{os.path.abspath(file)}:{name}" if name else os.path.abspath(file)


@contextlib.contextmanager
def _directory_of(model: str) -> Iterator[Path]:
    """The model's directory: itself, or an archive that is extracted for as long as it is used."""
    path = Path(model).expanduser()
    if path.is_dir():
        yield path.absolute()
        return
    if not path.exists():
        raise SetupError(f"There is no model {model}. Name a directory with a model's files, or an archive of them.")
    with working_directory() as working:
        directory = working.path / "model"
        try:
            with path.open("rb") as archive:
                extract(archive, directory, max_bytes=SINGLE_MODEL_GIB * GIB, max_files=Limits().archive_files)
        except ArchiveError as error:
            raise SetupError(f"The model {model} cannot be extracted: {error}") from None
        except OSError as error:
            raise SetupError(f"The model {model} cannot be extracted: {error.strerror}.") from None
        yield directory


@contextlib.contextmanager
def _printing_to_stderr() -> Iterator[BinaryIO]:
    """What is printed, also by a library that is not Python, goes to standard error. Yields standard output."""
    sys.stdout.flush()
    with open(os.dup(1), "wb") as stdout:
        os.dup2(2, 1)
        try:
            yield stdout
        finally:
            sys.stdout.flush()
            os.dup2(stdout.fileno(), 1)


@contextlib.contextmanager
def _debugging(is_wanted: bool) -> Iterator[None]:
    def post_mortem(error: BaseException, frames: Any) -> None:
        import pdb

        if frames is not None:
            pdb.post_mortem(frames)

    log.debugger = post_mortem if is_wanted else None
    try:
        yield
    finally:
        log.debugger = None


@contextlib.contextmanager
def _profiling(is_wanted: bool) -> Iterator[None]:
    """Show what took longest: with pyinstrument where it is installed, else with cProfile."""
    if not is_wanted:
        yield
        return
    try:
        from pyinstrument import Profiler
    except ImportError:
        import cProfile
        import pstats

        with cProfile.Profile() as profile:
            yield
        pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(PROFILED_FUNCTIONS)
    else:
        with Profiler() as profiler:
            yield
        click.echo(profiler.output_text(color=sys.stderr.isatty()), err=True)


def _loaded(call: Call, handler: str | None, directory: Path) -> tuple[Service | None, str]:
    """The loaded model and how long that took, in words; no model if that failed."""
    before, started = _peak_bytes(), time.perf_counter()
    name = Path(call.model).name.removesuffix(".tar.gz")
    try:
        service = worker.load(name, str(directory), handler, gpu=None)
    except SystemExit as error:
        click.echo(f"The handler ended its process while it loaded the model: exit code {error.code}", err=True)
    except Exception as error:
        if not isinstance(error, HandlerError) or error.__cause__ is not None:
            log.failure("The model could not be loaded:")
        click.echo(f"Error: {error if isinstance(error, HandlerError) else explain(error, str(directory))}", err=True)
    else:
        seconds, used = time.perf_counter() - started, _peak_bytes() - before
        return service, f"loaded in {seconds:.3f} s ({format_size(used)} of memory)"
    return None, ""


def _invoked(service: Service, call: Call, output: str | None, stdout: BinaryIO, loading: str) -> int:
    headers = [("Content-Type", call.content_type)]
    if call.accept:
        headers.append(("Accept", call.accept))
    headers.append(("X-Amzn-SageMaker-Target-Model", Path(call.model).name))
    started = time.perf_counter()
    try:
        response = service.invoke(bytearray(call.body), str(uuid.uuid4()), "", headers)
        body = _Body(response)
        write(body, output, stdout)
        service.finish()
    except SystemExit as error:
        click.echo(f"The handler ended its process: exit code {error.code}", err=True)
        return 1
    seconds = time.perf_counter() - started
    stdout.flush()
    types = [value for name, value in response.headers if name.lower() == "content-type"]
    status = f"{response.status} {responses.get(response.status, '')}".rstrip()
    answer = f"{status}, {types[0] if types else 'no content type'}, {format_size(body.size)}"
    peak = f"peak memory of this process {format_size(_peak_bytes())}"
    click.echo(f"{answer}: {loading}, answered in {seconds:.3f} s; {peak}", err=True)
    return 0 if response.status < 400 and not body.broke_off else 1


class _Body:
    """The pieces of a response's body as they come."""

    def __init__(self, response: Response) -> None:
        self._body = response.body
        self.size = 0  # bytes so far
        self.broke_off = False  # the handler raised in the middle of it

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in [self._body] if isinstance(self._body, bytes) else self._body:  # type: ignore[union-attr]
                chunk = as_chunk(piece)
                self.size += len(chunk)
                yield chunk
        except Exception:
            self.broke_off = True
            log.failure("The streamed answer broke off:")


def _peak_bytes() -> int:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_BYTES
