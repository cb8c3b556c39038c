"""Follows an emulator's stream of events, and comes back to it when it breaks off."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple

from localmme.pages import opened

SILENCE_SECONDS = 45.0  # [ours] the emulator says something every 15 s
AGAIN_SECONDS = (0.5, 1.0, 2.0, 3.0)  # [ours] between attempts; the last stays
LOST = "lost"


class Message(NamedTuple):
    """``kind`` is hello, state, models or entries; or ``LOST``, whose data says why there are no others."""

    kind: str
    data: Any


class EventStream:
    """Messages as they come, for one thread; ``close``, from any other, ends them."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._last_id = ""
        self._closed = threading.Event()
        self._connection: socket.socket | None = None

    def messages(self) -> Iterator[Message]:
        """All messages, until it is closed. Raises PageRefused when the user may not see them."""
        failures = 0
        while not self._closed.is_set():
            problem = "it has ended its stream of events"
            try:
                for message in self._connected():
                    failures = 0
                    yield message
            except (OSError, HTTPException, ValueError) as error:
                problem = str(error)
            if not self._closed.is_set():
                yield Message(LOST, problem)
                self._closed.wait(AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)])
                failures += 1

    def close(self) -> None:
        """End the messages, also while they are waited for."""
        self._closed.set()
        if (connection := self._connection) is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _connected(self) -> Iterator[Message]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self._last_id} if self._last_id else {})}
        with (
            opened(self._url, "events", SILENCE_SECONDS, headers=headers) as answer,
            socket.socket(fileno=os.dup(answer.fileno())) as connection,
        ):
            self._connection = connection
            try:
                if not self._closed.is_set():
                    yield from self._parsed(answer)
            finally:
                self._connection = None

    def _parsed(self, lines: Iterable[bytes] | HTTPResponse) -> Iterator[Message]:
        """Server-sent events, of which each has one line of data. [HTML standard]"""
        kind, data = "", ""
        for line in lines:
            name, _, value = line.decode().rstrip("\r\n").partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data += value
            elif name == "id":
                self._last_id = value
            elif not name and data:
                yield Message(kind, json.loads(data))
                kind, data = "", ""
