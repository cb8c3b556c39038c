"""The process of one worker: it loads one model, then serves one invocation after another until it is shut down."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, cast

from emulator.model_server.handlers import functions, styles
from emulator.model_server.handlers.packages import explain
from emulator.model_server.handlers.service import Service, as_chunk
from emulator.model_server.http.response import HandlerError, Response
from emulator.model_server.workers import frames, log
from emulator.model_server.workers.debugger import Debugger
from emulator.model_server.workers.preloading import prepare_process
from emulator.model_server.workers.recording import Recording


def work(debugger: Debugger | None, connection: socket.socket) -> None:
    """Execute what the server sends over ``connection``, until the server closes it."""
    with connection, cast(BufferedReader, connection.makefile("rb", 65536)) as incoming:
        request = frames.read(incoming)
        if request is None:
            return
        if numpy_random := sys.modules.get("numpy.random"):
            numpy_random.seed()  # else all workers would draw the same numbers; Python's random sees to that by itself
        recording = Recording(lambda variable: _leave(connection, variable))
        try:
            if debugger is not None:  # outside of the recording: what a debugger imports is no handler's need
                debugger.watch(request.fields["model_name"] if request.fields["model_dir"] is not None else None)
            with recording, _notes_sent(connection):
                service = _load(**request.fields)
        except Exception as error:
            explained = isinstance(error, HandlerError)
            if request.fields["model_dir"] is not None:
                log.failure(f"Model {request.fields['model_name']} could not be loaded")
            elif not explained or error.__cause__ is not None:
                log.failure(f"{request.fields['handler']} cannot be imported")
            message = str(error) if explained else explain(error, request.fields["model_dir"])
            fields = {"status": 507 if isinstance(error, MemoryError) else 500, "message": message}
            connection.sendall(frames.head(frames.FAILED, fields))
            return
        connection.sendall(frames.head(frames.LOADED, recording.fields()))

        while (frame := frames.read(incoming)) is not None:
            # A CANCEL that arrives after its stream has ended is ignored.
            if frame.kind == frames.INVOKE and service is not None:
                _send(connection, service.invoke(frame.body, **frame.fields))
                service.finish()


@contextlib.contextmanager
def _notes_sent(connection: socket.socket) -> Iterator[None]:
    """Have the server log what is worth knowing of a handler."""
    note, functions.note = functions.note, lambda text: connection.sendall(frames.head(frames.NOTE, {"text": text}))
    try:
        yield
    finally:
        functions.note = note


def _load(model_name: str, model_dir: str | None, handler: str | None, gpu: int | None) -> Service | None:
    """Load the model; without a model, only import the handler and check it."""
    if model_dir is not None:
        return load(model_name, model_dir, handler, gpu)
    prepare_process()
    assert handler is not None
    styles.try_out(handler)
    return None


def load(model_name: str, model_dir: str, handler: str | None, gpu: int | None) -> Service:
    """Prepare this process, and load the model with its handler. Raises what ``styles.load`` raises."""
    prepare_process()
    with contextlib.suppress(FileNotFoundError):  # a pipeline's step may have a handler alone
        os.chdir(model_dir)
    return styles.load(model_name, model_dir, handler, gpu)


def _leave(connection: socket.socket, variable: str) -> None:
    """Leave the model to another worker. At once, whatever exceptions the handler catches."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    connection.sendall(frames.head(frames.FRESH, {"variable": variable}))
    os._exit(0)


def _send(connection: socket.socket, response: Response) -> None:
    fields: dict[str, Any] = {"status": response.status, "phrase": response.phrase, "headers": response.headers}
    if isinstance(response.body, Iterator):
        connection.sendall(frames.head(frames.STREAM, fields))
        _send_chunks(connection, response.body)
        return
    assert isinstance(response.body, bytes)
    head = frames.head(frames.RESPONSE, fields, len(response.body))
    if len(response.body) < 65536:
        connection.sendall(head + response.body)
    else:
        connection.sendall(head)
        connection.sendall(response.body)


def _send_chunks(connection: socket.socket, chunks: Iterator[Any]) -> None:
    try:
        for piece in chunks:
            chunk = as_chunk(piece)
            connection.sendall(frames.head(frames.CHUNK, None, len(chunk)) + chunk)
            cancelled, _, _ = select.select([connection], [], [], 0)
            if cancelled:
                break
        if hasattr(chunks, "close"):
            chunks.close()
    except Exception:
        log.failure("A streamed response broke off")
        connection.sendall(frames.head(frames.BROKEN))
    else:
        connection.sendall(frames.head(frames.END))
