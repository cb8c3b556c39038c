"""Runs one request through a handler, and makes a response of its result or its exception.

Statuses and messages are Multi Model Server's, except for a handler that raises, and for a generator: Multi Model
Server responds with 503 and ``Prediction failed`` or ``Unsupported model output data type.``; this server with 500 and
the exception, and with a stream. With ``--toolkit``, it does what Multi Model Server does.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from emulator.model_server.handlers.context import Context, RequestProcessor
from emulator.model_server.handlers.packages import explain
from emulator.model_server.handlers.request_parts import split
from emulator.model_server.http.response import Response, describe
from emulator.model_server.workers import log

Handle = Callable[[Any, Context], Any]

_log = logging.getLogger(__name__)
_BODILESS = (204, 304)
_FRAMING = {"content-length", "transfer-encoding", "connection"}  # set by the server


class Service:
    """A handler that has loaded its model."""

    def __init__(self, handle: Handle, context: Context, as_in_container: bool = False) -> None:
        """``as_in_container``: whatever the handler does is answered as Multi Model Server does."""
        self._handle = handle
        self._context = context
        self._as_in_container = as_in_container

    def invoke(self, body: bytearray, request_id: str, query: str, headers: list[tuple[str, str]]) -> Response:
        """The response to one invocation; its body is an iterator if the handler streams.

        An exception of the handler is logged, and becomes an error response.
        """
        try:
            parts, types = split(body, query, headers)
            processor = self._context.begin(request_id, {**types, **dict(headers)})
            return _response(self._handle([parts], self._context), processor, streams=not self._as_in_container)
        except _InvalidOutput as error:
            _log.warning("Model %s: %s", self._context.model_name, error.__cause__ or error)
            return _failed(503, str(error))
        except Exception as error:
            log.failure(f"Model {self._context.model_name}: invocation {request_id} failed")
            if isinstance(error, MemoryError):
                return _failed(507, "Out of resources" if self._as_in_container else describe(error))
            # Multi Model Server's exception for handlers, which they can raise only if that server is installed.
            if type(error).__name__ == "PredictionException":
                return _failed(getattr(error, "error_code", 500), str(getattr(error, "message", error)))
            return _failed(503, "Prediction failed") if self._as_in_container else _failed(500, explain(error))

    def finish(self) -> None:
        """Log the handler's metrics. To be called when the response has been sent."""
        self._context.metrics.log()


class _InvalidOutput(Exception):
    """The handler's result cannot be sent. The messages are Multi Model Server's."""


def _response(results: Any, processor: RequestProcessor, streams: bool) -> Response:
    if streams and isinstance(results, Iterator):
        results = [results]
    if not isinstance(results, list):
        raise _InvalidOutput("Invalid model predict output")
    if len(results) != 1:
        raise _InvalidOutput("number of batch response mismatched")
    body = _body(results[0], streams)  # before the headers, as a generator sets them when it first runs
    status = processor.get_response_status_code()
    if not 200 <= status <= 599:
        raise _InvalidOutput(f"Invalid response status: {status}")
    headers = [
        (_one_line(key), _one_line(value))
        for key, value in processor.get_response_headers().items()
        if key.lower() not in _FRAMING
    ]
    phrase = _one_line(processor.get_response_status_phrase() or "")
    return Response(status, phrase, headers, b"" if status in _BODILESS else body)


def as_chunk(piece: Any) -> bytes:
    """A piece of a streamed body as bytes. Raises TypeError when it is neither bytes nor str."""
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"a handler must stream bytes or str, not {type(piece).__name__}")


def _failed(status: int, message: str) -> Response:
    return Response.error(status, "InternalServerException", message)


def _one_line(text: Any) -> str:
    return str(text).replace("\r", " ").replace("\n", " ")


def _body(result: Any, streams: bool) -> Any:
    """A handler's result as a body: bytes, or, if it ``streams``, an iterator that has been started."""
    if isinstance(result, (bytes, bytearray)):
        return bytes(result)
    if isinstance(result, str):
        return result.encode()
    if streams and isinstance(result, Iterator):
        # Up to its first piece, so that an exception before that still becomes an error response.
        first = [as_chunk(piece) for piece in itertools.islice(result, 1)]
        return _StartedIterator(first, result)
    try:
        return json.dumps(result, indent=2).encode()
    except TypeError as error:
        raise _InvalidOutput("Unsupported model output data type.") from error


class _StartedIterator(Iterator[Any]):
    """An iterator whose first piece has been taken already."""

    def __init__(self, first: list[bytes], rest: Iterator[Any]) -> None:
        self._pieces = itertools.chain(first, rest)
        self._rest = rest

    def __next__(self) -> Any:
        return next(self._pieces)

    def close(self) -> None:
        """Let the handler's generator clean up."""
        if hasattr(self._rest, "close"):
            self._rest.close()
