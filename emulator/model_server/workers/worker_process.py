"""A worker process as the server sees it: its start, load, invocations and end."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from emulator.model_server.http.response import BrokenStream, Response, failure
from emulator.model_server.workers import frames
from emulator.model_server.workers.spawner import Spawner

_log = logging.getLogger(__name__)
_EXIT_SECONDS = 2.0  # for a worker to exit by itself; its handler may have atexit functions
_DRAIN_SECONDS = 0.5  # for reading what a dead worker had sent, if a child of it still holds the socket
_STREAM_BUFFER = 1 << 18  # bytes of a streamed response to buffer for a slow caller before the handler has to wait


class EnvironmentChanged(Exception):
    """The handler sets ``variable`` while it is imported, which may change modules that its worker had already."""

    def __init__(self, variable: str) -> None:
        super().__init__(variable)
        self.variable = variable


class WorkerProcess(asyncio.Protocol):
    """A worker process. ``ended`` is done once the process has ended."""

    def __init__(
        self,
        spawner: Spawner,
        idle: Callable[[WorkerProcess], None],
        dead: Callable[[WorkerProcess], None],
        invocation_seconds: float,
    ) -> None:
        """``idle`` is called whenever the worker is ready for an invocation; ``dead`` once, if it dies unexpectedly.

        A worker that takes longer than ``invocation_seconds`` to begin a response is killed: it may never finish,
        and its model would be blocked.
        """
        self._loop = asyncio.get_running_loop()
        self._spawner, self._idle, self._dead = spawner, idle, dead
        self._decoder = frames.Decoder()
        self._invocation_seconds = invocation_seconds
        self._overdue: asyncio.TimerHandle | None = None
        self._reply: asyncio.Future[Any] | None = None
        self._stream: _Stream | None = None
        self._loaded = self._ending = self._disconnected = False
        self._wait_status: int | None = None
        self._pid = 0
        self._task = "starting"
        self._was_overdue = False
        self.ended: asyncio.Future[None] = self._loop.create_future()

    async def load(self, model: dict[str, Any]) -> dict[str, Any]:
        """Start the process, which loads a model. Returns what it has imported and set, see ``recording``.

        Raises RequestError when that fails, and EnvironmentChanged when another spawner has to start it; the process
        then has ended or is about to.
        """
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._pid, exited = await self._spawner.fork(theirs)
        except OSError as error:
            self.ended.set_result(None)
            raise failure(f"No process can be started for the model: {error.strerror}", 507) from None
        await self._loop.create_unix_connection(lambda: self, sock=ours)
        exited.add_done_callback(self._on_exit)
        if self._ending:
            self.kill()
        self._reply = self._loop.create_future()
        self._task = "loading the model" if model["model_dir"] is not None else "importing the handler"
        self._transport.write(frames.head(frames.LOAD, model))
        recorded: dict[str, Any] = await self._reply
        self._loaded = True
        self._idle(self)
        return recorded

    @property
    def is_awaited(self) -> bool:
        """Whether a caller waits for what the worker is doing."""
        if self._stream is not None:
            return not self._stream.closed
        return self._reply is not None and not self._reply.done()

    def run(self, reply: asyncio.Future[Response], fields: dict[str, Any], body: bytes) -> None:
        """Start an invocation on an idle worker; ``reply`` gets the response, or a RequestError."""
        self._reply = reply
        self._overdue = self._loop.call_later(self._invocation_seconds, self._kill_overdue)
        self._transport.writelines([frames.head(frames.INVOKE, fields, len(body)), body])

    def shut_down(self) -> None:
        """End an idle worker; it gets a little time to exit by itself."""
        self._ending = True
        self._transport.close()

    def kill(self) -> None:
        """Kill the worker, whatever it is doing."""
        self._ending = True
        self._kill_if_left()

    def _kill_overdue(self) -> None:
        _log.error("Killing a worker that has not begun its response for %g s", self._invocation_seconds)
        self._overdue = None
        self._was_overdue = True
        self._spawner.kill(self._pid)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._take(frame)

    def connection_lost(self, error: Exception | None) -> None:
        self._disconnected = True
        if self._wait_status is not None:
            self._end()
        else:
            self._loop.call_later(_EXIT_SECONDS, self._kill_if_left)  # it may be about to exit

    def _take(self, frame: frames.Frame) -> None:
        kind, fields = frame.kind, frame.fields
        if kind == frames.RESPONSE:
            self._resolve(_response(fields, bytes(frame.body)))
            self._idle(self)
        elif kind == frames.STREAM:
            self._stream = _Stream(self._transport)
            if not self._resolve(_response(fields, self._stream)):
                self._stream.close()
        elif kind == frames.CHUNK and self._stream:
            self._stream.feed(bytes(frame.body))
        elif kind in (frames.END, frames.BROKEN) and self._stream:
            self._stream.end(BrokenStream("the handler raised") if kind == frames.BROKEN else None)
            self._stream = None
            self._idle(self)
        elif kind == frames.NOTE:
            _log_once(fields["text"])
        elif kind == frames.LOADED:
            self._resolve(fields)
        elif kind == frames.FRESH:
            self._ending = True
            self._resolve(EnvironmentChanged(fields["variable"]))
        elif kind == frames.FAILED:
            self._ending = True
            self._resolve(failure(fields["message"], fields["status"]))

    def _resolve(self, result: Response | dict[str, Any] | Exception) -> bool:
        """Pass a result to the caller that waits for it. Returns False if the caller has gone."""
        reply, self._reply = self._reply, None
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if reply is None or reply.done():
            return False
        if isinstance(result, Exception):
            reply.set_exception(result)
        else:
            reply.set_result(result)
        return True

    def _kill_if_left(self) -> None:
        if self._wait_status is None:
            self._spawner.kill(self._pid)

    def _on_exit(self, exited: asyncio.Future[int]) -> None:
        self._wait_status = exited.result()
        if self._disconnected:
            self._end()
        else:
            self._loop.call_later(_DRAIN_SECONDS, self._end)

    def _end(self) -> None:
        if self.ended.done() or self._wait_status is None:
            return
        self.ended.set_result(None)
        self._transport.abort()
        reason, out_of_memory = _cause_of_death(self._wait_status)
        if self._was_overdue:
            reason = (
                f"it was killed because it had not begun its response within {self._invocation_seconds:g} s, the limit "
                "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS"
            )
        if self._loaded:
            self._resolve(failure(f"The worker process of the model died: {reason}"))
        else:
            message = f"The worker process died while {self._task}: {reason}"
            self._resolve(failure(message, 507 if out_of_memory else 500))
        if self._stream:
            self._stream.end(BrokenStream(f"the worker process died: {reason}"))
        if self._loaded and not self._ending:
            self._dead(self)


class _Stream:
    """The body of a streamed response on its way from the worker to the caller, at the pace of the slower of both."""

    def __init__(self, worker: asyncio.Transport) -> None:
        self._worker = worker
        self._chunks: deque[bytes] = deque()
        self._waiting = 0  # bytes
        self._more = asyncio.Event()
        self._ended = self.closed = False
        self._error: BrokenStream | None = None

    def feed(self, chunk: bytes) -> None:
        """Add a chunk from the worker."""
        if self.closed:
            return
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._waiting > _STREAM_BUFFER:
            self._worker.pause_reading()
        self._more.set()

    def end(self, error: BrokenStream | None) -> None:
        """End the body: it is complete, or broken by ``error``."""
        self._ended, self._error = True, error
        self._more.set()

    def close(self) -> None:
        """Stop the handler, as nobody reads the body any more; chunks that still come are dropped."""
        if self.closed:
            return
        self.closed = True
        self._chunks.clear()
        if not self._ended and not self._worker.is_closing():
            self._worker.write(frames.head(frames.CANCEL))
            self._worker.resume_reading()

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._error:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        chunk = self._chunks.popleft()
        self._waiting -= len(chunk)
        if self._waiting <= _STREAM_BUFFER and not self._worker.is_closing():
            self._worker.resume_reading()
        return chunk


@functools.cache
def _log_once(text: str) -> None:
    _log.info("%s", text)


def _response(fields: dict[str, Any], body: bytes | _Stream) -> Response:
    headers = [(name, value) for name, value in fields["headers"]]
    return Response(fields["status"], fields["phrase"], headers, body)


def _cause_of_death(wait_status: int) -> tuple[str, bool]:
    """The cause in words, and whether it looks like an out-of-memory kill."""
    code = os.waitstatus_to_exitcode(wait_status)
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"signal {names.get(-code, -code)}", -code == signal.SIGKILL
    return f"exit code {code}", code == 128 + signal.SIGKILL
