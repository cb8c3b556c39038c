"""The client of an emulator's stream of events: it reads messages, comes back when the stream breaks off, and ends."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from localmme.event_stream import AGAIN_SECONDS, LOST, EventStream, Message
from localmme.pages import PageRefused


class Emulator(ThreadingHTTPServer):
    """Answers each request for the stream with what comes next in ``scripts``; the last one stays open."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.scripts: queue.Queue[bytes | int] = queue.Queue()
        self.asked: list[str | None] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Emulator

    def do_GET(self) -> None:
        assert self.path == "/_localmme/events"
        self.server.asked.append(self.headers["Last-Event-ID"])
        script = self.server.scripts.get()
        if isinstance(script, int):
            body = b'{"Message": "perform: localmme:GetEvents"}'
            self.send_response(script)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-amzn-errortype", "MissingAuthenticationTokenException")
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(script)
        self.wfile.flush()
        if self.server.scripts.empty():
            self.connection.recv(1)  # until the reader goes
            self.server.ended.set()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setattr("localmme.event_stream.AGAIN_SECONDS", (0.01,) * len(AGAIN_SECONDS))
    with Emulator() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def message(kind: str, data: Any, identifier: str) -> bytes:
    return f"event: {kind}\nid: {identifier}\ndata: {json.dumps(data)}\n\n".encode()


def test_messages_come_as_they_are_sent_and_go_on_where_the_stream_broke_off(emulator: Emulator) -> None:
    emulator.scripts.put(message("hello", {"run": "r"}, "r.1") + b":\n\n" + message("entries", {"entries": []}, "r.7"))
    emulator.scripts.put(b"event: state\nid: r.9\ndata: {")  # it ends in the middle
    emulator.scripts.put(message("state", {"endpoints": []}, "r.9"))
    stream = EventStream(emulator.url)
    messages = stream.messages()
    got = [next(messages) for _ in range(5)]
    assert [each.kind for each in got] == ["hello", "entries", LOST, LOST, "state"]
    assert got[0] == Message("hello", {"run": "r"}) and "has ended" in got[2].data
    assert emulator.asked == [None, "r.7", "r.9"]
    stream.close()
    assert list(messages) == []


def test_it_can_be_ended_while_it_waits_and_lets_its_connection_go(emulator: Emulator) -> None:
    emulator.scripts.put(message("hello", {}, "r.1"))
    stream, got = EventStream(emulator.url), []
    first = threading.Event()

    def read() -> None:
        for each in stream.messages():
            got.append(each.kind)
            first.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert first.wait(30)
    stream.close()
    thread.join(30)
    assert not thread.is_alive() and got == ["hello"]
    assert emulator.ended.wait(30)


def test_an_emulator_that_is_not_there_is_tried_again_until_it_is_closed(emulator: Emulator) -> None:
    stream = EventStream("http://127.0.0.1:1")
    messages = stream.messages()
    assert [next(messages).kind for _ in range(3)] == [LOST] * 3
    stream.close()
    assert list(messages) == []


def test_a_user_who_may_not_see_it_is_not_tried_again(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localmme.pages._sign", lambda _: None)
    emulator.scripts.put(403)
    emulator.scripts.put(403)
    with pytest.raises(PageRefused, match="GetEvents"):
        next(EventStream(emulator.url).messages())
