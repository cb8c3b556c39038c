"""One transform job: hosts its model on an instance of its own, and has it transform all objects of the input."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import logging
import time
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from io import BufferedIOBase
from typing import ClassVar, Literal

from emulator.archives.errors import ArchiveNotFound
from emulator.aws.errors import AwsError
from emulator.containers.contract import Answer
from emulator.errors import ContainerError, SetupError
from emulator.events import JobStatus, LogLine
from emulator.hosting.errors import InstanceNotReached, ModelError
from emulator.hosting.instance import Instance
from emulator.hosting.tasks import cancel
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation
from emulator.jobs import execution_parameters
from emulator.jobs.channels import NO_SUCH_KEY, ChannelFiles, channel_files
from emulator.jobs.data_processing import FilteredRecord
from emulator.jobs.errors import JobFailed
from emulator.jobs.execution_parameters import ExecutionParameters
from emulator.jobs.job import FAILURE_REASON_CHARACTERS, INTERNAL_ERROR, JobKind, in_thread, to_its_end
from emulator.jobs.record_splitting import Record, RecordProblem, body_of, mini_batches, records
from emulator.jobs.role_access import RoleAccess
from emulator.jobs.transform_definition import TransformDefinition
from emulator.jobs.transform_output import TransformOutput
from emulator.storage.object_store import ObjectStore

log = logging.getLogger("localmme")
Status = Literal["InProgress", "Completed", "Failed", "Stopping", "Stopped"]
ANSWER_BYTES = 1 << 30  # [ours] of an answer to a mini-batch, which is in memory
MESSAGES: dict[Status, str] = {
    "InProgress": "Starting the transform job",
    "Stopping": "Stopping the transform job",
    "Completed": "Transform job completed",
    "Stopped": "Transform job stopped",
    "Failed": "Transform job failed",
}
BLOCK_BYTES = 1 << 20  # of an object that is sent as a whole
PAUSE_SECONDS = 1.0  # [ours] before what had no answer is sent again: the end of a container is noticed meanwhile
UNREADABLE = (AwsError, EOFError, gzip.BadGzipFile, zlib.error)  # what reading an object raises
NO_ANSWER = "Unable to get response from algorithm"  # [reports]
SEE_LOGS = "See job logs for more information"  # [reports]


class AlgorithmProblem(RecordProblem):
    """The container has failed, or given no answer."""


@dataclass(frozen=True)
class Payload:
    """What is sent to the container in one request."""

    body: bytes
    inputs: list[bytes]  # the records before the input filter
    chunks: Callable[[], AsyncGenerator[bytes, None]] | None = None  # in place of ``body``


@dataclass
class MiniBatch:
    """Records that are at the container, or its answer to them."""

    output: TransformOutput
    inputs: list[bytes]  # before the input filter
    answer: asyncio.Task[bytes]  # of no use if the output has a problem


class TransformJob:
    """It is run once. Anybody may read its status and times."""

    kind: ClassVar[JobKind] = "TransformJobs"

    def __init__(
        self,
        definition: TransformDefinition,
        workspace: Workspace,
        store: ObjectStore,
        changed: Callable[[TransformJob], Awaitable[None]],
    ) -> None:
        """``workspace`` is that of the instance. ``changed`` is called, and waited for, when the status has changed."""
        self.definition = definition
        self.status: Status = "InProgress"
        self.failure_reason = ""
        self.started: float | None = None  # seconds since 1970
        self.ended: float | None = None
        limits = replace(workspace.limits, body_bytes=ANSWER_BYTES)
        self._workspace = replace(workspace, limits=limits)
        self._data_log = workspace.events.within(container="data-log")
        self._store = store
        self._access = RoleAccess(workspace.execution_roles, definition.model.role_arn, definition.region)
        self._changed = changed
        self._input: ChannelFiles  # once they are found
        self._instance: Instance  # from its start on
        self._parameters = ExecutionParameters()
        self._problems: list[RecordProblem] = []
        self._stop_requested = asyncio.Event()

    @property
    def name(self) -> str:
        return self.definition.name

    def stop(self) -> None:
        """Begin to stop it. Outputs that are stored already stay. [ours]"""
        self._stop_requested.set()

    async def run(self) -> None:
        """Return when it has ended, however it does. If this is cancelled, nothing of it is left."""
        self.started = self._now()
        await self._enter("InProgress")
        stop = asyncio.ensure_future(self._stop_requested.wait())
        work = asyncio.ensure_future(self._failure())
        try:
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._enter("Stopping")
        finally:
            await cancel([work, stop])
        self.failure_reason = "" if work.cancelled() else work.result()[:FAILURE_REASON_CHARACTERS]
        self.ended = self._now()
        await self._enter("Stopped" if work.cancelled() else "Failed" if self.failure_reason else "Completed")

    def _now(self) -> float:
        return round(self._workspace.clock.now(), 3)

    async def _enter(self, status: Status) -> None:
        self.status = status
        self._workspace.events.publish(JobStatus(status, MESSAGES[status], self.failure_reason))
        await self._changed(self)

    async def _failure(self) -> str:
        """Do all of it; the reason why it failed, empty if it did not."""
        try:
            await self._host_and_transform()
        except JobFailed as error:
            return str(error)
        except SetupError as error:
            return f"AlgorithmError: {error}"
        except Exception:
            log.exception("a transform job failed inside the emulator")
            return INTERNAL_ERROR
        if not self._problems:
            return ""
        by_algorithm = any(isinstance(problem, AlgorithmProblem) for problem in self._problems)
        return f"{'AlgorithmError' if by_algorithm else 'ClientError'}: {SEE_LOGS}"

    async def _host_and_transform(self) -> None:
        self._input = await in_thread(channel_files, self.definition.input, self._access)
        try:
            await in_thread(self._store.directory, self.definition.output.bucket)
            self._instance = Instance(self.definition.variant, self._workspace)
            try:
                await self._instance.start()
                self._parameters = execution_parameters.execution_parameters(self.definition, await self._tuning())
                self._log(str(self._parameters))
                await self._transform()
            finally:
                await to_its_end(self._instance.stop())
        finally:
            self._input.source.close()

    async def _tuning(self) -> bytes:
        """The container's answer about the parameters that suit it; empty if it has none."""
        try:
            answer = await self._instance.get(execution_parameters.PATH)
        except ContainerError:
            return b""
        return answer.body if answer.status == 200 else b""

    # The objects

    async def _transform(self) -> None:
        """Transform all objects: each mini-batch follows the one before, also into the next object."""
        sent: deque[MiniBatch] = deque()
        outputs: set[TransformOutput] = set()
        try:
            for key, path in self._input.files:
                output = TransformOutput(self._store, self._access, self.definition.output, f"{path}.out", key)
                outputs = {each for each in outputs if not each.is_closed} | {output}
                await self._send(output, sent)
                output.all_sent = True
                await self._finish_if_complete(output)
            while sent:
                await self._receive(sent.popleft())
        finally:
            await cancel(batch.answer for batch in sent)
            for output in outputs:
                await in_thread(output.discard)

    async def _send(self, output: TransformOutput, sent: deque[MiniBatch]) -> None:
        """Send the mini-batches of one object, while at most ``max_concurrent`` of all objects are under way."""
        payloads = self._payloads(output.input_key)
        try:
            while (payload := await in_thread(next, payloads, None)) is not None:
                while len(sent) >= self._parameters.max_concurrent:
                    await self._receive(sent.popleft())
                if output.problem is not None:
                    break
                output.pending += 1
                sent.append(MiniBatch(output, payload.inputs, asyncio.ensure_future(self._answered(output, payload))))
        except RecordProblem as problem:
            self._fail(output, problem)
        finally:
            await in_thread(payloads.close)

    def _payloads(self, key: str) -> Generator[Payload, None, None]:
        """What is sent of an object. Blocks. Raises RecordProblem."""
        definition, single, max_bytes = self.definition, self._parameters.single_records, self._parameters.max_bytes
        splits = definition.split != "None" and single
        if not max_bytes and not splits and definition.processing is None:
            yield Payload(b"", [], functools.partial(self._chunks, key))
            return
        with self._opened(key) as data:
            found: Iterable[Record] = records(data, definition.split, max_bytes)
            if definition.processing is not None and definition.processing.changes_inputs:
                found = definition.processing.filtered(found)
            for batch in mini_batches(found, single, max_bytes):
                inputs = [record.before if isinstance(record, FilteredRecord) else record.data for record in batch]
                yield Payload(body_of(batch, single), inputs)

    async def _chunks(self, key: str) -> AsyncGenerator[bytes, None]:
        """An object as a whole, of any size. Raises RecordProblem."""
        blocks = self._blocks(key)
        try:
            while block := await in_thread(next, blocks, b""):
                yield block
        finally:
            await in_thread(blocks.close)

    def _blocks(self, key: str) -> Generator[bytes, None, None]:
        with self._opened(key) as data:
            while block := data.read(BLOCK_BYTES):
                yield block

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[BufferedIOBase]:
        """An object's data, decompressed. What goes wrong while it is open is a RecordProblem."""
        try:
            with self._input.source.open(key) as (file, _), contextlib.ExitStack() as opened:
                yield opened.enter_context(gzip.open(file)) if self.definition.input.gzipped else file
        except ArchiveNotFound:
            raise RecordProblem(f"ClientError: {NO_SUCH_KEY}") from None
        except UNREADABLE as error:
            raise RecordProblem(f"ClientError: {error}") from None

    async def _receive(self, batch: MiniBatch) -> None:
        """Wait for the answer to a mini-batch, and append it to its output."""
        output = batch.output
        answer = await batch.answer
        try:
            if output.problem is None:
                await in_thread(output.append, self._assembled(batch.inputs, answer))
        except RecordProblem as problem:
            self._fail(output, problem)
        output.pending -= 1
        await self._finish_if_complete(output)

    def _assembled(self, inputs: list[bytes], answer: bytes) -> bytes:
        processing = self.definition.processing
        if processing is not None and processing.changes_outputs:
            return processing.output(inputs, answer)
        return answer + b"\n" if self.definition.assemble_lines and not answer.endswith(b"\n") else answer

    async def _finish_if_complete(self, output: TransformOutput) -> None:
        if output.all_sent and not output.pending and output.problem is None:
            try:
                await in_thread(output.store)
            except RecordProblem as problem:
                self._fail(output, problem)

    def _fail(self, output: TransformOutput, problem: RecordProblem) -> None:
        """Fail one object, whose remaining mini-batches are not sent. The others are transformed. [dg]"""
        if output.problem is None:
            output.problem = problem
            self._problems.append(problem)
            for line in str(problem).split("\n"):
                self._log(f"{self._input.bucket}/{output.input_key}: {line}")

    def _log(self, text: str) -> None:
        """Write to the job's data log, in SageMaker's form. [reports]"""
        now = self._workspace.clock.now()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}"
        self._data_log.publish(LogLine(f"{stamp}:[sagemaker logs]: {text}"))

    # The container

    async def _answered(self, output: TransformOutput, payload: Payload) -> bytes:
        """The container's answer. If there is none, the object fails at once, before its earlier answers have come."""
        try:
            return await self._answer(payload)
        except RecordProblem as problem:
            self._fail(output, problem)
            return b""

    async def _answer(self, payload: Payload) -> bytes:
        """The container's answer. Raises RecordProblem, JobFailed."""
        for retries_left in range(self.definition.retries, -1, -1):
            try:
                return (await self._invoke(payload)).body
            except ModelError as error:
                problem, answered = problem_of(error), error.fields["OriginalStatusCode"] != 0
            except AwsError:  # such as no healthy container in all that time: the next request would wait as long
                self._log(NO_ANSWER)
                raise JobFailed(f"AlgorithmError: {SEE_LOGS}") from None
            # [ours] What the container blames on its input, it would blame on it again.
            if not isinstance(problem, AlgorithmProblem) or not retries_left:
                raise problem
            if not answered:
                await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError

    async def _invoke(self, payload: Payload) -> Answer:
        """The answer to one request. Raises AwsError.

        A container that is not reached has ended and will be replaced: nothing was sent, and it is sent to the next.
        """
        definition, now = self.definition, asyncio.get_running_loop().time
        content_type, accept = definition.content_type, definition.accept
        invocation = Invocation(
            definition.name,
            payload.body,
            self._workspace.clock.elapsed(),
            content_type=None if content_type is None else content_type.encode("latin-1", "replace"),
            accept=None if accept is None else accept.encode("latin-1", "replace"),
            chunks=payload.chunks,
        )
        deadline = now() + definition.timeout_seconds
        while True:
            try:
                return await self._instance.execution.invoke(invocation, deadline)
            except InstanceNotReached as unreached:
                if now() >= deadline:
                    raise unreached.error from None
            await asyncio.sleep(PAUSE_SECONDS)


def problem_of(error: ModelError) -> RecordProblem:
    """What the job's log says of an error, or of no answer. [reports] The first lines."""
    status, message = int(error.fields["OriginalStatusCode"]), str(error.fields["OriginalMessage"]).strip()
    if 400 <= status < 500:
        return RecordProblem(f"ClientError: {status}\n\nMessage:\n{message}")
    first = f"Bad HTTP status received from algorithm: {status}" if status else NO_ANSWER
    return AlgorithmProblem(f"{first}\n\nMessage:\n{message}")
