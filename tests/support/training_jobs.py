"""For tests of training jobs: an emulator with some data, and an algorithm."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from tests.support.control_plane import ROLE
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.emulator_process import Emulator
from tests.support.waiting import eventually

# What it does is in the hyperparameters: wait (until it gets SIGTERM), fail (with these words), checkpoint (to write),
# resume (from an earlier checkpoint).
ALGORITHM = """
import json, os, pathlib, signal, sys, time

ml = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
said = json.loads((ml / "input/config/hyperparameters.json").read_text())
print("loss=3.5", flush=True)
print("loss=0.25; done", flush=True)
if "resume" in said:
    print((ml / "checkpoints" / "0.txt").read_text(), flush=True)
    (ml / "checkpoints" / "early.txt").write_text("early")
if "wait" in said:
    signal.signal(signal.SIGTERM, lambda *_: said.pop("wait"))
    print("waits", flush=True)
    while "wait" in said:
        time.sleep(0.01)
(ml / "model" / "deep").mkdir()
(ml / "model" / "deep" / "weights.txt").write_text((ml / "input/data/train/a.csv").read_text())
os.symlink("deep/weights.txt", ml / "model" / "inside")
os.symlink("/etc/passwd", ml / "model" / "outside")
(ml / "output" / "data" / "report.txt").write_text("fine")
(ml / "checkpoints" / "1.txt").write_text(said.get("checkpoint", "none"))
if "fail" in said:
    (ml / "output" / "failure").write_text(said["fail"])
    sys.exit(3)
"""


class Jobs:
    """An emulator with a bucket ``b`` and some data."""

    def __init__(
        self,
        directory: Path,
        image: str = "command:python algorithm.py",
        *arguments: str,
        kind: type[InProcessEmulator] | type[Emulator] = InProcessEmulator,
    ) -> None:
        """``image`` is what the jobs run, ``arguments`` are more of ``localmme serve``."""
        self.image, self.directory, self.arguments, self.kind = image, directory, arguments, kind
        self.s3_root = directory / "s3"
        (self.s3_root / "b" / "data").mkdir(parents=True)
        (self.s3_root / "b" / "data" / "a.csv").write_text("1,2")
        (directory / "algorithm.py").write_text(ALGORITHM)
        self.start()

    def start(self) -> None:
        """With the same directories each time."""
        arguments = ("--no-endpoint", "--s3", str(self.s3_root), "--limit", "checkpoint_seconds=0.1", *self.arguments)
        self.emulator: InProcessEmulator | Emulator
        self.emulator = self.kind(*arguments, state=self.directory / "state", directory=self.directory)
        self.emulator.wait_ready()
        self.sagemaker = self.emulator.client_of("sagemaker")

    def create(self, name: str, hyperparameters: dict[str, str] | None = None, **members: Any) -> str:
        """A job that works, with these members besides; its ARN."""
        source = {"S3DataType": "S3Prefix", "S3Uri": "s3://b/data/"}
        request = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {"TrainingImage": self.image, "TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "HyperParameters": hyperparameters or {},
            "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
            "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        }
        arn: str = self.sagemaker.create_training_job(**{**request, **members})["TrainingJobArn"]
        return arn

    def ended(self, name: str) -> dict[str, Any]:
        """How the job is described once it has ended."""

        def described() -> dict[str, Any] | None:
            found: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
            return found if found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return eventually(described, what=f"{name} has ended")

    def wait_for_line(self, name: str, line: str) -> None:
        """Until a job's algorithm has written it."""
        eventually(lambda: f"  {name} | {line}" in self.emulator.log, what=f"{name} has written {line}")

    def listed(self, **filters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.sagemaker.list_training_jobs(**filters)["TrainingJobSummaries"]
        return found

    def archive(self, key: str) -> dict[str, str]:
        with tarfile.open(self.s3_root / "b" / key) as archive:
            return {
                member.name: member.linkname or (archive.extractfile(member) or io.BytesIO()).read().decode()
                for member in archive
            }
