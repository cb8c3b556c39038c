"""A container's output as the engine streams it, passed from the reading thread to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Protocol

from urllib3.exceptions import HTTPError

from emulator import relied_on
from emulator.containers.container import LONGEST_LOG_LINE, LogSink
from emulator.containers.docker.images import Client

MOST_LINES_WAITING = 10_000  # for the event loop; then the container has to wait
READ_AT_ONCE = 64 * 1024
# So that a container that logs every call does not have this thread woken for each line: it would hold up the event
# loop, with which it shares the interpreter.
PAUSE_SECONDS = 0.01
_FRAME = struct.Struct(">BxxxL")  # which stream, how many bytes
relied_on.check(__name__)


def attach(client: Client, container: str) -> Any:
    """The answer whose stream is the container's output, from now on."""
    response = client.post(
        f"{client.base_url}/v{client.api_version}/containers/{container}/attach",
        params={"stdout": 1, "stderr": 1, "stream": 1},
        headers={"Connection": "Upgrade", "Upgrade": "tcp"},
        stream=True,
        timeout=None,  # it may be silent for as long as it likes
    )
    response.raise_for_status()
    return response


class Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def read_lines(stream: Readable) -> Iterator[list[str]]:
    """The lines of an attached container's streams, without line ends, as they become complete.

    Both streams are cut into lines for themselves. Lines that do not end are cut in pieces. A connection that is lost
    is an end like any other.
    """
    received = bytearray()
    rests: dict[int, bytes] = defaultdict(bytes)
    with contextlib.suppress(OSError, HTTPError):
        while chunk := stream.read1(READ_AT_ONCE):
            received += chunk
            lines: list[bytes] = []
            for source, data in _frames(received):
                *complete, rest = (rests[source] + data).split(b"\n")
                lines += complete
                if len(rest) > LONGEST_LOG_LINE:
                    lines.append(rest)
                    rest = b""
                rests[source] = rest
            if lines:
                yield [_text(line) for line in lines]
            if len(chunk) < READ_AT_ONCE:
                time.sleep(PAUSE_SECONDS)
    yield [_text(rest) for rest in rests.values() if rest]


def _frames(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the complete frames out of what was received: which stream, and its data."""
    start = 0
    while len(received) - start >= _FRAME.size:
        source, length = _FRAME.unpack_from(received, start)
        end = start + _FRAME.size + length
        if end > len(received):
            break
        yield source, bytes(received[start + _FRAME.size : end])
        start = end
    del received[:start]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


class LogFeed:
    """Takes lines from a thread to a sink that is called on the event loop, many at a time if they come fast."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: LogSink) -> None:
        self._loop, self._log = loop, log
        self._lines: list[str] = []
        self._taken = threading.Condition()

    def put(self, lines: list[str]) -> None:
        """Called in the thread. Blocks while the event loop has too many lines to do already.

        Raises RuntimeError when the loop is closed.
        """
        with self._taken:
            self._taken.wait_for(lambda: len(self._lines) < MOST_LINES_WAITING)
            first = not self._lines
            self._lines += lines
        if first:
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._taken:
            lines, self._lines = self._lines, []
            self._taken.notify()
        for line in lines:
            self._log(line)
