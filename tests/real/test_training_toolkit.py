"""Script mode beside SageMaker's own training toolkit: one entry point, run by both in the same directory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.model_data_url import LocalS3, S3Url
from emulator.containers.process.kept_process import PACKAGE_ROOT
from emulator.jobs.ml_directory import MlDirectory
from emulator.jobs.training_definition import Channel
from tests.support.real_clients import sdks
from tests.support.real_servers import provision
from tests.support.real_servers.making import NotProvisioned
from tests.support.training_jobs import Jobs
from tests.unit.jobs.test_ml_directory import definition

pytestmark = pytest.mark.real

INSIDE = Path(provision.__file__).with_name("inside")
# Ours has output come at once, as images of frameworks do, and does not name where Python's own modules are.
DIFFERENT = {"PYTHONPATH", "PYTHONUNBUFFERED"}
SEE = """
import json, os, sys
seen = {"words": sys.argv, "environment": dict(os.environ), "directory": os.getcwd()}
json.dump(seen, open(os.path.join(os.environ["SM_MODEL_DIR"], "seen.json"), "w"))
import beside
print("epoch 1: loss 0.5", flush=True)
"""
VALUES = {
    "epochs": "3", "n": "1", "rate": "0.10", "name": '"a b"', "plain": "text", "flag": "true", "none": "null",
    "layers": "[1, 2]", "map": '{"b": 1, "a": "x"}', "empty": '""', "word": '"\\u00e9"', "batch-size": "32",
    "quoted": '"it\'s; $HOME"', "sagemaker_parameter_server_enabled": "false", "_tuning_objective_metric": "loss",
    "sagemaker_container_log_level": "10", "sagemaker_job_name": '"job"', "sagemaker_region": '"eu-west-1"',
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    code: int
    seen: dict[str, Any]
    failure: str | None
    output: list[str]


@pytest.fixture(scope="module")
def python() -> str:
    """The Python in which the toolkit is, and in which both run the entry point."""
    try:
        return str(provision.training_toolkit().python)
    except NotProvisioned as reason:
        pytest.skip(str(reason))


def run(directory: Path, command: list[str], program: str, files: dict[str, str], **values: str) -> Run:
    ml = MlDirectory(directory / "ml")
    shutil.rmtree(ml.root, ignore_errors=True)
    data = LocalS3(directory, S3Url("b", "x"))
    channels = tuple(Channel(name, data, "S3Prefix", {"ContentType": "text/csv"}) for name in ("train", "my-test"))
    code = {"sagemaker_program": json.dumps(program), "sagemaker_submit_directory": '"s3://b/sourcedir.tar.gz"'}
    ml.make(definition(channels, hyperparameters={**code, **values}))
    for name, text in files.items():
        (ml.code / name).parent.mkdir(parents=True, exist_ok=True)
        (ml.code / name).write_text(text)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(INSIDE),
        "SAGEMAKER_BASE_DIR": str(ml.root),
        "SAGEMAKER_TRAINING_MODULE": "captured_training:main",
        "SM_STUDIO_LOCAL_MODE": "true",  # no look-up of algo-1, which is no host of this machine
        "TRAINING_JOB_NAME": "job",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    done = subprocess.run(command, env=environment, cwd=PACKAGE_ROOT, capture_output=True, text=True)
    seen = ml.model / "seen.json"
    return Run(
        done.returncode,
        json.loads(seen.read_text()) if seen.exists() else {},
        ml.failure.read_text() if ml.failure.exists() else None,
        [line for line in done.stdout.splitlines() if line],
    )


def both(directory: Path, python: str, program: str, files: dict[str, str], **values: str) -> tuple[Run, Run]:
    """Ours, and the toolkit's."""
    files = {"beside.py": "", **files}
    ours = run(directory, [sys.executable, "-m", "emulator.jobs.script_mode", python], program, files, **values)
    theirs = run(directory, [python, "-m", "sagemaker_training.cli.train"], program, files, **values)
    return ours, theirs


@pytest.mark.parametrize(
    ("program", "files"),
    [
        ("train.py", {"train.py": SEE}),
        ("deep/train.py", {"deep/train.py": SEE}),
        ("train.sh", {"train.sh": '#!/bin/sh\nexec "$WITH" see.py "$@"', "see.py": SEE}),
        ("train", {"train": '#!/bin/sh\nexec "$WITH" see.py "$@"', "see.py": SEE}),
    ],
)
def test_an_entry_point_sees_the_same_variables_arguments_and_directory(
    tmp_path: Path, python: str, program: str, files: dict[str, str]
) -> None:
    files = {name: text.replace("$WITH", python) for name, text in files.items()}
    ours, theirs = both(tmp_path, python, program, files, **VALUES)
    assert theirs.seen and ours.code == theirs.code == 0 and ours.failure is theirs.failure is None
    assert ours.output == theirs.output == ["epoch 1: loss 0.5"]
    for run in (ours, theirs):
        for name in DIFFERENT:
            run.seen["environment"].pop(name, None)
        run.seen["environment"]["SM_TRAINING_ENV"] = json.loads(run.seen["environment"]["SM_TRAINING_ENV"])
    assert ours.seen == theirs.seen


