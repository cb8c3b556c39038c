"""Training jobs whose algorithm is an image on the Docker Engine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from emulator.containers.docker.leftovers import OWNER_LABEL
from tests.support.emulator_process import Emulator
from tests.support.files import files_below
from tests.support.processes import wait_until_ended
from tests.support.real_servers.images import FROM, Images
from tests.support.training_jobs import ALGORITHM, Jobs
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker

TRAIN = f"""{FROM}
COPY train /usr/local/bin/train
RUN mkdir -p /opt/ml/code && echo mine > /opt/ml/code/own.txt
USER 1234
"""


def train_image(images: Images) -> str:
    """Its program ``train`` is the algorithm of the tests, which runs as a user other than root."""
    return images.build("train", TRAIN, {"train": f"#!/usr/bin/env python3{ALGORITHM}"})


@pytest.fixture(scope="module")
def image(images: Images) -> str:
    return train_image(images)


@pytest.fixture(scope="module")
def jobs(image: str, engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path_factory.mktemp("jobs"), image)
    yield jobs
    jobs.emulator.stop()
    assert containers_of(engine, jobs) == []
    assert "inside the emulator" not in jobs.emulator.log


def containers_of(engine: docker.DockerClient, jobs: Jobs) -> list[Any]:
    filters = {"label": f"{OWNER_LABEL}={jobs.emulator.state_directory.resolve()}"}
    return engine.containers.list(all=True, filters=filters, ignore_removed=True)


def test_an_image_is_run_with_the_argument_train_and_its_output_is_stored(jobs: Jobs) -> None:
    jobs.create("whole", CheckpointConfig={"S3Uri": "s3://b/checkpoints"})
    described = jobs.ended("whole")
    assert described["TrainingJobStatus"] == "Completed", (described, jobs.emulator.log)
    assert jobs.archive("out/whole/output/model.tar.gz") == {
        "deep": "",
        "deep/weights.txt": "1,2",
        "inside": "deep/weights.txt",
    }
    assert jobs.archive("out/whole/output/output.tar.gz") == {"report.txt": "fine"}
    assert (jobs.s3_root / "b" / "checkpoints" / "1.txt").read_text() == "none"
    assert "  whole | loss=0.25; done" in jobs.emulator.log


def test_what_an_algorithm_says_of_its_failure_is_the_reason(jobs: Jobs) -> None:
    jobs.create("failing", {"fail": "no good data"})
    described = jobs.ended("failing")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Failed", "Failed")
    assert described["FailureReason"] == "AlgorithmError: no good data, exit code: 3"


def test_a_job_that_is_stopped_gets_sigterm(jobs: Jobs) -> None:
    jobs.create("stopped", {"wait": "1"})
    jobs.wait_for_line("stopped", "waits")
    jobs.sagemaker.stop_training_job(TrainingJobName="stopped")
    assert jobs.ended("stopped")["SecondaryStatus"] == "Stopped"
    assert "deep/weights.txt" in jobs.archive("out/stopped/output/model.tar.gz")


def test_checkpoints_are_there_at_the_start_and_stored_while_it_runs(jobs: Jobs) -> None:
    (jobs.s3_root / "b" / "ck").mkdir()
    (jobs.s3_root / "b" / "ck" / "0.txt").write_text("zero")
    jobs.create("resumed", {"resume": "1", "wait": "1"}, CheckpointConfig={"S3Uri": "s3://b/ck"})
    jobs.wait_for_line("resumed", "zero")
    eventually((jobs.s3_root / "b" / "ck" / "early.txt").exists, what="a checkpoint is stored while it runs")
    jobs.sagemaker.stop_training_job(TrainingJobName="resumed")
    assert jobs.ended("resumed")["TrainingJobStatus"] == "Stopped"


def test_an_image_that_is_not_there_is_the_callers_fault_and_what_may_run_in_its_place_is_said(jobs: Jobs) -> None:
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
    jobs.create("missing", AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"})
    reason = jobs.ended("missing")["FailureReason"]
    assert reason.startswith(f"ClientError: There is no image {image} on the Docker Engine")
    assert "--map-image '*/sagemaker-scikit-learn*=script'" in reason


def test_a_hostile_container_gets_nothing_of_this_machine_into_its_artifacts(jobs: Jobs, images: Images) -> None:
    secret = jobs.directory / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "key").write_text("secret")
    hostile = f"""#!/usr/bin/env python3
import os, pathlib, shutil
ml = pathlib.Path("/opt/ml")
(ml / "model" / "file").write_text("mine")
os.link(ml / "model" / "file", ml / "model" / "hard link")
os.symlink("{secret}/key", ml / "model" / "key")
os.mkfifo(ml / "model" / "pipe")
(ml / "model" / "sparse").touch()
shutil.rmtree(ml / "output")
os.symlink("{secret}", ml / "output")
shutil.rmtree(ml / "checkpoints")
os.symlink("{jobs.directory}", ml / "checkpoints")
"""
    image = images.build("train-hostile", f"{FROM}\nCOPY train /usr/local/bin/train\n", {"train": hostile})
    algorithm = {"TrainingImage": image, "TrainingInputMode": "File"}
    jobs.create("hostile", AlgorithmSpecification=algorithm, CheckpointConfig={"S3Uri": "s3://b/hostile"})
    assert jobs.ended("hostile")["TrainingJobStatus"] == "Completed"
    assert jobs.archive("out/hostile/output/model.tar.gz") == {"file": "mine", "hard link": "mine", "sparse": ""}
    assert not (jobs.s3_root / "b" / "out/hostile/output/output.tar.gz").exists()
    assert not (jobs.s3_root / "b" / "hostile").exists()


def test_nothing_is_left_of_the_jobs_of_an_emulator_that_is_killed_and_they_are_failed_at_its_next_start(
    image: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    jobs = Jobs(tmp_path, image, kind=Emulator)
    jobs.create("image", {"wait": "1"})
    algorithm = {"TrainingImage": "command:python algorithm.py", "TrainingInputMode": "File"}
    jobs.create("command", {"wait": "1"}, AlgorithmSpecification=algorithm)
    for name in ("image", "command"):
        jobs.wait_for_line(name, "waits")
    assert isinstance(jobs.emulator, Emulator)
    processes, worker = jobs.emulator.processes(), jobs.emulator.worker()
    jobs.emulator.signal(signal.SIGKILL)
    worker.kill()
    wait_until_ended(processes)
    assert not files_below(jobs.emulator.state_directory / "instances")
    jobs.start()
    eventually(lambda: not containers_of(engine, jobs), what="its container is gone")
    for name in ("image", "command"):
        described = jobs.ended(name)
        assert described["FailureReason"] == "InternalServerError: The emulator ended while the job was under way."
        assert described["SecondaryStatusTransitions"][-1]["Status"] == "Failed"
    assert not list((jobs.emulator.state_directory / "instances").glob("*/_TrainingJobs-*"))
    jobs.emulator.stop()
