"""Training jobs whose image is mapped to script: the user's own code trains, and serves what it has trained."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.control_plane import ROLE
from tests.support.files import archive
from tests.support.training_jobs import Jobs
from tests.support.waiting import eventually
from tests.support.wheels import wheel

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
CODE = "s3://b/code/sourcedir.tar.gz"
# It trains the sum of a file, and serves it.
SCRIPT = """
import argparse, json, os
import beside

def model_fn(model_dir):
    return json.load(open(os.path.join(model_dir, "model.json")))

def predict_fn(data, model):
    return [model * data[0]]

def output_fn(prediction, accept):
    return json.dumps([float(each) for each in prediction])

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    arguments = parser.parse_args()
    numbers = [float(word) for word in open(os.path.join(arguments.train, "a.csv")).read().split(",")]
    if arguments.scale < 0:
        raise ValueError("a negative scale")
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"), "w") as file:
        json.dump(arguments.scale * sum(numbers), file)
    print(f"loss={beside.LOSS};", flush=True)
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path_factory.mktemp("jobs"), IMAGE, "--map-image", "*/sagemaker-scikit-learn:*=script")
    archive(jobs.s3_root / "b" / "code" / "sourcedir.tar.gz", {"train.py": SCRIPT, "beside.py": "LOSS = 0.5"})
    yield jobs
    jobs.emulator.stop()
    assert "inside the emulator" not in jobs.emulator.log


def hyperparameters(**values: object) -> dict[str, str]:
    """As version 2 of the SDK writes them."""
    own = {"sagemaker_program": "train.py", "sagemaker_submit_directory": CODE}
    return {name: json.dumps(value) for name, value in {**own, **values}.items()}


def test_what_a_script_has_trained_is_served_by_the_same_code(jobs: Jobs) -> None:
    metric = {"Name": "loss", "Regex": "loss=([0-9.]+)"}
    algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": [metric]}
    jobs.create("trains", hyperparameters(scale=10), AlgorithmSpecification=algorithm)
    described = jobs.ended("trains")
    assert described["TrainingJobStatus"] == "Completed", described
    assert described["FinalMetricDataList"][0]["Value"] == 0.5
    assert described["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert jobs.archive("out/trains/output/model.tar.gz") == {"model.json": "30.0"}

    environment = {"SAGEMAKER_PROGRAM": "train.py", "SAGEMAKER_SUBMIT_DIRECTORY": CODE}
    container = {"Image": IMAGE, "Environment": environment}
    url = "s3://b/out/trains/output/"
    for name, more in (
        ("one", {"ModelDataUrl": f"{url}model.tar.gz"}),
        ("many", {"ModelDataUrl": url, "Mode": "MultiModel"}),
    ):
        sagemaker = jobs.sagemaker
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={**container, **more})
        variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
        target = {"TargetModel": "model.tar.gz"} if name == "many" else {}
        answer = jobs.emulator.client_of("sagemaker-runtime").invoke_endpoint(
            EndpointName=name, Body=b"[2]", ContentType="application/json", **target
        )
        assert json.loads(answer["Body"].read()) == [60.0]


def test_the_failure_of_a_script_is_the_reason_of_its_job(jobs: Jobs) -> None:
    jobs.create("fails", hyperparameters(scale=-1))
    described = jobs.ended("fails")
    assert described["TrainingJobStatus"] == "Failed"
    reason = described["FailureReason"]
    assert reason.startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "raise ValueError(')
    assert 'ValueError: a negative scale"\nCommand "' in reason
    assert "train.py --scale -1" in reason and reason.endswith(", exit code: 1")
    assert "  fails | ValueError: a negative scale" in jobs.emulator.errors


def test_a_job_without_a_script_says_what_is_missing(jobs: Jobs) -> None:
    jobs.create("lacks")
    assert "there is no script to run: the hyperparameters" in jobs.ended("lacks")["FailureReason"]


@pytest.mark.parametrize("version", ["1.0", "3.0"])
def test_requirements_are_installed_in_an_environment_of_their_own(jobs: Jobs, tmp_path: Path, version: str) -> None:
    wheel(tmp_path / "wheels", "tiny", "1.0")
    files = {
        "train.py": "import sys, tiny\nprint('tiny', tiny.VERSION)",
        "requirements.txt": f"--no-index --find-links {tmp_path}/wheels\ntiny=={version}\n",
    }
    archive(jobs.s3_root / "b" / "code" / "needs.tar.gz", files)
    values = hyperparameters(sagemaker_submit_directory="s3://b/code/needs.tar.gz")
    wanted = {"LOCALMME_INSTALL_REQUIREMENTS": "true", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    name = f"needs-{version[0]}"
    jobs.create(name, values, Environment=wanted)
    described = jobs.ended(name)
    if version == "1.0":
        assert described["TrainingJobStatus"] == "Completed", described
        assert f"  {name} | tiny 1.0" in jobs.emulator.errors
        return
    reason = "AlgorithmError: InstallRequirementsError:\ncode/requirements.txt cannot be installed. pip says: "
    assert described["FailureReason"].startswith(reason)
    jobs.create("lacks-tiny", values)
    assert "No module named 'tiny'" in jobs.ended("lacks-tiny")["FailureReason"]
    assert "requirements.txt is not installed here: LOCALMME_INSTALL_REQUIREMENTS=true" in jobs.emulator.log


def test_a_script_that_is_stopped_can_leave_its_model(jobs: Jobs) -> None:
    script = """
        import os, signal, sys
        def stop(*_):
            open(os.path.join(os.environ["SM_MODEL_DIR"], "unfinished"), "w").close()
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        print("begun", flush=True)
        while True:
            signal.pause()
    """
    archive(jobs.s3_root / "b" / "code" / "stops.tar.gz", {"train.py": textwrap.dedent(script)})
    jobs.create("stops", hyperparameters(sagemaker_submit_directory="s3://b/code/stops.tar.gz"))
    eventually(lambda: "  stops | begun" in jobs.emulator.errors)
    jobs.sagemaker.stop_training_job(TrainingJobName="stops")
    assert jobs.ended("stops")["TrainingJobStatus"] == "Stopped"
    assert jobs.archive("out/stops/output/model.tar.gz") == {"unfinished": ""}
