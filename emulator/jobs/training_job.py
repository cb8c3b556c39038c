"""One training job: from its data to its artifacts."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import psutil

from emulator.archives.model_data_url import LocalS3, S3Url, in_directory, parse_s3_url
from emulator.clock import Clock
from emulator.containers.aws_settings import AwsSettings
from emulator.containers.job_container import ML, JobContainer, JobContainerSettings
from emulator.containers.launch import Command, Image
from emulator.errors import EmulatorError, SetupError
from emulator.events import Events, JobMetric, JobStatus, LogLine, Warned
from emulator.hosting.execution_roles import ExecutionRoles
from emulator.hosting.instance_types import instance_types
from emulator.hosting.tasks import cancel
from emulator.jobs.artifacts import Artifacts, split_output
from emulator.jobs.checkpoints import Checkpoints
from emulator.jobs.errors import JobFailed
from emulator.jobs.job import FAILURE_REASON_CHARACTERS, INTERNAL_ERROR, JobKind, in_thread, to_its_end
from emulator.jobs.launch import JobContainerFactory
from emulator.jobs.metrics import MetricReader
from emulator.jobs.ml_directory import HOST, MlDirectory, job_variables
from emulator.jobs.progress import MetricValue, Progress, Status
from emulator.jobs.role_access import RoleAccess
from emulator.jobs.script import script_command
from emulator.jobs.training_definition import Script, TrainingDefinition
from emulator.limits import Limits
from emulator.storage.object_store import ObjectStore

log = logging.getLogger("localmme")
Outcome = Literal["Completed", "Stopped", "MaxRuntimeExceeded"]
# [reports] The messages of the last secondary status.
MESSAGES: dict[Outcome, str] = {
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}
BEFORE_UPLOADING = ("Starting", "Downloading", "Training")  # what a job that is to stop does not come to any more
SIGNALLED = 128  # what shells, and engines, add to the number of a signal


@dataclass(frozen=True)
class JobWorkspace:
    """What a training job needs of its emulator."""

    directory: Path
    new_container: JobContainerFactory
    store: ObjectStore
    limits: Limits
    events: Events
    clock: Clock
    execution_roles: ExecutionRoles | None = None  # None = code in containers has no AWS to call
    gpus: int = 0  # of a container whose instance type has some; -1 = all there are


class TrainingJob:
    """One job, whose ``progress`` anybody may read."""

    kind: ClassVar[JobKind] = "TrainingJobs"

    def __init__(
        self, definition: TrainingDefinition, workspace: JobWorkspace, changed: Callable[[TrainingJob], Awaitable[None]]
    ) -> None:
        """``changed`` is called, and waited for, whenever the secondary status has changed."""
        self.definition, self.progress = definition, Progress()
        self._workspace, self._limits, self._changed = workspace, workspace.limits, changed
        self._events = workspace.events.within(region=definition.region, job_kind=self.kind, job_name=definition.name)
        self._output_events = self._events  # with the name of the log stream, once there is one
        self._ml = MlDirectory(workspace.directory / "ml")
        self._metrics = MetricReader(definition.metrics, self._note_metric, self._warn)
        self._container: JobContainer | None = None
        self._aws: AwsSettings | None = None
        self._stop_requested = asyncio.Event()
        self._left_out: list[str] = []  # warnings of threads
        self._failure = ""  # in the algorithm's words
        self._access = RoleAccess(workspace.execution_roles, definition.role, definition.region)
        self._artifacts = Artifacts(workspace.store, self._access, definition.volume_bytes, self._left_out.append)
        self._checkpoints: Checkpoints | None = None
        if definition.checkpoints is not None:
            url = parse_s3_url(definition.checkpoints)
            self._checkpoints = Checkpoints(workspace.store, self._access, self._artifacts, url)
        self._deadline = 0.0  # by the event loop's time
        self.progress.enter("Starting", "Starting the training job", self._now())

    @property
    def name(self) -> str:
        return self.definition.name

    def stop(self) -> None:
        """The algorithm gets SIGTERM, and is killed later; what it has written is stored. [dg]"""
        self._stop_requested.set()

    async def run(self) -> None:
        """Return when it has ended, however it does. If this is cancelled, nothing of it is left."""
        try:
            await self._run_to_a_status()
        finally:
            await to_its_end(self._clean_up())

    async def _run_to_a_status(self) -> None:
        try:
            outcome = await self._run()
        except JobFailed as error:
            await self._end("Failed", "Failed", "Training job failed", str(error))
        except SetupError as error:
            await self._end("Failed", "Failed", "Training job failed", f"ClientError: {error}")
        except Exception:
            log.exception("training job %s failed inside the emulator", self.definition.name)
            await self._end("Failed", "Failed", "Training job failed", INTERNAL_ERROR)
        else:
            await self._end("Completed" if outcome == "Completed" else "Stopped", outcome, MESSAGES[outcome])

    async def _run(self) -> Outcome:
        """Raises JobFailed, SetupError."""
        stop = asyncio.ensure_future(self._begin_to_stop())
        try:
            if not await self._unless(stop, self._prepare()) or not await self._unless(stop, self._start()):
                return "Stopped"
            outcome, code = await self._train(stop)
            failure = await self._upload()
            if outcome == "Completed" and code:
                raise algorithm_error(failure, code)
            return "Stopped" if outcome == "Completed" and self._stop_requested.is_set() else outcome
        finally:
            await cancel([stop])

    async def _begin_to_stop(self) -> None:
        """Say so as soon as it is requested, whatever the job is doing."""
        await self._stop_requested.wait()
        await self._enter_stopping()

    async def _prepare(self) -> None:
        await self._enter("Starting", "Preparing the instances for training")
        self.progress.training_started = self._now()
        self._deadline = asyncio.get_running_loop().time() + self.definition.max_runtime_seconds
        if self.definition.channels:
            await self._enter("Downloading", "Downloading input data")
        await in_thread(self._download)

    def _download(self) -> None:
        self._ml.make(self.definition)
        self._ml.download(self.definition, self._access)
        if self._checkpoints is not None:
            directory = self._ml.root / self._checkpoint_path
            directory.mkdir(parents=True, exist_ok=True)
            self._checkpoints.restore(directory)

    async def _start(self) -> None:
        await self._enter("Downloading", "Downloading the training image")
        self._output_events = self._events.within(instance_id=f"{HOST}-{int(self._now())}")
        roles = self._workspace.execution_roles
        if roles is not None and not self.definition.network_isolation:
            self._aws = roles.aws_settings(self.definition.role)
        runs = await self._program()
        self._container = self._workspace.new_container(
            runs, self.definition, self._settings(), self._note_line, self._warn
        )
        await self._container.start()

    async def _program(self) -> Image | Command:
        """What its container runs. Raises JobFailed."""
        algorithm = self.definition.algorithm
        if not isinstance(algorithm, Script):
            return algorithm
        return await in_thread(script_command, self.definition, algorithm, self._ml, self._locate)

    def _locate(self, url: str) -> LocalS3:
        """Where the object of a URL is, which is read next. Raises SetupError, JobFailed."""
        found = in_directory(self._workspace.store.root, url)
        self._access.check_read(found.url.bucket, found.url.key)
        return found

    def _settings(self) -> JobContainerSettings:
        has = instance_types().get(self.definition.instance_type)
        memory_bytes, vcpus = (has.memory_bytes, has.vcpus) if has is not None else this_machine()
        return JobContainerSettings(
            name=self.definition.name,
            environment=job_variables(self.definition),
            ml_directory=self._ml.root,
            memory_bytes=memory_bytes,
            vcpus=vcpus,
            gpus=self._workspace.gpus if has is None or has.gpus else 0,
            host_name=HOST,
            aws=self._aws,
        )

    async def _train(self, stop: asyncio.Future[Any]) -> tuple[Outcome, int]:
        """How it ended, and the exit code of its algorithm."""
        assert self._container is not None
        await self._enter("Training", "Training image download completed. Training in progress.")
        ended = asyncio.ensure_future(self._container.wait())
        storing = asyncio.ensure_future(self._store_checkpoints())
        try:
            left = max(0.0, self._deadline - asyncio.get_running_loop().time())
            await asyncio.wait([ended, stop], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return "Completed", ended.result()
            outcome: Outcome = "Stopped" if stop.done() else "MaxRuntimeExceeded"
            if outcome == "MaxRuntimeExceeded":
                await self._enter_stopping()
            await self._container.stop(self._limits.job_stop_seconds)
            return outcome, await ended
        finally:
            await cancel([ended, storing])

    async def _store_checkpoints(self) -> None:
        """Store them again and again, while the algorithm runs."""
        while self._checkpoints is not None:
            await asyncio.sleep(self._limits.checkpoint_seconds)
            try:
                await in_thread(self._store_changed_checkpoints)
            except (EmulatorError, OSError) as error:  # such as a file that is gone already; the next one may succeed
                self._warn(f"Its checkpoints cannot be stored now: {error}")

    def _store_changed_checkpoints(self) -> None:
        assert self._checkpoints is not None and self._container is not None
        self._checkpoints.store(self._container.output(self._checkpoint_path))

    async def _upload(self) -> str:
        """Store what it has written; what its algorithm says of its failure."""
        await self._metrics.close()
        await self._enter("Uploading", "Uploading generated training model")
        stores = [self._store_model, self._store_output]
        if self._checkpoints is not None:
            stores.append(self._store_changed_checkpoints)
        # All at once: a container's files are fetched by one request for each.
        outcomes = await asyncio.gather(*map(in_thread, stores), return_exceptions=True)
        for failure in outcomes:
            if isinstance(failure, BaseException):
                raise failure
        return self._failure

    def _store_model(self) -> None:
        assert self._container is not None
        url = self._output_url("model.tar.gz" if self.definition.compress_model else "model/")
        store = self._artifacts.store_archive if self.definition.compress_model else self._artifacts.store_each
        if store(self._container.output("model"), url):
            self.progress.model_artifacts = str(url)
        else:
            self._left_out.append(f"It has no model: there are no files in the directory {ML}/model.")

    def _store_output(self) -> None:
        """That besides the model, and take note of what the algorithm says of its failure."""
        assert self._container is not None
        failure: list[str] = []
        data = split_output(self._container.output("output"), failure)
        self._artifacts.store_archive(data, self._output_url("output.tar.gz"))
        self._failure = "".join(failure)

    def _output_url(self, name: str) -> S3Url:
        output = parse_s3_url(self.definition.output)
        folder = f"{output.key.rstrip('/')}/{self.definition.name}/output".lstrip("/")
        return S3Url(output.bucket, f"{folder}/{name}")

    @property
    def _checkpoint_path(self) -> str:
        """Below ``/opt/ml``."""
        return str(PurePosixPath(self.definition.checkpoint_path).relative_to(ML))

    async def _clean_up(self) -> None:
        if self._container is not None:
            await self._container.remove()
        if self._aws is not None and self._workspace.execution_roles is not None:
            self._workspace.execution_roles.withdraw(self._aws)
        await self._metrics.abandon()
        await asyncio.to_thread(shutil.rmtree, self._ml.root.parent, ignore_errors=True)

    async def _unless(self, stop: asyncio.Future[Any], work: Coroutine[Any, Any, None]) -> bool:
        """Do it, unless a stop is requested meanwhile; whether it is done. Raises what the work raises."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                await cancel([task])
        if task.cancelled():
            return False
        task.result()
        return not stop.done()

    # What happens

    async def _enter_stopping(self) -> None:
        self.progress.status = "Stopping"
        await self._enter("Stopping", "Stopping the training job")

    async def _enter(self, status: str, message: str) -> None:
        if self._stop_requested.is_set() and status in BEFORE_UPLOADING:
            return
        self.progress.enter(status, message, self._now())
        self._events.publish(JobStatus(status, message))
        await self._changed(self)

    async def _end(self, status: Status, secondary_status: str, message: str, reason: str = "") -> None:
        for warning in self._left_out:
            self._warn(warning)
        self.progress.failure_reason = reason[:FAILURE_REASON_CHARACTERS]
        self.progress.end(status, secondary_status, message, self._now())
        self._events.publish(JobStatus(secondary_status, message, reason))
        await self._changed(self)

    def _note_line(self, line: str) -> None:
        self._output_events.publish(LogLine(line))
        self._metrics.add(line)

    def _note_metric(self, name: str, value: float) -> None:
        self.progress.metrics[name] = MetricValue(value, self._now())
        self._events.publish(JobMetric(name, value))

    def _warn(self, text: str) -> None:
        self._events.publish(Warned(f"Training job {self.definition.name}: {text}"))

    def _now(self) -> float:
        return round(self._workspace.clock.now(), 3)


def this_machine() -> tuple[int, int]:
    """Bytes of memory, and processors: for an instance type whose size is not known."""
    return psutil.virtual_memory().total, os.cpu_count() or 1


def algorithm_error(failure: str, code: int) -> JobFailed:
    """[reports] The algorithm has ended with that exit code, or by a signal; it has left those words."""
    first, last = "AlgorithmError: ", f", exit code: {SIGNALLED - code if code < 0 else code}"
    return JobFailed(first + failure[: FAILURE_REASON_CHARACTERS - len(first + last)] + last)
