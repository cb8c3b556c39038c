"""What a worker sends back over its connection, whatever its handler does."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.model_server.workers import frames, log
from emulator.model_server.workers.frames import Frame
from emulator.model_server.workers.worker import work
from tests.support.handlers import Models

HANDLER = """
def handle(data, context):
    if data is None:
        return
    return [eval(data[0]["body"], globals())]

def chunks(*pieces):
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece

class Endless:
    closed = 0
    def __iter__(self): return self
    def __next__(self): return b"more"
    def close(self): Endless.closed += 1
"""


class Worker:
    """The server's end of a worker that runs in a thread."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(20)
        self._incoming = self._ours.makefile("rb")
        self.thread = threading.Thread(target=work, args=[None, theirs], daemon=True)
        self.thread.start()

    def send(self, kind: bytes, fields: dict[str, Any] | None = None, body: bytes = b"") -> None:
        self._ours.sendall(frames.head(kind, fields, len(body)) + body)

    def next(self) -> Frame:
        frame = frames.read(self._incoming)
        assert frame is not None
        return frame

    def load(self, directory: Path, handler: str | None = None) -> Frame:
        self.send(frames.LOAD, {"model_name": "m", "model_dir": str(directory), "handler": handler, "gpu": None})
        return self.next()

    def ask(self, code: str) -> None:
        """Have the handler answer with the value of an expression."""
        self.send(frames.INVOKE, {"request_id": "r", "query": "", "headers": []}, code.encode())

    def until_the_end(self, code: str) -> list[tuple[bytes, bytes]]:
        """Kind and body of each frame of a streamed answer."""
        self.ask(code)
        seen = [self.next()]
        while seen[-1].kind not in (frames.END, frames.BROKEN, frames.RESPONSE):
            seen.append(self.next())
        return [(frame.kind, bytes(frame.body)) for frame in seen]

    def close(self) -> None:
        self._incoming.close()
        self._ours.close()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_imports: None) -> Iterator[Worker]:
    monkeypatch.chdir(tmp_path)  # a worker goes to its model's directory
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(log, "start", lambda: None)
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def loaded(worker: Worker, load: Models) -> Worker:
    directory = load.write(inference=HANDLER)
    assert worker.load(directory).kind == frames.LOADED
    assert Path.cwd() == Path(os.path.realpath(directory))
    return worker


def test_it_ends_when_the_server_closes_the_connection(loaded: Worker) -> None:
    loaded.close()


def test_it_ends_when_it_is_to_load_nothing(worker: Worker) -> None:
    worker.close()


@pytest.mark.parametrize(
    "inference, status, words",
    [
        ("def handle(data, context): raise ValueError('no weights')", 500, "ValueError: no weights"),
        ("def handle(data, context): raise MemoryError('no room')", 507, "MemoryError: no room"),
        ("x = 1", 500, "has no function handle(data, context)"),
        ("import", 500, "SyntaxError"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_explained_and_the_worker_ends(
    worker: Worker, load: Models, inference: str, status: int, words: str
) -> None:
    frame = worker.load(load.write(inference=inference))
    assert (frame.kind, frame.fields["status"]) == (frames.FAILED, status)
    assert words in frame.fields["message"]
    worker.thread.join(20)
    assert not worker.thread.is_alive()


def test_what_is_worth_knowing_of_a_handler_is_left_to_the_server_to_log(
    worker: Worker, load: Models, caplog: pytest.LogCaptureFixture
) -> None:
    handler = "try: import sklearn\nexcept ImportError: pass\ndef model_fn(model_dir): return 1"
    note = worker.load(load.write(inference=handler))
    assert note.kind == frames.NOTE
    assert note.fields["text"].startswith("inference.py imports sklearn and has no input_fn")
    assert worker.next().kind == frames.LOADED and not caplog.messages


def test_a_handler_is_tried_without_a_model(worker: Worker, load: Models) -> None:
    handler = load.write(mine=HANDLER) / "mine.py"
    worker.send(frames.LOAD, {"model_name": "", "model_dir": None, "handler": str(handler), "gpu": None})
    assert worker.next().kind == frames.LOADED


def test_invocations_are_answered_one_after_the_other(loaded: Worker) -> None:
    for code in ("'a'", "b'b'", "1 / 0", "'c'"):
        loaded.ask(code)
    seen = [loaded.next() for _ in range(4)]
    assert [(frame.kind, frame.fields["status"]) for frame in seen] == [
        (frames.RESPONSE, status) for status in (200, 200, 500, 200)
    ]
    assert [bytes(seen[number].body) for number in (0, 1, 3)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("size", [0, 65_535, 65_536, 3_000_000])
def test_an_answer_of_any_size_is_whole(loaded: Worker, size: int) -> None:
    loaded.ask(f"b'x' * {size}")
    assert bytes(loaded.next().body) == b"x" * size


@pytest.mark.parametrize(
    "code, answer",
    [
        ("chunks('a', b'', bytearray(b'b'))",
         [(frames.STREAM, b""), (frames.CHUNK, b"a"), (frames.CHUNK, b""), (frames.CHUNK, b"b"), (frames.END, b"")]),
        ("chunks()", [(frames.STREAM, b""), (frames.END, b"")]),
        ("chunks('a', ValueError('late'))", [(frames.STREAM, b""), (frames.CHUNK, b"a"), (frames.BROKEN, b"")]),
        ("chunks('a', 5)", [(frames.STREAM, b""), (frames.CHUNK, b"a"), (frames.BROKEN, b"")]),
    ],
)  # fmt: skip
def test_a_stream_is_sent_piece_by_piece(loaded: Worker, code: str, answer: list[tuple[bytes, bytes]]) -> None:
    assert loaded.until_the_end(code) == answer
    assert loaded.until_the_end("'next'") == [(frames.RESPONSE, b"next")]


def test_a_stream_that_fails_before_its_first_piece_is_an_error(loaded: Worker) -> None:
    loaded.ask("chunks(ValueError('at once'))")
    frame = loaded.next()
    assert (frame.kind, frame.fields["status"]) == (frames.RESPONSE, 500)


def test_a_stream_that_is_cancelled_ends_and_its_iterator_is_closed(loaded: Worker) -> None:
    loaded.ask("Endless()")
    assert [loaded.next().kind for _ in range(3)] == [frames.STREAM, frames.CHUNK, frames.CHUNK]
    loaded.send(frames.CANCEL)
    while (frame := loaded.next()).kind == frames.CHUNK:
        pass
    assert frame.kind == frames.END
    assert loaded.until_the_end("str(Endless.closed)") == [(frames.RESPONSE, b"1")]


def test_a_cancellation_that_comes_too_late_is_ignored(loaded: Worker) -> None:
    loaded.send(frames.CANCEL)
    assert loaded.until_the_end("'next'") == [(frames.RESPONSE, b"next")]
