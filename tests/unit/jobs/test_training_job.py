"""The life of a training job, at virtual time, on a container that does what the test says."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.containers.job_container import JobContainer, JobContainerSettings
from emulator.containers.launch import Image
from emulator.errors import SetupError
from emulator.events import Events, JobStatus, Warned
from emulator.jobs.training_definition import TrainingDefinition
from emulator.jobs.training_job import JobWorkspace, TrainingJob
from emulator.limits import Limits
from emulator.sizes import GIB
from emulator.storage.object_store import ObjectStore, open_store
from tests.support.virtual_time import VirtualTimeLoop

HOUR = 3600
DEFINITION = TrainingDefinition(
    name="job",
    arn="arn:aws:sagemaker:us-east-1:123456789012:training-job/job",
    region="us-east-1",
    algorithm=Image("image"),
    hyperparameters={},
    channels=(),
    output="s3://b/out/",
    instance_type="ml.m5.large",
    volume_bytes=GIB,
    max_runtime_seconds=HOUR,
)


class FakeContainer(JobContainer):
    """One that ends after so many ``seconds`` with an exit ``code``, and ignores SIGTERM."""

    def __init__(self, settings: JobContainerSettings, scene: Scene) -> None:
        super().__init__(settings)
        self._scene = scene
        self._killed: asyncio.Event = asyncio.Event()

    async def start(self) -> None:
        await asyncio.sleep(self._scene.start_seconds)
        if self._scene.failure is not None:
            raise self._scene.failure
        (self.settings.ml_directory / "model" / "weights").write_text("1")
        self._scene.algorithm(self.settings.ml_directory)

    async def wait(self) -> int:
        ended = asyncio.ensure_future(self._killed.wait())
        await asyncio.wait([ended], timeout=self._scene.seconds)
        return -9 if ended.done() else self._scene.code

    async def stop(self, seconds: float) -> None:
        self._scene.stopped.append(seconds)
        await asyncio.sleep(seconds)
        self._killed.set()


class Scene:
    """A job, and how its container behaves."""

    def __init__(self, root: Path) -> None:
        (root / "s3" / "b").mkdir(parents=True)
        self.store: ObjectStore = open_store(root / "s3", "us-east-1")
        self.directory = root / "job"
        self.start_seconds, self.seconds, self.code = 1.0, 10.0, 0
        self.failure: Exception | None = None
        self.stopped: list[float] = []
        self.definition = DEFINITION
        self.statuses: list[str] = []
        self.warnings: list[str] = []
        self.algorithm: Callable[[Path], object] = lambda ml: None  # what else it does at its start
        self.stop_at = ""  # the secondary status at which a stop is requested
        self.loop = VirtualTimeLoop()
        self.job: TrainingJob

    def run(self, meanwhile: Callable[[asyncio.Task[None]], Coroutine[Any, Any, None]] | None = None) -> TrainingJob:
        """Run the job to its end."""

        async def run() -> None:
            events = Events()
            events.subscribe(lambda event, _: self.statuses.append(event.status), JobStatus)
            events.subscribe(lambda event, _: self.warnings.append(event.text), Warned)
            workspace = JobWorkspace(
                self.directory,
                lambda runs, definition, settings, log, warn: FakeContainer(settings, self),
                self.store,
                Limits(),
                events,
                self.loop.clock(),
            )
            self.job = TrainingJob(self.definition, workspace, self._changed)
            task = asyncio.ensure_future(self.job.run())
            if meanwhile is not None:
                await meanwhile(task)
            await asyncio.wait([task])

        self.loop.run(run())
        assert not self.directory.exists()
        return self.job

    async def _changed(self, job: TrainingJob) -> None:
        if job.progress.secondary_status == self.stop_at:
            job.stop()

    def objects(self) -> list[str]:
        return [each.key for each in self.store.listing("b").objects]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.store.close()


def test_a_job_is_completed_when_its_algorithm_has_ended(scene: Scene) -> None:
    progress = scene.run().progress
    assert (progress.status, progress.secondary_status, progress.failure_reason) == ("Completed", "Completed", "")
    assert scene.statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert scene.objects() == ["out/job/output/model.tar.gz"]
    assert progress.training_seconds == 11
    assert scene.stopped == [0]  # what is left of it


@pytest.mark.parametrize(("code", "reason"), [(1, "1"), (255, "255"), (-9, "137"), (-11, "139")])
def test_a_failure_has_the_exit_code_and_128_more_than_a_signals_number(scene: Scene, code: int, reason: str) -> None:
    scene.code = code
    progress = scene.run().progress
    assert (progress.status, progress.failure_reason) == ("Failed", f"AlgorithmError: , exit code: {reason}")
    assert scene.objects() == ["out/job/output/model.tar.gz"]


def test_the_exit_code_stays_after_the_longest_words_of_an_algorithm(scene: Scene) -> None:
    scene.code = 3
    scene.algorithm = lambda ml: (ml / "output" / "failure").write_text("x" * 2000)
    reason = scene.run().progress.failure_reason
    assert len(reason) == 1024
    assert reason.startswith("AlgorithmError: xxx") and reason.endswith("xxx, exit code: 3")


def test_a_job_that_takes_too_long_gets_its_time_and_two_minutes(scene: Scene) -> None:
    scene.seconds = 2 * HOUR
    progress = scene.run().progress
    assert (progress.status, progress.secondary_status) == ("Stopped", "MaxRuntimeExceeded")
    assert scene.stopped[0] == 120
    assert progress.training_seconds == HOUR + 120
    assert scene.statuses[-3:] == ["Stopping", "Uploading", "MaxRuntimeExceeded"]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (SetupError("There is no image."), "ClientError: There is no image."),
        (RuntimeError("bug"), "InternalServerError: We encountered an internal error. Please try again."),
    ],
)
def test_a_container_that_cannot_be_started_is_a_failure(scene: Scene, failure: Exception, reason: str) -> None:
    scene.failure = failure
    progress = scene.run().progress
    assert (progress.status, progress.failure_reason, progress.model_artifacts) == ("Failed", reason, "")
    assert scene.objects() == []


def test_a_job_that_is_stopped_before_its_algorithm_runs_stores_nothing(scene: Scene) -> None:
    async def stop(_: asyncio.Task[None]) -> None:
        await asyncio.sleep(0.5)
        scene.job.stop()

    scene.start_seconds = 60.0
    progress = scene.run(stop).progress
    assert (progress.status, progress.secondary_status, progress.model_artifacts) == ("Stopped", "Stopped", "")
    assert scene.objects() == []
    assert scene.loop.time() < 60


@pytest.mark.parametrize(
    ("stop_at", "statuses"),
    [
        ("Starting", ["Starting", "Stopping", "Stopped"]),
        ("Downloading", ["Starting", "Downloading", "Stopping", "Stopped"]),
        ("Training", ["Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped"]),
        ("Uploading", ["Starting", "Downloading", "Training", "Uploading", "Stopping", "Stopped"]),
    ],
)
def test_a_job_is_stopping_from_the_request_on_and_stopped_at_last(
    scene: Scene, stop_at: str, statuses: list[str]
) -> None:
    scene.stop_at = stop_at
    assert scene.run().progress.status == "Stopped"
    assert scene.statuses == statuses


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_a_job_whose_emulator_ends_is_ended_and_says_nothing_more(scene: Scene, seconds: float) -> None:
    async def cancel(task: asyncio.Task[None]) -> None:
        await asyncio.sleep(seconds)
        task.cancel()

    progress = scene.run(cancel).progress
    assert progress.status == "InProgress"
    assert scene.stopped == [0]
    assert scene.objects() == []


def replace_by_link(ml: Path) -> None:
    (ml / "model").rename(ml / "elsewhere")
    (ml / "model").symlink_to("elsewhere")


def replace_by_file(ml: Path) -> None:
    shutil.rmtree(ml / "model")
    (ml / "model").write_text("model")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("algorithm", [shutil.rmtree, replace_by_link, replace_by_file])
def test_what_is_no_directory_of_a_model_is_warned_of(
    scene: Scene, algorithm: Callable[[Path], object], compressed: bool
) -> None:
    scene.algorithm = algorithm
    scene.definition = replace(DEFINITION, compress_model=compressed)
    progress = scene.run().progress
    assert (progress.status, progress.model_artifacts, scene.objects()) == ("Completed", "", [])
    assert scene.warnings == ["Training job job: It has no model: there are no files in the directory /opt/ml/model."]


def test_an_algorithm_that_deletes_its_whole_directory_has_no_checkpoints(scene: Scene) -> None:
    scene.definition = replace(DEFINITION, checkpoints="s3://b/ck", checkpoint_path="/opt/ml/checkpoints")
    scene.algorithm = shutil.rmtree
    progress = scene.run().progress
    assert (progress.status, progress.failure_reason) == ("Completed", "")
    assert scene.objects() == []


def test_checkpoints_have_a_directory_where_the_request_says(scene: Scene) -> None:
    scene.definition = replace(DEFINITION, checkpoints="s3://b/ck", checkpoint_path="/opt/ml/own/place")
    assert scene.run().progress.status == "Completed"
