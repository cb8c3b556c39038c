"""One worker process, as the server sees it: it starts, loads its model, takes one job after another, and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from emulator.model_server.http.answer import Answer, BrokenStream, Refusal, failure
from emulator.model_server.workers import frames
from emulator.model_server.workers.spawner import Spawner

_log = logging.getLogger(__name__)
_EXIT_SECONDS = 2.0  # for a worker to leave by itself; its handler may have atexit functions
_LAST_WORDS_SECONDS = 0.5  # for reading what a dead worker had sent, should its socket still be held by a child of its
_STREAM_BUFFER = 1 << 18  # bytes of a streamed answer that may wait for the caller before the handler has to


class WorkerProcess(asyncio.Protocol):
    """A worker process. ``ended`` is done once it is gone and reaped."""

    def __init__(
        self,
        spawner: Spawner,
        idle: Callable[[WorkerProcess], None],
        dead: Callable[[WorkerProcess], None],
        invocation_seconds: float,
    ) -> None:
        """``idle`` is called whenever the worker is ready for a job; ``dead`` once, when it dies unasked.

        One that takes longer than ``invocation_seconds`` to begin an answer is killed: it may never end, and
        nobody else could use its model.
        """
        self._loop = asyncio.get_running_loop()
        self._spawner, self._idle, self._dead = spawner, idle, dead
        self._decoder = frames.Decoder()
        self._invocation_seconds = invocation_seconds
        self._overdue: asyncio.TimerHandle | None = None
        self._reply: asyncio.Future[Any] | None = None
        self._stream: _Stream | None = None
        self._loaded = self._let_go = self._disconnected = False
        self._wait_status: int | None = None
        self._pid = 0
        self._task = "starting"
        self._was_overdue = False
        self.ended: asyncio.Future[None] = self._loop.create_future()

    async def load(self, model: dict[str, Any]) -> None:
        """Start the process and have it load a model.

        Raises Refusal when that fails; the process is then gone or on its way out.
        """
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._pid, exited = await self._spawner.fork(theirs)
        except OSError as error:
            self.ended.set_result(None)
            raise failure(f"No process for the model: {error.strerror}", 507) from None
        await self._loop.create_unix_connection(lambda: self, sock=ours)
        exited.add_done_callback(self._on_exit)
        if self._let_go:
            self.kill()
        self._reply = self._loop.create_future()
        self._task = "loading the model" if model["model_dir"] is not None else "importing the handler"
        self._transport.write(frames.head(frames.LOAD, model))
        await self._reply
        self._loaded = True
        self._idle(self)

    @property
    def awaited(self) -> bool:
        """Whether anybody waits for what the worker is doing."""
        if self._stream is not None:
            return not self._stream.closed
        return self._reply is not None and not self._reply.done()

    def run(self, reply: asyncio.Future[Answer], fields: dict[str, Any], body: bytes) -> None:
        """Put an idle worker to work; ``reply`` will be done with the answer, or with a Refusal."""
        self._reply = reply
        self._overdue = self._loop.call_later(self._invocation_seconds, self._kill_overdue)
        self._transport.writelines([frames.head(frames.INVOKE, fields, len(body)), body])

    def let_go(self) -> None:
        """End an idle worker; it is given a little time to leave by itself."""
        self._let_go = True
        self._transport.close()

    def kill(self) -> None:
        """End the worker, whatever it is doing."""
        self._let_go = True
        self._kill_if_left()

    def _kill_overdue(self) -> None:
        _log.error("Killing a worker that has not answered for %g s", self._invocation_seconds)
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
            self._loop.call_later(_EXIT_SECONDS, self._kill_if_left)  # it may be on its way out

    def _take(self, frame: frames.Frame) -> None:
        kind, fields = frame.kind, frame.fields
        if kind == frames.ANSWER:
            self._resolve(_answer(fields, bytes(frame.body)))
            self._idle(self)
        elif kind == frames.STREAM:
            self._stream = _Stream(self._transport)
            if not self._resolve(_answer(fields, self._stream)):
                self._stream.close()
        elif kind == frames.CHUNK and self._stream:
            self._stream.feed(bytes(frame.body))
        elif kind in (frames.END, frames.BROKEN) and self._stream:
            self._stream.end(BrokenStream("the handler raised") if kind == frames.BROKEN else None)
            self._stream = None
            self._idle(self)
        elif kind == frames.LOADED:
            self._resolve(None)
        elif kind == frames.FAILED:
            self._let_go = True
            self._resolve(failure(fields["message"], fields["status"]))

    def _resolve(self, result: Answer | Refusal | None) -> bool:
        """Give the one who waits what they wait for; False when they have left."""
        reply, self._reply = self._reply, None
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if reply is None or reply.done():
            return False
        if isinstance(result, Refusal):
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
            self._loop.call_later(_LAST_WORDS_SECONDS, self._end)

    def _end(self) -> None:
        if self.ended.done() or self._wait_status is None:
            return
        self.ended.set_result(None)
        self._transport.abort()
        reason, out_of_memory = _cause_of_death(self._wait_status)
        if self._was_overdue:
            reason = (
                f"it was killed because it had not begun to answer within {self._invocation_seconds:g} s, the limit "
                "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS"
            )
        if self._loaded:
            self._resolve(failure(f"The worker process of the model died: {reason}"))
        else:
            message = f"The worker process died while {self._task}: {reason}"
            self._resolve(failure(message, 507 if out_of_memory else 500))
        if self._stream:
            self._stream.end(BrokenStream(f"the worker process died: {reason}"))
        if self._loaded and not self._let_go:
            self._dead(self)


class _Stream:
    """The body of a streamed answer on its way from the worker to the caller. The slower of both sets the pace."""

    def __init__(self, worker: asyncio.Transport) -> None:
        self._worker = worker
        self._chunks: deque[bytes] = deque()
        self._waiting = 0  # bytes
        self._more = asyncio.Event()
        self._ended = self.closed = False
        self._error: BrokenStream | None = None

    def feed(self, chunk: bytes) -> None:
        """A chunk from the worker."""
        if self.closed:
            return
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._waiting > _STREAM_BUFFER:
            self._worker.pause_reading()
        self._more.set()

    def end(self, error: BrokenStream | None) -> None:
        """There is no more, because it is complete or because of ``error``."""
        self._ended, self._error = True, error
        self._more.set()

    def close(self) -> None:
        """Nobody reads on: have the handler stop, and drop what comes until it does."""
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


def _answer(fields: dict[str, Any], body: bytes | _Stream) -> Answer:
    headers = [(name, value) for name, value in fields["headers"]]
    return Answer(fields["status"], fields["phrase"], headers, body)


def _cause_of_death(wait_status: int) -> tuple[str, bool]:
    """In words, and whether it looks like the work of an out-of-memory killer."""
    code = os.waitstatus_to_exitcode(wait_status)
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"signal {names.get(-code, -code)}", -code == signal.SIGKILL
    return f"exit code {code}", code == 128 + signal.SIGKILL
