"""Responses, and errors that become responses with Multi Model Server's JSON body."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


class ChunkStream(Protocol):
    """A body that is sent as it is produced. It must be closed, even if it was not read to its end."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Response:
    """A response's status, headers and body. The server adds the headers for the body's length.

    A streamed body is an iterator in the worker, and a ChunkStream in the server.
    """

    status: int = 200
    phrase: str | None = None  # None = the status's standard phrase
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterator[Any] | ChunkStream = b""

    @classmethod
    def json(cls, content: Any, status: int = 200) -> Response:
        """``content`` as JSON, indented as Multi Model Server does."""
        return cls(status, None, [("Content-Type", "application/json")], json.dumps(content, indent=2).encode() + b"\n")

    @classmethod
    def error(cls, status: int, kind: str, message: str) -> Response:
        """An error with the body ``{"code", "type", "message"}``."""
        return cls.json({"code": status, "type": kind, "message": message}, status)

    def discard(self) -> None:
        """Release a response that will not be sent."""
        if not isinstance(self.body, (bytes, Iterator)):
            self.body.close()


class BrokenStream(Exception):
    """A streamed body ended before it was complete."""


class RequestError(Exception):
    """A request cannot be fulfilled. ``kind`` is the error's type in Multi Model Server's JSON."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message

    def response(self) -> Response:
        """The error as a response."""
        return Response.error(self.status, self.kind, self.message)


class HandlerError(Exception):
    """A handler cannot be used, or not for this model. The message says what to do."""


def bad_request(message: str) -> RequestError:
    return RequestError(400, "BadRequestException", message)


def not_found(model_name: str) -> RequestError:
    return RequestError(404, "ModelNotFoundException", f"Model not found: {model_name}")


def conflict(message: str) -> RequestError:
    return RequestError(409, "ConflictStatusException", message)


def failure(message: str, status: int = 500) -> RequestError:
    """The model or its handler failed: 500, or 507 when memory or another resource runs out."""
    return RequestError(status, "InternalServerException", message)


def describe(error: BaseException) -> str:
    """An exception in one line, ``type: text``."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
