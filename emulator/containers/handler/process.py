"""One worker process, as the server sees it: it is started, loads its model, takes one job after another, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from emulator.containers.handler import frames
from emulator.containers.handler.answer import Answer, Refusal, failure
from emulator.containers.handler.spawner import Spawner

_EXIT_SECONDS = 2.0  # for a worker that was let go to leave by itself; its handler may have atexit functions
_LAST_WORDS_SECONDS = 0.5  # for what a worker sent before it died; a process that it left behind may hold the socket


class BrokenStream(Exception):
    """A streamed answer that will not be completed."""


class Worker(asyncio.Protocol):
    """A worker process. ``ended`` is done once it is gone and reaped."""

    def __init__(self, spawner: Spawner, idle: Callable[[Worker], None], dead: Callable[[Worker], None]) -> None:
        """``idle`` is called whenever the worker is ready for a job, ``dead`` once if it ends unasked."""
        self._loop = asyncio.get_running_loop()
        self._spawner, self._idle, self._dead = spawner, idle, dead
        self._decoder = frames.Decoder()
        self._answer: asyncio.Future[Answer | None] | None = None
        self._stream: _Stream | None = None
        self._let_go = self._disconnected = False
        self._status: int | None = None
        self.pid = 0
        self.ended: asyncio.Future[None] = self._loop.create_future()

    async def load(self, model: dict[str, Any]) -> None:
        """Start the process and have it load a model. Raises Refusal; the process may be left to be killed."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.pid, exited = await self._spawner.fork(theirs)
        except OSError as error:
            ours.close()
            self.ended.set_result(None)
            raise failure(f"no process for the model: {error.strerror}", 507) from None
        exited.add_done_callback(self._on_exit)
        await self._loop.create_unix_connection(lambda: self, sock=ours)
        self._answer = self._loop.create_future()
        self._transport.write(frames.head(frames.LOAD, model))
        await self._answer
        self._idle(self)

    def run(self, answer: asyncio.Future[Any], fields: dict[str, Any], body: bytes) -> None:
        """Put an idle worker to work; ``answer`` will be done with an Answer or a Refusal."""
        self._answer = answer
        self._transport.write(frames.head(frames.INVOKE, fields, len(body)))
        if body:
            self._transport.write(body)

    def let_go(self) -> None:
        """End an idle worker: it is given a little time to leave by itself."""
        self._let_go = True
        self._transport.close()
        self._loop.call_later(_EXIT_SECONDS, self.kill)

    def kill(self) -> None:
        """End the worker, whatever it is doing."""
        self._let_go = True
        self._spawner.kill(self.pid)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._take(frame)

    def connection_lost(self, error: Exception | None) -> None:
        self._disconnected = True
        if self._status is not None:
            self._end()
        elif not self._let_go:
            self._spawner.kill(self.pid)  # it cannot be spoken to any more

    def _take(self, frame: frames.Frame) -> None:
        kind, fields = frame.kind, frame.fields
        if kind == frames.CHUNK and self._stream:
            self._stream.feed(bytes(frame.body))
        elif kind in (frames.END, frames.BROKEN) and self._stream:
            self._stream.end(BrokenStream("the handler raised") if kind == frames.BROKEN else None)
            self._stream = None
            self._idle(self)
        elif kind == frames.STREAM:
            self._stream = _Stream(self._transport)
            if not self._reply(_answer(fields, self._stream)):
                self._stream.close()
        elif kind == frames.ANSWER:
            self._reply(_answer(fields, bytes(frame.body)))
            self._idle(self)
        elif kind == frames.LOADED:
            self._reply(None)
        elif kind == frames.FAILED:
            self._let_go = True  # it leaves by itself
            self._reply(failure(fields["message"], fields["status"]))

    def _reply(self, reply: Answer | Refusal | None) -> bool:
        """Give the one who waits what they wait for; False when they no longer do."""
        waiting, self._answer = self._answer, None
        if waiting is None or waiting.done():
            return False
        if isinstance(reply, Refusal):
            waiting.set_exception(reply)
        else:
            waiting.set_result(reply)
        return True

    def _on_exit(self, exited: asyncio.Future[int]) -> None:
        self._status = exited.result()
        if self._disconnected:
            self._end()
        else:
            self._loop.call_later(_LAST_WORDS_SECONDS, self._end)

    def _end(self) -> None:
        if self.ended.done() or self._status is None:
            return
        self.ended.set_result(None)
        self._transport.abort()
        code = os.waitstatus_to_exitcode(self._status)
        killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        reason = f"The model's worker process died{_how(code)}."
        loading = not self._let_go and self._answer is not None and self._stream is None
        del loading, killed
        self._reply(failure(reason))
        if self._stream:
            self._stream.end(BrokenStream(reason))
        if not self._let_go:
            self._dead(self)
