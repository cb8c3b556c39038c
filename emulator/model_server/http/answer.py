"""What goes back to the caller: an answer, or a refusal with a JSON body in Multi Model Server's manner."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


class ChunkStream(Protocol):
    """A body that is sent as it comes. It must be closed, even when it was not read to its end."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Answer:
    """The status, the headers and the body of a response. The server adds the headers that frame the body.

    A body that comes bit by bit is an iterator in the worker, and a ChunkStream in the server.
    """

    status: int = 200
    phrase: str | None = None  # None: the standard one of the status
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterator[Any] | ChunkStream = b""

    @classmethod
    def json(cls, content: Any, status: int = 200) -> Answer:
        """``content`` as JSON, indented as Multi Model Server does."""
        return cls(status, None, [("Content-Type", "application/json")], json.dumps(content, indent=2).encode() + b"\n")

    @classmethod
    def error(cls, status: int, kind: str, message: str) -> Answer:
        """An error with the body ``{"code", "type", "message"}``."""
        return cls.json({"code": status, "type": kind, "message": message}, status)

    def discard(self) -> None:
        """Let go of an answer that will not be sent."""
        if not isinstance(self.body, (bytes, Iterator)):
            self.body.close()


class BrokenStream(Exception):
    """A streamed body that will not be completed."""


class Refusal(Exception):
    """A request that is not granted, for a reason that the caller should be told."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message

    def answer(self) -> Answer:
        """The answer that says so."""
        return Answer.error(self.status, self.kind, self.message)


class HandlerError(Exception):
    """A handler cannot be used, or not for this model; the message says what to do."""


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequestException", message)


def not_found(model_name: str) -> Refusal:
    return Refusal(404, "ModelNotFoundException", f"Model not found: {model_name}")


def conflict(message: str) -> Refusal:
    return Refusal(409, "ConflictStatusException", message)


def failure(message: str, status: int = 500) -> Refusal:
    """The model or its handler failed: 500, or 507 for want of memory or of another resource."""
    return Refusal(status, "InternalServerException", message)


def describe(error: BaseException) -> str:
    """An exception in one line, ``type: text``."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
