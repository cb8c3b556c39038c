"""A training job that runs the user's own script, when the whole emulator is killed: nothing of it is left."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.support.container_processes import MARK, gone, marked
from tests.support.control_plane import ROLE
from tests.support.files import archive, files_below
from tests.support.waiting import eventually

# It ignores SIGTERM, and so does its child, which is in a session of its own.
SCRIPT = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import signal, time; signal.signal(15, signal.SIG_IGN); print('child', flush=True); time.sleep(3600)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
open(os.path.join(os.environ["SM_MODEL_DIR"], "begun"), "w").close()
time.sleep(3600)
"""


def test_nothing_outlives_an_emulator_that_is_killed_while_a_script_trains(start, tmp_path: Path, mark: str) -> None:
    archive(tmp_path / "s3" / "b" / "sourcedir.tar.gz", {"train.py": SCRIPT})
    emulator = start(
        *("--no-endpoint", "--s3", str(tmp_path / "s3"), "--map-image", "*=script", "--limit", "job_stop_seconds=2"),
        environment={MARK: mark},
    ).wait_ready()
    values = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/sourcedir.tar.gz"}
    emulator.client_of("sagemaker").create_training_job(
        TrainingJobName="job",
        AlgorithmSpecification={"TrainingImage": "image:1", "TrainingInputMode": "File"},
        RoleArn=ROLE,
        HyperParameters={name: json.dumps(value) for name, value in values.items()},
        OutputDataConfig={"S3OutputPath": "s3://b/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )
    # The emulator's master and worker, the keeper, localmme's runner, the script, its child.
    eventually(lambda: "  job | child" in emulator.log and len(marked(mark)) >= 5)
    worker = emulator.worker()
    emulator.signal(signal.SIGKILL)
    worker.kill()
    gone(mark)
    assert not files_below(emulator.state_directory / "instances")
