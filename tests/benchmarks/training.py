"""How long a small training job takes, from CreateTrainingJob to Completed, and ``docker run`` of the same image alone.

The image is that of tests/docker. ``docker run`` finds the job's files mounted, as the SageMaker SDK's local mode does
it; nothing is downloaded, and nothing is stored.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import docker

from tests.benchmarks.report import Report
from tests.docker.test_training_jobs import train_image
from tests.support.emulator_process import Emulator
from tests.support.real_servers.engine import running
from tests.support.real_servers.images import Images
from tests.support.training_jobs import Jobs

ROUNDS = 7
POLL_SECONDS = 0.05


def main(report: Report) -> None:
    with running() as engine, tempfile.TemporaryDirectory() as name:
        image = train_image(Images(engine))
        jobs = Jobs(Path(name), image, kind=Emulator)
        try:
            times = [(job(jobs, f"job-{n}"), alone(engine, image, Path(name) / f"ml-{n}")) for n in range(ROUNDS)]
        finally:
            jobs.emulator.stop()
    through, straight = (statistics.median(each) for each in zip(*times[1:]))  # the first one imports, and looks
    report.add(
        "a training job, p50",
        f"{through:.2f} s",
        f"docker run alone {straight:.2f} s",
        goal="at most 1 s more",
        note=f"{through - straight:+.2f} s",
    )


def job(jobs: Jobs, name: str) -> float:
    """Seconds that a job takes."""
    began = time.perf_counter()
    jobs.create(name)
    status = "InProgress"
    while status == "InProgress":
        time.sleep(POLL_SECONDS)
        status = jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
    assert status == "Completed", status
    return time.perf_counter() - began


def alone(engine: docker.DockerClient, image: str, ml: Path) -> float:
    """Seconds that ``docker run IMAGE train`` takes, with the job's files mounted."""
    for directory in ("input/config", "input/data/train", "model", "output/data", "checkpoints"):
        (ml / directory).mkdir(parents=True)
        (ml / directory).chmod(0o777)
    (ml / "input/config/hyperparameters.json").write_text("{}")
    (ml / "input/data/train/a.csv").write_text("1,2")
    volumes = {str(ml / each): {"bind": f"/opt/ml/{each}"} for each in ("input", "model", "output", "checkpoints")}
    began = time.perf_counter()
    engine.containers.run(image, ["train"], volumes=volumes, remove=True)
    took = time.perf_counter() - began
    shutil.rmtree(ml)
    return took
