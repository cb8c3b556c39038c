"""The container's HTTP contract, from the platform's side: ping, load, list, get, unload, invoke.

[dg] "Custom containers contract for multi-model endpoints".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path

from emulator.containers.connection_pool import ConnectionPool, StreamedAnswer
from emulator.containers.http_connection import Answer, AnswerTooLong
from emulator.errors import ContainerError
from emulator.invocation import Invocation
from emulator.limits import Limits

INVOCATIONS = "/invocations"  # where a container of a single model is invoked
# What a load, list, get or unload may answer at most; an invocation has SageMaker's own limit.
GET_SECONDS = 10.0  # [ours] for an answer to ``get``
MAX_CONTROL_BYTES = 4 * 1024 * 1024


def invocation_path(model_name: str) -> str:
    """Where one model of a multi-model container is invoked."""
    return f"/models/{model_name}/invoke"


class ContainerContract:
    """Calls one running container by the contract. Every call may raise ContainerError (see errors).

    A ``timeout`` is in seconds, a ``deadline`` on the event loop's clock.
    """

    def __init__(self, host: str, port: int, limits: Limits, socket: Path | None = None) -> None:
        """Must be created on the running event loop."""
        self._pool = ConnectionPool(host, port, limits.connect_seconds, socket)
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._host = b"Host: %s:%d\r\n" % (host.encode(), port)

    async def ping(self) -> None:
        """Raises ContainerError unless GET /ping answers 200 in time."""
        answer = await self._control("GET", "/ping", "", self._limits.ping_seconds)
        if answer.status != 200:
            raise ContainerError(f"GET /ping answered {answer.status} {_text(answer.body, 200)}".rstrip())

    async def check_list(self) -> None:
        """Raises ContainerError unless GET /models answers 200, as that of a multi-model container must.

        The list itself is not read: Triton's entries are empty, and AWS's TensorFlow Serving container answers ``{}``.
        """
        answer = await self._control("GET", "/models", "", self._limits.ping_seconds)
        if answer.status != 200:
            raise ContainerError(f"GET /models answered {answer.status}; a multi-model container must implement it")

    async def load(self, model_name: str, target_model: str, url: str, timeout: float) -> Answer:
        """POST /models.

        The target model goes along as a header in this and the following calls: Triton knows a model by it.
        """
        body = json.dumps({"model_name": model_name, "url": url}).encode()
        return await self._control("POST", "/models", target_model, timeout, body)

    async def is_loaded(self, model_name: str, target_model: str) -> bool:
        """GET /models/{model_name}: whether the container knows the model."""
        path = f"/models/{model_name}"
        return (await self._control("GET", path, target_model, self._limits.ping_seconds)).status == 200

    async def unload(self, model_name: str, target_model: str) -> Answer:
        """DELETE /models/{model_name}."""
        return await self._control("DELETE", f"/models/{model_name}", target_model, self._limits.unload_seconds)

    def invoke(self, path: str, invocation: Invocation, deadline: float) -> Awaitable[Answer]:
        """POST to ``path`` (``invocation_path``, INVOCATIONS): the whole answer, before ``deadline``."""
        head, timeout = self._invocation_head(path, invocation), deadline - self._loop.time()
        if invocation.chunks is not None:
            return self._pool.request_in_chunks(head, invocation.chunks(), timeout, self._limits.body_bytes)
        return self._pool.request(head, invocation.body, timeout, self._limits.body_bytes)

    async def invoke_stream(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        """The same, as a StreamedAnswer. One of another status than 2xx comes whole."""
        head, timeout = self._invocation_head(path, invocation), deadline - self._loop.time()
        answer = await self._pool.stream(head, invocation.body, timeout)
        return answer if answer.status < 300 else await answer.whole(self._limits.body_bytes)

    async def get(self, path: str, accept: str) -> Answer:
        """GET of what a container may have besides: its metrics, its execution parameters."""
        return await self._control("GET", path, "", GET_SECONDS, accept=accept)

    def close(self) -> None:
        """Drop all connections; calls under way fail."""
        self._pool.close()

    def _invocation_head(self, path: str, invocation: Invocation) -> bytes:
        # Every other header of the caller is stripped, as on SageMaker. The names are spelt as people write them:
        # Multi Model Server hands them to a handler in the case that they come in, and looks them up by it.
        head = b"POST %b HTTP/1.1\r\n%b" % (path.encode(), self._host)
        if invocation.content_type is not None:
            head += b"Content-Type: %b\r\n" % invocation.content_type
        if invocation.accept is not None:
            head += b"Accept: %b\r\n" % invocation.accept
        if invocation.custom_attributes is not None:
            head += b"X-Amzn-SageMaker-Custom-Attributes: %b\r\n" % invocation.custom_attributes
        if invocation.session_id is not None:
            head += b"X-Amzn-SageMaker-Session-Id: %b\r\n" % invocation.session_id
        if invocation.target_model:
            head += b"X-Amzn-SageMaker-Target-Model: %b\r\n" % invocation.target_model.encode()
        if invocation.trace is not None:
            head += invocation.trace.headers
        if invocation.chunks is not None:
            return b"%bTransfer-Encoding: chunked\r\n\r\n" % head
        return b"%bContent-Length: %d\r\n\r\n" % (head, len(invocation.body))

    async def _control(
        self,
        method: str,
        path: str,
        target_model: str,
        timeout: float,
        body: bytes = b"",
        accept: str = "application/json",
    ) -> Answer:
        head = b"%s %s HTTP/1.1\r\n%sAccept: %s\r\n" % (method.encode(), path.encode(), self._host, accept.encode())
        if target_model:
            head += b"X-Amzn-SageMaker-Target-Model: %s\r\n" % target_model.encode()
        if body:
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        return await self._pool.request(head + b"\r\n", body, timeout, MAX_CONTROL_BYTES)


def _text(body: bytes, limit: int) -> str:
    return body[:limit].decode("utf-8", "replace").strip()


__all__ = [
    "INVOCATIONS",
    "Answer",
    "AnswerTooLong",
    "ContainerContract",
    "StreamedAnswer",
    "invocation_path",
]
