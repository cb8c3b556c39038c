"""A worker process as the server sees it: what it sends, what is sent to it, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from emulator.model_server.http.response import BrokenStream, RequestError, Response
from emulator.model_server.workers import frames, worker_process
from emulator.model_server.workers.spawner import Spawner
from emulator.model_server.workers.worker_process import WorkerProcess
from tests.support.waiting import until

MODEL = {"model_name": "m", "model_dir": "/opt/ml/model", "handler": None, "gpu": None}
EXIT_3, KILLED, SEGMENTATION_FAULT, SHELL_KILLED = 3 << 8, signal.SIGKILL, signal.SIGSEGV, 137 << 8  # wait statuses


class Process:
    """What a spawner forks: its end of the connection, and its life."""

    pid = 4711

    def __init__(self) -> None:
        self.killed = 0
        self.cannot_fork: OSError | None = None
        self.sent: list[frames.Frame] = []  # by the server
        self._decoder = frames.Decoder()
        self._forked = asyncio.Event()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def fork(self, theirs: socket.socket) -> tuple[int, asyncio.Future[int]]:
        if self.cannot_fork is not None:
            raise self.cannot_fork
        self._reader, self._writer = await asyncio.open_unix_connection(sock=theirs.dup())
        self._forked.set()
        return self.pid, self.exited

    def kill(self, pid: int) -> None:
        assert pid == self.pid
        self.killed += 1
        self.end(KILLED)

    def end(self, status: int) -> None:
        """It exits so, and the kernel closes its connection."""
        if not self.exited.done():
            self.exited.set_result(status)
            self._writer.close()

    def send(self, kind: bytes, fields: dict[str, Any] | None = None, body: bytes = b"") -> None:
        self._writer.write(frames.head(kind, fields, len(body)) + body)

    def respond(self, body: bytes = b"answer", kind: bytes = frames.RESPONSE) -> None:
        self.send(kind, {"status": 200, "phrase": "Fine", "headers": [["A", "b"]]}, body)

    async def next(self) -> frames.Frame:
        """What the server sends next."""
        await self._forked.wait()
        while not self.sent:
            data = await self._reader.read(65536)
            assert data, "the server has closed the connection"
            self.sent += self._decoder.feed(data)
        return self.sent.pop(0)

    async def is_closed_by_the_server(self) -> bool:
        return await self._reader.read() == b""


class Scene:
    """A worker, and what the server hears of it."""

    def __init__(self, invocation_seconds: float = 60.0) -> None:
        self.process = Process()
        self.heard: list[str] = []
        self.worker = WorkerProcess(
            cast(Spawner, self.process),
            lambda _: self.heard.append("idle"),
            lambda _: self.heard.append("dead"),
            invocation_seconds,
        )

    async def loaded(self) -> None:
        loading = asyncio.ensure_future(self.worker.load(MODEL))
        frame = await self.process.next()
        assert (frame.kind, frame.fields) == (frames.LOAD, MODEL)
        self.process.send(frames.LOADED)
        await loading

    def run(self, body: bytes = b"request") -> asyncio.Future[Response]:
        reply: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.worker.run(reply, {"id": "r"}, body)
        return reply

    async def stream(self) -> tuple[Response, Any]:
        """A response whose body has begun, and that body."""
        reply = self.run()
        await self.process.next()
        self.process.respond(b"", frames.STREAM)
        response = await reply
        return response, response.body


def scenario(main: Callable[[Scene], Awaitable[None]], loaded: bool = True, **settings: float) -> None:
    async def whole() -> None:
        scene = Scene(**settings)
        if loaded:
            await scene.loaded()
        await main(scene)
        scene.worker.kill()
        await scene.worker.ended

    asyncio.run(whole())


async def failure(reply: Awaitable[Any]) -> tuple[int, str]:
    with pytest.raises(RequestError) as raised:
        await reply
    return raised.value.status, str(raised.value)


# Loading


def test_it_is_idle_once_its_model_is_loaded() -> None:
    async def main(scene: Scene) -> None:
        assert scene.heard == ["idle"]
        assert not scene.worker.is_awaited

    scenario(main)


def test_what_workers_note_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main(scene: Scene) -> None:
        for text in ("no predict_fn", "no predict_fn", "no output_fn"):
            scene.process.send(frames.NOTE, {"text": text})
        await until(lambda: "no output_fn" in caplog.messages)

    worker_process._log_once.cache_clear()
    scenario(main)
    assert caplog.messages == ["no predict_fn", "no output_fn"]


def test_a_model_that_cannot_be_loaded_fails_with_what_the_worker_says() -> None:
    async def main(scene: Scene) -> None:
        loading = asyncio.ensure_future(scene.worker.load(MODEL))
        await scene.process.next()
        scene.process.send(frames.FAILED, {"status": 507, "message": "MemoryError: no room"})
        assert await failure(loading) == (507, "MemoryError: no room")
        scene.process.end(0)
        await scene.worker.ended
        assert scene.heard == []  # its end is no surprise

    scenario(main, loaded=False)


@pytest.mark.parametrize(
    "status, code, words",
    [
        (EXIT_3, 500, "exit code 3"),
        (KILLED, 507, "signal SIGKILL"),  # as when memory runs out
        (SHELL_KILLED, 507, "exit code 137"),
        (SEGMENTATION_FAULT, 500, "signal SIGSEGV"),
    ],
)
@pytest.mark.parametrize("directory, task", [("/model", "loading the model"), (None, "importing the handler")])
def test_one_that_dies_meanwhile_is_named_with_what_it_did(
    status: int, code: int, words: str, directory: str | None, task: str
) -> None:
    async def main(scene: Scene) -> None:
        loading = asyncio.ensure_future(scene.worker.load({**MODEL, "model_dir": directory}))
        await scene.process.next()
        scene.process.end(status)
        assert await failure(loading) == (code, f"The worker process died while {task}: {words}")
        assert scene.heard == []

    scenario(main, loaded=False)


def test_without_a_process_it_has_ended_before_it_began() -> None:
    async def whole() -> None:
        scene = Scene()
        scene.process.cannot_fork = OSError(24, "Too many open files")
        status, words = await failure(scene.worker.load(MODEL))
        assert status == 507 and "Too many open files" in words
        assert scene.worker.ended.done()

    asyncio.run(whole())


# Invocations


def test_a_response_reaches_whoever_waits_for_it() -> None:
    async def main(scene: Scene) -> None:
        reply = scene.run(b"request")
        assert scene.worker.is_awaited
        frame = await scene.process.next()
        assert (frame.kind, frame.fields, bytes(frame.body)) == (frames.INVOKE, {"id": "r"}, b"request")
        scene.process.respond(b"answer")
        assert await reply == Response(200, "Fine", [("A", "b")], b"answer")
        assert not scene.worker.is_awaited and scene.heard == ["idle", "idle"]

    scenario(main)


def test_one_that_nobody_waits_for_any_more_makes_it_idle_all_the_same() -> None:
    async def main(scene: Scene) -> None:
        reply = scene.run()
        reply.cancel()
        assert not scene.worker.is_awaited
        scene.process.respond()
        await until(lambda: scene.heard == ["idle", "idle"])
        reply = scene.run()
        for _ in range(2):
            await scene.process.next()
        scene.process.respond(b"second")
        assert (await reply).body == b"second"

    scenario(main)


def test_one_that_does_not_begin_its_response_in_time_is_killed() -> None:
    async def main(scene: Scene) -> None:
        status, words = await failure(scene.run())
        assert status == 500
        assert "it had not begun its response within 0.01 s, the limit SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS" in words
        assert scene.process.killed == 1
        assert scene.heard == ["idle", "dead"]

    scenario(main, invocation_seconds=0.01)


def test_one_that_dies_is_named_to_its_caller_and_told_of_once() -> None:
    async def main(scene: Scene) -> None:
        reply = scene.run()
        scene.process.end(EXIT_3)
        assert await failure(reply) == (500, "The worker process of the model died: exit code 3")
        await scene.worker.ended
        assert scene.heard == ["idle", "dead"]

    scenario(main)


# Streams


def test_a_stream_is_read_as_it_comes() -> None:
    async def main(scene: Scene) -> None:
        response, body = await scene.stream()
        assert response.status == 200 and scene.worker.is_awaited
        for piece in (b"a", b"b"):
            scene.process.send(frames.CHUNK, None, piece)
            assert await body.__anext__() == piece
        scene.process.send(frames.END)
        assert [piece async for piece in body] == []
        assert scene.heard == ["idle", "idle"]

    scenario(main)


@pytest.mark.parametrize("end", ["the handler raised", "the worker process died: exit code 3"])
def test_a_stream_that_breaks_off_says_why_after_what_had_come(end: str) -> None:
    async def main(scene: Scene) -> None:
        _, body = await scene.stream()
        scene.process.send(frames.CHUNK, None, b"a")
        if end == "the handler raised":
            scene.process.send(frames.BROKEN)
        else:
            scene.process.end(EXIT_3)
        assert await body.__anext__() == b"a"
        with pytest.raises(BrokenStream, match=end):
            await body.__anext__()

    scenario(main)


def test_a_stream_that_is_closed_stops_the_handler_and_what_still_comes_is_dropped() -> None:
    async def main(scene: Scene) -> None:
        _, body = await scene.stream()
        body.close()
        body.close()
        assert not scene.worker.is_awaited
        assert (await scene.process.next()).kind == frames.CANCEL
        scene.process.send(frames.CHUNK, None, b"late")
        scene.process.send(frames.END)
        await until(lambda: scene.heard == ["idle", "idle"])
        reply = scene.run()
        assert (await scene.process.next()).kind == frames.INVOKE
        scene.process.respond()
        assert (await reply).body == b"answer"

    scenario(main)


def test_a_stream_whose_caller_had_gone_before_it_began_is_stopped() -> None:
    async def main(scene: Scene) -> None:
        scene.run().cancel()
        await scene.process.next()
        scene.process.respond(b"", frames.STREAM)
        assert (await scene.process.next()).kind == frames.CANCEL

    scenario(main)


def test_no_more_of_a_stream_is_read_than_its_caller_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_STREAM_BUFFER", 10)

    async def main(scene: Scene) -> None:
        _, body = await scene.stream()
        for number in range(3):
            scene.process.send(frames.CHUNK, None, b"%d" % number * 6)
        while scene.worker._transport.is_reading():
            await asyncio.sleep(0)
        assert [await body.__anext__() for _ in range(3)] == [b"0" * 6, b"1" * 6, b"2" * 6]
        assert scene.worker._transport.is_reading()

    scenario(main)


# Its end


def test_one_that_is_shut_down_may_exit_by_itself() -> None:
    async def main(scene: Scene) -> None:
        scene.worker.shut_down()
        assert await scene.process.is_closed_by_the_server()
        scene.process.end(0)
        await scene.worker.ended
        assert (scene.process.killed, scene.heard) == (0, ["idle"])

    scenario(main)


def test_one_that_does_not_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_EXIT_SECONDS", 0.01)

    async def main(scene: Scene) -> None:
        scene.worker.shut_down()
        await scene.worker.ended
        assert (scene.process.killed, scene.heard) == (1, ["idle"])

    scenario(main)


def test_one_that_is_killed_fails_what_it_was_doing_and_is_no_loss() -> None:
    async def main(scene: Scene) -> None:
        reply = scene.run()
        scene.worker.kill()
        assert await failure(reply) == (500, "The worker process of the model died: signal SIGKILL")
        assert scene.heard == ["idle"]

    scenario(main)
