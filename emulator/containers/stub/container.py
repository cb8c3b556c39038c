"""The container of a stub: it runs nothing, and answers as its file says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

from emulator.containers.connection_pool import StreamedAnswer
from emulator.containers.container import Container, LogSink
from emulator.containers.contract import Answer, AnswerTooLong, ContainerContract
from emulator.containers.errors import NoAnswer
from emulator.containers.stub.answers import NotRendered, StubAnswer, rendered, request_document, text_with
from emulator.containers.stub.file import StubFile, read
from emulator.errors import ContainerTimeout, ContainerUnreachable, SetupError
from emulator.invocation import Invocation
from emulator.limits import Limits

Version = tuple[int, int, int]


class StubContainer(Container):
    """One run of it, which ends when it is stopped."""

    host, port = "stub", 0

    def __init__(self, file: Path, log: LogSink, warn: Callable[[str], None]) -> None:
        self.log, self._warn = log, warn
        self._file = file
        self._answers: StubFile
        self._version: Version | None = None
        self.ended = asyncio.Event()

    async def start(self) -> None:
        """Read the file. Raises SetupError, with its problems."""
        self._version = self._version_now()
        self._answers = await asyncio.to_thread(read, self._file)

    async def answers(self) -> StubFile:
        """What the file says now; while it has problems, what it said before."""
        version = self._version_now()
        if version != self._version:
            self._version = version
            try:
                self._answers = await asyncio.to_thread(read, self._file)
            except SetupError as error:
                self._warn(f"The stub answers as before, as its file has problems: {error}")
        return self._answers

    async def wait(self) -> str:
        await self.ended.wait()
        return "was stopped"

    async def stop(self, seconds: float | None = None) -> None:
        self.ended.set()

    async def memory_used(self) -> int:
        return 0

    async def cpu_seconds(self) -> float | None:
        return 0.0

    async def deliver(self, model_directory: Path) -> str:
        return str(model_directory)

    @property
    def address(self) -> str:
        return f"stub:{self._file}"

    def contract(self, limits: Limits) -> ContainerContract:
        return cast(ContainerContract, _StubContract(self, limits))

    def _version_now(self) -> Version | None:
        try:
            found = os.stat(self._file)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class _StubContract:
    """What ContainerContract is to a container that runs."""

    def __init__(self, container: StubContainer, limits: Limits) -> None:
        self._container, self._limits = container, limits
        self._loop = asyncio.get_running_loop()

    async def ping(self) -> None: ...

    async def get(self, path: str, accept: str) -> Answer:
        return Answer(404, [])

    def close(self) -> None:
        self._container.ended.set()

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        """See ContainerContract."""
        return await (await self._answer(invocation, deadline)).whole(self._limits.body_bytes)

    async def invoke_stream(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        """See ContainerContract."""
        answer = await self._answer(invocation, deadline)
        return answer if answer.status < 300 else await answer.whole(self._limits.body_bytes)

    async def _answer(self, invocation: Invocation, deadline: float) -> StreamedAnswer:
        body = invocation.body
        if invocation.chunks is not None:
            body = b"".join([chunk async for chunk in invocation.chunks()])
        request = request_document(invocation, body)
        answer = await self._find(invocation, request)
        if answer is None:
            # [ours] of an endpoint of one model, which always has its model: nothing of SageMaker's refuses that
            words = b"The stub has no answer for this request; its log says what it was compared with."
            return StreamedAnswer(400, [(b"content-type", b"text/plain")], chunks=_chunks_of([words]))
        await self._pass(answer.delay_seconds, deadline)
        headers = [(b"content-type", answer.content_type.encode())]
        try:
            chunks = [
                chunk if isinstance(chunk, (bytes, Path)) else rendered(chunk, request) for chunk in answer.chunks
            ]
            if answer.custom_attributes is not None:
                attributes = text_with(answer.custom_attributes, request)
                headers.append((b"x-amzn-sagemaker-custom-attributes", attributes.encode("latin-1", "replace")))
        except NotRendered as error:
            return StreamedAnswer(500, [(b"content-type", b"text/plain")], chunks=_chunks_of([str(error).encode()]))
        return StreamedAnswer(
            answer.status, headers, chunks=self._paced(chunks, answer.chunk_delay_seconds, answer.status, deadline)
        )

    async def _find(self, invocation: Invocation, request: dict[str, Any]) -> StubAnswer | None:
        """The first answer for a request. Raises NoAnswer if it names a model."""
        file = await self._container.answers()
        tried = []
        for answer in file.answers_of(invocation.endpoint_name):
            if not (why := answer.mismatch(request)):
                return answer
            tried.append(f"line {answer.line}: {why}")
        which = f"TargetModel {invocation.target_model} of endpoint" if invocation.target_model else "endpoint"
        self._container.log(
            f"No answer for {which} {invocation.endpoint_name}: {'; '.join(tried) or 'the file has none for it'}"
        )
        if invocation.target_model:
            raise NoAnswer(invocation.target_model)
        return None

    async def _paced(
        self, chunks: list[bytes | Path], seconds: float, status: int, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        size = 0
        for position, chunk in enumerate(chunks):
            if position:
                await self._pass(seconds, deadline)
            data = chunk if isinstance(chunk, bytes) else await asyncio.to_thread(chunk.read_bytes)
            size += len(data)
            if size > self._limits.body_bytes:
                raise AnswerTooLong(status)
            yield data

    async def _pass(self, seconds: float, deadline: float) -> None:
        """Wait. Raises ContainerTimeout and ContainerUnreachable."""
        if not seconds:
            return
        left = deadline - self._loop.time()
        ending = asyncio.ensure_future(self._container.ended.wait())
        ended, _ = await asyncio.wait([ending], timeout=max(0.0, min(seconds, left)))
        ending.cancel()
        if ended:
            raise ContainerUnreachable("the stub was stopped")
        if seconds > left:
            raise ContainerTimeout(f"no answer within {left:.3g} s")


async def _chunks_of(chunks: list[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
