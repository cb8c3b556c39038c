"""Script mode without processes: variables, arguments, the command, and what is said of a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.model_data_url import LocalS3, S3Url
from emulator.jobs.errors import JobFailed
from emulator.jobs.ml_directory import MlDirectory
from emulator.jobs.script import script_command
from emulator.jobs.script_mode.entry_point import EntryPointError, command
from emulator.jobs.script_mode.script_failure import ErrorLines, failure_message
from emulator.jobs.script_mode.toolkit_environment import ToolkitEnvironment
from emulator.jobs.training_definition import Channel, Script
from tests.support.files import archive
from tests.unit.jobs.test_ml_directory import definition

OF_TOOLKIT = {
    "sagemaker_program": '"train.py"',
    "sagemaker_submit_directory": '"s3://b/job/source/sourcedir.tar.gz"',
    "sagemaker_job_name": '"job"',
    "sagemaker_region": '"eu-west-1"',
    "sagemaker_container_log_level": "10",
    "sagemaker_instance_count": "1",
}


def toolkit(directory: Path, hyperparameters: dict[str, str], **variables: str) -> ToolkitEnvironment:
    data = LocalS3(directory / "b", S3Url("b", "x"))
    channels = tuple(Channel(name, data, "S3Prefix", {}) for name in ("train", "my-test"))
    MlDirectory(directory / "ml").make(definition(channels, hyperparameters={**OF_TOOLKIT, **hyperparameters}))
    return ToolkitEnvironment(str(directory / "ml"), {"TRAINING_JOB_NAME": "job", **variables})


@pytest.mark.parametrize(
    ("name", "value", "words", "variable"),
    [
        ("epochs", "3", ["--epochs", "3"], "3"),
        ("n", "1", ["-n", "1"], "1"),
        ("rate", "0.10", ["--rate", "0.1"], "0.1"),
        ("loss", '"mse"', ["--loss", "mse"], "mse"),
        ("plain", "text", ["--plain", "text"], "text"),
        ("number-as-text", '"3"', ["--number-as-text", "3"], "3"),
        ("flag", "true", ["--flag", "True"], "true"),
        ("none", "null", ["--none", ""], ""),
        ("empty", '""', ["--empty", ""], ""),
        ("layers", "[1, 2]", ["--layers", "[1, 2]"], "[1,2]"),
        ("map", '{"b": 1, "a": "x"}', ["--map", "a=x,b=1"], '{"a":"x","b":1}'),
        ("word", '"\\u00e9"', ["--word", "é"], "é"),
    ],
)
def test_a_hyperparameter_is_an_argument_and_a_variable(
    tmp_path: Path, name: str, value: str, words: list[str], variable: str
) -> None:
    environment = toolkit(tmp_path, {name: value})
    assert environment.arguments() == words
    assert environment.variables()[f"SM_HP_{name.upper()}"] == variable
    assert environment.variables()["SM_USER_ARGS"] == json.dumps(words, separators=(",", ":"))


def test_arguments_are_sorted_and_those_of_the_toolkit_are_left_out(tmp_path: Path) -> None:
    environment = toolkit(tmp_path, {"b": "1", "a": "2", "B": "3", "_tuning_objective_metric": "loss"})
    assert environment.arguments() == ["-B", "3", "-a", "2", "-b", "1"]


def test_the_variables_name_the_jobs_directories_and_its_instance(tmp_path: Path) -> None:
    variables = toolkit(tmp_path, {"epochs": "3"}, SAGEMAKER_TRAINING_MODULE="a:b").variables()
    ml = str(tmp_path / "ml")
    assert (
        variables.items()
        >= {
            "SM_MODEL_DIR": f"{ml}/model",
            "SM_OUTPUT_DATA_DIR": f"{ml}/output/data",
            "SM_INPUT_CONFIG_DIR": f"{ml}/input/config",
            "SM_CHANNELS": '["my-test","train"]',
            "SM_CHANNEL_TRAIN": f"{ml}/input/data/train",
            "SM_CHANNEL_MY-TEST": f"{ml}/input/data/my-test",
            "SM_HPS": '{"epochs":3}',
            "SM_HOSTS": '["algo-1"]',
            "SM_CURRENT_HOST": "algo-1",
            "SM_CURRENT_INSTANCE_TYPE": "ml.m5.large",
            "SM_USER_ENTRY_POINT": "train.py",
            "SM_MODULE_NAME": "train",
            "SM_MODULE_DIR": "s3://b/job/source/sourcedir.tar.gz",
            "SM_FRAMEWORK_PARAMS": '{"sagemaker_instance_count":1}',
            "SM_FRAMEWORK_MODULE": "a:b",
            "SM_LOG_LEVEL": "10",
            "SAGEMAKER_REGION": "eu-west-1",
            "SAGEMAKER_JOB_NAME": "job",
        }.items()
    )
    assert json.loads(variables["SM_TRAINING_ENV"])["job_name"] == "job"


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("train.py", ["train.py"], ["python", "--", "train.py", "--a b", "1"]),
        ("deep/train.py", ["deep/train.py"], ["python", "--", "deep/train.py", "--a b", "1"]),
        ("train.py", ["train.py", "setup.py"], ["python", "-m", "train", "--a b", "1"]),
        ("package.train", ["package/train.py", "setup.py"], ["python", "-m", "package.train", "--a b", "1"]),
        ("train.sh", ["train.sh", "setup.py"], ["/bin/sh", "-c", "./train.sh '--a b' 1"]),
        ("train", ["train"], ["/bin/sh", "-c", "./train '--a b' 1"]),
    ],
)
def test_the_command_is_that_of_the_kind_of_entry_point(
    tmp_path: Path, name: str, files: list[str], words: list[str]
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    assert command("python", str(tmp_path), name, ["--a b", "1"]) == words


@pytest.mark.parametrize("name", ["", "-c", "/bin/sh", "../train.py", "a/../b.py", "./train.py", "a;b.py", "a b.py"])
def test_an_entry_point_is_a_plain_path_below_its_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(EntryPointError):
        command("python", str(tmp_path), name, [])


@pytest.mark.parametrize("name", ["train.py", "train.sh", "train"])
def test_what_there_is_instead_of_the_entry_point_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.py").write_text("")
    with pytest.raises(EntryPointError, match=f"There is no {name} in the source directory, which has: other.py."):
        command("python", str(tmp_path), name, [])


@pytest.mark.parametrize(
    ("code", "lines", "message"),
    [
        (3, ["fine"], 'ExitCode 3\nErrorMessage ""\nCommand "python -- train.py"'),
        (137, [], 'ExitCode 137\nErrorMessage ""\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"\nC'),
        (-9, [], 'ExitCode -9\nErrorMessage ""\nCommand'),
        (1, ["ok", "OSError: bad :\n", "  more", "  more", "x"], 'ExitCode 1\nErrorMessage "OSError: bad\n more\n x"'),
    ],
)  # fmt: skip
def test_the_failure_says_what_the_entry_point_said(code: int, lines: list[str], message: str) -> None:
    errors = ErrorLines()
    for line in lines:
        errors.take(line)
    said = failure_message(["python", "--", "train.py"], code, [errors])
    assert said.startswith(f"ExecuteUserScriptError:\n{message}")


# Its code


def prepared(directory: Path, files: dict[str, str] | None = None, **settings: Any) -> list[str]:
    bucket = directory / "b"
    (bucket / "job" / "source").mkdir(parents=True)
    if files is not None:
        archive(bucket / "job" / "source" / "sourcedir.tar.gz", files)
    ml = MlDirectory(directory / "ml")
    job = definition(**{"hyperparameters": OF_TOOLKIT, "volume_bytes": 10**6, **settings})
    ml.make(job)
    locate = LocalS3(bucket, S3Url("b", "job/source/sourcedir.tar.gz"))
    return list(script_command(job, Script(Path("/a/python")), ml, lambda _: locate).words)


def test_the_code_is_brought_to_the_jobs_directory(tmp_path: Path) -> None:
    words = prepared(tmp_path, {"train.py": "print(1)", "lib/tools.py": ""})
    assert words[-2:] == ["emulator.jobs.script_mode", "/a/python"]
    assert (tmp_path / "ml" / "code" / "train.py").read_text() == "print(1)"
    assert (tmp_path / "ml" / "code" / "lib" / "tools.py").exists()


@pytest.mark.parametrize(
    ("files", "settings", "why"),
    [
        (None, {}, "there is no source code at s3://b/job/source/sourcedir.tar.gz"),
        ({"train.py": "x" * 2000}, {"volume_bytes": 100}, "cannot be used: It unpacks to more than"),
        ({}, {"hyperparameters": {}}, "there is no script to run: the hyperparameters sagemaker_program and"),
        ({}, {"hyperparameters": {**OF_TOOLKIT, "sagemaker_submit_directory": "/opt/ml/code"}}, "a place in the image"),
        ({}, {"hyperparameters": {**OF_TOOLKIT, "sagemaker_mpi_enabled": "true"}}, "sagemaker_mpi_enabled: a script"),
        ({}, {"entrypoint": ("/bin/bash",)}, "ContainerEntrypoint names a program of the image"),
    ],
)
def test_a_job_that_has_no_script_to_run_fails(
    tmp_path: Path, files: dict[str, str] | None, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(JobFailed, match="^AlgorithmError: Framework Error: ") as failed:
        prepared(tmp_path, files, **settings)
    assert why in str(failed.value)


@pytest.mark.parametrize("blank", [False, True])
def test_the_sdks_own_drivers_find_the_jobs_directory_in_place_of_that_of_images(tmp_path: Path, blank: bool) -> None:
    data = LocalS3(tmp_path / "b", S3Url("b", "x"))
    job = definition(
        (Channel("sm_drivers", data, "S3Prefix", {}),),
        entrypoint=("/bin/bash",),
        arguments=("-c", "/opt/ml/input/data/sm_drivers/sm_train.sh"),
    )
    ml = MlDirectory(tmp_path / ("a b" if blank else "a") / "ml")
    ml.make(job)
    drivers = ml.data / "sm_drivers"
    (drivers / "scripts").mkdir(parents=True)
    (drivers / "sm_train.sh").write_text("cat /opt/ml/input/config/resourceconfig.json")
    (drivers / "scripts" / "environment.py").write_text('"/opt/ml/model"')
    if blank:
        with pytest.raises(JobFailed, match="use paths without blanks"):
            script_command(job, Script(Path("/a/python")), ml, lambda _: data)
        return
    *_, shell, option, program = script_command(job, Script(Path("/a/python")), ml, lambda _: data).words
    assert (shell, option, program) == ("/bin/bash", "-c", f"{drivers}/sm_train.sh")
    assert (drivers / "sm_train.sh").read_text() == f"cat {ml.root}/input/config/resourceconfig.json"
    assert (drivers / "scripts" / "environment.py").read_text() == f'"{ml.root}/model"'
    assert 'exec /a/python "$@"' in (ml.root / "programs" / "python3").read_text()
