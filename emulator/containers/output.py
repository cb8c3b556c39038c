"""A container's output as the engine sends it, and its way from the thread that reads it to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol

from urllib3.exceptions import HTTPError

from emulator.containers.base import LogSink
from emulator.containers.process import LONGEST_LOG_LINE

MOST_LINES_WAITING = 10_000  # for the event loop; then the container has to wait
_FRAME = struct.Struct(">BxxxL")  # which stream, how many bytes


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_lines(stream: Readable) -> Iterator[list[str]]:
    """The lines of an attached container's streams, without line ends, as they become complete.

    Both streams are cut into lines for themselves. Lines that do not end are cut in pieces. A connection that is lost
    is an end like any other.
    """
    rests: dict[int, bytes] = defaultdict(bytes)
    with contextlib.suppress(OSError, HTTPError):
        while len(header := stream.read(_FRAME.size)) == _FRAME.size:
            source, length = _FRAME.unpack(header)
            *lines, rest = (rests[source] + stream.read(length)).split(b"\n")
            if len(rest) > LONGEST_LOG_LINE:
                lines.append(rest)
                rest = b""
            rests[source] = rest
            if lines:
                yield [_text(line) for line in lines]
    yield [_text(rest) for rest in rests.values() if rest]


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
