"""Calls to the checked container. Each is recorded as an Exchange, with request and answer; none raises."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emulator.containers.connection_pool import ConnectionPool
from emulator.containers.http_connection import AnswerTooLong
from emulator.errors import ContainerError

# Whether connections are accepted within SageMaker's 250 ms is a check of its own.
CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
SHOWN_CHARACTERS = 400  # of a body
SHOWN_HEADER_CHARACTERS = 120
TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Exchange:
    """A request and its answer. Status 0 = there was no answer; ``problem`` is the reason."""

    method: str
    path: str
    request_headers: Headers
    request_body: bytes
    status: int
    headers: Headers  # of the answer; names in lower case
    body: bytes
    problem: str
    seconds: float  # until the whole answer was there

    @property
    def ok(self) -> bool:
        """Whether it was answered with success."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """A header of the answer; ``name`` in lower case."""
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        """The answer's body, parsed; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def sent(self) -> str:
        """The request in one line, for the report."""
        headers = "".join(f" {name}: {_cut(value)}" for name, value in self.request_headers)
        return f"{self.method} {_cut(self.path)}{headers}{_excerpt(self.request_body)}"

    @property
    def received(self) -> str:
        """The answer in one line, for the report."""
        if not self.status:
            return self.problem
        content_type = self.header("content-type")
        return (
            f"{self.status}{f' {content_type}' if content_type else ''}{_excerpt(self.body)} after {self.seconds:.3f} s"
        )


class Caller:
    """Calls one run of a container, over kept connections as the platform does."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.last: Exchange | None = None
        self._pool = ConnectionPool(host, port, CONNECT_SECONDS)

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        *,
        timeout: float,
    ) -> Exchange:
        """Make a call; ``timeout`` in seconds."""
        headers = tuple(headers)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        began = time.perf_counter()
        status, content, problem = 0, b"", ""
        answered: Headers = ()
        try:
            answer = await self._pool.request(head, body, timeout, MAX_ANSWER_BYTES)
            status, content = answer.status, answer.body
            answered = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers)
        except AnswerTooLong:
            problem = f"an answer of more than {MAX_ANSWER_BYTES} bytes"
        except ContainerError as error:
            problem = f"no answer: {error}"
        except asyncio.CancelledError:
            self.last = self._exchange(method, path, headers, body, 0, (), b"", "no answer yet", began)
            raise
        self.last = self._exchange(method, path, headers, body, status, answered, content, problem, began)
        return self.last

    @staticmethod
    def _exchange(
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        status: int,
        answered: Headers,
        content: bytes,
        problem: str,
        began: float,
    ) -> Exchange:
        seconds = time.perf_counter() - began
        return Exchange(method, path, headers, body, status, answered, content, problem, seconds)

    def close(self) -> None:
        """Drop all connections."""
        self._pool.close()


def _excerpt(body: bytes) -> str:
    if not body:
        return ""
    start = body[:SHOWN_CHARACTERS]
    try:
        text = start.decode("utf-8", "strict" if len(body) <= SHOWN_CHARACTERS else "ignore")
        readable = "".join(text.split()).isprintable()  # control characters are not shown unescaped
    except UnicodeDecodeError:
        readable = False
    excerpt = " ".join(text.split()) if readable else repr(start[:60])
    return f" {excerpt}{f' ... ({len(body)} bytes)' if len(body) > SHOWN_CHARACTERS else ''}"


def _cut(value: str) -> str:
    if len(value) <= SHOWN_HEADER_CHARACTERS:
        return value
    return f"{value[:40]}... ({len(value)} characters)"