@pytest.mark.parametrize(
    "end",
    [
        "raise ValueError('bad row')",
        "print('fine'); sys.exit(3)",
        "sys.exit(137)",
        "sys.exit('no data')",
        "os.kill(os.getpid(), 9)",
        "import absent",
        "print('OSError: on standard output'); print('more\\nmore'); sys.exit(1)",
        "try: {}['a']\n\nexcept KeyError: raise RuntimeError('second: ')",
    ],
)
def test_a_failure_is_described_in_the_same_words(tmp_path: Path, python: str, end: str) -> None:
    end = end.replace("\n\n", "\n")
    ours, theirs = both(tmp_path, python, "train.py", {"train.py": f"import os, sys\n{end}\n"}, epochs="3")
    # The toolkit strips each piece that it happens to read from standard error: which empty lines stay differs by run.
    assert ours.failure and theirs.failure and ours.code == theirs.code
    assert ours.failure.split() == theirs.failure.split()


@pytest.mark.parametrize("program", ["-c", "../train.py", "/bin/sh", "a b.py", "absent.py", ""])
def test_what_is_no_entry_point_fails_both(tmp_path: Path, python: str, program: str) -> None:
    ours, theirs = both(tmp_path, python, program, {"train.py": ""})
    assert ours.code == theirs.code == 1 and ours.failure and theirs.failure


def drivers_of_the_sdk(directory: Path) -> dict[str, Path]:
    """The drivers of SDK 3 with the program that ModelTrainer makes of its template: names, and their files."""
    try:
        package = sdks.sdk_3().packages / "sagemaker" / "core" / "modules"
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    code = f"import runpy, sys; print(runpy.run_path({str(package / 'templates.py')!r})[sys.argv[1]])"
    template, driver = (
        subprocess.run([sys.executable, "-c", code, name], check=True, capture_output=True, text=True).stdout
        for name in ("TRAIN_SCRIPT_TEMPLATE", "EXECUTE_BASIC_SCRIPT_DRIVER")
    )
    parts = {
        "working_dir": "cd /opt/ml/input/data/code",
        "install_requirements": "$SM_PIP_CMD install -r requirements.txt",
        "execute_driver": driver,
    }
    directory.mkdir()
    (directory / "sm_train.sh").write_text(template.strip().format(**parts))
    (directory / "sourcecode.json").write_text(json.dumps({"source_dir": "src", "entry_script": "train.py"}))
    (directory / "distributed.json").write_text("{}")
    drivers = package / "train" / "container_drivers"
    found = {str(path.relative_to(drivers)): path for path in drivers.rglob("*.py")}
    return found | {path.name: path for path in directory.iterdir()}


@pytest.mark.parametrize("fails", [False, True])
def test_the_drivers_of_sdk_3_run_a_script_without_an_image(tmp_path: Path, fails: bool) -> None:
    jobs = Jobs(tmp_path, "trainer:1", "--map-image", "trainer:*=script")
    for name, path in drivers_of_the_sdk(tmp_path / "drivers").items():
        target = jobs.s3_root / "b" / "sm_drivers" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (jobs.s3_root / "b" / "code").mkdir()
    (jobs.s3_root / "b" / "code" / "requirements.txt").write_text("absent")
    (jobs.s3_root / "b" / "code" / "train.py").write_text(SEE.replace("import beside", "1 / 0" if fails else ""))
    channels = [
        {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://b/{name}/"}}}
        for name in ("data", "code", "sm_drivers")
    ]
    arguments = "chmod +x {0} && {0}".format("/opt/ml/input/data/sm_drivers/sm_train.sh")
    algorithm = {
        "TrainingImage": "trainer:1",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["/bin/bash"],
        "ContainerArguments": ["-c", arguments],
    }
    try:
        values = {"epochs": "3", "name": '"a b"'}
        jobs.create("job", values, AlgorithmSpecification=algorithm, InputDataConfig=channels)
        described = jobs.ended("job")
        assert "requirements are not installed here" in jobs.emulator.log
        if fails:
            assert described["TrainingJobStatus"] == "Failed"
            assert "train.py" in described["FailureReason"] and "exit status 1" in described["FailureReason"]
            assert "ZeroDivisionError" in jobs.emulator.log
            return
        assert described["TrainingJobStatus"] == "Completed", described
        seen = json.loads(jobs.archive("out/job/output/model.tar.gz")["seen.json"])
        assert seen["words"] == ["train.py", "--epochs", "3", "--name", "a b"]
        assert seen["environment"]["SM_CHANNEL_DATA"].endswith("/ml/input/data/data")
        assert seen["environment"]["SM_HPS"] == '{"epochs": 3, "name": "a b"}'
    finally:
        jobs.emulator.stop()
