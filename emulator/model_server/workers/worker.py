"""The process of one worker: it loads one model, then answers one invocation after another until it is let go."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, cast

from emulator.model_server.handlers import styles
from emulator.model_server.handlers.service import Service, as_chunk
from emulator.model_server.http.answer import Answer, HandlerError, describe
from emulator.model_server.workers import frames, log


def work(connection: socket.socket) -> None:
    """Obey the server at the other end of ``connection`` until it closes it."""
    with connection, cast(BufferedReader, connection.makefile("rb", 65536)) as incoming:
        request = frames.read(incoming)
        if request is None:
            return
        try:
            service = _load(**request.fields)
        except Exception as error:
            explained = isinstance(error, HandlerError)
            if request.fields["model_dir"] is not None:
                log.failure(f"Model {request.fields['model_name']} could not be loaded")
            elif not explained or error.__cause__ is not None:
                log.failure(f"{request.fields['handler']} cannot be imported")
            said = str(error) if explained else describe(error)
            fields = {"status": 507 if isinstance(error, MemoryError) else 500, "message": said}
            connection.sendall(frames.head(frames.FAILED, fields))
            return
        connection.sendall(frames.head(frames.LOADED))

        while (frame := frames.read(incoming)) is not None:
            # A CANCEL that crossed the end of its stream on the way has nothing left to stop.
            if frame.kind == frames.INVOKE and service is not None:
                _send(connection, service.answer(frame.body, **frame.fields))
                service.finish()


def _load(model_name: str, model_dir: str | None, handler: str | None, gpu: int | None) -> Service | None:
    """Make this process look as a worker of Multi Model Server does, then find the handler and have it load.

    Without a model, only try the handler out.
    """
    log.start()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if model_dir is None:
        assert handler is not None
        styles.try_out(handler)
        return None
    with contextlib.suppress(FileNotFoundError):  # the handler may be all there is
        os.chdir(model_dir)
    return styles.load(model_name, model_dir, handler, gpu)


def _send(connection: socket.socket, answer: Answer) -> None:
    fields: dict[str, Any] = {"status": answer.status, "phrase": answer.phrase, "headers": answer.headers}
    if isinstance(answer.body, Iterator):
        connection.sendall(frames.head(frames.STREAM, fields))
        _send_chunks(connection, answer.body)
        return
    assert isinstance(answer.body, bytes)
    head = frames.head(frames.ANSWER, fields, len(answer.body))
    if len(answer.body) < 65536:
        connection.sendall(head + answer.body)
    else:
        connection.sendall(head)
        connection.sendall(answer.body)


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
        log.failure("A streamed answer broke off")
        connection.sendall(frames.head(frames.BROKEN))
    else:
        connection.sendall(frames.head(frames.END))
